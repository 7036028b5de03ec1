"""Render a list of assets: :func:`render`, and what it would do: :func:`plan`."""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ..assets import lists
from ..assets.catalogue import Catalogue
from ..assets.formats import inspect_file
from ..assets.licences import LicenceFilter, parse_filter
from ..assets.resolve import RepoFormat, Resolver
from ..assets.sources import Source, expand
from ..dataset.filesystems import is_url
from ..dataset.storage import AssetRef
from ..errors import DuplicateAsset, InvalidJob, OutputExists, RenderError, from_reason
from ..job import RenderJob, differences
from ..messages import Notice
from ..words import how_many
from . import capacity, packing
from .cluster import NodeSettings, ray_lanes
from .engine import Engine
from .lanes import Lane, LocalLane
from .ledger import FAILED, Entry, Ledger, Outcome, Row, ledger_of_run
from .prepare import Item, check_same
from .results import KEPT_RESULTS, AssetResult, Event, Report
from .store import Store, no_empty_folders, open_store, state_folder

__all__ = ["AssetResult", "Event", "Plan", "Report", "plan", "render"]

IdSource = Literal["name", "sha256"]

RETRIED: Final = (
    "download-failed", "online-access-denied", "missing-dependency", "device-unavailable",
    "disk-full", "output-not-writable", "output-exists", "source-not-found", "empty-file",
    "truncated-file", "wrong-format", "unsupported-format",
)  # fmt: skip
"""Failures that every run tries again: they pass by themselves, or are told in no time."""
_LOOKED_AT: Final = 200_000
"""Finished assets whose files are looked for at the start; of more, the ledger is believed."""


@dataclass(slots=True)
class Plan:
    """What a run would do with one source.

    Attributes:
        action: ``render``, ``skip`` (whole already) or ``fail``.
        path: Path or URL of the finished asset.
    """

    source: str
    asset_id: str
    action: Literal["render", "skip", "fail"]
    path: str
    error: RenderError | None = None


def plan(
    sources: Iterable[str | os.PathLike[str] | Source],
    job: RenderJob,
    out: str | Path,
    *,
    ids: IdSource = "name",
    overwrite: bool = False,
) -> list[Plan]:
    """Look at every source and at what stands in ``out``, without starting Blender.

    Raises:
        InvalidJob: Also where a file that the job names cannot be used.
    """
    job.check_files()
    store = open_store(out, job.output.layout)
    sharded: dict[str, str] = {}
    if job.output.layout == "webdataset":
        for shard in packing.indexed_shards(store):
            sharded.update(dict.fromkeys(packing.assets_in(store, shard), shard))
    seen: dict[str, str] = {}
    plans = []
    for source in expand(sources):
        asset_id = source.name
        where = store.where(store.name_of(asset_id))
        try:
            item = Item(Row(0, source.text, asset_id, "waiting"), job, "")
            file = Path(source.text).expanduser() if source.kind == "path" else None
            if file is not None:
                inspect_file(file)
                asset_id = _name(source, ids)
                where = store.where(store.name_of(asset_id))
                item.source_bytes = file.stat().st_size
            if seen.setdefault(asset_id.lower(), source.text) != source.text:
                raise DuplicateAsset(
                    f"{source.text} and {seen[asset_id.lower()]} would both be named {asset_id}.",
                    hint="They have the same content."
                    if ids == "sha256"
                    else "Use --ids sha256, or render them into different folders.",
                )
            item.job = job.with_values(dict(source.job)) if source.job else job
            item.fingerprint = item.job.fingerprint()
            metadata = None
            if asset_id in sharded:
                where = store.where(sharded[asset_id])
            elif store.exists(store.name_of(asset_id)):
                metadata = store.metadata(store.name_of(asset_id))
            whole = asset_id in sharded or metadata is not None
            if metadata is not None and not overwrite:
                check_same(where, metadata, item, file)
            action: Literal["render", "skip"] = "skip" if whole and not overwrite else "render"
            plans.append(Plan(source.text, asset_id, action, where))
        except RenderError as error:
            plans.append(Plan(source.text, asset_id, "fail", where, error))
    return plans


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
            wanted = _Wanted(parse_filter(licences), lookup or _nothing)
        ledger.reset_in_hand()
        _check_job(ledger, job, store, overwrite)
        request = _take_in(ledger, given, ids, shard, wanted, overwrite)
        if wanted is not None and wanted.left_out and on_event:
            on_event(
                Notice(
                    f"Left out: {how_many(wanted.left_out, 'asset')} whose licence is not among "
                    f"{licences}, or not known."
                )
            )
        if layout == "webdataset":
            _look_at_shards(ledger, store, job, overwrite)
        else:
            _look_at_files(ledger, store, request)
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
                    ),
                )
                for place in places
            ]

        counts = ledger.counts(request)
        if on_start:
            on_start(counts)
        _tell_earlier(ledger, request, store, collect, report)
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


