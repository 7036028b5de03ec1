"""The process that has Blender in it: reads requests, renders, answers.

Started by :mod:`objaverse_render_addon.worker.process`, with pip's ``bpy`` as
``python -m objaverse_render_addon.worker`` or inside an installed Blender. It ends when its
standard input does, so that it never outlives the process that started it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import platform
import queue
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from .. import __version__
from ..errors import (
    CheckFailed,
    DiskFull,
    OutOfMemory,
    RenderError,
    RenderFailed,
    UnexpectedError,
    from_os_error,
)
from ..job import RenderJob
from .protocol import (
    SCRATCH,
    Describe,
    Described,
    Done,
    Failed,
    FrameDone,
    Message,
    Quit,
    Ready,
    RenderAsset,
    Stage,
    decode,
    encode,
)

__all__ = ["main"]

_log = logging.getLogger(__name__)
_BACKLOG = 8
_NO_ROOM = 1 << 20


class _Channel:
    """The parent's end of the conversation; safe to use from any thread."""

    def __init__(self) -> None:
        # Blender, its add-ons and C libraries print to descriptor 1 whenever they like. The
        # messages keep a copy of it, everybody else gets the log.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        sys.stdout.flush()
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        with self._lock:
            try:
                self._out.write(encode(message) + "\n")
                self._out.flush()
            except OSError:
                _leave(1)  # Nobody listens any more.


def _leave(code: int) -> NoReturn:
    """End at once, from any thread, also in the middle of a render."""
    _abort_current()
    # Whoever made the folder may be gone, and it may be in memory.
    for folder in _scratch:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(code)


_current_writer: list[Any] = []
_scratch: set[str] = set()


def _abort_current() -> None:
    for writer in _current_writer:
        writer.abort()


def _listen(requests: queue.SimpleQueue[Message]) -> None:
    for line in sys.stdin:
        message = decode(line)
        if message is not None:
            requests.put(message)
    _leave(0)


def main() -> None:
    """Serve requests until told to quit or until the input ends."""
    channel = _Channel()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    if folder := os.environ.get(SCRATCH):
        _scratch.add(folder)
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    import bpy

    from ..blender import importers
    from ..blender.compat import leave_extensions_alone

    _scratch.update(_blenders_folder())
    leave_extensions_alone()
    # Factory settings know no extensions, and Blender then forgets where their wheels are.
    with contextlib.suppress(ImportError):
        importlib.import_module("OpenEXR")
    # What the user's own Blender is set to must not show in the data.
    bpy.ops.wm.read_factory_settings(use_empty=True)
    importers.forbid_scripts()
    channel.send(Ready(bpy.app.version_string, platform.python_version(), os.getpid()))
    while True:
        request = requests.get()
        if isinstance(request, Quit):
            _leave(0)
        elif isinstance(request, Describe):
            channel.send(Described(_describe()))
        elif isinstance(request, RenderAsset):
            _scratch.add(request.scratch)
            answer = _answer(request, channel.send)
            # The USD importer leaves textures there, under names that the next asset may have too.
            for folder in _blenders_folder():
                shutil.rmtree(folder, ignore_errors=True)
                Path(folder).mkdir(mode=0o700, exist_ok=True)
            channel.send(answer)


def _blenders_folder() -> list[str]:
    """Blender's own folder for temporary files; none where it has to use one of everybody."""
    import bpy

    folder = Path(bpy.app.tempdir)
    return [str(folder)] if folder.name.startswith("blender_") and folder.is_dir() else []


def _answer(request: RenderAsset, send: Callable[[Message], None]) -> Message:
    """Render, and turn whatever goes wrong into a named failure."""
    try:
        with _MemoryGuard(request, send):
            return _render(request, send)
    except RenderError as error:
        failure, log = _disk_full(error, request), ""
        name = Path(request.source).name
        if name not in failure.message and not failure.message.startswith(
            f"{request.asset_id}: "
        ):
            failure.message = f"{request.source}: {failure.message}"
    except MemoryError as error:
        failure, log = OutOfMemory(f"{request.source}: out of memory. {error}".strip()), ""
    except OSError as error:
        failure, log = from_os_error(error, f"{request.source}: {error.filename or ''}"), ""
    except Exception as error:
        log = traceback.format_exc()
        failure = UnexpectedError(f"{request.source}: {type(error).__name__}: {error}")
    if log:
        print(log, file=sys.stderr, flush=True)
    return Failed(request.asset_id, failure.reason, failure.message, failure.hint, log)


