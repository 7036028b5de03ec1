import bpy

settings = bpy.context.scene.objaverse
settings.pattern = "objaverse-xl"
settings.normalize = "unit-cube"
settings.views = 12
settings.radius = (1.5, 2.2)
settings.elevation = (-90.0, 90.0)
settings.fov = (49.1343, 49.1343)
settings.framing = "allow"
settings.missing_textures = "random"
settings.missing_parts = "doubt"
settings.uncolored = "random"
settings.lighting = "xl"
settings.light_strength = 1.0
settings.use_background = False
settings.only_northern_hemisphere = False
settings.shift = (0.0, 0.0)
settings.pixel_aspect = 1.0
settings.engine = "cycles"
settings.samples = 128
settings.denoise = True
settings.resolution_x = 512
settings.resolution_y = 512
settings.passes = {"rgb", "depth", "normal", "mask"}
settings.normal_space = "camera"
