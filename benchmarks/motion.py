"""What ids, flow and occlusion cost over plain geometry, and whether long animations slow down.

    python benchmarks/motion.py                  # milliseconds of CPU a view, and ratios
    python benchmarks/motion.py --long 2000      # frames of one animation: time and memory
    python benchmarks/motion.py --profile flow   # where one of them spends them

A box that turns, a skinned tube, a sheet with a shape key and 24 instances, over a ground that
stands. What is compared runs by turns, and the least of each one's rounds counts.
"""

from __future__ import annotations

import argparse
import cProfile
import math
import pstats
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

PLAIN = ["depth", "normal", "position", "mask", "object_index"]
KINDS = {
    "plain": PLAIN,
    "ids": [*PLAIN, "instance_index", "material_index", "semantic_index"],
    "flow": [*PLAIN, "flow_forward", "flow_backward", "scene_flow"],
    "ids+flow": [*PLAIN, "instance_index", "material_index", "semantic_index", "flow_forward",
                 "flow_backward", "scene_flow"],
    "occlusion": [*PLAIN, "flow_forward", "flow_backward", "occlusion_forward",
                  "occlusion_backward"],
}  # fmt: skip


def _key(block: Any, path: str, values: dict[int, Any]) -> None:
    holder, _, name = path.rpartition(".")
    owner = block.path_resolve(holder) if holder else block
    for frame, value in values.items():
        setattr(owner, name, value)
        block.keyframe_insert(path, frame=frame)


def write(path: Path, last: int) -> None:
    """The scene, with ``last`` frames."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, last
    bpy.ops.mesh.primitive_plane_add(size=6, location=(0, 0, -1))
    turns = {frame: (0, 0, math.tau * frame / 24) for frame in range(1, last + 24, 24)}
    bpy.ops.mesh.primitive_cube_add(size=1, location=(-1.2, 0, 0))
    _key(bpy.context.object, "rotation_euler", turns)
    bpy.ops.mesh.primitive_grid_add(
        x_subdivisions=32, y_subdivisions=32, size=2, location=(0, 1.2, 0)
    )
    sheet = bpy.context.object
    sheet.shape_key_add(name="Basis")
    waves = sheet.shape_key_add(name="Waves")
    for point in waves.data:
        point.co.z = 0.3 * math.sin(4 * point.co.x)
    swing = {frame: float(frame // 12 % 2) for frame in range(1, last + 12, 12)}
    _key(sheet.data.shape_keys, 'key_blocks["Waves"].value', swing)
    bpy.ops.mesh.primitive_cylinder_add(vertices=48, radius=0.3, depth=1.6, location=(1.2, 0, 0))
    tube = bpy.context.object
    for number, name in enumerate(("Low", "High")):
        group = tube.vertex_groups.new(name=name)
        own = [v.index for v in tube.data.vertices if (v.co.z > 0) == bool(number)]
        group.add(own, 1.0, "REPLACE")
    rig = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    scene.collection.objects.link(rig)
    rig.location = tube.location
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    for name, low, high in (("Low", -0.8, 0), ("High", 0, 0.8)):
        bone = rig.data.edit_bones.new(name)
        bone.head, bone.tail = (0, 0, low), (0, 0, high)
    bpy.ops.object.mode_set(mode="OBJECT")
    tube.modifiers.new("Rig", "ARMATURE").object = rig
    rig.pose.bones["High"].rotation_mode = "XYZ"
    bends = {frame: (0.6 * (frame // 12 % 2), 0, 0) for frame in range(1, last + 12, 12)}
    _key(rig, 'pose.bones["High"].rotation_euler', bends)
    bpy.ops.mesh.primitive_ico_sphere_add(radius=0.1, subdivisions=2)
    ball = bpy.context.object
    for number in range(24):
        copy = bpy.data.objects.new(f"Ball{number}", ball.data)
        scene.collection.objects.link(copy)
        copy.location = (2 * math.cos(number), 2 * math.sin(number), -0.8)
    bpy.ops.wm.save_as_mainfile(filepath=str(path), check_existing=False)


def opened(path: Path, passes: list[str], size: int, scratch: Path, **values: Any) -> Any:
    """A session with the scene."""
    from objaverse_render_addon import RenderJob
    from objaverse_render_addon.blender.session import Session

    job = RenderJob().with_values(
        {"cameras.pattern": "ring", "cameras.views": 4, "pixels.passes": passes,
         "pixels.resolution": [size, size], "time.frames": "all", "engine.device": "cpu",
         **values}
    )  # fmt: skip
    return Session(path, "motion", job, scratch)


def spent(session: Any, shots: list[Any]) -> tuple[float, float]:
    """Milliseconds of CPU and of the clock that one shot takes."""
    from objaverse_render_addon.blender import pipeline

    cpu, since = time.process_time(), time.perf_counter()
    for _ in pipeline.frames(session.renderer, shots):
        pass
    count = len(shots) / 1000
    return (time.process_time() - cpu) / count, (time.perf_counter() - since) / count


def compared(path: Path, scratch: Path, options: argparse.Namespace) -> None:
    """A line for each kind of passes, with four views at each time and with one."""
    for views in (4, 1):
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS}
        for _ in range(options.rounds):
            for name, passes in KINDS.items():
                session = opened(
                    path, passes, options.size, scratch, **{"cameras.views": views}
                )
                shots = session.shots()
                # The first ones also build what stays.
                spent(session, shots[: 2 * views])
                rounds[name].append(spent(session, shots[2 * views :]))
        print(f"{views} views at each time, {options.size}x{options.size}:")
        base = min(cpu for cpu, _ in rounds["plain"])
        for name, found in rounds.items():
            cpu, wall = (min(one[place] for one in found) for place in (0, 1))
            print(
                f"  {name:10} {cpu:7.1f} ms of CPU a view, {wall:6.1f} ms of the clock, "
                f"{cpu - base:+6.1f} ms over plain, {cpu / base:5.2f} times"
            )


def endured(path: Path, scratch: Path, options: argparse.Namespace) -> None:
    """A line for each tenth of a long animation."""
    from objaverse_render_addon.blender import pipeline

    session = opened(
        path, KINDS["ids+flow"], 64, scratch,
        **{"cameras.views": 1, "cameras.pattern": "orbit"},
    )  # fmt: skip
    some, first, since = [], 0.0, time.process_time()
    for number, _ in enumerate(pipeline.frames(session.renderer, session.shots()), 1):
        some.append((time.process_time() - since) * 1000)
        since = time.process_time()
        if len(some) == max(1, options.long // 10):
            median = statistics.median(some)
            first = first or median
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            print(
                f"frames to {number:5d}: median {median:.1f} ms of CPU, {median / first:.2f} "
                f"times the first tenth's, memory {pages * 4096 / 2**20:.0f} MiB",
                flush=True,
            )
            some = []


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long", type=int, metavar="FRAMES")
    parser.add_argument("--profile", choices=KINDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, scratch = folder / "motion.blend", folder / "scratch"
        scratch.mkdir()
        write(path, options.long or options.frames)
        if options.long:
            endured(path, scratch, options)
        elif options.profile:
            session = opened(path, KINDS[options.profile], options.size, scratch)
            profile = cProfile.Profile()
            profile.runcall(spent, session, session.shots())
            pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
        else:
            compared(path, scratch, options)


if __name__ == "__main__":
    main()
