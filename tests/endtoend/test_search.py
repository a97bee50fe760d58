"""Search of the pushlog by words, and what hgweb's own search says of drafts."""

from __future__ import annotations

import html
import re
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from helpers.web import fetch, fetch_json, fetch_page
from helpers.world import Clone, Server

#: Per push: description, author.
PUSHES = [
    ('Bug 1234567 - Mend the browser_foo.js crash; r=romulus', 'Alice <alice@example.com>'),
    ('Bug 7654321 - Mend the <build>', 'Bob <bob@example.com>'),
    ('Crash of the Zoë test\n\nBody of it', 'Alice <alice@example.com>'),
    ('Back out of 1234567 by Bob', 'Alice Other <other@example.org>'),
]


@dataclass
class Log:
    server: Server
    alice: Clone
    base: str

    def ids(self, query: str, path: str = 'json-pushes') -> list[int]:
        return sorted(map(int, fetch_json(f'{self.base}{path}?{query}')))

    def page(self, query: str, path: str = 'pushloghtml') -> tuple[list[int], str]:
        page = fetch_page(f'{self.base}{path}?{query}')
        return [int(i) for i in re.findall(r'class="pushlogid"[^>]*>(\d+)<', page)], page


@pytest.fixture
def log(world, make_server, backend):
    server = make_server(backend)
    alice = world.clone(str(server.root), 'alice')
    for number, (text, author) in enumerate(PUSHES):
        alice.hg_fast('update', '-q', 'last(public())')
        alice.commit(f'file{number}', None, '-m', text, '-u', author)
        user = 'bob' if number == 3 else 'alice'
        alice.hg('push', '-q', '-f', '-r', '.', env={'USER': user})
    return Log(server, alice, server.start())


