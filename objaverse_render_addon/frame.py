"""One view: its arrays, its camera, and what they mean.

Every array is valid on exactly the mask's pixels and 0 elsewhere. Geometry is sampled once, at
the pixel's centre; only RGB is antialiased.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .cameras import Camera, View
from .motion import Moment, SurfacePoints, displacements, visibility
from .passspec import MARKERS, MATERIAL_PASSES, PASSES, Pass
from .timeline import Timeline

__all__ = [
    "Bounds",
    "Check",
    "Frame",
    "FrameKey",
    "FrameSink",
    "RawChannels",
    "Shot",
    "Tee",
    "assemble",
    "linked",
    "mask_of",
    "unwritten",
]

Array = npt.NDArray[Any]
Status = Literal["ok", "doubt", "failed"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the object is, in normalised scene units.

    Attributes:
        box_min: (3,) of the evaluated, visible faces.
        box_max: (3,)
        center: Of the bounding sphere.
        radius: Of the bounding sphere.
        exact: False where something renders that the faces do not bound (hair, volumes, shader
            displacement), so that a pixel outside is no contradiction.
    """

    box_min: tuple[float, float, float]
    box_max: tuple[float, float, float]
    center: tuple[float, float, float]
    radius: float
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was verified: its outcome and the number it rests on."""

    name: str
    status: Status
    value: float


@dataclass(frozen=True, slots=True)
class FrameKey:
    """Which frame of an asset it is.

    Attributes:
        view: Number of the view.
        time: Animation frame that it shows, a whole number as the user counts (:mod:`.timeline`);
            ``None`` where all frames of the asset show the same.
    """

    view: int
    time: int | None = None

    @property
    def stem(self) -> str:
        """What its files' names begin with: ``003``, or ``003_0042`` where there are times."""
        return f"{self.view:03d}" if self.time is None else f"{self.view:03d}_{self.time:04d}"

    def __str__(self) -> str:
        """``view 3``, or ``view 3 at frame 42``."""
        return f"view {self.view}" + ("" if self.time is None else f" at frame {self.time}")

    def stream(self, name: str) -> str:
        """Name of a stream of random numbers for :func:`.cameras.draw`, of this time alone.

        The view is the draw's ``index``.
        """
        return name if self.time is None else f"{name}@{self.time}"


@dataclass(frozen=True, slots=True)
class Shot:
    """What is to be rendered: one view of a stage, at one time.

    Attributes:
        view: Its camera stands where it does at this time: a view that moves is another ``View``
            of the same number in each shot.
        time: Animation frame; ``None`` takes the one that the stage shows, which is then no part
            of the frame's key.
        previous: What the frame before shows of the same view, see :func:`linked`.
        next: What the next frame shows of it: where motion leads to.
    """

    view: View
    time: int | None = None
    previous: Shot | None = None
    next: Shot | None = None

    @property
    def key(self) -> FrameKey:
        """Which frame of its asset it will be."""
        return FrameKey(self.view.index, self.time)


def linked(shots: Iterable[Shot], timeline: Timeline) -> list[Shot]:
    """All shots of a job, each with those of the same view before and after it.

    Flow, occlusion and scene flow refer to them. At the ends of a clip there is none. Where a frame
    is seen from one view alone, so that the camera moves along, its shot is the next one's
    neighbour whichever view it is.
    """
    shots = list(shots)
    at: dict[int | None, dict[int, Shot]] = {}
    for shot in shots:
        at.setdefault(shot.time, {})[shot.view.index] = shot

    def beside(shot: Shot, time: int | None) -> Shot | None:
        there = at.get(time, {}) if time is not None else {}
        only = next(iter(there.values())) if len(there) == 1 else None
        return there.get(shot.view.index, only)

    return [
        shot
        if shot.time is None
        else dataclasses.replace(
            shot,
            previous=beside(shot, timeline.before(shot.time)),
            next=beside(shot, timeline.after(shot.time)),
        )
        for shot in shots
    ]


