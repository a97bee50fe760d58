"""serve drafts that live in S3 and Postgres, as if they were in the repository

An extension for hgweb and ssh servers. Each server has a read-only replica of
public history. Drafts are looked up in the database, and clients fetch them by
link. See :hg:`help headless`.

    [extensions]
    hgext_headless.web =
    hgext_headless.web:required = yes
    [headless]
    repository = try
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from typing import Any

from mercurial import exchange, exthelper, localrepo, util
from mercurial.hgweb import webutil

from . import common, config, errors, hgcompat, lazy, requirement
from .admin import commands
from .hgweb import errors as web_errors, pages, ready, searches
from .hgweb.pushlog import (
    commands as pushlog_commands,
    decorate,
    keywords,
    links,
    wire_command,
)
from .wire import discovery, getbundle, links as bundle_links

_NO_PUSHLOG = (
    'needs the pushlog of a repository, which a headless one does not have; '
    'its web commands for pushes are here too'
)
#: Other repositories of this process may have them.
_HARMFUL = {'hgmo': _NO_PUSHLOG, 'pushlog-feed': _NO_PUSHLOG}

testedwith = hgcompat.TESTED_WITH
minimumhgversion = hgcompat.MINIMUM_HG_VERSION

#: The roots of the repositories that hgweb has opened in this process.
_prepared: set[bytes] = set()

eh = exthelper.exthelper()
commands.register(eh, None, b'hgext_headless.push')
config.register(eh, b'hgext_headless.push')
configtable = eh.configtable
cmdtable = eh.cmdtable
templatekeyword = keywords.eh.templatekeyword
revsetpredicate = keywords.eh.revsetpredicate
uisetup = eh.finaluisetup
extsetup = eh.finalextsetup
reposetup = eh.finalreposetup


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
    hgweb = hgcompat.hgweb_class()
    hgcompat.wrap_commands(getbundle=getbundle.wire_command)
    hgcompat.wrap_once(exchange, 'getbundlechunks', getbundle.get_bundle_chunks)
    hgcompat.wrap_once(webutil, 'getwebsubs', _prepare_hgweb)
    hgwebdir = hgcompat.hgwebdir_class()
    hgcompat.wrap_once(hgwebdir, '__init__', _init_hgwebdir)
    hgcompat.wrap_once(hgwebdir, 'templater', web_errors.hgwebdir_templater)
    hgcompat.wrap_once(hgweb, 'run_wsgi', _run_wsgi)
    hgcompat.wrap_once(util.urlreq, 'parseqsl', hgcompat.parse_query)
    hgcompat.wrap_once(hgcompat.request_context_class(), 'templater', decorate.templater)
    searches.install()
    pages.install()
    pushlog_commands.install()
    wire_command.install()
    _wrap_parts()
    if ui.configsource(b'ui', b'nontty') == b'hgwebdir':
        lazy.settle()  # its `__init__`, which has loaded this extension, cannot be wrapped any more


def _wrap_parts() -> None:
    """Wrap the generators of bundle2 parts, also what another extension has made of them since."""
    parts = exchange.getbundle2partsmapping
    for kind, wrapper in (
        (b'changegroup', getbundle.changegroup_part),
        (b'bookmarks', getbundle.bookmarks_part),
        (b'obsmarkers', getbundle.obsmarkers_part),
        (b'phases', getbundle.phases_part),
    ):
        if getattr(parts[kind], 'func', None) is not wrapper:
            parts[kind] = functools.partial(wrapper, parts[kind])


@eh.reposetup
def _reposetup(ui: Any, repo: Any) -> None:
    settings = common.set_up(repo, discovery.FindingDrafts, _HARMFUL)
    if settings is None:
        return
    with errors.clear_errors(errors.Unopened):
        config.check_serving(settings)
        links.configured(repo.ui)
    repo.ui.setconfig(b'phases', b'publish', False, b'headless')
    _wrap_parts()


def _prepare_hgweb(orig: Any, repo: Any) -> Any:
    """Prepare a process that serves ``repo``, before it has other threads.

    hgweb calls ``orig`` when it opens a repository. If it reads the hgrc itself, as under a WSGI
    server, its ``__init__`` runs already when this extension is loaded.
    """
    if config.participates(repo):
        lazy.settle()
        pushlog_commands.install()
        if repo.root not in _prepared:
            _prepared.add(repo.root)
            config.warn_removed(repo.ui)
            repo.headless.preload()
    return orig(repo)


def _init_hgwebdir(orig: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    orig(self, *args, **kwargs)
    lazy.settle()  # it begins to answer before it makes an hgweb


def _run_wsgi(orig: Any, app: Any, req: Any, res: Any) -> Iterator[bytes]:
    health = functools.partial(ready.answer_health, res) if ready.asks_for_health(req) else None
    return web_errors.answer_unopened(app, _answer(orig, app, req, res), req, res, health)


def _answer(orig: Any, app: Any, req: Any, res: Any) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        res.headless_stack = stack  # for what stays open until the last byte is sent
        with web_errors.obtained(app) as repo:
            answer = _own_answer(repo, req, res)
        yield from answer or orig(app, req, res)


def _own_answer(repo: Any, req: Any, res: Any) -> Iterator[bytes] | None:
    """Return the answer to what has no login, before hgweb asks for one."""
    if not config.participates(repo):
        wire_command.leave_to_hgweb(req)
        return None
    lazy.settle()
    repo.ui.environ = req.rawenv  # as hgweb does later
    _bound_arguments(repo, req)
    if bundle_links.matches(req):
        return bundle_links.answer(repo, req, res)
    if ready.matches(req):
        return ready.answer(repo, req, res)
    pushlog_commands.choose_style(req)
    wire_command.complete(req)
    return None


def _bound_arguments(repo: Any, req: Any) -> None:
    """Leave arguments of a command in the body of a request alone, unless this server takes them.

    Mercurial waits for as many bytes as the client says, and before it asks for a login.
    """
    announced = req.headers.get(b'X-HgArgs-Post', b'')
    is_taken = repo.ui.configbool(b'experimental', b'httppostargs')
    if not (is_taken and re.fullmatch(rb'[0-9]{1,7}', announced)):
        del req.headers[b'X-HgArgs-Post']
