"""Bundles, as files and as repositories:

- `ancestry`: which changesets a bundle holds
- `write`: the bundles that are stored; `verify_bundle`: one that stands alone, proved
- `changegroups`: what comes in, normalized; several, spliced
- `overlay`: bundles laid over the repository; `shared_index`: without reading it again
- `checks`: every revision of a push against its hash and its changesets
- `facts`: what the catalog keeps of a changeset
- `markers`: obsolescence markers, read and packed

Asks the store, and no database. `receive`, `wire`, `hgweb`, `lifecycle` and `admin` call in.
"""
