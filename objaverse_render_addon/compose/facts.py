"""What one view shows of each object: from the scene's poses, and from the picture itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from .colors import TERMS, claims, srgb
from .margins import Margins
from .record import Scene, SceneObject, ViewObject

if TYPE_CHECKING:
    from ..cameras import Camera
    from ..dataset.reader import AssetReader

__all__ = ["Facts", "State", "facts_of", "ground_axes", "hull_2d", "seen_by"]

Floats = npt.NDArray[np.float64]
State = Literal["target", "reference", "doubtful", "absent"]
LAYERS: Final = (1.0, 0.75, 0.5, 0.25, 0.0)
"""An object's samples: its hull's corners, drawn towards its centre."""
PICTURES: Final = ("rgb", "albedo")
"""Passes that colours are told by."""


@dataclass(frozen=True)
class Facts:
    """One view's objects, in the scene's order; N of them.

    Ground coordinates are metres to the viewer's right and away from the viewer.

    Attributes:
        states: What each may be: a target (and a reference), a reference, or nothing that can be
            talked about though it may be meant; ``absent`` is not there at all.
        ground: (N, 2) of the hulls' centres, by the poses.
        seen: (N, 2) of what is visible, by the depth.
        center, median, edges: (N, 2) centroid and median of the pixels, and middle of the box, in
            picture widths and heights.
        span: (N, 2) first and last column, in picture widths.
        lower: (N,) lower edge of the pixels, in picture heights.
        distance, depth: (N,) from the camera to the hull's centre; median of the depth.
        footprints: Convex outlines (K, 2) on the ground.
        top, bottom: (N,) along Z, metres.
        samples: (M, 3) points of each object, metres, world.
        elevation: Degrees that the camera looks down.
        paints: Of each, colour term to the share of its pixels that has it for sure, as it is made
            and as it is lit, and to the share that may have it in either.
    """

    scene: Scene
    view: int
    objects: tuple[SceneObject, ...]
    looks: tuple[ViewObject, ...]
    states: tuple[State, ...]
    ground: Floats
    seen: Floats
    center: Floats
    median: Floats
    edges: Floats
    span: Floats
    lower: Floats
    distance: Floats
    depth: Floats
    footprints: tuple[Floats, ...]
    top: Floats
    bottom: Floats
    samples: tuple[Floats, ...]
    elevation: float
    paints: tuple[tuple[Mapping[str, float], Mapping[str, float]], ...] = ()

    def __len__(self) -> int:
        return len(self.objects)

    @cached_property
    def sizes(self) -> Floats:
        """(N,) mean width on the ground over all directions, metres: outline over π (Cauchy)."""
        sides = [np.roll(outline, -1, axis=0) - outline for outline in self.footprints]
        return np.array([float(np.linalg.norm(one, axis=1).sum()) / np.pi for one in sides])


def seen_by(look: ViewObject, pixels: int, margins: Margins) -> State:
    """What an object may be in a view.

    Args:
        pixels: Of the whole picture.
    """
    share, least = margins.absent
    if look.visible_fraction < share and look.visible_pixels < least:
        return "absent"
    if look.bbox is None:
        return "doubtful"
    wide = min(look.bbox[2] - look.bbox[0], look.bbox[3] - look.bbox[1])
    large = look.visible_pixels >= max(margins.pixels[0], margins.pixels[1] * pixels)
    inside = look.inside_frame_fraction >= margins.inside and wide >= margins.side
    if look.visible_fraction >= margins.visible and large and inside:
        return "target"
    if look.visible_fraction >= margins.reference and large and inside:
        return "reference"
    return "doubtful"


def facts_of(
    scene: Scene, view: int, asset: AssetReader, margins: Margins | None = None
) -> Facts:
    """The facts of a view.

    Args:
        view: Place among the scene's views.
        asset: The scene's unit, with the passes ``depth`` and ``instance_index``.

    Raises:
        MissingPass, TruncatedFile: The asset has no such arrays.
    """
    place = scene.views[view].view
    wanted = ["depth", "instance_index", *(name for name in PICTURES if name in asset.passes)]
    arrays = asset.read(place, wanted)
    return from_arrays(
        scene, view, asset.view(place).camera, arrays["depth"], arrays["instance_index"], margins,
        [arrays[name] for name in PICTURES if name in arrays],
    )  # fmt: skip


def from_arrays(
    scene: Scene, view: int, camera: Camera, depth: npt.NDArray[Any],
    ids: npt.NDArray[Any], margins: Margins | None = None,
    pictures: Sequence[npt.NDArray[Any]] = (),
) -> Facts:  # fmt: skip
    """The facts of a view, from its arrays.

    Args:
        depth: (H, W) metres, planar; as the pass.
        ids: (H, W) the objects' ids.
        pictures: (H, W, 3 and more), bytes of sRGB, or linear numbers: as it is lit and as it is
            made. Without one nothing has a colour for sure, and anything may have any.
    """
    looks = {one.id: one for one in scene.views[view].objects}
    objects = tuple(obj for obj in scene.objects if obj.id in looks)
    right, away = ground_axes(camera)
    position = camera.camera_to_world[:3, 3]
    axes = np.stack([right, away])
    rows: dict[str, list[Any]] = {name: [] for name in (
        "ground", "seen", "center", "median", "edges", "span", "lower", "distance", "depth", "top",
        "bottom",
    )}  # fmt: skip
    footprints, samples = [], []
    for obj in objects:
        pose = np.array(obj.pose)
        hull = np.array(obj.vertices_hull) @ pose[:3, :3].T + pose[:3, 3]
        middle = (hull.min(axis=0) + hull.max(axis=0)) / 2
        flat = hull_2d(hull[:, :2] @ axes[:, :2].T)
        footprints.append(flat)
        samples.append(np.concatenate([middle + k * (hull - middle) for k in LAYERS]))
        rows["ground"].append((flat.min(axis=0) + flat.max(axis=0)) / 2)
        rows["distance"].append(float(np.linalg.norm(middle - position)))
        rows["top"].append(float(hull[:, 2].max()))
        rows["bottom"].append(float(hull[:, 2].min()))
        at = np.nonzero(ids == obj.id)
        for name, value in _picture(camera, depth, at, axes).items():
            rows[name].append(value)
    down = float(np.degrees(np.arcsin(np.clip(camera.camera_to_world[2, 2], -1, 1))))
    count = len(objects)
    two = {name: np.array(rows[name], np.float64).reshape(count, 2)
           for name in ("ground", "seen", "center", "median", "edges", "span")}  # fmt: skip
    one = {name: np.array(rows[name], np.float64)
           for name in ("lower", "distance", "depth", "top", "bottom")}  # fmt: skip
    seen = tuple(looks[obj.id] for obj in objects)
    limits = margins or Margins()
    states = tuple(seen_by(look, ids.size, limits) for look in seen)
    coded = [srgb(picture) for picture in pictures]
    return Facts(
        scene, view, objects, seen, states, **two, **one, footprints=tuple(footprints),
        samples=tuple(samples), elevation=down,
        paints=tuple(_paint(coded, ids == obj.id, limits) for obj in objects),
    )  # fmt: skip


def _paint(
    pictures: Sequence[npt.NDArray[np.uint8]], mine: npt.NDArray[np.bool_], margins: Margins
) -> tuple[dict[str, float], dict[str, float]]:
    """What an object's pixels have for sure in all pictures, and what in any they may have."""
    if len(pictures) < 2 or np.count_nonzero(mine) < margins.color_pixels:
        return {}, dict.fromkeys(TERMS, 1.0)
    both = [claims(picture[mine], margins.hue) for picture in pictures]
    return ({term: min(sure.get(term, 0.0) for sure, _ in both) for term in TERMS},
            {term: max(may.get(term, 0.0) for _, may in both) for term in TERMS})  # fmt: skip


