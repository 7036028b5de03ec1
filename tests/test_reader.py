from __future__ import annotations

import functools
import http.server
import io
import json
import multiprocessing
import pickle
import re
import shutil
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import write_asset
from jobs import written
from stored import LAYOUTS, store, write_shard, write_tar

from objaverse_render_addon import dataset
from objaverse_render_addon.dataset.layout import METADATA
from objaverse_render_addon.dataset.reader import AssetReader, Dataset, array_from_npy
from objaverse_render_addon.dataset.storage import AssetRef
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import (
    DownloadFailed,
    DuplicateAsset,
    MissingDependency,
    MissingPass,
    ProtocolNotAllowed,
    RenderError,
    SourceNotFound,
    TruncatedFile,
    UnsafeData,
)
from objaverse_render_addon.job import STILL_PASSES, CameraRules, RenderJob

IDS = ["chair", "lamp", "rocket"]
each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def job_of(**output: Any) -> RenderJob:
    output = {"resolution": (40, 32), "layout": "folder", "passes": STILL_PASSES} | output
    return RenderJob(cameras=CameraRules(pattern="ring", views=2), **written(**output))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("folders")
    return [write_asset(out, job_of(), name) for name in IDS]


@pytest.fixture
def one(tmp_path: Path, folders: list[Path]) -> Path:
    """A correct asset as a folder, for the test to spoil."""
    return Path(shutil.copytree(folders[0], tmp_path / "chair"))


@pytest.fixture(scope="module", params=LAYOUTS)
def stored(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    folders: list[Path],
) -> Path:
    out = tmp_path_factory.mktemp("stored")
    store(folders, out, request.param)
    return out


# --- Every layout reads alike ---------------------------------------------------------------


def test_the_assets_of_every_layout_are_found_in_order(stored: Path):
    data = dataset.open(stored)
    assert data.ids == IDS
    assert len(data) == 3
    assert [asset.id for asset in data] == IDS


def test_every_layout_gives_the_same_arrays_cameras_and_metadata(
    stored: Path, folders: list[Path]
):
    for asset, folder in zip(dataset.open(stored), folders, strict=True):
        with asset.open() as reader, AssetReader(folder) as original:
            assert reader.metadata == original.metadata
            assert reader.names() == original.names()
            assert len(reader) == 2
            for index in range(2):
                assert np.array_equal(
                    reader.view(index).camera.intrinsics, original.view(index).camera.intrinsics
                )
                ours, theirs = reader.read(index), original.read(index)
                assert list(ours) == list(theirs) == list(STILL_PASSES)
                for name in ours:
                    assert ours[name].dtype == theirs[name].dtype
                    assert np.array_equal(ours[name], theirs[name])
                    assert ours[name].flags.writeable or name == "rgb"


def test_every_layout_is_verified(stored: Path):
    assert [verify_asset(asset).failed for asset in dataset.open(stored)] == [[], [], []]


def test_url_and_path_read_alike(stored: Path):
    pytest.importorskip("fsspec")
    remote = dataset.open(f"file://{stored}")
    assert remote.ids == IDS
    with remote["lamp"].open() as reader, dataset.open(stored)["lamp"].open() as local:
        assert reader.metadata == local.metadata
        assert np.array_equal(reader.read(1)["depth"], local.read(1)["depth"])


def test_an_object_store_reads_like_a_folder(stored: Path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(stored), "/bucket/data", recursive=True)
    try:
        data = dataset.open("memory://bucket/data")
        assert data.ids == IDS
        assert all(verify_asset(asset).ok for asset in data)
        with pytest.raises(SourceNotFound):
            dataset.open("memory://bucket/other")
    finally:
        memory.rm("/bucket", recursive=True)


