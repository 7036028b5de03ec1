from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import math
import os
import typing
from pathlib import Path
from typing import Any

import pytest
from helpers import leaves

import objaverse_render_addon
from objaverse_render_addon import job as job_module
from objaverse_render_addon.batch.inputs import check_files
from objaverse_render_addon.cli.flags import JOB_FLAGS
from objaverse_render_addon.errors import CameraFileError, InvalidJob
from objaverse_render_addon.job import (
    DEFAULT_PASSES,
    PASS_NAMES,
    PATTERNS,
    AssetRules,
    CameraRules,
    EngineSettings,
    Files,
    Lighting,
    Pixels,
    RenderJob,
    TimeRules,
    choices,
    current_form,
    differences,
    job_fields,
)

PACKAGE = Path(objaverse_render_addon.__file__).parent

# Every field, with a value that is not its default. Three jobs, since some exclude each other.
DRAWN = RenderJob(
    seed=7,
    asset=AssetRules(
        normalize="sphere", frame=-12, missing_textures="fail", missing_parts="fail",
        uncolored="random", witness="off", up="Y", front="-X",
    ),
    lighting=Lighting(
        mode="hdri", hdri='C:\\hdri\\"dawn"\x7f ☀.exr', strength=0.25, background=(0.1, 0.5, 1.0),
        per_view=3,
    ),
    cameras=CameraRules(
        pattern="zero123",
        views=5,
        radius=(1.25, 2.5),
        elevation=(-10.0, 30.0),
        fov=(20.0, 60.0),
        framing="resample",
        only_northern_hemisphere=True,
        turns=-1.5,
        pixel_aspect=1.5,
        shift=(0.25, -0.125),
    ),
    engine=EngineSettings(
        engine="eevee", samples=3, denoise=False, device="optix", threads=2, alpha_threshold=0.75
    ),
    pixels=Pixels(resolution=(64, 48), passes=("distance", "rgb"), normal_space="world",
                  sensor="structured-light",
                  tracks=7, classes="table", class_property="kind", class_table="classes.csv"),
    files=Files(
        geometry="exr", layout="folder", rig=True, geometry_files=("voxels", "mesh"),
        geometry_points=1_000,
    ),
)
OF_SCENE = RenderJob(cameras=CameraRules(pattern="scene", scene_cameras="Left, Right"))
FROM_FILE = RenderJob(
    cameras=CameraRules(pattern="file", file="poses.json", views=3),
    time=TimeRules(
        frames="-3:9:2", action="Walk", scale=2.5, views_per_frame="one", motion_blur=True,
        shutter=0.25, still="fail", leaving="fail",
    ),
)  # fmt: skip
PARALLEL = RenderJob(
    cameras=CameraRules(projection="orthographic", ortho=1.25, test_views=4, test_cameras="ring")
)
PAIRS = RenderJob(cameras=CameraRules(stereo=0.0625))
LIT = RenderJob(
    lighting=Lighting(mode="file", lights="lights.toml", groups=True),
    pixels=Pixels(passes=("rgb_linear",)),
)
EXAMPLES = [LIT, DRAWN, FROM_FILE, OF_SCENE, PARALLEL, PAIRS]


FIELDS = leaves(RenderJob().to_dict())
each_job = pytest.mark.parametrize("job", [RenderJob(), *EXAMPLES, DRAWN.resolved()])


# --- Round trips ----------------------------------------------------------------------------


def test_the_example_jobs_change_every_field():
    defaults = leaves(RenderJob().to_dict())
    changed = {
        name
        for job in EXAMPLES
        for name, value in leaves(job.to_dict()).items()
        if value != defaults[name]
    }
    assert changed == set(FIELDS)


@each_job
def test_a_job_comes_back_from_a_dictionary(job: RenderJob):
    assert RenderJob.from_dict(job.to_dict()) == job


@each_job
def test_a_job_comes_back_from_toml(job: RenderJob, tmp_path: Path):
    path = tmp_path / "job.toml"
    path.write_text(job.to_toml(), encoding="utf-8")
    assert RenderJob.load(path) == job
    assert RenderJob.load(str(path)) == job


@each_job
def test_a_job_comes_back_from_json(job: RenderJob, tmp_path: Path):
    path = tmp_path / "job.JSON"
    path.write_text(json.dumps(job.to_dict()), encoding="utf-8")
    assert RenderJob.load(path) == job


