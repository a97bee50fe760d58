"""A push on its way in. `flow` reads top to bottom. The files, in the order in which data passes:

- `stream`: the body of a push, with limits
- `parts`: the bundle2 parts of a push
- `incoming`: what was received, in files and in memory, not applied
- `quarantine`: a repository in which the whole push is visible
- `hooks`: the site's hooks, in stock's order
- `divide`: by phase, changesets and markers into public ones and drafts; `bookmarks` does so with
  bookmarks
- `apply`: what goes into the repository
- `flow`: all steps, up to the report to the client
- `pushkey`: the command ``pushkey``, which is a push too

Called by both extensions, and by `admin`.
"""
