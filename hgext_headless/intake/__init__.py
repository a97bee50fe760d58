"""Intake: a push on its way in."""
