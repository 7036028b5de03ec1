"""The processes that environments are in, and the memory that they and this one have together."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...cameras import Camera
from ...environments.orders import ACT, DRAW
from ...errors import InvalidJob, RenderError, WorkerCrashed, from_reason
from ...worker.process import WorkerProcess
from ...worker.protocol import MODULES, Act, Acted, Described, Failed, Play, Request
from ...worker.rows import Rows
from ...worker.shots import decode_shot, encode_shot
from ...worker.supervisor import Place, Supervisor
from ...worker.wall import Sandbox
from .rows import Array, EnvironmentRows, Outcome, begins, scene_name

__all__ = ["Crew"]

_OPENING: Final = 300.0
_ENDLESS: Final = 1 << 30
_LOOK: Final = 1.0


def _root(module: str) -> Path | None:
    """The folder that a module is imported from; ``None`` where it is this package's."""
    top = module.partition(".")[0]
    if top == __name__.partition(".")[0]:
        return None
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise InvalidJob(
            f"There is no module {module}.",
            hint="It has to be importable here: by its name, from a folder of sys.path.",
        )
    places = [*(found.submodule_search_locations or ()), found.origin or ""]
    path = Path(places[0]).absolute()
    return path.parent


class _Seat:
    """One process, and the rows that are its."""

    def __init__(self, supervisor: Supervisor, first: int, count: int) -> None:
        self.supervisor, self.first, self.count = supervisor, first, count
        self.started = 0
        self._looked = 0.0

    @property
    def rows(self) -> slice:
        return slice(self.first, self.first + self.count)

    @property
    def plays(self) -> bool:
        """Whether its process has the environments."""
        return self.supervisor.holds and self.supervisor.started == self.started

    def player(self) -> WorkerProcess | None:
        """The process that has the environments; ``None`` where it is known to be gone.

        The system is asked once a second: to ask takes as long as a step, and who writes to a
        process that died in between hears of it.
        """
        worker = self.supervisor.worker
        if worker is None or self.supervisor.started != self.started:
            return None
        now = time.monotonic()
        if now - self._looked > _LOOK:
            self._looked = now
            if not (worker.lives and worker.scratch.is_dir()):
                return None
        return worker


