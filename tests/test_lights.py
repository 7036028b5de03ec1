"""Files of lights, folders of images, and pictures under several lights in a finished asset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import LOPSIDED, camera_at, light_of, write_asset

from objaverse_render_addon.batch.inputs import check_files
from objaverse_render_addon.dataset.export import export
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import InvalidJob, MissingPass
from objaverse_render_addon.frame import Frame
from objaverse_render_addon.job import CameraRules, Files, Lighting, Pixels, RenderJob
from objaverse_render_addon.lights import Light, lights_of, sky_axes

TOML = """
[[lights]]
name = "key"
kind = "sun"
azimuth = 200
elevation = 30
strength = 2
[[lights]]
kind = "hdri"
hdri = "sky.exr"
rotation = 90
"""


def job_of(**lighting: Any) -> RenderJob:
    return RenderJob(lighting=Lighting(**lighting))


def saved(folder: Path, text: str, name: str = "lights.toml") -> RenderJob:
    (folder / name).write_text(text)
    return job_of(mode="file", lights=str(folder / name))


def test_a_file_of_lights_is_read_and_its_images_are_beside_it(tmp_path: Path) -> None:
    key, sky = lights_of(saved(tmp_path, TOML), "a", 0)
    assert key == Light(name="key", kind="sun", azimuth=200, elevation=30, strength=2)
    assert (sky.name, sky.rotation) == ("light1", 90)
    assert sky.hdri == str(tmp_path / "sky.exr")
    same = json.dumps({"lights": [{"name": "key", "kind": "sun"}]})
    assert len(lights_of(saved(tmp_path, same, "lights.json"), "a", 0)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no list named lights"), ("lights = 3", "no list named lights"),
        ("[[lights]]\nkind = 'moon'", "light 0.*moon"),
        ("[[lights]]\nkind = 'hdri'", "light 0.*no image"),
        ("[[lights]]\nhdri = 'a.exr'", "light 0.*white"),
        ("[[lights]]\ncolour = [1, 1, 1]", "colour"),
        ("[[lights]]\nstrength = -1", "strength"),
        ("[[lights]]\nname = 'a'\n[[lights]]\nname = 'a'", "twice"), ("[[", "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_of_lights_is_said(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidJob, match=said):
        lights_of(saved(tmp_path, text), "a", 0)


def test_a_run_ends_before_it_begins_where_lights_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InvalidJob, match=r"sky\.exr"):
        check_files(saved(tmp_path, TOML))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidJob, match="no image for light"):
        check_files(job_of(mode="hdri", hdri=str(tmp_path / "empty")))
    twice = "[[lights]]\nname='a'\n[[lights]]\nname='b'"
    job = saved(tmp_path, twice)
    check_files(job)
    grouped = job.with_values({"lighting.groups": True, "pixels.passes": ["rgb_linear"]})
    with pytest.raises(InvalidJob, match="one world"):
        check_files(grouped)


def test_images_are_drawn_by_seed_asset_and_view_alone(tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / f"{name}.hdr").write_bytes(b"#?RADIANCE\n")
    job = job_of(mode="hdri", hdri=str(tmp_path), per_view=4, strength=0.5)
    check_files(job)
    first = lights_of(job, "asset", 0)
    assert first == lights_of(job, "asset", 0)
    assert len({light.hdri for light in first}) == 4
    assert all(light.strength == 0.5 for light in first)
    drawn = {tuple((light.hdri, light.rotation) for light in lights_of(job, name, view))
             for name in ("asset", "other") for view in range(5)}  # fmt: skip
    assert len(drawn) == 10
    other = lights_of(job.with_values({"seed": 1}), "asset", 0)
    assert other != first
    assert len(lights_of(job_of(mode="hdri", hdri=str(tmp_path)), "asset", 0)) == 1
    many = lights_of(job_of(mode="hdri", hdri=str(tmp_path), per_view=12), "asset", 0)
    assert len({light.name for light in many}) == 12


def test_the_fingerprint_follows_the_images_of_a_folder(tmp_path: Path) -> None:
    image = tmp_path / "a.hdr"
    image.write_bytes(b"#?RADIANCE\n1")
    job = job_of(mode="hdri", hdri=str(tmp_path))
    before = job.fingerprint()
    (tmp_path / "notes.txt").write_text("no light")
    assert job.fingerprint() == before
    image.write_bytes(b"#?RADIANCE\n2")
    assert job.fingerprint() != before


def test_directions_are_told_in_the_cameras_axes() -> None:
    camera = camera_at(azimuth=270, elevation=0)
    record = Light(name="a", kind="sun", azimuth=0, elevation=0).record(camera)
    # From the front +X is to the right.
    assert np.allclose(record["direction_camera"], [1, 0, 0])
    sky = Light(name="b", kind="hdri", hdri="a.exr", rotation=90).record(camera)
    # The image's middle, +X of its own, is turned to +Y, which is away from this camera.
    assert np.allclose(np.array(sky["environment_to_camera"]) @ [1, 0, 0], [0, 0, -1])
    assert np.allclose(sky_axes(90) @ [1, 0, 0], [0, 1, 0])


# --- In a finished asset --------------------------------------------------------------------


def lit_asset(folder: Path, change: Any = None, grouped: bool = False) -> Path:
    """Two views under two lights: the second half as bright as the first."""
    (folder / "lights.toml").write_text("[[lights]]\nname = 'a'\n[[lights]]\nname = 'b'")
    lighting = Lighting(mode="file", lights=str(folder / "lights.toml"), groups=grouped)
    job = RenderJob(
        lighting=lighting, cameras=CameraRules(pattern="ring", views=2),
        pixels=Pixels(resolution=(32, 32), passes=("rgb", "rgb_linear", "depth", "normal", "mask")),
        files=Files(layout="folder"),
    )  # fmt: skip

    def light(frames: list[Frame], record: dict[str, Any]) -> None:
        from objaverse_render_addon.dataset import metadata

        for number, frame in enumerate(frames):
            frame.lights = [Light(name=name).record(frame.camera) for name in "ab"]
            frame.grouped = grouped
            whole = light_of(frame.passes["rgb"])
            half = whole * np.array([0.5, 0.5, 0.5, 1], np.float16)
            dark = frame.passes["rgb"].copy()
            dark[..., :3] //= 2
            frame.relit = [
                {"rgb": frame.passes["rgb"], "rgb_linear": half if grouped else whole},
                {"rgb": dark, "rgb_linear": half},
            ]
            frame.passes["rgb_linear"] = whole
            if change:
                change(frame)
            record["views"][number] = metadata.view_record(frame, job.resolved())

    return write_asset(folder / "data", job, "asset", LOPSIDED, light)


def test_pictures_under_each_light_are_read_back(tmp_path: Path) -> None:
    with AssetReader(lit_asset(tmp_path)) as reader:
        assert [light["name"] for light in reader.lights(1)] == ["a", "b"]
        own, first, second = (reader.read(1, light=light) for light in (None, 0, 1))
        assert np.array_equal(own["rgb"], first["rgb"])
        assert np.array_equal(second["rgb"][..., :3], own["rgb"][..., :3] // 2)
        assert np.array_equal(second["depth"], own["depth"])
        assert {"000.png", "000_light1.png", "000_light1_rgb_linear.exr"} <= set(reader.names())
        assert "000_light0.png" not in reader.names()
        with pytest.raises(MissingPass, match="no light 2"):
            reader.read(0, light=2)
    assert verify_asset(tmp_path / "data/asset").failed == []


def test_groups_have_a_picture_each_beside_the_sum(tmp_path: Path) -> None:
    with AssetReader(lit_asset(tmp_path, grouped=True)) as reader:
        parts = [reader.read(0, ["rgb_linear"], light=light)["rgb_linear"] for light in (0, 1)]
        whole = reader.read(0, ["rgb_linear"])["rgb_linear"]
        assert np.allclose(sum(part[..., :3].astype(float) for part in parts), whole[..., :3])
    verdict = verify_asset(tmp_path / "data/asset")
    assert verdict.failed == []
    assert "lights_add_up" not in verdict.doubts


def test_parts_that_do_not_add_up_are_found(tmp_path: Path) -> None:
    def spoil(frame: Frame) -> None:
        frame.relit[1]["rgb_linear"] = frame.relit[1]["rgb_linear"] * np.float16(1.5)

    verdict = verify_asset(lit_asset(tmp_path, spoil, grouped=True))
    assert verdict.doubts["lights_add_up"] == [0, 1]


def test_a_picture_that_shows_something_else_is_found(tmp_path: Path) -> None:
    def spoil(frame: Frame) -> None:
        frame.relit[1] = {
            name: np.roll(data, 9, axis=1) for name, data in frame.relit[1].items()
        }

    verdict = verify_asset(lit_asset(tmp_path, spoil))
    assert "alpha_agrees_with_mask" in verdict.doubts


def test_a_missing_picture_is_found(tmp_path: Path) -> None:
    path = lit_asset(tmp_path)
    (path / "001_light1.png").unlink()
    assert verify_asset(path).failed


def test_an_export_says_that_it_leaves_other_lights_out(tmp_path: Path) -> None:
    lit_asset(tmp_path)
    report = export(tmp_path / "data", tmp_path / "out", "nerfstudio")
    assert any("other lights" in note["text"] for note in report.notes)


def test_training_samples_are_lit_by_the_light_that_is_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from objaverse_render_addon.dataset.torch import MultiView

    lit_asset(tmp_path)
    means = {}
    for light in (None, 0, 1):
        data = MultiView(tmp_path / "data", inputs=2, targets=0, light=light, background=None)
        views = data[0]["input"]
        means[light] = float(views["rgb"][:, :3].mean())
        assert ("light" in views) == (light is not None)
    assert means[None] == means[0]
    assert means[1] == pytest.approx(means[0] / 2, abs=0.01)
    drawn = MultiView(tmp_path / "data", inputs=2, targets=0, light="drawn")
    seen = set()
    for epoch in range(12):
        drawn.set_epoch(epoch)
        seen |= set(drawn[0]["input"]["light"].tolist())
    assert seen == {0, 1}
