"""Open scenes while workers, clients and servers die under them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon import live
from objaverse_render_addon.errors import (
    ConnectionLost,
    DeviceUnavailable,
    Interrupted,
    InvalidEdit,
    InvalidJob,
    MissingLibraries,
    OutOfMemory,
    RenderError,
    RenderFailed,
    WorkerCrashed,
    WorkerStartFailed,
    WorkerTimeout,
)
from objaverse_render_addon.live import remote, spread
from objaverse_render_addon.live.clients import Limits
from objaverse_render_addon.live.server import Server
from objaverse_render_addon.worker.memory import resident_bytes
from objaverse_render_addon.worker.process import WorkerProcess
from objaverse_render_addon.worker.protocol import Change, FrameReady, Open, Render
from objaverse_render_addon.worker.shots import encode_shot

from . import scenes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
QUICK: dict[str, Any] = {
    "resolution": (48, 48), "samples": 1, "denoise": False, "device": "cpu",
    "passes": ("rgb", "depth", "object_index"),
}  # fmt: skip
SHOTS = live.orbit(10, size=(48, 48))


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return scenes.write_glb(tmp_path / "box.glb")


def left_over(pid: int) -> list[str]:
    """What a process of this number left in memory or among temporary files."""
    name = f"*render-{pid}-*"
    return [str(path) for one in ("/dev/shm", "/tmp") for path in Path(one).glob(name)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], within: float) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.05)
    return False


def kills(box: Path, count: int, seed: int) -> None:
    """Workers are killed at any time; every frame comes once and whole, or fails by name."""
    rng, since = np.random.default_rng(seed), time.monotonic()
    with live.start(2, device="cpu") as pool, pool.open(box, **QUICK) as session:
        matrix = np.eye(4)
        session.place("box", matrix)
        right = [frame.copy() for frame in session.render(SHOTS)]
        stop, done = threading.Event(), 0
        # Where much else runs, workers take longer to come, and have to live as much longer.
        longest = max(1.2, 0.4 * (time.monotonic() - since))

        def killer() -> None:
            nonlocal done
            while not stop.is_set() and done < count:
                time.sleep(float(rng.uniform(0.02, longest)))
                pids = pool.pids
                if pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pids[int(rng.integers(len(pids)))], signal.SIGKILL)
                        done += 1

        thread = threading.Thread(target=killer, daemon=True)
        thread.start()
        ended = failed = 0
        try:
            while thread.is_alive():
                came: list[int] = []
                try:
                    for frame in session.render(SHOTS, timeout=60):
                        came.append(frame.position)
                        for name, array in right[frame.position].passes.items():
                            assert np.array_equal(array, frame[name]), "torn, or another's"
                        assert frame.state == session.state
                    assert came == list(range(len(SHOTS)))
                except WorkerCrashed as error:
                    assert error.message.startswith("Shot "), error
                    assert came == list(range(len(came)))
                    failed += 1
                ended += 1
                with contextlib.suppress(WorkerCrashed):
                    session.place("box", matrix)
        finally:
            stop.set()
            thread.join()
        assert done >= count
        assert failed < ended, "some have to come through"
        since, killed = time.monotonic(), pool.pids
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Two that die under the same shot are that shot's failure.
        assert gone(killed, 10)
        assert session.frame()["depth"].any()
        back = time.monotonic() - since
        print(f"{done} kills: {ended} requests, {failed} failed by name; back in {back:.1f} s")
        assert back < 20 * longest / 1.2, f"it took {back:.1f} s to come back"
        pids = pool.pids
    gc.collect()
    assert gone(pids, 10)
    assert left_over(os.getpid()) == []


def test_a_killed_worker_costs_no_frame_and_tears_none(box: Path) -> None:
    kills(box, 5, 1)


@pytest.mark.long
def test_three_hundred_kills(box: Path) -> None:
    kills(box, 300, 2)


def test_a_shot_that_kills_twice_fails_by_its_number(box: Path) -> None:
    """Each time that its scene is open the worker goes; the next shots have another."""
    with live.start(1, device="cpu") as pool, pool.open(box, **QUICK) as session:
        session.frame()
        stop = threading.Event()

        def killer() -> None:
            while not stop.wait(0.005):
                for pid in pool.pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

        thread = threading.Thread(target=killer, daemon=True)
        thread.start()
        try:
            came = 0
            with pytest.raises(RenderError) as caught:
                for frame in session.render(SHOTS):
                    assert frame.position == came
                    came += 1
        finally:
            stop.set()
            thread.join()
        # Where much else runs, one may come before it is killed.
        assert caught.value.message.startswith(f"Shot {came}: "), caught.value
        assert session.frame()["depth"].any()


def test_an_open_whose_worker_dies_is_tried_once_more(box: Path) -> None:
    killed: list[int] = []
    with live.start(1, device="cpu") as pool:

        def kill(_: str, most: int) -> None:
            if len(killed) < most and pool.pids[0] not in killed:
                killed.append(pool.pids[0])
                os.kill(killed[-1], signal.SIGKILL)

        with pool.open(box, on_stage=lambda name: kill(name, 1), **QUICK) as session:
            assert len(killed) == 1 and killed != pool.pids
            assert session.state == 0 and session.frame()["depth"].any()
            with pytest.raises(WorkerCrashed, match="tried twice"):
                pool.open(box, on_stage=lambda name: kill(name, 9), **QUICK)
            assert len(killed) == 3
            assert len(pool.status()["scenes"]) == 1
            assert session.frame()["depth"].any()
    assert gone(killed, 5)


class Deaths:
    """Workers that are killed as they start, open a scene or render, as often as is said."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begin()
        self._guard = threading.Lock()
        greeting, send = WorkerProcess._greeting, WorkerProcess.send

        def greeted(worker: WorkerProcess, *arguments: Any) -> Any:
            self.starts += 1
            self._kill("start", worker.pid)
            return greeting(worker, *arguments)

        def sent(worker: WorkerProcess, request: Any) -> int:
            when = {Open: "open", Render: "render"}.get(type(request), "")
            if self.left.get(when):
                # However fast it is otherwise, it has not answered when it is killed.
                os.kill(worker.pid, signal.SIGSTOP)
            number = send(worker, request)
            self._kill(when, worker.pid)
            return number

        patch.setattr(WorkerProcess, "_greeting", greeted)
        patch.setattr(WorkerProcess, "send", sent)

    def begin(self, **left: int) -> None:
        """Count from here."""
        self.left, self.starts = {"start": 0, "open": 0, "render": 0, **left}, 0

    def _kill(self, when: str, pid: int) -> None:
        with self._guard:
            if not self.left.get(when):
                return
            self.left[when] -= 1
        os.kill(pid, signal.SIGKILL)


