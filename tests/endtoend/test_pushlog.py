"""The pushlog API, as its consumers call it."""

from __future__ import annotations

import contextlib
import html
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from helpers.forge import post
from helpers.web import fetch, fetch_json, fetch_page
from helpers.world import HG, Clone, Server, World, free_url
from mercurial import templater

#: Seconds between the dates of two pushes; the first is at the start of 2020, UTC.
HOUR = 3600
START = 1577836800


@dataclass
class Log:
    """A server with pushes: ``nodes[i]`` are what push ``i`` brought."""

    server: Server
    alice: Clone
    base: str
    nodes: dict[int, list[str]]

    def ids(self, query: str = '', status: int = 200) -> list[int]:
        return sorted(map(int, fetch_json(f'{self.base}json-pushes{query}', status)))


@pytest.fixture(scope='module')
def log(tmp_path_factory):
    """Twelve pushes, an hour apart, by alice and bob; the fifth is public, the
    seventh on a branch, the ninth ends with a merge."""
    world = World(tmp_path_factory.mktemp('pushlog'))
    server = Server(world)
    base = server.start()
    alice = world.clone(base, 'alice')
    nodes: dict[int, list[str]] = {}
    seen = alice.node('tip')

    def commit(name: str, *args: str) -> None:
        (alice.root / name).write_text(name)
        alice.hg_fast('commit', '-q', '-A', *args)

    for number in range(1, 13):
        alice.hg_fast('update', '-q', '-C', 'last(public())')
        if number == 7:
            alice.hg_fast('branch', '-q', 'feature')
        for i in range(2):
            commit(f'p{number}.{i}', '-m', f'push {number} first\n\nbody {i}')
        if number == 5:
            alice.hg_fast('phase', '--public', '.')
        if number == 9:
            alice.hg_fast('update', '-q', '.^')
            commit('side', '-m', 'side')
            alice.hg_fast('merge', '-q', 'children(.^) - .')
            commit('merged', '-m', 'a merge')
        alice.hg_fast('push', '-q', '-f', '--new-branch', '-r', '.')
        nodes[number] = alice.log(f'sort(only(., {seen}), rev)', '{node}\n')
        seen = nodes[5][1] if number == 5 else seen
    server.sql(f'UPDATE pushes SET date = {START} + {HOUR} * push_id')
    server.sql("UPDATE pushes SET user = CAST('alice' AS BLOB)")
    server.sql("UPDATE pushes SET user = CAST('bob' AS BLOB) WHERE push_id % 4 = 0")
    yield Log(server, alice, base, nodes)
    server.stop()
    assert 'Traceback' not in server.errors()


def test_selection(log):
    date = quote('2020-01-01 03:00')
    node, public = log.nodes[3][0], log.alice.node('0')
    for query, wanted in {
        '': range(3, 13),
        '/2': [1, 2],
        '/3': [],
        '/x': range(3, 13),
        '?endID=3': range(3, 13),
        '?startID=10': [11, 12],
        f'?startID={"%20" * 31}10': [11, 12],
        '?startID=3&endID=5': [4, 5],
        '?startID=-5': range(1, 13),
        '?startID=999': [],
        '?startID=8&endID=5': [],
        f'?startdate={date}': range(4, 13),
        f'?startdate={date}&enddate={quote("2020-01-01 06")}': [4, 5],
        f'?startdate={START}&enddate={START + 3 * HOUR}': [1, 2],
        '?startdate=2020-01-01%2011:30:00&enddate=now': [12],
        '?startdate=1%20week%20ago': [],
        f'?startdate={date}&startID=11': range(4, 13),
        f'?fromchange={node}&tochange={log.nodes[6][1]}': [4, 5, 6],
        f'?fromchange={public}&endID=2': [1, 2],
        f'?changeset={node}': [3],
        f'?changeset={node[:12]}&changeset={log.nodes[5][1]}': [3, 5],
        f'?changeset={public}': [],
        '?changeset=tip': [5],
        '?user=bob': [4, 8, 12],
        '?user=bob&user=alice&endID=4': [1, 2, 3, 4],
        '?user=Bob': [],
        '?user=bob&startID=4': [8, 12],
        f'?user=bob&changeset={node}': [],
        '?branch=feature': [7],
        '?branch=feature&startID=7': [],
        '?branch=default': [2, 3, 4, 5, 6, *range(8, 13)],
        '?branch=default&startID=0&endID=2': [1, 2],
        '?nonsense=1': range(3, 13),
        '?startdate=&enddate=': range(3, 13),
    }.items():
        assert log.ids(query) == sorted(wanted), query
    assert list(fetch_json(log.base + 'json-pushes?startID=8')) == ['9', '10', '11', '12']


def test_errors(log):
    for query, status, words in (
        ('changeset=xyz', 404, "unknown revision 'xyz'"),
        (f'fromchange={"ab" * 20}', 404, f"unknown revision '{'ab' * 20}'"),
        ('startID=1&tochange=nope', 404, "unknown revision 'nope'"),
        (f'changeset={"f" * 40}', 404, 'unknown revision'),
        ('branch=nope', 404, "unknown branch 'nope'"),
        ('version=3', 400, 'version'),
        ('version=x', 400, 'version'),
        ('startID=x', 400, 'startID'),
        ('startID=1&endID=1.5', 400, 'endID'),
        ('startID=', 400, 'startID'),
        ('changeset=abc%0a', 404, 'unknown revision'),
        ('startdate=rubbish', 400, 'startdate'),
        ('startID=1&enddate=2020-13-45', 400, 'enddate'),
        ('changeset=%00%0d%0aSet-Cookie:x', 404, 'unknown revision'),
        ('&'.join(f'changeset={number}' for number in range(101)), 400, 'more than 100 values'),
        ('&'.join(f'user={number}' for number in range(101)), 400, 'more than 100 values'),
    ):
        error = fetch_json(f'{log.base}json-pushes?{query}', status)
        assert list(error) == ['error']
        assert words in error['error']
        code, body, _headers = fetch(f'{log.base}pushloghtml?{query}')
        # People get the page with the form, unless a changeset is unknown.
        in_form = 'change' not in query and any(i in query for i in ('branch', 'date', 'ID='))
        assert code == (200 if in_form else status)
        assert not in_form or words in html.unescape(body.decode())
        code, _body, headers = fetch(f'{log.base}pushlog?{query}')
        assert (code, headers['Content-Type'][:20]) == (status, 'application/atom+xml')
    assert fetch_json(log.base + f'json-pushes?startID={"9" * 60}') == {}
    assert len(fetch_json(log.base + f'json-pushes?startID=-{"9" * 60}')) == 12
    assert fetch(log.base + 'rss-pushloghtml')[0] == 404
    for page in ('rev/abc%0a', f'log?rev={"a" * 12}%0a', 'json-rev/abc%0a'):
        assert fetch(log.base + page)[0] in (200, 404), page
    assert b'unknown revision' in fetch(log.base + '?cmd=lookup&key=abc%0a')[1]


