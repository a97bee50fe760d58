"""Bundles, as files and as repositories:

- `ancestry`: which changesets a bundle holds
- `write`: write the bundles that are stored
- `changegroups`: normalize an incoming changegroup; splice several into one
- `overlay`: the repository with bundles laid over it; `shared_index`: without reading its index
  again
- `check`: check each revision of a push against its hash and its changeset, and what is
  written against the push; what the catalog records of a changeset; `manifests`: what of a
  manifest that takes
- `markers`: obsolescence markers, read and packed

Uses the store, not the database. Called by `lifecycle` and all above.
"""
