"""Headless repositories for Mercurial: drafts live in S3 and Postgres.

``hgext_headless.push`` is the extension for push servers, ``hgext_headless.web`` the one for
hgweb servers. The manual is ``hg help headless``.
"""

__version__ = '1.0.0'
