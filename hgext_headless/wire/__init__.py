"""What peers ask for, over http, over ssh or in the same process:

- `discovery`: ``lookup`` and ``listkeys``, with drafts
- `phase_roots`: the draft roots that keep a client from publishing its drafts
- `getbundle`: drafts, by link or inline, and their obsolescence markers
- `links`: the URLs of bundles: make, sign, verify and answer them
- `ssh`: what a process over ssh prepares while its client is busy

Called by both extensions and by `hgweb`.
"""
