"""The settings: registered, read, checked and typed."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mercurial import encoding, error, extensions, requirements

from .errors import Misconfigured, of_file
from .hgcompat import escaped, is_loaded, to_bytes, to_str

SECTION = b'headless'

#: Items and defaults, for both extensions.
ITEMS: tuple[tuple[bytes, Any], ...] = (
    (b'repository', None),
    (b'database', None),
    (b'database-read', None),
    (b'database-pool-size', 20),
    (b'database-connect-timeout', 5),
    (b'database-timeout', 12),
    (b'store', None),
    (b's3-endpoint-url', None),
    (b's3-region', None),
    (b'public', b'accept'),
    (b'max-push-size', b'1 GB'),
    (b'user-variable', [b'USER']),
    (b'bundle-url', None),
    (b'link-secret', None),
    (b'link-secret-file', None),
    (b'link-ttl', 3600),
    (b'link-base', None),
    (b'inline', b'auto'),
    (b'cache-dir', None),
    (b'cache-size', b'1 GB'),
    (b'pushlog-limit', 10000),
    (b'listed-bookmarks', 100),
    (b'limit-pushes', 0),
    (b'limit-burst', 0),
    (b'limit-bytes', b'0'),
    (b'limit-drafts', 0),
    (b'limit-exempt', []),
    (b'events', b'none'),
)


#: Settings that were removed, which an hgrc may still have, and what to do instead.
REMOVED = {
    b'metrics-dir': (
        'the counters of headless-metrics come from the database; durations are in headless.events'
    ),
    b'store-read': 'set headless.bundle-url to a CDN in front of the bucket',
    b'store-read-region': 'set headless.bundle-url to a CDN in front of the bucket',
    b's3-storage-class': 'give the bucket a lifecycle rule',
    b's3-kms-key': 'make the key the default encryption of the bucket, then delete this line',
}
#: Those of them without which objects would be encrypted with another key, or as the bucket happens
#: to say: nothing goes on until they are gone from the hgrc.
_GUARDS = {b's3-kms-key'}
_warned: set[bytes] = set()

#: Maximum size of a link in bytes: a bundle2 part has one byte for the size of a parameter.
MAX_LINK = 255
#: Maximum size of an object in bytes: what S3 takes in one PUT.
MAX_S3_OBJECT = 5 * 1024**3
#: The lifetimes in seconds that SigV4 allows.
LINK_TTL = range(1, 604801)
#: Allowed numbers of connections to a database, and of seconds to wait for it.
_SMALL = range(1, 3601)
_KEY_LENGTH = len('/ab/') + 64 + len('.hg')
_ROUTE_LENGTH = len('/headless-bundle/') + 64 + len('?expires=1234567890&signature=') + 22


def register(eh: Any, other: bytes) -> None:
    """Register all items with ``eh``, unless the extension ``other`` has done so."""
    if not is_loaded(other):
        for item, default in ITEMS:
            eh.configitem(SECTION, item, default=default)


def participates(repo: Any) -> bool:
    """Return whether a repository is headless. Every command asks: it must be fast."""
    config = repo.ui.config
    return any(config(SECTION, item) for item in (b'repository', b'database', b'store'))


def takes_pushes(repo: Any) -> bool:
    """Return whether this process takes pushes to a headless repository."""
    loaded = extensions.extensions(repo.ui)
    return any(module.__name__ == 'hgext_headless.push' for _name, module in loaded)


@dataclass(frozen=True)
class Settings:
    """The ``[headless]`` settings of one repository. Durations are in seconds, sizes in bytes."""

    repository: str
    database: str
    embedded_database: bool
    database_read: str
    database_pool_size: int
    database_connect_timeout: int
    database_timeout: int
    store: str
    home: str
    s3_endpoint_url: str | None
    s3_region: str | None
    accept_public: bool
    max_push_size: int
    user_variables: tuple[bytes, ...]
    bundle_url: str | None
    link_secret: str | None
    link_ttl: int
    link_base: str | None
    inline: str
    cache_dir: str
    cache_size: int
    pushlog_limit: int
    listed_bookmarks: int
    limit_pushes: int
    limit_burst: int
    limit_bytes: int
    limit_drafts: int
    limit_exempt: frozenset[str]

    @property
    def store_is_s3(self) -> bool:
        return self.store.startswith('s3:')

    @property
    def has_limits(self) -> bool:
        """Whether there is any limit for users."""
        return bool(self.limit_pushes or self.limit_burst or self.limit_bytes or self.limit_drafts)


def settings(repo: Any) -> Settings:
    """Return the settings of a headless repository. Raise `Misconfigured`, naming the item."""
    read = _Reader(repo.ui)
    _check_items(repo.ui)
    for item, why in _removed(repo.ui):
        if item in _GUARDS:
            raise wrong(item, why)
    home = os.path.join(to_str(repo.sharedpath), 'headless')  # one for all shares
    database, database_read = read.database(b'database'), read.database(b'database-read')
    if database_read is not None and database is None:
        raise wrong(b'database', 'is required where headless.database-read is set')
    repository = _repository(repo, read, has_database=database is not None)
    embedded = f'sqlite:///{home}/catalog.sqlite'
    read.choice(b'events', ('none', 'stderr', 'syslog'))  # for `timings.tell`
    store = read.store(b'store') or default_store(home)
    max_push_size = read.size(b'max-push-size', least=1)
    if store.startswith('s3:') and max_push_size > MAX_S3_OBJECT:
        raise wrong(b'max-push-size', 'must not be more than 5 GB: S3 takes no larger object')
    return Settings(
        repository=repository,
        database=database or embedded,
        embedded_database=database is None,
        database_read=database_read or database or embedded,
        database_pool_size=read.number(b'database-pool-size', _SMALL),
        database_connect_timeout=read.number(b'database-connect-timeout', _SMALL),
        database_timeout=read.number(b'database-timeout', _SMALL),
        store=store,
        home=home,
        s3_endpoint_url=read.text(b's3-endpoint-url'),
        s3_region=read.text(b's3-region'),
        accept_public=read.choice(b'public', ('accept', 'reject')) == 'accept',
        max_push_size=max_push_size,
        user_variables=tuple(repo.ui.configlist(SECTION, b'user-variable')) or (b'USER',),
        bundle_url=read.url(b'bundle-url', len(repository) + 1 + _KEY_LENGTH),
        link_secret=read.text(b'link-secret') or read.secret(b'link-secret-file'),
        link_ttl=read.number(b'link-ttl', LINK_TTL),
        link_base=read.url(b'link-base', _ROUTE_LENGTH),
        inline=read.choice(b'inline', ('auto', 'always', 'never')),
        cache_dir=read.text(b'cache-dir') or f'{home}/cache',
        cache_size=read.size(b'cache-size'),
        pushlog_limit=read.number(b'pushlog-limit'),
        listed_bookmarks=read.number(b'listed-bookmarks'),
        limit_pushes=read.number(b'limit-pushes'),
        limit_burst=read.number(b'limit-burst'),
        limit_bytes=read.size(b'limit-bytes'),
        limit_drafts=read.number(b'limit-drafts'),
        limit_exempt=frozenset(map(to_str, repo.ui.configlist(SECTION, b'limit-exempt'))),
    )


def default_store(home: str) -> str:
    """Return the URL of the store of a repository that names none."""
    return f'file://{home}/store'


def secret_items(ui: Any) -> list[bytes]:
    """Return those items whose values have a secret: a key, or a URL with a password."""
    found = [b'link-secret'] if ui.config(SECTION, b'link-secret') else []
    for item in (b'database', b'database-read'):
        url = urlsplit(to_str(ui.config(SECTION, item) or b''))
        if url.password or 'password=' in url.query:
            found.append(item)
    announced = ui.configitems(b'headless-announce')
    return [
        *(SECTION + b'.' + item for item in found),
        *(b'headless-announce.' + item for item, _ in announced if item.endswith(b':secret')),
    ]


def warn_removed(ui: Any) -> None:
    """Warn of removed settings, once in a process: for commands and web servers.

    Over ssh and by path, standard error is the client's.
    """
    for item, why in _removed(ui):
        line = to_bytes(f'warning: {wrong(item, why)}\n')
        if line not in _warned:
            _warned.add(line)
            ui.warn(line)


def _removed(ui: Any) -> list[tuple[bytes, str]]:
    given = dict(ui.configitems(SECTION))  # does not mind that they are not registered
    return [(item, f'was removed: {how}') for item, how in REMOVED.items() if given.get(item)]


def _check_items(ui: Any) -> None:
    """Refuse a misspelt item: pushes would go on without what it sets, and be acknowledged."""
    known = {*REMOVED, *(item for item, _default in ITEMS)}
    for item, _value in ui.configitems(SECTION, ignoresub=True):
        if item not in known:
            raise wrong(to_bytes(escaped(item)), 'is not a setting (see "hg help config.headless")')


def _repository(repo: Any, read: _Reader, has_database: bool) -> str:
    name = read.text(b'repository')
    if name is None:
        if has_database:
            raise wrong(b'repository', 'is required where headless.database is set')
        name = to_str(repo.root.rsplit(b'/', 1)[-1])
    check_name(name)
    return name


class _Reader:
    """Reads items of the section; each method raises `Misconfigured` for a wrong value."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui

    def text(self, item: bytes) -> str | None:
        """Return the text of ``item``, or None if it is empty."""
        value = self._ui.config(SECTION, item)
        return to_str(value).strip() or None if value is not None else None

    def secret(self, item: bytes) -> str | None:
        """Return what the file named by ``item`` has, without the blanks around it."""
        path = self._ui.configpath(SECTION, item)
        if not path:
            return None
        try:
            with open(path, 'rb') as file:
                secret = to_str(file.read().strip())
        except OSError as exc:
            raise wrong(item, f'cannot be read: {of_file(exc)}') from exc
        if not secret:
            raise wrong(item, 'names a file that is empty')
        return secret

    def choice(self, item: bytes, allowed: tuple[str, ...]) -> str:
        value = self.text(item) or ''
        if value not in allowed:
            raise wrong(item, f'"{value}" is not one of {", ".join(allowed)}')
        return value

    def number(self, item: bytes, allowed: range | None = None) -> int:
        """Return a number that is not negative, or in the range ``allowed``."""
        value = self._converted(self._ui.configint, item)
        if allowed is not None and value not in allowed:
            raise wrong(item, f'must be from {allowed.start} to {allowed.stop - 1}')
        if value < 0:
            raise wrong(item, 'must not be less than 0')
        return value

    def size(self, item: bytes, least: int = 0) -> int:
        """Return a number of bytes: ``1 GB`` and so on."""
        value = self._converted(self._ui.configbytes, item)
        if value < least:
            raise wrong(item, 'must be more than 0' if least else 'must not be less than 0')
        return value

    def _converted(self, read: Callable[[bytes, bytes], int], item: bytes) -> int:
        try:
            return read(SECTION, item)
        except error.ConfigError as exc:
            raise Misconfigured(to_str(exc.message)) from exc

    def database(self, item: bytes) -> str | None:
        """Return a SQLAlchemy URL. It must name the driver, because there are several."""
        value = self.text(item)
        if value is not None and not re.match(r'(postgresql\+psycopg2|sqlite)://', value):
            raise wrong(
                item, 'must begin with postgresql+psycopg2:// (name the driver) or sqlite:///'
            )
        return value

    def store(self, item: bytes) -> str | None:
        value = self.text(item)
        if value is not None and not re.match(r's3://[a-z0-9][a-z0-9.-]+(/|$)|file:///.', value):
            raise wrong(item, f'"{value}" is neither s3://bucket/prefix nor file:///folder')
        return value

    def url(self, item: bytes, overhead: int) -> str | None:
        """Return the base of links, which add ``overhead`` bytes to it."""
        value = self.text(item)
        if value is None:
            return None
        value = value.rstrip('/')
        if not re.fullmatch('[!-~]+', value):
            shown = escaped(to_bytes(value))
            raise wrong(item, f'"{shown}" has a blank, or what a URL has percent-encoded')
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError as exc:
            raise wrong(item, f'"{value}" is not a URL: {exc}') from exc
        if parts.username is not None or parts.password is not None:
            raise wrong(item, 'must have no user name and no password: clients are told of it')
        if parts.scheme not in ('http', 'https') or not parts.hostname:
            raise wrong(item, f'"{value}" is not an http or https URL')
        if parts.query or parts.fragment:
            raise wrong(item, f'"{value}" must have no query and no fragment')
        if len(to_bytes(value)) + overhead > MAX_LINK:
            raise wrong(
                item,
                f'the URL is too long: a link made from it would have more than {MAX_LINK} bytes',
            )
        return value