def test_search(log):
    for query, expected in {
        'search=mend': [1, 2],
        'search=MEND%20the': [1, 2],
        'search=mend&search=crash': [1],
        'search=1234567': [1, 4],
        'search=123456': [],
        'search=foo': [1],
        'search=browser_foo.js': [1],
        'search=r=romulus': [1],
        'search=body%20crash': [3],
        f'search={quote("ZOË")}': [3],
        'search=bob': [2, 4],
        'author=bob': [2],
        'author=alice@example.com': [1, 3],
        'author=alice&search=crash': [1, 3],
        'author=alice&search=1234567&user=bob': [4],
        'search=mend&startID=1': [2],
        'search=mend&endID=1': [1],
        'search=mend&startID=5': [],
        'search=the&branch=default&enddate=now': [1, 2, 3],
        'search=the&startdate=now': [],
        'search=&author=': [1, 2, 3, 4],
        # No syntax of either database is one here.
        'search=mend%20OR%20crash': [],
        'search=men*': [],
        'search=mend%20NOT%20build': [],
        'search=%22the%20mend%22': [1, 2],
        'search=mend%20%26%20!crash%20|%20x': [],
        'search=words:mend%20{mend}%20%27);--': [],
    }.items():
        assert log.ids(query) == expected, query
        assert log.page(query)[0] == expected[::-1], query
    hashes = log.alice.log('draft()', '{node}\n')
    log.alice.hg_fast('bookmark', '-r', hashes[3], 'my-mark')
    log.alice.hg_fast('push', '-f', '-B', 'my-mark')
    log.alice.hg_fast('branch', 'side/branch')
    log.alice.commit('other', None, '-m', 'zzz', '-u', 'Zed 李小龍')
    log.alice.hg('push', '-q', '-f', '--new-branch', '-r', '.', env={'USER': 'alice'})
    short = hashes[1][:11]
    shown = time.strftime('%Y-%m-%d%%20%H:%M:%S%%20UTC', time.gmtime(time.time() - 600))
    for query, expected in {
        # A hash, a part of the name of who wrote or pushed, words without accents, and a time.
        f'search={hashes[3][:6]}': [4],
        f'search={hashes[1][:7].upper()}': [2],
        f'search={hashes[1][:7]}%20{hashes[2]}': [2, 3],
        f'search={hashes[1][:7]}&branch=default&endID=1': [],
        'search=LIC': [1, 2, 3, 5],
        'search=lic&user=bob': [],
        'search=OTH': [4],
        'search=alice%20oth': [4],
        'search=oth&user=alice': [],
        'search=oth&endID=3': [],
        'search=example.o': [4],
        # A push, as its page calls it.
        'search=3': [3],
        'search=push%203': [3],
        'search=%233&user=bob': [],
        'search=zoe': [3],
        'search=an%20hour%20ago': [1, 2, 3, 4, 5],
        'search=an%20hour%20ago&endID=2': [1, 2],
        'search=li': [],
        # One Chinese character can be a name.
        f'search={quote("李")}': [5],
        f'search={quote("龍")}': [5],
        # As hg, pages and sentences have it.
        f'search=14:{hashes[3][:12]}': [4],
        f'search=changeset:%20%2012:{hashes[1][:12]}': [2],
        f'search=({hashes[1][:12]}),': [2],
        f'search={hashes[1][:12]},{hashes[2][:12]}': [2, 3],
        f'search=http://host/file/{hashes[1]}/dir/file%3Fstyle=paper%23l1.5': [2],
        'search=remote:%20headless:%20see%20http://host/push/2': [2],
        'search=headless:%20stored%203%20changesets%20as%20push%202': [2],
        'search=http://host/raw-push/2%3Fhead=x%23l1': [2],
        'search=user:%20%20%20%20%20%20%20%20Bob%20%3Cbob@example.com%3E': [2],
        'search=summary:%20%20%20%20%20Crash%20of%20the%20Zo%C3%AB%20test': [3],
        f'search=http://host:8000/rev/{hashes[1][:12]}': [2],
        'search=http://host/push/3': [3],
        f'search=hg%20pull%20-r%20{hashes[1][:12]}': [2],
        f'search={hashes[1][:12]}%2B%20tip': [2],
        f'search=alice%20{hashes[1]}': [2],
        f'search=why%20did%20{short}%20break%20linux%3F': [2],
        f'search={short}%E2%80%A6': [2],
        f'search={hashes[1][:7]}::{hashes[2][:7]}': [2, 3],
        f'search={hashes[1][:7]}..{hashes[2][:7]}': [2, 3],
        'search=https://bugs/show_bug.cgi?id=1234567%23c1': [1, 4],
        'search=bug1234567': [1, 4],
        'search=b=1234567': [1, 4],
        'search=my-mark': [4],
        'search=side/branch': [5],
        'search=default': [],
        # Not whole, and in another case.
        'search=SIDE/bra': [5],
        'search=branch%20zed': [],
        # Who pushed it, and its name.
        'search=side/branch%20by%20alice': [5],
        'search=bob%20my-mark': [4],
        'search=bob%20side/branch': [],
        'search=branch&user=alice': [5],
        'search=BRANCH%20today': [5],
        'search=idebranch': [],
        'search=MARK': [4],
        'search=my-m&user=alice': [],
        'search=bob%20out': [4],
        'search=crash%20ALIC': [1, 3],
        # A name and a time, in any order.
        'search=bob%20an%20hour%20ago': [2, 4],
        'search=2h%20bob': [2, 4],
        'search=crash%20today': [1, 3],
        'search=crash%20since%20half%20an%20hour%20ago': [1, 3],
        'search=bob%202020-01-01%2012:30&user=bob': [4],
        'search=nobody%20today': [],
        'search=bob%201h30m': [2, 4],
        # A day ends.
        'search=yesterday': [],
        'search=since%20yesterday': [1, 2, 3, 4, 5],
        # What people say before a name, a day or a hash.
        'search=by%20bob': [2, 4],
        'search=pushed%20by%20bob': [2, 4],
        'search=crash%20by%20alice': [1, 3],
        'search=today%20by%20bob': [2, 4],
        'search=since%20yesterday%20by%20bob&endID=3': [2],
        'search=on%20side/branch': [5],
        f'search=rev%20{hashes[1][:7]}': [2],
        f'search=Commit%20{hashes[1][:7].upper()}': [2],
        f'search=crash%20since%20{shown}': [1, 3],
    }.items():
        assert log.ids(query) == expected, query
        assert log.page(query)[0] == expected[::-1], query
    empty = fetch_json(log.base + 'json-pushes?version=2&search=nothing')
    assert empty.pop('epoch')
    assert empty == {
        'lastpushid': 5,
        'pushes': {},
    }
    node = hashes[3]
    assert log.ids(f'search=bob&changeset={node}') == [4]
    assert log.ids(f'search=mend&changeset={node}') == []
    feed = ET.fromstring(fetch(log.base + 'pushlog?search=mend')[1])
    assert len(feed.findall('{http://www.w3.org/2005/Atom}entry')) == 2


