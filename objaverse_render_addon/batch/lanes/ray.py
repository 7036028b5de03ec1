"""Lanes on other machines: the same worker, driven by a Ray actor on each.

Ray schedules, watches nodes and carries messages; everything else is what one machine does too.
A node fetches its own assets and brings what it made to the output itself, so that only short
messages travel. The ledger stays with the process that started the run.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ...assets.sources import Source, classify
from ...errors import (
    DeviceUnavailable,
    Interrupted,
    InvalidJob,
    MissingDependency,
    RenderError,
    WorkerCrashed,
    WorkerStartFailed,
    from_reason,
)
from ...job import RenderJob
from ...worker.guardian import ScratchFolder
from ...worker.process import scratch_root
from ...worker.protocol import Done, RenderAsset, Stage
from ...worker.supervisor import Place
from ..options import Fetching, Workers
from ..output.store import open_store
from . import capacity
from .local import Lane, LaneBroken, LocalLane, Progress

__all__ = ["NodeSettings", "RayLane", "make_node_lane", "ray_lanes"]

_ROOM: Final = 60.0
"""Seconds that an asset waits for Ray to find room for its actor, before it goes elsewhere."""
_PACKAGE: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node has to know beside its tasks.

    Attributes:
        out: Folder that all nodes see, or URL.
        threads: CPU threads of each worker, where the job leaves that open.
    """

    out: str
    layout: str
    workers: Workers = field(default_factory=Workers)
    fetching: Fetching = field(default_factory=Fetching)
    threads: int = 0


class _NodeLane:
    """A lane on the node it was made on: fetch, render, bring to the output."""

    def __init__(self, settings: NodeSettings) -> None:
        workers = settings.workers
        base = Path(workers.scratch) if workers.scratch else scratch_root()
        # Where Ray or the machine ends this process, whoever comes next removes it.
        self._own = ScratchFolder(base)
        self._settings = settings
        self._store = open_store(settings.out, settings.layout, self._own.path)
        self._resolver = settings.fetching.resolver()
        self._stop = threading.Event()
        self._lane = LocalLane(
            _place(settings.threads), replace(workers, scratch=self._own.path, previews=None),
            [self._resolver.folder.absolute()],
        )  # fmt: skip

    def render(self, task: RenderAsset, tell: Progress) -> Done:
        """See :class:`.lanes.Lane`."""
        source = Source(
            task.source, classify(task.source), task.asset_id, known=task.known
        )
        fetched = self._resolver.fetch(source, cancel=self._stop)
        try:
            known = {**fetched.provenance, **task.provenance}
            # What waits for its shard goes where the run packs; the rest where it belongs.
            shelved = self._settings.layout == "webdataset"
            out = task.out if shelved else str(self._store.staging)
            folders = [str(fetched.folder)] if fetched.folder else []
            there = replace(
                task, path=str(fetched.path), folders=folders, provenance=known, out=out
            )
            done = self._lane.render(there, tell)
        finally:
            self._resolver.release(fetched)
        name = self._store.name_of(task.asset_id)
        if not shelved and done.path != self._store.where(name):
            self._store.put(Path(done.path), name)
            done = replace(done, path=self._store.where(name))
        return done

    def stop(self) -> None:
        """See :class:`.lanes.Lane`."""
        self._stop.set()
        self._lane.stop()

    def close(self) -> None:
        """See :class:`.lanes.Lane`."""
        self._lane.close()
        self._resolver.close()
        self._own.remove()


