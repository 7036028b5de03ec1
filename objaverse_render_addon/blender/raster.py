"""The raster lane: pictures and geometry at live rates, drawn by Blender's Workbench.

It needs neither a window nor a GPU. Without antialiasing its depth is that of the pixel's centre,
and equals Cycles' to a hundred-thousandth. Ids and their depth are drawn by themselves
(:mod:`.index_drawing`) and held against Workbench's depth; where they cannot be, ids are flat
colours, digits to the base of 256, which half floats hold exactly enough. Position, distance and
normals are computed from depth, motion from depth, ids and where things are at the other time: what
shows several times under one id, as instances do, has none (nan). Colour is Workbench's own,
textures under studio light, not the scene's.

What it cannot see it says (:attr:`RasterLane.record`): surfaces are opaque, displacement of shaders
and culling of back faces are left out. Before a scene's first frame it is held against Cycles.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import bpy
import numpy as np
import numpy.typing as npt

from ..cameras import Camera, View
from ..cameras.normals import normals_of
from ..checks import check_color, check_geometry
from ..errors import Interrupted, InvalidJob, RenderFailed
from ..frame import Frame, FrameSink, RawChannels, Shot
from ..motion import Elsewhen, Moment
from ..passspec import PASSES, layers_for
from . import capture, compat
from .drawing import digits_of, drawn, drawn_in_turn, set_up_drawing, srgb_of
from .index_drawing import IndexDrawing

if TYPE_CHECKING:
    from .session import Session

__all__ = ["RASTER_PASSES", "RasterLane"]

Array = npt.NDArray[Any]

RASTER_PASSES: Final = (
    "rgb", "depth", "normal", "normal_geometric", "mask", "position", "object_index", "distance",
    "flow_forward", "flow_backward", "scene_flow",
)  # fmt: skip
_MOTION: Final = ("flow_forward", "flow_backward", "scene_flow")
_DERIVED: Final = ("normal", "normal_geometric", "position", "distance", *_MOTION)
_BEYOND: Final = 1e9
_PROBE: Final = (96, 72)
_AGREES: Final = 1e-3
"""Relative difference of depth, at the median, from which the lane is not to be believed."""
_AT_ONCE: Final = 8
_GO: Final = 0.5
"""Seconds of drawing without a look at whether it is still wanted."""
_PROBED: Final = 20.0
"""Times the time of a probe that is drawn between two, where things were moved alone."""
_APART: Final = 1e-3
"""Share of the pixels in which two drawings may differ, at silhouettes."""
_MARGIN: Final = 3
"""Pixels around the box of what is there that are drawn, and have to be empty."""

Tile: TypeAlias = tuple[slice, slice]
"""Rows and columns."""


class _Cut(Exception):
    """Something reaches beyond the box of what is on the stage."""


class _Apart(Exception):
    """Workbench draws something else than meshes are by themselves."""


@dataclass(slots=True)
class _Prepared:
    """A shot that is about to be drawn."""

    shot: Shot
    seen: View
    moment: Moment | None
    box: tuple[float, float, float, float] | None = None
    at: Tile = np.s_[0:0, 0:0]
    pictures: dict[bool, dict[str, Array]] = field(default_factory=dict)
    """Channels of the flat picture, whose colours are ids, and of the other."""
    indexed: tuple[Array, Array] | None = None
    """Ids and depth, where they were drawn by themselves."""


class RasterLane:
    """Draws the stage of a session, in a scene of its own, so that Cycles' stays as it is."""

    def __init__(self, session: Session) -> None:
        self._session, self._stage = session, session.stage
        self._folder = session.scratch / "raster"
        self._scene: Any = None
        self._version = -1
        self._seconds: list[float] = []
        self._agreed: tuple[int, int] | None = None
        self._probe = self._since_probe = 0.0
        self._cut = False
        """Whether anything was seen beyond the box of what is on the stage: all is drawn then."""
        self._facts: dict[str, Any] = {}
        self._indices = IndexDrawing(session.stage)
        self._apart = (-1, -1)
        """Of which surfaces, at which time, meshes by themselves are not what Workbench draws."""

    @property
    def record(self) -> dict[str, Any]:
        """What frames of this lane are, for whoever gets one."""
        derived = [name for name in self._session.job.pixels.passes if name in _DERIVED]
        return {
            "name": "raster", "engine": "workbench", "geometry": "workbench", "derived": derived,
            "ignores": [
                "transparency", "shader displacement", "back-face culling", "scene lights",
                "repeats of images",
            ],
            **self._facts,
        }  # fmt: skip

    def deliver(
        self, shots: Sequence[Shot], sink: FrameSink, canceled: Callable[[], bool]
    ) -> None:
        """As :func:`.pipeline.deliver`, drawn.

        Raises:
            InvalidJob: A pass is wanted that cannot be drawn.
            RenderFailed: What is drawn is not what Cycles sees.
            Interrupted: It was cancelled.
        """
        wanted = self._session.job.pixels.passes
        beyond = [name for name in wanted if name not in RASTER_PASSES]
        if beyond:
            raise InvalidJob(
                f"The raster lane has no pass {', '.join(beyond)}.",
                hint=f"It has {', '.join(RASTER_PASSES)}; the lane exact has all.",
            )
        for shot in shots:
            projection = shot.view.camera.projection
            if projection != "perspective":
                raise InvalidJob(
                    f"The raster lane has no {projection} cameras.", hint="Take the lane exact."
                )

        def give(frame: Frame) -> None:
            sink.geometry(frame)
            sink.frame(frame)

        rest = list(shots)
        while rest:
            if canceled():
                raise Interrupted("Cancelled.")
            # How long one takes is known when one was drawn.
            most = max(1, min(_AT_ONCE, int(_GO / min(self._seconds)))) if self._seconds else 1
            count = 1
            while count < min(most, len(rest)) and _kind(rest[count]) == _kind(rest[0]):
                count += 1
            self._deliver(rest[:count], give)
            del rest[:count]

    def frame(self, shot: Shot) -> Frame:
        """A complete, checked frame."""
        found: list[Frame] = []
        self._deliver([shot], found.append)
        return found[0]

    def _deliver(self, shots: Sequence[Shot], give: Callable[[Frame], None]) -> None:
        """Draw shots of one time and one size."""
        self._prepare()
        stage, wanted = self._stage, self._session.job.pixels.passes
        if shots[0].time is not None and shots[0].time != stage.frame:
            stage.set_time(shots[0].time)
        # Of what has to be evaluated for these, nothing is while they are drawn.
        bounds = stage.bounds
        moving = not set(_MOTION).isdisjoint(wanted)
        prepared = [
            _Prepared(shot, stage.look(shot.view), self._moment(shot) if moving else None)
            for shot in shots
        ]
        for one in prepared:
            one.box = stage.box_in(one.seen.camera)
        self._check_agreement(prepared[0].seen)
        since = time.perf_counter()
        self._index(prepared)
        given = 0

        def done(one: _Prepared) -> None:
            nonlocal since, given
            frame = self._frame(one, wanted)
            took, since = time.perf_counter() - since, time.perf_counter()
            self._since_probe += took
            self._seconds = [*self._seconds[-2:], took]
            self._facts["milliseconds"] = round(1e3 * min(self._seconds), 1)
            frame.time, frame.timed = stage.frame, one.shot.time is not None
            frame.bounds = bounds
            frame.object_box = one.box
            frame.checks = check_geometry(frame, bounds, [])
            if frame.checks[0].status != "failed":
                frame.checks += check_color(frame)
            given += 1
            give(frame)

        tile = self._tile(prepared)
        while given < len(prepared):
            try:
                self._draw(prepared[given:], wanted, done, tile)
            except _Cut:
                self._cut, tile = True, None
            except _Apart:
                self._set_apart("Workbench draws more than meshes")
                for one in prepared:
                    one.indexed = None

    def _index(self, those: Sequence[_Prepared]) -> None:
        """Draw ids and depth by themselves, where they can be and that spares a picture."""
        surfaces, stage = self._session.surfaces, self._stage
        wanted = self._session.job.pixels.passes
        if "rgb" in wanted and {"object_index", *_MOTION}.isdisjoint(wanted):
            return
        if self._apart == (surfaces, stage.frame):
            return
        try:
            if not self._indices.prepare(surfaces):
                self._set_apart("not all that is there are meshes")
                return
            for one in those:
                stage.turn_to(one.shot.view)
                lens = stage.scene.camera.data
                clip = lens.clip_start, lens.clip_end
                one.indexed = self._indices.draw(one.seen.camera, clip)
        except Exception as error:  # What a driver cannot do, Workbench does another way.
            self._set_apart(f"{type(error).__name__}: {error}")
            for one in those:
                one.indexed = None
        else:
            self._facts["geometry"] = "meshes by themselves"

    def _set_apart(self, why: str) -> None:
        self._apart = self._session.surfaces, self._stage.frame
        self._facts["geometry"] = f"workbench ({why})"

    def _tile(self, those: Sequence[_Prepared]) -> Tile | None:
        """What has to be drawn of pictures that are drawn together; ``None`` where all of them."""
        boxes = [one.box for one in those if one.box is not None]
        if self._cut or len(boxes) < len(those) or not self._stage.bounds.exact:
            return None
        width, height = those[0].seen.camera.width, those[0].seen.camera.height
        box = np.array(boxes)
        # The points are the hull to 0.2 % of the radius.
        slack = _MARGIN + 0.002 * float((box[:, 2:] - box[:, :2]).max())
        left, top = (math.floor(side - slack) for side in box[:, :2].min(axis=0))
        right, bottom = (math.ceil(side + slack) for side in box[:, 2:].max(axis=0))
        rows = slice(max(0, top), min(height, bottom))
        columns = slice(max(0, left), min(width, right))
        if rows.stop - rows.start < 8 or columns.stop - columns.start < 8:
            return None
        return rows, columns

    def _prepare(self) -> None:
        if self._scene is None:
            self._scene = bpy.data.scenes.new("Objaverse Raster")
            set_up_drawing(self._scene)
            self._folder.mkdir(exist_ok=True)
            self._scene.camera = self._stage.scene.camera
            self._scene.render.resolution_x = self._scene.render.resolution_y = 8
            # Before Blender has drawn something, nobody else can.
            drawn(self._scene, self._folder / "first.exr")
        self._scene.camera = self._stage.scene.camera
        if self._version == self._stage.version:
            return
        self._version = self._stage.version
        for obj in bpy.data.objects:
            # Cycles knows no such thing, and depth would be of what is behind.
            compat.set_checked(obj, show_in_front=False)
        there = self._scene.collection.children
        wanted = {asset.collection for asset in self._stage.assets.values()}
        for child in [child for child in there if child not in wanted]:
            there.unlink(child)
        for child in wanted:
            if child.name not in there:
                there.link(child)

    def _draw(
        self,
        those: Sequence[_Prepared],
        wanted: Sequence[str],
        done: Callable[[_Prepared], None],
        tile: Tile | None = None,
    ) -> None:
        """Draw what shots need, and say of each when it is there.

        Args:
            tile: What of the pictures; all otherwise.

        Raises:
            _Cut: Something is on the tile's edge, and may go on beyond it.
        """
        ids = not {"object_index", *_MOTION}.isdisjoint(wanted)
        indexed = all(one.indexed is not None for one in those)
        if indexed and "rgb" not in wanted:
            for one in those:
                done(one)
            return
        # The one picture has depth as the other does.
        ids = ids and not indexed
        kinds = [*([False] if "rgb" in wanted or not ids else []), *([True] if ids else [])]
        turns = [(one, flat) for one in those for flat in kinds]
        scene, source = self._scene, self._stage.scene
        self._stage.turn_to(those[0].shot.view)
        for name in ("resolution_x", "resolution_y", "pixel_aspect_x", "pixel_aspect_y"):
            setattr(scene.render, name, getattr(source.render, name))
        camera = those[0].seen.camera
        size = camera.height, camera.width
        rows, columns = tile or np.s_[0 : size[0], 0 : size[1]]
        # Blender rounds down, in 32-bit floats, and counts rows from the bottom.
        shares = {
            "border_min_x": (columns.start + 0.25) / size[1],
            "border_max_x": min(1.0, (columns.stop + 0.25) / size[1]),
            "border_min_y": (size[0] - rows.stop + 0.25) / size[0],
            "border_max_y": min(1.0, (size[0] - rows.start + 0.25) / size[0]),
        }
        compat.set_checked(scene.render, use_border=tile is not None, use_crop_to_border=True)
        for name, share in shares.items():
            setattr(scene.render, name, share)
        drawn = rows.stop - rows.start, columns.stop - columns.start
        def step(one: _Prepared, flat: bool) -> None:
            self._stage.turn_to(one.shot.view)
            kind = ("FLAT", "OBJECT") if flat else ("STUDIO", "TEXTURE")
            compat.set_checked(scene.display.shading, light=kind[0], color_type=kind[1])

        places = iter(turns)

        def came(channels: dict[str, Array]) -> None:
            one, flat = next(places)
            depth = channels["Depth.Z"]
            if depth.shape != drawn:
                raise RenderFailed(f"Blender drew {depth.shape} pixels instead of {drawn}.")
            if tile is not None and _reaches_beyond(depth, tile, size):
                raise _Cut
            one.pictures[flat], one.at = channels, (rows, columns)
            if len(one.pictures) == len(kinds):
                done(one)

        steps = [partial(step, one, flat) for one, flat in turns]
        with self._numbered() if ids else contextlib.nullcontext():
            drawn_in_turn(scene, self._folder, self._stage.moment, steps, came)

    @contextlib.contextmanager
    def _numbered(self) -> Iterator[None]:
        """Have the colours of objects be their ids, which what is drawn meanwhile looks at alone.

        All at once, so that Blender does not take them for changed: materials that look at the
        colour of their object, as Cycles renders them, have what they had.
        """
        objects = bpy.data.objects
        before = np.empty((len(objects), 4), np.float32)
        numbers = np.empty(len(objects), np.int32)
        objects.foreach_get("color", before.reshape(-1))
        objects.foreach_get("pass_index", numbers)
        digits = [numbers >> 16, numbers >> 8 & 255, numbers & 255]
        colors = np.stack([*(one / 255 for one in digits), np.ones(len(numbers))], axis=-1)
        colors = np.where(numbers[:, None] > 0, colors, before).astype(np.float32)
        objects.foreach_set("color", colors.reshape(-1))
        try:
            yield
        finally:
            objects.foreach_set("color", before.reshape(-1))

    def _frame(self, one: _Prepared, wanted: Sequence[str]) -> Frame:
        job, seen = self._session.job, one.seen
        frame = Frame(seen, normal_space=job.pixels.normal_space)
        frame.opaque = job.lighting.background is not None
        pictures, one.pictures = one.pictures, {}
        size = seen.camera.height, seen.camera.width

        def whole(part: Array) -> Array:
            """Nothing is where nothing was drawn."""
            if part.shape[:2] == size:
                return part
            found = np.zeros((*size, *part.shape[2:]), part.dtype)
            found[one.at] = part
            return found

        passes: dict[str, Array] = {}
        if "rgb" in wanted:
            passes["rgb"] = whole(srgb_of(pictures[False]))
        there: Array | None = None
        if pictures:
            raw = (pictures.get(False) or pictures[True])["Depth.Z"]
            there = np.isfinite(raw) & (raw > 0) & (raw < _BEYOND)
            depth = whole(np.where(there, raw, np.float32(0)).astype(np.float32))
        if one.indexed is not None:
            ids, itself = one.indexed
            if there is not None and _differ(itself, depth):
                raise _Apart
            # Ids and depth are of one drawing, so that they never differ.
            depth = itself
        elif "object_index" in wanted or one.moment is not None:
            assert there is not None
            ids = whole(_ids(pictures[True], there))
        valid = depth > 0
        passes |= {"depth": depth, "mask": valid.astype(np.uint8)}
        moving = not set(_MOTION).isdisjoint(wanted)
        if moving or not {"position", "normal", "normal_geometric"}.isdisjoint(wanted):
            points = seen.camera.unproject(depth)
            if moving or "position" in wanted:
                passes["position"] = np.where(valid[..., None], points, 0).astype(np.float32)
            if "normal" in wanted or "normal_geometric" in wanted:
                normals = normals_of(points, valid, seen.camera)
                if frame.normal_space != "world":
                    normals = normals @ seen.camera.camera_to_world[:3, :3].astype(np.float32)
                for name in ("normal", "normal_geometric"):
                    if name in wanted:
                        passes[name] = normals
        if "distance" in wanted:
            passes["distance"] = (depth * seen.camera.stretch()).astype(np.float32)
        if moving or "object_index" in wanted:
            passes["object_index"] = ids
        frame.passes = passes
        if one.moment is not None:
            self._follow(frame, one, wanted)
        return frame

    def _follow(self, frame: Frame, one: _Prepared, wanted: Sequence[str]) -> None:
        """Add the passes of motion."""
        passes, moment, shot = frame.passes, one.moment, one.shot
        assert moment is not None
        channels = {"depth.V": passes["depth"], "object_index.V": passes["object_index"]}
        nowhere = np.full(passes["depth"].shape, np.float32(np.nan))
        # Which of several instances a pixel shows, nothing says here; nor which face.
        channels |= {f"instance_place.{letter}": nowhere for letter in "RGB"}
        channels |= {"surface_number.R": nowhere, "surface_number.G": np.zeros_like(nowhere)}
        channels |= {f"normal.{letter}": np.ones_like(nowhere) for letter in "XYZ"}
        for axis, letter in enumerate("XYZ"):
            channels[f"position.{letter}"] = passes["position"][..., axis]
        frame.previous = shot.previous.key if moment.previous and shot.previous else None
        frame.next = shot.next.key if moment.next and shot.next else None
        raw = RawChannels(channels, frame.camera, frame.normal_space, moment)
        for name in _MOTION:
            assemble = PASSES[name].assemble
            if name in wanted and assemble is not None:
                passes[name] = assemble(raw)

    def _moment(self, shot: Shot) -> Moment:
        stage = self._stage
        before, after = self._elsewhen(shot.previous), self._elsewhen(shot.next)
        return Moment(stage.numbering.classes, stage.things(stage.frame), before, after)

    def _elsewhen(self, shot: Shot | None) -> Elsewhen | None:
        if shot is None or shot.time is None:
            return None
        return Elsewhen(self._stage.look(shot.view).camera, self._stage.things(shot.time))

    def _check_agreement(self, seen: View) -> None:
        """Hold the first frame of what is on the stage against Cycles, in small.

        What can be seen through or is displaced is so wherever it stands: where things were moved
        alone, it is done again only from time to time.
        """
        key = self._session.surfaces, self._session.geometry
        if self._agreed == key:
            return
        moved = self._agreed is not None and self._agreed[0] == key[0]
        if moved and self._since_probe < _PROBED * self._probe:
            return
        since = time.perf_counter()
        factor = min(1.0, _PROBE[0] / seen.camera.width, _PROBE[1] / seen.camera.height)
        stage = self._stage
        stage.set_up_geometry()
        compat.set_compositing(stage.scene, False)
        if not capture.usable(stage.scene):
            return
        try:
            self._compare(stage.look(View(seen.index, _scaled(seen.camera, factor))))
        finally:
            stage.look(seen)
        self._agreed = key
        self._probe, self._since_probe = time.perf_counter() - since, 0.0

    def _compare(self, view: View) -> None:
        layers = [layer for layer in layers_for([]) if layer.name == "depth"]
        exact = capture.take(self._stage.scene, layers)["depth.V"]
        since = time.perf_counter()
        one = _Prepared(Shot(view), view, None, self._stage.box_in(view.camera))
        found: list[Frame] = []
        self._draw([one], ("depth",), lambda done: found.append(self._frame(done, ("depth",))))
        drawn = found[0].passes["depth"]
        self._index([one])
        if one.indexed is not None and _differ(one.indexed[1], drawn):
            self._set_apart("Workbench draws more than meshes")
        if one.box is not None:
            rows, columns = np.nonzero(drawn)
            low, high = np.array(one.box[:2]) - _MARGIN, np.array(one.box[2:]) + _MARGIN
            # Whatever is seen beyond its box there would be cut off at its own size.
            self._cut |= bool(
                (columns + 1 < low[0]).any() or (columns > high[0]).any()
                or (rows + 1 < low[1]).any() or (rows > high[1]).any()
            )
        self._facts |= {"probe_milliseconds": round(1e3 * (time.perf_counter() - since), 1)}
        self._facts |= _drawn_by()
        here, there = drawn > 0, (exact > 0) & (exact < _BEYOND)
        both = here & there
        off = float(np.mean(here != there))
        error = float(np.median(np.abs(drawn[both] / exact[both] - 1))) if both.any() else 0.0
        self._facts |= {"depth_error": error, "coverage_error": round(off, 5)}
        if error > _AGREES or off > 0.05:
            raise RenderFailed(
                f"The raster lane does not see what Cycles sees: {off:.1%} of the pixels are of "
                f"the object in one alone, depths differ by {error:.2g}.",
                hint="Transparent or displaced surfaces are why, mostly; take the lane exact.",
            )


