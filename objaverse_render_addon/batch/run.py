"""Render a list of assets: :func:`render`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Literal

from ..assets.catalogue import Catalogue
from ..assets.licences import parse_filter
from ..assets.resolve import RepoFormat, Resolver
from ..assets.sources import Source
from ..dataset.filesystems import is_url
from ..errors import InvalidJob
from ..job import RenderJob
from ..words import how_many
from .engine import Engine
from .lanes import capacity
from .lanes.local import Lane, LocalLane
from .lanes.ray import NodeSettings, ray_lanes
from .output import packing
from .output.store import no_empty_folders, open_store, state_folder
from .queue.earlier import check_job, look_at_files, look_at_shards, tell_earlier
from .queue.intake import IdSource, Wanted, take_in
from .queue.ledger import ledger_of_run
from .queue.rows import MERGED
from .results import KEPT_RESULTS, AssetResult, Event, Notice, Report

__all__ = ["AssetResult", "Event", "Report", "render"]

RETRIED: Final = (
    "download-failed", "online-access-denied", "missing-dependency", "device-unavailable",
    "disk-full", "output-not-writable", "output-exists", "source-not-found", "empty-file",
    "truncated-file", "wrong-format", "unsupported-format",
)  # fmt: skip
"""Failures that every run tries again: they pass by themselves, or are told in no time."""


def render(
    sources: Iterable[str | os.PathLike[str] | Source],
    job: RenderJob,
    out: str | Path,
    *,
    on_event: Callable[[Event], None] | None = None,
    on_result: Callable[[AssetResult], None] | None = None,
    on_start: Callable[[dict[str, int]], None] | None = None,
    blender: str | Path | None = None,
    workers: int | None = None,
    gpus: Sequence[int] | None = None,
    timeout: float = 300.0,
    max_memory: int | None = None,
    recycle: int = 1000,
    attempts: int = 2,
    retry: Iterable[str] | Literal["all"] = (),
    overwrite: bool = False,
    ids: IdSource = "name",
    shard: tuple[int, int] | None = None,
    state: str | Path | None = None,
    scratch: str | Path | None = None,
    min_free: int | None = None,
    patience: float = 600.0,
    shard_assets: int = packing.BLOCK,
    shard_bytes: int = packing.MAX_BYTES,
    previews: str | Path | None = None,
    provenance: dict[str, dict[str, Any]] | None = None,
    lookup: Callable[[str], dict[str, Any]] | None = None,
    licences: str | None = None,
    allow_outside: Sequence[str | Path] = (),
    cancel: threading.Event | None = None,
    download_dir: str | Path | None = None,
    keep_downloads: bool = True,
    save_repo_format: RepoFormat = "none",
    endpoint: str | None = None,
    online: bool = True,
    cluster: Literal["ray"] | None = None,
    address: str | None = None,
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
        on_event: Told of every stage, view and outcome as it happens.
        on_result: Told of every asset as it ends, also of those that no worker saw.
        on_start: Told, before anything is rendered, how many assets are in which state.
        blender: Program of an installed Blender; pip's ``bpy`` otherwise.
        workers: Processes that render; by what the machine has otherwise.
        gpus: Indices of the GPUs to render on; all that the job's device means otherwise.
        timeout: Seconds that one asset may take.
        max_memory: Bytes that a worker may take; its share of 90 % of the machine's otherwise,
            0 for no limit.
        recycle: Assets after which a worker is replaced.
        attempts: Times that an asset may take its worker down before it is given up.
        retry: Reasons of earlier failures to try again, or ``all``.
        overwrite: Render what is finished too.
        ids: Name assets by file name or by content.
        shard: ``(i, n)``: only the ``i``-th of ``n`` parts of the list, counted from 0, with a
            ledger of its own.
        state: Folder for the ledger and for what is not packed yet.
        scratch: Folder for temporary images; memory-backed storage otherwise, where there is some.
        min_free: Bytes of disk that have to stay free; the run waits otherwise.
        patience: Seconds to wait for a full disk or failing storage before the run ends.
        shard_assets: Assets in a WebDataset shard.
        shard_bytes: Bytes from which a shard is split.
        previews: Folder for a PNG of each view as soon as it is there; ``on_event`` is told.
        provenance: Source to what is known of it; goes into the metadata.
        lookup: Gives what a catalogue knows of a source, from any thread; the local index of
            Objaverse otherwise, where there is one.
        licences: Render only what is under one of these, as ``by,cc0``; by the list's or the
            catalogue's word.
        allow_outside: Folders of one's own that assets may read from beside theirs. Not part of the
            job: what is finished stays as it is, with its warnings, until it is overwritten.
        cancel: Set it, from any thread, to stop at once.
        download_dir: Cache of fetched objects; ``~/.objaverse``, as the ``objaverse`` package.
        keep_downloads: Whether what is fetched stays in the cache after rendering.
        save_repo_format: How repositories of Objaverse-XL's GitHub objects are kept.
        endpoint: Server of the Objaverse data set; ``HF_ENDPOINT`` or Hugging Face otherwise.
        online: Whether objects may be fetched.
        cluster: Render on the machines of a Ray cluster; they all have to see ``out``.
        address: Of the cluster's head; one on this machine otherwise.
        lanes: Makes the places to render, of the number of assets that wait.

    Raises:
        InvalidJob: The job is impossible, or a file that it names cannot be used.
        OutputExists: The folder holds assets of another job.
        OutputBusy: Another run works on the folder.
        WorkerStartFailed, MissingDependency, DeviceUnavailable: There is no Blender to render
            with, or not on what was asked for.
        OutputNotWritable, DiskFull: ``out`` cannot be made or written.
        Interrupted: By Ctrl-C or ``cancel``; finished assets stay, and the same call goes on.
    """
    layout = job.output.layout
    if shard is not None and not 0 <= shard[0] < shard[1]:
        raise InvalidJob(
            f"There is no part {shard[0]} of {shard[1]}.", hint="--shard i/n counts from 0 to n-1."
        )
    if cluster is not None and layout == "webdataset" and is_url(out):
        raise InvalidJob(
            "Shards are put together where the run was started, so nodes cannot write to a URL.",
            hint="Use a folder that all nodes see, --layout zip or tar, or --shard I/N.",
        )
    job.check_files()
    given = list(sources)
    folder = Path(state).expanduser() if state else state_folder(out)
    own = folder if shard is None else folder / f"part-{shard[0]:04d}-of-{shard[1]:04d}"
    store = open_store(out, layout, own)
    allowed = [str(Path(one).expanduser().absolute()) for one in allow_outside]
    with ExitStack() as stack:
        folders = [folder, store.staging, *([] if is_url(out) else [Path(store.address)])]
        stack.enter_context(no_empty_folders(*folders))
        store.check()
        ledger = stack.enter_context(ledger_of_run(folder, store.address, shard))
        resolver = stack.enter_context(
            Resolver(
                download_dir, endpoint, online=online, keep=keep_downloads,
                save_repo_format=save_repo_format,
            )
        )  # fmt: skip
        if lookup is None:
            catalogue = Catalogue.existing(resolver.folder)
            if catalogue is not None:
                lookup = stack.enter_context(catalogue).known
        wanted = None
        if licences is not None:
            wanted = Wanted(parse_filter(licences), lookup or _nothing)
        ledger.reset_in_hand()
        check_job(ledger, job, store, overwrite)
        request = take_in(ledger, given, ids, shard, wanted, overwrite)
        if shard is None and ledger.get(MERGED):
            # Whatever parts were merged, this is all that is asked for now.
            ledger.put(MERGED, "")
        if wanted is not None and wanted.left_out and on_event:
            on_event(
                Notice(
                    f"Left out: {how_many(wanted.left_out, 'asset')} whose licence is not among "
                    f"{licences}, or not known."
                )
            )
        if layout == "webdataset":
            look_at_shards(ledger, store, job, overwrite)
        else:
            look_at_files(ledger, store, request)
        ledger.retry(RETRIED, request)
        ledger.retry(None if retry == "all" else retry, request)
        collected: list[tuple[int, AssetResult]] = []
        report = Report()

        def collect(row: int, result: AssetResult) -> None:
            report.add(result)
            if len(collected) < KEPT_RESULTS:
                collected.append((row, result))
            if on_result:
                on_result(result)

        def make_lanes(assets: int) -> Sequence[tuple[str, Lane]]:
            if cluster is not None:
                settings = NodeSettings(
                    out=str(out) if is_url(out) else store.address,
                    layout=layout,
                    blender=str(blender) if blender else None,
                    timeout=timeout,
                    max_memory=max_memory or 0,
                    recycle=recycle,
                    allow_outside=allowed,
                    scratch=str(scratch) if scratch else None,
                    download_dir=str(download_dir) if download_dir else None,
                    keep_downloads=keep_downloads,
                    save_repo_format=save_repo_format,
                    endpoint=endpoint,
                    online=online,
                )
                return ray_lanes(settings, job, address=address, workers=workers, assets=assets)
            places = capacity.places(job, workers=workers, wanted_gpus=gpus, assets=assets)
            limit = max_memory
            if limit is None:
                limit = int(0.9 * capacity.memory() / len(places))
            return [
                (
                    place.name,
                    LocalLane(
                        place,
                        blender=Path(blender) if blender else None,
                        scratch=Path(scratch) if scratch else None,
                        timeout=timeout,
                        max_memory=limit,
                        previews=str(previews or ""),
                        recycle=recycle,
                        allow_outside=allowed,
                    ),
                )
                for place in places
            ]

        counts = ledger.counts(request)
        if on_start:
            on_start(counts)
        tell_earlier(ledger, request, store, collect, report)
        if counts["waiting"]:
            made = (lanes or make_lanes)(counts["waiting"])
            shards = None
            if layout == "webdataset":
                prefix = "shard" if shard is None else f"shard-{shard[0]:04d}"
                shards = packing.Shards(
                    store, ledger, request,
                    prefix=prefix, block=shard_assets, max_bytes=shard_bytes,
                )  # fmt: skip
            Engine(
                job=job,
                store=store,
                ledger=ledger,
                request=request,
                lanes=made,
                fetch=cluster is None,
                resolver=resolver,
                shards=shards,
                attempts=attempts,
                patience=patience,
                min_free=min_free,
                provenance=provenance or {},
                lookup=lookup or _nothing,
                on_event=on_event or _ignore,
                on_result=collect,
                cancel=cancel or threading.Event(),
            ).run()
    collected.sort(key=lambda pair: pair[0])
    report.results = [result for _, result in collected]
    return report


def _ignore(_: Event) -> None:
    pass


def _nothing(_: str) -> dict[str, Any]:
    return {}
