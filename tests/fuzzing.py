"""A fuzzer for what clients send: pushes, commands of the wire protocol, links, pages.

    python tests/fuzzing.py [--seconds 3600] [--seed N]

It serves a headless repository in this process, changes real requests at random, and ends with
exit code 1 at the first one that is answered by a traceback or late, that takes much memory, or
that changes anything and is not a valid push. `test_fuzz` lets it run for some seconds.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_from_bytes
from xml.etree import ElementTree

from helpers.forge import Forged
from helpers.world import Server, World
from mercurial import (
    bookmarks,
    bundle2,
    extensions,
    hg,
    obsolete,
    phases,
    ui as uimod,
    util,
    wireprotov1server,
)
from mercurial.hgweb import hgweb, webcommands
from mercurial.wireprototypes import GETBUNDLE_ARGUMENTS

from hgext_headless.receive import parts as received
from hgext_headless.wire import links

#: Seconds of processor time and bytes that one request may take.
SLOW = 20
LARGE = 400 << 20
#: What is no command of hgweb, or is one with a path of its own.
PAGES = """
    json-pushes/2 pushloghtml/2 push/1 push/2 push/3 raw-push/1 raw-push/2 raw-push/3
    headless-bundle headless-ready headless-health headless-metrics
"""
#: Markup that no page may have: it is in names of the changeset of somebody.
MARKUP = '"><svg onload=alert(1)>'
STYLES = ['', 'json-', 'raw-', 'atom-', 'rss-']
#: The parameters of hgweb and of ours.
NAMES = """
    node rev startID endID startdate enddate fromchange tochange user changeset branch full
    tipsonly version style expires signature file revcount backouts page limit head search author
    filenode graphtop context linerange patch descend forcekw type sort static access-hidden
    max-lag cmd ignorews ignorewsamount ignorewseol ignoreblanklines
