import bpy

settings = bpy.context.scene.objaverse
settings.normalize = "unit-cube"
settings.pattern = "hammersley"
settings.views = 150
settings.radius = (2.0, 2.0)
settings.fov = (40.0, 40.0)
settings.resolution_x = settings.resolution_y = 512
settings.lighting = 'white'
