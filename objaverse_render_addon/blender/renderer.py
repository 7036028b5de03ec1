"""One shot in, one frame out: geometry, colour, and the numbers read back from Blender's files."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeAlias

import bpy
import numpy as np

from ..cameras import Camera, draw
from ..checks import check_color, check_geometry
from ..dataset.images import cycles_seconds, encode_srgb8, half_floats, read_exr
from ..errors import DiskFull, RenderError, RenderFailed
from ..frame import Check, Frame, Shot, assemble, unwritten
from ..passspec import PICTURES, Layer, layers_for
from ..witness import Witness
from . import capture, compat
from .passes import set_output, setup_passes
from .stage import Stage

__all__ = ["BOX_MARGIN", "Renderer"]

BOX_MARGIN: Final = 3
"""Pixels around the object's projected box that are rendered for RGB. The pixel filter needs
1.5 of them; wider margins change nothing, with the denoiser or without (benchmarks/denoise.py)."""
_NO_ROOM: Final = 1 << 20

Raw: TypeAlias = capture.Taken | Path
"""What Blender rendered: its channels, or the file that they are in."""


class Renderer:
    """Renders a stage with the pixels of its job.

    :meth:`render` is all there is to it. The steps that it is made of are for
    :mod:`.pipeline`, which overlaps them.

    Args:
        key: What the noise's seeds go by; an asset's id.
        scratch: Folder for temporary images, best in memory; emptied as they are read.
        witness: Of the one file on the stage.
    """

    def __init__(
        self, stage: Stage, key: str, scratch: Path, witness: Witness | None = None
    ) -> None:
        self.stage, self.key, self.scratch, self.witness = stage, key, scratch, witness
        self.job = stage.job
        self._before: Frame | None = None
        self._output = setup_passes(stage.scene, stage.layer, self.job.pixels.passes, scratch)

    def render(self, shot: Shot, witnesses: Iterable[Frame] = ()) -> Frame:
        """A complete, checked frame.

        Args:
            witnesses: Frames that it is held against.

        Raises:
            RenderFailed: Blender refused a setting or wrote nothing.
            DiskFull: There is no room for temporary images.
        """
        ((frame, path),) = self.geometry([shot])
        self.read_geometry(frame, path)
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

    def geometry(self, shots: Iterable[Shot]) -> Iterator[tuple[Frame, Raw]]:
        """Render the geometry of shots, one after the other.

        Yields:
            A frame without arrays, and what :meth:`read_geometry` reads them from.
        """
        stage = self.stage
        since = time.perf_counter()
        with ExitStack() as undo:
            if stage.alpha.needed:
                undo.enter_context(stage.alpha)
            stage.set_up_geometry()
            for shot in shots:
                if shot.time is not None and shot.time != stage.frame:
                    stage.set_time(shot.time)
                seen = stage.look(shot.view)
                box = stage.box_in(seen.camera)
                self.set_border(seen.camera, box, 2)
                raw = self._render_geometry(f"geometry-{shot.key.stem}")
                frame = Frame(seen, stage.frame, shot.time is not None, bounds=stage.bounds)
                frame.object_box = box
                frame.view_dependent = bool(stage.alpha.of_the_view)
                frame.constants = stage.constants
                frame.normal_space = self.job.pixels.normal_space
                frame.opaque = self.job.lighting.background is not None
                yield frame, raw
        stage.watch.add("geometry", since)
        if not PICTURES.isdisjoint(self.job.pixels.passes):
            stage.set_up_color()

    def _render_geometry(self, stem: str) -> Raw:
        scene = self.stage.scene
        if capture.usable(scene):
            compat.set_compositing(scene, False)
            return self._take(layers_for(self.job.pixels.passes))
        compat.set_compositing(scene, True)
        set_output(self._output, self.scratch, stem)
        path = compat.file_output_path(self._output, scene)
        self._render(path)
        return path

    def read_geometry(self, frame: Frame, raw: Raw) -> Frame:
        """Fill a frame's passes but for colour; from any thread."""
        pixels = self.job.pixels
        channels = self._read(raw)
        frame.passes = assemble(channels, frame.camera, pixels.passes, pixels.normal_space)
        frame.unwritten = unwritten(channels, frame.passes["mask"])
        return frame

    def check_geometry(self, frame: Frame, witnesses: list[Frame]) -> list[Check]:
        """Hold a frame against the stage and other frames; from any thread."""
        assert frame.bounds is not None
        checks = check_geometry(frame, frame.bounds, witnesses)
        if self.witness is not None and checks[0].status != "failed":
            checks += self.witness.checks(frame, frame.bounds)
        return checks

    def color(self, frame: Frame) -> Raw | None:
        """Render a frame's colour; what :meth:`read_color` reads, if it is wanted."""
        if PICTURES.isdisjoint(self.job.pixels.passes):
            return None
        since = time.perf_counter()
        stage = self.stage
        if frame.time != stage.frame:
            stage.set_time(frame.time)
        stage.look(frame.view)
        self.set_border(frame.camera, frame.object_box, BOX_MARGIN)
        seed = draw(self.job.seed, self.key, frame.key.stream("noise"), frame.view.index, 1)
        frame.noise_seed = int(seed[0] * 2**31)
        compat.set_checked(stage.scene.cycles, seed=frame.noise_seed)
        raw: Raw
        if capture.usable(stage.scene):
            raw = self._take([capture.COMBINED])
        else:
            raw = self.scratch / f"color-{frame.key.stem}.exr"
            stage.scene.render.filepath = str(raw)
            self._render(raw)
        stage.watch.add("color", since)
        return raw

    def read_color(
        self, frame: Frame, raw: Raw | None, checked: list[Check] | Future[list[Check]]
    ) -> None:
        """Fill a frame's colour and its checks; from any thread.

        Args:
            checked: What its geometry's checks found, or will have found.
        """
        if raw is not None:
            channels = self._read(raw, timed=True)
            linear = np.stack([channels[name] for name in "RGBA"], axis=-1)
            wanted = self.job.pixels.passes
            if "rgb" in wanted:
                frame.passes["rgb"] = encode_srgb8(linear)
            if "rgb_linear" in wanted:
                frame.passes["rgb_linear"] = half_floats(linear)
        frame.checks = checked if isinstance(checked, list) else checked.result()
        if frame.checks[0].status != "failed":
            before = [self._before] if self._before is not None else []
            frame.checks = frame.checks + check_color(frame, before)
        self._before = frame

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

    def _take(self, layers: Iterable[Layer]) -> capture.Taken:
        try:
            return capture.take(self.stage.scene, layers)
        except RuntimeError as error:
            raise RenderFailed(f"Blender could not render: {str(error).strip()}.") from error

    def _render(self, path: Path) -> None:
        # As in :func:`.capture.take`.
        self.stage.scene.update_tag()
        try:
            bpy.ops.render.render(write_still=not self.stage.scene.render.use_compositing)
        except RuntimeError as error:
            failure = RenderFailed(f"Blender could not render: {str(error).strip()}.")
            self._blame_full_disk(failure)
            raise failure from error
        if not path.is_file():
            failure = RenderFailed(f"Blender rendered, but wrote nothing to {path}.")
            self._blame_full_disk(failure)
            raise failure

    def set_border(
        self, camera: Camera, box: tuple[float, float, float, float] | None, margin: int
    ) -> None:
        """Render the object's box only; the film is transparent elsewhere anyway."""
        render = self.stage.scene.render
        compat.set_checked(render, use_border=False)
        if box is None or not self.stage.bounds.exact:
            return
        width, height = camera.width, camera.height
        # The points are the hull to 0.2 % of the radius.
        slack = margin + 0.002 * max(box[2] - box[0], box[3] - box[1])
        left, top = math.floor(box[0] - slack), math.floor(box[1] - slack)
        right, bottom = math.ceil(box[2] + slack), math.ceil(box[3] + slack)
        left, right = max(0, left), min(width, right)
        top, bottom = max(0, top), min(height, bottom)
        if left >= right or top >= bottom:
            # Out of the frame altogether; any small corner shows the emptiness.
            left, top, right, bottom = 0, 0, min(8, width), min(8, height)
        compat.set_checked(
            render,
            border_min_x=left / width,
            border_max_x=right / width,
            # Blender counts rows from the bottom.
            border_min_y=1 - bottom / height,
            border_max_y=1 - top / height,
            use_border=True,
        )
