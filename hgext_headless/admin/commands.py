"""The operators' commands as ``hg help`` shows them, in Mercurial's ``admin::`` namespace."""

from __future__ import annotations

import importlib
from typing import Any

from mercurial import cmdutil, error, exthelper, registrar

from .. import config, errors, hgcompat
from ..errors import Refused
from . import options

eh = exthelper.exthelper()
#: Commands that servers without pushes have too.
on_replicas = exthelper.exthelper()

_FORMATTER = cmdutil.formatteropts
_DRY_RUN = cmdutil.dryrunopts
_CATEGORY = registrar.command.CATEGORY_MAINTENANCE


def _run(module: str, ui: Any, repo: Any, *args: Any, **opts: Any) -> int:
    """Call ``run`` of a module of this package.

    Raise `Refused` if the repository is not headless.
    """
    # Whoever reads the output may have read enough.
    passing = (error.RepoError, error.LookupError, error.StdioError)
    with errors.no_traceback(ui, 'the command', passing):
        if not config.participates(repo):
            raise Refused('this repository has no [headless] settings')
        for each in (ui, repo.ui, repo.baseui):
            options.show_rate(each)
        config.warn_removed(ui)
        command = importlib.import_module(f'{__package__}.{module}')
        status: int = command.run(ui, repo, repo.headless, *args, **opts)
        return status


@eh.command(
    b'admin::headless-init',
    [
        (b'', b'expand', None, b'keep what the previous version needs in the schema'),
        (b'', b'remove-requirement', None, b'make the repository an ordinary one'),
    ],
    b'hg admin::headless-init [--expand | --remove-requirement]',
    helpcategory=_CATEGORY,
)
def headless_init(ui: Any, repo: Any, **opts: Any) -> int:
    """make a repository headless: the schema, the store, the requirement

    Create or upgrade the database's schema, make the repository's row, begin the log of public
    history, check the store, and write the requirement "headless" into the repository. From
    then on, an hg that does not load the extensions refuses to open it.

    Run this once on a push server before the first push, and again after each
    upgrade of hgext_headless. Creating and upgrading the schema needs a database role that
    may create tables. Then run it on each other server, where a read-only role is enough.
    Running it again changes nothing.

    With --expand, servers of the previous version can still take pushes. Run the command with
    --expand before the first server is upgraded, and without it after the last.

    A repository that has its own drafts does not get the requirement: import them with
    :hg:`admin::headless-import`.

    With --remove-requirement, remove the requirement and do nothing else. Any hg can then
    open the repository, with its public history. Remove the settings too.

    Returns 0 on success.
    """
    return _run('init', ui, repo, **opts)


@eh.command(
    b'admin::headless-import',
    [
        (b'r', b'rev', [], b'drafts to import, with their draft ancestors', b'REV'),
        (b'', b'into', b'', b'create a clone with the public history', b'DIR'),
        *_DRY_RUN,
        *_FORMATTER,
    ],
    b'hg admin::headless-import [-r REV]... [--into DIR]',
    helpcategory=_CATEGORY,
)
def headless_import(ui: Any, repo: Any, **opts: Any) -> int:
    """store the drafts of this repository as bundles and rows

    Run this in an ordinary repository with a head for each draft that was pushed. It is
    not changed. Each draft head becomes a bundle that needs public history only.
    All drafts are imported unless some are named with -r/--rev. Secret and hidden
    changesets are never imported. Drafts that have expired are stored again, and their
    pushes list them again.

    With --into, create a clone with the public history only, and with the
    settings that a headless repository needs. Serve this clone from then on. If
    the database or the store is the embedded one, it is in the clone.

    Run the command again if it is interrupted: it continues, and skips what is stored
    already.

    No push is recorded: see :hg:`admin::headless-import-pushlog`.

    Returns 0 on success.
    """
    return _run('import_drafts', ui, repo, **opts)