"""
HTML_STYLES = [b'paper', b'coal', b'gitweb', b'monoblue', b'spartan']
#: What is a value of a parameter, half of the time: one on a line.
VALUES = {
    'cmd': """
        capabilities
        heads
    """,
    'linerange': """
        1:2
        2:1
        0:0
        1:99999999
    """,
    'node': """
        0:tip
        tip:marked
        null
    """,
    'rev': """
        draft()
        reverse(pushhead())
        pushid(1)
        pushid("x")
        pushrev(tip) or bug
        pushuser("alice")
        pushdate("<now")
        pushdate(1)
        pushhead(1)
        keyword(stored)
        children(0)::tip
        branch("re:(")
    """,
    'search': """
        alice yesterday
        since 2 weeks ago stored
        half an hour ago
        10:30
        99:99
        3d
        2000-02-30
        0000-00-00
        last friday
        9999999999 years ago
        Wed Dec 31 23:59:60 9999 +9999
        https://hg.example/rev/12345678
        marked
        default
        public0 alice
        a b c d e f g
        #1
    """,
    'style': """
        json
        atom
        rss
        raw
        changelog
        /etc
    """,
    'type': """
        gz
        zip
        bz2
        none
    """,
}
#: The status of stock for a long name of a static file.
STOCKS = '500 File name too long'
#: What a client may say beside.
HEADERS = [
    {'HTTP_IF_NONE_MATCH': '*'},
    {'HTTP_HOST': MARKUP},
    {'HTTP_ACCEPT_ENCODING': 'gzip'},
    {'HTTP_X_HGPROTO_1': '0.1 0.2 comp=zstd,zlib,none partial-pull'},
    {'HTTP_X_HGPROTO_1': '0.2 comp=\xff'},
    {'SCRIPT_NAME': '/hg/try'},
    {'REMOTE_USER': MARKUP},
]
CAPS = b'HG20,bundle2=HG20%0Achangegroup%3D01%2C02%0Adigests%3Dsha512%0Abookmarks'
#: Parameters of commands that take any.
ANY = {'known': [], 'batch': [], 'getbundle': sorted(map(bytes.decode, GETBUNDLE_ARGUMENTS))}
#: Numbers that int() takes, or refuses in its own way, and texts that parsers do not like.
ODD = [b'9' * 5000, '\xb2'.encode(), '\u0663'.encode(), b'(' * 3000, b'\0', b'-1', b'1e400', b'0x1']
INTERESTING = [0, 1, 2, 4, 12, 20, 100, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1]


class Answer:
    def __init__(self) -> None:
        self.status = ''
        self.type = ''
        self.body = b''

    def start(self, status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        self.status = status
        self.type = dict(headers).get('Content-Type', '')
        return lambda data: None


class Target:
    """A server in this process, and what it has stored."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.server = Server(self.world)
        alice = self.world.clone(str(self.server.root), 'alice')
        self.nodes = [alice.commit(name, None, '-d', '0 0') for name in ('stored', 'stored2')]
        alice.hg('bookmark', 'marked')
        alice.hg('push', '-q', '-B', 'marked')
        self.samples = [self.sample(alice, number) for number in range(4)]
        os.environ.update({k: v for k, v in self.world.env.items() if k.startswith('HG')})
        ui = uimod.ui.load()
        for name in (b'hgext_headless.push', b'hgext_headless.web'):
            ui.setconfig(b'extensions', name, b'')
        extensions.loadall(ui)
        extensions.populateui(ui)
        for section, name, value in (
            (b'web', b'push_ssl', b'no'),
            (b'web', b'allow-push', b'*'),
            (b'web', b'allow-archive', b'gz zip bz2'),
            (b'headless', b'max-push-size', b'4 MB'),
        ):
            ui.setconfig(section, name, value)
        self.app = hgweb(os.fsencode(self.server.root), baseui=ui)
        self.nodes += [self.store_odd(), self.store_gone(alice), alice.node('0')]
        self.repo = hg.repository(ui, os.fsencode(self.server.root))
        self.links = self.all_links()

    def store_odd(self) -> str:
        """Push a draft with whatever a description, a name and a date can do to pages."""
        bob = self.world.clone(str(self.server.root), 'bob')
        bob.hg('branch', '-q', MARKUP)
        said = f'Bug {"9" * 5000}\n\x01 {MARKUP} backed out changeset {self.nodes[0][:12]}'
        bob.commit(MARKUP, said, '-m', said, '-u', MARKUP, '-d', '12345 0')
        forged = Forged(bob.root)
        forged.change_changeset(lambda text: text.replace(b'\n12345 0', b'\n300000000000 0'))
        answer = self.ask(
            'POST', '/', 'cmd=unbundle', forged.bundle(), HTTP_X_HGARG_1='heads=' + b'force'.hex()
        )
        assert b'headless: stored' in answer.body, answer.body[:1000]
        return forged.head

    def store_gone(self, alice: Any) -> str:
        """Push a draft, and remove it."""
        alice.hg('update', '-q', '0')
        gone: str = alice.commit('gone', None, '-d', '0 0')
        alice.hg('push', '-q', '-f', '-r', gone)
        self.server.hg('admin::headless-obliterate', '-q', '--reason', 'x', gone)
        alice.hg('--config', 'extensions.strip=', 'strip', '-q', '--no-backup', gone)
        return gone

    def all_links(self) -> list[str]:
        """Links to all bundles, as clients get them."""
        settings = self.repo.headless.settings
        keys = [key for (key,) in self.server.sql('SELECT key FROM bundles')]
        return [str(links.link(settings, SimpleNamespace(key=key), '')) for key in keys]

    def sample(self, alice: Any, number: int) -> Forged:
        alice.hg('update', '-q', '-r', random.choice(['0', 'tip', '1']))
        for i in range(number + 1):
            alice.commit(f'f{number}-{i}', f'content {i}\n' * 20, '-d', '0 0')
        return Forged(alice.root)

    def state(self) -> tuple[Any, ...]:
        store = self.server.root / '.hg'
        return (
            self.server.sql('SELECT count(*), max(push_id) FROM pushes'),
            self.server.sql('SELECT count(*) FROM changesets'),
            self.server.sql('SELECT count(*) FROM bookmarks'),
            len(list((store / 'headless' / 'store').rglob('*.hg'))),
            (store / 'store' / '00changelog.i').stat().st_size,
        )

    def ask(self, method: str, path: str, query: str, body: bytes = b'', **headers: str) -> Answer:
        environ = {
            'REQUEST_METHOD': method,
            'SCRIPT_NAME': '',
            'PATH_INFO': path,
            'QUERY_STRING': query,
            'SERVER_NAME': 'localhost',
            'SERVER_PORT': '80',
            'SERVER_PROTOCOL': 'HTTP/1.1',
            'CONTENT_LENGTH': str(len(body)),
            'CONTENT_TYPE': 'application/mercurial-0.1',
            'wsgi.version': (1, 0),
            'wsgi.url_scheme': 'http',
            'wsgi.input': io.BytesIO(body),
            'wsgi.errors': io.StringIO(),
            'wsgi.multithread': False,
            'wsgi.multiprocess': False,
            'wsgi.run_once': False,
            **headers,
        }
        answer = Answer()
        answer.body = b''.join(self.app(environ, answer.start))
        return answer


