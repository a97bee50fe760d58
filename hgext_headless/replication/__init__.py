"""The log of public history, by which it reaches all servers: objects and rows, as for drafts.

- `append`: add what a repository has and the log lacks
- `unrecorded`: record pushes that died between the repository and the database
- `follow`: apply what the log has and a repository lacks

An embedded database has no log, because it belongs to one server. What was public before the
log began (``admin::headless-init``) is not in it. Called by `receive`, `admin` and
the extension `hgext_headless.push`.
"""
