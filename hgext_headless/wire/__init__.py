"""What peers ask for, over http, over ssh or in the same process:

- `discovery`: ``lookup`` and ``listkeys``, with drafts
- `phase_roots`: the draft roots that keep a client from publishing its drafts
- `getbundle`: drafts, by link or inline
- `signed_links`: the URLs of bundles: make, sign and verify them
- `markers`: obsolescence markers of drafts

Called by both extensions and by `hgweb`.
"""
