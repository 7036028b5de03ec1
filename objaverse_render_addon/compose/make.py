"""A scene's file: drawn, settled and accepted; all that comes after is a function of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import InvalidGeometry
from ..files import write_whole
from .drawn import Drawn, drawn, key_of
from .draws import Draws
from .light import light_of, surfaces_of
from .physics.accept import refusal
from .physics.pieces import engine
from .physics.settle import Settled, settle
from .record import Scene, SceneObject, StagePart
from .rules import Rules
from .viewing import cameras_of

__all__ = ["PARTS", "SUFFIX", "make", "scene_file"]

SUFFIX: Final = ".scene"
PARTS: Final = ("table", "floor", "walls")
"""What renders beside the objects, in the order of its ids."""
_LEAST: Final = 2
_UPRIGHT: Final = 25.0
"""Degrees from upright, beyond which a vessel holds nothing for sure."""


def scene_file(
    rules: Rules | str, index: int, folder: Path,
    on_refused: Callable[[int, str], None] | None = None,
) -> Path:  # fmt: skip
    """Make a scene's file.

    Args:
        rules: Of its set, or their file.
        on_refused: Called with the number of every draw that is no scene, and why.

    Raises:
        InvalidGeometry: No draw came to rest as it should; the message counts why.
        MissingDependency: An engine is not installed.
    """
    if isinstance(rules, str):
        rules = Rules.read(rules)
    path = folder / f"{key_of(index)}{SUFFIX}"
    write_whole(path, make(rules, index, on_refused).to_json().encode())
    return path


def make(
    rules: Rules, index: int, on_refused: Callable[[int, str], None] | None = None
) -> Scene:
    """A scene without views, as :func:`scene_file` writes it."""
    reasons: Counter[str] = Counter()

    def refuse(attempt: int, why: str) -> None:
        reasons[why] += 1
        if on_refused is not None:
            on_refused(attempt, why)

    for attempt in range(rules.tries):
        one = drawn(rules, index, attempt)
        if len(one.starts) < min(_LEAST, rules.objects[0]):
            refuse(attempt, "too little room")
            continue
        settled = settle(one.starts, one.ground)
        why = refusal(one.starts, settled, one.ground)
        if not why:
            return _scene(rules, index, attempt, one, settled, dict(reasons))
        refuse(attempt, why)
    said = ", ".join(f"{why} ({count})" for why, count in reasons.most_common())
    raise InvalidGeometry(
        f"{key_of(index)}: none of {rules.tries} draws is a scene: {said}.",
        hint="More tries, fewer objects or other layouts.",
    )


def _scene(
    rules: Rules, index: int, attempt: int, one: Drawn, settled: Settled, reasons: dict[str, int]
) -> Scene:
    key = f"{key_of(index)}/{attempt}"
    objects, made, points = [], [], []
    for number, (start, pose, contacts) in enumerate(
        zip(one.starts, settled.poses, settled.contacts, strict=True), 1
    ):
        thing = start.thing
        tilt = math.degrees(math.acos(float(np.clip(pose[2, 2], -1, 1))))
        hull = thing.pieces.hull
        points.append(hull @ pose[:3, :3].T + pose[:3, 3])
        x, y, z = thing.mesh.size.tolist()
        objects.append(SceneObject(
            number, thing.name, thing.category, thing.source, thing.license, (x, y, z),
            thing.size_from, thing.color, thing.materials, _rows(pose), _points(hull),
            thing.rim is not None and tilt < _UPRIGHT, thing.mesh.volume, tilt, contacts,
            start.grid, thing.rim * thing.height if thing.rim is not None else None,
        ))  # fmt: skip
        made.append(thing.made)
    recipe = {
        "attempt": attempt, "refused": reasons, "objects": made,
        "surfaces": surfaces_of(one.support.material, Draws(rules.seed, key, "surfaces")),
        "light": light_of(one.support.kind, Draws(rules.seed, key, "light")),
        "cameras": cameras_of(rules, np.concatenate(points), Draws(rules.seed, key, "cameras")),
        "physics": {"mujoco": engine("mujoco").__version__, "rapier3d": version("rapier3d"),
                    "seconds": settled.seconds},
    }  # fmt: skip
    stage = tuple(StagePart(len(objects) + place, name) for place, name in enumerate(PARTS, 1))
    return Scene(rules.seed, index, one.layout, one.support, tuple(objects), stage, (), recipe)


def _rows(pose: npt.NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in pose.tolist())


def _points(points: npt.NDArray[np.float64]) -> tuple[Any, ...]:
    # To a hundredth of a millimetre: it is read, and there are many.
    return tuple(tuple(point) for point in np.round(points, 5).tolist())
