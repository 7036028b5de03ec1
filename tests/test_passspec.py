"""The registry of passes is the only place that describes one, and everybody derives from it."""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from analytic import Sphere, camera_at, frame_of, write_asset
from jobs import written
from one_more_pass import ROOT, copy_with_one_more, run_on

from objaverse_render_addon.dataset.coloring import COLORINGS, legend_of
from objaverse_render_addon.dataset.metadata import view_record
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import TruncatedFile
from objaverse_render_addon.frame import Frame, FrameKey
from objaverse_render_addon.job import CameraRules, RenderJob
from objaverse_render_addon.passspec import (
    DEFAULT_PASSES,
    MARKERS,
    PASS_NAMES,
    PASSES,
    Pass,
    layers_for,
)

PACKAGE = ROOT / "objaverse_render_addon"

# --- The entries ----------------------------------------------------------------------------


@pytest.mark.parametrize("spec", PASSES.values(), ids=lambda spec: spec.name)
def test_an_entry_is_whole(spec: Pass):
    assert spec.coloring in COLORINGS
    assert spec.limits[0] <= spec.limits[1]
    assert len(spec.channel_names) in (0, spec.channels)
    assert len(legend_of(spec, None)["bars"]) in (0, spec.channels)
    assert spec.label and spec.tip and not spec.tip.endswith(".")
    assert np.dtype(spec.dtype).kind in ("u" if spec.values != "continuous" else "uf")
    if not spec.is_picture:
        assert len(spec.letters) == spec.channels
        assert spec.layers
        # The mask's own invalid value is what says that there is no object.
        low, high = spec.limits
        assert spec.values != "binary" or (spec.invalid, low, high) == (0, 1, 1)
    assert not spec.marks_object or spec.values != "continuous" or math.isfinite(spec.limits[0])


def test_no_two_entries_meet_in_a_file():
    for found in (
        [spec.record_key for spec in PASSES.values()],
        [spec.tab for spec in PASSES.values()],
        [channel for spec in PASSES.values() for channel in spec.exr_channels],
    ):
        assert len(found) == len(set(found))
    assert [spec.name for spec in PASSES.values() if spec.is_png] == ["rgb"]


def test_the_checks_have_what_they_need():
    assert {spec.name for spec in PASSES.values() if spec.always} == {"depth", "normal", "mask"}
    assert [layer.name for layer in layers_for(())] == ["depth", "normal"]
    assert {layer.name for layer in layers_for(PASS_NAMES)} == {
        "depth", "normal", "normal_geometric", "albedo", "roughness_metallic", "position",
        "object_index", "uv", "material_index", "instance_place", "surface_number",
    }  # fmt: skip
    assert DEFAULT_PASSES == ("rgb", "depth", "normal", "mask")
    assert MARKERS == ("mask", "depth", "distance", "object_index", "instance_index", "normal")


def test_a_pass_means_what_the_settings_make_of_it():
    class Settings:
        normal_space, opaque, radial = "world", True, False

    class AllAround(Settings):
        radial = True

    assert PASSES["rgb"].under(Settings()).shape == "(H, W, 3)"
    assert PASSES["normal"].under(Settings()).space == "world"
    assert PASSES["depth"].under(Settings()) is PASSES["depth"]
    assert "along the ray" in PASSES["depth"].under(AllAround()).about
    assert PASSES["rgb"].channel_counts() == {3, 4}
    assert PASSES["normal"].channel_counts() == {3}


