"""Parquet read by ``datasets``, Croissant by ``mlcroissant``, a folder sent by the Hub's client."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_pages import commands, names_of, points_of, render, run
from exporting import exported, stored
from hub_server import hub

from objaverse_render_addon.cli import main
from objaverse_render_addon.dataset import publish as publishing
from objaverse_render_addon.dataset.publish import publish
from objaverse_render_addon.errors import (
    FormatCannotHold,
    InvalidJob,
    MissingDependency,
    SourceNotFound,
    UploadFailed,
)

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
# Before anything imports them: nothing is asked of the network.
os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0"}


def loaded(folder: Path, cache: Path) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset(str(folder), cache_dir=str(cache))


def test_the_page_yields_every_view_with_its_own_picture_depth_and_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = names_of("huggingface")
    render(["render", "x", "--out", "data", "--views", "4"], names)
    run("huggingface", names)
    assert "load_dataset('hf')" in commands("huggingface")[2][2]
    found = loaded(Path("hf"), tmp_path / "cache")
    assert set(found) == {"train", "validation", "test"}
    assert sum(len(part) for part in found.values()) == 4 * len(names)
    seen = set()
    for part in found.values():
        for row in part:
            seen.add((row["asset"], row["view"]))
            points, centers = points_of("data", row["asset"], row["view"], 1.0)
            lens = np.array(row["intrinsics"]).reshape(3, 3)
            pose = np.array(row["camera_to_world"]).reshape(4, 4) @ np.diag([1, -1, -1, 1])
            x, y, z = pose[:3, :3].T @ (points - pose[:3, 3]).T
            uv = np.stack([lens[0, 0] * x / z + lens[0, 2], lens[1, 1] * y / z + lens[1, 2]], 1)
            assert np.abs(uv - centers).max() < 1e-3
            depth, mask = np.array(row["depth"]), np.array(row["mask"])
            assert depth.dtype == np.float32
            columns, rows = (centers - 0.5).astype(int).T
            assert np.abs(depth[rows, columns] - z).max() < 1e-4
            assert np.array_equal(mask > 0, depth > 0)
            picture = np.array(row["image"])
            assert picture.shape[2] == 4
            assert np.array_equal(picture[..., 3] > 127, mask > 0) or (
                np.mean((picture[..., 3] > 127) != (mask > 0)) < 0.1
            )
            normal = np.array(row["normal"])[rows, columns] / 127.5 - 1
            towards = pose[:3, 3] - points
            assert (np.einsum("ij,ij->i", normal, towards) > 0).mean() > 0.99
    assert len(seen) == 4 * len(names)


def test_croissant_is_valid_and_gives_the_rows(tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    stored(tmp_path / "data", views=3)
    target, _ = exported(tmp_path, "huggingface", split=(1.0, 0.0, 0.0))
    described = mlcroissant.Dataset(jsonld=str(target / "croissant.json"))
    rows = list(described.records("views"))
    assert [row["views/view"] for row in rows] == [0, 1, 2]
    assert rows[0]["views/asset"] == b"asset"


def test_a_repeated_export_adds_and_replaces(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    stored(tmp_path / "data", "one", views=2)
    target, _ = exported(tmp_path, "huggingface", split=(1.0, 0.0, 0.0))
    stored(tmp_path / "data", "two", views=2)
    _, report = exported(tmp_path, "huggingface", split=(1.0, 0.0, 0.0))
    assert sorted(outcome.status for outcome in report.outcomes) == ["done", "skipped"]
    files = sorted((target / "data/train").glob("*.parquet"))
    assert [path.name for path in files] == ["00000.parquet", "00001.parquet"]
    shutil.rmtree(tmp_path / "data" / "one")
    stored(tmp_path / "data", "one", views=3)
    exported(tmp_path, "huggingface", split=(1.0, 0.0, 0.0))
    rows = [row for path in sorted((target / "data/train").glob("*.parquet"))
            for row in pq.read_table(path, columns=["asset", "view"]).to_pylist()]  # fmt: skip
    assert sorted((row["asset"], row["view"]) for row in rows) == [
        ("one", 0), ("one", 1), ("one", 2), ("two", 0), ("two", 1),
    ]  # fmt: skip
    assert not list((target / ".export/pending").glob("*"))
    # What a killed run left is not in the data set.
    (target / "data/train/00099.parquet").write_bytes(b"PAR1")
    exported(tmp_path, "huggingface", split=(1.0, 0.0, 0.0))
    assert not (target / "data/train/00099.parquet").exists()


# --- Publishing -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "hf"
    (place / "data").mkdir(parents=True)
    (place / ".export").mkdir()
    (place / ".export/secret.json").write_text("{}")
    (place / "README.md").write_text("---\nlicense: other\n---\n")
    for number in range(3):
        (place / f"data/{number}.parquet").write_bytes(bytes([number]) * 1000)
    return place


def test_what_is_published_is_there_and_is_not_sent_again(folder: Path) -> None:
    pytest.importorskip("huggingface_hub")
    told = []
    with hub() as server:
        where = {"endpoint": server.address, "private": True}
        found = publish(
            folder, "hf://datasets/me/chairs", on_commit=lambda *n: told.append(n), **where
        )
        assert (found.sent, found.there) == (4, 0)
        assert server.created[0].get("visibility", "private") == "private"
        assert set(server.files) == {"README.md", *(f"data/{n}.parquet" for n in range(3))}
        assert server.files["data/1.parquet"] == b"\1" * 1000
        assert told == [(0, 4), (4, 4)]
        (folder / "data/1.parquet").write_bytes(b"new" * 10)
        found = publish(folder, "hf://datasets/me/chairs", **where)
        assert (found.sent, found.there) == (1, 3)
        assert server.commits[-1] == ["data/1.parquet"]
        assert server.files["data/1.parquet"] == b"new" * 10


def test_a_run_that_broke_off_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(publishing, "FILES_AT_ONCE", 1)
    with hub() as server:
        server.fail_after = 2
        with pytest.raises(UploadFailed, match="hf://datasets/me/chairs"):
            publish(folder, "hf://datasets/me/chairs", endpoint=server.address)
        assert len(server.commits) == 2
        server.fail_after = None
        found = publish(folder, "hf://datasets/me/chairs", endpoint=server.address)
        assert (found.sent, found.there) == (2, 2)
        assert len(server.files) == 4


def test_the_command_publishes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("huggingface_hub")
    with hub() as server:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        assert main(["publish", str(folder), "hf://datasets/me/chairs", "-q"]) == 0
    assert "4 files sent, 0 there already" in capsys.readouterr().out


def test_limits_of_the_hub_are_told_before_anything_is_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    with hub() as server:
        for name, value in (("MOST_FILES", 3), ("MOST_IN_FOLDER", 2), ("MOST_BYTES", 999)):
            with monkeypatch.context() as patch, pytest.raises(FormatCannotHold):
                patch.setattr(publishing, name, value)
                publish(folder, "hf://datasets/me/chairs", endpoint=server.address)
        assert server.created == []


def test_wrong_addresses_folders_and_a_missing_package_are_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    for address in ("hf://me/chairs", "me/chairs", "hf://datasets/me"):
        with pytest.raises(InvalidJob, match="hf://datasets"):
            publish(folder, address)
    with pytest.raises(SourceNotFound):
        publish(tmp_path / "none", "hf://datasets/me/chairs")
    with pytest.raises(UploadFailed):
        publish(folder, "hf://datasets/me/chairs", endpoint="http://127.0.0.1:9")
    monkeypatch.setattr(publishing.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependency, match="huggingface_hub"):
        publish(folder, "hf://datasets/me/chairs")
