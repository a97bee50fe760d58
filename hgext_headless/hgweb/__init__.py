"""What browsers and links ask for:

- `pages`: hgweb's own pages, for drafts too
- `search_page`: hgweb's own search, where it finds nothing
- `error_pages`: what an error page says beside the error
- `bundle_links`: what a link to a bundle answers
- `pushlog`: the pushlog, in all its formats

The extension `hgext_headless.web` calls in.
"""
