"""The texts of ``hg help headless`` and ``hg help config.headless``."""

from __future__ import annotations

from typing import Any

from mercurial import help as helps
from mercurial.i18n import _

_TOPIC = b'headless'

TEXT = b"""To its clients, a headless repository looks like a repository with very many
heads. On disk it has public history only. Each draft that is pushed is stored in
a bundle in an object store, and recorded in a database. Clients need no
extension.

Pushing
=======

Plain :hg:`push` works for drafts on a head of public history, and for a stack that
grows. To the client, drafts on an older changeset are a new remote head: use ``-f``.
The server gets no head. An alias saves typing::

  [alias]
  try = push -f -r .

If a branch exists in drafts only, it is new to the client each time: use
``--new-branch``.

The client sends its whole stack each time, because in discovery a server has public
history only. Changesets that were pushed before are not stored or listed again.

The answer has the id of the push and its URL. An error says what kind it is:

``headless: temporary: ...``
    Nothing is wrong with the push. Try again later.
``headless: refused: ...``
    The same push will never be accepted.
``headless: misconfigured: ...``, ``headless: corrupt: ...``
    An operator has to look.

Pulling
=======

:hg:`pull -r`, :hg:`clone -r`, :hg:`incoming -r` and :hg:`identify -r` take the
hash of a draft, a unique prefix of it, or a bookmark; the name of a branch that
exists in drafts only means its newest draft. Without ``-r``, they get public history
only.

Bookmarks of drafts are pushed and pulled with ``-B``. Only the bookmarks that were
moved last are listed to clients, and can be pulled with :hg:`pull -B`; :hg:`pull -r`
finds all. ``headless.listed-bookmarks`` sets the number of listed bookmarks.

If client and server have ``experimental.evolution=createmarkers, exchange``, the
obsolescence markers of drafts are stored, and sent with the drafts.

On the web
==========

hgweb has every page of a draft. The pushlog is at ``json-pushes``, ``pushlog``
(Atom) and ``pushloghtml``; see :hg:`help hgweb` for the parameters. Each page links to the
pushlog, and the page of a changeset also to its push. The page of a draft that has expired
or was removed says so. ``search=WORDS`` finds pushes by words in the descriptions and
authors of drafts and public changesets; hgweb's own search finds public history only.
``[headless-links]`` configures links to bugs, reviewers and test results. There are the
template keywords ``pushid``, ``pushuser``, ``pushdate``, ``pushbasenode`` and
``pushheadnode``, and the revsets ``pushhead()``, ``pushdate()``, ``pushuser()``,
``pushid()`` and ``pushrev()``.

Operating
=========

See :hg:`help config.headless` for the settings.

Enable both extensions with ``:required = yes``. Otherwise hg continues without an
extension that it cannot load, and drafts enter the repository.

Run :hg:`admin::headless-init` on each server. It creates or upgrades the database's
schema, and writes the requirement ``headless`` into the repository: an hg that does
not load the extensions then refuses to open it. hg does not load them if it does not
trust the repository's hgrc. The file must belong to the user who runs hg, or to a
user (even root) whom that user trusts in a file of ``/etc/mercurial/hgrc.d`` or in
``~/.hgrc``::

  [trusted]
  users = root

:hg:`admin::headless-import` and :hg:`admin::headless-import-pushlog` move an
ordinary repository in, and :hg:`admin::headless-export` moves one out. For maintenance
there are :hg:`admin::headless-expire`, ``-obliterate``, ``-gc``, ``-verify`` and
``-stats``. ``-housekeeping`` runs ``-expire``, ``-gc`` and ``-verify`` for several
repositories; ``-drop`` removes one from the database. ``-rebuild`` creates the rows of a
lost database again, and ``-audit`` lists what was removed for good. ``-doctor`` says what
is wrong with a server, and what to do.

On each server, :hg:`admin::headless-follow` ``--watch`` applies the public changesets that
were pushed to the others. :hg:`admin::headless-announce` ``--watch`` tells other programs of
pushes.

With the extension ``blackbox``, each push, each pull and page of drafts, each download
by link, and each page of the pushlog logs a line in ``.hg/blackbox.log``:
``headless event=push outcome=ok ...``, with the seconds that its stages took. Values
are plain words or JSON strings. The line of a page is written when its last byte is
sent, those of ``getbundle`` and ``link`` when the reply begins. The time of ``push``
begins when the whole request has arrived. ``headless.events`` logs the same to syslog or
standard error.

An hgweb server answers ``/headless-health`` while it lives. ``/headless-ready`` answers 503
if the database or the store is not available, or if public history older than
``?max-lag=SECONDS`` is missing. ``/headless-metrics`` has metrics in Prometheus's format
(this needs the package prometheus-client).
"""

