"""``getbundle`` for drafts: by link if the client can follow one, otherwise inline."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from mercurial import bookmarks, bundle2, exchange, obsolete, obsutil, phases, wireprototypes
from mercurial.node import nullid

from .. import config, errors, hgcompat, store as stores, timings
from ..backend import Backend
from ..bundles import ancestry, markers, overlay as overlays
from ..catalog import (
    bookmarks as catalog_bookmarks,
    drafts as catalog_drafts,
    markers as catalog_markers,
)
from ..errors import Corrupt, Refused
from ..model import Bundle
from . import links, phase_roots

#: The digest for clients to check; they know md5, sha1 and sha512.
_DIGEST = b'sha512'
#: Seconds after which a process compares an object's digest again.
_CHECKED_FOR = 3600
_MOST_CHECKED = 10_000
#: Maximum number of drafts that one request names.
_MOST_HEADS = 1000
#: Arguments by which a client asks for some files only.
_NARROW = ('narrow', 'includepats', 'excludepats')
#: The capability by which a client of the extension remotefilelog wants no contents of files, as
#: it asks for them when it needs them. The repository does not have those of drafts.
_SHALLOW = b'exp-remotefilelog-b2cap-1'


#: Bundles and the URLs that a client fetches them from.
Linked = Sequence[tuple[Bundle, str]]


class Served(NamedTuple):
    """The drafts of an answer: their bundles, and a link for each if they are sent by link.

    The generators of the answer's parts get it as their argument ``headless_served``.
    """

    bundles: Sequence[Bundle]
    linked: Linked = ()


def get_bundle_chunks(
    orig: Any,
    repo: Any,
    source: bytes,
    heads: Sequence[bytes] | None = None,
    **kwargs: Any,
) -> Any:
    """`exchange.getbundlechunks`, with drafts allowed in ``heads``."""
    kwargs.pop('headless_served', None)  # not to be set by a client
    drafts = _not_public(repo, heads or ())
    if not drafts or not config.participates(repo):
        return orig(repo, source, heads=heads, **kwargs)
    if any(kwargs.get(name) for name in _NARROW):
        with errors.clear_errors():
            raise Refused('a narrow clone cannot pull drafts: their bundles have all files')
    # The logged time ends when the reply begins to stream.
    with (
        errors.no_traceback(repo.ui, 'the pull'),
        timings.logged(repo.ui, 'getbundle', drafts=len(drafts)) as stages,
    ):
        if len(drafts) > _MOST_HEADS:
            raise Refused(f'one request can name {_MOST_HEADS} drafts, and not {len(drafts)}')
        backend = repo.headless
        with stages.stage('lookup'):
            with backend.catalog.reading() as session:
                found = catalog_drafts.bundles_with(session, drafts)
        if any(node not in found for node in drafts):
            # Stock raises its own error for an unknown changeset.
            return orig(repo, source, heads=heads, **kwargs)
        wanted = list({found[node].key: found[node] for node in drafts}.values())
        stages.note(bundles=len(wanted), bytes=sum(bundle.size for bundle in wanted))
        overlays.check_bases(repo, wanted)
        backend.has_sent_drafts = True
        with stages.stage('links'):
            linked = _links(repo, source, drafts, wanted, kwargs)
        if linked is not None:
            public = _public_heads(repo, heads or (), linked, kwargs.get('common') or ())
            if public:
                stages.note(by='link')
                served = Served(wanted, linked)
                return orig(repo, source, heads=public, headless_served=served, **kwargs)
        if backend.settings.inline == 'never':
            raise Refused('this client can follow no link, and headless.inline is never')
        stages.note(by='inline')
        has_bundle2 = exchange.bundle2requested(kwargs.get('bundlecaps'))
        if not (has_bundle2 or phase_roots.are_named(repo, drafts)):
            raise Refused('a client without bundle2 would publish these drafts: upgrade Mercurial')
        with stages.stage('inline'):
            return _inline(orig, repo, wanted, source, heads, kwargs)


def wire_command(orig: Any, repo: Any, proto: Any, others: dict[bytes, bytes]) -> Any:
    """The wire command ``getbundle``.

    With ``server.pullbundle``, Mercurial looks all heads up in the repository before it calls
    `exchange.getbundlechunks`.
    """
    heads = wireprototypes.decodelist(others.get(b'heads', b''))
    if not config.participates(repo) or not _not_public(repo, heads):
        return orig(repo, proto, others)
    with repo.ui.configoverride({(b'server', b'pullbundle'): False}, b'headless'):
        return orig(repo, proto, others)


def _not_public(repo: Any, heads: Iterable[bytes]) -> set[bytes]:
    """Return those ``heads`` that may be drafts."""
    has_node = repo.changelog.hasnode
    wdirid = repo.nodeconstants.wdirid  # Mercurial refuses it itself
    return {n for n in heads if len(n) == len(nullid) and n != wdirid and not has_node(n)}


def changegroup_part(orig: Any, bundler: Any, repo: Any, source: bytes, **kwargs: Any) -> Any:
    """Generate the changegroup part, and after it a ``remote-changegroup`` part for each link.

    See ``hg help internals.bundle2``.
    """
    served: Served | None = kwargs.pop('headless_served', None)
    result = orig(bundler, repo, source, **kwargs)
    for bundle, url in served.linked if served else ():
        part = bundler.newpart(b'remote-changegroup')
        part.addparam(b'url', hgcompat.to_bytes(url))
        part.addparam(b'size', b'%d' % bundle.size)
        part.addparam(b'digests', _DIGEST)
        part.addparam(b'digest:' + _DIGEST, hgcompat.to_bytes(bundle.sha512))
    return result


def bookmarks_part(orig: Any, bundler: Any, repo: Any, source: bytes, **kwargs: Any) -> Any:
    """Generate the ``bookmarks`` part, with those of the drafts in the answer ("clone -r")."""
    served: Served | None = kwargs.pop('headless_served', None)
    if served is None or not kwargs.get('bookmarks'):
        return orig(bundler, repo, source, **kwargs)
    nodes = {node for bundle in served.bundles for node in bundle.nodes}
    with repo.headless.catalog.reading() as session:
        drafts = catalog_bookmarks.at(session, nodes)
    found = {name: node for name, node in drafts.items() if hgcompat.is_plain(name)}
    found.update(bookmarks.listbinbookmarks(repo))
    data = bookmarks.binaryencode(repo, sorted(found.items()))
    bundler.newpart(b'bookmarks', data=data)
    return None


def phases_part(orig: Any, bundler: Any, repo: Any, source: bytes, **kwargs: Any) -> Any:
    """Generate the ``phase-heads`` part, with public heads only.

    To draft heads Mercurial adds the public heads that it finds among all of their ancestors. Here
    only the drafts are walked.
    """
    served: Served | None = kwargs.pop('headless_served', None)
    if served is not None:

        def is_public(node: bytes) -> bool:
            return bool(repo[node].phase() == phases.public)

        heads, changelog = kwargs['heads'], repo.changelog
        drafts = ancestry.above(changelog, heads, is_public)
        kwargs['heads'] = [*filter(is_public, heads), *ancestry.bases(changelog, drafts)]
    return orig(bundler, repo, source, **kwargs)


def _links(
    repo: Any,
    source: bytes,
    drafts: Collection[bytes],
    wanted: Sequence[Bundle],
    kwargs: dict[str, Any],
) -> Linked | None:
    """Return a link for each bundle in ``wanted``, or None if the answer has to be inline."""
    backend, bundlecaps = repo.headless, kwargs.get('bundlecaps')
    settings = backend.settings
    if (
        settings.inline == 'always'
        or source != b'serve'  # a peer in this process: there is no server to link to
        or not exchange.bundle2requested(bundlecaps)
        or not kwargs.get('cg', True)
        # "hg incoming" reads changegroup parts only
        or not (kwargs.get('phases') or kwargs.get('listkeys'))
        or any(bundle.head not in drafts for bundle in wanted)
    ):
        return None
    capabilities = hgcompat.bundle2_capabilities(bundlecaps)
    if _DIGEST not in capabilities.get(b'digests', ()):
        return None
    base = hgcompat.request_base(repo.ui) or settings.link_base
    linked = []
    for bundle in wanted:
        url = links.link(settings, bundle, base)
        if url is None:
            return None
        scheme = hgcompat.to_bytes(url.split(':', 1)[0])
        if scheme not in capabilities.get(b'remote-changegroup', ()):
            return None
        _check_object(backend, bundle)
        linked.append((bundle, url))
    return linked


def _check_object(backend: Backend, bundle: Bundle) -> None:
    """Raise `errors.Corrupt` if an object is not as stored: no client tries a link twice."""
    checked = backend.catalog.memory('checked objects')
    is_recent = checked.get(bundle.key, 0) > time.monotonic()
    if is_recent:
        matches = backend.store.size(bundle.key) == bundle.size
    else:
        matches = backend.store.sha256(bundle.key) == stores.digest(bundle.key)
    if not matches:
        checked.pop(bundle.key, None)
        raise Corrupt(f'object {bundle.key} is not in the store as it was stored')
    if len(checked) > _MOST_CHECKED:
        checked.clear()
    if not is_recent:
        checked[bundle.key] = time.monotonic() + _CHECKED_FOR


def _public_heads(
    repo: Any, heads: Sequence[bytes], linked: Linked, common: Sequence[bytes]
) -> list[bytes]:
    """Return the public heads to send beside the links.

    These are those requested, the bases of the bundles, and what of the bundles has become
    public; if there are none, heads that the client has, so that there is an answer.
    """
    has_node = repo.changelog.hasnode
    public = {node for node in heads if has_node(node)}
    for bundle, _url in linked:
        public.update(bundle.bases)
        public.update(node for node in bundle.nodes if has_node(node))
    if not public:
        public.update(node for node in common if node != nullid and has_node(node))
    return sorted(public)


def _inline(
    orig: Any,
    repo: Any,
    wanted: Sequence[Bundle],
    source: bytes,
    heads: Sequence[bytes] | None,
    kwargs: dict[str, Any],
) -> Any:
    """Answer with the drafts in the reply itself, from an overlay."""
    bundlecaps = kwargs.get('bundlecaps')
    with contextlib.ExitStack() as stack:
        overlay = stack.enter_context(overlays.opened(repo, repo.headless.store, wanted))
        if exchange.bundle2requested(bundlecaps):
            kwargs['headless_served'] = Served(wanted)
        # What is hidden of the repository (`server.view`) says nothing of drafts, which it has not.
        view = b'served' if repo.filtername == b'immutable' else repo.filtername
        kwargs['bundlecaps'] = [cap for cap in bundlecaps or () if cap != _SHALLOW]
        where = overlay.filtered(view) if view else overlay
        info, chunks = orig(where, source, heads=heads, **kwargs)
        return info, _closing(chunks, stack.pop_all())


def _closing(chunks: Iterator[bytes], stack: contextlib.ExitStack) -> Iterator[bytes]:
    # The reply streams after the handler has returned.
    with stack:
        yield from chunks


def obsmarkers_part(orig: Any, bundler: Any, repo: Any, source: bytes, **kwargs: Any) -> Any:
    """Generate the ``obsmarkers`` part, and a second one with markers of the drafts in the answer.

    A marker may be in both parts; clients ignore it in the second.
    """
    served: Served | None = kwargs.pop('headless_served', None)
    result = orig(bundler, repo, source, **kwargs)
    if served is None or not kwargs.get('obsmarkers'):
        return result
    if obsolete.isenabled(repo, obsolete.exchangeopt):
        nodes = {node for bundle in served.bundles for node in bundle.nodes}
        with repo.headless.catalog.reading() as session:
            found = set(map(markers.unpack, catalog_markers.relevant(session, nodes)))
        nodes.update(marker[0] for marker in found)
        found |= repo.obsstore.relevantmarkers(nodes)
        bundle2.buildobsmarkerspart(bundler, obsutil.sortedmarkers(found))
    return result