class Server(http.server.SimpleHTTPRequestHandler):
    """A plain web server; like many it knows no ranges unless ``ranges`` is set."""

    ranges = False

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if not (self.ranges and wanted and path.is_file()):
            return super().do_GET()
        first, last = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
        data = path.read_bytes()[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{path.stat().st_size}")
        self.end_headers()
        self.wfile.write(data)
        return None

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("ranges", [False, True])
def test_a_web_server_is_read_from(stored: Path, ranges: bool):
    pytest.importorskip("aiohttp", reason="aiohttp, which fsspec needs for http, is not here")
    handler = type("Handler", (Server,), {"ranges": ranges})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(stored))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            base = f"http://127.0.0.1:{server.server_port}"
            data = dataset.open(base)
            assert data.ids == IDS
            with data["lamp"].open() as reader, dataset.open(stored)["lamp"].open() as local:
                assert reader.metadata == local.metadata
                for name, array in local.read(1).items():
                    assert np.array_equal(reader.read(1, [name])[name], array)
            (one,) = dataset.open(str(data["rocket"]))
            assert one.id == "rocket"
            with pytest.raises(SourceNotFound):
                dataset.open(f"{base}/other.zip")
        finally:
            server.shutdown()
    with pytest.raises((DownloadFailed, SourceNotFound)):
        dataset.open(base)


def test_one_asset_is_opened_by_its_own_path(stored: Path):
    asset = dataset.open(stored)["lamp"]
    (found,) = dataset.open(str(asset))
    assert found == asset
    with AssetReader(str(asset)) as reader:
        assert reader.id == reader.metadata["asset_id"] == "lamp"


def test_a_mixed_folder_is_one_dataset(tmp_path: Path, folders: list[Path]):
    for folder, layout in zip(folders, ("zip", "tar", "shard"), strict=True):
        store([folder], tmp_path, layout)
    assert [(asset.id, asset.kind) for asset in dataset.open(tmp_path)] == [
        ("chair", "zip"), ("lamp", "tar"), ("rocket", "shard"),
    ]  # fmt: skip


@pytest.mark.parametrize("geometry", ["exr", "npz"])
def test_other_geometry_files_are_read_from_every_layout(tmp_path: Path, geometry: str):
    folder = write_asset(tmp_path / "original", job_of(geometry=geometry))
    for number, layout in enumerate(LAYOUTS):
        store([folder], tmp_path / str(number), layout)
        with dataset.open(tmp_path / str(number))["asset"].open() as reader:
            arrays = reader.read(1, ["depth", "object_index"])
        assert list(arrays) == ["depth", "object_index"]
        assert arrays["object_index"].dtype == np.uint16


def test_a_shard_opens_with_any_name_that_has_an_index(tmp_path: Path, folders: list[Path]):
    write_shard(tmp_path / "train.tar", folders)
    assert dataset.open(tmp_path).ids == IDS


def test_names_longer_than_a_tar_header_are_read(tmp_path: Path, folders: list[Path]):
    name = "x" * 150
    shutil.copytree(folders[0], tmp_path / "from" / name)
    for layout in ("tar", "shard", "shard without index"):
        store([tmp_path / "from" / name], tmp_path / layout, layout)
        assert verify_asset(dataset.open(tmp_path / layout)[name]).ok


def test_the_page_about_reading_tells_the_truth(
    tmp_path: Path, folders: list[Path], monkeypatch: pytest.MonkeyPatch
):
    store(folders, tmp_path / "data", "zip")
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parent.parent / "docs" / "reading.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
    seen = names["seen"]
    with names["data"]["rocket"].open() as asset:
        assert np.allclose(names["along"], asset.read(0)["distance"][seen], atol=1e-5)
    assert len(names["other"]) == seen.sum()


# --- Laziness and lookup --------------------------------------------------------------------


def test_opening_a_dataset_opens_no_asset(tmp_path: Path):
    for index in range(300):
        (tmp_path / f"a{index:03d}.zip").write_bytes(b"no archive")
    data = dataset.open(tmp_path)
    assert len(data) == 300
    with pytest.raises(TruncatedFile):
        data[0].open()


