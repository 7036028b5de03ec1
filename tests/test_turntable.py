from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery_data import add_asset
from PIL import Image
from stored import store

from objaverse_render_addon.cli import main
from objaverse_render_addon.dataset.coloring import (
    RAMP,
    colored,
    id_colors,
    shrink,
    value_range,
)
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.turntable import parse_background, turn_order, turntable
from objaverse_render_addon.errors import InvalidJob, MissingDependency

VIEWS = 6
SIZE = (72, 64)


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_asset(tmp_path_factory.mktemp("dataset"), "thing", views=VIEWS, size=SIZE)


def at(azimuth: float, elevation: float = 0.0) -> list[float]:
    a, e = np.radians(azimuth), np.radians(elevation)
    return [3 * np.cos(a) * np.cos(e), 3 * np.sin(a) * np.cos(e), 3 * np.sin(e)]


# --- The order ------------------------------------------------------------------------------


def test_views_around_the_object_come_by_azimuth():
    assert turn_order([at(200), at(20), at(300), at(110)]) == [0, 2, 1, 3]
    assert turn_order([at(200), at(20), at(300), at(110)], first=1) == [1, 3, 0, 2]


def test_views_from_one_side_keep_their_order():
    assert turn_order([at(10), at(30), at(20), at(5)]) == [0, 1, 2, 3]
    assert turn_order([at(10)] * 9, count=3) == [0, 4, 8]


def test_views_from_the_poles_are_left_out_of_a_turn():
    assert turn_order([at(0), at(45, 88), at(90), at(180), at(270)], first=1) == [0, 2, 3, 4]


def test_of_many_heights_the_first_views_is_taken():
    low = [at(azimuth, 10) for azimuth in range(0, 360, 30)]
    high = [at(azimuth + 2, 60) for azimuth in range(0, 360, 30)]
    assert turn_order(low + high, count=12) == list(range(12))
    assert turn_order(low + high, count=12, first=12) == list(range(12, 24))


@pytest.mark.parametrize("total", [0, 1, 2, 5, 40])
@pytest.mark.parametrize("count", [None, 1, 3, 12])
def test_no_view_comes_twice(total: int, count: int | None):
    directions = np.random.default_rng(3).normal(size=(total, 3))
    order = turn_order(directions, count)
    assert len(set(order)) == len(order)
    assert set(order) <= set(range(total))
    assert len(order) <= (total if count is None else count)
    if total:
        assert order


def test_cameras_at_the_centre_are_no_error():
    assert turn_order(np.zeros((3, 3))) == [0, 1, 2]


# --- The files ------------------------------------------------------------------------------


def frames_of(path: Path) -> list[Image.Image]:
    with Image.open(path) as image:
        found = []
        for index in range(image.n_frames):
            image.seek(index)
            found.append(image.convert("RGBA"))
        return found


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_an_animation_has_a_frame_per_view_and_loops(asset: Path, tmp_path: Path, suffix: str):
    target = tmp_path / f"thing{suffix}"
    assert turntable(asset, target, seconds=3.0) == (VIEWS, *SIZE)
    with Image.open(target) as image:
        assert image.n_frames == VIEWS
        assert image.size == SIZE
        image.load()
        assert image.info["loop"] == 0
        assert image.info["duration"] == pytest.approx(500, abs=10)
    frames = frames_of(target)
    assert all(frame.getpixel((1, 1))[3] == 0 for frame in frames), "the background is clear"
    with AssetReader(asset) as reader:
        poses = [np.array(view["camera_to_world"])[:3, 3] for view in reader.views]
        order = turn_order(poses)
        for frame, index in zip(frames, order, strict=True):
            arrays = reader.read(index)
            middle = arrays["mask"].astype(bool)
            off = np.abs(
                np.asarray(frame)[middle][:, :3].astype(int) - arrays["rgb"][middle][:, :3]
            )
            assert off.mean() < 12


def test_mp4_has_a_frame_per_view(asset: Path, tmp_path: Path):
    av = pytest.importorskip("av")
    target = tmp_path / "thing.mp4"
    turntable(asset, target, seconds=2.0)
    with av.open(target) as container:
        (stream,) = container.streams.video
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == pytest.approx(3.0)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == VIEWS
    assert frames[0].shape == (64, 72, 3)
    assert frames[0][1, 1].min() > 245, "there is no clear in MP4: white"


def test_mp4_without_its_library_says_which_extra(asset: Path, tmp_path: Path, monkeypatch: Any):
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "av", raising=False)
    with pytest.raises(MissingDependency, match=r"\[video\]"):
        turntable(asset, tmp_path / "thing.mp4")
    assert list(tmp_path.iterdir()) == []


