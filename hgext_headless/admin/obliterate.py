"""``admin::headless-obliterate``: remove one draft everywhere, at once and for good."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mercurial import pycompat
from mercurial.node import bin, hex

from .. import hgcompat, place as places
from ..backend import Backend
from ..catalog import bans, drafts, drop as drop_rows, names, statements
from ..errors import Refused, Temporary
from ..lifecycle import delete, drop
from . import options


def run(ui: Any, repo: Any, backend: Backend, name: bytes, **opts: Any) -> int:
    reason: bytes = opts['reason']
    if not reason.strip():
        raise Refused('--reason is required: it stays in the audit table')
    node = _draft(repo, backend, name)
    if opts['dry_run']:
        for other in sorted(backend.catalog.read(_with_descendants, node)):
            ui.status(b'would obliterate %s\n' % hex(other))
        return 0
    with delete.required(backend) as deleter:
        # Before anything is removed, so that no push brings it back meanwhile.
        with places.at_the_head(repo, backend) as public:
            _check_draft(public.is_public, node)
            chosen = _with_descendants(public.session, node)
            for each in chosen:
                drop.note_obliterated(backend, each)
            user = hgcompat.to_str(opts['user']) or options.operator()
            bans.record(public.session, user, sorted(chosen), reason)
        candidates = backend.catalog.read(drop_rows.holding, [node])
        planned = drop.plan(repo, backend, candidates, chosen)
        gone = drop.carry_out(repo, backend, deleter, candidates, planned)
        if backend.catalog.read(drafts.known, [node]):
            raise Temporary(f'{node.hex()[:12]} was pushed or published meanwhile')
        failed = options.tell_undeleted(ui, deleter)
    with ui.formatter(b'headless-obliterate', pycompat.byteskwargs(opts)) as fm:
        for each in gone:
            fm.startitem()
            fm.write(b'node', b'obliterated %s\n', hex(each))
        if not gone:
            text = b'no such draft is stored; a push that brings it will be refused\n'
            options.summary(ui, fm, text)
    return 1 if failed else 0


def _draft(repo: Any, backend: Backend, name: bytes) -> bytes:
    """Return the node of a draft that is named by its hash, or 12 or more digits of it.

    The whole hash of a draft that is not stored is accepted too, to ban it. Raise `Refused`.
    """
    shown = hgcompat.escaped(name)
    if not re.fullmatch(rb'[0-9a-f]{12,40}', name):
        raise Refused(f'name the draft by its hash, or 12 digits of it, and not by "{shown}"')
    found = backend.catalog.read(names.named, name)
    if len(found) > 1:
        raise Refused(f'"{shown}" is ambiguous')
    if not found and not re.fullmatch(rb'[0-9a-f]{40}', name):
        raise Refused(
            f'no draft "{shown}" is stored: to refuse one before it is pushed, give its whole hash'
        )
    node = found[0] if found else bin(name)
    if node == repo.nodeconstants.wdirid:
        raise Refused(f'{shown} is the working directory')
    _check_draft(places.unchanging(repo), node)
    return node


def _check_draft(is_public: Callable[[bytes], bool], node: bytes) -> None:
    if is_public(node):
        raise Refused(f'{node.hex()[:12]} is public: it is in the repository itself')


def _with_descendants(session: statements.Session, node: bytes) -> set[bytes]:
    """Return ``node`` and its stored descendants."""
    found = {node}
    for candidate in drop_rows.holding(session, [node]):
        parents = drafts.parents(session, candidate.bundle.nodes)
        for other in candidate.bundle.nodes:  # parents come first
            if not found.isdisjoint(parents[other]):
                found.add(other)
    return found
