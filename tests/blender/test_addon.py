"""The add-on inside Blender: panel, operators, presets; and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import leaves

from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.job import PATTERNS, RECIPES, RenderJob, job_fields

from . import scenes
from .test_compositor import settings as plain_settings
from .test_compositor import snapshot

ROOT = Path(__file__).parents[2]
NAME = "objaverse_render_addon"
# Belongs to the machine: the preferences have it, and a job file does not change it.
MACHINE = {"engine.device", "engine.threads"}


def facts(collection: Any) -> dict[str, str]:
    """What the panel says of an imported asset."""
    from objaverse_render_addon.blender import user_scene

    return user_scene.facts(collection)


@pytest.fixture(scope="module")
def enabled() -> Iterator[Any]:
    import bpy  # noqa: F401, I001  (which brings the next one with it)
    import addon_utils

    module = addon_utils.enable(NAME, default_set=True, persistent=True)
    assert module is not None
    # Blender 4.2 crashes and 4.5 hangs where classes outlive the process's end.
    try:
        yield module
    finally:
        addon_utils.disable(NAME, default_set=True)


@pytest.fixture
def bpy(enabled: Any) -> Any:  # noqa: ARG001
    """Blender with the add-on, and an empty scene."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True)
    assert NAME in bpy.context.preferences.addons
    state = bpy.context.window_manager.objaverse
    for prop in state.bl_rna.properties:
        if prop.identifier not in ("rna_type", "name"):
            state.property_unset(prop.identifier)
    return bpy


@pytest.fixture
def panel(bpy: Any) -> Any:
    """The panel's settings, for quick renders."""
    settings = bpy.context.scene.objaverse
    settings.pattern, settings.views = "fibonacci", 2
    settings.resolution_x, settings.resolution_y = 48, 32
    settings.samples, settings.denoise = 1, False
    bpy.context.preferences.addons[NAME].preferences.device = "cpu"
    return settings


def meaning(job: RenderJob) -> dict[str, Any]:
    """What a job says, but for the machine."""
    fields = leaves(job.resolved().to_dict())
    return {name: value for name, value in fields.items() if name not in MACHINE}


# --- Registration -------------------------------------------------------------------------------

# In a process of its own, for what was imported before is not seen to be imported.
_TWICE = """
import json, sys
import bpy, addon_utils
sys.path.insert(0, {root!r})
bpy.ops.wm.read_homefile(use_empty=True)

def traces():
    ours = lambda names: sorted(n for n in names if 'objaverse' in n.lower())
    return {{
        'types': ours(dir(bpy.types)),
        'scene': ours(bpy.types.Scene.bl_rna.properties.keys()),
        'scene attributes': ours(dir(bpy.types.Scene)),
        'manager': ours(bpy.types.WindowManager.bl_rna.properties.keys()),
        'manager attributes': ours(dir(bpy.types.WindowManager)),
        'operators': dir(bpy.ops.objaverse),
        'addons': ours(bpy.context.preferences.addons.keys()),
        'presets': ours(bpy.utils.preset_paths('objaverse/render')),
        'handlers': {{
            name: [f.__module__ for f in getattr(bpy.app.handlers, name)
                   if 'objaverse' in f.__module__]
            for name in dir(bpy.app.handlers)
            if isinstance(getattr(bpy.app.handlers, name), list)
        }},
        'status bar': [f.__module__ for f in bpy.types.STATUSBAR_HT_header.draw._draw_funcs
                       if 'objaverse' in f.__module__]
                      if hasattr(bpy.types.STATUSBAR_HT_header.draw, '_draw_funcs') else [],
        'keys': [len(k.keymap_items) for k in bpy.context.window_manager.keyconfigs.addon.keymaps]
                if bpy.context.window_manager.keyconfigs.addon else [],
    }}

handles = []
for name in 'register_cli_command', 'unregister_cli_command':
    def wrap(inner=getattr(bpy.utils, name), name=name):
        def wrapper(*arguments):
            handles.append(name)
            return inner(*arguments)
        return wrapper
    setattr(bpy.utils, name, wrap())

before = traces()
loaded = set(sys.modules)
for _ in range(2):
    assert addon_utils.enable('objaverse_render_addon', default_set=True, persistent=True)
    during = traces()
    assert during != before and len(during['operators']) > 10, during
    from objaverse_render_addon.ui.viewport import overlay, preview
    assert len(overlay._handles) == 3
    preview._schedule()
    addon_utils.disable('objaverse_render_addon', default_set=True)
    assert not bpy.app.timers.is_registered(preview._refresh)
    assert overlay._handles == []
print('RESULT ' + json.dumps({{
    'before': before, 'after': traces(), 'handles': handles,
    'loaded': sorted({{m.split('.')[0] for m in set(sys.modules) - loaded}}),
}}))
"""


@pytest.mark.core
def test_enabling_and_disabling_twice_leaves_nothing_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TWICE.format(root=str(ROOT))],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    # 139 and a timeout are what a class that stays registered makes of Blender 4.2 and 4.5.
    assert done.returncode == 0, output
    assert "Traceback" not in output
    assert "Warning" not in output
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))
    assert result["after"] == result["before"]
    assert result["handles"] == ["register_cli_command", "unregister_cli_command"] * 2
    # Blender starts with every enabled add-on: what is needed for a render only waits until then.
    heavy = {"requests", "urllib3", "OpenEXR", "PIL", "tqdm", "trimesh", "collada", "gpu"}
    assert heavy & {*result["loaded"]} == set()


@pytest.mark.core
def test_everything_that_is_shown_is_described(bpy: Any) -> None:
    from objaverse_render_addon import operators
    from objaverse_render_addon.ui import preferences, properties, run_state

    groups = [properties.OBJAVERSE_PG_settings, run_state.OBJAVERSE_PG_state]
    groups += [preferences.OBJAVERSE_AP_preferences]
    classes = [cls for cls in operators._CLASSES if hasattr(cls, "bl_label")]
    for cls in groups:
        for prop in cls.bl_rna.properties:
            if prop.identifier in ("rna_type", "name", "bl_idname", "items", "active"):
                continue
            assert_text(f"{cls.__name__}.{prop.identifier}", prop.description)
            if prop.type == "ENUM":
                for item in prop.enum_items_static:
                    assert_text(f"{prop.identifier}.{item.identifier}", item.description)
    for cls in classes:
        rna = cls.bl_rna
        if issubclass(cls, bpy.types.Operator):
            rna = getattr(bpy.ops.objaverse, cls.bl_idname.partition(".")[2]).get_rna_type()
            assert_text(cls.__name__, rna.description)
            assert rna.name == rna.name.title(), rna.name
        for prop in rna.properties:
            if prop.is_hidden or prop.identifier in ("rna_type", "name") or prop.is_readonly:
                continue
            if issubclass(cls, bpy.types.Operator):
                assert_text(f"{cls.__name__}.{prop.identifier}", prop.description)


def assert_text(name: str, text: str) -> None:
    assert text, f"{name} has no description"
    assert not text.endswith((".", " ")), f"{name}: {text}"
    assert not text[0].islower(), f"{name}: {text}"


# --- Panel and job ------------------------------------------------------------------------------

