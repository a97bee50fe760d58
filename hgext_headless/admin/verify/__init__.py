"""``admin::headless-verify``:

- `command`: the command
- `examine`: compares the rows of bundles with the objects; `prefetch`: fetches these ahead
- `objects`: shares that among processes, and reports and repairs what they find
- `pushes`: checks push ids, and that the changesets of pushes are present
- `public_history`: checks the log of public history
- `report`: writes problems, and repairs them
"""
