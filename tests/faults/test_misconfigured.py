"""Settings, schemas and packages with which a server cannot work: said at once, by name."""

from __future__ import annotations

import os
import re
import shutil

import pytest
from helpers.lying import failed_push


def test_missing_schema(world, make_server):
    server = make_server('embedded')
    database = world.folder / 'other.sqlite'
    server.configure(f'database = sqlite:///{database}\nlink-secret = s\n')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    line = failed_push(server, alice, 'misconfigured')
    assert 'hg admin::headless-init" or, if it had one, see "Restore" in' in line
    server.hg_fast('admin::headless-init')
    assert 'as push 1' in alice.hg_fast('push')
    assert 'up to date' in server.hg_fast('admin::headless-init')


def test_newer_schema(world, make_server):
    server = make_server('embedded')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    alice.hg_fast('push')
    server.sql("UPDATE alembic_version SET version_num = '9999'")
    alice.commit('b')
    assert 'newer (9999)' in failed_push(server, alice, 'misconfigured')


@pytest.mark.slow
def test_missing_package(world, make_server):
    """Fail closed: what can't be imported does not let a draft in."""
    server = make_server('embedded')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    fake = world.folder / 'fake'
    fake.mkdir()
    (fake / 'sqlalchemy.py').write_text('raise ImportError("no sqlalchemy here")\n')
    world.env['PYTHONPATH'] = str(fake)
    assert 'no sqlalchemy here' in failed_push(server, alice, 'misconfigured')


WRONG = [
    ('public', 'maybe'),
    ('max-push-size', 'huge'),
    ('max-push-size', '0'),
    ('max-push-size', '6 GB\nstore = s3://drafts'),
    ('link-ttl', '604801'),
    ('link-ttl', 'x'),
    ('inline', 'sometimes'),
    ('database', 'postgresql://x/y'),
    ('store', 'ftp://x'),
    ('repository', 'a/b'),
    ('bundle-url', 'ftp://x'),
    ('link-base', 'https://h/' + 'x' * 200),
]


@pytest.mark.slow
def test_wrong_item(world, make_server):
    server = make_server('embedded')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    for item, value in WRONG:
        server.configure(f'{item} = {value}\n')
        (line,) = server.hg_fast('log', code=255).splitlines()
        assert f'headless.{item}' in line
        assert item in alice.hg_fast('push', code=255)
    server.configure('')
    assert server.changesets() == 3


def test_misspelt_item(world, make_server):
    """A push is not acknowledged by a server whose settings are not what its operator wrote."""
    server = make_server('embedded', settings='public:why = trees are closed\n')
    shutil.rmtree(server.root / '.hg' / 'headless')
    alice = world.clone(server.url('ssh'), 'alice')
    alice.commit('a')
    server.configure('databse = postgresql+psycopg2://x@127.0.0.1:1/x\n')
    line = 'headless: misconfigured: headless.databse is not a setting'
    assert line in failed_push(server, alice, 'misconfigured')
    for command in ('init', 'doctor'):
        out = server.hg_fast(f'admin::headless-{command}', code=255)
        assert line in out and out.count('\n') == 1, out
    assert not (server.root / '.hg' / 'headless').exists()


def test_store_without_its_folder(world, make_server):
    """A push must not make the folder of a disk that is not mounted."""
    server = make_server('embedded')
    disk = world.folder / 'disk'
    disk.mkdir()
    server.configure(f'store = file://{disk}/drafts\n')
    alice = world.clone(server.url('http'), 'alice')
    draft = alice.commit('a')
    line = f'the folder {disk}/drafts of headless.store does not exist'
    assert line in failed_push(server, alice, 'misconfigured')
    server.hg_fast('admin::headless-init')
    assert 'as push 1' in alice.hg_fast('push')
    (disk / 'drafts').rename(world.folder / 'elsewhere')
    alice.commit('b')
    assert line in failed_push(server, alice, 'misconfigured')
    for command in ('init', 'doctor', 'gc'):
        assert line in server.hg_fast(f'admin::headless-{command}', code=None), command
    bob = world.clone(server.url('path'), 'bob')
    assert line in bob.hg_fast('pull', '-r', draft, code=255)
    assert list(disk.iterdir()) == []
    (world.folder / 'elsewhere').rename(disk / 'drafts')
    assert 'as push 2' in alice.hg_fast('push')


