"""Workers that wait, so that one which had to be ended is replaced at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from ..errors import RenderError
from ..worker.protocol import Open
from .worker_lane import WorkerLane

__all__ = ["Standby"]

_ENDING: Final = 10.0


class Standby:
    """Lanes whose workers are started, and hold nothing; safe to use from any thread.

    A worker that waits takes the memory of an empty Blender, and no time of a processor.

    Args:
        lanes: One for each GPU, or one; none where nobody is to wait.
    """

    def __init__(self, lanes: Sequence[WorkerLane]) -> None:
        self._lanes = list(lanes)
        self._guard = threading.Lock()
        self._ready: set[WorkerLane] = set()
        self._known: dict[WorkerLane, Open] = {}
        self._opening: Open | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Of those that are ready."""
        with self._guard:
            return [lane.supervisor.pid for lane in self._ready if lane.supervisor.holds]

    def tend(self, opening: Open) -> None:
        """Have workers ready, soon, that may read what a scene needs."""
        with self._guard:
            self._opening = opening
            self._start()

    def swap(self, lane: WorkerLane) -> WorkerLane:
        """A lane whose worker is ready, in the place of one that has none any more.

        Returns:
            The lane itself where none is ready. It waits in the other's place, with a new worker.
        """
        with self._guard:
            fitting = [
                one for one in self._ready
                if one.place.bus_id == lane.place.bus_id and one.supervisor.holds
            ]  # fmt: skip
            if self._closed or not fitting:
                return lane
            other = fitting[0]
            self._ready.discard(other)
            self._known.pop(other)
            self._lanes[self._lanes.index(other)] = lane
            self._start()
            return other

    def _start(self) -> None:
        if self._lanes and not self._closed and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="live-standby", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._guard:
                opening = self._opening
                cold = [one for one in self._lanes if self._known.get(one) is not opening]
                if self._closed or opening is None or not cold:
                    self._thread = None
                    return
                lane = cold[0]
                self._ready.discard(lane)
            try:
                lane.supervisor.start(opening)
                started = True
            except RenderError:
                # Whoever needs a worker is told why there is none.
                started = False
            with self._guard:
                self._known[lane] = opening
                if started:
                    self._ready.add(lane)

    def close(self) -> None:
        """End those that wait."""
        with self._guard:
            self._closed = True
            thread = self._thread
        for lane in self._lanes:
            lane.stop()
        if thread is not None:
            thread.join(_ENDING)
        for lane in self._lanes:
            lane.close()
