"""A worker that keeps a scene open, and a stage that assets come to and leave."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.errors import (
    DegenerateGeometry,
    InvalidJob,
    OutOfMemory,
    UnknownRequest,
    WorkerStartFailed,
    WorkerTimeout,
    from_reason,
)
from objaverse_render_addon.stage_edits import AddMesh, encode_edit
from objaverse_render_addon.worker import process as process_module
from objaverse_render_addon.worker.channel import Received, arrays_of
from objaverse_render_addon.worker.protocol import (
    PROTOCOL,
    Close,
    Closed,
    Done,
    Failed,
    FrameReady,
    Message,
    Open,
    Opened,
    Render,
    RenderAsset,
    Rendered,
    Set,
    Stage,
)
from objaverse_render_addon.worker.supervisor import Place, Supervisor

from . import scenes

VALUES = {
    "cameras.pattern": "ring", "cameras.views": 3, "lighting.mode": "white",
    "engine.samples": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    made = Supervisor(Place(), scratch=tmp_path_factory.mktemp("scratch"))
    yield made
    made.close()


class Client:
    """Asks, and keeps what came."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.before: list[Received] = []

    def ask(self, request: Any, timeout: float = 60) -> Message:
        self.before = []
        last = self.supervisor.ask(request, timeout, self.before.append)
        self.number = last.request
        return last.message

    def arrays(self) -> dict[int, dict[str, np.ndarray]]:
        return {
            one.message.index: arrays_of(one)
            for one in self.before
            if isinstance(one.message, FrameReady)
        }


def opened(client: Client, path: Path, **values: Any) -> int:
    job = scenes.make_job({**VALUES, **values})
    answer = client.ask(Open(path.name, str(path), "asset", job.to_dict()))
    assert isinstance(answer, Opened), answer
    assert answer.session == client.number
    assert [one.message.name for one in client.before] == ["import", "prepare"]
    return answer.session


def refused(answer: Message) -> Exception:
    assert isinstance(answer, Failed), answer
    return from_reason(answer.reason, answer.message, answer.hint)


