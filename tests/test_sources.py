"""What a user names becomes the list of assets that they meant."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from objaverse_render_addon.assets import sources
from objaverse_render_addon.assets.formats import EXTENSIONS
from objaverse_render_addon.errors import InvalidList, MissingDependency, SourceNotFound
from objaverse_render_addon.job import RenderJob


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


@pytest.mark.skipif(sys.platform == "win32", reason="homes are found otherwise")
def test_a_tilde_before_the_name_of_nobody_is_a_letter(tmp_path: Path):
    name = write_list(tmp_path / "list.txt", "~nobody-of-this-name/a.glb")
    assert expand([name]) == [str(tmp_path / "~nobody-of-this-name" / "a.glb")]
    assert expand(["~nobody-of-this-name/a.glb"]) == ["~nobody-of-this-name/a.glb"]


# --- Kinds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("chair.glb", "path", "chair"), ("a b/chäir.v2.obj", "path", "chäir_v2"),
        ("C:\\models\\chair.glb", "path", None), ("/abs/x.stl", "path", "x"),
        (UID, "objaverse", UID), (UID.upper(), "objaverse", UID),
        (f"{UID}.glb", "objaverse", UID), (f"{UID.upper()}.GLB", "objaverse", UID),
        (f"folder/{UID}.glb", "path", UID),
        (f"https://sketchfab.com/3d-models/chair-{OTHER}", "objaverse", OTHER),
        ("https://example.com/a/chair.glb?v=1", "url", "chair"),
        ("HTTP://EXAMPLE.COM/%C3%A4.glb", "url", "ä"), ("https://example.com", "url", "example"),
        ("s3://bucket/a/chair.glb", "remote", "chair"), ("memory://chair.glb", "remote", "chair"),
        ("zip://scene.glb::https://example.com/a.zip", "remote", "scene"),
        ("simplecache::s3://bucket/chair.glb", "remote", "chair"),
        ("https://www.thingiverse.com/thing:3/files?fileId=4", "thingiverse", "thing-3-file-4"),
        (f"https://github.com/o/r/blob/{'c' * 40}/a/scene.gltf", "github", None),
        ("https://github.com/o/r/blob/main/a/scene.gltf", "url", "scene"),
        ("https://3d-api.si.edu/content/document/x/hat.glb", "smithsonian", None),
    ],
)  # fmt: skip
def test_where_a_source_comes_from_shows_in_how_it_is_written(text, kind, name):
    (source,) = sources.expand([text])
    assert source.kind == kind
    if name is not None:
        assert source.name == name
    assert re.fullmatch(r"[\w-]{1,120}", source.name)


def test_a_file_named_like_an_identifier_is_a_file(tmp_path: Path, monkeypatch):
    make(tmp_path, f"{UID}.glb")
    monkeypatch.chdir(tmp_path)
    assert [source.kind for source in sources.expand([f"{UID}.glb", f"{OTHER}.glb"])] == [
        "path", "objaverse",
    ]  # fmt: skip


def test_two_scenes_of_two_repositories_have_two_names():
    texts = [f"https://github.com/o/{r}/blob/{'c' * 40}/scene.gltf" for r in "ab"]
    names = {source.name for source in sources.expand(texts)}
    assert len(names) == 2
    assert all(name.startswith("scene-") for name in names)


def test_one_object_written_in_several_ways_counts_once():
    ways = [UID, UID.upper(), f"{UID}.glb", f"https://sketchfab.com/3d-models/{UID}"]
    assert expand(ways) == [UID]


def test_a_file_address_is_a_path(tmp_path: Path):
    (a,) = make(tmp_path, "my chair.glb")
    assert expand([Path(a).as_uri()]) == [a]


def test_a_source_goes_through_as_it_is():
    source = sources.Source("a.glb", "path", "chair", {"seed": 3})
    assert list(sources.expand([source])) == [source]


# --- Lists ------------------------------------------------------------------------------------


def test_a_line_may_say_more_of_its_asset(tmp_path: Path):
    name = write_list(
        tmp_path / "list.txt",
        "a chair.glb --frame 3 --id my-chair --normalize=sphere  # good",
        f"{UID} --seed 7 --sha256 {'AB' * 32} --license by",
        "b.glb",
    )
    first, second, third = sources.expand([name])
    assert first == sources.Source(
        str(tmp_path / "a chair.glb"), "path", "my-chair",
        {"asset.frame": 3, "asset.normalize": "sphere"},
    )  # fmt: skip
    assert first.name == "my-chair"
    assert second == sources.Source(
        UID, "objaverse", "", {"seed": 7}, {"sha256": "ab" * 32, "license": "by"}
    )
    assert third == sources.Source(str(tmp_path / "b.glb"), "path")
    RenderJob().with_values(dict(first.job))


def test_words_of_a_line_are_divided_by_what_a_shell_divides_them_by(tmp_path: Path):
    name = write_list(tmp_path / "list.txt", "a.glb --license CC\u00a0BY", "b.glb\t--license\tby")
    assert [source.known["license"] for source in sources.expand([name])] == ["CC\u00a0BY", "by"]


def test_one_file_with_two_frames_is_two_assets(tmp_path: Path):
    lines = [f"a.glb --id a{frame} --frame {frame}" for frame in (1, 2, 2)]
    found = list(sources.expand([write_list(tmp_path / "list.txt", *lines)]))
    assert [source.asset_id for source in found] == ["a1", "a2"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a.glb --frame", "frame has no value"), ("a.glb --frame x", "frame: 'x' is no whole"),
        ("a.glb --frame 1.5", "frame"), ("a.glb --frmae 3", "no option --frmae"),
        ("a.glb --normalize tall", "normalize.*'tall'"), ("a.glb --id a/b", "'a/b'"),
        ("a.glb --id ..", r"'\.\.'"), ("a.glb --sha256 12", "SHA-256"),
        ('a.glb --id "a', "quotation"), ("a.glb --seed -1e99", "seed"), ("a\0.glb", "text"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_understood_is_named_with_its_number(tmp_path, line, words):
    name = write_list(tmp_path / "list.txt", "# first", "ok.glb", line)
    with pytest.raises(InvalidList, match=rf"list\.txt, line 3.*{words}"):
        expand([name])


def test_a_list_is_read_as_it_is_needed(tmp_path: Path):
    name = write_list(tmp_path / "list.txt", "a.glb", "b.glb", "c.glb --frmae 1")
    entries = sources.expand([name])
    assert next(entries).name == "a"
    assert next(entries).name == "b"
    with pytest.raises(InvalidList):
        next(entries)


def test_a_table_names_assets_by_one_column_and_says_more_in_others(tmp_path: Path):
    name = write_list(
        tmp_path / "list.csv",
        "# made by hand", "Path,ID,frame,color,License", "a.glb,x1,4,red,by",
        '"sub/b, c.obj",,,"blue, light",', "", f"{UID},,,,cc0",
    )  # fmt: skip
    assert list(sources.expand([name])) == [
        sources.Source(str(tmp_path / "a.glb"), "path", "x1", {"asset.frame": 4},
                       {"license": "by"}),
        sources.Source(str(tmp_path / "sub/b, c.obj"), "path"),
        sources.Source(UID, "objaverse", known={"license": "cc0"}),
    ]  # fmt: skip


def test_the_identifier_of_objaverse_xl_comes_before_its_site(tmp_path: Path):
    name = write_list(
        tmp_path / "list.csv", "source,fileIdentifier,sha256",
        f"sketchfab,https://sketchfab.com/3d-models/{UID},{'0' * 64}",
    )  # fmt: skip
    (source,) = sources.expand([name])
    assert source.kind == "objaverse"
    assert source.known == {"sha256": "0" * 64}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a.glb", "b.glb"], "line 1: no column.*txt"),
        (["path,frame", "a.glb"], "line 2 has 1 columns instead of 2"),
        (["path,frame", "a.glb,1", ",2"], "line 3 names no source"),
        (["path", '"a.glb'], "line 2"),
        (["path,frame", "a.glb,many"], "line 2: frame"),
    ],
)
def test_a_table_that_cannot_be_understood_is_named_with_its_line(tmp_path, lines, words):
    with pytest.raises(InvalidList, match=rf"list\.csv, {words}"):
        expand([write_list(tmp_path / "list.csv", *lines)])


def test_json_lines_hold_names_or_objects(tmp_path: Path):
    name = write_list(
        tmp_path / "list.jsonl",
        '"a.glb"', "", json.dumps({"uid": UID, "frame": 2, "note": [1]}),
    )  # fmt: skip
    assert list(sources.expand([name])) == [
        sources.Source(str(tmp_path / "a.glb"), "path"),
        sources.Source(UID, "objaverse", "", {"asset.frame": 2}),
    ]


def test_json_holds_a_list_or_named_lists(tmp_path: Path):
    one = write_list(tmp_path / "one.json", json.dumps(["a.glb", {"path": "b.glb", "id": "b1"}]))
    assert [s.name for s in sources.expand([one])] == ["a", "b1"]
    lvis = write_list(tmp_path / "lvis.json", json.dumps({"chair": [UID], "table": [OTHER, UID]}))
    assert expand([lvis]) == [UID, OTHER]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.json", '["a.glb"', "no JSON"), ("x.json", '{"chair": 3}', "chair is no list"),
        ("x.json", "[3]", "entry 1 is neither"), ("x.json", '{"a": [{}]}', "entry 1 of a"),
        ("x.json", "[" * 100_000, "no JSON"), ("x.jsonl", '"a.glb"\n{', "line 2 is no JSON"),
        ("x.jsonl", '{"path": 3}', "line 1 names no source"),
        ("x.jsonl", '{"path": "a.glb", "frame": [1]}', "line 1: frame: .* is no whole"),
    ],
)  # fmt: skip
def test_json_that_cannot_be_understood_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidList, match=rf"{re.escape(name)}.*{words}"):
        expand([str(tmp_path / name)])


def test_a_line_without_end_is_refused(tmp_path: Path):
    (tmp_path / "list.txt").write_bytes(b"x" * (2 << 20))
    with pytest.raises(InvalidList, match="line 1 has more than"):
        expand([str(tmp_path / "list.txt")])


def test_a_parquet_table_is_a_list(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table(
        {"fileIdentifier": ["a.glb", UID], "frame": [3, None], "other": [1.5, 2.5]}
    )
    parquet.write_table(table, tmp_path / "list.parquet")
    assert list(sources.expand([str(tmp_path / "list.parquet")])) == [
        sources.Source(str(tmp_path / "a.glb"), "path", "", {"asset.frame": 3}),
        sources.Source(UID, "objaverse"),
    ]
    parquet.write_table(table.drop_columns(["fileIdentifier"]), tmp_path / "none.parquet")
    (tmp_path / "half.parquet").write_bytes((tmp_path / "list.parquet").read_bytes()[:100])
    for name in ("none.parquet", "half.parquet"):
        with pytest.raises(InvalidList, match=name):
            expand([str(tmp_path / name)])


def test_a_parquet_table_without_pyarrow_says_what_is_missing(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "list.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingDependency, match=r"pip install .*\[xl\]"):
        expand([str(tmp_path / "list.parquet")])
