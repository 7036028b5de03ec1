"""Strangers' files reach nothing but themselves; one's own work as before."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.assets.reach import Reach
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.dataset.reader import AssetReader
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


def with_library(path: Path) -> Callable[[], None]:
    def fill() -> None:
        import bpy

        scenes.add_cube()
        with bpy.data.libraries.load(str(path), link=True) as (there, wanted):
            wanted.objects = list(there.objects)
        for obj in wanted.objects:
            bpy.context.scene.collection.objects.link(obj)

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


def with_fluid(folder: Path) -> Callable[[], None]:
    def fill() -> None:
        scenes.add_cube()
        obj = scenes.add_cube(2.0)
        modifier = obj.modifiers.new("Fluid", "FLUID")
        modifier.fluid_type = "DOMAIN"
        modifier.domain_settings.cache_directory = str(folder)

    return fill


def with_reader(kind: str, name: str) -> Callable[[], None]:
    """Other things that read files: light, volumes, a mesh's cache."""

    def fill() -> None:
        import bpy

        obj = scenes.add_cube()
        scene = bpy.context.scene
        if kind == "ies":
            material, tree, _ = scenes.new_material()
            node = tree.nodes.new("ShaderNodeTexIES")
            node.mode, node.filepath = "EXTERNAL", name
            obj.data.materials.append(material)
        elif kind == "volume":
            volume = bpy.data.volumes.new("Volume")
            volume.filepath = name
            scene.collection.objects.link(bpy.data.objects.new("Volume", volume))
        elif kind == "cache":
            modifier = obj.modifiers.new("Cache", "MESH_CACHE")
            modifier.filepath = name

    return fill


def make_hostile(inside: Path, outside: Path, server: str) -> dict[str, Path]:
    """Case to its file; everything that they want is in ``outside``."""
    import bpy

    from objaverse_render_addon.blender.compat import call_operator

    image = hostile.picture(outside / "secret.png")
    _, buffer = scenes.glb_document(scenes.CUBE_VERTICES * 3, scenes.CUBE_FACES)
    (outside / "secret.bin").write_bytes(buffer)
    (outside / "secret.mtl").write_text(f"newmtl m\nKd 1 0 1\nKe 1 0 1\nmap_Kd {image}\n")
    (outside / "secret.usda").write_text(hostile.usd_text())
    (outside / "secret.txt").write_text("root:x:0:0")
    scenes.write_obj(outside / "secret.obj", scenes.CUBE_VERTICES * 3, scenes.CUBE_FACES)
    os.mkfifo(outside / "fifo")
    blend(outside / "secret.blend", lambda: scenes.add_cube(3.0))
    cases: dict[str, Path] = {}

    def case(name: str, extension: str) -> Path:
        folder = inside / name
        folder.mkdir()
        cases[name] = folder / f"{name}.{extension}"
        return cases[name]

    up = "../../outside"
    odd = "%2e%2e/%2e%2e/outside"
    hostile.environment_glb(case("glb-leak-environ", "glb"), "/proc/self/environ")
    path = case("gltf-leak-environ", "gltf")
    hostile.write_gltf(path, "/proc/self/environ")
    for name, uri in {
        "abs": str(outside / "secret.bin"), "dotdot": f"{up}/secret.bin",
        "pctdot": f"{odd}/secret.bin", "zero": "/dev/zero", "fifo": f"{up}/fifo",
        "file": f"file://{outside}/secret.bin", "http": f"http://{server}/secret.bin",
        "unc": r"\\server\share\secret.bin",
    }.items():  # fmt: skip
        hostile.write_gltf(case(f"gltf-buffer-{name}", "gltf"), uri)
    link = case("gltf-buffer-link", "gltf")
    hostile.write_gltf(link, "link.bin")
    (link.parent / "link.bin").symlink_to(outside / "secret.bin")
    for name, uri in {
        "abs": str(image), "dotdot": f"{up}/secret.png", "http": f"http://{server}/secret.png",
        "fifo": f"{up}/fifo",
    }.items():  # fmt: skip
        hostile.write_gltf(case(f"gltf-image-{name}", "gltf"), image=uri)
    scenes.write_glb(case("glb-secretimg", "glb"), change=hostile.textured(str(image)))
    for name, texture in {
        "abs": str(image), "dotdot": f"{up}/secret.png", "fifo": f"{up}/fifo",
        "options": f"-s 1 1 1 -o 0 0 {up}/secret.png",
    }.items():  # fmt: skip
        hostile.write_obj(
            path := case(f"obj-mapkd-{name}", "obj"), f"{path.stem}.mtl", f"map_Kd {texture}"
        )
    hostile.write_obj(case("obj-mtllib-dotdot", "obj"), f"{up}/secret.mtl")
    hostile.write_obj(case("obj-mtllib-continued", "obj"), f"\\\n {up}/secret.mtl")
    for name, where in {"abs": str(outside), "dotdot": up}.items():
        hostile_prim = f'def Xform "R" (references = @{where}/secret.usda@) {{}}'
        case(f"usd-ref-{name}", "usda").write_text(hostile.usd_text(prim=hostile_prim))
        case(f"usd-sub-{name}", "usda").write_text(
            hostile.usd_text(head=f"subLayers = [@{where}/secret.usda@]")
        )
        case(f"usd-tex-{name}", "usda").write_text(hostile.usd_text(f"{where}/secret.png"))
    hostile.write_usdz(case("usdz-texref", "usdz"), hostile.usd_text(str(image)))
    hostile.write_usdz(case("usdz-texout", "usdz"), hostile.usd_text(f"{up}/secret.png"))
    path = case("usd-deep", "usda")
    path.write_text(hostile.usd_text(prim='def Xform "R" (references = @./part.usda@) {}'))
    (path.parent / "part.usda").write_text(hostile.usd_text(str(image)))
    path = case("usdc-tex-abs", "usdc")
    with scenes.new_blend(path.with_suffix(".blend")):
        with_image(str(image))()
        call_operator(
            bpy.ops.wm.usd_export, filepath=str(path), relative_paths=False,
            export_textures=False, export_textures_mode="KEEP", convert_world_material=False,
        )  # fmt: skip
    hostile.write_dae(case("dae-image-abs", "dae"), str(image))
    hostile.write_dae(case("dae-image-file", "dae"), f"file://{image}")
    hostile.write_dae(
        case("dae-entity", "dae"), "&x;",
        f'<!DOCTYPE COLLADA [<!ENTITY x SYSTEM "file://{outside}/secret.txt">]>',
    )  # fmt: skip
    hostile.write_fbx(case("fbx-abs", "fbx"), f"{up}/secret.png", str(image))
    hostile.write_fbx(case("fbx-fifo", "fbx"), f"{up}/fifo", str(outside / "fifo"))
    blend(case("blend-image-abs", "blend"), with_image(str(image)))
    blend(case("blend-image-dotdot", "blend"), with_image(f"//{up}/secret.png"))
    blend(case("blend-image-fifo", "blend"), with_image(str(outside / "fifo")))
    blend(case("blend-lib-abs", "blend"), with_library(outside / "secret.blend"))
    blend(case("blend-lib-dotdot", "blend"), with_library(outside / "secret.blend"), relative=True)
    path = case("blend-lib-deep", "blend")
    blend(path.parent / "near.blend", with_library(outside / "secret.blend"))
    blend(path, with_library(path.parent / "near.blend"))
    blend(case("blend-sequence", "blend"), with_image(str(image), source="SEQUENCE"))
    for kind in ("ies", "volume", "cache"):
        blend(case(f"blend-{kind}", "blend"), with_reader(kind, str(outside / "secret.txt")))
    blend(case("blend-fluid", "blend"), with_fluid(outside / "written"))
    if hasattr(bpy.types, "GeometryNodeImportOBJ"):
        blend(
            case("blend-gn-import", "blend"), with_nodes("OBJ", str(outside / "secret.obj"))
        )
        blend(case("blend-gn-passwd", "blend"), with_nodes("Text", str(outside / "secret.txt")))
        blend(
            case("blend-gn-computed", "blend"),
            with_nodes("OBJ", str(outside / "secret.obj"), computed=True),
        )
    # What saving the files has made.
    shutil.rmtree(outside / "written", ignore_errors=True)
    return cases


