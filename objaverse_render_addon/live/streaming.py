"""Samples of a source, rendered by many Blenders, as an iterable: no PyTorch here.

Each unit of the source is rendered once, by whichever Blender is free; what it shows does not
depend on which. Samples come in the order of their numbers, or, where the newest are wanted, as
they are made.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from ..errors import (
    ConnectionLost,
    Interrupted,
    InvalidJob,
    RenderError,
    SceneLost,
    StaleFrame,
    WorkerCrashed,
    WorkerStartFailed,
    WorkerTimeout,
)
from .frames import LiveFrame
from .mapping import Maps
from .pool import Pool
from .remote import connect
from .samples import Sample, sample_of
from .seen import Seen
from .session import Session
from .sources import Item, Source, for_one_worker
from .starting import start

__all__ = ["Full", "OnError", "Stream", "Totals", "stream"]

Full: TypeAlias = Literal["wait", "drop-oldest"]
"""What happens where nobody takes samples: Blenders wait, or the oldest sample is given up."""

OnError: TypeAlias = Literal["raise", "skip"]
"""What happens with a unit that cannot be rendered."""

_AHEAD: Final = 2
_LEAVE: Final = 30.0
_DEAD: Final = (WorkerCrashed, WorkerStartFailed, WorkerTimeout, SceneLost, ConnectionLost)


@dataclass(slots=True)
class Totals:
    """Of a stream since it was made, in this process.

    Attributes:
        given: Samples that were handed out.
        dropped: That were rendered and given up, since newer ones were there.
        skipped: Units that could not be rendered; why is in ``reasons``.
        restarts: Blenders that took the place of one that had died or hung; of a server's, scenes
            that were opened again.
    """

    given: int = 0
    dropped: int = 0
    skipped: int = 0
    restarts: int = 0
    reasons: list[str] = field(default_factory=list)


def stream(source: Source, count: int | None = None, **options: Any) -> Stream:
    """Samples of a source: ``for sample in live.stream(source, 1000): …``; see :class:`Stream`."""
    return Stream(source, count, **options)


class Stream:
    """An iterable of :class:`.samples.Sample`; each time round is an epoch of ``count`` units.

    Blenders start when the first sample is asked for, in the process that asks, and stay until
    :meth:`close` or the process's end. It can be pickled: what runs stays behind.

    Args:
        source: Where samples come from.
        count: Units of an epoch, each of as many samples as the source has views; by default what
            the source says, and without end where it says nothing.
        seed: Of all that is drawn.
        blenders: Number of them, or ``auto``.
        address: Of a server, or of several (``objaverse-render serve``), whose workers are used
            instead, see :func:`.remote.connect`.
        key: The servers', where they have one.
        full: ``wait`` gives every sample once, in order. ``drop-oldest`` never lets a Blender
            wait: where more than ``ahead`` for each are waiting, the oldest is given up.
        ahead: Samples of each Blender that may wait to be taken.
        part: Which of the units are given here: ``(k, n)`` gives units k, k + n, k + 2n …
        first: Units before this number are not rendered: what was seen before a restart.
        seen: More exactly what was: samples that are not given again in the next epoch.
        opening: Seconds that a scene may take to be opened and set up.
        timeout: Seconds that a shot may take.
        stall: Seconds without any sample after which the stream says what hangs where.
        tries: Times that a unit is rendered whose Blender dies.
        on_error: Whether a unit that cannot be rendered is raised, in its turn, or skipped with
            a warning; both are counted.
        change: Called with each sample before it is handed out, in the Blender's thread.
        start_options: Of :func:`.starting.start`: ``device``, ``max_memory``, ``sandbox``,
            ``blender`` …

    Attributes:
        totals: What became of samples, in this process.
    """

    def __init__(
        self,
        source: Source,
        count: int | None = None,
        *,
        seed: int = 0,
        blenders: int | Literal["auto"] = "auto",
        address: str | Sequence[str] = (),
        key: str = "",
        full: Full = "wait",
        ahead: int = _AHEAD,
        part: tuple[int, int] = (0, 1),
        first: int = 0,
        seen: Seen | None = None,
        opening: float = 300.0,
        timeout: float = 600.0,
        stall: float = 900.0,
        tries: int = 2,
        on_error: OnError = "raise",
        change: Callable[[Sample, LiveFrame], Sample | None] | None = None,
        start_options: Mapping[str, Any] | None = None,
    ) -> None:
        if count is None:
            count = len(source) or None
        if (count is not None and count < 0) or ahead < 1 or tries < 1 or first < 0:
            raise InvalidJob("A stream has a count of 0 or more, and ahead and tries of 1 or more.")
        if not 0 <= part[0] < part[1]:
            raise InvalidJob(f"There is no part {part[0]} of {part[1]}.")
        if full not in ("wait", "drop-oldest") or on_error not in ("raise", "skip"):
            raise InvalidJob(
                f"full={full!r}, on_error={on_error!r}: wait or drop-oldest, raise or skip."
            )
        self.source, self.count, self.seed, self.part = source, count, seed, part
        addresses = (address,) if isinstance(address, str) else address
        self.addresses = tuple(one for one in addresses if one)
        self.blenders, self.key = blenders, key
        self.full: Full = full
        self.ahead, self.first, self.tries = ahead, first, tries
        if seen is not None and (seen.units < (count or 0) or seen.views != source.views):
            raise InvalidJob(
                f"What was seen is of {seen.units} units of {seen.views or 'different'} views, "
                f"not of {count} of {source.views or 'different'}."
            )
        self.seen = seen
        self.opening, self.timeout, self.stall = opening, timeout, stall
        self.on_error: OnError = on_error
        self.change, self.start_options = change, dict(start_options or {})
        self.epoch = 0
        self.totals = Totals()
        self._crew: _Crew | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_crew": None, "totals": Totals()}

    def go_on_behind(self, seen: Seen) -> None:
        """Do not give in the next epoch what was seen of it, beside what is left out already."""
        if self.seen is None:
            self.seen = seen
        else:
            self.seen = self.seen.copy()
            self.seen.update(seen)

    def __len__(self) -> int:
        if self.count is None:
            raise TypeError("this stream has no end")
        if not self.source.views:
            raise TypeError("how many samples its units have is known once they are rendered")
        units = range(self._begin(), self.count, self.part[1])
        return len(units) * self.source.views - (self.seen.among(units) if self.seen else 0)

    def _begin(self) -> int:
        """The first unit of this part."""
        place, parts = self.part
        return self.first + (place - self.first) % parts

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # One that was forgotten ends here; one that was forked along is its parent's.
        with contextlib.suppress(Exception):
            self.close()

    def close(self) -> None:
        """End the Blenders; the next sample starts others."""
        crew, self._crew = self._crew, None
        if crew is not None and crew.pid == os.getpid():
            crew.close()

    @property
    def pids(self) -> list[int]:
        """Of the Blenders that are there, in this process."""
        crew = self._crew
        return crew.pids if crew is not None and crew.pid == os.getpid() else []

    def _count_restarts(self) -> None:
        crew = self._crew
        if crew is not None and crew.pool is not None and not crew.broken:
            started = [int(worker["started"]) for worker in crew.pool.status()["workers"]]
            self.totals.restarts = crew.before + sum(max(0, count - 1) for count in started)

    def __iter__(self) -> Iterator[Sample]:
        """One epoch; the next is drawn otherwise."""
        crew = self._crew
        if crew is None or crew.pid != os.getpid() or crew.broken:
            # One that was forked along belongs to the parent.
            if crew is not None and crew.pid == os.getpid():
                crew.close()
            crew = self._crew = _Crew(self)
            crew.before = self.totals.restarts
        epoch, self.epoch = self.epoch, self.epoch + 1
        seen, self.seen = self.seen, None
        round_ = _Round(self, crew, epoch, seen)
        try:
            yield from round_.samples()
        finally:
            round_.end()


class _Crew:
    """The Blenders of a stream in one process, each with its scene and a copy of the source."""

    def __init__(self, owner: Stream) -> None:
        self.pid, self.broken, self.before = os.getpid(), False, 0
        self._stack = contextlib.ExitStack()
        self.pool: Pool | None = None
        source = owner.source
        places: list[Maps] = []
        try:
            for address in owner.addresses:
                host = self._stack.enter_context(connect(address, owner.key))
                places += [host] * host.workers
            if not places:
                options = {
                    "modules": source.modules, "folders": source.folders, **owner.start_options,
                }  # fmt: skip
                self.pool = self._stack.enter_context(start(owner.blenders, **options))
                places = [self.pool] * self.pool.workers
        except BaseException:
            self._stack.close()
            raise
        # Of servers' workers as many as are wanted, of each in turn; they share them out.
        count = len(places) if owner.blenders == "auto" else owner.blenders
        order = sorted(range(len(places)), key=lambda at: places[:at].count(places[at]))
        self.seats = [_Seat(places[at], number) for number, at in enumerate(order[:count])]

    @property
    def pids(self) -> list[int]:
        return self.pool.pids if self.pool is not None else []

    def close(self) -> None:
        # What is still lent would be waited for.
        for seat in self.seats:
            seat.leave()
        self._stack.close()


class _Seat:
    """One Blender's place: its thread in each round, its scene from round to round."""

    def __init__(self, host: Maps, number: int) -> None:
        self.host, self.number = host, number
        self.source: Source | None = None
        self.session: Session | None = None
        self.stage, self.since = "waiting", time.monotonic()
        self.unit = -1
        self._lent = contextlib.ExitStack()
        self._client: Any = None

    def at(self, stage: str) -> None:
        """It does something else now."""
        self.stage, self.since = stage, time.monotonic()

    def doing(self) -> str:
        """For a message."""
        lasts = time.monotonic() - self.since
        return f"Blender {self.number}, unit {self.unit}: {self.stage}, for {lasts:.0f} s"

    def client(self) -> Any:
        """Its worker alone."""
        if self._client is None:
            self._client = self._lent.enter_context(self.host.lend())
        return self._client

    def drop(self) -> None:
        """Its scene is not what it should be: the next unit opens it anew."""
        session, self.session, self.source = self.session, None, None
        if session is not None:
            with contextlib.suppress(RenderError):
                session.close()

    def leave(self) -> None:
        """Give the worker back."""
        self.session = self.source = self._client = None
        self._lent.close()


