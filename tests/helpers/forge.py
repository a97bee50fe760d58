"""Pushes that no honest client sends: changegroups taken apart and put together otherwise."""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import struct
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mercurial import bundle2, changegroup, discovery, hg, mdiff, phases, ui as uimod, util
from mercurial.utils import storageutil

from hgext_headless import hgcompat
from hgext_headless.hgcompat import Delta

with contextlib.suppress(ImportError):  # until 7.1
    importlib.import_module('mercurial.initialization').init()

NULL = bytes(20)


def full(text: bytes) -> bytes:
    """The delta against nothing."""
    return struct.pack('>lll', 0, 0, len(text)) + text


class Forged:
    """The changegroup of some drafts: entries of the changelog, of manifests, of files."""

    def __init__(self, root: Path) -> None:
        self.ui = uimod.ui.load()
        repo = hg.repository(self.ui, str(root).encode())
        nodes = [repo[rev].node() for rev in repo if repo[rev].phase() == phases.draft]
        parents = [p.node() for n in nodes for p in repo[n].parents() if p.node() not in nodes]
        outgoing = discovery.outgoing(repo, parents or [NULL], nodes)
        packed = changegroup.makechangegroup(repo, outgoing, b'02', b'push')
        packed.changelogheader()
        self.changesets = list(hgcompat.deltas(packed))
        packed.manifestheader()
        self.manifests = list(hgcompat.deltas(packed))
        self.files: dict[bytes, list[Delta]] = {}
        for header in iter(packed.filelogheader, {}):
            self.files[header[b'filename']] = list(hgcompat.deltas(packed))
        # As full texts, which are easily changed.
        store = repo.manifestlog.getstorage(b'')
        self._public = {e.p1: store.revision(e.p1) for e in self.manifests if e.p1 != NULL}
        self.changesets = [_as_full(e, repo.changelog) for e in self.changesets]
        self.manifests = [_as_full(e, store) for e in self.manifests]
        self.files = {
            name: [_as_full(e, repo.file(name)) for e in entries]
            for name, entries in self.files.items()
        }

    def copy(self) -> Forged:
        made = copy.copy(self)
        made.changesets, made.manifests = list(self.changesets), list(self.manifests)
        made.files = {name: list(found) for name, found in self.files.items()}
        return made

    def rewrite(self, entry: Delta, text: bytes) -> Delta:
        """The entry with another text, and the node that this makes."""
        node = storageutil.hashrevisionsha1(text, entry.p1, entry.p2)
        return entry._replace(node=node, delta=full(text))

    def change_manifest(self, change: Callable[[bytes], bytes]) -> None:
        """Change the last manifest, and have the last changeset name it."""
        old = self.manifests[-1]
        new = self.rewrite(old, change(old.delta[12:]))
        self.manifests[-1] = new
        self.change_changeset(
            lambda text: text.replace(old.node.hex().encode(), new.node.hex().encode())
        )

    def shrink_manifests(self) -> None:
        """Send manifests as hg does: as deltas against those of the parents."""
        texts = {NULL: b'', **self._public, **{e.node: e.delta[12:] for e in self.manifests}}
        self.manifests = [
            e._replace(base=e.p1, delta=mdiff.textdiff(texts[e.p1], texts[e.node]))
            for e in self.manifests
        ]

    def change_changeset(self, change: Callable[[bytes], bytes]) -> None:
        """Change the last changeset, and have all that came with it name it."""
        old = self.changesets[-1]
        new = self.rewrite(old, change(old.delta[12:]))
        self.changesets[-1] = new._replace(link=new.node)

        def named(entry: Delta) -> Delta:
            return entry._replace(link=new.node) if entry.link == old.node else entry

        self.manifests = list(map(named, self.manifests))
        self.files = {name: list(map(named, found)) for name, found in self.files.items()}

    @property
    def head(self) -> str:
        return self.changesets[-1].node.hex()

    def chunks(self) -> Iterable[bytes]:
        for group in (self.changesets, self.manifests):
            for entry in group:
                yield from entry.chunks()
            yield changegroup.closechunk()
        for name, entries in sorted(self.files.items()):
            yield changegroup.chunkheader(len(name))
            yield name
            for entry in entries:
                yield from entry.chunks()
            yield changegroup.closechunk()
        yield changegroup.closechunk()

    def bundle(self, *, public: bool = False, parts: Iterable[Any] = ()) -> bytes:
        """The body of a push; ``parts`` are (kind, data, parameters) more."""
        bundler = bundle2.bundle20(self.ui)
        capabilities = {b'HG20': (), b'bookmarks': (), b'error': (b'abort',)}
        bundler.newpart(b'replycaps', data=bundle2.encodecaps(capabilities))
        if self.changesets:
            part = bundler.newpart(b'changegroup', data=b''.join(self.chunks()))
            part.addparam(b'version', b'02')
            phase = phases.public if public else phases.draft
            heads = {phase: [self.changesets[-1].node]}
            bundler.newpart(b'phase-heads', data=phases.binaryencode(heads))
        for kind, data, parameters in parts:
            part = bundler.newpart(kind, data=data)
            for name, value in parameters.items():
                part.addparam(name, value, mandatory=kind != b'pushvars')
        return b''.join(bundler.getchunks())


def _as_full(entry: Delta, storage: Any) -> Delta:
    return entry._replace(base=NULL, delta=full(storage.revision(entry.node)))


def post(url: str, body: bytes, command: str = 'unbundle', **args: str) -> str:
    """What the server answers to a command, as text."""
    args = args or {'heads': b'force'.hex()}
    encoded = '&'.join(f'{name}={value}' for name, value in args.items())
    request = urllib.request.Request(
        f'{url}?cmd={command}',
        data=body,
        headers={'X-HgArg-1': encoded, 'Content-Type': 'application/mercurial-0.1'},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert answer.status == 200
        return answer.read().decode('latin-1')


def interrupted(kind: bytes, inner: bytes, parameters: dict[bytes, bytes]) -> bytes:
    """The body of a push with a part in the payload of a part (chunk length -1)."""
    ui = uimod.ui.load()
    nested = bundle2.bundlepart(kind, parameters.items(), data=inner)
    nested.id = 7
    header = struct.pack('>i', -1) + b''.join(nested.getchunks(ui))
    outer = bundle2.bundlepart(b'phase-heads', data=b'')
    outer.id = 0
    chunks = list(outer.getchunks(ui))
    end = chunks.pop()
    assert end == struct.pack('>i', 0)
    body = io.BytesIO()
    body.write(b'HG20' + struct.pack('>i', 0))
    body.write(b''.join(chunks) + header + end)
    body.write(struct.pack('>i', 0))
    return body.getvalue()


def compressed(body: bytes, kind: bytes = b'ZS') -> bytes:
    """The body of a push (HG20 without parameters), compressed if hg knows the ``kind``."""
    parameters = b'Compression=' + kind
    assert body.startswith(b'HG20' + struct.pack('>i', 0))
    packed = body[8:]
    if kind in util.compengines.supportedbundletypes:
        engine = util.compengines.forbundletype(kind)
        packed = b''.join(engine.compressstream(iter([packed])))
    return b'HG20' + struct.pack('>i', len(parameters)) + parameters + packed
