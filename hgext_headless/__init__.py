"""Headless repositories for Mercurial: drafts live in S3 and Postgres.

``hgext_headless.push`` is the extension of push servers, ``hgext_headless.web``
that of hgweb servers. ``hg help headless`` is the manual.
"""

__version__ = '0.1.0'