# --- changed requests


def numbers(data: bytes) -> bytes:
    """With one number of four bytes that is another."""
    if len(data) < 8:
        return data
    at = random.randrange(len(data) - 4)
    value = random.choice(INTERESTING) & 0xFFFFFFFF
    return data[:at] + struct.pack('>I', value) + data[at + 4 :]


def changed(data: bytes) -> bytes:
    """With some bytes that are others, more, fewer, or at another place."""
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        if not data:
            return data
        at = random.randrange(len(data))
        length = random.choice((1, 1, 2, 4, 20, 100))
        kind = random.randrange(6)
        if kind == 0:
            data = data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + length :]
        elif kind == 2:
            data = data[:at] + data[at : at + length] * 2 + data[at + length :]
        elif kind == 3:
            data = data[:at] + random.randbytes(length) + data[at:]
        elif kind == 4:
            data = data[:at]
        else:
            data = numbers(data)
    return data


def packed(body: bytes) -> bytes:
    """A body, compressed in one of the ways that bundle2 knows."""
    if random.random() < 0.95 or body[:8] != b'HG20\0\0\0\0':  # none is taken
        return body
    kind = random.choice((b'GZ', b'BZ', b'ZS', b'XX'))
    parameters = b'Compression=' + kind
    data = body[8:]
    if kind == b'GZ':
        data = zlib.compress(data)
    elif kind in (b'BZ', b'ZS'):
        engine = util.compengines.forbundletype(kind)
        data = b''.join(engine.compressstream(iter([data])))
    return b'HG20' + struct.pack('>i', len(parameters)) + parameters + data


def bare(forged: Forged) -> bytes:
    """The changegroup of a push alone, as clients without bundle2 send it."""
    data = b''.join(forged.chunks())
    kind = random.choice((b'', b'UN', b'GZ', b'BZ', b'XX'))
    if kind == b'GZ':
        data = zlib.compress(data)
    return (b'HG10' + kind if kind else b'') + data


def entries(forged: Forged) -> None:
    """Change entries of a changegroup, and leave its framing right."""
    groups = [forged.changesets, forged.manifests, *forged.files.values()]
    group = random.choice(groups)
    if not group:
        return
    at = random.randrange(len(group))
    entry = group[at]
    kind = random.randrange(8)
    if kind == 0:
        del group[at]
    elif kind == 1:
        group.append(entry)
    elif kind == 2:
        random.shuffle(group)
    elif kind == 3:
        field = random.choice(('node', 'p1', 'p2', 'base', 'link'))
        other = random.choice(random.choice([g for g in groups if g]))
        value = random.choice((bytes(20), b'\xff' * 20, random.randbytes(20), other.node))
        group[at] = entry._replace(**{field: value})
    elif kind == 4:
        group[at] = entry._replace(delta=changed(entry.delta))
    elif kind == 5:
        group[at] = forged.rewrite(entry, changed(entry.delta[12:]))
    elif kind == 6 and group is forged.manifests:
        forged.change_manifest(changed)
    else:
        forged.change_changeset(changed)


