"""The tables. `migrate` makes a new database from them; tests compare it with an upgraded one.

Nodes are 20-byte binary columns. Text that Mercurial stores as bytes is binary too: authors,
branches, descriptions and file names need not be UTF-8.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    column,
    table,
)

#: The Alembic revision to which "hg admin::headless-init" upgrades a database.
REVISION = '1001'
#: The revision of 1.0.0. Each later one is reached by migrations.
FIRST = '1001'
#: The oldest revision that this code works with. Later ones only remove what older code needs.
OLDEST = '1001'
#: The revision of the oldest code that may write to `REVISION`.
MIN_CODE = '1001'

#: The ``state`` of a bundle of drafts. Only live bundles are looked up.
LIVE = 'live'
#: The ``state`` of a bundle of public changesets, for `public_log`.
PUBLIC = 'public'

metadata = MetaData(
    naming_convention={
        'ix': 'ix_%(table_name)s_%(column_0_N_name)s',
        'uq': 'uq_%(table_name)s_%(column_0_N_name)s',
        'fk': 'fk_%(table_name)s_%(column_0_N_name)s',
        'pk': 'pk_%(table_name)s',
    }
)

# SQLite numbers rows by itself only if the column is an INTEGER.
_Id = BigInteger().with_variant(Integer(), 'sqlite')
_Node = LargeBinary(20)


def _of_push() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ['repository_id', 'push_id'],
        ['pushes.repository_id', 'pushes.push_id'],
        ondelete='CASCADE',
    )


repositories = Table(
    'repositories',
    metadata,
    Column('id', Integer, primary_key=True),
    Column('name', String(100), nullable=False, unique=True),
    # The counter of push ids: see `record.record`.
    Column('last_push_id', BigInteger, nullable=False, server_default='0'),
    # The highest push id that came from an older pushlog. Up to it, there may be gaps.
    Column('imported_push_id', BigInteger, nullable=False, server_default='0'),
    # The same during the import; until it ends, no later push is shown.
    Column('importing_push_id', BigInteger, nullable=False, server_default='0'),
    # The number of pushes up to `imported_push_id`, to detect lost ones. None: not counted.
    Column('imported_pushes', BigInteger),
    # When it was dropped, in seconds since the epoch. The name stays known: see `repositories`.
    Column('dropped', BigInteger),
)

# What push ids belong to: see `epochs`.
epochs = Table(
    'epochs',
    metadata,
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), primary_key=True),
    # No push of it has a lower id.
    Column('first_push_id', BigInteger, primary_key=True, autoincrement=False),
    # Random, hexadecimal.
    Column('epoch', String(32), nullable=False),
    # The last push id that was known of the epoch before. Up to `first_push_id`, there is no push.
    Column('known_push_id', BigInteger, nullable=False),
    # Seconds since the epoch, by the database's clock.
    Column('began', BigInteger, nullable=False),
)

# For each revision of the schema, the oldest code (its `REVISION`) that may write to it.
compatibility = Table(
    'compatibility',
    metadata,
    Column('revision', String(32), primary_key=True),
    Column('min_code', String(32), nullable=False),
)

pushes = Table(
    'pushes',
    metadata,
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), primary_key=True),
    Column('push_id', BigInteger, primary_key=True, autoincrement=False),
    Column('user', LargeBinary, nullable=False),
    # Seconds since the epoch. They may not ascend with the ids, because clocks jump.
    Column('date', BigInteger, nullable=False),
    # The number of changesets that it brought, to detect lost ones. None: not counted.
    Column('listed', Integer),
    # Decompressed, in bytes. None: not known.
    Column('size', BigInteger),
    # From its first byte until it was recorded. None: not known.
    Column('seconds', Float),
    Index(None, 'repository_id', 'date'),
    Index(None, 'repository_id', 'user', 'push_id'),
)

changesets = Table(
    'changesets',
    metadata,
    Column('id', _Id, primary_key=True),
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), nullable=False),
    Column('node', _Node, nullable=False),
    Column('p1', _Node, nullable=False),
    Column('p2', _Node, nullable=False),
    Column('branch', LargeBinary, nullable=False),
    Column('author', LargeBinary, nullable=False),
    Column('date', BigInteger, nullable=False),
    Column('timezone', Integer, nullable=False),
    Column('description', LargeBinary, nullable=False),
    # Joined by NUL, which no file name can contain.
    Column('files', LargeBinary, nullable=False),
    # As Mercurial's changelog encodes them.
    Column('extras', LargeBinary, nullable=False),
    UniqueConstraint('repository_id', 'node'),
)

# The words of changesets, for `search`. The tables differ between the databases, and SQLAlchemy
# cannot describe them in full: `migrate` creates them. On Postgres ``words`` is an array; it is
# passed as text, which is faster.
changeset_words = table(
    'changeset_words', column('changeset_id', BigInteger), column('words', Text)
)
# On SQLite it is a virtual table; a column with its name stands for the whole row.
sqlite_changeset_words = table(
    'changeset_words',
    column('rowid', Integer),
    column('words', Text),
    column('changeset_words', Text),
)

push_changesets = Table(
    'push_changesets',
    metadata,
    Column('repository_id', Integer, primary_key=True),
    Column('push_id', BigInteger, primary_key=True, autoincrement=False),
    Column('position', Integer, primary_key=True, autoincrement=False),
    # Unique: a changeset has one push that brought it, and consumers expect exactly one.
    Column('changeset_id', ForeignKey('changesets.id'), nullable=False, unique=True),
    _of_push(),
)

# The branches of the changesets of a push, for queries of the pushlog by branch.
push_branches = Table(
    'push_branches',
    metadata,
    Column('repository_id', Integer, primary_key=True),
    Column('branch', LargeBinary, primary_key=True),
    Column('push_id', BigInteger, primary_key=True, autoincrement=False),
    _of_push(),
)

bundles = Table(
    'bundles',
    metadata,
    Column('id', _Id, primary_key=True),
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), nullable=False),
    Column('key', String(255), nullable=False),
    Column('size', BigInteger, nullable=False),
    Column('sha512', String(128), nullable=False),
    Column('head', _Node, nullable=False),
    # Concatenated nodes.
    Column('bases', LargeBinary, nullable=False),
    Column('created', BigInteger, nullable=False),
    Column('state', String(16), nullable=False, server_default=LIVE),
    UniqueConstraint('repository_id', 'key'),
    Index(None, 'repository_id', 'head'),
    Index(None, 'repository_id', 'created'),
)

bundle_changesets = Table(
    'bundle_changesets',
    metadata,
    Column('bundle_id', ForeignKey('bundles.id', ondelete='CASCADE'), primary_key=True),
    Column('changeset_id', ForeignKey('changesets.id'), primary_key=True),
    Column('position', Integer, nullable=False),
    Column('is_head', Boolean, nullable=False),
    Index(None, 'changeset_id', 'bundle_id'),
)

# The draft roots of recent pushes, which ``listkeys phases`` names. The next push deletes rows
# that are older than an hour (see `drafts.record_roots`).
draft_roots = Table(
    'draft_roots',
    metadata,
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), nullable=False),
    Column('changeset_id', ForeignKey('changesets.id'), primary_key=True),
    # Seconds since the epoch, by the database's clock: those of push servers may differ.
    Column('pushed', BigInteger, nullable=False),
    Index(None, 'repository_id', 'pushed'),
)

# Pushes that stored something and brought no changeset (bookmarks, phases, markers), for the limits
# of users: see `user_limits`. The next one of the user deletes those that are older than an hour.
other_pushes = Table(
    'other_pushes',
    metadata,
    Column('id', _Id, primary_key=True),
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), nullable=False),
    Column('user', LargeBinary, nullable=False),
    # Seconds since the epoch, by the database's clock.
    Column('date', BigInteger, nullable=False),
    # In bytes.
    Column('size', BigInteger, nullable=False),
    Index(None, 'repository_id', 'user', 'date'),
)

bookmarks = Table(
    'bookmarks',
    metadata,
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), primary_key=True),
    Column('name', LargeBinary, primary_key=True),
    Column('node', _Node, nullable=False),
    # Seconds since the epoch. Only the newest bookmarks are listed to clients.
    Column('updated', BigInteger, nullable=False, server_default='0'),
    Index(None, 'repository_id', 'updated'),
    Index(None, 'repository_id', 'node'),
)

# Obsolescence markers of drafts, encoded as in Mercurial's obsstore (version 1).
markers = Table(
    'markers',
    metadata,
    Column('id', _Id, primary_key=True),
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), nullable=False),
    # SHA-256 of ``data``.
    Column('digest', LargeBinary(32), nullable=False),
    Column('predecessor', _Node, nullable=False),
    Column('data', LargeBinary, nullable=False),
    UniqueConstraint('repository_id', 'digest'),
    Index(None, 'repository_id', 'predecessor'),
)

# The changesets with which a marker is exchanged: its successors or, if it has none, its
# predecessor and the parents of that.
marker_nodes = Table(
    'marker_nodes',
    metadata,
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), primary_key=True),
    Column('node', _Node, primary_key=True),
    Column('marker_id', ForeignKey('markers.id', ondelete='CASCADE'), primary_key=True),
    Index(None, 'marker_id'),
)

# The nodes of changesets that a push brought and that are gone: drafts that expired, were
# obliterated or lost, and changesets of an older pushlog of which only the node is known.
tombstones = Table(
    'tombstones',
    metadata,
    Column('repository_id', Integer, primary_key=True),
    Column('push_id', BigInteger, primary_key=True, autoincrement=False),
    Column('position', Integer, primary_key=True, autoincrement=False),
    Column('node', _Node, nullable=False),
    Column('p1', _Node, nullable=False),
    Column('p2', _Node, nullable=False),
    # When it went, in seconds since the epoch. None: not known.
    Column('gone', BigInteger),
    _of_push(),
    Index(None, 'repository_id', 'node'),
)

# Objects that are being deleted, or were deleted lately: see `deletions`.
pending_deletions = Table(
    'pending_deletions',
    metadata,
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), primary_key=True),
    Column('key', String(255), primary_key=True),
    # Seconds since the epoch.
    Column('since', BigInteger, nullable=False),
    # False while a process may still be deleting it.
    Column('deleted', Boolean, nullable=False),
    # The store has refused to: it is there.
    Column('refused', Boolean, nullable=False),
)

# Names of tasks that only one process at a time may do: see `coordination`.
leases = Table(
    'leases',
    metadata,
    Column('name', String(255), primary_key=True),
    Column('owner', String(255), nullable=False),
    # Seconds since the epoch, by the database's clock.
    Column('until', BigInteger, nullable=False),
)

# Acts by which drafts went, but for expiry: see `bans`. ``subject`` is a node.
audit = Table(
    'audit',
    metadata,
    Column('id', _Id, primary_key=True),
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), nullable=False),
    Column('date', BigInteger, nullable=False),
    Column('user', LargeBinary, nullable=False),
    Column('action', String(16), nullable=False),
    Column('subject', LargeBinary, nullable=False),
    Column('reason', LargeBinary, nullable=False),
    Index(None, 'repository_id', 'action', 'subject'),
)

# The position and heads of the log of public history. No row: it has not begun.
public_history = Table(
    'public_history',
    metadata,
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), primary_key=True),
    Column('position', BigInteger, nullable=False),
    # Concatenated nodes: the heads of all that is in the log, and of what was there before it.
    # Some may be ancestors of others.
    Column('heads', LargeBinary, nullable=False),
)

# The log of public history. A server adds an entry when it finds that it has changesets that
# the log lacks.
public_log = Table(
    'public_log',
    metadata,
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), primary_key=True),
    # From 1 on, without gaps.
    Column('position', BigInteger, primary_key=True, autoincrement=False),
    # Its changesets: a bundle in state `PUBLIC`. They build on entries before it.
    Column('bundle_id', ForeignKey('bundles.id'), nullable=False),
    # Heads that it added to the log and removed from it: concatenated nodes.
    Column('added', LargeBinary, nullable=False),
    Column('removed', LargeBinary, nullable=False),
    # Seconds since the epoch, by the database's clock.
    Column('logged', BigInteger, nullable=False),
    Index(None, 'bundle_id'),
)

# The bookmarks of public changesets that were moved since the log began. ``node`` is empty if
# the bookmark was deleted.
public_bookmarks = Table(
    'public_bookmarks',
    metadata,
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), primary_key=True),
    Column('name', LargeBinary, primary_key=True),
    Column('node', LargeBinary, nullable=False),
    # The name of its last move: random. A counter would start again in a restored database.
    Column('move', LargeBinary(16), nullable=False),
    # Milliseconds since the epoch, by the database's clock.
    Column('moved', BigInteger, nullable=False),
)

# How far the announcements of pushes have got: see `announcements`.
announcements = Table(
    'announcements',
    metadata,
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), primary_key=True),
    Column('target', String(100), primary_key=True),
    Column('push_id', BigInteger, nullable=False),
    Column('failures', Integer, nullable=False),
    Column('error', Text, nullable=False),
    # No attempt before then: seconds since the epoch, by the database's clock.
    Column('retry', BigInteger, nullable=False),
)

# When a command last succeeded: see `diagnosis`.
last_runs = Table(
    'last_runs',
    metadata,
    Column('repository_id', ForeignKey('repositories.id', ondelete='CASCADE'), primary_key=True),
    Column('command', String(32), primary_key=True),
    # Seconds since the epoch, by the database's clock.
    Column('ended', BigInteger, nullable=False),
    # The number of things that it found and left; for `gc`, of objects without a row. None: it
    # does not count anything.
    Column('found', BigInteger),
)
