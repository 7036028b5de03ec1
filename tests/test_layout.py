from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import LOPSIDED, camera_at, frame_of
from jobs import written
from PIL import Image

from objaverse_render_addon.cameras import View
from objaverse_render_addon.dataset.images import composite, read_exr, read_png
from objaverse_render_addon.dataset.layout import (
    METADATA,
    AssetWriter,
    arrays_from_channels,
    asset_path,
    color_files,
    geometry_files,
    new_writer,
    pass_file,
    remove_parts,
    tidy_parts,
)
from objaverse_render_addon.dataset.reader import read_metadata
from objaverse_render_addon.errors import DiskFull, OutputNotWritable
from objaverse_render_addon.frame import FrameKey
from objaverse_render_addon.job import STILL_PASSES, Lighting, RenderJob
from objaverse_render_addon.passspec import PICTURES

FULL = Path("/dev/full")
LAYOUTS = ("zip", "folder")
each_layout = pytest.mark.parametrize("layout", LAYOUTS)

def standing(folder: Path) -> list[Path]:
    """What is in a folder; nothing that is not whole."""
    assert not list(folder.glob(".parts/*"))
    return [path for path in folder.iterdir() if path.name != ".parts"]


FILES = {
    "000.png": b"\x89PNG" * 9,
    "000_depth.npy": bytes(range(256)) * 20,
    METADATA: b'{"asset_id": "a"}',
}


def fill(writer: AssetWriter, files: dict[str, bytes] = FILES) -> None:
    for name, data in files.items():
        writer.add(name, data)


def content(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {item.name: item.read_bytes() for item in path.iterdir()}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        prefix = f"{path.stem}/"
        assert all(name.startswith(prefix) for name in archive.namelist())
        return {name.removeprefix(prefix): archive.read(name) for name in archive.namelist()}


# --- Writers --------------------------------------------------------------------------------


@each_layout
def test_an_asset_appears_whole_under_its_name_and_not_before(tmp_path: Path, layout: str):
    out = tmp_path / "new" / "folder"
    writer = new_writer(out, "a", layout)
    fill(writer)
    assert not asset_path(out, "a", layout).exists()
    final = writer.commit()
    assert final == asset_path(out, "a", layout)
    assert standing(out) == [final]
    assert content(final) == FILES


@each_layout
def test_an_aborted_asset_leaves_nothing(tmp_path: Path, layout: str):
    writer = new_writer(tmp_path, "a", layout)
    fill(writer)
    writer.abort()
    assert standing(tmp_path) == []
    writer.abort()


@each_layout
def test_an_aborted_replacement_leaves_what_was_there(tmp_path: Path, layout: str):
    fill(first := new_writer(tmp_path, "a", layout))
    final = first.commit()
    fill(second := new_writer(tmp_path, "a", layout), {METADATA: b"{}"})
    second.abort()
    assert standing(tmp_path) == [final]
    assert content(final) == FILES


@each_layout
def test_a_replacement_takes_the_place_of_all_that_was_there(tmp_path: Path, layout: str):
    fill(first := new_writer(tmp_path, "a", layout))
    first.commit()
    fill(second := new_writer(tmp_path, "a", layout), {METADATA: b"{}"})
    final = second.commit()
    assert standing(tmp_path) == [final]
    assert content(final) == {METADATA: b"{}"}


def test_a_folder_that_cannot_take_its_name_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(first := new_writer(tmp_path, "a", "folder"))
    final = first.commit()
    second = new_writer(tmp_path, "a", "folder")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.parent.name == ".parts" and not self.name.endswith(".old"):
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputNotWritable):
        second.commit()
    second.abort()
    assert standing(tmp_path) == [final]
    assert content(final) == FILES


@each_layout
def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path, layout: str):
    parts = tmp_path / ".parts"
    for name in ("a.123", "a.123.old"):
        (parts / name).mkdir(parents=True)
    (parts / "a.123" / "000.png").write_bytes(b"")
    (parts / "a.123.zip").write_bytes(b"PK")
    (parts / "a.124.tar").write_bytes(b"")
    others = ["ab.1.zip", "b.1.zip", "a.b.1.zip", "a.5.1", "a"]
    for name in others:
        (parts / name).write_bytes(b"")
    fill(writer := new_writer(tmp_path, "a", layout))
    final = writer.commit()
    assert {path.name for path in tmp_path.iterdir()} == {".parts", final.name}
    assert {path.name for path in parts.iterdir()} == set(others)
    remove_parts(tmp_path, "b")
    assert not (parts / "b.1.zip").exists()


