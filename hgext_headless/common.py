"""What both extensions do to Mercurial. It is done once if both are loaded."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any

from mercurial import exchange, extensions, help as helps
from mercurial.hgweb import common as webcommon
from mercurial.i18n import _

from . import backend, config, errors, hgcompat, requirement
from .config import Settings
from .errors import Misconfigured
from .receive import flow
from .wire import discovery, ssh

_OUTSIDE = 'keeps contents of files outside of changesets, where bundles do not have them'
#: Extensions that do harm in a headless repository, some of them of hg.mozilla.org, and which.
_HARMFUL = {
    'largefiles': _OUTSIDE,
    'lfs': _OUTSIDE,
    'pushlog': 'would record pushes a second time, and has the same pages',
    'vcsreplicator': 'would announce drafts to mirrors, which have none',
}


def install() -> None:
    requirement.install()
    _add_help()
    ssh.install()
    hgcompat.wrap_once(exchange, 'unbundle', flow.unbundle)
    hgcompat.wrap_commands(batch=discovery.batch, listkeys=discovery.list_keys)
    if hgcompat.note_base not in webcommon.permhooks:
        webcommon.permhooks.append(hgcompat.note_base)


def help_text(name: str) -> bytes:
    """Return the text of a file in ``help``, without its extension."""
    return pkgutil.get_data(__package__, f'help/{name}.rst') or b''


def _add_help() -> None:
    """Add ``hg help headless`` and ``hg help config.headless``, unless they are there."""
    if not any(b'headless' in entry[0] for entry in helps.helptable):
        topic = [b'headless'], _(b'Headless Repositories'), lambda ui: help_text('headless')
        helps.helptable.append(topic)
        helps.addtopichook(b'config', lambda ui, topic, doc: doc + b'\n' + help_text('config'))


def set_up(repo: Any, mixin: type, harmful: Mapping[str, str] | None = None) -> Settings | None:
    """Check a repository, and give it its attribute ``headless`` and the methods of ``mixin``.

    ``harmful`` are other extensions that do harm, and which. Return the settings; None for an
    ordinary repository, and for that of a peer.
    """
    if repo.local() is None:
        return None
    with errors.clear_errors(errors.Unopened):
        requirement.check(repo)
        if not config.participates(repo):
            return None
        config.check_repository(repo)
        _check_extensions(repo, {**_HARMFUL, **(harmful or {})})
        settings = backend.attach(repo).settings
        config.check_packages(settings)
    hgcompat.mix_in(repo, discovery.Repository)
    hgcompat.mix_in(repo, mixin)
    return settings


def _check_extensions(repo: Any, harmful: Mapping[str, str]) -> None:
    for name, _module in extensions.extensions(repo.ui):
        key = hgcompat.to_str(name)
        harm = harmful.get(key.rsplit('.', 1)[-1])
        if harm is not None:
            raise Misconfigured(
                f'the extension {key} {harm}: write "{key} = !" below [extensions] in '
                f'{hgcompat.to_str(repo.vfs.join(b"hgrc"))}'
            )
