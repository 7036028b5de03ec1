"""The raster lane beside Cycles, where a picture has many objects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from objaverse_render_addon.cameras import View, look_at
from objaverse_render_addon.frame import Shot

from . import scenes

OBJECTS = 200
SIZE = (640, 480)


def crowded(path: Path) -> Path:
    """Convex things that overlap and stick in each other, over a ground that they stand in."""
    rng = np.random.default_rng(4)
    shapes = [(scenes.CUBE_VERTICES, scenes.CUBE_FACES), scenes.sphere_mesh(24, 0.5)]
    with scenes.new_blend(path):
        ground = scenes.CUBE_VERTICES * (7, 7, 0.2)
        scenes.add_mesh(ground, scenes.CUBE_FACES, name="ground")
        for number in range(OBJECTS - 1):
            turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
            turn[:, 0] *= np.linalg.det(turn)
            matrix = np.eye(4)
            matrix[:3, :3] = turn * rng.uniform(0.15, 0.5, 3)
            matrix[:3, 3] = rng.uniform((-2.5, -2.5, 0.0), (2.5, 2.5, 0.8))
            scenes.add_mesh(*shapes[number % 2], name=f"thing {number}", matrix=matrix)
    return path


@pytest.mark.core
def test_depth_and_ids_of_many_objects_are_those_of_cycles(tmp_path: Path) -> None:
    """Off the silhouettes: where all eight neighbours have the pixel's own id in Cycles."""
    from objaverse_render_addon.blender.session import Session

    job = scenes.make_job({
        "pixels.resolution": list(SIZE), "pixels.passes": ["depth", "object_index"],
        "asset.normalize": "none", "engine.samples": 1, "cameras.pattern": "ring",
        "cameras.views": 1, "lighting.mode": "white",
    })  # fmt: skip
    session = Session(crowded(tmp_path / "crowd.blend"), "crowd", job, tmp_path)
    shot = Shot(View(0, look_at((3.4, -3.8, 5.0), (0, 0, 0.2), fov=45, size=SIZE)))
    drawn = session.raster.frame(shot).passes
    exact = session.renderer.render(shot).passes
    ids = exact["object_index"]
    around = np.pad(ids, 1, mode="edge")
    inside = np.ones(ids.shape, bool)
    for down in range(3):
        for across in range(3):
            inside &= around[down : down + SIZE[1], across : across + SIZE[0]] == ids
    seen = len(np.unique(ids[ids > 0]))
    assert seen > 0.9 * OBJECTS and 0.6 < inside.mean() < 0.95
    wrong = int((drawn["object_index"] != ids)[inside].sum())
    assert wrong <= 1e-4 * inside.sum(), f"{wrong} ids of {inside.sum():,}"
    on = inside & (ids > 0) & (drawn["object_index"] == ids)
    off = np.abs(drawn["depth"][on] / exact["depth"][on] - 1)
    print(f"{seen} objects, {inside.mean():.1%} of the pixels off silhouettes: {wrong} ids are "
          f"others; depth differs by {np.median(off):.1e}, {off.max():.1e} at most")  # fmt: skip
    assert off.max() <= 1e-4


_COLLECTED_ELSEWHERE = """
import gc, os, sys, threading
import subprocess
import sys
from pathlib import Path
from objaverse_render_addon.blender import index_drawing
from tests.blender import scenes

def draw():
    session = scenes.open_scene(Path(sys.argv[1]), scenes.make_job({"pixels.passes": ["depth"]}))
    frame = session.raster.frame(session.shots()[0])
    assert frame.passes["mask"].any() and "themselves" in session.raster.record["geometry"]

gc.disable()
draw()
elsewhere = threading.Thread(target=gc.collect)
elsewhere.start()
elsewhere.join()
assert len(index_drawing._left) == 1
draw()
assert not index_drawing._left
print("drawn twice", flush=True)
os._exit(0)
"""


@pytest.mark.core
def test_another_thread_may_collect_what_was_drawn_with(tmp_path: Path) -> None:
    """Where that let go of what the driver keeps, it ended the process (seen on 4.5)."""
    faces = scenes.triangles(scenes.CUBE_FACES)
    cube = scenes.write_glb(tmp_path / "cube.glb", scenes.CUBE_VERTICES, faces)
    done = subprocess.run(
        [sys.executable, "-c", _COLLECTED_ELSEWHERE, str(cube)], capture_output=True, text=True,
        cwd=Path(__file__).parents[2], timeout=120,
    )  # fmt: skip
    assert "drawn twice" in done.stdout, done.stderr[-2000:]
