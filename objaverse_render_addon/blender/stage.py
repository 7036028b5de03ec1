"""One Blender scene: what decides a pixel, light, camera and time, and what stands on it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np
import numpy.typing as npt

from ..assets.formats import inspect_file
from ..cameras import Camera, View, draw
from ..frame import Bounds
from ..job import AssetRules, RenderJob
from ..motion import Things, Tracks
from ..passspec import PASSES
from ..timeline import Clip, Timeline
from ..words import how_many
from . import backfaces, bodies, compat, doubts, importers, lighting, render_settings
from .animation import Animation
from .arrival import normalized
from .asset import Asset, Contents, bring_in, link_rendered
from .camera import apply_camera, new_camera, set_camera
from .devices import Device, gpu_beside, select_device
from .evaluated import Onlooker
from .extent import Extents, measured_or_not
from .measuring import Measurement
from .numbering import Numbering
from .reach import Gate
from .scene_cameras import SceneCameras
from .surface_numbers import can_deform, number_faces
from .surfaces import Surfaces
from .things import Still, keys, things

__all__ = ["Stage", "Stopwatch"]

_FEW: Final = 32
"""Constant values of materials that each pixel is held against."""

_MOMENTS: Final = 8
"""Times whose things are kept: before, now and after, and some more for views side by side."""

_OF_SETTINGS: Final = (
    "unclear-materials:", "unclear-transparency:", "materials-out-of-range:", "back-faces-shown:",
    "back-faces-differ:", "bumped-normals:", "not-denoised:", "camera-not-blurred:",
    "motion-as-if-rigid:", "motion-below-displacement:", "motion-leads-nowhere:",
)  # fmt: skip
"""Warnings that :meth:`Stage.settings` says anew each time."""


class Stopwatch:
    """Seconds per stage of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, stage: str, since: float) -> None:
        """Count the time since ``since`` (:func:`time.perf_counter`) for a stage."""
        self.count(stage, time.perf_counter() - since)

    def count(self, stage: str, seconds: float) -> None:
        """Count some seconds for a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


class Stage:
    """The one scene that Blender renders, emptied first of all that was open.

    Assets are put on it with :meth:`add` and taken off with :meth:`remove`; :meth:`light` and
    :meth:`settings` hold for whatever is on it.

    Args:
        job: A resolved job.

    Attributes:
        assets: What is on it, by id.
        record: What the metadata say of light and materials, ready for JSON.
        warnings: ``name: sentence`` each, of the stage as a whole.
        device: What Cycles was told to render on.
        denoised: Whether RGB is denoised; not every build of Blender can.
        filter_width: Of colour's pixel filter, in pixels, as Blender has it.
        timeline: The frames of what came first onto it, and what moments they show.
        frame: The animation frame that is shown, as the timeline counts.
        version: Another as soon as something else is on it, or elsewhere.
        set_ups: Another as soon as it was made ready for something: camera, time, engine.
        animation: Of what came first onto it.
        cameras: Its own, where the job wants them.
        motion: The farthest that a vertex of it moves within the wanted frames, as a share of the
            longest edge of the box of them all.
        source_world: Of the file that was the first on it.
        rig: Of several lights for one view; none where one light is all views'.
        constants: (N, channels) all values of a material pass, where they are few.
        numbering: What ids stand for.
    """

    def __init__(self, job: RenderJob) -> None:
        since = time.perf_counter()
        importers.empty_blender()
        self.job = job
        self.assets: dict[str, Asset] = {}
        self.record: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.watch = Stopwatch()
        self.watch.add("import", since)
        self.alpha = Surfaces(job.engine.alpha_threshold)
        self.constants: dict[str, npt.NDArray[np.float64]] = {}
        self.device = Device("CPU", ())
        self.denoised = False
        self.filter_width = render_settings.FILTER_WIDTH
        self.timeline = Timeline((Clip(None, 0, 0, 0.0),))
        self.animation: Animation | None = None
        self.cameras: SceneCameras | None = None
        self.motion = 0.0
        self.frame = 0
        self.version = 0
        self.set_ups = 0
        self._held: list[Callable[[], None]] = []
        self._scene: Any = None
        self._camera: Any = None
        self.source_world: Any = None
        self._onlooker: Any = None
        self._newcomers: Any = None
        self._clocks: dict[str, Any] = {}
        self._fallen: dict[str, frozenset[int]] = {}
        self.rig: lighting.LightRig | None = None
        self._extents = Extents(self)
        self.numbering = Numbering(job.pixels)
        self._things: dict[int, Things] = {}
        self._still_meshes: Still = {}

    # --- Assets ---------------------------------------------------------------------------------

    def add(
        self,
        path: Path,
        asset_id: str,
        rules: AssetRules,
        on_stage: Callable[[str], None] = lambda _: None,
        folders: Sequence[str] = (),
    ) -> Asset:
        """Import a file, normalise it and put it on the stage.

        Args:
            rules: A resolved job's.
            on_stage: Called with ``import`` and ``prepare`` as they begin.
            folders: Folders that the asset may read from beside its own.

        Raises:
            RenderError: Anything that is wrong with the file or impossible for the rules.
            ValueError: There is an asset of this id already.
        """
        if asset_id in self.assets:
            raise ValueError(f"there is a {asset_id} on the stage already")
        since = time.perf_counter()
        on_stage("import")
        kind = inspect_file(path, whole=True)
        keep = self.job.lighting.mode == "keep"
        alone = self._scene is None
        gate = Gate(path, kind, folders, rules.missing_parts)
        with gate as file:
            source, contents, importer = bring_in(
                file, kind, alone=alone, keep_lights=keep,
                keep_cameras=self.job.cameras.pattern == "scene",
            )  # fmt: skip
        record: dict[str, Any] = {**contents.counts()}
        record["linked_files"] = sorted(map(gate.origin, contents.linked_files()))
        record["importer"] = importer.importer
        self.watch.add("import", since)

        since = time.perf_counter()
        on_stage("prepare")
        if alone:
            self.source_world = source.world
            self._make_scene(source.frame_current)
        collection = bpy.data.collections.new(asset_id)
        for scene in (self.scene, self._onlooker.scene):
            scene.collection.children.link(collection)
        # Only what renders is looked at, and evaluating the viewport too takes as long.
        collection.hide_viewport = True
        if alone:
            self._begin_time(source, contents, kind, rules.frame)
        simulated = self._let_fall(source, contents, asset_id, alone)
        rendered = link_rendered(source, contents, collection, keep)
        if alone and self.job.cameras.pattern == "scene":
            cameras = self.job.cameras
            self.cameras = SceneCameras(
                source, contents["objects"], cameras.scene_cameras, cameras.views,
                self.job.pixels.resolution,
            )  # fmt: skip
            self.cameras.link(collection)
            self.warnings += self.cameras.warnings
        bpy.context.window.scene = self.scene
        # Its drivers go on to read the time from the scene that it came with.
        self._clocks[asset_id] = source
        self.set_time(self.frame)
        said = doubts.of_contents(contents)
        if simulated:
            said.append(
                f"simulated-here: the file holds no bake of {', '.join(simulated[:5])}; this "
                "Blender simulated them, and another may do it otherwise."
            )
        with contextlib.nullcontext() if alone else self._apart(collection):
            asset = normalized(
                self, asset_id, kind, collection, contents, rendered, rules, alone=alone
            )  # fmt: skip
        asset.record = {**record, **asset.record}
        asset.warnings += [*gate.warnings, *importer.warnings, *said]
        if keep:
            lighting.rescale_lights(asset.lights, asset.normalization.scale)
        self.assets[asset_id] = asset
        self._changed()
        self.watch.add("prepare", since)
        return asset

    def _begin_time(self, source: Any, contents: Contents, kind: str, still: int | None) -> None:
        """Find out what moves in the first asset, and which of its frames are wanted."""
        time = self.job.time
        self.animation = animation = Animation(source, contents, kind)
        spans = animation.spans(time.action)
        self.frame = source.frame_current if still is None else still
        if time.frames is None and time.action is not None and still is None:
            self.frame = math.ceil(spans[0][1] - 1e-4)
        if time.frames is None:
            self.timeline = Timeline(
                (Clip(time.action, 0, 0, 0.0),), animation.rate, actions=animation.names
            )
            return
        self.timeline = Timeline.of(
            spans, time.frames, rate=animation.rate, scale=time.scale, actions=animation.names
        )
        self.frame = self.timeline.frames[0]

    def _let_fall(
        self, source: Any, contents: Contents, asset_id: str, alone: bool
    ) -> list[str]:
        """Play the simulations of a file, or stop its bodies; the names of what was simulated."""
        frames: tuple[int, ...] = self.timeline.frames if alone else ()
        simulated: list[str] = []
        moments = [self.timeline.moment(frame) for frame in frames]
        if frames:
            simulated = bodies.simulate(source, contents["objects"], max(moments))
        right = bodies.play(source, moments or [float(self.frame)])
        if right is not None:
            self._fallen[asset_id] = frozenset((frames or (self.frame,))[: len(right)])
        return simulated

    def note_cameras(self) -> None:
        """Remember where its own cameras are at the frame that is shown."""
        if self.cameras is not None:
            self._look(partial(self.cameras.remember, self.frame))

    def stay_empty(self) -> None:
        """Make the scene although there is no asset yet."""
        self._make_scene(1)
        self.frame = 1
        bpy.context.window.scene = self.scene

    def remove(self, asset_id: str) -> None:
        """Take an asset off the stage."""
        self._clocks.pop(asset_id)
        self._fallen.pop(asset_id, None)
        self.assets.pop(asset_id).remove()
        self._changed()

    def place(self, asset_id: str, matrix: npt.ArrayLike) -> None:
        """Move a normalised asset.

        Args:
            matrix: (4, 4) from its normalised coordinates to the stage's.
        """
        self.assets[asset_id].place(np.asarray(matrix, dtype=np.float64).tolist())
        self._changed()

    def _changed(self) -> None:
        self._extents.forget()
        self._things.clear()
        self.version += 1

    def edited(self, *, unknown: bool = False) -> None:
        """What is on it was moved, hidden or changed.

        Args:
            unknown: Whether somebody else did it, so that no asset is known to be whole.
        """
        for asset in self.assets.values() if unknown else ():
            asset.whole = False
        self._changed()

    @property
    def bounds(self) -> Bounds:
        """Of everything on the stage."""
        return self._extents.now[0]

    @property
    def points(self) -> npt.NDArray[np.float64]:
        """(N, 3) points whose hull is that of everything on the stage."""
        return self._extents.now[1]

    def see(self, task: Callable[[Any], Any]) -> Any:
        """What a task makes of the evaluated scene; see :data:`.evaluated.Look`."""
        return self._look(task)

    def _look(self, task: Callable[[Any], Any]) -> Any:
        return self._onlooker.look(self.moment, task)

    @contextlib.contextmanager
    def _apart(self, collection: Any) -> Iterator[None]:
        """Look at what comes and at nothing else for a while: the rest costs nothing then."""
        usual, self._onlooker = self._onlooker, self._newcomers
        beside = self._newcomers.scene.collection.children
        beside.link(collection)
        try:
            yield
        finally:
            self._onlooker = usual
            beside.unlink(collection)

    # --- What decides a pixel -------------------------------------------------------------------

    @property
    def scene(self) -> Any:
        """Blender's scene; there is one as soon as an asset is on the stage."""
        return self._scene

    def _make_scene(self, frame: int) -> None:
        self._scene = bpy.data.scenes.new("Objaverse")
        self._scene.frame_set(frame)
        self._onlooker, self._newcomers = Onlooker(), Onlooker("Objaverse Newcomers")
        render_settings.set_up_render(self._scene, self.job.engine)
        self.device = select_device(self.job.engine.device)
        on_cpu = self.device.kind == "CPU"
        compat.set_checked(self._scene.cycles, device="CPU" if on_cpu else "GPU")
        if on_cpu and self.job.engine.device == "auto" and (beside := gpu_beside()):
            self.warnings.append(
                f"cpu-beside-gpu: Blender finds no GPU, so the CPU renders, but there is {beside}; "
                "its driver may be too old."
            )

    @property
    def moment(self) -> float:
        """What the frame shows, in the file's own frames."""
        return self.timeline.moment(self.frame)

    def anew(self) -> None:
        """It is about to be made ready for something else."""
        self.set_ups += 1
        while self._held:
            self._held.pop()()

    def hold(self, owner: Any, values: dict[str, Any]) -> None:
        """Give properties other values until the stage is made ready for something else."""
        before = {name: getattr(owner, name) for name in values}
        self._held.append(partial(compat.set_checked, owner, **before))
        compat.set_checked(owner, **values)

    def hold_surfaces(self) -> None:
        """Have materials be what geometry needs until it is made ready for something else."""
        if self.alpha.needed:
            self._held.append(self.alpha.restore)
            self.alpha.apply()

    def set_time(self, frame: int) -> None:
        """Stop time at a frame of the timeline.

        Here alone a frame becomes a moment of Blender's time, which may lie between two of its
        frames.
        """
        self.anew()
        if self.animation is not None:
            self.animation.play(self.timeline.clip_of(frame).action)
        self.frame = frame
        whole = math.floor(self.moment)
        part = self.moment - whole
        for clock in self._clocks.values():
            clock.frame_current, clock.frame_subframe = whole, part
        self.scene.frame_set(whole, subframe=part)
        for asset_id, known in self._fallen.items():
            text = f"still-bodies: rigid bodies of {asset_id} stand as at frame {max(known)}, "
            text += "also at frames of which nothing was said when it came."
            if frame not in known and text not in self.warnings:
                self.warnings.append(text)

    def light(self, key: str) -> None:
        """Light the stage as the job says.

        Args:
            key: What random draws go by; an asset's id.
        """
        record = lighting.light_scene(self.scene, self.job, key, self.source_world)
        if "of_views" in record:
            self.rig = lighting.LightRig(self.scene, self.layer)
        self.record["lighting"] = record
        if self.job.lighting.mode == "keep" and not record["lights"] and not self.source_world:
            self.warnings.append("no-light: the file has no lights and no world to keep.")

    def settings(self, job: RenderJob) -> None:
        """Make materials, object numbers, denoiser and alpha what a job's pixels need.

        Safe to call again with another job: what the one before changed in materials is undone.
        """
        self.anew()
        self.job = job
        kept = [text for text in self.warnings if not text.startswith(_OF_SETTINGS)]
        self.alpha = surfaces = Surfaces(job.engine.alpha_threshold, job.pixels.passes)
        self.numbering = Numbering(job.pixels)
        self.record.pop("tracks", None)
        self._still_meshes.clear()
        for asset in self.assets.values():
            asset.pass_edits.undo()
            of_the_view, converted = len(surfaces.of_the_view), len(surfaces.converted)
            surfaces.add(asset.pass_edits, asset.materials)
            asset.record["materials"] |= {
                "view_dependent": sorted(surfaces.of_the_view[of_the_view:]),
                "specular_glossiness": sorted(surfaces.converted[converted:]),
            }
            self.numbering.add(asset)
            if self.numbering.follows:
                for obj in filter(can_deform, asset.contents["objects"]):
                    number_faces(asset.pass_edits, obj)
        for name, those in (
            ("unclear-materials", surfaces.unclear),
            ("unclear-transparency", surfaces.unclear_opacity),
            ("materials-out-of-range", surfaces.out_of_range),
            ("bumped-normals", surfaces.bumped),
        ):
            if those:
                kept.append(f"{name}: {', '.join(those[:5])}")
        kept += backfaces.match_engine(job.engine.engine, self.scene, self.assets.values())
        channels = {name: PASSES[name].channels for name in surfaces.constants}
        self.constants = {
            name: np.array(sorted(values))[:, : channels[name]]
            for name, values in surfaces.constants.items()
            if 0 < len(values) <= _FEW
        }
        self.denoised = job.engine.denoise and job.engine.engine == "cycles"
        if job.lighting.groups and self.denoised:
            self.denoised = False
            kept.append(
                "not-denoised: parts of one render add up as they were traced only; more samples "
                "make light groups clean."
            )
        if self.denoised and not compat.has_denoiser(self.scene.cycles):
            self.denoised = False
            kept.append("not-denoised: this Blender was built without OpenImageDenoise.")
        if job.time.motion_blur and job.cameras.pattern in ("file", "scene"):
            stands = job.cameras.pattern == "file" or job.asset.normalize != "none"
            if stands:
                kept.append(
                    "camera-not-blurred: motion blur is of what moves; the camera stands while the "
                    "shutter is open."
                )
        if self.numbering.follows:
            kept += self._motion_doubts()
        self.warnings = kept
        # The clip makes alpha 0 or 1 where it can; where it cannot, this is the rule.
        compat.set_checked(self.layer, pass_alpha_threshold=job.engine.alpha_threshold)
        if self._camera is None:
            self._camera = new_camera(self.scene)
        self.number_instances(self.timeline.frames or [self.frame])

    def _motion_doubts(self) -> Iterator[str]:
        for asset in self.assets.values():
            yield from doubts.of_motion(asset.contents)
        line, frames = self.timeline, self.timeline.frames
        alone = [one for one in frames if line.after(one) is None and line.before(one) is None]
        if alone:
            yield (
                f"motion-leads-nowhere: at {how_many(len(alone), 'frame')} of {len(frames)}, the "
                f"first {alone[0]}, no other of the same clip is rendered; flow is nan there."
            )

    def number_instances(self, times: Iterable[int]) -> None:
        """Give everything that renders at some times its number, where a pass wants it.

        Args:
            times: Frames of the timeline, all of the job's, so that the numbers are the same
                whichever of them are rendered.
        """
        self._things.clear()
        if not self.numbering.lists:
            times = ()
        shown, found = self.frame, []
        for frame in times:
            if frame != self.frame:
                self.set_time(frame)
            found.append(self._look(keys))
        if shown != self.frame:
            self.set_time(shown)
        self.numbering.finish(found)

    def things(self, frame: int) -> Things:
        """What renders at a frame of the timeline, of the clip that is shown."""
        if frame not in self._things:
            while len(self._things) >= _MOMENTS:
                self._things.pop(next(iter(self._things)))
            ids, tracked = self.numbering.ids, bool(self.numbering.tracks)
            shapes = self.numbering.follows or tracked
            still = self._still_meshes if self.numbering.sees or tracked else None
            # To come to see a frame costs as much as to measure it.
            alone = self._extents.missing(frame)

            def seen(graph: Any) -> tuple[Things, Measurement | None]:
                found = things(
                    graph, ids, shapes=shapes, still=still, see_through=self.alpha.see_through
                )
                return found, None if alone is None else measured_or_not(graph)

            with self._clocks_at(frame):
                self._things[frame], now = self._onlooker.look(
                    self.timeline.moment(frame), seen, elsewhen=frame != self.frame
                )
            if alone is not None:
                self._extents.note(frame, alone, now)
        return self._things[frame]

    def tracks(self, key: str) -> Tracks | None:
        """Points of the surface as it is at the first frame, the same whichever are rendered.

        Args:
            key: What random draws go by; an asset's id.
        """
        count = self.numbering.tracks
        if not count:
            return None
        shown, first = self.frame, (self.timeline.frames or [self.frame])[0]
        if first != shown:
            self.set_time(first)
        random = draw(self.job.seed, key, "tracks", 0, 3 * count).reshape(count, 3)
        chosen = Tracks.chosen(self.things(first), random)
        if first != shown:
            self.set_time(shown)
        names = {number: key[1] for key, number in self.numbering.ids.items()}
        self.record["tracks"] = {
            "count": len(chosen.ids),
            "objects": [names.get(number, "") for number in chosen.ids.tolist()],
        }
        return chosen

    @contextlib.contextmanager
    def _clocks_at(self, frame: int) -> Iterator[None]:
        """Let drivers that read the time read another for a while."""
        before = [(clock, clock.frame_current, clock.frame_subframe)
                  for clock in self._clocks.values()]  # fmt: skip
        whole = math.floor(self.timeline.moment(frame))
        try:
            for clock, _, _ in before:
                clock.frame_current = whole
                clock.frame_subframe = self.timeline.moment(frame) - whole
            yield
        finally:
            for clock, current, subframe in before:
                clock.frame_current, clock.frame_subframe = current, subframe

    @property
    def layer(self) -> Any:
        """The view layer that renders."""
        return self.scene.view_layers[0]

    def look(self, view: View) -> View:
        """Point Blender's camera; the view with the camera as Blender sees it."""
        self.anew()
        camera = apply_camera(self.scene, self._camera, view.camera, *self._clip(view))
        return dataclasses.replace(view, camera=camera)

    def turn_to(self, view: View) -> None:
        """Point Blender's camera as it was before by :meth:`look`: nothing is evaluated."""
        self.anew()
        set_camera(self.scene, self._camera, view.camera, *self._clip(view))

    def _clip(self, view: View) -> tuple[float, float]:
        if view.clip is not None:
            return view.clip
        bounds = self.bounds
        position = view.camera.camera_to_world[:3, 3]
        distance = float(np.linalg.norm(position - np.array(bounds.center)))
        # Off the axis, a planar depth is less than the distance.
        (depth,) = view.camera.project(np.array([bounds.center]))[1].tolist()
        near = max(depth - bounds.radius, 0.0) * 0.5
        return max(near, 1e-3 * bounds.radius), (distance + bounds.radius) * 4

    def box_in(self, camera: Camera) -> tuple[float, float, float, float] | None:
        """``[u_min, v_min, u_max, v_max]`` of what is on the stage, in pixels, wherever that is.

        ``None`` where some of it is behind the camera, and of lenses that bend straight edges:
        there, points whose hull is the object's do not bound its picture.
        """
        return camera.box_of(self.points)

    def set_up_geometry(self) -> None:
        """One sample at the pixel's centre."""
        self.anew()
        render_settings.set_up_geometry(self.scene)

    def set_up_color(self, *, guides: bool = False) -> None:
        """The job's engine and samples, into the render's own file.

        Args:
            guides: Whether Cycles does not denoise itself, and stores what denoising needs.
        """
        self.anew()
        width = render_settings.set_up_color(
            self.scene, self.job, denoised=self.denoised and not guides, guides=guides,
            scale=self.timeline.scale,
        )  # fmt: skip
        if width is not None:
            self.filter_width = width

    def ride(self, view: View | None) -> None:
        """Let Blender's camera go along with the file's own while the shutter is open.

        Args:
            view: Whose camera; ``None`` lets it stand where it was put.
        """
        camera = self._camera
        camera.constraints.clear()
        if view is None or self.cameras is None:
            return
        (asset,) = self.assets.values()
        if asset.normalization.handle is None:
            # Where the scene was moved, the file's own camera was not.
            follow = camera.constraints.new("COPY_TRANSFORMS")
            follow.target = self.cameras.object_of(view)
