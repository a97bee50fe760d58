"""The operators' commands.

`commands` declares them. The work of a command is in a module of the same name, which is imported
when it runs, because most need the database.

- `init`, `stats`, `audit`, `doctor`
- `gc`, `expire`, ``verify``, and `housekeeping`, which runs these; `obliterate`, `rebuild`,
  `restored`
- `follow`, `announce`: what runs all the time
- `drop`: the end of a repository
- `import_drafts` with `public_clone`; `import_pushlog`; `export`
- `options`: ages, numbers, progress; `parallel`: several processes; `revsets`: drafts by name
"""
