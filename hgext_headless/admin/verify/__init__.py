"""``admin::headless-verify``:

- `command`: what runs
- `objects`: rows of bundles and their objects
- `pushes`: push ids, and what pushes brought
- `report`: what was found, and repaired
"""