@eh.command(
    b'admin::headless-import-pushlog',
    [*_DRY_RUN, *_FORMATTER],
    b'hg admin::headless-import-pushlog [FILE]',
    helpcategory=_CATEGORY,
)
def headless_import_pushlog(ui: Any, repo: Any, path: bytes | None = None, **opts: Any) -> int:
    """import the pushes of an older pushlog

    FILE is the SQLite database of hg.mozilla.org's pushlog extension, by default
    ``.hg/pushlog2.db``: a table ``pushlog(id, user, date)`` and a table
    ``changesets(pushid, rev, node)``, where ``rev`` gives the order within a push.
    Ids, users and dates are kept, so that clients that poll the pushlog continue from
    where they were.

    Run this before the first push to the headless repository, in a repository
    that has the pushed changesets: the old one, or one into whose database they were
    imported. Changesets that do not exist any more are recorded by their hashes only.

    Run the command again if it is interrupted; a second run changes nothing. A push that
    conflicts with a recorded one is listed and not imported.

    Returns 0 on success, 1 if there were conflicts.
    """
    return _run('import_pushlog', ui, repo, path, **opts)


@eh.command(
    b'admin::headless-export',
    [
        (b'r', b'rev', [], b'drafts to export, with their draft ancestors', b'REV'),
        (b'', b'push', [], b'pushes whose drafts to export', b'ID'),
        *_FORMATTER,
    ],
    b'hg admin::headless-export [-r REV]... [--push ID]... DEST',
    helpcategory=_CATEGORY,
)
def headless_export(ui: Any, repo: Any, dest: bytes, **opts: Any) -> int:
    """export drafts and pushlog to an ordinary repository

    The repository DEST gets the public history, the drafts as drafts, and the pushlog as
    ``.hg/pushlog2.db``. Everything is exported unless drafts or pushes are named. Hooks of DEST
    that are about exchange do not run.

    Run the command again if it is interrupted: it continues.

    Returns 0 on success, 1 if a bundle could not be exported or a push conflicts with
    the pushlog in DEST.
    """
    return _run('export', ui, repo, dest, **opts)


@eh.command(
    b'admin::headless-verify',
    [
        (b'', b'full', None, b'read every object, and compare its rows with it'),
        (b'', b'repair', None, b'repair what can be repaired'),
        (b'', b'force', None, b'repair even if many objects are missing'),
        (b'', b'since', b'', b'check only what was stored or pushed since', b'DATE'),
        *_FORMATTER,
    ],
    b'hg admin::headless-verify [--full] [--repair] [--since DATE]',
    helpcategory=_CATEGORY,
)
def headless_verify(ui: Any, repo: Any, **opts: Any) -> int:
    """check that database, store and repository agree

    Every row must have its object, with the size and the SHA-256 that the store tells.
    With --full, every object is read and its rows are compared with it. Every object must
    have a row. The bases of drafts, and the public changesets that pushes brought, must be in
    the repository. Push ids must have no gap. The log of public history must have all its
    objects.

    --since takes a date (see :hg:`help dates`) or an age like 7d or 12h. Objects
    without a row are reported if they are older than ten minutes, and not with --since: a
    push died, or the database was restored from a time before them. Several processes share
    the work (see :hg:`help config.worker`).

    With --repair, drop drafts whose object is missing or damaged, so that they can be
    pushed again; create rows for objects without one, as
    :hg:`admin::headless-rebuild` does; and correct counters and indexes that disagree with
    their rows. If many objects are missing, a setting may be wrong: then nothing is repaired
    without --force.

    Returns 0 if there are no problems or all were repaired, 1 otherwise.
    """
    return _run('verify', ui, repo, **opts)


