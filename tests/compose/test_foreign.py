"""Meshes of others: what makes one a thing that can lie among others, by shapes of known truth."""

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("rapier3d")

import foreign

from objaverse_render_addon.batch.compose import classes_table
from objaverse_render_addon.compose.objects import KINDS, Mesh, Part
from objaverse_render_addon.compose.objects.categories import SIZES, mixed_up, size_of
from objaverse_render_addon.compose.objects.judging import _of_file, list_problem
from objaverse_render_addon.compose.objects.usable import (
    Unusable,
    closed,
    flat_topped,
    one_piece,
    rim_of,
)
from objaverse_render_addon.compose.physics.body import inside_of


def soup(mesh: Mesh) -> Mesh:
    """Every triangle with vertices of its own, as files with seams have them."""
    faces = mesh.triangles
    points = mesh.vertices[faces].reshape(-1, 3)
    return Mesh((Part(points, np.arange(len(points)).reshape(-1, 3)),))


@pytest.mark.parametrize("name", ["box", "mug", "bottle", "basket", "banana", "lamp"])
def test_what_is_closed_stays_as_it_is(name):
    mesh = KINDS[name].mesh(0)
    solid = closed(soup(mesh))
    assert solid.volume == pytest.approx(mesh.volume, rel=1e-4)
    inverted = Mesh(tuple(Part(p.vertices, p.triangles[:, ::-1]) for p in soup(mesh).parts))
    assert closed(inverted).volume == pytest.approx(mesh.volume, rel=1e-4)


def test_a_missing_underside_is_closed():
    mesh = KINDS["box"].mesh(0)
    open_ = foreign.without(mesh, lambda at: at[:, 2] < 1e-6)
    assert len(open_.triangles) < len(mesh.triangles)
    solid = closed(soup(open_))
    assert solid.volume == pytest.approx(mesh.volume, rel=1e-3)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    rng = np.random.default_rng(4)
    points = low + rng.random((200, 3)) * (high - low)
    corners = mesh.vertices[mesh.triangles], solid.vertices[solid.triangles]
    assert (inside_of(points, corners[0]) == inside_of(points, corners[1])).all()


def test_what_is_open_or_has_no_inside_is_left_out():
    cut = foreign.without(KINDS["bottle"].mesh(0), lambda at: at[:, 2] > 0.1)
    with pytest.raises(Unusable, match="a cap would add") as caught:
        closed(soup(cut))
    assert caught.value.reason == "not-closed"
    ball = KINDS["ball"].mesh(0).parts[0]
    both = np.concatenate([ball.triangles, ball.triangles[:, ::-1]])
    doubled = Mesh((Part(ball.vertices, both),))
    with pytest.raises(Unusable, match="not solid"):
        closed(doubled)


def test_two_things_are_not_one():
    apple = foreign.kind("apple")
    for name in KINDS:
        one_piece(KINDS[name].mesh(0))
    with pytest.raises(Unusable, match="apart"):
        one_piece(Mesh((*apple.parts, *foreign.moved(apple, 0.2, 0, 0).parts)))


def test_what_holds_water_is_a_vessel():
    vessels = {"mug", "bowl", "basket", "bucket", "crate"}
    for name in KINDS:
        rim = rim_of(KINDS[name].mesh(0))
        if name in vessels:
            assert rim == pytest.approx(KINDS[name].rim, abs=0.12), name
        elif name in ("plate", "spoon", "box", "bottle", "apple", "banana", "lamp", "hammer"):
            assert rim is None, name
    upside_down = Mesh(tuple(
        Part(one.vertices * [1, 1, -1], one.triangles[:, ::-1])
        for one in KINDS["mug"].mesh(0).parts
    ))  # fmt: skip
    assert rim_of(upside_down) is None


def test_what_has_a_level_top():
    for name in ("box", "book", "cube", "jar"):
        assert flat_topped(KINDS[name].mesh(0)) == KINDS[name].flat_top, name
    for name in ("ball", "apple", "cone", "mug", "bowl", "lamp"):
        assert not flat_topped(KINDS[name].mesh(0)), name


def test_sizes_and_names():
    assert size_of("red coffee mug") == SIZES["mug"] and size_of("goblin") is None
    assert size_of("bow_(decorative_ribbons)") is None
    assert all(0.01 < low <= high <= 0.55 for low, high in SIZES.values())
    assert mixed_up("cup", "teacup") and not mixed_up("cup", "book")
    assert _of_file("/a/soup_bowl_02.glb") == "soup bowl" and _of_file("MugRed.obj") == "mug"
    assert _of_file("mug_holder.glb") == "" and _of_file("x1.glb") == ""
    assert list_problem({"size": "12cm"}) and list_problem({"colour": "mauve"})
    assert list_problem({"name": "mug 3"}) and list_problem({"name": "???"})
    assert not list_problem({"size": "0.12", "color": "Gray", "name": "coffee mug"})


def test_classes_have_the_same_numbers_in_all_sets():
    one = {row["class"]: row["id"] for row in classes_table(["teapot", "gift box"]).values()}
    other = {row["class"]: row["id"] for row in classes_table(["gift box", "mug"]).values()}
    assert one["gift box"] == other["gift box"] and one["mug"] == other["mug"]
    assert len(set(one.values())) == len(one)
