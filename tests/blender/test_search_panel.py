"""The search in the sidebar, inside Blender: what it finds, shows and imports."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_up_annotations as made_up
import pytest
from objaverse_server import Server, serving
from PIL import Image

from .test_addon import NAME, ROOT, enabled  # noqa: F401

pytestmark = pytest.mark.core


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


@pytest.fixture
def bpy(enabled: Any) -> Any:  # noqa: ARG001, F811
    """Blender with the add-on, an empty scene and a fresh search."""
    import bpy

    from objaverse_render_addon.ui.search import state

    bpy.ops.wm.read_homefile(use_empty=True)
    state.close()
    settings = bpy.context.window_manager.objaverse_search
    for prop in settings.bl_rna.properties:
        if prop.identifier not in ("rna_type", "name"):
            settings.property_unset(prop.identifier)
    yield bpy
    state.close()


@pytest.fixture
def search(bpy: Any) -> Any:
    """The search's settings."""
    return bpy.context.window_manager.objaverse_search


@pytest.fixture
def cache(bpy: Any, server: Server, tmp_path: Path) -> Iterator[Path]:
    """The preferences name a cache with the annotations of 400 objects, and a server."""
    preferences = bpy.context.preferences.addons[NAME].preferences
    before = preferences.download_dir, preferences.endpoint
    preferences.download_dir, preferences.endpoint = str(tmp_path), server.endpoint
    yield tmp_path
    preferences.download_dir, preferences.endpoint = before


def thumbnail() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (256, 144), (200, 80, 40)).save(file, "JPEG")
    return file.getvalue()


def fill(cache: Path, server: Server, count: int = 400) -> list[dict[str, Any]]:
    records = list(made_up.many(count))
    for record in records:
        name = f"pictures/{record['uid']}.jpeg"
        server.files[name] = thumbnail()
        url = f"{server.endpoint}/datasets/allenai/objaverse/resolve/main/{name}"
        record["thumbnails"] = {"images": [{"url": url, "width": 256, "height": 144}]}
    chairs = [r["uid"] for r in records if r["name"].lower().split()[1] == "chair"]
    made_up.write(cache, records, {"chair": chairs})
    return records


def found(bpy: Any) -> list[Any]:  # noqa: ARG001
    from objaverse_render_addon.ui.search import state

    return state.browser().entries


def test_a_search_finds_by_word_license_category_and_faces(
    bpy: Any, search: Any, cache: Path, server: Server
):
    records = fill(cache, server)
    search.text = "chair"
    assert bpy.ops.objaverse.search() == {"FINISHED"}
    assert found(bpy)
    assert len(found(bpy)) <= 12
    search.license, search.sort = "by", "faces"
    search.use_max_faces, search.max_faces = True, 50_000
    bpy.ops.objaverse.search()
    faces = [entry.faces for entry in found(bpy)]
    assert faces == sorted(faces) and faces[-1] <= 50_000
    assert {entry.license_text for entry in found(bpy)} <= {"by", "cc0"}
    search.text, search.lvis, search.use_max_faces, search.license = "", "chair", False, "any"
    bpy.ops.objaverse.search()
    names = {record["uid"]: record["name"].lower() for record in records}
    assert found(bpy) and all("chair" in names[entry.uid] for entry in found(bpy))


def test_more_shows_more(bpy: Any, search: Any, cache: Path, server: Server):
    fill(cache, server)
    search.text = ""
    bpy.ops.objaverse.search()
    assert len(found(bpy)) == 12
    first = [entry.uid for entry in found(bpy)]
    bpy.ops.objaverse.search(more=True)
    assert len(found(bpy)) == 24
    assert [entry.uid for entry in found(bpy)][:12] == first
    bpy.ops.objaverse.search()
    assert len(found(bpy)) == 12


@pytest.mark.parametrize(
    ("text", "lvis", "message"),
    [("!!!", "", "no word"), ("", "no such thing", "no LVIS category")],
)
def test_what_cannot_be_searched_is_said(
    bpy: Any, search: Any, cache: Path, server: Server, text: str, lvis: str, message: str
):
    fill(cache, server)
    search.text, search.lvis = text, lvis
    with pytest.raises(RuntimeError, match=message):
        bpy.ops.objaverse.search()


def test_the_network_is_used_only_where_blender_allows_it(
    bpy: Any, search: Any, cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
):
    from objaverse_render_addon.ui import preferences

    allowed = preferences.options
    monkeypatch.setattr(
        preferences, "options", lambda context: {**allowed(context), "online": False}
    )
    search.text = "chair"
    with pytest.raises(RuntimeError, match="online access is switched off"):
        bpy.ops.objaverse.search()
    assert server.asked == []
    fill(cache, server)
    bpy.ops.objaverse.search()
    time.sleep(0.3)
    assert found(bpy)
    assert server.asked == []


