"""Render the picture of docs/formats-supported.md: kinds of files, and what becomes of each.

    python tools/take_support_grid.py

The inputs are made here by code. Look at the picture before it is committed: each row has to show
what the page says of it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from blender import scenes  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402

from objaverse_render_addon.dataset.coloring import colored  # noqa: E402
from objaverse_render_addon.dataset.images import composite, encode_png  # noqa: E402

PICTURE: Final = ROOT / "docs/images/support-grid.png"
PASSES: Final = ("rgb", "albedo", "normal", "depth", "mask", "object_index")
SIZE: Final = 88
LABEL: Final = 250
JOB: Final[dict[str, Any]] = {
    "pixels.resolution": [SIZE, SIZE], "pixels.passes": list(PASSES), "engine.samples": 64,
    "engine.denoise": True, "cameras.pattern": "ring", "cameras.views": 7,
    "cameras.elevation": [25, 25], "cameras.fov": [40, 40], "cameras.framing": "fit",
    "cameras.radius": [3.0, 3.0], "asset.normalize": "sphere",
}  # fmt: skip
RED, BLUE = (0.8, 0.1, 0.05, 1), (0.1, 0.25, 0.8, 1)


def _ball_and_box(path: Path, **options: Any) -> None:
    with scenes.new_export(path, **options):
        scenes.add_sphere(0.7, (0.5, 0, 0), material=scenes.principled(Base_Color=RED))
        scenes.add_cube(1.0, (-0.6, 0.1, -0.2), material=scenes.principled(
            "Metal", Base_Color=BLUE, Metallic=1.0, Roughness=0.25))  # fmt: skip


def _textured(path: Path) -> None:
    vertices = scenes.CUBE_VERTICES * 1.6
    faces = scenes.CUBE_FACES
    lines = ["mtllib checker.mtl", "usemtl checker"]
    lines += [f"v {x} {y} {z}" for x, y, z in vertices.tolist()]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1"]
    lines += ["f " + " ".join(f"{i + 1}/{k + 1}" for k, i in enumerate(face)) for face in faces]
    path.write_text("\n".join(lines) + "\n")
    path.with_name("checker.mtl").write_text("newmtl checker\nmap_Kd checker.png\n")
    squares = (np.add.outer(np.arange(64) // 16, np.arange(64) // 16) % 2)[..., None]
    checker = np.where(squares, (235, 190, 40), (40, 90, 60)).astype(np.uint8)
    path.with_name("checker.png").write_bytes(encode_png(checker))


def _without_texture(path: Path) -> None:
    _textured(path)
    path.with_name("checker.png").unlink()


def _colored(path: Path) -> None:
    vertices, faces = scenes.sphere_mesh(48)
    colors = np.clip((vertices + 1) * 127.5, 0, 255).astype(np.uint8)
    scenes.write_ply(path, vertices, faces, colors.tolist())


def _bare(path: Path) -> None:
    vertices, faces = scenes.sphere_mesh(24)
    cut = np.where(vertices[:, 2:] > 0.3, vertices * (0.6, 0.6, 1.4), vertices)
    scenes.write_stl(path, cut, faces)


def _pane(path: Path) -> None:
    with scenes.new_export(path):
        scenes.add_sphere(0.6, material=scenes.principled(Base_Color=RED))
        for name, alpha, x in (("Faint", 0.2, -0.55), ("Strong", 0.8, 0.55)):
            pane = scenes.principled(name, Base_Color=BLUE, Alpha=alpha)
            corners = [(x - 0.5, -0.9, -0.8), (x + 0.5, -0.9, -0.8),
                       (x + 0.5, -0.9, 0.8), (x - 0.5, -0.9, 0.8)]  # fmt: skip
            scenes.add_mesh(corners, [(0, 1, 2, 3)], name=name, material=pane)


def _modifiers(path: Path) -> None:
    with scenes.new_blend(path):
        obj = scenes.add_cube(1.3, material=scenes.principled(Base_Color=BLUE))
        rounded = obj.modifiers.new("Round", "SUBSURF")
        rounded.levels, rounded.render_levels = 0, 3
        row = obj.modifiers.new("Row", "ARRAY")
        row.count = 2


def _instances(path: Path) -> None:
    import bpy

    with scenes.new_blend(path) as scene:
        ball = scenes.add_sphere(0.35, material=scenes.principled(Base_Color=RED), link=False)
        group = bpy.data.collections.new("Balls")
        group.objects.link(ball)
        for index in range(5):
            empty = bpy.data.objects.new(f"Place {index}", None)
            empty.instance_type, empty.instance_collection = "COLLECTION", group
            empty.location = (0.75 * (index - 2), 0, 0.25 * (index % 2))
            scene.collection.objects.link(empty)


def _animated(path: Path) -> None:
    with scenes.new_export(path):
        box = scenes.add_cube(0.9, material=scenes.principled(Base_Color=RED))
        scenes.add_cube(0.5, (1.2, 0, 0), material=scenes.principled("B", Base_Color=BLUE))
        for frame, turn in ((1, 0.0), (24, 0.8)):
            box.rotation_euler = (turn, 0.0, 0.0)
            box.keyframe_insert("rotation_euler", frame=frame)


ROWS: Final[list[tuple[str, str, Callable[[Path], None], dict[str, Any]]]] = [
    ("box.glb", "glTF: PBR materials,\na metal's albedo too", _ball_and_box, {}),
    ("checker.obj", "OBJ with MTL\nand texture", _textured, {}),
    ("lost.obj", "its texture is missing:\nneutral, and a warning", _without_texture, {}),
    ("colors.ply", "PLY: vertex colours", _colored, {}),
    ("bare.stl", "STL without colours:\nneutral", _bare, {}),
    ("pane.glb", "opacity 0.2 is no object,\n0.8 is (threshold 0.5)", _pane, {}),
    ("modified.blend", "modifiers as they render", _modifiers, {}),
    ("instances.blend", "instances", _instances, {}),
    ("moving.glb", "animation: one frame,\nhere --frame 24", _animated, {"asset.frame": 24}),
]


def _row(name: str, make: Callable[[Path], None], values: dict[str, Any]) -> list[np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / name
        make(source)
        session = scenes.open_scene(source, scenes.make_job({**JOB, **values}))
        frame = session.renderer.render(session.shots([5])[0])
    mask = frame.passes["mask"] > 0
    white = (1.0, 1.0, 1.0)
    return [composite(colored(name, frame.passes[name], mask), white) for name in PASSES]


def main() -> None:
    """Render all rows, one picture."""
    gap, head = 4, 18
    width = LABEL + len(PASSES) * (SIZE + gap)
    picture = Image.new("RGB", (width, head + len(ROWS) * (SIZE + gap)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for column, name in enumerate(PASSES):
        draw.text((LABEL + column * (SIZE + gap), 1), name, "black", font)
    for row, (name, words, make, values) in enumerate(ROWS):
        top = head + row * (SIZE + gap)
        draw.text((4, top + 18), f"{name}\n{words}", "black", font)
        for column, pixels in enumerate(_row(name, make, values)):
            picture.paste(Image.fromarray(pixels), (LABEL + column * (SIZE + gap), top))
    picture.save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size // 1024} KiB", file=sys.stderr)


if __name__ == "__main__":
    main()
