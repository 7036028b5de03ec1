"""``objaverse-render download``: what it fetches, says and ends with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import glb_shell as glb
from objaverse_server import Server, page, serving, slowly, status

from objaverse_render_addon.cli import main
from objaverse_render_addon.errors import (
    DownloadFailed,
    Interrupted,
    InvalidList,
    OnlineAccessDenied,
    SourceNotFound,
)

ROOT = Path(__file__).resolve().parent.parent
UIDS = [f"{number:032x}" for number in range(20)]


pytestmark = pytest.mark.usefixtures("in_a_hurry_and_alone")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as running:
        for uid in UIDS:
            running.add(uid, glb(20_000))
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


def run(cache: Path, *arguments: str) -> int:
    return main(["download", "--download-dir", str(cache), *arguments])


def test_a_list_is_fetched_once_and_a_second_time_finds_it(server, tmp_path, capsys):
    names = tmp_path / "uids.txt"
    names.write_text("\n".join(UIDS))
    index = len(server.files["object-paths.json.gz"])
    assert run(tmp_path / "cache", str(names), "--jobs", "4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"20 fetched, {(index + 400_000) / 1024:.1f} KiB"
    assert {line.split()[0] for line in lines[:-1]} == {"fetched"}
    assert len(list((tmp_path / "cache").rglob("*.glb"))) == 20
    asked = len(server.asked)
    assert run(tmp_path / "cache", str(names)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "20 here, 0 B"
    assert len(server.asked) == asked


def test_one_bad_address_is_one_failed_asset(server, tmp_path, capsys):
    server.orders[f"glbs/000-023/{UIDS[3]}.glb"] = [status(404)]
    assert run(tmp_path / "cache", *UIDS[:6]) == DownloadFailed.exit_code
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1].startswith("5 fetched, 1 failed, 9")
    assert f"failed [download-failed]: {server.endpoint}" in captured.err
    assert UIDS[3] in captured.err
    assert "→" in captured.err


def test_several_kinds_of_failure_end_with_3(server, tmp_path, capsys):
    server.orders[f"glbs/000-023/{UIDS[3]}.glb"] = [page]
    assert run(tmp_path / "cache", UIDS[3], "f" * 32, str(tmp_path / "none.glb")) == 3
    assert "wrong-format" in (err := capsys.readouterr().err)
    assert err.count("source-not-found") == 2
    assert run(tmp_path / "cache", "f" * 32) == SourceNotFound.exit_code


def test_machines_get_one_object_a_line(server, tmp_path, capsys):
    server.orders[f"glbs/000-023/{UIDS[1]}.glb"] = [status(403)]
    run(tmp_path / "cache", UIDS[2], "--quiet")
    assert run(tmp_path / "cache", *UIDS[:2], "--json") == DownloadFailed.exit_code
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    by_source = {record.get("source"): record for record in records}
    good, bad = by_source[UIDS[0]], by_source[UIDS[1]]
    assert good["status"] == "fetched"
    assert good["bytes"] == 20_000
    assert Path(good["path"]).read_bytes() == glb(20_000)
    assert good["known"]["file_identifier"].endswith(UIDS[0])
    assert (bad["status"], bad["path"], bad["reason"]) == ("failed", None, "download-failed")
    assert "HF_TOKEN" in bad["hint"]
    assert records[-1] == {
        "kind": "summary", "fetched": 1, "here": 0, "failed": 1, "bytes": 20_000,
    }  # fmt: skip


def test_offline_says_what_is_here(server, tmp_path, capsys):
    run(tmp_path / "cache", UIDS[0], "--quiet")
    assert capsys.readouterr().out == ""
    asked = len(server.asked)
    code = run(tmp_path / "cache", UIDS[0], UIDS[1], "--offline")
    assert code == OnlineAccessDenied.exit_code
    assert capsys.readouterr().out.splitlines()[-1] == "1 here, 1 failed, 0 B"
    assert len(server.asked) == asked


@pytest.mark.usefixtures("server")
def test_a_line_that_cannot_be_understood_stops_the_command(tmp_path, capsys):
    (tmp_path / "list.txt").write_text(f"{UIDS[0]}\n{UIDS[1]} --frame x\n")
    assert run(tmp_path / "cache", str(tmp_path / "list.txt")) == InvalidList.exit_code
    assert "list.txt, line 2" in capsys.readouterr().err


@pytest.mark.usefixtures("server")
def test_a_file_of_the_user_is_looked_at_and_left_alone(tmp_path, capsys):
    (tmp_path / "a.glb").write_bytes(glb(20_000))
    assert run(tmp_path / "cache", str(tmp_path / "a.glb")) == 0
    assert capsys.readouterr().out == f"here    {tmp_path / 'a.glb'}\n"
    assert not (tmp_path / "cache").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupt_stops_soon_and_the_next_run_goes_on(server, tmp_path):
    name = f"glbs/000-023/{UIDS[0]}.glb"
    server.files[name] = glb(2_000_000)
    server.orders[name] = [slowly(20_000, 0.05)]
    command = [sys.executable, "-m", "objaverse_render_addon.cli", "download", UIDS[0], UIDS[1],
               "--download-dir", str(tmp_path)]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=ROOT, env=dict(os.environ), stderr=subprocess.PIPE, text=True,
        # What runs in a shell's background ignores it, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    part = tmp_path / "hf-objaverse-v1" / "glbs" / "000-023" / f".{UIDS[0]}.glb.part"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (part.is_file() and part.stat().st_size > 100_000):
        time.sleep(0.02)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert time.monotonic() - start < 10
    assert process.returncode == Interrupted.exit_code
    assert "Traceback" not in said
    assert part.is_file()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert server.ranges(name)[-1] != ""
    assert (tmp_path / "hf-objaverse-v1" / name).read_bytes() == glb(2_000_000)


def test_what_lies_in_an_archive_here_is_called_by_where_it_stays(tmp_path: Path, capsys):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("chair.glb", glb())
    source = f"zip://chair.glb::{archive}"
    assert main(["download", source, "--download-dir", str(tmp_path / "cache")]) == 0
    assert capsys.readouterr().out.startswith(f"fetched {source} (")
    assert main(["download", source, "--json", "--download-dir", str(tmp_path / "cache")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["path"] is None