def test_the_schema_and_the_page_are_those_of_the_passes():
    tool = [sys.executable, ROOT / "tools/describe_passes.py", "--check"]
    done = subprocess.run(tool, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# --- Once -----------------------------------------------------------------------------------

# Modules that use passes by what they mean. A new one is fine where it does, too: a check of the
# depth, a format that wants normals. What only says what a pass *is* belongs into its entry.
BY_MEANING = {
    "blender.numbering": "instance_index material_index object_index semantic_index",
    "blender.renderer": "depth mask rgb rgb_linear",
    "blender.shader_values": "albedo roughness_metallic",
    "blender.surface_normals": "normal_geometric",
    "blender.surfaces": "albedo",
    "checks": "depth distance normal position rgb rgb_linear",
    "cli.turntable": "rgb",
    "dataset.album": "mask",
    "dataset.export.base": "rgb",
    "dataset.export.bop": "depth mask rgb",
    "dataset.export.bop_scenes": "depth instance_index mask rgb",
    "dataset.export.refspatial": "instance_index mask",
    "dataset.export.coco": "mask rgb",
    "dataset.export.colmap": "depth distance mask normal position rgb",
    "dataset.export.depthsplat": "depth mask rgb",
    "dataset.export.flow": "flow_backward flow_forward occlusion_backward occlusion_forward rgb",
    "dataset.export.g_objaverse": "albedo depth normal rgb roughness_metallic",
    "dataset.export.gs_lrm": "rgb",
    "dataset.export.hdf5": "depth distance mask normal object_index rgb",
    "dataset.export.instantmesh": "depth mask normal rgb",
    "dataset.export.kubric": "depth distance mask normal object_index rgb",
    "dataset.export.lgm": "rgb",
    "dataset.export.mesh": "depth",
    "dataset.export.nerf_synthetic": "mask normal rgb",
    "dataset.export.nerfstudio": "depth mask rgb",
    "dataset.export.openlrm": "rgb",
    "dataset.export.scene": "depth normal position rgb",
    "dataset.export.surface": "depth distance mask normal position rgb",
    "dataset.export.syncdreamer": "rgb",
    "dataset.export.tracks": "rgb",
    "dataset.export.trellis": "depth mask rgb",
    "dataset.export.tum": "depth rgb",
    "dataset.export.visionsim": (
        "depth flow_backward flow_forward mask normal object_index rgb"
    ),
    "dataset.export.webdataset": "mask normal rgb",
    "dataset.export.zero123": "rgb",
    "dataset.export.wonder3d": "mask normal rgb",
    "dataset.export.zero123plus": "rgb",
    "dataset.gallery.asset": "depth object_index rgb",
    "dataset.layout": "rgb",
    "dataset.previews": "rgb",
    "dataset.point_cloud": "depth distance mask normal position rgb",
    "dataset.stats": "depth distance flow_forward occlusion_forward",
    "dataset.torch": "rgb",
    "dataset.turntable": "rgb",
    "dataset.verify": "depth distance mask normal object_index position rgb rgb_linear "
    "sensor_depth",
    "job.rules.pixels": "depth sensor_depth",
    "sensing": "sensor_depth",
    "usefulness": "mask",
    "dataset.agreement": "depth flow_backward flow_forward instance_index mask object_index "
    "position scene_flow",
    "frame": "depth normal object_index position",
    "batch.objects": "albedo depth mask",
    "blender.raster": "depth distance flow_backward flow_forward mask normal normal_geometric "
    "object_index position rgb scene_flow",
    "blender.index_drawing": "position",
    "blender.playing": "depth rgb",
    "cli.flags": "depth sensor_depth",
    "cli.compose": "albedo depth instance_index mask normal rgb semantic_index",
    "compose.expressions": "depth instance_index",
    "compose.facts": "albedo depth instance_index rgb",
    "compose.objects.judging": "albedo mask",
    "compose.proving": "albedo depth instance_index rgb",
    "compose.reader.check": "albedo depth instance_index rgb",
    "compose.reader.ground": "depth instance_index",
    "compose.reader.sight": "albedo depth instance_index normal rgb",
    "compose.seen": "albedo instance_index rgb",
    "dataset.export.coco_panoptic": "instance_index",
    "dataset.export.composed": "instance_index mask rgb",
    "dataset.export.refgrasp": "depth instance_index mask rgb",
    "dataset.gallery.sentences": "depth instance_index mask",
    "environments.spaces": "depth rgb",
    "live.backends.served": "depth rgb",
    "live.convert": "rgb",
    "batch.stages": "depth mask",
    "live.env.rows": "depth",
    "live.env.single": "depth",
    "live.env.vector": "depth",
    "live.served_environments": "depth",
    "live.env.watching": "depth rgb",
    "live.truths": "depth object_index",
    "live.backends.program": "depth rgb",
    "live.frames": "rgb",
    "worker.handlers": "rgb",
    "job": "rgb_linear sensor_depth",
    "job.recipes": "albedo depth mask normal position rgb roughness_metallic",
    "ui.panels.job": "semantic_index sensor_depth",
    "ui.compose.settings": "albedo depth instance_index mask normal rgb semantic_index",
    "ui.operators.dataset": "rgb",
    "ui.viewport.results": "rgb",
    "dataset.export.co3d": "depth mask rgb",
    "dataset.export.huggingface": "depth mask normal rgb",
    "dataset.export.mds": "depth mask normal rgb",
    "dataset.export.rerun": "depth mask rgb",
    "dataset.export.yolo": "mask rgb",
    "dataset.shape_files": "albedo depth rgb",
    "witness.held": "depth",
    "blender.refining": "albedo normal rgb rgb_linear",
    "cli.view": "depth mask normal rgb",
    "live.backends": "depth rgb",
    "live.backends.field": "depth mask rgb",
    "live.backends.scene": "depth rgb",
    "live.backends.stored": "depth distance mask normal position rgb",
    "live.page.pictures": "rgb",
    "splats.pictures": "depth mask rgb",
    "ui.viewport.live_view": "depth mask normal rgb",
}
# The same words for other things: a field of a file, a mesh attribute, a socket, a colour.
OTHER_THINGS = {
    "assets.repair.stl": "normal",
    "blender.backfaces": "material_index position",
    "blender.composing": "material_index position rgb",
    "compose.facts": "distance",
    "compose.light": "position",
    "compose.record": "normal rgb",
    "compose.things": "rgb",
    "environments.push": "distance",
    "blender.building": "material_index uv",
    "blender.materials": "material_index uv",
    "blender.texturing": "normal uv",
    "compose.places": "mask",
    "ui.compose.shown": "rgb",
    "compose.reader.check": "mask",
    "blender.measuring": "position",
    "blender.realizing": "material_index position",
    "blender.things": "position",
    "dataset.coloring": "mask",
}


def _named(path: Path) -> Iterator[str]:
    """Pass names that are whole strings of a module; of its docstrings none is."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and node.value in PASSES:
            yield str(node.value)


def test_no_module_describes_a_pass_again():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "presets" in path.parts:
            continue  # The recipes once more, see tools/write_presets.py.
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        module = module.removesuffix(".__init__")
        known = set(f"{BY_MEANING.get(module, '')} {OTHER_THINGS.get(module, '')}".split())
        # The other way round a list that is longer than what is there would hide the next one.
        if module != "passspec" and (differs := set(_named(path)) ^ known):
            found[module] = differs
    assert found == {}, "describe passes in passspec.py; list here what uses one by its meaning"


def test_the_gallerys_page_names_no_pass():
    for path in sorted((PACKAGE / "dataset/gallery/page").glob("*.js")):
        text = path.read_text(encoding="utf-8")
        named = {name for name in PASSES if re.search(rf"""["'`]{name}["'`]|\b{name}:""", text)}
        # Where a camera is, and a kind of legend.
        known = {"facts.js": {"position"}, "pictures.js": {"mask"}, "rig.js": {"position"}}
        assert named <= known.get(path.name, set()), path.name


# --- One more -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_with_one_more(tmp_path_factory.mktemp("one-more"))


@pytest.fixture(scope="module")
def its_dataset(one_more: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    assert run_on(one_more, "dataset", folder).strip().endswith("fine")
    return folder


def test_one_more_entry_reaches_files_readers_pictures_and_exports(its_dataset: Path):
    assert (its_dataset / "sheet.png").is_file()


def test_one_more_entry_reaches_tensors(one_more: Path, its_dataset: Path):
    pytest.importorskip("torch")
    assert run_on(one_more, "tensors", its_dataset).strip().endswith("fine")


@pytest.mark.core
def test_one_more_entry_is_rendered_and_in_the_panel(one_more: Path, tmp_path: Path):
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("rendering needs bpy")
    assert run_on(one_more, "blender", tmp_path).strip().endswith("fine")


# --- View and time --------------------------------------------------------------------------


def test_a_frame_is_named_by_its_view_and_by_its_time_where_there_are_several():
    assert [FrameKey(3).stem, FrameKey(1234).stem] == ["003", "1234"]
    assert [FrameKey(3, 42).stem, FrameKey(3, -5).stem] == ["003_0042", "003_-005"]
    assert [FrameKey(3, 0).stem, FrameKey(3, 12345).stem] == ["003_0000", "003_12345"]
    assert FrameKey(3).stream("noise") == "noise"
    assert FrameKey(3, 1).stream("noise") != FrameKey(3, 2).stream("noise")


@pytest.mark.parametrize("geometry", ["npy", "npz", "exr"])
def test_views_at_several_times_stand_beside_each_other(tmp_path: Path, geometry: str):
    def marked_by_time(frames: list[Frame], _: dict[str, Any]) -> None:
        for frame in frames:
            frame.passes["mask"][0, 0] = frame.time

    output = written(
        resolution=(24, 20), layout="folder", passes=("rgb", "mask"), geometry=geometry
    )
    job = RenderJob(cameras=CameraRules(pattern="ring", views=2), **output)
    path = write_asset(tmp_path, job, change=marked_by_time, times=(1, 42))
    keys = [FrameKey(view, time) for view in (0, 1) for time in (1, 42)]
    suffix = ".exr" if geometry == "exr" else f"_mask.{geometry}"
    files = {f"{key.stem}{end}" for key in keys for end in (".png", suffix)}
    assert {file.name for file in path.iterdir()} == {"metadata.json", *files}
    with AssetReader(path) as reader:
        assert [reader.key(place) for place in range(4)] == keys
        assert [reader.view(place).index for place in range(4)] == [0, 0, 1, 1]
        assert [reader.read(place)["mask"][0, 0] for place in range(4)] == [1, 42, 1, 42]
        schema = json.loads((PACKAGE / "dataset/metadata.schema.json").read_text(encoding="utf-8"))
        view = {"$ref": "#/$defs/view", "$defs": schema["$defs"]}
        for record in reader.views:
            jsonschema.Draft202012Validator(view).validate(record)
        reader.views[0]["time"] = 1.5
        with pytest.raises(TruncatedFile, match=r"the time 1\.5"):
            reader.key(0)


def test_a_single_time_is_said_nowhere():
    frame = frame_of(Sphere(), camera_at())
    assert frame.key == FrameKey(0)
    assert "time" not in view_record(frame, RenderJob())
    assert view_record(frame, RenderJob())["depth"] == "000_depth.npy"
