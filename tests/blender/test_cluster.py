"""Ray: the same assets as on one machine, whatever becomes of the nodes."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason='needs Ray: pip install "objaverse-render-addon[ray]"')

from ray.cluster_utils import Cluster  # noqa: E402

from objaverse_render_addon.batch.lanes import ray as ours  # noqa: E402
from objaverse_render_addon.batch.lanes.local import Lane  # noqa: E402
from objaverse_render_addon.batch.lanes.ray import RayLane  # noqa: E402
from objaverse_render_addon.batch.options import RunOptions  # noqa: E402
from objaverse_render_addon.batch.queue.ledger import Ledger  # noqa: E402
from objaverse_render_addon.batch.run import render  # noqa: E402
from objaverse_render_addon.dataset.layout import METADATA, new_writer  # noqa: E402
from objaverse_render_addon.dataset.reader import AssetReader  # noqa: E402
from objaverse_render_addon.dataset.verify import verify_asset  # noqa: E402
from objaverse_render_addon.errors import Interrupted, NoGeometry, WorkerStartFailed  # noqa: E402
from objaverse_render_addon.job import RenderJob  # noqa: E402
from objaverse_render_addon.worker.protocol import Done, RenderAsset  # noqa: E402

from . import scenes  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(sys.platform == "win32", reason="Ray's test cluster is Linux's and macOS'"),
]
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Sleeper:
    """Takes its time and writes down where it was."""

    def __init__(self, settings: tuple[float, str]) -> None:
        self._seconds, self._notes = settings

    def render(self, task: RenderAsset, _: Any) -> Done:
        if task.asset_id == "empty":
            raise NoGeometry(f"{task.source} has no faces.", hint="Look at it.", log="a\nb")
        Path(self._notes, f"{task.asset_id}-{os.getpid()}").touch()
        time.sleep(self._seconds)
        writer = new_writer(Path(task.out), task.asset_id, "zip")
        writer.add(METADATA, b"{}")
        return Done(task.asset_id, str(writer.commit()), 1, [], {}, {"total": self._seconds})

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def broken(_: Any) -> Lane:
    raise WorkerStartFailed("There is no Blender here.")


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster of a head without processors, to which nodes are added."""
    monkeypatch.setenv("RAY_health_check_period_ms", "500")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "3")
    head = {"num_cpus": 0, "include_dashboard": False}
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


def files(folder: Path, count: int) -> list[Path]:
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    paths = [folder / f"a{number:02d}.obj" for number in range(count)]
    for path in paths:
        path.write_text(text)
    return paths


def test_a_node_that_is_lost_loses_no_asset(nodes: Cluster, tmp_path: Path) -> None:
    first, _ = nodes.add_node(num_cpus=2), nodes.add_node(num_cpus=2)
    ours.connect(nodes.address)
    notes = tmp_path / "notes"
    notes.mkdir()
    options = {"num_cpus": 1, "scheduling_strategy": "SPREAD", "max_restarts": 0}
    workers = [RayLane(Sleeper, (0.3, str(notes)), options) for _ in range(4)]
    lanes: list[tuple[str, Lane]] = [(f"ray {n}", lane) for n, lane in enumerate(workers)]
    sources = files(tmp_path, 24)
    (tmp_path / "empty.obj").write_text(sources[0].read_text())
    ended: list[str] = []

    def cut(result: Any) -> None:
        ended.append(result.asset_id)
        if len(ended) == 6:
            nodes.remove_node(first, allow_graceful=False)
            for lane in workers:
                # There will be no room again for two of them; it need not take minutes to know.
                lane.room = 3

    report = render(
        [*sources, tmp_path / "empty.obj"],
        RenderJob(),
        tmp_path / "out",
        RunOptions.of(attempts=3),
        lanes=lambda _: lanes,
        on_result=cut,
    )  # fmt: skip
    assert (report.counts["done"], report.counts["failed"]) == (24, 1)
    assert len(set(ended)) == len(ended) == 25
    assert len(list((tmp_path / "out").glob("[!.]*.zip"))) == 24
    # The node took some down with it, and they were begun again elsewhere.
    assert len(list(notes.iterdir())) > 24
    (failed,) = report.failed
    assert isinstance(failed.error, NoGeometry)
    assert (failed.error.hint, failed.error.log) == ("Look at it.", "a\nb")
    with Ledger(tmp_path / "out/.state/ledger.sqlite", read_only=True) as ledger:
        assert ledger.counts()["done"] == 24
        attempts = [row["attempts"] for row in ledger.assets(("done",))]
        assert min(attempts) == 1 and max(attempts) > 1


def test_a_cluster_without_blender_says_so(nodes: Cluster, tmp_path: Path) -> None:
    nodes.add_node(num_cpus=1)
    ours.connect(nodes.address)
    with pytest.raises(WorkerStartFailed, match="no Blender here"):
        render(
            files(tmp_path, 3), RenderJob(), tmp_path / "out",
            lanes=lambda _: [("ray", RayLane(broken, None, {"num_cpus": 1}))],
        )  # fmt: skip
    with Ledger(tmp_path / "out/.state/ledger.sqlite", read_only=True) as ledger:
        assert ledger.counts()["waiting"] == 3


def test_a_run_on_a_cluster_is_stopped_at_once(nodes: Cluster, tmp_path: Path) -> None:
    nodes.add_node(num_cpus=2)
    ours.connect(nodes.address)
    cancel = threading.Event()
    lane = RayLane(Sleeper, (60.0, str(tmp_path)), {"num_cpus": 1})
    threading.Timer(3, cancel.set).start()
    since = time.monotonic()
    with pytest.raises(Interrupted):
        render(
            files(tmp_path, 2), RenderJob(), tmp_path / "out",
            lanes=lambda _: [("ray", lane)], cancel=cancel,
        )  # fmt: skip
    assert time.monotonic() - since < 20


@pytest.mark.parametrize("layout", ["zip", "webdataset"])
def test_what_a_cluster_renders_is_what_one_machine_renders(
    layout: str, nodes: Cluster, tmp_path: Path
) -> None:
    nodes.add_node(num_cpus=2)
    job = scenes.make_job(
        {"cameras.views": 2, "pixels.resolution": [24, 24], "files.layout": layout}
    )
    sources = [scenes.write_glb(tmp_path / f"{name}.glb") for name in ("one", "two", "three")]
    assert render(sources, job, tmp_path / "here").ok
    report = render(
        sources,
        job,
        tmp_path / "there",
        RunOptions.of(cluster="ray", address=nodes.address, workers=2),
    )
    assert report.ok and report.counts["done"] == 3, report.failed
    for name in ("one", "two", "three"):
        inside = f"shard-000000.tar/{name}" if layout == "webdataset" else f"{name}.zip"
        assert verify_asset(tmp_path / "there" / inside).ok
        with (
            AssetReader(tmp_path / "here" / inside) as here,
            AssetReader(tmp_path / "there" / inside) as there,
        ):
            assert here.names() == there.names()
            for file in here.names():
                if file != METADATA:
                    assert here.bytes_of(file) == there.bytes_of(file), file
            for record in (here.metadata, there.metadata):
                record.pop("seconds")
            assert here.metadata == there.metadata
    with Ledger(tmp_path / "there/.state/ledger.sqlite", read_only=True) as ledger:
        assert {row["worker"] for row in ledger.assets(("done",))} <= {"ray 1", "ray 2"}
