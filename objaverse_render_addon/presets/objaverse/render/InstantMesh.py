import bpy

settings = bpy.context.scene.objaverse
settings.normalize = "cube"
settings.pattern = "fibonacci"
settings.views = 32
settings.fov = (50.0, 50.0)
settings.radius = (4.0, 4.0)
settings.framing = 'fit'
settings.resolution_x = settings.resolution_y = 512
settings.use_background = True
settings.background = (1.0, 1.0, 1.0)
