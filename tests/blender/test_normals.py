"""Normals that are not those of the faces: as the file has them, in the pass and in its axes."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.dataset.images import encode_png

from . import scenes

# A plate that faces +Z in Blender, and what its normals are said to be.
PLATE = np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], dtype=np.float64)
SAID = np.array([0.3, -0.2, 0.9]) / np.linalg.norm([0.3, -0.2, 0.9])


def normals_of(path: Path, folder: Path) -> np.ndarray:
    # Along the normals: Cycles bends what would reflect into the surface.
    poses = scenes.camera_file(
        folder / "poses.json", [scenes.look_at((1.2, -0.7, 4.0))], scenes.lens(40, (64, 64))
    )
    values = {
        **poses, "pixels.normal_space": "world", "pixels.passes": ["normal", "mask"],
        "asset.normalize": "cube",
    }  # fmt: skip
    (frame,) = scenes.shoot(path, values)
    assert scenes.failed_checks(frame) == []
    inside = scenes.interior(frame.passes["mask"])
    assert inside.sum() > 100
    return np.asarray(frame.passes["normal"][inside])


def write_gltf(path: Path, normal: Any = None, color: Any = None) -> Path:
    """The plate, with a normal at every corner, or a normal map of one colour."""

    def change(document: dict[str, Any]) -> None:
        parts: list[tuple[str, bytes]] = []
        primitive = document["meshes"][0]["primitives"][0]
        if normal is not None:
            y_up = np.array([normal[0], normal[2], -normal[1]], dtype="<f4")
            parts.append(("normal", np.tile(y_up, (4, 1)).tobytes()))
        if color is not None:
            uv = np.array([(0, 1), (1, 1), (1, 0), (0, 0)], dtype="<f4")
            picture = np.full((4, 4, 3), color, dtype=np.uint8)
            parts += [("uv", uv.tobytes()), ("image", encode_png(picture))]
            document["textures"], document["images"] = [{"source": 0}], []
            document["materials"] = [{"normalTexture": {"index": 0}, "doubleSided": True}]
            primitive["material"] = 0
        for what, data in parts:
            uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
            if what == "image":
                document["images"] = [{"uri": uri.replace("application/octet-stream", "image/png")}]
                continue
            document["buffers"].append({"byteLength": len(data), "uri": uri})
            view = {"buffer": len(document["buffers"]) - 1, "byteLength": len(data)}
            document["bufferViews"].append(view)
            document["accessors"].append({
                "bufferView": len(document["bufferViews"]) - 1, "componentType": 5126, "count": 4,
                "type": "VEC3" if what == "normal" else "VEC2",
            })  # fmt: skip
            name = "NORMAL" if what == "normal" else "TEXCOORD_0"
            primitive["attributes"][name] = len(document["accessors"]) - 1

    y_up = np.stack([PLATE[:, 0], PLATE[:, 2], -PLATE[:, 1]], axis=1)
    return scenes.write_glb(path, y_up, [(0, 1, 2, 3)], change)


@pytest.mark.core
@pytest.mark.parametrize("kind", ["glb", "obj"])
def test_custom_normals_survive(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"plate.{kind}"
    if kind == "glb":
        write_gltf(path, normal=SAID)
    else:
        lines = [f"v {x} {z} {-y}" for x, y, z in PLATE.tolist()]
        lines += [f"vn {SAID[0]} {SAID[2]} {-SAID[1]}", "f 1//1 2//1 3//1 4//1"]
        path.write_text("\n".join(lines) + "\n")
    normals = normals_of(path, tmp_path)
    # Blender keeps them as 16-bit angles from the face's own.
    assert scenes.angles(normals, SAID).max() < 0.05
    plain = normals_of(write_gltf(tmp_path / "plain.glb"), tmp_path)
    assert scenes.angles(plain, np.array([0, 0, 1.0])).max() < 0.05


@pytest.mark.core
def test_a_normal_map_is_in_the_normals(tmp_path: Path) -> None:
    color = np.array([200, 90, 220])
    tangent = color / 255 * 2 - 1
    # U runs along +X, V along +Y: the tangent space is the world's.
    expected = tangent / np.linalg.norm(tangent)
    normals = normals_of(write_gltf(tmp_path / "mapped.glb", color=color), tmp_path)
    assert scenes.angles(normals, expected).max() < 0.2
