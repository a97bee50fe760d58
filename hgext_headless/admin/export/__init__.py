"""``admin::headless-export``:

- `command`: the command
- `target`: what drafts and pushes are exported to: a `repository` or a `folder`
"""