def test_versions_and_full(log):
    one = fetch_json(log.base + 'json-pushes?startID=8&endID=9')
    assert one == {
        '9': {
            'changesets': log.nodes[9],
            'date': START + 9 * HOUR,
            'user': 'alice',
            'git_changesets': [None] * 4,
        }
    }
    two = fetch_json(log.base + 'json-pushes?startID=8&endID=9&version=2')
    assert re.fullmatch('[0-9a-f]{32}', two.pop('epoch'))
    assert two == {'lastpushid': 12, 'pushes': one}
    (tip,) = fetch_json(log.base + 'json-pushes?startID=8&endID=9&tipsonly=1')['9']['changesets']
    assert tip == log.nodes[9][-1]
    assert len(fetch_json(log.base + 'json-pushes?startID=8&tipsonly=2')['9']['changesets']) == 4
    push = fetch_json(log.base + 'json-pushes?startID=8&endID=9&full')['9']
    first, merge = push['changesets'][0], push['changesets'][-1]
    assert first == {
        'node': log.nodes[9][0],
        'git_node': None,
        'author': 'Test <test@example.com>',
        'desc': 'push 9 first\n\nbody 0',
        'branch': 'default',
        'parents': [log.nodes[5][1]],
        'git_parents': [None],
        'tags': [],
        'files': ['p9.0'],
    }
    assert merge['parents'] == [log.nodes[9][2], log.nodes[9][1]]
    assert merge['git_parents'] == [None, None]
    five = fetch_json(log.base + f'json-pushes?changeset={log.nodes[5][1]}&full=1')['5']
    assert five['changesets'][1]['tags'] == ['tip']


def test_consumers(log):
    """Treeherder, Taskcluster's decision task, mozregression, build tasks."""
    node = log.nodes[9][1]
    pushes = fetch_json(log.base + 'json-pushes/?full=1&version=2&startID=10')
    assert pushes['lastpushid'] == 12
    assert sorted(pushes['pushes']) == ['11', '12']
    decision = fetch_json(log.base + f'json-pushes?version=2&changeset={node}&tipsonly=1&full=1')
    ((push_id, push),) = decision['pushes'].items()
    assert (push_id, push['changesets'][0]['node']) == ('9', log.nodes[9][-1])
    relevant = fetch_json(log.base + f'json-automationrelevance/{node}')['changesets']
    assert [c['node'] for c in relevant] == log.nodes[9][:2]
    assert relevant[1]['pushhead'] == log.nodes[9][-1]
    assert relevant[1]['pushid'] == 9
    assert relevant[1]['pushdate'] == [START + 9 * HOUR, 0]
    assert relevant[1]['pushuser'] == 'alice'
    assert relevant[1]['phase'] == 'draft'
    assert relevant[1]['desc'] == 'push 9 first\n\nbody 1'
    assert relevant[1]['extra'] == {'branch': 'default'}
    assert relevant[1]['parents'] == [log.nodes[9][0]]
    assert {'rev', 'author', 'date', 'branch', 'files'} <= set(relevant[1])
    public = fetch_json(log.base + f'json-automationrelevance/{log.nodes[5][1]}')['changesets']
    assert [c['node'] for c in public] == log.nodes[5]
    for name in ('nope', 'f' * 40, 'ab' * 20):
        error = fetch_json(log.base + f'json-automationrelevance/{name}', 404)['error']
        assert f"unknown revision '{name}'" in error
    info = fetch_json(log.base + f'json-info?node={node}&node=tip')
    assert sorted(info) == sorted([node[:12], log.nodes[5][1][:12]])
    assert info[node[:12]]['node'] == node
    assert info[node[:12]]['description'] == 'push 9 first\n\nbody 1'
    assert re.fullmatch(r'\d{4}-\d\d-\d\d \d\d:\d\d \+0000', info[node[:12]]['date'])
    merge, public = log.nodes[9][-1], log.nodes[5][1]
    for head, asked, wanted in (
        (merge, node, True),
        (merge[:12], public, True),
        (node, merge, False),
        (node, node, True),
        ('tip', node, False),
        (node, log.nodes[8][0], False),
    ):
        found = fetch_json(f'{log.base}json-isancestor?head={head}&node={asked}')
        assert (found['testnode'], found['isancestor']) == (asked, wanted)
    for query, said in (
        (f'head=foobar&node={node}', 'unknown head revision foobar'),
        (f'head={node}&node=foobar', 'unknown node revision foobar'),
        (f'head={node}', "missing parameter 'node'"),
        (f'head={"f" * 40}&node={node}', f'unknown head revision {"f" * 40}'),
        (f'head={node}&node=ffff', 'unknown node revision ffff'),
    ):
        assert fetch_json(f'{log.base}json-isancestor?{query}', 404) == {'error': said}
    # Mercurial takes it for the working directory.
    error = fetch_json(f'{log.base}json-info?node={"f" * 40}', 404)['error']
    assert error == f"unknown revision '{'f' * 40}'"


def test_names_that_are_repeated(log):
    """hgweb uses the last value; only that one is looked up."""
    node, other = log.nodes[9][1], log.nodes[8][0]
    many = '&'.join(f'node={number:040x}' for number in range(1, 1200))
    assert fetch_json(f'{log.base}json-rev?{many}&node={node}')['node'] == node
    assert fetch_json(f'{log.base}json-log?rev={other}&rev={node}')['entries'][0]['node'] == node
    error = fetch_json(f'{log.base}json-info?{many}', 400)['error']
    assert error == "more than 100 values of 'node'"
    error = fetch_json(f'{log.base}json-info?node=', 400)['error']
    assert error == "missing parameter 'node'"
    several = [*log.nodes[9], *log.nodes[7], 'feature', 'tip', log.nodes[8][0][:9]]
    found = fetch_json(f'{log.base}json-info?' + '&'.join(f'node={name}' for name in several))
    wanted = {*log.nodes[9], *log.nodes[7], log.nodes[5][1], other}
    assert {entry['node'] for entry in found.values()} == wanted