@eh.command(
    b'admin::headless-expire',
    [
        (b'', b'older-than', b'', b'select pushes older than this, like 90d', b'AGE'),
        (b'u', b'user', [], b'select pushes of this user', b'USER'),
        (b'', b'push', [], b'select a push', b'ID'),
        (b'r', b'rev', [], b'select drafts', b'REV'),
        *_DRY_RUN,
        *_FORMATTER,
    ],
    b'hg admin::headless-expire [--older-than AGE] [-u USER]... [--push ID]... [-r REV]...',
    helpcategory=_CATEGORY,
)
def headless_expire(ui: Any, repo: Any, **opts: Any) -> int:
    """remove drafts, and keep their pushes in the pushlog

    Remove the drafts of pushes that match all options; with -r/--rev, only drafts in the
    revset. Their bundles are removed too. The pushes stay in the pushlog, with the hashes
    of their changesets. Pages of the drafts answer "410 Gone". The drafts can be pushed
    again. A draft is kept if a draft that is kept builds on it.

    The revset of -r/--rev may name drafts. It is evaluated over public history and the drafts
    of the matching pushes. Without another option, it is evaluated over public history, the
    drafts that it names, and those in the same bundles.

    Returns 0 on success, 1 if a bundle could not be read.
    """
    return _run('expire', ui, repo, **opts)


@eh.command(
    b'admin::headless-obliterate',
    [
        (b'', b'reason', b'', b'reason, for the audit table', b'TEXT'),
        (b'u', b'user', b'', b'who removes it (default: who runs the command)', b'USER'),
        *_DRY_RUN,
        *_FORMATTER,
    ],
    b'hg admin::headless-obliterate --reason TEXT [-u USER] NODE',
    helpcategory=_CATEGORY,
)
def headless_obliterate(ui: Any, repo: Any, node: bytes, **opts: Any) -> int:
    """remove one draft everywhere, at once and for good

    NODE is the hash of a draft, or at least its first 12 digits. The draft and its descendants
    are removed from every bundle, the database, and this server's cache. Other drafts of
    the bundles are stored again.

    Rows in the table ``audit`` say of each of them who removed it, when and why. From then on, a
    push that brings one is refused.

    Returns 0 on success.
    """
    return _run('obliterate', ui, repo, node, **opts)


@eh.command(
    b'admin::headless-rebuild',
    [*_DRY_RUN, *_FORMATTER],
    b'hg admin::headless-rebuild [-n]',
    helpcategory=_CATEGORY,
)
def headless_rebuild(ui: Any, repo: Any, **opts: Any) -> int:
    """create the rows of objects that have none

    Use this if a database was lost, or restored from a backup older than the last
    push. Each object without a row is read and checked. Then its drafts can be pulled
    again. Changesets that no push has brought become a push of the user "rebuilt", the oldest
    object first, with ids that nobody has seen (see :hg:`help admin::headless-restored`).
    Bookmarks and obsolescence markers of drafts are not in the store. Public history is not
    added to the repository: objects with public changesets that it lacks are listed.

    On a push server, public changesets of the repository that the log of public history
    lacks become a push too, and its bookmarks that the log has lost are logged again. Run it
    there before :hg:`admin::headless-follow`.

    Drafts that were removed for good are not rebuilt, if the database still has the record.
    Run the command again if it is interrupted: it continues.

    Returns 0 on success, 1 if an object cannot be used; the reason is listed.
    """
    return _run('rebuild', ui, repo, **opts)


@eh.command(
    b'admin::headless-restored',
    [],
    b'hg admin::headless-restored',
    helpcategory=_CATEGORY,
)
def headless_restored(ui: Any, repo: Any, **opts: Any) -> int:
    """begin a new epoch of push ids

    Run this once after the database was restored from a backup, or after a failover to a
    database that lacks the last rows, before pushes are taken again. Ids of pushes that are
    lost are never given to others: push ids go on with the next whole million that is at
    least 100,000 above the last one. Consumers find the epoch, a random value, beside
    "lastpushid" in version 2 of json-pushes. :hg:`admin::headless-rebuild` does this by itself
    before it gives the first id.

    Returns 0 on success.
    """
    return _run('restored', ui, repo, **opts)


@eh.command(
    b'admin::headless-audit',
    _FORMATTER,
    b'hg admin::headless-audit',
    helpcategory=_CATEGORY,
)
def headless_audit(ui: Any, repo: Any, **opts: Any) -> int:
    """list what operators removed for good: who, when and why

    The newest entry comes first. The view ``audit_log`` in the database shows the same.

    Returns 0 on success.
    """
    return _run('audit', ui, repo, **opts)


