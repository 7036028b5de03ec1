"""The run itself: assets flow from the ledger through download, render and packing back to it.

One thread (the caller's) holds the ledger and decides; downloads, lanes and packing have threads
of their own and only tell it what happened. All queues are short: what is claimed is soon done.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..assets.resolve import Resolver
from ..assets.sources import classify, path_of
from ..dataset.layout import size_of, tidy_parts
from ..errors import (
    Interrupted,
    OutOfMemory,
    OutputNotWritable,
    RenderError,
    UnexpectedError,
    WorkerCrashed,
    WorkerStartFailed,
    WorkerTimeout,
)
from ..job import RenderJob
from ..words import how_many
from ..worker.protocol import Done, Failed, FrameDone, RenderAsset, Stage
from .lanes.local import Lane, LaneBroken, LaneThread, Told, sha256_of
from .options import RunOptions
from .output.packing import Shards, Waiting
from .output.storage import STORAGE_ERRORS, StorageWatch
from .output.store import Store
from .prepare import AlreadyFinished, Item, Preparer
from .queue.ledger import Ledger
from .queue.ledger_file import named
from .queue.rows import FINISHED, AssetOutcome, Row, file_type
from .results import AssetResult, Event, Notice

__all__ = ["Books", "Engine", "Listener"]

GRACE: Final = 10.0
"""Seconds that assets in hand may take to end after the first Ctrl-C."""
_CLOSING: Final = 30.0
"""Seconds that lanes may take to give back what they have."""
_WAITS: Final = 30
"""Times in a row that a lane may find no room."""
_STARTS: Final = 3
"""Times in a row that a worker may not start, or be gone, before its lane is left out."""
_STORAGE_FAILURES: Final = 3
"""Assets in a row, beside two per lane, that may fail for a storage that seems to be well."""
_BEAT: Final = 2.0
_LOOK: Final = 0.5
"""Seconds between two looks at the storage."""
_SLOW: Final = 5.0
"""Seconds after which a fetch holds nothing else up any more …"""
_SLOW_ONES: Final = 64
"""… as long as there are no more of them than this."""
_SOON: Final = 0.05
"""Seconds that a file that was looked at waits for the one before it."""
_DEADLY: Final = (WorkerCrashed, WorkerTimeout, OutOfMemory)


@dataclass(frozen=True, slots=True)
class _Prepared:
    row: Row
    outcome: Item | AlreadyFinished | RenderError
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class _Packed:
    """Assets were brought to their place (name to rows), or why not."""

    rows: list[int]
    places: dict[str, list[int]]
    error: RenderError | None


@dataclass(frozen=True, slots=True)
class _Trouble:
    error: RenderError


@dataclass(frozen=True, slots=True)
class _Gone:
    """The storage stayed away for too long."""

    error: RenderError


@dataclass(frozen=True, slots=True)
class Books:
    """Where the run writes what it has.

    Attributes:
        request: Number of the list in the ledger.
        shards: How to pack, where the layout is ``webdataset``.
    """

    store: Store
    ledger: Ledger
    request: int
    shards: Shards | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """Who knows of assets, and who wants to.

    Attributes:
        lookup: Gives what a catalogue knows of a source.
        on_result: Called with the asset's number in the ledger, and its result.
    """

    lookup: Callable[[str], dict[str, Any]]
    on_event: Callable[[Event], None]
    on_result: Callable[[int, AssetResult], None]


class Engine:
    """One run over the assets of a request.

    Args:
        lanes: Names, and where to render.
        resolver: Fetches; ``None`` where lanes on other machines do it themselves.
        cancel: Set it, from any thread, to stop at once.
    """

    def __init__(
        self,
        job: RenderJob,
        options: RunOptions,
        books: Books,
        lanes: Sequence[tuple[str, Lane]],
        resolver: Resolver | None,
        listener: Listener,
        cancel: threading.Event,
    ) -> None:
        store, ledger, shards = books.store, books.ledger, books.shards
        self._store, self._ledger, self._request = store, ledger, books.request
        self._shards, self._attempts = shards, options.workers.attempts
        self._on_event, self._on_result = listener.on_event, listener.on_result
        self._cancel = cancel
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._names = [name for name, _ in lanes]
        self._lanes = {
            number: LaneThread(number, lane, self._inbox) for number, (_, lane) in enumerate(lanes)
        }
        self._threads = list(self._lanes.values())
        self._broken = dict.fromkeys(self._lanes, 0)
        self._proven: set[int] = set()
        # Downloads wait for the network, so there are more of them than workers.
        self._ahead = 2 * len(lanes) + 2
        self._fetchers = ThreadPoolExecutor(min(32, self._ahead) + _SLOW_ONES, "fetch")
        self._lookers = ThreadPoolExecutor(min(8, self._ahead), "look")
        self._packers = ThreadPoolExecutor(2, "pack")
        self._stop_fetching = threading.Event()
        storage = options.storage
        self._storage = StorageWatch(store, storage.patience, storage.min_free, self._say)
        self._preparer = Preparer(
            job, store, resolver, shards=shards is not None, patiently=self._patiently,
            provenance=options.selection.provenance, lookup=listener.lookup,
            tell=self._inbox.put, cancel=self._stop_fetching,
        )  # fmt: skip
        ledger.patience = self._storage_of_ledger
        self._preparing: dict[int, Row] = {}
        self._looked_at = threading.Event()
        self._looked_at.set()
        self._fetching: dict[int, float] = {}
        """Since when what lies elsewhere is fetched."""
        self._ready: deque[tuple[Item, int]] = deque()
        self._rendering: dict[int, Item] = {}
        self._packing: dict[int, Item] = {}
        """Rendered, but not where they belong."""
        self._packs = 0
        self._storage_tries: dict[int, int] = {}
        self._storage_failures = 0
        """Assets in a row that could not be written."""
        self._largest = 0
        """Bytes of an asset, of those that were rendered."""
        self._exhausted = False
        self._signals = 0
        self._deadline: float | None = None
        self._fatal: RenderError | None = None
        self._done = self._failed = 0
        self._started = self._beat = self._looked = time.monotonic()
        self._run = self._strays = 0

    # --- The loop ---------------------------------------------------------------------------

    def run(self) -> None:
        """Work until nothing is left.

        Raises:
            Interrupted: By a signal or ``cancel``, before all was done; it can be gone on with.
            RenderError: There is nothing to render with, or nowhere to put it.
        """
        ended = "failed"
        with self._listening(), named(self._ledger.path):
            try:
                self._run = self._ledger.start_run(len(self._lanes))
                self._storage.look()
                while not self._is_over():
                    self._feed()
                    self._dispatch()
                    with contextlib.suppress(queue.Empty):
                        self._handle(self._inbox.get(timeout=0.2))
                    self._look_around()
                if self._fatal is not None:
                    raise self._fatal
                if not self._ledger.is_in_place():
                    raise self._gone_away()
                # A wish to stop that came after the last asset's end stopped nothing.
                if self._deadline is not None and self._are_left():
                    ended = "interrupted"
                    stopped = f"Stopped after {how_many(self._done + self._failed, 'asset')}"
                    if self._packing:
                        stopped += f"; rendered and kept for the next run: {len(self._packing)}"
                    raise Interrupted(
                        f"{stopped}.",
                        hint="Run the same command again to go on.",
                    )
                ended = "finished"
            finally:
                self._wind_up(ended)

    def _is_over(self) -> bool:
        if self._preparing or self._rendering or self._packs:
            return False
        if self._deadline is not None:
            return True
        if self._ready or not self._exhausted:
            return False
        if self._shards is not None:
            for rest in self._shards.rest():
                self._pack(rest)
        return not self._packs

    def _are_left(self) -> bool:
        counts = self._ledger.counts(self._request)
        return any(number for state, number in counts.items() if state not in FINISHED)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM and SIGHUP become a wish, so that nothing is torn apart in the middle."""

        def wish(*_: object) -> None:
            self._signals += 1
            self._inbox.put(None)

        before = {}
        if threading.current_thread() is threading.main_thread():
            hang_up = getattr(signal, "SIGHUP", signal.SIGTERM)
            for number in {signal.SIGINT, signal.SIGTERM, hang_up}:
                # Under nohup a terminal that closes is nothing.
                if number != hang_up or signal.getsignal(number) != signal.SIG_IGN:
                    before[number] = signal.signal(number, wish)
        try:
            yield
        finally:
            for number, handler in before.items():
                # A handler that is not Python's own (Blender's) cannot be put back.
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _look_around(self) -> None:
        now = time.monotonic()
        if self._cancel.is_set() or self._signals > 1:
            self._stop(0)
        elif self._signals and self._deadline is None:
            if self._rendering:
                self._say(
                    f"Stopping: {len(self._rendering)} in hand may end within {GRACE:g} seconds; "
                    "once more stops at once."
                )
            self._stop(now + GRACE)
        elif self._deadline is not None and now > self._deadline:
            self._stop(0)
        if now - self._looked > _LOOK and self._deadline is None:
            self._looked = now
            self._fatal = self._storage.look()
            if self._fatal is not None:
                self._stop(now + GRACE)
        if now - self._beat > _BEAT:
            self._beat = now
            # Once may be a server's mistake.
            self._strays = 0 if self._ledger.is_in_place() else self._strays + 1
            if self._strays > 1:
                self._end(self._gone_away())
            trouble = self._storage.trouble
            self._ledger.beat(
                self._run, now - self._started, self._done, self._failed,
                note=trouble.message if trouble else "",
            )  # fmt: skip

    def _gone_away(self) -> OutputNotWritable:
        return OutputNotWritable(
            f"{self._ledger.path} was moved or removed while the run was at work.",
            hint="What was finished before lies where it went, with the ledger; give that folder "
            "to --out to go on there.",
        )

    def _stop(self, deadline: float) -> None:
        """Begin nothing new, and interrupt what is in hand at the deadline."""
        if self._deadline is None:
            self._stop_fetching.set()
            for item, _ in self._ready:
                self._requeue(item)
            self._ready.clear()
        self._deadline = deadline
        if deadline <= time.monotonic():
            self._storage.given_up.set()
            for thread in self._lanes.values():
                thread.interrupt()

    def _requeue(self, item: Item) -> None:
        """It waits as before; nothing that happened was its doing."""
        self._preparer.release(item)
        self._ledger.requeue(item.row)
        self._exhausted = False

    def _again(self, item: Item, avoid: int = -1) -> None:
        """It is rendered again: next, or by another lane where there is another."""
        if self._deadline is not None:
            self._requeue(item)
            return
        self._ledger.defer(item.row)
        if avoid < 0:
            self._ready.appendleft((item, avoid))
        else:
            self._ready.append((item, avoid))

    def _say(self, text: str) -> None:
        self._on_event(Notice(text))

    def _storage_of_ledger(self, error: RenderError, waited: float) -> bool:
        """Whether to wait for it: everything that happens goes through the ledger."""
        self._storage.report(error)
        if self._cancel.is_set() or self._signals or waited > self._storage.patience:
            return False
        time.sleep(0.2)
        return True

    def _wind_up(self, ended: str) -> None:
        self._ledger.patience = None
        self._stop_fetching.set()
        self._storage.given_up.set()
        self._fetchers.shutdown(wait=True, cancel_futures=True)
        self._lookers.shutdown(wait=True, cancel_futures=True)
        for thread in self._lanes.values():
            thread.interrupt()
            thread.finish()
        deadline = time.monotonic() + _CLOSING
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._packers.shutdown(wait=True)
        self._storage.close()
        tidy_parts(self._store.staging)
        with contextlib.suppress(RenderError, sqlite3.Error):
            self._ledger.reset_in_hand(died=False)
            elapsed = time.monotonic() - self._started
            self._ledger.beat(self._run, elapsed, self._done, self._failed, ended=ended)

    # --- From the ledger to the lanes -------------------------------------------------------

    def _feed(self) -> None:
        if self._deadline is not None or self._storage.trouble or self._exhausted:
            return
        # Finished assets that cannot be brought away fast enough hold new ones up.
        waiting = len(self._preparing) + len(self._ready) - self._slow_ones()
        room = self._ahead - max(waiting, self._packs)
        if room <= 0:
            return
        rows = self._ledger.claim(self._request, room)
        self._exhausted = len(rows) < room
        for row in rows:
            self._preparing[row.id] = row
            if classify(row.source) == "path":
                # No server that does not answer stands in its way.
                before, self._looked_at = self._looked_at, threading.Event()
                self._lookers.submit(self._look_at, row, before, self._looked_at)
            else:
                self._fetching[row.id] = time.monotonic()
                self._fetchers.submit(self._fetch, row)

    def _slow_ones(self) -> int:
        """Fetches that take so long that others are begun beside them."""
        late = time.monotonic() - _SLOW
        return min(_SLOW_ONES, sum(since < late for since in self._fetching.values()))

    def _patiently(self, action: Callable[[], AlreadyFinished | None]) -> AlreadyFinished | None:
        found: list[AlreadyFinished | None] = []
        error = self._storage.insist(lambda: found.append(action()), self._report)
        if isinstance(error, STORAGE_ERRORS):
            # No fault of the asset, and no hope for the others.
            self._inbox.put(_Gone(error))
            raise Interrupted("Stopped.")
        if error is not None:
            raise error
        return found[0]

    def _report(self, error: RenderError) -> None:
        self._inbox.put(_Trouble(error))

    def _fetch(self, row: Row) -> None:
        self._inbox.put(self._prepare(row))

    def _look_at(self, row: Row, before: threading.Event, told: threading.Event) -> None:
        """Files that lie there are told of in their order, unless one takes its time."""
        prepared = self._prepare(row)
        before.wait(_SOON)
        self._inbox.put(prepared)
        told.set()

    def _prepare(self, row: Row) -> _Prepared:
        outcome: Item | AlreadyFinished | RenderError
        digest = None
        try:
            outcome = self._preparer.prepare(row)
        except RenderError as error:
            outcome = error
            if classify(row.source) == "path":
                digest = sha256_of(path_of(row.source))
        except Exception as error:
            outcome = UnexpectedError(f"{row.source}: {type(error).__name__}: {error}")
        return _Prepared(row, outcome, digest)

    def _dispatch(self) -> None:
        if self._deadline is not None or self._storage.trouble:
            return
        idle = [thread for thread in self._lanes.values() if not thread.busy]
        # Those that could not render last come last.
        idle.sort(key=lambda thread: self._broken[thread.number])
        for _ in range(len(self._ready)):
            if not idle:
                return
            item, avoid = self._ready.popleft()
            fit = [thread for thread in idle if thread.number != avoid or len(self._lanes) == 1]
            if not fit:
                # Only the lane that it took down is free; another one will be.
                self._ready.append((item, avoid))
                continue
            idle.remove(fit[0])
            self._give(fit[0], item)

    def _give(self, thread: LaneThread, item: Item) -> None:
        assert item.fetched is not None
        item.lane = self._names[thread.number]
        item.row.attempts += 1
        self._ledger.mark([item.row.id], "rendering")
        self._rendering[item.row.id] = item
        thread.give(
            item.row.id,
            RenderAsset(
                source=item.row.source,
                path=str(item.fetched.path),
                asset_id=item.row.asset_id,
                job=item.job.to_dict(),
                out=str(self._store.staging),
                provenance=item.fetched.provenance,
                folders=[str(item.fetched.folder)] if item.fetched.folder else [],
                known=dict(item.source.known) if item.source else {},
            ),
        )

    # --- What is told -----------------------------------------------------------------------

    def _handle(self, message: Any) -> None:
        if isinstance(message, Told):
            self._told(message)
        elif isinstance(message, _Prepared):
            self._prepared(message)
        elif isinstance(message, _Packed):
            self._packed(message)
        elif isinstance(message, Stage):
            self._on_event(message)
        elif isinstance(message, _Trouble):
            self._storage.report(message.error)
        elif isinstance(message, _Gone):
            self._end(message.error)

    def _end(self, error: RenderError) -> None:
        """Nothing can go on."""
        if self._deadline is None:
            self._fatal = error
            self._stop(time.monotonic() + GRACE)

    def _prepared(self, told: _Prepared) -> None:
        row = self._preparing.pop(told.row.id)
        self._fetching.pop(row.id, None)
        outcome = told.outcome
        if isinstance(outcome, Item):
            if self._deadline is None:
                self._ready.append((outcome, -1))
            else:
                self._requeue(outcome)
        elif isinstance(outcome, AlreadyFinished):
            if outcome.staged is not None:
                outcome.item.size = size_of(outcome.staged)
                self._bring(outcome.item, str(outcome.staged))
            else:
                name = self._store.name_of(row.asset_id)
                self._ledger.finish(self._outcome(outcome.item, "done", name))
                result = AssetResult(row.source, row.asset_id, "skipped", self._where(name))
                if outcome.item.done is not None:
                    result.views = outcome.item.done.views
                self._on_result(row.id, result)
        elif isinstance(outcome, Interrupted):
            self._ledger.requeue(row)
            self._exhausted = False
        else:
            self._fail(row, outcome, sha256=told.sha256)

    def _told(self, told: Told) -> None:
        message = told.message
        if isinstance(message, Stage | FrameDone):
            self._on_event(message)
            return
        if told.lane in self._lanes:
            self._lanes[told.lane].busy = False
        item = self._rendering.pop(told.row)
        item.sha256 = told.sha256
        if isinstance(message, LaneBroken):
            self._lane_broke(told.lane, item, message)
            return
        if isinstance(message, Interrupted) and self._deadline is None:
            # Nobody here stopped it.
            self._lane_broke(told.lane, item, LaneBroken(message))
            return
        self._proven.add(told.lane)
        self._broken[told.lane] = 0
        if isinstance(message, Done):
            self._storage_failures = 0
            self._preparer.release(item)
            item.done, item.size = message, message.size
            self._largest = max(self._largest, message.size)
            self._bring(item, message.path)
        elif isinstance(message, Interrupted):
            item.row.attempts -= 1
            self._requeue(item)
        elif isinstance(message, STORAGE_ERRORS):
            self._storage_failed(item, message)
        elif isinstance(message, _DEADLY):
            if item.row.attempts >= self._attempts:
                self._fail(item.row, message, item, "given up")
            else:
                self._again(item, told.lane)
        else:
            self._fail(item.row, message, item)

    def _lane_broke(self, lane: int, item: Item, broken: LaneBroken) -> None:
        """The lane has nothing to render with; the asset goes elsewhere."""
        error = broken.error
        item.row.attempts -= 1
        self._broken[lane] += 1
        started_badly = isinstance(error, WorkerStartFailed) or lane in self._proven
        most = _WAITS if broken.waits else _STARTS if started_badly else 1
        if self._broken[lane] >= most:
            self._lanes.pop(lane).finish()
            if self._lanes:
                self._say(f"{self._names[lane]} is out of use: {error.message}")
        if self._lanes:
            self._again(item, lane)
            return
        self._requeue(item)
        if not self._lanes and self._deadline is None:
            self._fatal = error
            self._stop(0)

    def _storage_failed(self, item: Item, error: RenderError) -> None:
        """No fault of the asset, unless it happens again where everything else is well."""
        if self._storage.is_well(error, self._largest * len(self._names)):
            tries = self._storage_tries[item.row.id] = self._storage_tries.get(item.row.id, 0) + 1
            if tries > 1 and self._deadline is None:
                self._storage_failures += 1
                if self._storage_failures <= 2 * len(self._names) + _STORAGE_FAILURES:
                    self._fail(item.row, error, item)
                    return
                # A quota, say: what looks at the disk sees room, and yet nothing can be written.
                self._end(error)
        item.row.attempts -= 1
        self._again(item)

    # --- From the lanes to where they belong ------------------------------------------------

    def _bring(self, item: Item, path: str) -> None:
        """It is finished: to where it belongs, or to wait until its block is ended."""
        row, name = item.row.id, self._store.name_of(item.row.asset_id)
        if self._shards is None and path == self._store.where(name):
            self._finish([item], name)
            return
        self._packing[row] = item
        self._ledger.finish(self._outcome(item, "packing", None))
        if self._shards is not None:
            self._pack(self._shards.ended(row, item.row.asset_id))
        else:
            self._carry([row], {name: [row]}, lambda: self._store.put(Path(path), name))

    def _pack(self, block: list[Waiting]) -> None:
        if not block:
            return
        assert self._shards is not None
        shards, packed = self._shards, dict[str, list[Waiting]]()
        places = dict[str, list[int]]()

        def pack() -> None:
            shards.pack(block, packed)
            places.update({name: [one.id for one in inside] for name, inside in packed.items()})

        self._carry([asset.id for asset in block], places, pack)

    def _carry(
        self, rows: list[int], places: dict[str, list[int]], action: Callable[[], None]
    ) -> None:
        self._packs += 1

        def work() -> None:
            error = self._storage.insist(action, self._report)
            self._inbox.put(_Packed(rows, places, error))

        self._packers.submit(work)

    def _packed(self, told: _Packed) -> None:
        self._packs -= 1
        if told.error is None:
            for name, rows in told.places.items():
                self._finish([self._packing.pop(row) for row in rows], name)
            return
        # What is rendered stays where it is, and the next run brings it to its place.
        for row in told.rows:
            self._ledger.requeue(self._packing.pop(row).row)
        self._end(told.error)

    def _finish(self, items: Sequence[Item], name: str) -> None:
        """They are where they belong: one, or all of a shard."""
        self._ledger.finish(*(self._outcome(item, "done", name) for item in items))
        if self._shards is not None:
            self._ledger.adopt(name)
        for item in items:
            self._tell_done(item, name)

    def _tell_done(self, item: Item, name: str) -> None:
        self._done += 1
        result = AssetResult(item.row.source, item.row.asset_id, "done", self._where(name))
        if item.done is not None:
            self._on_event(item.done)
            result.views, result.warnings = item.done.views, item.done.warnings
            result.doubts, result.seconds = item.done.doubts, item.done.seconds
            result.sheet = item.done.sheet
        self._on_result(item.row.id, result)

    def _fail(
        self,
        row: Row,
        error: RenderError,
        item: Item | None = None,
        state: str = "failed",
        sha256: str | None = None,
    ) -> None:
        outcome = AssetOutcome(row.id, state, row.attempts, sha256=sha256)
        if item is not None:
            self._preparer.release(item)
            outcome = self._outcome(item, state, None)
        outcome.reason, outcome.message = error.reason, error.message
        outcome.hint, outcome.log = error.hint or None, error.log or None
        outcome.file_type = file_type(row.source)
        self._ledger.finish(outcome)
        self._failed += 1
        self._on_event(Failed(row.asset_id, error.reason, error.message, error.hint, error.log))
        self._on_result(row.id, AssetResult(row.source, row.asset_id, "failed", None, error))
        if self._shards is not None:
            self._pack(self._shards.ended(row.id))

    def _outcome(self, item: Item, state: str, path: str | None) -> AssetOutcome:
        outcome = AssetOutcome(item.row.id, state, item.row.attempts)
        outcome.fingerprint, outcome.path = item.fingerprint, path
        outcome.worker, outcome.bytes = item.lane or None, item.size or None
        outcome.source_bytes, outcome.sha256 = item.source_bytes or None, item.sha256
        outcome.file_type = file_type(item.row.source)
        if item.done is not None:
            outcome.views, outcome.device = item.done.views, item.done.device
            outcome.warnings, outcome.doubts = item.done.warnings, item.done.doubts
            outcome.stages, outcome.seconds = item.done.seconds, item.done.seconds.get("total")
            outcome.license = item.done.source.get("license")
            outcome.sha256 = item.done.source.get("sha256")
            outcome.file_type = item.done.source.get("file_type") or outcome.file_type
            outcome.source_bytes = item.done.source.get("file_size")
        return outcome

    def _where(self, name: str) -> Path | str:
        where = self._store.where(name)
        return where if "://" in where else Path(where)
