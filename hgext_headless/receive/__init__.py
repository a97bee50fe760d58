"""A push on its way in. `flow` reads top to bottom; the files, as data passes them:

- `stream`: the body of a push, bounded
- `parts`: the bundle2 parts of a push; `pushkey`: what comes as keys
- `incoming`: what has come in, spooled, nothing applied
- `quarantine`: a repository in which the push can be seen whole
- `hooks`: the site's hooks, in stock's order
- `partition`: public, and drafts; `bookmarks` and `markers`: the same of those
- `pack`: the bundles of the drafts
- `apply`: the repository's share
- `flow`: all of it, up to what the client is told

The extension `hgext_headless.push` calls in.
"""
