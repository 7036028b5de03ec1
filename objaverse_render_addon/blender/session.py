"""A scene held open: a stage with an asset on it, the views of its job, and a renderer."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy

from ..cameras import Rig, View, sample_views
from ..errors import InvalidJob
from ..frame import Shot
from ..job import RenderJob
from .renderer import Renderer
from .stage import BOUNCES, FILTER_WIDTH, Stage

__all__ = ["Session"]


class Session:
    """One asset of one job, open until the next one is.

    Args:
        path: A local 3D file.
        job: Any job; it is resolved here.
        scratch: Folder for temporary images, best in memory.
        on_stage: Called with ``import`` and ``prepare`` as they begin.
        folders: Folders that the asset may read from beside its own.

    Attributes:
        views: As sampled; frames carry the cameras as Blender sees them.

    Raises:
        RenderError: Anything that is wrong with the file or impossible for the job.
    """

    def __init__(
        self,
        path: Path,
        asset_id: str,
        job: RenderJob,
        scratch: Path,
        on_stage: Callable[[str], None] = lambda _: None,
        folders: Sequence[str] = (),
    ) -> None:
        self.job = job.resolved()
        self.asset_id = asset_id
        self._scratch = scratch
        self.stage = Stage(self.job)
        self.asset = self.stage.add(path, asset_id, self.job.asset, on_stage, folders)
        self.stage.light(asset_id)
        self._settle()

    def _settle(self) -> None:
        self.stage.settings(self.job)
        normalization = self.asset.normalization
        rig = Rig()
        if self.job.asset.normalize == "none":
            center = normalization.before.center.tolist()
            rig = Rig((center[0], center[1], center[2]), normalization.before.longest_edge / 2)
        self.views: list[View] = sample_views(self.job, self.asset_id, normalization.points, rig)
        self.renderer = Renderer(self.stage, self.asset_id, self._scratch)

    def set(self, values: Mapping[str, Any]) -> None:
        """Change the job of the scene that is open.

        Args:
            values: Dotted paths of a job, as ``engine.samples``, to what they become.

        Raises:
            InvalidJob: There is no such field or value, or it would need the file again.
        """
        job = self.job.with_values(dict(values)).resolved()
        fixed = (job.asset, job.lighting, job.engine.device, job.engine.threads)
        if fixed != (
            self.job.asset, self.job.lighting, self.job.engine.device, self.job.engine.threads,
        ):  # fmt: skip
            raise InvalidJob(
                "asset, lighting, engine.device and engine.threads belong to a scene from its "
                "start.",
                hint="Open it again with another job.",
            )
        self.job = job
        self._settle()

    def shots(self, views: Iterable[int] | None = None) -> list[Shot]:
        """Of some of the job's views, or of all.

        Raises:
            InvalidJob: There is no view of this number.
        """
        if views is None:
            return [Shot(view) for view in self.views]
        wanted = list(views)
        for index in wanted:
            if not 0 <= index < len(self.views):
                raise InvalidJob(f"There is no view {index}; the job has {len(self.views)}.")
        return [Shot(self.views[index]) for index in wanted]

    @property
    def warnings(self) -> list[str]:
        """``name: sentence`` each."""
        return [*self.asset.warnings, *self.stage.warnings]

    @property
    def device(self) -> str:
        """What renders."""
        return ", ".join(self.stage.device.names) or self.stage.device.kind

    def facts(self) -> dict[str, Any]:
        """What the metadata say of scene and engine, by the names of ``asset_record``."""
        normalization = self.asset.normalization
        return {
            "scene": {**self.asset.record, **self.stage.record},
            "normalization": {
                "method": normalization.method,
                "scale": normalization.scale,
                "translation": list(normalization.translation),
            },
            "bounds": normalization.bounds,
            "engine": self._engine_record(),
            "object_names": self.asset.object_names,
            "warnings": self.warnings,
            "seconds": dict(self.stage.watch.seconds),
        }

    def _engine_record(self) -> dict[str, Any]:
        engine = self.job.engine
        return {
            "engine": engine.engine,
            "geometry_engine": "cycles, one sample at the pixel centre",
            "samples": engine.samples,
            "denoised": self.stage.denoised,
            "device": self.stage.device.kind,
            "device_names": list(self.stage.device.names),
            "bounces": BOUNCES,
            "filter_width_px": FILTER_WIDTH,
            "view_transform": "Standard",
            "blender_version": bpy.app.version_string,
            "blender_build": bpy.app.build_hash.decode(errors="replace"),
            "python_version": platform.python_version(),
            "platform": platform.platform(),
        }
