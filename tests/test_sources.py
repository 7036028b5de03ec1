"""What a user names becomes the list of assets that they meant."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from objaverse_render_addon.assets import sources
from objaverse_render_addon.assets.formats import EXTENSIONS
from objaverse_render_addon.errors import InvalidList, SourceNotFound


def expand(given: list[str]) -> list[str]:
    return [source.text for source in sources.expand(given)]


UID, OTHER = "0123456789abcdef" * 2, "f" * 32


def make(folder: Path, *names: str) -> list[str]:
    """Empty files; their paths."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return [str(path) for path in paths]


def write_list(path: Path, *lines: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_nothing_is_nothing():
    assert expand([]) == []


def test_a_file_stands_for_itself_whether_it_is_there_or_not(tmp_path: Path):
    (there,) = make(tmp_path, "b.glb")
    missing = str(tmp_path / "a.obj")
    assert expand([there, missing, "odd.xyz"]) == [there, missing, "odd.xyz"]


def test_a_folder_stands_for_the_3d_files_in_it_and_below(tmp_path: Path):
    paths = make(tmp_path, "B.GLB", "a.obj", "sub/deep/c.usdz")
    make(tmp_path, "readme.md", "a.mtl", "texture.png", "noextension", ".glb", "list.txt")
    (tmp_path / "folder.glb").mkdir()
    assert expand([str(tmp_path)]) == sorted(paths)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_folder_finds_every_known_kind(tmp_path: Path, extension: str):
    paths = make(tmp_path, f"thing.{extension}")
    assert expand([str(tmp_path)]) == paths


def test_a_folder_without_3d_files_is_named_with_what_would_count(tmp_path: Path):
    make(tmp_path, "readme.md")
    with pytest.raises(SourceNotFound, match=rf"{tmp_path.name}.*glb, gltf"):
        expand([str(tmp_path)])


def test_an_identifier_stands_for_itself():
    address = f"https://sketchfab.com/3d-models/chair-{OTHER}"
    assert expand([UID, address]) == [UID, address]


def test_a_list_names_paths_beside_it_identifiers_and_folders(tmp_path: Path):
    (a, b) = make(tmp_path / "assets", "a.glb", "more/b.stl")
    address = f"https://sketchfab.com/3d-models/{OTHER}"
    name = write_list(
        tmp_path / "assets" / "list.txt", "a.glb", UID, address, "more", str(tmp_path / "x.ply")
    )
    assert [os.path.normpath(p) if "sketchfab" not in p else p for p in expand([name])] == [
        a, UID, address, b, str(tmp_path / "x.ply"),
    ]  # fmt: skip


def test_a_list_may_hold_comments_blank_lines_and_spaces(tmp_path: Path):
    name = write_list(
        tmp_path / "list.txt",
        "# the first batch", "", "  a.glb  ", "b.glb # broken?", "\t", "c#2.glb", f"{UID}\t# chair",
    )  # fmt: skip
    assert expand([name]) == [*(str(tmp_path / n) for n in ("a.glb", "b.glb", "c#2.glb")), UID]


def test_a_list_from_windows_is_read(tmp_path: Path):
    (tmp_path / "list.txt").write_bytes("\ufeffa.glb\r\nmöbel.glb\r\n".encode())
    assert expand([str(tmp_path / "list.txt")]) == [
        str(tmp_path / "a.glb"), str(tmp_path / "möbel.glb"),
    ]  # fmt: skip


def test_an_empty_list_is_nothing(tmp_path: Path):
    assert expand([write_list(tmp_path / "list.txt", "# nothing yet")]) == []


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00a"])
def test_a_list_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidList if content else SourceNotFound, match=r"list\.txt"):
        expand([str(path)])


def test_a_list_that_names_itself_ends(tmp_path: Path):
    name = write_list(tmp_path / "list.txt", "list.txt", "a.glb")
    assert expand([name]) == [name, str(tmp_path / "a.glb")]


def test_what_is_named_twice_counts_once_at_its_first_place(tmp_path: Path):
    a, b = make(tmp_path, "a.glb", "b.glb")
    name = write_list(tmp_path / "list.txt", "b.glb", "a.glb", UID)
    assert expand([b, str(tmp_path), name, UID, b]) == [b, a, UID]


@pytest.mark.skipif(sys.platform == "win32", reason="homes are found otherwise")
def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (a,) = make(tmp_path / "models", "a.glb")
    write_list(tmp_path / "list.txt", "~/models", "~/models/a.glb")
    assert expand(["~/models"]) == [a]
    assert [str(Path(p).expanduser()) for p in expand(["~/list.txt"])] == [a]
