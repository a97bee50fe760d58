"""The catalog: all that speaks SQL, in Postgres or in SQLite. A file a subject:

- `schema`, `migrate`, ``migrations``: the tables
- `engine`: connections, deadlines, errors; `lease`: a lock with an end
- `batching`, `encoding`: many rows at once, lists in a column
- `catalog`: the facts about one repository, for the other rooms
- `record`: a push is written; `imports`, `pushlog_import`: so is what moves in
- `drafts`, `roots`, `bookmarks`, `markers`: what is stored
- `search`, `words`: pushes by the words of their changesets
- `pushlog`, `push_nodes`, `statistics`, `exports`: what was pushed
- `expiry`, `bans`, `tombstones`: what goes, what may not come back, and what is known of either
- `bundle_rows`, `deletions`: rows and objects
- `consistency`: what "hg admin::headless-verify" asks
"""