def test_the_dictionary_is_plain_data_of_its_own():
    data = DRAWN.to_dict()
    assert json.loads(json.dumps(data)) == data
    data["cameras"]["views"] = 99
    assert DRAWN.cameras.views == 5


def test_missing_fields_take_their_defaults():
    assert RenderJob.from_dict({}) == RenderJob()
    assert RenderJob.from_dict({"engine": {"samples": 9}}).engine == EngineSettings(samples=9)


def test_a_job_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RenderJob().seed = 1


def test_lists_become_tuples_and_one_number_stands_for_a_range():
    job = RenderJob.from_dict({"cameras": {"radius": 2, "fov": [30, 40.5]}})
    assert job.cameras.radius == (2.0, 2.0)
    assert job.cameras.fov == (30.0, 40.5)
    assert CameraRules(radius=2) == CameraRules(radius=[2.0, 2])


def test_with_values_replaces_fields_by_their_dotted_path():
    job = DRAWN.with_values({"engine.samples": 16, "seed": 8, "cameras.radius": None})
    assert (job.engine.samples, job.seed, job.cameras.radius) == (16, 8, None)
    assert differences(DRAWN.to_dict(), job.to_dict()) == [
        "cameras.radius: [1.25, 2.5] -> None",
        "engine.samples: 3 -> 16",
        "seed: 7 -> 8",
    ]


@pytest.mark.parametrize("path", ["engin.samples", "engine.sample", "sede"])
def test_with_values_names_a_path_that_is_not_there(path: str):
    with pytest.raises(InvalidJob, match=f"no job field {path.split('.')[0][:5]}.*Did you mean"):
        RenderJob().with_values({path: 1})


def test_differences_of_equal_jobs_are_none_and_missing_keys_count():
    assert differences(DRAWN.to_dict(), DRAWN.to_dict()) == []
    assert differences({"a": 1}, {}) == ["a: 1 -> None"]


# --- What is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "field", "suggestion"),
    [
        ({"sed": 1}, "sed", "seed"),
        ({"camera": {}}, "camera", "cameras"),
        ({"engine": {"sampels": 1}}, "engine.sampels", "samples"),
        ({"cameras": {"elevations": [0, 1]}}, "cameras.elevations", "elevation"),
        ({"pixels": {"pases": ["rgb"]}}, "pixels.pases", "passes"),
    ],
)
def test_an_unknown_field_is_named_with_a_suggestion(data: dict, field: str, suggestion: str):
    with pytest.raises(InvalidJob) as caught:
        RenderJob.from_dict(data)
    assert field in caught.value.message
    assert caught.value.hint == f"Did you mean {suggestion!r}?"


def test_a_word_like_nothing_gets_the_whole_list():
    with pytest.raises(InvalidJob) as caught:
        RenderJob.from_dict({"engine": {"xyzzy": 1}})
    assert "samples" in caught.value.hint
    assert "threads" in caught.value.hint


