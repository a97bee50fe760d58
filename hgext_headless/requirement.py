"""The requirement ``headless``, which marks the repository itself.

An hg that does not load the extensions, for instance because it does not trust the hgrc,
refuses to open a repository with an unknown requirement. Settings alone do not protect it:
without the extensions, drafts would enter the repository.
"""

from __future__ import annotations

from typing import Any

from mercurial import error, exchange, localrepo, requirements, scmutil
from mercurial.upgrade_utils import actions

from . import config, errors, hgcompat
from .errors import HeadlessError, Misconfigured, Refused, Temporary

#: The name in ``.hg/store/requires``, or in ``.hg/requires`` without share-safe.
NAME = b'headless'


def install() -> None:
    """Make Mercurial keep the requirement in upgrades, and not ask it of clones and clients."""
    requirements.STREAM_IGNORABLE_REQUIREMENTS.add(NAME)
    for name in ('preservedrequirements', 'supporteddestrequirements'):
        hgcompat.wrap_once(actions, name, _preserved)
    hgcompat.wrap_once(exchange, 'push', _push)
    hgcompat.wrap_once(localrepo, 'ensurerequirementsrecognized', _recognized)


def _preserved(orig: Any, repo: Any) -> set[bytes]:
    """Add the requirement to those that ``debugupgraderepo`` keeps."""
    found: set[bytes] = orig(repo)
    return found | ({NAME} & repo.requirements)


def _push(orig: Any, repo: Any, remote: Any, *args: Any, **kwargs: Any) -> Any:
    """Make the requirement known to a destination in this process: Mercurial compares the two."""
    destination = remote.local()
    if destination and NAME in repo.requirements:
        destination.supported.add(NAME)
    return orig(repo, remote, *args, **kwargs)


def _recognized(orig: Any, found: set[bytes], supported: set[bytes]) -> None:
    """Say why the requirement is unknown in a process that has loaded the extensions."""
    if NAME in found - supported:
        with errors.clear_errors(errors.Unopened):
            raise _not_in_effect()
    orig(found, supported)


def check(repo: Any) -> None:
    """Raise `Misconfigured` if a headless repository would be served as an ordinary one."""
    if NAME in repo.requirements and not config.participates(repo):
        raise _not_in_effect()


def _not_in_effect() -> Misconfigured:
    return Misconfigured(
        'this repository is headless, but no setting of [headless] is in effect: is its hgrc '
        'there, and trusted? (see "hg help headless")'
    )


def ensure(repo: Any) -> None:
    """Write the requirement during a push, if the repository lacks it.

    The push waits for no lock: a later one writes it then. A repository that has drafts itself,
    before its import, does not get it. Both cases are logged.
    """
    if NAME in repo.requirements:
        return
    try:
        change(repo, present=True, wait=False)
    except HeadlessError as exc:
        repo.ui.log(b'headless', b'requirement: %s\n', hgcompat.to_bytes(exc.line()))


def change(repo: Any, present: bool, wait: bool = True) -> bool:
    """Write the requirement, or remove it; return False if nothing was to do.

    Raise `Refused` if the repository itself has drafts and is to get it, `Temporary` if it is
    locked, and what `errors.file_failed` says.
    """
    repo = repo.unfiltered()
    if (NAME in _on_disk(repo)) == present:
        return False
    if present and repo.revs(b'first(not public())'):
        raise Refused(
            'this repository has drafts of its own, and a headless one has none: '
            'see "hg help admin::headless-import"'
        )
    try:
        with repo.wlock(wait), repo.lock(wait):
            # Read again under the lock: another process may have changed them.
            found = _on_disk(repo)
            scmutil.writereporequirements(repo, found | {NAME} if present else found - {NAME})
    except error.LockHeld as exc:
        raise Temporary('the repository is locked by another process') from exc
    except OSError as exc:
        raise errors.file_failed('the requirements cannot be written', exc) from exc
    return True


def _on_disk(repo: Any) -> set[bytes]:
    found: set[bytes] = scmutil.readrequires(repo.vfs, True)
    if requirements.SHARESAFE_REQUIREMENT in found:
        found |= scmutil.readrequires(repo.svfs, True)
    return found