class _Round:
    """One epoch."""

    def __init__(self, owner: Stream, crew: _Crew, epoch: int, seen: Seen | None) -> None:
        self._owner, self._crew, self._epoch = owner, crew, epoch
        self._seen = seen
        start, step = owner._begin(), owner.part[1]
        self._units: Iterator[int] = (
            itertools.count(start, step) if owner.count is None
            else iter(range(start, owner.count, step))
        )  # fmt: skip
        if seen is not None:
            self._units = itertools.filterfalse(seen.whole, self._units)
        self._changed = threading.Condition()
        self._waiting: dict[int, deque[Sample | Exception]] = {}
        """By place in the order; a unit that is done has ended there, too."""
        self._ended: set[int] = set()
        self._taken = 0
        self._given = 0
        self._newest: deque[Sample | Exception] = deque()
        self._stopped = False
        self._working = len(crew.seats)
        self._threads = [
            threading.Thread(target=self._work, args=(seat,), name="live-stream", daemon=True)
            for seat in crew.seats
        ]

    # --- Whoever takes ---------------------------------------------------------------------------

    def samples(self) -> Iterator[Sample]:
        """Until all are given."""
        for thread in self._threads:
            thread.start()
        take = self._next if self._owner.full == "wait" else self._next_newest
        while (found := take()) is not None:
            if isinstance(found, Exception):
                raise found
            self._owner.totals.given += 1
            # Nothing here holds on to it: its memory is the worker's again when the user lets go.
            yield found
            del found

    def _wait(self) -> None:
        """For anything new; with the lock.

        Raises:
            WorkerTimeout: Nothing came.
        """
        if not self._changed.wait(self._owner.stall):
            raise WorkerTimeout(
                f"No sample came for {self._owner.stall:.0f} s. "
                + "; ".join(seat.doing() for seat in self._crew.seats) + ".",
                hint="Allow more (stall), or see why that takes so long.",
            )  # fmt: skip

    def _next(self) -> Sample | Exception | None:
        with self._changed:
            while True:
                waiting = self._waiting.get(self._given)
                if waiting:
                    found = waiting.popleft()
                    self._changed.notify_all()
                    return found
                if self._given in self._ended:
                    self._ended.discard(self._given)
                    self._waiting.pop(self._given, None)
                    self._given += 1
                    self._changed.notify_all()
                elif not self._working:
                    return None
                else:
                    self._wait()

    def _next_newest(self) -> Sample | Exception | None:
        with self._changed:
            while not self._newest:
                if not self._working:
                    return None
                self._wait()
            return self._newest.popleft()

    def end(self) -> None:
        """No more of it is wanted."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._newest.clear()
            self._changed.notify_all()
        until = time.monotonic() + _LEAVE
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            # A shot that takes longer than that is not waited for: its Blender ends.
            self._crew.broken = True
            self._crew.close()

    # --- Whoever renders -------------------------------------------------------------------------

    def _take(self) -> tuple[int, int] | None:
        """Place in the order and number of the next unit, once those who take came near."""
        ahead = len(self._crew.seats) + self._owner.ahead
        with self._changed:
            while not self._stopped:
                if self._owner.full == "wait" and self._taken >= self._given + ahead:
                    self._changed.wait(1.0)
                    continue
                unit = next(self._units, None)
                if unit is None:
                    return None
                place, self._taken = self._taken, self._taken + 1
                if self._owner.full == "wait":
                    self._waiting[place] = deque()
                return place, unit
        return None

    def _work(self, seat: _Seat) -> None:
        try:
            while (task := self._take()) is not None:
                self._unit(seat, *task)
        except BaseException as error:
            # Not a unit's: nothing more comes from here, and whoever takes has to know.
            with self._changed:
                failure = error if isinstance(error, Exception) else Interrupted("It was ended.")
                self._waiting.setdefault(self._given, deque()).append(failure)
                self._newest.append(failure)
        finally:
            seat.at("waiting")
            self._owner._count_restarts()
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _unit(self, seat: _Seat, place: int, unit: int) -> None:
        owner, done = self._owner, 0
        seat.unit = unit
        for attempt in range(1, owner.tries + 1):
            try:
                for view, sample in self._rendered(seat, unit, done):
                    if not self._put(place, sample):
                        return
                    done = view + 1
                    seat.at("rendering")
                break
            except Exception as error:
                again = isinstance(error, _DEAD) and attempt < owner.tries and not self._stopped
                stage = seat.stage
                seat.drop()
                if again:
                    owner.totals.restarts += bool(owner.addresses)
                    if isinstance(error, ConnectionLost):
                        seat.leave()
                    continue
                if self._stopped:
                    return
                self._failed(place, unit, stage, attempt, error)
                break
        with self._changed:
            if owner.full == "wait":
                self._ended.add(place)
            self._changed.notify_all()

    def _failed(self, place: int, unit: int, stage: str, tried: int, error: Exception) -> None:
        owner = self._owner
        if isinstance(error, RenderError):
            often = f" It was tried {tried} times." if tried > 1 else ""
            error.message = f"Unit {unit}, {stage}: {error.message}{often}"
        owner.totals.skipped += 1
        if owner.on_error == "skip" and isinstance(error, RenderError):
            owner.totals.reasons.append(str(error))
            warnings.warn(f"skipped: {error}", RuntimeWarning, stacklevel=2)
            return
        with self._changed:
            if owner.full == "wait":
                self._waiting[place].append(error)
            else:
                self._newest.append(error)
            self._changed.notify_all()

    def _put(self, place: int, sample: Sample) -> bool:
        """Hand a sample over; whether more are wanted."""
        owner = self._owner
        with self._changed:
            if owner.full == "drop-oldest":
                while len(self._newest) >= owner.ahead * len(self._crew.seats):
                    self._newest.popleft()
                    owner.totals.dropped += 1
                sample.record["dropped"] = owner.totals.dropped
                self._newest.append(sample)
            else:
                waiting = self._waiting[place]
                waiting.append(sample)
                self._changed.notify_all()
                while not self._stopped and len(waiting) >= owner.ahead:
                    self._changed.wait(1.0)
            self._changed.notify_all()
            return not self._stopped

    def _rendered(self, seat: _Seat, unit: int, done: int) -> Iterator[tuple[int, Sample]]:
        """View and sample of a unit, without the first few, given before its Blender died."""
        owner = self._owner
        if seat.source is None:
            seat.source = for_one_worker(owner.source)
        seat.at("opening the scene" if seat.session is None else "rendering")
        state, values = seat.source.steered()
        item = Item(unit, seed=owner.seed, epoch=self._epoch, values=values, state=state)
        item.views = seat.source.views
        view, views = -1, item.views
        places: dict[str, Any] = {}
        placed_in: tuple[int, int | None] | None = None
        frames = seat.source.frames(seat.client(), seat.session, item, owner.timeout)
        for view, (session, frame) in enumerate(frames):
            seat.session = session
            seat.at("handing over")
            views = seat.source.views or item.views
            if not views:
                raise InvalidJob(
                    "The source has units of different sizes, and did not say how large this is.",
                    hint="Set item.views before the first shot, or give a list of shots.",
                )
            if view >= views:
                break
            if view >= done and not (self._seen and self._seen.has(unit, view)):
                sample = sample_of(frame, self._known(item, view, views, frame))
                truths = seat.source.truths
                if truths is not None:
                    shown = frame.state, frame.time if frame.timed else None
                    if shown != placed_in:
                        seat.at("looking where things are")
                        places = session.placed(truths.keypoints, time=shown[1])
                        placed_in = shown
                    if session.state != frame.state:
                        raise StaleFrame(
                            f"A frame of state {frame.state} came; the scene is in state "
                            f"{session.state}, and where things were before is not known.",
                            hint="Yield from a generator, and change the scene between yields.",
                        )
                    told = truths.of(frame, places)
                    sample.arrays.update(told)
                    names = frame.object_names
                    sample.record["objects"] = [names[int(one)] for one in told["object_ids"]]
                if owner.change is not None:
                    sample = owner.change(sample, frame) or sample
                del frame
                yield view, sample
                del sample
        if view + 1 != views or view < 0:
            raise InvalidJob(
                f"The source gave {'more than ' * (view >= views)}"
                f"{min(view + 1, views)} shots; its views are {views}.",
                hint="Set the source's views to what shots() yields.",
            )

    def _known(self, item: Item, view: int, views: int, frame: LiveFrame) -> dict[str, Any]:
        known: dict[str, Any] = {
            "index": item.index, "view": view, "views": views, "epoch": item.epoch,
            "seed": item.seed, "state": item.state, "scene_state": frame.state,
            "values": dict(item.notes), "dropped": 0,
        }  # fmt: skip
        if item.made_of and self._owner.change is None:
            # What is changed on its way is not what a data set of the job would hold.
            known["made_of"] = item.made_of
            if item.asset:
                known["asset"] = item.asset
        return known
