from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from analytic import write_asset
from PIL import Image
from stored import write_shard
from test_formats import GLTF, HTML, glb
from test_job import DRAWN, FROM_FILE

from objaverse_render_addon import __version__, cli
from objaverse_render_addon.cli.flags import JOB_FLAGS
from objaverse_render_addon.dataset.layout import METADATA
from objaverse_render_addon.dataset.sheet import contact_sheet
from objaverse_render_addon.errors import InvalidJob
from objaverse_render_addon.job import (
    DEFAULT_PASSES,
    PASS_NAMES,
    STILL_PASSES,
    CameraRules,
    Files,
    Pixels,
    RenderJob,
)
from objaverse_render_addon.words import how_many
from objaverse_render_addon.worker import process

ROOT = Path(__file__).parent.parent
SMALL = RenderJob(
    cameras=CameraRules(pattern="ring", views=2),
    pixels=Pixels(resolution=(40, 32)), files=Files(layout="folder"),
)


@pytest.fixture(autouse=True)
def no_blender(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these tests has a reason to start one."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(process.WorkerProcess, "_spawn", refuse)


def printed_job(capsys: pytest.CaptureFixture, tmp_path: Path, *arguments: str) -> RenderJob:
    assert cli.main(["render", "--print-job", *arguments]) == 0
    path = tmp_path / "printed.toml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    return RenderJob.load(path)


def saved(job: RenderJob, tmp_path: Path) -> str:
    path = tmp_path / "given.toml"
    path.write_text(job.to_toml(), encoding="utf-8")
    return str(path)


def put(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


# --- Help -----------------------------------------------------------------------------------


COMMANDS = sorted(
    path.stem
    for path in Path(cli.__file__).parent.glob("*.py")
    if "commands.add_parser(" in path.read_text(encoding="utf-8")
)


def test_the_commands_are_found():
    assert {"render", "verify", "export", "status", "merge"} < set(COMMANDS)
    assert len(COMMANDS) >= 15


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command.split(), "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert f"objaverse-render {command}".strip() in said
    if command == "render":
        for flags in JOB_FLAGS.values():
            assert all(flag in said for flag, _, _ in flags)


def test_the_version_is_told(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["rendr"], ["verify"], ["render", "--no-such-flag"]])
def test_what_is_no_command_exits_2(arguments: list[str], capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_the_program_runs_as_a_module():
    command = [sys.executable, "-m", "objaverse_render_addon.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == f"objaverse-render {__version__}"


# --- Jobs -----------------------------------------------------------------------------------


def test_without_flags_the_job_is_the_default_one(capsys, tmp_path: Path):
    assert printed_job(capsys, tmp_path) == RenderJob().resolved()


@pytest.mark.parametrize("job", [DRAWN, FROM_FILE, SMALL], ids=["drawn", "file", "small"])
def test_a_job_file_is_printed_as_the_same_job(capsys, tmp_path: Path, job: RenderJob):
    assert printed_job(capsys, tmp_path, "--job", saved(job, tmp_path)) == job.resolved()


VALUES = [
    ("--normalize", "sphere", "asset.normalize", "sphere"),
    ("--up", "-Y", "asset.up", "-Y"),
    ("--front", "-X", "asset.front", "-X"),
    ("--frame", "-3", "asset.frame", -3),
    ("--frames", "1:9:2", "time.frames", "1:9:2"),
    ("--frames", "-4:4", "time.frames", "-4:4"),
    ("--action", "Walk", "time.action", "Walk"),
    ("--scene-cameras", "A, B", "cameras.scene_cameras", "A, B"),
    ("--time-scale", "4", "time.scale", 4.0),
    ("--views-per-frame", "one", "time.views_per_frame", "one"),
    ("--motion-blur", None, "time.motion_blur", True),
    ("--shutter", "0.25", "time.shutter", 0.25),
    ("--still", "fail", "time.still", "fail"),
    ("--leaving", "fail", "time.leaving", "fail"),
    ("--missing-textures", "fail", "asset.missing_textures", "fail"),
    ("--missing-parts", "fail", "asset.missing_parts", "fail"),
    ("--uncolored", "random", "asset.uncolored", "random"),
    ("--witness", "off", "asset.witness", "off"),
    ("--lighting", "keep", "lighting.mode", "keep"),
    ("--hdri", "sky.exr", "lighting.hdri", "sky.exr"),
    ("--hdri-per-view", "3", "lighting.per_view", 3),
    ("--lights", "lights.toml", "lighting.lights", "lights.toml"),
    ("--light-groups", None, "lighting.groups", True),
    ("--light-strength", "0.5", "lighting.strength", 0.5),
    ("--background", "#336699", "lighting.background", [0.2, 0.4, 0.6]),
    ("--background", "grey", "lighting.background", [0.5, 0.5, 0.5]),
    ("--cameras", "fibonacci", "cameras.pattern", "fibonacci"),
    ("--views", "3", "cameras.views", 3),
    ("--radius", "2", "cameras.radius", [2, 2]),
    ("--radius", "1.5:2", "cameras.radius", [1.5, 2]),
    ("--radius", "1.5..2", "cameras.radius", [1.5, 2]),
    ("--elevation", "-30:60", "cameras.elevation", [-30, 60]),
    ("--elevation", "-30", "cameras.elevation", [-30, -30]),
    ("--elevation", "-.5:.5", "cameras.elevation", [-0.5, 0.5]),
    ("--fov", "30:60", "cameras.fov", [30, 60]),
    ("--framing", "resample", "cameras.framing", "resample"),
    ("--only-northern-hemisphere", None, "cameras.only_northern_hemisphere", True),
    ("--turns", "-2", "cameras.turns", -2),
    ("--camera-file", "poses.json", "cameras.file", "poses.json"),
    ("--pixel-aspect", "1.5", "cameras.pixel_aspect", 1.5),
    ("--shift", "-0.1,0.2", "cameras.shift", [-0.1, 0.2]),
    ("--projection", "fisheye", "cameras.projection", "fisheye"),
    ("--ortho", "1.5", "cameras.ortho", 1.5),
    ("--stereo", "0.25", "cameras.stereo", 0.25),
    ("--test-views", "4", "cameras.test_views", 4),
    ("--test-cameras", "ring", "cameras.test_cameras", "ring"),
    ("--resolution", "64", "pixels.resolution", [64, 64]),
    ("--resolution", "64X48", "pixels.resolution", [64, 48]),
    ("--passes", "rgb, object-index,", "pixels.passes", ["rgb", "object_index"]),
    ("--normal-space", "world", "pixels.normal_space", "world"),
    ("--sensor-depth", "kinect-azure", "pixels.sensor", "kinect-azure"),
    ("--tracks", "12", "pixels.tracks", 12),
    ("--rig", None, "files.rig", True),
    ("--classes", "collection", "pixels.classes", "collection"),
    ("--class-property", "kind", "pixels.class_property", "kind"),
    ("--class-table", "classes.csv", "pixels.class_table", "classes.csv"),
    ("--geometry", "exr", "files.geometry", "exr"),
    ("--layout", "folder", "files.layout", "folder"),
    ("--engine", "eevee", "engine.engine", "eevee"),
    ("--samples", "5", "engine.samples", 5),
    ("--no-denoise", None, "engine.denoise", False),
    ("--denoise", None, "engine.denoise", True),
    ("--device", "cpu", "engine.device", "cpu"),
    ("--threads", "2", "engine.threads", 2),
    ("--alpha-threshold", "0.25", "engine.alpha_threshold", 0.25),
    ("--seed", "42", "seed", 42),
    ("--geometry-files", "points,mesh", "files.geometry_files", ("mesh", "points")),
    ("--geometry-points", "5000", "files.geometry_points", 5000),
]


def test_every_flag_has_a_value_in_the_list_above():
    flags = {flag for flags in JOB_FLAGS.values() for flag, _, _ in flags}
    assert {flag for flag, *_ in VALUES} == flags | {"--no-denoise"}


@pytest.mark.parametrize(("flag", "text", "path", "value"), VALUES, ids=lambda item: str(item)[:20])
def test_a_flag_sets_its_field_and_overrides_the_job_file(
    capsys, tmp_path: Path, flag: str, text: str | None, path: str, value: object
):
    arguments = [flag] if text is None else [flag, text]
    arguments += {
        "--hdri-per-view": ["--hdri", "sky.exr"],
        "--light-groups": ["--lights", "lights.toml", "--passes", "rgb-linear"],
    }.get(flag, [])  # fmt: skip
    implied = {
        "--hdri": {"lighting.mode": "hdri"}, "--camera-file": {"cameras.pattern": "file"},
        "--ortho": {"cameras.projection": "orthographic"},
        "--lights": {"lighting.mode": "file"},
        "--hdri-per-view": {"lighting.mode": "hdri", "lighting.hdri": "sky.exr"},
        "--light-groups": {
            "lighting.mode": "file", "lighting.lights": "lights.toml",
            "pixels.passes": ["rgb_linear"],
        },
        "--scene-cameras": {"cameras.pattern": "scene", "lighting.mode": "keep"},
        "--sensor-depth": {"pixels.passes": [*DEFAULT_PASSES, "sensor_depth"]},
        "--time-scale": {"time.frames": "all"}, "--views-per-frame": {"time.frames": "all"},
        "--motion-blur": {"time.frames": "all"}, "--class-table": {"pixels.classes": "table"},
    }.get(flag, {})  # fmt: skip
    expected = {path: value, **implied}
    job = RenderJob().with_values(expected).resolved()
    assert printed_job(capsys, tmp_path, *arguments) == job
    start = RenderJob(seed=9) if path != "seed" else RenderJob(seed=1)
    given = ["--job", saved(start, tmp_path), *arguments]
    assert printed_job(capsys, tmp_path, *given) == start.with_values(expected).resolved()


def test_all_passes_have_a_short_name(capsys, tmp_path: Path):
    job = printed_job(capsys, tmp_path, "--passes", "all")
    assert job.pixels.passes == STILL_PASSES
    job = printed_job(capsys, tmp_path, "--passes", "all,motion", "--frames", "all")
    assert job.pixels.passes == tuple(name for name in PASS_NAMES if name != "sensor_depth")
    job = printed_job(capsys, tmp_path, "--passes", "rgb,flow-forward", "--frames", "1:9:2")
    assert job.pixels.passes == ("rgb", "flow_forward")


def test_motion_without_frames_is_refused_with_the_way_out():
    with pytest.raises(InvalidJob, match=r"flow_forward.* no frames") as caught:
        RenderJob().with_values({"pixels.passes": ["rgb", "flow_forward"]})
    assert "--frames" in str(caught.value.hint)


def test_a_flag_takes_a_background_or_a_mode_of_the_job_file_back(capsys, tmp_path: Path):
    given = ["--job", saved(DRAWN, tmp_path)]
    job = printed_job(capsys, tmp_path, *given, "--background", "transparent", "--lighting", "xl")
    assert job.lighting.background is None
    assert (job.lighting.mode, job.lighting.hdri) == ("xl", None)
    given = ["--job", saved(FROM_FILE, tmp_path)]
    job = printed_job(capsys, tmp_path, *given, "--cameras", "ring")
    assert (job.cameras.pattern, job.cameras.file) == ("ring", None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cameras", "rnig"],
        ["--views", "many"],
        ["--views", "1.5"],
        ["--radius", "far"],
        ["--radius", "1:2:3"],
        ["--fov", ""],
        ["--elevation", "-a"],
        ["--shift", "1"],
        ["--resolution", "64x"],
        ["--resolution", "-64"],
        ["--background", "#12345"],
        ["--background", "#gggggg"],
        ["--background", "beige"],
        ["--device", "gpu"],
        ["--frame"],
        ["--seed", "x"],
    ],
    ids=" ".join,
)
def test_a_value_of_another_kind_exits_2_and_names_the_flag(arguments: list[str], capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["render", "--print-job", *arguments])
    assert stop.value.code == 2
    assert f"argument {arguments[0]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--views", "0"), ("--radius", "2:1"), ("--radius", "0"), ("--elevation", "-100:0"),
        ("--fov", "180"), ("--turns", "0"), ("--pixel-aspect", "100"), ("--shift", "0.9,0"),
        ("--resolution", "2"), ("--passes", "deph"), ("--passes", ""), ("--passes", "rgb,rgb"),
        ("--samples", "0"), ("--threads", "-1"), ("--alpha-threshold", "2"), ("--seed", "-1"),
        ("--light-strength", "-1"), ("--light-strength", "nan"), ("--frame", "99999999"),
        ("--camera-file", ""), ("--hdri", ""),
    ],
)  # fmt: skip
def test_an_impossible_value_exits_2_and_names_the_flag(flag: str, text: str, capsys):
    if flag in ("--camera-file", "--hdri"):
        mode = {"--camera-file": ["--cameras", "file"], "--hdri": ["--lighting", "hdri"]}[flag]
        assert cli.main(["render", "--print-job", *mode, flag, text]) == 2
    else:
        assert cli.main(["render", "--print-job", flag, text]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"]: {flag}" in said.err


def typed_flags() -> list[tuple[str, str]]:
    """Command and flag of all that take more than text and fill no job."""
    *_, commands = cli._parser()._actions
    return [
        (name, flag.option_strings[-1])
        for name, parser in (commands.choices or {}).items()
        for flag in parser._actions
        if flag.option_strings and flag.type not in (None, Path)
        and not flag.dest.startswith("job:") and flag.dest not in ("seed", "frame")
    ]  # fmt: skip


@pytest.mark.parametrize(("command", "flag"), typed_flags())
def test_no_flag_takes_a_number_below_zero_or_none_at_all(command: str, flag: str, capsys):
    for text in ("-2", "nan", "x", "99999999999999999999999x"):
        with pytest.raises(SystemExit) as stop:
            cli.main([command, flag, text])
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert flag in said and f"{text!r}" in said
        assert not re.search(r"invalid \w+ value", said), "which says nothing of what is valid"


@pytest.mark.parametrize(
    "arguments",
    [
        ["sheet", "--views", "0"], ["turntable", "--seconds", "0"], ["gallery", "--jobs", "0"],
        ["export", "--jobs", "0"], ["verify", "--jobs", "0"], ["render", "--shard-size", "0"],
    ],
)  # fmt: skip
def test_none_is_refused_where_there_has_to_be_one(arguments: list[str], capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert f"{arguments[1]}: '0' is no " in capsys.readouterr().err


def test_views_of_an_export_are_bounded_before_they_are_counted(capsys):
    for text in ("0", "1000001", "99999999999", "0-999999,0-9", "1-", "-1"):
        with pytest.raises(SystemExit):
            cli.main(["export", "data", "--to", "coco", "--out", "x", f"--views={text}"])
        assert "is not N, a list" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["stats", "verify", "sheet", "merge", "attribution", "status"])
def test_a_dataset_that_is_not_there_is_named_with_a_way_out(
    command: str, capsys, tmp_path: Path
):
    where = str(tmp_path / "nothere")
    assert cli.main([command, where]) == 10
    said = capsys.readouterr().err
    assert where in said and "→" in said and "--out" in said


def test_one_thing_is_one_thing():
    assert how_many(1, "asset") == "1 asset"
    assert how_many(0, "view") == "0 views"
    assert how_many(2, "match", "matches") == "2 matches"


def test_an_impossible_combination_exits_2_and_says_the_way_out(capsys):
    assert cli.main(["render", "--print-job", "--cameras", "ring", "--framing", "resample"]) == 2
    said = capsys.readouterr().err
    assert "--framing resample" in said
    assert "→ Use --framing fit." in said


def test_a_broken_job_file_exits_2_and_is_named(capsys, tmp_path: Path):
    path = put(tmp_path, "job.toml", b"[engine]\nsampels = 3\n")
    assert cli.main(["render", "--print-job", "--job", path]) == 2
    said = capsys.readouterr().err
    assert path in said
    assert "engine.sampels" in said
    assert "'samples'" in said


@pytest.mark.parametrize("arguments", [[], ["--out", "x"], ["a.glb"]])
def test_what_is_missing_is_named(arguments: list[str], capsys):
    assert cli.main(["render", *arguments]) == 2
    assert ("--out" if arguments == ["a.glb"] else "source") in capsys.readouterr().err


# --- Runs that need no Blender --------------------------------------------------------------


@pytest.mark.parametrize("layout", ["folder", "webdataset"])
def test_a_dry_run_needs_no_output_folder(layout: str, capsys, tmp_path: Path):
    source, out = put(tmp_path, "chair.glb", glb()), tmp_path / "made" / "out"
    assert cli.main(["render", source, "--out", str(out), "--dry-run", "--layout", layout]) == 0
    assert "1 of 1 asset to render" in capsys.readouterr().out
    assert not out.parent.exists()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(capsys, tmp_path: Path):
    source, out = put(tmp_path, "chair.glb", glb()), tmp_path / "out"
    arguments = ["render", source, "--out", str(out), "--dry-run"]
    assert cli.main([*arguments, "--cameras", "ring", "--resolution", "64x48"]) == 0
    said = capsys.readouterr().out
    assert f"render {source} -> {out / 'chair.zip'}" in said
    assert "1 of 1 asset to render: 12 views each (ring), 64x48, rgb, depth, normal, mask" in said
    assert not out.exists()


def test_a_dry_run_tells_what_fails_and_exits_with_its_code(capsys, tmp_path: Path):
    good, bad = put(tmp_path, "a.glb", glb()), put(tmp_path, "b.glb", HTML)
    missing = str(tmp_path / "c.glb")
    arguments = ["render", "--out", str(tmp_path / "out"), "--dry-run"]
    assert cli.main([*arguments, good, bad]) == 12
    said = capsys.readouterr()
    assert "1 of 2 assets to render" in said.out
    assert f"failed [wrong-format]: {bad}" in said.err and "HTML page" in said.err
    assert cli.main([*arguments, good, bad, missing]) == 3


FAILING = [
    ("missing.glb", None, 10, "source-not-found"),
    ("empty.glb", b"", 11, "empty-file"),
    ("page.glb", HTML, 12, "wrong-format"),
    ("short.gltf", GLTF[:-1], 13, "truncated-file"),
    ("model.3ds", b"MM", 14, "unsupported-format"),
]


@pytest.mark.parametrize(("name", "content", "code", "reason"), FAILING)
def test_a_source_that_fails_gives_its_code_and_its_reason(
    capsys, tmp_path: Path, name: str, content: bytes | None, code: int, reason: str
):
    path = str(tmp_path / name) if content is None else put(tmp_path, name, content)
    out = tmp_path / "out"
    assert cli.main(["render", path, "--out", str(out)]) == code
    said = capsys.readouterr().err
    assert f"failed [{reason}]" in said
    assert path in said
    assert list(out.glob("[!.]*")) == []
    assert cli.main(["render", path, "--out", str(out), "--quiet"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert reason in said.err


def test_failures_of_several_kinds_exit_3_and_all_are_told(capsys, tmp_path: Path):
    paths = [
        str(tmp_path / name) if content is None else put(tmp_path, name, content)
        for name, content, *_ in FAILING
    ]
    assert cli.main(["render", *paths, "--out", str(tmp_path / "out")]) == 3
    said = capsys.readouterr()
    assert all(f"failed [{reason}]" in said.err for *_, reason in FAILING)
    assert "5 failed" in said.out


def test_json_lines_tell_every_result_and_the_sum(capsys, tmp_path: Path):
    paths = [
        str(tmp_path / name) if content is None else put(tmp_path, name, content)
        for name, content, *_ in FAILING
    ]
    assert cli.main(["render", *paths, "--out", str(tmp_path / "out"), "--json"]) == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    start, *results, total = lines
    assert (start["kind"], start["waiting"]) == ("start", 5)
    assert [line["kind"] for line in results] == ["result"] * 5
    # Several are looked at at a time.
    found = {line["source"]: line["reason"] for line in results}
    assert found == dict(zip(paths, (reason for *_, reason in FAILING), strict=True))
    assert all(line["status"] == "failed" and line["path"] is None for line in results)
    assert total == {"kind": "summary", "done": 0, "skipped": 0, "failed": 5}


def test_two_sources_of_one_name_are_told_apart(capsys, tmp_path: Path):
    paths = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        paths.append(put(tmp_path / folder, "model.glb", glb() + folder.encode()))
    arguments = ["render", *paths, "--out", str(tmp_path / "out"), "--dry-run"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert "one-model.zip" in said and "two-model.zip" in said
    assert cli.main([*arguments, "--ids", "sha256"]) == 0
    table = tmp_path / "list.txt"
    table.write_text("\n".join(f"{path} --id model" for path in paths))
    assert cli.main(["render", str(table), "--out", str(tmp_path / "out"), "--dry-run"]) == 43
    assert "would both be named model" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_is_named(capsys, tmp_path: Path):
    source, out = put(tmp_path, "a.glb", glb()), put(tmp_path, "out", b"")
    assert cli.main(["render", source, "--out", out]) == 40
    assert out in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["zip", "webdataset"])
@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("bad.json", b'[{"path": 3}]', 6, "names no source"),
        ("missing.txt", None, 10, "cannot be read"),
        ("empty.txt", b"# nothing\n", 0, "no assets"),
    ],
)
def test_a_run_without_an_asset_leaves_nothing_behind(
    name: str, content: bytes | None, code: int, words: str, layout: str, capsys, tmp_path: Path
):
    path = str(tmp_path / name) if content is None else put(tmp_path, name, content)
    out, there = tmp_path / "made" / "out", tmp_path / "there"
    there.mkdir()
    for folder in (out, there):
        assert cli.main(["render", path, "--out", str(folder), "--layout", layout]) == code
        said = capsys.readouterr()
        assert words in said.out + said.err
    assert not out.parent.exists()
    assert list(there.iterdir()) == []
    if code:
        assert cli.main(["render", path, "--out", str(out), "--shard", "0/2"]) == code
        assert not out.parent.exists()


def test_a_bad_list_takes_no_ledger_of_an_earlier_run_away(tmp_path: Path):
    out, bad = tmp_path / "out", put(tmp_path, "bad.json", b'[{"path": 3}]')
    assert cli.main(["render", str(tmp_path / "missing.glb"), "--out", str(out)]) == 10
    assert cli.main(["render", bad, "--out", str(out)]) == 6
    assert (out / ".state" / "ledger.sqlite").is_file()


def finished(tmp_path: Path, source: str, job: RenderJob) -> Path:
    """An asset in ``out`` that this source and job would make."""

    def note(_: object, record: dict) -> None:
        record["file_size"] = Path(source).stat().st_size
        record["sha256"] = hashlib.sha256(Path(source).read_bytes()).hexdigest()

    return write_asset(tmp_path / "out", job, Path(source).stem, change=note)


def test_what_is_whole_already_is_skipped(capsys, tmp_path: Path):
    source = put(tmp_path, "a.glb", glb())
    path = finished(tmp_path, source, SMALL)
    arguments = ["render", source, "--out", str(tmp_path / "out"), "--job", saved(SMALL, tmp_path)]
    assert cli.main(arguments) == 0
    assert f"skipped {path}" in capsys.readouterr().out
    assert cli.main([*arguments, "--threads", "2", "--device", "cpu"]) == 0
    assert cli.main([*arguments, "--dry-run", "--overwrite"]) == 0
    assert f"render {source}" in capsys.readouterr().out


def test_what_was_made_differently_is_refused_with_the_difference(capsys, tmp_path: Path):
    source = put(tmp_path, "a.glb", glb())
    finished(tmp_path, source, SMALL)
    arguments = ["render", source, "--out", str(tmp_path / "out"), "--job", saved(SMALL, tmp_path)]
    assert cli.main([*arguments, "--samples", "3"]) == 42
    assert "engine.samples: 64 -> 3" in capsys.readouterr().err
    put(tmp_path, "a.glb", glb() + b"more")
    assert cli.main(arguments) == 42
    assert "file_size" in capsys.readouterr().err


POSES = json.dumps(
    {"camera_angle_x": 0.8, "frames": [{"transform_matrix": np.eye(4).tolist()}]}
).encode()


def test_poses_that_were_edited_since_are_a_difference(capsys, tmp_path: Path):
    source, poses = put(tmp_path, "a.glb", glb()), put(tmp_path, "poses.json", POSES)
    job = RenderJob(cameras=CameraRules(pattern="file", file=poses), files=Files(layout="folder"))
    path = finished(tmp_path, source, SMALL)
    record = json.loads((path / METADATA).read_text())
    record |= {"job": job.resolved().to_dict(), "job_fingerprint": job.fingerprint()}
    (path / METADATA).write_text(json.dumps(record))
    arguments = ["render", source, "--out", str(tmp_path / "out"), "--job", saved(job, tmp_path)]
    assert cli.main(arguments) == 0
    put(tmp_path, "poses.json", POSES + b" ")
    assert cli.main(arguments) == 42
    assert "content of cameras.file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "words"), [("--hdri", "The HDRI"), ("--camera-file", "Camera file")]
)
@pytest.mark.parametrize("content", [None, b""])
def test_a_file_of_the_job_that_cannot_be_used_ends_the_run_before_anything_is_made(
    flag: str, words: str, content: bytes | None, capsys, tmp_path: Path
):
    sources = [put(tmp_path, name, glb()) for name in ("a.glb", "b.glb")]
    path, out = str(tmp_path / "given.exr"), tmp_path / "out"
    if content is not None:
        put(tmp_path, "given.exr", content)
    for more in ([], ["--dry-run"]):
        assert cli.main(["render", *sources, "--out", str(out), flag, path, *more]) == 2
        said = capsys.readouterr()
        assert said.err.count(f"]: {words} {path} cannot be read") == 1
        assert "a.glb" not in said.err + said.out
        assert not out.exists()