# --- Taking the list in ---------------------------------------------------------------------


def _name(source: Source, ids: IdSource) -> str:
    """The asset's id: its source's name, or its file's SHA-256."""
    if ids == "sha256" and source.kind == "path":
        try:
            with Path(source.text).expanduser().open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            pass  # It fails by this name.
    return source.name


@dataclass(slots=True)
class _Wanted:
    """A filter by licence, and how many assets it left out."""

    filter: LicenceFilter
    lookup: Callable[[str], dict[str, Any]]
    left_out: int = 0

    def __call__(self, source: Source) -> bool:
        licence = source.known.get("license") or self.lookup(source.text).get("license")
        allowed = self.filter.allows(licence)
        self.left_out += not allowed
        return allowed


def _entries(
    sources: Sequence[str | os.PathLike[str] | Source],
    ids: IdSource,
    shard: tuple[int, int] | None,
    wanted: _Wanted | None,
) -> Iterator[Entry]:
    for source in expand(sources):
        if wanted is not None and not wanted(source):
            continue
        asset_id = _name(source, ids)
        # By name, so that two sources of one name meet in the same part.
        if shard and zlib.crc32(asset_id.lower().encode()) % shard[1] != shard[0]:
            continue
        options: dict[str, Any] = {}
        if source.job:
            options["job"] = dict(source.job)
        if source.known:
            options["known"] = dict(source.known)
        yield Entry(source.text, asset_id, options or None)


def _take_in(
    ledger: Ledger,
    sources: Sequence[str | os.PathLike[str] | Source],
    ids: IdSource,
    shard: tuple[int, int] | None,
    wanted: _Wanted | None,
    overwrite: bool,
) -> int:
    """The ledger's number of this request; a long list is read once only."""
    filtered = sorted(wanted.filter.keys) if wanted else None
    digest = hashlib.sha256(repr((ids, shard, filtered)).encode())
    for source in sources:
        digest.update(f"\0{source!r}".encode())
        path = Path(os.fspath(source)) if not isinstance(source, Source) else None
        if path is not None and path.suffix.lower() in lists.EXTENSIONS and path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
            if ids == "name":
                continue
        for entry in expand([source]):
            digest.update(f"\n{entry!r}".encode())
            if ids == "sha256" and entry.kind == "path":
                # Another content is another name.
                digest.update(_stamp(entry.text).encode())
    key = digest.hexdigest()
    known = None if overwrite else ledger.request(key)
    if known is not None:
        return known
    return ledger.add(key, _entries(sources, ids, shard, wanted), replace=overwrite)


def _stamp(path: str) -> str:
    try:
        found = Path(path).expanduser().stat()
    except (OSError, ValueError):
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def _check_job(ledger: Ledger, job: RenderJob, store: Store, overwrite: bool) -> None:
    """Whether the folder was begun with this job.

    Raises:
        OutputExists: With the difference.
    """
    new, old = job.fingerprint(), ledger.get("fingerprint")
    ledger.add_job(new, job.resolved().to_dict())
    if old == new:
        return
    if old is not None:
        if ledger.counts()["done"] and not overwrite:
            changes = differences(ledger.job(old) or {}, job.resolved().to_dict())
            changes = changes or ["the content of cameras.file or lighting.hdri"]
            raise OutputExists(
                f"{store.address} was made differently ({'; '.join(changes[:6])}).",
                hint="Allow overwriting (--overwrite) to replace it, or choose another folder.",
            )
        # What failed by other rules may not fail by these.
        ledger.retry()
    ledger.put("fingerprint", new)


