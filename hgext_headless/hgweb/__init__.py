"""What browsers and links ask for:

- `pages`: hgweb's own pages, for drafts too
- `error_pages`: errors as hgweb's pages, with hints
- `bundle_route`: the answer to a link to a bundle
- `health`: whether the server runs, and whether it is ready
- `pushlog`: the pushlog, in all its formats

Called by the extension `hgext_headless.web`.
"""
