"""Datasets with one asset that lies beside good ones: it is named, and the others go on."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from analytic import write_asset
from batch_lanes import ROOT
from export_data import job_of, rewrite

from objaverse_render_addon import cli
from objaverse_render_addon.dataset.export import FORMATS
from objaverse_render_addon.dataset.layout import METADATA
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import TruncatedFile, UnsafeData

GOOD = ("chair", "lamp")


def _change(change: Any) -> Any:
    def spoil(folder: Path) -> None:
        rewrite(write_asset(folder, job_of(), "bad"), change)

    return spoil


def _singular(record: dict[str, Any]) -> None:
    for view in record["views"]:
        view["intrinsics"] = [[0.0] * 3] * 3
        view["camera_to_world"] = [[0.0] * 4] * 4


def _texts(record: dict[str, Any]) -> None:
    normalization = record["normalization"]
    normalization["bbox_min"] = normalization["bounding_sphere_center"] = ["a", "b", "c"]
    normalization["bounding_sphere_radius"] = "1"


def _many_modalities(record: dict[str, Any]) -> None:
    record["render_settings"]["modalities"] = ["rgb"] * 100_000


def _strange_modality(record: dict[str, Any]) -> None:
    record["render_settings"]["modalities"] = ["rgb", "../../etc"]


def _huge_numbers(record: dict[str, Any]) -> None:
    record["normalization"]["bounding_sphere_radius"] = 10**400


def _pax_loop(name: str) -> Any:
    def spoil(folder: Path) -> None:
        header = tarfile.TarInfo("x")
        header.type = tarfile.XHDTYPE
        with (folder / name).open("wb") as file:
            file.write(header.tobuf(tarfile.USTAR_FORMAT) * 1200)

    return spoil


def _metadata(content: bytes) -> Any:
    def spoil(folder: Path) -> None:
        with zipfile.ZipFile(folder / "bad.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"bad/{METADATA}", content)

    return spoil


def _link(folder: Path) -> None:
    asset = write_asset(folder, job_of(layout="folder"), "bad")
    (asset / METADATA).rename(folder.parent / "elsewhere.json")
    (asset / METADATA).symlink_to(folder.parent / "elsewhere.json")


def _pipe(folder: Path) -> None:
    asset = write_asset(folder, job_of(layout="folder"), "bad")
    (asset / "000.png").unlink()
    os.mkfifo(asset / "000.png")


def _pipe_as_archive(folder: Path) -> None:
    os.mkfifo(folder / "bad.zip")


SPOILED = {
    "singular": _change(_singular),
    "texts": _change(_texts),
    "modalities": _change(_many_modalities),
    "modality": _change(_strange_modality),
    "numbers": _change(_huge_numbers),
    "paxloop": _pax_loop("bad.tar"),
    "paxloop-shard": _pax_loop("bad-000.tar"),
    "bomb": _metadata(b'{"views": [' + b"[]," * (80 << 20) + b"[]]}"),
    "deep": _metadata(b'{"views": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
}
if sys.platform != "win32":
    SPOILED |= {"link": _link, "pipe": _pipe, "pipe-as-archive": _pipe_as_archive}
# What is wrong with these does not touch every command.
HARMLESS = {"singular": {"attribution"}, "texts": {"attribution"},
            "numbers": {"attribution"}, "modalities": {"attribution"},
            "modality": {"attribution"}, "pipe": {"attribution", "stats"}}  # fmt: skip

# What of these is wrong many exports have no use for; YOLO's alone has none for cameras.
NOT_OF_ALL = ("texts", "numbers", "pipe", "modalities", "modality")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    for number, name in enumerate(GOOD):
        write_asset(
            folder, job_of(), name,
            change=lambda _, record, n=number: record.update(sha256=f"{n}" * 64),
        )  # fmt: skip
    return folder


@pytest.fixture(params=sorted(SPOILED))
def data(request: pytest.FixtureRequest, good: Path, tmp_path: Path) -> tuple[str, Path]:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in GOOD:
        (folder / f"{name}.zip").hardlink_to(good / f"{name}.zip")
    SPOILED[request.param](folder)
    return request.param, folder


def test_every_command_names_it_and_goes_on(
    data: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
):
    what, folder = data
    commands = {
        "verify": ["verify", str(folder)],
        "stats": ["stats", str(folder), "-o", str(tmp_path / "stats.html"), "--json"],
        "attribution": ["attribution", str(folder), "-o", str(tmp_path / "credits.txt")],
    }
    said = {}
    for command, arguments in commands.items():
        code = cli.main(arguments)
        captured = capsys.readouterr()
        said[command] = captured.out + captured.err
        assert bool(code) == (command not in HARMLESS.get(what, ())), (command, said[command])
        assert not code or "bad" in said[command], command
    assert "2 of " in said["verify"] and said["verify"].count("ok    ") == 2
    assert json.loads(said["stats"])["assets"] == 3
    assert cli.main(["gallery", str(folder), "-o", str(tmp_path / "page")]) == 0
    assert "3 assets" in capsys.readouterr().out


def test_every_export_names_it_and_goes_on(
    data: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
):
    what, folder = data
    for name, form in FORMATS.items():
        if any(importlib.util.find_spec(module) is None for module in form.modules):
            continue
        code = cli.main(["export", str(folder), "--out", str(tmp_path / name), "--to", name])
        captured = capsys.readouterr()
        report = json.loads((tmp_path / name / "export.json").read_text("utf-8"))
        if code == 0:  # It takes nothing of what is wrong.
            assert what in NOT_OF_ALL or (what, name) == ("singular", "yolo"), name
            assert len(report["assets"]) == 3
            continue
        assert "bad" in captured.err and "bad" not in report["assets"], name
        # Formats that cannot hold these cameras, or both of them, say so.
        assert all(one in report["assets"] or one in captured.err for one in GOOD), name


def test_sheets_and_turntables_of_it_fail_by_name(data: tuple[str, Path], tmp_path: Path):
    what, folder = data
    (asset,) = (path for path in folder.iterdir() if path.name.startswith("bad"))
    for command, target in (("sheet", "a.png"), ("turntable", "a.webp")):
        code = cli.main([command, str(asset), "-o", str(tmp_path / target)])
        assert code in (0, 10, 13, 18, 33), command
        if what in ("bomb", "modalities", "modality", "link", "deep", "paxloop"):
            assert code in (10, 13, 18), command


def test_metadata_as_large_as_their_views_are_read(tmp_path: Path):
    path = tmp_path / "many.zip"
    record = json.dumps({"views": [{"name": "x" * 3000}] * 8000}).encode()
    assert len(record) > 20 << 20
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"many/{METADATA}", record)
        for view in range(8000):
            archive.writestr(f"many/{view:03d}.png", b"")
    with AssetReader(path) as reader:
        assert len(reader.views) == 8000
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"many/{METADATA}", record)
    with pytest.raises(UnsafeData, match="make sense"):
        AssetReader(path)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_a_small_archive_takes_little_memory(tmp_path: Path):
    _metadata(b'{"views": [' + b"[]," * (80 << 20) + b"[]]}")(tmp_path)
    assert (tmp_path / "bad.zip").stat().st_size < 1 << 20
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30));"
        "from objaverse_render_addon.cli import main; sys.exit(main(['verify', sys.argv[1]]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 32 and "make sense" in ended.stdout, ended.stderr


def test_links_within_an_asset_s_folder_are_its_own(tmp_path: Path):
    asset = write_asset(tmp_path, job_of(layout="folder"), "linked")
    (asset / METADATA).rename(asset / "other.json")
    try:
        (asset / METADATA).symlink_to("other.json")
    except OSError:
        pytest.skip("no links here")
    with AssetReader(asset) as reader:
        assert len(reader.views) == 4
    # The dataset itself may lie behind a link.
    (tmp_path / "way").symlink_to(asset, target_is_directory=True)
    with AssetReader(tmp_path / "way") as reader:
        assert len(reader.views) == 4
    (asset / METADATA).unlink()
    (asset / METADATA).symlink_to(tmp_path / "elsewhere.json")
    (asset / "other.json").rename(tmp_path / "elsewhere.json")
    with pytest.raises((UnsafeData, TruncatedFile), match="leads out"):
        AssetReader(asset)
