"""Time of a scene: what is called when, and what a ray from the camera sees."""

from __future__ import annotations

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from objaverse_render_addon.blender.playback import SIGNALS, Playback  # noqa: E402
from objaverse_render_addon.blender.playing import PlayStage  # noqa: E402
from objaverse_render_addon.errors import InvalidJob  # noqa: E402
from objaverse_render_addon.live import look_at  # noqa: E402


@pytest.fixture
def stage(tmp_path):
    made = PlayStage(tmp_path, 24.0)
    made.scene.frame_start, made.scene.frame_end = 3, 5
    return made


def listened(playback):
    heard = []
    for name in SIGNALS:
        getattr(playback, name).add(lambda who, name=name: heard.append((name, who.frame)))
    return heard


@pytest.mark.core
def test_signals_come_in_their_order(stage):
    playback = stage.playback
    heard = listened(playback)
    assert playback.play(episodes=2) == 2
    episode = [
        ("before_episode", None), ("before_frame", None), ("after_frame", 3),
        ("before_frame", 3), ("after_frame", 4), ("before_frame", 4), ("after_frame", 5),
        ("after_episode", 5),
    ]  # fmt: skip
    assert [name for name, _ in heard] == [
        "before_play", *[name for name, _ in episode * 2], "after_play",
    ]  # fmt: skip
    for (_, frame), (_, wanted) in zip(heard[1:], episode * 2, strict=False):
        assert wanted in (None, frame)
    assert not playback.playing and playback.frame == 5
    heard.clear()
    playback.play(1, 1)
    assert heard.count(("after_frame", 1)) == 1 and ("after_episode", 1) in heard


def test_a_listener_can_stop_rewind_and_fail(stage):
    playback = stage.playback
    heard = listened(playback)

    def stopping(who):
        if who.episode == 1 and who.frame == 4:
            who.stop()

    playback.after_frame.add(stopping)
    assert playback.play(episodes=0) == 1
    assert heard[-2:] == [("after_frame", 4), ("after_play", 4)]
    playback.after_frame.remove(stopping)
    playback.after_frame.remove(stopping)

    heard.clear()
    rewinding = playback.after_frame.add(
        lambda who: who.rewind() if who.episode == 0 and who.frame == 4 else None
    )
    assert playback.play(episodes=2) == 2
    frames = [frame for name, frame in heard if name == "after_frame"]
    assert frames == [3, 4, 3, 4, 5]
    playback.after_frame.remove(rewinding)

    @playback.before_frame.add
    def failing(_who):
        raise ZeroDivisionError

    heard.clear()
    with pytest.raises(ZeroDivisionError):
        playback.play()
    assert heard[-1][0] == "after_play" and not playback.playing
    playback.before_frame.remove(failing)
    with pytest.raises(InvalidJob):
        playback.play(5, 4)

    @playback.before_play.add
    def twice(who):
        who.play()

    with pytest.raises(InvalidJob, match="already"):
        playback.play()


def test_animation_is_at_the_frame_that_is_told(stage):
    box = stage.box("box", (1, 1, 1))
    for frame in (3, 5):
        box.location.x = 10.0 * frame
        box.keyframe_insert("location", frame=frame)
    seen = {}
    stage.playback.after_frame.add(
        lambda who: seen.setdefault(who.frame, stage.pose_of(box)[0, 3])
    )
    stage.playback.play()
    assert seen[3] == 30 and seen[5] == 50 and 30 < seen[4] < 50
    stage.playback.rewind()
    assert stage.playback.frame == 3 and stage.pose_of(box)[0, 3] == 30


def test_physics_begin_anew_with_each_episode(stage):
    ball = stage.ball("ball", 0.1, at=(0, 0, 5))
    stage.rigid(ball, shape="SPHERE")
    stage.scene.frame_start, stage.scene.frame_end = 1, 12
    heights: dict[int, list[float]] = {}

    def note(who):
        heights.setdefault(who.episode, []).append(stage.pose_of(ball)[2, 3])

    stage.playback.after_frame.add(note)
    stage.playback.play(episodes=2)
    assert heights[0][0] == 5 and heights[0][-1] < 4.5
    np.testing.assert_allclose(heights[0], heights[1], atol=1e-6)
    # What was moved falls from where it is now.
    stage.place(ball, (0, 0, 9))
    stage.playback.play()
    assert heights[0][12] == 9
    np.testing.assert_allclose(np.array(heights[0][12:]) - 4, heights[1], atol=1e-4)


def test_beside_a_window_it_plays_by_a_timer(stage):
    # Without a window Blender calls no timers: it is called here, as Blender does.
    playback = Playback(stage.scene)
    heard = listened(playback)
    playback.play_in_window(episodes=2, fps=20)
    tick = playback._timer
    assert tick is not None and bpy.app.timers.is_registered(tick)
    bpy.app.timers.unregister(tick)
    pauses = 0
    while (pause := tick()) is not None:
        assert pause == 0.05
        pauses += 1
    offline = Playback(stage.scene)
    wanted = listened(offline)
    offline.play(episodes=2)
    assert [name for name, _ in heard] == [name for name, _ in wanted]
    assert not playback.playing and playback.episode == 2 and pauses == 7


def test_what_rays_see(stage):
    wall = stage.box("wall", (1, 1, 1))
    camera = look_at((0, 0, 10), size=(100, 100), fov=40)
    points = [
        (0, 0, 0.5),  # on top of the box
        (0, 0, -0.5),  # below it
        (0, 0, -3),  # behind it
        (2, 0, 0),  # beside it
        (0, 0, 3),  # before it
        (9, 0, 0),  # out of the picture
        (0, 0, 12),  # behind the camera
    ]
    wanted = [True, False, False, True, True, False, False]
    assert stage.visible(points, camera).tolist() == wanted
    # The box hides what is below it, by its shadow's edge: half a unit at 9.5, as seen from 10.
    edge = 0.5 * 10.5 / 9.5
    below = [(edge - 0.01, 0, -0.5), (edge + 0.01, 0, -0.5)]
    assert stage.visible(below, camera).tolist() == [False, True]
    assert stage.visible([(0, 0, 0.5)], camera, of=wall).tolist() == [True]
    stage.box("lid", (0.1, 0.1, 0.1), at=(0, 0, 0.56))
    assert stage.visible([(0, 0, 0.5)], camera, of=wall).tolist() == [False]
