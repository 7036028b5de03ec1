"""Composed scenes by formula: boxes, cylinders and balls on a table, drawn ray by ray in numpy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from objaverse_render_addon.cameras import Camera, intrinsics_of
from objaverse_render_addon.compose.colors import shares
from objaverse_render_addon.compose.record import (
    Color,
    Contact,
    Scene,
    SceneObject,
    SceneView,
    StagePart,
    Support,
    ViewObject,
)

TABLE = 1000
RGB = {
    "red": (200, 20, 15), "green": (25, 130, 40), "blue": (20, 60, 190), "yellow": (240, 215, 30),
    "white": (235, 235, 235), "black": (14, 14, 14), "orange": (245, 130, 10),
    "purple": (120, 25, 145),
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A box (half sizes), a cylinder (radius, radius, half height) or a ball (radius)."""

    shape: str
    half: tuple[float, float, float]
    at: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
        o = origin - np.array(self.at)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.shape == "ball":
                return _round(o / self.half[0], rays / self.half[0])
            if self.shape == "box":
                return _slabs(o, rays, self.half)
            side = _round(o[:2] / self.half[0], rays[..., :2] / self.half[0], both=True)
            near, far = side
            one, two = (-self.half[2] - o[2]) / rays[..., 2], (self.half[2] - o[2]) / rays[..., 2]
            enter = np.maximum(near, np.minimum(one, two))
            leave = np.minimum(far, np.maximum(one, two))
        return np.where((enter <= leave) & (enter > 0), enter, np.inf)

    def corners(self) -> np.ndarray:
        h = np.array(self.half)
        if self.shape == "box":
            signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
            return signs * h + self.at
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ring = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
        if self.shape == "cylinder":
            return np.concatenate([ring * h + [0, 0, z * h[2]] for z in (-1, 1)]) + self.at
        levels = np.linspace(-1, 1, 9)
        return np.concatenate(
            [h[0] * (ring * np.sqrt(1 - z * z) + [0, 0, z]) for z in levels]) + self.at


def _round(o, d, both=False):
    a = (d**2).sum(axis=-1)
    b = d @ o
    under = b**2 - a * (o @ o - 1)
    root = np.sqrt(np.maximum(under, 0))
    near = np.where(under >= 0, (-b - root) / a, np.inf)
    if both:
        return near, np.where(under >= 0, (-b + root) / a, -np.inf)
    return np.where(near > 0, near, np.inf)


def _slabs(o, d, half):
    one, two = (-np.array(half) - o) / d, (np.array(half) - o) / d
    enter, leave = np.minimum(one, two).max(axis=-1), np.maximum(one, two).min(axis=-1)
    return np.where((enter <= leave) & (enter > 0), enter, np.inf)


def _open_box(x, y, z, wall=0.006):
    return (
        Part("box", (x, y, wall / 2), (0, 0, wall / 2 - z)),
        *(Part("box", (wall / 2, y, z), (s * (x - wall / 2), 0, 0)) for s in (-1, 1)),
        *(Part("box", (x, wall / 2, z), (0, s * (y - wall / 2), 0)) for s in (-1, 1)),
    )


THINGS: dict[str, tuple[str, tuple[Part, ...]]] = {
    "ball": ("ball", (Part("ball", (0.04, 0.04, 0.04)),)),
    "can": ("can", (Part("cylinder", (0.035, 0.035, 0.055)),)),
    "bottle": ("bottle", (Part("cylinder", (0.03, 0.03, 0.10)),)),
    "cube": ("toy", (Part("box", (0.03, 0.03, 0.03)),)),
    "book": ("book", (Part("box", (0.07, 0.095, 0.016)),)),
    "crate": ("box", _open_box(0.10, 0.08, 0.04)),
    "mug": ("mug", (Part("cylinder", (0.042, 0.042, 0.045)),)),
    "spoon": (
        "spoon",
        (Part("box", (0.07, 0.004, 0.004)), Part("ball", (0.03, 0.03, 0.03), (0.07, 0, 0))),
    ),
    "candle": ("candle", (Part("cylinder", (0.03, 0.03, 0.05)),)),
}


