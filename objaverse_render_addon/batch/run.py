"""Render a list of assets: :func:`render` and its report."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from ..assets.formats import inspect_file
from ..assets.objaverse import ObjaverseCache, as_uid
from ..assets.sources import expand
from ..dataset.layout import asset_path, read_metadata, remove_parts
from ..errors import (
    DuplicateAsset,
    Interrupted,
    MissingDependency,
    OutOfMemory,
    OutputExists,
    RenderError,
    WorkerCrashed,
    WorkerStartFailed,
    WorkerTimeout,
    from_os_error,
    from_reason,
)
from ..job import RenderJob, differences
from ..messages import Done, Failed, FrameDone, Message, RenderAsset, Stage
from .process import WorkerProcess

__all__ = ["AssetResult", "Event", "Plan", "Report", "plan", "render"]

Event = Stage | FrameDone | Done | Failed
IdSource = Literal["name", "sha256"]
SOME_FAILED: Final = 3


@dataclass(slots=True)
class AssetResult:
    """What became of one asset.

    Attributes:
        status: ``done``, ``skipped`` (it was there already) or ``failed``.
        path: The finished archive or folder.
        doubts: Check name to number of views that it raised a doubt about.
        seconds: Per stage, and ``total``.
        sheet: Path of a contact sheet, where previews were asked for.
    """

    source: str
    asset_id: str
    status: Literal["done", "skipped", "failed"]
    path: Path | None = None
    error: RenderError | None = None
    views: int = 0
    warnings: list[str] = field(default_factory=list)
    doubts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    sheet: str = ""


@dataclass(slots=True)
class Report:
    """What became of a run: one result per source, in their order."""

    results: list[AssetResult] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @property
    def failed(self) -> list[AssetResult]:
        """The results that failed."""
        return [result for result in self.results if result.status == "failed"]

    @property
    def exit_code(self) -> int:
        """0, the code of the one kind of failure there was, or 3 for several kinds."""
        codes = {result.error.exit_code for result in self.failed if result.error}
        return 0 if not codes else codes.pop() if len(codes) == 1 else SOME_FAILED


@dataclass(slots=True)
class Plan:
    """What a run would do with one source.

    Attributes:
        action: ``render``, ``skip`` (whole already) or ``fail``.
    """

    source: str
    asset_id: str
    action: Literal["render", "skip", "fail"]
    path: Path
    error: RenderError | None = None


def asset_name(path: Path, ids: IdSource) -> str:
    """The asset's id: its file's name, made safe for every file system, or its SHA-256."""
    if ids == "sha256":
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    name = re.sub(r"[^\w\-]+", "_", path.stem).strip("_")
    return name[:120] or "asset"


def plan(
    sources: Iterable[str | Path], job: RenderJob, out: Path, *, ids: IdSource = "name",
    overwrite: bool = False,
) -> list[Plan]:
    """Look at every source and at what stands in ``out``, without starting Blender."""
    fingerprint = job.fingerprint()
    seen: dict[str, str] = {}
    plans = []
    for source in (entry.text for entry in expand(map(str, sources))):
        uid = as_uid(source)
        asset_id, path = uid or Path(source).stem, out
        try:
            file = None if uid else Path(source).expanduser()
            if file is not None:
                inspect_file(file)
                asset_id = asset_name(file, ids)
            path = asset_path(out, asset_id, job.output.layout)
            if seen.setdefault(asset_id.lower(), source) != source:
                raise DuplicateAsset(
                    f"{source} and {seen[asset_id.lower()]} would both be named {asset_id}.",
                    hint="They have the same content."
                    if ids == "sha256"
                    else "Use --ids sha256, or render them into different folders.",
                )
            whole = path.exists() and not overwrite and _is_this(path, job, fingerprint, file)
            plans.append(Plan(source, asset_id, "skip" if whole else "render", path))
        except RenderError as error:
            plans.append(Plan(source, asset_id, "fail", path, error))
    return plans


def _is_this(path: Path, job: RenderJob, fingerprint: str, file: Path | None) -> bool:
    """Whether a finished asset is what this job would make of this file.

    Raises:
        OutputExists: It is whole, but of something else.
    """
    found = read_metadata(path)
    if found is None:
        return False
    changes = []
    if found.get("job_fingerprint") != fingerprint:
        changes = differences(found.get("job", {}), job.resolved().to_dict())
        changes = changes or ["the content of cameras.file or lighting.hdri"]
    if file is not None and found.get("file_size") != file.stat().st_size:
        changes.append(f"file_size: {found.get('file_size')} -> {file.stat().st_size}")
    if changes:
        raise OutputExists(
            f"{path} was made differently ({'; '.join(changes[:6])}).",
            hint="Allow overwriting (--overwrite) to replace it, or choose another folder.",
        )
    return True


def render(
    sources: Iterable[str | Path],
    job: RenderJob,
    out: str | Path,
    *,
    on_event: Callable[[Event], None] | None = None,
    on_result: Callable[[AssetResult], None] | None = None,
    blender: str | Path | None = None,
    timeout: float = 300.0,
    max_memory: int | None = None,
    overwrite: bool = False,
    ids: IdSource = "name",
    scratch: str | Path | None = None,
    previews: str | Path | None = None,
    provenance: dict[str, dict[str, Any]] | None = None,
    cancel: threading.Event | None = None,
    download_dir: str | Path | None = None,
    endpoint: str | None = None,
    online: bool = True,
) -> Report:
    """Render assets one after the other, each into ``out`` under its own name.

    A failure is that asset's alone: it is in the report by name, and the next one goes on. What
    is whole already is skipped. This process never imports Blender; a worker process does.

    Args:
        sources: 3D files, folders of them, Objaverse 1.0 UIDs, or text files that list these.
        out: Folder for the finished assets; made if needed.
        on_event: Told of every stage, view and outcome as it happens.
        on_result: Told of every asset as it ends, also of those that no worker saw.
        blender: Program of an installed Blender; pip's ``bpy`` otherwise.
        timeout: Seconds that one asset may take.
        max_memory: Bytes that the worker may take; 90 % of the machine's otherwise, 0 for no
            limit.
        ids: Name assets by file name or by content.
        scratch: Folder for temporary images; memory-backed storage otherwise, where there is some.
        previews: Folder for a PNG of each view as soon as it is there; ``on_event`` is told.
        provenance: Source to what is known of it; goes into the metadata.
        cancel: Set it, from any thread, to stop: as Ctrl-C does.
        download_dir: Cache of fetched objects; ``~/.objaverse``, as the ``objaverse`` package.
        endpoint: Server of the Objaverse data set; ``HF_ENDPOINT`` or Hugging Face otherwise.
        online: Whether objects may be fetched.

    Raises:
        InvalidJob: The job is impossible.
        WorkerStartFailed, MissingDependency: There is no Blender to render with.
        OutputNotWritable, DiskFull: ``out`` cannot be made or written.
        Interrupted: By Ctrl-C or ``cancel``; finished assets stay, the one in hand leaves
            nothing.
    """
    out = Path(out).expanduser().resolve()
    _check_writable(out)
    run = _Run(
        job=job,
        out=out,
        blender=Path(blender) if blender else None,
        scratch=Path(scratch) if scratch else None,
        timeout=timeout,
        max_memory=_default_memory() if max_memory is None else max_memory,
        previews=str(previews or ""),
        provenance=provenance or {},
        objects=ObjaverseCache(
            Path(download_dir).expanduser() if download_dir else None, endpoint, online=online
        ),
        on_event=on_event or _ignore,
        cancel=cancel or threading.Event(),
    )
    report = Report()
    try:
        for item in plan(sources, job, out, ids=ids, overwrite=overwrite):
            result = run.one(item)
            report.results.append(result)
            if on_result:
                on_result(result)
    except KeyboardInterrupt as error:
        run.abandon()
        raise Interrupted(
            f"Stopped after {len(report.results)} assets.",
            hint="Run the same command again to go on.",
        ) from error
    finally:
        run.close()
    return report


@dataclass(slots=True)
class _Run:
    """One run: its settings, and the worker that it keeps from asset to asset."""

    job: RenderJob
    out: Path
    blender: Path | None
    scratch: Path | None
    timeout: float
    max_memory: int
    previews: str
    provenance: dict[str, dict[str, Any]]
    objects: ObjaverseCache
    on_event: Callable[[Event], None]
    cancel: threading.Event
    _worker: WorkerProcess | None = None
    _current: str = ""

    def one(self, item: Plan) -> AssetResult:
        """Do what the plan says for one asset; only an interruption raises."""
        if self.cancel.is_set():
            raise KeyboardInterrupt
        if item.action == "skip":
            return AssetResult(item.source, item.asset_id, "skipped", item.path)
        error = item.error
        if error is None:
            self._current = item.asset_id
            try:
                return self._render(item)
            except (MissingDependency, WorkerStartFailed):
                raise
            except Interrupted as interrupted:
                raise KeyboardInterrupt from interrupted
            except (WorkerCrashed, WorkerTimeout) as failure:
                self.abandon()
                error = type(failure)(
                    f"{item.source}: {_sentence(failure, self.timeout)}",
                    hint=failure.hint,
                    log=failure.log,
                )
            except RenderError as failure:
                error = failure
        self.on_event(
            Failed(item.asset_id, error.reason, error.message, error.hint, error.log)
        )
        return AssetResult(item.source, item.asset_id, "failed", None, error)

    def _render(self, item: Plan) -> AssetResult:
        file, known = self._locate(item)
        if self._worker is None:
            self._worker = WorkerProcess(self.blender, self.scratch)
        self._worker.send(
            RenderAsset(
                source=item.source,
                asset_id=item.asset_id,
                job=self.job.to_dict(),
                out=str(self.out),
                scratch=str(self._worker.scratch),
                provenance={**known, **self.provenance.get(item.source, {}), "path": str(file)},
                max_memory=self.max_memory,
                previews=self.previews,
            )
        )
        answer = self._converse(self._worker)
        if isinstance(answer, Failed):
            if answer.reason == OutOfMemory.reason:
                # The worker ended itself with this message.
                self.abandon()
            raise from_reason(answer.reason, answer.message, answer.hint, answer.log)
        return AssetResult(
            item.source,
            item.asset_id,
            "done",
            Path(answer.path),
            None,
            answer.views,
            answer.warnings,
            answer.doubts,
            answer.seconds,
            answer.sheet,
        )

    def _locate(self, item: Plan) -> tuple[Path, dict[str, Any]]:
        """The asset's file on this machine, and what is known of it."""
        uid = as_uid(item.source)
        if uid is None:
            return Path(item.source).expanduser().resolve(), {}
        self.on_event(Stage(item.asset_id, "download"))
        path = self.objects.fetch(uid, cancel=self.cancel)
        return path, {"file_identifier": f"https://sketchfab.com/3d-models/{uid}"}

    def _converse(self, worker: WorkerProcess) -> Done | Failed:
        deadline = time.monotonic() + self.timeout
        while True:
            message = self._receive(worker, deadline)
            if isinstance(message, Failed):
                return message
            if isinstance(message, Event):
                self.on_event(message)
            if isinstance(message, Done):
                return message

    def _receive(self, worker: WorkerProcess, deadline: float) -> Message:
        while True:
            if self.cancel.is_set():
                raise KeyboardInterrupt
            try:
                return worker.receive(min(0.1, max(0.0, deadline - time.monotonic())))
            except WorkerTimeout:
                if time.monotonic() >= deadline:
                    raise

    def abandon(self) -> None:
        """End the worker at once and remove what it left of the asset in hand."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
            remove_parts(self.out, self._current)

    def close(self) -> None:
        """End the worker in peace."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def _sentence(error: RenderError, timeout: float) -> str:
    if isinstance(error, WorkerTimeout):
        return f"not done after {timeout:g} seconds."
    return error.message


def _ignore(_: Event) -> None:
    pass


def _check_writable(out: Path) -> None:
    probe = out / f".objaverse-render-{os.getpid()}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise from_os_error(error, f"The output folder {out}") from error


def _default_memory() -> int:
    """90 % of the memory that this machine, or its container, has."""
    limits = []
    with contextlib.suppress(ValueError, OSError, AttributeError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(ValueError, OSError):
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return int(0.9 * min(limits)) if limits else 0
