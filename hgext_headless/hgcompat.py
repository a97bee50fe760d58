"""The one room that knows versions of Mercurial, and bytes and str.

Everything that differs between Mercurial 6.9 and 7.2 is levelled here.
"""

from __future__ import annotations

import importlib
import os
import struct
import sys
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from mercurial import (
    bundle2,
    changegroup,
    encoding,
    error,
    extensions,
    localrepo,
    lock,
    policy,
    pycompat,
    revlog,
    util,
)
from mercurial.utils import procutil

#: The versions of Mercurial that the tests run on.
TESTED_WITH = b'6.9 7.1 7.2'
MINIMUM_HG_VERSION = b'6.9'

#: The bundle2 part handlers: the same dictionary in every version.
part_handlers = bundle2.parthandlermapping

_BASE = b'headless.base'

_CG2_HEADER = changegroup._CHANGEGROUPV2_DELTA_HEADER


_parsers = policy.importmod('parsers')

def to_str(text: bytes) -> str:
    """Bytes as str, without loss: what is not UTF-8 becomes surrogates."""
    return text.decode('utf-8', 'surrogateescape')


def to_bytes(text: str) -> bytes:
    return text.encode('utf-8', 'surrogateescape')


def escaped_bytes(name: bytes) -> bytes:
    """A name from a client, safe in a line of text."""
    return to_bytes(escaped(name))


def escaped(name: bytes) -> str:
    """A name from a client, safe to show on a terminal and in a log."""
    return pycompat.sysstr(pycompat.bytestr(repr(name)[2:-1]))


def is_plain(name: bytes) -> bool:
    """Whether a name can stand in the lines in which commands of the wire protocol answer
    (``hg help internals.wireprotocol``): text without control characters."""
    try:
        text = encoding.fromlocal(name).decode('utf-8')
    except (error.Abort, UnicodeDecodeError):
        return False
    return not any(unicodedata.category(character) == 'Cc' for character in text)


def byte_count(size: int) -> bytes:
    """A number of bytes for people, as Mercurial writes it."""
    text: bytes = util.bytecount(size)
    return text


def formatter_options(opts: dict[str, Any]) -> dict[bytes, Any]:
    """A command's options as ``ui.formatter`` takes them."""
    return {to_bytes(name): value for name, value in opts.items()}


def is_loaded(extension: bytes) -> bool:
    """Whether this process has loaded an extension."""
    try:
        extensions.find(extension)
    except KeyError:
        return False
    return True


def wrap_once(container: Any, name: str, wrapper: Any) -> None:
    """`extensions.wrapfunction`, once, however many extensions ask for it."""
    if wrapper not in extensions.getwrapperchain(container, name):
        extensions.wrapfunction(container, name, wrapper)


class Delta(NamedTuple):
    """One entry of a group in a changegroup, its base explicit."""

    node: bytes
    p1: bytes
    p2: bytes
    base: bytes
    link: bytes
    flags: int
    delta: bytes

    def chunks(self) -> Iterator[bytes]:
        """The entry as changegroup 02 frames it."""
        header = _CG2_HEADER.pack(self.node, self.p1, self.p2, self.base, self.link)
        yield changegroup.chunkheader(len(header) + len(self.delta))
        yield header
        yield self.delta


def deltas(unpacker: Any) -> Iterator[Delta]:
    """The entries of the group at which a changegroup's unpacker stands."""
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
    """Where the linknode of an entry of a changegroup 02, which ends there, begins."""
    return end - len(entry.delta) - len(entry.link)


def repository_has(storage: Any, node: bytes) -> bool:
    """Whether a revision of an overlay's log is in the repository below, too."""
    log = storage if hasattr(storage, 'repotiprev') else storage._revlog
    found: bool = log.rev(node) <= getattr(log, 'repotiprev', len(log))
    return found


def bundle2_capabilities(bundlecaps: Any) -> dict[bytes, Any]:
    """What a client that asks for a bundle can read of bundle2."""
    found: dict[bytes, Any] = {}
    for capability in bundlecaps or ():
        if capability.startswith(b'bundle2='):
            blob = util.urlreq.unquote(capability[len(b'bundle2=') :])
            found.update(bundle2.decodecaps(blob))
    return found


def is_c_index(index: Any) -> bool:
    """Whether an index is that of Mercurial's C extension, and not Rust's or Python's."""
    return isinstance(index, getattr(_parsers, 'index', ()))


def replace_parsed_index(
    log: Any, load_inner: Callable[..., None], args: tuple[Any, ...], replaced: Callable[[Any], Any]
) -> None:
    """Call a revlog's ``_load_inner`` with another index than the one that was parsed."""
    if len(args) > 1:
        load_inner(replaced(args[0]), *args[1:])
    else:  # until 7.1
        log.index = replaced(log.index)
        load_inner(*args)


