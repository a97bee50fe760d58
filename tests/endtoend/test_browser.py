"""The pushlog's pages in a real browser, where there is one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.browser import DRIVER, browser

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
    row = r'class="pushlognode" href="/(rev/[0-9a-f]{12})[^<]*<span.*?draft &lt;b&gt;10'
    link = re.search(row, page, re.S).group(1)
    assert link == f'rev/{node[:12]}'
    draft = browse(base + link, world.folder)
    assert node in draft or node[:12] in draft
    assert 'push 11' in draft
    following = re.search(r'href="/(pushloghtml/2[^"]*)">Next<', page).group(1)
    last = browse(base + following, world.folder)
    assert re.findall(r'class="pushlogid"[^>]*>(\d+)<', last) == ['1']
    assert 'Prev' in last


#: Whether a page scrolls sideways, and the narrowest description of a changeset, in em.
_MEASURE = """
const widths = Array.from(document.querySelectorAll('.pushlogdescription'))
  .filter(one => one.offsetParent)
  .map(one => one.getBoundingClientRect().width / parseFloat(getComputedStyle(one).fontSize));
return [document.documentElement.scrollWidth, Math.min(...widths)];
"""


#: Whether what is folded is shown.
_UNFOLDED = """
return Array.from(document.querySelectorAll('table.pushlog details:not([open]) *'))
  .every(one => one.checkVisibility());
"""


#: Where a push and a changeset of it begin.
_EDGES = """
return ['.pushlogid', '.pushlognode'].map(
  one => document.querySelector(one).getBoundingClientRect().left);
"""

_BAR = """
const diff = document.querySelector('.diffblocks');
return diff.offsetWidth > diff.clientWidth;
"""


@pytest.mark.skipif(DRIVER is None, reason='chromedriver is not installed')
def test_widths(world, make_server):
    """No width, text size or print scrolls sideways or leaves a description less than 20 em."""
    server = make_server()
    alice = world.clone(str(server.root), 'alice')
    for text in ('Bug 1912700 - ' + 'many words ' * 30, 'x' * 200, 'short\n' + '\nline' * 20):
        alice.commit(
            'some/folder/' + text.split()[0], 'a line of a file\n' * 40 + 'y' * 400, '-m', text,
            '-u', 'Somebody of a Long Name <somebody@example.com>',
        )
    alice.hg_fast('bookmark', 'a-bookmark-with-a-name-that-is-long')
    alice.hg('push', '-q', '-B', '.', env={'USER': 'somebody.of.a.long.name@example.com'})
    base = server.start()
    wrong = []
    with browser(world.folder) as chromium:
        for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal'):
            for page in ('pushloghtml', 'push/1'):
                chromium.emulate('screen')
                chromium.get(f'{base}{page}?style={style}')
                for width in (*range(320, 1300, 20), 1600, 2000):
                    chromium.resize(width)
                    scrolled, narrowest = chromium.run(_MEASURE)
                    if scrolled > width or narrowest < 20:
                        wrong.append((style, page, width, scrolled, narrowest))
                if page == 'pushloghtml':
                    chromium.resize(800)
                    push, changeset = chromium.run(_EDGES)
                    if push != changeset:
                        wrong.append((style, page, 'edges', push, changeset))
                elif chromium.run(_BAR):
                    wrong.append((style, page, 'the diff scrolls up and down'))
                chromium.emulate('print')
                chromium.resize(700)
                scrolled, narrowest = chromium.run(_MEASURE)
                if scrolled > 700 or narrowest < 20 or not chromium.run(_UNFOLDED):
                    wrong.append((style, page, 'print', scrolled, narrowest))
    with browser(world.folder, font_size=32) as chromium:
        for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal'):
            for page in ('pushloghtml', 'push/1'):
                chromium.get(f'{base}{page}?style={style}')
                for width in range(640, 2000, 80):
                    chromium.resize(width)
                    scrolled, narrowest = chromium.run(_MEASURE)
                    if scrolled > width or narrowest < 20:
                        wrong.append((style, page, 'text', width, scrolled, narrowest))
    assert not wrong, '\n'.join(map(str, wrong))


@pytest.mark.skipif(DRIVER is None, reason='chromedriver is not installed')
def test_form_and_names_of_strangers(world, make_server):
    server = make_server()
    alice = world.clone(str(server.root), 'alice')
    alice.commit('n' * 200, None, '-m', 'turned \u202e', '-u', 'turned \u202e <a@b>')
    alice.hg_fast('push', '-q')
    base = server.start()
    with browser(world.folder) as chromium:
        chromium.get(base + 'pushloghtml')
        for name in ('Author', 'Summary'):
            chosen = f"document.querySelector('.pushlog{name.lower()}')"
            assert chromium.run(f'return getComputedStyle({chosen}).unicodeBidi') == 'isolate'
        colour = "return getComputedStyle(document.getElementById('pushloglocal')).backgroundColor"
        off = chromium.run(colour)
        chromium.run("document.getElementById('pushloglocal').click()")
        assert chromium.run(colour) != off
        chromium.run(
            "const form = document.querySelector('form.pushlogform');"
            "form.querySelector('[name=search]').value = 'turned'; form.requestSubmit()"
        )
        assert chromium.wait('return location.search') == '?search=turned'
        chromium.run('history.back()')
        assert chromium.wait("return location.search === ''")
        assert chromium.run("return document.querySelectorAll('input:disabled').length") == 0
        chromium.get(base + 'push/1')
        chromium.resize(1280)
        width = (
            "const cell = document.querySelector('.pushlogfiles tbody td');"
            "return cell.offsetWidth / parseFloat(getComputedStyle(cell).fontSize)"
        )
        assert chromium.run(width) > 14