@pytest.mark.slow
def test_page(log):
    _ids, page = log.page('search=mend%20%3Cthe&author=bob')
    assert "Changes that match 'mend &lt;the', by author 'bob'" in page
    assert re.search('name="search"[^>]* value="mend &lt;the"', page)
    _ids, page = log.page('search=an%20hour%20ago')
    date = r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC'
    assert re.search(f"Changes pushed since {date}, or that match 'an hour ago'", page)
    assert re.search(rf"before 'today 00:00' \({date}\)", log.page('enddate=today%2000:00')[1])
    ids, page = log.page('search=today')
    assert ids and f'on {time.strftime("%Y-%m-%d")} UTC,' in page
    _ids, page = log.page('search=bob%20yesterday&endID=3')
    assert re.search(r"pushed on [-\d]+ UTC with 'bob', or that match 'bob yesterday'", page)
    then = html.unescape(re.search('"([^"]*)">since then<', page).group(1))
    assert then == '/pushloghtml?search=since%20yesterday%20bob&endID=3'
    assert log.page(then.partition('?')[2])[0] == [2]
    # What was found is marked.
    for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal'):
        _ids, page = log.page(f'search=mend%20alice&style={style}')
        assert re.search('<span class="pushlogauthor"><mark>Alice</mark></span>', page)
        assert '<mark>Mend</mark> the browser_foo.js crash' in page
        _ids, page = log.page(f'search=BUILD&style={style}')
        assert 'Mend the &lt;<mark>build</mark>&gt;<' in page
        assert '<mark>' not in log.page(f'search=an%20hour%20ago&style={style}')[1]
    for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal'):
        ids, page = log.page(f'search=nothing&style={style}')
        assert not ids
        assert 'Nothing was found.' in page
        assert 'name="search"' in page
        assert '&ldquo;nothing&rdquo;' in page and 'href="/log?rev=nothing' in page
        assert 'names of files, are searched in' in page
        assert 'the other conditions' not in page
        assert 'meet the other conditions' in log.page(f'search=mend&user=x&style={style}')[1]
        ids, page = log.page(f'user=lic%3C&style={style}')
        assert not ids and 'lic&lt;' in page and 'Similar' not in page
        for query, said in (
            ('startdate=foo', "'pushed after' is not a date: 'foo'"),
            ('branch=nope', "unknown branch 'nope'"),
        ):
            ids, page = log.page(f'{query}&style={style}')
            assert not ids and said in html.unescape(page)
            assert f'value="{query.partition("=")[2]}"' in page
        ids, page = log.page(f'user=lic&style={style}')
        assert not ids
        for link in ('user=alice">alice', 'search=lic">lic'):
            assert f'href="/pushloghtml?style={style}&amp;{link}' in page
    older = log.alice.node('0')[:12]
    for query, said in {
        f'search=rev%20{older[:7]}': f'No push brought <a href="/rev/{older}">{older}</a>',
        'search=push%20999': 'There is no push 999: the last is 4.',
        'search=999': 'There is no push 999 (the last is 4), and no pushed changeset has',
        'search=push%203&user=bob': 'Among the pushes that meet the other conditions, no changeset',
        'search=rev%20deadbee': 'No changeset that was pushed begins with deadbee.',
        'search=1234567%207654321': 'search=7654321">7654321</a> finds 1 push.',
        'search=bo': 'Parts of names are searched for from 3 characters on.',
        'search=before%20friday': 'The form has &ldquo;pushed after&rdquo; and',
        'search=yesterday': 'Nothing was pushed on ',
        'search=default': 'see <a href="/pushloghtml?branch=default">its pushes</a>',
        'search=build%20in%20zoe': 'build">build</a> finds 1 push, <a href="/pushloghtml?search=zoe'
        '">zoe</a> finds 1 push.',
        'search=yesterday%20mend': 'search=mend">mend</a> finds 2 pushes.',
        'search=crash%20zzz': 'search=crash">crash</a> finds 2 pushes, <a href="/pushloghtml?search'
        '=zzz">zzz</a> finds nothing.',
        'search=yyy%20zzz': 'all words of &ldquo;yyy zzz&rdquo;, and no user',
        'author=bob&search=zzz': '&ldquo;zzz&rdquo; and &ldquo;bob&rdquo; in its author.',
        'branch=DEFAUL': 'Similar: <a href="/pushloghtml?branch=default">default</a>.',
        'user=al&user=al%3C': '&ldquo;al&rdquo;, &ldquo;al&lt;&rdquo; pushed nothing here.',
        'startdate=today&enddate=yesterday': "'pushed after' is not earlier than 'before'.",
    }.items():
        ids, page = log.page(query)
        assert not ids and said in page.replace('&#39;', "'"), query