def test_defaults_that_are_lost(world, make_server):
    """A push makes neither the database nor the folder anew beside what is left of the two."""
    server = make_server('embedded')
    alice = world.clone(server.url('http'), 'alice')
    alice.commit('a')
    assert 'as push 1' in alice.hg_fast('push')
    home = server.root / '.hg' / 'headless'
    for kind, text in (
        ('store', f'the folder {home}/store of headless.store does not exist'),
        (
            'catalog.sqlite',
            'headless.database is not set, and the embedded database is missing',
        ),
    ):
        server.stop()
        moved = {path: world.folder / path.name for path in home.glob(f'{kind}*')}
        for path, aside in moved.items():
            path.rename(aside)
        alice.commit(f'without {kind}')
        server.start()
        for transport in ('http', 'ssh'):
            out = alice.hg_fast('push', server.url(transport), code=255)
            assert f'headless: misconfigured: {text}' in out
        assert not list(home.glob(f'{kind}*'))
        server.stop()
        for path, aside in moved.items():
            aside.rename(path)
    assert 'stored 2 changesets as push 2' in alice.hg_fast('push', server.url('ssh'))
    shutil.rmtree(home)
    alice.commit('anew')
    assert f'misconfigured: {text}' in alice.hg_fast('push', server.url('ssh'), code=255)
    assert not home.exists()
    assert 'run "hg admin::headless-restored"' in server.hg_fast('admin::headless-init')
    assert 'as push 1' in alice.hg_fast('push', server.url('ssh'))


def test_setting_of_the_database_is_lost(world, make_server):
    """No push goes into an embedded one, and the operators' commands say it."""
    server = make_server('services')
    alice = world.clone(server.url('http'), 'alice')
    alice.commit('a')
    assert 'as push 1' in alice.hg_fast('push')
    server.stop()
    hgrc = server.root / '.hg' / 'hgrc'
    kept = hgrc.read_text()
    hgrc.write_text(re.sub('^database = .*', '', kept, flags=re.MULTILINE))
    server.start()
    alice.commit('b')
    line = 'misconfigured: headless.database is not set'
    for transport in ('http', 'ssh'):
        assert line in alice.hg_fast('push', server.url(transport), code=255)
    for command in ('doctor', 'gc', 'expire --older-than 1', 'verify', 'stats'):
        assert line in server.hg_fast(*f'admin::headless-{command}'.split(), code=None), command
    assert not list((server.root / '.hg').glob('headless/catalog*'))
    server.stop()
    hgrc.write_text(kept)
    server.start()
    assert 'as push 2' in alice.hg_fast('push', server.url('http'))


@pytest.mark.parametrize('requirement', ['lfs', 'treemanifest'])
def test_repositories_that_cannot_be(world, make_server, requirement):
    server = make_server('embedded', public=0)
    with open(server.root / '.hg' / 'requires', 'a') as requires:
        requires.write(f'{requirement}\n')
    with open(server.root / '.hg' / 'hgrc', 'a') as hgrc:
        hgrc.write('[extensions]\nlfs =\n')
    out = server.hg_fast('log', code=255)
    assert f'requirement "{requirement}"' in out


@pytest.mark.parametrize('item', ['link-base', pytest.param('bundle-url', marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    'url',
    [
        'http://exa mple.com/',
        'http://example.com/\x07',
        'http://example.com/caf\u00e9',
        'http://user@example.com/',
        'http://user:geheim@example.com/',
        'http://example.com:99999/',
        'http://example.com:port/',
        'https://[::1/x',
        'http://:80/',
        'ftp://example.com/',
        '/relative',
    ],
)
def test_urls(world, make_server, item, url):
    """A setting that cannot work is told at once, by its name."""
    server = make_server('embedded', settings=f'{item} = {url}\n')
    out = server.hg_fast('log', '-r', 'tip', code=255)
    assert out.count('\n') == 1 and f'headless: misconfigured: headless.{item} ' in out, out
    assert 'geheim' not in out


@pytest.mark.parametrize('package', ['boto3', 'psycopg2', 'sqlalchemy'])
def test_package_that_is_missing_at_the_start(world, make_server, tmp_path, package):
    """Said when a server starts, and not to whoever pushes first."""
    server = make_server(
        settings='database = postgresql+psycopg2://x@127.0.0.1:1/x\nstore = s3://bucket\n'
        'link-secret = x\n'
    )
    (tmp_path / 'sitecustomize.py').write_text(f"import sys\nsys.modules['{package}'] = None\n")
    path = os.pathsep.join([str(tmp_path), world.env.get('PYTHONPATH', '')])
    out = server.hg('serve', '--port', '0', '--daemon', env={'PYTHONPATH': path}, code=255)
    line = f'abort: headless: misconfigured: the package {package} is missing on this server\n'
    assert out.endswith(line), out