def test_a_dataset_is_a_sequence_with_names(stored: Path):
    data = dataset.open(stored)
    assert data[-1].id == "rocket"
    assert data["chair"] == data[0]
    assert isinstance(data[1:], Dataset) and data[1:].ids == ["lamp", "rocket"]
    assert "lamp" in data and "sofa" not in data and data[1] in data
    assert data.select(["rocket", "chair"]).ids == ["rocket", "chair"]
    assert data.filter(lambda asset: asset.metadata["asset_id"] != "lamp").ids == IDS[::2]
    with pytest.raises(KeyError):
        data["sofa"]
    with pytest.raises(IndexError):
        data[3]


def test_a_name_that_two_assets_have_is_refused_when_it_is_asked_for(
    tmp_path: Path, folders: list[Path]
):
    for layout in ("zip", "folder"):
        store(folders[:1], tmp_path, layout)
    data = dataset.open(tmp_path)
    assert data.ids == ["chair", "chair"]
    with pytest.raises(DuplicateAsset, match=r"chair\.zip"):
        data["chair"]


def _depth_sum(asset: AssetRef) -> float:
    with asset.open() as reader:
        return float(reader.read(1)["depth"].sum())


def test_references_work_in_other_processes(stored: Path):
    data = pickle.loads(pickle.dumps(dataset.open(stored)))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_depth_sum, data) == [_depth_sum(asset) for asset in data]


def test_a_shard_that_was_written_again_is_read_again(tmp_path: Path, folders: list[Path]):
    write_shard(tmp_path / "shard-000000.tar", folders[:1])
    assert dataset.open(tmp_path).ids == ["chair"]
    write_shard(tmp_path / "shard-000000.tar", folders)
    assert dataset.open(tmp_path).ids == IDS


def test_a_pass_that_is_not_there_is_named(stored: Path):
    with dataset.open(stored)[0].open() as reader, pytest.raises(MissingPass, match="flow"):
        reader.read(0, ["flow"])


def test_a_folder_without_assets_is_named(tmp_path: Path):
    (tmp_path / ".hidden.zip").write_bytes(b"")
    with pytest.raises(SourceNotFound, match="no finished asset"):
        dataset.open(tmp_path)
    with pytest.raises(SourceNotFound, match="does not exist"):
        dataset.open(tmp_path / "missing")


def test_a_url_without_fsspec_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(MissingDependency, match=r"\[remote\]"):
        dataset.open("s3://bucket/data")


def test_a_url_of_an_unknown_kind_is_named():
    pytest.importorskip("fsspec")
    with pytest.raises(ProtocolNotAllowed, match="gopher"):
        dataset.open("gopher://bucket/data")


# --- Hostile files --------------------------------------------------------------------------


def rezip(folder: Path, target: Path, change: Callable[[zipfile.ZipFile], None]) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"chair/{file.name}")
        change(archive)
    return target


@pytest.mark.parametrize(
    "name", ["../evil.txt", "chair/../../evil", "/etc/evil", "chair\\..\\evil", "C:/evil"]
)
def test_an_archive_with_a_name_that_leads_out_is_refused(
    tmp_path: Path, folders: list[Path], name: str
):
    path = rezip(folders[0], tmp_path / "chair.zip", lambda archive: archive.writestr(name, b""))
    with pytest.raises(UnsafeData, match="leads out"):
        AssetReader(path)
    if "\\" not in name:
        members = {f"chair/{METADATA}": b"{}", name: b""}
        write_tar(tmp_path / "chair.tar", members)
        with pytest.raises(UnsafeData, match="leads out"):
            AssetReader(tmp_path / "chair.tar")


@pytest.mark.parametrize("file", ["../other/000_depth.npy", "/etc/passwd", "..", "a\\b.npy", ""])
def test_metadata_that_name_a_file_elsewhere_are_refused(one: Path, file: str):
    secret = one.parent / "other"
    secret.mkdir()
    shutil.copy(one / "000_depth.npy", secret)
    edit(one, lambda record: record["views"][0].update(depth=file))
    with AssetReader(one) as reader, pytest.raises((UnsafeData, TruncatedFile)):
        reader.read(0)


