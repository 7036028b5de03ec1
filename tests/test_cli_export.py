"""``objaverse-render export``, and its pages."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
from export_data import rewrite, three

from objaverse_render_addon.cli import _parser, main
from objaverse_render_addon.cli.flags import joined
from objaverse_render_addon.dataset.export import FORMATS, Options
from objaverse_render_addon.dataset.export.base import Kind
from objaverse_render_addon.errors import CheckFailed, InvalidJob


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three(tmp_path_factory.mktemp("original"))


@pytest.fixture
def data(tmp_path: Path, original: Path) -> Path:
    """Three assets, for the test to spoil."""
    return Path(shutil.copytree(original, tmp_path / "data"))


def test_the_command_lists_every_format(capsys: Any):
    assert main(["export", "--to", "help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(FORMATS)
    assert all(len(line) <= 110 for line in lines)


def test_the_command_exports_tells_and_reports(tmp_path: Path, data: Path, capsys: Any):
    assert main(["export", str(data), "--to", "nerfstudio", "--out", str(tmp_path / "o")]) == 0
    said = capsys.readouterr().out
    assert "3 scenes, 12 views (3 done)" in said
    assert "rescaled: depth" in said
    assert "  train " not in said
    assert f"ns-train nerfacto --data {tmp_path / 'o'}/chair nerfstudio-data" in said
    report = json.loads((tmp_path / "o/export.json").read_text())
    assert report["scenes"] == 3
    assert report["options"] == Options(background=(1, 1, 1)).to_dict()
    assert {note["kind"] for note in report["notes"]} == {"dropped", "rescaled"}


def test_the_command_takes_views_background_and_split(tmp_path: Path, data: Path, capsys: Any):
    flags = ["--views", "1-2", "--background", "#0000ff", "--split", "0,0,1", "--seed", "5"]
    out = str(tmp_path / "o")
    assert main(["export", str(data), "--to", "lvsm", "--out", out, *flags, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["status"] for line in lines[:-1]] == ["done"] * 3
    assert lines[-1]["kind"] == "summary"
    assert lines[-1]["views"] == 6
    report = json.loads((tmp_path / "o/export.json").read_text())
    assert report["splits"] == {"train": 0, "val": 0, "test": 3}
    assert report["assets"]["lamp"] == {"key": "lamp", "views": 2, "split": "test"}
    assert main(["export", str(data), "--to", "lvsm", "--out", out, *flags]) == 0
    assert "  train 0, val 0, test 3\n" in capsys.readouterr().out
    options = report["options"]
    assert options["views"] == [1, 2]
    assert options["background"] == [0, 0, 1]
    assert options["split"] == [0, 0, 1]


def test_the_exit_code_is_that_of_the_failure_or_3_where_they_differ(
    tmp_path: Path, data: Path, capsys: Any
):
    rewrite(data / "lamp.zip", lambda record: record["views"][0].update(index=-1))
    command = ["export", str(data), "--to", "lvsm", "--out"]
    assert main([*command, str(tmp_path / "a")]) == CheckFailed.exit_code
    assert "failed [check-failed]: lamp" in capsys.readouterr().err
    (data / "chair.zip").write_bytes(b"PK")
    assert main([*command, str(tmp_path / "b")]) == 3


@pytest.mark.parametrize(
    "flags", [["--views", "x"], ["--views", "3-1"], ["--background", "mauve"], ["--split", "1,0"]]
)
def test_flags_that_say_nothing_are_refused(flags: list[str], capsys: Any):
    with pytest.raises(SystemExit) as stopped:
        main(["export", "data", "--to", "lvsm", "--out", "o", *flags])
    assert stopped.value.code == 2
    assert flags[0] in capsys.readouterr().err


DOCS = Path(__file__).resolve().parent.parent / "docs/export"


def pages() -> dict[str, str]:
    """Format to its page, as the table on the first page links them."""
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| [")]
    return {name: page for row in rows for name, page in re.findall(r"\[([^]]+)\]\(([^)]+)\)", row)}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_its_page_with_the_command_that_makes_it(name: str):
    text = (DOCS / pages()[name]).read_text(encoding="utf-8")
    assert re.search(rf"(--to |--export |`){name}[= `]", text)
    assert "cannot hold" in text


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_every_command_of_ours_on_the_pages_is_one(page: Path):
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [line.split(" #")[0] for line in text.splitlines() if line.startswith("objaverse-r")]
    assert commands
    for command in commands:
        _parser().parse_args(joined(shlex.split(command)[1:]))


def test_every_page_is_of_a_format():
    assert set(pages()) == set(FORMATS)
    assert {path.name for path in DOCS.glob("*.md")} == {*pages().values(), "index.md"}


def test_every_kind_of_note_is_explained():
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    assert [kind for kind in get_args(Kind) if f"| `{kind}` |" not in text] == []


def test_a_target_has_to_be_named(capsys: Any):
    assert main(["export", "data", "--to", "lvsm"]) == InvalidJob.exit_code
    assert "--out" in capsys.readouterr().err
