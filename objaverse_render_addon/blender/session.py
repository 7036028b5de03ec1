"""A scene held open: a stage with an asset on it, the views of its job, and a renderer."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import bpy

from .. import __version__
from ..cameras import Rig, View, keyed_views, sample_views
from ..dataset.metadata import source_record
from ..dataset.shape_files import ShapeFiles, held
from ..errors import InvalidEdit, InvalidJob
from ..frame import Shot, linked
from ..job import RenderJob
from ..shape.distance import need_library
from ..witness import HeldSurface, Witness
from ..words import how_many
from .arrival import STILL
from .asset import Asset
from .devices import Device, used_device
from .editing import Editor
from .piecewise import Piecewise
from .raster import RasterLane
from .realizing import realized
from .refining import Refining
from .render_settings import BOUNCES
from .renderer import Renderer
from .rig import FILE as RIG
from .rig import rig_of
from .stage import Stage

__all__ = ["Session"]


class Session:
    """One asset of one job, open until the next one is.

    Args:
        path: A local 3D file; ``None`` for a stage with nothing on it yet.
        job: Any job; it is resolved here.
        scratch: Folder for temporary images, best in memory.
        on_stage: Called with ``import`` and ``prepare`` as they begin.
        folders: Folders that the asset may read from beside its own.

    Attributes:
        views: As sampled; frames carry the cameras as Blender sees them.
        state: Number that whoever changes the scene gave what it is now.
        geometry: How often what is on the stage was moved or made another.
        surfaces: How often that, but for being moved alone: what came, appeared or has another
            material.
        renumbered: Whether the last change gave numbers to what had none.

    Raises:
        RenderError: Anything that is wrong with the file or impossible for the job.
    """

    def __init__(
        self,
        path: Path | None,
        asset_id: str,
        job: RenderJob,
        scratch: Path,
        on_stage: Callable[[str], None] = lambda _: None,
        folders: Sequence[str] = (),
    ) -> None:
        self.job = job.resolved()
        self.asset_id = asset_id
        self._path, self._source = path, dict[str, Any]()
        self.scratch = scratch
        self.state = self.geometry = self.surfaces = 0
        self.renumbered = False
        self.stage = Stage(self.job)
        self.asset: Asset | None = None
        if path is None:
            self.stage.stay_empty()
        else:
            self.asset = self.stage.add(path, asset_id, self.job.asset, on_stage, folders)
        since = time.perf_counter()
        self.stage.light(asset_id)
        self.witness: Witness | None = None
        if self.asset is not None and path is not None and self.job.asset.witness != "off":
            moved = self.asset.normalization
            self.witness = Witness(
                path, self.asset.kind, moved.scale, moved.translation, self.job.seed,
                moved.rotation,
            )
        self.shape: ShapeFiles | None = None
        self._held: HeldSurface | None = None
        if self.job.files.geometry_files and self.asset is not None:
            self._realize(self.asset)
        self.settle()
        self.editor, self.raster, self.refining = Editor(self), RasterLane(self), Refining(self)
        self.stage.watch.add("prepare", since)

    @cached_property
    def piecewise(self) -> Piecewise:
        """Of a session that is looked at; batches have none."""
        return Piecewise(self)

    def _realize(self, asset: Asset) -> None:
        """Take the surface's triangles, as they are rendered."""
        since = time.perf_counter()
        if "sdf" in self.job.files.geometry_files:
            need_library()
        bounds = asset.normalization.bounds
        with realized(asset, self.stage.see) as found:
            glb = None
            if "mesh" in self.job.files.geometry_files:
                path = self.scratch / "mesh.glb"
                try:
                    found.write_glb(path)
                    glb = path.read_bytes()
                finally:
                    path.unlink(missing_ok=True)
            self._held = held(found.mesh, self.job.seed)
            self.shape = ShapeFiles(
                self.asset_id, found.mesh, glb, self.job, bounds, self.stage.frame,
                found.surfaces,
            )  # fmt: skip
        if found.mesh.unmeshed:
            self.stage.warnings.append(
                f"not-in-mesh: {', '.join(found.mesh.unmeshed)} of the asset renders and is in no "
                "file of its surface."
            )
        if self.stage.timeline.frames and self.stage.motion >= STILL:
            self.stage.warnings.append(
                f"one-frame-of-surface: the files of the surface show {self.asset_id} at frame "
                f"{self.stage.frame}, and it moves by {self.stage.motion:.3g} of its size."
            )
        self.stage.watch.add("geometry_files", since)

    def settle(self) -> None:
        """Make materials, views and renderer what the job and the assets on the stage need."""
        self.stage.settings(self.job)
        rig, points = Rig(), self.stage.points
        if self.asset is not None:
            normalization = self.asset.normalization
            points = normalization.points
            if self.job.asset.normalize == "none":
                center = normalization.center.tolist()
                rig = Rig((center[0], center[1], center[2]), normalization.before.longest_edge / 2)
        self._moving = self._views_over_time()
        self.views: list[View]
        if self._moving:
            self.views = next(iter(self._moving.values()))
        else:
            frames = max(1, len(self.stage.timeline.frames))
            self.views = sample_views(self.job, self.asset_id, points, rig, frames)
        self.renderer = Renderer(
            self.stage, self.asset_id, self.scratch, self.witness, self._held,
            self.shape.frame if self.shape is not None else 0,
        )

    def _views_over_time(self) -> dict[int, list[View]]:
        """Views that stand elsewhere at other times, by frame; nothing where they do not."""
        stage, rules = self.stage, self.job.cameras
        times = stage.timeline.frames or (stage.frame,)
        if stage.cameras is not None and self.asset is not None:
            moved = self.asset.normalization
            to_normal = moved.scale, moved.translation, moved.rotation
            return {at: stage.cameras.views(at, *to_normal) for at in times}
        if rules.pattern == "file" and rules.file:
            return keyed_views(rules.file, self.job.pixels.resolution, times, rules.views)
        return {}

    def _view(self, index: int, time: int) -> View:
        """One of the views, where it is at a frame."""
        return self._moving[time][index] if self._moving else self.views[index]

    def changed(
        self, *, geometry: bool, appeared: bool = False, unknown: bool = False
    ) -> None:
        """What is on the stage was changed.

        Args:
            geometry: Whether anything may be elsewhere now, or of another shape.
            appeared: Whether something may render that did not, or not so.
            unknown: Whether nobody here knows what.
        """
        self.surfaces += appeared
        if unknown:
            self.editor.forget()
        if geometry:
            self.stage.edited(unknown=unknown)
            self.geometry += 1
            # The file has it otherwise.
            self.witness = self.renderer.witness = None
        self.renumbered = appeared and self.stage.numbering.lists
        if self.renumbered:
            self.stage.number_instances(self.stage.timeline.frames or [self.stage.frame])
        self.renderer.forget()

    def set(self, values: Mapping[str, Any]) -> None:
        """Change the job of the scene that is open.

        Args:
            values: Dotted paths of a job, as ``engine.samples``, to what they become.

        Raises:
            InvalidJob: There is no such field or value, or it would need the file again.
        """
        job = self.job.with_values(dict(values)).resolved()
        ours = self.job
        if (self.stage.cameras is not None or job.cameras.pattern == "scene") and (
            job.cameras, job.pixels.resolution
        ) != (ours.cameras, ours.pixels.resolution):
            raise InvalidJob(
                "The file's own cameras, and the size of their pictures, belong to a scene from "
                "its start.",
                hint="Open it again with another job.",
            )
        if (job.asset, job.time, job.lighting, job.engine.device, job.engine.threads) != (
            ours.asset, ours.time, ours.lighting, ours.engine.device, ours.engine.threads,
        ):  # fmt: skip
            raise InvalidJob(
                "asset, time, lighting, engine.device and engine.threads belong to a scene from "
                "its start.",
                hint="Open it again with another job.",
            )
        self.job = job
        self.settle()

    def shots(self, views: Iterable[int] | None = None) -> list[Shot]:
        """Of some of the job's views, or of all: each at all its times, one time after the other.

        Raises:
            InvalidJob: There is no view of this number.
        """
        wanted = list(range(len(self.views)) if views is None else views)
        for index in wanted:
            if not 0 <= index < len(self.views):
                raise InvalidJob(f"There is no view {index}; the job has {len(self.views)}.")
        chosen = set(wanted)
        if not self.stage.timeline.frames:
            return [Shot(self.views[index]) for index in wanted]
        # Neighbours in time are those of the whole job, whatever part of it is asked for.
        shots = linked(self._all_shots(), self.stage.timeline)
        return [shot for shot in shots if shot.view.index in chosen]

    def followed(self, shots: Iterable[Shot]) -> list[Shot]:
        """Somebody's own shots, with what is before and after each where a pass asks for it.

        That is the job's frame before and the one after (``time.frames``). A camera of one's own is
        where the shot beside it has it, which may come with it; otherwise it stands still.

        Raises:
            InvalidJob: A shot is at a frame that is none of the job's.
        """
        if not self.stage.numbering.follows:
            return list(shots)
        line = self.stage.timeline
        found = []
        for shot in shots:
            at = self.stage.frame if shot.time is None else shot.time
            if at not in line.frames:
                raise InvalidJob(
                    f"Frame {at} is none of the frames that this scene was opened with "
                    f"({self.job.time.frames}), so that nobody knows where motion leads to.",
                    hint="Open it with other frames, or leave out the passes of motion.",
                )
            beside = {}
            for which, then, near in (
                ("previous", line.before(at), shot.previous), ("next", line.after(at), shot.next),
            ):  # fmt: skip
                if then is not None:
                    known = near is not None and near.time == then
                    beside[which] = near if known else Shot(shot.view, then)
            found.append(Shot(shot.view, at, **beside))
        return found

    @property
    def count(self) -> int:
        """Frames of the job: its views at all their times."""
        times = len(self.stage.timeline.frames)
        if times and self.job.time.views_per_frame == "one":
            return times
        return max(1, times) * len(self.views)

    def _all_shots(self) -> list[Shot]:
        times = self.stage.timeline.frames
        if self.job.time.views_per_frame == "one":
            # In turn, and again from the first where there are more frames.
            count = len(self.views)
            return [
                Shot(self._view(place % count, time), time) for place, time in enumerate(times)
            ]
        count = len(self.views)
        return [Shot(self._view(index, time), time) for time in times for index in range(count)]

    @property
    def warnings(self) -> list[str]:
        """``name: sentence`` each."""
        assets = [text for asset in self.stage.assets.values() for text in asset.warnings]
        return [*assets, *self.stage.warnings, *self._dropped_faces(), *self._other_device()]

    def _other_device(self) -> list[str]:
        used, told = used_device(self.stage.scene), self.stage.device
        if used == told:
            return []
        return [f"other-device: Cycles was to render on {told.kind}, but rendered on {used.kind}."]

    def _dropped_faces(self) -> list[str]:
        dropped = self._witness_record().get("faces_dropped", 0)
        if not dropped:
            return []
        return [
            f"dropped-faces: Blender left out {how_many(dropped, 'face')} of the file that had no "
            "area, came twice or named vertices that are not there."
        ]

    def lane_record(self, lane: str) -> dict[str, Any]:
        """How frames come about in a lane, for whoever gets one."""
        if lane == "raster":
            return self.raster.record
        return {"name": "exact", "engine": self.job.engine.engine, "geometry": "cycles",
                "device": self.stage.device.kind, "derived": []}  # fmt: skip

    @property
    def made_of(self) -> str:
        """The program that renders; frames of two are not mixed."""
        return f"{__version__}, Blender {bpy.app.version_string} {bpy.app.build_hash!r}"

    @property
    def device(self) -> str:
        """What renders."""
        device = used_device(self.stage.scene)
        return ", ".join(device.names) or device.kind

    def source(self, called: str) -> dict[str, Any]:
        """What is known of the file, which is read once for it.

        Args:
            called: By its user.

        Raises:
            InvalidEdit: The scene is of no file.
        """
        if self._path is None:
            raise InvalidEdit("A stage that began with nothing on it is of no file.")
        if self._source.get("file_identifier") != called:
            self._source = source_record(self._path, called)
        return self._source

    def facts(self) -> dict[str, Any]:
        """What the metadata say of scene and engine, by the names of ``asset_record``."""
        moved = {"method": "none", "scale": 1.0, "translation": [0.0, 0.0, 0.0]}
        if self.asset is not None:
            normalization = self.asset.normalization
            moved = {
                "method": normalization.method,
                "scale": normalization.scale,
                "rotation": normalization.rotation.tolist(),
                "translation": list(normalization.translation),
            }
        return {
            "scene": {
                **(self.asset.record if self.asset is not None else {}),
                **self.stage.record,
                "witness": self._witness_record(),
            },
            "normalization": moved,
            "bounds": self.stage.bounds if self.asset is None else normalization.bounds,
            "engine": self._engine_record(),
            "object_names": {
                index: name
                for asset in self.stage.assets.values()
                for index, name in asset.object_names.items()
            },
            "ids": self.stage.numbering.record(),
            "warnings": self.warnings,
            "seconds": dict(self.stage.watch.seconds),
        }

    def files(self) -> dict[str, bytes]:
        """Names and contents of what lies beside the pictures."""
        if self.asset is None or not self.job.files.rig:
            return {}
        frames = self.stage.timeline.frames or [self.stage.frame]
        data = rig_of(self.stage, self.asset, frames)
        if data is None:
            return {}
        self.asset.record["rig"] = RIG
        return {RIG: data}

    def _witness_record(self) -> dict[str, Any]:
        if self.witness is None:
            return {"read": False, "reason": "off"}
        record = self.witness.record
        if record["read"] and self.asset is not None:
            record["faces_dropped"] = self.witness.dropped(self.asset.record["poly_count"])
        return record

    def _engine_record(self) -> dict[str, Any]:
        engine, scene = self.job.engine, self.stage.scene
        device: Device = used_device(scene)
        return {
            "engine": engine.engine,
            "geometry_engine": "cycles, one sample at the pixel centre",
            "samples": engine.samples,
            "denoised": self.stage.denoised,
            "device": device.kind,
            "device_names": list(device.names),
            "bounces": BOUNCES,
            "filter_width_px": self.stage.filter_width,
            "view_transform": "Standard",
            "blender_version": bpy.app.version_string,
            "blender_build": bpy.app.build_hash.decode(errors="replace"),
            "python_version": platform.python_version(),
            "platform": platform.platform(),
        }