def test_a_job_file_with_too_few_poses_ends_the_run_before_anything_is_made(capsys, tmp_path: Path):
    source, poses = put(tmp_path, "a.glb", glb()), put(tmp_path, "poses.json", POSES)
    job = RenderJob(cameras=CameraRules(pattern="file", file=poses, views=2))
    out = tmp_path / "out"
    arguments = ["render", source, "--out", str(out), "--job", saved(job, tmp_path)]
    assert cli.main(arguments) == 2
    assert f"{poses} has 1 frame; views asked for: 2" in capsys.readouterr().err
    assert not out.exists()


# --- Finished data --------------------------------------------------------------------------


def test_verify_says_what_is_right_and_what_is_not(capsys, tmp_path: Path):
    for name in ("a", "b"):
        write_asset(tmp_path, SMALL, name)
    assert cli.main(["verify", str(tmp_path)]) == 0
    assert "2 of 2 assets are right" in capsys.readouterr().out
    (tmp_path / "b" / "001_depth.npy").unlink()
    assert cli.main(["verify", str(tmp_path)]) == 32
    printed = capsys.readouterr()
    said = printed.out
    assert "render again" in printed.err
    assert f"ok     {tmp_path / 'a'} (2 views)" in said
    assert f"FAILED {tmp_path / 'b'} (2 views)" in said
    assert "001_depth.npy" in said
    assert "1 of 2 assets are right" in said


