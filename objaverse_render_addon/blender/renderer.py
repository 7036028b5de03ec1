"""One shot in, one frame out: geometry, colour, and the numbers read back from Blender's files."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeAlias

import bpy
import numpy as np
import numpy.typing as npt

from ..cameras import Camera, View, draw
from ..checks import check_color, check_geometry, check_groups
from ..dataset.images import cycles_seconds, encode_srgb8, half_floats, read_exr
from ..errors import DiskFull, RenderError, RenderFailed
from ..frame import Bounds, Check, Frame, FrameKey, RawChannels, Shot, assemble, unwritten
from ..lights import Light, lights_of
from ..motion import Elsewhen, Moment, visibility
from ..motion.visibility import SEEN, UNKNOWN
from ..passspec import PICTURES, Layer, layers_for
from ..sensing import sensing_of
from ..witness import HeldSurface, Witness
from . import capture, compat
from .devices import render_failure
from .passes import set_output, setup_passes
from .stage import Stage

Array = npt.NDArray[Any]

__all__ = ["BOX_MARGIN", "Renderer"]

BOX_MARGIN: Final = 3
"""Pixels around the object's projected box that are rendered for RGB. The pixel filter needs
1.5 of them; wider margins change nothing, with the denoiser or without (benchmarks/denoise.py)."""
_NO_ROOM: Final = 1 << 20

Raw: TypeAlias = capture.Taken | Path
"""What Blender rendered: its channels, or the file that they are in."""


class _Rendered:
    """A view's geometry until it is read, once, from any thread.

    Args:
        read: Gives the channels; of a file, which is gone then.
    """

    def __init__(
        self,
        raw: Raw,
        view: View,
        time: int,
        bounds: Bounds,
        box: tuple[float, float, float, float] | None,
        read: Callable[[Raw], dict[str, Any]],
    ) -> None:
        self._raw: Raw | None = raw
        self.view, self.time, self.bounds, self.box = view, time, bounds, box
        self._read, self._lock = read, Lock()
        self._channels: dict[str, Any] | None = None
        self._depth: Any = None

    def channels(self) -> dict[str, Any]:
        """All of them; once."""
        with self._lock:
            self._load()
            assert self._channels is not None
            channels, self._channels = self._channels, None
            return channels

    def depth(self) -> Any:
        """(H, W) float32, planar, 0 where nothing is."""
        with self._lock:
            self._load()
            return self._depth

    @property
    def taken(self) -> bool:
        """Whether the channels were read already."""
        return self._depth is not None and self._channels is None

    def drop(self) -> None:
        """Nobody will read it."""
        if isinstance(self._raw, Path):
            self._raw.unlink(missing_ok=True)

    def _load(self) -> None:
        if self._depth is None:
            assert self._raw is not None
            self._channels, self._raw = self._read(self._raw), None
            self._depth = RawChannels(self._channels, self.view.camera, "world").depth


class Renderer:
    """Renders a stage with the pixels of its job.

    :meth:`render` is all there is to it. The steps that it is made of are for
    :mod:`.pipeline`, which overlaps them.

    Args:
        key: What the noise's seeds go by; an asset's id.
        scratch: Folder for temporary images, best in memory; emptied as they are read.
        witness: Of the one file on the stage.
        held: The triangles that are written of it.
        held_at: Animation frame that they are of.
    """

    def __init__(
        self, stage: Stage, key: str, scratch: Path, witness: Witness | None = None,
        held: HeldSurface | None = None, held_at: int = 0,
    ) -> None:
        self.stage, self.key, self.scratch, self.witness = stage, key, scratch, witness
        self._held, self._held_at = held, held_at
        self.job = stage.job
        self._before: Frame | None = None
        self._tracks = stage.tracks(key)
        self._neighbours: dict[FrameKey, _Rendered] = {}
        self._of_version = 0
        self._output = setup_passes(stage.scene, stage.layer, self.job.pixels.passes, scratch)

    def render(self, shot: Shot, witnesses: Iterable[Frame] = ()) -> Frame:
        """A complete, checked frame.

        Args:
            witnesses: Frames that it is held against.

        Raises:
            RenderFailed: Blender refused a setting or wrote nothing.
            DiskFull: There is no room for temporary images.
        """
        ((frame, rendered),) = self.geometry([shot])
        self.read_geometry(frame, rendered)
        checks = self.check_geometry(frame, list(witnesses))
        self.read_color(frame, self.color(frame), checks)
        return frame

    def forget(self) -> None:
        """The scene has changed: what was rendered before is no witness of what comes."""
        self._before = None

    @property
    def shot_bytes(self) -> int:
        """Of temporary images that the geometry of one shot takes."""
        width, height = self.job.pixels.resolution
        return width * height * 4 * (8 + 3 * len(self.job.pixels.passes))

    def geometry(self, shots: Iterable[Shot]) -> Iterator[tuple[Frame, _Rendered]]:
        """Render the geometry of shots, one after the other.

        What is before and after shots is rendered too where it has to be known what hides what,
        each once: in the order of time, which takes longer to change than the view.

        Yields:
            A frame without arrays, and what :meth:`read_geometry` reads them from.
        """
        stage = self.stage
        since = time.perf_counter()
        shots = list(shots)
        needed = {shot.key: self._needed(shot) for shot in shots}
        order = {one.key: one for ones in needed.values() for one in ones}
        if stage.numbering.sees:
            order = dict(sorted(order.items(), key=lambda item: item[1].time or 0))
        rendered = self._known(shots)
        waiting = deque(shots)
        with ExitStack() as undo:
            # What is held ends here, and materials are what they were.
            stage.set_up_geometry()
            if stage.alpha.needed:
                undo.enter_context(stage.alpha)
            for shot in order.values():
                if shot.key not in rendered or (shot.key in needed and rendered[shot.key].taken):
                    rendered[shot.key] = self._shoot(shot)
                while waiting and all(one.key in rendered for one in needed[waiting[0].key]):
                    done = waiting.popleft()
                    frame = self._frame(done, rendered)
                    yield frame, rendered[done.key]
        stage.watch.add("geometry", since)
        if not PICTURES.isdisjoint(self.job.pixels.passes):
            stage.set_up_color()

    def geometry_in_tiles(
        self, shot: Shot, grid: tuple[int, int]
    ) -> Iterator[tuple[Frame, _Rendered] | None]:
        """Render the geometry of a shot a tile at a time, row by row; anything may be between.

        What needs neighbours in time comes with the last.

        Args:
            grid: How many tiles there are across, and how many down.

        Yields:
            ``None`` for each tile, and with the last what :meth:`geometry` yields.
        """
        stage, count = self.stage, grid[0] * grid[1]
        # However large: Cycles is told to keep it in memory.
        if stage.numbering.sees or compat.cycles_engine() is None:
            yield from [None] * (count - 1)
            # To its end: within it materials are others.
            (done,) = self.geometry([shot])
            yield done
            return
        layers, whole, ready = layers_for(self.job.pixels.passes), capture.Taken(), -1
        for part in range(count):
            since = time.perf_counter()
            if ready != stage.set_ups:
                stage.set_up_geometry()
                compat.set_compositing(stage.scene, False)
                seen, box = self._stand(shot)
                stage.hold(stage.scene.cycles, compat.in_memory())
                stage.hold_surfaces()
                ready = stage.set_ups
            rows, columns = self.set_border(seen.camera, box, 2, part, grid)
            if rows.start < rows.stop and columns.start < columns.stop:
                taken = self.take(layers, whole=False)
                whole.put(taken, (seen.camera.height, seen.camera.width))
            stage.watch.add("geometry", since)
            if part + 1 < count:
                yield None
        rendered = _Rendered(whole, seen, stage.frame, stage.bounds, box, self._read)
        yield self._frame(shot, {shot.key: rendered}), rendered

    def _known(self, shots: list[Shot]) -> dict[FrameKey, _Rendered]:
        """What was rendered for earlier shots, and is of use for some of these."""
        if not self.stage.numbering.sees:
            return {}
        times = {one.time for shot in shots for one in (shot, shot.previous) if one is not None}
        if self._of_version != self.stage.version:
            times = set()
        self._of_version = self.stage.version
        for key in [key for key in self._neighbours if key.time not in times]:
            self._neighbours.pop(key).drop()
        return self._neighbours

    def tidy(self) -> None:
        """Remove what was rendered for shots that did not come."""
        for one in self._neighbours.values():
            one.drop()
        self._neighbours = {}

    def _needed(self, shot: Shot) -> list[Shot]:
        if not self.stage.numbering.sees:
            return [shot]
        return [shot, *(one for one in (shot.previous, shot.next) if one is not None)]

    def _shoot(self, shot: Shot) -> _Rendered:
        """Render the geometry of a shot."""
        stage = self.stage
        seen, box = self._stand(shot)
        self.set_border(seen.camera, box, 2)
        raw = self._render_geometry(f"geometry-{shot.key.stem}")
        return _Rendered(raw, seen, stage.frame, stage.bounds, box, self._read)

    def _stand(self, shot: Shot) -> tuple[View, tuple[float, float, float, float] | None]:
        """Make the stage what a shot sees; its view, and where in it something may be."""
        stage = self.stage
        if shot.time is not None and shot.time != stage.frame:
            stage.set_time(shot.time)
        stage.ride(None)
        seen = stage.look(shot.view)
        return seen, stage.box_in(seen.camera)

    def _frame(self, shot: Shot, rendered: dict[FrameKey, _Rendered]) -> Frame:
        stage, mine = self.stage, rendered[shot.key]
        frame = Frame(mine.view, mine.time, shot.time is not None, bounds=mine.bounds)
        frame.object_box = mine.box
        frame.view_dependent = bool(stage.alpha.of_the_view)
        frame.constants = stage.constants
        frame.normal_space = self.job.pixels.normal_space
        frame.opaque = self.job.lighting.background is not None
        frame.blurred = self.job.time.motion_blur
        numbering = stage.numbering
        if numbering.follows:
            frame.previous = shot.previous.key if shot.previous else None
            frame.next = shot.next.key if shot.next else None
        frame.moment = Moment(
            numbering.classes,
            stage.things(frame.time) if numbering.lists else None,
            self._elsewhen(shot.previous, rendered),
            self._elsewhen(shot.next, rendered),
            sensing_of(self.job, self.key, frame.key),
        )
        return frame

    def _elsewhen(
        self, shot: Shot | None, rendered: dict[FrameKey, _Rendered]
    ) -> Elsewhen | None:
        if shot is None or shot.time is None or not self.stage.numbering.follows:
            return None
        one = rendered.get(shot.key)
        camera = self.stage.look(shot.view).camera if one is None else one.view.camera
        depth = one.depth if one is not None else None
        return Elsewhen(camera, self.stage.things(shot.time), depth)

    def _render_geometry(self, stem: str) -> Raw:
        scene = self.stage.scene
        if capture.usable(scene):
            compat.set_compositing(scene, False)
            return self.take(layers_for(self.job.pixels.passes))
        compat.set_compositing(scene, True)
        set_output(self._output, self.scratch, stem)
        path = compat.file_output_path(self._output, scene)
        self._render(path)
        return path

    def read_geometry(self, frame: Frame, rendered: _Rendered) -> Frame:
        """Fill a frame's passes but for colour; from any thread."""
        pixels = self.job.pixels
        channels = rendered.channels()
        frame.passes = assemble(
            channels, frame.camera, pixels.passes, pixels.normal_space, frame.moment
        )
        if self._tracks is not None:
            frame.tracks = self._tracked(frame)
        frame.moment = None
        frame.unwritten = unwritten(channels, frame.passes["mask"])
        return frame

    def _tracked(self, frame: Frame) -> Array:
        """See :attr:`.Frame.tracks`."""
        assert self._tracks is not None and frame.moment is not None
        things, depth = frame.moment.things, frame.passes["depth"]
        assert things is not None
        points = self._tracks.at(things)
        uv, away = frame.camera.project(points)
        uv[~(away > 0)] = np.nan
        seen = visibility(points, uv, away, Elsewhen(frame.camera, things, lambda: depth))
        told = np.where((seen == UNKNOWN) & np.isfinite(points[:, 0]), np.nan, seen == SEEN)
        return np.column_stack([uv, points, told]).astype(np.float32)

    def check_geometry(self, frame: Frame, witnesses: list[Frame]) -> list[Check]:
        """Hold a frame against the stage and other frames; from any thread."""
        assert frame.bounds is not None
        checks = check_geometry(frame, frame.bounds, witnesses)
        if self.witness is not None and checks[0].status != "failed":
            checks += self.witness.checks(frame, frame.bounds)
        if self._held is not None and frame.time == self._held_at and checks[0].status != "failed":
            checks += self._held.checks(frame, frame.bounds, "mesh")
        return checks

    def color(self, frame: Frame) -> list[Raw]:
        """Render a frame's colour; what :meth:`read_color` reads, if it is wanted.

        One for each light, or one with all their light groups.
        """
        if PICTURES.isdisjoint(self.job.pixels.passes):
            return []
        since = time.perf_counter()
        self.aim(frame)
        taken = [self._color(frame, place, those) for place, those in self._lights(frame)]
        self.stage.watch.add("color", since)
        return taken

    def aim(
        self, frame: Frame, part: int = 0, grid: tuple[int, int] = (1, 1), some: int = 1
    ) -> tuple[slice, slice]:
        """Make the stage ready for the colour of a frame, or of some of its tiles.

        Returns:
            As :meth:`aim_at_tile`.
        """
        stage = self.stage
        if frame.time != stage.frame:
            stage.set_time(frame.time)
        stage.ride(None)
        stage.look(frame.view)
        if frame.blurred:
            stage.ride(frame.view)
        tile = self.aim_at_tile(frame, part, grid, some)
        seed = draw(self.job.seed, self.key, frame.key.stream("noise"), frame.view.index, 1)
        frame.noise_seed = int(seed[0] * 2**31)
        compat.set_checked(stage.scene.cycles, seed=frame.noise_seed)
        return tile

    def aim_at_tile(
        self, frame: Frame, part: int, grid: tuple[int, int], some: int = 1
    ) -> tuple[slice, slice]:
        """Other tiles of what :meth:`aim` made the stage ready for.

        Returns:
            As :meth:`set_border`.
        """
        # What is blurred reaches beyond where it is.
        box = None if frame.blurred else frame.object_box
        return self.set_border(frame.camera, box, BOX_MARGIN, part, grid, some)

    def light_up(self, frame: Frame) -> None:
        """Let shine what a frame's picture has, of several lights the first or all together."""
        if self.stage.rig is not None:
            self.stage.rig.shine(self._lights(frame)[0][1], [])

    def _lights(self, frame: Frame) -> list[tuple[int, list[Light]]]:
        """What shines in each render of a view; nothing where the stage's own light does."""
        if self.stage.rig is None:
            return [(0, [])]
        lights = lights_of(self.job, self.key, frame.view.index)
        frame.lights = [light.record(frame.camera) for light in lights]
        frame.grouped = self.job.lighting.groups
        if frame.grouped:
            return [(0, lights)]
        return [(place, [light]) for place, light in enumerate(lights)]

    def _color(self, frame: Frame, place: int, lights: list[Light]) -> Raw:
        scene = self.stage.scene
        if self.stage.rig is not None:
            groups = [f"light{number}" for number in range(len(lights))] if frame.grouped else []
            self.stage.rig.shine(lights, groups)
        # Blender gives the parts of a render in a file only.
        if capture.usable(scene) and not frame.grouped:
            with compat.for_now(self.stage.layer, self.bare()):
                return self.take([capture.COMBINED])
        path = self.scratch / f"color-{frame.key.stem}-{place}.exr"
        scene.render.filepath = str(path)
        self._render(path)
        return path

    def bare(self) -> dict[str, Any]:
        """What a view layer is without the passes that geometry gave.

        They cost time with each sample, and change no bit of the picture.
        """
        layers = layers_for(self.job.pixels.passes)
        return {layer.flag: False for layer in layers if layer.flag}

    def read_color(
        self, frame: Frame, taken: list[Raw], checked: list[Check] | Future[list[Check]]
    ) -> None:
        """Fill a frame's colour and its checks; from any thread.

        Args:
            checked: What its geometry's checks found, or will have found.
        """
        read = [self._read(raw, timed=True) for raw in taken]
        summed: list[Check] = []
        if frame.grouped and read:
            together, parts = light_groups(read[0], len(frame.lights))
            frame.passes |= self._pictures(together)
            frame.relit = [self._pictures(part) for part in parts]
            summed = [check_groups(together, parts)]
        else:
            found = [self._pictures(channels_as_picture(channels)) for channels in read]
            frame.passes |= found[0] if found else {}
            frame.relit = found if frame.lights else []
        frame.checks = checked if isinstance(checked, list) else checked.result()
        if frame.checks[0].status != "failed":
            # What was at another time may look the same, or not.
            known = self._before is not None and self._before.key.time == frame.key.time
            before = [self._before] if known and self._before is not None else []
            frame.checks = frame.checks + check_color(frame, before) + summed
        self._before = frame

    def _pictures(self, linear: npt.NDArray[np.float32]) -> dict[str, Any]:
        """The wanted pictures of light (H, W, 4), premultiplied."""
        made = {"rgb": encode_srgb8, "rgb_linear": half_floats}
        wanted = self.job.pixels.passes
        return {name: encode(linear) for name, encode in made.items() if name in wanted}

    def _read(self, raw: Raw, *, timed: bool = False) -> dict[str, Any]:
        """The channels; a temporary image is gone then: the next asset uses the name again."""
        if isinstance(raw, capture.Taken):
            if timed:
                self.stage.watch.count("cycles", raw.seconds)
            return raw
        path = raw
        try:
            channels = read_exr(path)
            if timed:
                self.stage.watch.count("cycles", cycles_seconds(path))
            return channels
        except RenderError as error:
            self._blame_full_disk(error)
            raise
        finally:
            path.unlink(missing_ok=True)

    def _blame_full_disk(self, error: RenderError) -> None:
        """Raise the cause of an image that Blender did not write whole: it does not say it."""
        with contextlib.suppress(OSError):
            # Before the cut image is removed, which would make room.
            if shutil.disk_usage(self.scratch).free < _NO_ROOM:
                raise DiskFull(
                    f"The folder for temporary images, {self.scratch}, is full.",
                    hint="Choose another with --scratch.",
                ) from error

    def take(self, layers: Iterable[Layer], *, whole: bool = True) -> capture.Taken:
        """As :func:`.capture.take`; what Blender says against it has a name."""
        try:
            return capture.take(self.stage.scene, layers, whole=whole)
        except RuntimeError as error:
            raise render_failure(error) from error

    def _render(self, path: Path) -> None:
        compat.show_settings(self.stage.scene)
        try:
            bpy.ops.render.render(write_still=not self.stage.scene.render.use_compositing)
        except RuntimeError as error:
            failure = render_failure(error)
            self._blame_full_disk(failure)
            raise failure from error
        if not path.is_file():
            failure = RenderFailed(f"Blender rendered, but wrote nothing to {path}.")
            self._blame_full_disk(failure)
            raise failure

    def set_border(
        self, camera: Camera, box: tuple[float, float, float, float] | None, margin: int,
        part: int = 0, grid: tuple[int, int] = (1, 1), some: int = 1,
    ) -> tuple[slice, slice]:  # fmt: skip
        """Render the object's box only; the film is transparent elsewhere anyway.

        Args:
            part: Which of its tiles alone, row by row.
            grid: How many tiles it has across, and how many down.
            some: How many of them, one below the other.

        Returns:
            Rows and columns; empty where there are more tiles than pixels.
        """
        render = self.stage.scene.render
        compat.set_checked(render, use_border=False)
        width, height = camera.width, camera.height
        left, top, right, bottom = 0, 0, width, height
        if box is not None and self.stage.bounds.exact:
            # The points are the hull to 0.2 % of the radius.
            slack = margin + 0.002 * max(box[2] - box[0], box[3] - box[1])
            left, top = math.floor(box[0] - slack), math.floor(box[1] - slack)
            right, bottom = math.ceil(box[2] + slack), math.ceil(box[3] + slack)
            left, right = max(0, left), min(width, right)
            top, bottom = max(0, top), min(height, bottom)
            if left >= right or top >= bottom:
                # Out of the frame altogether; any small corner shows the emptiness.
                left, top, right, bottom = 0, 0, min(8, width), min(8, height)
        elif grid == (1, 1):
            return slice(top, bottom), slice(left, right)
        (across, down), (row, column) = grid, divmod(part, grid[0])
        wide, high = right - left, bottom - top
        left, right = left + wide * column // across, left + wide * (column + 1) // across
        top, bottom = top + high * row // down, top + high * (row + some) // down
        if left == right or top == bottom:
            return slice(top, bottom), slice(left, right)
        # Blender cuts fractions of a pixel off, of 32-bit floats: with half a pixel more a tile of
        # one row is not lost.
        half = 0.0 if grid == (1, 1) else 0.5
        compat.set_checked(
            render,
            border_min_x=(left + half) / width,
            border_max_x=min(1.0, (right + half) / width),
            # Blender counts rows from the bottom.
            border_min_y=1 - (bottom - half) / height,
            border_max_y=min(1.0, 1 - (top - half) / height),
            use_border=True,
        )
        return slice(top, bottom), slice(left, right)


def channels_as_picture(channels: dict[str, Any], layer: str = "") -> npt.NDArray[np.float32]:
    """(H, W, 4) of the channels R, G, B and A, or of those of a layer in a file of many."""
    ends = [f"{layer}.{letter}" if layer else letter for letter in "RGBA"]
    names = [next(name for name in channels if name.endswith(end)) for end in ends]
    return np.stack([channels[name] for name in names], axis=-1)


def light_groups(
    channels: dict[str, Any], count: int
) -> tuple[npt.NDArray[np.float32], list[npt.NDArray[np.float32]]]:
    """The picture of a render, and the part of each light group in it; (H, W, 4) premultiplied.

    What the object itself shines with is in no group.
    """
    together = channels_as_picture(channels, ".Combined")
    parts = []
    for number in range(count):
        names = [
            next(name for name in channels if name.endswith(f".Combined_light{number}.{letter}"))
            for letter in "RGB"
        ]
        planes = [channels[name] for name in names]
        parts.append(np.stack([*planes, together[..., 3]], axis=-1))
    return together, parts
