"""hgweb's pages of drafts."""

from __future__ import annotations

import concurrent.futures
import functools
import json
import re
import xml.etree.ElementTree as ET
from urllib.parse import quote

import pytest
from helpers.forge import Forged, post
from helpers.web import fetch, fetch_json, fetch_page
from helpers.world import Clone, Server

_WEB = '[web]\nname = the repository\nallow-archive = zip gz bz2\n'
#: What an ordinary repository's pages do not have.
_PUSH_FIELDS = re.compile(rb',\s*"pushid": .*\s*"pushuser": .*\s*"pushdate": [^}]*?(?=\s*})')
#: And what they have in other words, or in other places.
_WOVEN = (
    (rb'</?bdi>', b''),
    (rb'<(span|a) class="tag(tag)?" [^>]*title="pushed by [^>]*>push \d+</(span|a)> ', b''),
    (rb'.*">pushlog</a>.*\n', b''),
    (rb'.*class="pushlogfact".*\n', b''),
    (rb'(?m)^ +$', b''),
    (rb'&amp;(?=style=)', b'&'),
    # Tags stand in no link, so that they can be links.
    (rb'\s*(</a>)?\s*(<span class="logtags">.*</span>)\s*(</a>)?\s*', rb' \2\n'),
)


def _as_stock(body: bytes) -> bytes:
    body = _PUSH_FIELDS.sub(b'', body)
    for pattern, replacement in _WOVEN:
        body = re.sub(pattern, replacement, body)
    return body


def _without_numbers(body: bytes, public: int) -> bytes:
    """A page without the revision numbers of drafts, of which the first one is ``public``."""
    for pattern, form in (
        (rb' (?P<rev>\d+):(?=<a |[0-9a-f]{12}<)', b' '),
        (rb'(<th>)(?P<rev>\d+):(?=[0-9a-f]{12}<)', rb'\1'),
        (rb'(?<=[|\]]) rev (?P<rev>\d+)\b:?', b''),
        (rb'\b(changeset|parent|child|revision|rev) (?P<rev>\d+)\b', rb'\1'),
        (rb'(/annotate/([0-9a-f]{12})/[^"]*"[^>]*>\s*)(?P<rev>\d+)(?=\s*<)', rb'\1\2'),
    ):
        for found in reversed(list(re.finditer(pattern, body))):
            if int(found['rev']) >= public:
                body = body[: found.start()] + found.expand(form) + body[found.end() :]
    return body


def _stack(alice: Clone) -> list[str]:
    """Drafts of all shapes, in one push."""
    nodes = [alice.commit('d/f', 'one\ntwo\nthree\n')]
    alice.hg_fast('mv', 'd/f', 'd/g')
    (alice.root / 'd' / 'g').write_text('one\n2\nthree\nfour <b>&amp;\n')
    message = 'moved & <b>changed</b> {node}\n\nbody é'
    alice.hg_fast('commit', '-m', message, '-u', 'Zoë "<x>" <z@e>')
    nodes.append(alice.node())
    alice.hg_fast('cp', 'd/g', 'copy')
    nodes.append(alice.commit('bin.dat', bytes(range(256))))
    alice.hg_fast('update', '-q', '.^')
    alice.hg_fast('rm', 'public0')
    nodes.append(alice.commit('x', 'x'))
    alice.hg_fast('branch', '-q', 'feature')
    alice.hg_fast('merge', '-q', nodes[2])
    nodes.append(alice.commit('run.sh', '#!/bin/sh\n', '-m', 'merge'))
    return nodes


