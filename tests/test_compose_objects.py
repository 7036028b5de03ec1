"""The objects that the project makes itself: closed, of the volume that they should have."""

import math
from collections import Counter

import numpy as np
import pytest

from objaverse_render_addon.compose.objects import KINDS, Mesh
from objaverse_render_addon.compose.objects.kinds import PAINTS
from objaverse_render_addon.compose.objects.mesh import circle, loft, rectangle, tube
from objaverse_render_addon.compose.physics.body import depth_inside, distances, mass_of

EVERY = [(name, number) for name, kind in KINDS.items() for number in range(len(kind.shapes))]


def polygon(count):
    """Area of a regular polygon over its circle's."""
    return count / (2 * math.pi) * math.sin(2 * math.pi / count)


def test_there_are_two_dozen():
    assert len(KINDS) >= 24


@pytest.mark.parametrize(("name", "variant"), EVERY)
def test_every_part_is_closed_and_turned_outwards(name, variant):
    mesh = KINDS[name].mesh(variant)
    for part in mesh.parts:
        ends = part.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        edges = Counter(map(tuple, ends.tolist()))
        assert all(count == 1 and edges[b, a] == 1 for (a, b), count in edges.items())
        assert Mesh((part,)).volume > 0
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    assert abs(low[2]) < 1e-12
    assert np.allclose((low + high)[:2], 0, atol=1e-12)
    assert 0.02 < mesh.size.max() < 0.4


def test_volumes_of_what_is_known():
    assert Mesh((loft([circle(0.03, z) for z in (0, 0.1)]),)).volume == pytest.approx(
        math.pi * 0.03**2 * 0.1 * polygon(48), rel=1e-9
    )
    # Pappus: a ring's section times the way of its middle.
    ring = Mesh((tube(circle(0.05, 0, 56), 0.01, count=24, closed=True),)).volume
    assert ring == pytest.approx(math.pi * 0.01**2 * polygon(24) * 2 * math.pi * 0.05, rel=0.01)
    box = rectangle(0.1, 0.06, 1e-6)
    assert Mesh((loft([box, box + (0, 0, 0.05)]),)).volume == pytest.approx(0.0003, rel=1e-4)
    ball = KINDS["ball"].mesh(0)
    assert ball.volume == pytest.approx(4 / 3 * math.pi * 0.035**3, rel=0.006)


@pytest.mark.parametrize("name", ["mug", "bowl", "basket", "crate", "tray", "bucket", "bottle"])
def test_hollow_things_are_hollow(name):
    mesh = KINDS[name].mesh(0)
    corners = mesh.vertices[mesh.triangles]
    middle = np.array([[0.0 if name != "mug" else -0.012, 0.0, 0.55 * mesh.size[2]]])
    assert depth_inside(middle, corners) == 0
    x, y, z = mesh.size
    assert mesh.volume < 0.45 * x * y * z


def test_inside_and_distance_of_a_cube():
    box = rectangle(0.1, 0.1, 1e-6)
    part = loft([box, box + (0, 0, 0.1)])
    corners = part.vertices[part.triangles]
    points = np.array([[0.02, 0.0, 0.05], [0.06, 0, 0.05], [0.0, 0.0, 0.13], [0.049, 0.01, 0.05]])
    assert distances(points, corners) == pytest.approx([0.03, 0.01, 0.03, 0.001], abs=2e-6)
    assert depth_inside(points, corners) == pytest.approx(0.03, abs=2e-6)
    assert depth_inside(points[1:3], corners) == 0


def test_mass_of_a_block_is_the_textbooks():
    box = rectangle(0.2, 0.1, 1e-6)
    mass, center, inertia = mass_of(Mesh((loft([box, box + (0, 0, 0.05)]),)), 1000.0)
    assert mass == pytest.approx(1.0, rel=1e-4)
    assert center == pytest.approx([0, 0, 0.025], abs=1e-6)
    sides = np.array([0.2, 0.1, 0.05]) ** 2
    assert np.diag(inertia) == pytest.approx((sides.sum() - sides) / 12, rel=1e-3)


def test_paints_are_told_apart():
    colors = np.array(list(PAINTS.values()))
    apart = np.linalg.norm(colors[:, None] - colors, axis=2) + np.eye(len(colors))
    assert apart.min() > 0.2
    assert all(set(kind.colors) <= set(PAINTS) for kind in KINDS.values())