EVERY_FIELD: dict[str, dict[str, Any]] = {
    "most": {
        "seed": 7,
        "asset.normalize": "sphere",
        "asset.frame": -12,
        "asset.missing_textures": "fail",
        "asset.missing_parts": "fail",
        "asset.uncolored": "random",
        "asset.witness": "off",
        "asset.up": "-Y",
        "asset.front": "X",
        "lighting.mode": "hdri",
        "lighting.hdri": "/images/sky.exr",
        "lighting.per_view": 3,
        "lighting.strength": 1.7,
        "lighting.background": [0.1, 0.25, 0.333],
        "cameras.pattern": "zero123",
        "cameras.views": 17,
        "cameras.projection": "orthographic",
        "cameras.ortho": 1.7,
        "cameras.test_views": 5,
        "cameras.test_cameras": "fibonacci",
        "cameras.radius": [1.25, 3.7],
        "cameras.elevation": [-12.5, 33.3],
        "cameras.fov": [31.7, 64.2],
        "cameras.framing": "resample",
        "cameras.turns": -2.2,
        "cameras.pixel_aspect": 1.3,
        "cameras.shift": [0.1, -0.2],
        "engine.engine": "eevee",
        "engine.samples": 33,
        "engine.denoise": False,
        "engine.alpha_threshold": 0.3,
        "pixels.resolution": [640, 480],
        "pixels.passes": ["distance", "rgb", "albedo", "semantic_index"],
        "pixels.classes": "table",
        "pixels.class_property": "kind",
        "pixels.class_table": "/classes.csv",
        "pixels.normal_space": "world",
        "pixels.sensor": "kinect-azure",
        "files.geometry": "exr",
        "files.layout": "folder",
        "files.geometry_files": ["voxels", "mesh"],
        "files.geometry_points": 5_000,
    },
    "north": {"cameras.pattern": "orbit", "cameras.only_northern_hemisphere": True},
    "poses": {"cameras.pattern": "file", "cameras.file": "/poses.json", "cameras.views": 3},
    "poses, all of them": {"cameras.pattern": "file", "cameras.file": "/poses.json"},
    "not normalised": {"asset.normalize": "none", "cameras.pattern": "hammersley"},
    "ring": {"cameras.pattern": "ring", "cameras.elevation": [-70, -70]},
    "faces": {"cameras.pattern": "cube-faces", "cameras.radius": [2, 9], "asset.frame": 0},
    "pairs": {"cameras.stereo": 0.2},
    "lights": {
        "lighting.mode": "file", "lighting.lights": "/lights.toml", "lighting.groups": True,
        "pixels.passes": ["rgb", "rgb_linear"],
    },
    "its own cameras": {
        "cameras.pattern": "scene", "cameras.scene_cameras": "Left, Right",
        "asset.normalize": "none",
    },
    "frames": {
        "time.frames": "1:48:2", "time.action": "Walk", "time.scale": 2.5, "time.shutter": 0.3,
        "time.views_per_frame": "one", "time.motion_blur": True, "time.still": "fail",
        "time.leaving": "fail", "cameras.pattern": "orbit", "pixels.tracks": 50, "files.rig": True,
    },
    "frames, of a few views": {"time.frames": "all", "cameras.pattern": "ring", "cameras.views": 3},
    "workbench": {"engine.engine": "workbench", "lighting.mode": "keep"},
    "far": {"cameras.radius": [0.0001, 1e6], "engine.alpha_threshold": 0.001},
}


def test_the_jobs_here_set_every_field_there_is() -> None:
    default = leaves(RenderJob().to_dict())
    changed = set()
    for values in EVERY_FIELD.values():
        job = leaves(RenderJob().with_values(values).to_dict())
        changed |= {name for name in default if job[name] != default[name]}
    assert changed == set(default) - MACHINE


@pytest.mark.core
@pytest.mark.parametrize("pattern", [name for name in PATTERNS if name != "file"])
def test_the_panel_begins_where_the_command_line_does(bpy: Any, pattern: str) -> None:
    from objaverse_render_addon.ui.job_mapping import from_job, to_job

    settings = bpy.context.scene.objaverse
    settings.normalize = PATTERNS[pattern].normalize
    settings.pattern = pattern
    job = RenderJob().with_values({"cameras.pattern": pattern})
    assert meaning(to_job(settings)) == meaning(job)
    # A dataset of one is a dataset of the other: it is skipped, not refused.
    assert to_job(settings).fingerprint() == job.fingerprint()
    from_job(settings, job)
    assert to_job(settings).fingerprint() == job.fingerprint()


@pytest.mark.core
@pytest.mark.parametrize("name", EVERY_FIELD)
def test_a_job_goes_through_panel_and_file_and_back(bpy: Any, name: str, tmp_path: Path) -> None:
    from objaverse_render_addon.ui.job_mapping import from_job, to_job

    settings = bpy.context.scene.objaverse
    job = RenderJob().with_values(EVERY_FIELD[name])
    from_job(settings, job)
    assert meaning(to_job(settings)) == meaning(job)
    path = tmp_path / "job.toml"
    bpy.ops.objaverse.save_job(filepath=str(path))
    assert meaning(RenderJob.load(path)) == meaning(job)
    # Whatever was there before, the file decides.
    for other in EVERY_FIELD.values():
        from_job(settings, RenderJob().with_values(other))
        bpy.ops.objaverse.load_job(filepath=str(path))
        assert meaning(to_job(settings)) == meaning(job)