def mapped(opener: Any, path: bytes, threshold: int | None, size: int | None) -> Any:
    """A large index as revlogs map it, but for the pages that nobody reads; None where it
    is not to be mapped."""
    try:
        with opener(path) as file:
            there = opener.fstat(file).st_size
            if threshold is None or there < threshold or not opener.is_mmap_safe(path):
                return None
            length = there if size is None else min(there, size)
            return util.buffer(util.mmapread(file, length, pre_populate=False))
    except FileNotFoundError:
        return None


def has_cached_text(log: Any, rev: int) -> bool:
    """Whether a revlog remembers the text of a revision: it does so of one."""
    if hasattr(log._inner, 'get_cached_text'):
        return log._inner.get_cached_text(rev) is not None
    cached = log._inner._revisioncache  # until 7.1
    return cached is not None and cached[1] == rev


def copy_cached_text(source: Any, log: Any, rev: int) -> None:
    """Have a revlog know the text of a revision that another has too."""
    text = source.rawdata(rev)
    if hasattr(log._inner, 'cache_revision_text'):
        log._inner.cache_revision_text(rev, text, True)
    else:  # until 7.1
        log._inner._revisioncache = source.node(rev), rev, text


def template_repository(made: Any, repo: Any) -> None:
    """Let the keywords and functions of a templater speak of a repository.

    To make another templater takes as long as the rest of a small page.
    """
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


def add_template_filter(made: Any, name: bytes, like: bytes) -> None:
    """Let a templater know a filter by another name, unless it knows that one."""
    made._filters.setdefault(name, made._filters[like])


def repository_bases(repo: Any) -> tuple[type, ...]:
    """What the class of a repository object is made of, that no extension has changed."""
    made = type(repo)
    # Until 7.1 each object has a class of its own, with nothing in it.
    return (made,) if made is localrepo.localrepository else made.__bases__


def forgo_manifest_cache(manifestlog: Any) -> None:
    """Keep a log of manifests from the file that Mercurial has the last ones in, which it
    would read whole to look for one."""
    manifestlog.getstorage(b'')._fulltextcache._opener = None


def clear_manifests(manifestlog: Any) -> None:
    """Forget the manifests that were read.

    Mercurial drops its caches whole: rings and a log that knows itself, which hold large
    texts until the next garbage collection.
    """
    for cache in manifestlog._dirmancache.values():
        cache.clear()
    manifestlog.clearcaches()
    root = manifestlog.getstorage(b'')
    root._fulltextcache.clear()  # which a bundle's log does not do itself
    root._dirlogcache.clear()


def process() -> str:
    """This process: its machine and its number, as Mercurial's locks name them."""
    return f'{to_str(lock._getlockprefix())}:{os.getpid()}'


def is_dead(process: str) -> bool:
    """Whether a process, as `process` names it, was one of this machine and is no more."""
    machine, _colon, number = process.rpartition(':')
    if machine != to_str(lock._getlockprefix()) or not number.isdigit():
        return False
    return not procutil.testpid(int(number))


def parse_query(orig: Any, query: bytes, *args: Any, **kwargs: Any) -> list[tuple[bytes, bytes]]:
    """Mercurial's ``urlreq.parseqsl``, also for what is no ASCII, where it fails."""
    try:
        found: list[tuple[bytes, bytes]] = orig(query, *args, **kwargs)
        return found
    except UnicodeError:
        pairs = (pair.partition(b'=') for pair in query.replace(b'+', b' ').split(b'&') if pair)
        return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs]


def hgweb_class() -> Any:
    """The class that answers requests for one repository."""
    try:
        inner = importlib.import_module('mercurial.hgweb.hgweb_mod_inner')
    except ImportError:  # until 7.1
        inner = importlib.import_module('mercurial.hgweb.hgweb_mod')
    return inner.hgweb


def request_context_class() -> Any:
    """The class of what hgweb's commands are called with."""
    return sys.modules[hgweb_class().__module__].requestcontext


def note_base(orig: Any, app: Any, req: Any, res: Any, repo: Any) -> Any:
    """hgweb's ``_runwsgi``: let `request_base` know where the repository is.

    The WSGI environment alone does not tell which part of the path hgwebdir has taken.
    """
    # Mercurial's "advertised" URL has the server's own name where no base URL
    # is configured; the client's name for it is the one that works.
    is_configured = repo.ui.config(b'web', b'baseurl')
    base = req.advertisedbaseurl if is_configured else req.baseurl
    req.rawenv[_BASE] = base + req.apppath.rstrip(b'/')
    return orig(app, req, res, repo)


def request_base(ui: Any) -> str | None:
    """The absolute URL of the repository as the client of a web request sees it."""
    base = ui.environ.get(_BASE)
    return None if base is None else to_str(base)


#: What reading a revision raises where its bytes do not make its node.
UNREADABLE = (error.StorageError, error.CensoredNodeError, revlog.mdiff.mpatch.mpatchError)

#: What Mercurial's readers raise where a stream is no bundle.
GARBLED = (
    struct.error,
    zlib.error,
    util.compengines[b'zstd']._module.ZstdError,
    ArithmeticError,
    AssertionError,
    EOFError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)
