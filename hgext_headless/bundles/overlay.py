"""Overlays: the repository with drafts laid over it, as Mercurial's bundle repository."""

from __future__ import annotations

import bisect
import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from mercurial import (
    bundle2,
    bundlerepo,
    changegroup,
    error,
    exchange,
    extensions,
    localrepo,
    manifest,
    phases,
    ui as uimod,
    util,
    vfs as vfsmod,
)

from .. import hgcompat, store as stores
from ..errors import Corrupt, Misconfigured, Temporary
from ..model import Bundle
from ..store import Source
from . import changegroups, shared_index

_HOOKS = b'hooks'

#: Memory of the files' logs that are kept open; what one takes, and each of its revisions.
_OPENED = 64 * 1024 * 1024
_LOG = 9 * 1024
_REVISION = 200
#: The prefix of the temporary folders of pushes and pulls.
FOLDER_PREFIX = 'hg-headless-'


class Layer(NamedTuple):
    """An uncompressed changegroup: the path of its file, and its version."""

    path: str
    version: bytes


def fetch(ui: Any, store: Source, bundle: Bundle, folder: str) -> Layer:
    """Fetch a stored bundle into ``folder`` and return it uncompressed, as a layer.

    Raise `errors.Corrupt` if its size, digest or format is wrong.
    """
    name = os.path.join(folder, stores.digest(bundle.key))
    store.get(bundle.key, name)
    layer = uncompressed(ui, bundle, name)
    os.unlink(name)
    return layer


def uncompressed(ui: Any, bundle: Bundle, name: str) -> Layer:
    """Uncompress the bundle in the file ``name`` to a file beside it, and return it as a layer.

    Raise `errors.Corrupt` if its size, digest or format is wrong.
    """
    _check_as_stored(bundle, name)
    plain = name + '.cg'
    with open(name, 'rb') as source, open(plain, 'wb') as out:
        unpacker = unbundler(ui, source, bundle.key)
        if not isinstance(unpacker, changegroup.cg1unpacker) or unpacker.version != b'01':
            raise Corrupt(f'object {bundle.key} is not a bundle of version HG10')
        out.writelines(unpacker.getchunks())
    return Layer(plain, b'01')


def unbundler(ui: Any, file: BinaryIO, key: str) -> Any:
    """Return Mercurial's reader of the object ``key`` in ``file``. Raise `errors.Corrupt`."""
    try:
        return exchange.readbundle(ui, file, hgcompat.to_bytes(key))
    except error.Abort as exc:
        raise Corrupt(f'object {key} is not a bundle') from exc


def fetch_as_stored(store: Source, bundle: Bundle, path: str) -> None:
    """Fetch a stored bundle to the file ``path``, compressed as in the store. Raise the same."""
    store.get(bundle.key, path)
    _check_as_stored(bundle, path)


def _check_as_stored(bundle: Bundle, path: str) -> None:
    if os.path.getsize(path) != bundle.size:
        raise Corrupt(f'object {bundle.key} does not have its {bundle.size} bytes')
    with open(path, 'rb') as file:
        (check,) = stores.hashed(file, 'sha512')
    if check.hexdigest() != bundle.sha512:
        raise Corrupt(f'object {bundle.key} is not what was stored')


def check_bases(repo: Any, bundles: Sequence[Bundle]) -> None:
    """Raise `errors.Temporary` if the repository lacks a base of ``bundles``: replicas may lag."""
    has_node = repo.unfiltered().changelog.hasnode
    for bundle in bundles:
        if not all(has_node(base) for base in bundle.bases):
            raise Temporary(
                f'the public changesets that {bundle.head.hex()[:12]} builds on have not '
                'reached this server yet'
            )


@contextlib.contextmanager
def scratch(inside: str | None = None) -> Iterator[str]:
    """Yield a temporary folder; `gc` removes those of processes that were killed."""
    folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=inside)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def laid(repo: Any, layers: Sequence[Layer], folder: str) -> Iterator[Any]:
    """Open the repository, unfiltered, with ``layers`` laid over it: see `lay` and `write`."""
    path = os.path.join(folder, 'overlay.hg')
    write(repo.ui, layers, path)
    overlay = lay(repo, path)
    try:
        yield overlay
    finally:
        overlay.close()


