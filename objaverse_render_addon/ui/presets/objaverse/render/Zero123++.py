import bpy

settings = bpy.context.scene.objaverse
settings.pattern = "zero123plus"
settings.normalize = "cube"
settings.views = 7
settings.radius = (4.0, 4.0)
settings.elevation = (-20.0, 45.0)
settings.fov = (30.0, 30.0)
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
settings.resolution_x = 320
settings.resolution_y = 320
settings.passes = {"rgb", "depth", "normal", "mask"}
settings.normal_space = "camera"
