"""Scenes before they are rendered: drawn by quota, settled, refused where not at rest."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("rapier3d")

from objaverse_render_addon.cameras import Camera
from objaverse_render_addon.compose.drawn import drawn
from objaverse_render_addon.compose.draws import dealt
from objaverse_render_addon.compose.layouts import Start
from objaverse_render_addon.compose.make import make, scene_file
from objaverse_render_addon.compose.objects import KINDS
from objaverse_render_addon.compose.physics.accept import refusal
from objaverse_render_addon.compose.physics.settle import Settled, settle
from objaverse_render_addon.compose.record import Contact, Scene, Support
from objaverse_render_addon.compose.rules import Rules
from objaverse_render_addon.compose.seen import coverage, view_of
from objaverse_render_addon.compose.support import ground_of
from objaverse_render_addon.compose.things import parametric, thing_of
from objaverse_render_addon.errors import InvalidJob

TABLE = ground_of(Support("table", (1.2, 0.8, 0.04), "wood"))
FEW = Rules(seed=5, objects=(3, 4), layouts=("scatter",), supports=("table",), images=2)


def at(name, x=0.0, y=0.0, z=0.002, color="red", scale=1.0):
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return Start(parametric(name, 0, scale, color), pose)


def test_what_stands_rests_where_it_stood():
    starts = [at("box"), at("mug", 0.2), at("can", -0.2)]
    settled = settle(starts, TABLE)
    assert refusal(starts, settled, TABLE) == ""
    for start, pose in zip(starts, settled.poses, strict=True):
        assert np.abs(pose[:2, 3] - start.pose[:2, 3]).max() < 0.001
        # On the table, by the true mesh.
        bottom = (start.thing.mesh.vertices @ pose[:3, :3].T + pose[:3, 3])[:, 2].min()
        assert abs(bottom) < 0.0005
    assert [[(one.id, one.share) for one in held] for held in settled.contacts] == [[(0, 1.0)]] * 3
    assert all(held[0].normal[2] > 0.999 for held in settled.contacts)


@pytest.mark.parametrize("name", ["bowl", "basket", "crate", "bucket"])
def test_a_ball_falls_to_the_ground_of_what_is_open(name):
    vessel = at(name)
    ball = at("ball", z=vessel.thing.height + 0.01, scale=0.55)
    starts = [vessel, ball]
    settled = settle(starts, TABLE)
    assert settled.reason == ""
    middle = (settled.poses[1] @ [0, 0, ball.thing.height / 2, 1])[2]
    assert middle < ball.thing.height / 2 + 0.012
    held = {one.id: one.share for one in settled.contacts[1]}
    assert held.keys() == {1}


@pytest.mark.parametrize("name", list(KINDS))
def test_every_kind_is_taken_alone(name):
    """What both engines do not leave where it lies would never be in a scene."""
    ground = ground_of(Support("table", (1.6, 1.6, 0.04), "wood"))
    for variant in range(len(KINDS[name].shapes)):
        thing = parametric(name, variant, 1.02, KINDS[name].colors[0])
        # Of a hundred that lie alone one is moved by chance.
        said = []
        for yaw in (0.0, 0.9):
            pose = np.eye(4)
            pose[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
            pose[2, 3] = 0.002
            said.append(refusal([Start(thing, pose)], settle([Start(thing, pose)], ground), ground))
            if not said[-1]:
                break
        assert said[-1] == ""


def test_nouns_are_true_of_several():
    """Every kind comes twice, where there is room for all."""
    alone = things = 0
    for index in range(40):
        one = drawn(Rules(seed=8, layouts=("grid", "scatter")), index, 0)
        names = Counter(start.thing.name for start in one.starts)
        alone += sum(count == 1 for count in names.values())
        things += names.total()
        colors = Counter((s.thing.name, s.thing.color.name) for s in one.starts)
        assert len(colors) > 0.6 * names.total()
    assert alone < 0.25 * things


def test_what_is_not_at_rest_is_refused():
    starts = [at("box"), at("can", 0.2)]
    settled = settle(starts, TABLE)
    assert refusal(starts, settled, TABLE) == ""

    def moved(by, which=1):
        poses = settled.poses.copy()
        poses[which, :3, 3] += by
        return dataclasses.replace(settled, poses=poses)

    assert refusal(starts, moved((0, 0, -0.001)), TABLE) == "an object is in the support"
    assert refusal(starts, moved((0, 0, 0.004)), TABLE) == "an object hovers"
    assert refusal(starts, moved((-0.16, 0, 0)), TABLE) == "objects overlap"
    assert refusal(starts, moved((0.6, 0, 0)), TABLE) == "an object left the support"
    # A can on its rim falls over in any engine.
    tilt = settled.poses.copy()
    angle = math.radians(12)
    turn = np.array([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0],
                     [-math.sin(angle), 0, math.cos(angle)]])  # fmt: skip
    tilt[1, :3, :3] = turn
    low = (starts[1].thing.mesh.vertices @ turn.T)[:, 2].min()
    tilt[1, 2, 3] = -low
    assert refusal(starts, dataclasses.replace(settled, poses=tilt), TABLE) != ""


def test_what_rolls_off_a_slope_is_refused_though_it_stands_still():
    """A solver that stops in mid-fall says that all is at rest; the second engine does not."""
    starts = [at("pyramid", scale=1.5), at("ball", scale=0.5)]
    pyramid, ball = (start.thing.mesh for start in starts)
    slope = pyramid.vertices[pyramid.triangles]
    normals = np.cross(slope[:, 1] - slope[:, 0], slope[:, 2] - slope[:, 0])
    side = int(np.argmax(np.where(normals[:, 2] > 1e-9, normals[:, 0], -np.inf)))
    normal = normals[side] / np.linalg.norm(normals[side])
    radius = ball.size[2] / 2
    poses = np.array([start.pose for start in starts])
    poses[0, 2, 3] = 0.0
    touch = slope[side].mean(axis=0)
    poses[1, :3, 3] = touch + radius * normal - (0, 0, ball.size[2] / 2)
    normal_said = tuple(normal.tolist())
    table = Contact(0, (0.0, 0.0, 1.0), 1.0)
    stopped = Settled(
        poses, ((table,), (Contact(1, normal_said, 1.0),)), {(1, 2): touch[None]}
    )
    assert refusal(starts, stopped, TABLE, second=False) == ""
    assert refusal(starts, stopped, TABLE) == "the second engine moves it"


def test_what_falls_only_loses_energy():
    """A wrong origin, inertia or scale throws things about."""
    starts = [at("box"), at("can", 0.2, z=0.05), at("mug", -0.2, z=0.1, scale=1.1)]
    settled = settle(starts, TABLE)
    assert settled.reason == "" and len(settled.poses) == 3
    for start, pose in zip(starts, settled.poses, strict=True):
        assert pose[2, 3] <= start.pose[2, 3] + 1e-4
        assert np.linalg.norm(pose[:2, 3] - start.pose[:2, 3]) < 0.02


def test_no_two_scenes_are_the_same():
    def said(rules, index):
        one = drawn(rules, index, 0)
        return one.layout, one.support, tuple(
            (start.thing.name, start.thing.scale, start.pose.tobytes()) for start in one.starts
        )

    rules = Rules(seed=3)
    found = {said(rules, index) for index in range(60)}
    assert len(found) == 60
    assert said(dataclasses.replace(rules, seed=4), 0) not in found


def test_a_scene_is_the_same_whoever_makes_it(tmp_path):
    first = make(FEW, 3).to_json()
    make(FEW, 1)
    assert make(FEW, 3).to_json() == first
    path = scene_file(FEW, 3, tmp_path)
    assert path.read_text() == first
    read = Scene.read(path)
    assert read.to_json() == first
    assert make(dataclasses.replace(FEW, seed=6), 3).to_json() != first
    assert 1 <= len(read.objects) <= 4
    assert [part.id for part in read.stage] == [len(read.objects) + n for n in (1, 2, 3)]


def test_quotas_hold_whatever_part_is_made():
    whole = dealt(1, "kinds", "abcdefg", 0, 700)
    assert set(Counter(whole).values()) == {100}
    assert dealt(1, "kinds", "abcdefg", 333, 50) == whole[333:383]
    assert whole[:7] != whole[7:14]


def test_rules_that_cannot_be_are_refused():
    with pytest.raises(InvalidJob, match="layouts are of"):
        Rules(layouts=("pile",))
    with pytest.raises(InvalidJob, match="1 to 40 objects"):
        Rules(objects=(5, 3))
    with pytest.raises(InvalidJob, match="there is no sead"):
        Rules.from_dict({"sead": 1})
    assert Rules.from_dict(FEW.to_dict()) == FEW


def camera(size=64):
    pose = np.diag([1.0, 1.0, 1.0, 1.0])
    pose[2, 3] = 2.0
    return Camera(size, size, np.array([[64.0, 0, size / 2], [0, 64.0, size / 2], [0, 0, 1]]), pose)


def test_coverage_is_of_pixels_whose_centre_is_covered():
    # A square of 20 pixels, its corners on pixels' corners.
    points = np.array([[x, y, 0.0] for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    points[:, :2] *= 10 / 64 * 2
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    mask, count = coverage(camera(), points, triangles)
    assert count == 400
    assert mask[22:42, 22:42].all()
    assert mask.sum() == 400
    # Half of it beyond the left border.
    mask, count = coverage(camera(), points - (1.0, 0, 0), triangles)
    assert (count, int(mask.sum())) == (400, 200)


def test_a_view_counts_what_is_hidden():
    scene = make(FEW, 0)
    meshes = [thing_of(made) for made in scene.recipe["objects"]]
    obj = scene.objects[0]
    pose = np.array(scene.recipe["cameras"][0]["pose"])
    size = 96
    focal = size / 2 / math.tan(math.radians(scene.recipe["cameras"][0]["fov_deg"]) / 2)
    intrinsics = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    seen = Camera(size, size, intrinsics, pose)
    placed = meshes[0].vertices @ np.array(obj.pose)[:3, :3].T + np.array(obj.pose)[:3, 3]
    mask, _ = coverage(seen, placed, meshes[0].triangles)
    ids = np.where(mask, obj.id, 0)
    ids[: int(np.flatnonzero(mask.any(axis=1)).mean())] = 0
    rgb = np.zeros((size, size, 4), np.uint8)
    rgb[..., 0] = 255
    view = view_of(0, seen, scene, meshes, ids, rgb, None)
    first = view.objects[0]
    assert first.amodal_pixels == mask.sum()
    assert first.visible_pixels == (ids == obj.id).sum()
    assert 0 < first.visible_fraction < 1
    assert first.inside_frame_fraction == 1
    assert first.shaded_colors["red"] == 1
    assert first.clipped_fraction == 1
    assert view.objects[1].visible_pixels == 0
    assert view.objects[1].bbox is None
    whole = dataclasses.replace(scene, views=(view,))
    assert Scene.from_dict(whole.to_dict()).views == (view,)
