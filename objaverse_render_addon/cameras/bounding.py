"""What holds many points: the smallest sphere around them, and the few of them on the outside."""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
import numpy.typing as npt

from .sampling import GOLDEN_ANGLE

__all__ = ["bounding_sphere", "outermost"]

Points = npt.NDArray[np.float64]

_PRECISION: Final = 1e-9
"""Of the square of a sphere's radius; coordinates are 32-bit floats."""
_SLACK: Final = 1e-12
_EXCHANGES: Final = 1000


def outermost(points: Points, count: int = 1024) -> Points:
    """Of points (N, 3) those that lie farthest in ``count`` directions and along the axes.

    In the points' own precision: float32 takes half as long.
    """
    index = np.arange(count)
    z = 1 - (2 * index + 1) / count
    angle = index * GOLDEN_ANGLE
    ring = np.sqrt(1 - z * z)
    directions = np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)
    directions = np.concatenate([directions, np.eye(3), -np.eye(3)]).astype(points.dtype)
    best = np.full(len(directions), -np.inf)
    chosen = np.zeros(len(directions), dtype=np.int64)
    for start in range(0, len(points), 65536):
        # Directions by points: the maximum runs along memory, some ten times as fast.
        reach = directions @ points[start : start + 65536].T
        rows = reach.argmax(axis=1)
        values = reach[np.arange(len(directions)), rows]
        better = values > best
        best[better] = values[better]
        chosen[better] = rows[better] + start
    return points[np.unique(chosen)]


def bounding_sphere(points: Points) -> tuple[Points, float]:
    """The smallest sphere around points (N, 3): its centre (3,) and its radius.

    The farthest point that a sphere leaves out is on the surface of the smallest sphere that
    holds it too, with at most three of those that were there before (Welzl, "Smallest enclosing
    disks (balls and ellipsoids)", 1991; taking the farthest is Gärtner's pivot rule, "Fast and
    robust smallest enclosing balls", 1999). Each exchange makes the sphere larger, so few are
    needed and none comes twice.
    """
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    points = points - middle
    # |p - c|² is |p|² - 2 p·c + |c|²: one product per step instead of three passes over memory.
    squares = np.einsum("ij,ij->i", points, points)
    center, square = np.zeros(3), -1.0
    support = points[:0]
    for _ in range(_EXCHANGES):
        reach = squares - points @ (2 * center)
        far = int(reach.argmax())
        if float(reach[far] + center @ center) <= square * (1 + _PRECISION):
            break
        found = _exchange(support, points[far])
        if found is None or found[1] <= square:
            # Closer than this rounding does not let it come.
            break
        center, square, support = found
    radius = float(np.max(np.linalg.norm(points - center, axis=1)))
    return middle + center, radius


def _exchange(support: Points, new: Points) -> tuple[Points, float, Points] | None:
    """The smallest sphere around up to four points and a new one that is on its surface.

    Returns:
        Centre, square of the radius, and the points that it rests on; ``None`` where rounding
        hides which they are.
    """
    if not len(support):
        return new, 0.0, new[None]
    offsets = support - new
    products = offsets @ offsets.T
    for count in range(1, min(3, len(support)) + 1):
        for chosen in itertools.combinations(range(len(support)), count):
            shares = _shares(products, chosen)
            if shares is None or min(shares) < -_SLACK or sum(shares) > 1 + _SLACK:
                continue
            center = np.array(shares) @ offsets[list(chosen)]
            square = float(center @ center)
            away = offsets - center
            if (np.einsum("ij,ij->i", away, away) <= square * (1 + _SLACK)).all():
                return new + center, square, np.concatenate([support[list(chosen)], new[None]])
    return None


def _shares(products: Points, chosen: tuple[int, ...]) -> list[float] | None:
    """What each of some offsets from a point has in the centre of the sphere through all of them.

    The sphere is the smallest around them only if none is negative and they sum up to no more
    than 1: only then does the centre lie between the points.

    Args:
        products: Of all offsets with each other.

    Returns:
        ``None`` where they lie in a line or in a plane, and fewer would do.
    """
    if len(chosen) == 1:
        return [0.5]
    if len(chosen) == 2:
        # Written out, since a library takes ten times as long for so little.
        first, second = chosen
        a, b, c = products[first, first], products[first, second], products[second, second]
        area = float(a * c - b * b)
        if area <= _SLACK * a * c:
            return None
        return [float(c * (a - b)) / (2 * area), float(a * (c - b)) / (2 * area)]
    try:
        index = np.ix_(chosen, chosen)
        return list(np.linalg.solve(products[index], products[chosen, chosen] / 2))
    except np.linalg.LinAlgError:
        return None