def check_name(repository: str) -> None:
    """Raise `Misconfigured` if ``repository`` cannot be the name of a repository."""
    if not re.fullmatch(r'[A-Za-z0-9_][A-Za-z0-9._-]{0,99}', repository):
        shown = escaped(to_bytes(repository))
        raise wrong(
            b'repository',
            f'"{shown}" may have only letters, digits, ".", "_", "-" and at most 100 of them',
        )


def check_packages(settings: Settings) -> None:
    """Raise `Misconfigured` if a package that is imported on demand is missing."""
    needed = ['sqlalchemy']
    if settings.database.startswith('postgresql'):
        needed.append('psycopg2')
    if settings.store_is_s3:
        needed.append('boto3')
    for package in needed:
        if importlib.util.find_spec(package) is None:
            raise Misconfigured(f'the package {package} is missing on this server')


def check_serving(settings: Settings) -> None:
    """Check the settings of a server that gives out links. Raise `Misconfigured`."""
    needs_secret = not (settings.link_secret or settings.bundle_url or settings.inline == 'always')
    if needs_secret and not settings.embedded_database:
        raise wrong(
            b'link-secret-file',
            'is required where headless.database is set: all servers must sign alike '
            '(or set headless.bundle-url, or headless.inline = always)',
        )


def check_repository(repo: Any) -> None:
    """Raise `Misconfigured` if changegroup 01 cannot hold the repository's changesets."""
    for requirement, why in (
        (requirements.TREEMANIFEST_REQUIREMENT, 'tree manifests'),
        (b'lfs', 'LFS files'),
        (requirements.NARROW_REQUIREMENT, 'a narrow clone'),
        (requirements.REVLOGV2_REQUIREMENT, 'revlog version 2'),
        (requirements.CHANGELOGV2_REQUIREMENT, 'changelog version 2'),
    ):
        if requirement in repo.requirements:
            raise Misconfigured(
                f'this repository has {why} (requirement "{to_str(requirement)}"), which the '
                'bundle format of drafts (HG10, changegroup 01) cannot carry'
            )


def pusher(repo: Any, settings: Settings) -> str:
    """Return who pushes: REMOTE_USER over http, else the first ``user-variable`` that is set."""
    environ = repo.ui.environ
    if b'REQUEST_METHOD' in environ:
        return to_str(environ.get(b'REMOTE_USER') or b'anonymous')
    values = map(encoding.environ.get, settings.user_variables)
    return to_str(next(filter(None, values), b'anonymous'))


def wrong(item: bytes, why: str) -> Misconfigured:
    return Misconfigured(f'{to_str(SECTION)}.{to_str(item)} {why}')