WRONG = [
    ("seed", "1"),
    ("seed", 1.5),
    ("seed", True),
    ("seed", None),
    ("seed", -1),
    ("seed", 2**63),
    ("asset.normalize", "cubes"),
    ("asset.frame", "first"),
    ("asset.frame", 10_000_000),
    ("asset.missing_textures", None),
    ("asset.missing_parts", "perhaps"),
    ("asset.uncolored", 0),
    ("asset.up", "W"),
    ("asset.front", "+Y"),
    ("cameras.projection", "isometric"),
    ("cameras.ortho", 0),
    ("cameras.stereo", -0.1),
    ("cameras.test_views", 0.5),
    ("cameras.test_cameras", "file"),
    ("asset.witness", "on"),
    ("time.frames", "some"),
    ("time.frames", "9:1"),
    ("time.frames", "1:9:0"),
    ("time.frames", "0:999999"),
    ("time.action", 3),
    ("time.scale", 0),
    ("time.views_per_frame", "two"),
    ("time.motion_blur", "yes"),
    ("time.shutter", 0),
    ("time.still", "skip"),
    ("time.leaving", "skip"),
    ("lighting.mode", "dark"),
    ("lighting.per_view", 0),
    ("lighting.lights", 3),
    ("lighting.groups", "all"),
    ("lighting.strength", -0.1),
    ("lighting.strength", math.inf),
    ("lighting.strength", math.nan),
    ("lighting.strength", False),
    ("lighting.strength", 10**400),
    ("lighting.background", [0, 0]),
    ("lighting.background", [0, 0, 1.5]),
    ("lighting.background", [0, math.nan, 0]),
    ("lighting.background", "white"),
    ("lighting.hdri", 3),
    ("cameras.pattern", "rnig"),
    ("cameras.views", 0),
    ("cameras.views", 100_001),
    ("cameras.views", 2.5),
    ("cameras.radius", [2, 1]),
    ("cameras.radius", 0),
    ("cameras.radius", -1),
    ("cameras.radius", [1, math.inf]),
    ("cameras.radius", [math.nan, 1]),
    ("cameras.radius", [1, 2, 3]),
    ("cameras.radius", ["1", "2"]),
    ("cameras.elevation", [-91, 0]),
    ("cameras.elevation", [0, 90.5]),
    ("cameras.fov", 0),
    ("cameras.fov", 171),
    ("cameras.framing", "crop"),
    ("cameras.only_northern_hemisphere", 1),
    ("cameras.scene_cameras", "Left"),
    ("cameras.turns", 0),
    ("cameras.turns", math.nan),
    ("cameras.pixel_aspect", 0),
    ("cameras.pixel_aspect", math.nan),
    ("cameras.shift", [0, 2.5]),
    ("cameras.shift", [0, math.nan]),
    ("cameras.shift", [math.nan, 0]),
    ("engine.engine", "luxcore"),
    ("engine.samples", 0),
    ("engine.samples", 65537),
    ("engine.denoise", "yes"),
    ("engine.device", "gpu"),
    ("engine.threads", -1),
    ("engine.threads", 1025),
    ("engine.alpha_threshold", 0),
    ("engine.alpha_threshold", 1.01),
    ("pixels.resolution", [64]),
    ("pixels.resolution", [64, 64.5]),
    ("pixels.resolution", [3, 64]),
    ("pixels.resolution", [64, 16385]),
    ("pixels.passes", []),
    ("pixels.passes", "rgb"),
    ("pixels.passes", ["rgb", "rgb"]),
    ("pixels.passes", ["rgb", "deph"]),
    ("pixels.passes", [1]),
    ("pixels.normal_space", "object"),
    ("pixels.tracks", -1),
    ("pixels.classes", "colour"),
    ("pixels.sensor", "lidar"),
    ("pixels.class_property", 3),
    ("pixels.class_table", "classes.csv"),
    ("files.geometry", "png"),
    ("files.layout", "rar"),
    ("files.rig", 2),
    ("files.geometry_files", ["meshes"]),
    ("files.geometry_points", 10),
]


def test_every_field_has_a_wrong_value_in_the_list_above():
    assert {name for name, _ in WRONG} | {"cameras.file"} == set(FIELDS)


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda item: str(item)[:24])
def test_a_wrong_value_is_refused_by_the_name_of_its_field(field: str, value: Any):
    with pytest.raises(InvalidJob) as caught:
        RenderJob().with_values({field: value})
    assert field in caught.value.message


