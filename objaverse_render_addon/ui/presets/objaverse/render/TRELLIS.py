import bpy

settings = bpy.context.scene.objaverse
settings.pattern = "hammersley"
settings.normalize = "unit-cube"
settings.views = 150
settings.radius = (2.0, 2.0)
settings.elevation = (-90.0, 90.0)
settings.fov = (40.0, 40.0)
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
settings.resolution_x = 512
settings.resolution_y = 512
settings.passes = {"rgb", "depth", "normal", "mask"}
settings.normal_space = "camera"
