"""``[headless-links]``: what an operator may write, and what becomes of it."""

from __future__ import annotations

import time

import pytest
from mercurial import ui as uimod

from hgext_headless.errors import Misconfigured
from hgext_headless.hgweb.pushlog import links


def configured(**items: str) -> links.Links:
    ui = uimod.ui()
    for name, value in items.items():
        ui.setconfig(b'headless-links', name.encode(), value.encode())
    return links.configured(ui)


def test_values_are_encoded():
    found = configured(
        bugzilla='https://bugs.example.com/{bug}',
        people='/p/{reviewer}/',
        results='https://ci.example.com/{pushid}?user={user}&revision={node}',
        phabricator=r's!\bD(\d+)(\S*)!https://phab.example.com/D\1#\2!',
        nothing='',
    )
    text = 'Bug 12345 - D1"><b>; r=one,two\n\nbug 7, D22'
    assert found.bugs(text) == [
        ('12345', 'https://bugs.example.com/12345'),
        ('7', 'https://bugs.example.com/7'),
    ]
    assert found.reviewers(text) == [('one', '/p/one/'), ('two', '/p/two/')]
    # A blocking reviewer is the same person, and a group is not a person.
    assert found.reviewers('it; r=one!,#two') == [('one!', '/p/one/'), ('#two', None)]
    assert found.matches(text) == [
        ('D1"><b>;', 'https://phab.example.com/D1#%22%3E%3Cb%3E%3B'),
        ('D22', 'https://phab.example.com/D22#'),
    ]
    assert found.of_push(3, 'a&b "<', 'f' * 40) == [
        ('results', f'https://ci.example.com/3?user=a%26b%20%22%3C&revision={"f" * 40}')
    ]
    # All of it is gone: there is nothing to see the results of.
    assert found.of_push(3, 'a', '') == []


def test_groups():
    """A pattern that is for the name of a group is for groups among reviewers too."""
    found = configured(
        people='/p/{reviewer}/', phabricator=r's!D(\d+)!/D\1!', groups=r's!#([\w-]+)!/tag/\1/!'
    )
    assert found.reviewers('it; r=one,#two!,#D1') == [
        ('one', '/p/one/'), ('#two!', '/tag/two/'), ('#D1', '/tag/D1/'),
    ]
    assert configured(people='/p/{reviewer}/').reviewers('it; r=#two') == [('#two', None)]


def test_without_configuration():
    found = configured()
    assert found.bugs('bug 1; r=me') == [('1', None)]
    assert found.reviewers('bug 1; r=me') == [('me', None)]
    assert found.matches('bug 1') == found.of_push(1, 'a', 'f' * 40) == []


def test_very_many():
    found = configured(words=r's!\w+!https://example.com/\0!')
    assert len(found.matches(' '.join(map(str, range(1000))))) == 20
    assert len(found.bugs(' '.join(f'bug {n}' for n in range(1000)))) == 20
    assert len(found.matches('x' * 10_000)[0].label) == 80


@pytest.mark.parametrize(
    'value',
    [
        'javascript:alert(1)',
        'https://example.com/{bug}/{node}',
        'https://example.com/{nonsense}',
        'https://example.com/a b',
        's!(!https://example.com/!',
        r's!a!https://example.com/\1!',
        r's!a!\0!',
    ],
)
def test_wrong(value):
    with pytest.raises(Misconfigured, match=r'headless-links\.wrong '):
        configured(wrong=value)


def test_linked():
    found = configured(
        bugzilla='https://bugs.example.com/{bug}', phabricator=r's!D(\d+)!https://phab/D\1!'
    )
    pieces = list(found.linked('Bug 12345 - "<b>" #67890; D1 b=3'))
    assert ''.join(piece.label for piece in pieces) == 'Bug 12345 - "<b>" #67890; D1 b=3'
    assert [piece for piece in pieces if piece.url] == [
        ('Bug 12345', 'https://bugs.example.com/12345'),
        ('67890', 'https://bugs.example.com/67890'),
        ('D1', 'https://phab/D1'),
        ('b=3', 'https://bugs.example.com/3'),
    ]
    assert [piece for piece in configured().linked('bug 1') if piece.label] == [('bug 1', None)]


@pytest.mark.parametrize(
    ('text', 'addresses'),
    [
        ('see http://a/b?c=d&e#f, or "HTTPS://b/".', ['http://a/b?c=d&e#f', 'HTTPS://b/']),
        ('(http://a/x_(y)) [http://b] <http://c>;', ['http://a/x_(y)', 'http://b', 'http://c']),
        ('http:// xhttp://a ftp://a javascript:a //a www.a.b', []),
        ('https://bugs.example.com/D1?id=12345', ['https://bugs.example.com/D1?id=12345']),
    ],
)
def test_addresses(text, addresses):
    found = configured(bugzilla='https://bugs/{bug}', phabricator=r's!D(\d+)!https://phab/D\1!')
    assert [piece.url for piece in found.linked(text) if piece.url] == addresses


def test_hashes():
    whole, short = 'ab' * 20, 'CD' * 6
    text = f'{whole}, {short}: {whole}0 {"12" * 6} x{short}'
    assert list(links.hashes(text)) == [whole, short.lower(), '12' * 6]
    known = {whole: '/rev/a', short.lower(): '/rev/b'}
    found = [piece for piece in configured().linked(text, known) if piece.url]
    assert found == [(whole, '/rev/a'), (short, '/rev/b')]


@pytest.mark.parametrize(
    'text', ['http://' * 3000, 'http://a(' * 2500, 'http://a' + '.,;' * 6000, 'ab' * 9999]
)
def test_linear(text):
    before = time.perf_counter()
    list(configured().linked(text, {'x': 'y'}))
    assert time.perf_counter() - before < 1
