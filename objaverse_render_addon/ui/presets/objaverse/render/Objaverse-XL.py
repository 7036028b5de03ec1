import bpy

settings = bpy.context.scene.objaverse
settings.normalize = "unit-cube"
# Fills in its number of views, radius, elevation, field of view and framing.
settings.pattern = "objaverse-xl"
settings.only_northern_hemisphere = False
settings.shift = (0.0, 0.0)
settings.pixel_aspect = 1.0
settings.resolution_x = settings.resolution_y = 512
settings.engine = "cycles"
settings.samples = 128
settings.denoise = True
settings.lighting = "xl"
settings.light_strength = 1.0
settings.use_background = False
settings.missing_textures = "random"
settings.missing_parts = "doubt"
settings.uncolored = "random"