def _twins(world, make_server, **kwargs) -> tuple[Server, Server, list[str]]:
    """A headless server and an ordinary one with the same changesets."""
    headless = make_server(**kwargs)
    with open(headless.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(_WEB)
    plain = Server(world, 'plain', public=0, extensions=())
    (plain.root / '.hg' / 'hgrc').write_text(
        '[phases]\npublish = no\n' + _WEB + 'push_ssl = no\nallow-push = *\n'
    )
    plain.hg('pull', '-q', headless.root)
    alice = world.clone(str(headless.root), 'alice')
    nodes = _stack(alice)
    alice.hg_fast('update', '-q', 'public()')
    # So that none of the others is tip, or the tip of its branch.
    alice.hg_fast('branch', '-q', '-f', 'feature')
    alice.commit('later')
    alice.hg_fast('branch', '-q', '-f', 'default')
    alice.commit('last')
    for server in (headless, plain):
        alice.hg('push', '-q', '-f', '-r', nodes[-1], server.root)
        alice.hg('push', '-q', '-f', '-r', 'tip', server.root)
    return headless, plain, nodes


@pytest.mark.slow
def test_pages_like_those_of_an_ordinary_repository(world, make_server):
    headless, plain, nodes = _twins(world, make_server)
    one, two = headless.start(), plain.start()
    first, moved, _binary, _x, tip = nodes
    public = headless.changesets()
    exact = [f'{kind}-rev/{node}' for kind in ('json', 'raw') for node in nodes]
    exact += [f'raw-rev/{first}:{tip}', f'json-rev/{tip[:12]}']
    for kind in ('json', 'raw'):
        for path in (
            f'file/{moved}/d/g',
            f'file/{tip}/run.sh',
            f'file/{tip[:9]}/d',
            f'annotate/{moved}/d/g',
            f'diff/{moved}/d/g',
            f'manifest/{tip}',
        ):
            exact.append(f'{kind}-{path}')
    exact += [
        f'raw-file/{tip}/bin.dat',
        f'json-comparison/{moved}/d/g',
        f'json-filelog/{tip}/d/g',
        f'json-log/{moved}/d/g',
        f'json-log/{tip}',
        f'json-changelog/{tip}',
        f'json-shortlog/{tip}',
        f'json-graph/{tip}',
        f'raw-log/{moved}/d/g',
        f'rss-log/{tip}',
        f'atom-log/{tip}',
        f'json-file/{"0" * 39}1/x',
        f'?cmd=file&node={moved}&file=d/g&style=raw',
    ]
    exact += [f'archive/{tip}.{kind}' for kind in ('zip', 'tar.gz', 'tar.bz2')]
    exact.append(f'archive/{tip}.zip/d')
    html = [
        f'{page}?style={style}'
        for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal')
        for page in (
            f'rev/{tip}',
            f'rev/{moved}',
            f'file/{moved}/d/g',
            f'annotate/{moved}/d/g',
            f'diff/{moved}/d/g',
            f'log/{moved}/d/g',
            f'shortlog/{tip}',
            f'graph/{tip}',
            f'file/{tip}',
        )
    ]
    html.append(f'comparison/{moved}/d/g')
    different: list[tuple[object, ...]] = []
    for path in exact + html:
        status, body, headers = fetch(one + path)
        wanted_status, wanted, wanted_headers = fetch(two + path)
        if path.startswith(('rss', 'atom')) or path in html:
            body = body.replace(one.encode(), two.encode())
            body = re.sub(rb'http://[^/]*/', b'http://host/', body)
            wanted = re.sub(rb'http://[^/]*/', b'http://host/', wanted)
        assert status == wanted_status, path
        assert headers['Content-Type'] == wanted_headers['Content-Type'], path
        # The tip is one of the drafts there, and public here.
        for pattern, same in (
            (rb'"changeset_count": \d+', b'"changeset_count": 0'),
            (rb'"tags": \["tip"\]', b'"tags": []'),
            (rb'<span class="(tag|tagtag)"( title="tip")?>tip</span> ', b''),
            (rb'<span class="branch(head|tag)"( title="default")?>default</span> ', b''),
            (rb'\[(tip|default)\] ', b''),
            (rb'<td>(tip|default)</td>', b'<td></td>'),
            (rb'\d+ (second|minute)s? ago', b'lately'),
        ):
            body, wanted = re.sub(pattern, same, body), re.sub(pattern, same, wanted)
        if path.startswith('archive') and 'gz' in path:
            assert len(body) == len(wanted)  # gzip's header has a time
            continue
        if path.startswith('json') and status == 200:
            json.loads(body)
        if path in html:
            assert len(body) < 1.3 * len(wanted), path
        body, wanted = _as_stock(body), _as_stock(wanted)
        if path in html:
            wanted = _without_numbers(wanted, public)
        different += [
            (path, a, b) for a, b in zip(body.splitlines(), wanted.splitlines()) if a != b
        ][:2] or ([(path, len(body), len(wanted))] if len(body) != len(wanted) else [])
    assert not different, "\n".join(map(str, different))
    assert fetch_json(one + f'json-log?rev={tip}')['entries'][0]['node'] == tip
    # The tip of the web, and its heads, are those of public history.
    assert fetch_json(one + 'json-rev/tip')['phase'] == 'public'
    assert fetch_json(one + f'json-rev/{tip}')['tags'] == []
    plain.stop()


def test_unknown_and_ambiguous(world, make_server):
    server = make_server(public=0)
    alice = world.clone(str(server.root), 'alice')
    nodes = {}
    for content in ('1', '10', '7', '24'):
        alice.hg_fast('update', '-q', 'null')
        nodes[content] = alice.commit('n', content, '-m', 'n', '-d', '0 0', '-u', 't')
        if content == '1':
            alice.hg_fast('phase', '--public', '.')
    twins = []
    for date in ('288 0', '531 0'):
        alice.hg_fast('update', '-q', 'null')
        twins.append(alice.commit('n', '1', '-m', 'n', '-d', date, '-u', 't'))
    assert [node[:5] for node in twins] == ['38b1d', '38b15']
    # The public one and a draft begin alike, and two drafts.
    assert [node[:2] for node in nodes.values()] == ['ca', 'ca', 'd0', 'd3']
    alice.hg_fast('push', '-q', '-f', '-r', 'all()')
    base = server.start()
    for prefix in ('ca', 'd', 'c', '38b1'):
        assert 'ambiguous' in fetch_json(base + f'json-rev/{prefix}', 404)['error']
        assert 'ambiguous' in fetch_json(base + f'json-pushes?changeset={prefix}', 404)['error']
    for node in nodes.values():
        assert fetch_json(base + f'json-rev/{node[:3]}')['node'] == node
        assert len(fetch_json(base + f'json-pushes?changeset={node[:3]}')) == 1
        for name in (node.upper(), node[:3].upper()):
            assert fetch_json(base + f'json-rev/{name}')['node'] == node
            assert len(fetch_json(base + f'json-pushes?changeset={name}')) == 1
            assert node[:12] in alice.hg_fast('identify', '-r', name, base)
    # A number is a revision number first.
    assert fetch_json(base + 'json-rev/0')['node'] == nodes['1']
    assert fetch(base + f'json-rev/{"ab" * 20}')[0] == 404
    assert fetch(base + 'json-rev/no-such-name')[0] == 404
    # The page leads to the search, which finds hashes by four digits or more, and other names.
    for style in ('paper', 'gitweb', 'monoblue', 'spartan'):
        for path in ('rev/d?', 'pushloghtml?changeset=d&'):
            page = fetch_page(f'{base}{path}style={style}', 404)
            assert 'give 4 digits or more' in page and 'search=d"' not in page
        for path in ('rev/38b1?', 'pushloghtml?changeset=38b1&'):
            page = fetch_page(f'{base}{path}style={style}', 404)
            link = re.search(r'href="/(pushloghtml\?[^"]*search=38b1)"', page).group(1)
            found = fetch_page(base + link.replace('&amp;', '&'))
            assert all(node[:12] in found for node in twins)
        for name, path in (
            ('no%22name', 'rev/{}?'),
            ('no%22name', 'pushloghtml?changeset={}&'),
            (quote('feature/"новая'), 'rev/{}?'),
            (quote('feature/"новая'), 'graph/{}?'),
            (quote('feature/"новая'), 'pushloghtml?changeset={}&'),
        ):
            page = fetch_page(f'{base}{path.format(name)}style={style}', 404)
            assert f'href="/pushloghtml?style={style}&amp;search={name}"' in page
            assert '00changelog' not in page and 'no"name' not in page


def test_draft_bookmark(world, make_server):
    server = make_server()
    alice = world.clone(str(server.root), 'alice')
    node = alice.commit('a')
    alice.hg_fast('bookmark', 'mine')
    alice.hg_fast('push', '-q', '-B', 'mine')
    base = server.start()
    assert fetch_json(base + 'json-rev/mine')['node'] == node
    assert fetch_page(base + 'raw-file/mine/a') == 'a'


def test_children_of_a_growing_stack(world, make_server):
    server = make_server()
    alice = world.clone(str(server.root), 'alice')
    one = alice.commit('a')
    alice.hg_fast('push', '-q')
    two = alice.commit('b')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    base = server.start()
    assert fetch_json(base + f'json-rev/{one}')['children'] == [two]
    # A back-out need not be in the same bundle, to the page as to the pushlog.
    alice.hg_fast('update', '-q', 'public()')
    out = alice.commit('out', None, '-m', f'Backed out changeset {one[:12]}')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    again = alice.commit('again', None, '-m', f'Backed out changeset {out}')
    alice.hg_fast('update', '-q', 'public()')
    alice.hg_fast('push', '-q', '-f', '-r', again)
    assert fetch_json(base + f'json-rev/{one}')['backedoutby'] == out
    page = fetch_page(base + f'rev/{one}')
    assert f'itself backed out by <a href="/rev/{again[:12]}"' in page
    # What people understand beside, programs that know Mozilla's parser do not expect.
    more = alice.commit('more', None, '-m', f'Bug 5 - Back out rev {two[:12]}')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    assert 'Backed out by' in fetch_page(base + f'rev/{two}')
    assert fetch_json(base + f'json-rev/{two}')['backedoutby'] == ''
    relevant = fetch_json(base + f'json-automationrelevance/{two}?backouts=1')['changesets']
    assert [changeset.get('backedoutby') for changeset in relevant] == [out, None]
    # Fewer digits are looked up for one changeset or one push, and not in lists.
    node = more if again[:11].isdigit() else again
    alice.hg_fast('update', '-q', 'public()')
    short = alice.commit('short', None, '-m', f'Backed out {node[:11]} for failing')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    by = f'acked out by <a href="/rev/{short[:12]}"'
    for path in (f'rev/{node}', f'pushloghtml?changeset={node}'):
        assert by in fetch_page(base + path)
    assert by not in fetch_page(base + 'pushloghtml')
    back = f'Backed out <a href="/rev/{node[:11]}">{node[:11]}</a> for'
    assert back in fetch_page(base + f'pushloghtml?changeset={short}')
    assert fetch_json(base + f'json-rev/{node}')['backedoutby'] == ''


_THIRD_PARTY = """
from mercurial.hgweb import webcommands, webutil
def size(web):
    ctx = webutil.changectx(web.repo, web.req)
    web.res.setbodybytes(b'%s has %d files' % (ctx.hex(), len(ctx.files())))
    return web.res.sendresponse()
def extsetup(ui):
    webcommands.size = size
    webcommands.__all__.append('size')
"""


@pytest.mark.slow
def test_third_party_command(world, make_server):
    server = make_server()
    extension = world.folder / 'third.py'
    extension.write_text(_THIRD_PARTY)
    server.configure('', f'[extensions]\nthird = {extension}\n')
    alice = world.clone(str(server.root), 'alice')
    node = alice.commit('a')
    alice.hg_fast('push', '-q')
    assert fetch_page(server.start() + f'size/{node[:12]}') == f'{node} has 1 files'


_DERIVED = """
from mercurial.hgweb import hgweb_mod
class derived(hgweb_mod.hgweb):
    pass
hgweb_mod.hgweb = derived
"""


@pytest.mark.slow
def test_class_of_another_extension(world, make_server):
    """An extension that was loaded before replaces hgweb's class by one of its own."""
    server = make_server()
    (world.folder / 'derived.py').write_text(_DERIVED)
    own = server.root / '.hg' / 'hgrc'
    hgrc = own.read_text()
    own.write_text(f'[extensions]\nderived = {world.folder / "derived.py"}\n' + hgrc)
    alice = world.clone(str(server.root), 'alice')
    node = alice.commit('a')
    alice.hg_fast('push', '-q')
    answer = server.hg_fast('debugextensions')
    assert 'hgext_headless.web' in answer and 'failed' not in answer
    page = fetch_page(server.start() + f'raw-rev/{node[:12]}')
    assert node in page


_COUNTER = """
from mercurial import demandimport
def extsetup(ui):
    with demandimport.deactivated():
        import sqlalchemy
        from sqlalchemy import event
    @event.listens_for(sqlalchemy.engine.Engine, 'begin')
    def begin(connection):
        with open(%r, 'a') as log:
            log.write('x')
"""


@pytest.mark.slow
def test_the_second_page_needs_one_question(world, make_server):
    """And no object: the store is gone by then."""
    server = make_server('services')
    settings = re.search(
        r'\[headless\]\nrepository = try\n(.*)\n\[web\]',
        (server.root / '.hg' / 'hgrc').read_text(),
        re.S,
    ).group(1)
    alice = world.clone(str(server.root), 'alice')
    node = alice.commit('a', 'content')
    alice.hg_fast('push', '-q')
    assert fetch_page(server.start() + f'raw-file/{node}/a') == 'content'
    log = world.folder / 'begins'
    extension = world.folder / 'counter.py'
    extension.write_text(_COUNTER % str(log))
    gone = re.sub(r's3-endpoint-url = .*', 's3-endpoint-url = http://127.0.0.1:1', settings)
    server.configure(gone, f'[extensions]\ncounter = {extension}\n')
    base = server.restart()
    for path in (
        f'json-rev/{node}',
        f'rev/{node}',
        f'raw-file/{node}/a',
        f'annotate/{node[:12]}/a',
    ):
        log.write_text('')
        status, body, _headers = fetch(base + path)
        assert status == 200, body
        assert len(log.read_text()) <= 1, path
    # What is in the cache is checked.
    (entry,) = (server.root / '.hg' / 'headless' / 'cache').iterdir()
    entry.write_bytes(entry.read_bytes()[:-1] + b'!')
    assert fetch(base + f'rev/{node}')[0] == 503
    server.configure(settings)
    assert fetch_page(server.restart() + f'raw-file/{node}/a') == 'content'


def test_services_down(world, make_server):
    server = make_server('services')
    hgrc = (server.root / '.hg' / 'hgrc').read_text()
    alice = world.clone(str(server.root), 'alice')
    node = alice.commit('a')
    alice.hg_fast('push', '-q')
    for item, wrong in (
        ('s3-endpoint-url', 'http://127.0.0.1:1'),
        ('database', 'postgresql+psycopg2://x@127.0.0.1:1/x'),
    ):
        (server.root / '.hg' / 'hgrc').write_text(re.sub(f'{item} = .*', f'{item} = {wrong}', hgrc))
        base = server.restart()
        for page in ('shortlog', 'rev/tip', 'json-rev/tip', 'json-log', 'raw-file/tip/public0'):
            assert fetch(base + page)[0] == 200, page
        for style in ('', 'json-', 'raw-'):
            page = fetch_page(base + f'{style}rev/{node}', 503)
            assert 'headless: temporary: the ' in page
            assert 'Traceback' not in page
        if item == 'database':
            assert 'temporary' in fetch_json(base + 'json-pushes', 503)['error']
            assert 'temporary' in fetch_page(base + 'pushloghtml', 503)


@pytest.mark.slow
def test_many_threads_and_processes(world, make_server):
    server = make_server('services', settings='cache-size = 3 kB\n')
    alice = world.clone(str(server.root), 'alice')
    wanted = {}
    for number in range(12):
        alice.hg_fast('update', '-q', 'public()')
        wanted[alice.commit('n', f'content {number}\n' * 9)] = f'content {number}\n' * 9
    alice.hg_fast('push', '-q', '-f')
    bases = [server.start_another() for _number in range(3)]
    asked = [(base, node) for node in wanted for base in bases] * 3
    # Not more at once than the socket of one lets wait.
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        pages = pool.map(lambda ask: fetch_page(f'{ask[0]}raw-file/{ask[1]}/n'), asked)
        for (_base, node), page in zip(asked, pages):
            assert page == wanted[node]
    kept = list((server.root / '.hg' / 'headless' / 'cache').iterdir())
    assert kept
    assert sum(path.stat().st_size for path in kept) <= 3 * 1024


def test_escaping(world, make_server):
    """Drafts whose names are markup, quotes, line ends and template syntax."""
    server = make_server()
    alice = world.clone(str(server.root), 'alice')
    evil = '<script>alert("1")</script>\'{node}&amp;'
    name = 'f<img src=x>"\'&{rev}'
    (alice.root / name).write_text(evil)
    alice.hg_fast('add', name)
    alice.hg_fast('branch', '-q', 'b<i>"\'')
    alice.hg_fast('commit', '-m', f'{evil}\r\nSet-Cookie: x', '-u', f'{evil} <a@b>')
    node = alice.node()
    alice.hg('push', '-q', '-f', '--new-branch', env={'USER': evil})
    base = server.start()
    for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal'):
        for page in (f'rev/{node}', 'pushloghtml', f'shortlog/{node}'):
            text = fetch_page(f'{base}{page}?style={style}')
            assert '<script>alert' not in text
            assert '<img src=x>' not in text
            assert '<i>"' not in text
            assert node[:12] in text
            assert '{node}' in text or page.startswith('shortlog')
    # Mercurial's templates of some pages do not escape the names of files.
    script = '"><svg onload=alert(1)>'
    named = alice.commit(script)
    alice.hg_fast('push', '-q', '-f')
    for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal', 'atom', 'rss'):
        for page in ('log', 'file', 'annotate', 'diff', 'comparison'):
            shown = fetch(f'{base}{page}/{named}/{quote(script)}?style={style}')[1]
            assert b'<svg' not in shown, (style, page)
    # Mercurial's own templates escape no author without an address.
    author = '<img src=x onerror=alert(1)>'
    nameless = alice.commit('x', None, '-u', author)
    alice.hg_fast('push', '-q', '-f')
    for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal'):
        for page in ('shortlog', 'graph', f'log/{nameless}/x', f'annotate/{nameless}/x'):
            path = page if '/' in page else f'{page}/{nameless}'
            text = fetch_page(f'{base}{path}?style={style}')
            assert '<img src=x' not in text, (style, page)
    feed = fetch_page(base + 'pushlog')
    assert '<script>' not in feed
    assert '<img' not in feed
    full = fetch_json(base + 'json-pushes?full=1&version=2')['pushes']['1']
    assert full['user'] == evil
    assert full['changesets'][0]['files'] == [name]
    assert full['changesets'][0]['author'] == f'{evil} <a@b>'
    assert full['changesets'][0]['branch'] == 'b<i>"\''


def test_numbers_without_bound(world, make_server):
    """In descriptions and dates: they take down neither lists nor the draft's own pages."""
    server = make_server('embedded')
    server.configure('', _WEB)
    alice = world.clone(str(server.root), 'alice')
    alice.commit('a', None, '-m', 'Bug ' + '1' * 5000 + ', bug 12')
    base = server.start()
    forged = Forged(alice.root)
    for date in (b'253402300800 0', b'-1000000000000 0', b'1 ' + b'9' * 5000):
        draft = forged.copy()
        dated = functools.partial(re.sub, rb'\n[-0-9]+ [-0-9]+\n', b'\n' + date + b'\n')
        draft.change_changeset(dated)
        assert 'stored' in post(base, draft.bundle())
        node = draft.head
        for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal'):
            for path in ('pushloghtml', f'rev/{node}', f'log/{node}', f'annotate/{node}/a'):
                page = fetch_page(f'{base}{path}?style={style}')
                assert page.rstrip().endswith('</html>'), (date, path, style)
        for path in ('pushlog', f'atom-log/{node}', f'rss-log/{node}'):
            ET.fromstring(fetch_page(base + path))
        (found,) = fetch_json(f'{base}json-automationrelevance/{node}')['changesets']
        assert [bug['no'] for bug in found['bugs']] == ['12']
        for path in (f'json-rev/{node}', f'json-info?node={node}', 'json-pushes?full=1'):
            fetch_json(base + path)
        for kind in ('zip', 'tar.gz', 'tar.bz2'):
            assert len(fetch(f'{base}archive/{node}.{kind}')[1]) > 100, (date, kind)


def test_no_page_shows_a_path_of_the_server(world, make_server):
    server = make_server('embedded')
    base = server.start()
    pages = ['pushlog', 'atom-log', 'rss-log', 'rev/nonsense']
    pages += [
        f'{page}?style={style}'
        for page in ('pushloghtml', 'shortlog', 'rev/tip', 'file/tip', 'graph', 'summary')
        for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal')
    ]
    for page in pages:
        body = fetch(base + page)[1]
        assert str(server.root).encode() not in body and b'/tmp/' not in body, page
    assert f'<title>{server.shown_name}: pushlog</title>' in fetch_page(base + 'pushloghtml')
