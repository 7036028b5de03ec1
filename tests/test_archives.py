"""Archives from strangers, and locks between processes."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pytest

from objaverse_render_addon.assets import archives
from objaverse_render_addon.assets.archives import check_zip, pack, safe_member, unpack
from objaverse_render_addon.assets.formats import inspect_file
from objaverse_render_addon.errors import Interrupted, OutputNotWritable, TruncatedFile, UnsafeData
from objaverse_render_addon.locks import locked, try_lock

ROOT = Path(__file__).resolve().parent.parent
LEADING_OUT = ["../x", "a/../../x", "/x", "\\x", "..\\x", "a\\..\\..\\x", "C:/x", "c:x", "", ".",
               "a/\0b"]  # fmt: skip


def files_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def zip_of(path: Path, *members: tuple[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


@pytest.mark.parametrize("name", LEADING_OUT)
def test_a_member_that_leads_out_is_refused(name: str):
    with pytest.raises(UnsafeData, match=r"a\.zip"):
        safe_member(name, "a.zip")


@pytest.mark.parametrize(
    ("name", "path"),
    [("a/b.glb", "a/b.glb"), ("./a//b/", "a/b"), ("a\\b", "a/b"), ("..a/b..", "..a/b.."),
     ("aux/con.txt", "aux/con.txt")],
)  # fmt: skip
@pytest.mark.skipif(sys.platform == "win32", reason="there, devices are refused")
def test_an_honest_member_keeps_its_path(name: str, path: str):
    assert safe_member(name, "a.zip") == path


@pytest.mark.parametrize("name", ["../x", "/tmp/objaverse-evil", "a/../../x", "..\\x"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_nothing_is_unpacked_outside(tmp_path: Path, name: str, kind: str):
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        zip_of(path, ("good.txt", b"1"), (name, b"evil"))
    else:
        tar_of(path, (info("good.txt"), b"1"), (info(name), b"evil"))
    with pytest.raises(UnsafeData):
        unpack(path, tmp_path / "out" / "inner")
    assert "x" not in {p.name for p in tmp_path.rglob("*")}
    assert not Path("/tmp/objaverse-evil").exists()


def test_links_and_devices_are_left_out(tmp_path: Path):
    (tmp_path / "secret").write_text("mine")
    tar = tar_of(
        tmp_path / "a.tar.gz",
        (info("dir", tarfile.SYMTYPE, str(tmp_path)), b""),
        (info("hard", tarfile.LNKTYPE, "../secret"), b""),
        (info("pipe", tarfile.FIFOTYPE), b""),
        (info("null", tarfile.CHRTYPE), b""),
        (info("dir/secret"), b"evil"),
    )
    unpack(tar, tmp_path / "out")
    assert files_in(tmp_path / "out") == ["dir", "dir/secret"]
    assert (tmp_path / "secret").read_text() == "mine"
    link = zipfile.ZipInfo("dir")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, str(tmp_path))
        archive.writestr("dir/secret", b"evil")
    unpack(tmp_path / "a.zip", tmp_path / "out2")
    assert (tmp_path / "secret").read_text() == "mine"
    assert not (tmp_path / "out2" / "dir").is_symlink()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_goes_off_early(tmp_path: Path, monkeypatch, kind: str):
    monkeypatch.setattr(archives, "_SMALL", 1 << 20)
    data = bytes(50 << 20)
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        zip_of(path, ("a", data))
    else:
        tar_of(path, (info("a"), data))
    with pytest.raises(UnsafeData, match="unpacks to more"):
        unpack(path, tmp_path / "out")
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("a")) < 30 << 20


def test_a_zip_that_lies_about_its_sizes_is_counted(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(archives, "_SMALL", 1 << 20)
    path = zip_of(tmp_path / "a.zip", ("a", bytes(50 << 20)))
    data = path.read_bytes()
    size = (50 << 20).to_bytes(4, "little")
    assert size in data
    path.write_bytes(data.replace(size, (1000).to_bytes(4, "little")))
    with pytest.raises((UnsafeData, TruncatedFile)):
        unpack(path, tmp_path / "out")
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("a")) < 30 << 20


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    many = [(str(n), b"") for n in range(11)]
    with pytest.raises(UnsafeData, match="members"):
        unpack(zip_of(tmp_path / "a.zip", *many), tmp_path / "out")
    with pytest.raises(UnsafeData, match="members"):
        unpack(tar_of(tmp_path / "a.tar.gz", *[(info(n), d) for n, d in many]), tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_what_is_packed_is_unpacked(tmp_path: Path, kind: str):
    folder = tmp_path / "models"
    (folder / "sub dir").mkdir(parents=True)
    (folder / "sub dir" / "a.bin").write_bytes(os.urandom(100_000))
    (folder / "b.txt").write_text("b")
    pack(folder, tmp_path / f"x.{kind}", kind)
    out = tmp_path / "out"
    unpack(tmp_path / f"x.{kind}", out)
    inner = out if kind == "zip" else out / "models"
    assert files_in(inner) == files_in(folder)
    assert (inner / "sub dir" / "a.bin").read_bytes() == (folder / "sub dir/a.bin").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["models", "out", f"x.{kind}"]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_half_an_archive_is_named(tmp_path: Path, kind: str):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "a.bin").write_bytes(os.urandom(100_000))
    pack(folder, tmp_path / "x", kind)
    (tmp_path / "half").write_bytes((tmp_path / "x").read_bytes()[:50_000])
    with pytest.raises(TruncatedFile, match="half"):
        unpack(tmp_path / "half", tmp_path / "out")


def test_unpacking_stops_when_it_is_told_to(tmp_path: Path):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        unpack(zip_of(tmp_path / "a.zip", ("a", b"1")), tmp_path / "out", cancel)


def test_a_usdz_that_leads_out_or_swells_is_refused_unopened(tmp_path: Path, monkeypatch):
    good = zip_of(tmp_path / "good.usdz", ("a.usdc", b"PXR-USDC"), kind=zipfile.ZIP_STORED)
    assert inspect_file(good) == "usdz"
    bad = zip_of(tmp_path / "bad.usdz", ("a.usdc", b"PXR-USDC"), ("../../t.png", b"evil"))
    with pytest.raises(UnsafeData, match=r"bad\.usdz.*t\.png"):
        inspect_file(bad)
    monkeypatch.setattr(archives, "_SMALL", 1 << 20)
    with pytest.raises(UnsafeData, match="unpacks to more"):
        check_zip(zip_of(tmp_path / "bomb.usdz", ("a.usdc", bytes(50 << 20))))


# --- Locks ------------------------------------------------------------------------------------


def test_a_lock_is_one_s_at_a_time_and_leaves_no_file(tmp_path: Path):
    path, inside, most = tmp_path / "lock", [], []

    def work() -> None:
        for _ in range(3):
            with locked(path):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == [1] * 12
    assert not path.exists()


def test_the_lock_of_a_killed_process_locks_nothing(tmp_path: Path):
    path = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path\n"
        "from objaverse_render_addon.locks import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert try_lock(path) is None
    process.kill()
    process.wait()
    process.stdout.close()
    assert path.exists()
    with locked(path):
        pass
    assert not path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_lock_where_nothing_can_be_written_is_named(tmp_path: Path):
    with pytest.raises(OutputNotWritable), locked(tmp_path / "none" / "lock"):
        pass
