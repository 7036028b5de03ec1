"""Where a 3D file comes from, and what it is."""
