"""The operators' commands as ``hg help`` shows them, in Mercurial's ``admin::`` namespace."""

from __future__ import annotations

from typing import Any

from mercurial import cmdutil, error, exthelper, registrar

from .. import config, errors, lazy
from ..backend import Backend
from ..errors import Refused
from . import cli

eh = exthelper.exthelper()

_FORMATTER = cmdutil.formatteropts
_DRY_RUN = cmdutil.dryrunopts
_CATEGORY = registrar.command.CATEGORY_MAINTENANCE


def _run(module: str, ui: Any, repo: Any, *args: Any, **opts: Any) -> int:
    """Call ``run`` of a module of this package for a repository that takes part."""
    with errors.no_traceback(ui, 'the command', passing=(error.RepoError, error.LookupError)):
        if not config.participates(repo):
            raise Refused('this repository has no [headless] settings')
        for each in (ui, repo.ui, repo.baseui):
            cli.show_rate(each)
        backend = Backend(repo)
        status: int = lazy.load(f'{__package__}.{module}').run(ui, repo, backend, *args, **opts)
        return status


@eh.command(
    b'admin::headless-init',
    [
        (b'', b'expand', None, b'leave in the schema what the version before needs'),
        (b'', b'remove-requirement', None, b'make the repository an ordinary one again'),
    ],
    b'hg admin::headless-init [--expand | --remove-requirement]',
    helpcategory=_CATEGORY,
)
def headless_init(ui: Any, repo: Any, **opts: Any) -> int:
    """make a repository headless: the schema, the store, the requirement

    Creates the database's schema or upgrades it, lets search find what older versions
    have recorded (pushes go on meanwhile), checks the store, and writes the
    requirement "headless" into the repository: from then on, an hg that does not load the
    extensions refuses to open it.

    Run it once on a push server before the first push, and again after each
    upgrade of hgext_headless. Creating and upgrading the schema needs a database role that
    may create tables. Then run it on each other server, where a role that
    may read is enough. Running it again changes nothing.

    With --expand, servers of the version before go on taking pushes. Run it before the
    first server is upgraded, and without it after the last one.

    A repository with drafts of its own gets no requirement: it is to move in with
    :hg:`admin::headless-import`.

    With --remove-requirement, take the requirement out and do nothing else: any hg can
    open the repository then, and has its public history. The settings have to go too.

    Returns 0 on success.
    """
    return _run('init', ui, repo, **opts)


@eh.command(
    b'admin::headless-import',
    [
        (b'r', b'rev', [], b'drafts to import, with their draft ancestors', b'REV'),
        (b'', b'into', b'', b'write a clone with the public history to a new folder', b'DIR'),
        *_DRY_RUN,
        *_FORMATTER,
    ],
    b'hg admin::headless-import [-r REV]... [--into DIR]',
    helpcategory=_CATEGORY,
)
def headless_import(ui: Any, repo: Any, **opts: Any) -> int:
    """store the drafts of this repository as bundles and rows

    The repository is an ordinary one, with a head for each draft that was pushed;
    it is left as it is. Each draft head becomes a bundle that stands alone. All
    drafts are imported unless some are named with -r/--rev; secret and hidden
    changesets are not. Drafts that have expired since come back, with their pushes.

    With --into, a clone that has the public history only is written to that folder,
    with the settings that headless repositories need: the one to serve from now
    on. Where the database or the store is the embedded one, it is the clone's.

    Whatever stops it, run it again: it goes on from where it was, and what is
    stored already is passed over.

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
    """take over the pushes of an older pushlog

    FILE is the SQLite database of hg.mozilla.org's pushlog extension, by default
    ``.hg/pushlog2.db``: a table ``pushlog(id, user, date)`` and a table
    ``changesets(pushid, rev, node)``, where ``rev`` tells the order within a push.
    Ids, users and dates stay what they are, so that whoever polls
    goes on from where it was. Run it before the first push to the headless repository,
    where the changesets are that were pushed: in the old repository, or in one
    into whose database they were imported. Changesets that nobody has any more
    stay in the pushlog by name.

    Whatever stops it, run it again; a second run changes nothing. A push that
    clashes with what is recorded is listed, and left out.

    Returns 0 on success, 1 if there were clashes.
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
    """give drafts and pushlog back to an ordinary repository, or to a folder

    Where DEST is a repository, it gets the public history, the drafts as drafts, and
    the pushlog as ``.hg/pushlog2.db``. Otherwise DEST becomes a folder with a bundle
    for each draft head, named after it, and ``pushlog2.db``. Everything is exported
    unless drafts or pushes are named.

    Whatever stops it, run it again: it goes on from where it was.

    Returns 0 on success.
    """
    return _run('export.command', ui, repo, dest, **opts)


@eh.command(
    b'admin::headless-verify',
    [
        (b'', b'full', None, b'read every object, and compare its digests'),
        (b'', b'repair', None, b'repair what can be'),
        (b'', b'force', None, b'repair even if many objects are missing'),
        (b'', b'since', b'', b'only what was stored or pushed since then', b'DATE'),
        *_FORMATTER,
    ],
    b'hg admin::headless-verify [--full] [--repair] [--since DATE]',
    helpcategory=_CATEGORY,
)
def headless_verify(ui: Any, repo: Any, **opts: Any) -> int:
    """check that database, store and repository agree

    Every row has its object, with the right size, and with --full the right
    content; every object belongs to a row; the public changesets that drafts build
    on, and those that pushes brought, are in the repository; push ids have no gap.

    --since takes a date (see :hg:`help dates`) or an age like 7d or 12h. Objects
    without a row are looked for only without it, and only those older than a day.

    With --repair, drafts whose object is lost or spoiled are dropped, so that
    they can be pushed again; and a counter or an index that disagrees with its rows is
    set right. Objects without a row are left to :hg:`admin::headless-gc`. Where many objects
    are missing, which is what a wrong setting looks like, no draft is dropped unless it
    has --force.

    Returns 0 if all is well or was repaired, 1 if not.
    """
    return _run('verify.command', ui, repo, **opts)


