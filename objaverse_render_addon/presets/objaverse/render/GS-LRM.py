import bpy

settings = bpy.context.scene.objaverse
settings.normalize = "cube"
settings.pattern = "gs-lrm"
settings.views = 32
settings.resolution_x = settings.resolution_y = 512
settings.lighting = 'white'
settings.only_northern_hemisphere = False