@eh.command(
    b'admin::headless-gc',
    [
        (b'', b'grace', b'30d', b'keep objects that are younger', b'AGE'),
        (b'', b'force', None, b'remove even most of the objects'),
        *_DRY_RUN,
        *_FORMATTER,
    ],
    b'hg admin::headless-gc [--grace AGE]',
    helpcategory=_CATEGORY,
)
def headless_gc(ui: Any, repo: Any, **opts: Any) -> int:
    """remove objects without a row, and temporary files left behind

    Remove objects that have no row in the database, temporary files of pushes and pulls
    that died, and unused entries of the local cache. If rows were lost,
    their objects are all that is left of the drafts (see
    :hg:`help admin::headless-rebuild`). So objects younger than --grace are kept, and each
    object that is removed is listed.

    The command may run during pushes. Without -v/--verbose it prints nothing else, which
    suits cron. If it would remove more than half of all objects, and more than 20, a setting
    may be wrong, and it refuses to do so without --force.

    Returns 0 on success, 1 if another process is removing drafts or objects; then nothing
    was done.
    """
    return _run('gc', ui, repo, **opts)


@eh.command(
    b'admin::headless-stats',
    [
        (b'', b'days', 30, b'number of days to list', b'N'),
        (b'', b'prometheus', b'', b'write metrics to a file', b'FILE'),
        *_FORMATTER,
    ],
    b'hg admin::headless-stats [--days N] [--prometheus FILE]',
    helpcategory=_CATEGORY,
)
def headless_stats(ui: Any, repo: Any, **opts: Any) -> int:
    """count pushes, changesets and bytes, by day, user and repository

    Days are in UTC. Bundles that still exist count for the day on which they were stored. The
    age of a bundle is the time since then: an imported draft is younger here
    than for :hg:`admin::headless-expire`, which uses the time of the push.

    The repositories of the database are listed if there are several.

    --prometheus writes the totals for the textfile collector of the node exporter,
    and prints nothing without -v/--verbose or -T/--template. It needs the package
    prometheus-client.

    Returns 0 on success.
    """
    return _run('stats', ui, repo, **opts)


@on_replicas.command(
    b'admin::headless-announce',
    [
        (b'', b'watch', None, b'keep running, and announce new pushes'),
        (b'', b'list', None, b'list the targets, and how far each is behind'),
        (b'', b'from', b'', b'announce again from this push on', b'ID'),
        *_FORMATTER,
    ],
    b'hg admin::headless-announce [--watch | --list] [--from ID] [TARGET]...',
    helpcategory=_CATEGORY,
)
def headless_announce(ui: Any, repo: Any, *names: bytes, **opts: Any) -> int:
    """tell other programs of pushes, so that they need not poll

    The targets are in the section ``headless-announce``::

      [headless-announce]
      ci = https://ci.example.com/hooks/push
      ci:secret = a key for signatures
      log = | /usr/local/bin/on-push

    Each target is told of each push that this server can serve, in order and at least once.
    What is sent is the answer of ``json-pushes?version=2&full=1`` for that push. A webhook gets
    a POST for each push, with the headers ``X-Headless-Repository``, ``X-Headless-Push`` (the
    id) and, with a secret, ``X-Hub-Signature-256``: ``sha256=`` and the HMAC-SHA256 of the
    body. A status from 200 to 299 means that it has accepted the push. A command gets a line
    for each push on its standard input; exit code 0 means that it has accepted all of them.

    A push that a target does not accept is sent again, after 1 second at first, and after 5
    minutes at most. Others are told meanwhile, but wait while a target is being asked: for 10
    seconds at most by a webhook, 5 minutes by a command. A new target is told of pushes from
    then on. With --from, a target is told of all pushes from that one on, again or for the
    first time.

    With --watch, keep running: on Postgres, a push is announced as soon as it is recorded. All
    targets are told, or those that are named: a slow one can have a process of its own. If this
    runs on several servers, only one at a time tells a target. The database role must be able to
    write to the tables ``announcements`` and ``leases``.

    Returns 0 on success, 1 if a target did not accept a push.
    """
    return _run('announce', ui, repo, *names, **opts)


