"""How each view sees each object: how much of it, where, and in which colours.

What an object would cover if it stood alone is counted by triangles whose projection has a pixel's
centre in it, as Cycles decides with one sample and a filter of no width; beyond the frame too.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import Camera
from ..dataset.export.masks import box_of, run_lengths
from ..frame import Check, Frame, FrameSink
from .colors import shares, srgb
from .covering import covered
from .objects import Mesh
from .record import FILE, Scene, SceneView, ViewObject
from .things import thing_of
from .viewing import CLIP, nearest_to

__all__ = ["SceneSink", "canvas_of", "checks_of", "coverage", "view_of"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

BEYOND: Final = 1.0
"""Frames beyond each border that are looked at."""
_BURNT: Final = 254
CLIPPED: Final = 0.25
"""Share of an object's pixels from which it is burnt out, not shiny."""
DARK: Final = 0.004
"""Linear light, of white's 1, below which most of what objects show is as good as black."""
_FEW: Final = 16
"""Pixels from which an object counts for the light."""
_NEAR: Final = 2.5 * CLIP
"""Metres that a camera should be away from every object: nearer than :data:`CLIP` is cut off."""


def coverage(camera: Camera, points: Floats, triangles: npt.NDArray[np.int64]) -> tuple[Mask, int]:
    """Which pixels a surface covers.

    Args:
        camera: Of perspective.
        points: (N, 3) world.

    Returns:
        (height, width) within the frame, and how many pixels there and up to :data:`BEYOND` frames
        beyond it.
    """
    canvas, left, top = canvas_of(camera, points, triangles)
    frame = canvas[top : top + camera.height, left : left + camera.width]
    return frame.copy(), int(canvas.sum())


def canvas_of(
    camera: Camera, points: Floats, triangles: npt.NDArray[np.int64]
) -> tuple[Mask, int, int]:
    """What :func:`coverage` counts.

    Returns:
        (height, width) of the frame and :data:`BEYOND` frames around it, and columns and rows that
        it begins before the frame.
    """
    width, height = camera.width, camera.height
    more_x, more_y = round(BEYOND * width), round(BEYOND * height)
    canvas = np.zeros((height + 2 * more_y, width + 2 * more_x), dtype=bool)
    uv, depth = camera.project(points)
    uv = uv + np.array([more_x, more_y])
    corners = uv[triangles[(depth[triangles] > 1e-3).all(axis=1)]]
    for _, x, y, _ in covered(corners, canvas.shape[1], canvas.shape[0]):
        canvas[y, x] = True
    return canvas, more_x, more_y


def view_of(
    place: int, camera: Camera, scene: Scene, meshes: list[Mesh], ids: npt.NDArray[Any],
    rgb: npt.NDArray[Any], albedo: npt.NDArray[Any] | None,
) -> SceneView:
    """One view of a scene.

    Args:
        meshes: Of its objects, object axes.
        ids: (H, W) of ``instance_index``.
        rgb: (H, W, 4) uint8, sRGB.
        albedo: (H, W, 3), linear.
    """
    seen = []
    for obj, mesh in zip(scene.objects, meshes, strict=True):
        pose = np.array(obj.pose)
        points = mesh.vertices @ pose[:3, :3].T + pose[:3, 3]
        covered, count = coverage(camera, points, mesh.triangles)
        visible = ids == obj.id
        pixels = int(visible.sum())
        # Where rounding decides whether a centre is in, the picture does.
        count += int((visible & ~covered).sum())
        covered |= visible
        within = int(covered.sum())
        box = box_of(visible)
        lit = rgb[visible][:, :3]
        made = albedo[visible] if albedo is not None else None
        seen.append(ViewObject(
            obj.id, pixels, count, round(pixels / count, 6) if count else 0.0,
            round(within / count, 6) if count else 0.0,
            (box[0], box[1], box[0] + box[2], box[1] + box[3]) if box is not None else None,
            shares(srgb(made)) if made is not None else {}, shares(lit),
            round(float((lit >= _BURNT).any(axis=1).mean()), 6) if pixels else 0.0,
            run_lengths(covered) if within else None,
        ))  # fmt: skip
    return SceneView(place, tuple(seen))


def checks_of(
    view: SceneView, camera: Camera, scene: Scene, ids: npt.NDArray[Any], rgb: npt.NDArray[Any]
) -> list[Check]:
    """Whether a view's light and place are fit for its objects.

    Args:
        ids: (H, W) of ``instance_index``.
        rgb: (H, W, 4) uint8, sRGB.

    Returns:
        ``objects_not_burnt_out``, the largest share of an object's pixels of which a channel is
        burnt out; ``objects_not_dark``, the median light of all objects' pixels, linear, of
        white's 1; ``camera_not_in_object``, metres to the nearest object's box.
    """
    counted = [one for one in view.objects if one.visible_pixels >= _FEW]
    burnt = max((one.clipped_fraction for one in counted), default=0.0)
    shown = (ids > 0) & (ids <= len(scene.objects))
    level = 1.0
    if shown.any():
        value = rgb[shown][:, :3].astype(np.float64) / 255
        linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        level = float(np.median(linear @ (0.2126, 0.7152, 0.0722)))
    hulls = []
    for obj in scene.objects:
        pose = np.array(obj.pose)
        hulls.append(np.array(obj.vertices_hull) @ pose[:3, :3].T + pose[:3, 3])
    near = nearest_to(camera.camera_to_world, hulls)
    return [
        Check("objects_not_burnt_out", "doubt" if burnt > CLIPPED else "ok", round(burnt, 6)),
        Check("objects_not_dark", "doubt" if level < DARK else "ok", round(level, 6)),
        Check("camera_not_in_object", "doubt" if near < _NEAR else "ok", round(near, 6)),
    ]


class SceneSink(FrameSink):
    """Looks at a composed scene's frames as they come, and checks them; before they are written.

    Args:
        scene: Without views.
        folder: Of its file, with the surfaces of others' objects beside it.
    """

    def __init__(self, scene: Scene, folder: Path) -> None:
        self._scene = scene
        self._meshes = [thing_of(made, folder) for made in scene.recipe["objects"]]
        self._views: list[SceneView] = []

    def frame(self, frame: Frame) -> None:
        """See :class:`objaverse_render_addon.frame.FrameSink`."""
        passes = frame.passes
        if "instance_index" not in passes or "rgb" not in passes:
            return
        ids = np.asarray(passes["instance_index"]).reshape(frame.camera.height, -1)
        view = view_of(
            len(self._views), frame.camera, self._scene, self._meshes, ids, passes["rgb"],
            passes.get("albedo"),
        )  # fmt: skip
        self._views.append(view)
        frame.checks += checks_of(view, frame.camera, self._scene, ids, passes["rgb"])

    def files(self) -> dict[str, bytes]:
        """What lies beside the pictures, by name."""
        scene = replace(self._scene, views=tuple(self._views))
        return {FILE: scene.to_json().encode()}