@pytest.mark.core
def test_device_and_threads_come_from_the_preferences_and_stay(bpy: Any) -> None:
    from objaverse_render_addon.ui.job_mapping import from_job, to_job

    preferences = bpy.context.preferences.addons[NAME].preferences
    preferences.device, preferences.threads = "cpu", 3
    try:
        settings = bpy.context.scene.objaverse
        from_job(settings, RenderJob().with_values({"engine.device": "cuda", "engine.threads": 9}))
        engine = to_job(settings, preferences).engine
        assert (engine.device, engine.threads) == ("cpu", 3)
        devices = {item.identifier for item in preferences.bl_rna.properties["device"].enum_items}
        assert devices == {"auto", "cpu", "cuda", "optix", "hip", "oneapi", "metal"}
    finally:
        preferences.property_unset("device")
        preferences.property_unset("threads")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed", 2**40), ("cameras.radius", [1e-6, 1.0]), ("engine.alpha_threshold", 0.00001),
        ("lighting.strength", 1e60),
    ],
)  # fmt: skip
def test_a_job_beyond_the_panel_is_refused_by_its_field(
    bpy: Any, tmp_path: Path, path: str, value: Any
) -> None:
    from objaverse_render_addon.ui.job_mapping import from_job, to_job

    settings = bpy.context.scene.objaverse
    from_job(settings, RenderJob().with_values(EVERY_FIELD["most"]))
    before = meaning(to_job(settings))
    file = tmp_path / "job.json"
    job = RenderJob().with_values({"cameras.pattern": "ring", path: value})
    file.write_text(json.dumps(job.to_dict()))
    with pytest.raises(RuntimeError, match=path):
        bpy.ops.objaverse.load_job(filepath=str(file))
    assert meaning(to_job(settings)) == before, "half of the job stayed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[engine]\nsamples = 'many'", "engine.samples"), ("[engine]\nsample = 3", "samples"),
        ("[cameras]\npattern = 'rings'", "cameras.pattern"), ("seed = ", "job.toml"),
        ("[cameras]\northo = 2", "cameras.ortho"),
        (None, "job.toml"),
    ],
)  # fmt: skip
def test_a_broken_job_file_is_named_with_its_field(
    bpy: Any, tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "job.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RuntimeError, match=message):
        bpy.ops.objaverse.load_job(filepath=str(path))


@pytest.mark.core
@pytest.mark.parametrize("ending", ["toml", "json"])
def test_a_job_file_dropped_on_the_viewport_loads(bpy: Any, tmp_path: Path, ending: str) -> None:
    handler = bpy.types.OBJAVERSE_FH_job
    assert f".{ending}" in handler.bl_file_extensions.split(";")
    area = types.SimpleNamespace(type="VIEW_3D")
    assert handler.poll_drop(types.SimpleNamespace(area=area))
    assert not handler.poll_drop(types.SimpleNamespace(area=types.SimpleNamespace(type="INFO")))
    assert not handler.poll_drop(types.SimpleNamespace(area=None))
    job = RenderJob().with_values({"cameras.pattern": "ring", "cameras.views": 7})
    path = tmp_path / f"job.{ending}"
    path.write_text(json.dumps(job.to_dict()) if ending == "json" else job.to_toml())
    # What Blender calls then, with this argument.
    group, _, name = handler.bl_import_operator.partition(".")
    operator = getattr(getattr(bpy.ops, group), name)
    assert operator("INVOKE_DEFAULT", filepath=str(path)) == {"FINISHED"}
    settings = bpy.context.scene.objaverse
    assert (settings.pattern, settings.views) == ("ring", 7)


@pytest.mark.core
def test_the_current_view_is_one_of_the_views(bpy: Any) -> None:
    settings = bpy.context.scene.objaverse
    settings.views, settings.current_view = 12, 11
    settings.views = 3
    assert settings.current_view == 2


def test_a_job_that_cannot_be_saved_is_named(bpy: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="missing"):
        bpy.ops.objaverse.save_job(filepath=str(tmp_path / "missing" / "job.toml"))
    bpy.context.scene.objaverse.pattern = "file"
    with pytest.raises(RuntimeError, match="Choose a Camera File under Cameras"):
        bpy.ops.objaverse.save_job(filepath=str(tmp_path / "job.toml"))


# Fields that no widget shows, and why. There is none.
HIDDEN_FIELDS: dict[str, str] = {}
OF_FIELDS = {
    "frame": "asset.frame", "hdri": "lighting.hdri", "background": "lighting.background",
    "radius": "cameras.radius", "elevation": "cameras.elevation", "fov": "cameras.fov",
    "camera_file": "cameras.file", "shift": "cameras.shift", "resolution_x": "pixels.resolution",
    "passes": "pixels.passes", "front": "asset.front", "ortho": "cameras.ortho",
    "stereo": "cameras.stereo", "lights": "lighting.lights",
    "hdri_per_view": "lighting.per_view",
    "frames": "time.frames", "action": "time.action",
    "scene_cameras": "cameras.scene_cameras",
    "geometry_files": "files.geometry_files", "class_table": "pixels.class_table",
}  # fmt: skip
# Not of the job: where things come from and go to, switches of the above, and the preview.
BESIDE = {
    "source", "asset", "use_frame", "use_front", "use_stereo", "use_background", "resolution_y",
    "output_dir", "overwrite",
    "sources", "ids", "current_view", "file_views",
}  # fmt: skip


class Layout:
    """Stands in for Blender's layout, and notes which properties are drawn."""

    def __init__(self) -> None:
        self.drawn: set[str] = set()
        self.said = ""
        self.operators: set[str] = set()
        self.buttons: list[tuple[str, types.SimpleNamespace]] = []

    def prop(self, owner: Any, name: str, **_: Any) -> None:
        assert name in owner.bl_rna.properties, name
        self.drawn.add(name)

    def prop_enum(self, owner: Any, name: str, value: str, **_: Any) -> None:
        assert value in owner.bl_rna.properties[name].enum_items_static
        self.drawn.add(name)

    def label(self, *, text: str, **_: Any) -> None:
        self.said += f"{text} "

    def operator(self, name: str, **_: Any) -> Any:
        self.operators.add(name)
        self.buttons.append((name, types.SimpleNamespace()))
        return self.buttons[-1][1]

    def __getattr__(self, name: str) -> Any:
        if name in ("row", "column", "box", "split", "grid_flow", "column_flow"):
            return lambda *_, **__: self
        return lambda *_, **__: None


def draw_panels(layout: Layout | None = None) -> Layout:
    import bpy

    from objaverse_render_addon.ui import panels, preferences
    from objaverse_render_addon.ui.panels.presets import OBJAVERSE_PT_presets

    # A panel is drawn in a region; in background there is none.
    context = types.SimpleNamespace(
        scene=bpy.context.scene, window_manager=bpy.context.window_manager,
        region=types.SimpleNamespace(width=300),
        preferences=types.SimpleNamespace(system=types.SimpleNamespace(ui_scale=1.0), addons={}),
    )  # fmt: skip
    layout = layout or Layout()
    classes = [cls for cls in panels.CLASSES if hasattr(cls, "draw") and "_PT_" in cls.__name__]
    for cls in [*classes, preferences.OBJAVERSE_AP_preferences]:
        if cls is OBJAVERSE_PT_presets:
            continue
        owner = types.SimpleNamespace(layout=layout, server="")
        owner.bl_rna = cls.bl_rna
        for name in dir(cls):
            member = cls.__dict__.get(name)
            if isinstance(member, types.FunctionType) and "header" not in name:
                setattr(owner, name, types.MethodType(member, owner))
        owner.draw(context)
    return layout


@pytest.mark.core
def test_every_field_of_a_job_can_be_set_in_the_window(bpy: Any) -> None:
    from objaverse_render_addon.ui.job_mapping import FIELDS

    settings = bpy.context.scene.objaverse
    drawn: set[str] = set()
    by_pattern: dict[str, set[str]] = {}
    for pattern in PATTERNS:
        for light in ("white", "xl", "hdri", "keep", "file"):
            for engine in ("cycles", "eevee", "workbench"):
                settings.pattern, settings.lighting, settings.engine = pattern, light, engine
                settings.projection = "orthographic" if light == "xl" else "perspective"
                settings.test_views = 2 if light == "hdri" else 0
                settings.geometry_files = {"mesh"} if light == "hdri" else set()
                settings.passes = {"rgb", "semantic_index", "sensor_depth"}
                settings.classes = {"hdri": "table", "xl": "property"}.get(light, "name")
                found = draw_panels().drawn
                drawn |= found
                by_pattern[pattern] = by_pattern.get(pattern, found) & found
    for pattern, found in by_pattern.items():
        # Of lights and materials, too.
        assert "seed" in found, pattern
    shown = {FIELDS.get(name) or OF_FIELDS.get(name) for name in drawn}
    shown |= {f"engine.{name}" for name in ("device", "threads") if name in drawn}
    assert set(leaves(RenderJob().to_dict())) - set(HIDDEN_FIELDS) <= shown
    own = {p.identifier for p in settings.bl_rna.properties} - {"rna_type", "name"}
    assert own <= drawn, "a property that no panel shows"
    assert own == {*FIELDS, *OF_FIELDS, *BESIDE}


def test_the_panels_can_be_drawn_in_every_state(bpy: Any, tmp_path: Path) -> None:
    settings, state = bpy.context.scene.objaverse, bpy.context.window_manager.objaverse
    settings.source = "0" * 32
    state.warnings = "missing texture: a\nmissing texture: b"
    for number, name in enumerate(("waiting", "rendering", "done", "skipped", "failed")):
        item = state.items.add()
        item.asset_id, item.state, item.detail = f"asset{number}", name, "why " * 40
        state.active = number
        assert "objaverse.render_batch" in draw_panels().operators
    state.active = 99
    state.running, state.status = "batch", "working"
    assert "objaverse.cancel" in draw_panels().operators
    settings.pattern = "file"
    draw_panels()
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "a.glb")))
    bpy.ops.objaverse.normalize()
    bpy.ops.objaverse.setup_passes()
    assert "objaverse.restore_compositor" in draw_panels().operators


# --- Presets ------------------------------------------------------------------------------------

PROTOCOLS: dict[str, dict[str, Any]] = {
    "GS-LRM": {},
    "Objaverse-XL": {
        "cameras.pattern": "objaverse-xl", "lighting.mode": "xl", "engine.samples": 128,
        "asset.missing_textures": "random", "asset.uncolored": "random",
    },
    "Zero123": {"cameras.pattern": "zero123", "engine.samples": 128},
    "TRELLIS": {"cameras.pattern": "hammersley"},
    "InstantMesh": {
        "cameras.pattern": "gs-lrm", "cameras.fov": [50, 50], "cameras.radius": [3.2, 4.5],
    },
}  # fmt: skip


def presets(bpy: Any) -> dict[str, str]:
    (folder,) = [p for p in bpy.utils.preset_paths("objaverse/render") if NAME in p]
    return {path.stem: str(path) for path in Path(folder).glob("*.py")}


@pytest.mark.core
def test_the_built_in_protocols_say_what_they_are_named_after(bpy: Any) -> None:
    from objaverse_render_addon.ui.job_mapping import from_job, to_job
    from objaverse_render_addon.ui.panels.presets import active_protocols

    found = presets(bpy)
    recipes = {recipe.label: recipe.values for recipe in RECIPES.values()}
    assert set(found) == set(recipes) > set(PROTOCOLS)
    settings = bpy.context.scene.objaverse
    spoiled = {**EVERY_FIELD["most"], "files.geometry": "npy", "files.layout": "zip"}
    spoiled |= {"asset.frame": None, "seed": 0}
    for name, path in found.items():
        wanted = meaning(RenderJob().with_values(recipes[name]))
        if name in PROTOCOLS:
            assert wanted == meaning(RenderJob().with_values(PROTOCOLS[name]))
        # The same whichever protocol was chosen before, and whatever was typed in.
        for before in (found["TRELLIS Conditioning"], found["Objaverse-XL"], None):
            if before is None:
                from_job(settings, RenderJob().with_values(spoiled))
            else:
                bpy.ops.script.execute_preset(filepath=before, menu_idname="OBJAVERSE_PT_presets")
            bpy.ops.script.execute_preset(filepath=path, menu_idname="OBJAVERSE_PT_presets")
            job = meaning(to_job(settings))
            for key in (
                "asset.up", "asset.front", "cameras.test_cameras", "cameras.turns",
                "engine.alpha_threshold", "asset.witness", "files.geometry_files",
                "files.geometry_points", "pixels.classes", "pixels.class_property",
                "pixels.class_table", "pixels.sensor",
            ):  # fmt: skip
                # No part of any of these protocols.
                job[key] = wanted[key]
            assert job == wanted, (before, name)
            # The panel names it, until something of it is changed.
            assert active_protocols(settings)[0] == name
    settings.samples += 1
    assert active_protocols(settings) == []


