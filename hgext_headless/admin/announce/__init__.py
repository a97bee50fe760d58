"""``admin::headless-announce``:

- `command`: the command: all targets, once or for ever
- `targets`: the targets in ``[headless-announce]``
- `delivery`: one message to one target
"""