@dataclass
class Placed:
    """A thing to put down.

    Attributes:
        height: Of its lowest point over the table.
        on: Place of what it stands in or on, from 0.
    """

    name: str
    color: str
    x: float
    y: float
    yaw: float = 0.0
    height: float = 0.0
    on: int | None = None
    scale: float = 1.0

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(
            Part(p.shape, tuple(self.scale * v for v in p.half),
                 tuple(self.scale * v for v in p.at))
            for p in THINGS[self.name][1])  # fmt: skip

    @property
    def low(self) -> float:
        return float(min(p.corners()[:, 2].min() for p in self.parts))

    @property
    def pose(self) -> np.ndarray:
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[c, -s, 0, self.x], [s, c, 0, self.y],
                         [0, 0, 1, self.height - self.low], [0, 0, 0, 1]])  # fmt: skip


def camera_at(azimuth=0.0, elevation=40.0, radius=1.1, size=(160, 120), fov=45.0) -> Camera:
    """Looks at the table's middle; at azimuth 0 from -Y, so that +X is to the right."""
    a, e = np.radians(azimuth), np.radians(elevation)
    back = np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    right = np.array([np.cos(a), np.sin(a), 0])
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, np.cross(back, right), back
    pose[:3, 3] = radius * back
    return Camera(*size, intrinsics_of("perspective", fov, size, 1.0, (0.0, 0.0)), pose)


def _hits(placed: list[Placed], camera: Camera) -> np.ndarray:
    rays = camera.rays() @ camera.camera_to_world[:3, :3].T
    found = []
    for one in placed:
        turn, at = one.pose[:3, :3], one.pose[:3, 3]
        o, d = (camera.camera_to_world[:3, 3] - at) @ turn, rays @ turn
        found.append(np.min([part.hit(o, d) for part in one.parts], axis=0))
    return np.array(found).reshape(len(placed), *rays.shape[:2])


def _wider(camera: Camera) -> Camera:
    k = camera.intrinsics.copy()
    k[0, 2] += camera.width / 2
    k[1, 2] += camera.height / 2
    return Camera(2 * camera.width, 2 * camera.height, k, camera.camera_to_world)


def write(
    folder: Path, placed: list[Placed], cameras: list[Camera], seed=0, index=0, layout="scatter",
    tint: tuple[float, float, float] = (1, 1, 1),
    moved: dict[int, tuple[float, float]] | None = None,
) -> Scene:  # fmt: skip
    """A scene's unit.

    Args:
        tint: Of the light.
        moved: Place to what it moved by after ``scene.json`` was made, as one who is wrong does.
    """
    folder.mkdir(parents=True)
    shown = [Placed(**{**vars(one)}) for one in placed]
    for place, (dx, dy) in (moved or {}).items():
        shown[place].x += dx
        shown[place].y += dy
    objects, looks, views = [], [], []
    for i, one in enumerate(placed):
        corners = np.concatenate([part.corners() for part in one.parts])
        size = corners.max(axis=0) - corners.min(axis=0)
        held = 0 if one.on is None else one.on + 1
        objects.append(SceneObject(
            i + 1, one.name, THINGS[one.name][0], f"made:{one.name}", "CC0-1.0",
            tuple(size.tolist()), "parametric",
            Color(one.color, tuple(v / 255 for v in RGB[one.color])), (),
            tuple(map(tuple, one.pose.tolist())), tuple(map(tuple, corners.tolist())),
            one.name == "crate", float(np.prod(size)), 0.0,
            (Contact(held, (0.0, 0.0, 1.0), 1.0),), None,
            float(size[2]) if one.name == "crate" else None,
        ))  # fmt: skip
    for number, camera in enumerate(cameras):
        arrays, looks = _view(shown, camera, tint)
        record: dict[str, Any] = {
            "index": number, "view": number, "width": camera.width, "height": camera.height,
            "intrinsics": camera.intrinsics.tolist(),
            "camera_to_world": camera.camera_to_world.tolist(), "pose": {},
        }  # fmt: skip
        for name, data in arrays.items():
            file = f"{number:03d}_{name}.{'png' if name in ('rgb', 'mask') else 'npy'}"
            if name in ("rgb", "mask"):
                Image.fromarray(data).save(folder / file)
            else:
                np.save(folder / file, data)
            record[name] = file
        from objaverse_render_addon.passspec import PASSES

        views.append({PASSES[k].record_key if k in PASSES else k: v for k, v in record.items()})
        looks_of = SceneView(number, tuple(looks))
        views[-1]["_looks"] = looks_of
    seen = tuple(view.pop("_looks") for view in views)
    scene = Scene(seed, index, layout, Support("table", (1.2, 1.2, 0.03), "wood"),
                  tuple(objects), (StagePart(TABLE, "table"),), seen)  # fmt: skip
    scene.write(folder / "scene.json")
    metadata = {
        "views": views, "sha256": f"{seed}-{index}", "license": "CC0-1.0",
        "file_identifier": "made", "object_names": {},
        "render_settings": {"num_views": len(views),
                            "modalities": ["rgb", "depth", "mask", "albedo", "instance_index"]},
        "normalization": {"bounds_exact": True, "bbox_min": [-1, -1, -1], "bbox_max": [1, 1, 1],
                          "bounding_sphere_center": [0, 0, 0], "bounding_sphere_radius": 2},
    }  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return scene