@pytest.mark.parametrize("name", ["most", "poses", "north"])
def test_a_protocol_of_ones_own_brings_everything_back(bpy: Any, name: str) -> None:
    from objaverse_render_addon.ui.job_mapping import from_job, to_job
    from objaverse_render_addon.ui.panels.presets import active_protocols

    settings = bpy.context.scene.objaverse
    values = {**EVERY_FIELD[name], "asset.frame": None}
    from_job(settings, RenderJob().with_values(values))
    wanted = meaning(to_job(settings))
    bpy.ops.objaverse.add_preset(name="Mine")
    bpy.context.preferences.is_dirty = False
    path = Path(bpy.utils.user_resource("SCRIPTS")) / "presets/objaverse/render/Mine.py"
    try:
        from_job(settings, RenderJob().with_values(EVERY_FIELD["workbench"]))
        bpy.ops.script.execute_preset(filepath=str(path), menu_idname="OBJAVERSE_PT_presets")
        assert meaning(to_job(settings)) == wanted
        assert "Mine" in active_protocols(settings)
    finally:
        path.unlink()


# --- Importing, normalising ---------------------------------------------------------------------


def users_scene(bpy: Any) -> Any:
    """A scene in the middle of somebody's work."""
    scene = bpy.context.scene
    cube = scenes.add_cube(name="Theirs", matrix=scenes.moved(5, 0, 0))
    bpy.context.view_layer.objects.active = cube
    cube.select_set(True)
    other = scenes.add_cube(name="Hidden", matrix=scenes.moved(-5, 0, 0))
    other.hide_viewport, other.hide_render = True, True
    camera = bpy.data.objects.new("Their camera", bpy.data.cameras.new("Their lens"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.world = bpy.data.worlds.new("Their world")
    light = bpy.data.objects.new("Their light", bpy.data.lights.new("Their light", "SUN"))
    scene.collection.objects.link(light)
    scene.frame_set(7)
    scene.frame_start, scene.frame_end = 3, 99
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = 111, 222, 33
    render.pixel_aspect_x, render.pixel_aspect_y = 1.0, 1.5
    render.fps = 17
    # Before Blender 5, settings are seen among the scene's own properties once one is set.
    scene.objaverse.current_view = 0
    bpy.context.view_layer.update()
    return scene


def dump(bpy: Any, scene: Any) -> dict[str, Any]:
    """The user's file, as far as it can be written down."""
    # Only where these are made, some data-blocks get users that they keep.
    blocks = {
        prop.identifier: sorted(item.name for item in getattr(bpy.data, prop.identifier))
        for prop in bpy.data.bl_rna.properties
        if prop.type == "COLLECTION"
    }
    objects = {
        obj.name: (
            plain_settings(obj),
            [list(row) for row in obj.matrix_world],
            obj.parent.name if obj.parent else None,
            sorted(c.name for c in obj.users_collection),
            obj.select_get() if obj.name in bpy.context.view_layer.objects else None,
        )
        for obj in bpy.data.objects
    }
    active = bpy.context.view_layer.objects.active
    return {
        **snapshot(scene),
        "blocks": blocks,
        "objects": objects,
        "camera": scene.camera.name if scene.camera else None,
        "world": (scene.world.name, plain_settings(scene.world)) if scene.world else None,
        "active": active.name if active else None,
        "view": plain_settings(scene.view_settings),
        "display": plain_settings(scene.display_settings),
        "units": plain_settings(scene.unit_settings),
        "panel": plain_settings(scene.objaverse),
        "keys": sorted(key for key in scene.keys() if key != "cycles"),  # noqa: SIM118
    }


def with_camera_and_light(document: dict[str, Any]) -> None:
    """Beside the mesh."""
    document["cameras"] = [
        {"type": "perspective", "perspective": {"yfov": 0.7, "znear": 0.1, "zfar": 10}}
    ]
    document["extensionsUsed"] = ["KHR_lights_punctual"]
    lights = [{"type": "point", "intensity": 3.0, "name": "Lamp"}]
    document["extensions"] = {"KHR_lights_punctual": {"lights": lights}}
    document["nodes"] += [
        {"camera": 0, "name": "Eye"},
        {"extensions": {"KHR_lights_punctual": {"light": 0}}, "name": "Lamp"},
    ]
    document["scenes"][0]["nodes"] += [1, 2]


def asset_file(tmp_path: Path, kind: str = "glb") -> Path:
    """A lopsided box with a camera and a light, perhaps one that moves."""
    if kind == "glb":
        vertices = scenes.CUBE_VERTICES * (3, 1, 2) + (4, 0, 1)
        return scenes.write_glb(tmp_path / "box.glb", vertices, change=with_camera_and_light)
    import bpy

    moving = kind == "moving"
    path = tmp_path / ("box.glb" if moving else "box.blend")
    # Blender 5.1 cannot export lights.
    options = {"export_cameras": True}
    with scenes.new_export(path, **options) if moving else scenes.new_blend(path) as scene:
        box = scenes.add_mesh(scenes.CUBE_VERTICES * (3, 1, 2) + (4, 0, 1), scenes.CUBE_FACES)
        for data in (bpy.data.cameras.new("Eye"), bpy.data.lights.new("Lamp", "POINT")):
            scene.collection.objects.link(bpy.data.objects.new(data.name, data))
        if moving:
            box.keyframe_insert("location", frame=1)
            box.location = (9, 0, 0)
            box.keyframe_insert("location", frame=240)
    bpy.ops.wm.read_homefile(use_empty=True)
    return path


@pytest.mark.core
@pytest.mark.parametrize("kind", ["glb", "blend", "moving"])
def test_an_import_adds_its_collection_and_changes_nothing_else(
    bpy: Any, tmp_path: Path, kind: str
) -> None:
    path = asset_file(tmp_path, kind)
    scene = users_scene(bpy)
    before = dump(bpy, scene)
    assert bpy.ops.objaverse.import_asset(filepath=str(path)) == {"FINISHED"}
    home = scene.objaverse.asset
    assert home.name == "box"
    assert [obj.type for obj in home.all_objects if obj.type != "EMPTY"] == ["MESH"]
    assert scene.objaverse.source == str(path)
    assert "1 mesh, 6 faces" in facts(home)["summary"].replace("12", "6")
    after = dump(bpy, scene)
    for name in before.keys() - {"blocks", "objects", "panel", "layer"}:
        assert after[name] == before[name], name
    for name, record in before["objects"].items():
        assert after["objects"][name] == record
    added = set(after["objects"]) - set(before["objects"])
    assert added == {obj.name for obj in home.all_objects}
    for name in ("cameras", "lights", "worlds", "scenes", "libraries"):
        assert after["blocks"][name] == before["blocks"][name], name


def test_the_license_that_a_file_states_is_shown(bpy: Any, tmp_path: Path) -> None:
    def sign(document: dict[str, Any]) -> None:
        license = "CC-BY-NC-4.0 (http://creativecommons.org/licenses/by-nc/4.0/)"
        document["asset"]["extras"] = {"author": "Somebody", "license": license}

    settings = bpy.context.scene.objaverse
    signed = scenes.write_glb(tmp_path / "signed.glb", change=sign)
    bpy.ops.objaverse.import_asset(filepath=str(signed))
    assert facts(settings.asset)["license"] == (
        "Creative Commons Attribution-NonCommercial 4.0 International by Somebody"
        " (no commercial use)"
    )
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "plain.glb")))
    assert facts(settings.asset)["license"] == "License unknown"


def test_what_is_said_of_an_asset_is_of_the_one_that_is_chosen(bpy: Any, tmp_path: Path) -> None:
    settings = bpy.context.scene.objaverse
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "a.glb")))
    assert "1 mesh," in draw_panels().said
    first_name = settings.asset.name
    with pytest.raises(RuntimeError):
        bpy.ops.objaverse.import_asset(filepath=str(tmp_path / "missing.glb"))
    said = draw_panels().said
    # A long path is cut at the sidebar's width.
    assert "1 mesh," in said and "missing.glb" in said.replace(" ", "")
    own = bpy.data.collections.new("Mine")
    bpy.context.scene.collection.children.link(own)
    settings.asset = own
    assert "1 mesh," not in draw_panels().said
    # It comes back with the asset, in the saved file too.
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    settings = bpy.context.scene.objaverse
    settings.asset = bpy.data.collections[first_name]
    assert "1 mesh," in draw_panels().said and "License" in draw_panels().said
    settings.asset = None
    assert "License" not in draw_panels().said


@pytest.mark.core
def test_a_failed_import_is_named_and_leaves_nothing(bpy: Any, tmp_path: Path) -> None:
    empty = scenes.write_glb(
        tmp_path / "empty.glb",
        change=lambda document: (with_camera_and_light(document), document["nodes"][0].pop("mesh")),
    )
    broken = scenes.write_glb(
        tmp_path / "broken.glb", change=lambda document: document["accessors"][0].update(count=999)
    )
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    scene = users_scene(bpy)
    before = dump(bpy, scene)
    for path in (empty, broken, text, tmp_path / "missing.glb", tmp_path):
        with pytest.raises(RuntimeError, match=path.name):
            bpy.ops.objaverse.import_asset(filepath=str(path))
        after = dump(bpy, scene)
        for name, value in before.items():
            assert after[name] == value, (path, name)
    assert scene.objaverse.asset is None