@pytest.mark.core
def test_an_open_scene_gives_the_same_arrays_as_a_dataset_by_either_way(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    path = scenes.write_glb(tmp_path / "box.glb")
    client = Client(supervisor)
    session = opened(client, path)
    files: dict[int, dict[str, np.ndarray]] = {}
    for inline in (False, True):
        answer = client.ask(Render(session, inline=inline))
        assert answer == Rendered(3)
        got = client.arrays()
        assert sorted(got) == [0, 1, 2]
        if inline:
            for index, passes in files.items():
                for name, array in passes.items():
                    assert np.array_equal(array, got[index][name]), name
        files = got
    scratch = supervisor.start().scratch
    assert [item.name for item in scratch.iterdir() if item.name.startswith("arrays")] == []
    assert client.ask(Render(session, [2])) == Rendered(1)
    assert np.array_equal(client.arrays()[2]["depth"], files[2]["depth"])

    job = scenes.make_job({**VALUES, "files.layout": "folder"})
    done = client.ask(
        RenderAsset(path.name, str(path), "asset", job.to_dict(), str(tmp_path / "out"))
    )
    assert isinstance(done, Done), done
    for index, passes in files.items():
        for name, array in passes.items():
            if name != "rgb":
                stored = np.load(tmp_path / "out/asset" / f"{index:03d}_{name}.npy")
                assert np.array_equal(stored, array), name
    # What came after closed it.
    error = refused(client.ask(Render(session)))
    assert isinstance(error, UnknownRequest)


@pytest.mark.core
def test_settings_change_in_an_open_scene_and_come_back_as_they_were(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    path = tmp_path / "glass.blend"
    with scenes.new_blend(path):
        scenes.add_cube(material=scenes.principled("Red", Base_Color=(0.8, 0.1, 0.1, 1)))
    client = Client(supervisor)
    session = opened(client, path, **{"pixels.passes": ["rgb", "depth", "albedo"]})
    client.ask(Render(session, [0]))
    before = client.arrays()[0]
    for _ in range(2):
        answer = client.ask(
            Set(session, {"pixels.passes": ["roughness_metallic"], "engine.samples": 5})
        )
        assert isinstance(answer, Opened), answer
        client.ask(Render(session, [0]))
        assert list(client.arrays()[0]) == ["roughness_metallic"]
        client.ask(
            Set(session, {"pixels.passes": ["rgb", "depth", "albedo"], "engine.samples": 2})
        )
        client.ask(Render(session, [0]))
        for name, array in client.arrays()[0].items():
            assert np.array_equal(array, before[name]), name
    assert isinstance(refused(client.ask(Set(session, {"asset.frame": 3}))), InvalidJob)
    assert isinstance(refused(client.ask(Set(session, {"engine.smples": 3}))), InvalidJob)
    assert isinstance(refused(client.ask(Render(session, [7]))), InvalidJob)
    client.ask(Render(session, [0]))
    assert np.array_equal(client.arrays()[0]["rgb"], before["rgb"])
    assert client.ask(Close(session)) == Closed(session)
    assert isinstance(refused(client.ask(Close(session))), UnknownRequest)


def test_what_is_no_request_is_refused_at_once_and_the_worker_stays(
    supervisor: Supervisor,
) -> None:
    client = Client(supervisor)
    pid = supervisor.start().pid
    since = time.monotonic()
    # An answer, sent as if it were a request.
    error = refused(client.ask(Stage("a", "import")))
    assert isinstance(error, UnknownRequest)
    assert "stage" in str(error)
    assert time.monotonic() - since < 20
    assert supervisor.start().pid == pid


def test_a_cancelled_request_ends_between_views_and_the_worker_stays(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    path = scenes.write_glb(tmp_path / "box.glb")
    client = Client(supervisor)
    job = scenes.make_job({**VALUES, "cameras.views": 400, "files.layout": "folder"})
    frames, pids = [], set()

    def cancel_soon(received: Received) -> None:
        frames.append(received)
        pids.add(supervisor.start().pid)
        if len(frames) == 6:
            supervisor.cancel()

    last = supervisor.ask(
        RenderAsset("box", str(path), "box", job.to_dict(), str(tmp_path / "out")), 200,
        cancel_soon,
    ).message  # fmt: skip
    assert isinstance(last, Failed)
    assert last.reason == "interrupted"
    assert 3 < len(frames) < 100
    assert [item for item in (tmp_path / "out").rglob("*") if item.is_file()] == []
    assert {supervisor.start().pid} == pids
    session = opened(client, path)
    assert client.ask(Render(session, [0])) == Rendered(1)


def test_one_that_does_not_end_what_is_cancelled_is_ended(tmp_path: Path) -> None:
    path = scenes.write_glb(tmp_path / "box.glb")
    supervisor = Supervisor(Place(), scratch=tmp_path / "scratch")
    job = scenes.make_job(
        {**VALUES, "engine.samples": 65_536, "pixels.resolution": [512, 512]}
    )
    try:
        supervisor.start()

        def cancel(received: Received) -> None:
            if isinstance(received.message, Stage) and received.message.name == "render":
                # By then its first colour, of minutes, is on its way.
                threading.Timer(4.0, supervisor.cancel, [1.0]).start()

        since = time.monotonic()
        with pytest.raises(WorkerTimeout, match="cancelled"):
            supervisor.ask(
                RenderAsset("box", str(path), "box", job.to_dict(), str(tmp_path / "out")), 200,
                cancel,
            )  # fmt: skip
        assert time.monotonic() - since < 60
    finally:
        supervisor.close()
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_the_memory_limit_holds_while_blender_computes(tmp_path: Path) -> None:
    path = tmp_path / "huge.blend"
    with scenes.new_blend(path):
        modifier = scenes.add_cube().modifiers.new("Subdivision", "SUBSURF")
        modifier.levels = modifier.render_levels = 10
        modifier.subdivision_type = "SIMPLE"
    supervisor = Supervisor(Place(), scratch=tmp_path / "scratch", max_memory=700 << 20)
    job = scenes.make_job(VALUES)
    most = 0
    try:
        worker = supervisor.start()
        before = worker.memory
        assert 0 < before < 700 << 20

        def look(_: Received) -> None:
            nonlocal most
            most = max(most, worker.memory)

        with pytest.raises(OutOfMemory, match="700 are allowed"):
            supervisor.ask(
                RenderAsset("huge", str(path), "huge", job.to_dict(), str(tmp_path / "out")), 100,
                look,
            )  # fmt: skip
    finally:
        supervisor.close()
    assert most < 2 << 30


@pytest.mark.skipif(os.name == "nt", reason="an open log keeps its folder there")
def test_a_worker_whose_folder_is_gone_is_replaced(tmp_path: Path) -> None:
    import shutil

    path = scenes.write_glb(tmp_path / "box.glb")
    supervisor = Supervisor(Place(), scratch=tmp_path / "scratch")
    client = Client(supervisor)
    try:
        first = supervisor.start()
        shutil.rmtree(first.scratch)
        assert client.ask(Render(opened(client, path), [0])) == Rendered(1)
        assert supervisor.start().pid != first.pid
        # A file of it that is gone is enough.
        second = supervisor.start()
        (second.scratch / "worker.log").unlink()
        assert supervisor.start().pid != second.pid
    finally:
        supervisor.close()


def test_another_protocol_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "PROTOCOL", 999)
    with pytest.raises(WorkerStartFailed, match=rf"protocol {PROTOCOL}; this is .* protocol 999"):
        process_module.WorkerProcess(scratch=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_comes_is_looked_at_alone_however_much_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many meshes at once are as many looks, each at one, and give what one by one gives."""
    from objaverse_render_addon.blender.evaluated import Onlooker
    from objaverse_render_addon.blender.session import Session

    look, seen = Onlooker.look, []

    def counted(self: Any, moment: float, task: Any, **options: Any) -> Any:
        def told(graph: Any) -> Any:
            seen.append(len(graph.object_instances))
            return task(graph)

        return look(self, moment, told, **options)

    monkeypatch.setattr(Onlooker, "look", counted)
    (tmp_path / "scratch").mkdir()
    job = scenes.make_job({
        **VALUES, "pixels.passes": ["rgb", "depth", "object_index"], "engine.samples": 1,
    })  # fmt: skip

    def mesh(number: int, **values: Any) -> dict[str, Any]:
        stands = np.diag([0.1 + 0.01 * number, 0.1, 0.1, 1.0])
        stands[:3, 3] = number % 3, number // 3 % 3, 0.3 * number
        values = {"vertices": scenes.CUBE_VERTICES.tolist(), "matrix": stands.tolist(), **values}
        return encode_edit(AddMesh(name=f"cube{number}", faces=scenes.CUBE_FACES, **values))

    def filled(*requests: list[dict[str, Any]]) -> Session:
        session = Session(None, "stage", job, tmp_path / "scratch")
        for edits in requests:
            session.editor.apply(edits)
        return session

    def shown(session: Session) -> dict[str, Any]:
        (shot,) = session.shots([0])
        return {**session.renderer.render(shot).passes}

    one_by_one = filled(*([mesh(number)] for number in range(12)))
    bounds, passes = one_by_one.stage.bounds, shown(one_by_one)
    seen.clear()
    at_once = filled([mesh(number) for number in range(12)])
    assert max(seen) == 1 and len(seen) == 12, "each was looked at with all that was there"
    assert at_once.stage.bounds == bounds
    for name, array in shown(at_once).items():
        assert np.array_equal(array, passes[name]), name
    assert len(np.unique(passes["object_index"])) > 6
    seen.clear()
    at_once.editor.apply([mesh(number) for number in range(12, 16)])
    assert max(seen) == 1 and len(seen) == 4
    # What is wrong with one is said as before, with all the others there.
    flat = [[0.5, 0.5, 0.5]] * len(scenes.CUBE_VERTICES)
    with pytest.raises(DegenerateGeometry, match="in one point"):
        at_once.editor.apply([mesh(20), mesh(21, vertices=flat), mesh(22)])


@pytest.mark.core
def test_assets_come_to_a_stage_and_leave_it_without_a_trace(tmp_path: Path) -> None:
    import bpy

    from objaverse_render_addon.blender.renderer import Renderer
    from objaverse_render_addon.blender.stage import Stage
    from objaverse_render_addon.cameras import sample_views
    from objaverse_render_addon.frame import Shot

    red, blue = tmp_path / "red.blend", tmp_path / "blue.glb"
    with scenes.new_blend(red):
        scenes.add_cube(material=scenes.principled("Paint", Base_Color=(0.8, 0.1, 0.1, 1)))
    scenes.write_glb(blue)
    job = scenes.make_job(
        {**VALUES, "pixels.passes": ["rgb", "depth", "albedo", "object_index"]}
    ).resolved()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    stage = Stage(job)
    first = stage.add(red, "red", job.asset)
    stage.light("red")
    stage.settings(job)
    (view, *_) = sample_views(job, "red", stage.points)
    alone = Renderer(stage, "red", scratch).render(Shot(view)).passes
    blocks = {name: len(getattr(bpy.data, name)) for name in ("objects", "materials", "meshes")}

    # The second stands beside the first, which stays as it was.
    second = stage.add(blue, "blue", job.asset)
    beside = np.eye(4)
    beside[:3, 3] = (0.0, 0.0, 3.0)
    stage.place("blue", beside)
    stage.settings(job)
    assert {*first.object_names} & {*second.object_names} == set()
    assert abs(stage.bounds.box_max[2] - 4.0) < 1e-5
    assert abs(stage.bounds.box_min[2] + 1.0) < 1e-5
    both = Renderer(stage, "red", scratch).render(Shot(view)).passes
    of_first = np.isin(both["object_index"], list(first.object_names))
    assert of_first.sum() > 200
    for name in ("depth", "albedo"):
        # The camera's clipping distances are others, which shows in the last bit.
        assert np.allclose(both[name][of_first], alone[name][of_first], rtol=1e-6), name
    assert abs(second.normalization.bounds.box_max[2] - 1.0) < 1e-5

    stage.remove("blue")
    stage.settings(job)
    again = Renderer(stage, "red", scratch).render(Shot(view)).passes
    for name, array in alone.items():
        assert np.array_equal(array, again[name]), name
    assert {name: len(getattr(bpy.data, name)) for name in blocks} == blocks
    with pytest.raises(ValueError, match="already"):
        stage.add(red, "red", job.asset)
    assert list(scratch.iterdir()) == []
