"""The catalog: all that speaks SQL.

The facts about pushes, changesets and bundles, in Postgres or in SQLite.
"""
