"""Time of a Blender scene, and what is called as it goes on: in a window and without one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import bpy

from ..errors import InvalidJob

__all__ = ["SIGNALS", "Playback", "Signal"]

Listener = Callable[["Playback"], Any]

SIGNALS: Final = (
    "before_play", "before_episode", "before_frame", "after_frame", "after_episode", "after_play",
)  # fmt: skip


class Signal:
    """Functions that are called when something happens, in the order in which they came."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def add(self, listener: Listener) -> Listener:
        """Call a function from now on, with the :class:`Playback`; good as a decorator."""
        self._listeners.append(listener)
        return listener

    def remove(self, listener: Listener) -> None:
        """Call it no more; no error where it is not called."""
        with contextlib.suppress(ValueError):
            self._listeners.remove(listener)

    def __call__(self, playback: Playback) -> None:
        """Call them all."""
        for listener in list(self._listeners):
            listener(playback)


class Playback:
    """Plays a range of frames, again and again, and calls who listens.

    For each play ``before_play``; for each episode ``before_episode``, at its first frame; for
    each frame ``before_frame`` (the scene is still in the frame before; at an episode's first
    frame, in whichever it was), then animation and physics are brought to it, then ``after_frame``;
    at the last frame ``after_episode``; in the end ``after_play``. What a listener raises ends the
    play, after ``after_play``, and is raised by :meth:`play`.

    Attributes:
        scene: Blender's.
        episode: Number of the episode, from 0.
        playing: Whether it plays.
        before_play, before_episode, before_frame, after_frame, after_episode, after_play:
            See :class:`Signal`.
    """

    before_play: Signal
    before_episode: Signal
    before_frame: Signal
    after_frame: Signal
    after_episode: Signal
    after_play: Signal

    def __init__(self, scene: Any) -> None:
        self.scene = scene
        self.episode = 0
        self.playing = False
        self._range = scene.frame_start, scene.frame_end
        self._stopped = self._rewound = False
        self._timer: Callable[[], float | None] | None = None
        for name in SIGNALS:
            setattr(self, name, Signal())

    @property
    def frame(self) -> int:
        """Where the scene stands."""
        return int(self.scene.frame_current)

    def advance(self, frames: int = 1) -> None:
        """Go on by some frames, one after the other; physics needs them all."""
        for _ in range(frames):
            self._show(self.frame + 1)

    def rewind(self, frame: int | None = None) -> None:
        """Go back to the first frame, or another; physics begins anew at its first.

        Within a play, a listener that calls this begins the next episode after the frame at hand.
        """
        if self.playing:
            self._rewound = True
            return
        self._begin(self._range[0] if frame is None else frame)

    def _begin(self, frame: int) -> None:
        world = self.scene.rigidbody_world
        if world is not None:
            # What it remembers of the frames to come is of the last run.
            world.point_cache.frame_start = world.point_cache.frame_start
            with bpy.context.temp_override(
                scene=self.scene, point_cache=world.point_cache
            ):
                bpy.ops.ptcache.free_bake()
            frame = max(frame, int(world.point_cache.frame_start))
        self.scene.frame_set(frame)

    def _show(self, frame: int) -> None:
        self.before_frame(self)
        self.scene.frame_set(frame)
        self.after_frame(self)

    # --- Plays -----------------------------------------------------------------------------------

    def play(self, first: int | None = None, last: int | None = None, *, episodes: int = 1) -> int:
        """Play off-line, as fast as it goes; the number of episodes that were whole.

        Args:
            first: Frame; the scene's first otherwise.
            last: Frame, that is played too.
            episodes: How often; 0 until :meth:`stop`.
        """
        self._start(first, last)
        try:
            while self._episode_is_to_come(episodes):
                self._play_episode()
        finally:
            self._end()
        return self.episode

    def _start(self, first: int | None, last: int | None) -> None:
        if self.playing:
            raise InvalidJob("It plays already.", hint="Stop it first.")
        first = self.scene.frame_start if first is None else first
        last = self.scene.frame_end if last is None else last
        if last < first:
            raise InvalidJob(f"From frame {first} to {last} there is nothing to play.")
        self._range = int(first), int(last)
        self.episode, self.playing, self._stopped, self._rewound = 0, True, False, False
        try:
            self.before_play(self)
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        self.playing = False
        self.after_play(self)

    def _episode_is_to_come(self, episodes: int) -> bool:
        return not self._stopped and (not episodes or self.episode < episodes)

    def _play_episode(self) -> None:
        frames = self._frames()
        while next(frames, None) is not None:
            pass

    def _frames(self) -> Any:
        """One episode, a frame at a time."""
        first, last = self._range
        self.before_episode(self)
        for frame in range(first, last + 1):
            self.before_frame(self)
            if frame == first:
                self._begin(first)
            else:
                self.scene.frame_set(frame)
            self.after_frame(self)
            if self._stopped:
                return
            if self._rewound:
                break
            yield frame
        self._rewound = False
        self.after_episode(self)
        self.episode += 1

    def play_in_window(
        self,
        first: int | None = None,
        last: int | None = None,
        *,
        episodes: int = 1,
        fps: float = 0.0,
    ) -> None:
        """Play beside a window's user, who sees each frame; returns at once.

        Args:
            episodes: How often; 0 until :meth:`stop`.
            fps: Frames a second at most; the scene's otherwise.

        What a listener raises ends the play; Blender prints it.
        """
        pause = self.scene.render.fps_base / self.scene.render.fps if not fps else 1 / fps
        self._start(first, last)
        frames = self._frames()

        def tick() -> float | None:
            nonlocal frames
            try:
                if next(frames, None) is None:
                    if not self._episode_is_to_come(episodes):
                        self._finish_window()
                        return None
                    frames = self._frames()
            except BaseException:
                self._finish_window()
                raise
            return float(pause)

        self._timer = tick
        bpy.app.timers.register(tick)

    def _finish_window(self) -> None:
        self._timer = None
        self._end()

    def stop(self) -> None:
        """End the play after the frame at hand; in a window, soon."""
        self._stopped = True
