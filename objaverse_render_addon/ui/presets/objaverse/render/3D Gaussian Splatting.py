import bpy

settings = bpy.context.scene.objaverse
settings.pattern = "fibonacci"
settings.normalize = "cube"
settings.views = 100
settings.radius = (4.53, 4.53)
settings.elevation = (-90.0, 90.0)
settings.fov = (45.0, 45.0)
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
settings.resolution_x = 800
settings.resolution_y = 800
settings.passes = {"rgb", "depth", "normal", "mask"}
settings.normal_space = "camera"
