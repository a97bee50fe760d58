"""What descriptions say, by the examples of mozautomation's own tests."""

from __future__ import annotations

import time

import pytest

from hgext_headless.hgweb.pushlog import links


@pytest.mark.parametrize(
    ('text', 'bugs'),
    [
        ('bug 1', [1]),
        ('bug 123456', [123456]),
        ('testb=1234x', []),
        ('ab4665521e2f', []),
        ('Aug 2008', []),
        ('b=#12345', [12345]),
        ('GECKO_191a2_20080815_RELBRANCH', []),
        ('12345 is a bug', [12345]),
        (' 123456 whitespace!', [123456]),
        ('Bug 1 and bug 2, bug 1 again', [1, 2]),
        ('bug 999999999999', []),
        ('bug 2 and bug ' + '1' * 5000, [2]),
        ('bug ' + '0' * 5000 + '1', [1]),
        ('Fix #123456 in it', [123456]),
        ('eve http://127.0.0.1:42007/', [42007]),
        ('2 fixes of 20261201', [2, 20261201]),
        ('See #12 of 12345\nSource-Repo: https://github.com/mozilla/servo', []),
        ('Bug 12 of 12345\nSource-Repo: https://github.com/mozilla/servo', [12]),
    ],
)
def test_bugs(text, bugs):
    assert links.bugs(text) == bugs


@pytest.mark.parametrize(
    ('text', 'bugs'),
    [
        ('bug 1, Bug #2, BUG3, b=4', [1, 2, 3, 4]),
        ('12345 is a bug', [12345]),
        ('It was #123456, (1234567).', [123456, 1234567]),
        ('[54321]: 54322; 54323.', [54321, 54322, 54323]),
        ('https://bugzilla.mozilla.org/show_bug.cgi?id=1234567#c1', [1234567]),
        ('eve public http://127.0.0.1:42007/; r=me', []),
        ('https://example.com/?a=1&b=2#top, http://x.org/bug1/#12345?id=12345 (12345)', [12345]),
        ('<https://x.org/(12345)>; HTTPS://x.org/show_bug.cgi?id=x;1234567, bug 1', [1]),
        ('pull/1234567, PR #54321, PR 54321, 20261201, 2026-12-01', []),
        ('115.0.12345, v12345, 12345.6, 12345-x, 12345/x, 12:34567, -12345', []),
        ('2 fixes; debug 12, ab=12', []),
        ('port 65535 at it, Port: 65535, ports 65535', []),
        ('version 11500, rev 12345, revision 12345', []),
        ('See 12345\nSource-Repo: https://github.com/mozilla/servo', []),
    ],
)
def test_bugs_on_pages(text, bugs):
    assert links.bugs(text, for_people=True) == bugs


@pytest.mark.parametrize(
    ('text', 'reviewers'),
    [
        ('Bug 1 - some stuff; r=romulus', ['romulus']),
        ('Bug 1 - some stuff; r=romulus, r=remus', ['romulus', 'remus']),
        ('Bug 1 - some stuff; r=romulus,remus', ['romulus', 'remus']),
        ('Bug 1 - some stuff; r=romulus, remus', ['romulus', 'remus']),
        ('Bug 1 - some stuff; r=romulus,r=remus', ['romulus', 'remus']),
        ('Bug 1 - some stuff; (r=romulus)', ['romulus']),
        ('Bug 1 - some stuff; (r=romulus,remus)', ['romulus', 'remus']),
        ('Bug 1 - some stuff; [r=romulus]', ['romulus']),
        ('Bug 1 - some stuff; r=romulus a=ted', ['romulus', 'ted']),
        ('Bug 1 - some stuff; r?romulus', ['romulus']),
        ('Bug 1 - some stuff; rs=romulus', ['romulus']),
        ('Bug 1 - some stuff; ui-r=romulus', ['romulus']),
        ('Bug 1 - some stuff; r=', []),
        ('Bug 1 - some stuff; r=romulus.', ['romulus']),
        ('Bug 1 - some stuff', []),
        ('Bug 1 - some stuff\nr=romulus', []),
        ('Bug 1 - some stuff; r=romulus!,#twins,remus', ['romulus!', '#twins', 'remus']),
        ('Bug 1 - some stuff; r?#twins!, #others r=remus!', ['#twins!', '#others', 'remus!']),
        ('Bug 1 - some stuff; r=!,# a', []),
        ('bar=romulus', []),
        ('Bug 1 - some stuff; r=björn,Zoë.x', ['björn', 'Zoë.x']),
    ],
)
def test_reviewers(text, reviewers):
    assert links.reviewers(text) == reviewers


@pytest.mark.parametrize(
    ('text', 'reviewers'),
    [
        ('Bug 1 - it; r=ada r=ada rs=bob, CLOSED TREE', ['ada', 'bob']),
        ('Bug 1 - it; r=ada, DONTBUILD', ['ada']),
        ('Merge esr/115 to default, a=merge', []),
        ('Bug 1 - it; r=ada,a=release,bob; a?cy, r?dan', ['ada', 'dan']),
        ('Bug 1 - it; r=ada,CLOSED,ada', ['ada', 'CLOSED']),
    ],
)
def test_reviewers_on_pages(text, reviewers):
    assert links.reviewers(text, for_people=True) == reviewers


