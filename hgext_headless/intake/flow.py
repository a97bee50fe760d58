"""The way of a push from its first byte to its acknowledgement."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from mercurial import error, phases, wireprototypes
from mercurial.i18n import _
from mercurial.node import hex

from .. import config, hgcompat
from ..model import HeadlessError, Recorded, Refused, Temporary
from ..site import Site
from . import incoming as incomings, keys, quarantine as quarantines, split
from .hooks import Hooks
from .incoming import Incoming
from .stream import MAX_READ, BoundedEngine, too_large

#: What a body begins with (``hg help internals.bundles``).
_BUNDLE2 = b'HG20'
_BUNDLES1 = (b'HG10UN', b'HG10GZ', b'HG10BZ')
_MAGIC = 6


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
                push.hookargs = dict(op.hookargs or {})
                _finish(push)
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
        raise Refused(f'the bundle is garbled: {hgcompat.to_str(exc.message).strip()}') from exc
    except OSError as exc:
        if exc.errno is None:  # of a decompressor
            raise Refused('the bundle is garbled') from exc
        raise Temporary(f'the push could not be kept: {exc.strerror}') from exc
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


def _finish(push: Incoming) -> None:
    hooks = Hooks(push)
    if not push.entries:
        _without_changesets(push, hooks)
        return
    hooks.before()
    with push.stages.entering('quarantine', quarantines.opened(push)) as quarantine:
        nodes = [changeset.node for changeset in quarantine.changesets]
        hooks.over(quarantine.overlay, quarantine.url(), nodes)
        results: list[Recorded] = []
        errors: list[Exception] = []

        def headless(ui: Any, repo: Any, hooktype: bytes, **kwargs: Any) -> bool:
            try:
                hooks.before_keys()
                results.append(split.split(push, quarantine))
            except Exception as exc:  # raised below: a hook's error has two lines
                errors.append(exc)
            return False

        hooks.split(headless)
        for exc in errors:
            raise exc
        if len(results) != 1:
            raise Temporary('the hooks of this server do not run; nothing was stored')
        report(push, results[0])
        hooks.after_keys()
        hooks.after(results[0].nodes)


def _without_changesets(push: Incoming, hooks: Hooks) -> None:
    """Phases, bookmarks and markers alone: only what changes anything is looked at."""
    changelog = push.repo.unfiltered().changelog
    push.public_heads = [n for n in push.public_heads if not changelog.hasnode(n)]
    if push.public_heads or push.bookmarks or push.markers:
        opened = quarantines.without_changesets(push)
        with push.stages.entering('quarantine', opened) as quarantine:
            hooks.before_keys()
            _report_markers(push, split.split(push, quarantine))
            hooks.after_keys()


def report(push: Incoming, recorded: Recorded) -> None:
    """Tell the client what was stored, as what, and where to see it."""
    number = len(recorded.nodes)
    push.stages.note(push=recorded.push_id, changesets=number)
    status = push.ui.status
    _report_markers(push, recorded)
    if recorded.push_id is None:
        status(b'headless: all changesets had been pushed before\n')
        return
    plural = b'changeset' if number == 1 else b'changesets'
    status(b'headless: stored %d %s as push %d\n' % (number, plural, recorded.push_id))
    base = hgcompat.request_base(push.ui) or push.site.settings.link_base
    page = b'pushloghtml?changeset=%s' % hex(recorded.nodes[-1])
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
                _without_changesets(push, Hooks(push))
            except error.PushRaced:
                return False
            except error.HookAbort as exc:  # in stock's words
                repo.ui.write_err(_(b'pushkey-abort: %s\n') % exc.message)
                return False
        return True


def wire_push_key(orig: Any, repo: Any, *args: Any) -> Any:
    """The wire command ``pushkey``: over http too an error is a line that clients print."""
    if not config.participates(repo):
        return orig(repo, *args)
    try:
        return orig(repo, *args)
    except error.Abort as exc:
        return wireprototypes.ooberror(exc.message + b'\n')


def payload(orig: Any, repo: Any, site: Site) -> Iterator[bytes]:
    """The body of a push; what its end needs is imported until its beginning comes.

    Only one of the two threads runs Python at a time: the other waits for the
    client, and then for this one. Modules that are imported lazily would not
    bear more.
    """
    with _in_the_reply(repo.ui):
        limit = site.settings.max_push_size
        announced = repo.ui.environ.get(b'CONTENT_LENGTH', b'')
        # Compression never adds an eighth.
        if announced.isdigit() and int(announced) > limit + limit // 8 + MAX_READ:
            raise too_large(limit)
        thread = threading.Thread(target=site.warm_up, daemon=True)
        thread.start()
        try:
            chunks = iter(orig())
            beginning = b''
            while len(beginning) < _MAGIC and (more := next(chunks, b'')):
                beginning += more
        finally:
            thread.join()
        if not beginning.startswith(_BUNDLE2) and beginning[: _MAGIC] not in _BUNDLES1:
            raise Refused('what was sent is no bundle')
        yield beginning
        yield from chunks


def check_stream(ui: Any, bundle: Any) -> None:
    """Read what stands before the parts of a bundle2."""
    with _in_the_reply(ui), _readable():
        _ = bundle.params


@contextlib.contextmanager
def _in_the_reply(ui: Any) -> Iterator[None]:
    """Have errors outside of the parts reach the client as those of parts do."""
    try:
        with hgcompat.no_traceback(ui, 'the push'):
            try:
                yield
            except (TypeError, ValueError) as exc:  # of a number that is not there
                raise Temporary('the push broke off before its end') from exc
    except error.Abort as exc:
        exc.duringunbundle2 = True
        raise


def refuse_outside(ui: Any, repo: Any, hooktype: bytes, **kwargs: Any) -> bool:
    """The hook where no push was taken apart: then none may come in."""
    if kwargs.get('source') in (b'push', b'serve'):
        with hgcompat.clear_errors():
            raise Refused('the push did not pass through the quarantine')
    return False

