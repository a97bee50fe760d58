"""Check what a push brought, laid over the repository, and the bundles that are written for it.

Nothing that its sender says is trusted.

Packing relies on the files that changesets list, and on the changeset that each revision names
(its linknode, ``hg help internals.changegroups``). If either is false, content is lost.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from mercurial import error, exchange
from mercurial.node import bin, nullhex, nullid, nullrev
from mercurial.utils import storageutil

from .. import hgcompat
from ..errors import Refused
from ..model import Bundle, Changeset
from . import changegroups
from .manifests import Manifests
from .overlay import Layer

#: Number of files' logs that are kept open.
_OPENED = 200
#: Maximum number of lines of a changeset: files, and those of the description.
_MOST_LINES = 2_000_000
#: Flags of manifest entries: none, executable, symbolic link.
_FLAGS = (b'', b'x', b'l')
#: The text of a manifest (``hg help internals.revlogs``).
_MANIFEST = re.compile(rb'(?:[^\0\n]+\0[0-9a-f]{40}[lx]?\n)*')
#: What begins and ends the metadata of a file's revision, if it has any; its maximum size in bytes.
_METADATA, _MAX_METADATA = b'\1\n', 1 << 20


class Unfit(Refused):
    """A revision is missing, or its content does not match its hash."""


class Misnamed(NamedTuple):
    """A revision with a wrong linknode.

    ``offset`` is the position of the linknode in the layer's file, ``node`` the right value.
    """

    offset: int
    node: bytes


class Checked(NamedTuple):
    """What a push brought.

    ``changesets`` are facts, parents first. ``introduced`` maps each changeset's node to the
    revisions that none of its parents has: the manifest's node under the name ``b''``, and the
    nodes of files under their names. ``misnamed`` are the revisions whose linknode has to be
    corrected.
    """

    changesets: list[Changeset]
    introduced: dict[bytes, dict[bytes, bytes]]
    misnamed: list[Misnamed]


@contextlib.contextmanager
def misses() -> Iterator[None]:
    """Convert Mercurial's errors for missing and malformed revisions to `Unfit`."""
    try:
        yield
    except error.LookupError as exc:
        raise missing(exc.name) from exc
    except hgcompat.UNREADABLE as exc:
        raise Unfit(f'a revision does not fit its hash ({type(exc).__name__})') from exc
    except OSError:
        raise
    except hgcompat.GARBLED as exc:
        raise Unfit(f'a revision is malformed ({type(exc).__name__})') from exc


@contextlib.contextmanager
def packable() -> Iterator[None]:
    """Convert Mercurial's error for a changeset that lists a file which never was to `Unfit`."""
    try:
        yield
    except error.Abort as exc:
        raise Unfit(f'the push cannot be packed: {hgcompat.to_str(exc.message)}') from exc


def missing(node: bytes) -> Unfit:
    """Return the error for a revision that is in neither a bundle nor the repository."""
    return Unfit(f'revision {node.hex()[:12]} is missing')


def checked(overlay: Any, layer: Layer) -> Checked:
    """Check the revisions of ``layer``, laid over the repository as ``overlay``.

    Read each revision, which checks its hash, and compare what changesets, manifests, files and
    linknodes say about each other. Raise `Unfit`, the errors that `misses` converts to it, and
    `errors.Refused` if a file name is not allowed.
    """
    check = _Check(overlay, _revisions(overlay, layer))
    with open(layer.path, 'rb') as file:
        unpacker = changegroups.unpack(file, layer.version)
        unpacker.changelogheader()
        nodes = [entry.node for entry in hgcompat.deltas(unpacker)]
        changesets = [check.changeset(node) for node in nodes]
        unpacker.manifestheader()
        # Manifests were read with their changesets. Reading a large one again would take longer
        # than everything else.
        check.group(unpacker, overlay.manifestlog.getstorage(b''), b'', read=True)
        for name in changegroups.file_groups(unpacker):
            check.group(unpacker, overlay.file(name), name, read=False)
    return Checked(changesets, check.introduced, check.misnamed)


def _revisions(overlay: Any, layer: Layer) -> dict[bytes, dict[bytes, bool]]:
    """Map each file in ``layer`` to its nodes there, and whether the repository has them too.

    Opening a file's log takes as long as it has revisions. So that is done once for each file, and
    not for each changeset that changes it.
    """
    found: dict[bytes, dict[bytes, bool]] = {}
    with open(layer.path, 'rb') as file:
        unpacker = changegroups.unpack(file, layer.version)
        unpacker.changelogheader()
        hgcompat.skip_group(unpacker)
        unpacker.manifestheader()
        hgcompat.skip_group(unpacker)
        for name in changegroups.file_groups(unpacker):
            storage = overlay.file(name)
            found[name] = {
                entry.node: hgcompat.repository_has(storage, entry.node)
                for entry in hgcompat.deltas(unpacker)
            }
    return found


