"""Overlays: the repository with drafts laid over it, by Mercurial's bundle repository."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

from mercurial import bundle2, bundlerepo, exchange, localrepo, manifest, ui as uimod, util

from .. import hgcompat
from ..errors import Corrupt, Temporary
from ..model import Bundle
from ..store import Source, names
from . import changegroups, shared_index

_HOOKS = b'hooks'

#: What the folders of pushes and pulls are called, while they last.
FOLDER_PREFIX = 'hg-headless-'


class Layer(NamedTuple):
    """An uncompressed changegroup: its file and version."""

    path: str
    version: bytes


def fetch(ui: Any, store: Source, bundle: Bundle, folder: str) -> Layer:
    """Fetch a stored bundle into a folder, uncompressed, as a layer.

    Raises `errors.Corrupt` where size, digest or format is not what was stored.
    """
    name = os.path.join(folder, names.digest(bundle.key))
    store.get(bundle.key, name)
    layer = uncompressed(ui, bundle, name)
    os.unlink(name)
    return layer


def uncompressed(ui: Any, bundle: Bundle, name: str) -> Layer:
    """The file ``name`` of a bundle, uncompressed beside it, as a layer.

    Raises `errors.Corrupt` where its size, digest or format is not the bundle's.
    """
    _check_as_stored(bundle, name)
    plain = name + '.cg'
    with open(name, 'rb') as source, open(plain, 'wb') as out:
        unpacker = exchange.readbundle(ui, source, hgcompat.to_bytes(name))
        if unpacker.version != b'01':
            raise Corrupt(f'object {bundle.key} is not a bundle of version HG10')
        out.writelines(unpacker.getchunks())
    return Layer(plain, b'01')


def fetch_as_stored(store: Source, bundle: Bundle, path: str) -> None:
    """Fetch a stored bundle to a file, as it is in the store.

    Raises `errors.Corrupt` where size or digest is not what was stored.
    """
    store.get(bundle.key, path)
    _check_as_stored(bundle, path)


def _check_as_stored(bundle: Bundle, path: str) -> None:
    if os.path.getsize(path) != bundle.size:
        raise Corrupt(f'object {bundle.key} does not have its {bundle.size} bytes')
    check = hashlib.sha512()
    with open(path, 'rb') as file:
        for chunk in iter(lambda: file.read(1 << 20), b''):
            check.update(chunk)
    if check.hexdigest() != bundle.sha512:
        raise Corrupt(f'object {bundle.key} is not what was stored')


def check_bases(repo: Any, bundles: Sequence[Bundle]) -> None:
    """Raise `errors.Temporary` where the repository lacks public changesets that
    bundles build on: a replica lags."""
    has_node = repo.unfiltered().changelog.hasnode
    for bundle in bundles:
        if not all(has_node(base) for base in bundle.bases):
            raise Temporary(
                f'the public changesets that {bundle.head.hex()[:12]} builds on have not '
                'reached this server yet'
            )


@contextlib.contextmanager
def opened(repo: Any, store: Source, bundles: Sequence[Bundle]) -> Iterator[Any]:
    """The repository with stored bundles laid over it, unfiltered.

    Raises what `check_bases` and `fetch` raise.
    """
    check_bases(repo, bundles)
    folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
    try:
        path = os.path.join(folder, 'overlay.hg')
        write(repo.ui, [fetch(repo.ui, store, bundle, folder) for bundle in bundles], path)
        overlay = lay(repo, path)
        try:
            yield overlay
        finally:
            overlay.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(ui: Any, layers: Sequence[Layer], path: str) -> None:
    """Write one bundle (HG20) that holds all layers, each building on those before."""
    with contextlib.ExitStack() as stack:
        unpackers = [stack.enter_context(unpacked(layer)) for layer in layers]
        container = bundle2.bundle20(ui)
        part = container.newpart(b'changegroup', data=changegroups.spliced(unpackers))
        part.addparam(b'version', b'02')
        with open(path, 'wb') as out:
            out.writelines(container.getchunks())


@contextlib.contextmanager
def unpacked(layer: Layer) -> Iterator[Any]:
    """An unpacker over a layer; its file is open meanwhile."""
    file: BinaryIO
    with open(layer.path, 'rb') as file:
        yield changegroups.unpack(file, layer.version)


class _Manifests(manifest.manifestlog):  # type: ignore[misc]
    """Manifests of an overlay; a public one is read once for all overlays."""

    def __init__(self, public: Any, *args: Any) -> None:
        super().__init__(*args)
        self._public = public

    def get(self, tree: bytes, node: bytes, verify: bool = True) -> Any:
        if not tree and self._public.getstorage(b'').get_revlog().hasnode(node):
            return self._public.get(tree, node, verify)
        return super().get(tree, node, verify)


class _Overlay(bundlerepo.bundlerepository):  # type: ignore[misc]
    """A bundle repository whose logs look nodes up in the indexes of ``public``, another
    object for the repository. The two logs are made as `bundlerepo.bundlerepository` makes
    them, but for their class."""

    public: Any

    @localrepo.unfilteredpropertycache
    def changelog(self) -> Any:
        self._cgunpacker.changelogheader()
        log = shared_index.Changelog(self.public.changelog.index, self.svfs, self._cgunpacker)
        self.manstart = self._cgunpacker.tell()
        return log

    @localrepo.unfilteredpropertycache
    def manifestlog(self) -> Any:
        self._cgunpacker.seek(self.manstart)
        self._cgunpacker.manifestheader()
        log = shared_index.Manifest(
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

    def close(self) -> None:
        super().close()
        cached = vars(self)
        if 'manifestlog' in cached:
            hgcompat.clear_manifests(self.manifestlog)
            shared_index.release(self.manifestlog.getstorage(b''))
        if 'changelog' in cached:
            shared_index.release(self.changelog)


class _OfPublicHistory:
    """Tags and branch heads of an overlay as those of ``named_after``, a view of public
    history: as if other drafts had come after those in it. And nothing is written to the
    caches of the repository."""

    named_after: Any

    def _findtags(self) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
        tags = dict(self.named_after.tags())
        return tags, {name: self.named_after.tagtype(name) for name in tags}

    def branchmap(self) -> Any:
        return self.named_after.branchmap()

    def __getitem__(self, changeid: Any) -> Any:
        if changeid == b'tip':
            changeid = self.named_after.changelog.tip()
        return super().__getitem__(changeid)  # type: ignore[misc]


@functools.lru_cache(maxsize=64)
def _class(*bases: type) -> type:
    """A class of repositories. Mercurial never lets go of one that was ever filtered, so
    that there must not be one for each overlay."""
    return type('overlay', bases, {})


def lay(repo: Any, path: str) -> Any:
    """The repository with the bundle at ``path`` over it, unfiltered.

    The caller closes it. What is read from it is not checked against its node
    unless it is read with `revision`. It shares what ``repo`` knows of public history.
    """
    overlay = localrepo.instance(repo.baseui, repo.root, create=False)
    overlay.public = repo.unfiltered()
    overlay.__class__ = _class(_Overlay, *hgcompat.repository_bases(overlay))
    _initialize(overlay, hgcompat.to_bytes(path))
    overlay.ui.environ = repo.ui.environ
    return overlay


def name_public_history(overlay: Any, public: Any) -> None:
    """Let tags and branch heads of an overlay be those of public history."""
    overlay.named_after = public
    overlay.__class__ = _class(_OfPublicHistory, overlay.__class__)


def silence_outgoing_hooks(ui: uimod.ui) -> None:
    """Packing our own bundles is no outgoing exchange for the site's hooks."""
    for name, _command in list(ui.configitems(_HOOKS)):
        if name.split(b'.')[0] in (b'preoutgoing', b'outgoing'):
            ui.setconfig(_HOOKS, name, b'', b'headless')


def become(repo: Any, path: bytes) -> None:
    """Lay a bundle over a repository object that exists already.

    What `bundlerepo.makebundlerepository` does with the one it opens.
    """
    repo.__class__ = _class(bundlerepo.bundlerepository, repo.__class__)
    _initialize(repo, path)


def _initialize(repo: Any, path: bytes) -> None:
    url = b'bundle:%s+%s' % (util.expandpath(repo.root), path)
    bundlerepo.bundlerepository.__init__(repo, path, url, None)