@each_layout
def test_the_folder_of_parts_goes_when_nothing_is_in_it(tmp_path: Path, layout: str):
    fill(one := new_writer(tmp_path, "one", layout))
    fill(other := new_writer(tmp_path, "other", layout))
    one.commit()
    tidy_parts(tmp_path)
    other.abort()
    assert (tmp_path / ".parts").is_dir()
    tidy_parts(tmp_path)
    tidy_parts(tmp_path)
    assert [path.stem for path in tmp_path.iterdir()] == ["one"]


@each_layout
def test_runs_that_end_beside_a_writer_cost_it_nothing(tmp_path: Path, layout: str):
    ended = threading.Event()

    def end() -> None:
        while not ended.wait(0.001):
            tidy_parts(tmp_path)

    def write(number: int) -> None:
        for turn in range(50):
            fill(writer := new_writer(tmp_path, f"{number}-{turn}", layout))
            writer.commit()

    with ThreadPoolExecutor(6) as pool:
        enders = [pool.submit(end) for _ in range(2)]
        try:
            for future in [pool.submit(write, number) for number in range(4)]:
                future.result()
        finally:
            ended.set()
        for future in enders:
            future.result()
    tidy_parts(tmp_path)
    assert len(list(tmp_path.iterdir())) == 200


@each_layout
def test_an_asset_among_many_looks_at_none_of_them(tmp_path: Path, layout: str):
    listed: list[str] = []

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event in ("os.scandir", "os.listdir"):
            listed.append(str(arguments[0]))

    listening = True
    # There is no way to take a hook away again.
    sys.addaudithook(listen)
    fill(writer := new_writer(tmp_path, "a", layout))
    writer.commit()
    listening = False
    assert str(tmp_path) not in listed


def test_the_same_data_make_the_same_archive(tmp_path: Path):
    archives = []
    for folder in ("one", "two"):
        fill(writer := new_writer(tmp_path / folder, "a", "zip"))
        path = writer.commit()
        os.utime(path, (0, 0))
        archives.append(path.read_bytes())
    assert archives[0] == archives[1]
    with zipfile.ZipFile(path) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_is_compressed_already_is_only_stored(tmp_path: Path):
    fill(writer := new_writer(tmp_path, "a", "zip"))
    with zipfile.ZipFile(writer.commit()) as archive:
        kinds = {info.filename: info.compress_type for info in archive.infolist()}
    assert kinds == {
        "a/000.png": zipfile.ZIP_STORED,
        "a/000_depth.npy": zipfile.ZIP_DEFLATED,
        f"a/{METADATA}": zipfile.ZIP_DEFLATED,
    }


@each_layout
def test_a_file_in_the_place_of_the_output_folder_is_named(tmp_path: Path, layout: str):
    out = tmp_path / "out"
    out.write_bytes(b"")
    for folder in (out, out / "below"):
        with pytest.raises(OutputNotWritable) as caught:
            new_writer(folder, "a", layout)
        assert str(folder) in caught.value.message


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@each_layout
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, layout: str):
    final = asset_path(tmp_path, "a", layout)
    if layout == "zip":
        writer = new_writer(tmp_path, "a", layout)
        writer.abort()
        (tmp_path / ".parts" / f"a.{os.getpid()}.zip").symlink_to(FULL)
        writer = type(writer)(tmp_path, "a")
    else:
        writer = new_writer(tmp_path, "a", layout)
        (tmp_path / ".parts" / f"a.{os.getpid()}" / "000.exr").symlink_to(FULL)
    with pytest.raises(DiskFull) as caught:
        writer.add("000.exr", os.urandom(1 << 20))
    assert str(final) in caught.value.message
    writer.abort()
    assert standing(tmp_path) == []


def test_a_disk_that_is_full_at_the_very_end_is_named_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    fill(writer := new_writer(tmp_path, "a", "zip"))
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DiskFull):
        writer.commit()
    writer.abort()
    assert standing(tmp_path) == []


# --- Metadata -------------------------------------------------------------------------------


@each_layout
def test_metadata_are_read_back(tmp_path: Path, layout: str):
    fill(writer := new_writer(tmp_path, "a", layout))
    assert read_metadata(writer.commit()) == {"asset_id": "a"}


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"3", b"\xff\xfe", None])
@each_layout
def test_metadata_that_are_not_whole_are_none(tmp_path: Path, layout: str, text: bytes | None):
    files = {"000.png": b"x"} | ({} if text is None else {METADATA: text})
    fill(writer := new_writer(tmp_path, "a", layout), files)
    assert read_metadata(writer.commit()) is None


def test_metadata_of_what_is_not_there_or_no_archive_are_none(tmp_path: Path):
    assert read_metadata(tmp_path / "missing.zip") is None
    (tmp_path / "a.zip").write_bytes(b"no archive")
    assert read_metadata(tmp_path / "a.zip") is None


