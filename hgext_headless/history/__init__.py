"""The log of public history, by which it reaches all servers: objects and rows, as drafts have.

- `place`: where a repository stands in the log
- `append`: add what a repository has and the log lacks
- `unrecorded`: record pushes that died between the repository and the database
- `follow`: apply what the log has and a repository lacks

Not for the embedded database, which belongs to one server. The log has nothing of what was
there before it began (``admin::headless-init``). Called by `receive`, `hgweb` and `admin`.
"""
