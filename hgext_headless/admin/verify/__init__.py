"""``admin::headless-verify``:

- `command`: the command
- `objects`: compares the rows of bundles with the objects
- `pushes`: checks push ids, and that the changesets of pushes are present
- `report`: writes problems, and repairs them
"""