@pytest.mark.slow
def test_automationrelevance_of_a_growing_stack(world, make_server):
    """Draft ancestors that earlier pushes brought, and a sibling head of the push."""
    server = make_server()
    alice = world.clone(str(server.root), 'alice')
    one = alice.commit('a')
    alice.hg_fast('push', '-q')
    two = alice.commit('b')
    alice.hg_fast('update', '-q', one)
    three = alice.commit('c')
    alice.hg_fast('push', '-q', '-f')
    found = fetch_json(server.start() + f'json-automationrelevance/{three}')['changesets']
    assert [c['node'] for c in found] == [one, two, three]
    assert [c['pushid'] for c in found] == [1, 2, 2]


def test_keywords_and_revsets(log):
    base, node = log.base, log.nodes[9][1]
    for page in (f'json-rev/{node}', f'json-rev/{node[:12]}'):
        entry = fetch_json(base + page)
        assert (entry['pushid'], entry['pushuser']) == (9, 'alice')
        assert entry['pushdate'] == [START + 9 * HOUR, 0]
    public = fetch_json(base + 'json-rev/0')
    assert (public['pushid'], public['pushuser'], public['pushdate']) == (None, None, None)
    entries = fetch_json(base + f'json-log/{node}')['changesets']
    assert [e['pushid'] for e in entries][:4] == [9, 9, 5, 5]
    assert [e['pushid'] for e in fetch_json(base + 'json-log/tip')['changesets']] == [
        5,
        5,
        None,
        None,
        None,
    ]
    server = log.server
    template = '{pushid} {pushuser} {pushdate|hgdate} {pushbasenode|short} {pushheadnode|short}\n'
    shown = server.hg_fast('log', '-r', 'tip', '-T', template).split()
    head = log.nodes[5][1]
    assert shown == ['5', 'alice', str(START + 5 * HOUR), '0', log.nodes[5][0][:12], head[:12]]
    assert server.hg_fast('log', '-r', 'wdir()', '-T', '[{pushid}]') == '[]'
    for revset, wanted in {
        'pushhead()': [head],
        'pushid(5)': log.nodes[5],
        'pushid(6)': [],
        f'pushrev({head})': log.nodes[5],
        'pushrev(0)': [],
        "pushuser('ALI')": log.nodes[5],
        "pushuser('bob')": [],
        "pushdate('2020-01-01')": log.nodes[5],
        "pushdate('>2020-01-02')": [],
    }.items():
        assert server.log(revset, '{node}\n') == wanted, revset


def test_revsets_in_the_search_of_the_web(log):
    head = log.nodes[5][1]
    for revset, wanted in {
        'pushhead()': [head],
        'pushid(5)': log.nodes[5],
        "pushuser('ALI')": log.nodes[5],
        "pushdate('2020-01-01')": log.nodes[5],
        f'pushrev({head[:12]})': log.nodes[5],
        f'{log.nodes[5][1]}~1': log.nodes[5][:1],
        f'matching({head}, "description")': [head],
    }.items():
        found = fetch_json(f'{log.base}json-log?rev={quote(revset)}')
        assert {e['node'] for e in found['entries']} == set(wanted), revset
    for revset, why in {
        ' or '.join(['pushid(5)'] * 11): 'a search may have 10 predicates and ranges',
        '|'.join(f'::{rev}' for rev in range(11)): 'a search may have 10 predicates and ranges',
        'tip~99999999999': 'the operator ~ takes at most 1000000 steps',
        'matching(all())': 'the predicate matching takes one changeset',
        f"pushdate('-{9:0400}')".replace('0', '9'): 'a number of the search is too large',
        '(' * 8000: 'the search is nested too deeply',
        'not ' * 3000 + 'tip': 'the search is nested too deeply',
    }.items():
        for style in ('json', 'paper'):
            status, page, _headers = fetch(f'{log.base}log?style={style}&rev={quote(revset)}')
            assert status == 400 and why in page.decode(), revset


_PIECES = """
import io, sys
from mercurial import extensions, ui as uis
from mercurial.hgweb import hgweb
ui = uis.ui.load()
extensions.loadall(ui)
app = hgweb(sys.argv[1].encode(), baseui=ui)
from hgext_headless.hgweb.pushlog import json_format
json_format.CHANGESETS = int(sys.argv[2])
body = b''.join(app({
    'REQUEST_METHOD': 'GET', 'SCRIPT_NAME': '', 'PATH_INFO': '/json-pushes',
    'QUERY_STRING': sys.argv[3], 'SERVER_NAME': 'x', 'SERVER_PORT': '80',
    'SERVER_PROTOCOL': 'HTTP/1.1', 'REMOTE_ADDR': '127.0.0.1', 'wsgi.version': (1, 0),
    'wsgi.url_scheme': 'http', 'wsgi.input': io.BytesIO(), 'wsgi.errors': sys.stderr,
    'wsgi.multithread': False, 'wsgi.multiprocess': False, 'wsgi.run_once': False,
}, lambda status, headers: None))
sys.stdout.buffer.write(body)
"""


@pytest.mark.parametrize('query', ['full=1&startID=0', 'full=1&startID=4&version=2'])
def test_more_changesets_than_fit(log, query):
    """A push of many is written some at a time, and reads the same."""
    whole, pieces = (
        subprocess.run(
            [sys.executable, '-c', _PIECES, log.server.root, number, query],
            env=log.server.world.env,
            check=True,
            capture_output=True,
        ).stdout
        for number in ('2000', '2')
    )
    assert len(whole) > 1000 and pieces == whole


@pytest.mark.parametrize('page', ['pushlog', 'atom-log', 'rss-log', 'atom-pushloghtml'])
def test_feeds_have_the_name_that_the_client_used(log, page):
    """Not that of the process, which is another one behind a proxy."""
    _status, body, _headers = fetch(log.base + page, Host='hg.example.com')
    assert b'http://hg.example.com/' in body and b'http://127.0.0.1' not in body


