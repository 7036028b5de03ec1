"""One environment, as Gymnasium has it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Final

import gymnasium
import numpy as np
import numpy.typing as npt

from ...cameras import Camera
from ...environments.orders import ACT, BEGIN, DRAW
from ...environments.spaces import to_gymnasium
from ...errors import InvalidJob, MissingDependency
from .served import crew_of

__all__ = ["RENDER_MODES", "Environment"]

RENDER_MODES: Final = ("rgb_array", "depth", "human")


class Environment(gymnasium.Env[Any, Any]):
    """One environment in a Blender of its own; ``gymnasium.make`` makes it.

    Where its Blender dies, the step gives what was seen last, a reward of 0, ``truncated``, and
    ``info["restarted"]`` with ``info["error"]``; the next :meth:`reset` starts another.

    ``info`` has what the scene says, and ``step``, the number of steps of the episode; that of a
    reset has its ``seed``. Every picture is checked to be of the state that was asked for
    (:attr:`state`), not of one before.

    Args:
        scene: A class of ``EnvironmentScene``, or ``module:Class``.
        render_mode: ``rgb_array``, (H, W, 3) uint8 sRGB; ``depth``, (H, W) float32, scene units
            along the viewing axis, 0 where there is nothing; ``human``, a window (pygame).
        options: The class is made with, by name; plain data.
        real_time: Whether time goes on between two steps: a step then makes up for what went by
            with the action of before, at most a second of it, and says the number of ``ticks``.
        picture: Width and height of what :meth:`render` gives; the scene's own otherwise.
        max_episode_steps: 0 for no limit; the scene's own where it is ``None``.
        crew: Of :class:`.crew.Crew`: ``blender``, ``sandbox``, ``folders``, ``timeout`` …; or
            ``address`` and ``key`` of a server, whose processes are used instead
            (:class:`.served.ServedCrew`).

    Raises:
        RenderError: By class: the scene cannot be found or built, or there is no Blender.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (Gymnasium's)
        "render_modes": list(RENDER_MODES), "render_fps": 30,
    }  # fmt: skip

    def __init__(
        self,
        scene: Any,
        *,
        render_mode: str | None = None,
        options: dict[str, Any] | None = None,
        real_time: bool = False,
        picture: Sequence[int] | None = None,
        max_episode_steps: int | None = None,
        **crew: Any,
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise InvalidJob(
                f"There is no render mode {render_mode!r}.", hint=f"{', '.join(RENDER_MODES)}."
            )
        self.render_mode = render_mode
        window = None
        if render_mode == "human":
            if not _has_window():
                raise MissingDependency(
                    'render_mode="human" shows a window with pygame, which is not there.',
                    hint="pip install pygame-ce, or take rgb_array.",
                )
            window = _Window(scene if isinstance(scene, str) else scene.__name__)
        self.crew = crew_of(
            scene, options, 1, limit=max_episode_steps, real_time=real_time, size=picture, **crew
        )
        self._window = window
        self.observation_space = to_gymnasium(self.crew.observation_space)
        self.action_space = to_gymnasium(self.crew.action_space)
        modes = [mode for mode in RENDER_MODES if mode != "human" or _has_window()]
        self.metadata = {"render_modes": modes, "render_fps": self.crew.fps}
        self._begun = self._over = False

    @property
    def state(self) -> int:
        """Number of the state that it is in; it grows with each reset and step."""
        return int(self.crew.arrays["state"][0])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """See Gymnasium; there are no options."""
        if options:
            raise InvalidJob("A reset has no options here; give the scene's to make().")
        super().reset(seed=seed)
        arrays = self.crew.arrays
        told: dict[str, Any] = {}
        if seed is None and (not self._begun or self.crew.unsettled()):
            # The first, or whose random numbers are gone with its Blender.
            seed = int(self.np_random.integers(1 << 31))
        if seed is not None:
            arrays["seed"][0] = told["seed"] = seed
        self._act(BEGIN, told)
        self._begun, self._over = True, False
        return self._observation(), told

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """See Gymnasium."""
        if not self._begun or self._over:
            raise gymnasium.error.ResetNeeded("The episode is over, or none has begun: reset().")
        self.crew.put_action(0, action)
        told: dict[str, Any] = {}
        self._act(ACT, told)
        arrays = self.crew.arrays
        terminated, truncated = bool(arrays["terminated"][0]), bool(arrays["truncated"][0])
        # As Gymnasium's own: what goes on beyond an end is the caller's, but after a death.
        self._over = "restarted" in told
        return self._observation(), float(arrays["reward"][0]), terminated, truncated, told

    def _act(self, order: int, told: dict[str, Any]) -> None:
        window = self._window if self._window is not None and self._window.shown else None
        draw = DRAW if window is not None else 0
        outcome = self.crew.act([order | draw])
        told.update(outcome.told.get(0, {}))
        told["step"] = int(self.crew.arrays["steps"][0])
        if window is not None and not outcome.lost:
            window.show(self.crew.arrays["picture"][0], self.crew.fps)

    def _observation(self) -> Any:
        # Copies: NumPy's scalars and views of the common memory are not what callers keep.
        found = self.crew.observation(0)
        if isinstance(found, dict):
            spaces = self.observation_space
            return {name: _own(one, spaces[name]) for name, one in found.items()}
        return _own(found, self.observation_space)

    def render(self) -> Any:
        """What the scene's camera sees now; ``None`` where there is no mode, or a window."""
        if self.render_mode is None:
            gymnasium.logger.warn('Nothing is drawn without a render mode, as "rgb_array".')
            return None
        if self._window is not None:
            return None
        return self.look(depth=self.render_mode == "depth")

    def look(self, camera: Camera | None = None, *, depth: bool = False) -> npt.NDArray[Any]:
        """What a camera sees of the state as it is; from any thread, also while it runs.

        Args:
            camera: Of the size of pictures; the scene's otherwise.

        Returns:
            As the render modes ``rgb_array`` and ``depth``.
        """
        if not self._begun:
            raise gymnasium.error.ResetNeeded("There is nothing to see before reset().")
        return self.crew.seen(0, camera)[depth]

    def close(self) -> None:
        """End its Blender; again is no error."""
        if hasattr(self, "crew"):
            self.crew.close()
            if self._window is not None:
                self._window.close()


def _has_window() -> bool:
    return importlib.util.find_spec("pygame") is not None


def _own(value: Any, space: Any) -> Any:
    # A number of a Box is an array without axes, one of a Discrete is none.
    return np.array(value) if np.ndim(value) or isinstance(space, gymnasium.spaces.Box) else value


class _Window:
    """Shows pictures, by pygame, from the first one on, until somebody closes it.

    Raises:
        InvalidJob: There is no display for it.
    """

    def __init__(self, title: str) -> None:
        import pygame

        self._pygame, self._title = pygame, title
        self._screen: Any = None
        try:
            pygame.display.init()
        except pygame.error as error:
            raise InvalidJob(
                f'render_mode="human" shows a window, for which there is no display: {error}.',
                hint="Take rgb_array, or look at it in a browser (env.watch).",
            ) from error
        self._clock, self.shown = pygame.time.Clock(), True

    def show(self, picture: npt.NDArray[np.uint8], fps: float) -> None:
        """Show one, and wait until it is due."""
        if self._screen is None:
            self._screen = self._pygame.display.set_mode((picture.shape[1], picture.shape[0]))
            self._pygame.display.set_caption(self._title)
        if any(event.type == self._pygame.QUIT for event in self._pygame.event.get()):
            # What is learned goes on without it.
            self.close()
            return
        self._pygame.surfarray.blit_array(self._screen, picture.swapaxes(0, 1))
        self._pygame.display.flip()
        self._clock.tick(fps)

    def close(self) -> None:
        """Take the window away."""
        if self.shown:
            self._pygame.display.quit()
            self.shown = False