@pytest.mark.slow
def test_errors(log):
    for query, words in (
        ('search=...', "search needs a letter or a digit, and '...' has none"),
        ('search=%3Cb%3E*%3C/b%3E', None),
        ('search=%3C*%3E', "search needs a letter or a digit, and '<*>' has none"),
        (f'search={quote("😀")}', "search needs a letter or a digit, and '😀' has none"),
        ('author=%00%0d%0a%3Cx', None),
        ('author=%00%0d%0a-', 'author needs a letter or a digit'),
        ('search=' + '+'.join(f'w{i}' for i in range(31)), "search takes 30 words, and 'w0 w1"),
    ):
        if words is None:
            assert log.ids(query) == []
            continue
        assert words in fetch_json(f'{log.base}json-pushes?{query}', 400)['error']
        # People get the page, with its field.
        for style in ('paper', 'gitweb', 'monoblue', 'spartan'):
            ids, page = log.page(f'{query}&style={style}')
            assert not ids and words in html.unescape(page)
            assert 'name="search"' in page and 'pushlognav' not in page.partition('</style>')[2]
    assert log.ids('search=' + 'x' * 3000) == []


def test_pages(world, make_server):
    """Ten pushes a page, the newest first, with links to the others."""
    server = make_server()
    alice = world.clone(str(server.root), 'alice')
    for number in range(23):
        alice.commit(f'file{number}', None, '-m', 'even' if number % 2 else 'odd')
        alice.hg_fast('push', '-q')
    log = Log(server, alice, server.start())
    assert log.ids('search=odd') == list(range(5, 24, 2))
    assert log.ids('search=odd', 'json-pushes/2') == [1, 3]
    assert log.ids('search=odd', 'json-pushes/3') == []
    assert log.ids('search=odd&startID=4&endID=9') == [5, 7, 9]
    ids, page = log.page('search=odd&author=test&startID=0&user=x&user=alice')
    assert ids == list(range(23, 4, -2))
    follow = re.search(r'href="/(pushloghtml/2\?[^"]*)">Next', page).group(1).replace('&amp;', '&')
    assert 'author=test' in follow and 'startID=0' in follow and 'user=x&user=alice' in follow
    ids, page = log.page(follow.partition('?')[2], follow.partition('?')[0])
    assert ids == [3, 1]
    assert '>Next<' not in page and '>First<' in page
    for query in ('search=odd', 'user=alice'):
        ids, page = log.page(query, 'pushloghtml/7')
        assert not ids and 'There are not so many pages.' in page and '>First<' in page
        assert 'has pushed nothing' not in page and 'Nothing was found' not in page
        assert not re.search('>[78]</', page)
    _ids, page = log.page('user=alice&startdate=now')
    assert 'has pushed nothing' not in page
    assert log.ids('search=odd', 'json-pushes/999999999') == []


@pytest.mark.slow
def test_what_is_gone(log):
    alice, server = log.alice, log.server
    gone = alice.node("keyword('build')")
    server.hg_fast('admin::headless-obliterate', gone, '--reason', 'a secret')
    assert log.ids('search=mend') == [1]
    assert log.ids('author=bob') == []
    server.hg_fast('admin::headless-verify', '--full')


