"""Template keywords of hgweb's pages, for facts in the description of a changeset."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from mercurial import encoding, error, registrar, scmutil, templateutil
from mercurial.node import hex

from . import links

#: The keywords by name. hgweb's pages have them, ``hg log`` does not.
KEYWORDS: dict[bytes, Any] = {}
web_keyword = registrar.templatekeyword(KEYWORDS)


def mappings(found: Iterable[links.Link]) -> Any:
    """Return links in the form of templates. ``link`` is empty if none is configured."""
    return templateutil.mappinglist(
        [{b'label': _local(link.label), b'link': _local(link.url or '')} for link in found]
    )


def _local(text: str) -> bytes:
    found: bytes = encoding.tolocal(text.encode('utf-8', 'replace'))
    return found


def text(local: bytes) -> str:
    """Decode bytes of Mercurial, which are in the encoding of this server."""
    try:
        utf8: bytes = encoding.fromlocal(local)
    except error.Abort:  # it is not in this encoding
        utf8 = local
    return utf8.decode('utf-8', 'replace')


def _description(context: Any, mapping: Any) -> str:
    return text(context.resource(mapping, b'ctx').description())


def _links(context: Any, mapping: Any) -> links.Links:
    return links.configured(context.resource(mapping, b'repo').ui)


@web_keyword(b'bugs', requires={b'repo', b'ctx'})
def bugs(context: Any, mapping: Any) -> Any:
    """The bugs that the description names: ``label`` and ``link``.

    Also ``no`` and ``url``, as on hg.mozilla.org.
    """
    found = _links(context, mapping).bugs(_description(context, mapping))
    return templateutil.mappinglist(
        [
            {
                b'label': _local(bug.label),
                b'link': _local(bug.url or ''),
                b'no': _local(bug.label),
                b'url': _local(bug.url or links.BUG_URL % bug.label),
            }
            for bug in found
        ]
    )


@web_keyword(b'reviewers', requires={b'repo', b'ctx'})
def reviewers(context: Any, mapping: Any) -> Any:
    """The reviewers that the description names: ``label`` and ``link``.

    Also ``name`` and ``revset``, as on hg.mozilla.org.
    """
    found = _links(context, mapping).reviewers(_description(context, mapping))
    return templateutil.mappinglist(
        [
            {
                b'label': _local(reviewer.label),
                b'link': _local(reviewer.url or ''),
                b'name': _local(reviewer.label),
                b'revset': _local(f'reviewer({reviewer.label})'),
            }
            for reviewer in found
        ]
    )


@web_keyword(b'backsoutnodes', requires={b'ctx'})
def backsoutnodes(context: Any, mapping: Any) -> Any:
    """The changesets that this one backs out, if they are here: ``node``."""
    repo = context.resource(mapping, b'ctx').repo()
    found = []
    for name in links.backed_out(_description(context, mapping)):
        with contextlib.suppress(error.LookupError):  # it may be ambiguous
            node = scmutil.resolvehexnodeidprefix(repo, name.encode('ascii'))
            if node is not None:
                found.append({b'node': hex(node)})
    return templateutil.mappinglist(found)


@web_keyword(b'descriptionlinks', requires={b'repo', b'ctx'})
def descriptionlinks(context: Any, mapping: Any) -> Any:
    """The links for what the patterns of ``[headless-links]`` find in the description."""
    return mappings(_links(context, mapping).matches(_description(context, mapping)))