@pytest.mark.parametrize(
    "section", ["asset", "lighting", "cameras", "engine", "pixels", "files", "output"]
)
@pytest.mark.parametrize("value", [None, 3, [], "white"])
def test_a_section_has_to_be_a_table(section: str, value: Any):
    with pytest.raises(InvalidJob, match=f"{section} should be a table"):
        RenderJob.from_dict({section: value})


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: CameraRules(pattern="rnig"), "cameras.pattern"),
        (lambda: EngineSettings(samples="many"), "engine.samples"),
        (lambda: Pixels(resolution=(64,)), "pixels.resolution"),
        (lambda: RenderJob(seed=None), "seed"),
        (lambda: RenderJob(cameras="ring"), "cameras"),
        (lambda: Lighting(mode="sun"), "lighting.mode"),
        (lambda: AssetRules(frame=1.5), "asset.frame"),
    ],
)
def test_the_python_constructors_check_as_the_files_do(make: Any, field: str):
    with pytest.raises(InvalidJob) as caught:
        make()
    assert field in caught.value.message


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"cameras": {"pattern": "file"}}, "cameras.file"),
        ({"cameras": {"pattern": "file", "file": ""}}, "cameras.file"),
        ({"cameras": {"file": "poses.json"}}, "cameras.file"),
        ({"cameras": {"pattern": "file", "file": "a", "framing": "fit"}}, "cameras.framing"),
        ({"cameras": {"pattern": "file", "file": "a", "framing": "resample"}}, "cameras.framing"),
        ({"cameras": {"pattern": "file", "file": "a", "radius": 2}}, "cameras.radius"),
        ({"cameras": {"pattern": "file", "file": "a", "elevation": 2}}, "cameras.elevation"),
        ({"cameras": {"pattern": "file", "file": "a", "fov": 40}}, "cameras.fov"),
        ({"cameras": {"pattern": "file", "file": "a", "pixel_aspect": 2}}, "cameras.pixel_aspect"),
        ({"cameras": {"pattern": "file", "file": "a", "shift": [0.1, 0]}}, "cameras.shift"),
        ({"cameras": {"pattern": "ring", "framing": "resample"}}, "cameras.framing"),
        ({"cameras": {"pattern": "hammersley", "framing": "resample"}}, "cameras.framing"),
        ({"cameras": {"projection": "panorama", "pixel_aspect": 2}}, "cameras.pixel_aspect"),
        ({"cameras": {"ortho": 2}}, "cameras.ortho"),
        ({"lighting": {"lights": "a.toml"}}, "lighting.lights"),
        ({"lighting": {"mode": "file"}}, "lighting.lights"),
        ({"lighting": {"per_view": 2}}, "lighting.per_view"),
        ({"lighting": {"groups": True}}, "lighting.groups"),
        (
            {"lighting": {"mode": "file", "lights": "a.toml", "groups": True}}, "lighting.groups"
        ),
        ({"asset": {"up": "Y", "front": "-Y"}}, "asset.front"),
        ({"cameras": {"stereo": 0.1, "projection": "fisheye"}}, "cameras.stereo"),
        ({"cameras": {"pattern": "file", "file": "a", "test_views": 2}}, "cameras.test_views"),
        ({"cameras": {"projection": "panorama"}, "engine": {"engine": "eevee"}}, "engine.engine"),
        ({"cameras": {"pattern": "cube-faces", "views": 5}}, "cameras.views"),
        ({"cameras": {"pattern": "cube-faces", "elevation": 30}}, "cameras.elevation"),
        (
            {"cameras": {"pattern": "cube-faces", "only_northern_hemisphere": True}},
            "cameras.only_northern_hemisphere",
        ),
        ({"cameras": {"pattern": "zero123plus", "views": 8}}, "cameras.views"),
        (
            {"cameras": {"pattern": "g-objaverse", "only_northern_hemisphere": True}},
            "cameras.only_northern_hemisphere",
        ),
        (
            {"cameras": {"elevation": [-30, -10], "only_northern_hemisphere": True}},
            "cameras.elevation",
        ),
        ({"cameras": {"shift": [0.5, 0]}}, "cameras.shift"),
        ({"cameras": {"pattern": "ring", "shift": [0, -0.75]}}, "cameras.shift"),
        ({"lighting": {"mode": "hdri"}}, "lighting.hdri"),
        ({"lighting": {"mode": "hdri", "hdri": ""}}, "lighting.hdri"),
        ({"lighting": {"hdri": "sky.exr"}}, "lighting.hdri"),
        (
            {"lighting": {"mode": "hdri", "hdri": "a"}, "engine": {"engine": "workbench"}},
            "engine.engine",
        ),
    ],
)
def test_an_impossible_combination_is_refused_by_the_name_of_a_field(data: dict, field: str):
    with pytest.raises(InvalidJob) as caught:
        RenderJob.from_dict(data)
    assert field in caught.value.message


def test_a_principal_point_outside_the_picture_is_possible_where_nothing_has_to_fit():
    assert CameraRules(shift=(0.75, 0), framing="allow").shift == (0.75, 0.0)