def test_thumbnails_come_beside_the_search_and_become_icons(
    bpy: Any, search: Any, cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
):
    from objaverse_render_addon.ui import background, preferences
    from objaverse_render_addon.ui.search import state

    allowed = preferences.options
    monkeypatch.setattr(
        preferences, "options", lambda context: {**allowed(context), "online": True}
    )
    fill(cache, server)
    search.text = "chair"
    bpy.ops.objaverse.search()
    deadline = time.monotonic() + 20
    while background._tick_all() is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    wanted = {entry.uid for entry in found(bpy)}
    assert wanted
    assert all(state.picture(uid) is not None for uid in wanted)
    assert tuple(state.picture(min(wanted)).image_size) == (256, 144)
    assert background.current("search") is None
    asked = len(server.asked)
    state.close()
    bpy.ops.objaverse.search()
    assert len(server.asked) == asked


def test_a_click_imports_the_object(bpy: Any, search: Any, cache: Path, server: Server):
    records = fill(cache, server)
    uid = records[5]["uid"]
    target = cache / f"hf-objaverse-v1/glbs/000-005/{uid}.glb"
    target.parent.mkdir(parents=True)
    subprocess.run([sys.executable, ROOT / "examples/make_sample.py", target], check=True)
    search.text = ""
    bpy.ops.objaverse.search()
    assert bpy.ops.objaverse.import_found(uid=uid) == {"FINISHED"}
    settings = bpy.context.scene.objaverse
    assert settings.source == uid
    assert settings.asset is not None


def test_an_object_that_cannot_be_had_is_an_error(
    bpy: Any, search: Any, cache: Path, server: Server
):
    fill(cache, server)
    search.text = ""
    bpy.ops.objaverse.search()
    with pytest.raises(RuntimeError, match="not on this machine"):
        bpy.ops.objaverse.import_found(uid="f" * 32)


def test_the_tooltip_names_author_and_license(
    bpy: Any, search: Any, cache: Path, server: Server
):
    from types import SimpleNamespace

    from objaverse_render_addon.ui.search.operators import OBJAVERSE_OT_import_found

    records = fill(cache, server)
    search.text = ""
    bpy.ops.objaverse.search()
    entry = found(bpy)[0]
    record = next(r for r in records if r["uid"] == entry.uid)
    said = OBJAVERSE_OT_import_found.description(None, SimpleNamespace(uid=entry.uid))
    for part in (record["name"], record["user"]["displayName"], "Creative Commons", entry.uid):
        assert part in said


def test_cancelling_and_closing_end_the_threads(
    bpy: Any, search: Any, cache: Path, server: Server
):
    import threading

    from objaverse_render_addon.ui.search import state

    fill(cache, server)
    search.text = "chair"
    bpy.ops.objaverse.search()
    bpy.ops.objaverse.cancel_search()
    state.close()
    names = [thread.name for thread in threading.enumerate()]
    assert [name for name in names if name.startswith("objaverse-")] == []


@pytest.mark.usefixtures("search")
def test_what_was_found_is_rendered_with_its_license_and_author(
    bpy: Any, cache: Path, server: Server, tmp_path: Path
):
    from objaverse_render_addon.dataset.reader import AssetReader
    from objaverse_render_addon.dataset.storage import find_assets

    records = fill(cache, server)
    record = next(r for r in records if r["license"] == "by")
    path = cache / f"hf-objaverse-v1/glbs/000-005/{record['uid']}.glb"
    path.parent.mkdir(parents=True)
    subprocess.run([sys.executable, ROOT / "examples/make_sample.py", path], check=True)
    bpy.ops.objaverse.search()
    bpy.ops.objaverse.import_found(uid=record["uid"])
    settings = bpy.context.scene.objaverse
    settings.pattern, settings.views, settings.samples = "fibonacci", 1, 1
    settings.resolution_x = settings.resolution_y = 32
    settings.denoise, settings.output_dir = False, str(tmp_path / "out")
    bpy.ops.objaverse.render_asset()
    (asset,) = find_assets(tmp_path / "out")
    with AssetReader(asset) as reader:
        assert reader.metadata["license"] == "by"
        assert reader.metadata["metadata"]["author"] == record["user"]["displayName"]
        assert reader.metadata["file_identifier"].endswith(record["uid"])