def _view(placed, camera, tint):
    wide = _hits(placed, _wider(camera))
    h, w = camera.height, camera.width
    hits = wide[:, h // 2 : h // 2 + h, w // 2 : w // 2 + w]
    rays = camera.rays() @ camera.camera_to_world[:3, :3].T
    origin = camera.camera_to_world[:3, 3]
    with np.errstate(divide="ignore"):
        table = -origin[2] / rays[..., 2]
    point = origin + rays * np.where(table > 0, table, 0)[..., None]
    table = np.where((table > 0) & (np.abs(point[..., :2]).max(axis=-1) < 0.6), table, np.inf)
    every = np.concatenate([hits, table[None]])
    first = every.argmin(axis=0)
    t = every.min(axis=0)
    seen = np.isfinite(t)
    ids = np.where(seen, np.append(np.arange(1, len(placed) + 1), TABLE)[first], 0)
    colors = np.array([RGB[one.color] for one in placed] + [(150, 111, 70)], np.float64)
    depth = np.where(seen, t, 0).astype(np.float32)
    albedo = np.where(seen[..., None], colors[first], 0) / 255
    # Lit from the left, softly.
    places = origin + rays * depth[..., None]
    light = np.clip(0.97 - 0.1 * (places[..., 0:1] + 0.5), 0.8, 1)
    shaded = np.clip(albedo * light * tint, 0, 1)
    rgba = np.concatenate([np.rint(shaded * 255), 255 * seen[..., None]], axis=-1)
    linear = np.where(albedo <= 0.04045, albedo / 12.92, ((albedo + 0.055) / 1.055) ** 2.4)
    arrays = {
        "rgb": rgba.astype(np.uint8), "depth": depth, "albedo": linear.astype(np.float16),
        "mask": (seen * 255).astype(np.uint8), "instance_index": ids.astype(np.uint32),
    }  # fmt: skip
    looks = []
    for i in range(len(placed)):
        mine, whole = ids == i + 1, np.isfinite(wide[i])
        inside = np.isfinite(hits[i])
        rows, columns = np.nonzero(mine)
        box = (
            (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
            if len(rows) else None
        )  # fmt: skip
        total = max(int(whole.sum()), 1)
        looks.append(ViewObject(
            i + 1, int(mine.sum()), total, float(mine.sum() / total),
            float(inside.sum() / total), box, shares(albedo[mine]),
            shares(arrays["rgb"][..., :3][mine]), 0.0,
        ))  # fmt: skip
    return arrays, looks


def scattered(seed: int, count: int = 9) -> list[Placed]:
    """Things on a table, apart from each other, some on or in others."""
    rng = np.random.Generator(np.random.Philox(seed))
    compact = [name for name in THINGS if name != "spoon"]
    kinds = rng.choice(compact, size=4, replace=False).tolist()
    colors = rng.choice(list(RGB), size=4, replace=False).tolist()
    placed: list[Placed] = []
    while len(placed) < count:
        name, color = rng.choice(kinds), rng.choice(colors)
        one = Placed(
            str(name), str(color), *rng.uniform(-0.36, 0.36, 2).tolist(),
            float(rng.uniform(0, 6.28)), scale=float(rng.choice([0.8, 1.0, 1.3])),
        )  # fmt: skip
        reach = [_reach(one) + _reach(p) for p in placed]
        if all(np.hypot(one.x - p.x, one.y - p.y) > r for p, r in zip(placed, reach, strict=True)):
            placed.append(one)
    for i, holder in enumerate(list(placed)):
        if holder.name in ("crate", "book") and rng.random() < 0.7:
            small = str(rng.choice(["ball", "can", "cube"]))
            floor = 0.006 * holder.scale if holder.name == "crate" else 0.032 * holder.scale
            placed.append(Placed(small, str(rng.choice(colors)), holder.x, holder.y,
                                 height=holder.height + floor, on=i, scale=0.8))  # fmt: skip
    return placed


def _reach(one: Placed) -> float:
    corners = np.concatenate([part.corners() for part in one.parts])
    return float(np.hypot(corners[:, 0], corners[:, 1]).max())
