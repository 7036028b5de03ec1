"""Colour from the material to the file, and the shortcuts that must not show in it."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.dataset.images import encode_png, encode_srgb8, read_exr, read_png

from . import scenes

COLOR = (0.5, 0.2, 0.05)
# By IEC 61966-2-1: 187.5, 123.6 and 63.2.
AS_SRGB = (188, 124, 63)


@pytest.mark.core
def test_a_known_colour_arrives_in_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "known.blend"
    with scenes.new_blend(path):
        scenes.add_cube(material=scenes.emission(COLOR))
    (frame,) = scenes.shoot(path, {**scenes.ring(tmp_path), "asset.normalize": "cube"})
    inside = scenes.interior(frame.passes["mask"], 2)
    pixels = read_png(encode_png(frame.passes["rgb"]))
    assert inside.sum() > 100
    assert (pixels[inside] == (*AS_SRGB, 255)).all()
    assert (pixels[scenes.interior(frame.passes["mask"] == 0, 2)] == 0).all()


@pytest.mark.core
def test_white_light_shows_a_surfaces_own_colour(tmp_path: Path) -> None:
    path = tmp_path / "white.blend"
    with scenes.new_blend(path):
        material = scenes.principled(
            Base_Color=(*COLOR, 1), Roughness=1.0, Specular_IOR_Level=0.0
        )
        scenes.add_sphere(material=material)
    values = {**scenes.ring(tmp_path), "engine.samples": 64, "pixels.passes": ["rgb", "mask"]}
    (frame,) = scenes.shoot(path, values)
    inside = scenes.interior(frame.passes["mask"], 3)
    mean = frame.passes["rgb"][inside][:, :3].mean(axis=0)
    assert np.abs(mean - AS_SRGB).max() < 4


def blackman_harris(width: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances in pixels, and the share of the filter's weight that is beyond each.

    Cycles takes the filter at twice the width that it is told (``film.cpp``).
    """
    at = np.linspace(-width, width, 4001)
    v = 2 * math.pi * (at / (2 * width) + 0.5)
    weight = 0.35875 - 0.48829 * np.cos(v) + 0.14128 * np.cos(2 * v) - 0.01168 * np.cos(3 * v)
    beyond = np.cumsum(weight[::-1])[::-1]
    return at, beyond / beyond[0]


@pytest.mark.core
def test_a_soft_edge_is_the_filters_and_its_width_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "plate.blend"
    corners = [(-1, -1, 0), (0.97, -1, 0), (0.97, 1, 0), (-1, 1, 0)]
    with scenes.new_blend(path):
        scenes.add_mesh(corners, [(0, 1, 2, 3)], material=scenes.emission((1, 1, 1)))
    pose = scenes.look_at((0, 0, 5))
    poses = scenes.camera_file(tmp_path / "poses.json", [pose], scenes.lens(45, (64, 64)))
    values = {**poses, "asset.normalize": "none", "engine.samples": 256}
    session = scenes.open_scene(path, scenes.make_job({**values, "pixels.passes": ["rgb", "mask"]}))
    (frame,) = scenes.frames_of(session)
    edges = frame.camera.project(np.array(corners, dtype=float))[0]
    left, right = edges[0, 0], edges[1, 0]
    middle = np.abs(np.arange(64) - 31.5) < 12
    alpha = frame.passes["rgb"][middle][..., 3].mean(axis=0) / 255
    columns = np.arange(64) + 0.5

    def expected(width: float) -> np.ndarray:
        at, beyond = blackman_harris(width)
        share = np.interp(left - columns, at, beyond) * np.interp(columns - right, at, beyond)
        return np.asarray(share)

    said = session.facts()["engine"]["filter_width_px"]
    assert said == 1.5
    assert np.abs(alpha - expected(said)).max() < 0.02
    soft = (alpha > 0.02) & (alpha < 0.98)
    assert soft.sum() >= 3
    # Other widths are not this.
    for other in (0.01, 1.0, 2.0):
        assert np.abs(alpha - expected(other)).max() > 0.04
    # The mask is sampled at pixel centres, whatever the filter.
    inside = (columns > left) & (columns < right)
    assert (frame.passes["mask"][middle] == inside).all()


