"""Differences between versions of Mercurial, its private attributes, and bytes and str.

Only this module knows what differs between Mercurial 6.9 and 7.2.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from mercurial import (
    bundle2,
    changegroup,
    demandimport,
    encoding,
    error,
    extensions,
    localrepo,
    lock,
    obsolete,
    policy,
    pycompat,
    revlog,
    templater,
    util,
    wireprotov1server,
)
from mercurial.utils import procutil, urlutil

#: The versions of Mercurial that are tested.
TESTED_WITH = b'6.9 7.0 7.1 7.2'
MINIMUM_HG_VERSION = b'6.9'

_BASE = b'headless.base'

#: Node, parents, delta base and linknode of an entry in changegroup 02.
_CG2_HEADER = struct.Struct('20s20s20s20s20s')


_parsers = policy.importmod('parsers')


def to_str(text: bytes) -> str:
    """Convert bytes to str without loss: bytes that are not UTF-8 become surrogates."""
    return text.decode('utf-8', 'surrogateescape')


def to_bytes(text: str) -> bytes:
    return text.encode('utf-8', 'surrogateescape')


def escaped_bytes(name: bytes) -> bytes:
    """Return a name from a client with unsafe bytes escaped, as bytes."""
    return to_bytes(escaped(name))


def escaped(name: bytes) -> str:
    """Return a name from a client with bytes escaped that are unsafe on a terminal or in a log."""
    return pycompat.sysstr(pycompat.bytestr(repr(name)[2:-1]))


def is_plain(name: bytes) -> bool:
    """Return whether ``name`` is text without control characters, which break lines on the wire."""
    try:
        text = encoding.fromlocal(name).decode('utf-8')
    except (error.Abort, UnicodeDecodeError):
        return False
    return not any(unicodedata.category(character) == 'Cc' for character in text)


def is_loaded(extension: bytes) -> bool:
    """Return whether this process has loaded an extension."""
    try:
        extensions.find(extension)
    except KeyError:
        return False
    return True


def is_enabled(ui: Any, extension: bytes) -> bool:
    """Return whether an extension is loaded, and not disabled for the repository of ``ui``."""
    return any(name == extension for name, _module in extensions.extensions(ui))


def is_chg_server() -> bool:
    """Return whether this process is starting as the command server of chg (see `chgserver`)."""
    return b'CHGINTERNALMARK' in encoding.environ


def load_path(path: bytes, name: str) -> Any:
    """Load a file as the Python module ``name``."""
    load = getattr(util, 'load_path', None) or extensions.loadpath  # until 7.1
    return load(path, name)


def wrap_once(container: Any, name: str, wrapper: Any) -> None:
    """Do what `extensions.wrapfunction` does, unless ``wrapper`` is there already."""
    if wrapper not in extensions.getwrapperchain(container, name):
        extensions.wrapfunction(container, name, wrapper)


def wrap_commands(**wrappers: Any) -> None:
    """Wrap commands of the wire protocol, by their names."""
    for name, wrapper in wrappers.items():
        wrap_once(wireprotov1server.commands[name.encode('ascii')], 'func', wrapper)


@contextlib.contextmanager
def transaction(repo: Any, name: bytes) -> Iterator[Any]:
    """Open a transaction. If it can be neither closed nor aborted, leave it to ``hg recover``.

    That is so if the disk is full when the journal is written. Mercurial would abort it when its
    object is freed: by then, others may have recovered, and what they have added since would be
    truncated.
    """
    is_outermost = repo.currenttransaction() is None
    opened = repo.transaction(name)
    try:
        with opened:
            yield opened
    finally:
        if is_outermost:
            opened._journal = None


def bookmarks(repo: Any) -> Any:
    """Return the bookmarks of a repository: a mapping with the method ``applychanges``."""
    return repo._bookmarks


def mix_in(repo: Any, mixin: type) -> None:
    """Let a repository object have the methods of ``mixin`` too, unless it has them."""
    if not isinstance(repo, mixin):
        repo.__class__ = derived(mixin, repo.__class__)


@functools.lru_cache(maxsize=64)
def derived(*bases: type) -> type:
    """Return a class of repositories, made once: Mercurial keeps each that was ever filtered."""
    return type('headless', bases, {})


def stream_of(unpacker: Any) -> Any:
    """Return the stream that one of bundle2's readers reads from."""
    return unpacker._fp


def changegroup_stream(unpacker: Any) -> Any:
    """Return the stream, decompressed, that the unpacker of a changegroup reads from.

    None: it is neither plain nor zlib, which one read makes at most 64 MB larger.
    """
    return unpacker._stream if unpacker._type in (b'UN', b'GZ') else None


def replace_stream(unpacker: Any, stream: Any) -> None:
    """Let one of bundle2's readers read from another stream."""
    unpacker._fp = stream


def read_markers(data: bytes) -> Iterator[Any]:
    """Yield the obsolescence markers in ``data``, as Mercurial has them in memory.

    Its reader in C would return all at once, up to thirty times as large as ``data``.
    """
    if data[:1] == b'\1':  # the version
        yield from obsolete._fm1purereadmarkers(data, 1, len(data))
    else:
        yield from obsolete._readmarkers(data)[1]


