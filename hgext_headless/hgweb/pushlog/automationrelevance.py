"""What build tasks ask of a changeset: ``json-automationrelevance``, ``json-info``,
``json-pushchangedfiles``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mercurial import error, scmutil
from mercurial.hgweb import common
from mercurial.node import hex

from ...catalog import (
    catalog as catalogs,
    markers,
    names as catalog_names,
    pushlog,
    session as sessions,
)
from ...model import Brought
from ...wire import discovery
from .. import error_pages, pages
from . import keywords, links
from .changeset_facts import text as _text


def answer(web: Any) -> Iterator[bytes]:
    """Answer ``json-automationrelevance``: the changesets relevant to one, oldest first.

    These are its draft ancestors, and the changesets up to it in the push that brought it.
    Raise what `discovery.resolve` raises.
    """
    catalog = web.repo.headless.reader
    node, contexts = _relevant_to(catalog, web)
    with catalog.reading() as session:
        brought = pushlog.brought(session, [context.node() for context in contexts])
        obsolete = markers.obsolete(session, [node])
    entries = [_relevant(context, brought.get(context.node())) for context in contexts]
    if web.req.qsparams.get(b'backouts'):
        for entry, context in zip(entries, contexts):
            found = keywords.backed_out_by(context)
            if found is not None:
                entry['backedoutby'] = found.decode('ascii')
    visible = node not in obsolete and not _has_successors(web.repo, node)
    return iter([json.dumps({'changesets': entries, 'visible': visible}).encode('ascii')])


def changed_files(web: Any) -> Iterator[bytes]:
    """Answer ``json-pushchangedfiles``: the files of the changesets of `answer`.

    Raise what `discovery.resolve` raises.
    """
    _node, contexts = _relevant_to(web.repo.headless.reader, web)
    files = sorted({_text(name) for context in contexts for name in context.files()})
    return iter([json.dumps({'files': files}).encode('ascii')])


def _has_successors(repo: Any, node: bytes) -> bool:
    return node in repo.obsstore.successors


def _relevant_to(catalog: catalogs.Catalog, web: Any) -> tuple[bytes, list[Any]]:
    """Return the requested changeset, and all changesets that are relevant to it."""
    name = _asked(web)[0]
    repo = web.repo
    with catalog.reading() as session:
        try:
            node = discovery.resolve(
                lambda key: scmutil.revsymbol(repo, key).node(), repo, name, session
            )
        except error.RepoLookupError:
            if name in catalog_names.drafts_named(session, [name]).expired:
                raise error_pages.gone(web, session, name) from None
            raise
        listed = _listed(session, node)
        drafts: list[bytes] = []
        if not repo.changelog.hasnode(node):
            drafts = [n for n in [node, *listed] if not repo.changelog.hasnode(n)]
            found = catalog_names.drafts_named(session, [hex(n) for n in drafts])
    if drafts:  # no connection is held while the store is read
        pages.lay(web, found, [n for n in drafts if n in found.bundles])
        repo = web.repo
    ancestors = [repo[rev] for rev in repo.revs(b'sort(draft() and ::%n, rev)', node)]
    came_with = set(listed)
    # Earlier pushes brought the others.
    contexts = [context for context in ancestors if context.node() not in came_with]
    contexts += [repo[n] for n in listed if repo.changelog.hasnode(n)]
    return node, contexts


def _listed(session: sessions.Session, node: bytes) -> list[bytes]:
    """Return the changesets of the push that brought ``node``, up to ``node``."""
    brought = pushlog.brought(session, [node])
    if node not in brought:
        return [node]
    push_id = brought[node].entry.push_id
    nodes = [n for n, _extras in pushlog.nodes_of(session, [push_id])[push_id]]
    return nodes[: nodes.index(node) + 1]


def _relevant(context: Any, brought: Brought | None) -> dict[str, Any]:
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
        **{name: keywords.plain(name, brought) for name in ('pushid', 'pushuser', 'pushdate')},
        'pushhead': keywords.plain('pushheadnode', brought),
        **_said(_text(context.description())),
    }


def _said(text: str) -> dict[str, list[dict[str, str]]]:
    """Return what a description says, in the format of hg.mozilla.org."""
    return {
        'bugs': [{'no': str(n), 'url': links.BUG_URL % n} for n in links.bugs(text)],
        'reviewers': [
            {'name': name, 'revset': f'reviewer({name})'} for name in links.reviewers(text)
        ],
        'backsoutnodes': [{'node': node} for node in links.backed_out(text)],
    }


def _extra(context: Any, name: bytes) -> str | None:
    value = context.extra().get(name)
    return None if value is None else _text(value)


def info(web: Any) -> Iterator[bytes]:
    """Answer ``json-info``: facts about changesets, by node."""
    contexts = [scmutil.revsymbol(web.repo, name) for name in _asked(web)]
    entries = {
        context.hex().decode('ascii'): {
            'branch': _text(context.branch()),
            'children': _hexes(context.children()),
            'date': list(context.date()),
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


def _asked(web: Any) -> list[bytes]:
    names: list[bytes] = web.req.qsparams.getall(b'node')
    if not names:
        raise common.ErrorResponse(common.HTTP_BAD_REQUEST, b"missing parameter 'node'")
    return names


def _hexes(contexts: Any) -> list[str]:
    return [context.hex().decode('ascii') for context in contexts]
