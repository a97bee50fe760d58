"""Every block of docs/operating.rst, as it stands and in its order, on machines of a fleet.

Before a block runs, the machines have what an operator has anyway: Postgres, an S3 server, a
certificate. After some of them, users do what the text says they can do now.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import machines
from helpers.documents import ROOT, TEXT, Block, blocks
from helpers.machines import Machine, Network
from helpers.old_pushlog import write as write_old_pushlog

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(machines.missing() is not None, reason=str(machines.missing())),
]

POSTGRES = sorted(Path('/usr/lib/postgresql').glob('*/bin'))
#: What is typed where a block asks for a password.
TYPED = {
    'roles': ['password-of-headless'] * 2 + ['password-of-headless_web'] * 2,
    'web': ['password-of-alice'] * 2,
}
KEYS = {
    'push1': ['Read', 'Write', 'List'],
    'web1': ['Read:hg-drafts', 'List:hg-drafts'],
}


def has_database(db: Machine) -> None:
    """A Postgres on port 5432, as a package of Debian would start it."""
    data = '/var/lib/postgresql/data'
    db.sh('install -d -o postgres /var/lib/postgresql /run/postgresql')
    bin = POSTGRES[-1]
    db.sh(f'{bin}/initdb -D {data} --auth-local peer --auth-host scram-sha-256', 'postgres')
    db.sh(
        f'echo "unix_socket_directories = \'/run/postgresql\'" >> {data}/postgresql.conf',
        'postgres',
    )
    control = f'{bin}/pg_ctl -w -D {data} -l /var/lib/postgresql/log'
    db.write(
        '/usr/local/bin/postgresql', f'#!/bin/sh\nrunuser -u postgres -- {control} $1\n', mode='755'
    )
    db.sh('postgresql start')


def has_store(s3: Machine) -> None:
    """An S3 server on port 8333, with a bucket and a key for each server."""
    identities = [
        {
            'name': name,
            'credentials': [{'accessKey': f'key-of-{name}', 'secretKey': f'secret-of-{name}'}],
            'actions': actions,
        }
        for name, actions in {**KEYS, 'root': ['Admin']}.items()
    ]
    s3.sh('mkdir -p /srv/data')
    s3.write('/srv/s3.json', json.dumps({'identities': identities}))
    weed = os.path.join(os.path.dirname(sys.executable), 'weed')
    s3.begin(
        weed, 'server', '-dir=/srv/data', '-ip=s3', '-ip.bind=0.0.0.0', '-s3', '-s3.port=8333',
        '-s3.config=/srv/s3.json', '-master.telemetry=false', '-volume.max=20',
        '-master.volumeSizeLimitMB=64',
    )  # fmt: skip
    make = (
        'import boto3\n'
        "boto3.client('s3', endpoint_url='http://s3:8333', region_name='us-east-1', "
        "aws_access_key_id='key-of-root', aws_secret_access_key='secret-of-root')"
        ".create_bucket(Bucket='hg-drafts')\n"
    )
    s3.write('/srv/make.py', make)
    s3.wait_for(f'{sys.executable} /srv/make.py', 120)


def has_web_server(one: Machine, folder: Path) -> None:
    """nginx without sites, and a certificate that all clients trust."""
    key, certificate = folder / f'{one.name}.key', folder / f'{one.name}.pem'
    subprocess.run(
        [
            'openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj',
            f'/CN={one.name}', '-addext', f'subjectAltName=DNS:{one.name}', '-keyout', key, '-out',
            certificate,
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    one.sh('mkdir -p /etc/nginx/conf.d')
    one.write('/etc/nginx/hg.pem', certificate.read_text())
    one.write('/etc/nginx/hg.key', key.read_text(), mode='600')
    one.sh('rm -f /etc/nginx/conf.d/* /etc/nginx/sites-enabled/*; install -d /var/log/nginx')
    one.sh('nginx')


@pytest.fixture(scope='module')
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Machine]]:
    folder = tmp_path_factory.mktemp('fleet')
    with Network(folder, 'db', 's3', 'push1', 'push2', 'web1', 'laptop', 'db2') as found:
        _checkout(folder / 'opt' / 'checkout')
        has_database(found['db'])
        has_store(found['s3'])
        stub = (ROOT / 'tests' / 'helpers' / 'systemctl.py').read_text()
        for name in ('db', 'push1', 'push2', 'web1'):
            found[name].write('/usr/local/bin/systemctl', stub, mode='755')
        with_web = ('push1', 'push2', 'web1')
        for name in with_web:
            has_web_server(found[name], folder)
        trusted = ''.join((folder / f'{name}.pem').read_text() for name in with_web)
        for one in found.values():
            one.sh('cat >> /etc/ssl/certs/ca-certificates.crt', text=trusted)
        yield found


def _checkout(to: Path) -> None:
    """A copy of what git has of this project, to which an installation may write."""
    listed = subprocess.run(
        ['git', '-C', str(ROOT), 'ls-files', '-co', '--exclude-standard'],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith('tests/'):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)


def has_standby(fleet: dict[str, Machine]) -> None:
    """An asynchronous one of the database; then its primary is gone."""
    db, db2 = fleet['db'], fleet['db2']
    data = '/var/lib/postgresql/data'
    db.sh(f'echo "host replication all 10.77.0.0/24 trust" >> {data}/pg_hba.conf', 'postgres')
    db.sh("psql -c 'SELECT pg_reload_conf()'", 'postgres')
    db2.sh('install -d -o postgres /var/lib/postgresql /run/postgresql')
    bin = POSTGRES[-1]
    db2.sh(f'{bin}/pg_basebackup -h db -U postgres -D {data} -R -X stream -c fast', 'postgres')
    db2.sh(f'{bin}/pg_ctl -w -D {data} -l /var/lib/postgresql/log start', 'postgres')
    db.sh(f'{bin}/pg_ctl -m immediate -D {data} stop', 'postgres')
    for one in fleet.values():
        one.sh("sed -i 's/^.* db$/'$(getent hosts db2 | cut -d' ' -f1)' db/' /etc/hosts")


def has_old_repository(fleet: dict[str, Machine]) -> None:
    """With three drafts, and the pushlog of an older extension."""
    push1 = fleet['push1']
    push1.sh(
        'hg init /srv/hg/old; cd /srv/hg/old; export HGUSER=old\n'
        'echo p > p; hg commit -qAm public; hg phase --public .\n'
        'for name in a b c; do hg update -q 0; echo $name > $name; hg commit -qAm $name; done\n'
        'printf "[phases]\npublish = no\n" > .hg/hgrc',
        'hg',
    )
    nodes = push1.sh("hg -R /srv/hg/old log -r 'sort(all(), rev)' -T '{node}\n'", 'hg').split()
    old = f'/proc/{push1.pid}/root/srv/hg/old/.hg/pushlog2.db'
    pushes = [(id, f'user{id}', 1790000000, [node]) for id, node in enumerate(nodes, 1)]
    # SQLite resolves links of /proc.
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(write_old_pushlog(Path(folder, 'pushlog2.db'), pushes), old)


def loses_its_repository(fleet: dict[str, Machine]) -> None:
    fleet['push1'].sh('rm -r /srv/hg/try/.hg/store')


OLD_ENTRY = '/srv/hg/cache/' + 'ab' * 32


def has_an_old_cache(fleet: dict[str, Machine]) -> None:
    push1 = fleet['push1']
    push1.sh(f"mkdir -p /srv/hg/cache; touch -d '60 days ago' {OLD_ENTRY}", 'hg')


#: What happens before a block.
BEFORE: dict[str, Callable[[dict[str, Machine]], None]] = {
    'housekeeping': has_an_old_cache,
    'restore-repository': loses_its_repository,
    'promote': has_standby,
    'import': has_old_repository,
}


class Laptop:
    """Of a user with stock hg, who pushes to push1 and pulls from any server."""

    def __init__(self, fleet: dict[str, Machine]) -> None:
        self._machine = fleet['laptop']

    def sh(self, script: str) -> str:
        return self._machine.sh(
            'PATH=/opt/hg/bin:$PATH; export HGUSER=alice HGPLAIN=1 HGRCPATH=/dev/null\n'
            f'push() {{ hg push "$@" https://alice:password-of-alice@${{TO:-push1}}/; }}\n{script}'
        )

    def push(self, name: str, *, is_public: bool = False) -> tuple[str, int]:
        """Node and push id of a new changeset, on the tip of public history."""
        phase = 'hg phase --public .' if is_public else ''
        out = self.sh(
            'hg clone -q https://push1/ /tmp/clone 2>/dev/null || hg pull -q -R /tmp/clone\n'
            'cd /tmp/clone; hg update -q "max(public())" || hg update -q null\n'
            f'mkdir -p $(dirname {name}); echo {name} > {name}; hg commit -qAm {name}; {phase}\n'
            'push -f -r .; hg log -r . -T "node {node}\\n"'
        )
        node, number = re.search('node ([0-9a-f]+)', out), re.search('as push ([0-9]+)', out)
        assert node and number, out
        return node.group(1), int(number.group(1))

    def pull(self, node: str, server: str = 'web1') -> None:
        self._machine.wait_for(
            'export HGRCPATH=/dev/null; rm -rf /tmp/pulled; '
            f'/opt/hg/bin/hg clone -q https://{server}/ /tmp/pulled -r {node}'
        )


class Life:
    """What users do between the blocks, and find."""

    def __init__(self, fleet: dict[str, Machine]) -> None:
        self.fleet = fleet
        self.laptop = Laptop(fleet)
        self.pushed: list[str] = []
        self.last = 0

    def push(self, name: str, *, is_public: bool = False) -> None:
        node, number = self.laptop.push(name, is_public=is_public)
        assert number > self.last
        self.last = number
        self.pushed.append(node)
        self.laptop.pull(node, 'push1')

    def everything_is_there(self) -> None:
        for node in self.pushed:
            self.laptop.pull(node)

    def ssh(self) -> None:
        """A push by the key of authorized_keys, without sshd."""
        stub = (
            '#!/bin/sh\n'
            "command=$(sed -n 's/^.*command=\"\\(.*\\)\" ssh.*/\\1/p' ~hg/.ssh/authorized_keys)\n"
            'exec runuser -u hg -- env -i HOME=/var/lib/hg PATH=/usr/local/bin:/usr/bin:/bin'
            ' sh -c "$command"\n'
        )
        push1 = self.fleet['push1']
        push1.write('/usr/local/bin/stub-ssh', stub, mode='755')
        out = push1.sh(
            'export HGUSER=alice HGPLAIN=1 HGRCPATH=/dev/null\n'
            'hg clone -q -e stub-ssh ssh://hg@push1//srv/hg/try /tmp/ssh; cd /tmp/ssh\n'
            'echo s > s; hg commit -qAm s; hg phase --public .\n'
            'hg push -e stub-ssh; hg log -r . -T "node {node}"'
        )
        assert 'as push 1' in out
        self.pushed.append(out.rpartition('node ')[2])
        # A draft, which comes without hgweb.
        out = push1.sh(
            'export HGUSER=alice HGPLAIN=1 HGRCPATH=/dev/null\n'
            'cd /tmp/ssh; echo d > d; hg commit -qAm d; hg push -e stub-ssh\n'
            'node=$(hg log -r . -T {node})\n'
            'hg clone -q -e stub-ssh ssh://hg@push1//srv/hg/try /tmp/draft -r $node\n'
            'echo node $node'
        )
        assert 'as push 2' in out
        self.pushed.append(out.rpartition('node ')[2].strip())
        self.last = 2

    def web(self) -> None:
        self.push('web')
        assert '"alice"' in self.laptop.sh('curl -sf https://push1/json-pushes')
        # Nobody but nginx says who pushes.
        self.fleet['push1'].sh('curl -s --unix-socket /run/hgweb.sock http://push1/', 'hg', code=7)

    def reloads(self) -> None:
        """A reload with an hgrc that is not trusted leaves the workers alone."""
        push1 = self.fleet['push1']
        push1.sh('chown root /srv/hg/try/.hg/hgrc')
        push1.sh('systemctl reload hgweb', code=1)
        push1.sh('chown hg /srv/hg/try/.hg/hgrc')
        push1.wait_for('curl -sf https://push1/json-pushes')
        push1.sh('systemctl reload hgweb')
        for name in ('push1', 'web1'):
            self.fleet[name].wait_for(f"curl -sf https://{name}/pushloghtml | grep -q '>results<'")

    def replica(self) -> None:
        self.push('folder/public', is_public=True)
        self.is_a_groups()
        self.bookmark('stays')
        self.bookmark('goes')
        self.push('draft')
        self.everything_is_there()
        out = self.laptop.sh('cd /tmp/clone; hg push -f https://alice:x@web1/ 2>&1 || true')
        assert 'authorization failed' in out, out

    def is_a_groups(self) -> None:
        """What hgweb has written, the accounts of a group may write to."""
        store = '/srv/hg/try/.hg/store'
        assert 'data/folder' in self.fleet['push1'].sh(f'find {store} -type d')
        others = '( -type d ! -perm -2770 -o -type f ! -perm -660 -o ! -group hgpush )'
        assert self.fleet['push1'].run('find', store, *others.split()).stdout == ''

    def bookmark(self, name: str, option: str = '-r.') -> None:
        """Push a bookmark of public history, or that it was deleted."""
        self.laptop.sh(
            f'cd /tmp/clone; hg bookmark {option} {name}; push -B {name} && exit 1; test $? = 1'
        )

    def second(self) -> None:
        """A second push server has the blocks of push1 so far, but a clone, and its own address."""
        found = {block.name: block for block in blocks()}
        for name in list(found)[: list(found).index('doctor-web')]:
            if 'push1' in found[name].machines:
                block = found['clone' if name == 'repository' else name]
                if name in ('link-base', 'web'):
                    block = block._replace(text=block.text.replace('//push1/', '//push2/'))
                run(self.fleet, block._replace(machines=('push2',)))
        out = self.laptop.sh(
            'cd /tmp/clone; echo second > second; hg commit -qAm second; hg phase --public .\n'
            'TO=push2 push -r .; hg log -r . -T "node {node}"'
        )
        self.pushed.append(out.rpartition('node ')[2])
        self.last += 1
        assert f'https://push2/push/{self.last}' in out
        self.laptop.pull(self.pushed[-1], 'push1')
        self.fleet['push2'].sh('systemctl stop hgweb headless-follow')

    def kept_house(self) -> None:
        self.fleet['push1'].sh(f'test ! -e {OLD_ENTRY}')

    def announced(self) -> None:
        self.push('announced')
        self.fleet['push1'].wait_for(f'grep -q {self.pushed[-1]} /srv/hg/pushes.log')

    def after_the_backup(self) -> None:
        self.bookmark('goes', '--delete')
        [backup] = [block for block in blocks() if block.name == 'backup']
        run(self.fleet, backup)  # the next night
        kept = self.fleet['push1'].sh('hg -R /srv/hg/try.backup bookmarks', 'hg')
        assert 'stays' in kept and 'goes' not in kept
        self.push('later')
        self.push('later-public', is_public=True)
        self.laptop.pull(self.pushed[-1])

    def restored(self) -> None:
        before = self.last
        self.everything_is_there()
        self.push('restored', is_public=True)
        assert self.last >= 1_000_000 > before
        self.everything_is_there()

    def promoted(self) -> None:
        self.fleet['push1'].wait_for('curl -sf https://push1/headless-ready', 120)
        self.push('promoted')
        self.laptop.pull(self.pushed[-1])

    def switched(self) -> None:
        for name in ('push1', 'web1'):
            self.fleet[name].wait_for(f'curl -sf https://{name}/headless-ready')
        self.push('switched')
        self.everything_is_there()

    def exported(self) -> None:
        push1 = self.fleet['push1']
        push1.sh('hg -R /srv/hg/ordinary verify -q', 'hg')
        phases = push1.sh("hg -R /srv/hg/ordinary log -T '{phase}\n'", 'hg').split()
        assert len(phases) == len(self.pushed) and set(phases) == {'public', 'draft'}

    def moved_out(self) -> None:
        self.fleet['push1'].sh('hg -R /srv/hg/try verify -q', 'hg')


#: What users do after a block.
AFTER = {
    'authorized-keys': Life.ssh,
    'web': Life.web,
    'reload': Life.reloads,
    'serve-web': Life.replica,
    'doctor-web': Life.second,
    'housekeeping': Life.kept_house,
    'announce-service': Life.announced,
    'backup': Life.after_the_backup,
    'restart-replica': Life.restored,
    'promote': Life.promoted,
    'switch': Life.switched,
    'contract': Life.switched,
    'switch-back': Life.switched,
    'export': Life.exported,
    'remove-requirement': Life.moved_out,
}
#: What may exit with 1: objects that verify names are older than ten minutes.
MAY_FAIL = ('restore-verify',)


def test_every_block_says_where() -> None:
    names = [block.name for block in blocks()]
    assert len(names) == len(set(names)) == TEXT.count('.. code-block:: ') > 40
    assert {*BEFORE, *AFTER, *TYPED, *MAY_FAIL} <= set(names)


def test_blocks_can_be_pasted() -> None:
    """Into a shell, with their indentation in the document."""
    for block in blocks():
        if not block.path:
            assert '<<' not in block.text and 'set -e' not in block.text, block.name


def test_blocks(fleet: dict[str, Machine]) -> None:
    life = Life(fleet)
    for block in blocks():
        began = time.monotonic()
        if block.name in BEFORE:
            BEFORE[block.name](fleet)
        run(fleet, block)
        if block.name in AFTER:
            AFTER[block.name](life)
        print(f'--- {block.name}: {time.monotonic() - began:.1f} s')


def run(fleet: dict[str, Machine], block: Block) -> None:
    for name in block.machines:
        machine = fleet[name]
        if block.path:
            if block.is_added:
                machine.sh(f'cat >> {block.path}', block.user, text=block.text)
            else:
                machine.write(block.path, block.text, block.user, block.mode)
            continue
        text = f'cd /opt/checkout\n{block.text}' if block.in_checkout else block.text
        if block.name in TYPED:
            machine.sh_with_passwords(text, block.user, TYPED[block.name])
        else:
            if block.name in MAY_FAIL:
                text = f'{text.rstrip()} || test $? = 1\n'
            print(machine.sh(text, block.user, is_online='pip install' in text))
