"""The catalog: all SQL, for Postgres and for SQLite. One file for each subject:

- `schema`, `migrate`, ``migrations``: the tables
- `engine`: connections, deadlines, errors
- `coordination`: a lock that expires; wake waiting processes
- `statements`: a session, which is a transaction about one repository; many rows at once
- `catalog`: sessions for the other packages
- `record`: write a push; `moving`: what an import records, and an export reads
- `drafts`, `names`, `bookmarks`, `markers`: what is stored
- `announcements`: how far pushes were announced, for each target
- `search`: pushes by the words of their changesets
- `pushlog`, `statistics`: what was pushed
- `epochs`: a repository, made and dropped, and what its push ids belong to
- `public_log`: public history, for all servers
- `user_limits`: what one user has pushed and stored, and may
- `drop`, `bans`: drafts that expire, drafts that are gone, and why; `names` finds both
- `bundle_rows`, `deletions`: rows and objects
- `consistency`: what "hg admin::headless-verify" asks
- `diagnosis`: the health of a database, and which commands ran
"""
