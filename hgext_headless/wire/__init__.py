"""What peers ask for, over http, ssh or in this process:

- `discovery`: ``lookup`` and ``listkeys``, for drafts too
- `roots`: the draft roots by which a client leaves drafts draft
- `getbundle`: drafts, by link or inline
- `links`: URLs of bundles: made, signed, verified
- `markers`: obsolescence markers of drafts

Both extensions call in, and `hgweb`.
"""
