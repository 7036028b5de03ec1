"""Many environments, as Stable-Baselines3 has them."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from ...errors import MissingDependency
from .single import RENDER_MODES
from .vector import VectorEnvironment

__all__ = ["for_stable_baselines"]


def for_stable_baselines(name: str, num_envs: int = 1, **arguments: Any) -> Any:
    """Many environments for the algorithms of Stable-Baselines3, as its ``VecEnv``.

    Episodes begin in the step in which the one before has ended; ``terminal_observation`` and
    ``TimeLimit.truncated`` are as it wants them. Nothing is pickled, and pictures are of
    (H, W, 3), which it turns itself.

    Args:
        name: That Gymnasium knows.
        num_envs: How many.
        arguments: Of :class:`.vector.VectorEnvironment`.

    Raises:
        MissingDependency: It is not installed.
    """
    return _class()(name, num_envs, **arguments)


@functools.cache
def _class() -> Any:
    try:
        from stable_baselines3.common.vec_env.base_vec_env import VecEnv
    except ImportError as error:
        raise MissingDependency(
            "Stable-Baselines3 is not there.", hint="pip install stable-baselines3"
        ) from error

    class BaselinesEnvironment(VecEnv):  # type: ignore[misc, unused-ignore]
        """See :func:`for_stable_baselines`."""

        def __init__(self, name: str, num_envs: int = 1, **arguments: Any) -> None:
            made: Any = gymnasium.make_vec(
                name, num_envs, autoreset_mode="SameStep", **arguments
            )
            self.many: VectorEnvironment = made.unwrapped
            self.render_mode = self.many.render_mode
            self._actions: Any = None
            super().__init__(
                num_envs, self.many.single_observation_space, self.many.single_action_space
            )
            self.metadata = {"render_modes": list(RENDER_MODES)}

        def reset(self) -> Any:
            """See Stable-Baselines3."""
            observation, _ = self.many.reset(seed=self._seeds)
            self.reset_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
            self._reset_seeds()
            self._reset_options()
            return observation

        def step_async(self, actions: Any) -> None:
            """See Stable-Baselines3."""
            self._actions = actions

        def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
            """See Stable-Baselines3."""
            observation, rewards, ended, cut, _ = self.many.step(self._actions)
            told = self.many.told
            infos: list[dict[str, Any]] = []
            for row in range(self.num_envs):
                info = dict(told.get(row, {}))
                if ended[row] or cut[row]:
                    info = {**info.pop("final_info", {}), **info}
                    final = self.many.crew.observation(row, final=True)
                    info["terminal_observation"] = copy.deepcopy(final)
                info["TimeLimit.truncated"] = bool(cut[row] and not ended[row])
                infos.append(info)
            return observation, rewards.astype(np.float32), ended | cut, infos

        def get_images(self) -> Sequence[Any]:
            """See Stable-Baselines3."""
            pictures = self.many.render()
            return [None] * self.num_envs if pictures is None else pictures

        def close(self) -> None:
            """End the processes."""
            self.many.close()

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            """What all have alike; there is no object for each."""
            return [getattr(self.many, attr_name) for _ in self._get_indices(indices)]

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            """There is no object for each.

            Raises:
                NotImplementedError: Always.
            """
            raise NotImplementedError(f"{attr_name} of environments in Blender cannot be set.")

        def env_method(
            self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
        ) -> list[Any]:
            """There is no object for each.

            Raises:
                NotImplementedError: Always.
            """
            raise NotImplementedError(f"{method_name} of environments in Blender cannot be called.")

        def env_is_wrapped(self, _wrapper_class: type[Any], indices: Any = None) -> list[bool]:
            """None of them is."""
            return [False for _ in self._get_indices(indices)]

    return BaselinesEnvironment