@pytest.mark.core
@pytest.mark.parametrize("background", [None, [1.0, 0.5, 0.0]])
def test_linear_light_is_the_renderers_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, background: Any
) -> None:
    """Soft edges and light beyond 1, with a background and without."""
    from objaverse_render_addon.blender.renderer import Renderer
    from objaverse_render_addon.dataset.layout import color_files

    buffers, read = [], Renderer._read

    def kept(self: Renderer, raw: Any, *, timed: bool = False) -> dict[str, Any]:
        channels = read(self, raw, timed=timed)
        if timed:
            # Of colour alone it is told how long it took.
            buffers.append(np.stack([channels[name] for name in "RGBA"], axis=-1))
        return channels

    monkeypatch.setattr(Renderer, "_read", kept)
    path = soft_scene(tmp_path / "soft.blend")
    values = {**scenes.ring(tmp_path, size=48), "engine.samples": 4, "engine.denoise": False}
    values |= {"pixels.passes": ["rgb_linear", "mask"], "lighting.background": background}
    (frame,) = scenes.shoot(path, values)
    (buffer,) = buffers
    assert set(frame.passes) == {"rgb_linear", "mask", "depth", "normal"}
    light = frame.passes["rgb_linear"]
    assert light.dtype == np.float16
    assert np.array_equal(light, buffer.astype(np.float16))
    # Half floats are the nearest: half a step of 11 bits.
    assert np.abs(light - buffer)[buffer > 1e-3].max() <= (buffer[buffer > 1e-3] * 2**-11).max()
    assert light.max() > 2.9
    assert ((light[..., 3] > 0) & (light[..., 3] < 1)).any()
    # Premultiplied: where little is seen there is little light.
    faint = (light[..., 3] > 0) & (light[..., 3] < 0.2)
    assert faint.any()
    assert (light[faint][:, :3] <= 3.01 * light[faint][:, 3:] + 1e-3).all()
    job = scenes.make_job(values)
    ((name, data),) = color_files(frame, job, tmp_path)
    assert name == "000_rgb_linear.exr"
    (tmp_path / name).write_bytes(data)
    channels = read_exr(tmp_path / name)
    stored = np.stack([channels[letter] for letter in "RGBA"], axis=-1)
    assert stored.dtype == np.float16
    assert np.array_equal(stored, light)
    # The picture for the eye is made of the same numbers.
    both = {**values, "pixels.passes": ["rgb", "rgb_linear", "mask"]}
    (again,) = scenes.shoot(path, both)
    assert np.array_equal(again.passes["rgb_linear"], light)
    assert np.array_equal(again.passes["rgb"], encode_srgb8(buffers[1]))


def soft_scene(path: Path) -> Path:
    """Soft edges, a half-transparent ball, shadows, and colours beyond 1."""
    material = {"Base_Color": (0.1, 0.6, 0.9, 1), "Roughness": 0.4}
    with scenes.new_blend(path):
        scenes.add_cube(matrix=scenes.rotation(20, 30, 40), material=scenes.principled(**material))
        scenes.add_sphere(
            0.5, (0.9, -0.4, 0.3), material=scenes.principled(**{**material, "Alpha": 0.45})
        )
        bright = scenes.emission((3.0, 0.4, 0.002))
        scenes.add_cube(0.3, (-0.8, -0.2, 0.6), material=bright)
    return path


@pytest.mark.core
def test_our_encoding_equals_the_png_that_blender_writes(tmp_path: Path) -> None:
    import bpy
    from PIL import Image

    path = soft_scene(tmp_path / "soft.blend")
    values = {"engine.samples": 16, "lighting.mode": "xl", "asset.normalize": "cube"}
    scene = scenes.open_scene(path, scenes.make_job({**scenes.ring(tmp_path, 96), **values}))
    (frame,) = scenes.frames_of(scene)
    render = scene.stage.scene.render
    if hasattr(render.image_settings, "media_type"):
        render.image_settings.media_type = "IMAGE"
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode, render.image_settings.color_depth = "RGBA", "8"
    render.filepath = str(tmp_path / "blender.png")
    bpy.ops.render.render(write_still=True)
    with Image.open(tmp_path / "blender.png") as image:
        theirs = np.asarray(image).astype(int)
    ours = read_png(encode_png(frame.passes["rgb"])).astype(int)
    alpha = ours[..., 3]
    assert ((alpha > 0) & (alpha < 255)).sum() > 300
    assert np.array_equal(alpha, theirs[..., 3])
    # Almost nothing of a colour is left at an alpha of 1/255; nobody sees the difference.
    solid = alpha > 2
    difference = np.abs(ours - theirs)[solid]
    # Blender's transfer curve is a table or a float approximation: halves round either way.
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.002


