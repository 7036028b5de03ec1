"""What a camera sees of a field, on a processor.

Gaussians are projected as ellipses (EWA), sorted by depth, and put over one another from front to
back in tiles of 16 pixels. The rules are those of the authors' rasteriser (Kerbl et al. 2023):
0.3 square pixels are added to every ellipse, an alpha is at most 0.99, one below 1/255 counts for
nothing, and a pixel is done when less than 1e-4 shines through. Where theirs cuts an ellipse at
three deviations, ours reaches as far as it counts, so that no pixel depends on its tile.

numba draws where it is installed; NumPy does otherwise, several times slower.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import Camera
from ..errors import InvalidJob
from .field import Field, Floats32

__all__ = ["NEAR", "Pixels", "Prepared", "check_lens", "draw", "has_numba"]

TILE: Final = 16
NEAR: Final = 0.01
"""Depth in scene units below which a Gaussian is not drawn."""
BLUR: Final = 0.3
FAINTEST: Final = 1 / 255
MOST: Final = 0.99
DONE: Final = 1e-4
_PIECE: Final = 8
"""Tiles that are drawn between two questions whether to stop, for each thread."""
_CHUNK: Final = 16384
"""Gaussians that are projected in one go."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """What was drawn.

    Attributes:
        color: (H, W, 3) float32, sRGB, multiplied with alpha.
        alpha: (H, W) float32.
        depth: (H, W) float32, planar, scene units: the mean of what is seen, weighted by how much
            of it is; 0 where nothing is.
    """

    color: Floats32
    alpha: Floats32
    depth: Floats32


class Prepared:
    """A field, with what does not change from picture to picture."""

    def __init__(self, field: Field) -> None:
        # What counts for nothing anywhere is left out.
        kept = field.opacities >= FAINTEST
        self.means = np.ascontiguousarray(field.means[kept])
        self.covariances = np.ascontiguousarray(field.covariances[kept])
        self.opacities = np.ascontiguousarray(field.opacities[kept])
        self.harmonics = np.ascontiguousarray(field.harmonics[kept])

    def __len__(self) -> int:
        return len(self.means)

    def most_important(self, count: int) -> Prepared:
        """Those that cover most, opacity times size, from whatever side; in the field's order.

        They are widened so that together they cover what all did, at most twice as wide.
        """
        kept = Prepared.__new__(Prepared)
        # The squared mean of an ellipsoid's half axes: what it covers from an average side.
        covered = self.opacities * self.covariances[:, [0, 3, 5]].sum(axis=1)
        count = min(count, len(self))
        most = np.sort(np.argpartition(-covered, count - 1)[:count]) if count else np.arange(0)
        wider = min(float(covered.sum() / max(covered[most].sum(), 1e-30)), 4.0)
        kept.means, kept.opacities = self.means[most], self.opacities[most]
        kept.covariances = self.covariances[most] * np.float32(wider)
        kept.harmonics = self.harmonics[most]
        return kept


@dataclass(slots=True)
class Ellipses:
    """Gaussians as a camera sees them, of those before it.

    Attributes:
        centers: (N, 2) float32, pixels.
        conics: (N, 3) float32, inverse covariance: xx, xy, yy.
        reach: (N, 2) float32, half the sides of the box in which one counts, pixels; 0 for one
            that is not drawn.
        depths: (N,) float32.
        colors: (N, 3) float32.
    """

    centers: Floats32
    conics: Floats32
    reach: Floats32
    depths: Floats32
    colors: Floats32

    @classmethod
    def empty(cls, count: int) -> Ellipses:
        """Room for so many."""
        centers, conics, reach, colors = (np.zeros((count, n), np.float32) for n in (2, 3, 2, 3))
        return cls(centers, conics, reach, np.zeros(count, np.float32), colors)


@lru_cache(maxsize=1)
def has_numba() -> bool:
    """Whether the fast way is there."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") == "1":
        return False
    try:
        import numba
    except ImportError:
        return False
    return bool(numba.__version__)


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    # numba's own threads must not be used from two of Python's at once.
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(count or 1, "splats")


if hasattr(os, "register_at_fork"):
    # A child has the pool without its threads.
    os.register_at_fork(after_in_child=_threads.cache_clear)


def check_lens(camera: Camera) -> None:
    """Raise InvalidJob for a camera that Gaussians are not drawn for."""
    if camera.projection != "perspective":
        raise InvalidJob(
            f"Fields of Gaussians are drawn in perspective; this camera is {camera.projection}."
        )