# --- Job files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.toml", b"seed = "),
        ("a.toml", b"seed = 1\nseed = 2\n"),
        ("a.toml", b"\xff\xfe"),
        ("a.json", b"{"),
        ("a.json", b"[]"),
        ("a.json", b"3"),
        ("a.json", b'{"seed": ' + b"9" * 5000 + b"}"),
        ("a.json", b'{"engine": {"samples": NaN}}'),
        ("a.toml", b"[engine]\nsamples = 0\n"),
    ],
)
def test_a_broken_job_file_is_named(tmp_path: Path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidJob) as caught:
        RenderJob.load(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_job_file_that_is_not_there_is_named(tmp_path: Path, name: str):
    with pytest.raises(InvalidJob, match=str(tmp_path)):
        RenderJob.load(tmp_path / name)


# --- Resolving ------------------------------------------------------------------------------


def job_of(pattern: str, **rules: Any) -> RenderJob:
    if pattern == "file":
        rules.setdefault("file", "poses.json")
    return RenderJob(cameras=CameraRules(pattern=pattern, **rules))


each_pattern = pytest.mark.parametrize("pattern", list(PATTERNS))


def test_every_pattern_of_the_type_has_defaults():
    hints = typing.get_type_hints(CameraRules)
    assert set(typing.get_args(hints["pattern"])) == set(PATTERNS)


@each_pattern
def test_resolving_fills_in_what_the_pattern_says(pattern: str):
    defaults, job = PATTERNS[pattern], job_of(pattern).resolved()
    assert job.asset.normalize == defaults.normalize
    assert job.cameras.views == (defaults.views or None)
    assert job.cameras.radius == defaults.radius
    assert job.cameras.elevation == defaults.elevation
    assert job.cameras.fov == defaults.fov
    assert job.cameras.framing == defaults.framing


@each_pattern
def test_resolving_twice_changes_nothing(pattern: str):
    once = job_of(pattern).resolved()
    assert once.resolved() == once
    assert RenderJob.from_dict(once.to_dict()) == once


def test_resolving_keeps_what_the_user_says():
    rules = DRAWN.resolved().cameras
    assert rules == dataclasses.replace(DRAWN.cameras, elevation=(0.0, 30.0))


def test_default_distances_grow_and_shrink_with_the_normalised_size():
    def radius(pattern: str, normalize: str) -> tuple[float, float] | None:
        rules = CameraRules(pattern=pattern)
        return (
            RenderJob(asset=AssetRules(normalize=normalize), cameras=rules)
            .resolved()
            .cameras.radius
        )

    assert radius("gs-lrm", "cube") == (1.5, 2.8)
    assert radius("gs-lrm", "unit-cube") == (0.75, 1.4)
    assert radius("zero123", "unit-cube") == (1.5, 2.2)
    assert radius("zero123", "cube") == (3.0, 4.4)
    assert radius("zero123", "sphere") == (3.0, 4.4)
    assert radius("zero123", "none") == (3.0, 4.4)


def test_a_radius_that_the_user_gives_is_in_scene_units_whatever_the_normalisation():
    rules = CameraRules(pattern="zero123", radius=(2, 3))
    job = RenderJob(asset=AssetRules(normalize="cube"), cameras=rules).resolved()
    assert job.cameras.radius == (2.0, 3.0)


def test_the_northern_hemisphere_starts_at_the_horizon():
    job = job_of("gs-lrm", only_northern_hemisphere=True).resolved()
    assert job.cameras.elevation == (0.0, 45.0)
    job = job_of("gs-lrm", only_northern_hemisphere=True, elevation=(10, 20)).resolved()
    assert job.cameras.elevation == (10.0, 20.0)


def test_the_default_passes_exist():
    assert set(DEFAULT_PASSES) <= set(PASS_NAMES)


# --- Fingerprint ----------------------------------------------------------------------------


def test_the_fingerprint_is_that_of_the_resolved_job():
    assert RenderJob().fingerprint() == RenderJob().resolved().fingerprint()
    explicit = job_of("ring", views=12)
    assert explicit.fingerprint() == job_of("ring").fingerprint()


@pytest.mark.parametrize("field", list(FIELDS))
def test_the_fingerprint_ignores_device_threads_and_witness_and_only_those(field: str):
    # Start from a job that has the field's neighbours, end at one that differs in it alone.
    of_time = field.startswith("time.")
    other = {
        "lighting.mode": {"lighting.mode": "xl"},
        "lighting.hdri": {"lighting.mode": "hdri", "lighting.hdri": "other.exr"},
        "cameras.file": {"cameras.pattern": "file", "cameras.file": "other.json"},
        "cameras.pattern": {"cameras.pattern": "zero123"},
        "cameras.ortho": {"cameras.projection": "orthographic", "cameras.ortho": 1.25},
        "lighting.lights": {"lighting.mode": "file", "lighting.lights": "other.toml"},
        "lighting.per_view": {"lighting.per_view": 3},
        "lighting.groups": {"lighting.groups": True},
        "cameras.scene_cameras": {"cameras.scene_cameras": "Left"},
        "pixels.classes": {"pixels.classes": "collection"},
        "pixels.class_table": {"pixels.class_table": "other.csv"},
    }.get(field)
    if other is None:
        usual = leaves(RenderJob().to_dict())[field]
        found = [leaves(job.to_dict())[field] for job in EXAMPLES]
        other = {field: next(value for value in found if value != usual)}
    start = {
        "lighting.hdri": RenderJob(lighting=Lighting(mode="hdri", hdri="one.exr")),
        "cameras.file": FROM_FILE,
        "cameras.ortho": RenderJob(cameras=CameraRules(projection="orthographic")),
        "lighting.lights": RenderJob(lighting=Lighting(mode="file", lights="one.toml")),
        "lighting.per_view": RenderJob(lighting=Lighting(mode="hdri", hdri="one.exr")),
        "lighting.groups": dataclasses.replace(
            LIT, lighting=Lighting(mode="file", lights="lights.toml")
        ),
        "cameras.scene_cameras": OF_SCENE,
        "pixels.class_table": RenderJob(pixels=Pixels(classes="table", class_table="one.csv")),
    }.get(field, RenderJob(time=TimeRules(frames="all")) if of_time else RenderJob())
    changed = start.with_values(other)
    assert changed != start
    same = changed.fingerprint() == start.fingerprint()
    assert same == (field in ("engine.device", "engine.threads", "asset.witness"))


def test_the_fingerprint_follows_the_content_of_the_files_that_a_job_names(tmp_path: Path):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    one.write_text("{}")
    two.write_text("{}")
    before = job_of("file", file=str(one)).fingerprint()
    assert job_of("file", file=str(two)).fingerprint() == before
    one.write_text("{ }")
    assert job_of("file", file=str(one)).fingerprint() != before


def test_a_younger_field_counts_only_where_it_is_not_at_its_default(
    monkeypatch: pytest.MonkeyPatch,
):
    before = RenderJob().fingerprint()
    other = RenderJob().with_values({"pixels.normal_space": "world", "lighting.strength": 2})
    fields = dict(job_fields())
    for path in ("pixels.normal_space", "lighting.strength"):
        young = dataclasses.replace(fields[path].setting, younger=True)
        fields[path] = dataclasses.replace(fields[path], setting=young)
    known = other.fingerprint()
    monkeypatch.setattr(job_module, "job_fields", lambda: fields)
    assert RenderJob().fingerprint() != before
    assert other.fingerprint() == known


def test_the_fingerprint_of_the_default_job_is_pinned():
    # A change here makes every finished dataset "made differently": only on purpose.
    assert RenderJob().fingerprint()[:16] == "061fbb3ff62e4d30"


# --- What earlier versions wrote ------------------------------------------------------------

EARLIER = json.loads(Path(__file__).with_name("earlier_jobs.json").read_text(encoding="utf-8"))
each_earlier = pytest.mark.parametrize("name", EARLIER)


@each_earlier
@pytest.mark.parametrize("form", ["asked", "recorded"])
def test_a_job_of_an_earlier_version_is_the_same_job(
    name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # The fingerprints are those that the version before the sections were divided computed, with
    # these files in its folder: else every finished dataset would be "made differently".
    monkeypatch.chdir(tmp_path)
    Path("sky.exr").write_bytes(b"light\n")
    Path("poses.json").write_bytes(b'{"frames": []}\n')
    Path("scene").mkdir()
    Path("scene/transforms_train.json").write_bytes(b"{}\n")
    Path("scene/transforms_val.json").write_bytes(b"{ }\n")
    earlier = EARLIER[name]
    job = RenderJob.from_dict(earlier[form])
    assert job.fingerprint() == earlier["fingerprint"]
    younger = {
        f"{path}: None -> {list(field.default) if field.default == () else field.default}"
        for path, field in job_fields().items()
        if field.setting.younger
    }
    told = differences(current_form(earlier["recorded"]), job.resolved().to_dict())
    assert {*told} <= younger
    assert RenderJob.from_dict(job.to_dict()) == job


def test_a_job_file_of_an_earlier_version_is_read(tmp_path: Path):
    path = tmp_path / "job.toml"
    path.write_text('[output]\nresolution = 64\nlayout = "tar"\n[pixels]\npasses = ["depth"]\n')
    job = RenderJob.load(path)
    assert job.pixels == Pixels(resolution=(64, 64), passes=("depth",))
    assert job.files == Files(layout="tar")
    assert "output" not in job.to_toml()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"output": {"pases": ["rgb"]}}, "no job field output.pases"),
        ({"output": {"layout": "tar"}, "files": {"layout": "tar"}}, "files.layout by now"),
        ({"output": {"layout": "tar"}, "files": 3}, "files should be a table"),
        ({"output": {"resolution": 3}}, "pixels.resolution"),
    ],
)
def test_what_no_version_wrote_is_refused(data: dict[str, Any], message: str):
    with pytest.raises(InvalidJob, match=message):
        RenderJob.from_dict(data)


