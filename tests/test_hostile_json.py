"""JSON that Python refuses, or that takes gigabytes: named, and never read in the run itself."""

from __future__ import annotations

import json
import os
import struct
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from batch_lanes import PlanLane, make_job, make_sources, run

from objaverse_render_addon.assets.check_finite import check_finite
from objaverse_render_addon.assets.companions import Companion, named_in
from objaverse_render_addon.assets.embedded_license import embedded_license
from objaverse_render_addon.assets.formats import MUCH_JSON, inspect_file
from objaverse_render_addon.batch.inputs import check_files
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.batch.queue.plan import plan
from objaverse_render_addon.batch.queue.rows import QueueEntry
from objaverse_render_addon.cameras.files import views_from_file
from objaverse_render_addon.errors import (
    CameraFileError,
    InvalidJob,
    RenderError,
    TruncatedFile,
    WrongFormat,
)
from objaverse_render_addon.job import RenderJob

DEEP = b'{"asset": {"version": "2.0"}, "extras": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
DEEP_OBJECT = (
    b'{"asset": {"version": "2.0"}, "extras": ' + b'{"a":' * 150_000 + b"1" + b"}" * 150_001
)
DIGITS = b'{"asset": {"version": "2.0"}, "extras": ' + b"9" * 5000 + b"}"
UTF16 = json.dumps({"asset": {"version": "2.0"}}).encode("utf-16")
HOSTILE = {
    "deep": DEEP, "deep-object": DEEP_OBJECT, "digits": DIGITS, "utf16": UTF16,
    "utf16-le": UTF16[2:], "list": b'[{"asset": {"version": "2.0"}}]',
}  # fmt: skip


def glb_of(text: bytes) -> bytes:
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON")
    return head + text


@pytest.mark.core
@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_gltf_that_no_parser_reads_is_of_the_wrong_format(tmp_path: Path, name: str):
    path = tmp_path / "a.gltf"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(WrongFormat) as caught:
        inspect_file(path, whole=True)
    if "utf16" in name:
        assert "UTF-16" in caught.value.message and "UTF-8" in caught.value.hint
    assert named_in(path, "gltf", str(path)) == []
    assert embedded_license(path) == {}
    binary = tmp_path / "b.glb"
    binary.write_bytes(glb_of(HOSTILE[name]))
    assert inspect_file(binary) == "glb"
    try:
        check_finite(binary, "glb")  # The importer names what is left to it.
    except RenderError as error:
        assert error.reason == "wrong-format"
    assert embedded_license(binary) == {}
    if name in ("deep", "deep-object", "list"):
        with pytest.raises(WrongFormat):
            check_finite(binary, "glb")


def test_a_list_with_such_files_is_planned_and_rendered_nevertheless(tmp_path: Path):
    (good,) = make_sources(tmp_path / "in", 1)
    for name, content in HOSTILE.items():
        (tmp_path / "in" / f"{name}.gltf").write_bytes(content)
    plans = plan([tmp_path / "in"], make_job(), tmp_path / "out")
    wrong = {item.asset_id: item.error.reason for item in plans if item.error}
    assert wrong == dict.fromkeys(HOSTILE, "wrong-format")
    report = run([tmp_path / "in"], tmp_path / "out", PlanLane())
    failed = [result.error.reason for result in report.results if result.error]
    assert failed == ["wrong-format"] * len(HOSTILE) and report.counts["done"] == 1
    assert [result.source for result in report.results if result.status == "done"] == [good]


def large(path: Path, tail: bytes = b"}") -> Path:
    """Many small things: what JSON takes most memory for."""
    with path.open("wb") as file:
        file.write(b'{"asset": {"version": "2.0"}, "buffers": [{"uri": "mesh%20one.bin"},')
        file.write(b' {"uri": "data:x;base64,AAAA"}], "images": [{"uri": "te\\u0078ture.png"}],')
        file.write(b' "extras": [' + b"[]," * (MUCH_JSON // 3) + b"{}]")
        file.write(b', "images2": [{"uri": "' + b"x" * 900 + b'.png"}]' + tail)
    return path


def test_much_json_is_not_read_as_a_whole_where_the_run_is(tmp_path: Path):
    path = large(tmp_path / "a.gltf")
    tracemalloc.start()
    assert inspect_file(path) == "gltf"
    found = named_in(path, "gltf", str(path))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MUCH_JSON
    assert found == [
        Companion("mesh one.bin", True), Companion("texture.png", False),
        Companion("x" * 900 + ".png", False),
    ]  # fmt: skip
    assert inspect_file(path, whole=True) == "gltf"
    with pytest.raises(TruncatedFile):
        inspect_file(large(tmp_path / "b.gltf", b""))
    broken = large(tmp_path / "c.gltf", b", }")
    assert inspect_file(broken) == "gltf"
    with pytest.raises(TruncatedFile):
        inspect_file(broken, whole=True)


@pytest.mark.parametrize(("state", "runs"), [("rendering", 5), ("downloading", 10)])
def test_an_asset_that_every_run_dies_over_is_given_up_in_the_end(
    tmp_path: Path, state: str, runs: int
):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        request = ledger.add("x", [QueueEntry(f"/{name}.gltf", name) for name in "ab"])
        (row, _) = ledger.claim(request, 2)
        for died in range(runs):
            assert ledger.counts()["given up"] == 0, died
            ledger.mark([row.id], state)
            ledger.reset_in_hand()
            if died >= (1 if state == 'rendering' else 2):
                # It comes last from now on.
                (first,) = ledger.claim(request, 1)
                ledger.mark([first.id], "waiting")
                assert first.asset_id == "b"
        (lost,) = ledger.assets(("given up",))
        assert lost["asset_id"] == "a" and lost["reason"] == "worker-crashed"
        again: Any = ledger.retry(None)
        assert again == 1


# --- Files that a job names -----------------------------------------------------------------


def test_jobs_nested_beyond_reason_are_refused_by_name(tmp_path: Path):
    path = tmp_path / "job.toml"
    path.write_text("x = " + "[" * 50_000 + "]" * 50_000)
    with pytest.raises(InvalidJob, match=r"job\.toml cannot be read"):
        RenderJob.load(path)
    path = tmp_path / "job.json"
    path.write_bytes(DEEP)
    with pytest.raises(InvalidJob, match=r"job\.json cannot be read"):
        RenderJob.load(path)
    path = tmp_path / "poses.toml"
    path.write_text("frames = " + "[" * 50_000 + "]" * 50_000)
    with pytest.raises(CameraFileError):
        views_from_file(str(path), (64, 64))


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes there")
def test_pipes_and_devices_are_refused_before_anybody_waits_for_them(tmp_path: Path):
    pipe = tmp_path / "pipe.hdr"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        job = RenderJob().with_values({"lighting.mode": "hdri", "lighting.hdri": str(path)})
        with pytest.raises(InvalidJob, match="no regular file"):
            check_files(job)
        with pytest.raises(CameraFileError, match="neither a file"):
            views_from_file(str(path), (64, 64))


def test_an_hdri_that_is_none_fails_the_run_and_not_each_of_its_assets(tmp_path: Path):
    path = tmp_path / "sky.hdr"
    path.write_bytes(b"<html>404</html>")
    job = RenderJob().with_values({"lighting.mode": "hdri", "lighting.hdri": str(path)})
    with pytest.raises(InvalidJob, match="it is no image"):
        check_files(job)
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n\0\0\0\0")
    check_files(job)
