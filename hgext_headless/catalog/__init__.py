"""The catalog: all SQL, for Postgres and for SQLite. One file for each subject:

- `schema`, `migrate`, ``migrations``: the tables
- `engine`: connections, deadlines, errors
- `coordination`: a lock that expires; wake waiting processes
- `statements`: a session, which is a transaction about one repository; many rows at once
- `catalog`: sessions for the other packages
- `record`: write a push; `moving`: what is imported and exported
- `drafts`, `names`, `bookmarks`, `markers`: what is stored
- `announcements`: how far pushes were announced, for each target
- `search`: pushes by the words of their changesets
- `pushlog`, `statistics`: what was pushed
- `epochs`: what push ids belong to
- `public_log`: public history, for all servers
- `user_limits`: what one user has pushed and stored, and may
- `drop`, `bans`: drafts that expire, drafts that are refused from now on; `names` finds both
- `bundle_rows`, `deletions`: rows and objects
- `consistency`: what "hg admin::headless-verify" asks
- `diagnosis`, `repositories`: the health of a database, and the end of a repository
"""