def edit(asset: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    record = json.loads((asset / METADATA).read_text())
    change(record)
    (asset / METADATA).write_text(json.dumps(record))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("a/000.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(UnsafeData, match="link"):
        AssetReader(tmp_path / "a.tar")


def npy(header: str) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -16)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 16)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (8,)}",
        "{'descr': '|S9999999999', 'fortran_order': False, 'shape': ()}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (16,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 'x'}",
        "__import__('os').system('true')",
        "(" * 116,
    ],
)
def test_an_array_whose_header_lies_is_refused(one: Path, header: str):
    (one / "001_depth.npy").write_bytes(npy(header))
    with AssetReader(one) as reader, pytest.raises(TruncatedFile, match=r"001_depth\.npy"):
        reader.read(1)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "|u1", "<u2"])
def test_an_honest_array_is_read_in_every_order(order: str, dtype: str):
    data = np.asarray(np.arange(24).reshape(2, 3, 4), dtype, order=order)  # type: ignore[call-overload]
    file = io.BytesIO()
    np.save(file, data)
    found = array_from_npy(file.getvalue())
    assert np.array_equal(found, data)
    assert found.dtype == data.dtype


def test_a_picture_of_a_billion_pixels_is_refused_before_it_is_unpacked(one: Path):
    side = 1 << 15
    row = zlib.compress(bytes(1 + side * 4) * 64)

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0))
    (one / "000.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", row) + chunk(b"IEND", b"")
    )
    with AssetReader(one) as reader, pytest.raises(UnsafeData, match="32768x32768"):
        reader.read(0)
    assert any("32768x32768" in line for line in verify_asset(one).failed)


def test_an_exr_of_another_size_is_refused_before_it_is_unpacked(tmp_path: Path):
    asset = write_asset(tmp_path, job_of(geometry="exr"))
    path = asset / "000.exr"
    data = path.read_bytes()
    window = struct.pack("<4i", 0, 0, 39, 31)
    assert data.count(window) == 2
    path.write_bytes(data.replace(window, struct.pack("<4i", 0, 0, 1 << 30, 1 << 20)))
    with AssetReader(asset) as reader, pytest.raises(UnsafeData, match="pixels"):
        reader.read(0)


@pytest.mark.parametrize("damage", ["bomb", "two", "none", "cut"])
def test_a_compressed_array_that_lies_is_refused(tmp_path: Path, damage: str):
    folder = write_asset(tmp_path / "original", job_of(geometry="npz"))
    target = folder / "000_mask.npz"
    whole = target.read_bytes()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range({"bomb": 1, "two": 2}.get(damage, 0)):
            archive.writestr(f"{number}.npy", bytes(1 << 26 if damage == "bomb" else 8))
    if damage == "cut":
        target.write_bytes(whole[:-30])
    with AssetReader(folder) as reader, pytest.raises((UnsafeData, TruncatedFile)) as caught:
        reader.read(0)
    assert "000_mask.npz" in str(caught.value)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, folders: list[Path]):
    with zipfile.ZipFile(tmp_path / "chair.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folders[0].iterdir()):
            data = bytes(1 << 26) if file.name == "000_mask.npy" else file.read_bytes()
            archive.writestr(f"chair/{file.name}", data)
    with AssetReader(tmp_path / "chair.zip") as reader, pytest.raises(UnsafeData, match="at most"):
        reader.read(0)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000, "[]", "null", '"x"', "{", "\xff", ""],
)
def test_metadata_that_are_no_object_are_refused(one: Path, text: str):
    (one / METADATA).write_bytes(text.encode("latin-1"))
    with pytest.raises(TruncatedFile, match="no readable metadata"):
        AssetReader(one)


