"""Assets that a server renders into data sets, as the panel and a batch have it."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon import live
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.errors import AccessRefused, InvalidEdit, RenderError
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.live.asset_lane import server_lanes
from objaverse_render_addon.live.server import Server
from objaverse_render_addon.live.service import Limits

from . import scenes

JOB = RenderJob().with_values({
    "cameras.views": 3, "pixels.resolution": [32, 32], "pixels.passes": ["rgb", "depth"],
    "engine.samples": 2, "engine.denoise": False, "engine.device": "cpu",
})  # fmt: skip


@pytest.fixture(scope="module")
def pool() -> Iterator[live.Pool]:
    with live.start(1, device="cpu") as made:
        yield made


@pytest.fixture
def server(pool: live.Pool, tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "root").mkdir()
    with Server(
        pool, ["tcp://127.0.0.1:0"], clients=["ada"], roots=[tmp_path / "root"],
        keys=tmp_path / "keys", private=tmp_path / "own.sock",
        limits=Limits(upload=1 << 20),
    ) as made:  # fmt: skip
        yield made


def door(server: Server) -> tuple[str, str]:
    return next((address, key) for _, address, key in server.keys if address.startswith("tcp"))


def contents(path: Path) -> dict[str, Any]:
    if path.is_dir():
        return {file.name: file.read_bytes() for file in path.iterdir()}
    with zipfile.ZipFile(path) as archive:
        return {Path(name).name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("layout", ["zip", "folder"])
def test_a_data_set_from_a_server_is_the_one_of_here(
    server: Server, tmp_path: Path, layout: str
) -> None:
    box = scenes.write_glb(tmp_path / "box.glb")
    job = JOB.with_values({"files.layout": layout})
    previews = tmp_path / "previews"
    previews.mkdir()
    told: list[Any] = []
    options = RunOptions.of(previews=previews)
    here = render([str(box)], job, tmp_path / "here", RunOptions.of(workers=1))
    there = render(
        [str(box)], job, tmp_path / "there", options, on_event=told.append,
        lanes=server_lanes(*door(server), previews=previews),
    )  # fmt: skip
    assert here.ok and there.ok, [one.error for one in there.failed]
    ours, theirs = (contents(one.results[0].path) for one in (here, there))
    assert ours.keys() == theirs.keys()
    for name in ours.keys() - {"metadata.json"}:
        assert ours[name] == theirs[name], name
    one, other = (json.loads(each["metadata.json"]) for each in (ours, theirs))
    differ = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    assert differ <= {"seconds", "engine"}, differ
    shown = [Path(event.preview) for event in told if getattr(event, "preview", "")]
    assert shown and all(path.parent == previews and path.stat().st_size for path in shown)
    text = "".join(
        path.read_bytes().decode("latin1") for path in tmp_path.glob("there/**/*") if path.is_file()
    )
    assert door(server)[1].partition(":")[2] not in text + repr(told)
    assert not [*(tmp_path / "there").glob(".parts")]


def test_what_a_server_cannot_render_fails_by_name(server: Server, tmp_path: Path) -> None:
    broken = tmp_path / "broken.glb"
    broken.write_bytes(b"glTF" + bytes(40))
    report = render(
        [str(broken)], JOB, tmp_path / "out", lanes=server_lanes(*door(server), timeout=60)
    )
    (error,) = [one.error for one in report.failed]
    assert error is not None and error.reason not in ("unexpected-error", "worker-crashed")
    with pytest.raises(RenderError, match="does not take this key"):
        render([str(broken)], JOB, tmp_path / "b", lanes=server_lanes(door(server)[0], "ada:00"))


def test_a_run_on_a_server_is_cancelled_at_once(
    server: Server, pool: live.Pool, tmp_path: Path
) -> None:
    box = scenes.write_glb(tmp_path / "box.glb")
    job = JOB.with_values({"engine.samples": 65536, "pixels.resolution": [512, 512]})
    cancel = threading.Event()
    threading.Timer(4, cancel.set).start()
    since = time.monotonic()
    with pytest.raises(RenderError):
        render([str(box)], job, tmp_path / "out", cancel=cancel, lanes=server_lanes(*door(server)))
    assert time.monotonic() - since < 15
    until = time.monotonic() + 15
    while pool.status()["workers"][0]["busy"] and time.monotonic() < until:
        time.sleep(0.1)
    assert not pool.status()["workers"][0]["busy"]
    assert not [*(tmp_path / "out").glob("box*")]


def test_what_a_client_brings_along_is_its_own(server: Server, tmp_path: Path) -> None:
    box = scenes.write_glb(tmp_path / "box.glb")
    quick = {"resolution": (32, 32), "samples": 1, "denoise": False, "passes": ("depth",)}
    with live.connect(*door(server)) as client, live.connect(*door(server)) as other:
        name = client.upload(box)
        assert name == "upload:box.glb"
        with client.open(name, **quick) as session:
            assert session.frame()["depth"].any()
            session.add(name, "second")
            assert np.isfinite(session.frame()["depth"]).all()
        with pytest.raises(AccessRefused, match="brought along"):
            other.open(name, **quick)
        large = tmp_path / "large.bin"
        large.write_bytes(bytes(2 << 20))
        with pytest.raises(AccessRefused, match="more than this server takes"):
            client.upload(large)
        for bad in ("../box.glb", ".box", "a/b", "", "x" * 300):
            with pytest.raises(InvalidEdit):
                client.upload(box, bad or " /")
        with pytest.raises(AccessRefused):
            client.open("upload:../../box.glb", **quick)
        with pytest.raises(AccessRefused, match="not in a folder"):
            client.open(None, lighting="file", lights="/etc/hostname")
    own, until = f"objaverse-render-{os.getpid()}-*/box.glb", time.monotonic() + 5
    while [*Path(tempfile.gettempdir()).glob(own)] and time.monotonic() < until:
        time.sleep(0.05)
    assert not [*Path(tempfile.gettempdir()).glob(own)]
