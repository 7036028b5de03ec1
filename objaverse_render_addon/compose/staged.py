"""A user's stage in a scene's pictures: drawn a second time, and looked through again."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ..cameras import Camera
from ..errors import InvalidGeometry
from .drawing import about, nearest, slack_of
from .record import FILE, SURROUNDINGS, Scene
from .stages import SURFACE, UserStage, found_in, parts_of, stages_in, support_of
from .viewing import CLIP

__all__ = ["Staged", "staged"]

Floats = npt.NDArray[np.float64]

_STRAY: Final = 0.002
"""Of a part's pixels, as many as rounding may decide otherwise; and two in any case."""


@dataclass(frozen=True)
class Staged:
    """A stage, ready to be drawn.

    Attributes:
        corners: (M, 3, 3) triangles, scene axes.
        mine: (M,) whether each is of what objects stand on.
        may_vanish: (M,) whether each may be transparent.
    """

    corners: Floats
    mine: npt.NDArray[np.bool_]
    may_vanish: npt.NDArray[np.bool_]

    def problems(
        self, scene: Scene, camera: Camera, ids: npt.NDArray[np.int64], depth: Floats
    ) -> list[str]:
        """Where a view does not show the stage as it is.

        Args:
            ids, depth: (H, W) of ``instance_index`` and ``depth``.
        """
        numbers = {part.name: part.id for part in scene.stage}
        found = []
        for name, of in ((SURFACE, self.mine), (SURROUNDINGS, ~self.mine)):
            if name not in numbers:
                continue
            seen = ids == numbers[name]
            drawn = [self._drawn(camera, of & which) for which in (~self.may_vanish, of)]
            slack = slack_of(depth)
            # What may be transparent may be seen through, as far as what is behind it.
            there = about(drawn[1], depth, slack)
            there |= (depth >= drawn[1] - slack) & (depth <= drawn[0] + slack)
            count, allowed = int((seen & ~there).sum()), max(2, _STRAY * int(seen.sum()))
            if count > allowed:
                found.append(f"the {name} is seen where the stage has none, in {count} pixels")
            held = (ids > 0) & (drawn[0] < depth - 2 * slack)
            count = int((held & ~about(drawn[0], depth, slack)).sum())
            if count > max(2, _STRAY * ids.size):
                found.append(f"the {name} is seen through, in {count} pixels")
        return found

    def _drawn(self, camera: Camera, which: npt.NDArray[np.bool_]) -> Floats:
        corners = _before(camera, self.corners[which])
        triangles = np.arange(3 * len(corners)).reshape(-1, 3)
        return nearest(camera, corners.reshape(-1, 3), triangles)


def _before(camera: Camera, corners: Floats) -> Floats:
    """What of triangles (M, 3, 3) is before a camera; a floor begins behind it."""
    depth = camera.project(corners.reshape(-1, 3))[1].reshape(-1, 3) - CLIP
    whole, none = (depth > 0).all(axis=1), (depth <= 0).all(axis=1)
    pieces = [corners[whole]]
    for triangle, far in zip(corners[~whole & ~none], depth[~whole & ~none], strict=True):
        kept: list[Floats] = []
        for here in range(3):
            there = (here + 1) % 3
            if far[here] > 0:
                kept.append(triangle[here])
            if (far[here] > 0) != (far[there] > 0):
                share = far[here] / (far[here] - far[there])
                kept.append(triangle[here] + share * (triangle[there] - triangle[here]))
        pieces += [np.array([[kept[0], kept[place], kept[place + 1]]])
                   for place in range(1, len(kept) - 1)]  # fmt: skip
    return np.concatenate(pieces)


def staged(scene: Scene, folder: Path) -> tuple[Staged | None, list[str]]:
    """The stage of a scene, and what is wrong with what is said of it.

    Args:
        folder: Of its set, in which the stage is.

    Raises:
        RenderError: It is not there, or another.
    """
    try:
        said = UserStage.of(scene.recipe["stage"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return None, [f"{FILE}: its stage cannot be read: {error}"]
    stages = stages_in(folder)
    # What is none of them is held against the one of its surface.
    known = next((one for one in stages if one.surface == said.surface), stages[0])
    problems = []
    if said not in stages:
        problems.append(f"{FILE}: its stage is another than that of the set")
    if [part.name for part in scene.stage] != list(parts_of(known)):
        problems.append(f"{FILE}: its parts are not those of its stage")
    if scene.support != support_of(known):
        problems.append(f"{FILE}: its support is not the free part of its stage")
    mesh = known.mesh(folder)
    wrong = _elsewhere(known, folder)
    problems += [wrong] if wrong else []
    return Staged(known.corners(folder), mesh.part == known.part, mesh.may_vanish), problems


@functools.lru_cache(4)
def _elsewhere(known: UserStage, folder: Path) -> str:
    """Why things cannot stand on a stage where they do; nothing where they can."""
    name = known.surface if known.found_by == "name" else ""
    marked = known.part if known.found_by == "property" else None
    try:
        again = found_in(known.mesh(folder), {known.part: known.surface}, name, marked)
    except InvalidGeometry as error:
        return error.message
    alike = again["part"] == known.part and np.allclose(again["pose"], known.pose, atol=1e-6)
    if alike and np.allclose(again["size_m"], known.size_m, atol=1e-6):
        return ""
    return "what is free on its stage is elsewhere"
