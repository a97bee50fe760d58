"""Links: only whoever has the secret makes them, for a time, and for one repository."""

from __future__ import annotations

import dataclasses
import os
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings, strategies as st

from hgext_headless import config
from hgext_headless.errors import Refused, Temporary
from hgext_headless.model import Bundle
from hgext_headless.wire import links

DIGEST = 'ab' * 32
BUNDLE = Bundle(f'try/ab/{DIGEST}.hg', 1, '', bytes(20), ())
BASE = 'https://hg.example.com/try'


@dataclasses.dataclass
class Settings:
    """Those that links go by."""

    repository: str = 'try'
    link_secret: str | None = 'secret'
    link_ttl: int = 60
    bundle_url: str | None = None
    home: str = '/nowhere'


def taken_apart(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    assert url.startswith(f'{BASE}/headless-bundle/')
    return parts.path.rsplit('/', 1)[1], query['expires'][0], query['signature'][0]


def test_made_and_checked():
    made = links.link(Settings(), BUNDLE, BASE)
    assert made is not None and len(made) <= config.MAX_LINK
    assert taken_apart(made)[0] == DIGEST
    links.check(Settings(), *taken_apart(made))


@pytest.mark.parametrize('other', [{'link_secret': 'other'}, {'repository': 'other'}])
def test_of_another_server(other):
    made = links.link(Settings(**other), BUNDLE, BASE)
    with pytest.raises(Refused, match='was not made here'):
        links.check(Settings(), *taken_apart(made))


def test_expired():
    made = links.link(Settings(link_ttl=-1), BUNDLE, BASE)
    with pytest.raises(Refused, match='has expired'):
        links.check(Settings(), *taken_apart(made))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.data())
def test_changed(which, draw):
    """In any one character of any of its parts, or with any text in its place."""
    right = list(taken_apart(links.link(Settings(link_ttl=9999), BUNDLE, BASE)))
    old = right[which]
    place = draw.draw(st.integers(0, len(old) - 1))
    digits = st.sampled_from('0123456789abcdefABCDEF+/-_=%.\0é')
    new = draw.draw(
        digits.map(lambda one: old[:place] + one + old[place + 1 :]) | st.text(max_size=90)
    )
    if new == old:
        return
    right[which] = new
    with pytest.raises(Refused):
        links.check(Settings(), *right)


def test_longer_than_a_part_can_say():
    """Then there is none, and the bundle goes inline."""
    long = 'https://' + 'x' * 300
    assert links.link(Settings(), BUNDLE, long) is None
    assert links.link(Settings(bundle_url=long), BUNDLE, BASE) is None


def test_of_a_cdn():
    url = links.link(Settings(bundle_url='https://cdn'), BUNDLE, None)
    assert url == f'https://cdn/try/ab/{DIGEST}.hg'


def test_without_a_base():
    assert links.link(Settings(), BUNDLE, None) is None


def test_a_secret_of_its_own(tmp_path):
    """Made by whoever makes the first link; nobody else can read it."""
    mine = Settings(link_secret=None, home=str(tmp_path / 'home'))
    with pytest.raises(Refused, match='was not made here'):
        links.check(mine, DIGEST, '9999999999', 'x')
    assert not os.path.exists(mine.home)  # to check makes none
    made = links.link(mine, BUNDLE, BASE)
    links.check(mine, *taken_apart(made))
    links.check(mine, *taken_apart(links.link(mine, BUNDLE, BASE)))
    path = tmp_path / 'home' / 'link-secret'
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ['link-secret']
    path.write_bytes(b'')  # which is no secret
    assert links.link(mine, BUNDLE, BASE) is None
    with pytest.raises(Refused):
        links.check(mine, *taken_apart(made))
    path.unlink()  # in a folder that a group shares, somebody may have put a link
    (tmp_path / 'other').write_text('of another file')
    path.symlink_to(tmp_path / 'other')
    with pytest.raises(OSError, match='symbolic link'):
        links.link(mine, BUNDLE, BASE)


def test_a_secret_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    settings = SimpleNamespace(link_secret=None, home=str(tmp_path / 'file' / 'home'))
    with pytest.raises((Temporary, NotADirectoryError)):
        links._secret(settings, create=True)
