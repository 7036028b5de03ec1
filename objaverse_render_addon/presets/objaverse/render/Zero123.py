import bpy

settings = bpy.context.scene.objaverse
settings.normalize = "unit-cube"
settings.pattern = "zero123"
settings.views = 12
settings.resolution_x = settings.resolution_y = 512
settings.lighting = 'white'
settings.samples = 128
