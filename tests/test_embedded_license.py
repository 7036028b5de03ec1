"""Licences that files state: what is said of them, whatever is in the file."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from test_licenses import write_asset

from objaverse_render_addon.assets.embedded_license import embedded_license, license_line
from objaverse_render_addon.dataset.credits import credit_of, credits_of
from objaverse_render_addon.dataset.metadata import source_record
from objaverse_render_addon.dataset.reader import Dataset

SKETCHFAB = {
    "author": "Ann (https://sketchfab.com/ann)",
    "license": "CC-BY-SA-4.0 (http://creativecommons.org/licenses/by-sa/4.0/)",
}

STATED = {
    "author": "Ann",
    "author_url": "https://sketchfab.com/ann",
    "license": "CC-BY-SA-4.0",
}


def glb(path: Path, text: bytes, length: int | None = None) -> Path:
    """A GLB with nothing but its JSON chunk."""
    size = len(text) if length is None else length
    path.write_bytes(b"glTF" + struct.pack("<III", 2, 20 + len(text), size) + b"JSON" + text)
    return path


def with_asset(path: Path, asset: Any) -> Path:
    return glb(path, json.dumps({"asset": asset}).encode())


def test_what_sketchfabs_files_say_is_said(tmp_path: Path) -> None:
    path = with_asset(tmp_path / "a.glb", {"version": "2.0", "extras": SKETCHFAB})
    assert embedded_license(path) == STATED
    line = license_line(path, tmp_path)
    assert line.startswith("Creative Commons Attribution-ShareAlike 4.0 International by Ann")
    assert line.endswith("(share alike)")


def test_a_gltf_with_a_copyright_only_has_an_unknown_license(tmp_path: Path) -> None:
    path = tmp_path / "a.gltf"
    path.write_text(json.dumps({"asset": {"version": "2.0", "copyright": "2020\nAnn"}}))
    assert license_line(path, tmp_path) == "License unknown; copyright: 2020 Ann"


def test_words_that_are_no_license_we_know_are_marked(tmp_path: Path) -> None:
    path = with_asset(tmp_path / "a.glb", {"extras": {"license": "ask me\x1b[31m first"}})
    assert license_line(path, tmp_path) == "ask me first (unknown licence)"


@pytest.mark.parametrize(
    "asset", [None, [], "text", {"extras": []}, {"extras": {"license": 7, "author": {}}}]
)
def test_what_is_not_text_is_not_a_license(tmp_path: Path, asset: Any) -> None:
    assert license_line(with_asset(tmp_path / "a.glb", asset), tmp_path) == "License unknown"


@pytest.mark.parametrize(
    "content",
    [b"", b"glTF", b"glTF" + bytes(40), b"[" * 100_000, b"{\xff}", b'{"asset": {"extras"', b"[1]"],
)
def test_files_that_are_none_state_nothing(tmp_path: Path, content: bytes) -> None:
    for name in ("a.glb", "a.gltf", "a.obj"):
        (tmp_path / name).write_bytes(content)
        assert embedded_license(tmp_path / name) == {}
    assert embedded_license(glb(tmp_path / "b.glb", content)) == {}
    assert embedded_license(glb(tmp_path / "c.glb", content, 0xFFFFFFFF)) == {}
    assert embedded_license(tmp_path / "missing.glb") == {}


# --- In the metadata ------------------------------------------------------------------------


@pytest.mark.parametrize("known", [None, {"license": None, "metadata": {}}, {"file_name": "b.glb"}])
def test_what_a_file_states_is_its_license_where_nobody_else_knows(
    tmp_path: Path, known: dict[str, Any] | None
) -> None:
    path = with_asset(tmp_path / "a.glb", {"extras": SKETCHFAB, "copyright": "2020 Ann"})
    record = source_record(path, "a.glb", known)
    assert record["license"] == "CC-BY-SA-4.0"
    assert record["metadata"] == {
        "author": "Ann", "author_url": "https://sketchfab.com/ann", "copyright": "2020 Ann",
        "license_source": "file",
    }  # fmt: skip
    credit = credit_of({**record, "asset_id": "a"})
    assert (credit.license.key, credit.author) == ("by-sa", "Ann")


def test_a_catalogue_knows_better_than_the_file(tmp_path: Path) -> None:
    path = with_asset(tmp_path / "a.glb", {"extras": SKETCHFAB})
    record = source_record(path, "a.glb", {"license": "by-nc", "metadata": {"author": "Bob"}})
    assert (record["license"], record["metadata"]) == ("by-nc", {"author": "Bob"})
    unsure = source_record(path, "a.glb", {"metadata": {"author": "Bob"}})
    assert (unsure["license"], unsure["metadata"]["author"]) == ("CC-BY-SA-4.0", "Bob")


def test_a_copyright_alone_is_kept_and_is_no_license(tmp_path: Path) -> None:
    path = with_asset(tmp_path / "a.glb", {"copyright": "2020 Ann"})
    record = source_record(path, "a.glb")
    assert (record["license"], record["metadata"]) == (None, {"copyright": "2020 Ann"})


def test_credits_ask_the_catalogue_about_what_only_the_file_states(tmp_path: Path) -> None:
    path = with_asset(tmp_path / "a.glb", {"extras": SKETCHFAB})
    for name, known in (("a", {}), ("b", {"license": "by-nc"})):
        write_asset(tmp_path / "data", {**source_record(path, "a.glb", known), "asset_id": name})
    assets = list(Dataset.open(tmp_path / "data"))
    catalogue = {"license": "by", "metadata": {"author": "Ann Lee"}}
    found, _ = credits_of(assets, lambda _: catalogue)
    assert [(one.license.key, one.author) for one in found] == [("by", "Ann Lee"), ("by-nc", "")]
    found, _ = credits_of(assets, lambda _: {})
    assert [(one.license.key, one.author) for one in found] == [("by-sa", "Ann"), ("by-nc", "")]