@eh.command(
    b'admin::headless-housekeeping',
    [
        (b'', b'older-than', b'', b'expire pushes older than this, like 90d', b'AGE'),
        (b'', b'grace', b'30d', b'keep objects that are younger', b'AGE'),
    ],
    b'hg admin::headless-housekeeping [--older-than AGE] [--grace AGE] [REPO]...',
    helpcategory=_CATEGORY,
)
def headless_housekeeping(ui: Any, repo: Any, *paths: bytes, **opts: Any) -> int:
    """expire, gc and verify, for several repositories

    For each repository REPO on this machine, by default this one, run
    :hg:`admin::headless-expire` if --older-than is given, then :hg:`admin::headless-gc` and
    :hg:`admin::headless-verify`. If one fails, continue with the next. Warn of repositories in
    the database whose path was not given.

    Returns 0 on success, 1 if any of them failed.
    """
    return _run('housekeeping', ui, repo, *paths, **opts)


@eh.command(
    b'admin::headless-drop',
    [(b'', b'force', None, b'drop it even if it was pushed to within a day'), *_DRY_RUN],
    b'hg admin::headless-drop NAME',
    helpcategory=_CATEGORY,
)
def headless_drop(ui: Any, repo: Any, name: bytes, **opts: Any) -> int:
    """remove all drafts, pushes and objects of a repository

    NAME is the repository's name in the database: see :hg:`admin::headless-stats`. Repositories
    on disk are not changed. Stop the servers of NAME first: a push to one that is running
    creates the repository in the database again.

    The only way back is a backup. Run the command again if it is interrupted: it continues.

    Returns 0 on success.
    """
    return _run('drop', ui, repo, name, **opts)


@on_replicas.command(
    b'admin::headless-follow',
    [(b'', b'watch', None, b'keep running, and apply new entries')],
    b'hg admin::headless-follow [--watch]',
    helpcategory=_CATEGORY,
)
def headless_follow(ui: Any, repo: Any, **opts: Any) -> int:
    """apply the public history of all push servers

    Public changesets that are pushed to one server are logged in the store and the
    database, as drafts are. Apply those that this repository lacks, in order, with the
    moves of their bookmarks. A new server starts from a clone of another one.

    With --watch, keep running: Postgres notifies of new entries; SQLite is asked every
    second. The command can be killed at any time; the next run continues.

    On a push server, also log what the log lacks: public changesets that were pulled into
    the repository or made public there while the database was down, and those of a push
    that died. What was public before the log began (:hg:`admin::headless-init`) is not in it.

    Changesets that are stripped from one server come back while the log has them.

    Returns 0 on success.
    """
    return _run('follow', ui, repo, **opts)


@on_replicas.command(
    b'admin::headless-doctor',
    _FORMATTER,
    b'hg admin::headless-doctor',
    helpcategory=_CATEGORY,
)
def headless_doctor(ui: Any, repo: Any, **opts: Any) -> int:
    """check this server: what is wrong, and what to do

    Check the settings, who may read and write the hgrc, the requirement, the database with the
    rights of its role and its clock, the store (a push server writes, reads, lists and deletes
    an object), how far public history is behind, and when gc and verify last succeeded. Each
    line is "ok", "warning" or "problem".

    Returns 0 if there is no problem, 1 otherwise.
    """
    return _run('doctor', ui, repo, **opts)


def register(
    into: exthelper.exthelper, own: exthelper.exthelper | None, other: bytes
) -> None:
    """Register an extension's ``own`` commands and those for replicas with ``into``.

    Leave out the latter if the extension ``other`` has them: Mercurial warns of a command that
    is registered twice.
    """
    if own is not None:
        into.merge(own)
    if not hgcompat.is_loaded(other):
        into.merge(on_replicas)
