"""Streams of composed scenes: drawn, settled and rendered while they are trained on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..batch.compose import job_for
from ..compose.drawn import key_of
from ..compose.make import scene_file
from ..compose.physics.pieces import engine
from ..compose.record import Scene
from ..compose.rules import Rules
from .changing import values_of
from .frames import LiveFrame
from .opening import Opens
from .session import Session
from .sources import Item, Source

__all__ = ["ComposedSource"]


class ComposedSource(Source):
    """Scenes of many objects, as ``objaverse-render compose`` makes them; nothing of them is kept.

    A unit is a scene, its samples the scene's views, with the pixels that a set of the same rules
    has. What a sample's ``values`` say of its scene: ``scene``, its name in such a set, ``layout``,
    ``support``, and ``objects``, each with ``id``, ``name`` (in ``record["object_names"]``, which
    has the numbers of ``object_index``), ``category``, ``color`` and ``pose``, (4, 4), world from
    object.

    Args:
        rules: What the scenes are like.
        scenes: In an epoch.
        fresh: Whether each epoch has scenes of its own, behind those of the one before.
        settings: Of the pictures' job, by their flags' names: ``resolution``, ``passes``,
            ``samples`` …

    Raises:
        MissingDependency: A physics engine is not installed.
    """

    def __init__(
        self, rules: Rules, scenes: int, *, fresh: bool = True, **settings: Any
    ) -> None:
        for name in ("mujoco", "rapier3d"):
            engine(name)
        self.rules, self.scenes, self.fresh = rules, scenes, fresh
        self.job = job_for(values_of(settings)).resolved()
        self.views = rules.images

    def __len__(self) -> int:
        return self.scenes

    def frames(
        self, workers: Opens, session: Session | None, item: Item, timeout: float
    ) -> Iterator[tuple[Session, LiveFrame]]:
        """See :meth:`.sources.Source.frames`."""
        if session is not None:
            session.close()
        index = item.index + (item.epoch * self.scenes if self.fresh else 0)
        with tempfile.TemporaryDirectory(prefix="objaverse-scene-") as folder:
            path = scene_file(self.rules, index, Path(folder))
            item.note(**_said(Scene.read(path)))
            session = workers.open(path, job=self.job, name=key_of(index))
            for frame in session.render_views(timeout=timeout):
                yield session, frame


def _said(scene: Scene) -> dict[str, Any]:
    return {
        "scene": key_of(scene.index), "layout": scene.layout, "support": scene.support.kind,
        "objects": [
            {"id": one.id, "name": one.name, "category": one.category,
             "color": None if one.color is None else one.color.name,
             "pose": [list(row) for row in one.pose]}
            for one in scene.objects
        ],
    }  # fmt: skip