@contextlib.contextmanager
def opened(repo: Any, store: Source, bundles: Sequence[Bundle]) -> Iterator[Any]:
    """Open the repository, unfiltered, with stored bundles laid over it.

    Raise what `check_bases` and `fetch` raise.
    """
    check_bases(repo, bundles)
    with scratch() as folder:
        layers = [fetch(repo.ui, store, bundle, folder) for bundle in bundles]
        with laid(repo, layers, folder) as overlay:
            yield overlay


def write(ui: Any, layers: Sequence[Layer], path: str) -> None:
    """Write one bundle (HG20) with all ``layers``. A layer may build on those before it."""
    with contextlib.ExitStack() as stack:
        unpackers = [stack.enter_context(unpacked(layer)) for layer in layers]
        container = bundle2.bundle20(ui)
        part = container.newpart(b'changegroup', data=changegroups.spliced(unpackers))
        part.addparam(b'version', b'02')
        with open(path, 'wb') as out:
            out.writelines(container.getchunks())


@contextlib.contextmanager
def unpacked(layer: Layer) -> Iterator[Any]:
    """Open a layer's file and yield an unpacker for it."""
    file: BinaryIO
    with open(layer.path, 'rb') as file:
        yield changegroups.unpack(file, layer.version)


def nodes(layer: Layer) -> list[bytes]:
    """Return the changesets of a layer, in its order."""
    with unpacked(layer) as unpacker:
        unpacker.changelogheader()
        return [entry.node for entry in hgcompat.deltas(unpacker)]


class _Manifests(manifest.manifestlog):  # type: ignore[misc]
    """The manifests of an overlay. A public manifest is read once for all overlays."""

    def __init__(self, public: Any, *args: Any) -> None:
        super().__init__(*args)
        self._public = public

    def get(self, tree: bytes, node: bytes, verify: bool = True) -> Any:
        if not tree and self._public.getstorage(b'').get_revlog().hasnode(node):
            return self._public.get(tree, node, verify)
        return super().get(tree, node, verify)


class _Unwritable(vfsmod.readonlyvfs):  # type: ignore[misc]
    """The caches of the repository below, with an error that all writers of caches expect."""

    def __call__(self, path: bytes, mode: bytes = b'rb', *args: Any, **kwargs: Any) -> Any:
        if mode not in (b'r', b'rb'):
            raise PermissionError(errno.EACCES, 'an overlay is read-only', path)
        return super().__call__(path, mode, *args, **kwargs)


class _Payload:
    """The payload of the first part of a bundle's file, to be read anywhere.

    Mercurial's own reader of parts reads 256 KB after each seek.
    """

    def __init__(self, ui: Any, file: BinaryIO) -> None:
        next(bundle2.getunbundler(ui, file).iterparts(seekable=True))
        self._file = file
        #: Where each chunk begins, in the payload and in the file.
        self._begins: list[int] = []
        self._offsets: list[int] = []
        self._position = end = 0
        while size := int.from_bytes(file.read(4), 'big'):
            self._begins.append(end)
            self._offsets.append(file.tell())
            end = self._begins[-1] + size
            file.seek(size, os.SEEK_CUR)
        self._begins.append(end)

    def seek(self, position: int) -> None:
        self._position = position

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        found = []
        chunk = bisect.bisect_right(self._begins, self._position) - 1
        while size > 0 and chunk < len(self._offsets):
            self._file.seek(self._offsets[chunk] + self._position - self._begins[chunk])
            data = self._file.read(min(size, self._begins[chunk + 1] - self._position))
            found.append(data)
            self._position += len(data)
            size -= len(data)
            chunk += 1
        return b''.join(found)

    def close(self) -> None:
        self._file.close()