def payload(target: Target, kind: bytes) -> bytes:
    """What a part of a kind has in it."""
    nodes = [bytes.fromhex(random.choice(target.nodes)) for _ in range(3)]
    names = [random.choice((b'marked', b'other', b'', b'\xff', b'a' * 300)) for _ in range(2)]
    phase = random.randrange(4)
    marker = (nodes[0], (nodes[1],), 0, ((b'user', b'x'),), (0.0, 0), None)
    made = {
        b'bookmarks': lambda: bookmarks.binaryencode(target.repo, zip(names, nodes)),
        b'check:bookmarks': lambda: bookmarks.binaryencode(target.repo, zip(names, nodes)),
        b'check:heads': lambda: b''.join(nodes),
        b'check:updated-heads': lambda: b''.join(nodes),
        b'check:phases': lambda: phases.binaryencode({phase: nodes}),
        b'phase-heads': lambda: struct.pack('>i20s', phase, nodes[0]),
        b'obsmarkers': lambda: b''.join(obsolete.encodemarkers([marker], True, version=1)),
        b'replycaps': lambda: bundle2.encodecaps({b'HG20': (), b'error': (b'x',) * 3}),
    }
    data = made.get(kind, lambda: random.randbytes(random.choice((0, 30))))()
    return changed(data) if random.random() < 0.5 else data


def key_of(kind: bytes, target: Target) -> tuple[bytes, bytes]:
    """A key of a namespace, and what it is set to."""
    if kind == b'obsolete':
        return b'dump0', util.b85encode(payload(target, b'obsmarkers'))
    return random.choice((b'marked', b'other', some_bytes(target)[:255])), some_bytes(target)[:255]


def a_push(target: Target) -> bytes:
    forged = random.choice(target.samples).copy()
    kind = random.randrange(4)
    if kind < 2:
        for _ in range(random.choice((1, 1, 2, 3))):
            entries(forged)
    if random.random() < 0.1:
        path = random.choice((b'../x', b'.hg/hgrc', b'a\nb', b'', b'/x', b'caf\xe9', b'a' * 300))
        forged.files[path] = next(iter(forged.files.values()))
    parts: list[Any] = []
    if random.random() < 0.4:
        name = random.choice([b'nothing', *received._KNOWN, *bundle2.parthandlermapping])
        data = payload(target, name)
        _handler, params = received._KNOWN.get(name, (None, ()))
        keys = [*params, b'url', b'size', b'digests', b'x']
        given = {k: some_bytes(target)[:255] for k in random.sample(keys, random.randrange(4))}
        if name == b'pushkey' and random.random() < 0.7:
            given = {param: some_bytes(target)[:255] for param in params}
            namespace = random.choice((b'phases', b'bookmarks', b'obsolete', b'other'))
            key, new = key_of(namespace, target)
            given.update({b'namespace': namespace, b'key': key, b'new': new[:255]})
            if random.random() < 0.5:
                given[b'old'] = random.choice((b'', b'1'))
        part = (name, data, given)
        parts += [part] * random.choice((1, 1, 1, 2, 50))
    if random.random() < 0.1:
        return changed(bare(forged)) if kind else bare(forged)
    body = forged.bundle(public=random.random() < 0.2, parts=parts)
    if kind == 2:
        body = changed(body)
    body = packed(body)
    return changed(body) if kind == 3 or random.random() < 0.1 else body


def some_bytes(target: Target) -> bytes:
    return random.choice(
        (
            lambda: random.choice(target.nodes).encode(),
            lambda: random.choice(target.nodes)[: random.randrange(41)].encode(),
            lambda: random.choice((b'tip', b'marked', b'0', b'-1', b'default', b'null', b'f' * 40)),
            lambda: random.choice((b'1', b'2', b'alice', b'stored backed', b'bug 99999', b'now')),
            lambda: b' '.join(random.choice(target.nodes).encode() for _ in range(3)),
            lambda: random.randbytes(random.randrange(40)),
            lambda: b'9' * random.randrange(50),
            lambda: random.choice(ODD),
            lambda: random.choice(
                (b'', b'nan', b'1e400', b'-5', b'now', b"'", b'%', b'caf\xc3\xa9')
            ),
        )
    )()