# --- Flags ----------------------------------------------------------------------------------


def test_every_flag_sets_a_job_field_and_every_job_field_has_one_flag():
    paths = [path for flags in JOB_FLAGS.values() for _, path, _ in flags]
    assert sorted(paths) == sorted(FIELDS)


def test_what_a_flag_says_is_what_the_field_says():
    fields = job_fields()
    for title, flags in JOB_FLAGS.items():
        for flag, path, arguments in flags:
            field = fields[path]
            assert (title, flag) == (field.title, field.setting.flag)
            assert arguments["help"].startswith(field.setting.about)
            assert tuple(arguments.get("choices", ())) == field.choices
            assert arguments["default"] == argparse.SUPPRESS


def test_the_choices_of_a_field_are_those_of_its_type():
    fields = job_fields()
    assert fields["cameras.pattern"].choices == typing.get_args(choices.Pattern)
    assert fields["asset.normalize"].choices == typing.get_args(choices.Normalization)
    assert sum(bool(field.choices) for field in fields.values()) == 22


def test_a_setting_is_described_at_its_field_and_nowhere_else():
    # Whoever describes one again (a flag, a property, a line of the schema) has it in two words.
    abouts = {field.setting.about for field in job_fields().values()}
    flags = {field.setting.flag for field in job_fields().values()}
    homes = ("job/__init__.py", "job/rules/")
    found = []
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said = node.value[:1].lower() + node.value[1:]
                if said in abouts and not name.startswith(homes):
                    found.append((name, node.value))
                if name == "cli/flags.py" and node.value in flags:
                    found.append((name, node.value))
    assert found == []
    # What the panel declares by hand is nothing of the job's.
    names = {field.setting.name for field in job_fields().values()}
    panel = ast.parse((PACKAGE / "ui/properties.py").read_text(encoding="utf-8"))
    by_hand = {ast.unparse(n.target) for n in ast.walk(panel) if isinstance(n, ast.AnnAssign)}
    assert "output_dir" in by_hand
    assert not by_hand & names


