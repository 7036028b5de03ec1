"""A client's environments on a server: what may be had, and what travels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..environments.orders import ACT, BEGIN, DRAW
from ..environments.spaces import leaves, to_data
from ..errors import AccessRefused, InvalidEdit
from ..worker.channel import described
from ..worker.protocol import Environments, Step, Stepped
from ..worker.shots import decode_shot, encode_shot
from .env.crew import Crew

if TYPE_CHECKING:
    from .clients import Limits

__all__ = ["Playground", "ServedEnvironments"]

_OWN: Final = f"{__name__.partition('.')[0]}.environments"
_ALWAYS: Final = ("state", "steps", "seed", "reward", "terminated", "truncated")
_DRAWN: Final = ("picture", "depth", "pictured")
_ORDERS: Final = ACT | BEGIN | DRAW


class Playground:
    """What a server gives of environments, to all clients together.

    Args:
        processes: The most that there are at a time.
        modules: That the server's owner allows, beside the package's own.
        options: Of :class:`.env.crew.Crew`: ``blender``, ``sandbox`` …
    """

    def __init__(
        self,
        processes: int,
        limits: Limits,
        modules: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._most, self._limits = processes, limits
        self._modules, self._options = frozenset(modules), dict(options or {})
        self._guard = threading.Lock()
        self._taken = 0

    def allows(self, scene: object) -> str:
        """A class's name, if clients may have its environments.

        Raises:
            AccessRefused: They may not.
        """
        if not isinstance(scene, str):
            raise InvalidEdit("A class of environments is named as module:Class.")
        module, _, name = scene.partition(":")
        own = module == _OWN or module.startswith(f"{_OWN}.")
        if not (own or module in self._modules) or not name.isidentifier() or name[0] == "_":
            allowed = ", ".join(sorted(self._modules)) or "none but the package's own"
            raise AccessRefused(
                f"Environments of {scene[:200]} are not given here.",
                hint=f"Its owner names modules with --allow-module; these are: {allowed}.",
            )
        return scene

    def take(self, processes: int) -> None:
        """Count processes that are to come, or (negative) that are gone.

        Raises:
            AccessRefused: There may not be as many.
        """
        with self._guard:
            if self._taken + processes > self._most:
                raise AccessRefused(
                    f"{processes} processes for environments were asked for, and "
                    f"{self._most - self._taken} of {self._most} are free.",
                    hint="More come with --workers, and fewer are needed where the state is "
                    "Python's.",
                )
            self._taken += processes

    def have(self, message: Environments) -> ServedEnvironments:
        """Make what a client asks for.

        Raises:
            AccessRefused: It may not have that.
            InvalidEdit: It says something impossible.
        """
        scene, limits = self.allows(message.scene), self._limits
        whole = type(message.count) is int and type(message.workers) is int
        if not whole or not 1 <= message.count <= limits.environments or message.workers < 0:
            raise AccessRefused(f"1 to {limits.environments} environments are given.")
        if message.limit is not None and (type(message.limit) is not int or message.limit < 0):
            raise InvalidEdit(f"limit is no number of steps: {message.limit!r}.")
        size = message.size
        if size is not None and not (
            isinstance(size, list) and len(size) == 2 and all(type(one) is int for one in size)
        ):
            raise InvalidEdit(f"size is no width and height: {size!r}.")
        timeout = message.timeout
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            raise InvalidEdit(f"timeout is no number of seconds: {timeout!r}.")
        if not isinstance(message.options, dict):
            raise InvalidEdit("Options are a table.")
        taken = 0

        def admit(processes: int, size: int) -> None:
            nonlocal taken
            if size > limits.array:
                raise AccessRefused(
                    f"{message.count} environments of {scene} show {size / 2**20:,.0f} MiB, and "
                    f"{limits.array / 2**20:,.0f} are given.",
                    hint="Take fewer, or smaller pictures.",
                )
            self.take(processes - taken)
            taken = processes

        def release() -> None:
            nonlocal taken
            count, taken = taken, 0
            self.take(-count)

        admit(1, 0)
        try:
            crew = Crew(
                scene, message.options, message.count, workers=message.workers,
                limit=message.limit, same_step=message.same_step is True,
                real_time=message.real_time is True, size=size,
                timeout=min(float(timeout), limits.answer), admit=admit, **self._options,
            )  # fmt: skip
        except BaseException:
            release()
            raise
        return ServedEnvironments(crew, message.count, release)


class ServedEnvironments:
    """One client's."""

    def __init__(self, crew: Crew, count: int, release: Callable[[], None]) -> None:
        self._crew, self._count, self._release = crew, count, release
        self._guard = threading.Lock()

    def facts(self) -> dict[str, Any]:
        """What a client needs to know of them."""
        crew = self._crew
        return {
            "observation_space": to_data(crew.observation_space),
            "action_space": to_data(crew.action_space),
            "max_episode_steps": crew.limit, "fps": crew.fps, "picture": list(crew.size),
            "camera": encode_shot(0, crew.camera()),
        }  # fmt: skip

    def step(self, message: Step) -> tuple[Stepped, list[memoryview]]:
        """Do what the client wants, and what it is told, with the bytes of its arrays.

        Raises:
            InvalidEdit, InvalidJob: It says something impossible.
            RenderError: As :meth:`.env.rows.EnvironmentRows.act`.
        """
        orders = self._numbers(message.orders, "orders", 0, _ORDERS)
        seeds = self._numbers(message.seeds, "seeds", -1, (1 << 63) - 1)
        camera = None
        if message.shot is not None:
            if not isinstance(message.shot, dict):
                raise InvalidEdit("A shot is a table.")
            camera = decode_shot(message.shot).view.camera
        crew = self._crew
        with self._guard:
            if any(order & ACT for order in orders):
                self._act(message.actions)
            crew.arrays["seed"][:] = seeds
            outcome = crew.act(orders, camera)
            shown = {name: crew.arrays[name] for name in _ALWAYS}
            for name in leaves(crew.observation_space):
                shown[f"observed/{name}"] = crew.arrays[f"observed/{name}"][crew.turn]
                if any("final_info" in told for told in outcome.told.values()):
                    shown[f"final/{name}"] = crew.arrays[f"final/{name}"]
            if any(order & DRAW for order in orders):
                shown |= {name: crew.arrays[name] for name in _DRAWN}
            # Copies: the next step may begin while they are on their way.
            arrays = {name: np.array(array) for name, array in shown.items()}
        told = {str(row): facts for row, facts in outcome.told.items()}
        answer = Stepped(told, [int(row) for row in outcome.lost], described(arrays))
        return answer, [array.reshape(-1).view(np.uint8).data for array in arrays.values()]

    def _numbers(self, given: object, what: str, low: int, high: int) -> list[int]:
        if (
            not isinstance(given, list) or len(given) != self._count
            or not all(type(one) is int and low <= one <= high for one in given)
        ):  # fmt: skip
            raise InvalidEdit(f"{what} are {self._count} whole numbers of {low} to {high}.")
        return given

    def _act(self, actions: object) -> None:
        if not isinstance(actions, dict):
            raise InvalidEdit("Actions are a table.")
        found: dict[str, Any] = {}
        for name in leaves(self._crew.action_space):
            try:
                found[name] = np.array(actions.get(name))
            except (OverflowError, TypeError, ValueError) as error:
                raise InvalidEdit(f"The action {name!r} is no array: {error}.") from error
            if found[name].dtype.kind not in "iufb":
                raise InvalidEdit(f"The action {name!r} is no array of numbers.")
        self._crew.put_action(slice(None), found[""] if list(found) == [""] else found)

    def close(self) -> None:
        """End their processes."""
        self._crew.stop()
        self._crew.close()
        self._release()