def test_verify_speaks_json(capsys, tmp_path: Path):
    write_asset(tmp_path, SMALL, "a")
    (tmp_path / "a" / "001_depth.npy").unlink()
    assert cli.main(["verify", str(tmp_path / "a"), "--json"]) == 32
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert (record["asset"], record["ok"], record["views"]) == (str(tmp_path / "a"), False, 2)
    assert "001_depth.npy" in record["failed"][0]


@pytest.mark.parametrize("command", ["verify", "sheet"])
def test_a_folder_without_assets_is_named(command: str, capsys, tmp_path: Path):
    code = cli.main([command, str(tmp_path)])
    assert code in (10, 13)
    assert str(tmp_path) in capsys.readouterr().err


def test_a_sheet_shows_views_by_passes(capsys, tmp_path: Path):
    write_asset(tmp_path, SMALL, "a")
    target = tmp_path / "new" / "sheet.png"
    assert cli.main(["sheet", str(tmp_path / "a"), "-o", str(target), "--size", "40"]) == 0
    assert str(target) in capsys.readouterr().out
    with Image.open(target) as sheet:
        assert sheet.width > 4 * 40
        assert sheet.height > 2 * 32


def test_a_sheet_of_nothing_or_of_too_much_is_refused(capsys, tmp_path: Path):
    write_asset(tmp_path, SMALL, "a")
    target = tmp_path / "sheet.png"
    assert cli.main(["sheet", str(tmp_path / "a"), "-o", str(target), "--size", "100000"]) == 2
    assert "100000" in capsys.readouterr().err
    with pytest.raises(InvalidJob):
        contact_sheet(tmp_path / "a", target, views=0)
    assert not target.exists()


