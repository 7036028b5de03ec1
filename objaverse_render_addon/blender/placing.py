"""Where objects and points of a scene are as it renders: for boxes and keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidEdit

if TYPE_CHECKING:
    from .session import Session

__all__ = ["placed"]


def placed(session: Session, points: Sequence[str], time: int | None = None) -> dict[str, Any]:
    """Objects that render, and points by name; world axes, scene units.

    Args:
        time: Animation frame; as the stage stands otherwise. It stands there again afterwards.
        points: Names of objects (an empty's origin), or ``object:group``: the middle of a vertex
            group's vertices, weighted.

    Returns:
        ``objects``: ``name``, ``index`` (in the pass ``object_index``), ``matrix`` from the
        object's own axes to the world's, ``low`` and ``high``, its box in its own axes; an object
        that renders several times is there as often. ``points``: name to (3,).

    Raises:
        InvalidEdit: There is no such point.
    """
    stage = session.stage
    before = stage.frame
    if time is None or time == before:
        return _placed(session, points)
    stage.set_time(time)
    try:
        return _placed(session, points)
    finally:
        stage.set_time(before)


def _placed(session: Session, points: Sequence[str]) -> dict[str, Any]:
    stage = session.stage
    indices = {
        name: index for asset in stage.assets.values() for index, name in asset.object_names.items()
    }
    wanted = [name.partition(":") for name in points]
    found: dict[str, list[float]] = {}

    def look(graph: Any) -> list[dict[str, Any]]:
        objects = []
        for one in graph.object_instances:
            obj, name = one.object, one.object.original.name
            if obj.type in ("LIGHT", "CAMERA") or not one.show_self:
                continue
            for holder, _, group in wanted:
                if group and holder == name and (at := _middle(one, group)) is not None:
                    found[f"{holder}:{group}"] = at
                elif not group and holder == name:
                    found[holder] = list(one.matrix_world.translation)
            if obj.type == "EMPTY":
                continue
            box = np.array(obj.bound_box, dtype=np.float64)
            objects.append({
                "name": name, "index": indices.get(name, 0),
                "matrix": [list(row) for row in one.matrix_world],
                "low": box.min(axis=0).tolist(), "high": box.max(axis=0).tolist(),
            })  # fmt: skip
        for obj in graph.objects:
            # What shows nothing is no instance.
            if obj.type == "EMPTY" and obj.original.name in points:
                found.setdefault(obj.original.name, list(obj.matrix_world.translation))
        return objects

    objects = stage.see(look)
    missing = [name for name in points if name not in found]
    if missing:
        there = sorted(session.editor.names())
        raise InvalidEdit(
            f"There is no point {missing[0]!r} in the scene as it renders.",
            hint=f"Objects are {', '.join(there[:20])}; object:group is a vertex group's middle.",
        )
    return {"objects": objects, "points": {name: found[name] for name in points}}


def _middle(one: Any, group: str) -> list[float] | None:
    """Of a vertex group of an instance's evaluated mesh; ``None`` where it has none."""
    numbers = {item.name: item.index for item in one.object.original.vertex_groups}
    if group not in numbers:
        return None
    mesh = one.object.data
    total, middle = 0.0, np.zeros(3)
    for vertex in mesh.vertices:
        for item in vertex.groups:
            if item.group == numbers[group]:
                total += item.weight
                middle += item.weight * np.array(vertex.co)
    if total <= 0:
        return None
    matrix = np.array(one.matrix_world, dtype=np.float64)
    return [float(one) for one in matrix[:3, :3] @ (middle / total) + matrix[:3, 3]]
