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
from ..assets.sources import expand
from ..dataset.layout import asset_path, read_metadata, remove_parts
from ..errors import (
    DuplicateAsset,
    Interrupted,
    OutputExists,
    RenderError,
    WorkerCrashed,
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
    for source in expand(map(str, sources)):
        asset_id, path = Path(source).stem, out
        try:
            file = Path(source).expanduser()
            inspect_file(file)
            asset_id = asset_name(file, ids)
            path = asset_path(out, asset_id, job.output.layout)
            if seen.setdefault(asset_id.lower(), source) != source:
                raise DuplicateAsset(
                    f"{source} and {seen[asset_id.lower()]} would both be named {asset_id}.",
                    hint="Use --ids sha256, or render them into different folders.",
                )
            whole = path.exists() and not overwrite and _is_this(path, job, fingerprint, file)
            plans.append(Plan(source, asset_id, "skip" if whole else "render", path))
        except RenderError as error:
            plans.append(Plan(source, asset_id, "fail", path, error))
    return plans


def _is_this(path: Path, job: RenderJob, fingerprint: str, file: Path) -> bool:
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
    if found.get("file_size") != file.stat().st_size:
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
) -> Report:
    """Render assets one after the other, each into ``out`` under its own name.

    A failure is that asset's alone: it is in the report by name, and the next one goes on. What
    is whole already is skipped. This process never imports Blender; a worker process does.

    Args:
        sources: 3D files, folders of them, or text files that list them.
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

    Raises:
        InvalidJob: The job is impossible.
        WorkerStartFailed, MissingDependency: There is no Blender to render with.
        OutputNotWritable, DiskFull: ``out`` cannot be made or written.
        Interrupted: By Ctrl-C or ``cancel``; finished assets stay, the one in hand leaves
            nothing.
    """
    out = Path(out).expanduser().resolve()
    _check_writable(out)
    limit = _default_memory() if max_memory is None else max_memory
    report = Report()
    worker: WorkerProcess | None = None

    def finish(result: AssetResult) -> None:
        report.results.append(result)
        if on_result:
            on_result(result)

    try:
        for item in plan(sources, job, out, ids=ids, overwrite=overwrite):
            if cancel is not None and cancel.is_set():
                raise _Cancelled
            if item.action != "render":
                status: Any = "skipped" if item.action == "skip" else "failed"
                finish(AssetResult(item.source, item.asset_id, status, item.path, item.error))
                continue
            if worker is None:
                worker = WorkerProcess(
                    Path(blender) if blender else None, Path(scratch) if scratch else None
                )
            request = RenderAsset(
                source=item.source,
                asset_id=item.asset_id,
                job=job.to_dict(),
                out=str(out),
                scratch=str(worker.scratch),
                provenance={
                    **(provenance or {}).get(item.source, {}),
                    "path": str(Path(item.source).expanduser().resolve()),
                },
                max_memory=limit,
                previews=str(previews or ""),
            )
            try:
                finish(_converse(worker, request, on_event or _ignore, timeout, cancel))
            except (WorkerCrashed, WorkerTimeout) as error:
                worker.kill()
                worker = None
                remove_parts(out, item.asset_id)
                named = type(error)(
                    f"{item.source}: {_sentence(error, timeout)}", hint=error.hint, log=error.log
                )
                if on_event:
                    on_event(Failed(item.asset_id, named.reason, named.message, named.hint, named.log))
                finish(AssetResult(item.source, item.asset_id, "failed", None, named))
            else:
                last = report.results[-1]
                if last.error is not None and last.error.reason == "out-of-memory":
                    worker.kill()
                    worker = None
                    remove_parts(out, item.asset_id)
    except (KeyboardInterrupt, _Cancelled) as error:
        if worker is not None:
            worker.kill()
            worker = None
            remove_parts(out, item.asset_id)
        raise Interrupted(
            f"Stopped after {len(report.results)} assets.",
            hint="Run the same command again to go on.",
        ) from error
    finally:
        if worker is not None:
            worker.close()
    return report


def _sentence(error: RenderError, timeout: float) -> str:
    if isinstance(error, WorkerTimeout):
        return f"not done after {timeout:g} seconds."
    return error.message


class _Cancelled(Exception):
    """Somebody set the event."""


def _ignore(_: Event) -> None:
    pass


def _converse(
    worker: WorkerProcess,
    request: RenderAsset,
    on_event: Callable[[Event], None],
    timeout: float,
    cancel: threading.Event | None,
) -> AssetResult:
    deadline = time.monotonic() + timeout
    worker.send(request)
    while True:
        message = _receive(worker, deadline, cancel)
        if isinstance(message, Event):
            on_event(message)
        if isinstance(message, Done):
            return AssetResult(
                request.source,
                request.asset_id,
                "done",
                Path(message.path),
                None,
                message.views,
                message.warnings,
                message.doubts,
                message.seconds,
                message.sheet,
            )
        if isinstance(message, Failed):
            error = from_reason(message.reason, message.message, message.hint, message.log)
            return AssetResult(request.source, request.asset_id, "failed", None, error)


def _receive(
    worker: WorkerProcess, deadline: float, cancel: threading.Event | None
) -> Message:
    while cancel is not None:
        if cancel.is_set():
            raise _Cancelled
        try:
            return worker.receive(min(0.1, max(0.0, deadline - time.monotonic())))
        except WorkerTimeout:
            if time.monotonic() >= deadline:
                raise
    return worker.receive(deadline - time.monotonic())


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
