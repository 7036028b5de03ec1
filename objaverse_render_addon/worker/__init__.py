"""The process that has Blender in it: what it is told, what it does, who looks after it."""
