"""Lanes that render nothing: they put a small finished asset where a worker would, by plan."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from objaverse_render_addon.batch import engine
from objaverse_render_addon.batch.lanes.local import Lane, Progress
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.dataset.layout import METADATA, new_writer, size_of
from objaverse_render_addon.dataset.metadata import source_record
from objaverse_render_addon.dataset.reader import AssetReader, Dataset
from objaverse_render_addon.errors import Interrupted, RenderError
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.worker.protocol import Done, RenderAsset, Stage

ROOT = Path(__file__).parent.parent
LAYOUTS = ("zip", "tar", "folder", "webdataset")
Act = Callable[[RenderAsset, int], None]


def make_job(layout: str = "zip", **values: Any) -> RenderJob:
    return RenderJob().with_values({"files.layout": layout, "cameras.views": 1, **values})


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

    def render(self, task: RenderAsset, tell: Progress) -> Done:
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


def stopping_lane(count: int, cancel: threading.Event) -> PlanLane:
    """A lane that sets ``cancel`` when it has rendered so many, and renders no more."""

    def stop(*_: object) -> None:
        if len(lane.rendered) == count:
            cancel.set()
            lane.sleep(30)

    lane = PlanLane(None, stop)
    return lane


def write_asset(task: RenderAsset, padding: int = 100) -> Done:
    job = RenderJob.from_dict(task.job)
    source = {**source_record(Path(task.path), task.source), **task.provenance}
    record = {
        **source, "id": task.asset_id, "job": job.resolved().to_dict(), "seed": job.seed,
        "job_fingerprint": job.fingerprint(), "views": [],
        "render_settings": {"num_views": 1, "device": "a plan"}, "seconds": {"total": 0.01},
    }  # fmt: skip
    writer = new_writer(Path(task.out), task.asset_id, job.files.layout)
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
        task.asset_id, str(final), 1, seconds={"total": 0.01}, source=source, device="a plan",
        size=size,
    )


def lanes(*made: Lane) -> Callable[[int], Sequence[tuple[str, Lane]]]:
    return lambda _: [(f"plan {number}", lane) for number, lane in enumerate(made)]


CALLED = ("on_event", "on_result", "on_start", "cancel")


def run(sources: Iterable[Any], out: Path | str, *made: Lane, job: Any = None, **options: Any):
    """``render`` with such lanes; two of them where none is given."""
    made = made or (PlanLane(), PlanLane())
    called = {name: options.pop(name) for name in CALLED if name in options}
    return render(
        list(sources),
        job or make_job(),
        out,
        RunOptions.of(**{"online": False, **options}),
        lanes=lanes(*made),
        **called,
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


def fails(error: RenderError, *ids: str, times: int = 10**6) -> Act:
    def act(task: RenderAsset, attempt: int) -> None:
        if task.asset_id in ids and attempt <= times:
            raise error

    return act


# --- A run in a process of its own ----------------------------------------------------------


def in_process(
    sources: list[str], out: Path | str, log: Path, *, prefix: Sequence[str] = (), **plan: Any
) -> subprocess.Popen[str]:
    """A run with such lanes that can be killed.

    Args:
        log: Gets a line per asset that was rendered to its end.
        prefix: Of the command.
        plan: ``layout``, ``lanes``, ``seconds`` per asset, ``padding``, ``die`` (a method and how
            often it may be called before the process is killed), ``look`` (seconds between two
            looks at the storage), ``options`` of ``render``.
    """
    plan = {**plan, "sources": sources, "out": str(out), "log": str(log)}
    return subprocess.Popen(
        [*prefix, sys.executable, str(Path(__file__).resolve()), json.dumps(plan)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=heed_interrupts if os.name == "posix" else None,
    )  # fmt: skip


def heed_interrupts() -> None:
    """In a new process: what a shell runs in its background ignores SIGINT, children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def rendered_in(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


def _main(plan: dict[str, Any]) -> None:
    class LogLane(PlanLane):
        def render(self, task: RenderAsset, tell: Progress) -> Done:
            self.sleep(plan.get("seconds", 0.0))
            done = super().render(task, tell)
            with Path(plan["log"]).open("a") as log:
                log.write(f"{task.asset_id}\n")
            return done

    engine._LOOK = plan.get("look", engine._LOOK)  # type: ignore[misc]
    if "die" in plan:
        _die_in(*plan["die"])
    made = [LogLane(padding=plan.get("padding", 100)) for _ in range(plan.get("lanes", 3))]
    options = plan.get("options", {})
    if "shard" in options:
        options["shard"] = tuple(options["shard"])
    job = make_job(plan.get("layout", "zip"), **plan.get("job", {}))

    def say(event: Any) -> None:
        if event.kind == "notice":
            print("notice", event.text, flush=True)

    def tell(result: Any) -> None:
        print("result", result.status, result.asset_id, flush=True)

    def begin(_: object) -> None:
        print("start", flush=True)

    try:
        report = run(
            plan["sources"], plan["out"], *made, job=job, on_event=say, on_result=tell,
            on_start=begin, **options,
        )  # fmt: skip
    except RenderError as error:
        print("error", error.reason, error, flush=True)
        sys.exit(error.exit_code)
    print("counts", json.dumps(dict(report.counts)), flush=True)


def _die_in(method: str, after: int, when: str) -> None:
    """Be killed before or after a method does its work, the ``after``-th time."""
    from objaverse_render_addon.batch.output import packing, store
    from objaverse_render_addon.batch.queue import ledger

    rooms = {"Ledger": ledger.Ledger, "Shards": packing.Shards, "Store": store._LocalStore}
    cls, name = rooms[method.split(".")[0]], method.split(".")[1]
    works, left = getattr(cls, name), [after]

    def dying(self: Any, *arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        now = left[0] == 0
        if now and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = works(self, *arguments, **options)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(cls, name, dying)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
