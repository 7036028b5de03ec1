"""Render a list of assets: :func:`render`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ..assets.catalogue import Catalogue
from ..assets.licenses import parse_filter
from ..assets.resolve import Resolver
from ..assets.sources import Source, classify, path_of
from ..dataset.filesystems import is_url
from ..errors import InvalidJob
from ..job import RenderJob
from ..machine import memory
from ..words import how_many
from ..worker import wall
from .engine import Books, Engine, Listener
from .inputs import check_files
from .lanes import capacity
from .lanes.local import Lane, LocalLane
from .lanes.ray import NodeSettings, ray_lanes
from .options import RunOptions
from .output import packing
from .output.store import Store, no_empty_folders, open_store, state_folder
from .queue.earlier import check_job, reconcile_shards, reconcile_with_output, replay_results
from .queue.intake import EntryFilter, enqueue
from .queue.ledger import Ledger, ledger_of_run
from .queue.rows import MERGED
from .results import KEPT_RESULTS, AssetResult, Event, Notice, Report

__all__ = ["AssetResult", "Event", "Report", "render"]

RETRIED: Final = (
    "download-failed", "online-access-denied", "missing-dependency", "device-unavailable",
    "disk-full", "output-not-writable", "output-exists", "source-not-found", "empty-file",
    "truncated-file", "wrong-format", "unsupported-format",
)  # fmt: skip
"""Failures that every run tries again: they pass by themselves, or are told in no time."""

_OPEN: Final = (
    "This system cannot shut workers in: only the gate keeps assets to their folders. "
    "See docs/security.md; --sandbox off says nothing of it."
)


def render(
    sources: Iterable[str | os.PathLike[str] | Source],
    job: RenderJob,
    out: str | Path,
    options: RunOptions | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
    on_result: Callable[[AssetResult], None] | None = None,
    on_start: Callable[[dict[str, int]], None] | None = None,
    cancel: threading.Event | None = None,
    lanes: Callable[[int], Sequence[tuple[str, Lane]]] | None = None,
) -> Report:
    """Render assets, each into ``out`` under its own name, several at a time.

    A failure is that asset's alone: it is in the report by name, and the others go on. What is
    finished already is skipped, what failed for good is not tried again unless asked; the ledger
    in ``out/.state`` knows (``objaverse-render status``). This process never imports Blender;
    worker processes do.

    Args:
        sources: 3D files, folders of them, UIDs, URLs, or lists of these.
        out: Folder, or URL of one, for the finished assets; made if needed.
        options: How: workers, downloads, storage, names. ``RunOptions.of(timeout=60)``.
        on_event: Called with every stage, view and outcome as it happens.
        on_result: Called with every asset as it ends, also with those that no worker saw.
        on_start: Called, before anything is rendered, with how many assets are in which state.
        cancel: Set it, from any thread, to stop at once.
        lanes: Makes the places to render, of the number of assets that wait.

    Raises:
        InvalidJob: The job is impossible, or a file that it names cannot be used.
        OutputExists: The folder holds assets of another job.
        OutputBusy: Another run works on the folder.
        WorkerStartFailed, MissingDependency, DeviceUnavailable: There is no Blender to render
            with, or not on what was asked for.
        OutputNotWritable, DiskFull: ``out`` cannot be made or written.
        SandboxUnavailable: Workers have to be shut in, and this system cannot.
        Interrupted: By Ctrl-C or ``cancel``; finished assets stay, and the same call goes on. Not
            where every asset had ended before that.
    """
    layout = job.files.layout
    options = options or RunOptions()
    selection, storage, workers = options.selection, options.storage, options.workers
    shard = selection.shard
    if workers.cluster is not None and layout == "webdataset" and is_url(out):
        raise InvalidJob(
            "Shards are put together where the run was started, so nodes cannot write to a URL.",
            hint="Use a folder that all nodes see, --layout zip or tar, or --shard I/N.",
        )
    check_files(job)
    if workers.cluster is None:
        wall.is_wanted(workers.sandbox)
    given = list(sources)
    folder = Path(storage.state).expanduser() if storage.state else state_folder(out)
    own = folder if shard is None else folder / f"part-{shard[0]:04d}-of-{shard[1]:04d}"
    store = open_store(out, layout, own)
    with ExitStack() as stack:
        folders = [folder, store.staging, *([] if is_url(out) else [Path(store.address)])]
        stack.enter_context(no_empty_folders(*folders))
        store.check()
        ledger = stack.enter_context(ledger_of_run(folder, store.address, shard))
        resolver = stack.enter_context(options.fetching.resolver())
        lookup = selection.lookup
        if lookup is None:
            catalogue = Catalogue.existing(resolver.folder)
            lookup = stack.enter_context(catalogue).known if catalogue is not None else _nothing
        licenses = parse_filter(selection.licenses) if selection.licenses is not None else None
        wanted = EntryFilter(licenses, lookup)
        ledger.reset_in_hand()
        check_job(ledger, job, store, selection.overwrite)
        request = enqueue(ledger, given, selection.ids, shard, wanted, selection.overwrite)
        if shard is None and ledger.get(MERGED):
            # Whatever parts were merged, this is all that is asked for now.
            ledger.put(MERGED, "")
        for text in _left_out(wanted, selection.licenses):
            if on_event:
                on_event(Notice(text))
        if layout == "webdataset":
            reconcile_shards(ledger, store, job, selection.overwrite)
        else:
            reconcile_with_output(ledger, store, request)
        ledger.retry(RETRIED, request)
        ledger.retry(None if selection.retry == "all" else selection.retry, request)
        collected: list[tuple[int, AssetResult]] = []
        report = Report()

        def collect(row: int, result: AssetResult) -> None:
            report.add(result)
            if len(collected) < KEPT_RESULTS:
                collected.append((row, result))
            if on_result:
                on_result(result)

        counts = ledger.counts(request)
        if on_start:
            on_start(counts)
        replay_results(ledger, request, store, collect, report)
        if counts["waiting"]:
            waiting = counts["waiting"]
            if on_event and workers.sandbox == "auto" and not wall.available():
                on_event(Notice(_OPEN))
            made = lanes(waiting) if lanes else _lanes(
                job, store, options, waiting, _folders(ledger, request, resolver)
            )
            shards = None
            if layout == "webdataset":
                prefix = "shard" if shard is None else f"shard-{shard[0]:04d}"
                shards = packing.Shards(
                    store, ledger, request,
                    prefix=prefix, block=storage.shard_assets, max_bytes=storage.shard_bytes,
                )  # fmt: skip
            Engine(
                job,
                options,
                Books(store, ledger, request, shards),
                made,
                # Lanes on other machines fetch for themselves.
                None if workers.cluster else resolver,
                Listener(lookup, on_event or _ignore, collect),
                cancel or threading.Event(),
            ).run()
    collected.sort(key=lambda pair: pair[0])
    report.results = [result for _, result in collected]
    return report


def _left_out(wanted: EntryFilter, licenses: str | None) -> Iterator[str]:
    if wanted.unlicensed:
        assets = how_many(wanted.unlicensed, "asset")
        yield f"Left out: {assets} whose licence is not among {licenses}, or not known."
    if wanted.junk:
        files = how_many(wanted.junk, "file")
        yield f"Left out: {files} that a system leaves beside assets (._*, __MACOSX and the like)."


def _ignore(_: Event) -> None:
    pass


def _nothing(_: str) -> dict[str, Any]:
    return {}


def _lanes(
    job: RenderJob, store: Store, options: RunOptions, assets: int, folders: Iterable[Path]
) -> Sequence[tuple[str, Lane]]:
    """Where to render so many assets: a cluster, or this machine's GPUs or cores."""
    workers = options.workers
    if workers.cluster is not None:
        settings = NodeSettings(store.address, job.files.layout, workers, options.fetching)
        return ray_lanes(settings, job, assets)
    known = wall.gathered(folders) if wall.is_wanted(workers.sandbox) else ()
    places = capacity.places(job, workers=workers.workers, wanted_gpus=workers.gpus, assets=assets)
    limit = workers.max_memory
    if limit is None:
        limit = int(0.9 * memory() / len(places))
    return [
        (place.name, LocalLane(place, replace(workers, max_memory=limit), known))
        for place in places
    ]


def _folders(ledger: Ledger, request: int, resolver: Resolver) -> Iterator[Path]:
    """Where the assets of a request lie, or will."""
    yield resolver.folder.absolute().resolve()
    for source in ledger.waiting_sources(request):
        if classify(source) == "path":
            yield path_of(source).absolute().parent