def lose_workers(pool: live.Pool) -> None:
    pids = pool.pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    # Its threads may outlive it, and who asks meanwhile takes it for alive.
    until = time.monotonic() + 30
    while pool.pids:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_worker_that_dies_as_it_starts_or_opens_a_scene_is_tried_once_more(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths, shots = Deaths(monkeypatch), SHOTS[:4]
    with live.start(1, device="cpu") as pool, pool.open(box, **QUICK) as session:
        session.place("box", np.eye(4))
        right = [frame.copy() for frame in session.render(shots)]
        own = [frame["depth"].copy() for frame in session.render_views()]
        lose_workers(pool)
        # A shot's own second try is left to it: it may lose its worker in its midst, too.
        deaths.begin(start=1, open=1, render=1)
        came = []
        for frame in session.render(shots):
            came.append(frame.position)
            assert frame.state == session.state == 1
            for name, array in right[frame.position].passes.items():
                assert np.array_equal(array, frame[name])
        assert came == list(range(len(shots)))
        assert not any(deaths.left.values()) and deaths.starts == 4
        lose_workers(pool)
        deaths.begin(start=1, open=1)
        again = [frame["depth"].copy() for frame in session.render_views()]
        assert np.array_equal(own, again)
        assert not any(deaths.left.values()) and deaths.starts == 3
        # What dies twice is told, and not tried for ever; the next request may have more luck.
        for when, error, said in (
            ("start", WorkerStartFailed, r"bpy did not start: The worker was ended by SIGKILL\."),
            ("open", WorkerCrashed, r"box\.glb could not be opened again: .* SIGKILL\."),
        ):
            lose_workers(pool)
            deaths.begin(**{when: 9})
            with pytest.raises(error, match=f"^Shot 0: .*{said}.* It was tried twice") as caught:
                list(session.render(shots))
            assert "out of memory" in caught.value.hint
            assert deaths.left[when] == 7 and deaths.starts == 2
        deaths.begin()
        assert np.array_equal(session.frame(shots[3])["depth"], right[3]["depth"])


def test_requests_end_once_each_while_a_worker_dies_as_it_starts(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths, shots = Deaths(monkeypatch), SHOTS[:6]
    with live.start(2, device="cpu") as pool, pool.open(box, **QUICK) as session:
        right = [frame.copy() for frame in session.render(shots)]
        lose_workers(pool)
        deaths.begin(start=1)
        waiting = [session.render_async(shots, workers=2) for _ in range(3)]
        for future in waiting:
            frames = future.result(300)
            assert [frame.position for frame in frames] == list(range(len(shots)))
            for frame in frames:
                assert np.array_equal(frame["rgb"], right[frame.position]["rgb"])
        assert not deaths.left["start"] and deaths.starts <= 3
        assert not any(one["busy"] for one in pool.status()["workers"])


def test_a_scene_that_takes_most_of_the_memory_is_rendered(
    box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker is replaced when it has grown, but not between a request and what it needs."""
    (tmp_path / "idle.py").write_text("def nothing(session): pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options: dict[str, Any] = {"device": "cpu", "modules": ["idle"], "folders": [tmp_path]}
    with live.start(1, **options) as pool, pool.open(box, **QUICK) as session:
        most = pool.status()["workers"][0]["memory"]
        right = session.frame().copy()
    if not most:
        pytest.skip("the system does not say what a process takes")
    options["max_memory"] = int(1.4 * most)
    with live.start(1, **options) as pool, pool.open(box, **QUICK) as session:
        for _ in range(2):
            assert np.array_equal(session.frame()["depth"], right["depth"])
        assert session.inspect()["assets"]
        assert pool.status()["workers"][0]["started"] >= 2, "it was replaced in between"
        session.call("idle.nothing")
        for _ in range(2):
            assert session.frame().state == 1


def test_a_blender_that_never_starts_is_tried_twice(box: Path, tmp_path: Path) -> None:
    program, count = tmp_path / "blender", tmp_path / "count"
    program.write_text(f"#!/bin/sh\necho once >> {count}\necho 'No luck' >&2\nexit 3\n")
    program.chmod(0o755)
    with live.start(1, device="cpu", blender=program, sandbox="off") as pool:
        with pytest.raises(WorkerStartFailed, match=r"code 3\. It said: No luck It") as caught:
            pool.open(box, **QUICK)
        assert "doctor" in caught.value.hint
        assert len(count.read_text().split()) == 2
        # What is known to be lacking is not there a moment later.
        said = "error while loading shared libraries: libq.so.6: cannot open shared object file"
        program.write_text(f"#!/bin/sh\necho once >> {count}\necho '{said}' >&2\nexit 127\n")
        with pytest.raises(MissingLibraries, match="libq"):
            pool.open(box, **QUICK)
        assert len(count.read_text().split()) == 3


def test_a_worker_that_hangs_is_ended_and_replaced(box: Path) -> None:
    with live.start(1, device="cpu") as pool, pool.open(box, **QUICK) as session:
        session.place("box", np.eye(4))
        before = session.frame().copy()
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        since = time.monotonic()
        with pytest.raises(WorkerTimeout):
            session.frame(timeout=0.5)
        assert time.monotonic() - since < 5
        after = session.frame()
        assert after.state == 1
        assert np.array_equal(before["depth"], after["depth"])
        assert gone([pid], 5)


def test_a_worker_that_stands_still_is_found_before_its_deadline(
    box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing and computes nothing: its shot is another worker's, in time."""
    from objaverse_render_addon.worker import process

    monkeypatch.setattr(process, "HUNG", 2.0)
    with live.start(1, device="cpu") as pool, pool.open(box, **QUICK) as session:
        before = session.frame().copy()
        # One that computes without a word for longer than that is none.
        session.set(samples=1500)
        assert session.frame(timeout=600)["depth"].any()
        session.set(samples=1)
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        since = time.monotonic()
        after = session.frame(timeout=600)
        assert time.monotonic() - since < 30
        assert np.array_equal(before["depth"], after["depth"])
        assert gone([pid], 5)


def test_a_long_render_is_cancelled_with_its_worker_and_another_waits(box: Path) -> None:
    with live.start(1, device="cpu", standby=True) as pool, pool.open(box, **QUICK) as session:
        until = time.monotonic() + 60
        while not (waiting := pool.status()["standby"]):
            assert time.monotonic() < until
            time.sleep(0.05)
        old = pool.pids
        session.set(samples=65536, resolution=(512, 512))
        frames = session.render(live.orbit(2, size=(512, 512)), deadline=2.0)
        since = time.monotonic()
        with pytest.raises(WorkerTimeout, match="Shot 0"):
            next(frames)
        assert time.monotonic() - since < 12
        assert pool.pids == waiting != old
        session.set(samples=1)
        assert session.frame(timeout=60)["depth"].any()
        assert pool.pids == waiting
        until = time.monotonic() + 60
        while not pool.status()["standby"]:
            assert time.monotonic() < until
            time.sleep(0.05)
        both = pool.pids + pool.status()["standby"]
    assert gone([*old, *both], 10)


def test_what_is_cancelled_ends_in_its_midst_here_and_at_a_server(
    box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one picture that takes minutes, and of many: by futures, by threads, by going away."""
    monkeypatch.setattr(spread, "GRACE", 0.2)
    heavy = {"samples": 65536, "resolution": (512, 512)}
    many = live.orbit(5000, size=(48, 48))

    def busy(wanted: bool) -> bool:
        until = time.monotonic() + 10
        while pool.status()["workers"][0]["busy"] != wanted:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    with live.start(1, device="cpu") as pool, Server(
        pool, roots=[tmp_path], keys=tmp_path / "keys", private=tmp_path / "own.sock"
    ) as server:  # fmt: skip
        with pool.open(box, **QUICK) as session:

            async def impatient() -> None:
                await asyncio.wait_for(asyncio.wrap_future(session.render_async(many)), 0.3)

            with pytest.raises(TimeoutError):
                asyncio.run(impatient())
            assert busy(False)
            ends: list[Callable[[], None]] = []
            threading.Timer(0.3, lambda: ends.pop()()).start()
            with pytest.raises(Interrupted):
                list(session.render(many, begun=ends.append))
            assert busy(False)
            session.set(**heavy)
            future = session.frame_async()
            assert busy(True)
            assert future.cancel() and futures.wait([future], 15).done
            with pytest.raises(futures.CancelledError):
                future.result(0)
            assert busy(False)
        with live.connect(server.addresses[0]) as client:
            session = client.open(box.name, **QUICK)
            later = session.render_async(many)
            assert busy(True)
            assert later.cancel() and busy(False)
            assert session.frame()["depth"].any()
            session.set(**heavy)
            session.frame_async()
            assert busy(True)
        assert busy(False), "it renders on for a client that is gone"


SERVE = (
    "import sys\n"
    "from pathlib import Path\n"
    "from objaverse_render_addon import live\n"
    "from objaverse_render_addon.live.server import Server\n"
    "if __name__ == '__main__':\n"
    "    folder = Path(sys.argv[1])\n"
    "    with live.start(1, device='cpu') as pool, Server(\n"
    "        pool, roots=[folder], keys=folder / 'keys', private=folder / 'own.sock'\n"
    "    ) as server:\n"
    "        print(server.addresses[0], flush=True)\n"
    "        server.wait()\n"
)


@contextlib.contextmanager
def server_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    script = tmp_path / "serve.py"
    script.write_text(SERVE)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_killed_server_leaves_nothing_and_is_said_to_its_clients(
    box: Path, tmp_path: Path
) -> None:
    address = f"unix:{tmp_path / 'own.sock'}"
    with server_process(tmp_path) as process, live.connect(address) as client:
        session = client.open(client.upload(box), **QUICK)
        assert session.frame()["depth"].any()
        assert [one for one in left_over(process.pid) if Path(one, box.name).exists()]
        pids = [worker["pid"] for worker in client.status()["pool"]["workers"]]
        waiting = session.render_async(live.orbit(400, size=(48, 48)))
        time.sleep(0.3)
        process.kill()
        with pytest.raises(ConnectionLost):
            waiting.result(20)
        with pytest.raises(ConnectionLost):
            session.frame()
        assert gone(pids, 15)
        until = time.monotonic() + 12
        while left_over(process.pid) and time.monotonic() < until:
            time.sleep(0.2)
        assert left_over(process.pid) == []
    with server_process(tmp_path), live.connect(address) as client:
        assert client.open("box.glb", **QUICK).frame()["depth"].any(), "its socket is taken over"


CLIENT = (
    "import os, sys\n"
    "from objaverse_render_addon import live\n"
    "client = live.connect(sys.argv[1])\n"
    "session = client.open('box.glb', resolution=(48, 48), samples=1, denoise=False)\n"
    "kept = []\n"
    "for frame in session.render(live.orbit(500, size=(48, 48))):\n"
    "    kept.append(frame)\n"
    "    print(len(kept), flush=True)\n"
)


def test_a_killed_client_harms_no_other_and_its_scene_is_closed(box: Path, tmp_path: Path) -> None:
    with live.start(2, device="cpu") as pool, Server(
        pool, roots=[tmp_path], keys=tmp_path / "keys", private=tmp_path / "own.sock"
    ) as server:
        address = server.addresses[0]
        with live.connect(address) as good, good.open(box.name, **QUICK) as session:
            first = session.frame().copy()
            bad = subprocess.Popen(
                [sys.executable, "-c", CLIENT, address], stdout=subprocess.PIPE, text=True
            )
            for _ in range(3):
                bad.stdout.readline()
            os.kill(bad.pid, signal.SIGKILL)
            bad.wait()
            bad.stdout.close()
            assert np.array_equal(session.frame()["depth"], first["depth"])
            until = time.monotonic() + 15
            while len(pool.status()["scenes"]) > 1 and time.monotonic() < until:
                time.sleep(0.1)
            assert [one["id"] for one in pool.status()["scenes"]] == [session.id]
        assert server.service.dropped == 0


@pytest.mark.parametrize("scheme", ["unix", "tcp", "curve"])
def test_frames_from_afar_are_those_of_here(box: Path, tmp_path: Path, scheme: str) -> None:
    pytest.importorskip("zmq")
    with live.start(2, device="cpu") as pool, Server(
        pool, ["tcp://127.0.0.1:0", "curve://127.0.0.1:0"], roots=[tmp_path],
        keys=tmp_path / "keys", private=tmp_path / "own.sock",
    ) as server:  # fmt: skip
        _, address, key = next(one for one in server.keys if one[1].startswith(scheme))
        with pool.open(box, **QUICK) as here, live.connect(address, key) as client:  # noqa: SIM117
            with client.open("box.glb", **QUICK) as there:
                matrix = np.eye(4)
                matrix[0, 3] = 0.4
                for session in (here, there):
                    session.place("box", matrix)
                    session.set(passes=("depth", "rgb", "normal"))
                ours, theirs = (list(one.render(SHOTS)) for one in (here, there))
                for one, other in zip(ours, theirs, strict=True):
                    assert (one.position, one.state) == (other.position, other.state)
                    assert one.passes.keys() == other.passes.keys()
                    for name, array in one.passes.items():
                        assert np.array_equal(array, other[name]), name
                    assert one.checks == other.checks
                # Another client looks on, and changes nothing.
                with live.connect(address, key) as second:
                    reader = second.attach(there.id, there.ticket)
                    assert np.array_equal(reader.frame(SHOTS[2])["depth"], ours[2]["depth"])
                    with pytest.raises(RenderError, match="looked at"):
                        reader.place("box", np.eye(4))
                    waiting = reader.frame_async(SHOTS[2], at_least=3, timeout=20)
                    there.place("box", np.eye(4))
                    assert waiting.result(20).state == 3
                assert there.inspect()["assets"].keys() == {"box"}
                frames = there.render(live.orbit(200, size=(48, 48)))
                next(frames)
                frames.close()
                assert there.frame()["depth"].any()


def test_two_clients_at_once_never_get_each_others_pictures(box: Path, tmp_path: Path) -> None:
    with live.start(1, device="cpu") as pool, Server(
        pool, roots=[tmp_path], keys=tmp_path / "keys", private=tmp_path / "own.sock"
    ) as server:
        results: dict[int, list[float]] = {}

        def look(which: int) -> None:
            with (
                live.connect(server.addresses[0]) as client,
                client.open(box.name, **QUICK) as session,
            ):
                session.look_at((0, -9, 0), fov=30)
                seen = []
                for step in range(5):
                    matrix = np.eye(4) * [0.5, 0.5, 0.5, 1]
                    matrix[0, 3] = 1.0 if which else -1.0
                    matrix[2, 3] = step * 0.1
                    state = session.place("box", matrix)
                    frame = session.frame()
                    assert frame.state == state == step + 1
                    columns = np.nonzero(frame["depth"].any(axis=0))[0]
                    seen.append(float(columns.mean()))
                results[which] = seen

        threads = [threading.Thread(target=look, args=(which,)) for which in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert max(results[0]) < 24 < min(results[1])


def test_the_raster_lane_sees_what_cycles_sees_and_refuses_what_it_cannot(
    box: Path, tmp_path: Path
) -> None:
    passes = ("rgb", "depth", "normal", "mask", "position", "object_index", "distance")
    with live.start(1, device="cpu") as pool:
        with pool.open(box, **{**QUICK, "passes": passes, "resolution": (96, 64)}) as session:
            for step, color in enumerate(((1, 0, 0), (0, 1, 0))):
                matrix = np.eye(4) * 0.4
                matrix[:, 3] = 1.4 - 3 * step, 0.2, 0.3, 1
                session.add_mesh(f"cube{step}", scenes.CUBE_VERTICES, scenes.CUBE_FACES,
                                 color=color, matrix=matrix)  # fmt: skip
            session.look_at((4, -5, 3))
            exact, drawn = session.frame(), session.frame(lane="raster")
            assert drawn.lane["name"] == "raster" and drawn.state == exact.state
            assert set(drawn.lane["derived"]) == {"normal", "position", "distance"}
            assert drawn.lane["milliseconds"] > 0 and "transparency" in drawn.lane["ignores"]
            inside = scenes.interior(exact["mask"]) & (drawn["mask"] > 0)
            assert np.abs(drawn["depth"][inside] / exact["depth"][inside] - 1).max() < 1e-4
            assert (drawn["object_index"] == exact["object_index"])[inside].mean() > 0.9999
            assert {*np.unique(drawn["object_index"])} == {*np.unique(exact["object_index"])}
            assert len(np.unique(drawn["object_index"])) >= 3
            assert np.abs(drawn["position"] - exact["position"])[inside].max() < 1e-3
            flat = np.einsum("ijk,ijk->ij", drawn["normal"], exact["normal"])[inside]
            assert np.median(flat) > 0.9999 and np.quantile(flat, 0.2) > 0.99
            assert [check.name for check in drawn.checks if check.status == "failed"] == []
            # Cycles' own renders are as they were.
            again = session.frame()
            assert all(np.array_equal(exact[name], again[name]) for name in passes)
            session.place("cube0", np.eye(4))
            assert session.frame(lane="raster").state == session.state
            session.set(passes=("albedo",))
            with pytest.raises(InvalidJob, match="albedo"):
                session.frame(lane="raster")
        path = tmp_path / "glass.blend"
        with scenes.new_blend(path):
            scenes.add_cube(material=scenes.principled(**{"Alpha": 0.0}))
            scenes.add_cube(center=(3, 0, 0), size=0.4)
        with (
            pool.open(path, **{**QUICK, "passes": ("depth",)}) as session,
            pytest.raises(RenderError, match="not see what Cycles sees"),
        ):
            session.frame(lane="raster")


# What goes wrong in Blender itself, put there by functions that its pool allows.
FAULTS = """
import os
import numpy as np
from objaverse_render_addon.blender import capture, drawing
from objaverse_render_addon.blender.index_drawing import IndexDrawing
from objaverse_render_addon.blender.raster import RasterLane
from objaverse_render_addon.blender.stage import Stage

box_in, agree = Stage.box_in, RasterLane._check_agreement
read, take = drawing._channels, capture.take
draw_index = IndexDrawing.draw

def draw_constant(session, names):
    def constant(path):
        channels = read(path)
        for name in names:
            channels[name] = channels[name] * 0 + (2.5 if name == 'Depth.Z' else 0)
        return channels
    drawing._channels = constant

def fail(session, words):
    def failing(*_, **__):
        raise RuntimeError('Error: ' + words)
    capture.take = failing

def shrink(session, probed):
    def half(stage, camera):
        left, top, right, bottom = box_in(stage, camera)
        return left, top, (left + right) / 2, bottom
    Stage.box_in = half
    if not probed:
        RasterLane._check_agreement = lambda lane, seen: None

def mend(session):
    Stage.box_in, RasterLane._check_agreement = box_in, agree
    return session.raster._cut

def displace(session, by):
    def shifted(drawing, camera, clip):
        ids, depth = draw_index(drawing, camera, clip)
        return np.roll(ids, by, axis=1), np.roll(depth, by, axis=1)
    IndexDrawing.draw = shifted

def fur(session):
    import bpy
    curves = bpy.data.hair_curves.new("fur")
    curves.add_curves([2, 2])
    curves.position_data.foreach_set("vector", [0, 0, 0, 0, 0, 1.5] * 2)
    obj = bpy.data.objects.new("fur", curves)
    session.asset.collection.objects.link(obj)

def bring_to_front(session):
    import bpy
    mesh = bpy.data.meshes.new("behind")
    mesh.from_pydata([(-9, 3, -9), (9, 3, -9), (9, 3, 9), (-9, 3, 9)], [], [(0, 1, 2, 3)])
    obj = bpy.data.objects.new("behind", mesh)
    obj.show_in_front = True
    session.asset.collection.objects.link(obj)

def geometry(session):
    return session.raster.record["geometry"]

def speak(session):
    print('{"id": 1, "kind": "changed", "session": 1, "state": 99}', flush=True)
    os.write(1, b'{"id": 2, "kind": "alive"}\\n')
    os.system('echo noise')
    return {'said': True}
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[live.Pool]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "put_in.py").write_text(FAULTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        with live.start(1, device="cpu", modules=["put_in"], folders=[folder]) as pool:
            yield pool


def test_what_is_drawn_of_a_picture_is_all_that_there_is(faulty: live.Pool, box: Path) -> None:
    settings = {**QUICK, "passes": ("rgb", "depth", "object_index"), "resolution": (96, 64)}
    aside = live.look_at((3, -4, 2), target=(1.2, 0, 0.4), size=(96, 64))
    with faulty.open(box, **settings) as session:
        alone, *together = session.render(
            [aside, aside, live.look_at((0, -9, 0), size=(96, 64))], lane="raster"
        )
        # What is beside the box of the scene in a picture is not drawn, whoever it is drawn with.
        for name in settings["passes"]:
            np.testing.assert_array_equal(alone[name], together[0][name])
        assert alone["depth"].any() and not session.call("put_in.mend")
    for probed in (False, True):
        # As if the scene's box were known wrongly: that is found out by what is on its edge, or
        # by the small picture that is held against Cycles.
        with faulty.open(box, **settings) as session:
            session.call("put_in.shrink", probed=probed)
        with faulty.open(box, **settings) as session:
            found = session.frame(aside, lane="raster")
            for name in settings["passes"]:
                np.testing.assert_array_equal(found[name], alone[name])
            assert session.call("put_in.mend")


def test_ids_are_what_workbench_draws_however_they_come_about(
    faulty: live.Pool, box: Path
) -> None:
    settings = {**QUICK, "passes": ("rgb", "depth", "object_index"), "resolution": (96, 64)}
    aside = live.look_at((3, -4, 2), target=(1.2, 0, 0.4), size=(96, 64))
    again = live.look_at((3, -4, 2.2), target=(0, 0, 0.4), size=(96, 64))

    def frames(session: live.Session) -> list[Any]:
        return [frame.copy() for frame in session.render([aside, again], lane="raster")]

    with faulty.open(box, **settings) as session:
        by_themselves = frames(session)
        assert session.call("put_in.geometry") == "meshes by themselves"
        # What is of no use is noticed in each picture, and Workbench draws ids as colours.
        session.call("put_in.displace", by=3)
        colors = frames(session)
        assert "more than meshes" in session.call("put_in.geometry")
        session.call("put_in.displace", by=0)
    for one, other in zip(by_themselves, colors, strict=True):
        assert np.count_nonzero(one["object_index"]) > 300
        for name in settings["passes"]:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-4)
    with faulty.open(box, **{**settings, "passes": ("depth", "object_index")}) as session:
        (alone,) = session.render([aside], lane="raster")
        for name in ("depth", "object_index"):
            np.testing.assert_array_equal(alone[name], by_themselves[0][name])
        session.call("put_in.fur")
        session.frame(aside, lane="raster")
        assert "not all" in session.call("put_in.geometry")


def test_what_a_viewport_shows_in_front_is_where_it_is(faulty: live.Pool, box: Path) -> None:
    camera = live.look_at((0, -5, 1), target=(0, 0, 0.4), size=(48, 48))
    with faulty.open(box, **{**QUICK, "passes": ("rgb", "depth")}) as session:
        session.call("put_in.bring_to_front")
        exact = session.frame(camera).copy()
        drawn = session.frame(camera, lane="raster")
        assert np.ptp(exact["depth"][exact["depth"] > 0]) > 2
        np.testing.assert_allclose(drawn["depth"], exact["depth"], rtol=1e-3)


def test_a_lane_that_draws_the_same_everywhere_is_refused_or_doubted(
    faulty: live.Pool, box: Path
) -> None:
    values = {**QUICK, "passes": ("rgb", "depth")}
    with faulty.open(box, **values) as session:
        camera = live.look_at((3, -4, 2), size=(48, 48))
        assert "rgb_not_uniform" not in str(session.frame(camera, lane="raster").doubts)
        # A colour that is the same everywhere may be the object's; who gets it knows.
        colors = [f"Combined.{letter}" for letter in "RGB"]
        session.call("put_in.draw_constant", names=colors)
        assert "rgb_not_uniform" in str(session.frame(camera, lane="raster").doubts)
        # Depth that is cannot be right.
        session.call("put_in.draw_constant", names=["Depth.Z"])
        with pytest.raises(RenderError, match="not see what Cycles sees"):
            session.frame(camera, lane="raster")
        session.call("put_in.draw_constant", names=[])
        assert session.frame(camera, lane="raster").lane["renderer"], "it is said what draws"


@pytest.mark.parametrize(
    "words", ["Illegal address in CUDA queue synchronize", "Failed to retain CUDA context (x)"]
)
def test_a_worker_whose_gpu_is_lost_is_replaced(faulty: live.Pool, box: Path, words: str) -> None:
    with faulty.open(box, **QUICK) as session:
        before = session.frame().copy()
        (pid,) = faulty.pids
        with faulty.open(box, **QUICK) as other:
            other.call("put_in.fail", words=words)
        # It is open in the worker that cannot render any more, and then in another.
        after = session.frame()
        assert np.array_equal(before["depth"], after["depth"])
        assert gone([pid], 5)


def test_a_gpu_without_memory_is_named_and_its_worker_replaced(
    faulty: live.Pool, box: Path
) -> None:
    with faulty.open(box, **QUICK) as session:
        (pid,) = faulty.pids
        with faulty.open(box, **QUICK) as other:
            other.call("put_in.fail", words="System is out of GPU memory")
        with pytest.raises(OutOfMemory, match="no memory left: System is out of GPU memory"):
            session.frame()
        assert gone([pid], 5)
        assert session.frame()["depth"].any()
        # What is no GPU's fault is the shot's alone.
        (pid,) = faulty.pids
        with faulty.open(box, **QUICK) as other:
            other.call("put_in.fail", words="Cannot render, no camera")
            with pytest.raises(RenderFailed, match="no camera"):
                other.frame()
        assert faulty.pids == [pid]
        os.kill(pid, signal.SIGKILL)
        # The next test has another, not one that dies as it is asked: its threads may outlive it.
        until = time.monotonic() + 10
        while pid in faulty.pids and time.monotonic() < until:
            time.sleep(0.02)


def test_a_device_that_is_not_there_is_refused_and_never_the_cpu(
    faulty: live.Pool, box: Path
) -> None:
    absent = "metal" if sys.platform == "linux" else "hip"
    with pytest.raises(DeviceUnavailable, match=absent):
        faulty.open(box, **{**QUICK, "device": absent})
    with faulty.open(box, **QUICK) as session:
        assert session.frame().lane["device"] == "CPU"


def test_a_strangers_scene_runs_nothing_and_what_it_prints_is_no_answer(
    faulty: live.Pool, tmp_path: Path
) -> None:
    import bpy

    path, ran, library = tmp_path / "strange.blend", tmp_path / "ran", tmp_path / "library.blend"
    with scenes.new_blend(library):
        scenes.add_cube(name="Linked")
    with scenes.new_blend(path) as source:
        cube = scenes.add_cube(name="Driven")
        text = bpy.data.texts.new("startup.py")
        text.write(f"open({str(ran)!r}, 'w').close()")
        text.use_module = True
        cube.driver_add("location", 0).driver.expression = (
            f"__import__('pathlib').Path({str(ran)!r}).touch() or 0"
        )
        with bpy.data.libraries.load(str(library), link=True) as (_, wanted):
            wanted.objects = ["Linked"]
        source.collection.objects.link(wanted.objects[0])
        image = bpy.data.images.new("gone", 4, 4)
        image.source, image.filepath = "FILE", str(tmp_path / "gone.png")
        cube.data.materials.append(scenes.principled())
        nodes = cube.data.materials[0].node_tree
        nodes.nodes.new("ShaderNodeTexImage").image = image
        nodes.links.new(nodes.nodes["Image Texture"].outputs[0],
                        nodes.nodes["Principled BSDF"].inputs["Base Color"])  # fmt: skip
    library.unlink()
    with faulty.open(path, whole=True, **QUICK) as session:
        named = {text.split(":")[0] for text in session.warnings}
        assert {"blocked-drivers", "missing-textures", "missing-parts"} <= named, named
        assert session.call("put_in.speak") == {"said": True}
        frame = session.frame()
        assert frame.state == session.state == 1
        assert frame["depth"].any()
        assert not ran.exists()


def test_poses_that_are_none_are_refused_at_the_door(
    faulty: live.Pool, box: Path, tmp_path: Path
) -> None:
    """By hand, since the client itself refuses them before they are sent."""
    with Server(
        faulty, roots=[tmp_path], keys=tmp_path / "keys", private=tmp_path / "own.sock"
    ) as server, live.connect(server.addresses[0]) as client:
        session = client.open(box.name, **QUICK)
        before = session.frame().copy()
        for value in (float("nan"), float("inf"), 1e300, None, "1"):
            matrix = np.eye(4).tolist()
            matrix[0][3] = value
            edit = {"edit": "place", "name": "box", "matrix": matrix}
            shot = {**encode_shot(0, before.camera), "camera_to_world": matrix}
            for request in (
                Change(session.id, [edit], 1), Render(session.id, shots=[shot]),
            ):  # fmt: skip
                with pytest.raises(InvalidEdit):
                    client._ask(request, 30)
        assert client.status()["workers"] == 1, "it goes on"
        after = session.frame()
        assert after.state == session.state == 0
        assert np.array_equal(before["depth"], after["depth"])


def test_who_does_not_take_its_frames_holds_nobody_up(
    faulty: live.Pool, box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is heard of all the time, and yet never says that more frames may come."""
    monkeypatch.setattr(remote, "_HEARTBEAT", 0.3)
    with Server(
        faulty, roots=[tmp_path], keys=tmp_path / "keys", private=tmp_path / "own.sock",
        limits=Limits(idle=2.0),
    ) as server, live.connect(server.addresses[0]) as slow, live.connect(slow.address) as good:
        session, other = slow.open(box.name, **QUICK), good.open(box.name, **QUICK)
        shots = [encode_shot(index, camera) for index, camera in enumerate(SHOTS)]
        answers = slow._answers(
            Render(session.id, shots=shots, inline=True, options={"credit": 1}), 60
        )
        assert isinstance(next(answers).message, FrameReady)
        assert other.frame()["depth"].any(), "the worker is another's meanwhile"
        with pytest.raises(ConnectionLost, match="did not take its frames"):
            next(answers)
        assert session.frame()["depth"].any(), "it may ask again"
        assert server.service.dropped == 0


@pytest.mark.long
def test_eevee_has_time_to_compile_its_shaders(faulty: live.Pool, box: Path) -> None:
    """Its first frame takes seconds where no GPU is, whatever a frame is allowed."""
    with faulty.open(box, **{**QUICK, "engine": "eevee", "resolution": (32, 32)}) as session:
        assert session.frame(timeout=0.3)["rgb"].any()


@pytest.mark.long
@pytest.mark.parametrize("lane", ["exact", "raster"])
def test_ten_thousand_frames_leave_memory_descriptors_and_threads_as_they_were(
    box: Path, lane: str
) -> None:
    shots = live.orbit(100, size=(32, 32))
    with live.start(2, device="cpu") as pool:
        took, begun = [], {}
        for turn in range(100):
            since = time.perf_counter()
            if turn % 5 == 0:
                session = pool.open(box, **{**QUICK, "resolution": (32, 32)})
            for frame in session.render(shots, lane=lane):
                assert frame["depth"].any()
            took.append(time.perf_counter() - since)
            if turn % 5 == 4:
                session.close()
            if turn == 9:
                begun = state_of(pool)
        ended = state_of(pool)
        assert ended["descriptors"] <= begun["descriptors"] + 2
        assert ended["threads"] <= begun["threads"] + 2
        assert ended["memory"] - begun["memory"] < 60 << 20
        assert max(ended["workers"]) - max(begun["workers"]) < 60 << 20
        assert np.median(took[-10:]) < 1.25 * np.median(took[5:15])


def state_of(pool: live.Pool) -> dict[str, Any]:
    gc.collect()
    return {
        "descriptors": len([*Path("/proc/self/fd").iterdir()]), "threads": threading.active_count(),
        "memory": resident_bytes(), "workers": [resident_bytes(pid) for pid in pool.pids],
    }  # fmt: skip
