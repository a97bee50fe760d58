"""Of an object and its row: the object is there before the row, and the row gone before it.

- `upload`: store bundles, then record them
- `deletion`: delete objects that no row has, beside running pushes
- `drop`: remove drafts: store again what stays of their bundles, then rows, then objects

`receive` and `admin` call in.
"""
