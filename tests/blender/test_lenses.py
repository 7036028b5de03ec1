"""Every kind of lens as Blender renders it, against ray casts along rays written down here anew."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from objaverse_render_addon.blender.camera import apply_camera, new_camera
from objaverse_render_addon.cameras import Camera, Rig, intrinsics_of, look_at_pose
from objaverse_render_addon.frame import Frame

from . import scenes

GEOMETRY = ["depth", "normal", "mask", "position", "distance", "object_index"]
BOX = (np.array([-0.7, -0.4, -0.5]), np.array([0.5, 0.6, 0.3]))
PLACED = scenes.rotation(25, -35, 50)
LENSES: dict[str, dict[str, Any]] = {
    "orthographic": {"cameras.projection": "orthographic", "cameras.ortho": 2.2},
    "orthographic, shifted, wide pixels": {
        "cameras.projection": "orthographic", "cameras.ortho": 2.5, "cameras.shift": [0.1, -0.07],
        "cameras.pixel_aspect": 0.8, "pixels.resolution": [120, 96],
    },
    "panorama": {
        "cameras.projection": "panorama", "pixels.resolution": [256, 128], "cameras.radius": 1.4,
    },
    "fisheye": {"cameras.projection": "fisheye", "cameras.fov": 120, "cameras.radius": 1.4},
    "fisheye, shifted, tall pixels": {
        "cameras.projection": "fisheye", "cameras.fov": [190, 220], "cameras.shift": [-0.1, 0.15],
        "cameras.pixel_aspect": 1.25, "pixels.resolution": [128, 100], "cameras.radius": 1.2,
    },
    "perspective, shifted": {"cameras.shift": [0.2, -0.1], "cameras.fov": 50},
}  # fmt: skip


def shoot(path: Path, name: str, **values: Any) -> list[Frame]:
    return scenes.shoot(path, {
        "asset.normalize": "none", "cameras.views": 3, "pixels.passes": GEOMETRY,
        "cameras.framing": "allow", "cameras.radius": 3.0, "pixels.resolution": [128, 128],
        **LENSES[name], **values,
    })  # fmt: skip


def rays_of(camera: Camera) -> tuple[Any, Any]:
    """Origins and directions (H, W, 3), in the world."""
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics
    v, u = np.indices((camera.height, camera.width)) + 0.5
    x, y = (u - cx) / fx, (cy - v) / fy
    zero, one = np.zeros_like(x), np.ones_like(x)
    local, start = {
        "perspective": lambda: ((x, y, -one), (zero, zero, zero)),
        "orthographic": lambda: ((zero, zero, -one), (x, y, zero)),
        "panorama": lambda: (
            (np.cos(y) * np.sin(x), np.sin(y), -np.cos(y) * np.cos(x)), (zero, zero, zero)
        ),
        "fisheye": lambda: (
            (np.sin(np.hypot(x, y)) * np.cos(np.arctan2(y, x)),
             np.sin(np.hypot(x, y)) * np.sin(np.arctan2(y, x)), -np.cos(np.hypot(x, y))),
            (zero, zero, zero),
        ),
    }[camera.projection]()  # fmt: skip
    rotation, place = camera.camera_to_world[:3, :3], camera.camera_to_world[:3, 3]
    return np.stack(start, -1) @ rotation.T + place, np.stack(local, -1) @ rotation.T


def cast_box(origins: Any, rays: Any) -> tuple[Any, Any]:
    inverse = np.linalg.inv(PLACED)[:3, :3]
    origins, local = origins @ inverse.T, rays @ inverse.T
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (BOX[0] - origins) / local, (BOX[1] - origins) / local
    near, far = np.fmin(first, second), np.fmax(first, second)
    axis, depth = near.argmax(axis=-1), near.max(axis=-1)
    hit = (depth <= far.min(axis=-1)) & (depth > 0)
    normal = np.zeros_like(local)
    sign = -np.sign(np.take_along_axis(local, axis[..., None], -1))
    np.put_along_axis(normal, axis[..., None], sign, -1)
    return np.where(hit, depth, np.nan), normal @ inverse


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lenses") / "box.blend"
    with scenes.new_blend(path):
        corners = np.array([[BOX[i][0], BOX[j][1], BOX[k][2]]
                            for i in (0, 1) for j in (0, 1) for k in (0, 1)])  # fmt: skip
        scenes.add_mesh(corners, scenes.CUBE_FACES, matrix=PLACED)
    return path


@pytest.mark.core
@pytest.mark.parametrize("name", LENSES)
def test_geometry_is_a_ray_cast_through_the_written_lens(name: str, box: Path) -> None:
    for frame in shoot(box, name):
        camera = frame.camera
        assert camera.projection == LENSES[name].get("cameras.projection", "perspective")
        origins, rays = rays_of(camera)
        depth, normal = cast_box(origins, rays)
        hit, mask = np.isfinite(depth), frame.passes["mask"] == 1
        if camera.projection == "fisheye":
            v, u = np.indices(mask.shape) + 0.5
            k = camera.intrinsics
            angle = np.hypot((u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1])
            hit &= angle < math.pi
        assert hit.sum() > 300
        assert (mask != hit).sum() <= 3
        inner = scenes.interior(mask & hit, 2)
        for axis in range(3):
            inner &= np.abs(np.gradient(normal[..., axis], axis=0)) < 1e-9
            inner &= np.abs(np.gradient(normal[..., axis], axis=1)) < 1e-9
        assert inner.sum() > 100
        # Steep faces change much within the hundredth of a pixel that rays may pass beside.
        facing = -(rays * normal).sum(-1) / np.linalg.norm(rays, axis=-1)
        inner &= facing > 0.2
        error = np.abs(frame.passes["depth"] - depth)[inner] / depth[inner]
        assert np.quantile(error, 0.99) < 5e-6
        seen = frame.passes["normal"].astype(np.float64) @ camera.camera_to_world[:3, :3].T
        assert np.quantile(scenes.angles(seen, normal)[inner], 0.99) < 1e-3
        points = origins + depth[..., None] * rays
        assert np.abs(frame.passes["position"] - points)[inner].max() < 1e-4
        assert np.abs(camera.unproject(frame.passes["depth"]) - points)[inner].max() < 1e-4
        length = depth * np.linalg.norm(rays, axis=-1)
        assert np.abs(frame.passes["distance"] - length)[inner].max() < 1e-4
        assert scenes.failed_checks(frame) == []
        shares = {check.name: check.value for check in frame.checks}
        assert shares["position_agrees_with_depth"] == 0
        if frame.view.index:
            assert shares["reprojection"] > 0.98


@pytest.mark.core
@pytest.mark.parametrize("projection", ["orthographic", "panorama", "fisheye"])
def test_what_blender_made_of_a_lens_is_what_was_asked_for(projection: str) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    obj = new_camera(scene)
    opening = {"orthographic": 1.7, "panorama": 0, "fisheye": 140}[projection]
    off = (0.0, 0.0) if projection == "panorama" else (0.13, -0.21)
    aspect = 1.0 if projection == "panorama" else 1.3
    for size in ((64, 48), (48, 64), (640, 320)):
        k = intrinsics_of(projection, opening, size, aspect, off)
        asked = Camera(*size, k, look_at_pose(12, 34, 2, Rig()), projection)
        seen = apply_camera(scene, obj, asked, 0.1, 10)
        assert seen.projection == projection
        assert np.allclose(seen.intrinsics, k, rtol=1e-6)
        assert np.allclose(seen.camera_to_world, asked.camera_to_world, atol=1e-6)


def test_a_wrong_lens_is_found(box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said to be orthographic, but was rendered with a perspective."""
    from objaverse_render_addon.blender import stage

    def lies(scene: Any, obj: Any, camera: Camera, near: float, far: float) -> Camera:
        seen = apply_camera(scene, obj, camera, near, far)
        obj.data.type = "PERSP"
        return seen

    monkeypatch.setattr(stage, "apply_camera", lies)
    found = [
        check for frame in shoot(box, "orthographic") for check in scenes.failed_checks(frame)
    ]
    assert found


@pytest.mark.parametrize("name", ["orthographic", "panorama", "fisheye"])
def test_the_witness_agrees_through_every_lens(name: str, tmp_path: Path) -> None:
    vertices, faces = scenes.sphere_mesh(24, 0.8)
    path = scenes.write_obj(tmp_path / "ball.obj", vertices, faces)
    for frame in shoot(path, name):
        found = {check.name: check for check in frame.checks if check.name.startswith("witness")}
        assert "witness_extra" in found
        assert all(check.status == "ok" for check in found.values()), found


def test_pictures_of_every_lens_cover_the_mask(box: Path) -> None:
    for name in ("orthographic", "panorama", "fisheye"):
        for frame in shoot(box, name, **{"pixels.passes": ["rgb", "mask"], "cameras.views": 1}):
            opaque = frame.passes["rgb"][..., 3] >= 128
            assert (opaque != (frame.passes["mask"] == 1)).mean() < 0.01
            assert scenes.failed_checks(frame) == []