def a_value(target: Target, name: str) -> bytes:
    """A value of a parameter of a page."""
    if name in VALUES and random.random() < 0.5:
        lines = VALUES[name].strip().splitlines()
        return random.choice(lines).strip().encode()
    return some_bytes(target)


def a_command(target: Target) -> tuple[str, str, str]:
    known = wireprotov1server.commands
    command = random.choice([name.decode() for name in known if name != b'unbundle'])
    names = known[command.encode()].args.decode().split()
    names = [name for name in names if name != '*'] + ANY.get(command, [])
    args = []
    for name in names:
        value = some_bytes(target)
        if name == 'namespace' and random.random() < 0.8:
            value = random.choice((b'phases', b'bookmarks', b'obsolete', b'namespaces'))
        if name in ('heads', 'common', 'nodes') and random.random() < 0.7:
            value = random.choice(target.nodes).encode()
        if name == 'bundlecaps' and random.random() < 0.7:
            value = CAPS + random.choice((b'', b'%0Aremote-changegroup%3Dhttp%2Chttps'))
        if GETBUNDLE_ARGUMENTS.get(name.encode()) == b'boolean' and random.random() < 0.7:
            value = random.choice((b'0', b'1'))
        if name == 'listkeys' and random.random() < 0.7:
            value = b'phases,bookmarks'
        if name == 'firstpush' and random.random() < 0.7:
            value = random.choice((b'0', b'1', b'2', b'-1'))
        if name == 'cmds':
            value = b';'.join(
                random.choice((b'heads ', b'lookup key=', b'known nodes=', b'listkeys namespace='))
                + some_bytes(target)[:200]
                for _ in range(random.randrange(1, 5))
            )
        if not all(32 <= byte < 127 for byte in value):
            continue  # stock's own parser of arguments fails for others
        args.append(f'{name}={quote_from_bytes(value)}')
    return command, '', '&'.join(args)


def a_page(target: Target) -> tuple[str, str]:
    if random.random() < 0.02:
        link = random.choice(target.links)
        link = changed(link.encode()).decode('latin-1') if random.random() < 0.5 else link
        path, _mark, query = link.partition('?')
        return path, query
    pages = [random.choice(STYLES) + name for name in webcommands.__all__] + PAGES.split()
    path = f'/{random.choice(pages)}'
    if random.random() < 0.6:
        path += '/' + some_bytes(target).decode('latin-1')
        if random.random() < 0.5:
            path += '/' + random.choice((MARKUP, 'stored', 'public0', ''))
    names = random.choices(NAMES.split(), k=random.choice((0, 1, 1, 2, 3)))
    given = [(name, a_value(target, name)) for name in names]
    if random.random() < 0.02:
        given += [(random.choice(('node', 'user', 'changeset')), some_bytes(target))] * 101
    if random.random() < 0.5:
        given.append(('style', random.choice(HTML_STYLES)))
    return path, '&'.join(f'{name}={quote_from_bytes(value)}' for name, value in given)


def wrong(request: Any, answer: Answer) -> str | None:
    """What is wrong with a page."""
    method, path, _query, _body = request
    status = answer.status.partition(' ')[0]
    if status >= '500' and status != '503' and answer.status != STOCKS:
        return answer.status
    if 'html' in answer.type and b'<svg' in answer.body:
        return 'markup of somebody'
    if status != '200' or method == 'HEAD':
        return None
    try:
        if 'xml' in answer.type and 'html' not in answer.type and 'raw' not in path:
            ElementTree.fromstring(answer.body)
        if answer.type.startswith('application/json'):
            json.loads(answer.body)
    except (ValueError, ElementTree.ParseError) as exc:
        return f'{answer.type}: {exc}'
    return None


# --- the run


def is_stocks(exc: BaseException) -> bool:
    """Whether an error comes out of Mercurial's own code for what it was asked."""
    frames = traceback.extract_tb(exc.__traceback__)
    ours = [frame for frame in frames if '/hgext_headless/' in frame.filename]
    line = (ours[-1].line or '') if ours else 'orig('
    # Stock reads lists so, and what wraps it has a frame of ours.
    return any(call in line for call in ('orig(', 'super()', 'wireprototypes.decodelist('))


