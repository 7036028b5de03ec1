import bpy

settings = bpy.context.scene.objaverse
settings.pattern = "hammersley"
settings.normalize = "unit-cube"
settings.views = 24
settings.radius = (0.1, 0.1)
settings.elevation = (-90.0, 90.0)
settings.fov = (10.0, 70.0)
settings.framing = "fit"
settings.missing_textures = "neutral"
settings.missing_parts = "doubt"
settings.uncolored = "neutral"
settings.lighting = "white"
settings.light_strength = 1.0
settings.use_background = False
settings.only_northern_hemisphere = False
settings.shift = (0.0, 0.0)
settings.pixel_aspect = 1.0
settings.engine = "cycles"
settings.samples = 64
settings.denoise = True
settings.resolution_x = 1024
settings.resolution_y = 1024
settings.passes = {"rgb"}
settings.normal_space = "camera"
