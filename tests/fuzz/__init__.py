"""Damaged files by the thousand: what does not end by name is kept. ``make fuzz`` runs it."""
