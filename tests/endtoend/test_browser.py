"""The pushlog's pages in a real browser, where there is one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

_CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_CHROMIUM is None, reason='Chromium is not installed'),
]


def browse(url: str, folder: Path, *options: str) -> str:
    """The page as the browser has it after loading."""
    done = subprocess.run(
        [
            str(_CHROMIUM),
            '--headless',
            *(['--no-sandbox'] if os.getuid() == 0 else []),
            '--disable-gpu',
            '--disable-quic',
            '--no-first-run',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
            f'--user-data-dir={folder / "profile"}',
            *options,
            '--dump-dom',
            url,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=120,
    )
    assert done.returncode == 0
    return done.stdout.decode()


@pytest.mark.parametrize('style', ['paper', 'gitweb'])
def test_pushlog(world, make_server, style):
    server = make_server()
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(f'[web]\nstyle = {style}\nname = try\n')
    alice = world.clone(str(server.root), 'alice')
    for number in range(11):
        alice.hg_fast('update', '-q', 'last(public())')
        node = alice.commit(f'n{number}', '', '-m', f'draft <b>{number}</b>', '-u', 'Ann <a@b>')
        alice.hg_fast('push', '-q', '-f', '-r', '.')
    base = server.start()
    shot = f'--screenshot={world.folder / "pushlog.png"}'
    page = browse(base + 'pushloghtml', world.folder, '--window-size=1100,800', shot)
    assert (world.folder / 'pushlog.png').stat().st_size > 10_000
    assert re.findall(r'class="pushlogid"[^>]*>(\d+)<', page) == [str(i) for i in range(11, 1, -1)]
    link = re.search(r'href="/(rev/[0-9a-f]{12})[^"]*">draft &lt;b&gt;10', page).group(1)
    assert link == f'rev/{node[:12]}'
    draft = browse(base + link, world.folder)
    assert node in draft or node[:12] in draft
    assert 'push 11' in draft
    following = re.search(r'href="/(pushloghtml/2[^"]*)">Next<', page).group(1)
    last = browse(base + following, world.folder)
    assert re.findall(r'class="pushlogid"[^>]*>(\d+)<', last) == ['1']
    assert 'Prev' in last