def test_metadata_of_a_damaged_archive_are_none(tmp_path: Path):
    text = json.dumps({"numbers": list(range(400))}).encode()
    fill(writer := new_writer(tmp_path, "a", "zip"), {METADATA: text})
    path = writer.commit()
    whole = path.read_bytes()
    start = whole.index(METADATA.encode()) + len(METADATA)
    outcomes = set()
    for position in range(start, start + 300, 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        outcomes.add(read_metadata(path) is None)
    assert outcomes == {True}


# --- Files of a view ------------------------------------------------------------------------


def writing(**chosen: Any) -> RenderJob:
    return RenderJob(**written(**chosen))


def files_of(job: RenderJob, tmp_path: Path, background=None, index: int = 7) -> dict[str, bytes]:
    job = dataclasses.replace(job, lighting=Lighting(background=background))
    camera = camera_at(size=(37, 24))
    frame = frame_of(LOPSIDED, camera, view=View(index, camera))
    files = dict(color_files(frame, job, tmp_path)) | dict(geometry_files(frame, job, tmp_path))
    assert standing(tmp_path) == []
    return files


def test_each_pass_has_a_file_of_its_own(tmp_path: Path):
    files = files_of(writing(passes=STILL_PASSES), tmp_path)
    assert list(files) == [pass_file(FrameKey(7), name, "npy") for name in STILL_PASSES]
    assert list(files)[:3] == ["007.png", "007_rgb_linear.exr", "007_depth.npy"]
    expected = frame_of(LOPSIDED, camera_at(size=(37, 24))).passes
    for name in STILL_PASSES:
        data = files[pass_file(FrameKey(7), name, "npy")]
        if name == "rgb_linear":
            (tmp_path / "a.exr").write_bytes(data)
            channels = read_exr(tmp_path / "a.exr")
            # By these names every viewer takes it for the colour.
            assert sorted(channels) == ["A", "B", "G", "R"]
            found = arrays_from_channels(channels)[name]
        else:
            found = read_png(data) if name == "rgb" else np.load(io.BytesIO(data))
        assert found.dtype == expected[name].dtype, name
        assert np.array_equal(found, expected[name]), name


def test_a_view_that_is_not_stored_leaves_no_temporary_image(tmp_path: Path):
    frame = frame_of(LOPSIDED, camera_at(size=(37, 24)))
    files = geometry_files(frame, writing(passes=("depth",), geometry="exr"), tmp_path)
    next(files)
    files.close()
    assert standing(tmp_path) == []


def test_only_the_passes_that_are_asked_for_are_written(tmp_path: Path):
    assert list(files_of(writing(passes=("mask",)), tmp_path)) == ["007_mask.npy"]
    assert list(files_of(writing(passes=("rgb",), geometry="exr"), tmp_path)) == ["007.png"]
    assert list(files_of(writing(passes=("depth",), geometry="exr"), tmp_path)) == ["007.exr"]


def test_geometry_comes_back_from_one_exr_exactly(tmp_path: Path):
    files = files_of(writing(passes=STILL_PASSES, geometry="exr"), tmp_path)
    assert list(files) == ["007.png", "007_rgb_linear.exr", "007.exr"]
    (tmp_path / "a.exr").write_bytes(files["007.exr"])
    channels = read_exr(tmp_path / "a.exr")
    assert {"depth.Z", "normal.X", "mask.V", "roughness_metallic.M"} < set(channels)
    found = arrays_from_channels(channels)
    expected = frame_of(LOPSIDED, camera_at(size=(37, 24))).passes
    assert set(found) == set(STILL_PASSES) - PICTURES
    for name, data in found.items():
        assert data.dtype == expected[name].dtype, name
        assert np.array_equal(data, expected[name]), name


def test_the_numbers_of_views_sort_and_go_beyond_a_thousand():
    assert [pass_file(FrameKey(index), "rgb", "npy") for index in (0, 42, 1234)] == [
        "000.png", "042.png", "1234.png"
    ]  # fmt: skip


def test_a_background_makes_the_picture_opaque(tmp_path: Path):
    files = files_of(writing(passes=("rgb",)), tmp_path, (1.0, 0.5, 0.0))
    with Image.open(io.BytesIO(files["007.png"])) as image:
        assert image.mode == "RGB"
        assert image.getpixel((0, 0)) == (255, 128, 0)


def test_compositing_is_that_of_straight_alpha_in_display_space():
    pixels = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    over = composite(pixels, (0.0, 1.0, 0.5))
    assert over.dtype == np.uint8
    assert over[0].tolist() == [[200, 100, 0], [0, 255, 128], [40, 224, 102]]


def test_compositing_agrees_with_pillow():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 4), dtype=np.uint8)
    reference = Image.new("RGBA", (40, 40), (255, 255, 255, 255))
    reference.alpha_composite(Image.fromarray(pixels))
    found = composite(pixels, (1.0, 1.0, 1.0)).astype(int)
    assert np.abs(found - np.asarray(reference)[..., :3]).max() <= 1
