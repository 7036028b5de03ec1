"""Scenes of many objects: drawn, settled by physics, rendered as one unit each."""
