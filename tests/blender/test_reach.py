"""Strangers' files reach nothing but themselves; one's own work as before."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.assets.reach import Reach
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.errors import MissingParts

from . import hostile, scenes

QUICK = {"cameras.views": 1, "pixels.resolution": [16, 16], "engine.samples": 1,
         "engine.denoise": False, "pixels.passes": ["rgb", "depth"]}  # fmt: skip


def blend(path: Path, fill: Callable[[], None], relative: bool = False) -> Path:
    import bpy

    with scenes.new_blend(path):
        fill()
    if relative:
        bpy.ops.file.make_paths_relative()
        bpy.ops.wm.save_mainfile()
    return path


def with_image(name: str, **settings: Any) -> Callable[[], None]:
    def fill() -> None:
        import bpy

        material, tree, _ = scenes.new_material()
        node = tree.nodes.new("ShaderNodeTexImage")
        node.image = bpy.data.images.new("Image", 8, 8)
        node.image.source = "FILE"
        node.image.filepath = name
        for key, value in settings.items():
            setattr(node.image, key, value)
        shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
        tree.links.new(node.outputs[0], shader.inputs["Base Color"])
        output = next(item for item in tree.nodes if item.type == "OUTPUT_MATERIAL")
        tree.links.new(shader.outputs[0], output.inputs[0])
        scenes.add_cube(material=material)

    return fill


def with_nodes(kind: str, name: str, computed: bool = False) -> Callable[[], None]:
    def fill() -> None:
        import bpy

        obj = scenes.add_cube()
        group = bpy.data.node_groups.new("Group", "GeometryNodeTree")
        group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
        node = group.nodes.new(f"GeometryNodeImport{kind}")
        path = next(item for item in node.inputs if item.bl_idname.startswith("NodeSocketString"))
        path.default_value = name
        if computed:
            text = group.nodes.new("FunctionNodeInputString")
            text.string = name
            group.links.new(text.outputs[0], path)
        result = node.outputs[0]
        if kind == "Text":
            curves = group.nodes.new("GeometryNodeStringToCurves")
            group.links.new(result, curves.inputs["String"])
            result = curves.outputs[0]
            filled = group.nodes.new("GeometryNodeFillCurve")
            group.links.new(result, filled.inputs[0])
            result = filled.outputs[0]
        real = group.nodes.new("GeometryNodeRealizeInstances")
        group.links.new(result, real.inputs[0])
        cube = group.nodes.new("GeometryNodeMeshCube")
        both = group.nodes.new("GeometryNodeJoinGeometry")
        group.links.new(real.outputs[0], both.inputs[0])
        group.links.new(cube.outputs[0], both.inputs[0])
        out = group.nodes.new("NodeGroupOutput")
        group.links.new(both.outputs[0], out.inputs[0])
        obj.modifiers.new("Nodes", "NODES").node_group = group

    return fill


def make_own(root: Path) -> dict[str, Path]:
    """Files that have their parts where they belong."""
    cases: dict[str, Path] = {}
    for folder in ("models", "textures"):
        (root / folder / "textures").mkdir(parents=True)
    models = root / "models"
    hostile.picture(models / "beside tex.png")
    hostile.picture(models / "textures" / "below.png")
    hostile.picture(root / "textures" / "above.png")
    for name, texture in {
        "beside": "beside tex.png", "below": "textures/below.png", "above": "../textures/above.png"
    }.items():  # fmt: skip
        uri = texture.replace(" ", "%20")
        cases[f"gltf-{name}"] = hostile.write_gltf(models / f"gltf-{name}.gltf", image=uri)
        cases[f"obj-{name}"] = hostile.write_obj(
            models / f"obj-{name}.obj", f"obj-{name}.mtl", f"map_Kd {texture}"
        )
        cases[f"usd-{name}"] = models / f"usd-{name}.usda"
        cases[f"usd-{name}"].write_text(hostile.usd_text(f"./{texture}"))
        cases[f"blend-{name}"] = blend(
            models / f"blend-{name}.blend", with_image(f"//{texture}")
        )
    cases["usdz"] = hostile.write_usdz(
        models / "usdz.usdz", hostile.usd_text("tex.png"),
        **{"tex.png": (models / "beside tex.png").read_bytes()},
    )  # fmt: skip
    # The author's own machine in it, and the texture beside.
    cases["obj-found"] = hostile.write_obj(
        models / "obj-found.obj", "obj-found.mtl", r"map_Kd C:\Users\somebody\beside tex.png"
    )
    cases["fbx-found"] = hostile.write_fbx(
        models / "fbx-found.fbx", "../nowhere/beside tex.png", "/home/somebody/beside tex.png"
    )
    return cases


@pytest.mark.core
def test_what_lies_where_it_belongs_is_rendered_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from objaverse_render_addon.blender import stage
    from objaverse_render_addon.blender.session import Session

    cases = make_own(tmp_path / "repository")
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    class Open:
        """A gate that stands open: the importers as they are."""

        warnings: list[str] = []  # noqa: RUF012

        def __init__(self, path: Path, *_: object) -> None:
            self.path = path.resolve()

        def __enter__(self) -> Path:
            return self.path

        def origin(self, name: str) -> str:
            return name

        def __exit__(self, *_: object) -> None:
            pass

    def shot(path: Path) -> tuple[Any, Any, Any, list[str]]:
        job = scenes.make_job(QUICK)
        session = Session(
            path, "asset", job, scratch, folders=[str(tmp_path / "repository")]
        )
        (frame,) = scenes.frames_of(session)
        scratch.mkdir(exist_ok=True)
        return frame.passes["rgb"], frame.passes["depth"], session.asset.record, session.warnings

    for name, path in cases.items():
        rgb, depth, record, warnings = shot(path)
        assert not any("missing" in text for text in warnings), (name, warnings)
        seen = rgb.astype(int)[rgb[..., 3] > 250]
        assert (seen[:, 0] - seen[:, 1]).mean() > 100, name
        with monkeypatch.context() as patched:
            patched.setattr(stage, "Gate", Open)
            plain = shot(path)
        assert np.array_equal(rgb, plain[0]) and np.array_equal(depth, plain[1]), name
        assert record == plain[2], name


@pytest.mark.core
def test_the_user_decides_about_what_lies_outside(tmp_path: Path) -> None:
    folder, other = tmp_path / "models", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    image = hostile.picture(other / "wood.png")
    sources = [
        scenes.write_glb(folder / "glb.glb", change=hostile.textured("../other/wood.png")),
        hostile.write_obj(folder / "obj.obj", "obj.mtl", f"map_Kd {image}"),
        blend(folder / "blend.blend", with_image(str(image))),
    ]
    job = scenes.make_job(QUICK)
    report = render(sources, job, tmp_path / "a", RunOptions.of(allow_outside=[other]))
    for result in report.results:
        assert result.status == "done" and not result.warnings, result
    report = render(sources, job.with_values({"asset.missing_parts": "fail"}), tmp_path / "b")
    for result in report.results:
        assert isinstance(result.error, MissingParts), result
        assert "wood.png" in result.error.message and "--allow-outside" in result.error.hint


@pytest.mark.core
def test_a_worker_is_told_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    from objaverse_render_addon.worker.process import WorkerProcess, harmless

    secrets = {
        "HF_TOKEN": "a", "AWS_SECRET_ACCESS_KEY": "b", "NVIDIA_API_KEY": "c", "ANYTHING": "d",
        "PYTHON_PASSWORD": "e",
    }  # fmt: skip
    needed = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
    for name, value in {**secrets, **needed}.items():
        monkeypatch.setenv(name, value)
    assert needed.keys() <= harmless(os.environ).keys()
    worker = WorkerProcess()
    try:
        if Path("/proc").is_dir():
            data = Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")
            names = {item.partition(b"=")[0].decode() for item in data}
            assert not names & secrets.keys() and needed.keys() <= names
    finally:
        worker.kill()




@pytest.mark.core
def test_the_window_lets_read_what_its_scene_uses_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bpy

    from objaverse_render_addon.blender.reach import places_in_use

    home = tmp_path / "home"
    folders = {name: tmp_path / name for name in ("textures", "caches", "parts", "unused")}
    for folder in (home, *folders.values()):
        folder.mkdir()
    monkeypatch.setattr(Path, "home", lambda: home)
    hostile.picture(home / "wood.png")
    hostile.picture(folders["textures"] / "stone.png")
    (folders["caches"] / "wave.pc2").write_bytes(b"POINTCACHE2\0")
    scenes.write_obj(folders["parts"] / "part.obj", scenes.CUBE_VERTICES, scenes.CUBE_FACES)

    def fill() -> None:
        for name in (home / "wood.png", folders["textures"] / "stone.png"):
            with_image(str(name))()
        modifier = bpy.data.objects[0].modifiers.new("Cache", "MESH_CACHE")
        modifier.filepath = str(folders["caches"] / "wave.pc2")
        if hasattr(bpy.types, "GeometryNodeImportOBJ"):
            with_nodes("OBJ", str(folders["parts"] / "part.obj"))()

    blend(tmp_path / "unused" / "scene.blend", fill)
    wanted = {str(home / "wood.png"), str(folders["textures"]), str(folders["caches"])}
    if hasattr(bpy.types, "GeometryNodeImportOBJ"):
        wanted.add(str(folders["parts"]))
    assert set(places_in_use()) == wanted
    # A worker that is allowed these reads them all, and a file beside the one in the home not.
    (home / "secret.png").write_bytes((home / "wood.png").read_bytes())
    with_image(str(home / "secret.png"))()
    reach = Reach.of(tmp_path / "other" / "copy.blend", places_in_use())
    assert reach.resolve(str(home / "wood.png"), tmp_path).path == home / "wood.png"
    reach = Reach.of(tmp_path / "other" / "copy.blend", wanted)
    assert reach.resolve(str(home / "secret.png"), tmp_path).refused
