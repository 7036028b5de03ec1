"""Where composed scenes are seen from, in which light, and what is said where that is unfit."""

import dataclasses
import json
import math

import numpy as np
import pytest

from objaverse_render_addon.cameras import Camera
from objaverse_render_addon.compose.draws import Draws
from objaverse_render_addon.compose.light import light_of
from objaverse_render_addon.compose.record import (
    Color,
    Scene,
    SceneObject,
    SceneView,
    Support,
    ViewObject,
)
from objaverse_render_addon.compose.rules import Rules
from objaverse_render_addon.compose.seen import CLIPPED, checks_of
from objaverse_render_addon.compose.skies import (
    PARTS,
    Environment,
    environments_of,
    image_of,
    part_of,
    place_beside,
)
from objaverse_render_addon.compose.viewing import ROOM, cameras_of, nearest_to, poses_of
from objaverse_render_addon.errors import CameraFileError, InvalidJob

SIDE = 0.1
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (0, 2)]) * SIDE / 2
HASHES = [f"{number:064x}" for number in range(40)]


def looking_at(place, target=(0.0, 0.0, 0.0)):
    back = np.array(place, dtype=float) - target
    back /= np.linalg.norm(back)
    right = np.cross((0.0, 0.0, 1.0), back)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([right, np.cross(back, right), back])
    pose[:3, 3] = place
    return pose


def transforms(path, *poses, **lens):
    frames = [{"transform_matrix": pose.tolist()} for pose in poses]
    path.write_text(json.dumps({"camera_angle_x": 0.7, **lens, "frames": frames}))
    return str(path)


# --- Cameras --------------------------------------------------------------------------------------


def test_poses_of_a_file_are_drawn_where_they_see_something(tmp_path):
    good = [looking_at((0.9 * math.cos(a), 0.9 * math.sin(a), 0.7)) for a in range(6)]
    inside = looking_at((0.0, 0.0, SIDE / 2), (1.0, 0.0, 0.0))
    near = looking_at((0.0, -SIDE / 2 - 0.03, SIDE / 2), (1.0, -0.1, 0.0))
    away = looking_at((1.0, 0.0, 0.5), (2.0, 0.0, 0.5))
    path = transforms(tmp_path / "t.json", *good, inside, near, away, w=64, h=64)
    poses = poses_of(path, (64, 64))
    assert len(poses) == 9
    rules = Rules(cameras="file", poses=poses, images=4)
    drawn = [cameras_of(rules, [CORNERS], "table", Draws(0, f"s{n}", "c")) for n in range(20)]
    kept = {json.dumps(pose.tolist()) for pose in good}
    taken = {json.dumps(camera["pose"]) for cameras in drawn for camera in cameras}
    assert taken == kept
    # None twice in a scene, and another choice in each.
    assert all(len({json.dumps(one["pose"]) for one in cameras}) == 4 for cameras in drawn)
    assert len({json.dumps(cameras) for cameras in drawn}) > 15
    more = dataclasses.replace(rules, images=7)
    assert cameras_of(more, [CORNERS], "table", Draws(0, "s", "c")) == []
    # Rules and their poses are one file.
    assert Rules.from_dict(json.loads(json.dumps(rules.to_dict()))) == rules


def test_a_files_lens_is_kept(tmp_path):
    path = transforms(
        tmp_path / "t.json", looking_at((1, 0, 1)), fl_x=90.0, fl_y=90.0, cx=40.0, cy=20.0,
        w=96, h=64,
    )  # fmt: skip
    (pose,) = poses_of(path, (96, 64))
    assert pose["fov_deg"] == pytest.approx(math.degrees(2 * math.atan(48 / 90)))
    assert pose["shift"] == pytest.approx([-8 / 96, -12 / 96])


@pytest.mark.parametrize(("pose", "lens", "said"), [
    (looking_at((0, -4, 1)), {}, "not in the room"),
    (looking_at((0, -1, -0.8)), {}, "not in the room"),
    (looking_at((0, -1, 1)), {"fl_x": 90, "fl_y": 80}, "square pixels"),
    (looking_at((0, -1, 1)), {"camera_model": "OPENCV_FISHEYE", "fl_x": 30}, "perspective"),
])  # fmt: skip
def test_cameras_that_cannot_be_are_refused_by_number(tmp_path, pose, lens, said):
    path = transforms(tmp_path / "t.json", looking_at((1, 0, 1)), pose, **lens)
    with pytest.raises(CameraFileError, match=said):
        poses_of(path, (64, 64))


def test_rules_of_a_file_say_what_is_missing():
    pose = {"pose": np.eye(4).tolist(), "fov_deg": 40.0, "shift": [0.0, 0.0]}
    with pytest.raises(InvalidJob, match="0 poses"):
        Rules(cameras="file")
    with pytest.raises(InvalidJob, match="has 1 cameras, and a scene is to have 2"):
        Rules(cameras="file", poses=(pose,), images=2)


def test_drawn_cameras_stay_in_the_room_and_before_a_shelf():
    wide = CORNERS * (8, 8, 1)
    rules = Rules(cameras="ring", images=30, fov=(20.0, 25.0), elevation=(20.0, 30.0))
    cameras = cameras_of(rules, [wide], "shelf", Draws(0, "s", "c"))
    poses = [np.array(one["pose"]) for one in cameras]
    assert len(poses) == 30
    for pose in poses:
        assert np.abs(pose[:2, 3]).max() < ROOM[0]
        assert pose[1, 3] < 0
        assert nearest_to(pose, [wide]) > 0.15
    # What would have to stand outside is no scene.
    narrow = dataclasses.replace(rules, fov=(10.0, 10.0))
    assert cameras_of(narrow, [wide * 1.5], "table", Draws(0, "s", "c")) == []