def draw(
    field: Prepared,
    camera: Camera,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    numba: bool | None = None,
) -> Pixels | None:
    """Draw a field.

    Args:
        camera: In the field's world; OpenGL axes, as everywhere here.
        should_stop: Asked between pieces of the work.
        numba: Whether numba draws; if it is there, by default.

    Returns:
        ``None`` where it was stopped.

    Raises:
        InvalidJob: The camera has no perspective lens.
    """
    check_lens(camera)
    fast = has_numba() if numba is None else numba
    ellipses = Ellipses.empty(len(field))
    view = _View.of(camera)
    spans = [(at, min(at + _CHUNK, len(field))) for at in range(0, len(field), _CHUNK)]
    if fast:
        from . import kernels

        project: Any = kernels.project
        paint: Any = kernels.paint
    else:
        project, paint = _project, _paint
    if not _in_pieces(project, (field, ellipses, view), spans, should_stop, fast):
        return None
    seen = np.flatnonzero(ellipses.reach[:, 0] > 0)
    order = seen[np.argsort(ellipses.depths[seen], kind="stable")]
    if should_stop():
        return None
    starts, lists = _tiles(ellipses, order, camera, fast)
    pixels = Pixels(
        np.zeros((camera.height, camera.width, 3), np.float32),
        np.zeros((camera.height, camera.width), np.float32),
        np.zeros((camera.height, camera.width), np.float32),
    )
    count = len(starts) - 1
    # The smallest pictures have few tiles, for all threads.
    size = max(1, min(_PIECE, count // 8))
    pieces = [(at, min(at + size, count)) for at in range(0, count, size)]
    arguments = (ellipses, field.opacities, starts, lists, pixels)
    return pixels if _in_pieces(paint, arguments, pieces, should_stop, fast) else None


def _in_pieces(
    work: Callable[..., None], arguments: tuple[Any, ...], spans: list[tuple[int, int]],
    should_stop: Callable[[], bool], fast: bool,
) -> bool:  # fmt: skip
    """Whether all of it was done. What is running is waited for: it writes into the arrays."""
    if not fast:
        for span in spans:
            if should_stop():
                return False
            work(*arguments, *span)
        return not should_stop()
    pool, stopped = _threads(), False
    pending: list[Future[None]] = []
    wide = pool._max_workers
    for span in spans:
        if should_stop():
            stopped = True
            break
        if len(pending) > wide:
            pending.pop(0).result()
        pending.append(pool.submit(work, *arguments, *span))
    for one in pending:
        one.result()
    return not stopped


@dataclass(frozen=True, slots=True)
class _View:
    """A camera's numbers, OpenCV axes."""

    rotation: npt.NDArray[np.float64]
    position: npt.NDArray[np.float64]
    lens: tuple[float, float, float, float]
    size: tuple[int, int]
    slopes: tuple[float, float, float, float]
    """x/z and y/z at which the projection is linearised at most: a third beyond the picture."""

    @classmethod
    def of(cls, camera: Camera) -> _View:
        (fx, _, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
        rotation = camera.camera_to_world_opencv[:3, :3].T
        wide, high = camera.width, camera.height
        rim_x, rim_y = 0.15 * wide / fx, 0.15 * high / fy
        slopes = (-cx / fx - rim_x, (wide - cx) / fx + rim_x,
                  -cy / fy - rim_y, (high - cy) / fy + rim_y)  # fmt: skip
        return cls(
            np.ascontiguousarray(rotation), np.ascontiguousarray(camera.camera_to_world[:3, 3]),
            (fx, fy, cx, cy), (wide, high), slopes,
        )  # fmt: skip


def _tiles(
    ellipses: Ellipses, order: npt.NDArray[Any], camera: Camera, fast: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Which Gaussians each tile has, from front to back: where each begins, and all of them."""
    across, down = -(-camera.width // TILE), -(-camera.height // TILE)
    centers, reach = ellipses.centers[order], ellipses.reach[order]
    # A pixel's centre lies at a half.
    low = np.floor((centers - reach - 0.5) / TILE).astype(np.int32)
    high = np.floor((centers + reach - 0.5) / TILE).astype(np.int32) + 1
    limits = np.array([across, down], np.int32)
    low, high = np.clip(low, 0, limits), np.clip(high, 0, limits)
    if fast:
        from . import kernels

        starts, lists = kernels.bin_tiles(order, low, high, across, down)
        return starts, lists
    tiles, members = [], []
    spans = np.maximum(high - low, 0)
    for dx in range(int(spans[:, 0].max(initial=0))):
        for dy in range(int(spans[:, 1].max(initial=0))):
            some = np.flatnonzero((spans[:, 0] > dx) & (spans[:, 1] > dy))
            if len(some):
                tiles.append((low[some, 1] + dy) * across + low[some, 0] + dx)
                members.append(some)
    tile = np.concatenate([*tiles, np.empty(0, np.int32)])
    member = np.concatenate([*members, np.empty(0, np.int64)]).astype(np.int64)
    by_tile = np.lexsort((member, tile))
    counts = np.bincount(tile, minlength=across * down)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return starts, order[member[by_tile]].astype(np.int32)


# --- NumPy ----------------------------------------------------------------------------------------


def basis(directions: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """(N, count) spherical harmonics of directions (N, 3), in the order and signs of the files."""
    x, y, z = directions.T
    terms = [np.full(len(directions), 0.28209479177387814)]
    if count > 1:
        terms += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if count > 4:
        terms += [
            1.0925484305920792 * x * y, -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * z * z - x * x - y * y), -1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y),
        ]  # fmt: skip
    if count > 9:
        terms += [
            -0.5900435899266435 * y * (3 * x * x - y * y), 2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * z * z - x * x - y * y),
            0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y),
            -0.4570457994644658 * x * (4 * z * z - x * x - y * y),
            1.445305721320277 * z * (x * x - y * y), -0.5900435899266435 * x * (x * x - 3 * y * y),
        ]  # fmt: skip
    return np.stack(terms, axis=1)


def _project(field: Prepared, out: Ellipses, view: _View, start: int, end: int) -> None:
    away = field.means[start:end] - view.position
    x, y, z = view.rotation @ away.T
    near = z > NEAR
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        fx, fy, cx, cy = view.lens
        u, v = fx * x / z + cx, fy * y / z + cy
        left, right, top, bottom = view.slopes
        sx, sy = np.clip(x / z, left, right), np.clip(y / z, top, bottom)
        # Rows of the Jacobian times the rotation.
        first = (fx / z)[:, None] * (view.rotation[0] - sx[:, None] * view.rotation[2])
        second = (fy / z)[:, None] * (view.rotation[1] - sy[:, None] * view.rotation[2])
        full = field.covariances[start:end][:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
        a = np.einsum("ni,nij,nj->n", first, full, first) + BLUR
        b = np.einsum("ni,nij,nj->n", first, full, second)
        c = np.einsum("ni,nij,nj->n", second, full, second) + BLUR
        area = a * c - b * b
        far = 2 * np.log(field.opacities[start:end].astype(np.float64) / FAINTEST)
        reach = np.sqrt(np.maximum(far, 0)[:, None] * np.stack([a, c], axis=1))
        width, height = view.size
        good = near & (area > 0) & (far > 0) & np.isfinite(u) & np.isfinite(v)
        good &= (u + reach[:, 0] > 0) & (u - reach[:, 0] < width)
        good &= (v + reach[:, 1] > 0) & (v - reach[:, 1] < height)
        good &= np.isfinite(reach).all(axis=1)
        some = np.flatnonzero(good)
        into = start + some
        out.centers[into] = np.stack([u, v], axis=1)[some]
        out.conics[into] = np.stack([c / area, -b / area, a / area], axis=1)[some]
        out.reach[into] = reach[some]
        out.depths[into] = z[some]
        directions = away[some] / np.linalg.norm(away[some], axis=1, keepdims=True)
        harmonics = field.harmonics[into]
        shown = np.einsum("nk,nkc->nc", basis(directions, harmonics.shape[1]), harmonics) + 0.5
        out.colors[into] = np.maximum(shown, 0)


def _paint(
    ellipses: Ellipses, opacities: Floats32, starts: npt.NDArray[Any], lists: npt.NDArray[Any],
    out: Pixels, first: int, last: int,
) -> None:  # fmt: skip
    height, width = out.alpha.shape
    across = -(-width // TILE)
    for tile in range(first, last):
        top, left = tile // across * TILE, tile % across * TILE
        rows, columns = min(TILE, height - top), min(TILE, width - left)
        v, u = np.mgrid[top : top + rows, left : left + columns].reshape(2, -1) + 0.5
        color, depth = np.zeros((len(u), 3)), np.zeros(len(u))
        through = np.ones(len(u))
        alive = np.ones(len(u), dtype=bool)
        members = lists[starts[tile] : starts[tile + 1]]
        for at in range(0, len(members), 256):
            some = members[at : at + 256]
            du = u[None] - ellipses.centers[some, 0][:, None]
            dv = v[None] - ellipses.centers[some, 1][:, None]
            xx, xy, yy = (ellipses.conics[some, n][:, None].astype(np.float64) for n in range(3))
            alpha = opacities[some][:, None] * np.exp(
                -0.5 * (xx * du * du + yy * dv * dv) - xy * du * dv
            )
            alpha = np.where(alpha < FAINTEST, 0, np.minimum(alpha, MOST))
            left_over = np.cumprod(1 - alpha, axis=0)
            # The one that would darken a pixel below the limit is not drawn, nor any behind it.
            ended = (through * left_over < DONE) & (alpha > 0)
            alive_here = alive & ~np.logical_or.accumulate(ended, axis=0)
            before = through * np.concatenate([np.ones((1, len(u))), left_over[:-1]])
            weights = np.where(alive_here, before * alpha, 0)
            color += weights.T @ ellipses.colors[some]
            depth += weights.T @ ellipses.depths[some].astype(np.float64)
            through = through - weights.sum(axis=0)
            alive = alive_here[-1]
            if not alive.any():
                break
        alpha = 1 - through
        block = np.s_[top : top + rows, left : left + columns]
        out.color[block] = color.reshape(rows, columns, 3)
        out.alpha[block] = alpha.reshape(rows, columns)
        out.depth[block] = np.where(alpha > 0, depth / np.maximum(alpha, 1e-12), 0).reshape(
            rows, columns
        )
