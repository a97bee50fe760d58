"""The operators' commands (Mercurial's ``admin::``). Their help is ``help/commands.rst``."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
import textwrap
from collections.abc import Sequence
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
#: The numbers of arguments that a command may have.
_NONE, _ONE, _ANY = range(1), range(1, 2), range(sys.maxsize)
#: The texts by command: a heading, and what follows it.
_HELP = dict(
    re.findall(
        r'^(headless-.+)\n=+\n((?s:.+?))(?=^headless-.+\n=|\Z)',
        (pkgutil.get_data('hgext_headless', 'help/commands.rst') or b'').decode('ascii'),
        re.MULTILINE,
    )
)


def _command(
    name: str,
    flags: Sequence[Any],
    synopsis: str = '',
    args: range = _NONE,
    into: exthelper.exthelper = eh,
    module: str = '',
) -> None:
    """Declare ``admin::headless-NAME``: ``run`` of the module of this name, or of ``module``."""

    def command(ui: Any, repo: Any, *given: Any, **opts: Any) -> int:
        if len(given) not in args:
            raise error.SignatureError
        # Whoever reads the output may have read enough.
        passing = (error.RepoError, error.LookupError, error.StdioError)
        with errors.no_traceback(ui, 'the command', passing):
            if not config.participates(repo):
                raise Refused('this repository has no [headless] settings')
            for each in (ui, repo.ui, repo.baseui):
                options.show_rate(each)
            config.warn_removed(ui)
            found = importlib.import_module(f'{__package__}.{module or name.replace("-", "_")}')
            return found.run(ui, repo, repo.headless, *given, **opts)

    summary, _newline, text = _HELP[f'headless-{name}'].partition('\n')
    command.__doc__ = f'{summary}\n{textwrap.indent(text, "    ")}    '
    full = f'admin::headless-{name}'.encode('ascii')
    into.command(
        full,
        flags,
        b' '.join(filter(None, (b'hg', full, synopsis.encode('ascii')))),
        helpcategory=registrar.command.CATEGORY_MAINTENANCE,
    )(command)


_command(
    'init',
    [
        (b'', b'expand', None, b'keep what the previous version needs in the schema'),
        (b'', b'remove-requirement', None, b'make the repository an ordinary one'),
    ],
    '[--expand | --remove-requirement]',
)
_command(
    'import',
    [
        (b'r', b'rev', [], b'drafts to import, with their draft ancestors', b'REV'),
        (b'', b'into', b'', b'create a clone with the public history', b'DIR'),
        *_DRY_RUN,
        *_FORMATTER,
    ],
    '[-r REV]... [--into DIR] [-n]',
    module='import_drafts',
)
_command('import-pushlog', [*_DRY_RUN, *_FORMATTER], '[-n] [FILE]', args=range(2))
_command(
    'export',
    [
        (b'r', b'rev', [], b'drafts to export, with their draft ancestors', b'REV'),
        (b'', b'push', [], b'pushes whose drafts to export', b'ID'),
        *_FORMATTER,
    ],
    '[-r REV]... [--push ID]... DEST',
    args=_ONE,
)
_command(
    'verify',
    [
        (b'', b'full', None, b'read every object, and compare its rows with it'),
        (b'', b'repair', None, b'repair what can be repaired'),
        (b'', b'force', None, b'repair even if many objects are missing'),
        (b'', b'since', b'', b'check only what was stored or pushed since', b'DATE'),
        *_FORMATTER,
    ],
    '[--full] [--repair] [--since DATE]',
)
_command(
    'expire',
    [
        (b'', b'older-than', b'', b'select pushes older than this, like 90d', b'AGE'),
        (b'u', b'user', [], b'select pushes of this user', b'USER'),
        (b'', b'push', [], b'select a push', b'ID'),
        (b'r', b'rev', [], b'select drafts', b'REV'),
        *_DRY_RUN,
        *_FORMATTER,
    ],
    '[--older-than AGE] [-u USER]... [--push ID]... [-r REV]... [-n]',
)
_command(
    'obliterate',
    [
        (b'', b'reason', b'', b'reason, for the audit table', b'TEXT'),
        (b'u', b'user', b'', b'who removes it (default: who runs the command)', b'USER'),
        *_DRY_RUN,
        *_FORMATTER,
    ],
    '--reason TEXT [-u USER] [-n] NODE',
    args=_ONE,
)
_command('rebuild', [*_DRY_RUN, *_FORMATTER], '[-n]')
_command(
    'restored',
    [(b'', b'above', b'0', b'the last id that anybody has seen, if it is lost', b'ID')],
    '[--above ID]',
)
_command('audit', _FORMATTER)
_command(
    'gc',
    [
        (b'', b'grace', b'30d', b'keep objects that are younger', b'AGE'),
        (b'', b'force', None, b'remove even most of the objects'),
        *_DRY_RUN,
        *_FORMATTER,
    ],
    '[--grace AGE] [--force] [-n]',
)
_command(
    'stats',
    [
        (b'', b'days', 30, b'number of days to list', b'N'),
        (b'', b'prometheus', b'', b'write metrics to a file', b'FILE'),
        *_FORMATTER,
    ],
    '[--days N] [--prometheus FILE]',
)
_command(
    'announce',
    [
        (b'', b'watch', None, b'keep running, and announce new pushes'),
        (b'', b'list', None, b'list the targets, and how far each is behind'),
        (b'', b'from', b'', b'announce again from this push on', b'ID'),
        *_FORMATTER,
    ],
    '[--watch | --list] [--from ID] [TARGET]...',
    args=_ANY,
    into=on_replicas,
)
_command(
    'housekeeping',
    [
        (b'', b'older-than', b'', b'expire pushes older than this, like 90d', b'AGE'),
        (b'', b'grace', b'30d', b'keep objects that are younger', b'AGE'),
    ],
    '[--older-than AGE] [--grace AGE] [REPO]...',
    args=_ANY,
)
_command(
    'drop',
    [(b'', b'force', None, b'drop it even if it was pushed to within a day'), *_DRY_RUN],
    '[--force] [-n] NAME',
    args=_ONE,
)
_command(
    'follow',
    [(b'', b'watch', None, b'keep running, and apply new entries')],
    '[--watch]',
    into=on_replicas,
)
_command('doctor', _FORMATTER, into=on_replicas)


def register(into: exthelper.exthelper, own: exthelper.exthelper | None, other: bytes) -> None:
    """Register an extension's ``own`` commands and those for replicas with ``into``.

    If the extension ``other`` has the latter, they are left out: Mercurial would warn.
    """
    if own is not None:
        into.merge(own)
    if not hgcompat.is_loaded(other):
        into.merge(on_replicas)
