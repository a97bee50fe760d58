"""What browsers and links ask for:

- `pages`: hgweb's own pages, for drafts too; `fates`: what became of obsolete ones
- `searches`: hgweb's own search, bounded
- `errors`: errors as hgweb's pages, with hints
- `ready`: whether the server runs, and whether it is ready
- `pushlog`: the pushlog, in all its formats

Called by the extension `hgext_headless.web`.
"""
