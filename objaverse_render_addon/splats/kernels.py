"""The loops of :mod:`.drawing` in numba. They let go of the interpreter's lock."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from .drawing import BLUR, DONE, FAINTEST, MOST, NEAR, TILE

__all__ = ["bin_tiles", "paint", "project"]

_jit: Any = numba.njit(nogil=True, cache=True, fastmath=False, error_model="numpy")


def project(field: Any, out: Any, view: Any, start: int, end: int) -> None:
    """See :mod:`.drawing`."""
    _project(
        field.means, field.covariances, field.opacities, field.harmonics, out.centers, out.conics,
        out.reach, out.depths, out.colors, view.rotation, view.position, view.lens, view.size,
        view.slopes, start, end,
    )  # fmt: skip


def paint(
    ellipses: Any, opacities: Any, starts: Any, lists: Any, out: Any, first: int, last: int
) -> None:
    """See :mod:`.drawing`."""
    _paint(
        ellipses.centers, ellipses.conics, ellipses.depths, ellipses.colors, opacities, starts,
        lists, out.color, out.alpha, out.depth, first, last,
    )  # fmt: skip


@_jit
def _project(  # type: ignore[no-untyped-def]
    means, covariances, opacities, harmonics, centers, conics, reach, depths, colors, r, p, lens,
    size, slopes, start, end,
):  # fmt: skip
    fx, fy, cx, cy = lens
    count = harmonics.shape[1]
    for n in range(start, end):
        dx, dy, dz = means[n, 0] - p[0], means[n, 1] - p[1], means[n, 2] - p[2]
        z = r[2, 0] * dx + r[2, 1] * dy + r[2, 2] * dz
        if not z > NEAR:
            continue
        x = r[0, 0] * dx + r[0, 1] * dy + r[0, 2] * dz
        y = r[1, 0] * dx + r[1, 1] * dy + r[1, 2] * dz
        u, v = fx * x / z + cx, fy * y / z + cy
        sx = min(max(x / z, slopes[0]), slopes[1])
        sy = min(max(y / z, slopes[2]), slopes[3])
        kx, ky = fx / z, fy / z
        f0 = kx * (r[0, 0] - sx * r[2, 0])
        f1 = kx * (r[0, 1] - sx * r[2, 1])
        f2 = kx * (r[0, 2] - sx * r[2, 2])
        s0 = ky * (r[1, 0] - sy * r[2, 0])
        s1 = ky * (r[1, 1] - sy * r[2, 1])
        s2 = ky * (r[1, 2] - sy * r[2, 2])
        xx, xy, xz = covariances[n, 0], covariances[n, 1], covariances[n, 2]
        yy, yz, zz = covariances[n, 3], covariances[n, 4], covariances[n, 5]
        t0 = xx * f0 + xy * f1 + xz * f2
        t1 = xy * f0 + yy * f1 + yz * f2
        t2 = xz * f0 + yz * f1 + zz * f2
        a = f0 * t0 + f1 * t1 + f2 * t2 + BLUR
        b = s0 * t0 + s1 * t1 + s2 * t2
        c = (
            s0 * (xx * s0 + xy * s1 + xz * s2)
            + s1 * (xy * s0 + yy * s1 + yz * s2)
            + s2 * (xz * s0 + yz * s1 + zz * s2)
            + BLUR
        )
        area = a * c - b * b
        far = 2 * math.log(opacities[n] / FAINTEST)
        if not (area > 0 and far > 0):
            continue
        rx, ry = math.sqrt(far * a), math.sqrt(far * c)
        if not (math.isfinite(rx) and math.isfinite(ry)):
            continue
        if u + rx <= 0 or u - rx >= size[0] or v + ry <= 0 or v - ry >= size[1]:
            continue
        centers[n, 0], centers[n, 1] = u, v
        conics[n, 0], conics[n, 1], conics[n, 2] = c / area, -b / area, a / area
        reach[n, 0], reach[n, 1] = rx, ry
        depths[n] = z
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        x, y, z = dx / length, dy / length, dz / length
        for k in range(3):
            h = harmonics[n, :, k]
            shown = 0.28209479177387814 * h[0] + 0.5
            if count > 1:
                shown += 0.4886025119029199 * (z * h[2] - y * h[1] - x * h[3])
            if count > 4:
                shown += (
                    1.0925484305920792 * (x * y * h[4] - y * z * h[5] - x * z * h[7])
                    + 0.31539156525252005 * (2 * z * z - x * x - y * y) * h[6]
                    + 0.5462742152960396 * (x * x - y * y) * h[8]
                )
            if count > 9:
                shown += (
                    -0.5900435899266435 * y * (3 * x * x - y * y) * h[9]
                    + 2.890611442640554 * x * y * z * h[10]
                    - 0.4570457994644658 * y * (4 * z * z - x * x - y * y) * h[11]
                    + 0.3731763325901154 * z * (2 * z * z - 3 * x * x - 3 * y * y) * h[12]
                    - 0.4570457994644658 * x * (4 * z * z - x * x - y * y) * h[13]
                    + 1.445305721320277 * z * (x * x - y * y) * h[14]
                    - 0.5900435899266435 * x * (x * x - 3 * y * y) * h[15]
                )
            colors[n, k] = max(shown, 0.0)


@_jit
def bin_tiles(order, low, high, across, down):  # type: ignore[no-untyped-def]
    """See ``_tiles`` of :mod:`.drawing`."""
    starts = np.zeros(across * down + 1, np.int64)
    for n in range(len(order)):
        for row in range(low[n, 1], high[n, 1]):
            for column in range(low[n, 0], high[n, 0]):
                starts[row * across + column + 1] += 1
    for tile in range(across * down):
        starts[tile + 1] += starts[tile]
    ends = starts[:-1].copy()
    lists = np.empty(starts[-1], np.int32)
    for n in range(len(order)):
        for row in range(low[n, 1], high[n, 1]):
            for column in range(low[n, 0], high[n, 0]):
                tile = row * across + column
                lists[ends[tile]] = order[n]
                ends[tile] += 1
    return starts, lists


@_jit
def _paint(  # type: ignore[no-untyped-def]
    centers, conics, depths, colors, opacities, starts, lists, color, alpha, depth, first, last
):
    height, width = alpha.shape
    across = (width + TILE - 1) // TILE
    for tile in range(first, last):
        top, left = tile // across * TILE, tile % across * TILE
        for row in range(top, min(top + TILE, height)):
            for column in range(left, min(left + TILE, width)):
                u, v = column + 0.5, row + 0.5
                through = 1.0
                red, green, blue, far = 0.0, 0.0, 0.0, 0.0
                for at in range(starts[tile], starts[tile + 1]):
                    n = lists[at]
                    du, dv = u - centers[n, 0], v - centers[n, 1]
                    power = (
                        -0.5 * (conics[n, 0] * du * du + conics[n, 2] * dv * dv)
                        - conics[n, 1] * du * dv
                    )
                    if power < -6.0:  # Below 1/255 whatever the opacity.
                        continue
                    here = opacities[n] * math.exp(power)
                    if here < FAINTEST:
                        continue
                    here = min(here, MOST)
                    rest = through * (1.0 - here)
                    if rest < DONE:
                        break
                    weight = through * here
                    red += weight * colors[n, 0]
                    green += weight * colors[n, 1]
                    blue += weight * colors[n, 2]
                    far += weight * depths[n]
                    through = rest
                color[row, column, 0] = red
                color[row, column, 1] = green
                color[row, column, 2] = blue
                alpha[row, column] = 1.0 - through
                if through < 1.0:
                    depth[row, column] = far / (1.0 - through)
