import bpy

settings = bpy.context.scene.objaverse
settings.normalize = "unit-cube"
settings.pattern = "zero123"
settings.views = 12
settings.radius = (1.5, 2.2)
settings.elevation = (-90.0, 90.0)
settings.fov = (49.1343, 49.1343)
settings.framing = "allow"
settings.only_northern_hemisphere = False
settings.shift = (0.0, 0.0)
settings.pixel_aspect = 1.0
settings.resolution_x = settings.resolution_y = 512
settings.engine = "cycles"
settings.samples = 128
settings.denoise = True
settings.lighting = "white"
settings.light_strength = 1.0
settings.use_background = False
settings.missing_textures = "neutral"
settings.missing_parts = "doubt"
settings.uncolored = "neutral"
