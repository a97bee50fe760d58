"""The way of a push from its first byte to its acknowledgement."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from mercurial import error, hook, phases
from mercurial.i18n import _
from mercurial.node import hex

from .. import config, hgcompat
from ..model import HeadlessError, Recorded, Refused, Temporary
from ..site import Site
from . import incoming as incomings, keys, quarantine as quarantines, split
from .incoming import Incoming
from .stream import BoundedEngine

#: The split, as it stands in ``hg config hooks``.
HOOK = b'pretxnchangegroup.headless'
PRIORITY = -1_000_000


def process(orig: Any, repo: Any, op: Any, unbundler: Any, source: bytes, url: bytes) -> None:
    """Process the bundle2 stream of a push; ``orig`` is `bundle2.processparts`."""
    with hgcompat.no_traceback(repo.ui, 'the push'), incomings.opened(repo, source, url) as push:
        op.headless = push
        try:
            unbundler._compengine = BoundedEngine(
                unbundler._compengine.bundletype()[1], push.site.settings.max_push_size
            )
            with push.stages.stage('receive'), _readable():
                orig(repo, op, unbundler)
            with _captured(op):
                _finish(push, dict(op.hookargs or {}))
        finally:
            op.headless = None


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """What the readers raise where the stream is no bundle."""
    try:
        yield
    except HeadlessError:
        raise
    except error.HookAbort:
        raise
    except error.BundleUnknownFeatureError as exc:
        part = hgcompat.escaped(exc.parttype or b'?')
        params = b' '.join(exc.params)
        with_params = f' with {hgcompat.escaped(params)}' if params else ''
        raise Refused(f'this server does not know the part {part}{with_params}') from exc
    except error.Abort as exc:
        raise Refused(f'the bundle is garbled: {hgcompat.to_str(exc.message)}') from exc
    except hgcompat.GARBLED as exc:
        raise Refused(f'the bundle is garbled ({type(exc).__name__})') from exc


@contextlib.contextmanager
def _captured(op: Any) -> Iterator[None]:
    """Send what is printed to the client, as `bundle2._processpart` does for a part."""
    if not (op.captureoutput and op.reply is not None):
        yield
        return
    op.ui.pushbuffer(error=True, subproc=True)
    try:
        yield
    finally:
        output = op.ui.popbuffer()
        if output:
            op.reply.newpart(b'output', data=output, mandatory=False)


def _finish(push: Incoming, hookargs: dict[bytes, bytes]) -> None:
    if not push.entries:
        _without_changesets(push)
        return
    args = {hgcompat.to_str(k) if isinstance(k, bytes) else k: v for k, v in hookargs.items()}
    args.update(source=push.source, url=push.url, bundle2=b'1', txnname=b'push')
    repo = push.repo
    with push.stages.stage('hooks'):
        repo.hook(b'prechangegroup', throw=True, **args)
    with push.stages.entering('quarantine', quarantines.opened(push)) as quarantine:
        nodes = [c.node for c in quarantine.changesets]
        args.update(node=hex(nodes[0]), node_last=hex(nodes[-1]))
        # The name that VARIABLE has for a Python hook.
        args['headless_quarantine'] = quarantine.url()
        results: list[Recorded] = []
        errors: list[Exception] = []

        def headless(ui: Any, repo: Any, hooktype: bytes, **kwargs: Any) -> bool:
            try:
                results.append(split.split(push, quarantine))
            except Exception as exc:  # raised below: a hook's error has two lines
                errors.append(exc)
            return False

        overlay = quarantine.overlay
        bound = push.ui.configoverride({(b'hooks', HOOK): headless}, b'headless')
        with bound, push.stages.stage('hooks'):
            hook.hook(push.ui, overlay, b'pretxnchangegroup', throw=True, **args)
        for exc in errors:
            raise exc
        if len(results) != 1:
            raise Temporary('the hooks of this server do not run; nothing was stored')
        report(push, results[0], nodes[-1])
        with push.stages.stage('hooks'):
            hook.hook(push.ui, overlay, b'changegroup', throw=False, **args)
            del args['node_last']
            for node in nodes:
                hook.hook(
                    push.ui, overlay, b'incoming', throw=False, **{**args, 'node': hex(node)}
                )


def _without_changesets(push: Incoming) -> None:
    """Phases, bookmarks and markers alone: only what changes anything is looked at."""
    changelog = push.repo.unfiltered().changelog
    push.public_heads = [n for n in push.public_heads if not changelog.hasnode(n)]
    if push.public_heads or push.bookmarks or push.markers:
        with push.stages.entering('quarantine', quarantines.opened(push)) as quarantine:
            _report_markers(push, split.split(push, quarantine))


def report(push: Incoming, recorded: Recorded, tip: bytes) -> None:
    """Tell the client what was stored, as what, and where to see it."""
    push.stages.note(push=recorded.push_id, changesets=recorded.changesets)
    status = push.ui.status
    _report_markers(push, recorded)
    if recorded.push_id is None:
        status(b'headless: all changesets had been pushed before\n')
        return
    plural = b'changeset' if recorded.changesets == 1 else b'changesets'
    status(
        b'headless: stored %d %s as push %d\n' % (recorded.changesets, plural, recorded.push_id)
    )
    base = hgcompat.request_base(push.ui) or push.site.settings.link_base
    page = b'pushloghtml?changeset=%s' % hex(tip)
    status(b'headless: see %s\n' % (b'%s/%s' % (base.encode('utf-8'), page) if base else page))


def _report_markers(push: Incoming, recorded: Recorded) -> None:
    if recorded.markers:
        # Mercurial's own words.
        push.ui.status(_(b'%i new obsolescence markers\n') % recorded.markers)


def push_key(
    orig: Any, repo: Any, namespace: bytes, key: bytes, old: bytes, new: bytes
) -> Any:
    """``pushkey`` as a command of its own: what a client falls back to.

    ``phases`` of what is public here already must not take the lock.
    """
    if namespace not in keys.NAMESPACES or not config.participates(repo):
        return orig(repo, namespace, key, old, new)
    with hgcompat.no_traceback(repo.ui, 'the push'):
        with incomings.opened(repo, b'push', repo.url(), 'pushkey') as push:
            with _readable():
                taken = keys.take(push, namespace, key, old, new)
            unfiltered = repo.unfiltered()
            draft_here = any(
                unfiltered.changelog.hasnode(node) and unfiltered[node].phase() != phases.public
                for node in push.public_heads
            )
            if draft_here:
                return orig(repo, namespace, key, old, new)
            if not taken:
                return False
            try:
                _without_changesets(push)
            except error.PushRaced:
                return False
        return True


def warmed(orig: Any, site: Site) -> Iterator[bytes]:
    """The payload of a push; what its end needs is imported until its beginning comes.

    Only one of the two threads runs Python at a time: the other waits for the
    client, and then for this one. Modules that are imported lazily would not
    bear more.
    """
    thread = threading.Thread(target=site.warm_up, daemon=True)
    thread.start()
    chunks = iter(orig())
    first = next(chunks, b'')
    thread.join()
    yield first
    yield from chunks


def refuse_outside(ui: Any, repo: Any, hooktype: bytes, **kwargs: Any) -> bool:
    """The hook where no push was taken apart: then none may come in."""
    if kwargs.get('source') in (b'push', b'serve'):
        with hgcompat.clear_errors():
            raise Refused('the push did not pass through the quarantine')
    return False

