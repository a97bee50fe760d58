"""The invariant: an object is stored before its row, and a row is deleted before its object.

- `upload`: store bundles, then record them
- `delete`: delete objects without a row, while pushes are running; try what the store permits
- `drop`: remove drafts: store again what stays of their bundles, delete rows, then objects; notes
  in the store of what was removed for good

Called by `receive`, `replication`, `hgweb` and `admin`.
"""
