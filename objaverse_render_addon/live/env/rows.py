"""Environments of one class in rows: their arrays, and what is asked of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...cameras import Camera
from ...environments.orders import ACT, BEGIN, DRAW
from ...environments.spaces import Spaces, leaves, spaces_from
from ...errors import InvalidJob, StaleFrame

__all__ = ["Array", "EnvironmentRows", "Outcome", "begins", "scene_name"]

Array = npt.NDArray[Any]

_STEP: Final = frozenset((ACT, BEGIN))
"""What rows are told that go on, each by itself, and of which nothing is drawn."""


def scene_name(scene: Any) -> str:
    """``module:Class`` of a class, or of what names one as ``module:Class``.

    Raises:
        InvalidJob: It cannot be found by its name.
    """
    if isinstance(scene, str):
        module, _, name = scene.partition(":")
        if not (module and name.isidentifier()):
            raise InvalidJob(f"{scene!r} names no scene.", hint="Write module:Class.")
        return scene
    module, name = getattr(scene, "__module__", ""), getattr(scene, "__qualname__", "")
    if module in ("", "__main__", "__mp_main__") or "." in name or not name:
        raise InvalidJob(
            f"{scene!r} cannot be found by another process.",
            hint="Put the class into a module of its own, at its top, and import it from there.",
        )
    return f"{module}:{name}"


@dataclass(slots=True)
class Outcome:
    """What rows did.

    Attributes:
        told: Number of a row to what is to be said of it.
        lost: Rows whose Blender died: they show what they showed before, are truncated, and have
            to be begun anew.
    """

    told: dict[int, dict[str, Any]] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)


class EnvironmentRows:
    """Environments of one class, in rows. Safe from any thread.

    Args:
        name: ``module:Class``.
        count: Number of rows.

    Attributes:
        arrays: ``order``, ``reward``, ``picture`` … with one row for each environment.
        turn: Which of the two places for observations is the newest.
        restarts: How often there had to be others in the place of those that were lost.
    """

    arrays: dict[str, Array]
    _camera: Camera

    def __init__(self, name: str, count: int) -> None:
        if count < 1:
            raise InvalidJob("There is at least one environment.")
        self.name, self._count = name, count
        self._guard = threading.RLock()
        self._closed = False
        self.turn = self.restarts = 0

    def __enter__(self) -> EnvironmentRows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """Of the processes that are there, on this machine."""
        raise NotImplementedError

    def unsettled(self) -> list[int]:
        """Rows that are lost, and come back when they are begun."""
        raise NotImplementedError

    def close(self) -> None:
        """End all processes; again is no error."""
        raise NotImplementedError

    def _run(self, wanted: Array, camera: Camera | None) -> Outcome:
        """Have it done."""
        raise NotImplementedError

    def _learn(
        self, facts: Mapping[str, Any], limit: int | None, size: Sequence[int] | None
    ) -> None:
        """What a class says of itself (:func:`...blender.playing.described_class`)."""
        self.observation_space: Spaces = spaces_from(facts["observation_space"])
        self.action_space: Spaces = spaces_from(facts["action_space"])
        self._observed = tuple(leaves(self.observation_space))
        self._acted = leaves(self.action_space)
        self.fps = float(facts["fps"])
        self.limit = int(facts["max_episode_steps"]) if limit is None else limit
        width, height = facts["picture"] if size is None else size
        if not (4 <= width <= 8192 and 4 <= height <= 8192):
            raise InvalidJob(f"A picture of {width} by {height} pixels is none.")
        self.size = int(width), int(height)

    def _layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        count, (width, height) = self._count, self.size
        found: dict[str, tuple[str, tuple[int, ...]]] = {
            "order": ("|u1", (count,)), "seed": ("<i8", (count,)), "state": ("<i8", (count,)),
            "steps": ("<i8", (count,)), "reward": ("<f8", (count,)),
            "terminated": ("|b1", (count,)), "truncated": ("|b1", (count,)),
            "picture": ("|u1", (count, height, width, 3)), "depth": ("<f4", (count, height, width)),
            "pictured": ("<i8", (count,)),
        }  # fmt: skip
        for name, space in leaves(self.action_space).items():
            dtype, shape = space.array()
            found[f"action/{name}"] = dtype, (count, *shape)
        for name, space in leaves(self.observation_space).items():
            dtype, shape = space.array()
            found[f"observed/{name}"] = dtype, (2, count, *shape)
            found[f"final/{name}"] = dtype, (count, *shape)
        return found

    # --- What they do ----------------------------------------------------------------------------

    def observation(self, row: int | slice, *, final: bool = False) -> Any:
        """What rows show, as their spaces say; views of the common memory.

        They stay what they are until the second :meth:`act` from now.

        Args:
            final: What those showed last whose episode has ended.
        """
        found = {
            name: self.arrays[f"final/{name}"][row] if final
            else self.arrays[f"observed/{name}"][self.turn][row]
            for name in self._observed
        }  # fmt: skip
        return found[""] if self._observed == ("",) else found

    def put_action(self, row: int | slice, action: Any) -> None:
        """Say what rows are to do.

        Raises:
            InvalidJob: It is none of their action space.
        """
        spaces = self._acted
        parts = action if isinstance(action, Mapping) else {"": action}
        if parts.keys() != spaces.keys():
            raise InvalidJob(f"An action has the parts {', '.join(map(repr, spaces))}.")
        for name, space in spaces.items():
            target = self.arrays[f"action/{name}"][row]
            value = np.asarray(parts[name])
            if value.shape != target.shape:
                raise InvalidJob(
                    f"An action of shape {value.shape} came; {target.shape} is its space's."
                )
            wrong = space.problem(value)
            if wrong:
                raise InvalidJob(f"An action is outside of its space: {wrong}.")
            self.arrays[f"action/{name}"][row] = value

    def act(self, orders: npt.ArrayLike, camera: Camera | None = None) -> Outcome:
        """Have rows do what their orders say (:mod:`...environments.orders`), all at a time.

        Args:
            orders: (N,) one for each row; 0 for nothing.
            camera: From where rows are drawn; the scene's own otherwise.

        Raises:
            UnexpectedError: What the user's scene raised, with its traceback as log.
            WorkerCrashed: A Blender died twice at the same.
            StaleFrame: A row is not in the state that it should be in.
        """
        with self._guard:
            if self._closed:
                raise InvalidJob("The environments are closed.")
            wanted = np.asarray(orders, dtype=np.uint8)
            states = self.arrays["state"]
            before = states.copy()
            # As in almost each step: checks of each row take as long as a small message does.
            alike = _STEP.issuperset(wanted.tolist())
            moved = (wanted & (ACT | BEGIN)) > 0 if not alike else None
            self._turn_over(moved)
            self.arrays["order"][:] = wanted
            outcome = self._run(wanted, None if camera is None else self._fitting(camera))
            wrong = states <= before
            if moved is not None:
                wrong = (wrong == moved) | (states < before)
            if outcome.lost:
                wrong[outcome.lost] = False
            if np.count_nonzero(wrong):
                raise StaleFrame("An environment did not do what it was told.")
            if not alike:
                drawn = (wanted & DRAW) > 0
                drawn[outcome.lost] = False
                if (self.arrays["pictured"][drawn] != states[drawn]).any():
                    raise StaleFrame("A picture shows another state than that of its environment.")
            return outcome

    def seen(self, row: int, camera: Camera | None = None) -> tuple[Array, Array]:
        """What a camera sees of a row, in memory of its own: colour and depth of pictures.

        Args:
            camera: Of the size of pictures; the scene's otherwise.

        Returns:
            (H, W, 3) uint8 sRGB, and (H, W) float32, planar, scene units, 0 where nothing is.
        """
        orders = np.zeros(self._count, dtype=np.uint8)
        orders[row] = DRAW
        with self._guard:
            self.act(orders, camera)
            return np.array(self.arrays["picture"][row]), np.array(self.arrays["depth"][row])

    def camera(self) -> Camera:
        """The scene's own, of the size of pictures, as it was built."""
        return self._camera

    def _turn_over(self, moved: Array | None) -> None:
        """Observations go to the other place, so that those of before stay; who rests keeps his.

        Args:
            moved: (N,) bool; ``None`` where no row rests.
        """
        if moved is not None and not moved.any():
            return
        self.turn = 1 - self.turn
        if moved is None or moved.all():
            return
        for name in self._observed:
            both = self.arrays[f"observed/{name}"]
            both[self.turn][~moved] = both[1 - self.turn][~moved]

    def _fitting(self, camera: Camera) -> Camera:
        if (camera.width, camera.height) != self.size:
            raise InvalidJob(
                f"A camera of {camera.width} by {camera.height} pixels; pictures here have "
                f"{self.size[0]} by {self.size[1]}."
            )
        return camera

    def _cut_off(self, row: int, wanted: Array, outcome: Outcome, why: str) -> None:
        """A row is lost: it shows what it showed before, and its episode is over."""
        arrays = self.arrays
        for name in self._observed:
            both = arrays[f"observed/{name}"]
            both[self.turn, row] = both[1 - self.turn, row]
        if wanted[row]:
            outcome.lost.append(row)
            outcome.told[row] = {"restarted": True, "error": why}
            arrays["reward"][row], arrays["terminated"][row] = 0, False
            arrays["truncated"][row] = True


def begins(orders: Array) -> Array:
    """All bits where a row begins, none elsewhere."""
    return np.where(orders & BEGIN, np.uint8(255), np.uint8(0))
