import bpy

settings = bpy.context.scene.objaverse
settings.normalize = "unit-cube"
settings.pattern = "objaverse-xl"
settings.views = 12
settings.resolution_x = settings.resolution_y = 512
settings.lighting = 'xl'
settings.missing_textures = 'random'
settings.uncolored = 'random'
settings.samples = 128
