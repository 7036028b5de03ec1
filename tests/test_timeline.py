"""Which moments of a file a job's frames show."""

from __future__ import annotations

import pytest

from objaverse_render_addon.errors import InvalidJob
from objaverse_render_addon.timeline import Clip, Timeline, frame_range


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("7", [7]), ("-3", [-3]), ("1:4", [1, 2, 3, 4]), ("-2:3:2", [-2, 0, 2]), ("5:5", [5]),
        ("1:10:4", [1, 5, 9]),
    ],
)  # fmt: skip
def test_frames_are_named_with_both_ends(text: str, frames: list[int]):
    found = frame_range(text)
    assert found is not None
    assert list(found) == frames


@pytest.mark.parametrize("text", ["", "a", "1:", ":3", "4:1", "1:4:0", "1:2:3:4", "1.5", "0:2e6"])
def test_what_names_no_frames_is_refused(text: str):
    with pytest.raises(ValueError, match=r"is neither|is empty|has "):
        frame_range(text)


def test_a_frame_shows_the_moment_of_its_own_number():
    line = Timeline.of([(None, 1, 24)], "all")
    assert line.frames == tuple(range(1, 25))
    assert [line.moment(frame) for frame in (1, 13, 24)] == [1, 13, 24]
    # Beyond its ends the animation goes on as the file has it.
    assert line.moment(100) == 100
    assert Timeline.of([(None, 1, 24)], "20:30:5").frames == (20, 25, 30)


def test_slow_motion_has_more_frames_between_the_same_moments():
    line = Timeline.of([(None, 1, 3)], "all", scale=4)
    assert line.frames == tuple(range(4, 13))
    assert [line.moment(frame) for frame in (4, 5, 12)] == [1, 1.25, 3]
    fast = Timeline.of([(None, 1, 24)], "all", scale=0.5)
    assert [fast.moment(frame) for frame in fast.frames] == list(range(2, 25, 2))


def test_ends_between_frames_are_within():
    line = Timeline.of([(None, 0.5, 10.4)], "all")
    assert (line.frames[0], line.frames[-1]) == (1, 10)
    assert Timeline.of([(None, 1.00001, 9.99999)], "all").frames == tuple(range(1, 11))
    assert Timeline.of([(None, 3.2, 3.3)], "all").frames == (4,)


def test_actions_follow_each_other():
    line = Timeline.of([("Walk", 1, 10), ("Run", 0, 5), ("Wave", 20, 21)], "all")
    assert line.clips == (Clip("Walk", 1, 10, 1), Clip("Run", 11, 16, 0), Clip("Wave", 17, 18, 20))
    assert [line.moment(frame) for frame in (10, 11, 16, 17)] == [10, 0, 5, 20]
    assert [line.clip_of(frame).action for frame in (1, 11, 18)] == ["Walk", "Run", "Wave"]
    with pytest.raises(InvalidJob, match="frames 1:18"):
        Timeline.of([("Walk", 1, 10), ("Run", 0, 5), ("Wave", 20, 21)], "1:19")


def test_motion_ends_with_its_action():
    line = Timeline.of([("Walk", 1, 10), ("Run", 0, 5)], "1:16:3")
    assert line.frames == (1, 4, 7, 10, 13, 16)
    assert [line.after(frame) for frame in line.frames] == [4, 7, 10, None, 16, None]
    assert [line.before(frame) for frame in line.frames] == [None, 1, 4, 7, None, 13]


def test_an_endless_animation_is_refused():
    with pytest.raises(InvalidJob, match="more than 100,000"):
        Timeline.of([(None, 0, 200_000)], "all")
