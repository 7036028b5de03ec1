"""What most render scripts do, for comparison: one process, full frame, default denoiser, RGB.

Settings are those of the Objaverse-XL render script on the CPU (16 samples here), which writes
only RGB.
"""

import math
import random
import sys
from pathlib import Path

import bpy
from mathutils import Vector


def main() -> None:
    source, out, views = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    size, samples = int(sys.argv[4]), int(sys.argv[5])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(source), merge_vertices=True)
    scene = bpy.context.scene
    corners = [
        obj.matrix_world @ Vector(corner)
        for obj in scene.objects
        if obj.type == "MESH"
        for corner in obj.bound_box
    ]
    low = Vector(min(corner[i] for corner in corners) for i in range(3))
    high = Vector(max(corner[i] for corner in corners) for i in range(3))
    parent = bpy.data.objects.new("parent", None)
    scene.collection.objects.link(parent)
    for obj in scene.objects:
        if obj.parent is None and obj is not parent:
            obj.parent = parent
    scale = 1 / max(high - low)
    parent.scale = (scale, scale, scale)
    parent.location = -(low + high) / 2 * scale
    for energy, angle in ((4, 45), (3, 135), (4, -45), (2, 180)):
        light = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
        light.data.energy = energy
        light.rotation_euler = (math.radians(angle), 0, math.radians(angle))
        scene.collection.objects.link(light)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.lens, camera.data.sensor_width = 35, 32
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.engine = "CYCLES"
    scene.render.film_transparent = True
    scene.render.resolution_x = scene.render.resolution_y = size
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode = "PNG", "RGBA"
    cycles = scene.cycles
    cycles.samples = samples
    cycles.diffuse_bounces = cycles.glossy_bounces = 1
    cycles.transparent_max_bounces = cycles.transmission_bounces = 3
    cycles.filter_width = 0.01
    cycles.use_denoising = True
    random.seed(0)
    for index in range(views):
        direction = Vector(random.gauss(0, 1) for _ in range(3)).normalized()
        camera.location = direction * random.uniform(1.5, 2.2)
        camera.rotation_euler = (-direction).to_track_quat("-Z", "Y").to_euler()
        scene.render.filepath = str(out / f"{index:03d}.png")
        bpy.ops.render.render(write_still=True)


main()