def test_a_typing_error_is_not_lost_below_all_the_flags(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["render", "a.glb", "--out", "data", "--cameras", "rings"])
    assert stop.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "'rings'" in said[1]


def test_a_job_file_that_is_not_there_is_named_with_a_way_out(capsys, tmp_path: Path):
    path = str(tmp_path / "job.toml")
    assert cli.main(["render", "a.glb", "--out", "data", "--job", path]) == 2
    said = capsys.readouterr().err
    assert f"Job file {path}: No such file or directory." in said and "--print-job" in said


def test_an_interrupt_is_an_exit_code_and_no_traceback(capsys, monkeypatch, tmp_path: Path):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("objaverse_render_addon.dataset.verify.verify_asset", stop)
    write_asset(tmp_path, SMALL, "a")
    assert cli.main(["verify", str(tmp_path)]) == 130
    assert capsys.readouterr().err.startswith("error [interrupted]: Stopped.")


def test_a_shard_that_is_cut_off_does_not_hide_the_others(capsys, tmp_path: Path):
    job = RenderJob(cameras=CameraRules(pattern="ring", views=2), files=Files(layout="folder"))
    folder = write_asset(tmp_path, job)
    data = tmp_path / "data"
    data.mkdir()
    for number in range(2):
        write_shard(data / f"shard-{number:06d}.tar", [folder])
    broken = data / "shard-000000.tar"
    broken.write_bytes(broken.read_bytes()[:3000])
    for index in data.glob("*.json"):
        index.unlink()
    assert cli.main(["verify", str(data)]) == 32
    said = capsys.readouterr()
    assert f"FAILED {broken}" in said.err
    assert "ok     " in said.out and "shard-000001.tar/asset" in said.out