@pytest.mark.parametrize(
    "size", [(10**9, 10**9), (-4, 4), (0, 4), (1 << 15, 1 << 15), (10**30, 1), (4.0, 4), ("4", 4)]
)
def test_a_view_of_an_impossible_size_is_refused(one: Path, size: tuple[Any, Any]):
    edit(one, lambda record: record["views"][0].update(width=size[0], height=size[1]))
    with AssetReader(one) as reader:
        for ask in (reader.read, reader.view):
            with pytest.raises((UnsafeData, TruncatedFile)):
                ask(0)


@pytest.mark.parametrize(
    "index",
    [
        "[" * 100_000,
        "{}",
        '{"assets": []}',
        '{"assets": {"chair": 3}}',
        '{"assets": {"chair": {"000.png": [512]}}}',
        '{"assets": {"chair": {"000.png": [512.0, 4]}}}',
        '{"assets": {"chair": {"000.png": [-512, 4]}}}',
        '{"assets": {"chair": {"000.png": [512, 1000000000000000000000]}}}',
        '{"assets": {"chair": {"000.png": [99999999999, 4]}}}',
        '{"assets": {"../chair": {"000.png": [512, 4]}}}',
        '{"assets": {"chair": {"../000.png": [512, 4]}}}',
    ],
)
def test_an_index_that_lies_is_refused(tmp_path: Path, folders: list[Path], index: str):
    write_shard(tmp_path / "shard-000000.tar", folders)
    (tmp_path / "shard-000000.index.json").write_text(index)
    with pytest.raises((TruncatedFile, UnsafeData)):
        dataset.open(tmp_path)


def test_an_index_of_another_shard_gives_no_wrong_data(tmp_path: Path, folders: list[Path]):
    write_shard(tmp_path / "shard-000000.tar", folders)
    write_shard(tmp_path / "other.tar", folders[::-1])
    shutil.copy(tmp_path / "other.index.json", tmp_path / "shard-000000.index.json")
    shutil.move(tmp_path / "other.tar", tmp_path / ".other.tar")
    with pytest.raises(TruncatedFile, match="does not fit"):
        dataset.open(tmp_path / "shard-000000.tar")["chair"].open()


@pytest.mark.parametrize("layout", ["zip", "tar", "shard", "shard without index"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 0.999])
def test_an_archive_that_breaks_off_is_named(
    tmp_path: Path, folders: list[Path], layout: str, share: float
):
    store(folders[:1], tmp_path, layout)
    (path,) = [path for path in tmp_path.iterdir() if path.suffix in (".zip", ".tar")]
    data = path.read_bytes().rstrip(b"\0") if path.suffix == ".tar" else path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises((TruncatedFile, SourceNotFound)):
        for asset in dataset.open(path):
            with asset.open() as reader:
                for index in range(2):
                    reader.read(index)


def test_an_unindexed_shard_under_another_name_is_named(tmp_path: Path, folders: list[Path]):
    write_shard(tmp_path / "train.tar", folders, index=False)
    with pytest.raises(TruncatedFile, match="shard of several assets"):
        dataset.open(tmp_path)[0].open()
    assert dataset.open(tmp_path / "train.tar").ids == IDS


def test_random_damage_is_a_named_error_or_gives_whole_arrays(tmp_path: Path, folders: list[Path]):
    named = 0
    rng = np.random.default_rng(0)
    for layout in LAYOUTS[1:]:
        store(folders[:1], tmp_path / layout, layout)
        (path,) = [p for p in (tmp_path / layout).iterdir() if p.suffix != ".json"]
        whole = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            for at in rng.integers(0, len(whole), 20):
                damaged[at] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                for asset in dataset.open(path):
                    with asset.open() as reader:
                        camera = reader.view(0).camera
                        for array in reader.read(0).values():
                            assert array.shape[:2] == (camera.height, camera.width)
            except RenderError:
                named += 1
    assert named > 60
