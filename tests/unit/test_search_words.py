"""The words of a changeset."""

from __future__ import annotations

import time

import pytest

from hgext_headless.catalog import search


def pairs(text: str) -> list[str]:
    both = zip(text, text[1:])
    return [(a + b).encode('ascii', 'backslashreplace').decode() for a, b in both]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (b'', []),
        (b' -- \0 !', []),
        (b'Bug 1234567 - Fix the fix; r=Alice', ['bug', '1234567', 'fix', 'the', 'r', 'alice']),
        (b'browser_foo.js a-b', ['browser', 'foo', 'js', 'a', 'b']),
        (b'Al <al@Example.com>', ['al', 'example', 'com']),
        (b'one\0two', ['one', 'two']),
        ('Zoë STRASSE straße'.encode(), ['zoe', 'strasse']),
        # Composed or not, it is the same, and so it is without the accent.
        ('Zoe\u0308'.encode(), ['zoe']),
        ('Đặng Ångström Ærø й'.encode(), ['\\u0111ang', 'angstrom', '\\xe6r\\xf8', '\\u0438']),
        (b'caf\xe9 latte', ['caf', 'latte']),
        ('日本'.encode(), ['\\u65e5\\u672c']),
        # Chinese and Japanese have no blanks between words: pairs of characters are found.
        ('修复崩溃；r=emilio'.encode(), [*pairs('修复崩溃'), 'r', 'emilio']),
        ('v2版本 崩'.encode(), ['v2', *pairs('版本'), '\\u5d29']),
        ('ビルドが'.encode(), pairs('ビルドが')),
        ('한국어'.encode(), ['\\ud55c\\uad6d\\uc5b4']),
        (b'"x" OR y* NOT (z) a:b c&d|!e', ['x', 'or', 'y', 'not', *'zabcde']),
    ],
)
def test_split(text, expected):
    assert search.split(text) == expected


@pytest.mark.parametrize(
    ('part', 'name'),
    [
        ('orsted', 'Bjørn Ørsted <b@x>'),
        ('BJØRN o', 'Bjorn Orsted <b@x>'),
        ('lukasz', 'Łukasz'),
        ('aero-dang', 'Ærø-Đặng'),
        ('strasse', 'ada/Straße'),
        ('new-parser', 'ada/new-parser'),
        ('isik', 'Işık'),
    ],
)
def test_parts_of_names(part, name):
    """Names are compared without letters that most keyboards do not have."""
    assert search.part_of(part)(name.encode())
    assert not search.part_of(part[1:])(name.encode())


def test_limits():
    """An index entry of Postgres is limited, and nobody reads the end of a long text."""
    assert search.split(b'x' * 100_000) == ['x' * 64]
    assert search.split('\U0001d538'.encode() * 100) == ['a' * 64]
    many = b' '.join(b'w%d' % i for i in range(1_000_000))
    assert len(search.split(many)) < 16_384
    assert 'w0' in search.split(many)


def test_of_changeset():
    found = search.of_changeset(7, b'Al <al@x>', b'A fix by al')
    assert found == ['7:a', '7:fix', '7:by', '7:al', '7:x', '7@al', '7@x']


@pytest.mark.parametrize(
    'marks', ['\u0591\u05ad', '\uff9e\u0591', '\u0301\u0316', '\u1ab0\u1ab5', '修复']
)
def test_time(marks):
    """Anybody can push very many changesets with the same text, in a few bytes for each."""
    text = (marks * 8192).encode()
    started = time.process_time()
    for _ in range(20):
        search.split(text)
    assert time.process_time() - started < 0.6