# These end without a word of missing parts: nothing that renders is missing.
SILENT = {"blend-fluid"}
# These lack what nothing can be imported without.
FAILED = {"glb-leak-environ": "missing-parts", "dae-entity": "unsafe-data"}


@pytest.mark.core
def test_hostile_files_reach_nothing_and_their_neighbours_are_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    monkeypatch.setenv("HF_TOKEN", "the-secret-of-the-environment")
    with hostile.listening() as (server, heard):
        cases = make_hostile(inside, outside, server)
        good = inside / "good"
        good.mkdir()
        neighbours = [scenes.write_glb(good / f"good-{index}.glb") for index in range(3)]
        wild = dict(cases)
        sources = [*neighbours[:1], *wild.values(), *neighbours[1:]]
        took: dict[str, float] = {}
        last = time.monotonic()

        def ended(result: Any) -> None:
            nonlocal last
            took[result.asset_id] = time.monotonic() - last
            last = time.monotonic()

        before = sorted(path.name for path in outside.iterdir())
        with hostile.watched(outside) as opened:
            report = render(
                sources, scenes.make_job(QUICK), tmp_path / "out",
                RunOptions.of(workers=1, timeout=60), on_result=ended,
            )  # fmt: skip
    assert opened == []
    assert heard == []
    assert sorted(path.name for path in outside.iterdir()) == before
    by_name = {result.asset_id: result for result in report.results}
    for path in neighbours:
        assert by_name[path.stem].status == "done"
        assert by_name[path.stem].warnings == by_name["good-0"].warnings
    for name in wild:
        result = by_name[name]
        if result.status == "done":
            assert name not in FAILED and not name.startswith("gltf-buffer"), name
            said = [text for text in result.warnings if text.startswith("missing-parts: ")]
            assert len(said) == (name not in SILENT), (name, result.warnings)
            with AssetReader(tmp_path / "out" / f"{name}.zip") as asset:
                text = json.dumps(asset.metadata)
                assert "objaverse-render-" not in text, name
                rgb = asset.read(0)["rgb"].astype(int)
            # Magenta is the secret picture, and the secret material.
            assert (rgb[..., 0] - rgb[..., 1]).max() < 40, name
        else:
            expected = FAILED.get(name, "missing-parts")
            assert result.error is not None and result.error.reason == expected, (
                name, result.error
            )  # fmt: skip
            assert "objaverse-render-" not in str(result.error)
        assert took[name] < 10, (name, took[name])
    assert "the-secret" not in "".join(
        path.read_text(errors="replace") for path in (tmp_path / "out").rglob("*.json")
    )


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