@pytest.mark.core
@pytest.mark.parametrize("method", ["cube", "unit-cube", "sphere"])
def test_normalising_in_the_scene_is_exact_and_can_be_undone_exactly(
    bpy: Any, tmp_path: Path, method: str
) -> None:
    from objaverse_render_addon.blender.measuring import measure
    from objaverse_render_addon.blender.user_scene import asset_objects

    bpy.ops.objaverse.import_asset(filepath=str(asset_file(tmp_path)))
    settings = bpy.context.scene.objaverse
    root = next(obj for obj in settings.asset.objects if obj.parent is None)
    child = scenes.add_cube(name="Child", parent=root, link=False)
    settings.asset.objects.link(child)
    root.rotation_mode = "XYZ"
    root.rotation_euler = (0.1, 0.2, 0.3)
    bpy.context.view_layer.update()

    def matrices() -> dict[str, Any]:
        return {
            obj.name: [[list(row) for row in m] for m in (
                obj.matrix_world, obj.matrix_basis, obj.matrix_parent_inverse)]
            for obj in settings.asset.all_objects
        }  # fmt: skip

    before = matrices()
    settings.normalize = method
    for _ in range(2):
        bpy.ops.objaverse.normalize()
        bpy.context.view_layer.update()
        found = measure(asset_objects(settings.asset))
        half = 0.5 if method == "unit-cube" else 1.0
        if method == "sphere":
            reach = float(np.linalg.norm(found.points, axis=1).max())
        else:
            reach = found.longest_edge / 2
            assert np.abs(found.center).max() < 1e-5
        assert reach == pytest.approx(half, abs=1e-4)
    bpy.ops.objaverse.normalize(undo=True)
    bpy.context.view_layer.update()
    assert matrices() == before
    assert bpy.ops.objaverse.normalize(undo=True) == {"FINISHED"}, "nothing to undo is no failure"


@pytest.mark.core
def test_the_users_camera_and_light_stay_when_their_objects_are_normalised(bpy: Any) -> None:
    scene = users_scene(bpy)
    theirs = bpy.data.collections.new("Theirs")
    scene.collection.children.link(theirs)
    beside = [bpy.data.objects[name] for name in ("Their camera", "Their light")]
    for obj in (bpy.data.objects["Theirs"], *beside):
        theirs.objects.link(obj)
    beside[0].location = (1, 2, 3)
    scene.objaverse.asset = theirs
    bpy.ops.objaverse.normalize()
    assert bpy.data.objects["Theirs"].parent is not None
    assert [obj.parent for obj in beside] == [None, None]
    assert beside[0].matrix_world.translation[:] == (1, 2, 3)
    # What has nothing to see is said to be an asset, not a file.
    bpy.data.objects.remove(bpy.data.objects["Theirs"])
    with pytest.raises(RuntimeError, match="The asset has no face"):
        bpy.ops.objaverse.normalize()


@pytest.mark.core
def test_what_needs_an_asset_says_so(bpy: Any) -> None:
    for operator in (bpy.ops.objaverse.normalize, bpy.ops.objaverse.render_asset):
        with pytest.raises(RuntimeError, match="Import an asset first"):
            operator()
    with pytest.raises(RuntimeError, match="not set up"):
        bpy.ops.objaverse.restore_compositor()
    assert not bpy.ops.objaverse.cancel.poll()
    with pytest.raises(RuntimeError, match="nothing to render"):
        bpy.ops.objaverse.render_batch()
    with pytest.raises(RuntimeError, match="not there yet"):
        bpy.context.scene.objaverse.output_dir = "/nonexistent/folder"
        bpy.ops.objaverse.open_output()


# --- Cameras in the scene -----------------------------------------------------------------------


def seen(bpy: Any, camera: Any, points: Any) -> Any:
    """Pixels (N, 2) at which the scene's render shows world points through a camera object."""
    scene = bpy.context.scene
    render = scene.render
    width, height = render.resolution_x, render.resolution_y
    bpy.context.view_layer.update()
    matrix = camera.calc_matrix_camera(
        bpy.context.evaluated_depsgraph_get(), x=width, y=height,
        scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y,
    )  # fmt: skip
    full = np.array(matrix) @ np.linalg.inv(np.array(camera.matrix_world))
    clip = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ full.T
    ndc = clip[:, :2] / clip[:, 3:]
    return np.stack([(ndc[:, 0] + 1) / 2 * width, (1 - ndc[:, 1]) / 2 * height], axis=1)


def current_rig(bpy: Any) -> Any:
    from objaverse_render_addon.ui.viewport.preview import rig_or_error

    return rig_or_error(bpy.context)


def world(state: Any, points: Any) -> Any:
    return points @ state.to_world[:3, :3].T + state.to_world[:3, 3]


@pytest.mark.core
def test_camera_objects_are_the_previews_views(bpy: Any, panel: Any, tmp_path: Path) -> None:
    bpy.ops.objaverse.import_asset(filepath=str(asset_file(tmp_path)))
    cameras = {*bpy.data.cameras}
    for count in (5, 3):
        panel.views = count
        bpy.ops.objaverse.sample_cameras()
        home = bpy.data.collections["Objaverse Cameras"]
        state = current_rig(bpy)
        assert [obj.name for obj in home.objects] == [f"View {i:03d}" for i in range(count)]
        scale = np.cbrt(np.linalg.det(state.to_world[:3, :3]))
        for view, obj in zip(state.views, home.objects, strict=True):
            pose = view.camera.camera_to_world.copy()
            pose[:3, 3] = world(state, pose[None, :3, 3])[0]
            np.testing.assert_allclose(np.array(obj.matrix_world), pose, atol=1e-5 * scale)
    assert len(bpy.data.cameras) == len(cameras) + 3, "the first ones are gone"
    assert bpy.context.scene.camera is None


@pytest.mark.core
def test_the_preview_is_shown_and_hidden(bpy: Any, panel: Any) -> None:
    state = bpy.context.window_manager.objaverse
    for shown in (True, False, True):
        assert bpy.ops.objaverse.preview_cameras() == {"FINISHED"}
        assert state.preview is shown
    state.preview = False
    panel.pattern = "file"
    with pytest.raises(RuntimeError, match="Choose a Camera File under Cameras"):
        bpy.ops.objaverse.preview_cameras()
    assert not state.preview


@pytest.mark.core
def test_what_is_unchanged_is_not_made_again(bpy: Any, panel: Any) -> None:
    from objaverse_render_addon.ui import preferences
    from objaverse_render_addon.ui.job_mapping import to_job
    from objaverse_render_addon.ui.viewport import preview

    panel.views = 300
    first = current_rig(bpy)
    times = []
    for _ in range(50):
        start = time.process_time()
        assert preview.rig(bpy.context) is first
        times.append(time.process_time() - start)
    assert min(times) < 0.001
    own = preferences.get(bpy.context)
    assert to_job(panel, own) is to_job(panel, own)
    # Where views go and which is current changes no camera.
    panel.output_dir, panel.current_view = "//elsewhere", 7
    assert preview.rig(bpy.context) is first
    for name, value in {"seed": 3, "radius": (2.0, 3.0), "shift": (0.1, 0.0)}.items():
        setattr(panel, name, value)
        changed = preview.rig(bpy.context)
        assert changed is not first, name
        first = changed


