"""take pushes apart: public changesets to the repository, drafts to S3 and Postgres

An extension for push servers. A draft that is pushed becomes a bundle in an
object store, with rows in a database. Only public changesets are added to the
repository. Clients run plain :hg:`push`. See :hg:`help headless`.

    [extensions]
    hgext_headless.push =
    hgext_headless.push:required = yes
    [headless]
    repository = try
"""

from __future__ import annotations

from typing import Any

from mercurial import (
    bundle2,
    encoding,
    exthelper,
    localrepo,
)

from . import common, config, hgcompat, lazy, place as places, requirement
from .admin import commands
from .receive import flow, hooks, parts, pushkey, quarantine, stream
from .replication import append

testedwith = hgcompat.TESTED_WITH
minimumhgversion = hgcompat.MINIMUM_HG_VERSION

eh = exthelper.exthelper()
commands.register(eh, commands.eh, b'hgext_headless.web')
config.register(eh, b'hgext_headless.web')
configtable = eh.configtable
cmdtable = eh.cmdtable
uisetup = eh.finaluisetup
extsetup = eh.finalextsetup
reposetup = eh.finalreposetup

#: The hook ``pretxnchangegroup.headless``: it refuses changegroups that were not split.
split = flow.refuse_outside


def log_public(ui: Any, repo: Any, hooktype: bytes, **kwargs: Any) -> None:
    """Log public history that came another way than by a push: the hooks `append.HOOKS`."""
    append.after_transaction(repo, hooktype, kwargs)


def featuresetup(ui: Any, features: set[bytes]) -> None:
    """Make the requirement known where this extension is enabled: it has to be in this module."""
    features.add(requirement.NAME)


@eh.uisetup
def _uisetup(ui: Any) -> None:
    localrepo.featuresetupfuncs.add(featuresetup)
    lazy.install()


@eh.extsetup
def _extsetup(ui: Any) -> None:
    common.install()
    hgcompat.wrap_once(bundle2, 'processparts', flow.process)
    hgcompat.wrap_once(bundle2.interrupthandler, '__call__', parts.refuse_nested)
    hgcompat.wrap_commands(pushkey=pushkey.wire_push_key, unbundle=stream.receive)


@eh.reposetup
def _reposetup(ui: Any, repo: Any) -> None:
    settings = common.set_up(repo, pushkey.Repository)
    if settings is None:
        return
    for section, item, value in (
        (b'phases', b'publish', False),
        (b'experimental', b'bundle2lazylocking', True),
        (b'experimental', b'changegroup4', False),
        (b'experimental', b'changegroup5', False),
        # The push is written to a file anyway: do not write another copy.
        (b'server', b'streamunbundle', True),
        (b'hooks', hooks.GUARD, b'python:hgext_headless.push.split'),
        (b'hooks', b'priority.' + hooks.GUARD, b'%d' % hooks.PRIORITY),
    ):
        repo.ui.setconfig(section, item, value, b'headless')
    if places.has_log(settings):
        for name in append.HOOKS:
            repo.ui.setconfig(b'hooks', name, b'python:hgext_headless.push.log_public', b'headless')
    if hgcompat.is_chg_server():
        lazy.before_forks()
        repo.headless.preload()  # it forks a process for each push
    quarantine.enter(repo, encoding.environ)
