"""The operators' commands.

`commands` declares them; each one's work is in a module of its own, which is
imported when the command runs: most need the database.
"""
