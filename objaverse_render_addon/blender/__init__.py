"""Blender without its user interface: import, normalise, light, render. Needs ``bpy``."""