def test_atom(log):
    status, body, headers = fetch(log.base + 'pushlog')
    assert (status, headers['Content-Type'][:20]) == (200, 'application/atom+xml')
    names = {'a': 'http://www.w3.org/2005/Atom', 'x': 'http://www.w3.org/1999/xhtml'}
    feed = ET.fromstring(body)
    entries = feed.findall('a:entry', names)
    assert len(entries) == sum(len(log.nodes[i]) for i in range(3, 13))
    assert feed.findtext('a:updated', None, names) == '2020-01-01T12:00:00Z'
    assert feed.findtext('a:id', None, names).endswith('/pushlog')
    links = {link.get('rel'): link.get('href') for link in feed.findall('a:link', names)}
    assert links['self'].endswith('/pushlog')
    assert links['alternate'].endswith('/pushloghtml')
    first = entries[0]
    tip = log.nodes[12][-1]
    assert first.findtext('a:title', None, names) == 'bob: push 12 first'
    assert first.findtext('a:id', None, names).endswith(f'/#changeset-{tip}')
    assert first.find('a:link', names).get('href').endswith(f'/rev/{tip}')
    assert first.findtext('a:author/a:name', None, names) == 'bob'
    files = first.findall('.//x:ul[@class="filelist"]/x:li[@class="file"]', names)
    assert [item.text for item in files] == ['p12.1']
    one = ET.fromstring(fetch(log.base + 'pushlog?startID=3&endID=4&tipsonly=1')[1])
    assert len(one.findall('a:entry', names)) == 1
    assert one.findtext('a:id', None, names).endswith('/pushlog?startID=3&endID=4&tipsonly=1')
    empty = [fetch(log.base + 'pushlog?user=nobody&style=atom')[1] for _ in range(2)]
    assert empty[0] == empty[1] and b'/pushlog?user=nobody"' in empty[0]


def test_html(log):
    for style in ('paper', 'gitweb', 'monoblue', 'spartan', 'coal'):
        page = fetch_page(f'{log.base}pushloghtml?style={style}')
        shown = re.findall(r'class="pushlogid"[^>]*>(\d+)<', page)
        assert shown == [str(i) for i in range(12, 2, -1)]
        rows = re.findall(r'class="pushlognode" href="/rev/([0-9a-f]{12})', page)
        assert rows[:4] == [n[:12] for n in (*log.nodes[12][::-1], *log.nodes[11][::-1])]
        assert 'merge of 3 changesets' in page and 'earlier one' not in page
        (merge,) = re.findall(r'id="push(\d+)">(?:(?!</tr>).)*merge of 3', page, re.S)
        one = fetch_page(f'{log.base}push/{merge}?style={style}')
        assert '<details><summary>' not in one and '<span class="pushlogstate">merge<' in one
        assert 'rss-log"' not in page and f'href="/pushlog?style={style}" title="Atom' in page
        assert 'feature' in page
        assert '>tip<' in page
        assert 'body' not in re.sub(r'</?(t?body|head)|[a-z] body', '', page.split('<table')[-1])
        labels = re.findall(r'class="pushlognav"[^>]*>(.*?)</div>', page, re.S)[0]
        assert re.findall(r'>(\w+)<', labels) == ['1', '2', 'Next', 'Last']
        assert f'/pushloghtml/2?style={style}' in labels
        last = fetch_page(f'{log.base}pushloghtml/2?style={style}')
        assert re.findall(r'class="pushlogid"[^>]*>(\d+)<', last) == ['2', '1']
        assert re.findall(r'>(First|Prev)<', last)[:2] == ['First', 'Prev']
    query = fetch_page(log.base + 'pushloghtml?startdate=2020-01-01%2004:00&user=bob')
    assert "pushed after '2020-01-01 04:00' (2020-01-01 04:00:00 UTC), by user bob" in query
    assert re.findall(r'class="pushlogid"[^>]*>(\d+)<', query) == ['12', '8']
    assert 'name="startdate"' in query
    assert 'value="2020-01-01 04:00"' in query
    assert 'No pushes.' in fetch_page(log.base + 'pushloghtml?startID=99')


def test_pages_of_users_and_branches(log):
    asked = 'user=alice&user=bob'
    page = fetch_page(f'{log.base}pushloghtml?{asked}')
    assert re.findall(r'class="pushlogid"[^>]*>(\d+)<', page) == [str(i) for i in range(12, 2, -1)]
    following = re.search(r'href="/(pushloghtml/2[^"]*)">Next<', page).group(1)
    assert following == 'pushloghtml/2?user=alice&amp;user=bob'
    last = fetch_page(log.base + following.replace('&amp;', '&'))
    assert re.findall(r'class="pushlogid"[^>]*>(\d+)<', last) == ['2', '1']
    assert 'href="/pushloghtml/1?user=alice&amp;user=bob">Prev<' in last
    bounded = fetch_page(f'{log.base}pushloghtml?{asked}&endID=11')
    assert 'href="/pushloghtml/2?endID=11&amp;user=alice&amp;user=bob">Next<' in bounded
    # An upper bound alone is obeyed on pages, which go back from it.
    alone = fetch_page(log.base + 'pushloghtml?startdate=&enddate=&endID=11')
    assert re.findall(r'class="pushlogid"[^>]*>(\d+)<', alone) == [str(i) for i in range(11, 1, -1)]
    assert 'href="/pushloghtml/2?endID=11">Next<' in alone
    # The form keeps what was asked for; what it leaves empty is not asked for.
    assert re.findall(r'name="user"[^>]* value="(\w*)"', page) == ['alice', 'bob']
    branch = fetch_page(log.base + 'pushloghtml?branch=feature&user=&startdate=&enddate=')
    assert re.findall(r'class="pushlogid"[^>]*>(\d+)<', branch) == ['7']
    assert re.findall(r'name="(?:user|branch)"[^>]* value="(\w*)"', branch) == ['', 'feature']
    plain = fetch_page(log.base + 'pushloghtml?branch=&user=&startdate=&enddate=')
    assert len(re.findall('class="pushlogid"', plain)) == 10
    # Programs get all of them, as ever.
    assert log.ids(f'?{asked}') == list(range(1, 13))
    feed = fetch_page(f'{log.base}pushlog?{asked}')
    assert feed.count('<entry>') == 26
    own = re.match('http://[^/]+/', log.base).group() + 'pushlog?user=alice&amp;user=bob'
    assert f'<id>{own}</id>' in feed and f'rel="self" href="{own}"' in feed