@dataclass(slots=True)
class Frame:
    """A view at a time, with its arrays.

    Attributes:
        view: Number, camera, and how the camera came about.
        time: Animation frame that it shows.
        timed: Whether that was asked for, and so belongs to the key.
        passes: Name to array; see :data:`.passspec.PASSES` for dtype, channels, space and unit.
        object_box: ``[u_min, v_min, u_max, v_max]`` in pixels of the projected geometry, whether
            or not it is inside the image; ``None`` where some of it is behind the camera.
        normal_space: ``camera`` or ``world``: the axes of normals.
        opaque: Whether RGB is written over a background colour.
        blurred: Whether RGB is blurred by what moves, so that it need not agree with the rest.
        bounds: Of what was on the stage.
        noise_seed: Of the path tracer, for RGB.
        view_dependent: Whether some surface is there from one side and not from another, so that
            views need not see the same: back faces that are culled, opacity by angle.
        unwritten: Share of the object's pixels whose material wrote into no material pass; None
            where there is none, or where that is not known.
        constants: (N, channels) all values that a material pass can have, where its materials are
            constant; known while rendering.
        lights: Of several for one view, what the metadata say of each.
        relit: The pictures under each of them, by name. Without light groups the first ones are
            those of ``passes``, too; with groups those have all lights together.
        grouped: Whether the lights are parts of one render.
        checks: What the checks of :mod:`objaverse_render_addon.checks` found.
        previous: Key of the frame that backward motion leads to; none where there is none.
        next: Key of the frame that forward motion leads to.
        tracks: (N, 6) float32, of points that are followed: u and v in pixels, x, y and z in world
            axes and scene units, 1 where it is seen, 0 where not and nan where that is not
            known; nan where it is not there, u and v also where
            it is behind the camera.
        moment: What its passes are still to be made from; none once they are there.
    """

    view: View
    time: int = 0
    timed: bool = False
    passes: dict[str, Array] = field(default_factory=dict)
    object_box: tuple[float, float, float, float] | None = None
    normal_space: str = "camera"
    opaque: bool = False
    blurred: bool = False
    bounds: Bounds | None = None
    noise_seed: int | None = None
    view_dependent: bool = False
    unwritten: float | None = None
    constants: dict[str, Array] = field(default_factory=dict)
    lights: list[dict[str, Any]] = field(default_factory=list)
    relit: list[dict[str, Array]] = field(default_factory=list)
    grouped: bool = False
    checks: list[Check] = field(default_factory=list)
    previous: FrameKey | None = None
    next: FrameKey | None = None
    tracks: Array | None = None
    moment: Moment | None = None

    @property
    def key(self) -> FrameKey:
        """Which frame of its asset it is."""
        return FrameKey(self.view.index, self.time if self.timed else None)

    @property
    def camera(self) -> Camera:
        """The view's camera."""
        return self.view.camera

    def lit_anew(self) -> list[int]:
        """Places of the lights whose pictures are not those of ``passes``."""
        return [place for place in range(len(self.lights)) if place or self.grouped]

    def arrays(self, passes: Iterable[str]) -> dict[str, Array]:
        """What there is of it, by name, for whoever takes it elsewhere.

        Passes; of several lights the others' pictures, ``rgb@1`` that under the second; and
        ``tracks``, where points are followed.
        """
        found = {name: self.passes[name] for name in passes}
        for place in self.lit_anew():
            found |= {f"{name}@{place}": data for name, data in self.relit[place].items()}
        if self.tracks is not None:
            found["tracks"] = self.tracks
        return found

    @property
    def radial(self) -> bool:
        """Whether its lens sees all around, so that there is no planar depth."""
        return self.camera.lens.radial

    def spec(self, name: str) -> Pass:
        """The meaning of one of this frame's passes."""
        return PASSES[name].under(self)


class FrameSink:
    """Where frames go: a data set, previews, a socket. Called from one thread.

    Sinks inherit from it what they have no use for.
    """

    def geometry(self, frame: Frame) -> None:
        """Take a frame whose geometry is complete and checked; its colour is still to come."""

    def frame(self, frame: Frame) -> None:
        """Take the same frame, complete."""

    def close(self) -> None:
        """Take nothing more: all frames were given."""

    def abort(self) -> None:
        """Forget what was given; safe to call at any time, from any thread, and again."""


class Tee(FrameSink):
    """Gives every frame to several sinks, in order."""

    def __init__(self, *sinks: FrameSink) -> None:
        self._sinks = sinks

    def geometry(self, frame: Frame) -> None:
        """See :class:`FrameSink`."""
        for sink in self._sinks:
            sink.geometry(frame)

    def frame(self, frame: Frame) -> None:
        """See :class:`FrameSink`."""
        for sink in self._sinks:
            sink.frame(frame)

    def close(self) -> None:
        """See :class:`FrameSink`."""
        for sink in self._sinks:
            sink.close()

    def abort(self) -> None:
        """See :class:`FrameSink`."""
        for sink in self._sinks:
            sink.abort()