@eh.command(
    b'admin::headless-expire',
    [
        (b'', b'older-than', b'', b'pushes that are older, like 90d', b'AGE'),
        (b'u', b'user', [], b'pushes of this user', b'USER'),
        (b'', b'push', [], b'pushes by id', b'ID'),
        (b'r', b'rev', [], b'drafts by revset', b'REV'),
        *_DRY_RUN,
        *_FORMATTER,
    ],
    b'hg admin::headless-expire [--older-than AGE] [-u USER]... [--push ID]... [-r REV]...',
    helpcategory=_CATEGORY,
)
def headless_expire(ui: Any, repo: Any, **opts: Any) -> int:
    """let drafts go

    The drafts of the pushes that fit all options, or those among them that -r/--rev
    names, are removed with their bundles. Their pushes stay in the pushlog, with the
    names of what they brought; pages of the drafts say "410 Gone", and the drafts can
    be pushed again. A draft on which another one builds stays until that one goes.

    The revset of -r/--rev may name drafts; it sees public history and the drafts of
    the pushes that fit or, without another option, those that it names and the ones
    that they came with.

    Returns 0 on success.
    """
    return _run('expire', ui, repo, **opts)


@eh.command(
    b'admin::headless-obliterate|admin::headless-forget',
    [
        (b'', b'reason', b'', b'why: it stays in the audit table', b'TEXT'),
        *_DRY_RUN,
        *_FORMATTER,
    ],
    b'hg admin::headless-obliterate --reason TEXT NODE',
    helpcategory=_CATEGORY,
)
def headless_obliterate(ui: Any, repo: Any, node: bytes, **opts: Any) -> int:
    """remove one draft everywhere, at once and for good

    NODE is a draft's hash, or 12 digits of it. The draft, and the drafts that build on
    it, are removed from every bundle, the database, and this server's cache; what else
    was in the bundles is stored anew.
    A row in the table ``audit`` says who did it, when and why. From then on a push
    that brings the draft is refused.

    The command was called ``headless-forget``; that name goes with the next release.

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
    """make rows again for bundles of which the store has the objects only

    For a database that was lost, or restored from a backup that is older than the last
    push. Each object without a row is read and checked; then its drafts can be pulled
    again. What no push has brought becomes a push of the user "rebuilt" with the time of the
    object, the oldest object first. Bookmarks and obsolescence markers are not in the store.

    Drafts that were removed for good stay so, if the database knows of it. Running it again
    goes on where it was interrupted.

    Returns 0 if no object without a row is left, 1 if one could not be used: a line says why.
    """
    return _run('rebuild', ui, repo, **opts)


@eh.command(
    b'admin::headless-audit',
    _FORMATTER,
    b'hg admin::headless-audit',
    helpcategory=_CATEGORY,
)
def headless_audit(ui: Any, repo: Any, **opts: Any) -> int:
    """list what operators removed for good, with who did it, when and why

    The newest comes first. The database has the same as a view for people,
    ``audit_log``.

    Returns 0 on success.
    """
    return _run('audit', ui, repo, **opts)


@eh.command(
    b'admin::headless-gc',
    [
        (b'', b'grace', b'30d', b'leave alone objects that are younger', b'AGE'),
        (b'', b'force', None, b'even if that is most of what there is'),
        *_DRY_RUN,
        *_FORMATTER,
    ],
    b'hg admin::headless-gc [--grace AGE]',
    helpcategory=_CATEGORY,
)
def headless_gc(ui: Any, repo: Any, **opts: Any) -> int:
    """remove objects that nothing points at, and what else was left behind

    Objects without a row in the database, temporary files of pushes and pulls that died,
    and entries of the local cache that nobody can ask for. An object is all that is left of
    drafts whose rows were lost (see :hg:`help admin::headless-rebuild`): it is kept for
    a month, and named when it goes. It may run beside
    pushes, and says nothing else unless it is asked with -v/--verbose: made for cron. Where
    it would remove more than half of all objects, which is what a wrong setting looks
    like, it refuses unless it has --force.

    Returns 0 on success, 1 if another one is running (then nothing was done) or if
    something could not be removed.
    """
    return _run('gc', ui, repo, **opts)


@eh.command(
    b'admin::headless-stats',
    [
        (b'', b'days', 30, b'the last days to list', b'N'),
        (b'', b'prometheus', b'', b'write metrics to a file', b'FILE'),
        *_FORMATTER,
    ],
    b'hg admin::headless-stats [--days N] [--prometheus FILE]',
    helpcategory=_CATEGORY,
)
def headless_stats(ui: Any, repo: Any, **opts: Any) -> int:
    """count pushes, changesets and bytes, by day and by user

    Days are those of UTC. What was stored on a day is counted as far as it is still
    there. Bundles are as old as their storing: what was moved in is younger here than
    for :hg:`admin::headless-expire`, which goes by the push.

    --prometheus writes the totals for the textfile collector of the node exporter,
    and prints nothing without -v/--verbose or -T/--template; it needs the package
    prometheus-client.

    Returns 0 on success.
    """
    return _run('stats', ui, repo, **opts)
