"""``admin::headless-export``:

- `command`: what runs
- `target`: what drafts and pushes are given to: `repository`, or `folder`
"""