class _ReadOnly(bundlerepo.bundlerepository):  # type: ignore[misc]
    """A bundle repository that changes nothing in the repository below it, and cannot lock it."""

    def lock(self, *_args: Any, **_kwargs: Any) -> Any:
        raise error.LockUnavailable(errno.EACCES, 'an overlay is read-only', self.root, b'')

    wlock = lock

    def close(self) -> None:
        super().close()
        self._cgunpacker.close()

    def transaction(self, *_args: Any, **_kwargs: Any) -> Any:
        raise error.Abort(b'a push is not in the repository yet, and cannot be changed')


class _Overlay(_ReadOnly):
    """A bundle repository that looks nodes up in the indexes of ``public``.

    ``public`` is another object for the same repository, which has no changeset of ``missing``.
    `changelog` and `manifestlog` do what `bundlerepo.bundlerepository` does, with other classes.
    ``effort`` counts what they read.
    """

    public: Any
    missing: Collection[bytes]
    effort: shared_index.Effort

    @localrepo.unfilteredpropertycache
    def changelog(self) -> Any:
        self._cgunpacker.changelogheader()
        log = shared_index.Changelog(
            self.missing, self.effort, self.public.changelog, self.svfs, self._cgunpacker
        )
        self.manstart = self._cgunpacker.tell()
        return log

    @localrepo.unfilteredpropertycache
    def manifestlog(self) -> Any:
        self._cgunpacker.seek(self.manstart)
        self._cgunpacker.manifestheader()
        log = shared_index.Manifest(
            self.effort,
            self.public.manifestlog.getstorage(b'').get_revlog(),
            self.nodeconstants,
            self.svfs,
            self._cgunpacker,
            self.unfiltered().changelog.rev,
        )
        self.filestart = self._cgunpacker.tell()
        made = _Manifests(self.public.manifestlog, self.svfs, self, log, self.narrowmatch())
        hgcompat.forgo_manifest_cache(made)
        return made

    def file(self, name: bytes, *args: Any, **kwargs: Any) -> Any:
        storage = super().file(name, *args, **kwargs)
        if isinstance(storage, bundlerepo.bundlefilelog):
            shared_index.keep_texts(storage, self.effort)
        return storage

    def close(self) -> None:
        super().close()
        cached = vars(self)
        if 'manifestlog' in cached:
            # Not what another extension makes of the attribute: it would be read again.
            hgcompat.clear_manifests(cached['manifestlog'])
            shared_index.release(cached['manifestlog'].getstorage(b''))
        if 'changelog' in cached:
            shared_index.release(cached['changelog'])


class _OfPublicHistory:
    """A mixin for overlays that takes tags, branch heads and ``tip`` from public history.

    ``named_after`` is a view of public history. An overlay then looks as if its drafts had been
    added before the tip. Nothing is written to the repository's caches. ``draft_bookmarks`` are
    the bookmarks of drafts, by node.
    """

    named_after: Any
    draft_bookmarks: Mapping[bytes, Sequence[bytes]]

    def _findtags(self) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        tags = dict(self.named_after.tags())
        return tags, {name: self.named_after.tagtype(name) for name in tags}

    def branchmap(self) -> Any:
        return self.named_after.branchmap()

    def nodebookmarks(self, node: bytes) -> list[bytes]:
        public: list[bytes] = super().nodebookmarks(node)  # type: ignore[misc]
        return [*public, *self.draft_bookmarks.get(node, ())]

    def __getitem__(self, changeid: Any) -> Any:
        if changeid == b'tip':
            changeid = self.named_after.changelog.tip()
        return super().__getitem__(changeid)  # type: ignore[misc]


