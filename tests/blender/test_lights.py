"""Several lights as Blender renders them: from where they shine, and that parts add up."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon.dataset.images import write_exr
from objaverse_render_addon.lights import sky_axes

from . import scenes

PASSES = ["rgb", "rgb_linear", "mask", "normal", "depth"]


def values_of(folder: Path, text: str, **more: Any) -> dict[str, Any]:
    path = folder / "lights.toml"
    path.write_text(text)
    return {
        "lighting.mode": "file", "lighting.lights": str(path), "pixels.passes": PASSES,
        "cameras.pattern": "ring", "cameras.views": 2, "cameras.elevation": 25,
        "pixels.resolution": [40, 40], "engine.denoise": False, "pixels.normal_space": "world",
        "engine.samples": 16, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lights") / "ball.blend"
    with scenes.new_blend(path):
        obj = scenes.add_sphere(1.0, segments=64)
        obj.data.materials.append(
            scenes.principled("Matte", Base_Color=(0.5, 0.5, 0.5, 1), Roughness=1.0)
        )
    return path


def sun(name: str, azimuth: float, elevation: float, more: str = "") -> str:
    return (f'[[lights]]\nname = "{name}"\nkind = "sun"\nazimuth = {azimuth}\n'
            f"elevation = {elevation}\n{more}\n")  # fmt: skip


def towards(azimuth: float, elevation: float) -> np.ndarray:
    a, e = math.radians(azimuth), math.radians(elevation)
    return np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])


@pytest.mark.core
def test_a_sun_shines_from_where_it_is_said_to_stand(ball: Path, tmp_path: Path) -> None:
    places = {"left": (200.0, 15.0), "high": (270.0, 80.0), "right": (330.0, -20.0)}
    text = "".join(sun(name, *place) for name, place in places.items())
    for frame in scenes.shoot(ball, values_of(tmp_path, text)):
        assert [light["name"] for light in frame.lights] == list(places)
        inner = scenes.interior(frame.passes["mask"] == 1, 2)
        normal = frame.passes["normal"][inner].astype(np.float64)
        for place, light, pictures in zip(
            places.values(), frame.lights, frame.relit, strict=True
        ):
            away = towards(*place)
            seen = pictures["rgb_linear"][inner][:, 0].astype(np.float64)
            # Lambert: 0.5 albedo, 1 W/m², over pi; some sheen of the principled surface on top.
            cosine = np.clip(normal @ away, 0, None)
            assert np.corrcoef(seen, cosine)[0, 1] > 0.97
            assert seen[cosine == 0].max(initial=0) < 0.03
            camera = frame.camera.camera_to_world[:3, :3]
            assert np.allclose(camera @ light["direction_camera"], away, atol=1e-6)
        assert np.array_equal(frame.passes["rgb"], frame.relit[0]["rgb"])
        assert scenes.failed_checks(frame) == []


@pytest.mark.core
def test_an_image_is_turned_as_its_record_says(ball: Path, tmp_path: Path) -> None:
    # One bright spot: a quarter of the width left of the middle, at the horizon.
    sky = np.zeros((32, 64), np.float32)
    sky[14:18, 14:18] = 60.0
    write_exr(tmp_path / "sky.exr", dict.fromkeys("RGB", sky), {})
    spot = np.array([0.0, 1.0, 0.0])
    text = "".join(f'[[lights]]\nname = "r{turn}"\nkind = "hdri"\nhdri = "sky.exr"\n'
                   f"rotation = {turn}\n" for turn in (0, 90, 200))  # fmt: skip
    for frame in scenes.shoot(ball, values_of(tmp_path, text)):
        inner = scenes.interior(frame.passes["mask"] == 1, 2)
        normal = frame.passes["normal"][inner].astype(np.float64)
        for turn, light, pictures in zip((0, 90, 200), frame.lights, frame.relit, strict=True):
            away = sky_axes(turn) @ spot
            cosine = np.clip(normal @ away, 0, None)
            seen = pictures["rgb_linear"][inner][:, 0].astype(np.float64)
            assert seen[cosine == 0].max(initial=0) < 0.2 * max(seen.max(), 0.2)
            if cosine.max() > 0.3:
                assert np.corrcoef(seen, cosine)[0, 1] > 0.9
            matrix = np.array(light["environment_to_camera"])
            camera = frame.camera.camera_to_world[:3, :3]
            assert np.allclose(camera @ matrix @ spot, away, atol=1e-6)


@pytest.mark.core
def test_groups_are_what_each_light_renders_alone_and_add_up(ball: Path, tmp_path: Path) -> None:
    text = (sun("key", 220, 30, "strength = 2") + sun("rim", 60, 40, "color = [1, 0.2, 0.1]")
            + '[[lights]]\nname = "sky"\nkind = "white"\nstrength = 0.3\n')  # fmt: skip
    alone = scenes.shoot(ball, values_of(tmp_path, text, **{"engine.samples": 64}))
    more = {"lighting.groups": True, "engine.samples": 64}
    for frame, one in zip(scenes.shoot(ball, values_of(tmp_path, text, **more)), alone,
                          strict=True):  # fmt: skip
        assert frame.grouped
        parts = [pictures["rgb_linear"].astype(np.float64) for pictures in frame.relit]
        whole = frame.passes["rgb_linear"].astype(np.float64)
        assert np.abs(sum(part[..., :3] for part in parts) - whole[..., :3]).max() < 2e-3
        (check,) = [check for check in frame.checks if check.name == "lights_add_up"]
        assert check.status == "ok"
        assert check.value < 1e-4
        for part, direct in zip(parts, one.relit, strict=True):
            single = direct["rgb_linear"].astype(np.float64)
            assert np.abs(part - single)[..., :3].mean() < 0.01
            assert part[..., :3].mean() == pytest.approx(single[..., :3].mean(), rel=0.05)
        # Relit by weights: as if the suns were that strong.
        weights = (0.5, 3.0, 2.0)
        mixed = sum(w * part[..., :3] for w, part in zip(weights, parts, strict=True))
        again = (sun("key", 220, 30, "strength = 1")
                 + sun("rim", 60, 40, "color = [1, 0.2, 0.1]\nstrength = 3")
                 + '[[lights]]\nname = "sky"\nkind = "white"\nstrength = 0.6\n')  # fmt: skip
        if frame.view.index == 0:
            direct = scenes.shoot(ball, values_of(tmp_path, again, **more))[0]
            rendered = direct.passes["rgb_linear"][..., :3].astype(np.float64)
            # Which light a path asks follows their strengths, so that the noise is another.
            assert np.abs(mixed - rendered).mean() < 0.01 * rendered.max()
            assert mixed.mean() == pytest.approx(rendered.mean(), rel=0.02)


def test_what_shines_by_itself_is_a_doubt_of_groups(tmp_path: Path) -> None:
    path = tmp_path / "lamp.blend"
    with scenes.new_blend(path):
        obj = scenes.add_cube()
        obj.data.materials.append(scenes.emission((1, 1, 1)))
    (frame, *_) = scenes.shoot(
        path, values_of(tmp_path, sun("a", 0, 45), **{"lighting.groups": True})
    )
    (check,) = [check for check in frame.checks if check.name == "lights_add_up"]
    assert check.status == "doubt"


def test_images_of_a_folder_are_drawn_for_each_view(ball: Path, tmp_path: Path) -> None:
    folder = tmp_path / "skies"
    folder.mkdir()
    for number in range(3):
        write_exr(folder / f"s{number}.exr",
                  {letter: np.full((8, 16), 0.2 + number, np.float32) for letter in "RGB"},
                  {})  # fmt: skip
    values = values_of(tmp_path, sun("unused", 0, 0))
    del values["lighting.lights"]
    values |= {"lighting.mode": "hdri", "lighting.hdri": str(folder), "lighting.per_view": 2}
    frames = scenes.shoot(ball, values)
    drawn = {tuple(light["hdri"] for light in frame.lights) for frame in frames}
    assert all(len(set(pair)) == 2 for pair in drawn)
    for frame in frames:
        inner = scenes.interior(frame.passes["mask"] == 1, 2)
        seen = [float(pictures["rgb_linear"][inner][:, 0].mean()) for pictures in frame.relit]
        said = [0.2 + int(Path(light["hdri"]).stem[1:]) for light in frame.lights]
        assert seen[0] / seen[1] == pytest.approx(said[0] / said[1], rel=0.02)
