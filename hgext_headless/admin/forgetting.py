"""``admin::headless-forget``: one draft goes everywhere, at once and for good."""

from __future__ import annotations

import re
import time
from typing import Any

from mercurial.node import bin, hex

from .. import hgcompat
from ..catalog import expiry, forgotten
from ..catalog.expiry import Going
from ..model import Refused, Temporary
from ..site import Site
from . import console, letting_go, removal


def run(ui: Any, repo: Any, site: Site, name: bytes, **opts: Any) -> int:
    reason: bytes = opts['reason']
    if not reason.strip():
        raise Refused('--reason is required: it stays in the audit table')
    node = _draft(repo, site, name)
    if opts['dry_run']:
        goings = site.catalog.read(expiry.holding, [node])
        for other in sorted(_with_descendants(site, goings, node)):
            ui.status(b'would forget %s\n' % hex(other))
        return 0
    with removal.required(site) as remover:
        # First, so that nobody pushes it again meanwhile.
        now = int(time.time())
        site.catalog.write(forgotten.record, console.operator(), [node], reason, now)
        goings = site.catalog.read(expiry.holding, [node])
        planned = letting_go.plan(repo, site, goings, _with_descendants(site, goings, node))
        gone = letting_go.carry_out(repo, site, remover, goings, planned)
        if site.catalog.known([node]):
            raise Temporary(f'{node.hex()[:12]} was pushed or published meanwhile')
    with ui.formatter(b'headless-forget', hgcompat.formatter_options(opts)) as fm:
        for forgotten_node in gone:
            fm.startitem()
            fm.write(b'node', b'forgot %s\n', hex(forgotten_node))
        if not gone:
            text = b'no such draft is stored; a push that brings it will be refused\n'
            console.summary(ui, fm, text)
    return 0


def _draft(repo: Any, site: Site, name: bytes) -> bytes:
    shown = hgcompat.escaped(name)
    if not re.fullmatch(rb'[0-9a-f]{12,40}', name):
        raise Refused(f'name the draft by its hash, or 12 digits of it, and not by "{shown}"')
    found = site.catalog.named(name)
    if len(found) > 1:
        raise Refused(f'"{shown}" is ambiguous')
    if not found and not re.fullmatch(rb'[0-9a-f]{40}', name):
        raise Refused(f'no draft "{shown}" is stored (name one that is not by its whole hash)')
    node = found[0] if found else bin(name)
    if node == repo.nodeconstants.wdirid:
        raise Refused(f'{shown} is the working directory')
    if letting_go.public_now(repo)(node):
        raise Refused(f'{shown} is public: it is in the repository itself')
    return node


def _with_descendants(site: Site, goings: list[Going], node: bytes) -> set[bytes]:
    """A draft with those that build on it, however far."""
    found = {node}
    for going in goings:
        parents = site.catalog.read(expiry.parents, going.bundle.nodes)
        for other in going.bundle.nodes:  # parents come first
            if not found.isdisjoint(parents[other]):
                found.add(other)
    return found
