"""What build tasks ask of changesets: ``json-automationrelevance``, ``json-pushchangedfiles``,
``json-info``, ``json-isancestor``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from mercurial import error, scmutil
from mercurial.hgweb import common
from mercurial.node import hex
from mercurial.utils import dateutil

from ... import hgcompat
from ...catalog import drafts, markers, names as catalog_names, pushlog, statements
from ...catalog.statements import BATCH, portions
from ...model import PushOf
from .. import errors, pages
from . import keywords, links, query, visibility
from .json_format import begun
from .keywords import text as _text

#: How many bytes of changesets are in memory at a time, unless one has more.
_BYTES = 1 << 20


def answer(web: Any) -> Iterator[bytes]:
    """Answer ``json-automationrelevance``: the changesets relevant to one, oldest first.

    These are its draft ancestors, and the changesets up to it in the push that brought it. Raise
    what `discovery.resolve` raises.
    """
    return begun(_chunks(web))


def _chunks(web: Any) -> Iterator[bytes]:
    repo = web.repo  # without the bundles that are laid over it
    catalog = repo.headless.read_catalog
    node, contexts = _relevant_to(web)
    backouts = keywords.Backouts(web.repo) if web.req.qsparams.get(b'backouts') else None
    is_obsolete = node in web.repo.obsstore.successors or bool(
        catalog.read(markers.obsolete, [node])
    )
    separator = '{"changesets": ['
    size = web.repo.unfiltered().changelog.rawsize
    for batch in portions(contexts, BATCH, lambda context: size(context.rev()), _BYTES):
        brought = catalog.read(pushlog.brought, [context.node() for context in batch])
        entries = [_relevant(context, brought.get(context.node())) for context in batch]
        if backouts is not None:
            asked = [context.node() for context in batch if context.mutable()]
            pushed = catalog.read(visibility.backouts, repo, asked, False) if asked else {}
            for entry, context in zip(entries, batch):
                backout = pushed.get(context.node())
                found = hex(backout) if backout else backouts.of(context)
                if found is not None:
                    entry['backedoutby'] = found.decode('ascii')
        yield (separator + ', '.join(map(json.dumps, entries))).encode('ascii')
        separator = ', '
    yield f'], "visible": {json.dumps(not is_obsolete)}}}'.encode('ascii')


def changed_files(web: Any) -> Iterator[bytes]:
    """Answer ``json-pushchangedfiles``: the files of the changesets of `answer`."""
    _node, contexts = _relevant_to(web)
    files = sorted({_text(name) for context in contexts for name in context.files()})
    return iter([json.dumps({'files': files}).encode('ascii')])


def _relevant_to(web: Any) -> tuple[bytes, Sequence[Any]]:
    """Return the requested changeset, and all changesets that are relevant to it."""
    name = _asked(web)[-1]
    repo = web.repo
    missing: list[bytes] = []
    with repo.headless.read_catalog.reading() as session:
        try:
            node = query.Resolver(session, repo, [name]).node(name)
        except error.RepoLookupError:
            if name in catalog_names.drafts_named(session, [name]).expired:
                raise errors.gone(web, session, name) from None
            raise
        listed = _listed(session, node)
        if not repo.changelog.hasnode(node):
            missing = [n for n in {node, *listed} if not repo.changelog.hasnode(n)]
            heads = drafts.heads(session, missing)
            found = catalog_names.drafts_named(session, [hex(n) for n in heads])
    if missing:  # no connection is held while the store is read
        pages.lay(web, found, [n for n in heads if n in found.bundles])
        repo = web.repo
    ancestors = [repo[rev] for rev in repo.revs(b'sort(draft() and ::%n, rev)', node)]
    came_with = set(listed)
    # Earlier pushes brought the others.
    contexts = [context for context in ancestors if context.node() not in came_with]
    contexts += [repo[n] for n in listed if repo.changelog.hasnode(n)]
    return node, contexts


def _listed(session: statements.Session, node: bytes) -> list[bytes]:
    """Return the changesets of the push that brought ``node``, up to ``node``."""
    brought = pushlog.brought(session, [node], with_ends=False)
    if node not in brought:
        return [node]
    push_id = brought[node].entry.push_id
    nodes = [n for n, _extras in pushlog.nodes_of(session, [push_id])[push_id]]
    return nodes[: nodes.index(node) + 1]


def _relevant(context: Any, brought: PushOf | None) -> dict[str, Any]:
    seconds, timezone = context.date()
    return {
        'author': _text(context.user()),
        'branch': _text(context.branch()),
        'date': [seconds, timezone],
        'desc': _text(context.description()),
        'extra': {_text(k): _text(v) for k, v in context.extra().items()},
        'files': sorted(map(_text, context.files())),
        'landingsystem': _extra(context, b'moz-landing-system'),
        'node': context.hex().decode('ascii'),
        'parents': _hexes(context.parents()),
        'phase': context.phasestr().decode('ascii'),
        'rev': context.rev(),
        **_push(brought),
        **_said(context),
    }


def _push(brought: PushOf | None) -> dict[str, Any]:
    if brought is None:
        return dict.fromkeys(('pushid', 'pushuser', 'pushdate', 'pushhead'))
    entry = brought.entry
    return {
        'pushid': entry.push_id,
        'pushuser': entry.user.decode('utf-8', 'replace'),
        'pushdate': [entry.date, 0],
        'pushhead': brought.head.hex(),
    }


def _said(context: Any) -> dict[str, list[dict[str, str]]]:
    """Return what a description says, in the format of hg.mozilla.org."""
    text = _text(context.description())[: links.LOOKED_AT]
    backed_out = [keywords.named(context.repo(), n.encode('ascii')) for n in links.backed_out(text)]
    return {
        'bugs': [{'no': str(n), 'url': links.BUG_URL % n} for n in links.bugs(text)],
        'reviewers': [
            {'name': name, 'revset': f'reviewer({name})'} for name in links.reviewers(text)
        ],
        'backsoutnodes': [{'node': node.hex()} for node in backed_out if node is not None],
    }


def _extra(context: Any, name: bytes) -> str | None:
    value = context.extra().get(name)
    return None if value is None else _text(value)


def info(web: Any) -> Iterator[bytes]:
    """Answer ``json-info``: facts about changesets, by the first 12 digits of their nodes."""
    contexts = [_changeset(web, name) for name in _asked(web)]
    entries = {
        context.hex()[:12].decode('ascii'): {
            'branch': _text(context.branch()),
            'children': _hexes(context.children()),
            'date': dateutil.datestr(context.date(), b'%Y-%m-%d %H:%M %1%2').decode('ascii'),
            'description': _text(context.description()),
            'files': list(map(_text, context.files())),
            'node': context.hex().decode('ascii'),
            'parents': _hexes(context.parents()),
            'rev': context.rev(),
            'tags': list(map(_text, context.tags())),
            'user': _text(context.user()),
        }
        for context in contexts
    }
    return iter([json.dumps(entries).encode('ascii')])


def is_ancestor(web: Any) -> Iterator[bytes]:
    """Answer ``json-isancestor``: whether ``node`` is ``head`` or an ancestor of it."""
    found = {}
    for item in (b'head', b'node'):
        name = web.req.qsparams.get(item)
        if not name:
            raise common.ErrorResponse(common.HTTP_NOT_FOUND, b"missing parameter '%s'" % item)
        try:
            found[item] = _changeset(web, name)
        except error.RepoLookupError as exc:
            line = b'unknown %s revision %s' % (item, hgcompat.escaped_bytes(name))
            raise common.ErrorResponse(common.HTTP_NOT_FOUND, line) from exc
    head, node = found[b'head'], found[b'node']
    entry = {
        'headnode': head.hex().decode('ascii'),
        'testnode': node.hex().decode('ascii'),
        'isancestor': node == head or node.isancestorof(head),
    }
    return iter([json.dumps(entry).encode('ascii')])


def _asked(web: Any) -> list[bytes]:
    asked = list(filter(None, pages.values(web.req, b'node')))
    if not asked:
        raise common.ErrorResponse(common.HTTP_BAD_REQUEST, b"missing parameter 'node'")
    return asked


def _changeset(web: Any, name: bytes) -> Any:
    """Return the context of a changeset. Raise `error.RepoLookupError`, also for the working
    directory, which has a hash of its own."""
    context = scmutil.revsymbol(web.repo, name)
    if context.rev() is None:
        raise error.RepoLookupError(b"unknown revision '%s'" % name)
    return context


def _hexes(contexts: Any) -> list[str]:
    return [context.hex().decode('ascii') for context in contexts]