def test_the_preview_follows_the_file_of_poses(bpy: Any, panel: Any, tmp_path: Path) -> None:
    from objaverse_render_addon.ui.viewport import preview

    def write(x: float) -> None:
        pose = [[1, 0, 0, x], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
        document = {"camera_angle_x": 0.8, "frames": [{"transform_matrix": pose}]}
        path.write_text(json.dumps(document))
        os.utime(path, (x, x))

    path = tmp_path / "transforms.json"
    write(1)
    panel.pattern, panel.camera_file = "file", str(path)
    assert current_rig(bpy).views[0].camera.camera_to_world[0, 3] == 1
    write(2)
    assert preview.rig(bpy.context).views[0].camera.camera_to_world[0, 3] == 2
    path.unlink()
    assert preview.rig(bpy.context) is None
    write(3)
    assert preview.rig(bpy.context).views[0].camera.camera_to_world[0, 3] == 3


@pytest.mark.core
def test_looking_through_views_goes_round_and_leads_back(bpy: Any, panel: Any) -> None:
    scene = users_scene(bpy)
    panel.views = 3
    look = bpy.ops.objaverse.look_through_camera
    before = dump(bpy, scene)
    visited = []
    for action in ("INDEX", "NEXT", "NEXT", "NEXT", "PREVIOUS"):
        look(action=action)
        visited.append(panel.current_view)
        assert scene.camera.name == "Objaverse Look"
        assert (scene.render.resolution_x, scene.render.resolution_y) == (48, 32)
    assert visited == [0, 1, 2, 0, 2]
    look(action="INDEX", index=1)
    assert panel.current_view == 1
    look(action="STOP")
    panel.current_view = 0
    after = dump(bpy, scene)
    for name, value in before.items():
        assert after[name] == value, name
    assert look(action="STOP") == {"FINISHED"}


@pytest.mark.core
def test_what_is_looked_through_follows_the_panel(bpy: Any, panel: Any, tmp_path: Path) -> None:
    bpy.ops.objaverse.import_asset(filepath=str(asset_file(tmp_path)))
    scene = bpy.context.scene
    panel.pattern, panel.views = "gs-lrm", 8
    look = bpy.ops.objaverse.look_through_camera

    def check() -> None:
        state = current_rig(bpy)
        view = state.views[panel.current_view]
        assert scene.camera.name == "Objaverse Look"
        pixels, _ = view.camera.project(state.points)
        found = seen(bpy, scene.camera, world(state, state.points))
        np.testing.assert_allclose(found, pixels, atol=2e-3)

    # An arrow chooses, it does not look.
    look(action="NEXT")
    assert panel.current_view == 1 and scene.camera is None
    look(action="INDEX")
    check()
    for name, value in {
        "current_view": 5, "fov": (20.0, 25.0), "radius": (3.0, 4.0), "seed": 7,
        "resolution_x": 96, "shift": (0.1, 0.0), "pixel_aspect": 1.5, "pattern": "ring",
        "views": 3, "normalize": "sphere",
    }.items():  # fmt: skip
        setattr(panel, name, value)
        check()
    look(action="PREVIOUS")
    check()
    # Settings that contradict each other change nothing.
    before = scene.camera.matrix_world.copy()
    panel.pattern = "file"
    assert scene.camera.matrix_world == before
    panel.pattern = "ring"
    look(action="STOP")
    panel.radius = (3.0, 4.0)
    panel.current_view = 0
    assert scene.camera is None and "Objaverse Look" not in bpy.data.objects


@pytest.mark.core
def test_a_file_saved_while_a_view_is_looked_through_is_the_users(
    bpy: Any, panel: Any, tmp_path: Path
) -> None:
    scene, render = users_scene(bpy), bpy.context.scene.render
    panel.views = 3
    path = str(tmp_path / "theirs.blend")
    bpy.ops.objaverse.look_through_camera(action="INDEX", index=2)
    seen_from = scene.camera.matrix_world.copy()
    bpy.ops.wm.save_as_mainfile(filepath=path, copy=True)
    assert scene.camera.name == "Objaverse Look" and scene.camera.matrix_world == seen_from
    assert (render.resolution_x, render.resolution_y) == (48, 32)
    with bpy.data.libraries.load(path) as (there, _):
        assert "Their camera" in there.objects and "Objaverse Look" not in there.objects
    bpy.ops.objaverse.look_through_camera(action="STOP")
    assert scene.camera.name == "Their camera" and render.resolution_x == 111
    # One that Blender saved by itself, where nobody was asked.
    bpy.ops.objaverse.look_through_camera(action="INDEX")
    bpy.data.libraries.write(path, {scene}, compress=False)
    bpy.ops.wm.open_mainfile(filepath=path)
    scene = bpy.context.scene
    assert "Objaverse Look" not in bpy.data.objects and scene.camera.name == "Their camera"
    assert (scene.render.resolution_x, scene.render.resolution_y) == (111, 222)


@pytest.mark.core
def test_no_setting_can_be_animated(bpy: Any) -> None:
    settings = bpy.context.scene.objaverse
    own = [p for p in settings.bl_rna.properties if p.identifier not in ("rna_type", "name")]
    assert [prop.identifier for prop in own if prop.is_animatable] == []


@pytest.mark.core
def test_buttons_of_one_operator_say_what_each_of_them_does(bpy: Any) -> None:
    from objaverse_render_addon.ui.operators import asset, cameras, render

    shared = [
        (cameras.OBJAVERSE_OT_look_through_camera, "action",
         ("INDEX", "NEXT", "PREVIOUS", "STOP")),
        (render.OBJAVERSE_OT_render_batch, "only", ("ALL", "FAILED", "ACTIVE")),
        (asset.OBJAVERSE_OT_normalize, "undo", (False, True)),
    ]  # fmt: skip
    for cls, name, values in shared:
        said = [
            cls.description(bpy.context, types.SimpleNamespace(**{name: value}))
            for value in values
        ]
        assert len({*said}) == len(values), cls


@pytest.mark.usefixtures("panel")
@pytest.mark.parametrize("what", ["deleted", "renamed", "none", "look deleted"])
def test_looking_ends_well_whatever_became_of_the_cameras(bpy: Any, what: str) -> None:
    scene = users_scene(bpy)
    camera = scene.camera
    if what == "none":
        scene.camera = None
    bpy.ops.objaverse.look_through_camera(action="INDEX")
    if what == "deleted":
        bpy.data.objects.remove(camera)
    elif what == "renamed":
        camera.name = "Another name"
        # Somebody else's camera by the old name is not theirs.
        scene.collection.objects.link(
            bpy.data.objects.new("Their camera", bpy.data.cameras.new("Impostor"))
        )
    elif what == "look deleted":
        bpy.data.objects.remove(bpy.data.objects["Objaverse Look"])
        bpy.ops.objaverse.look_through_camera(action="NEXT")
        bpy.data.objects.remove(bpy.data.objects["Objaverse Look"])
    bpy.ops.objaverse.look_through_camera(action="STOP")
    wanted = None if what in ("deleted", "none") else camera
    assert scene.camera == wanted
    render = scene.render
    assert (render.resolution_x, render.resolution_y) == (111, 222)
    assert render.resolution_percentage == 33
    assert (render.pixel_aspect_x, render.pixel_aspect_y) == (1.0, 1.5)
    assert [key for key in scene.keys() if "look" in key] == []  # noqa: SIM118
    assert not any("Objaverse" in data.name for data in bpy.data.cameras)


# --- Passes through the compositor --------------------------------------------------------------


def test_passes_are_set_up_and_taken_back(bpy: Any, panel: Any, tmp_path: Path) -> None:
    scene = users_scene(bpy)
    panel.output_dir = str(tmp_path)
    before = dump(bpy, scene)
    panel.passes = {"depth", "position"}
    bpy.ops.objaverse.setup_passes()
    assert scene.view_layers[0].use_pass_position
    bpy.ops.objaverse.restore_compositor()
    after = dump(bpy, scene)
    for name in before.keys() - {"panel"}:
        assert after[name] == before[name], name


# --- Rendering ----------------------------------------------------------------------------------


def cameras_of(path: Path) -> list[Any]:
    with AssetReader(path) as reader:
        return [(view["camera_to_world"], view["intrinsics"]) for view in reader.views]


@pytest.mark.core
def test_the_button_makes_what_the_command_line_makes_and_touches_nothing(
    bpy: Any, panel: Any, tmp_path: Path
) -> None:
    from objaverse_render_addon.ui import preferences
    from objaverse_render_addon.ui.job_mapping import to_job

    path = asset_file(tmp_path)
    scene = users_scene(bpy)
    panel.pattern, panel.views, panel.normalize = "gs-lrm", 2, "unit-cube"
    panel.shift, panel.pixel_aspect = (0.1, -0.05), 1.25
    panel.output_dir = str(tmp_path / "button")
    bpy.ops.objaverse.import_asset(filepath=str(path))
    before = dump(bpy, scene)
    bpy.ops.objaverse.render_asset()
    after = dump(bpy, scene)
    for name, value in before.items():
        assert after[name] == value, name
    job = to_job(panel, preferences.get(bpy.context))
    report = render([path], job, tmp_path / "line")
    assert report.ok, report.failed
    mine, theirs = (tmp_path / name / "box.zip" for name in ("button", "line"))
    assert json.dumps(cameras_of(mine)) == json.dumps(cameras_of(theirs))
    with AssetReader(mine) as one, AssetReader(theirs) as other:
        for index in range(2):
            first, second = one.read(index), other.read(index)
            for name in ("depth", "normal", "mask"):
                np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        # It is known where the asset came from, though a copy was rendered.
        for key in ("file_name", "file_size", "sha256"):
            assert one.metadata.get(key) == other.metadata.get(key), key
        rendered = [one.view(index).camera for index in range(2)]
    # And looking through a view shows just that picture.
    state = current_rig(bpy)
    for index, camera in enumerate(rendered):
        bpy.ops.objaverse.look_through_camera(action="INDEX", index=index)
        # The preview measures the asset where it stands, the worker after it was normalised.
        np.testing.assert_allclose(
            state.views[index].camera.camera_to_world, camera.camera_to_world, atol=1e-6
        )
        pixels, _ = camera.project(state.points)
        found = seen(bpy, scene.camera, world(state, state.points))
        np.testing.assert_allclose(found, pixels, atol=2e-3)
    bpy.ops.objaverse.look_through_camera(action="STOP")


def sheet_of(item: Any) -> Path:
    from objaverse_render_addon.ui.operators.output import _sheet

    return _sheet(item, Path(item.result))


def test_a_list_is_rendered_and_its_failures_raise_by_name(
    bpy: Any, panel: Any, tmp_path: Path
) -> None:
    good = scenes.write_glb(tmp_path / "good.glb")
    (tmp_path / "bad.glb").write_bytes(b"glTF and no more")
    (tmp_path / "list.txt").write_text("good.glb\nbad.glb\nmissing.glb\n")
    panel.views, panel.resolution_x, panel.resolution_y = 1, 32, 32
    state = bpy.context.window_manager.objaverse
    out = tmp_path / "out"
    with pytest.raises(RuntimeError) as caught:
        bpy.ops.objaverse.render_batch(sources=str(tmp_path / "list.txt"), output_dir=str(out))
    assert "bad.glb" in str(caught.value)
    assert "missing.glb" in str(caught.value)
    assert "good.glb" not in str(caught.value)
    assert [item.state for item in state.items] == ["done", "failed", "failed"]
    assert [item.asset_id for item in state.items] == ["good", "bad", "missing"]
    assert Path(state.items[0].sheet).is_file()
    assert state.running == ""
    assert [path.name for path in out.glob("[!.]*")] == ["good.zip"]
    # What failed is tried again, and only that.
    scenes.write_glb(tmp_path / "bad.glb")
    scenes.write_glb(tmp_path / "missing.glb")
    panel.output_dir = str(out)
    assert bpy.ops.objaverse.render_batch(only="FAILED") == {"FINISHED"}
    assert [item.state for item in state.items] == ["done", "done", "done"]
    # Once more: everything is there.
    assert bpy.ops.objaverse.render_batch(sources=f"{good}; {tmp_path / 'bad.glb'}") == {"FINISHED"}
    assert [item.state for item in state.items] == ["skipped", "skipped"]
    # All of them can be looked at, though the run that made the pictures is long over.
    for index, item in enumerate(state.items):
        assert not Path(item.sheet).is_file()
        assert sheet_of(item).read_bytes().startswith(b"\x89PNG")
        assert item.result == str(out / f"{item.asset_id}.zip"), index
    # One that is done is done again when that is asked for; another job's stays what it is.
    state.active, before = 1, (out / "bad.zip").stat().st_mtime_ns
    assert bpy.ops.objaverse.render_batch(only="ACTIVE") == {"FINISHED"}
    assert [item.state for item in state.items] == ["skipped", "done"]
    assert (out / "bad.zip").stat().st_mtime_ns > before
    panel.samples = 2
    with pytest.raises(RuntimeError, match="made differently"):
        bpy.ops.objaverse.render_batch(only="ACTIVE")


def test_a_folder_that_cannot_be_written_is_named(bpy: Any, panel: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    panel.output_dir = str(tmp_path / "file")
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "a.glb")))
    with pytest.raises(RuntimeError, match=r"output folder.*file"):
        bpy.ops.objaverse.render_asset()
    state = bpy.context.window_manager.objaverse
    assert (state.running, state.status) == ("", "Failed")
    assert bpy.ops.objaverse.render_asset.poll()