@pytest.mark.core
def test_rendering_the_objects_box_alone_changes_no_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from objaverse_render_addon.blender.renderer import Renderer

    path = soft_scene(tmp_path / "soft.blend")
    poses = [
        scenes.look_at((0, -6, 1)),
        scenes.look_at((5, 3, 1), (0.0, 1.9, 0.4), roll=20),  # partly out of the frame
        scenes.look_at((0.1, -1.5, 0.4), (0.4, 0, 0.3)),  # close: the frame is full
        scenes.look_at((-6, 1, 1), (0, 40, 0)),  # out of the frame altogether
    ]
    cameras = scenes.camera_file(tmp_path / "poses.json", poses, scenes.lens(40, (96, 80)))
    for lighting in ("white", "xl"):
        values = {
            **cameras,
            "asset.normalize": "none",
            "engine.samples": 4,
            "lighting.mode": lighting,
            "pixels.passes": ["rgb", "depth", "normal", "mask", "albedo", "position"],
        }
        with_border = scenes.shoot(path, values)
        with monkeypatch.context() as patch:
            patch.setattr(Renderer, "set_border", lambda *_: None)
            whole = scenes.shoot(path, values)
        for first, second in zip(with_border, whole, strict=True):
            for name, data in first.passes.items():
                assert np.array_equal(data, second.passes[name]), (lighting, name)
        mask = with_border[1].passes["mask"]
        assert mask[:, [0, -1]].any() or mask[[0, -1]].any()
        assert not with_border[3].passes["rgb"].any()


@pytest.mark.core
def test_the_denoiser_keeps_the_picture_and_removes_noise(tmp_path: Path) -> None:
    path = soft_scene(tmp_path / "soft.blend")
    base = {**scenes.ring(tmp_path, 96), "lighting.mode": "white", "pixels.passes": ["rgb"]}
    pictures = {}
    for name, values in {
        "noisy": {"engine.samples": 4},
        "denoised": {"engine.samples": 4, "engine.denoise": True},
        "converged": {"engine.samples": 512},
    }.items():
        (frame,) = scenes.shoot(path, {**base, **values})
        pictures[name] = frame.passes["rgb"].astype(float)
    truth = pictures["converged"]
    solid = scenes.interior(truth[..., 3] == 255, 1)
    error = {
        name: np.abs(pictures[name] - truth)[solid][:, :3].mean() for name in ("noisy", "denoised")
    }
    assert error["denoised"] < 0.75 * error["noisy"]
    assert error["denoised"] < 4
    assert np.abs(pictures["denoised"][..., 3] - truth[..., 3]).mean() < 3


@pytest.mark.core
def test_the_same_job_renders_the_same_pixels_again(tmp_path: Path) -> None:
    path = soft_scene(tmp_path / "soft.blend")
    values = {
        "cameras.views": 2, "engine.samples": 4, "lighting.mode": "xl", "asset.normalize": "cube",
        "pixels.passes": ["rgb", "depth", "normal", "mask"],
    }  # fmt: skip
    first, second = scenes.shoot(path, values), scenes.shoot(path, values)
    for one, other in zip(first, second, strict=True):
        for name, data in one.passes.items():
            assert np.array_equal(data, other.passes[name]), name
    other_seed = scenes.shoot(path, {**values, "seed": 1})
    assert not np.array_equal(first[0].camera.camera_to_world, other_seed[0].camera.camera_to_world)


def test_an_hdri_lights_from_the_side_that_it_is_bright_on(tmp_path: Path) -> None:
    import OpenEXR

    image = np.zeros((16, 32, 3), dtype=np.float32)
    # Columns run from -X over -Y ... the centre of the image is +X in Blender's world.
    image[:, 14:18] = 8.0
    hdri = tmp_path / "sky.exr"
    OpenEXR.File({}, {"RGB": image}).write(str(hdri))
    path = tmp_path / "ball.blend"
    with scenes.new_blend(path):
        scenes.add_sphere(material=scenes.principled(Roughness=1.0, Specular_IOR_Level=0.0))
    poses = [scenes.look_at((5, 0, 0)), scenes.look_at((-5, 0, 0))]
    cameras = scenes.camera_file(tmp_path / "poses.json", poses, scenes.lens(40, (48, 48)))
    values = {"lighting.mode": "hdri", "lighting.hdri": str(hdri), "engine.samples": 32}
    lit, dark = scenes.shoot(path, {**cameras, **values})
    bright = [frame.passes["rgb"][24, 24, :3].mean() for frame in (lit, dark)]
    assert bright[0] > bright[1] + 60
    # The light itself is not in the picture.
    assert (lit.passes["rgb"][0, 0] == 0).all()


