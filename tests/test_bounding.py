from __future__ import annotations

import itertools

import numpy as np
import pytest

from objaverse_render_addon.cameras.bounding import bounding_sphere, outermost


def shapes() -> dict[str, np.ndarray]:
    around, along = np.meshgrid(np.linspace(0, 2 * np.pi, 60), np.linspace(0, np.pi, 31))
    around, along = around.ravel(), along.ravel()
    ball = np.stack(
        [np.sin(along) * np.cos(around), np.sin(along) * np.sin(around), np.cos(along)], axis=1
    )
    corners = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    return {
        "ball": ball.astype(np.float32).astype(np.float64),
        "cube": corners,
        "cube, each corner often": np.repeat(corners, 20, axis=0),
        "circle": np.stack([np.cos(around), np.sin(around), 0 * around], axis=1),
        "cylinder": np.stack([np.cos(around), np.sin(around), along - np.pi / 2], axis=1),
        "line": np.linspace(-1, 1, 40)[:, None] * [1.0, 2, 2],
        "plate": np.stack([around, along, 0 * along], axis=1),
        "point": np.zeros((1, 3)),
        "one point often": np.full((30, 3), 0.1),
    }


RADII = {
    "ball": 1.0, "cube": 0.75**0.5, "cube, each corner often": 0.75**0.5, "circle": 1.0,
    "cylinder": (1 + np.pi**2 / 4) ** 0.5, "line": 3.0, "plate": np.pi * 1.25**0.5, "point": 0.0,
    "one point often": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("where", [(0.0, 0, 0), (7.0, -300, 2e4)])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
@pytest.mark.parametrize("name", RADII)
def test_the_sphere_around_known_shapes(name: str, scale: float, where: tuple[float, ...]):
    points = scale * (shapes()[name] + where)
    center, radius = bounding_sphere(points)
    assert radius == pytest.approx(scale * RADII[name], rel=1e-7, abs=1e-10 * scale)
    assert (np.linalg.norm(points - center, axis=1) <= radius * (1 + 1e-9)).all()


def smallest(points: np.ndarray) -> float:
    """Radius of the smallest sphere, by trying all that rest on up to four points."""
    best = np.inf
    for count in (2, 3, 4):
        for chosen in itertools.combinations(points, count):
            offsets = np.array(chosen[1:]) - chosen[0]
            shares = np.linalg.lstsq(offsets @ offsets.T, (offsets**2).sum(1) / 2, rcond=None)[0]
            center = chosen[0] + shares @ offsets
            radius = float(np.linalg.norm(points - center, axis=1).max())
            best = min(best, radius)
    return best


@pytest.mark.parametrize("seed", range(30))
def test_no_sphere_is_smaller(seed: int):
    random = np.random.default_rng(seed)
    points = random.normal(size=(9, 3)) * random.uniform(0.01, 1, 3)
    assert bounding_sphere(points)[1] == pytest.approx(smallest(points), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_many_points_of_coarse_coordinates_are_held(seed: int):
    random = np.random.default_rng(seed)
    points = (random.normal(size=(30_000, 3)) + 1e4).astype(np.float32).astype(np.float64)
    center, radius = bounding_sphere(points)
    away = np.linalg.norm(points - center, axis=1)
    assert away.max() <= radius * (1 + 1e-12)
    # It rests on points on all sides: it cannot be moved away from all of them.
    rests = (points - center)[away > radius * (1 - 1e-7)]
    assert 2 <= len(rests) <= 8
    directions = random.normal(size=(2000, 3))
    assert ((directions @ rests.T).min(axis=1) < 1e-3 * radius).all()


def test_the_outermost_points_reach_as_far_in_every_direction():
    points = np.random.default_rng(0).normal(size=(200_000, 3)) * (1, 2, 0.1)
    few = outermost(points)
    assert len(few) < 1100
    directions = np.random.default_rng(1).normal(size=(500, 3))
    reach, their = (directions @ points.T).max(axis=1), (directions @ few.T).max(axis=1)
    assert (their > 0.95 * reach).all()
    assert (few.min(axis=0) == points.min(axis=0)).all()
    assert (few.max(axis=0) == points.max(axis=0)).all()
