"""Where in a user's stage things can stand, and what cannot be one."""

import math

import numpy as np
import pytest

from objaverse_render_addon.compose.clearing import blocked
from objaverse_render_addon.compose.stages import UserStage, found_in, mistaken_for, parts_of
from objaverse_render_addon.errors import InvalidGeometry
from objaverse_render_addon.shape import Mesh

FACES = np.array([
    [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
    [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
])  # fmt: skip


def block(low, high, turn=0.0):
    """(12, 3, 3) of a box, turned about Z by degrees."""
    corners = np.array([[(low, high)[bit][axis] for axis, bit in enumerate(bits)]
                        for bits in np.ndindex(2, 2, 2)], float)  # fmt: skip
    angle = math.radians(turn)
    spin = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners[:, :2] = corners[:, :2] @ spin.T
    return corners[FACES]


def stage(**things):
    """A mesh of named things, (M, 3, 3) each, and their names by number."""
    names = dict(enumerate(things, 1))
    corners = np.concatenate(list(things.values()))
    part = np.concatenate([np.full(len(some), number) for number, some in
                           enumerate(things.values(), 1)])  # fmt: skip
    none = np.zeros(len(part), bool)
    return Mesh(
        corners.reshape(-1, 3).astype(np.float32), np.arange(3 * len(part)).reshape(-1, 3), part,
        np.zeros(len(part), np.int32), none, none, names, ("",),
    ), names  # fmt: skip


FLOOR = block((-3, -3, -0.1), (3, 3, 0))
DESK = block((-0.8, -0.4, 0.7), (0.8, 0.4, 0.74), 30)


def test_a_table_comes_before_the_floor_and_its_pose_is_exact():
    found = found_in(*stage(Floor=FLOOR, Desk=DESK))
    assert (found["surface"], found["found_by"], found["around"]) == ("Desk", "largest", ("Floor",))
    assert found["size_m"] == pytest.approx((1.6, 0.8), abs=0.03)
    pose = np.array(found["pose"])
    # The desk's own corner, its top at height 0, its longer side along X.
    corner = DESK.reshape(-1, 3)
    there = corner[corner[:, 2] > 0.73] @ pose[:3, :3].T + pose[:3, 3]
    assert np.abs(np.abs(there[:, :2]) - [0.8, 0.4]).max() < 0.006
    assert np.abs(there[:, 2]).max() < 1e-6
    assert found["floor_m"] == pytest.approx(-0.84, abs=1e-6)


def test_what_stands_on_it_is_kept_away_from():
    pot = block((0.3, -0.2, 0.74), (0.5, 0.2, 1.0), 30)
    found = found_in(*stage(Floor=FLOOR, Desk=DESK, Pot=pot))
    wide, deep = found["size_m"]
    assert wide == pytest.approx(1.1, abs=0.04) and deep == pytest.approx(0.8, abs=0.03)
    pose = np.array(found["pose"])
    there = pot.reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3]
    outside = np.maximum(np.abs(there[:, :2]) - [wide / 2, deep / 2], 0).max(axis=1)
    assert outside.min() > 0.0


def test_a_lamp_above_what_is_needed_does_not_disturb_and_a_shelf_does():
    high = block((-0.5, -0.3, 1.3), (0.5, 0.3, 1.4), 30)
    low = block((-0.8, -0.4, 0.95), (0.8, 0.4, 1.0), 30)
    assert found_in(*stage(Floor=FLOOR, Desk=DESK, Lamp=high))["size_m"][0] > 1.5
    under = found_in(*stage(Floor=FLOOR, Desk=DESK, Board=low))
    assert under["surface"] == "Board"


def test_the_user_says_what_is_stood_on():
    mesh, names = stage(Floor=FLOOR, Desk=DESK)
    assert found_in(mesh, names, name="Floor")["surface"] == "Floor"
    marked = found_in(mesh, names, marked=1)
    assert (marked["surface"], marked["found_by"]) == ("Floor", "property")
    with pytest.raises(InvalidGeometry, match=r"no objects called 'Tabel'.*Desk, Floor"):
        found_in(mesh, names, name="Tabel")


def test_what_cannot_be_stood_on_is_refused():
    slope = np.array([[[-1, -1, 0.0], [1, -1, 0.3], [1, 1, 0.3]],
                      [[-1, -1, 0.0], [1, 1, 0.3], [-1, 1, 0.0]]])  # fmt: skip
    with pytest.raises(InvalidGeometry, match="nothing level"):
        found_in(*stage(Slope=slope))
    small = block((-0.1, -0.1, 0), (0.1, 0.1, 0.1))
    with pytest.raises(InvalidGeometry, match=r"0\.3 × 0\.25 m"):
        found_in(*stage(Stool=small))
    walls = [block((-1.1, -1.05, 0), (1.1, -0.95, 3)), block((-1.1, 0.95, 0), (1.1, 1.05, 3)),
              block((-1.1, -1, 1.3), (1.1, 1, 1.4))]  # fmt: skip
    ends = [block((-1.1, -1, 0), (-1, 1, 3)), block((1, -1, 0), (1.1, 1, 3))]
    with pytest.raises(InvalidGeometry, match="no free look"):
        found_in(*stage(Desk=DESK, Room=np.concatenate([*walls, *ends])), name="Desk")


def test_a_wall_behind_turns_the_front_away_from_it():
    wall = block((-1.5, -0.6, 0), (1.5, -0.5, 2.5))
    flat = block((-0.8, -0.4, 0.7), (0.8, 0.4, 0.74))
    pose = np.array(found_in(*stage(Desk=flat, Wall=wall))["pose"])
    there = wall.reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3]
    # The front is -Y.
    assert there[:, 1].min() > 0.4


def test_looks_are_blocked_where_something_is_between():
    wall = block((0.9, -1, -1), (1, 1, 1))
    starts = np.zeros((3, 3))
    ends = np.array([[2, 0, 0.0], [0.5, 0, 0], [2, 2.9, 0]])
    assert blocked(starts, ends, wall).tolist() == [True, False, False]


def test_things_of_a_stage_that_could_be_meant_are_known():
    row = {"asset": "a", "sha256": "0", "file_sha256": "0", "source": "a.blend", "license": "by",
           "surface": "Desk", "part": 1, "found_by": "largest", "pose": np.eye(4).tolist(),
           "size_m": [1, 1], "floor_m": -1, "reach_m": 2,
           "around": ["Coffee_mugs.002", "TableLamp", "Bookshelf", "Wall"]}  # fmt: skip
    one = UserStage.of(row)
    assert UserStage.of(one.to_dict()) == one
    alike = mistaken_for(one, ("mug", "cup", "lamp", "book", "ball"))
    assert alike == {"mug": "Coffee_mugs.002", "cup": "Coffee_mugs.002", "lamp": "TableLamp"}
    assert parts_of(one) == ("surface", "surroundings", "floor", "walls")
    with pytest.raises(ValueError, match="no name of a folder"):
        UserStage.of({**row, "asset": "../x"})