class RawChannels:
    """What Blender wrote for a view's geometry: what its passes are assembled from.

    Args:
        channels: ``depth.V`` (1e10 where nothing is), ``normal.XYZ`` (world axes), and those of
            the wanted passes' layers. (H, W) float32 each, rows from top to bottom.
        camera: As Blender sees it.
        normal_space: ``camera`` or ``world``: the axes of vectors in the result.
        moment: Of the scene, for passes that need more than the picture.

    Attributes:
        valid: (H, W) bool, the object: where both a depth and a normal are.
    """

    camera: Camera

    def __init__(
        self,
        channels: Mapping[str, Array],
        camera: Camera,
        normal_space: str,
        moment: Moment | None = None,
    ) -> None:
        self.camera, self.normal_space, self._moment = camera, normal_space, moment
        self._channels = channels
        self._moved: dict[str, npt.NDArray[np.float64]] = {}
        self._targets: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = {}
        depth = channels["depth.V"]
        square = sum(channels[f"normal.{letter}"] ** 2 for letter in "XYZ")
        # Cycles writes 1e10 where a ray meets nothing. A pixel counts only where both are there.
        self.valid: npt.NDArray[np.bool_] = (
            np.isfinite(depth) & (depth > 0) & (depth < 1e9) & (square > 0.25)
        )

    def planes(self, layer: str, letters: str) -> Array:
        """A layer's channels as Blender wrote them: (H, W), or (H, W, n) of n letters."""
        planes = [self._channels[f"{layer}.{letter}"] for letter in letters]
        return planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)

    def on_object(self, data: Array, dtype: str) -> Array:
        """The values (H, W) or (H, W, n) on the object, and 0 elsewhere."""
        valid = self.valid if data.ndim == 2 else self.valid[..., None]
        return np.where(valid, data, 0).astype(dtype)

    @cached_property
    def depth(self) -> Array:
        """(H, W) float32, planar, scene units, 0 where nothing is."""
        return self.on_object(self.planes("depth", "V"), "float32")

    @cached_property
    def measured(self) -> Array:
        """(H, W) float32, planar, scene units, 0 where nothing is or nothing is measured."""
        assert self.moment.sensing is not None
        return self.moment.sensing.measured(self.depth, self.camera)

    def unit_vectors(self, layer: str, letters: str = "XYZ") -> Array:
        """A layer of world vectors as (H, W, 3) float32 of unit length in the asked axes.

        Where a material has no nodes that write the layer, it has none that change the normal.
        """
        # Most of a picture is empty.
        some = self._on_valid(layer, letters)
        unwritten = (some**2).sum(axis=-1) < 0.25
        if unwritten.any():
            some[unwritten] = self._on_valid("normal", "XYZ")[unwritten]
        some /= np.linalg.norm(some, axis=-1, keepdims=True)
        if self.normal_space != "world":
            some = some @ self.camera.camera_to_world[:3, :3]
        vectors = np.zeros((*self.valid.shape, 3), dtype=np.float32)
        vectors[self.valid] = some
        return vectors

    @property
    def moment(self) -> Moment:
        """What the scene was.

        Raises:
            ValueError: Nobody said.
        """
        if self._moment is None:
            raise ValueError("ids and motion need to know what was on the stage")
        return self._moment

    @cached_property
    def surface(self) -> SurfacePoints:
        """What the object's pixels show, in the order in which the mask has them."""
        assert self.moment.things is not None
        place, number = "instance_place", "surface_number"
        seen = {
            name: self._channels[name][self.valid]
            for name in (
                "object_index.V", *(f"{place}.{letter}" for letter in "RGB"), f"{number}.R",
                f"{number}.G",
            )
        }  # fmt: skip
        rows = self.moment.things.rows(
            np.rint(seen["object_index.V"]),
            np.stack([seen[f"{place}.{letter}"] for letter in "RGB"], axis=1),
            seen[f"{number}.R"],
        )
        points = np.zeros((len(rows), 3))
        if "position.X" in self._channels:
            points = self._on_valid("position", "XYZ")
        return SurfacePoints(points, rows, np.rint(seen[f"{number}.G"]).astype(np.int64))

    @cached_property
    def instances(self) -> Array:
        """(H, W) uint32, ids of instances."""
        assert self.moment.things is not None
        ids = np.zeros(self.valid.shape, np.uint32)
        ids[self.valid] = np.append(self.moment.things.ids, np.uint32(0))[self.surface.rows]
        return ids

    @cached_property
    def classes(self) -> Array:
        """(H, W) uint16, ids of classes."""
        objects = self.on_object(self.planes("object_index", "V").round(), "int64")
        known = self.moment.classes
        return np.where(objects < len(known), known[np.minimum(objects, len(known) - 1)], 0).astype(
            np.uint16
        )

    def displacement(self, which: str) -> npt.NDArray[np.float64]:
        """(M, 3) of the surface's points to another time, see :func:`.motion.displacements`.

        Args:
            which: ``next`` or ``previous``; nan where there is none.
        """
        if which not in self._moved:
            other, now = self.moment.other(which), self.moment.things
            assert now is not None
            self._moved[which] = (
                np.full(self.surface.points.shape, np.nan)
                if other is None
                else displacements(self.surface, now, other.things)
            )
        return self._moved[which]

    def scene_flow(self, which: str) -> Array:
        """(H, W, 3) float32, world axes and scene units."""
        return self._spread(self.displacement(which))

    def flow(self, which: str) -> Array:
        """(H, W, 2) float32, pixels to the right and down."""
        return self._spread(self.camera.way(self._here, self.target(which)[0]))

    @cached_property
    def _here(self) -> npt.NDArray[np.float64]:
        """Pixel coordinates (M, 2) of the surface's points."""
        return self.camera.project(self.surface.points)[0]

    def target(self, which: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Pixel coordinates (M, 2) and depth (M,) of the surface's points at another time.

        nan where a point is behind the camera then, or not there.
        """
        if which not in self._targets:
            other = self.moment.other(which)
            camera = self.camera if other is None else other.camera
            uv, depth = camera.project(self.surface.points + self.displacement(which))
            uv[~(depth > 0)] = np.nan
            self._targets[which] = uv, depth
        return self._targets[which]

    def occlusion(self, which: str) -> Array:
        """(H, W) uint8: 0 seen, 1 hidden, 2 out of the picture, 3 not known."""
        found = np.zeros(self.valid.shape, np.uint8)
        uv, depth = self.target(which)
        points = self.surface.points + self.displacement(which)
        found[self.valid] = visibility(points, uv, depth, self.moment.other(which))
        return found

    def _spread(self, values: Array) -> Array:
        """(M, n) of the object's pixels as (H, W, n) float32."""
        data = np.zeros((*self.valid.shape, values.shape[1]), np.float32)
        data[self.valid] = values
        return data

    def _on_valid(self, layer: str, letters: str) -> npt.NDArray[np.float64]:
        planes = [self._channels[f"{layer}.{letter}"] for letter in letters]
        return np.stack([plane[self.valid] for plane in planes], axis=-1).astype(np.float64)


def assemble(
    channels: Mapping[str, Array],
    camera: Camera,
    wanted: Iterable[str],
    normal_space: str,
    moment: Moment | None = None,
) -> dict[str, Array]:
    """The passes of a view from the channels of Blender's multilayer EXR.

    Args:
        channels: See :class:`RawChannels`.
        camera: As Blender sees it.
        wanted: Pass names. ``mask``, ``depth`` and ``normal`` are always computed, since the
            checks need them.
        normal_space: ``camera`` or ``world``.
        moment: Of the scene; ids of instances and classes, and what moves, need it.

    Returns:
        Arrays as :data:`.passspec.PASSES` describes them, without ``rgb``.
    """
    raw, names = RawChannels(channels, camera, normal_space, moment), set(wanted)
    return {
        spec.name: spec.assemble(raw)
        for spec in PASSES.values()
        if spec.assemble is not None and (spec.always or spec.name in names)
    }


def unwritten(channels: Mapping[str, Array], mask: Array) -> float | None:
    """Share of the object's pixels whose material wrote into no AOV; None without AOVs.

    Args:
        channels: See :class:`RawChannels`. In an AOV's alpha Cycles counts the surfaces that wrote.
        mask: (H, W), not 0 on the object.
    """
    aovs = [channels[f"{name}.A"] for name in MATERIAL_PASSES if f"{name}.A" in channels]
    there = mask != 0
    if not aovs or not there.any():
        return None
    return max(float(np.mean(count[there] == 0)) for count in aovs)


def mask_of(passes: Mapping[str, Array], *, exact: bool = False) -> npt.NDArray[np.bool_] | None:
    """Where the object is, from whichever of a view's passes say it.

    The mask; where it was not stored the depth or distance, an object's id, the normal, each of
    which is 0 on exactly the pixels without object. At last the picture's alpha, cut at a half:
    it is antialiased, so that it differs from the mask along the outline.

    Args:
        passes: Name to array.
        exact: Whether an antialiased picture's word counts for nothing.

    Returns:
        (H, W) bool, or ``None`` where none of the passes tells.
    """
    for name in MARKERS:
        if name in passes:
            data, invalid = passes[name], PASSES[name].invalid
            return np.asarray(data > invalid if data.ndim == 2 else (data != invalid).any(axis=-1))
    for name, data in passes.items():
        if not exact and name in PASSES and PASSES[name].is_picture and data.shape[-1] == 4:
            return np.asarray(data[..., 3] > (127 if data.dtype.kind == "u" else 0.5))
    return None
