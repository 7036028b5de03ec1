"""One worker at a time that has a scene open, and the ring that its frames come through."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from ..errors import (
    AccessRefused,
    Interrupted,
    InvalidEdit,
    MissingLibraries,
    RenderError,
    SceneLost,
    StaleFrame,
    WorkerCrashed,
    WorkerStartFailed,
    from_reason,
)
from ..lights import more_pictures
from ..passspec import PASSES
from ..worker.channel import Received, arrays_of
from ..worker.process import WorkerProcess
from ..worker.protocol import (
    MODULES,
    Call,
    Change,
    Changed,
    Close,
    Described,
    Failed,
    FrameReady,
    Inspect,
    Message,
    Open,
    Opened,
    Render,
    Request,
    Stage,
)
from ..worker.ring import Ring, room_for
from ..worker.shots import encode_shot
from ..worker.supervisor import Place, Supervisor
from ..worker.wall import Sandbox
from .frames import LiveFrame, frame_of
from .scene import Scene, Snapshot
from .shots import Numbered

__all__ = ["WorkerLane"]

_SLOTS: Final = 4
_TRACK: Final = 6 * 4
"""Bytes of a followed point."""
_ENDLESS: Final = 1 << 30
"""Requests after which a worker is replaced; here it is for its memory alone."""

Shots = Sequence[Numbered]


class WorkerLane:
    """Used by one thread at a time, but for :meth:`cancel`.

    Args:
        modules: Names of modules whose functions may be called in the worker.
        folders: That it may read from.

    Attributes:
        busy: Whether somebody uses it; its pool's.
        lent: Whether it is a function's of its own meanwhile.
        canceled: Seconds of grace that what it does was given to end; ``None`` where it was not
            cancelled, as when it is used anew, which its pool says.
        used: When it was used last, by the pool's count.
        copied: Frames that came as copies, since too many are still looked at.
    """

    def __init__(
        self,
        place: Place,
        *,
        blender: Path | None,
        scratch: Path | None,
        max_memory: int,
        sandbox: Sandbox,
        modules: Sequence[str],
        folders: Sequence[Path],
        look: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.ring: Ring | None = None
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                self.ring = Ring()
        self.place = place = replace(
            place, environment={**place.environment, MODULES: ",".join(modules)}
        )
        self.supervisor = Supervisor(
            place, blender=blender, scratch=scratch, max_memory=max_memory, recycle=_ENDLESS,
            sandbox=sandbox, folders=folders, look=look,
            ring=self.ring.descriptor if self.ring is not None else None,
        )  # fmt: skip
        self.busy = self.lent = False
        self.canceled: float | None = None
        self.used = 0
        self.copied = 0
        self.scene: Scene | None = None
        self._session = self._state = self._started = 0

    def has(self, scene: Scene) -> bool:
        """Whether the scene is open here, in whatever state."""
        held = self.supervisor.holds and self.supervisor.started == self._started
        return self.scene is scene and held

    def keeps(self, scene: Scene) -> bool:
        """Whether the scene is open here, and can be brought to its newest state."""
        return self.has(scene) and not scene.is_cut(self._state, scene.state)

    # --- One request -----------------------------------------------------------------------------

    def start(self, request: Request | None) -> WorkerProcess:
        """A worker that may touch what is asked for; tried once more where it dies as it starts.

        Raises:
            Interrupted: It was cancelled.
            WorkerStartFailed: Both died.
            RenderError: As :meth:`..worker.supervisor.Supervisor.start`.
        """
        for _ in range(2):
            if self.canceled is not None:
                raise Interrupted("Cancelled.")
            try:
                return self.supervisor.start(request)
            except RenderError as error:
                if not _died(error):
                    raise
                died = error
        raise WorkerStartFailed(
            f"{died.message} It was tried twice.", hint=died.hint, log=died.log
        ) from died

    def ask(
        self,
        request: Request,
        timeout: float,
        on_answer: Callable[[Received], None] = lambda _: None,
        started: WorkerProcess | None = None,
        renew: int = 0,
    ) -> Received:
        """A request's last answer; arguments as of :meth:`..worker.supervisor.Supervisor.ask`.

        Raises:
            RenderError: What the worker says, as itself; WorkerCrashed, WorkerTimeout, OutOfMemory
                where it is gone.
        """
        worker = started or self.start(request)
        if self.canceled is not None:
            raise Interrupted("Cancelled.")
        self.supervisor.post(request, worker)
        if self.canceled is not None:
            # Whoever did that may have seen no request in hand.
            self.supervisor.cancel(self.canceled)
        # Another would grow as much by opening the same, and has not what was called in this one.
        keep = isinstance(request, Open | Change | Call) or bool(self.scene and self.scene.called)
        answer = self.supervisor.collect(max(timeout, 0.001), on_answer, renew, keep=keep)
        message = answer.message
        if isinstance(message, Failed):
            raise from_reason(message.reason, message.message, message.hint, message.log)
        return answer

    def bring(
        self,
        snapshot: Snapshot,
        timeout: float,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> Message | None:
        """Have the scene open here, in that state; what the worker said where it was not.

        Raises:
            SceneLost: A function was called in it, and not here.
            StaleFrame: A function was called in it here since that state, which would be lost.
            RenderError: As :meth:`ask`.
        """
        scene = snapshot.scene
        held = self.has(scene)
        if held and scene.is_cut(snapshot.state, self._state):
            raise StaleFrame(
                f"A function was called in the scene since its state {snapshot.state}, which "
                "cannot be shown any more.", hint="Ask again: for its newest state.",
            )  # fmt: skip
        if held and self._state <= snapshot.state and not scene.is_cut(
            self._state, snapshot.state
        ):  # fmt: skip
            change = snapshot.since(self._session, self._state)
            # A worker that may not read what comes is replaced; then all is to be done again.
            worker = self.start(change)
            if self.has(scene):
                if change is None:
                    return None
                return self._ask_change(change, timeout, worker, alone=False)
        if scene.is_cut(0, snapshot.state):
            raise SceneLost(
                f"{scene.source or 'The scene'} cannot be brought back: {scene.lost}",
                hint="Open it again.",
            )
        self.scene = None

        def told(received: Received) -> None:
            if isinstance(received.message, Stage):
                on_stage(received.message.name)

        received = self.ask(snapshot.opening(), timeout, told)
        message = received.message
        if not isinstance(message, Opened):
            raise WorkerCrashed("The worker answered something else than what it was asked.")
        self.scene, self._session, self._state = scene, message.session, snapshot.state
        self._started = self.supervisor.started
        return message

    def change(self, scene: Scene, change: Change, timeout: float) -> Changed:
        """Bring the scene from its newest state to the next one; nobody else may change it.

        Raises:
            InvalidEdit: The scene is in its newest state still, whatever the worker did.
        """
        for _ in range(2):
            worker: WorkerProcess | None = self.start(change)
            if self._stands(scene):
                break
            self.bring(scene.snapshot(), timeout)
            worker = None
        change = Change(self._session, change.edits, change.state, change.values)
        alone = len(change.edits) == 1 and not change.values
        return self._ask_change(change, timeout, worker, alone=alone)

    def _stands(self, scene: Scene) -> bool:
        """Whether the scene is open in the worker that was just seen to live, as it is now."""
        return (
            self.scene is scene and self._state == scene.state
            and self._started == self.supervisor.started
        )  # fmt: skip

    def _ask_change(
        self, change: Change, timeout: float, worker: WorkerProcess | None, *, alone: bool
    ) -> Changed:
        try:
            answer = self.ask(change, timeout, started=worker)
        except InvalidEdit:
            if not alone:
                self.scene = None
            raise
        except BaseException:
            # It may have been done by half: the next to use it opens the scene anew.
            self.scene = None
            raise
        self._state = change.state
        if not isinstance(answer.message, Changed):
            raise WorkerCrashed("The worker answered something else than what it was asked.")
        return answer.message

    def call(
        self, snapshot: Snapshot, function: str, arguments: dict[str, Any], timeout: float
    ) -> Any:
        """Call a function beside the scene, which is in the next state then."""
        self.bring(snapshot, timeout)
        state = snapshot.state + 1
        try:
            answer = self.ask(
                Call(self._session, function, arguments, state), timeout, started=self._holder()
            )
        except AccessRefused:
            raise  # It was not called.
        except BaseException:
            self.scene = None
            raise
        self._state = state
        assert isinstance(answer.message, Described)
        return answer.message.facts["result"]

    def inspect(
        self,
        snapshot: Snapshot,
        timeout: float,
        points: Sequence[str] | None = None,
        at: int | None = None,
        called: str | None = None,
    ) -> dict[str, Any]:
        """See :class:`.host.Host`."""
        self.bring(snapshot, timeout)
        wanted = None if points is None else list(points)
        answer = self.ask(
            Inspect(self._session, wanted, at, called), timeout, started=self._holder()
        )
        assert isinstance(answer.message, Described)
        return answer.message.facts

    def close_scene(self, scene: Scene) -> None:
        """Forget it, if it is open here."""
        if self.has(scene):
            with contextlib.suppress(RenderError):
                self.ask(Close(self._session), 30)
        self.scene = None

    def _holder(self) -> WorkerProcess:
        """The worker that the scene was just brought to.

        Raises:
            WorkerCrashed: It went; another would not know the scene.
        """
        worker = self.supervisor.worker
        if worker is None or self.supervisor.started != self._started:
            raise WorkerCrashed("The worker was ended meanwhile.")
        return worker

    # --- Frames ----------------------------------------------------------------------------------

    def render(
        self,
        snapshot: Snapshot,
        shots: Shots | None,
        lane: str,
        timeout: float,
        on_frame: Callable[[LiveFrame], None],
        near: Mapping[int, Mapping[str, Numbered]] = MappingProxyType({}),
        renew: int = 0,
    ) -> None:
        """Frames of shots, each given to ``on_frame`` as it comes, of what :meth:`bring` brought.

        Args:
            shots: ``None`` for the job's own views.
            near: What is before and after each in time, see :func:`.shots.beside`.
            renew: Frames for which it may take as long again; never where 0.
        """
        worker = self._holder()
        slots = None
        if self.ring is not None:
            slots = self.ring.fit(_room(snapshot, shots), _SLOTS)
        times = {index: time for index, _, time in shots or ()}

        def ready(received: Received) -> None:
            message = received.message
            if not isinstance(message, FrameReady):
                return
            frame = frame_of(
                message.view, self._arrays(received, message), snapshot.job,
                state=message.state, lane=message.lane, object_names=snapshot.object_names,
                time=times.get(message.index),
            )  # fmt: skip
            on_frame(frame)

        self.ask(
            Render(
                self._session,
                shots=None if shots is None
                else [encode_shot(*shot, near.get(shot[0], {})) for shot in shots],
                lane=lane, state=snapshot.state, slots=slots,
            ),
            timeout,
            ready,
            worker,
            renew,
        )  # fmt: skip

    def _arrays(self, received: Received, message: FrameReady) -> dict[str, Any]:
        if message.slot < 0:
            return arrays_of(received)
        assert self.ring is not None
        shown = self.ring.take(message.slot, message.generation)
        arrays = arrays_of(received, shown)
        del shown
        if not self.ring.free:
            # The worker must never have to wait for whoever looks at the frames.
            self.copied += 1
            return {name: array.copy() for name, array in arrays.items()}
        return arrays

    def cancel(self, grace: float) -> None:
        """End the request in hand, from any thread; after the grace, with its worker.

        One that is about to begin ends, too, as Interrupted.
        """
        self.canceled = grace
        with contextlib.suppress(RenderError):
            self.supervisor.cancel(grace)

    def stop(self) -> None:
        """End everything at once, from any thread."""
        self.supervisor.stop()

    def close(self) -> None:
        """End the worker."""
        self.supervisor.abandon()
        if self.ring is not None:
            self.ring.close()


def _died(error: RenderError) -> bool:
    """Whether a worker that did not come up went by itself, and nobody knows of a cause."""
    if isinstance(error, MissingLibraries):
        return False
    return isinstance(error, WorkerCrashed) or (
        isinstance(error, WorkerStartFailed) and isinstance(error.__cause__, WorkerCrashed)
    )


def _room(snapshot: Snapshot, shots: Shots | None) -> int:
    """Bytes of a slot that holds any of the frames."""
    job = snapshot.job
    laid_over = shots is None and job.lighting.background is not None
    meant = _Meant(job.pixels.normal_space, laid_over)
    specs = [PASSES[name].under(meant) for name in job.pixels.passes]
    specs += [spec for spec in specs if spec.is_picture] * more_pictures(job)
    width, height = job.pixels.resolution
    if shots is None:
        pixels = width * height
    else:
        pixels = max(camera.width * camera.height for _, camera, _ in shots)
    sizes = [pixels * spec.channels * np.dtype(spec.dtype).itemsize for spec in specs]
    return room_for([*sizes, job.pixels.tracks * _TRACK])


@dataclass(frozen=True, slots=True)
class _Meant:
    """What passes may mean something else under (:class:`.passspec.Settings`)."""

    normal_space: str
    opaque: bool
    radial: bool = False