def skip_group(unpacker: Any) -> None:
    """Skip the group at which the unpacker of a changegroup in a file stands."""
    while length := unpacker._chunklength():
        unpacker.seek(unpacker.tell() + length)


class Delta(NamedTuple):
    """One entry of a group in a changegroup. Its delta base is always named."""

    node: bytes
    p1: bytes
    p2: bytes
    base: bytes
    link: bytes
    flags: int
    delta: bytes

    def chunks(self) -> Iterator[bytes]:
        """Yield the chunks of the entry in changegroup 02."""
        header = _CG2_HEADER.pack(self.node, self.p1, self.p2, self.base, self.link)
        yield changegroup.chunkheader(len(header) + len(self.delta))
        yield header
        yield self.delta


def deltas(unpacker: Any) -> Iterator[Delta]:
    """Yield the entries of the group at which the unpacker of a changegroup stands."""
    for entry in unpacker.deltaiter():
        if isinstance(entry, tuple):  # until 7.0
            node, p1, p2, link, base, delta, flags = entry[:7]
            yield Delta(node, p1, p2, base, link, flags, delta)
        else:
            yield Delta(
                entry.node,
                entry.p1,
                entry.p2,
                entry.delta_base,
                entry.link_node,
                entry.flags,
                entry.delta,
            )


def link_offset(end: int, entry: Delta) -> int:
    """Return the offset of the linknode of a changegroup 02 entry that ends at ``end``."""
    return end - len(entry.delta) - len(entry.link)


def repository_has(storage: Any, node: bytes) -> bool:
    """Return whether a revision in a log of an overlay is also in the repository below it."""
    log = storage if hasattr(storage, 'repotiprev') else storage._revlog
    return log.rev(node) <= getattr(log, 'repotiprev', len(log))


def bundle2_capabilities(bundlecaps: Any) -> dict[bytes, Any]:
    """Return the bundle2 capabilities of a client from the ``bundlecaps`` of its request."""
    found: dict[bytes, Any] = {}
    for capability in bundlecaps or ():
        if capability.startswith(b'bundle2='):
            blob = util.urlreq.unquote(capability[len(b'bundle2=') :])
            found.update(bundle2.decodecaps(blob))
    return found


def is_c_index(index: Any) -> bool:
    """Return whether an index is that of Mercurial's C extension, not Rust's or Python's."""
    return isinstance(index, getattr(_parsers, 'index', ()))


def replace_parsed_index(
    log: Any, load_inner: Callable[..., None], args: tuple[Any, ...], replaced: Callable[[Any], Any]
) -> None:
    """Call a revlog's ``_load_inner`` with ``replaced(index)`` in place of the parsed index."""
    if len(args) > 1:
        load_inner(replaced(args[0]), *args[1:])
    else:  # until 7.1
        log.index = replaced(log.index)
        load_inner(*args)


def mapped(opener: Any, path: bytes, threshold: int | None, size: int | None) -> Any:
    """Map an index file into memory, as revlogs do but without reading ahead.

    Return None if there is no such file, or it is not to be mapped.
    """
    try:
        with opener(path) as file:
            file_size = opener.fstat(file).st_size
            if threshold is None or file_size < threshold or not opener.is_mmap_safe(path):
                return None
            length = file_size if size is None else min(file_size, size)
            return util.buffer(util.mmapread(file, length, pre_populate=False))
    except FileNotFoundError:
        return None


def forget_text(storage: Any) -> None:
    """Free the texts that the log of a file has cached, and its decompressor: 50 KB with zstd."""
    log = storage._revlog
    log._inner.clear_cache()
    log._inner._decompressors.clear()
    if hasattr(log, 'texts'):
        log.texts.clear()


def template_repository(made: Any, repo: Any) -> None:
    """Set the repository of a templater: another one takes as long as the rest of a small page."""
    made._proc._resources._resmap[b'repo'] = repo


class _Woven(dict[bytes, bytes]):
    """Templates by name, changed as they are loaded."""

    def __init__(self, texts: dict[bytes, bytes], change: Callable[[bytes, bytes], bytes]) -> None:
        super().__init__({name: change(name, text) for name, text in texts.items()})
        self._change = change

    def __setitem__(self, name: bytes, text: bytes) -> None:
        super().__setitem__(name, self._change(name, text))


def weave_templates(made: Any, change: Callable[[bytes, bytes], bytes]) -> None:
    """Have a templater's templates changed by ``change(name, text)``, each when it is loaded."""
    made._loader.cache = _Woven(made._loader.cache, change)


def change_template_trees(made: Any, change: Callable[[Any], Any]) -> None:
    """Have the parsed templates of a templater changed by ``change``; each text is parsed once."""
    loader = made._loader
    parse = loader._parse
    if loader._aliasmap:
        loader._parse = lambda text: change(parse(text))
    else:
        loader._parse = functools.partial(_changed_tree, change)


