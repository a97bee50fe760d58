"""git-remote-hg, a client that is not hg: it pushes bare changegroups (bundle1) and keys."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.embedded import objects

PROGRAM = Path(sys.executable).parent / 'git-remote-hg'

# Mercurial 7.2 has to be told to register its handlers of parts.
WRAPPER = """#!{python}
import contextlib, importlib, runpy
with contextlib.suppress(ImportError):
    importlib.import_module('mercurial.initialization').init()
runpy.run_path({program!r}, run_name='__main__')
"""


@pytest.fixture
def git(world):
    if not PROGRAM.exists() or not shutil.which('git'):
        pytest.skip('needs git, and git-remote-hg beside hg')
    folder = world.folder / 'bin'
    folder.mkdir()
    wrapper = folder / 'git-remote-hg'
    wrapper.write_text(WRAPPER.format(python=sys.executable, program=str(PROGRAM)))
    wrapper.chmod(0o755)
    env = {**world.env, 'PATH': f'{folder}:{world.env["PATH"]}', 'HOME': str(world.folder)}
    for who in ('AUTHOR', 'COMMITTER'):
        env.update({f'GIT_{who}_NAME': 'Alice', f'GIT_{who}_EMAIL': 'alice@example.com'})

    def run(*args: str, cwd: Path, code: int = 0) -> str:
        done = subprocess.run(['git', *args], cwd=cwd, env=env, capture_output=True, text=True)
        out = done.stdout + done.stderr
        assert done.returncode == code, out
        return out

    return run


@pytest.mark.slow
@pytest.mark.parametrize('transport', ['http', 'ssh'])
def test_push(world, make_server, git, transport):
    server = make_server('embedded', 'max-push-size = 1 MB\n')
    url = server.url(transport)
    git('clone', '-q', f'hg::{url}', 'git', cwd=world.folder)
    folder = world.folder / 'git'
    for number, refspec in ((1, 'master'), (2, 'HEAD:topic')):
        (folder / 'file').write_text(f'{number}\n')
        git('add', 'file', cwd=folder)
        git('commit', '-qm', f'from git {number}', cwd=folder)
        out = git('push', 'origin', refspec, cwd=folder)
        assert f'headless: stored 1 changeset as push {number}' in out
    assert server.changesets() == 3
    bob = world.clone(url, 'bob')
    bob.hg_fast('pull', '-q', '-r', 'topic')
    bob.verified()
    assert bob.log('draft()', '{desc}\n') == ['from git 1', 'from git 2']
    stored = objects(server)
    (folder / 'file').write_text('0' * 2_000_000)
    git('commit', '-qam', 'large', cwd=folder)
    out = git('push', 'origin', 'HEAD:topic', cwd=folder, code=1)
    assert 'headless: refused: the push has more than headless.max-push-size' in out
    assert objects(server) == stored