def test_what_programs_expect_of_reviewers():
    said = links.reviewers('Bug 1 - it; r=ada r=ada a=RelMan, CLOSED TREE')
    assert said == ['ada', 'ada', 'RelMan', 'CLOSED']


_BACKED_OUT = pytest.mark.parametrize(
    ('text', 'nodes'),
    [
        ('Bug 1 - it works', []),
        ('Back out 123456789012', ['123456789012']),
        ('backed out changeset 123456789012 (bug 1)', ['123456789012']),
        ('Backout changeset 1234567890ab', ['1234567890ab']),
        ('Backed out revision 1234567890ab', ['1234567890ab']),
        ('Back out of 1234567890ab', ['1234567890ab']),
        ('Backout of changeset 1234567890ab for failures', ['1234567890ab']),
        (
            'Backed out changesets 123456789012 and 234567890123 (bug 1)',
            ['123456789012', '234567890123'],
        ),
        (
            'Backed out changesets 123456789012, 234567890123, and 345678901234',
            ['123456789012', '234567890123', '345678901234'],
        ),
        (
            'Backed out 2 changesets (bug 1, bug 2)\n\nBacked out changeset 123456789012 (bug 1)\n'
            'Backed out changeset 234567890123 (bug 2)',
            ['123456789012', '234567890123'],
        ),
        ('Backed out the whole thing', []),
        (f'Backed out changeset {"1234567890" * 4} (bug 1)', ['123456789012']),
        (f'Backed out changesets {"A" * 40} and 1234567890ab', ['a' * 12, '1234567890ab']),
        ('Backed out changeset C49F58E6DD7F', ['c49f58e6dd7f']),
        ('Backed out changeset 1234', []),
        ('Revert changeset 1234567890ab', []),
        ('', []),
    ],
)


@_BACKED_OUT
def test_backed_out(text, nodes):
    assert links.backed_out(text) == nodes


@_BACKED_OUT
def test_backed_out_on_pages(text, nodes):
    assert links.backed_out(text, for_people=True) == nodes


@pytest.mark.parametrize(
    ('text', 'nodes'),
    [
        ('Back out rev 1234567890ab', ['1234567890ab']),
        ('Backed out the changeset 1234567890ab', ['1234567890ab']),
        ('Backed out 1 changeset (bug 5): 1234567890ab', ['1234567890ab']),
        (
            'Backed out 1 changesets (bug 5) 1234567890ab, 234567890123',
            ['1234567890ab', '234567890123'],
        ),
        ('Bug 5 - Backed out changeset 1234567890ab', ['1234567890ab']),
        ('No bug: back out 1234567890ab because of 234567890123', ['1234567890ab']),
        ('Bug 5 - Backed out 1 changesets\n\nBacked out changeset 1234567890ab', ['1234567890ab']),
        ('Backed out changeset 1234567890123', ['123456789012']),
        ('Backed out changeset 34C3918', ['34c3918']),
    ],
)
def test_more_back_outs_on_pages(text, nodes):
    assert links.backed_out(text) == []
    assert links.backed_out(text, for_people=True) == nodes


@pytest.mark.parametrize(
    'text',
    [
        'Backed out bug 1234567',
        'Backed out the defaced page',
        'Backed out the whole thing, as 1234567890ab broke it',
        'It was not backed out: 1234567890ab',
    ],
)
def test_no_back_outs_on_pages(text):
    assert links.backed_out(text, for_people=True) == []


@pytest.mark.parametrize(
    'text',
    [
        'Backed out' + ' ' * 40 + 'it',
        'Backed out changesets' + ' and' * 100_000 + ' it',
        'Backed out' + ' ' * 200_000 + 'it',
        'Backed out of' + ' ' * 200_000 + 'it',
        'Backed out of changeset' + ' ' * 200_000 + 'it',
        '#12345 ' * 30_000,
        'PR ' * 70_000 + '&id=1',
        'Backed out changesets' + ' ' * 200_000 + 'it',
        'Backed out ' + '(,:' * 70_000,
        'Backed out' + ' the 1' * 40_000,
        'Backed out' + ' 1234567' * 30_000,
        'Backed out' + ' 123456a' * 30_000 + ' ' * 200_000,
        'Bug 1' + ' ' * 200_000,
        'Backed out 2 changesets\n' + ('Backed out' + ' ' * 20_000) * 10,
        'Backed out changesets' + ' 123456789012' * 20_000 + ' ' * 200_000,
        'bug' + ' ' * 200_000,
        'bug ' * 50_000,
        '1' * 200_000 + 'a',
        'a#11111' * 30_000,
        'https://' * 30_000,
        'https://x/show_bug.cgi?id=' * 10_000,
        'it; r=' + '.' * 200_000,
        'it; ' + 'r=.' * 70_000,
        'it; r=a' + ',a' * 100_000,
        'it; r=a' + ', ' * 100_000,
        'it; r=a,' + ' ' * 200_000,
        'it; r=a,' + 'a-' * 100_000,
    ],
)
def test_time(text):
    """It grows with the text, and no faster: anybody can push one."""
    started = time.process_time()
    for for_people in (False, True):
        links.backed_out(text, for_people)
        links.bugs(text, for_people)
        links.reviewers(text, for_people)
    assert time.process_time() - started < 2