@functools.lru_cache(2000)
def _changed_tree(change: Callable[[Any], Any], text: bytes) -> Any:
    return change(templater.parse(text))


def template_filters(made: Any) -> dict[bytes, Any]:
    """Return the filters of a templater, or of its engine, by name."""
    return made._filters


def add_template_function(made: Any, name: bytes, function: Any) -> None:
    """Add a function to one templater; it gets engine, mapping, and pairs of function and data."""
    made._proc._funcs = {**made._proc._funcs, name: function}


def repository_bases(repo: Any) -> tuple[type, ...]:
    """Return the base classes of a repository object whose class no extension has changed."""
    made = type(repo)
    # Until 7.1, each object has an empty class of its own.
    return (made,) if made is localrepo.localrepository else made.__bases__


def forgo_manifest_cache(manifestlog: Any) -> None:
    """Do not use the file in which Mercurial caches recent manifests: it would be read whole."""
    manifestlog.getstorage(b'')._fulltextcache._opener = None


def clear_manifests(manifestlog: Any) -> None:
    """Release the manifests that were read, which are large and in reference cycles."""
    for cache in manifestlog._dirmancache.values():
        cache.clear()
    manifestlog.clearcaches()
    root = manifestlog.getstorage(b'')
    root._fulltextcache.clear()  # a bundle's log does not do it itself
    root._dirlogcache.clear()


def process() -> str:
    """Return the name of this process: host and process id, as in Mercurial's locks."""
    return f'{to_str(lock._getlockprefix())}:{os.getpid()}'


def is_dead(process: str) -> bool:
    """Return whether ``process``, a name from `process`, ran on this host and has ended."""
    machine, _colon, number = process.rpartition(':')
    if machine != to_str(lock._getlockprefix()) or not number.isdigit():
        return False
    return not procutil.testpid(int(number))


def parse_query(orig: Any, query: bytes, *args: Any, **kwargs: Any) -> list[tuple[bytes, bytes]]:
    """Do what ``urlreq.parseqsl`` does, also with a query that is not ASCII, on which it fails."""
    try:
        return orig(query, *args, **kwargs)
    except UnicodeError:
        pairs = (pair.partition(b'=') for pair in query.replace(b'+', b' ').split(b'&') if pair)
        return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]


def hgweb_class() -> Any:
    """Return the class that answers requests for one repository."""
    return _hgweb_module('hgweb_mod').hgweb


def last_repository(app: Any) -> Any:
    """Return the repository that an hgweb has opened last, be it still there or not."""
    return app._lastrepo._repo


def hgwebdir_class() -> Any:
    """Return the class that answers requests for several repositories."""
    return _hgweb_module('hgwebdir_mod').hgwebdir


def _hgweb_module(name: str) -> Any:
    try:
        return importlib.import_module(f'mercurial.hgweb.{name}_inner')
    except ImportError:  # until 7.1
        return importlib.import_module(f'mercurial.hgweb.{name}')


def request_context_class() -> Any:
    """Return the class of the first argument of hgweb's commands."""
    return _hgweb_module('hgweb_mod').requestcontext


def note_base(request: Any, req: Any, _operation: bytes | None) -> None:
    """Keep the repository's URL for `request_base`: one of hgweb's ``permhooks``.

    The WSGI environment alone does not tell which part of the path hgwebdir has consumed.
    """
    req.rawenv[_BASE] = request_host(request.repo, req) + req.apppath.rstrip(b'/')


def request_host(repo: Any, req: Any) -> bytes:
    """Return scheme, host and port of the URL of a web request, as its client sees them."""
    # Mercurial's "advertised" URL has the server's own name, for only its hgwebdir looks at what
    # is configured. The name that the client used is the one that works.
    configured = urlutil.url(repo.ui.config(b'web', b'baseurl') or b'')
    if configured.scheme and configured.host:
        port = b':' + configured.port if configured.port else b''
        return configured.scheme + b'://' + configured.host + port
    return req.baseurl


def request_base(ui: Any) -> str | None:
    """Return the absolute URL of the repository as the client of a web request sees it, or None."""
    base = ui.environ.get(_BASE)
    return None if base is None else to_str(base)


def file_chunks(file: Any) -> Iterator[bytes]:
    """Yield what a file has, and close it."""
    with file:
        yield from util.filechunkiter(file)


#: The errors that reading a revision raises if its content does not match its node.
UNREADABLE = (error.StorageError, error.CensoredNodeError, revlog.mdiff.mpatch.mpatchError)

#: The errors that Mercurial's readers raise if a stream is not a bundle.
GARBLED = (
    struct.error,
    zlib.error,
    ArithmeticError,
    AssertionError,
    EOFError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Deferred(set[str]):
    """Mercurial's names of modules that are never deferred, and all modules of some packages."""

    packages: frozenset[str]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or str(name).partition('.')[0] in self.packages


def never_defer(packages: frozenset[str]) -> None:
    """Make demandimport import the modules of ``packages`` at once."""
    names = _Deferred(demandimport.IGNORES)
    names.packages = packages
    demandimport.demandimport.init(names)
