"""The requirement of a headless repository: the repository itself says what it is.

An hg that does not load an extension of ours, because it does not trust the hgrc or
for whatever reason, refuses to open a repository with a requirement that it does not
know. A setting alone is no guard: without the extension drafts would land in the
repository.
"""

from __future__ import annotations

from typing import Any

from mercurial import error, exchange, requirements, scmutil
from mercurial.upgrade_utils import actions

from . import config, hgcompat
from .errors import Misconfigured, Refused, Temporary

#: As it stands in ``.hg/store/requires``, or in ``.hg/requires`` without share-safe.
NAME = b'headless'

def install() -> None:
    """Let Mercurial keep the requirement where the repository stays what it is, and not
    ask it of clones and clients: it concerns who keeps the store."""
    requirements.STREAM_IGNORABLE_REQUIREMENTS.add(NAME)
    hgcompat.wrap_once(actions, 'preservedrequirements', _kept)
    hgcompat.wrap_once(actions, 'supporteddestrequirements', _kept)
    hgcompat.wrap_once(exchange, 'push', _push)


def _kept(orig: Any, repo: Any) -> set[bytes]:
    """For ``debugupgraderepo``."""
    found: set[bytes] = orig(repo)
    return found | ({NAME} & repo.requirements)


def _push(orig: Any, repo: Any, remote: Any, *args: Any, **kwargs: Any) -> Any:
    """Mercurial wants a destination in this process to know what the source requires."""
    destination = remote.local()
    if destination and NAME in repo.requirements:
        destination.supported.add(NAME)
    return orig(repo, remote, *args, **kwargs)


def check(repo: Any) -> None:
    """Refuse to open a headless repository whose settings are not in effect: it would be
    served as an ordinary one. Raises Mercurial's own error for requirements."""
    if NAME in repo.requirements and not config.participates(repo):
        raise error.RequirementError(
            hgcompat.to_bytes(
                Misconfigured(
                    'this repository is headless, but no setting of [headless] is in effect: '
                    'is its hgrc there, and trusted? (see "hg help headless")'
                ).line()
            )
        )


def ensure(repo: Any) -> None:
    """Write the requirement at a push to a repository without it: the embedded database is
    made on first use, and repositories of before have none.

    A push waits for no lock: where there is one, a later push writes it. A repository with
    drafts of its own, which is to move in, gets none. Both are logged.
    """
    if NAME in repo.requirements:
        return
    try:
        _change(repo, present=True, wait=False)
    except (Refused, Temporary) as exc:
        repo.ui.log(b'headless', b'requirement: %s\n', hgcompat.to_bytes(exc.line()))


def write(repo: Any) -> bool:
    """Write the requirement; False where it was there.

    Raises `Refused` where the repository has drafts of its own, and `Temporary` where it
    is locked or can't be written to.
    """
    return _change(repo, present=True)


def remove(repo: Any) -> bool:
    """Take the requirement out; False where there was none. Raises `Temporary`."""
    return _change(repo, present=False)


def _change(repo: Any, present: bool, wait: bool = True) -> bool:
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
            # Another process may have changed them since this one read them.
            found = _on_disk(repo)
            scmutil.writereporequirements(repo, found | {NAME} if present else found - {NAME})
    except error.LockHeld as exc:
        raise Temporary('the repository is locked by another process') from exc
    except OSError as exc:
        raise Temporary(f'the requirements cannot be written: {exc.strerror}') from exc
    return True


def _on_disk(repo: Any) -> set[bytes]:
    found: set[bytes] = scmutil.readrequires(repo.vfs, True)
    if requirements.SHARESAFE_REQUIREMENT in found:
        found |= scmutil.readrequires(repo.svfs, True)
    return found
