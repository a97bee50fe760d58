"""Credentials for S3 that botocore gets from other services than S3, from stand-ins for these."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from botocore.credentials import SSOProvider

from hgext_headless.store import s3

_END = '2099-01-01T00:00:00Z'
_FIELDS = {
    'AccessKeyId': 'lent', 'SecretAccessKey': 's', 'SessionToken': 'token', 'Expiration': _END
}  # fmt: skip


class _Services(BaseHTTPRequestHandler):
    """Lends the same credentials to everybody, as STS and as the portal of SSO."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers['Content-Length'])).decode()
        action = dict(pair.split('=') for pair in body.split('&'))['Action']
        fields = ''.join(f'<{name}>{text}</{name}>' for name, text in _FIELDS.items())
        self._answer(
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f'<{action}Result><Credentials>{fields}</Credentials></{action}Result>'
            f'</{action}Response>'
        )

    def do_GET(self) -> None:
        lent = {name[0].lower() + name[1:]: text for name, text in _FIELDS.items()}
        self._answer(json.dumps({'roleCredentials': {**lent, 'expiration': 4_070_908_800_000}}))

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def lender() -> Iterator[str]:
    server = ThreadingHTTPServer(('127.0.0.1', 0), _Services)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize('source', ['web identity', 'role', 'sso'])
def test_lent_credentials(tmp_path: Path, monkeypatch, lender: str, source: str) -> None:
    """The loader of the S3 client finds the services that lend them."""
    for name in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('AWS_ENDPOINT_URL_STS', lender)
    monkeypatch.setenv('AWS_ENDPOINT_URL_SSO', lender)
    monkeypatch.setenv('AWS_SHARED_CREDENTIALS_FILE', '/dev/null')
    settings = tmp_path / 'config'
    monkeypatch.setenv('AWS_CONFIG_FILE', str(settings))
    if source == 'web identity':
        token = tmp_path / 'token'
        token.write_text('of the pod')
        monkeypatch.setenv('AWS_WEB_IDENTITY_TOKEN_FILE', str(token))
        monkeypatch.setenv('AWS_ROLE_ARN', 'arn:aws:iam::123456789012:role/headless')
    elif source == 'role':
        settings.write_text(
            '[default]\nrole_arn = arn:aws:iam::123456789012:role/headless\n'
            'source_profile = base\n'
            '[profile base]\naws_access_key_id = a\naws_secret_access_key = b\n'
        )
    else:
        start = 'https://example.awsapps.com/start'
        settings.write_text(
            f'[default]\nsso_start_url = {start}\nsso_region = us-east-1\n'
            'sso_account_id = 123456789012\nsso_role_name = headless\n'
        )
        monkeypatch.setattr(SSOProvider, '_SSO_TOKEN_CACHE_DIR', str(tmp_path))
        name = hashlib.sha1(start.encode()).hexdigest()
        (tmp_path / f'{name}.json').write_text(
            json.dumps({'accessToken': 't', 'expiresAt': _END, 'startUrl': start})
        )
    store = s3.open_s3('s3://drafts', f'http://127.0.0.1:9/{source.replace(" ", "")}', 'us-east-1')
    url = store.url('try/ab/x.hg', 60)
    assert url is not None
    assert 'X-Amz-Credential=lent' in url and 'X-Amz-Security-Token=token' in url
