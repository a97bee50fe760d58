"""A push from its first byte to its acknowledgement.

The order is store, repository, database. A crash between two steps leaves an object without a
row, or public history that was going to be public anyway; never a row without its object.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from mercurial import bundle2, error
from mercurial.i18n import _
from mercurial.node import short

from .. import config, errors, hgcompat, place as places
from ..bundles import check, overlay as overlays, write
from ..bundles.check import Unfit
from ..catalog import (
    bans,
    drafts,
    public_log,
    pushlog,
    record as catalog_record,
    statements,
    user_limits,
)
from ..errors import Deletions, HeadlessError, Raced, Refused, Temporary
from ..lifecycle import upload
from ..model import LogState, Push, Recorded, Unlogged
from ..replication import append, follow, unrecorded
from . import (
    apply,
    bookmarks,
    divide,
    incoming as incomings,
    parts,
    quarantine as quarantines,
    stream,
)
from .divide import Divided
from .hooks import Hooks
from .incoming import Incoming
from .quarantine import Quarantine

#: Seconds by which the clocks of this server and of the database may differ.
_CLOCK = 60


def unbundle(orig: Any, repo: Any, bundle: Any, heads: Any, source: bytes, url: bytes) -> Any:
    """Take a push apart. Refuse it if nothing does so: its drafts would enter the repository."""
    if not config.participates(repo):
        return orig(repo, bundle, heads, source, url)
    is_bundle2 = isinstance(bundle, bundle2.unbundle20)
    try:
        with errors.clear_errors():
            if not config.takes_pushes(repo):
                raise Refused('this server takes no pushes: hgext_headless.push is not loaded')
        if not is_bundle2:
            _process_changegroup(repo, bundle, source, url)
            return 1
    except error.Abort as exc:
        if is_bundle2:
            exc.duringunbundle2 = True  # Mercurial then sends the error as a part.
        if is_bundle2 or source != b'serve':  # a push by path has no wire
            raise
        # Mercurial would write it to the server's own stderr, which over http no client sees.
        repo.ui.write_err(exc.format())
        return 0
    stream.bound(repo.ui, bundle, repo.headless.settings.max_push_size, source, url)
    # 1 is success, for clients that accept no reply bundle.
    return orig(repo, bundle, heads, source, url) or 1


def process(orig: Any, repo: Any, op: Any, unbundler: Any) -> Any:
    """Process the parts of a push. ``orig`` is `bundle2.processparts`."""
    body = hgcompat.stream_of(unbundler)
    if not isinstance(body, stream.Body):
        return orig(repo, op, unbundler)
    opened = incomings.opened(repo, body.source, body.url)
    with errors.no_traceback(repo.ui, 'the push'), opened as push:
        with push.stages.stage('receive'), stream.readable():
            with bundle2.partiterator(repo, op, unbundler) as received:
                for part in received:
                    parts.receive(push, op, part)
        with _captured(op):
            push.hookargs = {b'bundle2': b'1', **(op.hookargs or {})}
            take(push)
    return None


def _process_changegroup(repo: Any, unpacker: Any, source: bytes, url: bytes) -> None:
    """Process a push that is a bare changegroup (bundle1): drafts, whose phases come as keys."""
    opened = incomings.opened(repo, source, url)
    with errors.no_traceback(repo.ui, 'the push'), opened as push:
        with push.stages.stage('receive'), stream.readable():
            body = stream.of_changegroup(unpacker, push.backend.settings.max_push_size)
            push.receive(body, b'01')
        take(push)


@contextlib.contextmanager
def _captured(op: Any) -> Iterator[None]:
    """Send output to the client, as `bundle2._processpart` does for a part."""
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


def take(push: Incoming) -> None:
    """Carry out a push that was received. On return it is stored, and can be acknowledged.

    If this server lacks what another one took, follow first. Raise what `_take` raises.
    """
    logged = places.has_log(push.backend.settings)
    if logged and _needs_history(push):
        follow.catch_up(push.repo, push.backend)
    try:
        _take(push)
    except Unfit as exc:
        apply.recover(push)
        # The client leaves out content that another server has.
        if logged and follow.catch_up(push.repo, push.backend):
            raise Temporary(f'this server lacked public history until now ({exc})') from exc
        raise


def _needs_history(push: Incoming) -> bool:
    """Return whether a push moves bookmarks, or builds on or publishes what is not here."""
    has_node = push.repo.unfiltered().changelog.hasnode
    brought = {entry.node for entry in push.entries}
    parents = {parent for entry in push.entries for parent in (entry.p1, entry.p2)}
    needed = {*parents, *push.public_heads} - brought
    return bool(push.bookmarks) or not all(map(has_node, needed))


def _take(push: Incoming) -> None:
    """Carry out a push.

    Raise `Refused`, `Temporary`, `error.HookAbort` and `error.PushRaced`. Then nothing has
    changed that the client could see, with one exception: if the database failed after public
    changesets were added, they are in the repository.
    """
    stage = push.stages.stage
    changes_anything = _changes_anything(push)
    known = None
    if push.entries:
        unrecorded.record(push.repo, push.backend)
        known = _known(push, [entry.node for entry in push.entries])
        if push.public_heads and isinstance(known.place, LogState):
            append.record_lost(push.repo, push.backend, known.place)
        quarantines.sort(push, known.stored)
        opened = quarantines.opened(push)
    elif changes_anything:
        opened = quarantines.without_changesets(push)
    else:
        return
    hooks = Hooks(push)
    with hooks.transaction(), contextlib.ExitStack() as stack:
        with stage('quarantine'):
            quarantine = stack.enter_context(opened)
        hooks.enter_quarantine(quarantine)
        divided = divide.changesets(push, quarantine.overlay)
        moves = bookmarks.plan(push, divided.public)
        divided_markers = divide.markers_of(push, divided.public)
        hooks.before_close(divided, moves, divided_markers)

        changes_public = bool(divided.public or moves.applied or moves.leaving)
        has_log = places.has_log(push.backend.settings)
        to_log = has_log and changes_public
        changes = bool(changes_public or moves.stored)
        limited = push.backend.settings.has_limits
        to_record = to_log or bool(
            quarantine.changesets
            or moves.stored
            or moves.leaving
            or divided_markers.stored
            or (limited and changes)
        )
        if known is None:
            known = _known(push, divided.public) if to_record else StoredBefore(set(), None)
        place = None if isinstance(known.place, Temporary) else known.place
        if to_log and isinstance(known.place, Temporary):
            raise known.place
        if to_log and place is None:
            place = append.begun(push.repo, push.backend)
        # Clients send their markers with every push: whether one is new is seen later.
        if limited:
            _check_limits(push, divided, known, changes or not push.entries)
        held = _held(push, divided, known)
        with stage('pack'):
            files = _bundles(push, quarantine, divided, held)
            published, public_files = _public(push, quarantine, divided, moves, place)

        with stage('store'):
            upload.put(push.backend, [*files, *public_files])
        row = Push(
            user=config.pusher(push.repo, push.backend.settings),
            changesets=tuple(quarantine.changesets),
            bundles=tuple(bundle for bundle, _path in files),
            bookmarks=tuple(moves.stored),
            markers=tuple(divided_markers.stored),
            roots=tuple(divided.draft_roots),
            held=tuple(sorted(held)),
            published=published,
            size=push.size,
            seconds=push.stages.seconds()['total'],
            changes=changes,
            limited=limited,
        )
        recorded = Recorded()
        # Locked until it is recorded: others must not see a bookmark that has moved already, nor
        # expire a draft that is becoming public. Without a log, this also decides whether a name
        # is a draft's or a public changeset's.
        names_drafts = any(move.new for move in moves.stored)
        holding = apply.locked(push, changes_public or (names_drafts and not has_log))
        with unrecorded.noted(push.repo, divided.public, row.user), holding:
            with _at_the_head(push, moves) if to_log else contextlib.nullcontext() as session:
                if moves.applied and not has_log:
                    push.backend.catalog.read(bookmarks.check_drafts, moves)
                with stage('repository'):
                    apply.apply(push, quarantine.overlay, divided, moves, divided_markers.applied)
                hooks.applied(divided.public)
                if to_record:
                    recorded = _recorded(push, row, [*files, *public_files], session)
            apply.remove_bookmarks(push, moves)
        _compare_clocks(push, recorded)

        push.backend.pushed_roots.update(divided.draft_roots)
        report(push, recorded, divided)
        hooks.after(recorded.nodes, recorded.markers + len(divided_markers.applied))


def _changes_anything(push: Incoming) -> bool:
    """Return whether a push without changesets has new public heads, or bookmarks or markers."""
    changelog = push.repo.unfiltered().changelog
    push.public_heads = [n for n in push.public_heads if not changelog.hasnode(n)]
    return bool(push.public_heads or push.bookmarks or push.markers)


class StoredBefore(NamedTuple):
    """What the database knows before a push is stored.

    ``stored`` are those of its changesets that are stored drafts. ``place`` is where the
    repository stands in the log of public history; None if that has not begun, or is not
    needed; an error that matters only if the push changes public history.
    """

    stored: set[bytes]
    place: LogState | Temporary | None


def _known(push: Incoming, nodes: Collection[bytes]) -> StoredBefore:
    """Ask the database about ``nodes``, the changesets of a push, before any hook is run.

    A push that cannot be recorded stores nothing.
    """
    with push.stages.stage('database'), push.backend.catalog.reading() as session:
        bans.refuse(session, nodes)
        stored = drafts.known(session, nodes)
        place: LogState | Temporary | None = None
        try:
            # Drafts too: what is missing in the log is added with the next push.
            if places.has_log(push.backend.settings):
                place = places.find(push.repo, session)
        except Temporary as exc:
            place = exc
    return StoredBefore(stored, place)


def _check_limits(push: Incoming, divided: Divided, known: StoredBefore, counted: bool) -> None:
    """``counted`` tells whether the push counts even if it brings nothing new."""
    new = len(set(divided.drafts) - known.stored)
    if new or counted:
        settings = push.backend.settings
        user = config.pusher(push.repo, settings)
        with push.stages.stage('database'), push.backend.catalog.reading() as session:
            user_limits.check(session, settings, user, push.size, new)


def _held(push: Incoming, divided: Divided, known: StoredBefore) -> set[bytes]:
    """Return the draft heads that are in a stored bundle whose object is there."""
    heads = known.stored.intersection(divided.draft_heads)
    if not heads:
        return heads
    with push.stages.stage('database'):
        objects = push.backend.catalog.read(drafts.objects_with, heads)
    with push.stages.stage('store'):
        lost = upload.lost(push.backend, dict(objects.values()))
    if lost:
        push.stages.note(lost=len(lost))
    return {head for head, (key, _size) in objects.items() if key not in lost}


@contextlib.contextmanager
def _at_the_head(push: Incoming, moves: bookmarks.Plan) -> Iterator[statements.Session]:
    """Lock the log, and apply what it has and the repository, which must be locked, lacks.

    Until the session ends, the push is compared with the history of all servers. Raise
    `error.PushRaced`.
    """
    with push.backend.catalog.writing() as session:
        with push.stages.stage('database'):
            public_log.lock(session)
            follow.catch_up(push.repo, push.backend)
            bookmarks.check_drafts(session, moves)
        yield session


def _recorded(
    push: Incoming, row: Push, files: upload.Files, session: statements.Session | None
) -> Recorded:
    def record(stored_again: Deletions) -> Recorded:
        with push.stages.stage('database'):
            if session is None:
                return push.backend.catalog.write(catalog_record.record, row, stored_again)
            with session.connection.begin_nested():
                return catalog_record.record(session, row, stored_again)

    try:
        return upload.recorded(push.backend, files, record)
    except Raced as exc:
        raise bookmarks.raced(exc) from exc


def _compare_clocks(push: Incoming, recorded: Recorded) -> None:
    """Log a push to a server whose clock is wrong: nothing else depends on it."""
    difference = int(time.time()) - recorded.date
    if recorded.push_id is not None and abs(difference) > _CLOCK:
        push.stages.note(clock=difference)
        push.ui.log(
            b'headless',
            b"push %d: this server's clock is %d seconds ahead of the database's\n",
            recorded.push_id,
            difference,
        )


def report(push: Incoming, recorded: Recorded, divided: Divided) -> None:
    """Tell the client what was stored, the push id, and the URL of its page, if it is known.

    It is the page of the push that brought the last of its changesets if this one brings nothing.
    """
    status = push.ui.status
    if recorded.markers:
        # Mercurial's text.
        status(_(b'%i new obsolescence markers\n') % recorded.markers)
    if not push.entries:
        return
    number = len(recorded.nodes)
    push.stages.note(push=recorded.push_id, changesets=number)
    push_id, drafts = recorded.push_id, divided.drafts
    if push_id is None:
        if divided.public:
            published = hgcompat.to_bytes(errors.counted(len(divided.public), 'draft'))
            status(b'headless: published %s pushed before\n' % published)
        else:
            upto = b', up to %s' % short(drafts[-1]) if drafts else b''
            status(b'headless: all changesets had been pushed before%s\n' % upto)
        with contextlib.suppress(HeadlessError):  # nothing depends on it
            last = [*divided.public, *drafts][-1:]
            brought = push.backend.catalog.read(pushlog.brought, last, False)
            push_id = next((found.entry.push_id for found in brought.values()), None)
    else:
        stored = hgcompat.to_bytes(errors.counted(number, 'changeset'))
        status(b'headless: stored %s as push %d\n' % (stored, push_id))
    base = hgcompat.request_base(push.ui) or push.backend.settings.link_base
    if base and push_id:
        status(b'headless: see %s/push/%d\n' % (hgcompat.to_bytes(base), push_id))
    elif drafts and not base and not hgcompat.is_enabled(push.ui, b'hgext_headless.web'):
        status(b'headless: drafts cannot be pulled from here (hgext_headless.web is not loaded)\n')


def refuse_outside(ui: Any, repo: Any, hooktype: bytes, **kwargs: Any) -> bool:
    """The hook ``pretxnchangegroup.headless``: refuse what did not pass through `process`."""
    if kwargs.get('source') in (b'push', b'serve'):
        with errors.clear_errors():
            raise Refused('the push did not pass through the quarantine')
    return False


def _bundles(
    incoming: Incoming, quarantine: Quarantine, divided: Divided, held: Collection[bytes]
) -> upload.Files:
    """Write a bundle for each draft head that is not in ``held``, and check it against the push."""
    is_applied = functools.partial(hgcompat.repository_has, quarantine.overlay.changelog)
    newly_public = set(divided.public)
    files = []
    heads = [head for head in divided.draft_heads if head not in held]
    with overlays.packing(quarantine.overlay, len(heads)), check.packable():
        for head in heads:
            bundle, path = write.write_head(
                quarantine.overlay,
                incoming.backend.settings.repository,
                head,
                lambda node: node in newly_public or is_applied(node),
                incoming.folder,
            )
            check.check_written(quarantine.overlay, bundle, path, quarantine.checked)
            files.append((bundle, path))
    incoming.stages.note(
        bundles=len(files), stored_bytes=sum(bundle.size for bundle, _path in files)
    )
    return files


def _public(
    incoming: Incoming,
    quarantine: Quarantine,
    divided: Divided,
    moves: bookmarks.Plan,
    place: LogState | None,
) -> tuple[Unlogged | None, upload.Files]:
    """Write the bundle of what the log of public history lacks: see `append.pack`."""
    if place is None:
        return None, []
    return append.pack(
        incoming.repo,
        incoming.backend,
        incoming.folder,
        place,
        quarantine.overlay,
        divided.public,
        divided.public_heads,
        [*moves.applied, *((name, None) for name in moves.leaving)],
    )