# --- Images of light ------------------------------------------------------------------------------


def test_images_are_known_by_content_and_no_two_splits_share_one(tmp_path):
    for number in range(60):
        (tmp_path / f"sky{number:02d}.hdr").write_bytes(b"#?RADIANCE" + bytes([number]))
    (tmp_path / "again.exr").write_bytes(b"#?RADIANCE" + bytes([7]))
    (tmp_path / "notes.txt").write_text("no image")
    found = environments_of([tmp_path, tmp_path / "sky00.hdr"])
    assert len(found) == 60
    sets = {part: Rules(environments=found, split=part).skies for part in PARTS}
    hashes = [{one.sha256 for one in skies} for skies in sets.values()]
    assert all(hashes) and sum(map(len, hashes)) == 60
    assert set.union(*hashes) == {one.sha256 for one in found}
    assert len(hashes[0]) > 36
    # A set is the same wherever its images lie.
    moved = tuple(dataclasses.replace(one, path="/elsewhere/x.hdr") for one in found)
    assert Rules(environments=moved) == Rules(environments=found)
    read = Rules.from_dict(json.loads(json.dumps(Rules(environments=found).to_dict())))
    assert read.environments == found and read.environments[0].path == found[0].path
    with pytest.raises(InvalidJob, match="none of the 1 environments is of the split"):
        only = next(one for one in found if part_of(one.sha256) == "train")
        Rules(environments=(only,), split="test")
    for wrong in ("notes.txt", "missing.hdr"):
        with pytest.raises(InvalidJob, match="no image for light"):
            environments_of([tmp_path / wrong])


def test_an_image_is_the_one_that_the_set_was_begun_with(tmp_path):
    image = tmp_path / "sky.hdr"
    image.write_bytes(b"light")
    (environment,) = environments_of([image])
    sky = light_of("table", Draws(0, "s", "light"), environment)["environment"]
    assert sky["sha256"] == environment.sha256 and sky["split"] == part_of(environment.sha256)
    assert image_of(sky, (environment,)) == image
    scene = tmp_path / "scene-000000.scene"
    assert place_beside(scene, sky) == tmp_path / f"{environment.sha256}.hdr"
    image.write_bytes(b"other")
    with pytest.raises(InvalidJob, match="not the image any more"):
        image_of(sky, (environment,))
    image.unlink()
    with pytest.raises(InvalidJob, match="cannot be read"):
        image_of(sky, (environment,))


def test_light_adds_up_to_a_bright_white():
    """What a flat white surface sends back is the same by an even sky and by an image."""
    image = Environment(HASHES[0], "sky.hdr", "/sky.hdr")
    for environment in (None, image):
        for number in range(50):
            light = light_of("table", Draws(3, f"s{number}", "light"), environment)
            lamps = sum(
                lamp["power"] * lamp["position"][2] / np.linalg.norm(lamp["position"]) ** 3
                / math.pi**2 for lamp in light["lamps"]
            )  # fmt: skip
            seen = 0.72 if environment is None else 1.0
            assert lamps + seen * light["sky"] == pytest.approx(light["white"])
            assert 1.0 <= light["white"] <= 1.2
            assert min(lamp["power"] for lamp in light["lamps"]) >= 0


# --- What is unfit --------------------------------------------------------------------------------


def scene_of_one():
    pose = tuple(tuple(row) for row in np.eye(4).tolist())
    hull = tuple(tuple(point) for point in CORNERS.tolist())
    obj = SceneObject(
        1, "cube", "cube", "parametric:cube", "CC0-1.0", (SIDE,) * 3, "parametric",
        Color("red", (1.0, 0.0, 0.0)), (), pose, hull, False, SIDE**3, 0.0,
    )  # fmt: skip
    return Scene(0, 0, "scatter", Support("table", (1.0, 1.0, 0.04), "wood"), (obj,))


def verdicts(value, clipped=0.0, place=(0.0, -1.0, 0.5), pixels=400):
    camera = Camera(32, 32, np.array([[32.0, 0, 16], [0, 32, 16], [0, 0, 1]]), looking_at(place))
    ids = np.full((32, 32), 2)
    ids[6:26, 6:26] = 1
    rgb = np.full((32, 32, 4), value, np.uint8)
    seen = ViewObject(1, pixels, pixels, 1.0, 1.0, (6, 6, 26, 26), {}, {}, clipped)
    view = SceneView(0, (seen,))
    return {one.name: one.status for one in checks_of(view, camera, scene_of_one(), ids, rgb)}


def test_light_and_place_that_are_unfit_are_doubts():
    names = ("objects_not_burnt_out", "objects_not_dark", "camera_not_in_object")
    assert verdicts(120) == dict.fromkeys(names, "ok")
    assert verdicts(120, clipped=CLIPPED + 0.01)[names[0]] == "doubt"
    # A glint on what is hardly seen says nothing of the light.
    assert verdicts(120, clipped=1.0, pixels=9)[names[0]] == "ok"
    assert verdicts(3)[names[1]] == "doubt"
    assert verdicts(120, place=(0.001, -0.01, 0.05))[names[2]] == "doubt"
    assert verdicts(120, place=(0.0, -SIDE / 2 - 0.03, 0.05))[names[2]] == "doubt"