CONFIG = b"""
``headless``
------------

Where the extensions ``hgext_headless.push`` and ``hgext_headless.web`` store drafts, and
how they serve them. They act only in a repository that has ``repository``, ``database``
or ``store`` set.

``repository``
    Name of the repository in the database and the store. Required if
    ``database`` is set. (default: the name of the repository's folder)

``database``
    SQLAlchemy URL, for example ``postgresql+psycopg2://headless@db/headless``.
    (default: a SQLite database in ``.hg/headless``)

``database-read``
    URL of a replica of the database, or of the same database with a role that may only
    read. Pages and the pushlog are read from it; pushes and pulls use ``database``.
    (default: ``database``)

``database-pool-size``
    Maximum number of connections of one process. (default: 20)

``database-connect-timeout``, ``database-timeout``
    Seconds to wait for a connection, and for an answer. A client gets an error
    after at most twice the longer time. (default: 5 and 12)

``store``
    ``s3://bucket/prefix`` or ``file:///folder``. Credentials come from boto3's own
    configuration. (default: a folder in ``.hg/headless``)

``s3-endpoint-url``
    Endpoint of the S3 service, if it is not Amazon's.

``s3-region``
    Region of the bucket, if boto3's own configuration has none.

``public``
    ``accept`` or ``reject``: whether a push may add public changesets.
    (default: ``accept``)

``max-push-size``
    Maximum size of a push, decompressed. (default: ``1 GB``)

``user-variable``
    Environment variables with the name of the pushing user, over ssh and by path:
    the first that is set. Only the server may set them: sshd's AcceptEnv must name
    none. Over http it is REMOTE_USER. (default: ``USER``)

``bundle-url``
    URL from which clients fetch bundles without a signature: a public bucket or a
    CDN. The object's name is appended. (default: signed links through this server)

``link-secret-file``
    File with the key that signs the links through this server. The key must be the same on
    all servers. Required if ``database`` is set, unless ``bundle-url`` is set or ``inline``
    is ``always``.

``link-secret``
    The key itself, in place of a file. :hg:`config` shows it.

``link-ttl``
    Seconds for which a link is valid, at most 604800. (default: 3600)

``link-base``
    Absolute URL of the repository on hgweb, for links in answers over ssh.

``inline``
    ``auto``, ``always`` or ``never``: whether drafts are sent in the reply itself
    instead of by link. ``auto`` does so if the client cannot follow a link.
    (default: ``auto``)

``cache-dir``
    Folder on a local disk in which hgweb caches the bundles of pages. Processes may
    share it. If it is not writable, nothing is cached.
    (default: ``.hg/headless/cache``)

``cache-size``
    Maximum size of the cache; 0 disables it. The least recently used bundles are
    removed first. (default: ``1 GB``)

``pushlog-limit``
    Maximum number of pushes in one answer of the pushlog; 0 for no limit.
    (default: 10000)

``listed-bookmarks``
    Maximum number of draft bookmarks listed to clients, the newest ones. Only these can
    be pulled, moved and deleted with :hg:`pull -B` and :hg:`push -B`; :hg:`pull -r` finds
    all. 0 for none. (default: 100)

``limit-pushes``, ``limit-burst``
    Maximum number of pushes of one user within an hour, and within a minute. A push that
    brings nothing new does not count. 0 for no limit. (default: 0)

``limit-bytes``
    Maximum size of the pushes of one user within an hour, decompressed. 0 for no limit.
    (default: 0)

``limit-drafts``
    Maximum number of drafts of one user that are stored at a time. 0 for no limit.
    (default: 0)

``limit-exempt``
    Users without limits. (default: none)

``events``
    ``syslog`` or ``stderr``: log each push, each pull and page of drafts, each download by
    link, and each page of the pushlog as a line of JSON, even if ``.hg`` is read-only.
    ``stderr`` is for web servers only: over ssh, the client sees standard error.
    (default: ``none``)

``headless-links``
------------------

Links on the pushlog and the pages of changesets. An item is a name and a URL. The fields in the
URL say where the link appears: with ``{bug}`` at each bug that a description names, with
``{reviewer}`` at each reviewer, and with any of ``{node}`` (the push's last changeset),
``{pushid}`` and ``{user}`` at each push, with the item's name as the text. ``s!REGEXP!URL!``,
with the flags ``i``, ``m`` and ``s``, links whatever the regular expression finds in a
description; ``\\1`` in the URL is its first group. For example::

  [headless-links]
  bugzilla = https://bugzilla.example.com/show_bug.cgi?id={bug}
  reviewers = https://phabricator.example.com/p/{reviewer}/
  phabricator = s!\\bD(\\d+)\\b!https://phabricator.example.com/D\\1!
  results = https://treeherder.example.com/jobs?repo=try&revision={node}
"""


def _with_config(ui: Any, topic: bytes, doc: bytes) -> bytes:
    return doc + CONFIG


def install() -> None:
    """Add the texts to Mercurial's help, unless the other extension has done so."""
    if any(_TOPIC in entry[0] for entry in helps.helptable):
        return
    helps.helptable.append(([_TOPIC], _(b'Headless Repositories'), lambda ui: TEXT))
    helps.addtopichook(b'config', _with_config)