def _look_at_files(ledger: Ledger, store: Store, request: int) -> None:
    """Assets that the ledger calls done and that are not there, or not whole, wait again."""
    if ledger.counts(request)["done"] > _LOOKED_AT:
        return
    there = set(store.names())
    missing = []
    for row, source, path, size, made in list(ledger.done_files(request)):
        now = _size(source) if size else None
        where = Path(store.where(path))
        if path not in there or (made and where.is_file() and _size(str(where)) != made):
            missing.append(row)
        elif now is not None and now != size:
            ledger.finish(
                Outcome(
                    row, "failed", 1, "output-exists",
                    f"{store.where(path)} was made differently (file_size: {size} -> {now}).",
                    "Allow overwriting (--overwrite) to replace it, or choose another folder.",
                )
            )  # fmt: skip
    ledger.wait_again(missing)
    changed = [
        row["id"]
        for row in ledger.assets(FAILED, request=request, limit=_LOOKED_AT)
        if row["source_bytes"] and row["reason"] != "output-exists"
        and _size(row["source"]) not in (None, row["source_bytes"])
    ]  # fmt: skip
    ledger.wait_again(changed)
    ledger.flush()


def _size(source: str) -> int | None:
    try:
        return Path(source).expanduser().stat().st_size
    except (OSError, ValueError):
        return None


def _look_at_shards(ledger: Ledger, store: Store, job: RenderJob, overwrite: bool) -> None:
    """What lies in a shard is done; what lay in one that is gone is not.

    Raises:
        OutputExists: A shard was made by another job, or is to be replaced.
        TruncatedFile, DownloadFailed: An index cannot be read.
    """
    there = packing.indexed_shards(store)
    if overwrite and there:
        raise OutputExists(
            f"{store.address} holds shards, and an asset in a shard cannot be replaced.",
            hint="Choose another folder.",
        )
    known = ledger.shards()
    for shard in known - there:
        ledger.forget_shard(shard)
    fingerprint = job.fingerprint()
    for shard in sorted(there - known):
        inside = packing.assets_in(store, shard)
        rows = (ledger.find(asset_id) for asset_id in inside)
        common = next((row for row in rows if row is not None and not row.options), None)
        if common is not None:
            item = Item(common, job, fingerprint)
            with AssetRef(common.asset_id, "shard", store.where(shard)).open() as reader:
                check_same(store.where(shard), reader.metadata, item, None)
        ledger.adopt(shard, inside)
        for asset_id in inside:
            # A run that was killed may have packed it and not have come to this.
            (store.staging / f"{asset_id}.tar").unlink(missing_ok=True)
    ledger.flush()


def _tell_earlier(
    ledger: Ledger,
    request: int,
    store: Store,
    collect: Callable[[int, AssetResult], None],
    report: Report,
) -> None:
    """Results of what needs no work any more."""
    told = 0
    # Of a list that is too long to tell, the failures.
    for states in (FAILED, ("done",)):
        for row in ledger.assets(states, request=request, limit=KEPT_RESULTS - told):
            told += 1
            collect(row["id"], _earlier(row, store))
    counts = ledger.counts(request)
    report.counts["skipped"] = counts["done"]
    report.counts["failed"] = sum(counts[name] for name in FAILED)


def _earlier(row: dict[str, Any], store: Store) -> AssetResult:
    result = AssetResult(row["source"], row["asset_id"] or "", "skipped")
    if row["state"] == "done":
        where = store.where(row["path"] or store.name_of(row["asset_id"]))
        result.path = where if "://" in where else Path(where)
        result.views = row["views"] or 0
        return result
    result.status = "failed"
    hint = row["hint"] or ""
    if row["asset_id"]:
        hint = f"It failed before; --retry {row['reason']} tries again. {hint}".strip()
    result.error = from_reason(row["reason"] or "", row["message"] or "", hint, row["log"] or "")
    return result