def test_public_and_imported(world, make_server):
    """Public changesets of a push, and those of an older repository."""
    server = make_server('embedded')
    alice = world.clone(str(server.root), 'alice')
    alice.commit('a', None, '-m', 'published words')
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push', '-q')
    server.hg_fast('tag', '--local', '-r', 'tip', 'REL_1')
    server.hg_fast('bookmark', '-r', 'tip', 'a-mark')
    base = server.start()
    for text in ('published', 'tip', 'REL_1', 'a-mark', 'rel_', 'A-MA', 'mark'):
        assert fetch_json(f'{base}json-pushes?search={text}').keys() == {'1'}
    old = world.clone(str(server.root), 'old')
    old.commit('b', None, '-m', 'imported words')
    (old.root / '.hg' / 'hgrc').write_text(
        f'[extensions]\nhgext_headless.push =\n[headless]\nrepository = try\n'
        f'database = sqlite:///{server.root}/.hg/headless/catalog.sqlite\n'
        f'store = file://{server.root}/.hg/headless/store\nlink-secret = s\n'
    )
    old.hg_fast('admin::headless-import')
    assert [words for (words,) in server.sql('SELECT words FROM changeset_words')] == [
        ' 1:published 1:words 1:test 1:example 1:com 1@test 1@example 1@com ',
        ' 1:imported 1:words 1:test 1:example 1:com 1@test 1@example 1@com ',
    ]


def test_search_of_hgweb(world, make_server):
    """It looks at public history: where it finds nothing, it says where drafts are found."""
    server = make_server('embedded')
    alice = world.clone(str(server.root), 'alice')
    draft = alice.commit('a', None, '-m', 'some words & more')
    alice.hg_fast('push', '-q')
    base = server.start()
    hint = 'Nothing found in public history'
    for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal'):
        page = fetch_page(f'{base}log?rev=words%20%26%20more&style={style}')
        assert hint in page
        words = '>search it for &ldquo;words &amp; more&rdquo;<'
        link = re.search(rf'href="/(pushloghtml\?[^"]*search=[^"]*)"{words}', page).group(1)
        assert draft[:12] in fetch_page(base + link.replace('&amp;', '&'))
        found = fetch_page(f'{base}log?rev=public1&style={style}')
        assert hint not in found and found.count('public1') > 1
        assert re.search(r'Drafts are not .*href="/pushloghtml\?[^"]*search=public1"', found)
        for name in (draft[:12], draft[:5], draft[:7].upper(), f'%20{draft[:12]}+'):
            found = fetch_page(f'{base}log?rev={name}&style={style}')
            assert hint not in found and draft[:12] in found and 'Drafts are not' not in found
    assert fetch_json(base + 'json-log?rev=words')['entries'] == []
    assert hint not in fetch_page(f'{base}raw-log?rev=words')


def test_one_of_many(world, make_server):
    """What is found, by its hash or by words, is marked, and not in a fold that is shut."""
    server = make_server('embedded')
    alice = world.clone(str(server.root), 'alice')
    first = alice.commit('0')
    for number in range(1, 22):
        alice.commit(str(number))
    alice.hg_fast('push', '-q')
    base = server.start()
    page = fetch_page(f'{base}pushloghtml?search={first[:12]}')
    assert re.findall('<mark>(.*?)</mark>', page) == [first[:12]]
    fold = '<details{}><summary>2 more changesets'
    assert fold.format(' open="open"') in page
    page = fetch_page(f'{base}pushloghtml?search=test+0')
    assert re.findall('<mark>(.*?)</mark>', page) == ['Test', '0']
    assert fold.format(' open="open"') in page
    assert fold.format('') in fetch_page(f'{base}pushloghtml?search=test')
    assert fold.format('') in fetch_page(f'{base}pushloghtml?search=push%201')


def test_what_was_pushed_again(log):
    """Its old row is gone, its new one is not."""
    node = log.alice.log('draft()', '{node}\n')[0]
    log.server.hg_fast('admin::headless-expire', '-q', '--push', '1')
    log.alice.hg('push', '-q', '-f', '-r', node, env={'USER': 'alice'})
    found, page = log.page(f'search={node[:12]}')
    assert found == [5, 1]
    assert re.findall(r'<li class="pushlog(\w+)">', page) == ['draft', 'expired']
    old = fetch_page(log.base + 'push/1')
    assert 'It was pushed again as <a href="/push/5">push 5</a>' in old