_BARS = """
from functools import partialmethod
import tqdm
from objaverse_render_addon.cli.common import Bar, counted
# Not ten times a second only.
tqdm.tqdm.__init__ = partialmethod(tqdm.tqdm.__init__, mininterval=0)
for _ in counted(iter("abc"), 3):
    print("line")
with Bar(unit="asset") as bar, Bar(hidden=True, unit="none") as hidden:
    for done in range(1, 8):
        bar.show(done, 7)
        hidden.show(done, 7)
with Bar(unit="B") as bytes_:
    bytes_.show(0, 0)
    bytes_.grow(0, 100)
    bytes_.grow(40, -20)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
@pytest.mark.parametrize("terminal", [True, False])
def test_bars_are_for_terminals(terminal: bool):
    import pty
    import termios

    here, there = pty.openpty() if terminal else os.pipe()
    if terminal:
        termios.tcsetwinsize(there, (24, 80))
    done = subprocess.Popen(
        [sys.executable, "-c", _BARS],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=there,
        env={name: value for name, value in os.environ.items() if not name.startswith("TQDM")},
    )
    os.close(there)
    said = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(here, 1000):
            said += chunk
    os.close(here)
    out, _ = done.communicate(timeout=60)
    assert done.returncode == 0
    assert out.decode().split() == ["line"] * 3
    shown = said.decode()
    assert ("0/3" in shown and "7/7" in shown and "40" in shown and "80" in shown) == terminal
    assert "none" not in shown and (terminal or not shown)
