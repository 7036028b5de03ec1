"""Environments in the processes of a server (``objaverse-render serve``), as if they were here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ...cameras import Camera
from ...environments.orders import ACT
from ...errors import ConnectionLost, InvalidJob, WorkerTimeout
from ...worker.protocol import Environments, Step
from ...worker.shots import decode_shot, encode_shot
from ..remote import Connection, connect
from .crew import Crew
from .rows import Array, EnvironmentRows, Outcome, begins, scene_name

__all__ = ["ServedCrew", "crew_of"]

_OPENING: Final = 330.0
_SLACK: Final = 30.0
_COUNTED: Final = ("state", "pictured")


def crew_of(
    scene: Any,
    options: Mapping[str, Any] | None,
    count: int,
    *,
    address: str = "",
    key: str = "",
    **more: Any,
) -> EnvironmentRows:
    """Environments of a server where an address is given, of this machine otherwise."""
    if not address:
        if key:
            raise InvalidJob("A key is a server's.", hint="Say where it is: address=….")
        return Crew(scene, options, count, **more)
    here = sorted(more.keys() & {"blender", "scratch", "sandbox", "folders"})
    if here:
        raise InvalidJob(
            f"{', '.join(here)}: how a server's processes are is said where it is started.",
            hint="See objaverse-render serve --help.",
        )
    return ServedCrew(address, key, scene, options, count, **more)


class ServedCrew(EnvironmentRows):
    """Environments of one class on a server.

    Where the server is gone, episodes are cut off as where a Blender died; when rows are begun next
    it is tried once more. Arrays are copies of the server's, one message there and one back a step.

    Args:
        address, key: See :func:`..remote.connect`.
        scene: Its module lies on the server, whose owner allowed it, or is this package's.
        options, count, workers, limit, same_step, real_time, size: As of :class:`.crew.Crew`.
        timeout: Seconds that one step may take.

    Raises:
        AccessRefused: The key is not taken, the server's owner did not allow the module, or more is
            asked for than it gives.
        ConnectionLost: Nobody is there.
    """

    def __init__(
        self,
        address: str,
        key: str,
        scene: Any,
        options: Mapping[str, Any] | None = None,
        count: int = 1,
        *,
        workers: int = 0,
        limit: int | None = None,
        same_step: bool = False,
        real_time: bool = False,
        size: Sequence[int] | None = None,
        timeout: float = 60.0,
    ) -> None:
        super().__init__(scene_name(scene), count)
        self._address, self._key, self._timeout = address, key, timeout
        self._request = Environments(
            self.name, dict(options or {}), count, workers, limit, same_step, real_time,
            None if size is None else [int(one) for one in size], timeout,
        )  # fmt: skip
        self._connection: Connection | None = None
        try:
            facts = self._reach()
            self._learn(facts, None, None)
            self.arrays = {
                name: np.zeros(shape, dtype) for name, (dtype, shape) in self._layout().items()
            }
            self.arrays["seed"][:] = -1
            self._before: Array = self.arrays["state"].copy()
        except BaseException:
            self.close()
            raise

    def _reach(self) -> dict[str, Any]:
        """Have them there, from their first state."""
        self._connection = connect(self._address, self._key)
        facts = self._connection.have_environments(self._request, _OPENING)
        self._camera = decode_shot(facts["camera"]).view.camera
        return facts

    def _reach_again(self) -> Connection:
        self._reach()
        self.restarts += 1
        # Numbers of states go on: those of before were shown already.
        self._before = self.arrays["state"].copy()
        assert self._connection is not None
        return self._connection

    @property
    def pids(self) -> list[int]:
        """None: they are another machine's."""
        return []

    def unsettled(self) -> list[int]:
        """All rows where the server is gone; it is tried again when they are begun."""
        return list(range(self._count)) if self._connection is None else []

    def close(self) -> None:
        """Go; the server ends their processes."""
        with self._guard:
            self._closed = True
            self._leave()

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run(self, wanted: Array, camera: Camera | None) -> Outcome:
        only_begun = bool(begins(wanted).astype(bool)[wanted > 0].all())
        limit = self._timeout + (_OPENING if only_begun else _SLACK)
        request = self._step(wanted, camera)
        connection = self._connection
        if connection is None and only_begun:
            connection = self._reach_again()
        try:
            if connection is None:
                raise ConnectionLost(f"{self._address}: The server went away.")
            stepped, arrays = connection.step(request, limit)
        except (ConnectionLost, WorkerTimeout) as error:
            self._leave()
            if only_begun:
                stepped, arrays = self._reach_again().step(request, limit)
            elif (wanted & ACT).any():
                outcome = Outcome()
                for row in range(self._count):
                    self._cut_off(row, wanted, outcome, error.message)
                return outcome
            else:
                raise
        for name, array in arrays.items():
            self._take(name, array)
        return Outcome({int(row): facts for row, facts in stepped.told.items()}, stepped.lost)

    def _step(self, wanted: Array, camera: Camera | None) -> Step:
        seeds = self.arrays["seed"]
        actions = {}
        if (wanted & ACT).any():
            actions = {name: self.arrays[f"action/{name}"].tolist() for name in self._acted}
        return Step(
            wanted.tolist(), seeds.tolist(), actions,
            None if camera is None else encode_shot(0, camera),
        )  # fmt: skip

    def _take(self, name: str, array: Array) -> None:
        target = self.arrays.get(name)
        if target is not None and name.startswith("observed/"):
            target = target[self.turn]
        if target is None or (target.shape, target.dtype) != (array.shape, array.dtype):
            raise ConnectionLost(f"{self._address} answered nonsense: {name} is no array of ours.")
        target[:] = array + self._before if name in _COUNTED else array