def test_pass_size_views_and_background_are_chosen(asset: Path, tmp_path: Path):
    target = tmp_path / "thing.webp"
    made = turntable(asset, target, name="depth", size=36, views=3, background=(255, 0, 0))
    assert made == (3, 36, 32)
    red = np.asarray(frames_of(target)[0])[0, 0]
    assert red[0] > 240
    assert red[1:3].max() < 15


def test_what_cannot_be_made_is_refused_by_name(asset: Path, tmp_path: Path):
    with pytest.raises(InvalidJob, match="animation"):
        turntable(asset, tmp_path / "thing.png")
    with pytest.raises(InvalidJob, match="heat"):
        turntable(asset, tmp_path / "thing.webp", name="heat")
    with pytest.raises(InvalidJob, match="plaid"):
        parse_background("plaid")
    assert list(tmp_path.iterdir()) == []


def test_backgrounds():
    assert parse_background("white") == (255, 255, 255)
    assert parse_background("#ff8000") == parse_background("ff8000") == (255, 128, 0)
    assert parse_background("none") is None


def test_the_command_says_what_it_wrote(
    asset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = tmp_path / "thing.gif"
    assert main(["turntable", str(asset), "-o", str(target), "--background", "dark"]) == 0
    assert capsys.readouterr().out == f"{target} ({VIEWS} frames, 72x64)\n"


@pytest.mark.parametrize(("command", "suffix"), [("turntable", ".webp"), ("sheet", ".sheet.png")])
@pytest.mark.parametrize("layout", ["zip", "tar", "folder", "shard"])
def test_the_file_goes_beside_the_asset_or_here(
    asset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str,
    command: str, suffix: str,
):  # fmt: skip
    monkeypatch.chdir(tmp_path)
    store([asset], tmp_path / "data", layout)
    names = {"folder": "thing", "shard": "shard-000000.tar/thing"}
    name = names.get(layout, f"thing.{layout}")
    assert main([command, f"data/{name}"]) == 0
    place = tmp_path if layout == "shard" else tmp_path / "data"
    assert (place / f"thing{suffix}").is_file()


# --- Colours --------------------------------------------------------------------------------

MASK = np.array([[True, True, False]])


def test_near_and_far_have_the_ends_of_the_ramp():
    pixels = colored("depth", np.array([[2.0, 4.0, 0.0]], np.float32), MASK)
    assert pixels[0, 0].tolist() == [*RAMP[0].astype(int), 255]
    assert pixels[0, 1].tolist() == [*RAMP[-1].astype(int), 255]
    assert pixels[0, 2].tolist() == [0, 0, 0, 0]
    wide = colored("depth", np.array([[2.0, 4.0, 0.0]], np.float32), MASK, (0.0, 4.0))
    assert wide[0, 0].tolist() != pixels[0, 0].tolist()
    assert wide[0, 1].tolist() == pixels[0, 1].tolist()


def test_axes_of_normals_have_their_colours():
    data = np.array([[[1, 0, 0], [0, 0, 1], [0, 0, 0]]], np.float32)
    pixels = colored("normal", data, MASK)
    assert pixels[0, 0].tolist() == [255, 128, 128, 255]
    assert pixels[0, 1].tolist() == [128, 128, 255, 255]


def test_linear_albedo_is_shown_in_srgb():
    data = np.full((1, 3, 3), 0.5, np.float32)
    assert colored("albedo", data, MASK)[0, 0].tolist() == [188, 188, 188, 255]


def test_numbers_that_are_none_have_a_colour_all_the_same():
    data = np.array([[np.nan, np.inf, 1.0]], np.float32)
    for name in ("depth", "distance"):
        assert colored(name, data, MASK, (0.0, 2.0))[..., 3].tolist() == [[255, 255, 0]]
    assert value_range(data, np.ones((1, 3), bool)) == (1.0, 1.0)
    assert value_range(data, np.zeros((1, 3), bool)) == (0.0, 0.0)


def test_neighbouring_ids_look_unlike():
    colors = id_colors(np.arange(1, 40)).astype(int)
    assert np.abs(np.diff(colors, axis=0)).max(axis=1).min() > 40


@pytest.mark.parametrize("height", [12, 11])
def test_colour_counts_as_much_as_it_covers(height: int):
    pixels = np.zeros((height, 12, 4), np.uint8)
    pixels[:, ::2] = (200, 100, 50, 255)
    small = shrink(pixels, 6, "rgb")
    assert small.shape == (6, 6, 4)
    assert np.abs(small[..., :3].astype(int) - (200, 100, 50)).max() <= 1
    assert np.abs(small[..., 3].astype(int) - 128).max() <= 1


def test_numbers_are_picked_and_never_mixed():
    pixels = np.zeros((9, 9, 4), np.uint8)
    pixels[:, ::2] = 255
    assert set(np.unique(shrink(pixels, 4, "mask"))) <= {0, 255}
