"""Sources that tests stream; processes that are spawned import them from here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from objaverse_render_addon import live
from objaverse_render_addon.live.session import Session

SIZE = (64, 48)
CORNERS = [[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
FACES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]


def placed(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Any:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


class Box(live.Source):
    """A box that stands elsewhere in each unit, seen from where its edges are upright."""

    settings: ClassVar[dict[str, Any]] = {
        "resolution": SIZE, "samples": 1, "denoise": False, "device": "cpu",
        "passes": ("rgb", "depth", "mask", "object_index"),
    }  # fmt: skip

    def setup(self, session: Session) -> None:
        session.add_mesh("box", CORNERS, FACES)

    def shots(self, session: Session, item: live.Item) -> Iterator[live.Sample]:
        x = item.values.get("x", item.uniform("x", -1, 1))
        session.place("box", placed(x))
        item.note(x=x)
        yield live.look_at((0, -6, 0), size=SIZE)  # type: ignore[misc]


class Numbered(Box):
    """Two views of each unit, drawn at live rates."""

    lane = "raster"
    views = 2

    def shots(self, session: Session, item: live.Item) -> Any:
        session.place("box", placed(item.uniform("x", -1, 1)))
        return [live.look_at((0, y, 0), size=SIZE) for y in (-6, 6)]


class Broken(Box):
    """Units of different sizes, said in all ways; fails by name in its third unit and its last."""

    views = 0

    def shots(self, session: Session, item: live.Item) -> Any:
        session.place("box" if item.index != 2 else "no-such-box", placed())
        camera = live.look_at((0, -6, 0), size=SIZE)
        if item.index < 4:
            return [camera] * (1 if item.index < 3 else 2)
        item.views = 3 if item.index == 4 else 0
        return iter([camera] * 3)


def middle(depth: Any, mask: Any, camera: Any) -> float:
    """Where along x the middle of what is seen is."""
    points = camera.unproject(np.asarray(depth), np.nonzero(np.asarray(mask) > 0))
    return float((points[:, 0].min() + points[:, 0].max()) / 2)


class Labelled(Box):
    """Two boxes, one of which may hide the other, with all that is told of them."""

    truths = live.Truths(classes={"box": 7, "wall*": 3}, keypoints=("box", "wall"))

    def setup(self, session: Session) -> None:
        session.add_mesh("box", CORNERS, FACES)
        session.add_mesh("wall", CORNERS, FACES)

    def shots(self, session: Session, item: live.Item) -> Any:
        turn = item.uniform("turn", 0, 360)
        matrix = placed(item.uniform("x", -1, 1))
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        matrix[:2, :2] = 0.8 * np.array([[c, -s], [s, c]])
        session.place("box", matrix)
        wall = {0: (2, 1.5), 1: (-2, 0)}.get(item.index, (2, 0))
        session.place("wall", placed(0, *wall))
        item.note(matrix=matrix.tolist())
        yield live.look_at((0, -6, 0), size=SIZE)