@contextlib.contextmanager
def packing(overlay: Any, number: int) -> Iterator[None]:
    """Keep what Mercurial looks up again for each of ``number`` bundles packed from an overlay.

    These are the logs of files, without the texts that were read from them: opening a log takes as
    long as it has revisions. One bundle needs each log once. Its heads serve Mercurial for a short
    cut, if one bundle has them all: to find them, it reads the whole index.
    """
    overlay.heads = lambda: []
    open_log = overlay.file
    opened = util.lrucachedict(_OPENED // _LOG if number > 1 else 1, maxcost=_OPENED)
    last: list[Any] = []

    def file(name: bytes) -> Any:
        log = opened.get(name)
        if log is None:
            log = open_log(name)
            opened.insert(name, log, cost=_LOG + len(log) * _REVISION)
        while last:
            hgcompat.forget_text(last.pop())
        last.append(log)
        return log

    overlay.file = file
    try:
        yield
    finally:
        del overlay.file, overlay.heads


def lay(repo: Any, path: str, missing: Collection[bytes] = ()) -> Any:
    """Return the repository, unfiltered, with the bundle at ``path`` laid over it.

    The caller must close it. Hashes are checked only by its logs' ``revision``. It shares the
    indexes of public history with ``repo``, which has none of the ``missing`` changesets: that it
    has not the others, either, takes long to find.
    """
    overlay = localrepo.instance(repo.baseui, repo.root, create=False)
    overlay.public = repo.unfiltered()
    overlay.missing = missing
    overlay.effort = shared_index.Effort()
    overlay.__class__ = hgcompat.derived(_Overlay, *hgcompat.repository_bases(overlay))
    _initialize(overlay, hgcompat.to_bytes(path))
    overlay.ui.environ = repo.ui.environ
    overlay.headless = getattr(repo, 'headless', None)  # an import has its clone without it
    return overlay


def set_up(overlay: Any, repo: Any) -> None:
    """Let other extensions set up an overlay, as `hg.repository` does, for hooks in Python.

    Also let it have what hooks have left on ``repo``, the repository itself. Raise
    `errors.Misconfigured` if an extension cannot do it.
    """
    for name, module in extensions.extensions(overlay.ui):
        setup = getattr(module, 'reposetup', None)
        if setup is None or module.__name__.startswith('hgext_headless.'):
            continue
        try:
            setup(overlay.ui, overlay)
        except Exception as exc:
            raise Misconfigured(
                f'the extension {hgcompat.to_str(name)} cannot set up the quarantine of a push: '
                f'{type(exc).__name__}: {exc}'
            ) from exc
    for name, value in vars(repo.unfiltered()).items():
        # What a class has by the same name is a cache of what was read.
        if not hasattr(type(overlay), name):
            vars(overlay).setdefault(name, value)


def publish(overlay: Any, nodes: Sequence[bytes]) -> None:
    """Let ``nodes`` and their ancestors be public in an overlay. Nothing is written."""
    phases.advanceboundary(overlay.unfiltered(), None, phases.public, nodes)


def name_public_history(overlay: Any, public: Any) -> None:
    """Take tags, branch heads and ``tip`` of ``overlay`` from ``public``."""
    overlay.named_after = public
    overlay.draft_bookmarks = {}
    overlay.__class__ = hgcompat.derived(_OfPublicHistory, overlay.__class__)


def silence_outgoing_hooks(ui: uimod.ui) -> None:
    """Disable the site's hooks on outgoing changesets: packing a bundle is not an exchange."""
    for name, _command in list(ui.configitems(_HOOKS)):
        if name.split(b'.')[0] in (b'preoutgoing', b'outgoing'):
            ui.setconfig(_HOOKS, name, b'', b'headless')


def become(repo: Any, path: bytes) -> None:
    """Lay a bundle over a repository object, as `bundlerepo.makebundlerepository` does."""
    repo.__class__ = hgcompat.derived(_ReadOnly, repo.__class__)
    _initialize(repo, path)


def _initialize(repo: Any, path: bytes) -> None:
    url = b'bundle:%s+%s' % (util.expandpath(repo.root), path)
    bundlerepo.bundlerepository.__init__(repo, path, url, None)
    unpacker = changegroups.unpack(_Payload(repo.ui, open(path, 'rb')), b'02')
    repo._cgunpacker = repo.unfiltered().changelog.bundle = unpacker
    repo.cachevfs = _Unwritable(repo.cachevfs)
    repo.wcachevfs = _Unwritable(repo.wcachevfs)
