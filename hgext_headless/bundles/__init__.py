"""Bundles: writing those that are stored, and looking into them."""
