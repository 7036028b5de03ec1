"""What is printed: nothing in it is obeyed by a terminal or looks like a line of ours."""

from __future__ import annotations

import ast
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from batch_lanes import ROOT, make_sources, run
from hypothesis import example, given, settings
from hypothesis import strategies as st

from objaverse_render_addon import cli
from objaverse_render_addon.assets.sources import Source
from objaverse_render_addon.assets.text import clean
from objaverse_render_addon.batch.results import AssetResult, Notice
from objaverse_render_addon.cli import terminal
from objaverse_render_addon.cli.progress import TerminalProgress
from objaverse_render_addon.errors import ImportFailed, NoGeometry, RenderError, from_reason
from objaverse_render_addon.words import one_line, redacted, without_secrets
from objaverse_render_addon.worker.protocol import Stage

ATTACK = (
    "a\x1b]0;title\x07b\x1b[2Jc\x9b31md\x1b]52;c;AAAA\x1b\\e\n"
    "failed [x]: y.glb\r\u202ez\x00\udce9"
)
HARMLESS = "abcde failed [x]: y.glb z"
_ANYTHING = st.text(
    st.one_of(st.characters(), st.sampled_from("\x1b\x9b\x07\x9d\n\r\u2028\u202e[];\\\udce9"))
)


def obeyed(text: str) -> list[str]:
    """What a terminal acts upon, line breaks and all."""
    return [char for char in text if not char.isprintable()]


@given(_ANYTHING)
@example(ATTACK)
def test_a_line_is_a_line_whatever_is_in_it(text: str):
    line = one_line(text)
    assert not obeyed(line)
    assert one_line(line) == line and one_line(clean(text)) == clean(text)
    if text.isprintable():
        assert line == text
    error = from_reason("import-failed", text, text, text)
    assert isinstance(error, RenderError)
    assert not obeyed(error.message) and not obeyed(error.hint) and not obeyed(str(error))
    assert len(error.message) <= 4000


def test_what_is_said_stays_as_far_as_it_is_text():
    assert one_line(ATTACK) == HARMLESS
    assert one_line("  two  spaces\tand\u3000more, Größe 椅子 ½ →") == (
        "  two  spaces and more, Größe 椅子 ½ →"
    )


@settings(deadline=None)
@given(_ANYTHING)
@example(ATTACK)
def test_every_line_of_progress_is_one(text: str):
    with pytest.MonkeyPatch.context() as patch:
        out, err = _Stream(), _Stream()
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        progress = TerminalProgress(quiet=False)
        progress.start({"waiting": 2, "done": 0})
        progress.event(Notice(text))
        progress.event(Stage(text, text))
        path = Path("out") / text.replace("/", "_").replace("\0", "_")
        done = AssetResult(text, text, "done", path)
        done.warnings, done.doubts = [text], {text: 1}
        progress.result(done)
        progress.result(AssetResult(text, text, "failed", None, ImportFailed(text, hint=text)))
        cli.common.complain(ImportFailed(text, log=f"1\n{text}"), f"FAILED {text}")
    said = "".join(out.written)
    assert said.count("\n") == 3 and not obeyed(said.replace("\n", ""))
    said = "".join(err.written)
    assert not obeyed(said.replace("\n", ""))
    assert sum(line.startswith("failed [") for line in said.split("\n")) <= 2


class _Stream:
    encoding = "utf-8"

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> None:
        text.encode()  # No surrogate comes as far as this.
        self.written.append(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def test_nothing_is_printed_past_the_door():
    folder = Path(cli.__file__).parent
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        printed = [func for func in calls if isinstance(func, ast.Name) and func.id == "print"]
        written = [
            func for func in calls if isinstance(func, ast.Attribute)
            and ast.unparse(func).startswith(("sys.stdout.write", "sys.stderr.write"))
        ]  # fmt: skip
        assert not printed and not written, path.name


SECRET = "http://user:PASSWORD1@127.0.0.1:9/x/chair.glb?X-Amz-Signature=SIGNED1&token=TOKEN1&v=2"
SECRETS = ("PASSWORD1", "SIGNED1", "TOKEN1")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (SECRET, "http://127.0.0.1:9/x/chair.glb?v=2"),
        (f"zip://a.glb::{SECRET}", "zip://a.glb::http://127.0.0.1:9/x/chair.glb?v=2"),
        ("s3://bucket/a.glb", "s3://bucket/a.glb"),
        ("zip://a.glb::s3://b/c.zip", "zip://a.glb::s3://b/c.zip"),
        (r"C:\chairs\a.glb", r"C:\chairs\a.glb"),
        ("/chairs/a?token=b.glb", "/chairs/a?token=b.glb"),
    ],
)
def test_addresses_are_shown_without_what_opens_them(address: str, shown: str):
    assert without_secrets(f"Of {address}, there is nothing.") == f"Of {shown}, there is nothing."
    if "://" in address:
        assert redacted(address) == shown


