"""Composed scenes in the window: drawn and settled, seen, described, written."""
