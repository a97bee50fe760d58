"""``admin::headless-doctor``: what is wrong with this server, and what to do."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from mercurial import error, pycompat

from .. import config, hgcompat, place as places, requirement
from ..backend import Backend
from ..catalog import diagnosis, engine, epochs, public_log, pushlog, schema, statements
from ..errors import HeadlessError, of_file
from ..hgweb.pushlog import visibility
from ..lifecycle import delete, drop
from ..model import Selection
from ..receive import hooks
from . import announce, options

#: Clocks that differ by more seconds shift dates of pushes and the expiry of links.
_CLOCK = 5
#: Ages in seconds from which a server behind the log, and a command that has not run, are told.
_LAG = 60
_DAY = 86400
#: Number of objects without a row that interrupted pushes do not explain.
_ORPHANS = 1000
#: Commands that should run each night.
_NIGHTLY = 'gc', 'verify'

#: What a push of public changesets appends to, in the repository's store.
_APPENDED = b'00changelog.i', b'00manifest.i', b'fncache'

_OK, _WARNING, _PROBLEM = b'ok', b'warning', b'problem'

_ANNOUNCE = b': is "hg admin::headless-announce --watch" running?'
_FOLLOW = b': is "hg admin::headless-follow --watch" running?'

#: What a check finds: a kind, and a text.
_Said = Iterator[tuple[bytes, bytes]]


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    doctor = _Doctor(repo, backend, backend.settings, config.takes_pushes(repo))
    problems = 0
    raised: set[bytes] = set()
    with ui.formatter(b'headless-doctor', pycompat.byteskwargs(opts)) as fm:
        for check in (
            doctor.configuration,
            doctor.serving,
            doctor.hooks,
            doctor.hgrc,
            doctor.requirement,
            doctor.repository,
            doctor.database,
            doctor.pushes,
            doctor.store,
            doctor.cache,
            doctor.announcements,
            doctor.public_history,
            doctor.commands,
        ):
            for kind, text in _told(check(), raised):
                problems += kind == _PROBLEM
                fm.startitem()
                name = check.__name__.replace('_', ' ').encode('ascii')
                fm.write(b'kind item text', b'%s: %s: %s\n', kind, name, text)
    return 1 if problems else 0


def _told(found: _Said, raised: set[bytes]) -> _Said:
    """Yield what a check finds; what it raises is a problem, which is told once."""
    try:
        yield from found
    except HeadlessError as exc:
        # Not that it may end: most often what is wrong here stays.
        line = hgcompat.to_bytes(f'headless: {exc.kind}: {exc}')
        if line not in raised:
            raised.add(line)
            yield _PROBLEM, line


class _Doctor(NamedTuple):
    """Examines one server. Each method is a check."""

    repo: Any
    backend: Backend
    settings: config.Settings
    takes_pushes: bool

    def configuration(self) -> _Said:
        config.check_repository(self.repo)
        config.check_packages(self.settings)
        if not self.takes_pushes or hgcompat.is_loaded(b'hgext_headless.web'):
            config.check_serving(self.settings)
        role = b'takes pushes' if self.takes_pushes else b'takes no pushes'
        name = hgcompat.to_bytes(self.settings.repository)
        yield _OK, b'repository "%s", which %s' % (name, role)
        for name in (b'hgext_headless.push', b'hgext_headless.web'):
            is_required = self.repo.ui.configbool(b'extensions', name + b':required')
            if is_required and not hgcompat.is_enabled(self.repo.ui, name):
                yield _PROBLEM, b'extensions.%s:required is set, but it is not loaded' % name
        if self.settings.embedded_database:
            yield _WARNING, b'the embedded database is for one server: set headless.database'

    def serving(self) -> _Said:
        """What pushers and pullers of a push server may miss, over ssh above all."""
        if not self.takes_pushes:
            return
        if not hgcompat.is_enabled(self.repo.ui, b'hgext_headless.web'):
            yield (
                _WARNING,
                b'a pull from this server finds no drafts: load hgext_headless.web too, unless '
                b'people pull from another one',
            )
        elif self.settings.link_base is None:
            yield (
                _WARNING,
                b'headless.link-base is not set: over ssh, pushes are not told the URL of their '
                b'page, and pulls get drafts inline',
            )

    def hooks(self) -> _Said:
        """What a push of drafts cannot give hooks: it opens no transaction."""
        if not self.takes_pushes:
            return
        ui = self.repo.ui
        for name, command in ui.configitems(b'hooks'):
            if name in hooks.OWN or name.split(b'.')[0] not in hooks.OF_PUSHES:
                continue
            if hooks.is_python(command):
                yield from self._loaded(name, command)
                if b'txn' in name.split(b'.')[0]:
                    yield _WARNING, b'%s: repo.currenttransaction() is None in a push' % name
            elif b'HG_PENDING' in command:
                yield (
                    _WARNING,
                    b'%s: HG_PENDING is not set; an hg that loads the extensions sees the push '
                    b'by HG_HEADLESS_QUARANTINE' % name,
                )
        for item in (b'hook-track-tags', b'single-head-per-branch'):
            if ui.configbool(b'experimental', item):
                yield _WARNING, b'experimental.%s has no effect on drafts' % item

    def _loaded(self, name: bytes, command: Any) -> _Said:
        """Load a hook in Python, as each push does."""
        try:
            hooks.load(self.repo, name, command)
        except Exception as exc:
            said = of_file(exc) if isinstance(exc, OSError) else f'{type(exc).__name__}: {exc}'
            yield _PROBLEM, b'%s cannot be loaded: %s' % (name, hgcompat.to_bytes(said))

    def hgrc(self) -> _Said:
        """Whoever can read it, or what it names, may know a password and the key of the links."""
        path = self.repo.vfs.join(b'hgrc')
        try:
            found = os.stat(path)
        except OSError:
            yield _OK, b'there is none; the settings come from elsewhere'
            return
        secrets = config.secret_items(self.repo.ui)
        key_file = self.repo.ui.configpath(config.SECTION, b'link-secret-file')
        if key_file and os.stat(key_file).st_mode & stat.S_IROTH:
            yield _WARNING, b'anybody can read %s: chmod 640' % key_file
        if found.st_mode & stat.S_IROTH and secrets:
            named = b' and '.join(secrets)
            yield _WARNING, b'anybody can read %s, which has %s: chmod 640' % (path, named)
        elif found.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
            yield _WARNING, b'others may write to %s, which hg then trusts: chmod 640' % path
        else:
            yield _OK, b'%s is trusted, and has nothing for others to read or write' % path
        if found.st_uid != os.geteuid():
            yield (
                _WARNING,
                b'it belongs to another user: a server of a user whose [trusted] does not name '
                b'that one ignores it, and refuses to open the repository',
            )

    def requirement(self) -> _Said:
        if requirement.NAME in self.repo.requirements:
            yield _OK, b'an hg without the extensions refuses to open the repository'
        else:
            yield (
                _PROBLEM,
                b'an hg without the extensions would take drafts: run "hg admin::headless-init"',
            )

    def repository(self) -> _Said:
        """A push of drafts writes nothing into it, so nobody may have noticed."""
        if not self.takes_pushes:
            return
        try:
            with self.repo.wlock(wait=False), self.repo.lock(wait=False):
                for name in _APPENDED:
                    if self.repo.svfs.exists(name):
                        with open(self.repo.sjoin(name), 'ab'):
                            pass
                if self.repo.svfs.exists(b'journal'):
                    yield (
                        _WARNING,
                        b'a transaction was interrupted (or the disk is full): the next push of '
                        b'public history, or "hg recover", takes back what it has added',
                    )
        except error.LockHeld:
            return
        except OSError as exc:
            said = of_file(exc)
            yield _PROBLEM, b'no public changeset can be added: %s' % hgcompat.to_bytes(said)

    def database(self) -> _Said:
        with self.backend.catalog.reading() as session:
            revision = engine.schema_revision(session.connection) or ''
            unreadable = diagnosis.lacking(session, 'SELECT')
            unwritable = diagnosis.lacking(session, 'INSERT')
            is_durable = diagnosis.is_durable(session)
            difference = int(time.time()) - statements.now(session)
        version = hgcompat.to_bytes(revision)
        if revision < schema.REVISION:
            yield _WARNING, b'the schema is %s: run "hg admin::headless-init"' % version
        else:
            yield _OK, b'it answers, with schema %s' % version
        if unreadable:
            yield _PROBLEM, b'the role may not read: GRANT SELECT ON %s' % _list(unreadable)
        if unwritable and self.takes_pushes:
            yield (
                _PROBLEM,
                b'the role may not write: use the one that owns the tables, or GRANT INSERT, '
                b'UPDATE, DELETE ON %s' % _list(unwritable),
            )
        if not is_durable:
            yield (
                _PROBLEM,
                b'fsync is off: pushes that were acknowledged are lost if its machine crashes',
            )
        if abs(difference) > _CLOCK:
            yield (
                _WARNING,
                b"this machine's clock differs from the database's by %d seconds: use NTP"
                % difference,
            )
        with self.backend.catalog.reading() as session:
            epoch = epochs.current(session)
            if epoch is None:
                raise statements.without_row(session)
        name = hgcompat.to_bytes(epoch.name)
        yield _OK, b'push ids are of epoch %s, which begins with %d' % (name, epoch.first_push_id)

    def pushes(self) -> _Said:
        """Do what a push does in the database, and look whether what is stored can be shown."""
        catalog = self.backend.catalog
        if self.takes_pushes:
            catalog.write(diagnosis.try_writing)
            behind = catalog.read(diagnosis.sequences_behind)
            if behind:
                yield (
                    _PROBLEM,
                    b'new rows get ids that are taken: advance with setval() the sequence of %s'
                    % _list(behind),
                )
        with self.backend.read_catalog.reading() as session:
            last = pushlog.last_push_id(session)
            shown = visibility.last_shown(self.backend, session, self.repo)
        if shown == last:
            yield _OK, b'the last push is %d' % last
        else:
            alone = self.settings.embedded_database
            yield (
                _PROBLEM if alone else _WARNING,
                b'the last push is %d, and this server shows them up to %d: it lacks public '
                b'changesets of the next one%s'
                % (last, shown, b', which "hg admin::headless-verify" names' if alone else _FOLLOW),
            )

    def store(self) -> _Said:
        if not self.takes_pushes:
            self.backend.store.check()
            probe = self.backend.catalog.read(diagnosis.probe)
            if probe is not None and self.backend.store.size(probe[0]) != probe[1]:
                yield _PROBLEM, b'the newest object is not there: is headless.store right?'
            else:
                yield _OK, b'it answers'
        elif delete.check(self.backend):
            yield _OK, b'an object was written, read, listed and deleted'
            delete.check_database(self.backend)
        else:
            yield (
                _OK,
                b'an object was written, read and listed; gc, expire and obliterate have to run '
                b'elsewhere: this server may not delete (s3:DeleteObject)',
            )
        if self.takes_pushes:
            removed, _unnoted = drop.compare_obliterated(self.backend)  # notes outlive the database
            if removed:
                yield (
                    _PROBLEM,
                    b'%s removed for good could come back: the database is older, '
                    b'run "hg admin::headless-rebuild"' % options.number(len(removed), 'draft'),
                )

    def cache(self) -> _Said:
        """Without it, each page and pull of a draft asks the store, and nothing says so."""
        if self.backend.cached_store is self.backend.store:
            return
        folder = self.settings.cache_dir
        if not os.path.isabs(folder):
            yield (
                _PROBLEM,
                b'headless.cache-dir is relative: which folder it is depends on where a process is '
                b'started',
            )
        while not os.path.lexists(folder):  # what is missing is made at first use
            folder = os.path.dirname(folder) or os.curdir
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as exc:
            yield (
                _PROBLEM,
                b'headless.cache-dir cannot be written: %s: %s. Make %s, of this user'
                % (
                    hgcompat.to_bytes(folder),
                    hgcompat.to_bytes(exc.strerror or ''),
                    hgcompat.to_bytes(self.settings.cache_dir),
                ),
            )

    def announcements(self) -> _Said:
        targets = announce.configured(self.repo.ui, ())
        there = announce.places(self.repo, self.backend) if targets else {}
        for name in (target.name for target in targets):
            cursor = there.get(name)
            said = announce.described(cursor) if cursor else b'was never told of a push'
            shown = b'%s: %s' % (hgcompat.to_bytes(name), said)
            if cursor and cursor.failures:
                yield _PROBLEM, shown
            elif not cursor or (cursor.behind and self._waits_long(cursor.push_id)):
                yield _WARNING, shown + _ANNOUNCE

    def _waits_long(self, after: int) -> bool:
        """Return whether a push after the push ``after`` is old enough to have been announced."""
        following = Selection(after=after)
        found = self.backend.read_catalog.read(pushlog.entries, following, False, 1)
        return any(push.date < time.time() - _LAG for push in found)

    def public_history(self) -> _Said:
        if not places.has_log(self.settings):
            return
        with self.backend.catalog.reading() as session:
            state = public_log.state(session)
            lag = places.lag(self.repo, session)
        if state is None:
            yield (
                _WARNING,
                b'its log has not begun: run "hg admin::headless-init" on a push server',
            )
        elif lag.seconds > _LAG:
            yield (
                _WARNING,
                b'this repository is %s and %s behind%s'
                % (
                    options.number(lag.entries, 'entry'),
                    options.number(lag.seconds, 'second'),
                    _FOLLOW,
                ),
            )
        else:
            entries = options.number(lag.entries, 'entry')
            yield _OK, b'this repository is %s behind the log' % entries

    def commands(self) -> _Said:
        """Commands that an operator runs from time to time, on one server."""
        last = self.backend.catalog.read(diagnosis.runs_of_commands)
        now = time.time()
        for command in _NIGHTLY:
            name = command.encode('ascii')
            if command not in last:
                yield _WARNING, b'headless-%s has never succeeded: run it each night' % name
                continue
            age = max(0, now - last[command].ended)
            is_late = age > 8 * _DAY
            left = last[command].found or 0
            if command == 'gc' and left > _ORPHANS:
                yield (
                    _WARNING,
                    b'it left %s without a row: were rows lost? See "hg help '
                    b'admin::headless-rebuild"' % options.number(left, 'object'),
                )
            days = options.number(int(age) // _DAY, 'day')
            hint = b': run it each night' if is_late else b''
            said = b'headless-%s succeeded %s ago%s' % (name, days, hint)
            yield _WARNING if is_late else _OK, said


def _list(found: list[str]) -> bytes:
    return hgcompat.to_bytes(', '.join(found))
