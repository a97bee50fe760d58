"""The invariant: an object is stored before its row, and a row is deleted before its object.

- `upload`: store bundles, then record them
- `deletion`: delete objects without a row, while pushes are running
- `store_rights`: try what a push server does with the store
- `drop_drafts`: remove drafts: store again what stays of their bundles, delete rows, then
  objects

Called by `receive` and `admin`.
"""
