"""Real composed scenes, settled by physics, drawn in NumPy in place of Blender: ids and depth are
those of the true meshes, light is two lamps and a sky without shadows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from objaverse_render_addon.cameras import Camera, intrinsics_of
from objaverse_render_addon.compose.covering import covered
from objaverse_render_addon.compose.make import make
from objaverse_render_addon.compose.record import Scene
from objaverse_render_addon.compose.rules import Rules
from objaverse_render_addon.compose.seen import view_of
from objaverse_render_addon.compose.things import thing_of
from objaverse_render_addon.passspec import PASSES

ROOM = np.array([0.62, 0.58, 0.52])


def unit(folder: Path, rules: Rules, index: int, side: int = 160) -> Scene:
    """A scene's unit as the batch engine leaves it, without sentences."""
    scene = make(rules, index)
    folder.mkdir(parents=True)
    meshes = [thing_of(made) for made in scene.recipe["objects"]]
    views, records = [], []
    for number, said in enumerate(scene.recipe["cameras"]):
        camera = Camera(side, side, intrinsics_of(
            "perspective", said["fov_deg"], (side, side), 1.0, (0.0, 0.0)), np.array(said["pose"]))
        arrays = picture(scene, meshes, camera)
        record = {"index": number, "view": number, "width": side, "height": side, "pose": {},
                  "intrinsics": camera.intrinsics.tolist(),
                  "camera_to_world": camera.camera_to_world.tolist()}  # fmt: skip
        for name, data in arrays.items():
            file = f"{number:03d}_{name}.{'png' if name in ('rgb', 'mask') else 'npy'}"
            if file.endswith("png"):
                Image.fromarray(data).save(folder / file)
            else:
                np.save(folder / file, data)
            record[PASSES[name].record_key] = file
        records.append(record)
        views.append(view_of(number, camera, scene, meshes, arrays["instance_index"],
                             arrays["rgb"], arrays["albedo"]))  # fmt: skip
    scene = Scene(**{**vars(scene), "views": tuple(views)})
    scene.write(folder / "scene.json")
    (folder / "metadata.json").write_text(json.dumps({
        "views": records, "sha256": f"{rules.seed}-{index}", "license": "CC0-1.0",
        "file_identifier": f"scene-{index:06d}", "object_names": {},
        "render_settings": {"num_views": len(records), "modalities": list(arrays)},
        "normalization": {"bounds_exact": True, "bbox_min": [-1, -1, -1], "bbox_max": [1, 1, 1],
                          "bounding_sphere_center": [0, 0, 0], "bounding_sphere_radius": 2},
    }))  # fmt: skip
    return scene


def linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def picture(scene: Scene, meshes: list, camera: Camera) -> dict[str, np.ndarray]:
    height, width = camera.height, camera.width
    origin = camera.camera_to_world[:3, 3]
    rays = camera.rays() @ camera.camera_to_world[:3, :3].T
    x, y, _ = scene.support.size_m
    with np.errstate(divide="ignore"):
        depth = -origin[2] / rays[..., 2]
    spot = origin + rays * np.where(depth > 0, depth, 0)[..., None]
    if scene.support.shape == "round":
        on = np.hypot(spot[..., 0], spot[..., 1]) < x / 2
    else:
        on = (np.abs(spot[..., :2]) < np.array([x, y]) / 2).all(axis=-1)
    top = (depth > 0) & on
    count = len(meshes)
    # All else is a wall far away, so that every pixel has a depth.
    depth = np.where(top, depth, 6.0)
    ids = np.where(top, count + 1, count + 3)
    albedo = np.broadcast_to(ROOM, (height, width, 3)).copy()
    normal = np.broadcast_to([0.0, 0.0, 1.0], (height, width, 3)).copy()
    for obj, mesh, made in zip(scene.objects, meshes, scene.recipe["objects"], strict=True):
        pose = np.array(obj.pose)
        points = mesh.vertices @ pose[:3, :3].T + pose[:3, 3]
        uv, z = camera.project(points)
        corners = points[mesh.triangles]
        facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        facing /= np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-12)
        paint = linear(np.array([slot["rgb"] for slot in made["slots"]]))[mesh.slots]
        for which, column, row, areas in covered(uv[mesh.triangles], width, height):
            whole = areas.sum(axis=0)
            sound = np.abs(whole) > 1e-12
            which, column, row = which[sound], column[sound], row[sound]
            share = areas[:, sound] / whole[sound]
            near = 1 / (share / z[mesh.triangles[which]].T).sum(axis=0)
            # The nearest of a pixel comes last.
            order = np.argsort(-near, kind="stable")
            which, column, row, near = which[order], column[order], row[order], near[order]
            best = np.full((height, width), np.inf)
            np.minimum.at(best, (row, column), near)
            keep = (near <= best[row, column]) & (near < depth[row, column])
            which, column, row = which[keep], column[keep], row[keep]
            depth[row, column], ids[row, column] = near[keep], obj.id
            albedo[row, column], normal[row, column] = paint[which], facing[which]
    places = origin + rays * depth[..., None]
    light = scene.recipe["light"]
    shine = 0.72 * light["sky"] * np.array(light["sky_color"])
    lit = np.zeros((height, width, 3)) + shine
    for lamp in light["lamps"]:
        step = np.array(lamp["position"]) - places
        far = np.linalg.norm(step, axis=-1, keepdims=True)
        falls = np.clip((normal * step / far).sum(axis=-1, keepdims=True), 0, 1)
        lit = lit + falls * lamp["power"] / (np.pi**2 * far**2) * np.array(lamp["color"])
    seen = np.clip(albedo * lit, 0, 1)
    coded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    rgb = np.concatenate([np.rint(255 * coded), np.full((height, width, 1), 255)], axis=-1)
    return {
        "rgb": rgb.astype(np.uint8), "depth": depth.astype(np.float32),
        "albedo": albedo.astype(np.float16), "mask": np.full((height, width), 255, np.uint8),
        "instance_index": ids.astype(np.uint32),
    }  # fmt: skip
