"""Lanes that render nothing: they put a small finished asset where a worker would, by plan."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from objaverse_render_addon.batch.lanes import Lane, Progress, Task
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.dataset.layout import METADATA, new_writer, size_of
from objaverse_render_addon.dataset.metadata import source_record
from objaverse_render_addon.dataset.reader import AssetReader, Dataset
from objaverse_render_addon.errors import Interrupted, RenderError
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.messages import Done, Stage

LAYOUTS = ("zip", "tar", "folder", "webdataset")
Act = Callable[[Task, int], None]


def make_job(layout: str = "zip", **values: Any) -> RenderJob:
    return RenderJob().with_values({"output.layout": layout, "cameras.views": 1, **values})


def make_sources(folder: Path, count: int) -> list[str]:
    """Files that pass for 3D until something opens them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"a{number:04d}.obj" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            path.write_text(f"# {number}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    return [str(path) for path in paths]


class PlanLane:
    """Does what ``act`` says (sleeps, raises), then writes the asset as a worker does.

    Args:
        rendered: Gets the id of every asset that was rendered to its end.
        act: Told the task and how often this asset was tried here.
        padding: Bytes of a file beside the metadata.
    """

    def __init__(
        self, rendered: list[str] | None = None, act: Act | None = None, padding: int = 100
    ) -> None:
        self.rendered = [] if rendered is None else rendered
        self._act, self._padding = act, padding
        self.stopped = threading.Event()
        self.closed = False
        self._tries: Counter[str] = Counter()

    def render(self, task: Task, tell: Progress) -> Done:
        self._tries[task.asset_id] += 1
        tell(Stage(task.asset_id, "render"))
        if self._act is not None:
            self._act(task, self._tries[task.asset_id])
        if self.stopped.is_set():
            raise Interrupted("Stopped.")
        done = write_asset(task, self._padding)
        self.rendered.append(task.asset_id)
        return done

    def sleep(self, seconds: float) -> None:
        if self.stopped.wait(seconds):
            raise Interrupted("Stopped.")

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        self.closed = True


def write_asset(task: Task, padding: int = 100) -> Done:
    job = RenderJob.from_dict(task.job)
    source = {**source_record(task.path, task.source), **task.provenance}
    record = {
        **source, "id": task.asset_id, "job": job.resolved().to_dict(), "seed": job.seed,
        "job_fingerprint": job.fingerprint(), "views": [],
        "render_settings": {"num_views": 1},
    }  # fmt: skip
    writer = new_writer(task.out, task.asset_id, job.output.layout)
    try:
        noise = random.Random(task.asset_id).randbytes(padding)
        writer.add("000.png", noise)
        writer.add(METADATA, json.dumps(record, sort_keys=True).encode())
        final = writer.commit()
    except BaseException:
        writer.abort()
        raise
    size = size_of(final)
    return Done(
        task.asset_id, str(final), 1, [], {}, {"total": 0.01}, "", source, "a plan", 0, size
    )


def lanes(*made: Lane) -> Callable[[int], Sequence[tuple[str, Lane]]]:
    return lambda _: [(f"plan {number}", lane) for number, lane in enumerate(made)]


def run(sources: Iterable[Any], out: Path | str, *made: Lane, job: Any = None, **options: Any):
    """``render`` with such lanes; two of them where none is given."""
    made = made or (PlanLane(), PlanLane())
    return render(
        list(sources), job or make_job(), out, lanes=lanes(*made), **{"online": False, **options}
    )


def files_of(out: Path) -> dict[str, str]:
    """Path to digest of everything that is finished."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(out).parts)
    }


def leftovers(out: Path) -> list[str]:
    """What lies in an output beside finished assets, the ledger and its locks."""
    kept = ("lock", "ledger")
    return [
        str(path.relative_to(out))
        for path in out.rglob("*")
        if path.is_file()
        and any(part.startswith(".") for part in path.relative_to(out).parts)
        and not (path.parent.name == ".state" and path.name.startswith(kept))
    ]


def assets_of(out: Path | str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Id and metadata of every finished asset, each opened."""
    for ref in Dataset.open(out):
        with AssetReader(ref) as reader:
            yield ref.id, reader.metadata


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def fails(error: RenderError, *ids: str, times: int = 10**6) -> Act:
    def act(task: Task, attempt: int) -> None:
        if task.asset_id in ids and attempt <= times:
            raise error

    return act