def test_an_image_that_is_not_whole_does_not_stay_for_the_next_asset(tmp_path: Path) -> None:
    from objaverse_render_addon.errors import RenderFailed

    scene = scenes.open_scene(
        soft_scene(tmp_path / "soft.blend"), scenes.make_job(scenes.ring(tmp_path))
    )
    (frame,) = scenes.frames_of(scene)
    image = tmp_path / "image.exr"
    for read in (
        lambda: scene.renderer._read(image),
        lambda: scene.renderer.read_color(frame, [image], []),
    ):
        image.write_bytes(b"v/1\x01 half of it")
        with pytest.raises(RenderFailed):
            read()
        assert not image.exists()


def test_exr_output_holds_the_same_arrays_as_npy(tmp_path: Path) -> None:
    from objaverse_render_addon.dataset.layout import arrays_from_channels, geometry_files
    from objaverse_render_addon.passspec import PICTURES, STILL_PASSES

    path = soft_scene(tmp_path / "soft.blend")
    values = {**scenes.ring(tmp_path), "pixels.passes": list(STILL_PASSES)}
    (frame,) = scenes.shoot(path, values)
    job = scenes.make_job({**values, "files.geometry": "exr"})
    files = dict(geometry_files(frame, job, tmp_path))
    exr = tmp_path / "read.exr"
    exr.write_bytes(files["000.exr"])
    from_exr = arrays_from_channels(read_exr(exr))
    files = dict(geometry_files(frame, scenes.make_job(values), tmp_path))
    for name in STILL_PASSES:
        if name in PICTURES:
            continue
        from_npy = np.load(io.BytesIO(files[f"000_{name}.npy"]), allow_pickle=False)
        assert np.array_equal(from_exr[name], from_npy), name
        assert from_exr[name].dtype == from_npy.dtype


def test_light_strength_scales_the_light(tmp_path: Path) -> None:
    path = tmp_path / "ball.blend"
    with scenes.new_blend(path):
        material = scenes.principled(
            Base_Color=(0.8, 0.8, 0.8, 1), Roughness=1.0, Specular_IOR_Level=0.0
        )
        scenes.add_sphere(material=material)
    means: list[Any] = []
    for strength in (1.0, 0.25):
        values = {**scenes.ring(tmp_path), "lighting.strength": strength, "engine.samples": 16}
        (frame,) = scenes.shoot(path, values)
        value = frame.passes["rgb"][scenes.interior(frame.passes["mask"], 3)][:, 0].mean() / 255
        means.append(((value + 0.055) / 1.055) ** 2.4)
    assert math.isclose(means[0] / means[1], 4.0, rel_tol=0.03)
    assert math.isclose(means[0], 0.8, rel_tol=0.03)


@pytest.mark.core
def test_views_are_the_same_when_there_are_too_many_for_one_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from objaverse_render_addon.blender import pipeline

    path = soft_scene(tmp_path / "soft.blend")
    values = {
        **scenes.ring(tmp_path, count=3), "engine.samples": 2, "engine.denoise": True,
        "pixels.passes": ["rgb", "depth", "normal", "mask", "albedo", "object_index"],
    }  # fmt: skip
    together = scenes.shoot(path, values)
    monkeypatch.setattr(pipeline, "_GEOMETRY_BUDGET", 1)
    for one, other in zip(together, scenes.shoot(path, values), strict=True):
        for name, data in one.passes.items():
            assert np.array_equal(data, other.passes[name]), name


def test_colours_that_are_looked_up_are_those_that_are_computed() -> None:
    """All half floats there are, seen and not; and pixels that are covered in part."""
    from objaverse_render_addon.blender.drawing import digits_of, srgb_of

    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    planes = {"Combined.R": halves, "Combined.G": halves[::-1], "Combined.B": halves.T}
    seen = (np.arange(1 << 16).reshape(256, 256) % 3 > 0).astype(np.float16)
    for alpha in (seen, seen * np.float16(0.5)):
        channels = {**planes, "Combined.A": alpha}
        linear = np.stack([*channels.values()], axis=-1).astype(np.float32)
        with np.errstate(invalid="ignore"):
            assert np.array_equal(srgb_of(channels), encode_srgb8(linear))
    digits = np.arange(256, dtype=np.float32) / 255
    for dtype in (np.float16, np.float32):
        assert (digits_of(digits.astype(dtype)) == np.arange(256)).all()
