"""The operators' commands. `commands` declares them; each one's work is in a module that is
called like it, and imported when the command runs: most need the database.

- `init`, `stats`, `audit`, `gc`, `expire`, `obliterate`, `rebuild`, ``verify``
- `import_drafts` with `drafts` and `public_clone`; `import_pushlog`; ``export``
- `cli`: ages, progress; `revsets`: drafts by name; `conflicts`: pushes that differ;
  `prometheus`: metrics in a file
"""