#: Styles that a site might have: their templates.
_MAP = '__base__ = ../gitweb/map\npushlog = pushlog.tmpl\n'
_ENTRY = r"""
navpushentry = '<a href="{url}pushloghtml/{page}{sessionvars%urlparameter}">{label}</a>'
pushinfo = '<cite>{user|escape} {date|isodate}</cite>'
merged = 'merges {count}'
pushlogentry = '<p class="{hidden} {parity}">{id} {push%pushinfo} {node}
  {author|person} {desc|strip|escape|mozlink|firstline|addbreaks}
  {inbranch%inbranchtag}{branches%branchtag}{tags%tagtag} {mergerollup%merged}</p>'
"""
_PUSHLOG = '''{header}</head>{archives%archiveentry}{changenav%navpushentry}
<form><input name="startdate" value="{startdate|escape}"></form>
{querydescription|escape} {latestentry%"newest {node}"}
{entries%pushlogentry}{footer}'''


def _styles(folder: Path) -> Path:
    """A folder of Mercurial's styles, one that was made for Mozilla's pushlog, and ones that
    can't be rendered."""
    made = folder / 'styles'
    shutil.copytree(os.fsdecode(templater.templatedir()), made)
    for name, own, text in (
        ('mozillas', _ENTRY, _PUSHLOG),
        ('late', _ENTRY, _PUSHLOG + '{node|nonsense}'),
        ('wrong', _ENTRY, _PUSHLOG.replace('entries%', 'noentries%')),
        ('errorless', "error = '{error|nonsense}'\n", '{nonsense()}'),
    ):
        (made / name).mkdir()
        (made / name / 'map').write_text(_MAP + own)
        (made / name / 'pushlog.tmpl').write_text(text)
    return made


def _look_at_styles(log: Log, base: str) -> None:
    page = fetch_page(f'{base}/pushloghtml?style=mozillas')
    nodes = log.nodes
    assert f'newest {nodes[12][-1]}' in page
    entries = re.findall(r'<p class="(\w*) ([01])">(\d+) (.*?)</p>', page, re.S)
    assert [entry[2] for entry in entries if '<cite>' in entry[3]] == [
        str(i) for i in range(12, 2, -1)
    ]
    merge = entries[6]
    assert merge[0] == 'hidden' and nodes[9][-1] in merge[3] and 'merges 4' in merge[3]
    assert f'<cite>alice 2020-01-01 09:00 +0000</cite> {nodes[9][-1]}' in merge[3]
    assert 'Test a merge' in ' '.join(merge[3].split())
    assert 'href="/pushloghtml/2?style=mozillas">Next<' in page
    assert 'href="/pushloghtml/1?style=mozillas">1<' in page
    assert 'name="startdate" value="1 week ago"' in page
    asked = fetch_page(f'{base}/pushloghtml?style=mozillas&user=alice&user=bob')
    assert 'href="/pushloghtml/2?style=mozillas&amp;user=alice&amp;user=bob">2<' in asked
    page = fetch_page(f'{base}/pushloghtml?style=mozillas&startID=9&endID=10')
    assert 'href="/pushloghtml/1?style=mozillas&amp;startID=9&amp;endID=10">1<' in page
    assert page.count('href="/pushloghtml/') == 1
    for style, why in (
        ('late', "unknown function 'nonsense'"),
        ('wrong', "(keyword 'noentries' does not support map operation)"),
        ('errorless', "unknown function 'nonsense'"),
    ):
        error = html.unescape(fetch_page(f'{base}/pushloghtml?style={style}', 500))
        assert why in error and f"'pushlog' of style '{style}'" in error