def peak() -> int:
    """The most memory that this process had, in bytes."""
    with open('/proc/self/status') as status:
        line = next(line for line in status if line.startswith('VmHWM'))
    return int(line.split()[1]) * 1024


def run(target: Target, seconds: float) -> Counter[str]:
    counts: Counter[str] = Counter()
    before = target.state()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        kind = random.choice(('push', 'push', 'command', 'page', 'page'))
        if kind == 'push':
            request = ('POST', '/', 'cmd=unbundle', a_push(target))
            heads = random.choice(((b'force',), (b'hashed', bytes(20)), (bytes(20),), ()))
            headers = {'HTTP_X_HGARG_1': 'heads=' + '+'.join(map(bytes.hex, heads))}
        elif kind == 'command':
            command, _, args = a_command(target)
            request = ('GET', '/', f'cmd={command}', b'')
            headers = {'HTTP_X_HGARG_1': args}
        else:
            method = random.choice(('GET', 'GET', 'GET', 'HEAD', 'POST'))
            request, headers = (method, *a_page(target), b''), {}
        if random.random() < 0.1:
            headers = {**headers, **random.choice(HEADERS)}
        started = time.process_time()
        try:
            answer = target.ask(*request, **headers)
        except Exception as exc:
            if not is_stocks(exc) or kind == 'push':
                fail(target, request, headers, ''.join(traceback.format_exception(exc)))
            where = traceback.extract_tb(exc.__traceback__)[-1].name
            counts[f'{kind}: stock fails ({type(exc).__name__} in {where})'] += 1
            continue
        finally:
            took = time.process_time() - started
        after = target.state()
        if took > SLOW:
            fail(target, request, headers, f'took {took:.0f} s')
        if peak() > LARGE:
            fail(target, request, headers, 'took much memory')
        # A client that takes no reply is told a number.
        stored = b'headless: stored' in answer.body or b'pushed before' in answer.body
        stored = stored or answer.body == b'1\n'
        if kind == 'push':
            counts['push: stored' if stored else 'push: refused'] += 1
            if not answer.status.startswith('200') or (
                not stored and answer.body.count(b'headless: ') != 1 and b'HG20' not in answer.body
            ):
                fail(target, request, headers, f'{answer.status} {answer.body[:500]!r}')
            if (
                b'Traceback' in answer.body
                or b'headless: temporary: the push failed' in answer.body
            ):
                fail(target, request, headers, repr(answer.body[:500]))
        else:
            counts[f'{kind}: {answer.status[:3]}'] += 1
            if why := kind == 'page' and wrong(request, answer):
                fail(target, request, headers, f'{why}\n{answer.body[:3000]!r}')
        if after != before and not (kind == 'push' or 'cmd=pushkey' in request[2]):
            fail(target, request, headers, f'{before} {after}')
        if kind == 'push' and not stored and after[:2] != before[:2]:
            fail(target, request, headers, f'{before} {after}')
        before = after
    return counts


def fail(target: Target, request: Any, headers: Any, why: str) -> None:
    method, path, query, body = request
    path_of_body = Path(tempfile.gettempdir()) / f'fuzzed-{os.getpid()}'
    path_of_body.write_bytes(body)
    print(json.dumps({'method': method, 'path': path, 'query': query, 'headers': headers}))
    print(f'body: {path_of_body} ({len(body)} bytes)\n{why}')
    sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=3600)
    parser.add_argument('--seed', type=int)
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.randrange(2**32)
    random.seed(seed)
    print(f'seed {seed}', flush=True)
    with tempfile.TemporaryDirectory() as folder:
        target = Target(Path(folder))
        try:
            counts = run(target, args.seconds)
            target.server.hg('verify', '-q')
            target.server.hg('admin::headless-gc', '--grace', '0s', '-q')
            out = target.server.hg('admin::headless-verify', '--full', code=None)
            if out.code:
                sys.exit(f'verify: {out}')
        finally:
            target.world.stop()
    for what, number in sorted(counts.items()):
        print(f'{number:8} {what}')
    print(f'{peak() >> 20:8} MB of memory at most')


if __name__ == '__main__':
    main()