def ground_axes(camera: Camera) -> tuple[Floats, Floats]:
    """The viewer's right and away, level, of unit length, (3,) each."""
    ahead, up = -camera.camera_to_world[:3, 2], camera.camera_to_world[:3, 1]
    # Who looks straight down has "away" where the picture's top is.
    away = (ahead if abs(ahead[2]) < 0.97 else up) * [1.0, 1.0, 0.0]
    away = away / np.linalg.norm(away)
    return np.array([away[1], -away[0], 0.0]), away


def _picture(
    camera: Camera, depth: npt.NDArray[Any], at: Any, axes: Floats
) -> dict[str, Any]:
    """What some pixels (rows, columns) say; NaN where there are none."""
    if not len(at[0]):
        pair = [np.nan, np.nan]
        return {"seen": pair, "center": pair, "median": pair, "edges": pair, "span": pair,
                "lower": np.nan, "depth": np.nan}  # fmt: skip
    size = np.array([camera.width, camera.height])
    spots = np.stack([at[1] + 0.5, at[0] + 0.5], axis=1) / size
    low, high = spots.min(axis=0) - 0.5 / size, spots.max(axis=0) + 0.5 / size
    points = camera.unproject(depth, at)
    return {
        "seen": (points @ axes.T).mean(axis=0),
        "center": spots.mean(axis=0),
        "median": np.median(spots, axis=0),
        "edges": (low + high) / 2,
        "span": [low[0], high[0]],
        "lower": high[1],
        "depth": float(np.median(depth[at])),
    }


def hull_2d(points: Floats) -> Floats:
    """Convex outline of points (N, 2), counter-clockwise, by Andrew's monotone chain."""
    ordered = sorted(set(map(tuple, points.tolist())))
    if len(ordered) < 3:
        return np.array(ordered, np.float64).reshape(-1, 2)

    def half(chain: list[Any]) -> list[Any]:
        kept: list[Any] = []
        for x, y in chain:
            while len(kept) >= 2:
                (ax, ay), (bx, by) = kept[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return np.array(half(ordered) + half(ordered[::-1]), np.float64)
