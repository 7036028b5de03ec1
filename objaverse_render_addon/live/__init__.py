"""Pictures while they are wanted: the progressive queue, what it draws with, and the viewer."""