class _Check:
    """The state of a check of one layer; ``brought`` is what `_revisions` found in it.

    ``_owners`` maps file name and node to the first changeset that introduces the revision,
    which its linknode must name.
    """

    def __init__(self, overlay: Any, brought: dict[bytes, dict[bytes, bool]]) -> None:
        self._overlay = overlay
        self._brought = brought
        # For files that go back to what the repository has. None of their texts is read.
        self._storage = functools.lru_cache(_OPENED)(overlay.file)
        self._manifests = overlay.manifestlog.getstorage(b'')
        self._compared = Manifests(overlay)
        self._owners: dict[bytes, dict[bytes, bytes]] = {}
        # Each once: many changesets may list the same ones, and say so in a few bytes.
        self._names: dict[bytes, bytes] = {}
        self.introduced: dict[bytes, dict[bytes, bytes]] = {}
        self.misnamed: list[Misnamed] = []

    def changeset(self, node: bytes) -> Changeset:
        """Return the facts about a changeset, and check that its files are present."""
        try:
            return self._changeset(node)
        except (error.LookupError, *hgcompat.UNREADABLE):
            raise
        except (MemoryError, SystemError):
            # Mercurial's manifest parser raises these for lines that are too short or too long.
            text = self._manifests.revision(self._overlay[node].manifestnode())
            if _MANIFEST.fullmatch(text):
                raise
            raise Unfit(f'the manifest of changeset {node.hex()[:12]} is malformed') from None
        except (ArithmeticError, LookupError, TypeError, ValueError) as exc:
            raise Unfit(f'changeset {node.hex()[:12]} is malformed: {exc}') from exc

    def _changeset(self, node: bytes) -> Changeset:
        if self._overlay.changelog.revision(node).count(b'\n') > _MOST_LINES:
            raise Unfit(f'changeset {node.hex()[:12]} lists more than {_MOST_LINES} files')
        found = of_changelog(self._overlay, node)
        found = found._replace(files=tuple(map(self._checked_name, found.files)))
        check(found)
        manifest_node = self._manifest_node(node)
        if not self._manifests.hasnode(manifest_node) and manifest_node != nullid:
            raise missing(manifest_node)
        changes = self._compared.changes(self._manifest_node(found.p1), manifest_node)
        self._overlay.effort.check()
        second = None
        if found.p2 != nullid:
            second = self._compared.read(self._manifest_node(found.p2))
        introduced = self.introduced.setdefault(node, {})
        if not hgcompat.repository_has(self._manifests, manifest_node):
            introduced[b''] = manifest_node
            self._owners.setdefault(b'', {}).setdefault(manifest_node, node)
        listed = frozenset(found.files)
        for name, ((old_node, _old_flag), (file_node, flag)) in changes.items():
            self._checked_name(name)
            if file_node is None:
                continue
            if flag not in _FLAGS:
                raise Unfit(
                    f"file '{hgcompat.escaped(name)}' of changeset {node.hex()[:12]} has an "
                    f"unknown flag '{hgcompat.escaped(flag)}'"
                )
            if old_node == file_node or (second is not None and second.get(name) == file_node):
                continue
            self._file(node, name, file_node, name in listed)
        return found

    def _manifest_node(self, node: bytes) -> bytes:
        known = self.introduced.get(node, {}).get(b'')
        return known or self._overlay[node].manifestnode()

    def _checked_name(self, name: bytes) -> bytes:
        """Return the name of a file, the same object each time. Raise `Refused`."""
        if name not in self._names:
            changegroups.check_file_name(name)
            self._names[name] = name
        return self._names[name]

    def _file(self, node: bytes, name: bytes, file_node: bytes, listed: bool) -> None:
        """Check a file revision that the changeset ``node`` has and its parents have not."""
        in_repository = self._brought.get(name, {}).get(file_node)
        if in_repository is None:
            if file_node == nullid or not self._storage(name).hasnode(file_node):
                raise missing(file_node)
            in_repository = True
        if listed:
            self.introduced[node][name] = file_node
            if not in_repository:
                self._owners.setdefault(name, {}).setdefault(file_node, node)
            return
        # Changesets of some old conversions do not list all their files. The revision must then
        # have been introduced by an ancestor.
        changelog = self._overlay.changelog
        owner = self._owners.get(name, {}).get(file_node)
        if owner is not None:
            origin = changelog.rev(owner)
        elif in_repository:
            storage = self._storage(name)
            origin = storage.linkrev(storage.rev(file_node))
        else:
            origin = nullrev
        if origin == nullrev or not changelog.isancestorrev(origin, changelog.rev(node)):
            raise Unfit(
                f"changeset {node.hex()[:12]} does not list its file '{hgcompat.escaped(name)}'"
            )

    def group(self, unpacker: Any, storage: Any, name: bytes, read: bool) -> None:
        """Check the entries of one file's group, or of the manifests' if ``name`` is ``b''``.

        ``read`` tells whether revisions with an owner were read before.
        """
        owners = self._owners.get(name, {})
        for entry in hgcompat.deltas(unpacker):
            owner = owners.get(entry.node)
            if not (read and owner):
                text = storage.revision(entry.node)
                self._overlay.effort.check()
                if name:
                    _check_metadata(text)
            if owner is None:
                if not hgcompat.repository_has(storage, entry.node):
                    raise Unfit(
                        f'revision {entry.node.hex()[:12]} of '
                        + (f"file '{hgcompat.escaped(name)}'" if name else 'the manifest')
                        + ' belongs to no changeset of the push'
                    )
            elif entry.link != owner:
                offset = hgcompat.link_offset(unpacker.tell(), entry)
                self.misnamed.append(Misnamed(offset, owner))


