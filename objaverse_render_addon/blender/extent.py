"""Where all that is on a stage is: its box, its sphere, and points whose hull is its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ..cameras import box_corners
from ..cameras.bounding import bounding_sphere, outermost
from ..errors import NoGeometry
from ..frame import Bounds
from .asset import Asset
from .measuring import MANY_POINTS, Measurement, bounds_of, measure

if TYPE_CHECKING:
    from .stage import Stage

__all__ = ["Extent", "Extents", "measured_or_not"]

Points = npt.NDArray[np.float64]
Extent: TypeAlias = tuple[Bounds, Points]

_KEPT: Final = 64
"""Frames whose bounds are remembered: their geometry is rendered before their colour."""
_NOTHING: Final = (
    Bounds((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), math.sqrt(3), exact=False),
    box_corners([-1] * 3, [1] * 3),
)
"""Where a stage with nothing on it is looked at."""


class Extents:
    """A stage's, at the frame that it shows; found out when it is asked for, and kept."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._kept: dict[int, Extent] = {}

    def forget(self) -> None:
        """Something else is on the stage, or elsewhere."""
        self._kept = {}

    @property
    def now(self) -> Extent:
        """At the frame that is shown."""
        stage = self._stage
        if stage.frame not in self._kept and stage.timeline.frames and stage.numbering.lists:
            # They are asked for anyway, and it comes with them.
            stage.things(stage.frame)
        if stage.frame not in self._kept:
            self._keep(stage.frame, self._found())
        return self._kept[stage.frame]

    def missing(self, frame: int) -> Asset | None:
        """What has to be measured at a frame of an animation, as whoever looks at it may do."""
        if frame in self._kept or not self._stage.timeline.frames:
            return None
        return self._alone()

    def note(self, frame: int, alone: Asset, now: Measurement | None) -> None:
        """It was measured: an asset that is alone, by :func:`measured_or_not`."""
        self._keep(frame, _of_one(alone, now))

    def _keep(self, frame: int, known: Extent) -> None:
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[frame] = known

    def _found(self) -> Extent:
        if not self._stage.timeline.frames:
            return self._known() or self._measured()
        alone = self._alone()
        if alone is None:
            return self._measured()
        return _of_one(alone, self._stage.see(measured_or_not))

    def _alone(self) -> Asset | None:
        """The only asset on it, where it stands as it was normalised."""
        assets = self._stage.assets
        alone = next(iter(assets.values())) if len(assets) == 1 else None
        return alone if alone is not None and not alone.placed and alone.whole else None

    def _known(self) -> Extent | None:
        """From what each asset was measured as, where it was only moved since: that is fast."""
        stage = self._stage
        shown = [one for one in stage.assets.values() if not one.collection.hide_render]
        if not all(asset.whole and asset.frame == stage.frame for asset in shown):
            return None
        if not shown:
            return _NOTHING
        normal = shown[0].normalization
        if len(shown) == 1 and not shown[0].placed:
            return normal.bounds, normal.points
        clouds = []
        for asset in shown:
            stands = np.eye(4) if asset.stands is None else np.array(asset.stands)
            clouds.append(asset.normalization.points @ stands[:3, :3].T + stands[:3, 3])
        exact = all(asset.normalization.bounds.exact for asset in shown)
        return _around(np.concatenate(clouds), exact=exact)

    def _measured(self) -> Extent:
        stage = self._stage
        if not all(asset.whole for asset in stage.assets.values()):
            # Parts of assets were moved, maybe for every frame: the boxes of the parts will do.
            corners = stage.see(_corners_of)
            return _around(corners, exact=False) if len(corners) else _NOTHING
        found = stage.see(measured_or_not)
        return _NOTHING if found is None else (bounds_of(found), found.points)


def measured_or_not(graph: Any) -> Measurement | None:
    """What is there; ``None`` where nothing is."""
    try:
        return measure(None, graph)
    except NoGeometry:
        return None


def _of_one(alone: Asset, now: Measurement | None) -> Extent:
    """Of the only asset; where nothing is there, the cameras stand where they do at others."""
    if now is None:
        return alone.normalization.bounds, alone.normalization.points
    return bounds_of(now), now.points


def _around(points: Points, *, exact: bool) -> Extent:
    """Bounds of points that are a hull to within 0.2 % of its radius."""
    few = points if len(points) <= 1000 else outermost(points)
    center, radius = bounding_sphere(few)
    low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    held = few if len(points) > MANY_POINTS else points
    return Bounds(tuple(low), tuple(high), tuple(center.tolist()), 1.002 * radius, exact), held


def _corners_of(graph: Any) -> Points:
    """(N, 3) corners of the boxes of all that renders, world coordinates."""
    corners = []
    for instance in graph.object_instances:
        obj = instance.object
        if (instance.show_self or instance.show_particles) and obj.visible_camera:
            if obj.type in ("EMPTY", "LIGHT", "CAMERA", "ARMATURE"):
                continue
            stands = np.array(instance.matrix_world)
            corners.append(np.array(obj.bound_box) @ stands[:3, :3].T + stands[:3, 3])
    return np.concatenate(corners) if corners else np.empty((0, 3))
