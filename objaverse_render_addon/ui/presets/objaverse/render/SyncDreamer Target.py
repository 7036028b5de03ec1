import bpy

settings = bpy.context.scene.objaverse
settings.pattern = "ring"
settings.normalize = "unit-cube"
settings.views = 16
settings.radius = (1.5, 1.5)
settings.elevation = (30.0, 30.0)
settings.fov = (49.134, 49.134)
settings.framing = "allow"
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
settings.resolution_x = 256
settings.resolution_y = 256
settings.passes = {"rgb", "depth", "normal", "mask"}
settings.normal_space = "camera"