def _reaches_beyond(depth: Array, tile: Tile, size: tuple[int, int]) -> bool:
    """Whether something is on a tile's edge, where that is not the picture's."""
    edges = (
        (tile[0].start > 0, depth[0]), (tile[0].stop < size[0], depth[-1]),
        (tile[1].start > 0, depth[:, 0]), (tile[1].stop < size[1], depth[:, -1]),
    )  # fmt: skip
    return any(inner and bool((edge < _BEYOND).any()) for inner, edge in edges)


def _differ(one: Array, other: Array) -> bool:
    """Whether two pictures (H, W) of depth, 0 where nothing is, are not of the same things."""
    apart = np.abs(one - other) > _AGREES * np.maximum(one, other)
    return int(np.count_nonzero(apart)) > max(8.0, _APART * np.count_nonzero(other))


def _ids(channels: dict[str, Array], valid: npt.NDArray[np.bool_]) -> Array:
    """(H, W) uint16 of a picture whose colours are the digits of ids."""
    # The pass has no room for what would be in red.
    green, blue = (digits_of(channels[f"Combined.{letter}"]) for letter in "GB")
    return np.where(valid, (green << 8) + blue, np.uint16(0))


def _kind(shot: Shot) -> tuple[Any, ...]:
    """Time, size and shape of pixels: what is the same in pictures that are drawn in one go."""
    camera = shot.view.camera
    shape = camera.intrinsics[0, 0] / camera.intrinsics[1, 1]
    return shot.time, camera.width, camera.height, round(float(shape), 9)


def _scaled(camera: Camera, factor: float) -> Camera:
    width = max(4, round(camera.width * factor))
    height = max(4, round(camera.height * factor))
    matrix = camera.intrinsics.copy()
    matrix[0] *= width / camera.width
    matrix[1] *= height / camera.height
    return dataclasses.replace(camera, width=width, height=height, intrinsics=matrix)


def _drawn_by() -> dict[str, Any]:
    with contextlib.suppress(Exception):  # Its absence is no reason not to draw.
        import gpu

        return {
            "backend": gpu.platform.backend_type_get(), "renderer": gpu.platform.renderer_get()
        }  # fmt: skip
    return {"backend": "", "renderer": ""}
