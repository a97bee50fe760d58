"""``admin::headless-verify``:

- `command`: the command
- `objects`: compares the rows of bundles with the objects, several prefixes of keys at a time
- `examine`: does so for one prefix, reading only; `prefetch`: fetches objects ahead
- `pushes`: checks push ids, and that the changesets of pushes are present
- `public_history`: checks the log of public history
- `report`: writes problems, and repairs them
"""
