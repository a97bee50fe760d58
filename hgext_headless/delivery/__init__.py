"""Delivery: a draft on its way out."""
