"""The panel with a server in the preferences: renders and the live view are its workers'."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon import live
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.live.server import Server

from . import scenes
from .test_addon import NAME, bpy, enabled, panel  # noqa: F401  (fixtures)
from .test_live_view import at_rest

SIZE = (48, 32)


@pytest.fixture(scope="module")
def pool() -> Iterator[live.Pool]:
    with live.start(1, device="cpu") as made:
        yield made


@pytest.fixture
def secret(bpy: Any, pool: live.Pool, tmp_path: Path) -> Iterator[str]:  # noqa: F811
    """A server that the preferences name; its key's secret part."""
    with Server(
        pool, ["tcp://127.0.0.1:0"], clients=["panel"], roots=[tmp_path / "nothing"],
        keys=tmp_path / "keys", private=tmp_path / "own.sock",
    ) as server:  # fmt: skip
        own = bpy.context.preferences.addons[NAME].preferences
        _, own.server, own.server_key = server.keys[-1]
        yield own.server_key.partition(":")[2]
        own.server = own.server_key = ""


def textured(bpy: Any, path: Path) -> Any:  # noqa: F811
    """A box whose colour is a picture that lies beside it."""
    image = bpy.data.images.new("red", 4, 4)
    image.pixels.foreach_set(np.tile(np.float32([1, 0, 0, 1]), 16))
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)
    image = bpy.data.images.load(str(path))
    material = bpy.data.materials.new("red")
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    tree = material.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    shader = next(one for one in tree.nodes if one.type == "BSDF_PRINCIPLED")
    tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    for obj in bpy.context.scene.objaverse.asset.all_objects:
        if obj.type == "MESH":
            obj.data.materials.clear()
            obj.data.materials.append(material)
    return image


def test_a_render_is_the_servers_and_the_same(
    bpy: Any, panel: Any, pool: live.Pool, secret: str, tmp_path: Path  # noqa: F811
) -> None:
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "box.glb")))
    image = textured(bpy, tmp_path / "red.png")
    own = bpy.context.preferences.addons[NAME].preferences
    address = own.server
    renders = {}
    for name, where in (("here", ""), ("there", address)):
        own.server = where
        panel.output_dir = str(tmp_path / name)
        assert bpy.ops.objaverse.render_asset() == {"FINISHED"}
        if where:
            assert pool.status()["workers"][0]["started"], "a worker of the server had it"
            assert not pool.status()["workers"][0]["busy"]
        with AssetReader(tmp_path / name / "box.zip") as asset:
            renders[name] = [asset.read(index, ["rgb", "depth"]) for index in range(2)]
    for here, there in zip(renders["here"], renders["there"], strict=True):
        for name, array in here.items():
            assert np.array_equal(array, there[name]), name
    red = renders["there"][0]["rgb"][renders["there"][0]["depth"] > 0]
    assert red[:, 0].mean() > 3 * red[:, 1].mean(), "its picture came along"
    assert not image.packed_file and image.filepath == str(tmp_path / "red.png")
    bpy.ops.objaverse.save_job(filepath=str(tmp_path / "job.toml"))
    for file in (tmp_path / "there").rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file
    assert secret not in (tmp_path / "job.toml").read_text()
    assert address not in (tmp_path / "job.toml").read_text()


def test_the_live_view_is_the_servers(
    bpy: Any, panel: Any, pool: live.Pool, secret: str, tmp_path: Path  # noqa: F811
) -> None:
    from objaverse_render_addon.ui.viewport import live_view

    panel.samples = 4
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "box.glb")))
    assert bpy.ops.objaverse.live_view() == {"FINISHED"}
    try:
        first, longest = at_rest(live_view, 0, samples=4)
        assert [scene["owner"] for scene in pool.status()["scenes"]] == ["panel"]
        assert longest < 0.5 and first.drawn.image.shape == (*SIZE[::-1], 3)
        panel.current_view = 1
        second, _ = at_rest(live_view, 1, samples=4)
        assert not np.array_equal(first.drawn.image, second.drawn.image)
        panel.samples = 2
        assert at_rest(live_view, 1, samples=2)[0].samples == 2
        assert secret not in live_view.shown().said
    finally:
        live_view.stop()


def test_a_server_that_is_not_there_is_said(
    bpy: Any, panel: Any, secret: str, tmp_path: Path  # noqa: F811
) -> None:
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "box.glb")))
    panel.output_dir = str(tmp_path / "out")
    bpy.context.preferences.addons[NAME].preferences.server_key = "panel:" + "0" * 64
    with pytest.raises(RuntimeError, match="does not take this key") as caught:
        bpy.ops.objaverse.render_asset()
    assert secret not in str(caught.value)
    bpy.context.preferences.addons[NAME].preferences.server = "tcp://127.0.0.1:1"
    with pytest.raises(RuntimeError, match="Nobody answers"):
        bpy.ops.objaverse.render_asset()