def test_no_password_is_shown_or_published_and_the_ledger_that_has_it_is_private(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    out = tmp_path / "out"
    (good,) = make_sources(tmp_path / "in", 1)
    report = run([Source(SECRET, "url", "chair"), good], out)
    assert report.counts["failed"] == report.counts["done"] == 1
    assert not any(secret in str(result.error) for result in report.results for secret in SECRETS)
    for command in (
        ["status", str(out), "--failed"], ["status", str(out), "--failed", "--json"],
        ["status", str(out), "--csv", str(tmp_path / "csv")], ["status", str(out)],
        ["gallery", str(out), "-o", str(tmp_path / "page")],
    ):  # fmt: skip
        assert cli.main(command) == 0
    said = capsys.readouterr()
    published = said.out + said.err
    for folder in (tmp_path / "csv", tmp_path / "page"):
        published += "".join(
            path.read_text("utf-8", "replace") for path in folder.rglob("*") if path.is_file()
        )
    assert "127.0.0.1:9/x/chair.glb" in published
    assert not [secret for secret in SECRETS if secret in published]
    if sys.platform != "win32":
        for path in (out / ".state").glob("ledger.sqlite*"):
            assert path.stat().st_mode & 0o077 == 0
    # A ledger of nothing secret can be read by whoever may see the folder.
    run([good], tmp_path / "other")
    if sys.platform != "win32" and os.umask(os.umask(0o022)) == 0o022:
        assert (tmp_path / "other" / ".state" / "ledger.sqlite").stat().st_mode & 0o044


def test_lists_of_failures_are_a_row_each_and_no_formulas(tmp_path: Path):
    (good,) = make_sources(tmp_path / "in", 1)
    from batch_lanes import PlanLane, fails

    run([good], tmp_path / "out", PlanLane(None, fails(NoGeometry(f"=1+1 {ATTACK}"), "a0000")))
    assert cli.main(["status", str(tmp_path / "out"), "--csv", str(tmp_path)]) == 0
    with (tmp_path / "handle-found-object-failed.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.reader(file)
    assert row[1] == good and row[3:] == ["no-geometry", f"'=1+1 {HARMLESS}"]


# --- Standard output that goes away ---------------------------------------------------------

_RUN = """
import functools, sys
sys.path.insert(0, {tests!r})
from batch_lanes import PlanLane, lanes
from objaverse_render_addon import cli
from objaverse_render_addon.batch import run
run.render = functools.partial(run.render, lanes=lanes(PlanLane(), PlanLane()))
sys.exit(cli.main({arguments!r}))
"""


def start(arguments: list[str], shell: str = "{}") -> subprocess.CompletedProcess[str]:
    code = _RUN.format(tests=str(Path(__file__).parent), arguments=arguments)
    command = shell.format('"$PYTHON" -c "$CODE"')
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHON": sys.executable, "CODE": code, "PYTHONPATH": str(ROOT)},
        check=False,
    )  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize(
    "shell",
    ["{} | head -n 2", "{} > /dev/full", "{} >&- 2>&-", "{} 2> /dev/full", "{} > /dev/full 2>&1"],
)
def test_a_run_goes_on_when_nobody_reads_what_it_says(
    tmp_path: Path, shell: str, flags: list[str]
):
    sources = make_sources(tmp_path / "in", 150)
    bad = tmp_path / "in" / "bad.obj"
    bad.touch()
    out = tmp_path / "out"
    arguments = ["render", *sources, str(bad), "--out", str(out), *flags]
    ended = start(arguments, shell)
    # That of the one asset that failed, and nothing else.
    assert ended.returncode == 11, ended.stderr
    assert len(list(out.glob("*.zip"))) == 150
    assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_what_was_asked_for_and_cannot_be_written_is_a_failure(tmp_path: Path):
    run(make_sources(tmp_path / "in", 3), tmp_path / "out")
    arguments = ["status", str(tmp_path / "out"), "--json"]
    full = start(arguments, "{} > /dev/full")
    assert full.returncode == 41 and full.stderr.startswith("error [disk-full]: Standard output")
    assert "Traceback" not in full.stderr
    # Who has read enough is no failure.
    assert start(arguments, "{} | true").returncode == 0
    assert json.loads(start(arguments).stdout)["total"] == 3


def test_letters_that_an_output_does_not_know_are_replaced(monkeypatch: pytest.MonkeyPatch):
    stream: Any = _Stream()
    stream.encoding = "ascii"
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.say("→ 椅子 ok")
    assert stream.written == ["? ?? ok\n"]
