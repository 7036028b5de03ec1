"""Whether what two frames say of the motion between them agrees, from their arrays alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..frame import Check, Frame, Status
from ..passspec import PASSES

__all__ = ["agreement"]

Array = npt.NDArray[Any]
_ENOUGH: Final = 64
"""Pixels that a check needs."""
_MOVES: Final = 0.5
"""Pixels that a point must move for a wrong flow to show."""
_OWNERS: Final = ("instance_index", "object_index", "mask", "depth")
"""Passes that say which object a pixel shows, the finest first."""


@dataclass(frozen=True)
class _Landing:
    """Where the pixels of a frame that move come to lie in another.

    Attributes:
        at: Rows and columns of the pixels.
        flow: (M, 2) of them.
        row, column: (M,) of the upper left of the four pixels around where they come to lie.
        part: (M, 2) how far into those they come to lie, to the right and down, 0..1.
    """

    at: tuple[Array, Array]
    flow: Array
    row: Array
    column: Array
    part: Array

    def four(self, data: Array) -> Array:
        """(M, 4, …) of the four pixels."""
        corners = [(self.row + y, self.column + x) for y in (0, 1) for x in (0, 1)]
        return np.stack([data[corner] for corner in corners], axis=1)

    def mixed(self, data: Array) -> Array:
        """(M, n) between the four pixels."""
        four = self.four(data).astype(np.float64)
        x, y = self.part[:, :1], self.part[:, 1:]
        found: Array = (four[:, 0] * (1 - x) + four[:, 1] * x) * (1 - y) + (
            four[:, 2] * (1 - x) + four[:, 3] * x
        ) * y
        return found


def agreement(frame: Frame, which: str, other: Frame) -> Iterator[Check]:
    """Hold a frame's motion against the frame that it leads to.

    Args:
        which: ``forward`` or ``backward``.
        other: The next, or the one before, of the same view.

    Yields:
        Shares of the pixels that contradict: those that come to lie on another object, on another
        point of the surface, whose way back leads elsewhere, and whose motion in space is not what
        the picture shows. Each only where the passes are there, and where enough of the surface
        moves that it could be found out.
    """
    flow = frame.passes.get(f"flow_{which}")
    if flow is None:
        return
    landing = _landing(frame, which, flow)
    owners = next((name for name in _OWNERS if name in frame.passes and name in other.passes), None)

    def graded(name: str, stray: Array, most: float) -> Check:
        share = float(np.mean(stray)) if len(stray) else 0.0
        status: Status = "failed" if share > most else "doubt" if share > most / 2 else "ok"
        return Check(f"{name}_{which}", status, round(share, 6))

    if which == "forward" and "scene_flow" in frame.passes:
        error = _against_scene_flow(frame, flow, other)
        if error is not None:
            yield graded("flow_agrees_with_scene_flow", error > 0.05, 0.01)
    codes = frame.passes.get(f"occlusion_{which}")
    if codes is not None:
        yield graded("occlusion_agrees_with_flow", _contradicted(frame, flow, codes, other), 0.001)
    if landing is None:
        return
    same = np.ones(len(landing.row), bool)
    if owners is not None:
        mine = frame.passes[owners][landing.at]
        theirs = landing.four(other.passes[owners])
        # Of a number per pixel only whether there is one counts.
        ids = PASSES[owners].values == "ids"
        alike = theirs == mine[:, None] if ids else (theirs > 0) == (mine > 0)[:, None]
        same = alike.all(axis=1)
        if f"occlusion_{which}" in frame.passes or not ids:
            yield graded("flow_keeps_object", ~alike.any(axis=1), 0.05)
    if same.sum() < _ENOUGH:
        return
    back = other.passes.get("flow_backward" if which == "forward" else "flow_forward")
    if back is not None:
        error = np.linalg.norm(landing.mixed(back)[same] + landing.flow[same], axis=1)
        length = np.linalg.norm(landing.flow[same], axis=1)
        seen = np.isfinite(error)
        if f"occlusion_{which}" in frame.passes and seen.sum() >= _ENOUGH:
            yield graded("flow_comes_back", (error > 0.5 + 0.1 * length)[seen], 0.1)
    if which == "forward" and "scene_flow" in frame.passes:
        here, there = _points(frame), _points(other)
        if here is not None and there is not None:
            wanted = (here[landing.at] + frame.passes["scene_flow"][landing.at])[same]
            missed = np.linalg.norm(landing.mixed(there)[same] - wanted, axis=1)
            known = np.isfinite(missed)
            depth = other.camera.project(wanted[known])[1]
            error = missed[known] / other.camera.pixel_width(np.maximum(depth, 1e-9))
            if len(error) >= _ENOUGH and f"occlusion_{which}" in frame.passes:
                yield graded("flow_meets_surface", error > 1.0, 0.2)


def _landing(frame: Frame, which: str, flow: Array) -> _Landing | None:
    """Of the pixels that are seen at the other time, as far as the frame says, and that move."""
    with np.errstate(invalid="ignore"):
        moves = np.linalg.norm(flow, axis=-1) > _MOVES
    codes = frame.passes.get(f"occlusion_{which}")
    if codes is not None:
        moves &= codes == 0
    rows, columns = np.nonzero(moves)
    some = flow[rows, columns].astype(np.float64)
    u, v = columns + some[:, 0], rows + some[:, 1]
    height, width = flow.shape[:2]
    if frame.camera.lens.wraps:
        u %= width
    inside = (u >= 0) & (v >= 0) & (u < width - 1) & (v < height - 1)
    if inside.sum() < _ENOUGH:
        return None
    column, row = np.floor(u[inside]).astype(int), np.floor(v[inside]).astype(int)
    part = np.stack([u[inside] - column, v[inside] - row], axis=1)
    at = rows[inside], columns[inside]
    return _Landing(at, some[inside], row, column, part)


def _contradicted(frame: Frame, flow: Array, codes: Array, other: Frame) -> Array:
    """Pixels that are said to be in the picture, but move out of it, and the other way round."""
    shown = frame.passes.get("mask")
    rows, columns = np.nonzero((codes < 3) & (shown == 1 if shown is not None else codes > 0))
    target = flow[rows, columns] + np.stack([columns, rows], axis=1) + 0.5
    size = np.array([other.camera.width, other.camera.height])
    if frame.camera.lens.wraps:
        target[:, 0] %= size[0]
    with np.errstate(invalid="ignore"):
        # A hair beside the edge, rounding decides.
        inside = ((target > 0.01) & (target < size - 0.01)).all(axis=1)
        outside = ((target < -0.01) | (target > size + 0.01)).any(axis=1)
    said = codes[rows, columns]
    return np.asarray((inside & (said == 2)) | (outside & (said < 2)))


def _points(frame: Frame) -> Array | None:
    """(H, W, 3) the surface in the world."""
    if "position" in frame.passes:
        return frame.passes["position"]
    if "depth" in frame.passes:
        return frame.camera.unproject(frame.passes["depth"])
    return None


def _against_scene_flow(frame: Frame, flow: Array, other: Frame) -> Array | None:
    """Pixels by which the flow is not the picture of the motion in space."""
    points = _points(frame)
    if points is None:
        return None
    with np.errstate(invalid="ignore"):
        known = np.isfinite(flow).all(axis=-1) & (points != 0).any(axis=-1)
    known &= np.isfinite(frame.passes["scene_flow"]).all(axis=-1)
    if "mask" in frame.passes:
        known &= frame.passes["mask"] == 1
    here = points[known].astype(np.float64)
    if len(here) < _ENOUGH:
        return None
    target, depth = other.camera.project(here + frame.passes["scene_flow"][known])
    expected = frame.camera.way(frame.camera.project(here)[0], target)
    error: Array = np.linalg.norm(flow[known] - expected, axis=1)
    return error[depth > 0]