def test_what_was_made_differently_stays_and_the_way_out_is_the_panels(
    bpy: Any, panel: Any, tmp_path: Path
) -> None:
    panel.output_dir = str(tmp_path / "out")
    bpy.ops.objaverse.import_asset(filepath=str(asset_file(tmp_path)))
    bpy.ops.objaverse.render_asset()
    panel.samples = 2
    with pytest.raises(RuntimeError, match=r"Samples: 1 -> 2.*Tick Overwrite under Output"):
        bpy.ops.objaverse.render_asset()
    assert "--" not in bpy.context.window_manager.objaverse.failure
    panel.overwrite = True
    assert bpy.ops.objaverse.render_asset() == {"FINISHED"}


@pytest.fixture(scope="module")
def texts() -> set[str]:
    """Every text of the package that is not the command line's own."""
    import ast

    folder = ROOT / NAME
    return {
        node.value
        for path in folder.rglob("*.py")
        if not {"cli", "ui"} & {*path.relative_to(folder).parts}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_no_way_out_is_the_command_lines(texts: set[str]) -> None:
    import re

    from objaverse_render_addon.errors import InvalidJob
    from objaverse_render_addon.ui.reports import _SHORT, in_panel_words

    hints = {text for text in texts if re.search(r"(^| )--[a-z]", text)}
    assert len(hints) > 40
    dotted = [path for path in job_fields() if "." in path]
    fields = {text for text in texts if any(f"{path} " in f"{text} " for path in dotted)}
    for text in hints | fields:
        said = in_panel_words(InvalidJob("No.", hint=text))
        assert not any(f" {path} " in f" {said} " for path in dotted), said
    for hint in hints:
        assert not re.search(r"(^| )--[a-z]", in_panel_words(InvalidJob("No.", hint=hint))), hint
    assert set(_SHORT) <= set(leaves(RenderJob().to_dict()))
    for message, hint, said in [
        ("cameras.radius 9..4.5 is not a range.", "Give the smaller number first.",
         "Radius 9..4.5 is not a range. Give the smaller number first."),
        ("It crops.", "Use --framing fit, a larger --radius or a wider --fov.",
         "It crops. Use Framing: Fit, a larger Radius or a wider FOV."),
        ("No.", "Free some space; --state puts it elsewhere.", "No. Free some space."),
        ("/data/output.layout/engine.samples.toml is gone.", "",
         "/data/output.layout/engine.samples.toml is gone."),
    ]:  # fmt: skip
        assert in_panel_words(InvalidJob(message, hint=hint)) == said


def test_reports_are_in_the_panels_words(texts: set[str]) -> None:
    from objaverse_render_addon.ui.reports import line_in_panel_words

    for line, said in [
        ("Dropped: masks are gone (--masks writes them): training goes on.",
         "Dropped: masks are gone: training goes on."),
        ("Differs: 4 views; render with --cameras ring --views 16 (views)",
         "Differs: 4 views; render with Pattern: Ring, Views 16 (views)"),
        ("Differs: 49 degrees are meant; --fovy 45 says so", "Differs: 49 degrees are meant"),
        ("/data/a--b: 2 scenes, 12 views", "/data/a--b: 2 scenes, 12 views"),
    ]:  # fmt: skip
        assert line_in_panel_words(line) == said
    flags = {flag for field in job_fields().values() if (flag := field.setting.flag)}
    for text in texts:
        for flag in flags & {*text.split()}:
            assert flag not in line_in_panel_words(text).split(), text


def test_every_way_out_that_is_put_otherwise_is_one_that_is_told(texts: set[str]) -> None:
    from objaverse_render_addon.ui.reports import WAYS_OUT

    told = "\n".join(texts)
    assert [flag for flag in WAYS_OUT if flag not in told] == []


def test_impossible_settings_start_nothing(bpy: Any, panel: Any, tmp_path: Path) -> None:
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "a.glb")))
    panel.output_dir = str(tmp_path / "out")
    panel.pattern = "file"
    for operator in (bpy.ops.objaverse.render_asset, bpy.ops.objaverse.sample_cameras):
        with pytest.raises(RuntimeError, match="Choose a Camera File under Cameras"):
            operator()
    assert not (tmp_path / "out").exists()
    assert bpy.context.window_manager.objaverse.running == ""


@pytest.mark.usefixtures("enabled")
def test_the_command_line_inside_blender_gives_its_exit_code(
    capfd: pytest.CaptureFixture[str]
) -> None:
    from objaverse_render_addon.ui.commands import _command

    assert _command(["--version"]) == 0
    assert _command(["--help"]) == 0
    assert _command(["render"]) == 2
    assert "objaverse" in capfd.readouterr().out