def _disk_full(error: RenderError, request: RenderAsset) -> RenderError:
    """The cause of an image that Blender did not write whole: it does not say it itself."""
    with contextlib.suppress(OSError):
        if isinstance(error, RenderFailed) and shutil.disk_usage(request.scratch).free < _NO_ROOM:
            return DiskFull(
                f"The folder for temporary images, {request.scratch}, is full.",
                hint="Choose another with --scratch.",
            )
    return error


class _MemoryGuard:
    """Ends the process, with a name for it, before the machine runs out of memory."""

    def __init__(self, request: RenderAsset, send: Callable[[Message], None]) -> None:
        self._request, self._send = request, send
        self._stop = threading.Event()

    def __enter__(self) -> None:
        if self._request.max_memory and _resident_bytes():
            threading.Thread(target=self._watch, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def _watch(self) -> None:
        limit = self._request.max_memory
        while not self._stop.wait(0.2):
            used = _resident_bytes()
            if used > limit:
                error = OutOfMemory(
                    f"{self._request.source}: the worker took {used / 2**20:,.0f} MiB of "
                    f"memory; {limit / 2**20:,.0f} are allowed.",
                    hint="Allow more with --max-memory, or render at a lower resolution.",
                )
                self._send(
                    Failed(self._request.asset_id, error.reason, error.message, error.hint)
                )
                _leave(error.exit_code)


def _resident_bytes() -> int:
    """Memory of this process; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _render(request: RenderAsset, send: Callable[[Message], None]) -> Done:
    from ..blender.engine import open_asset
    from ..dataset import metadata, sheet
    from ..dataset.images import encode_png
    from ..dataset.layout import METADATA, color_file, geometry_files, new_writer, size_of
    from ..frame import Frame

    started = time.perf_counter()
    job = RenderJob.from_dict(request.job).resolved()
    asked = job
    if job.engine.threads is None and request.threads:
        job = job.with_values({"engine.threads": request.threads})
    scratch, out = Path(request.scratch), Path(request.out)
    path = Path(request.provenance.get("path", request.source))
    scene = open_asset(
        path, request.asset_id, job, lambda name: send(Stage(request.asset_id, name)),
        request.folders,
    )
    writer = new_writer(out, request.asset_id, job.output.layout)
    _current_writer.append(writer)
    total = len(scene.views)
    views: list[dict[str, Any]] = []
    doubts: dict[str, int] = {}
    specs = []
    rows: list[list[Any]] = []
    shown = set(sheet.spread(total, 6))

    def write_geometry(frame: Frame, checked: Future[Any]) -> None:
        # While its colour is rendered.
        checked.result()
        since = time.perf_counter()
        for name, data in geometry_files(frame, job.output, scratch):
            writer.add(name, data)
        scene.watch.add("write", since)

    def write_color(frame: Frame, completed: Future[None]) -> None:
        completed.result()
        _refuse_contradictions(frame, request.source)
        for check in frame.checks:
            if check.status == "doubt":
                doubts[check.name] = doubts.get(check.name, 0) + 1
        since = time.perf_counter()
        preview = ""
        if "rgb" in job.output.passes:
            name, data = color_file(frame, job.lighting.background)
            writer.add(name, data)
            if request.previews:
                target = Path(request.previews) / f"{request.asset_id}-{name}"
                target.write_bytes(data)
                preview = str(target)
        if request.previews and frame.view.index in shown:
            cells = [name for name in job.output.passes if name in frame.passes]
            pictures = [sheet.picture_of(name, frame.passes) for name in cells]
            rows.append(
                [
                    sheet.shrink(picture, 160, name)
                    for picture, name in zip(pictures, cells, strict=True)
                ]
            )
        views.append(metadata.view_record(frame, job))
        scene.watch.add("write", since)
        send(FrameDone(request.asset_id, frame.view.index, total, preview))

    try:
        send(Stage(request.asset_id, "render"))
        with ThreadPoolExecutor(1, "write") as pool:
            # Reading a large file once more for its checksum takes longer than a view.
            described = pool.submit(
                metadata.source_record, path, request.source, request.provenance
            )
            pending: list[Future[Any]] = [described]

            def on_geometry(frame: Frame, checked: Future[Any]) -> None:
                pending.append(pool.submit(write_geometry, frame, checked))

            for frame, completed in scene.frames(scratch, on_geometry):
                specs = [frame.spec(name) for name in job.output.passes]
                pending.append(pool.submit(write_color, frame, completed))
                while pending and (pending[0].done() or len(pending) > _BACKLOG):
                    pending.pop(0).result()
            for future in pending:
                future.result()
        source = described.result()
        source.pop("path", None)
        normalization = scene.normalization
        watch = scene.watch.seconds
        record = metadata.asset_record(
            asset_id=request.asset_id,
            source=source,
            scene=scene.record,
            normalization={
                "method": normalization.method,
                "scale": normalization.scale,
                "translation": list(normalization.translation),
            },
            bounds=normalization.bounds,
            # However the work was split up, the same data are the same files.
            job=asked,
            engine=_engine_record(scene),
            passes=specs,
            object_names=scene.object_names,
            views=views,
            seconds={**watch, "total": time.perf_counter() - started},
            warnings=scene.warnings,
            version=__version__,
        )
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
        writer.add(METADATA, text.encode())
        final = writer.commit()
    except BaseException:
        writer.abort()
        raise
    finally:
        _current_writer.clear()
    seconds = {**watch, "total": time.perf_counter() - started}
    picture = ""
    if rows:
        target = Path(request.previews) / f"{request.asset_id}.sheet.png"
        target.write_bytes(encode_png(sheet.compose(rows)))
        picture = str(target)
    return Done(
        request.asset_id,
        str(final),
        total,
        scene.warnings,
        doubts,
        seconds,
        picture,
        source,
        ", ".join(scene.device.names) or scene.device.kind,
        _resident_bytes(),
        size_of(final),
    )


def _refuse_contradictions(frame: Any, source: str) -> None:
    for check in frame.checks:
        if check.status == "failed":
            raise CheckFailed(
                f"{source}: view {frame.view.index} failed the check {check.name} "
                f"({check.value:g}).",
                hint="The data contradict themselves; please report this asset.",
            )


def _engine_record(scene: Any) -> dict[str, Any]:
    import bpy

    from ..blender.engine import BOUNCES, FILTER_WIDTH

    engine = scene.job.engine
    return {
        "engine": engine.engine,
        "geometry_engine": "cycles, one sample at the pixel centre",
        "samples": engine.samples,
        "denoised": scene.denoised,
        "device": scene.device.kind,
        "device_names": list(scene.device.names),
        "bounces": BOUNCES,
        "filter_width_px": FILTER_WIDTH,
        "view_transform": "Standard",
        "blender_version": bpy.app.version_string,
        "blender_build": bpy.app.build_hash.decode(errors="replace"),
        "python_version": platform.python_version(),
        "platform": platform.platform(),
    }


def _describe() -> dict[str, Any]:
    import bpy
    import numpy

    from ..blender import devices, importers

    try:
        import OpenEXR

        exr = OpenEXR.__version__
    except ImportError:
        exr = None
    return {
        "blender": bpy.app.version_string,
        "build": bpy.app.build_hash.decode(errors="replace"),
        "binary": bpy.app.binary_path or "pip bpy",
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "OpenEXR": exr,
        "devices": devices.available_devices(),
        "gpu_ids": devices.gpu_ids(),
        "formats": importers.readable_formats(),
    }


if __name__ == "__main__":
    main()
