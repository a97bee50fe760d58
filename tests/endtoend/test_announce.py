"""Pushes are announced, at least once, in order: ``admin::headless-announce``."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time

import pytest
import sqlalchemy
from helpers.consumer import Consumer
from helpers.old_pushlog import write
from helpers.web import fetch_json
from helpers.world import HG

ANNOUNCE = 'admin::headless-announce'


@pytest.fixture
def consumer():
    made = Consumer(b'a key')
    yield made
    made.stop()
    assert made.wrong == []


@pytest.fixture
def server(make_server, backend, consumer, tmp_path):
    made = make_server(backend)
    announce_to(
        made, f'ci = {consumer.url}\nci:secret = a key\nlog = | cat >> {tmp_path}/lines\n'
    )
    made.hg(ANNOUNCE)  # the targets are new: they are told of what comes
    return made


def announce_to(server, lines: str) -> None:
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write(f'[headless-announce]\n{lines}')


def listed(server) -> dict[str, dict]:
    return {t['target']: t for t in json.loads(server.hg(ANNOUNCE, '--list', '-T', 'json'))}


def push(world, server, *names: str) -> None:
    clone = world.clone(server.url('path'), f'clone-{names[0]}')
    for name in names:
        clone.commit(name)
        clone.hg_fast('push')


def test_told_as_json_pushes_has_it(world, server, consumer, tmp_path):
    push(world, server, 'a', 'b')
    server.hg(ANNOUNCE)
    assert consumer.order == [1, 2]
    answer = fetch_json(server.url('http') + 'json-pushes?version=2&full=1&startID=0')
    assert {str(i): p for i, p in consumer.pushes.items()} == answer['pushes']
    lines = [json.loads(line) for line in (tmp_path / 'lines').read_text().splitlines()]
    assert [list(line['pushes']) for line in lines] == [['1'], ['2']]
    assert {line['epoch'] for line in lines} == {answer['epoch']}
    server.hg(ANNOUNCE)
    assert consumer.order == [1, 2]


@pytest.mark.slow
def test_who_does_not_take_it(world, server, consumer, tmp_path):
    """It is tried again, later each time; the others are told meanwhile, and all is visible."""
    for status in (500, 302):
        consumer.status = status
        push(world, server, f'a{status}')
        out = server.hg(ANNOUNCE, code=1)
        assert f'ci: push 1 was not delivered: it answered {status}' in out
        time.sleep(1.1)
    assert (tmp_path / 'lines').read_text().count('\n') == 2
    found = listed(server)
    assert found['ci']['push'] == 0 and found['ci']['behind'] == 2
    assert found['ci']['failures'] == 2 and found['ci']['error'] == 'it answered 302'
    assert found['log']['behind'] == 0
    assert 'ci: 2 pushes after push 0 to come; failed 2 times: ' in server.hg(ANNOUNCE, '--list')
    consumer.status = 200
    time.sleep(1.1)
    server.hg(ANNOUNCE)
    assert consumer.order == [1, 2]
    assert listed(server)['ci']['failures'] == 0


@pytest.mark.slow
def test_list_counts_pushes(world, make_server, consumer):
    """Ids have gaps where an older pushlog had them, and nobody was told before the first run."""
    server = make_server('embedded')
    announce_to(server, f'ci = {consumer.url}\nci:secret = a key\n')
    assert server.hg(ANNOUNCE, '--list') == 'ci: new; the first run begins with the next push\n'
    server.hg(ANNOUNCE)
    write(world.folder / 'older.db', [(5_000_000, b'alice', 1_500_000_000, ['ab' * 20])])
    server.hg_fast('admin::headless-import-pushlog', world.folder / 'older.db')
    push(world, server, 'a')
    assert server.hg(ANNOUNCE, '--list') == 'ci: 2 pushes after push 0 to come\n'
    assert listed(server)['ci']['behind'] == 2
    server.hg(ANNOUNCE)
    assert consumer.order == [5_000_000, 5_000_001]
    server.configure('')
    assert '; not configured here: see' in server.hg(ANNOUNCE, '--list')


@pytest.mark.slow
def test_from(world, server, consumer, tmp_path):
    """A consumer that has lost what it was told is told again, and nobody else is."""
    push(world, server, 'a', 'b', 'c')
    server.hg(ANNOUNCE)
    server.hg(ANNOUNCE, '--from', '2', 'ci')
    assert consumer.order == [1, 2, 3, 2, 3]
    assert (tmp_path / 'lines').read_text().count('\n') == 3
    for args, words in (
        (('--from', '2'), '--from needs the name of a target'),
        (('--from', 'x', 'ci'), '--from takes the id of a push'),
        (('--from', '5', 'ci'), 'there is no push 5: the last one is 3'),
        (('other',), 'no target "other" in [headless-announce]'),
    ):
        assert words in server.hg(ANNOUNCE, *args, code=255)
    server.hg(ANNOUNCE, '--from', '4', 'ci')
    assert consumer.order == [1, 2, 3, 2, 3]


@pytest.mark.slow
def test_an_announcer_that_stalled(world, make_server, consumer):
    """It wakes after another one has taken over: it stops, and moves no cursor back."""
    server = make_server('services')
    announce_to(server, f'ci = {consumer.url}\nci:secret = a key\n')
    server.hg(ANNOUNCE)
    push(world, server, 'a', 'b', 'c', 'd')
    consumer.hold.set()
    stalled = subprocess.Popen(
        [HG, '-R', server.root, ANNOUNCE],
        env=server.world.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert consumer.held.wait(60)
        stalled.send_signal(signal.SIGSTOP)
        # As if a minute had passed, and this announcer were on another machine.
        engine = sqlalchemy.create_engine(server.configured('database'))
        with engine.begin() as connection:
            taken = sqlalchemy.text("UPDATE leases SET until = 0, owner = 'elsewhere 1 x'")
            assert connection.execute(taken).rowcount == 1
        engine.dispose()
        consumer.hold.clear()
        server.hg(ANNOUNCE)
        assert listed(server)['ci']['push'] == 4
        stalled.send_signal(signal.SIGCONT)
        out = stalled.communicate(timeout=60)[0]
    finally:
        stalled.kill()
        stalled.wait()
    assert 'another process has taken over' in out
    assert stalled.returncode == 1
    # The one that it was telling when it stalled was told twice, and none after it.
    assert consumer.order == [1, 1, 2, 3, 4]
    assert listed(server)['ci']['push'] == 4


@pytest.mark.slow
def test_command_that_fails(world, make_server, tmp_path):
    server = make_server('embedded')
    announce_to(server, f'log = | cat >> {tmp_path}/lines; test -e {tmp_path}/good\n')
    server.hg(ANNOUNCE)
    push(world, server, 'a', 'b')
    assert 'it ended with exit code 1' in server.hg(ANNOUNCE, code=1)
    (tmp_path / 'good').touch()
    time.sleep(1.1)
    server.hg(ANNOUNCE)
    # At least once.
    assert (tmp_path / 'lines').read_text().count('\n') == 4
    assert listed(server)['log']['push'] == 2


@pytest.mark.parametrize(
    ('lines', 'text'),
    [
        ('', 'no targets in [headless-announce]'),
        ('x = ftp://example.com/\n', 'headless-announce.x is neither an http or https URL'),
        ('x = |\n', 'headless-announce.x is neither'),
        ('x = http://e/\nx:sekret = y\n', 'headless-announce.x:sekret is unknown'),
        ('a b = http://e/\n', 'headless-announce.a b: the name'),
    ],
)
def test_wrong_items(make_server, lines, text):
    server = make_server('embedded')
    announce_to(server, lines)
    out = server.hg(ANNOUNCE, code=255)
    assert text in out and out.count('\n') == 1


def test_database_that_is_down(make_server, consumer):
    """That nobody was told is no success."""
    server = make_server('services')
    announce_to(server, f'ci = {consumer.url}\n')
    hgrc = server.root / '.hg' / 'hgrc'
    down = 'database = postgresql+psycopg2://x@127.0.0.1:1/y'
    hgrc.write_text(re.sub('^database = .*', down, hgrc.read_text(), flags=re.M))
    assert 'headless: temporary' in server.hg(ANNOUNCE, code=1)


@pytest.mark.slow
def test_watch(world, make_server, consumer):
    """Each push is told at once, and none twice by two; killed at any moment, it goes on."""
    server = make_server('services')
    announce_to(server, f'ci = {consumer.url}\nci:secret = a key\n')
    server.hg(ANNOUNCE)
    watching = [watch(server), watch(server)]
    try:
        for number in range(1, 4):
            push(world, server, f'file{number}')
            wait_for(consumer, number)
            for process in watching:
                process.send_signal(signal.SIGKILL)
                process.wait()
            watching = [watch(server), watch(server)]
        push(world, server, 'file4')
        wait_for(consumer, 4)
        for process in watching:
            process.terminate()
            assert process.wait(timeout=20) == 255  # as each hg command
    finally:
        for process in watching:
            process.kill()
            process.wait()
    assert list(consumer.pushes) == [1, 2, 3, 4]


def watch(server) -> subprocess.Popen[bytes]:
    return subprocess.Popen([HG, '-R', server.root, ANNOUNCE, '--watch'], env=server.world.env)


def wait_for(consumer: Consumer, push_id: int) -> None:
    # A lease of a process that was killed on this machine is free at once.
    deadline = time.monotonic() + 90
    while push_id not in consumer.pushes:
        assert time.monotonic() < deadline
        time.sleep(0.05)