class Crew(EnvironmentRows):
    """Environments of one class, in rows, in one process of this machine or several.

    A process that dies is started again when one of its rows is begun.

    Args:
        scene: See :func:`.rows.scene_name`.
        options: The class is made with; plain data.
        count: Number of rows.
        workers: Processes; 0 for as many as the class needs: one, or one for each row where its
            state is Blender's.
        limit: Steps after which an episode is truncated; the class's own where it is ``None``.
        size: Width and height of pictures; the class's own where it is ``None``.
        timeout: Seconds that one step of all rows of a process may take.
        admit: Called with the number of processes and the bytes of all arrays before there are
            any but the first; what it raises ends it.
    """

    def __init__(
        self,
        scene: Any,
        options: Mapping[str, Any] | None = None,
        count: int = 1,
        *,
        workers: int = 0,
        limit: int | None = None,
        same_step: bool = False,
        real_time: bool = False,
        size: Sequence[int] | None = None,
        blender: str | Path | None = None,
        scratch: str | Path | None = None,
        sandbox: Sandbox = "auto",
        folders: Sequence[str | Path] = (),
        timeout: float = 60.0,
        admit: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        if sys.platform == "win32":
            raise InvalidJob(
                "Environments have their arrays in memory that is handed down, which Windows "
                "does not do.", hint="Take Linux or macOS; Windows' WSL is Linux.",
            )  # fmt: skip
        if workers < 0:
            raise InvalidJob("There is at least one environment, in at least one process.")
        super().__init__(scene_name(scene), count)
        self._options, self._timeout = dict(options or {}), timeout
        self._same_step, self._real_time = same_step, real_time
        self._rows = Rows()
        module = self.name.partition(":")[0]
        root = _root(module)
        reads = [Path(one).absolute() for one in folders]
        environment = {MODULES: module}
        if root is not None:
            environment["PYTHONPATH"] = str(root)
            reads.append(root)

        def supervisor(number: int) -> Supervisor:
            return Supervisor(
                Place(f"environment {number}", environment),
                blender=None if blender is None else Path(blender),
                scratch=None if scratch is None else Path(scratch), recycle=_ENDLESS,
                sandbox=sandbox, folders=reads, ring=self._rows.descriptor,
            )  # fmt: skip

        first = supervisor(0)
        self._seats: list[_Seat] = []
        try:
            facts = self._ask(first, Play(self.name)).facts
            self._learn(facts, limit, size)
            if not workers:
                workers = 1 if facts["state"] == "python" else count
            if facts["state"] == "blender" and workers < count:
                raise InvalidJob(
                    f"{self.name} has its state in Blender: {count} environments need as many "
                    f"processes, not {workers}.",
                    hint="Leave out workers, or keep the state in Python.",
                )
            workers = min(workers, count)
            bounds = [round(at * count / workers) for at in range(workers + 1)]
            self._seats = [
                _Seat(supervisor(at) if at else first, bounds[at], bounds[at + 1] - bounds[at])
                for at in range(workers)
            ]
            layout = self._layout()
            admit(workers, Rows.size(layout))
            self._rows.fit(layout)
            self.arrays = self._rows.arrays
            self.arrays["seed"][:] = -1
            self._take_seats(self._seats)
        except BaseException:
            first.abandon()
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        """Of the processes that are there."""
        return [one.supervisor.pid for one in self._seats if one.supervisor.holds]

    def stop(self) -> None:
        """End at once what is in hand, from any thread; then :meth:`close`."""
        for seat in self._seats:
            seat.supervisor.stop()

    def close(self) -> None:
        """End all processes; again is no error."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            for seat in self._seats:
                seat.supervisor.close()
            self._rows.close()

    # --- Processes -------------------------------------------------------------------------------

    def _ask(self, supervisor: Supervisor, request: Request) -> Any:
        supervisor.post(request)
        return _message(supervisor, _OPENING)

    def _play(self, seat: _Seat) -> Play:
        return Play(
            self.name, self._options, self._rows.buffers, seat.first, seat.count, self.limit,
            self._same_step, self._real_time, list(self.size),
        )

    def _take_seats(self, seats: Sequence[_Seat]) -> None:
        """Have processes play that do not."""
        for seat in seats:
            self.restarts += bool(seat.started)
            seat.supervisor.post(self._play(seat))
        errors = []
        for seat in seats:
            try:
                found = _message(seat.supervisor, _OPENING)
                assert isinstance(found, Described)
                self._camera = decode_shot(found.facts["camera"]).view.camera
                seat.started = seat.supervisor.started
            except RenderError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def unsettled(self) -> list[int]:
        """Rows whose process is gone; it is started again when they are begun."""
        return [
            row for seat in self._seats if not seat.plays
            for row in range(seat.first, seat.first + seat.count)
        ]  # fmt: skip

    def _run(self, wanted: Array, camera: Camera | None) -> Outcome:
        request = Act(self.turn, None if camera is None else encode_shot(0, camera))
        busy = [seat for seat in self._seats if np.count_nonzero(wanted[seat.rows])]
        outcome, posted = Outcome(), []
        lost: list[tuple[_Seat, RenderError]] = []
        for seat in busy:
            try:
                player = seat.player()
                if player is None:
                    if (wanted[seat.rows] & (ACT | DRAW) & ~begins(wanted[seat.rows])).any():
                        raise WorkerCrashed("Its Blender died.")
                    seat.supervisor.abandon()
                    self._take_seats([seat])
                seat.supervisor.post(request, player)
                posted.append(seat)
            except WorkerCrashed as error:
                lost.append((seat, error))
        errors: list[RenderError] = []
        for seat in posted:
            try:
                self._note(outcome, _message(seat.supervisor, self._timeout))
            except WorkerCrashed as error:
                lost.append((seat, error))
            except RenderError as error:
                if seat.supervisor.holds:
                    errors.append(error)
                else:
                    lost.append((seat, error))
        for seat, cause in lost:
            self._lose(seat, cause, request, wanted, outcome)
        if errors:
            raise errors[0]
        return outcome

    def _note(self, outcome: Outcome, message: Any) -> None:
        assert isinstance(message, Acted)
        outcome.told.update({int(row): facts for row, facts in message.told.items()})

    def _lose(
        self, seat: _Seat, error: RenderError, request: Act, wanted: Array, outcome: Outcome
    ) -> None:
        """A process is gone: rows that only began begin again, the others are cut off."""
        orders = wanted[seat.rows]
        seat.supervisor.abandon()
        if begins(orders).astype(bool)[orders > 0].all():
            self._take_seats([seat])
            seat.supervisor.post(request)
            self._note(outcome, _message(seat.supervisor, self._timeout))
            return
        if not (orders & ACT).any():
            raise error
        for row in range(seat.first, seat.first + seat.count):
            # What the dead one wrote may be half of it.
            self._cut_off(row, wanted, outcome, error.message)


def _message(supervisor: Supervisor, timeout: float) -> Any:
    message = supervisor.collect(timeout).message
    if isinstance(message, Failed):
        raise from_reason(message.reason, message.message, message.hint, message.log)
    return message