def test_limit(log, tmp_path):
    twin = tmp_path / 'twin'
    shutil.copytree(log.server.root, twin)
    with open(twin / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(f'[headless]\npushlog-limit = 4\n[web]\ntemplates = {_styles(tmp_path)}\n')
    server = log.server
    out = server.hg(
        '-R', twin, 'serve', '-d', '-p', '0', '-a', '127.0.0.1', '--pid-file', tmp_path / 'pid'
    )
    base = 'http://127.0.0.1:' + re.search(r':(\d+)/', out).group(1)
    try:
        assert list(fetch_json(base + '/json-pushes?startID=2')) == ['3', '4', '5', '6']
        assert list(fetch_json(base + '/json-pushes?user=alice&user=bob')) == ['1', '2', '3', '4']
        assert len(fetch_json(base + '/json-pushes')) == 10
        # People are shown the newest.
        page = fetch_page(base + '/pushloghtml?startID=2')
        assert re.findall(r'class="pushlogid"[^>]*>(\d+)<', page) == ['12', '11', '10', '9']
        assert 'These are the newest 4 of them' in page
        feed = fetch_page(base + '/pushlog?user=alice&user=bob')
        assert re.findall(r'<title>\w+: push (\d+) ', feed)[0] == '12'
        _look_at_styles(log, base)
    finally:
        subprocess.run(['kill', (tmp_path / 'pid').read_text().strip()])


def test_empty_and_ordinary_repositories(world, make_server):
    server = make_server(public=0)
    base = server.start()
    assert fetch_json(base + 'json-pushes') == {}
    empty = fetch_json(base + 'json-pushes?version=2')
    assert empty.pop('epoch')
    assert empty == {'lastpushid': 0, 'pushes': {}}
    assert 'No pushes.' in fetch_page(base + 'pushloghtml')
    assert b'<entry>' not in fetch(base + 'pushlog')[1]
    with open(world.env['HGRCPATH'], 'a') as hgrc:
        hgrc.write('[extensions]\nhgext_headless.push =\nhgext_headless.web =\n')
    plain = Server(world, 'plain', extensions=())
    (plain.root / '.hg' / 'hgrc').write_text('')
    base = plain.start()
    for page in ('json-pushes', 'pushlog', 'pushloghtml', 'json-automationrelevance/tip'):
        assert fetch(base + page)[0] == 400
    assert 'pushid' not in fetch_page(base + 'json-rev/tip')
    plain.stop()


def test_an_answer_is_not_kept_by_the_browser(world, make_server):
    server = make_server()
    alice = world.clone(str(server.root), 'alice')
    base = server.start()
    tag = fetch(base + 'shortlog')[2]['ETag']
    alice.commit('a')
    alice.hg_fast('push', '-q')
    for page in ('json-pushes', 'pushloghtml', 'pushlog'):
        status, _body, headers = fetch(base + page, **{'If-None-Match': tag})
        assert status == 200
        assert 'ETag' not in headers


@pytest.mark.slow
def test_lagging_replica(world, make_server):
    """It shows no push that it can't serve, nor any after it, until it has caught up."""
    server = make_server()
    alice = world.clone(str(server.root), 'alice')
    alice.commit('a')
    alice.hg_fast('push', '-q')
    home = server.root / '.hg' / 'headless'
    replica = Server(world, 'replica', public=0)
    replica.configure(
        f'database = sqlite:///{home}/catalog.sqlite\nstore = file://{home}/store\n'
        'link-secret = x\n'
    )
    replica.hg('pull', '-q', server.root)
    base = replica.start()
    assert fetch_json(base + 'json-pushes?version=2')['lastpushid'] == 1
    old = alice.node('0')
    # Public history that reaches the push server alone, by a push and without one.
    alice.hg_fast('update', '-q', 'last(public())')
    alice.commit('b')
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    draft = alice.commit('c')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    alice.hg_fast('update', '-q', old)
    alice.commit('d')
    alice.hg_fast('push', '-q', '-f', '-r', '.')
    assert fetch_json(server.start() + 'json-pushes?version=2')['lastpushid'] == 4
    shown = fetch_json(base + 'json-pushes?version=2&startID=0')
    assert (shown['lastpushid'], list(shown['pushes'])) == (1, ['1'])
    assert 'unknown revision' in fetch_json(base + f'json-pushes?changeset={draft}', 404)['error']
    assert 'have not reached this server yet' in fetch_page(base + f'raw-rev/{draft}', 503)
    replica.hg('pull', '-q', server.root)
    shown = fetch_json(base + 'json-pushes?version=2&startID=1')
    assert (shown['lastpushid'], list(shown['pushes'])) == (4, ['2', '3', '4'])
    replica.stop()


@pytest.mark.slow
@pytest.mark.parametrize('pushes', [8, 200])
def test_pollers_during_concurrent_pushes(world, make_server, pushes):
    server = make_server('services')
    base = server.start()
    alice = world.clone(str(server.root), 'alice')
    for number in range(pushes):
        alice.hg_fast('update', '-q', 'public()')
        alice.commit('n', str(number))
    nodes = alice.log('draft()', '{node}\n')
    waiting = list(nodes)
    running: list[subprocess.Popen[bytes]] = []
    seen: list[list[str]] = [[], []]
    last = [0, 0]
    deadline = time.monotonic() + 60 + pushes * 3
    while (waiting or running or len(seen[0]) < pushes or len(seen[1]) < pushes) and (
        time.monotonic() < deadline
    ):
        running = [p for p in running if p.poll() is None]
        while waiting and len(running) < 8:
            command = [HG, 'push', '-q', '-f', '-r', waiting.pop(), server.root]
            running.append(subprocess.Popen(command, cwd=alice.root, env=world.env))
        for poller in range(2):
            answer = fetch_json(f'{base}json-pushes?version=2&startID={last[poller]}')
            for push_id in sorted(map(int, answer['pushes'])):
                assert push_id == last[poller] + 1
                last[poller] = push_id
                seen[poller] += answer['pushes'][str(push_id)]['changesets']
            assert answer['lastpushid'] >= last[poller]
    assert sorted(seen[0]) == sorted(nodes)
    assert sorted(seen[1]) == sorted(nodes)
    assert last == [pushes, pushes]


def test_bytes_that_are_no_text(world, make_server):
    """Names and branches as they came, from any time."""
    server = make_server('embedded')
    alice = world.clone(server.start(), 'alice')
    latin = {'HGENCODING': 'latin-1'}
    (alice.root / os.fsdecode(b'caf\xe9')).write_text('x')
    alice.hg('branch', '-q', b'caf\xe9', env=latin)
    alice.hg('commit', '-q', '-A', '-m', b'caf\xe9', env=latin)
    node = alice.node()
    assert 'as push 1' in alice.hg_fast('push', '--new-branch', '-f')
    for page in (f'json-info?node={node}', f'json-automationrelevance/{node}', f'json-rev/{node}'):
        fetch_json(server.start() + page)
    assert fetch_json(f'{server.start()}json-pushes?full=1')['1']['changesets'][0]['node'] == node
    alice.hg_fast('phase', '--public', node)
    alice.hg_fast('push', '-q', '-f', '--new-branch')
    for page in (f'json-info?node={node}', f'json-automationrelevance/{node}'):
        fetch_json(server.start() + page)


@pytest.mark.slow
def test_feed_by_style(world, make_server):
    server = make_server('embedded')
    alice = world.clone(server.start(), 'alice')
    alice.commit('a')
    alice.hg_fast('push', '-q')
    code, body, _headers = fetch(f'{server.start()}pushloghtml?style=atom')
    assert code == 200 and b'<entry>' in body
    assert b'<entry>' in fetch(f'{server.start()}atom-pushloghtml')[1]


_FROM_GIT = """
import sys
from mercurial import context, hg, ui
repo = hg.repository(ui.ui.load(), sys.argv[1].encode())
node = repo[b'tip'].node()
with repo.lock(), repo.transaction(b'git'):
    for name in (b'1' * 40, b'2' * 40, b''):
        extra = {b'git_commit': name} if name else {}
        node = repo.commitctx(context.memctx(
            repo, (node, None), name or b'none', [], lambda *args: None, user=b'test', extra=extra))
"""


def test_commits_of_git(world, make_server):
    """As the reference's test-hgweb-git.t has them."""
    server = make_server('embedded')
    alice = world.clone(server.start(), 'alice')
    subprocess.run([sys.executable, '-c', _FROM_GIT, alice.root], env=world.env, check=True)
    alice.hg_fast('push', '-q')
    one, two = '1' * 40, '2' * 40
    push = fetch_json(f'{server.start()}json-pushes?full=1')['1']
    assert push['git_changesets'] == [one, two, None]
    assert [c['git_node'] for c in push['changesets']] == [one, two, None]
    assert [c['git_parents'] for c in push['changesets']] == [[None], [one], [two]]
    # Also above what is public.
    alice.hg_fast('phase', '--public', alice.node('desc("2222")'))
    alice.hg_fast('update', '-q', 'desc("2222")')
    alice.commit('draft')
    alice.hg_fast('push', '-q', '-f')
    (draft,) = fetch_json(f'{server.start()}json-pushes?full=1')['2']['changesets']
    assert draft['git_parents'] == [two]


def test_what_descriptions_say(world, make_server):
    """json-automationrelevance, json-rev and json-pushchangedfiles, as on hg.mozilla.org."""
    server = make_server('embedded')
    alice = world.clone(server.start(), 'alice')
    bad = alice.commit('bad', None, '-m', 'Bug 12345 - break it; r=romulus,remus')
    alice.commit('more')
    out = alice.commit('back', None, '-m', f'Backed out changeset {bad[:12]} (bug 12345)')
    alice.hg_fast('push', '-q')
    base = server.start()
    answer = fetch_json(f'{base}json-automationrelevance/{out}')
    assert answer['visible'] is True
    first, _second, last = answer['changesets']
    url = 'https://bugzilla.mozilla.org/show_bug.cgi?id=12345'
    assert first['bugs'] == last['bugs'] == [{'no': '12345', 'url': url}]
    assert [r['name'] for r in first['reviewers']] == ['romulus', 'remus']
    assert first['backsoutnodes'] == [] and 'backedoutby' not in first
    assert last['backsoutnodes'] == [{'node': bad}]
    answer = fetch_json(f'{base}json-automationrelevance/{out}?backouts=1')
    assert answer['changesets'][0]['backedoutby'] == out
    shown = fetch_json(f'{base}json-rev/{bad}')
    assert shown['backedoutby'] == out
    assert shown['git_commit'] is None and shown['landingsystem'] is None
    assert fetch_json(f'{base}json-rev/{out}')['backedoutby'] == ''
    files = fetch_json(f'{base}json-pushchangedfiles/{out}')
    assert files == {'files': ['back', 'bad', 'more']}
    assert fetch(f'{base}json-pushchangedfiles/{"e" * 40}')[0] == 404
    # The working directory: nobody has backed it out.
    assert fetch(f'{base}json-rev/{"f" * 40}')[0] in (200, 404)


def test_users_that_are_no_ascii(world, make_server):
    server = make_server('embedded')
    server.configure('')
    alice = world.clone(str(server.root), 'alice')
    alice.commit('a')
    alice.hg('push', '-q', env={'USER': 'zo\u00eb'})
    base = server.start()
    for page in ('json-pushes?user=zo%C3%AB', 'json-pushes?full=1&user=x&user=zo%C3%AB'):
        assert [p['user'] for p in fetch_json(base + page).values()] == ['zo\u00eb']
    assert fetch(f'{base}pushloghtml?user=zo%C3%AB')[0] == 200
    assert fetch_json(f'{base}json-pushes?user=zo%EB') == {}
    assert 'unknown revision' in fetch_json(f'{base}json-pushes?changeset=', 404)['error']


def test_what_is_gone(world, make_server):
    """No link leads to it; what is not there now may be asked for later."""
    server = make_server('embedded')
    alice = world.clone(str(server.root), 'alice')
    first, second = alice.commit('a'), alice.commit('b')
    alice.hg_fast('push', '-q')
    server.hg_fast('admin::headless-obliterate', '--reason', 'x', second)
    base = server.start()
    page = fetch_page(f'{base}pushloghtml')
    assert f'rev/{first[:12]}' in page and f'rev/{second[:12]}' not in page
    assert f'<del class="pushlognode">{second[:12]}</del>' in page and '>removed<' in page
    feed = fetch_page(f'{base}pushlog')
    assert f'rev/{second}' not in feed and f'pushloghtml?changeset={second}' in feed
    assert fetch(f'{base}pushloghtml?changeset={second}')[0] == 200
    database = server.root / '.hg' / 'headless' / 'catalog.sqlite'
    database.rename(database.with_name('away'))
    database.mkdir()
    base = server.restart()
    for page in (f'rev/{first}', 'json-pushes', 'pushloghtml'):
        code, _body, headers = fetch(base + page)
        assert code == 503 and headers['Retry-After'] == '10', page


@pytest.mark.slow
def test_over_the_wire(world, make_server):
    """As clients with Mozilla's pushlog extension ask: they get it from an id on.

    Such a client takes no push from the first on that lists a changeset which it has not.
    """
    server = make_server('embedded', settings='pushlog-limit = 2\n')
    alice = world.clone(str(server.root), 'alice')
    nodes = []
    for name in ('a', 'b', 'c', 'draft', 'e'):
        alice.hg_fast('update', '-q', 'last(public())')
        nodes.append(alice.commit(name))
        if name != 'draft':
            alice.hg_fast('phase', '--public', '.')
        alice.hg('push', '-q', '-f', '-r', '.', env={'USER': 'alice b'})
    base = server.start()
    capabilities = fetch(f'{base}?cmd=capabilities')[1].decode().split()
    assert {'pushlog', 'pushlog-stream'} < set(capabilities)

    def ask(command: str, first: str) -> list[str]:
        return post(base, b'', command, firstpush=first).splitlines()

    def rows(lines: list[str]) -> list[list[str]]:
        return [row[0:2] + row[3:] for row in (line.split(' ', 3) for line in lines)]

    public = [['1', 'alice_b', nodes[0]], ['2', 'alice_b', nodes[1]], ['3', 'alice_b', nodes[2]]]
    public.append(['5', 'alice_b', nodes[4]])
    assert rows(ask('pushlog', '1')) == [['1'], *public[:2]]
    assert rows(ask('pushlog', '3')) == [['1'], *public[2:]]
    assert rows(ask('pushlog-stream', '1')) == [*public, ['ok']]
    assert rows(ask('pushlog-stream', '4')) == [*public[3:], ['ok']]
    for beyond in ('6', '9' * 30, str(2**63)):
        assert ask('pushlog', beyond) == ['1']
        assert ask('pushlog-stream', beyond) == ['ok']
    assert ask('pushlog', 'x')[0] == '0'
    assert ask('pushlog-stream', 'x')[0].startswith('error ')
    assert fetch(f'{base}?cmd=pushlog')[:2] == (200, b"0\nnot a push id: ''")
    assert fetch(f'{base}?cmd=pushlog-stream')[:2] == (200, b"error not a push id: ''\n")
    found = world.hg('debugcapabilities', f'ssh://localhost/{server.root}')
    assert '  pushlog\n  pushlog-stream\n' in found


def test_over_the_wire_what_became_public(world, make_server):
    server = make_server('embedded')
    alice = world.clone(str(server.root), 'alice')
    node = alice.commit('a')
    alice.hg_fast('push', '-q')
    base = server.start()
    for _time in range(2):
        assert post(base, b'', 'pushlog-stream', firstpush='1') == 'ok\n'
    alice.hg_fast('phase', '--public', '.')
    alice.hg_fast('push', '-q')
    for _time in range(2):
        assert node in post(base, b'', 'pushlog-stream', firstpush='1')


def test_over_the_wire_without_the_database(world, make_server):
    """An error would make the client give up its pull, of public history too."""
    server = make_server('embedded')
    alice = world.clone(str(server.root), 'alice')
    alice.publish('a')
    alice.hg_fast('push', '-q')
    database = server.root / '.hg' / 'headless' / 'catalog.sqlite'
    database.rename(database.with_name('away'))
    database.mkdir()
    base = server.start()
    assert post(base, b'', 'pushlog', firstpush='1') == '1'
    assert post(base, b'', 'pushlog-stream', firstpush='1') == 'ok\n'


#: An extension that has the commands too, as Mozilla's.
_MOZILLAS = """
from mercurial import extensions, wireprototypes, wireprotov1server

def capabilities(orig, repo, proto):
    return orig(repo, proto) + [b'pushlog', b'pushlog-stream']

@wireprotov1server.wireprotocommand(b'pushlog', b'firstpush', permission=b'pull')
def pushlog(repo, proto, firstpush):
    return b'theirs ' + firstpush

@wireprotov1server.wireprotocommand(b'pushlog-stream', b'firstpush', permission=b'pull')
def stream(repo, proto, firstpush):
    return wireprototypes.streamreslegacy(gen=iter([b'theirs ' + firstpush]))

def extsetup(ui):
    extensions.wrapfunction(wireprotov1server, '_capabilities', capabilities)
"""


@contextlib.contextmanager
def below_hgwebdir(world: World, roots: dict[str, Path]) -> Iterator[str]:
    """The URL below which one process serves repositories, by path."""
    conf = world.folder / 'web.conf'
    conf.write_text('[paths]\n' + ''.join(f'{path} = {root}\n' for path, root in roots.items()))
    url, port = free_url()
    process = subprocess.Popen(
        [HG, 'serve', '--web-conf', conf, '-a', '127.0.0.1', '-p', str(port)],
        env=world.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        world.wait_for(url)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize('theirs', ['nowhere', 'first', 'later'])
def test_ordinary_repositories_over_the_wire(world, make_server, theirs):
    """In the same process they are as stock, and have Mozilla's pushlog where that is loaded."""
    server = make_server('embedded')
    ordinary = world.init('ordinary')
    ordinary.commit('a')
    (world.folder / 'mozillas.py').write_text(_MOZILLAS)
    loaded = f'[extensions]\nmozillas = {world.folder}/mozillas.py\n'
    if theirs == 'first':
        with open(world.env['HGRCPATH'], 'a') as hgrc:
            hgrc.write(loaded)
        with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
            hgrc.write('[extensions]\nmozillas = !\n')
    if theirs == 'later':
        (ordinary.root / '.hg' / 'hgrc').write_text(loaded)
    with below_hgwebdir(world, {'try': server.root, 'ordinary': ordinary.root}) as url:
        for name in ('try', 'ordinary'):
            assert fetch(f'{url}{name}/log')[0] == 200  # now it is loaded
        for command, nothing in (('pushlog', '1'), ('pushlog-stream', 'ok\n')):
            assert post(f'{url}try', b'', command, firstpush='1') == nothing
            capabilities = fetch(f'{url}try?cmd=capabilities')[1].decode().split()
            assert command in capabilities
            capabilities = fetch(f'{url}ordinary?cmd=capabilities')[1].decode().split()
            if theirs == 'nowhere':
                assert command not in capabilities
                status, _body, headers = fetch(f'{url}ordinary?cmd={command}&firstpush=1')
                assert status == 400 and headers['Content-Type'].startswith('text/html')
            else:
                assert command in capabilities
                assert post(f'{url}ordinary', b'', command, firstpush='1') == 'theirs 1'


#: An extension with a web command of the same name, as Mozilla's hgmo.
_HGMO = """
from mercurial.hgweb import webcommands

def info(web):
    web.res.setbodybytes(b'theirs')
    return web.res.sendresponse()

webcommands.info = webcommands.webcommand(b'info')(info)
"""


@pytest.mark.parametrize('everywhere', [False, True])
def test_web_commands_of_ordinary_repositories(world, make_server, everywhere):
    """hgmo is loaded for one of them, or for all, and is off for the headless one."""
    server = make_server('embedded')
    ordinary = world.init('ordinary')
    node = ordinary.commit('a')
    (world.folder / 'hgmo.py').write_text(_HGMO)
    loaded = f'[extensions]\nhgmo = {world.folder}/hgmo.py\n'
    if everywhere:
        with open(world.env['HGRCPATH'], 'a') as hgrc:
            hgrc.write(loaded)
        with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
            hgrc.write('[extensions]\nhgmo = !\n')
    else:
        (ordinary.root / '.hg' / 'hgrc').write_text(loaded)
    public = Clone(world, server.root).node('0')
    with below_hgwebdir(world, {'try': server.root, 'ordinary': ordinary.root}) as url:
        for _time in range(2):
            assert list(fetch_json(f'{url}try/json-info?node={public}')) == [public[:12]]
            assert fetch(f'{url}ordinary/json-info?node={node}')[:2] == (200, b'theirs')
            assert fetch_json(f'{url}try/json-pushes') == {}
            assert fetch_json(f'{url}ordinary/json-pushes', 400)['error'] == 'method not found'


def test_ordinary_repositories_over_ssh(world):
    """An unknown command has an empty answer."""
    ordinary = world.init('ordinary')
    (ordinary.root / '.hg' / 'hgrc').write_text('[extensions]\nhgext_headless.web =\n')
    done = subprocess.run(
        [HG, '-R', ordinary.root, 'serve', '--stdio'],
        input=b'hello\npushlog-stream\nfirstpush 1\n1pushlog\nfirstpush 1\n1',
        env=world.env,
        capture_output=True,
        timeout=60,
    )
    hello, _newline, answers = done.stdout.partition(b'\n')
    capabilities, answers = answers[: int(hello)], answers[int(hello) :]
    assert b'pushlog' not in capabilities
    assert answers == b'0\n0\n'


@pytest.mark.slow
def test_one_connection_is_enough(world, make_server):
    """A request does not hold one and wait for a second: many at once would wait for each other."""
    server = make_server('services', settings='database-pool-size = 1\n')
    base = server.start()
    alice = world.clone(base, 'alice')
    node = alice.commit('a')
    alice.hg_fast('push', '-q')
    for page in (
        f'json-automationrelevance/{node[:12]}',
        f'json-pushchangedfiles/{node[:12]}',
        f'json-pushes?changeset={node[:12]}',
        f'json-pushes?fromchange={node[:12]}',
        f'pushloghtml?changeset={node[:12]}',
        f'rev/{node[:12]}',
    ):
        code, body, _headers = fetch(base + page)
        assert code == 200, (page, body)
