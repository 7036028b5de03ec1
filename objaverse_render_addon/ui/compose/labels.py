"""Names and boxes of the composed objects over the viewport; whom a sentence means is lit."""

from __future__ import annotations

from typing import Any, Final

import bpy
import numpy as np
import numpy.typing as npt

from ..viewport.overlay_geometry import BOX_EDGES, CALM, CURRENT
from . import sentences
from .shown import Composed, composed, objects_of

__all__ = ["register", "unregister"]

_handles: list[Any] = []
_PLAIN: Final = (0.85, 0.85, 0.85, 0.55)
_DOUBT: Final = (1.0, 0.6, 0.2, 1.0)


def _found(context: bpy.types.Context) -> Composed | None:
    if not context.space_data.overlay.show_overlays:
        return None
    if not context.window_manager.objaverse_composed.labels:
        return None
    return composed(context)


def _roles(context: bpy.types.Context, found: Composed) -> tuple[list[int], list[int]]:
    """Whom the chosen sentence means, and whom it mentions."""
    item = sentences.chosen(context, found)
    if item is None:
        return [], []
    return sentences.ids_of(item.targets), sentences.ids_of(item.references)


def _corners(body: Any, found: Composed, number: int) -> npt.NDArray[np.float64]:
    """(8, 3) world, where the object is now."""
    pose = np.array(body.matrix_world)
    return np.asarray(found.boxes[number] @ pose[:3, :3].T + pose[:3, 3])


def _draw_boxes() -> None:
    context = bpy.context
    found = _found(context)
    if found is None:
        return
    import gpu
    from gpu_extras.batch import batch_for_shader

    targets, mentioned = _roles(context, found)
    points, colors = [], []
    for number, body in objects_of(context, found).items():
        if not body.visible_get():
            continue
        color = CURRENT if number in targets else CALM if number in mentioned else _PLAIN
        points.append(_corners(body, found, number)[BOX_EDGES].reshape(-1, 3))
        colors.append(np.tile(np.array(color, np.float32), (2 * len(BOX_EDGES), 1)))
    if not points:
        return
    shader = gpu.shader.from_builtin("POLYLINE_FLAT_COLOR")
    batch = batch_for_shader(
        shader, "LINES",
        {"pos": np.concatenate(points).astype(np.float32), "color": np.concatenate(colors)},
    )  # fmt: skip
    region = context.region
    gpu.state.blend_set("ALPHA")
    gpu.state.depth_test_set("LESS_EQUAL")
    shader.bind()
    shader.uniform_float("viewportSize", (region.width, region.height))
    shader.uniform_float("lineWidth", 1.8 * context.preferences.system.ui_scale)
    batch.draw(shader)
    gpu.state.depth_test_set("NONE")
    gpu.state.blend_set("NONE")


def _draw_names() -> None:
    context = bpy.context
    found = _found(context)
    if found is None:
        return
    import blf

    region, matrix = context.region, np.array(context.region_data.perspective_matrix)
    scale = context.preferences.system.ui_scale
    targets, mentioned = _roles(context, found)
    blf.enable(0, blf.SHADOW)
    blf.shadow(0, 3, 0.0, 0.0, 0.0, 1.0)
    for number, body in objects_of(context, found).items():
        at = _above(body, found, number, matrix, (region.width, region.height))
        if at is None or not body.visible_get():
            continue
        lit = number in targets or number in mentioned
        trouble = sentences.doubts(context, found, number)
        # The numbers are the gallery's; here is little room.
        why = trouble[0].partition(":")[0] if trouble else ""
        text = found.object(number).name + (f" ({why})" if why else "")
        color = CURRENT if number in targets else CALM if number in mentioned else None
        blf.size(0, (14 if lit else 11) * scale)
        blf.color(0, *(color or (_DOUBT if trouble else (0.95, 0.95, 0.95, 1.0))))
        width, _ = blf.dimensions(0, text)
        blf.position(0, at[0] - width / 2, at[1] + 5 * scale, 0)
        blf.draw(0, text)
    item = sentences.chosen(context, found)
    if item is not None:
        blf.size(0, 16 * scale)
        blf.color(0, *CURRENT)
        words = item.request or item.name
        width, _ = blf.dimensions(0, words)
        blf.position(0, max(16 * scale, (region.width - width) / 2), 26 * scale, 0)
        blf.draw(0, words)
    blf.disable(0, blf.SHADOW)


def _above(
    body: Any, found: Composed, number: int, matrix: npt.NDArray[np.float64], size: tuple[int, int]
) -> tuple[float, float] | None:
    """Pixel over the middle of an object; ``None`` where it is behind the eye."""
    corners = np.c_[_corners(body, found, number), np.ones(8)] @ matrix.T
    if (corners[:, 3] <= 0).any():
        return None
    pixels = (corners[:, :2] / corners[:, 3:] * 0.5 + 0.5) * size
    return float(pixels[:, 0].mean()), float(pixels[:, 1].max())


def register() -> None:
    """Draw, where there is something to draw on."""
    add = bpy.types.SpaceView3D.draw_handler_add
    _handles.append(add(_draw_boxes, (), "WINDOW", "POST_VIEW"))
    _handles.append(add(_draw_names, (), "WINDOW", "POST_PIXEL"))


def unregister() -> None:
    """Draw no more."""
    while _handles:
        bpy.types.SpaceView3D.draw_handler_remove(_handles.pop(), "WINDOW")
