"""Cycles' passes as arrays, without a file and without the compositor.

Blender keeps what it rendered to itself where it has no window: the Viewer node and the image
"Render Result" are empty. While Cycles' engine still renders, though, Blender's own
``RenderEngine.get_result`` gives all passes as they are about to be stored, the same bits that an
uncompressed EXR would hold.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import bpy
import numpy as np
import numpy.typing as npt

from ..errors import RenderFailed
from ..passspec import Layer
from . import compat

__all__ = ["COMBINED", "Taken", "take", "usable"]

Array = npt.NDArray[np.float32]

COMBINED = Layer("", "RGBA", "Combined")
"""The picture: its channels are ``R``, ``G``, ``B`` and ``A``."""
_BEYOND = 1e10
"""What Blender gives a depth where it did not render."""
_LETTERS = {"FLOAT": "V", "VECTOR": "XYZ", "RGBA": "RGBA"}


class Taken(dict[str, Array]):
    """(H, W) float32 by ``layer.channel``, rows from top to bottom.

    Attributes:
        seconds: That Cycles took.
        at: Rows and columns of the whole picture that were rendered.
        beyond: What each channel is elsewhere.
    """

    def __init__(self, channels: Iterable[tuple[str, Array]] = ()) -> None:
        super().__init__(channels)
        self.seconds = 0.0
        self.at: tuple[slice, slice] = np.s_[0:0, 0:0]
        self.beyond: dict[str, float] = {}

    def put(self, part: Taken, shape: tuple[int, int]) -> None:
        """Have the rendered part of a picture, which has this (H, W), beside what is here."""
        rows, columns = part.at
        for name, plane in part.items():
            if name not in self:
                self[name] = np.full(shape, part.beyond[name], np.float32)
            self[name][rows, columns] = plane
        self.seconds += part.seconds


def usable(scene: Any) -> bool:
    """Whether :func:`take` gets a scene's passes: only whole ones, of Cycles itself."""
    render, cycles = scene.render, scene.cycles
    if render.engine != "CYCLES" or compat.cycles_engine() is None:
        return False
    # Of more than a tile Cycles keeps its pixels in a file until it is done.
    size = max(render.resolution_x, render.resolution_y) * render.resolution_percentage // 100
    return not (cycles.use_auto_tile and size > cycles.tile_size)


def take(scene: Any, layers: Iterable[Layer], *, whole: bool = True) -> Taken:
    """Render a scene's first view layer, and take some of its passes.

    What lies outside the border of a render is what Blender writes there: depths are 1e10, all
    else is 0.

    Args:
        whole: Whether the arrays are of the whole picture; else of what is rendered alone.

    Raises:
        RuntimeError: As ``bpy.ops.render.render`` does.
        RenderFailed: Blender rendered and gave nothing.
    """
    wanted, taken = list(layers), Taken()
    engine = compat.cycles_engine()
    rendering = engine.render

    def render(self: Any, depsgraph: Any) -> None:
        since = time.perf_counter()
        rendering(self, depsgraph)
        taken.seconds += time.perf_counter() - since
        # Onlookers and previews are rendered by other engines; whatever is, is this scene's.
        _read(self.get_result(), scene, wanted, taken, whole=whole)

    engine.render = render
    try:
        # What is around a part nobody reads; Blender would make room for it, pass by pass.
        with compat.for_now(scene.render, {"use_crop_to_border": True}):
            compat.show_settings(scene)
            bpy.ops.render.render(scene=scene.name)
    finally:
        # Left in place, it would be in the way as Blender ends.
        engine.render = rendering
    if not taken:
        raise RenderFailed("Cycles rendered, but gave nothing.")
    return taken


def _read(result: Any, scene: Any, wanted: list[Layer], taken: Taken, *, whole: bool) -> None:
    width, height = result.resolution_x, result.resolution_y
    full, taken.at = _border(scene, width, height)
    passes = {one.name: one for one in result.layers[0].passes}
    for layer in wanted:
        found = passes.get(layer.output) or passes.get(compat.old_pass_name(layer.output))
        if found is None:
            raise RenderFailed(f"Cycles rendered no {layer.output} pass; it has {sorted(passes)}.")
        flat = np.empty(width * height * found.channels, dtype=np.float32)
        found.rect.foreach_get(flat)
        pixels = flat.reshape(height, width, found.channels)[::-1]
        beyond = _BEYOND if found.channel_id == "Z" else 0.0
        for index, letter in enumerate(_LETTERS[layer.socket]):
            plane, name = pixels[..., index], f"{layer.name}.{letter}".lstrip(".")
            if whole and (height, width) != full:
                around = np.full(full, beyond, np.float32)
                around[taken.at] = plane
                plane = around
            taken[name], taken.beyond[name] = plane, beyond


def _border(
    scene: Any, width: int, height: int
) -> tuple[tuple[int, int], tuple[slice, slice]]:
    """(H, W) of the whole picture, and where in it a rendered rectangle lies."""
    render = scene.render
    across = render.resolution_x * render.resolution_percentage // 100
    down = render.resolution_y * render.resolution_percentage // 100
    if not render.use_border:
        if (width, height) != (across, down):
            raise RenderFailed(f"Cycles gave {width}x{height} pixels instead of {across}x{down}.")
        return (down, across), np.s_[0:down, 0:across]
    # As Blender cuts it (render_init_from_main in its sources), in 32-bit floats.
    left, right, low, high = (
        int(np.float32(share) * np.float32(pixels))
        for share, pixels in (
            (render.border_min_x, across), (render.border_max_x, across),
            (render.border_min_y, down), (render.border_max_y, down),
        )
    )  # fmt: skip
    if (width, height) != (right - left, high - low):
        raise RenderFailed(
            f"Cycles gave {width}x{height} pixels of a border of {right - left}x{high - low}."
        )
    return (down, across), (slice(down - high, down - low), slice(left, right))
