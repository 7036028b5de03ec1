"""The processes that environments are in, and the memory that they and this one have together."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...cameras import Camera
from ...environments.orders import ACT, BEGIN, DRAW
from ...environments.spaces import Spaces, leaves, spaces_from
from ...errors import InvalidJob, RenderError, StaleFrame, WorkerCrashed, from_reason
from ...worker.process import WorkerProcess
from ...worker.protocol import MODULES, Act, Acted, Described, Failed, Play, Request
from ...worker.rows import Rows
from ...worker.shots import decode_shot, encode_shot
from ...worker.supervisor import Place, Supervisor
from ...worker.wall import Sandbox

__all__ = ["Crew", "Outcome", "scene_name"]

_OPENING: Final = 300.0
_ENDLESS: Final = 1 << 30
_LOOK: Final = 1.0
Array = npt.NDArray[Any]


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


class Crew:
    """Environments of one class, in rows, in one process or several. Safe from any thread.

    A process that dies is started again when one of its rows is begun.

    Args:
        scene: See :func:`scene_name`.
        options: The class is made with; plain data.
        count: Number of rows.
        workers: Processes; 0 for as many as the class needs: one, or one for each row where its
            state is Blender's.
        limit: Steps after which an episode is truncated; the class's own where it is ``None``.
        size: Width and height of pictures; the class's own where it is ``None``.
        timeout: Seconds that one step of all rows of a process may take.

    Attributes:
        arrays: ``order``, ``reward``, ``picture`` … with one row for each environment.
        turn: Which of the two places for observations is the newest.
        restarts: Processes that died and were started again.
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
    ) -> None:
        if sys.platform == "win32":
            raise InvalidJob(
                "Environments have their arrays in memory that is handed down, which Windows "
                "does not do.", hint="Take Linux or macOS; Windows' WSL is Linux.",
            )  # fmt: skip
        if count < 1 or workers < 0:
            raise InvalidJob("There is at least one environment, in at least one process.")
        self.name = scene_name(scene)
        self._options, self._count, self._timeout = dict(options or {}), count, timeout
        self._same_step, self._real_time = same_step, real_time
        self._guard = threading.RLock()
        self._rows = Rows()
        self._closed = False
        self.turn = self.restarts = 0
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
            self._rows.fit(self._layout())
            self.arrays = self._rows.arrays
            self.arrays["seed"][:] = -1
            self._take_seats(self._seats)
        except BaseException:
            first.abandon()
            self.close()
            raise

    _camera: Camera

    def _learn(
        self, facts: Mapping[str, Any], limit: int | None, size: Sequence[int] | None
    ) -> None:
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

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """Of the processes that are there."""
        return [one.supervisor.pid for one in self._seats if one.supervisor.holds]

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
            moved = (wanted & (ACT | BEGIN)) > 0
            self._turn_over(moved)
            self.arrays["order"][:] = wanted
            shot = None if camera is None else encode_shot(0, self._fitting(camera))
            busy = [seat for seat in self._seats if wanted[seat.rows].any()]
            outcome = self._run(busy, Act(self.turn, shot), wanted)
            wrong = (states > before) != moved
            wrong |= states < before
            if outcome.lost:
                wrong[outcome.lost] = False
            if wrong.any():
                raise StaleFrame("An environment did not do what it was told.")
            drawn = (wanted & DRAW) > 0
            if drawn.any():
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

    def unsettled(self) -> list[int]:
        """Rows whose process is gone; it is started again when they are begun."""
        return [
            row for seat in self._seats if not seat.plays
            for row in range(seat.first, seat.first + seat.count)
        ]  # fmt: skip

    def _turn_over(self, moved: Array) -> None:
        """Observations go to the other place, so that those of before stay; who rests keeps his."""
        if not moved.any():
            return
        self.turn = 1 - self.turn
        if moved.all():
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

    def _run(self, busy: list[_Seat], request: Act, wanted: Array) -> Outcome:
        outcome, posted = Outcome(), []
        lost: list[tuple[_Seat, RenderError]] = []
        for seat in busy:
            try:
                player = seat.player()
                if player is None:
                    if (wanted[seat.rows] & (ACT | DRAW) & ~(_begins(wanted[seat.rows]))).any():
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
        if _begins(orders).astype(bool)[orders > 0].all():
            self._take_seats([seat])
            seat.supervisor.post(request)
            self._note(outcome, _message(seat.supervisor, self._timeout))
            return
        if not (orders & ACT).any():
            raise error
        arrays = self.arrays
        for row in range(seat.first, seat.first + seat.count):
            # What was there before; what the dead one wrote may be half of it.
            for name in self._observed:
                both = arrays[f"observed/{name}"]
                both[self.turn, row] = both[1 - self.turn, row]
            if wanted[row]:
                outcome.lost.append(row)
                outcome.told[row] = {"restarted": True, "error": error.message}
                arrays["reward"][row], arrays["terminated"][row] = 0, False
                arrays["truncated"][row] = True


def _begins(orders: Array) -> Array:
    """All bits where a row begins, none elsewhere."""
    return np.where(orders & BEGIN, np.uint8(255), np.uint8(0))


def _message(supervisor: Supervisor, timeout: float) -> Any:
    message = supervisor.collect(timeout).message
    if isinstance(message, Failed):
        raise from_reason(message.reason, message.message, message.hint, message.log)
    return message
