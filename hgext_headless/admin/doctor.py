"""``admin::headless-doctor``: what is wrong with this server, and what to do."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from typing import Any

from mercurial import pycompat

from .. import config, hgcompat, place as places, requirement
from ..backend import Backend
from ..catalog import diagnosis, epochs, public_log, pushlog, schema, statements
from ..errors import HeadlessError
from ..hgweb.pushlog import visibility
from ..lifecycle import delete, drop
from ..receive import hooks
from . import announce, options

#: Clocks that differ by more seconds shift dates of pushes and the expiry of links.
_CLOCK = 5
#: Ages in seconds from which a server behind the log, and a command that has not run, are told.
_LAG = 60
_DAY = 86400
#: Number of objects without a row that interrupted pushes do not explain.
_ORPHANS = 1000
_SHOULD_RUN = {'gc': 8 * _DAY, 'verify': 8 * _DAY}

_OK, _WARNING, _PROBLEM = b'ok', b'warning', b'problem'


def run(ui: Any, repo: Any, backend: Backend, **opts: Any) -> int:
    with ui.formatter(b'headless-doctor', pycompat.byteskwargs(opts)) as fm:
        doctor = _Doctor(repo, backend, fm)
        for check in (
            doctor.configuration,
            doctor.serving,
            doctor.hooks,
            doctor.hgrc,
            doctor.requirement,
            doctor.database,
            doctor.pushes,
            doctor.store,
            doctor.cache,
            doctor.announcements,
            doctor.obliterated,
            doctor.public_history,
            doctor.commands,
        ):
            doctor.examine(check)
    return 1 if doctor.problems else 0


class _Doctor:
    """Examines one server; writes a line for each thing that it looks at."""

    def __init__(self, repo: Any, backend: Backend, fm: Any) -> None:
        self._repo = repo
        self._backend = backend
        self._settings = backend.settings
        self._fm = fm
        self._takes_pushes = config.takes_pushes(repo)
        self._name = b''
        self._raised: set[str] = set()
        self.problems = 0

    def examine(self, check: Callable[[], None]) -> None:
        """Run a check; what it raises is a problem, which is told once."""
        self._name = check.__name__.replace('_', ' ').encode('ascii')
        try:
            check()
        except HeadlessError as exc:
            if exc.line() not in self._raised:
                self._raised.add(exc.line())
                self._say(_PROBLEM, hgcompat.to_bytes(exc.line()))

    def _say(self, kind: bytes, text: bytes) -> None:
        self.problems += kind == _PROBLEM
        self._fm.startitem()
        self._fm.write(b'kind item text', b'%s: %s: %s\n', kind, self._name, text)

    def configuration(self) -> None:
        config.check_repository(self._repo)
        config.check_packages(self._settings)
        if not self._takes_pushes or hgcompat.is_loaded(b'hgext_headless.web'):
            config.check_serving(self._settings)
        role = b'takes pushes' if self._takes_pushes else b'takes no pushes'
        name = hgcompat.to_bytes(self._settings.repository)
        self._say(_OK, b'repository "%s", which %s' % (name, role))
        if self._settings.embedded_database:
            self._say(_WARNING, b'the embedded database is for one server: set headless.database')

    def serving(self) -> None:
        """What pushers and pullers of a push server may miss, over ssh above all."""
        if not self._takes_pushes:
            return
        if not hgcompat.is_enabled(self._repo.ui, b'hgext_headless.web'):
            self._say(
                _WARNING,
                b'a pull from this server finds no drafts: load hgext_headless.web too, unless '
                b'people pull from another one',
            )
        elif self._settings.link_base is None:
            self._say(
                _WARNING,
                b'headless.link-base is not set: over ssh, pushes are not told the URL of their '
                b'page, and pulls get drafts inline',
            )

    def hooks(self) -> None:
        """What a push of drafts cannot give hooks: it opens no transaction."""
        if not self._takes_pushes:
            return
        ui = self._repo.ui
        for name, command in ui.configitems(b'hooks'):
            if name in hooks.OWN or name.split(b'.')[0] not in hooks.NAMES:
                continue
            if hooks.is_python(command):
                if b'txn' in name.split(b'.')[0]:
                    self._say(_WARNING, b'%s: repo.currenttransaction() is None in a push' % name)
            elif b'HG_PENDING' in command:
                self._say(
                    _WARNING,
                    b'%s: HG_PENDING is not set; an hg that loads the extensions sees the push '
                    b'by HG_HEADLESS_QUARANTINE' % name,
                )
        for item in (b'hook-track-tags', b'single-head-per-branch'):
            if ui.configbool(b'experimental', item):
                self._say(_WARNING, b'experimental.%s has no effect on drafts' % item)

    def hgrc(self) -> None:
        """Whoever can read it, or what it names, may know a password and the key of the links."""
        path = self._repo.vfs.join(b'hgrc')
        try:
            found = os.stat(path)
        except OSError:
            self._say(_OK, b'there is none; the settings come from elsewhere')
            return
        secrets = config.secret_items(self._repo.ui)
        key_file = self._repo.ui.configpath(config.SECTION, b'link-secret-file')
        if key_file and os.stat(key_file).st_mode & stat.S_IROTH:
            self._say(_WARNING, b'anybody can read %s: chmod 640' % key_file)
        if found.st_mode & stat.S_IROTH and secrets:
            named = b' and '.join(secrets)
            self._say(_WARNING, b'anybody can read %s, which has %s: chmod 640' % (path, named))
        elif found.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
            self._say(_WARNING, b'others may write to %s, which hg then trusts: chmod 640' % path)
        else:
            self._say(_OK, b'%s is trusted, and has nothing for others to read or write' % path)
        if found.st_uid != os.geteuid():
            self._say(
                _WARNING,
                b'it belongs to another user: a server of a user whose [trusted] does not name '
                b'that one ignores it, and refuses to open the repository',
            )

    def requirement(self) -> None:
        if requirement.NAME in self._repo.requirements:
            self._say(_OK, b'an hg without the extensions refuses to open the repository')
        else:
            self._say(
                _PROBLEM,
                b'an hg without the extensions would take drafts: run "hg admin::headless-init"',
            )

    def database(self) -> None:
        found = self._backend.catalog.read(diagnosis.diagnose)
        version = hgcompat.to_bytes(found.schema or 'none')
        if (found.schema or '') < schema.REVISION:
            self._say(_WARNING, b'the schema is %s: run "hg admin::headless-init"' % version)
        else:
            self._say(_OK, b'it answers, with schema %s' % version)
        if found.unreadable:
            self._say(
                _PROBLEM, b'the role may not read: GRANT SELECT ON %s' % _list(found.unreadable)
            )
        if found.unwritable and self._takes_pushes:
            self._say(
                _PROBLEM,
                b'the role may not write: GRANT INSERT, UPDATE, DELETE ON %s'
                % _list(found.unwritable),
            )
        if not found.is_durable:
            self._say(
                _PROBLEM,
                b'fsync is off: pushes that were acknowledged are lost if its machine crashes',
            )
        difference = int(time.time()) - found.clock
        if abs(difference) > _CLOCK:
            self._say(
                _WARNING,
                b"this machine's clock differs from the database's by %d seconds: use NTP"
                % difference,
            )
        with self._backend.catalog.reading() as session:
            epoch = epochs.current(session)
            if epoch is None:
                raise statements.without_row(session)
        self._say(
            _OK,
            b'push ids are of epoch %s, which begins with %d'
            % (hgcompat.to_bytes(epoch.name), epoch.first_push_id),
        )

    def pushes(self) -> None:
        """Do what a push does in the database, and look whether what is stored can be shown."""
        catalog = self._backend.catalog
        if self._takes_pushes:
            catalog.write(diagnosis.try_writing)
            behind = catalog.read(diagnosis.sequences_behind)
            if behind:
                self._say(
                    _PROBLEM,
                    b'new rows get ids that are taken: advance with setval() the sequence of %s'
                    % _list(behind),
                )
        with self._backend.read_catalog.reading() as session:
            last = pushlog.last_push_id(session)
            shown = visibility.last_shown(self._backend, session, self._repo)
        if shown == last:
            self._say(_OK, b'the last push is %d' % last)
        else:
            kind = _PROBLEM if self._settings.embedded_database else _WARNING
            self._say(
                kind,
                b'the last push is %d, and this server shows them up to %d: it lacks public '
                b'changesets of the next one, which "hg admin::headless-verify" names'
                % (last, shown),
            )

    def store(self) -> None:
        if not self._takes_pushes:
            self._backend.store.check()
            probe = self._backend.catalog.read(diagnosis.probe)
            if probe is not None and self._backend.store.size(probe[0]) != probe[1]:
                self._say(_PROBLEM, b'the newest object is not there: is headless.store right?')
                return
            self._say(_OK, b'it answers')
            return
        if delete.check(self._backend):
            self._say(_OK, b'an object was written, read, listed and deleted')
        else:
            self._say(
                _OK,
                b'an object was written, read and listed; gc, expire and obliterate have to run '
                b'elsewhere: this server may not delete (s3:DeleteObject)',
            )

    def cache(self) -> None:
        """Without it, each page and pull of a draft asks the store, and nothing says so."""
        if self._backend.cached_store is self._backend.store:
            return
        folder = self._settings.cache_dir
        if not os.path.isabs(folder):
            self._say(
                _PROBLEM,
                b'headless.cache-dir is relative: which folder it is depends on where a process is '
                b'started',
            )
        while not os.path.lexists(folder):  # what is missing is made at first use
            folder = os.path.dirname(folder) or os.curdir
        if not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
            self._say(
                _PROBLEM,
                b'headless.cache-dir cannot be written: %s is not a folder that this user may '
                b'write to' % hgcompat.to_bytes(folder),
            )

    def announcements(self) -> None:
        announce.configured(self._repo.ui, ())

    def obliterated(self) -> None:
        """Compare the database with the notes in the store, which outlive it."""
        if not self._takes_pushes:
            return
        removed, _unnoted = drop.compare_obliterated(self._backend)
        if removed:
            self._say(
                _PROBLEM,
                b'%s removed for good could come back: the database is older, '
                b'run "hg admin::headless-rebuild"' % options.number(len(removed), 'draft'),
            )

    def public_history(self) -> None:
        if not places.has_log(self._settings):
            return
        with self._backend.catalog.reading() as session:
            state = public_log.state(session)
            lag = places.lag(self._repo, session)
        if state is None:
            self._say(
                _WARNING,
                b'its log has not begun: run "hg admin::headless-init" on a push server',
            )
        elif lag.seconds > _LAG:
            self._say(
                _WARNING,
                b'this repository is %s and %s behind: is "hg admin::headless-follow --watch" '
                b'running?'
                % (options.number(lag.entries, 'entry'), options.number(lag.seconds, 'second')),
            )
        else:
            entries = options.number(lag.entries, 'entry')
            self._say(_OK, b'this repository is %s behind the log' % entries)

    def commands(self) -> None:
        """Commands that an operator runs from time to time, on one server."""
        last = self._backend.catalog.read(diagnosis.runs_of_commands)
        now = time.time()
        for command, most in _SHOULD_RUN.items():
            name = command.encode('ascii')
            if command not in last:
                self._say(_WARNING, b'headless-%s has never succeeded: run it each night' % name)
                continue
            ended = last[command].ended
            days = int(max(0, now - ended)) // _DAY
            late = now - ended > most
            left = last[command].found or 0
            if command == 'gc' and left > _ORPHANS:
                self._say(
                    _WARNING,
                    b'it left %s without a row: were rows lost? See "hg help '
                    b'admin::headless-rebuild"' % options.number(left, 'object'),
                )
            self._say(
                _WARNING if late else _OK,
                b'headless-%s succeeded %s ago%s'
                % (name, options.number(days, 'day'), b': run it each night' if late else b''),
            )


def _list(found: list[str]) -> bytes:
    return hgcompat.to_bytes(', '.join(found))