# --- Objects of Objaverse -----------------------------------------------------------------------

UID = "3" * 32


def test_an_object_is_fetched_and_rendered_by_its_identifier(
    bpy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from objaverse_server import ROOT as PATH
    from objaverse_server import resetting, serving

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    body = scenes.write_glb(tmp_path / "served.glb").read_bytes()
    missing = "4" * 32
    with serving() as server:
        name = server.add(UID, body)
        server.list(missing, f"glbs/000-000/{missing}.glb")
        server.orders[name] = [resetting(200)]
        job = scenes.make_job({"cameras.views": 1, "pixels.resolution": [32, 32]})
        report = render(
            [f"https://sketchfab.com/3d-models/{UID}", missing],
            job,
            tmp_path / "out",
            RunOptions.of(endpoint=server.endpoint, download_dir=tmp_path / "cache"),
        )  # fmt: skip
        assert [result.status for result in report.results] == ["done", "failed"]
        assert report.results[1].error.reason == "download-failed"
        assert (tmp_path / f"cache/hf-objaverse-v1/{name}").read_bytes() == body
        assert f"glbs/000-000/{missing}.glb" in {path for path, *_ in server.asked}
        assert PATH.startswith("/datasets/allenai")
        with AssetReader(tmp_path / "out" / f"{UID}.zip") as reader:
            assert reader.metadata["file_identifier"] == f"https://sketchfab.com/3d-models/{UID}"
            assert reader.read(0)["mask"].any()
        # The panel finds the same object in the same cache.
        options = bpy.context.preferences.addons[NAME].preferences
        options.download_dir, options.endpoint = str(tmp_path / "cache"), server.endpoint
        asked = len(server.asked)
        try:
            bpy.ops.objaverse.import_asset(filepath=UID)
            assert bpy.context.scene.objaverse.asset.name == UID
            assert len(server.asked) == asked
            with pytest.raises(RuntimeError, match=r"online access|404"):
                bpy.ops.objaverse.import_asset(filepath=missing)
        finally:
            options.property_unset("download_dir")
            options.property_unset("endpoint")


def test_no_thread_and_no_preview_outlives_the_addon(bpy: Any, panel: Any, tmp_path: Path) -> None:
    import addon_utils

    from objaverse_render_addon.ui import run_state

    panel.output_dir = str(tmp_path)
    panel.views, panel.resolution_x, panel.resolution_y = 1, 32, 32
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "a.glb")))
    bpy.ops.objaverse.render_asset()
    previews = run_state._last.previews
    assert previews.is_dir()
    addon_utils.disable(NAME)
    try:
        assert not previews.exists()
        assert [t.name for t in threading.enumerate() if "objaverse" in t.name] == []
    finally:
        addon_utils.enable(NAME, default_set=True, persistent=True)




# --- The second time ------------------------------------------------------------------------------


@pytest.mark.core
def test_no_button_is_pressed_with_what_was_asked_for_before(bpy: Any) -> None:
    """Blender fills an operator's properties with the last ones, unless they say otherwise."""
    from objaverse_render_addon import operators

    # Where a file was saved is where it is offered to be saved next.
    kept = {"save_job.filepath", "save_job.check_existing"}
    stick = set()
    for cls in operators._CLASSES:
        if issubclass(cls, bpy.types.Operator):
            name = cls.bl_idname.partition(".")[2]
            rna = getattr(bpy.ops.objaverse, name).get_rna_type()
            stick |= {
                f"{name}.{prop.identifier}" for prop in rna.properties
                if not prop.is_readonly and not prop.is_skip_save
            }  # fmt: skip
    assert stick <= kept


@pytest.mark.core
def test_files_of_one_name_are_told_apart_before_anything_is_rendered(
    bpy: Any, panel: Any, tmp_path: Path
) -> None:
    for number, name in enumerate(("chair", "lamp", "violin")):
        (tmp_path / "models" / name).mkdir(parents=True)
        vertices = scenes.CUBE_VERTICES * (1, 1, 1 + number)
        scenes.write_glb(tmp_path / "models" / name / "scene.glb", vertices)
    panel.sources, panel.output_dir = str(tmp_path / "models"), str(tmp_path / "out")
    panel.views, panel.resolution_x, panel.resolution_y = 1, 32, 32
    state = bpy.context.window_manager.objaverse
    for ids, folder in (("name", "out"), ("sha256", "by content")):
        panel.ids, panel.output_dir = ids, str(tmp_path / folder)
        assert bpy.ops.objaverse.render_batch() == {"FINISHED"}
        assert [item.state for item in state.items] == ["done"] * 3
        names = [item.name for item in state.items]
        assert names == ["chair/scene.glb", "lamp/scene.glb", "violin/scene.glb"]
        made = sorted(path.stem for path in (tmp_path / folder).glob("[!.]*.zip"))
        assert made == (
            ["chair-scene", "lamp-scene", "violin-scene"]
            if ids == "name"
            else sorted(item.asset_id for item in state.items)
        )


@pytest.mark.core
def test_what_is_seen_in_edit_mode_is_rendered(bpy: Any, panel: Any, tmp_path: Path) -> None:
    import bmesh

    panel.output_dir, panel.overwrite, panel.normalize = str(tmp_path / "out"), True, "none"
    panel.pattern, panel.views, panel.resolution_x = "cube-faces", 6, 32
    bpy.ops.objaverse.import_asset(filepath=str(scenes.write_glb(tmp_path / "box.glb")))
    (box,) = (obj for obj in panel.asset.all_objects if obj.type == "MESH")
    bpy.context.view_layer.objects.active = box
    bpy.ops.object.mode_set(mode="EDIT")
    try:
        mesh = bmesh.from_edit_mesh(box.data)
        bmesh.ops.scale(mesh, verts=mesh.verts, vec=(3.0, 1.0, 1.0))
        bmesh.update_edit_mesh(box.data)
        assert bpy.ops.objaverse.render_asset() == {"FINISHED"}
        assert box.mode == "EDIT"
    finally:
        bpy.ops.object.mode_set(mode="OBJECT")
    with AssetReader(tmp_path / "out" / "box.zip") as reader:
        found = reader.metadata["normalization"]
        size = np.array(found["bbox_max"]) - found["bbox_min"]
    assert sorted(size / size.min()) == pytest.approx([1, 1, 3])


def test_passes_that_only_materials_fill_are_not_promised_to_the_scenes_own_renders(
    bpy: Any, panel: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    panel.output_dir = str(tmp_path)
    panel.passes = {"rgb", "depth", "normal", "albedo", "roughness_metallic", "mask"}
    bpy.ops.objaverse.setup_passes()
    scene = bpy.context.scene
    assert list(scene.view_layers[0].aovs) == []
    tree = getattr(scene, "compositing_node_group", None) or scene.node_tree
    (output,) = (node for node in tree.nodes if node.bl_idname == "CompositorNodeOutputFile")
    found = {socket.name for socket in output.inputs}
    assert {"depth", "normal"} <= found <= {"depth", "normal", ""}
    said = capfd.readouterr()
    assert "do not: Mask, Albedo, Roughness and Metallic" in said.out + said.err


def test_every_button_and_setting_has_its_place_in_the_manual(bpy: Any) -> None:
    from objaverse_render_addon.ui import manual

    page = manual.PAGE.read_text(encoding="utf-8")
    find = bpy.types.WM_OT_doc_view_manual._lookup_rna_url
    names = [f"bpy.ops.objaverse.{name}" for name in dir(bpy.ops.objaverse)]
    manager = bpy.context.window_manager
    for group in (bpy.context.scene.objaverse, manager.objaverse, manager.objaverse_dataset):
        of = group.bl_rna
        names += [f"bpy.types.{of.identifier}.{one.identifier}" for one in of.properties]
    for name in names:
        address = find(name, verbose=False)
        assert address is not None and address.startswith(manual.PAGE.as_uri()), name
        assert f'id="{address.partition("#")[2]}"' in page, (name, address)
    assert find("bpy.ops.objaverse.render_asset", verbose=False).endswith("#rendering")
    assert find("bpy.types.OBJAVERSE_PG_settings.radius", verbose=False).endswith("#cameras-row")
    assert "#" in find("bpy.types.OBJAVERSE_AP_preferences.device", verbose=False)


def test_the_manual_is_what_its_page_in_the_docs_says() -> None:
    tool = [sys.executable, str(ROOT / "tools/write_manual.py"), "--check"]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_labels_are_what_the_table_of_translations_says() -> None:
    tool = [sys.executable, str(ROOT / "tools/write_translations.py"), "--check"]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