def _check_metadata(text: bytes) -> None:
    """Raise `ValueError` if what precedes the content of a file is malformed.

    Whoever pulled the revision, or looked where it was copied from, would fail at it.
    """
    if text.startswith(_METADATA):
        if text.index(_METADATA, len(_METADATA)) > _MAX_METADATA:
            raise ValueError('the metadata are too large')
        found, _size = storageutil.parsemeta(text)
        if len(bin(found.get(b'copyrev', nullhex))) != len(nullid):
            raise ValueError('copyrev is not a node')


def check_written(overlay: Any, bundle: Bundle, path: str, checked: Checked) -> None:
    """Raise `Unfit` if a bundle's file lacks a revision that its changesets introduced.

    Revisions that came with ancestors of its bases may be absent.
    """
    with open(path, 'rb') as file:
        unpacker = exchange.readbundle(overlay.ui, file, hgcompat.to_bytes(path))
        unpacker.changelogheader()
        if [entry.node for entry in hgcompat.deltas(unpacker)] != list(bundle.nodes):
            raise Unfit('the bundle that was written does not have the changesets of the push')
        unpacker.manifestheader()
        there = {b'': {entry.node for entry in hgcompat.deltas(unpacker)}}
        for name in changegroups.file_groups(unpacker):
            there[name] = {entry.node for entry in hgcompat.deltas(unpacker)}
    changelog = overlay.changelog
    below = [changelog.rev(base) for base in bundle.bases]
    for node in bundle.nodes:
        for name, revision in checked.introduced[node].items():
            if revision in there.get(name, ()):
                continue
            storage = overlay.file(name) if name else overlay.manifestlog.getstorage(b'')
            origin = storage.linkrev(storage.rev(revision))
            if not any(changelog.isancestorrev(origin, base) for base in below):
                raise Unfit(f'revision {revision.hex()[:12]} is not in the bundle that was written')


#: Maximum size of a branch name in bytes: the database indexes it.
_MAX_BRANCH = 1000
_DATES = range(-(2**62), 2**62)
_TIMEZONES = range(-(2**31), 2**31)


def check(changeset: Changeset) -> None:
    """Raise `Refused` if the catalog cannot record a value of ``changeset``."""
    name = changeset.node.hex()[:12]
    if changeset.date not in _DATES or changeset.timezone not in _TIMEZONES:
        raise Refused(f'changeset {name} has a date that is out of range')
    if len(changeset.branch) > _MAX_BRANCH:
        shown = hgcompat.escaped(changeset.branch[:40])
        raise Refused(f'the name of branch {shown}... of changeset {name} is too long')


def of_changelog(repo: Any, node: bytes) -> Changeset:
    """Return the facts about a changeset from the changelog alone, without its manifest.

    Raise Mercurial's error if the changeset is missing or unreadable.
    """
    changelog = repo.changelog
    entry = changelog.changelogrevision(node)
    # Author and description as stored: hg's own properties recode them.
    _manifest, author, _date, rest = changelog.revision(node).split(b'\n', 3)
    _files, _blank, description = (b'\n' + rest).partition(b'\n\n')
    seconds, timezone = entry.date
    p1, p2 = changelog.parents(node)
    return Changeset(
        node=node,
        p1=p1,
        p2=p2,
        branch=entry.extra.get(b'branch', b'default'),
        author=author,
        date=int(seconds),
        timezone=timezone,
        description=description,
        files=tuple(entry.files),
        extras=tuple(sorted(entry.extra.items())),
    )
