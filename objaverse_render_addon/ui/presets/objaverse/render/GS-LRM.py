import bpy

settings = bpy.context.scene.objaverse
settings.normalize = "cube"
settings.pattern = "gs-lrm"
settings.views = 32
settings.radius = (1.5, 2.8)
settings.elevation = (-45.0, 45.0)
settings.fov = (35.0, 70.0)
settings.framing = "fit"
settings.only_northern_hemisphere = False
settings.shift = (0.0, 0.0)
settings.pixel_aspect = 1.0
settings.resolution_x = settings.resolution_y = 512
settings.engine = "cycles"
settings.samples = 64
settings.denoise = True
settings.lighting = "white"
settings.light_strength = 1.0
settings.use_background = False
settings.missing_textures = "neutral"
settings.missing_parts = "doubt"
settings.uncolored = "neutral"
