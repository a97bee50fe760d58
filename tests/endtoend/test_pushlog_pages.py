"""What people see of pushes: the pushlog, the pages of changesets, and errors."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from helpers.web import fetch, fetch_json, fetch_page
from helpers.world import Server, World

STYLES = ('paper', 'gitweb', 'monoblue', 'spartan')
LINKS = r"""
[headless-links]
bugzilla = https://bugs.example.com/{bug}
people = https://phab.example.com/p/{reviewer}/
phabricator = s!\bD(\d+)\b!https://phab.example.com/D\1!
results = https://ci.example.com/jobs?repo=try&revision={node}
"""


@dataclass
class Seen:
    """A server whose pushes are: 25 drafts; one with bugs, by bob; a public changeset; one that
    was removed; one that has expired; one that was amended, and the new one; one with a bookmark,
    and what backs it out, with a back-out of that."""

    server: Server
    base: str
    stack: list[str]
    bug: str
    public: str
    removed: str
    expired: str
    old: str
    new: str
    broken: str
    backout: str
    counted: str


#: Addresses, and hashes that are none.
_NAMING = f'See (https://example.com/x_(y)?a=1&b). {"f" * 12}, {"1" * 40}, <javascript:x>, '

_PATCH = '''# HG changeset patch
# User Test <test@example.com>
{0}

diff --git a/{0} b/{0}
new file mode 100644
--- /dev/null
+++ b/{0}
@@ -0,0 +1,1 @@
+x

'''


@pytest.fixture(scope='module')
def seen(tmp_path_factory):
    world = World(tmp_path_factory.mktemp('pages'))
    with open(world.env['HGRCPATH'], 'a') as hgrc:
        hgrc.write('[experimental]\nevolution = createmarkers, exchange, allowunstable\n')
    server = Server(world)
    server.configure('', LINKS)
    alice = world.clone(str(server.root), 'alice')

    def push(*args: str, user: str = 'alice') -> str:
        alice.hg('push', '-q', '-f', '-r', '.', *args, env={'USER': user})
        node = alice.node()
        alice.hg_fast('update', '-q', 'last(public())')
        return node

    patches = (_PATCH.format(f's{number}') for number in range(25))
    (world.folder / 'patches').write_text(''.join(patches))
    alice.hg_fast('import', '-q', world.folder / 'patches')
    stack = alice.log('draft()', '{node}\n')
    push()
    message = 'Bug 12345 - <b>fix</b> it; r=romulus,remus\n\nDifferential: D77\n'
    message += _NAMING + stack[0]
    alice.commit('bug', '1\n2\n3\n<b>bold</b>\n', '-m', message, '-u', 'Ann <a@b>')
    bug = push(user='bob & "co"')
    alice.commit('public')
    alice.hg_fast('phase', '--public', '.')
    public = push()
    alice.commit('removed')
    removed = push()
    alice.commit('expired')
    expired = push()
    alice.hg_fast('update', '-q', public)
    old = alice.commit('old')
    push()
    alice.hg_fast('update', '-q', old)
    alice.hg_fast('commit', '-q', '--amend', '-m', 'new')
    new = push()
    alice.hg_fast('bookmark', 'a <mark>')
    broken = alice.commit('broken')
    push('-B', 'a <mark>')
    alice.hg_fast('update', '-q', broken)
    said = f'Backed out changeset {broken} for "reasons"'
    backout = alice.commit('broken', 'mended\n', '-m', said)
    said = f'Bug 5 - Backed out 1 changesets\n\nBacked out changeset {backout[:12].upper()}'
    counted = alice.commit('again', None, '-m', said)
    push()
    server.hg_fast('admin::headless-obliterate', '--reason', 'a secret', removed)
    server.hg_fast('admin::headless-expire', '-q', '--push', '5')
    yield Seen(
        server, server.start(), stack, bug, public, removed, expired, old, new, broken, backout,
        counted,
    )
    server.stop()
    world.stop()
    assert 'Traceback' not in server.errors()


def rows(page: str) -> dict[str, str]:
    """The items of the changesets on a page of the pushlog, by their short hashes."""
    items = re.findall(r'<li class="pushlog.*?</li>', page, re.S)
    return {re.search(r'>([0-9a-f]{12})<', item).group(1): item for item in items}


@pytest.mark.parametrize('style', STYLES)
def test_pushlog(seen, style):
    page = fetch_page(f'{seen.base}pushloghtml?style={style}')
    assert len(re.findall(r'<html[^>]*\slang="en', page)) == 1
    assert len(re.findall(r'\slang="', page)) == 1
    of_alice = fetch_page(f'{seen.base}pushloghtml?user=alice&style={style}')
    feeds = re.findall(r'href="(/pushlog[?"][^"]*)', of_alice)
    assert len(feeds) == 2 and all('user=alice' in feed for feed in feeds)
    assert 'These are the newest' not in page
    assert '<caption>' in page and page.count('scope="col"') == 2
    assert len(re.findall('<th scope="row">', page)) == 9
    for landmark in ('main', 'navigation', 'search'):
        assert f'role="{landmark}"' in page
    # The footers of these three are outside of stock's own landmarks.
    assert (page.count('role="contentinfo"') == 1) == (style in ('gitweb', 'monoblue', 'spartan'))
    # A push of more than twenty is folded.
    (folded,) = re.findall(r'<details>(.*?)</details>', page, re.S)
    assert '5 more changesets' in folded
    assert list(rows(folded)) == [node[:12] for node in seen.stack[:5][::-1]]
    shown = rows(page)
    assert len(shown) == 34
    row = shown[seen.bug[:12]]
    rest = f'<span class="pushlogrest" aria-hidden="true">{seen.bug[12:]}</span>'
    assert f'{seen.bug[:12]}{rest}</a>' in row
    for link, name in (('file', 'files'), ('raw-rev', 'raw')):
        assert re.search(rf'href="/{link}/{seen.bug[:12]}[^"]*">{name}</a>', row)
    assert '&lt;b&gt;fix' in row and '<b>fix' not in row
    # One link a thing: the bug where the text names it, and the changeset by its hash.
    assert '<a href="https://bugs.example.com/12345">Bug 12345</a> - &lt;b&gt;fix' in row
    assert row.count('bugs.example.com') == row.count('href="/rev/') == 1
    assert 'href="https://phab.example.com/D77">D77</a>' in row
    results = f'href="https://ci.example.com/jobs?repo=try&amp;revision={seen.bug}">results</a>'
    assert results in page
    assert f'href="/pushloghtml?style={style}&amp;user=bob%20%26%20%22co%22"' in page
    assert '<time datetime="20' in page
    row = shown[seen.broken[:12]]
    assert '>a &lt;mark&gt;<' in row
    said = re.search(r'class="pushlogdescription">(.*?)</span>', row).group(1)
    assert said.startswith('<span class="pushlogrelanded">backed out by ')
    assert f'href="/rev/{seen.backout[:12]}?style={style}"' in said
    assert re.search(r' \(itself backed out by <a href="/rev/[0-9a-f]{12}', said)
    # It is in again; what is out stands out.
    assert ''.join(shown.values()).count('pushlogbackedout') == 1
    assert '<strong class="pushlogbackedout">backed out by ' in shown[seen.backout[:12]]
    # What a back-out names in its first line is a link there; what it names below, behind it.
    said = shown[seen.backout[:12]]
    link = f'<a href="/rev/{seen.broken[:12]}?style={style}">{seen.broken}</a>'
    assert f'Backed out changeset {link} for' in said
    said = shown[seen.counted[:12]]
    assert f'backs out <a href="/rev/{seen.backout[:12]}?style={style}">' in said
    states = {
        seen.stack[0]: 'draft',
        seen.public: 'public',
        seen.removed: 'removed',
        seen.expired: 'expired',
        seen.old: 'obsolete',
        seen.new: 'draft',
    }
    for node, state in states.items():
        row = shown[node[:12]]
        assert f'<li class="pushlog{state}">' in row
        named = re.findall(r'<span class="pushlogstate">(\w+)<', row)
        assert named == ([] if state == 'public' else [state])
        assert ('<a ' in row) == (state not in ('removed', 'expired'))


def test_titles(seen):
    page = fetch_page(f'{seen.base}pushloghtml?search=%3Cfix')
    title = f'{seen.server.shown_name}: pushlog: Changes that match \'&lt;fix\''
    assert f'<title>{title}</title>' in page.replace('&#39;', "'")


@pytest.mark.parametrize('style', STYLES)
def test_every_page_leads_to_the_pushlog(seen, style):
    base, bug = seen.base, seen.bug
    # These styles have no such page.
    lacking = {
        'paper': ('summary',),
        'spartan': ('summary', 'help/dates', 'bookmarks', f'comparison/{bug}/bug'),
    }
    for path in (
        'shortlog', 'log', 'log?rev=public', 'graph', 'tags', 'branches', 'file/tip', 'rev/tip',
        f'rev/{bug}', f'file/{bug}/bug', f'annotate/{bug}/bug', f'diff/{bug}/bug', f'log/{bug}/bug',
        'help/dates', 'bookmarks', f'comparison/{bug}/bug', 'summary',
    ):
        if path in lacking.get(style, ()):
            continue
        page = fetch_page(f'{base}{path}{"&" if "?" in path else "?"}style={style}')
        assert page.count(f'href="/pushloghtml?style={style}">pushlog</a>') == 1, path
        said = page.count('Those of drafts are')
        assert said == (1 if path in ('branches', 'bookmarks') else 0), path
        # Menus have one order.
        menu = re.sub('<[^>]*>', ' ', page.partition('pushlog</a>')[2])
        lacks_graph = (style, path) == ('spartan', 'graph')
        assert re.match(r'[\s|]*' + ('tags' if lacks_graph else 'graph'), menu), path


@pytest.mark.parametrize('style', (*STYLES, 'coal'))
def test_page_of_a_push(seen, style):
    ask = f'style={style}'
    page = fetch_page(f'{seen.base}push/2?{ask}')
    assert not re.search(r'<a href="#[^"]*"></a>', page), 'a link without a text'
    # Who looks for a changeset sees its push.
    assert fetch_page(f'{seen.base}pushloghtml?changeset={seen.bug}&{ask}') == page
    headline = 'Bug 12345 - &lt;b&gt;fix&lt;/b&gt; it; r=romulus,remus'
    assert f'<title>{seen.server.shown_name}: push 2: {headline}</title>' in page
    around = re.search(r'<div class="pushlognav"[^>]*>(.*?)</div>', page).group(1)
    assert re.findall(r'href="([^"]*)">([^<]*)<', around) == [
        (f'/push/1?{ask}', 'previous: push 1'),
        (f'/push/3?{ask}', 'next: push 3'),
        (f'/pushloghtml?{ask}&amp;startID=0&amp;endID=7#push2', 'pushes around it'),
    ]
    assert re.search(r'<h([12])[^>]*>(?:<a .*)?Push 2</h\1>', page)
    assert page.count(f'href="/pushloghtml?{ask}">pushlog</a>') >= 1
    facts = re.search(r'class="pushlogfacts">(.*?)</p>', page, re.S).group(1)
    assert 'bob &amp; &quot;co&quot;</a>' in facts and '>draft<' in facts
    assert f'<a href="/pushloghtml?{ask}&amp;branch=default">default</a>' in facts
    buttons = re.search(r'class="pushlogbuttons">(.*?)</p>', page, re.S).group(1)
    assert re.findall(r'>([\w ]+)</a>', buttons) == ['results', 'D77', 'raw diff']
    assert list(rows(page)) == [seen.bug[:12]]
    assert '<a href="https://phab.example.com/p/remus/">remus</a>' in page
    said = re.search(r'class="pushlogtext">(.*?)</div>', rows(page)[seen.bug[:12]], re.S).group(1)
    address, node = 'https://example.com/x_(y)?a=1&amp;b', seen.stack[0]
    assert said == (
        'Differential: <a href="https://phab.example.com/D77">D77</a>\n'
        f'See (<a href="{address}">{address}</a>). {"f" * 12}, {"1" * 40}, &lt;javascript:x&gt;, '
        f'<a href="/rev/{node[:12]}?{ask}">{node}</a>'
    )
    row = r'/bug[^"]*">bug</a></th>\s*<td><bdi>new</bdi>, \+4 &minus;0 <a href="#([^"]*)"'
    file = re.search(row, page)
    assert f' id="{file.group(1)}"' in page
    diff = page.partition('pushlogdiff')[2]
    assert '+&lt;b&gt;bold&lt;/b&gt;' in re.sub('<[^>]*>', '', diff) and '<b>bold' not in page
    stack = fetch_page(f'{seen.base}push/1?{ask}')
    backing = rows(fetch_page(f'{seen.base}push/9?{ask}'))[seen.backout[:12]]
    link = f'<a href="/rev/{seen.broken[:12]}?{ask}">{seen.broken}</a>'
    assert f'Backed out changeset {link} for &quot;' in backing and 'backs out' not in backing
    assert '5 more changesets' in stack and '25 files, +25 &minus;0 lines' in stack
    assert 'open="open"><summary>diff from' in stack
    assert ' of them' not in stack and 'open="open"><summary>25 files' in stack
    marked = fetch_page(f'{seen.base}push/8?{ask}')
    assert f'<a href="/pushloghtml?{ask}&amp;search=a%20%3Cmark%3E">a &lt;mark&gt;</a>' in marked
    last = fetch_page(f'{seen.base}push/9?{ask}')
    assert 'previous: push 8' in last and 'next: push' not in last
    for number in ('4', '5'):  # what is gone has no diff
        gone = fetch_page(f'{seen.base}push/{number}?{ask}')
        assert 'class="pushlogdiff"' not in gone and 'a secret' not in gone
        assert re.search(r'(removed|expired)</span> on 20\d\d-\d\d-\d\d\. ', gone)
    for name in ('10', '0', '99', 'x', '1'.zfill(30)):
        assert 'unknown push' in fetch_page(f'{seen.base}push/{name}?{ask}', 404)


def test_diff_of_a_push_as_text(seen, tmp_path):
    status, diff, headers = fetch(f'{seen.base}raw-push/1')
    assert status == 200 and headers['Content-Type'].startswith('text/plain')
    assert re.findall(rb'^\+\+\+ b/(s\d+)', diff, re.M) == sorted(
        b's%d' % number for number in range(25)
    )
    server = seen.server
    other = server.world.clone(str(server.root), 'patched')
    (tmp_path / 'push').write_bytes(diff)
    other.hg_fast('import', '-q', '--no-commit', tmp_path / 'push')
    assert other.hg_fast('status').count('A s') == 25
    # That of one changeset makes the same changeset again.
    assert fetch(f'{seen.base}raw-push/2')[1] == fetch(f'{seen.base}raw-rev/{seen.bug}')[1]
    assert "the push has no head 'nope'" in fetch_page(f'{seen.base}push/1?head=nope', 404)
    for path, code, line in (
        ('raw-push/4', 410, 'the changesets of push 4 are gone'),
        ('raw-push/99', 404, "unknown push '99'"),
        ('raw-push/1/x', 404, "unknown push '1/x'"),
        ('raw-push/1?head=nope', 404, "the push has no head 'nope'"),
        ('json-push/1', 404, 'no pushlog in this style'),
        ('atom-push/1', 404, 'no pushlog in this style'),
    ):
        status, body, _headers = fetch(seen.base + path)
        assert status == code and line in body.decode()


@pytest.mark.parametrize('style', (*STYLES, 'coal'))
def test_page_of_a_changeset(seen, style):
    page = fetch_page(f'{seen.base}rev/{seen.bug}?style={style}')
    push = f'href="/push/2?style={style}"'
    assert re.search(rf'<a [^>]*{re.escape(push)}[^>]*>push 2</a>', page)
    facts = re.findall(r'class="pushlogfact">(.*?)</(?:tr|dd)>', page, re.S)
    text = ' '.join(re.sub('<[^>]*>', ' ', fact).strip(': ') for fact in facts)
    text = ' '.join(re.sub(r':(?= )', '', text).split())
    date = r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC'
    assert re.search(
        'push push 2 by bob &amp; &quot;co&quot; on ' + date + ' bugs 12345 '
        'reviewers romulus , remus links D77 see results',
        text,
    ), text
    for link in ('bugs.example.com/12345', 'phab.example.com/p/remus/', 'phab.example.com/D77'):
        assert f'href="https://{link}"' in page
    assert f'revision={seen.bug}"' in page
    assert 'pushlogbackedout' not in page
    log = fetch_page(f'{seen.base}log/{seen.bug}?style={style}')
    for path in ('shortlog', 'graph'):  # a newer public changeset is no ancestor
        listed = fetch_page(f'{seen.base}{path}/{seen.stack[24]}?style={style}&revcount=26')
        nodes = [*seen.stack[::-1], seen.server.hg_fast('log', '-r', '2', '-T', '{node}')]
        assert seen.public[:12] not in listed and all(node[:12] in listed for node in nodes)
        # A mark in it that turns the direction of writing does not turn the tags behind it.
        assert '<bdi>s24</bdi>' in listed
    assert not re.search(r'[|\]] rev\b(?! \d)', log)
    # The revision number of a draft would be that of another one, for the next reader.
    assert not re.search(r'(?:changeset|rev|revision) \d{1,4}\b', page)
    assert not re.search(r'>\s*\d+\s*</a>', fetch_page(f'{seen.base}file/{seen.bug}?style={style}'))
    if style != 'spartan':
        compared = fetch_page(f'{seen.base}comparison/{seen.bug}/bug?style={style}')
        heads = re.findall('<th>(.*)</th>', compared)
        assert re.match(r'\d:[0-9a-f]{12}$', heads[-2]) and heads[-1] == seen.bug[:12], heads
    broken = fetch_page(f'{seen.base}rev/{seen.broken}?style={style}')
    said = re.search(r'pushlogbackedout [^>]*><strong[^>]*>(.*?)</strong>', broken).group(1)
    assert said.startswith('Backed out by <a href') and seen.backout[:12] in said
    assert re.search(r'</strong> \(itself backed out by <a href="/rev/[0-9a-f]{12}', broken)
    assert 'font-weight: normal">Backed out by' in broken
    assert 'bold">Backed out by' in fetch_page(f'{seen.base}rev/{seen.backout}?style={style}')
    assert broken.index('pushlogbackedout') < broken.rindex('broken')
    assert 'a &lt;mark&gt;' in broken or style == 'spartan'
    if style == 'gitweb':  # the title bar has its tags
        tags = r'class="title"[^<]*<bdi>[^<]*</bdi>[^<]*<span class="logtags">.*push 8'
        assert re.search(tags, broken)
    # Public history came with no push, and names nothing.
    public = fetch_page(f'{seen.base}rev/0?style={style}')
    assert 'class="pushlogfact"' not in public
    assert [re.findall(r'phase[^>]*>(\w+)<', one) for one in (page, public)] == [
        ['draft'], ['public']
    ]
    # No link is in a link.
    for link in re.findall(r'<a [^>]*>.*?</a>', page, re.S):
        assert link.count('<a ') == 1, link


@pytest.mark.parametrize('style', STYLES)
def test_errors_say_how_to_go_on(seen, style):
    base, ask = seen.base, f'?style={style}'
    for path in (f'rev/{"ab" * 20}{ask}', f'pushloghtml{ask}&changeset={"ab" * 20}'):
        page = fetch_page(base + path, 404)
        assert f'href="/pushloghtml{ask}">pushlog</a>' in page.split('pushloghint', 1)[1]
    for node, push, word in (
        (seen.removed, 4, 'it was removed on 20'),
        (seen.expired, 5, 'it expired on 20'),
    ):
        page = fetch_page(f'{base}rev/{node}{ask}', 410)
        assert re.search(rf'is gone: push {push} brought it on \d{{4}}-\d\d-\d\d, and it ', page)
        assert word in page and 'a secret' not in page
        assert f'href="/push/{push}{ask}">push {push}</a>' in page
        page = fetch_page(f'{base}pushloghtml{ask}&changeset={node[:12]}')
        assert f'<title>{seen.server.shown_name}: push {push}</title>' in page  # no words are left
        for name in (node[:12], node[:7]):
            assert word in fetch_json(f'{base}json-rev/{name}', 410)['error']
        fetch_json(f'{base}json-rev/{node[:6]}', 404)


def test_what_is_gone_has_no_author_to_tell(seen):
    pushes = fetch_json(f'{seen.base}json-pushes?startID=3&endID=5&full=1')
    assert [push['changesets'] for push in pushes.values()] == [[], []]
    pushes = fetch_json(f'{seen.base}json-pushes?startID=3&endID=5')
    assert [push['changesets'] for push in pushes.values()] == [[seen.removed], [seen.expired]]


def test_feed_names_who_and_what(seen):
    feed = fetch_page(f'{seen.base}pushlog')
    titles = re.findall('<title>(.*?)</title>', feed)[1:]
    bob = 'bob &amp; &quot;co&quot;'
    assert f'{bob}: Bug 12345 - &lt;b&gt;fix&lt;/b&gt; it; r=romulus,remus' in titles
    assert f'alice: changeset {seen.removed[:12]} is gone' in titles
    assert f'alice: {"s24"}' in titles


def test_unavailable(seen):
    database = seen.server.root / '.hg' / 'headless' / 'catalog.sqlite'
    database.rename(database.with_name('away'))
    database.mkdir()
    try:
        base = seen.server.restart()
        for style in STYLES:
            for path in (f'rev/{seen.bug}', 'pushloghtml'):
                page = fetch_page(f'{base}{path}?style={style}', 503)
                hint = page.split('pushloghint', 1)[1]
                assert 'Public history goes on' in hint and 'come back by themselves' in hint
                assert f'href="/log?style={style}"' in hint
    finally:
        database.rmdir()
        database.with_name('away').rename(database)
        seen.base = seen.server.restart()


_STUB = 'from mercurial import exchange\n'


def test_beside_others(seen, tmp_path):
    """Mozilla's extensions with the same commands, and links that are none."""
    (tmp_path / 'stub.py').write_text(_STUB)
    for config, said in (
        (f'extensions.hgmo={tmp_path}/stub.py', 'the extension hgmo needs the pushlog'),
        ('headless-links.x=nonsense', 'headless: misconfigured: headless-links.x has no URL'),
    ):
        out = seen.server.hg('log', '--config', config, code=255)
        assert said in out and len(out.splitlines()) == 1