@pytest.mark.parametrize(
    ("path", "inside", "outside"),
    [
        ("engine.samples", [1, 65536], [0, 65537]),
        ("engine.alpha_threshold", [1e-6, 1], [0, 1 + 1e-9, math.nan]),
        ("cameras.radius", [[1e-9, 1e6]], [[0, 1], [1, 2e6], [2, 1], [1, math.inf]]),
        ("pixels.resolution", [[4, 16384]], [[3, 64], [64, 16385]]),
        ("lighting.background", [[0, 0.5, 1]], [[0, 0, 1.5], [-0.1, 0, 0]]),
        ("seed", [0, 2**63 - 1], [-1, 2**63]),
    ],
)
def test_limits_are_where_the_field_has_them(path: str, inside: list[Any], outside: list[Any]):
    for value in inside:
        RenderJob().with_values({path: value})
    for value in outside:
        with pytest.raises(InvalidJob, match=path):
            RenderJob().with_values({path: value})


@pytest.mark.parametrize("kind", ["fifo", "device", "text"])
def test_files_that_never_end_or_are_no_images_are_named_at_once(tmp_path: Path, kind: str):
    path = tmp_path / "sky.hdr"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        path.write_text("no image")
    job = RenderJob(lighting=Lighting(mode="hdri", hdri=str(path)))
    job.fingerprint()
    with pytest.raises(InvalidJob, match=r"regular file|no image"):
        check_files(job)
    if kind != "text":
        poses = RenderJob(cameras=CameraRules(pattern="file", file=str(path)))
        poses.fingerprint()
        with pytest.raises(CameraFileError, match="neither a file"):
            check_files(poses)


def test_a_table_nested_without_end_is_named(tmp_path: Path):
    path = tmp_path / "job.toml"
    path.write_text("a = " + "[" * 50_000)
    with pytest.raises(InvalidJob, match=r"job\.toml"):
        RenderJob.load(path)
