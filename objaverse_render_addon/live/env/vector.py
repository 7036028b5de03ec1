"""Many environments at a time, as Gymnasium has them."""

from __future__ import annotations

import copy as copying
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ...environments.orders import ACT, BEGIN, DRAW
from ...environments.spaces import leaves, to_gymnasium
from ...errors import InvalidJob
from .rows import Outcome
from .served import crew_of
from .single import RENDER_MODES

__all__ = ["VectorEnvironment"]


class VectorEnvironment(VectorEnv[Any, Any, Any]):
    """Environments in few processes, over memory that they and this one have together.

    ``gymnasium.make_vec`` makes it. No environment is made to be looked at and thrown away. A
    process that dies truncates its environments and no other, see :class:`.single.Environment`;
    they begin again by themselves.

    Args:
        scene, render_mode, options, real_time, picture, max_episode_steps, crew: As of
            :class:`.single.Environment`; ``human`` is not for many.
        num_envs: How many.
        workers: Processes that they are spread over; 0 for as many as the class needs.
        autoreset_mode: ``NextStep``, ``SameStep`` or ``Disabled``; or an ``AutoresetMode``.
        copy: Whether observations are copies. Otherwise they are views of the common memory, which
            is written to again by the second step from then.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (Gymnasium's)
        "render_modes": [mode for mode in RENDER_MODES if mode != "human"], "render_fps": 30,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }  # fmt: skip

    def __init__(
        self,
        scene: Any,
        num_envs: int = 1,
        *,
        workers: int = 0,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        render_mode: str | None = None,
        options: dict[str, Any] | None = None,
        real_time: bool = False,
        picture: Sequence[int] | None = None,
        max_episode_steps: int | None = None,
        **crew: Any,
    ) -> None:
        if render_mode not in (None, "rgb_array", "depth"):
            raise InvalidJob(f"There is no render mode {render_mode!r} of many environments.",
                             hint="rgb_array or depth.")  # fmt: skip
        self.render_mode, self.copy = render_mode, copy
        self.mode = AutoresetMode(autoreset_mode)
        self.num_envs = num_envs
        self.crew = crew_of(
            scene, options, num_envs, workers=workers, limit=max_episode_steps,
            same_step=self.mode is AutoresetMode.SAME_STEP, real_time=real_time, size=picture,
            **crew,
        )  # fmt: skip
        self.single_observation_space = to_gymnasium(self.crew.observation_space)
        self.single_action_space = to_gymnasium(self.crew.action_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {
            **self.metadata, "render_fps": self.crew.fps, "autoreset_mode": self.mode
        }  # fmt: skip
        self.told: dict[int, dict[str, Any]] = {}
        """What was said of rows in the last step, by their number."""
        self._over = np.zeros(num_envs, dtype=np.bool_)
        self._seeded = np.zeros(num_envs, dtype=np.bool_)
        self._act = np.full(num_envs, ACT, dtype=np.uint8)
        self._all = np.ones(num_envs, dtype=np.bool_)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """See Gymnasium: a seed is that of the first, the next has the next; or one for each.

        Args:
            options: ``reset_mask``, (N,) bool: which begin; all otherwise.
        """
        mask = np.ones(self.num_envs, dtype=np.bool_)
        if options and "reset_mask" in options:
            mask = np.asarray(options["reset_mask"], dtype=np.bool_)
            if mask.shape != (self.num_envs,) or not mask.any():
                raise InvalidJob(f"reset_mask is ({self.num_envs},), and some of it is true.")
        super().reset(seed=seed if isinstance(seed, int) else None)
        if seed is None or isinstance(seed, int | np.integer):
            seeds = [None if seed is None else int(seed) + row for row in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise InvalidJob(f"{len(seeds)} seeds came for {self.num_envs} environments.")
        for row in np.flatnonzero(mask):
            one = seeds[row]
            if one is not None:
                self.crew.arrays["seed"][row], self._seeded[row] = one, True
        self._seed(mask)
        outcome = self.crew.act(np.where(mask, BEGIN, 0))
        self._over[mask] = False
        return self._observation(), self._info(outcome)

    def _seed(self, begun: npt.NDArray[np.bool_]) -> None:
        """Give a seed to each that has no random numbers yet, or not any more."""
        for row in np.flatnonzero(begun & ~self._seeded):
            self.crew.arrays["seed"][row] = int(self.np_random.integers(1 << 31))
            self._seeded[row] = True

    def step(
        self, actions: Any
    ) -> tuple[
        Any, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]
    ]:
        """See Gymnasium."""
        if np.count_nonzero(self._seeded) < self.num_envs:
            raise gymnasium.error.ResetNeeded("No episode has begun: reset().")
        over = np.count_nonzero(self._over)
        if over and self.mode is AutoresetMode.DISABLED:
            raise gymnasium.error.ResetNeeded("Some episodes are over: reset() them.")
        self.crew.put_action(slice(None), actions)
        orders = self._act
        if over and self.mode is AutoresetMode.NEXT_STEP:
            orders = orders.copy()
            orders[self._over] = BEGIN
            self._lose(self._over & self._unsettled())
        outcome = self.crew.act(orders)
        arrays = self.crew.arrays
        rewards = arrays["reward"].copy()
        ended, cut = arrays["terminated"].copy(), arrays["truncated"].copy()
        self._over = ended | cut
        if self.mode is AutoresetMode.SAME_STEP and outcome.lost:
            self._replace(outcome)
        return self._observation(), rewards, ended, cut, self._info(outcome)

    def _unsettled(self) -> npt.NDArray[np.bool_]:
        found = np.zeros(self.num_envs, dtype=np.bool_)
        found[self.crew.unsettled()] = True
        return found

    def _lose(self, rows: npt.NDArray[np.bool_]) -> None:
        """Their random numbers are gone with their Blender."""
        if rows.any():
            self._seeded[rows] = False
            self._seed(rows)

    def _replace(self, outcome: Outcome) -> None:
        """Begin at once where a Blender died."""
        lost = np.zeros(self.num_envs, dtype=np.bool_)
        lost[outcome.lost] = True
        arrays = self.crew.arrays
        for name in leaves(self.crew.observation_space):
            arrays[f"final/{name}"][lost] = arrays[f"observed/{name}"][self.crew.turn][lost]
        self._lose(lost)
        begun = self.crew.act(np.where(lost, BEGIN, 0))
        for row in outcome.lost:
            outcome.told[row] = {**begun.told.get(row, {}), "final_info": outcome.told[row]}

    def _info(self, outcome: Outcome) -> dict[str, Any]:
        info: dict[str, Any] = {}
        self.told = outcome.told
        for row, told in sorted(outcome.told.items()):
            if "final_info" in told:
                final = self.crew.observation(row, final=True)
                told = {"final_obs": copying.deepcopy(final), **told}
            info = self._add_info(info, told, row)
        info["step"] = self.crew.arrays["steps"].copy()
        info["_step"] = self._all.copy()
        return info

    def _observation(self) -> Any:
        found = self.crew.observation(slice(None))
        return copying.deepcopy(found) if self.copy else found

    def render(self) -> tuple[npt.NDArray[Any], ...] | None:
        """One picture of each, see the render modes of :class:`.single.Environment`."""
        if self.render_mode is None:
            gymnasium.logger.warn("Nothing is drawn without a render mode.")
            return None
        if not self._seeded.all():
            raise gymnasium.error.ResetNeeded("There is nothing to see before reset().")
        self.crew.act(np.full(self.num_envs, DRAW))
        kind = "depth" if self.render_mode == "depth" else "picture"
        return tuple(self.crew.arrays[kind].copy())

    def close_extras(self, **_: Any) -> None:
        """End the processes."""
        self.crew.close()
