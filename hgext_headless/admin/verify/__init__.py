"""``admin::headless-verify``:

- `command`: the command
- `objects`: compares the rows of bundles with the objects; `prefetch`: fetches these ahead
- `pushes`: checks push ids, and that the changesets of pushes are present
- `public_history`: checks the log of public history
- `report`: writes problems, and repairs them
"""
