"""A picture in pieces: drawn first, then geometry, then Cycles' samples a few at a time, tile by
tile, at last without their noise.

The mean of the pieces is the picture that all samples give at once, to rounding; all samples in
tiles are that picture to the bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ..dataset.images import encode_srgb8, half_floats
from ..errors import InvalidJob
from ..frame import Check, Frame, Shot
from ..passspec import PICTURES, Layer
from . import capture, compat
from .denoiser import Denoiser, exposure_of_sums, loaded

if TYPE_CHECKING:
    from .renderer import _Rendered
    from .session import Session

__all__ = ["Refining"]

_GUIDES: Final = (
    Layer("albedo", "VECTOR", "Denoising Albedo"), Layer("normal", "VECTOR", "Denoising Normal"),
)  # fmt: skip
_PROBE: Final = 48
"""Pixels of the side of the picture that both ways to denoise are held against each other by."""
_PROBED: Final = 3
"""Its samples: dividing by them is not exact."""


class Refining:
    """The picture of one shot, as it becomes better.

    Attributes:
        samples: In the sum so far, of all tiles.
        exact: Whether they are what a data set has.
        part: Tiles so far of the samples that are being added.
        round: How many samples those are, and their tiles across and down.
        looked: Tiles of the geometry so far, and how many there are across and down.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._key: Any = None
        self._due: list[Callable[[], None]] = []
        """What is to be done before it goes on, a step at a time."""
        self._looking: Iterator[tuple[Frame, _Rendered] | None] = iter(())
        self.looked = (0, (1, 1))
        self._frame: Frame | None = None
        self._checked: list[Check] = []
        self.exact = self._noisy = self._finished = False
        self._sum: npt.NDArray[np.float64] | None = None
        self._taken = capture.Taken()
        self.part = 0
        self.round = (0, (1, 1))
        self._denoiser: Denoiser | None = None
        self._agrees: bool | None = None
        self._ready = -1
        """How often the stage had been made ready when it was for the tiles of a round."""
        self.samples = 0

    def draft(self, shot: Shot) -> Frame:
        """Drawn by the raster lane, with those of the job's passes that it has."""
        return self._session.raster.frame(shot)

    def look(self, shot: Shot, part: int = 0, grid: tuple[int, int] = (1, 1)) -> None:
        """Render the geometry of a shot, or of a tile of it; what comes before its samples.

        With the last tile it is due to be read and checked, see :meth:`settle`.

        Args:
            part: Which tile, row by row; they come in order, the first begins the shot.
            grid: How many tiles there are across, and how many down.

        Raises:
            InvalidJob: The shot is not at that tile.
        """
        key, count = self._key_of(shot), grid[0] * grid[1]
        if not (min(grid) > 0 and 0 <= part < count):
            raise InvalidJob(f"There is no tile {part} of {grid[0]} by {grid[1]}.")
        if part == 0:
            self.forget()
            self._looking, self._key = self._session.renderer.geometry_in_tiles(shot, grid), key
        elif (key, part, grid) != (self._key, *self.looked):
            raise InvalidJob(f"The shot is not at tile {part} of its geometry.")
        self.looked = part + 1, grid
        try:
            done = next(self._looking)
        except BaseException:
            self.forget()
            raise
        if part + 1 < count:
            return
        assert done is not None
        self._frame, raw = done
        self._due = [partial(self._read, self._frame, raw), partial(self._check, self._frame)]

    def settle(self, most: int | None = None) -> int:
        """Do what is due between pieces: what was rendered is read, and checked.

        Args:
            most: Steps, each of which takes about as long as a piece; all otherwise.

        Returns:
            How many are left.
        """
        for step in self._due[:most]:
            step()
            del self._due[0]
        return len(self._due)

    def _read(self, frame: Frame, raw: _Rendered) -> None:
        self._session.renderer.read_geometry(frame, raw)

    def _check(self, frame: Frame) -> None:
        self._checked = frame.checks = self._session.renderer.check_geometry(frame, [])

    def add(
        self, shot: Shot, first: int, count: int, part: int = 0, grid: tuple[int, int] = (1, 1),
        some: int = 1, *, exact: bool = False,
    ) -> None:  # fmt: skip
        """Render samples ``first`` to ``first + count`` of a shot, or of a tile of it.

        Sample 0 begins the sum, and the shot where :meth:`look` did not. A pixel does not depend on
        the tile that it is rendered in.

        Args:
            part: Which tile, row by row; they come in order, and the samples are there when the
                last is.
            grid: How many tiles there are across, and how many down.
            some: How many tiles at once, from that one on; more than one if 1 is across.
            exact: All samples in one go, tile by tile, with the very settings of a data set: the
                picture is then what it would have, to the bit; where the job denoises, as soon as
                :meth:`denoise` did. To be checked as that is then due, see :meth:`settle`.

        Raises:
            InvalidJob: Its engine has no samples, they are none of the job's, the shot is not
                at that sample and tile, or the picture needs to be whole to be exact.
        """
        session, total = self._session, self._session.job.engine.samples
        if session.job.engine.engine != "cycles":
            raise InvalidJob(f"{session.job.engine.engine} has no samples that can be added.")
        parts = grid[0] * grid[1]
        there = min(grid) > 0 and 0 <= part < part + some <= parts and (some == 1 or grid[0] == 1)
        if not (first >= 0 and count > 0 and first + count <= total and there):
            raise InvalidJob(
                f"There are no samples {first} to {first + count} of {total}, tiles {part} to "
                f"{part + some} of {grid[0]} by {grid[1]}."
            )
        key = self._key_of(shot)
        if first == part == 0:
            if key != self._key or self._frame is None:
                self.look(shot)
            if not self.samples:
                self.settle()
            if exact and not (count == total and self.splits):
                raise InvalidJob(
                    "Here Cycles denoises otherwise than can be done with tiles.",
                    hint="Render it whole.",
                )
            self.restart(exact=exact)
        elif (key, first, part, exact) != (self._key, self.samples, self.part, self.exact) or (
            part and (count, grid) != self.round
        ):
            raise InvalidJob(f"The shot is not at sample {first}, tile {part}.")
        self.settle()
        self.round, self.part = (count, grid), part
        assert self._frame is not None
        if not PICTURES.isdisjoint(session.job.pixels.passes):
            self._render(self._frame, first, count, part, grid, some)
        self.part = part + some
        if self.part == parts:
            self.samples, self.part = first + count, 0
            self._noisy = exact and session.stage.denoised and bool(self._taken)
            if exact and not self._noisy:
                self._due = [partial(self._check_picture, self._frame)]

    def denoise(self, canceled: Callable[[], bool] = lambda: False) -> None:
        """Take the noise from what :meth:`add` rendered exactly; of nothing else anything.

        Raises:
            Interrupted: It was cancelled; it can be begun again.
            InvalidJob: The tiles of its samples are not all there.
        """
        if self._frame is None or self.part or not self.samples:
            raise InvalidJob("Its samples are not all there yet.")
        if not self._noisy:
            return
        since = time.perf_counter()
        assert self._sum is not None and self._denoiser is not None
        color, albedo, normal = _guided(self._taken)
        clean = self._denoiser(color, albedo, normal, self.samples, canceled)
        self._sum[..., :3][self._taken.at] = clean.astype(np.float64) * self.samples
        self._noisy = False
        self._session.stage.watch.add("color", since)
        self._due = [partial(self._check_picture, self._frame)]

    @property
    def splits(self) -> bool:
        """Whether tiles can be exact: whether nothing needs the whole, or we can do that as well.

        Where the job denoises, both ways are held against each other in small; once.
        """
        stage, engine = self._session.stage, self._session.job.engine
        if engine.engine != "cycles":
            return False
        if not stage.denoised or PICTURES.isdisjoint(self._session.job.pixels.passes):
            return True
        if exposure_of_sums(engine.samples) is None:
            return False
        if self._agrees is None and self._frame is not None:
            self._agrees = self._denoises_alike(self._frame)
        return bool(self._agrees)

    def linear(self) -> npt.NDArray[np.float32]:
        """(H, W, 4) float32, linear, premultiplied: the mean of the samples so far."""
        assert self._sum is not None
        return (self._sum / self.samples).astype(np.float32)

    def frame(self) -> Frame:
        """What there is of it: geometry, and the mean of the samples so far.

        Raises:
            InvalidJob: The tiles of its samples are not all there.
        """
        if self._frame is None or self.part or not self.samples:
            raise InvalidJob("Its samples are not all there yet.")
        self.settle()
        frame, wanted = self._frame, self._session.job.pixels.passes
        if self._sum is not None and not self._finished:
            linear = self.linear()
            made: Mapping[str, Any] = {"rgb": encode_srgb8, "rgb_linear": half_floats}
            for name in PICTURES.intersection(wanted):
                frame.passes[name] = made[name](linear)
        return frame

    def is_at(self, shot: Shot) -> bool:
        """Whether what there is is of this shot, in the scene as it is."""
        return bool(self._key_of(shot) == self._key)

    def _key_of(self, shot: Shot) -> Any:
        """What decides how it looks, by value."""
        session, camera = self._session, shot.view.camera
        return (
            shot.key, session.stage.frame if shot.time is None else shot.time,
            camera.width, camera.height, camera.projection,
            camera.intrinsics.tobytes(), camera.camera_to_world.tobytes(),
            session.job, session.geometry, session.state,
        )  # fmt: skip

    def forget(self) -> None:
        """Begin with the geometry again."""
        self._key, self._frame, self._looking = None, None, iter(())
        self.restart(exact=False)

    def restart(self, *, exact: bool) -> None:
        """Begin the samples again."""
        self._sum, self._taken, self._due = None, capture.Taken(), []
        self.exact, self._noisy, self.samples, self.part = exact, False, 0, 0
        self._finished = False

    def _check_picture(self, frame: Frame) -> None:
        """Finish and check it as the renderer does what it rendered whole."""
        whole: list[capture.Taken] = []
        if self._sum is not None:
            whole = [capture.Taken(zip("RGBA", np.moveaxis(self.linear(), -1, 0), strict=True))]
        # Of several lights it is the picture of the first, or of all together.
        frame.grouped = False
        self._session.renderer.read_color(frame, [*whole], self._checked)
        self._finished = True

    def _render(
        self, frame: Frame, first: int, count: int, part: int, grid: tuple[int, int], some: int
    ) -> None:
        session = self._session
        stage = session.stage
        since = time.perf_counter()
        renderer, guides = session.renderer, self.exact and stage.denoised
        if part and self._ready == stage.set_ups:
            rows, columns = renderer.aim_at_tile(frame, part, grid, some)
        else:
            stage.set_up_color(guides=guides)
            rows, columns = renderer.aim(frame, part, grid, some)
            renderer.light_up(frame)
            self._hold(first, count, guides=guides)
            self._ready = stage.set_ups
        shape = frame.camera.height, frame.camera.width
        if self._sum is None:
            self._sum = np.zeros((*shape, 4))
        if rows.start == rows.stop or columns.start == columns.stop:
            return
        plain = [capture.COMBINED]
        taken = self._sums(count) if guides else renderer.take(plain, whole=False)
        for place, letter in enumerate("RGBA"):
            self._sum[..., place][taken.at] += taken[letter].astype(np.float64) * count
        if guides:
            together = _around(self._taken.at, taken.at)
            self._taken.put(taken, shape)
            self._taken.at = together
        stage.watch.add("color", since)

    def _hold(self, first: int, count: int, *, guides: bool) -> None:
        """Let Cycles' settings be those of some samples until it renders something else.

        To set them for each piece takes a third of the time that a piece takes beside its samples.
        """
        session = self._session
        stage, total = session.stage, session.job.engine.samples
        values = compat.in_memory()
        if not self.exact:
            values |= compat.sample_range(stage.scene.cycles, first, count, total)
        if guides:
            values |= {"film_exposure": _sums_of(count)[0]}
        stage.hold(stage.scene.cycles, values)
        stage.hold(stage.layer, session.renderer.bare())

    def _sums(self, samples: int) -> capture.Taken:
        """All samples with their guides; the sum as ``sum``, the mean as ever."""
        factor = _sums_of(samples)[1]
        taken = self._session.renderer.take([capture.COMBINED, *_GUIDES], whole=False)
        inverse = np.float32(1) / np.float32(samples)
        for letter in "RGB":
            name = f"sum.{letter}"
            taken[name], taken.beyond[name] = taken[letter] * np.float32(factor), 0.0
            taken[letter] = taken[name] * inverse
        return taken

    def _denoises_alike(self, frame: Frame) -> bool | None:
        """Whether a small picture comes out the same; ``None`` where it shows nothing."""
        library, stage = loaded(), self._session.stage
        if library is None or not compat.denoises_on_cpu(stage.scene.cycles):
            return False
        self._denoiser = self._denoiser or Denoiser(library)
        camera, cycles = frame.camera, stage.scene.cycles
        box = frame.object_box or (0, 0, camera.width, camera.height)
        grid = max(1, camera.width // _PROBE), max(1, camera.height // _PROBE)
        u, v = ((box[at] + box[at + 2]) / 2 for at in (0, 1))
        across = min(grid[0] - 1, max(0, int(u / camera.width * grid[0])))
        down = min(grid[1] - 1, max(0, int(v / camera.height * grid[1])))
        found: list[capture.Taken] = []
        for guides in (False, True):
            stage.set_up_color(guides=guides)
            self._session.renderer.aim(frame)
            self._session.renderer.light_up(frame)
            self._session.renderer.set_border(
                camera, None, 0, down * grid[0] + across, grid
            )
            values = compat.in_memory() | {"samples": _PROBED}
            if guides:
                values |= {"film_exposure": _sums_of(_PROBED)[0]}
            with compat.for_now(cycles, values):
                found.append(
                    self._sums(_PROBED) if guides
                    else self._session.renderer.take([capture.COMBINED], whole=False)
                )  # fmt: skip
        truth, noisy = (np.stack([one[letter] for letter in "RGBA"], axis=-1) for one in found)
        if not np.ptp(truth[..., :3]) > 0 or np.array_equal(truth, noisy):
            return None
        found[1].at = np.s_[:, :]
        color, albedo, normal = _guided(found[1])
        ours = self._denoiser(color, albedo, normal, _PROBED)
        alike = np.array_equal(ours, truth[..., :3])
        return bool(alike and np.array_equal(noisy[..., 3], truth[..., 3]))


def _sums_of(samples: int) -> tuple[float, float]:
    """The exposure at which Cycles gives what the sum can be had of to the bit, and its factor."""
    found = exposure_of_sums(samples)
    assert found is not None  # As of what splits.
    return found


def _guided(taken: capture.Taken) -> Iterator[npt.NDArray[np.float32]]:
    """Sum, albedo and normal, of what was rendered."""
    for name, letters in (("sum", "RGB"), ("albedo", "XYZ"), ("normal", "XYZ")):
        yield np.stack([taken[f"{name}.{letter}"][taken.at] for letter in letters], axis=-1)


def _around(one: tuple[slice, slice], other: tuple[slice, slice]) -> tuple[slice, slice]:
    """The least rows and columns that have both; an empty one counts for nothing."""
    if one[0].stop == 0:
        return other
    rows, columns = (
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(one, other, strict=True)
    )
    return rows, columns
