"""Spaces as data: what they hold, and what they say of what they do not."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from objaverse_render_addon.environments import Box, Discrete, Picture
from objaverse_render_addon.environments.cart_pole import CartPole
from objaverse_render_addon.environments.push import PushBall
from objaverse_render_addon.environments.spaces import leaves, spaces_from, to_data, to_gymnasium
from objaverse_render_addon.errors import InvalidJob

SPACES = [
    Box(0, 1), Box(-1, 1, (2, 3)), Box([0, -math.inf], [1, math.inf]),
    Box(0, 255, (4, 4, 3), "uint8"),
    Box(-5, 5, (2,), "int64"), Discrete(3), Picture(8, 6), Picture(8, 6, "depth", far=9.0),
    {"a": Box(0, 1, (2,)), "b": Discrete(2), "c": Picture()},
    CartPole.observation_space, PushBall.action_space,
]  # fmt: skip


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_comes_back_from_json(space):
    back = spaces_from(json.loads(json.dumps(to_data(space))))
    assert to_data(back) == to_data(space)
    gymnasium = pytest.importorskip("gymnasium")
    wanted = to_gymnasium(space)
    assert to_gymnasium(back) == wanted
    # What is drawn of Gymnasium's is within ours, and of the dtype that goes over the memory.
    wanted.seed(0)
    drawn = wanted.sample()
    parts = drawn if isinstance(wanted, gymnasium.spaces.Dict) else {"": drawn}
    for name, one in leaves(back).items():
        dtype, shape = one.array()
        value = np.asarray(parts[name])
        assert (value.dtype, value.shape) == (np.dtype(dtype), shape)
        assert one.problem(value) == "" or isinstance(one, Picture)


def test_what_is_outside_is_said():
    for space, value, words in (
        (Box(0, 1, (2,)), [0, 1.1], "0.0 to 1.1"), (Box(0, 1, (2,)), [np.nan, 1], "NaN"),
        (Box([0, 0], [1, 2]), [0, 3], "not within"), (Box([0, 0], [1, 2]), [np.nan, 1], "within"),
        (Box(-math.inf, math.inf, (1,)), [np.nan], "NaN"),
        (Box(0, 255, (1,), "uint8"), [256], "256"), (Box(0, 255, (1,), "uint8"), [-1], "-1"),
        (Box(0, 255, (1,), "uint8"), [1.0], "float64"), (Discrete(3), 3, "0 to 2"),
        (Discrete(3), -1, "0 to 2"), (Discrete(3), 1.0, "whole"),
    ):  # fmt: skip
        assert words in space.problem(np.asarray(value))
    # Few numbers are looked at otherwise than many.
    for count in (1, 32, 33, 1000):
        for space, least, most in (
            (Box(-1, 0.5, (count,)), -1, 0.5), (Box(-2, 7, (count,), "int64"), -2, 7),
            (Box(0, 250, (count,), "uint8"), 0, 250), (Discrete(8), 0, 7),
        ):  # fmt: skip
            value = np.full(count, least, np.float64 if least == -1 else np.int64)
            for at in (0, count - 1):
                value[at] = most
                assert space.problem(value) == ""
                for beyond in (least - 1, most + 1):
                    value[at] = beyond
                    assert space.problem(value), (space, count, beyond)
                value[at] = least
            if least == -1:
                value[count - 1] = np.nan
                assert "NaN" in space.problem(value)
    # As float32 has it: the caller's last digits are no reason.
    assert Box(0, 0.1, (1,)).problem(np.array([0.1])) == ""
    assert Box(0, 0.1, (1,)).problem(np.array([0.1 + 1e-12])) == ""


def test_what_is_no_space_is_refused():
    for made in (
        lambda: Box(1, 0), lambda: Box(math.nan, 1), lambda: Box(0.5, 1, dtype="uint8"),
        lambda: Discrete(0), lambda: Picture(8, 8, "flow"), lambda: to_data("Box"),  # type: ignore
        lambda: Box(0, 1, dtype="bool"),
    ):  # fmt: skip
        with pytest.raises(InvalidJob):
            made()