def _place(threads: int) -> Place:
    """The GPU that Ray gave this process, if it gave one: Cycles must see it, and no other."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if visible.isdecimal():
        for gpu in capacity.gpus():
            if gpu.index == int(visible):
                order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
                return Place(f"gpu {gpu.index}", order, threads, gpu.bus_id)
    return Place("cpu", {}, threads)


def make_node_lane(settings: NodeSettings) -> Lane:
    """The lane of a node; called there."""
    return _NodeLane(settings)


NodeOutcome = tuple[str, Any]


class _Actor:
    """What runs in a Ray actor: a lane, and its answers as data."""

    def __init__(self, make: Callable[[Any], Lane], settings: Any) -> None:
        self._make, self._settings = make, settings
        self._lane: Lane | None = None

    def is_there(self) -> bool:
        return True

    def render(self, task: RenderAsset) -> NodeOutcome:
        try:
            if self._lane is None:
                self._lane = self._make(self._settings)
            return "done", self._lane.render(task, _ignore)
        except LaneBroken as broken:
            error, kind = broken.error, "broken"
        except (WorkerStartFailed, MissingDependency, DeviceUnavailable) as caught:
            error, kind = caught, "broken" if self._lane is None else "failed"
        except RenderError as caught:
            error, kind = caught, "failed"
        return kind, (error.reason, error.message, error.hint, error.log)

    def close(self) -> None:
        if self._lane is not None:
            self._lane.close()


def _ignore(_: object) -> None:
    pass


class RayLane:
    """A lane that is a Ray actor, on whatever node Ray chooses; made anew when it is lost.

    Args:
        make: Makes the lane on the node, of ``settings``.
        options: Ray's resources and scheduling of the actor.
        room: Seconds to wait until there is a node with these resources.
    """

    def __init__(
        self,
        make: Callable[[Any], Lane],
        settings: Any,
        options: dict[str, Any],
        room: float = _ROOM,
    ) -> None:
        import ray

        self._ray = ray
        self._class = ray.remote(_Actor).options(**options)
        self._arguments = make, settings
        self.room = room
        self._actor: Any = None
        self._stopped = threading.Event()

    def render(self, task: RenderAsset, tell: Progress) -> Done:
        """See :class:`.lanes.Lane`."""
        ray = self._ray
        try:
            if self._actor is None:
                self._actor = self._class.remote(*self._arguments)
                # After a node is lost the others may be full, and stay so until the run ends.
                if not self._wait(self._actor.is_there.remote(), self.room):
                    self._forget()
                    raise LaneBroken(
                        WorkerStartFailed(
                            f"Ray found no room for a worker in {self.room:g} s.",
                            hint="ray status shows what there is, and what it is used for.",
                        ),
                        waits=True,
                    )
            tell(Stage(task.asset_id, "render"))
            answer = self._actor.render.remote(task)
            self._wait(answer)
            kind, what = ray.get(answer)
        except ray.exceptions.RayError as error:
            self._forget()
            reason = str(error).strip().splitlines()[0] if str(error).strip() else "lost"
            raise WorkerCrashed(
                f"{task.source}: the node or the actor that rendered it is gone: {reason}",
                log=str(error)[-4000:],
            ) from error
        if kind == "done":
            assert isinstance(what, Done)
            return what
        failure = from_reason(*what)
        if kind == "broken":
            self._forget()
            raise LaneBroken(failure)
        raise failure

    def _wait(self, answer: Any, seconds: float = math.inf) -> bool:
        deadline = time.monotonic() + seconds
        while not self._ray.wait([answer], timeout=0.5)[0]:
            if self._stopped.is_set():
                self._forget()
                raise Interrupted("Stopped.")
            if time.monotonic() > deadline:
                return False
        return True

    def _forget(self) -> None:
        if self._actor is not None:
            with contextlib.suppress(Exception):
                self._ray.kill(self._actor)
            self._actor = None

    def stop(self) -> None:
        """See :class:`.lanes.Lane`."""
        self._stopped.set()

    def close(self) -> None:
        """See :class:`.lanes.Lane`."""
        if self._actor is not None:
            with contextlib.suppress(Exception):
                self._ray.get(self._actor.close.remote(), timeout=20)
        self._forget()


def connect(address: str | None) -> Any:
    """Ray, connected to a cluster, or to one that it starts on this machine.

    Raises:
        MissingDependency: Ray is not installed.
        InvalidJob: There is no cluster at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependency(
            "Rendering on a cluster needs Ray.",
            hint='Install it with: pip install "objaverse-render-addon[ray]"',
        ) from error
    if not ray.is_initialized():
        try:
            ray.init(
                address,
                # Every node runs this very version, whatever is installed there.
                runtime_env={"py_modules": [str(_PACKAGE)]},
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InvalidJob(
                f"Ray does not answer at {address or 'this machine'}: {error}.",
                hint="ray start --head on one machine prints the address; see docs/clusters.md.",
            ) from error
    return ray


def ray_lanes(
    settings: NodeSettings,
    job: RenderJob,
    assets: int | None = None,
    *,
    make: Callable[[Any], Lane] = make_node_lane,
) -> Sequence[tuple[str, Lane]]:
    """Lanes on a Ray cluster, spread over its nodes.

    Args:
        settings: Where its workers name no ``address`` (``auto``, ``host:6379``, ``ray://…``), a
            cluster on this machine; where they name no number, by the cluster's CPUs and GPUs.
        assets: So many are to be rendered: more workers have nothing to do.

    Raises:
        MissingDependency, InvalidJob
        DeviceUnavailable: A GPU is asked for and the cluster has none.
    """
    ray = connect(settings.workers.address)
    there = ray.cluster_resources()
    cpus, gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
    if job.engine.device not in ("auto", "cpu") and not gpus:
        raise DeviceUnavailable(
            f"The device {job.engine.device} was asked for, but the Ray cluster has no GPU.",
            hint="ray status shows what it has; use --device auto or cpu.",
        )
    on_gpu = gpus > 0 and job.engine.device != "cpu"
    workers = settings.workers.workers
    if workers is None:
        workers = max(1, min(capacity.PER_GPU * gpus, cpus) if on_gpu else cpus)
        workers = min(workers, assets or workers)
    threads = settings.threads or max(1, cpus // workers)
    options: dict[str, Any] = {
        # Fewer CPUs than workers were asked for: they share.
        "num_cpus": min(threads, cpus / workers) if cpus else 0,
        "scheduling_strategy": "SPREAD",
        "max_restarts": 0,
    }
    if on_gpu:
        options["num_gpus"] = min(1.0, gpus / workers)
    settings = replace(settings, threads=threads)
    return [(f"ray {number + 1}", RayLane(make, settings, options)) for number in range(workers)]
