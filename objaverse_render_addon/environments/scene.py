"""What a user writes: a scene that is reset, stepped and looked at, in Blender's process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from .spaces import Spaces

if TYPE_CHECKING:
    from ..blender.playing import PlayStage

__all__ = ["EnvironmentScene"]


class EnvironmentScene:
    """One environment. Its class lies in a module that can be imported where Blender is.

    Attributes:
        observation_space: What :meth:`reset` and :meth:`step` give; pictures
            (:class:`.spaces.Picture`) are drawn, the scene gives the others.
        action_space: What :meth:`step` gets.
        state: Where the state is: ``blender``, one environment for each process; or ``python``,
            in what :meth:`reset` sets in ``self``, of which one process has many. :meth:`pose`
            puts it onto the stage then, before each picture.
        max_episode_steps: Steps after which an episode is truncated; 0 for never.
        fps: Steps a second in real time, and of films.
        picture: Width and height of what ``render()`` gives, pixels.
    """

    observation_space: ClassVar[Spaces]
    action_space: ClassVar[Spaces]
    state: ClassVar[Literal["blender", "python"]] = "blender"
    max_episode_steps: ClassVar[int] = 0
    fps: ClassVar[float] = 30.0
    picture: ClassVar[tuple[int, int]] = (320, 240)

    def build(self, stage: PlayStage) -> None:
        """Put things, a camera and light onto an empty stage; once for each process.

        Where the state is Python's, all environments of a process have what is set in ``self``
        here: names, numbers and Blender's things, but nothing that is changed later.
        """

    def reset(self, rng: np.random.Generator) -> Any:
        """Begin an episode.

        Args:
            rng: All that is random comes from it; seeded as the caller said.

        Returns:
            The observation; a dictionary where there are several spaces, without pictures;
            ``None`` where there are pictures alone.
        """
        raise NotImplementedError

    def step(self, action: Any) -> tuple[Any, float, bool, Mapping[str, Any]]:
        """Go on by one step.

        Args:
            action: An int of a ``Discrete``, else an array; a dictionary of several.

        Returns:
            Observation, reward, whether the episode has ended, and plain data beside it.
        """
        raise NotImplementedError

    def pose(self, stage: PlayStage) -> None:
        """Put the state onto the stage; only where it is Python's."""
