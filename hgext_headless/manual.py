"""``hg help headless`` and ``hg help config.headless``."""

from __future__ import annotations

from typing import Any

from mercurial import help as helps
from mercurial.i18n import _

_TOPIC = b'headless'

_MANUAL = b"""A headless repository looks to its clients like one repository with very many
heads. On disk it has public history only: each draft that is pushed lives in a
bundle in an object store, and the facts about it in a database. Clients need no
extension.

Pushing
=======

Drafts on a head of public history are pushed with a plain :hg:`push`, and so is a
stack that grows. Where the client says that a push creates a new remote head
(drafts on an older changeset), force it: the server grows no head. An alias saves
the typing::

  [alias]
  try = push -f -r .

A branch that only drafts have is new to the client each time: use ``--new-branch``.

The client sends its whole stack each time, for in discovery a server has public
history only. What was pushed before is not stored or listed again.

The answer names the push and its address. Errors say of what kind they are:

``headless: temporary: ...``
    Nothing is wrong with the push. Try again later.
``headless: refused: ...``
    The same push will never be accepted.
``headless: misconfigured: ...``, ``headless: corrupt: ...``
    An operator has to look.

Pulling
=======

:hg:`pull -r`, :hg:`clone -r`, :hg:`incoming -r` and :hg:`identify -r` take the
hash of a draft, a unique prefix, or a bookmark that was pushed with :hg:`push -B`.
Without ``-r`` they bring public history only. :hg:`pull -B` finds the bookmarks that
were moved last (see ``listed-bookmarks`` in :hg:`help config.headless`).

Where client and server have ``experimental.evolution=createmarkers, exchange``, obsolescence
markers of drafts are kept and given back with them.

Bookmarks of drafts are pushed and pulled with ``-B``. Of very many only the newest
are listed, as many as ``headless.listed-bookmarks`` says; :hg:`pull -r` finds all.

On the web
==========

hgweb has every page of a draft. Its pushlog is at ``json-pushes``, ``pushlog``
(Atom) and ``pushloghtml``; :hg:`help hgweb` has the parameters. ``search=WORDS`` finds
drafts and public changesets by words of their descriptions and authors; hgweb's own search
looks at public history. Templates know
``pushid``, ``pushuser``, ``pushdate``, ``pushbasenode`` and ``pushheadnode``, and
there are the revsets ``pushhead()``, ``pushdate()``, ``pushuser()``, ``pushid()`` and
``pushrev()``.

Operating
=========

The settings are explained in :hg:`help config.headless`. :hg:`admin::headless-init`
creates or upgrades the database's schema, and writes the requirement ``headless`` into the
repository, on each server: an hg that does not load the extensions refuses to open it. It
does not load them where it does not trust the repository's hgrc: the file has to belong
to the user who runs hg, or to one (root too) whom that user trusts, in a file of
``/etc/mercurial/hgrc.d`` or in ``~/.hgrc``::

  [trusted]
  users = root

:hg:`admin::headless-import` and :hg:`admin::headless-import-pushlog` take over an
ordinary repository, :hg:`admin::headless-export` gives one back. In between
:hg:`admin::headless-expire`, ``-obliterate``, ``-gc``, ``-verify`` and ``-stats`` keep house;
``-rebuild`` makes the rows of a lost database again, and ``-audit`` lists what was removed.
Both extensions belong into the hgrc with ``:required = yes``: hg goes on
without an extension that it cannot load, and drafts would enter the repository.

With ``blackbox`` among the extensions each push, each pull and page of drafts, each
link that is followed and each page of the pushlog leaves a line in
``.hg/blackbox.log``: ``headless event=push outcome=ok ...``, with the seconds that
its stages took. Values are plain words or JSON strings. A page's line is
written when its last byte is sent; those of ``getbundle`` and ``link`` when the
reply begins, and those of ``push`` count from when all of it has come.
"""

_CONFIG = b"""
``headless``
------------

Where drafts are kept, for the extensions ``hgext_headless.push`` and
``hgext_headless.web``. They act only in a repository that has ``repository``,
``database`` or ``store`` set.

``repository``
    The repository's name in the database and the store. Required where
    ``database`` is set; otherwise the name of its folder.

``database``
    SQLAlchemy URL, for example ``postgresql+psycopg2://headless@db/headless``.
    Without it, a SQLite database in ``.hg/headless``.

``database-read``
    Another URL of the same, from which pages and the pushlog are read: a replica, or a role
    that may only read. Pushes and pulls go to ``database``. (default: ``database``)

``database-pool-size``
    The most connections that one process has at a time. (default: 20)

``database-connect-timeout``, ``database-timeout``
    Seconds until a connection is there, and until it answers. A client is told
    after at most twice the longer one. (default: 5 and 12)

``store``
    ``s3://bucket/prefix`` or ``file:///folder``. Without it, a folder in
    ``.hg/headless``. Credentials come from boto3's own configuration.

``s3-endpoint-url``
    Endpoint of the S3 service, where it is not Amazon's.

``s3-region``
    Region of the bucket, where boto3's own configuration has none.

``public``
    ``accept`` or ``reject``: whether a push may add public changesets.
    (default: ``accept``)

``max-push-size``
    The most bytes that a push may have, decompressed. (default: ``1 GB``)

``user-variable``
    The environment variable that has the name of who pushes over ssh or by
    path. Over http it is REMOTE_USER. (default: ``USER``)

``bundle-url``
    Where clients fetch bundles, without a signature: a public bucket or a CDN.
    The object's name is appended. Without it, links lead through this server.

``link-secret``
    The key that signs those links, the same on all servers. Required where
    ``database`` is set, links are signed, and ``inline`` is not ``always``.

``link-ttl``
    Seconds for which a link holds, at most 604800. (default: 3600)

``link-base``
    Absolute URL of the repository on hgweb, for links in answers over ssh.

``inline``
    ``auto``, ``always`` or ``never``: whether drafts come in the reply itself
    and not by link. ``auto`` does so where a link can't be followed.
    (default: ``auto``)

``cache-dir``
    A folder in which hgweb keeps bundles that pages are made from, on a disk of
    this server. Several processes may share it; where it can't be written to,
    nothing is kept. (default: ``.hg/headless/cache``)

``cache-size``
    The most bytes that are kept there; 0 for none. What was used longest ago
    goes first. (default: ``1 GB``)

``pushlog-limit``
    The most pushes in one answer of the pushlog; 0 for no limit. (default:
    10000)

``listed-bookmarks``
    How many bookmarks of drafts clients are told of, the newest ones: those that
    :hg:`pull -B` and :hg:`push -B` can find, move and delete; :hg:`pull -r` finds all.
    0 for none. (default: 100)
"""


def _with_config(ui: Any, topic: bytes, doc: bytes) -> bytes:
    return doc + _CONFIG


def install() -> None:
    """Add the texts to Mercurial's help, once, however many extensions ask for it."""
    if any(_TOPIC in entry[0] for entry in helps.helptable):
        return
    helps.helptable.append(([_TOPIC], _(b'Headless Repositories'), lambda ui: _MANUAL))
    helps.addtopichook(b'config', _with_config)
