"""The live view's backend on a server: what every backend promises, and servers and workers that
die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live.fake import camera_of
from live.promises import Promises, never

from objaverse_render_addon import live
from objaverse_render_addon.errors import ConnectionLost
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.live.backends import Backend
from objaverse_render_addon.live.backends.served import ServedBackend
from objaverse_render_addon.live.levels import Level
from objaverse_render_addon.live.queue import RenderQueue
from objaverse_render_addon.live.server import Server

from . import scenes

JOB = RenderJob().with_values({
    "cameras.views": 3, "pixels.resolution": [64, 48],
    "pixels.passes": ["rgb", "depth", "normal"], "engine.samples": 4, "engine.denoise": False,
    "engine.device": "cpu", "engine.threads": 1,
})  # fmt: skip
LEVEL = Level(64, 48, 4)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write_glb(tmp_path_factory.mktemp("box") / "box.glb")


@pytest.fixture(scope="module")
def pool() -> Iterator[live.Pool]:
    with live.start(1, device="cpu") as made:
        yield made


def serving(pool: live.Pool, folder: Path, address: str = "tcp://127.0.0.1:0") -> Server:
    """With the keys that the folder has."""
    (folder / "root").mkdir(exist_ok=True)
    return Server(
        pool, [address], clients=["ada"], roots=[folder / "root"], keys=folder / "keys",
        private=folder / "own.sock",
    )  # fmt: skip


def door(server: Server) -> dict[str, str]:
    return next(
        {"address": address, "key": key} for _, address, key in server.keys
        if address.startswith("tcp")
    )  # fmt: skip


@pytest.fixture(scope="module")
def opened(
    pool: live.Pool, box: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedBackend]:
    with serving(pool, tmp_path_factory.mktemp("served")) as server:
        backend = ServedBackend(box, JOB, **door(server))
        yield backend
        backend.close()


class TestServed(Promises):
    @pytest.fixture
    def backend(self, opened: ServedBackend) -> Backend:
        return opened


def drawn(backend: ServedBackend, number: float, **values: Any) -> Any:
    found = backend.render(camera_of(number), LEVEL, never, {"values": values})
    assert found is not None
    return found


def test_a_worker_that_dies_is_replaced(pool: live.Pool, opened: ServedBackend) -> None:
    """With the settings that were made since the scene was opened, and from its start."""
    values = {"pixels.normal_space": "world", "lighting.mode": "white"}
    before = drawn(opened, 3, **values)
    (worker,) = pool.status()["workers"]
    os.kill(worker["pid"], signal.SIGKILL)
    after = drawn(opened, 3, **values)
    for name in before.passes:
        assert np.array_equal(before.passes[name], after.passes[name]), name
    assert pool.status()["workers"][0]["pid"] != worker["pid"]
    assert not np.array_equal(drawn(opened, 3).passes["normal"], before.passes["normal"])


def test_a_server_that_was_started_again_is_found_again(
    pool: live.Pool, box: Path, tmp_path: Path
) -> None:
    with serving(pool, tmp_path) as server:
        where = door(server)
        backend = ServedBackend(box, JOB, **where)
        before = drawn(backend, 5, **{"lighting.mode": "white"})
    queue = RenderQueue(backend)
    try:
        # Nobody is there: that is the answer to this camera, and ends nothing.
        number = queue.update_camera(camera_of(4))
        with pytest.raises(ConnectionLost):
            queue.wait(60, at_least=number, last=True)
        with serving(pool, tmp_path, where["address"]):
            after = drawn(backend, 5, **{"lighting.mode": "white"})
            assert np.array_equal(after.image, before.image)
            assert np.array_equal(after.depth, before.depth)
            number = queue.update_camera(camera_of(6))
            assert queue.wait(60, at_least=number, last=True).samples == 4
    finally:
        queue.close()


@pytest.mark.long
def test_a_server_that_is_killed_with_its_workers_is_found_again(
    box: Path, tmp_path: Path
) -> None:
    def start(address: str) -> tuple[Any, dict[str, str]]:
        process = subprocess.Popen(
            [sys.executable, "-m", "objaverse_render_addon.cli", "serve", "--json", "--workers",
             "1", "--no-standby", "--device", "cpu", "--listen", address,
             "--keys", str(tmp_path / "keys")],
            stdout=subprocess.PIPE, text=True, cwd=tmp_path,
            env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        )  # fmt: skip
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        return process, next(
            {"address": one["address"], "key": one["key"]}
            for one in found["keys"] if one["address"].startswith("tcp")
        )  # fmt: skip

    process, where = start("tcp://127.0.0.1:0")
    try:
        backend = ServedBackend(box, JOB, **where)
        before = drawn(backend, 2)
        process.kill()
        process.communicate()
        with pytest.raises(ConnectionLost):
            drawn(backend, 2)
        process, _ = start(where["address"])
        assert np.array_equal(drawn(backend, 2).image, before.image)
        backend.close()
    finally:
        process.kill()
        process.communicate()
