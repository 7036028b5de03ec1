"""Streams: samples that are rendered while they are asked for, by several Blenders."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import streamed
from PIL import Image

from objaverse_render_addon import live
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import ConnectionLost, InvalidEdit, InvalidJob, WorkerTimeout
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.live.convert import to_dataset
from objaverse_render_addon.live.randomize import (
    Background,
    CameraShell,
    Lamp,
    Look,
    Pose,
    RandomScene,
    random_direction,
    random_rotation,
)
from objaverse_render_addon.live.seen import Seen
from objaverse_render_addon.live.server import Server
from objaverse_render_addon.live.truths import corners_of

from . import moving, scenes

CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def boxes() -> Iterator[live.Stream]:
    with live.stream(streamed.Box(), 10, blenders=2, seed=3, start_options=CPU) as made:
        yield made


def test_samples_come_once_in_order_and_show_what_they_say(boxes: live.Stream) -> None:
    boxes.epoch = 0
    seen = list(boxes)
    assert [sample.key for sample in seen] == [(0, index, 0) for index in range(10)]
    for sample in seen:
        x = streamed.middle(sample["depth"], sample["mask"], sample.camera)
        assert x == pytest.approx(sample.values["x"], abs=0.08)
        drawn = live.Item(sample.record["index"], seed=3).uniform("x", -1, 1)
        assert sample.values["x"] == drawn
    assert len({sample.values["x"] for sample in seen}) == 10


def test_blenders_that_are_killed_cost_nothing(boxes: live.Stream) -> None:
    boxes.epoch = 0
    whole = [(sample.key, sample.copy()) for sample in boxes]
    boxes.epoch = 0
    before, seen = boxes.totals.restarts, []
    for number, sample in enumerate(boxes):
        seen.append(sample.copy())
        if number in (1, 5):
            os.kill(boxes.pids[number % 2], signal.SIGKILL)
    assert [sample.key for sample in seen] == [key for key, _ in whole]
    for (_, first), second in zip(whole, seen, strict=True):
        assert all(np.array_equal(first[name], second[name]) for name in first.arrays)
    assert boxes.totals.restarts >= before + 1


RECORDS = """
import sys
sys.path[:0] = [{tests!r}]
import streamed
from objaverse_render_addon import live
stream = live.stream(streamed.Box(), 10, blenders=1, seed=3, start_options={{"device": "cpu"}})
for sample in live.record(stream, sys.argv[1], resume=True):
    print(sample.record["index"], flush=True)
"""


def test_a_recording_whose_writer_was_killed_goes_on_where_it_broke_off(
    boxes: live.Stream, tmp_path: Path
) -> None:
    code = RECORDS.format(tests=str(Path(__file__).parents[1]))
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    (broken,) = (tmp_path / "run").iterdir()
    whole = len(live.Recording(tmp_path / "run"))
    assert 4 <= whole < 10
    # The one that it was killed in, as if by the system's own end.
    with broken.open("r+b") as file:
        file.truncate(broken.stat().st_size - 1)
    boxes.epoch = 0
    given = [s.key for s in live.record(boxes, tmp_path / "run", resume=True)]
    assert given == [(0, index, 0) for index in range(whole - 1, 10)]
    boxes.epoch = 0
    assert [s.key for s in live.record(boxes, tmp_path / "run", resume=True)] == []
    again = live.Recording(tmp_path / "run")
    assert again.cut == [broken]
    assert [sample.key for sample in again] == [(0, index, 0) for index in range(10)]
    boxes.epoch = 0
    for first, second in zip(boxes, again, strict=True):
        assert first.values == second.values
        assert all(np.array_equal(first[name], second[name]) for name in first.arrays)
    other = live.Stream(streamed.Box(), 10, seed=4)
    with pytest.raises(InvalidJob, match="seed 3, not 4"):
        live.record(other, tmp_path / "run", resume=True)
    with pytest.raises(InvalidJob, match=r"Sample [5-9]\.0 is none"):
        live.record(live.Stream(streamed.Box(), 5, seed=3), tmp_path / "run", resume=True)
    with pytest.raises(InvalidJob, match="so and so many"):
        live.record(again, tmp_path / "run", resume=True)


def test_what_is_told_reaches_the_next_samples(boxes: live.Stream) -> None:
    source = boxes.source
    boxes.epoch, told = 0, 0
    states: dict[int, set[float]] = {}
    for number, sample in enumerate(boxes):
        if number == 2:
            told = source.update(x=0.25)
        states.setdefault(sample.state, set()).add(sample.values["x"])
    assert states[told] == {0.25}
    assert len(states[told - 1]) >= 3
    assert 0.25 not in states[told - 1]


def test_who_does_not_take_loses_the_oldest_and_knows_how_many() -> None:
    with live.stream(
        streamed.Numbered(), 12, blenders=1, full="drop-oldest", start_options=CPU
    ) as stream:
        seen = []
        for sample in stream:
            seen.append(sample.key)
            if len(seen) == 1:
                time.sleep(1.5)
        assert stream.totals.dropped > 0
        assert stream.totals.dropped + stream.totals.given == 24
        assert seen == sorted(set(seen))
        assert seen[-1] == (0, 11, 1)


def test_what_fails_says_where_and_is_skipped_where_that_is_wanted() -> None:
    with live.stream(streamed.Broken(), 6, blenders=1, start_options=CPU) as stream:
        seen = []
        with pytest.raises(InvalidEdit, match=r"Unit 2, .*no-such-box"):
            seen.extend(stream)
        stream.on_error = "skip"
        stream.epoch = 0
        with pytest.warns(RuntimeWarning, match="Unit [25]"):
            seen = list(stream)
        assert [sample.key[1:] for sample in seen] == [
            (0, 0), (1, 0), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2)
        ]  # fmt: skip
        assert [sample.record["views"] for sample in seen] == [1, 1, 2, 2, 3, 3, 3]
        assert stream.totals.skipped == 3
        assert "did not say how large" in stream.totals.reasons[1]


def test_what_hangs_is_named() -> None:
    with (
        live.stream(Stuck(), 1, blenders=1, stall=1.0, start_options=CPU) as stream,
        pytest.raises(WorkerTimeout, match=r"Blender 0, unit 0: opening the scene, for \d s"),
    ):
        list(stream)


class Stuck(streamed.Box):
    def setup(self, _: live.Session) -> None:
        time.sleep(3)


def test_assets_have_the_pixels_of_a_data_set(tmp_path: Path) -> None:
    values = {
        "pixels.resolution": [48, 32], "engine.samples": 2, "engine.device": "cpu",
        "pixels.passes": ["rgb", "depth", "normal", "mask", "object_index"],
        "cameras.views": 2, "cameras.test_views": 1, "seed": 5,
    }  # fmt: skip
    paths = [scenes.write_glb(tmp_path / f"{name}.glb") for name in ("one", "two")]
    job = scenes.make_job(values)
    stored = {path.stem: scenes.write_asset(path, tmp_path / "out", values) for path in paths}
    with live.stream(live.JobSource(paths, job), blenders=2, start_options=CPU) as stream:
        assert len(stream) == 6
        seen = list(live.record(stream, tmp_path / "kept"))
    assert [sample.key for sample in seen] == [(0, a, v) for a in range(2) for v in range(3)]
    for sample in seen:
        asset = sample.values["asset"]
        with AssetReader(stored[asset]) as reader:
            view = reader.place(sample.record["view"])
            there = reader.read(view)
            assert set(there) == set(sample.arrays)
            for name, array in there.items():
                assert np.array_equal(array, sample[name], equal_nan=array.dtype.kind == "f"), name
            camera = reader.view(view).camera
        assert np.array_equal(camera.camera_to_world, sample.camera.camera_to_world)
    kept = live.Recording(tmp_path / "kept")
    made = to_dataset(kept, tmp_path / "made")
    assert not made.left_out
    assert_same_assets(made.written, stored)
    check_what_is_not_whole(kept, stored, tmp_path)


def assert_same_assets(made: dict[str, Path], stored: dict[str, Path]) -> None:
    """The same files with the same bytes, and metadata that say the same; and they are proved."""
    assert made.keys() == stored.keys()
    for asset in made:
        assert made[asset].name == stored[asset].name
        assert verify_asset(made[asset]).ok
        with AssetReader(made[asset]) as ours, AssetReader(stored[asset]) as theirs:
            assert list(ours.names()) == list(theirs.names())
            for name in set(theirs.names()) - {"metadata.json"}:
                assert ours.bytes_of(name) == theirs.bytes_of(name), name
            said, there = (json.loads(json.dumps(one.metadata)) for one in (ours, theirs))
        for metadata in (said, there):
            assert metadata["seconds"].pop("total") > 0
            # What the asset is called, how long it took, and behind which wall.
            for name in ("seconds", "file_identifier", "save_uid"):
                del metadata[name]
            del metadata["render_settings"]["sandbox"]
        assert said == there


def check_what_is_not_whole(
    kept: live.Recording, stored: dict[str, Path], tmp_path: Path
) -> None:
    """A recording that broke off in its last asset, samples twice, of another making, foreign."""
    with pytest.warns(RuntimeWarning, match="left out two: 2 of its 3 samples"):
        made = to_dataset(kept[:-1], tmp_path / "cut")
    assert set(made.left_out) == {"two"}
    assert [path.name for path in (tmp_path / "cut").iterdir()] == [stored["one"].name]
    odd = [one.copy() for one in kept]
    odd[0].record["made_of"] = "other"
    odd[5].arrays.pop("depth")
    with pytest.warns(RuntimeWarning, match="left out"):
        made = to_dataset(odd, tmp_path / "odd")
    assert not made.written
    assert "versions" in made.left_out["one"]
    assert "depth" in made.left_out["two"]
    with pytest.warns(RuntimeWarning, match="left out one: .* already"):
        made = to_dataset([*kept[:3]], tmp_path / "cut")
    assert not made.written
    with pytest.warns(RuntimeWarning, match="more than once"):
        assert not to_dataset([kept[0], kept[1], kept[1]], tmp_path / "twice").written
    later = kept[0].copy()
    later.record["epoch"] = 1
    with pytest.raises(InvalidJob, match="epochs 0 and 1"):
        to_dataset([*kept, later], tmp_path / "epochs")
    with pytest.raises(InvalidJob, match="which of its stream"):
        to_dataset([live.Sample({}, {"epoch": 0, "index": "0"})], tmp_path / "foreign")
    foreign = [live.Sample(one.arrays, {**one.record}) for one in kept]
    for one in foreign:
        del one.record["made_of"]
    with pytest.raises(InvalidJob, match="JobSource"):
        to_dataset(foreign, tmp_path / "foreign")
    assert not (tmp_path / "foreign").exists()


def test_animations_have_the_pixels_of_a_data_set_in_its_order(tmp_path: Path) -> None:
    values = {
        "pixels.resolution": [48, 32], "engine.samples": 1, "engine.device": "cpu",
        "pixels.passes": ["rgb", "depth", "object_index", "flow_forward"],
        "cameras.views": 2, "time.frames": "1:9:4", "seed": 5,
    }  # fmt: skip
    path = moving.write(tmp_path / "box.blend", "translating")
    stored = scenes.write_asset(path, tmp_path / "out", values)
    source = live.JobSource([path], scenes.make_job(values))
    source.truths = live.Truths()
    assert source.views == 6
    with live.stream(source, blenders=1, start_options=CPU) as stream:
        seen = [sample.copy() for sample in stream]
    assert [sample.key for sample in seen] == [(0, 0, at) for at in range(6)]
    with AssetReader(stored) as reader:
        shown = [(reader.key(at).view, reader.key(at).time) for at in range(6)]
        assert [(one.values["view"], one.record["time"]) for one in seen] == shown
        assert len(set(shown)) == 6
        for at, sample in enumerate(seen):
            for name, array in reader.read(at).items():
                assert np.array_equal(array, sample[name], equal_nan=array.dtype.kind == "f"), name
            assert np.array_equal(
                reader.view(at).camera.camera_to_world, sample.camera.camera_to_world
            )
    # The box stands elsewhere at each time, and its corners are told of that time's.
    for early, late in zip(seen, seen[2:], strict=False):
        step = late["boxes_3d"] - early["boxes_3d"]
        assert np.ptp(step, axis=1).max() < 1e-5
        assert np.linalg.norm(step[0, 0]) > 0.2


def test_all_frames_under_all_lights_are_those_of_a_data_set(tmp_path: Path) -> None:
    """Assets of different lengths: how many samples there are is known once each is open."""
    lights = tmp_path / "lights.toml"
    lights.write_text("".join(
        f'[[lights]]\nname = "{name}"\nkind = "sun"\nazimuth = {azimuth}\n'
        for name, azimuth in (("left", 200), ("right", 330), ("back", 90))
    ))  # fmt: skip
    values = {
        "pixels.resolution": [32, 24], "engine.samples": 1, "engine.device": "cpu",
        "engine.denoise": False, "pixels.passes": ["rgb", "rgb_linear", "depth", "flow_forward"],
        "pixels.tracks": 7, "cameras.views": 2, "time.frames": "all", "seed": 5,
        "lighting.mode": "file", "lighting.lights": str(lights),
        "lighting.background": [0.2, 0.4, 0.6],
    }  # fmt: skip
    paths = []
    for name, last in (("long", 3), ("short", 2)):

        def shorten(scene: Any, last: int = last) -> None:
            scene.frame_end = last

        paths.append(moving.write(tmp_path / f"{name}.blend", "translating", shorten))
    stored = {path.stem: scenes.write_asset(path, tmp_path / "out", values) for path in paths}
    source = live.JobSource(paths, scenes.make_job(values))
    assert source.views == 0
    wanted = [(0, 0, at) for at in range(6)] + [(0, 1, at) for at in range(4)]
    seen = Seen(2, 0)
    with live.stream(source, blenders=2, start_options=CPU) as stream:
        with pytest.raises(TypeError):
            len(stream)
        samples = [sample.copy() for sample in stream]
        assert [sample.key for sample in samples] == wanted
        # It goes on within the first asset, and leaves out the second where that is whole.
        for sample in [*samples[:4], *samples[6:]]:
            seen.add(*sample.key[1:], sample.record["views"])
        stream.epoch, stream.seen = 0, Seen.from_dict(json.loads(json.dumps(seen.to_dict())))
        assert [sample.key for sample in stream] == wanted[4:6]
    lit = []
    for sample in samples:
        assert [light["name"] for light in sample.record["lights"]] == ["left", "right", "back"]
        with AssetReader(stored[sample.values["asset"]]) as reader:
            at = sample.record["view"]
            assert sample.record["views"] == len(reader)
            there = dict(reader.read(at))
            assert there["rgb"].shape[2] == 3
            for light in (1, 2):
                those = reader.read(at, ["rgb", "rgb_linear"], light=light)
                there |= {f"{name}@{light}": array for name, array in those.items()}
            tracks = reader.tracks(at)
            assert tracks is not None
            there["tracks"] = tracks
            assert set(there) == set(sample.arrays)
            for name, array in there.items():
                assert np.array_equal(array, sample[name], equal_nan=array.dtype.kind == "f"), name
            lit.append([there[name].astype(float).mean() for name in ("rgb", "rgb@1", "rgb@2")])
    assert np.ptp(lit, axis=1).max() > 5
    assert_same_assets(to_dataset(samples, tmp_path / "made").written, stored)


@pytest.mark.long
def test_composed_scenes_have_the_pixels_of_a_set_and_say_what_is_in_them(tmp_path: Path) -> None:
    for name in ("mujoco", "rapier3d"):
        pytest.importorskip(name)
    from objaverse_render_addon.batch.compose import compose
    from objaverse_render_addon.compose.rules import Rules

    rules = Rules(seed=4, objects=(2, 3), images=2, layouts=("grid",), supports=("table",))
    passes = ("rgb", "depth", "object_index")
    source = live.ComposedSource(
        rules, 1, resolution=(64, 48), samples=1, denoise=False, device="cpu", passes=passes
    )
    with live.stream(source, blenders=1, start_options=CPU) as stream:
        first, second = ([sample.copy() for sample in stream] for _ in range(2))
    assert [sample.values["scene"] for sample in first] == ["scene-000000"] * 2
    assert [sample.values["scene"] for sample in second] == ["scene-000001"] * 2
    compose(rules, 1, tmp_path, {
        "pixels.resolution": [64, 48], "engine.samples": 1, "engine.denoise": False,
        "engine.device": "cpu", "pixels.passes": list(passes),
    })  # fmt: skip
    with AssetReader(tmp_path / "scene-000000") as reader:
        for sample in first:
            there = reader.read(reader.place(sample.record["view"]))
            for name in passes:
                assert np.array_equal(there[name], sample[name]), name
    said = first[0].values["objects"]
    names = {name for name in first[0].record["object_names"].values() if "object" in name}
    assert names == {f"object-{one['id']:03d}-{one['name']}" for one in said}


def test_what_cannot_be_streamed_is_refused() -> None:
    with pytest.raises(InvalidJob, match="no assets"):
        live.JobSource([])
    with pytest.raises(InvalidJob, match="same id"):
        live.JobSource(["a/x.glb", "b/x.glb"])
    with pytest.raises(InvalidJob, match="no part"):
        live.stream(streamed.Box(), 3, part=(2, 2))
    with pytest.raises(InvalidJob, match="numbers, words"):
        streamed.Box().update(x=object())
    job = RenderJob().with_values({"time.frames": "all"})
    assert live.JobSource(["x.glb"], job).views == 0
    with pytest.raises(InvalidJob, match="surface or rig"):
        live.JobSource(["x.glb"], job.with_values({"files.rig": True}))
    in_turn = {"time.frames": "1:8", "time.views_per_frame": "one"}
    assert live.JobSource(["x.glb"], job.with_values(in_turn)).views == 8


def test_parts_are_dealt_out_exactly() -> None:
    for total in range(8):
        for parts in range(1, 5):
            for first in range(3):
                made = [
                    live.stream(streamed.Numbered(), total, part=(part, parts), first=first)
                    for part in range(parts)
                ]
                assert sum(map(len, made)) == 2 * max(0, total - first)


def test_a_source_that_is_pickled_takes_along_what_it_was_told() -> None:
    source = streamed.Box()
    source.update(x=1)
    state = source.update(y=[1, 2])
    copy = pickle.loads(pickle.dumps(source))
    assert copy.steered() == source.steered() == (state, {"x": 1, "y": [1, 2]})
    source.update(x=2)
    assert copy.steered()[1]["x"] == 1


def test_boxes_and_keypoints_are_where_things_are() -> None:
    with live.stream(streamed.Labelled(), 3, blenders=1, start_options=CPU) as stream:
        seen = list(stream)
    for sample in seen:
        names = sample.record["objects"]
        at = names.index("box") if "box" in names else None
        if at is None:
            continue
        ids, box = sample["object_index"], sample["boxes"][at]
        rows, columns = np.nonzero(ids == sample["object_ids"][at])
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert sample["pixels"][at] == len(rows)
        assert sample["classes"].tolist() == [{"box": 7, "wall": 3}[name] for name in names]
        matrix = np.array(sample.values["matrix"])
        corners = np.array(streamed.CORNERS) @ matrix[:3, :3].T + matrix[:3, 3]
        assert np.abs(sample["boxes_3d"][at] - corners).max() < 1e-5
        assert np.abs(sample["keypoints_3d"][0] - matrix[:3, 3]).max() < 1e-5
        uv, _ = sample.camera.project(matrix[None, :3, 3])
        assert np.abs(sample["keypoints"][0, :2] - uv[0]).max() < 1e-3
        # A box's middle is within it: hidden.
        assert sample["keypoints"][0, 2] == 1
        if sample.record["index"] == 0:
            # Seen whole: its corners span what is seen, to a pixel.
            uv, _ = sample.camera.project(corners)
            whole = [*uv.min(axis=0), *uv.max(axis=0)]
            assert np.abs(box - whole).max() <= 1
    assert sorted(seen[0].record["objects"]) == ["box", "wall"]


def test_points_of_a_file_are_found_where_they_render(tmp_path: Path) -> None:
    with scenes.new_blend(tmp_path / "points.blend") as scene:
        import bpy

        cube = scenes.add_cube(2.0, name="cube", matrix=scenes.moved(1, 0, 0))
        group = cube.vertex_groups.new(name="top")
        tops = [vertex.index for vertex in cube.data.vertices if vertex.co.z > 0]
        group.add(tops, 0.5, "REPLACE")
        cube.modifiers.new("more", "ARRAY").count = 2
        empty = bpy.data.objects.new("handle", None)
        empty.location = 0, 0, 3
        empty.parent = cube
        scene.collection.objects.link(empty)
    points = ("handle", "cube", "cube:top")
    with live.start(1, device="cpu") as pool:
        there = pool.open(tmp_path / "points.blend", whole=True, passes=("mask", "object_index"))
        found = there.placed(points)
        assert found["points"]["handle"] == pytest.approx((1, 0, 3))
        assert found["points"]["cube"] == pytest.approx((1, 0, 0))
        # As it renders: with the copy that its modifier makes.
        assert found["points"]["cube:top"] == pytest.approx((2, 0, 1))
        (cube,) = found["objects"]
        assert (cube["low"], cube["high"]) == ([-1, -1, -1], [3, 1, 1])
        assert there.object_names[cube["index"]] == "cube"
        there.place("points", scenes.moved(0, 5, 0))
        assert there.placed(points)["points"]["handle"] == pytest.approx((1, 5, 3))
        with pytest.raises(InvalidEdit, match=r"no point 'cube:none'.*scene"):
            there.placed(["cube:none"])
        normal = pool.open(tmp_path / "points.blend", passes=("mask", "object_index"))
        (cube,) = normal.placed()["objects"]
        corners = corners_of(cube["low"], cube["high"])
        matrix = np.array(cube["matrix"])
        world = corners @ matrix[:3, :3].T + matrix[:3, 3]
        assert world.min(axis=0) == pytest.approx(normal.facts["bounds"]["box_min"], abs=1e-5)
        assert world.max(axis=0) == pytest.approx(normal.facts["bounds"]["box_max"], abs=1e-5)


def test_a_random_scene_shows_what_was_drawn_and_the_same_again() -> None:
    source = RandomBox(
        randomizers=[
            Pose("box", (-1, -1, 0), (1, 1, 0), turn="upright", scale=(0.5, 1)),
            Look("box", (0.9, 0, 0), (1, 0, 0)), Lamp(), Background(strength=(0, 0)),
        ],
        cameras=CameraShell(distance=(6, 6), elevation=(20, 60), roll=10), views=2,
        **{**streamed.Box.settings, "passes": ("rgb", "depth", "mask")},
    )  # fmt: skip
    rounds = []
    for blenders in (1, 2):
        with live.stream(source, 3, blenders=blenders, start_options=CPU) as stream:
            rounds.append([sample.copy() for sample in stream])
    for first, second in zip(*rounds, strict=True):
        assert all(np.array_equal(first[name], second[name]) for name in first.arrays)
    poses = {str(sample.values["pose box"]) for sample in rounds[0]}
    assert len(poses) == 3
    for sample in rounds[0]:
        matrix = np.array(sample.values["pose box"])
        uv, _ = sample.camera.project(matrix[None, :3, 3])
        column, row = uv[0].astype(int)
        assert sample["mask"][row, column] > 0
        red, green, blue = sample["rgb"][sample["mask"] > 0][:, :3].astype(int).sum(axis=0)
        assert red > 0
        assert max(green, blue) < 0.3 * red


def test_images_are_drawn_onto_surfaces_and_lie_where_they_should(tmp_path: Path) -> None:
    # Two columns and two rows, the lower left first; a face of the box is one image wide.
    quarters = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 0)]]
    files = []
    for name, order in (("a", quarters), ("b", [quarters[1], quarters[0]])):
        picture = np.kron(np.array(order[::-1], np.uint8), np.ones((32, 32, 1), np.uint8))
        files.append(tmp_path / f"{name}.png")
        Image.fromarray(picture).save(files[-1])
    source = RandomBox(
        randomizers=[Look("box", values={}, textures=files)],
        cameras=CameraShell(elevation=(0, 40)),
        **{**streamed.Box.settings, "passes": ("albedo", "depth", "mask")},
    )  # fmt: skip
    with pytest.raises(InvalidJob, match="same"):
        Look("box", textures=[files[0], {"roughness": files[1]}])
    with live.stream(source, 6, blenders=1, seed=1, start_options=CPU) as stream:
        seen = [sample.copy() for sample in stream]
    shown = [sample.values["look box"]["base_color"] for sample in seen]
    assert set(shown) == {str(file) for file in files}
    colors = {True: quarters, False: [quarters[1], quarters[0]]}
    for sample, name in zip(seen, shown, strict=True):
        faces(sample, colors[name == str(files[0])])


def faces(sample: live.Sample, quarters: list[list[tuple[int, int, int]]]) -> None:
    """Hold the albedo of the four sides against an image of one unit, upright on each."""
    mask = sample["mask"] > 0
    points = sample.camera.unproject(sample["depth"], np.nonzero(mask))
    color = sample["albedo"][mask]
    x, y, z = points.T
    seen = 0
    for at, across in ((y + 0.5, x), (y - 0.5, -x), (x - 0.5, y), (x + 0.5, -y)):
        side, u, v = np.abs(at) < 1e-3, across % 1, z % 1
        inner = side & (np.abs(u % 0.5 - 0.25) < 0.2) & (np.abs(v % 0.5 - 0.25) < 0.2)
        for row in range(2):
            for column in range(2):
                here = inner & ((u > 0.5) == column) & ((v > 0.5) == row)
                seen += here.sum()
                wanted = np.array(quarters[row][column]) / 255
                assert np.abs(color[here][:, :3] - wanted).max(initial=0) < 2e-3
    assert seen > 40


def test_flow_travels_with_the_pictures_of_a_moving_thing(tmp_path: Path) -> None:
    with live.stream(
        Sliding(moving.write(tmp_path / "box.blend", "translating")), 2, blenders=1,
        start_options=CPU,
    ) as stream:  # fmt: skip
        seen = [sample.copy() for sample in stream]
    assert [sample.record["time"] for sample in seen] == [1, 5, 9] * 2
    for place, sample in enumerate(seen):
        # All three were drawn before the first was handed over.
        at = moving.placed("translating", sample.record["time"])[:3, 3]
        assert sample["keypoints_3d"][0] == pytest.approx(at, abs=1e-5)
        assert sample["boxes_3d"][0].mean(axis=0) == pytest.approx(at, abs=1e-5)
        mask, flow = sample["mask"] > 0, sample["flow_forward"]
        if place % 3 == 2:
            assert np.isnan(flow[mask]).all()
            continue
        # The camera of the next picture is another one, and the box goes on meanwhile.
        there = seen[place + 1].camera
        points = sample.camera.unproject(sample["depth"], np.nonzero(mask))
        wanted = there.project(points + [1, 0.25, 0])[0] - sample.camera.project(points)[0]
        assert mask.sum() > 30
        assert np.abs(flow[mask] - wanted).max() < 1e-3
        assert np.abs(wanted).max() > 1


class Sliding(live.Source):
    """A clip of a box that moves, by a camera that is drawn and moves, too."""

    settings: ClassVar[dict[str, Any]] = {
        **streamed.Box.settings, "whole": True, "frames": "1:9:4",
        "passes": ("depth", "mask", "object_index", "flow_forward"),
    }  # fmt: skip
    lane, views = "raster", 3
    truths = live.Truths(keypoints=("Box",))

    def __init__(self, path: Path) -> None:
        self.path = path  # type: ignore[misc]

    def shots(self, _: live.Session, item: live.Item) -> Any:
        side = item.uniform("side", -1, 1)
        return [
            (live.look_at((side + 0.1 * time, -6, 1), (1, 0, 0), size=streamed.SIZE), time)
            for time in (1, 5, 9)
        ]


class RandomBox(RandomScene):
    def setup(self, session: live.Session) -> None:
        session.add_mesh("box", streamed.CORNERS, streamed.FACES)


def test_what_is_drawn_is_spread_as_it_says() -> None:
    items = [live.Item(index) for index in range(2000)]
    away = np.array([random_direction(item, "a", (30, 90)) for item in items])
    assert np.abs(np.linalg.norm(away, axis=1) - 1).max() < 1e-9
    # Uniform on the sphere: the height is uniform.
    heights = np.sort(away[:, 2])
    assert np.abs(heights - np.linspace(0.5, 1, 2000)).max() < 0.03
    turns = np.array([random_rotation(item, "b") for item in items])
    assert np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max() < 1e-9
    assert np.linalg.det(turns).min() > 0.999
    assert np.abs(turns.mean(axis=0)).max() < 0.06
    numbers = np.concatenate([item.normal("c", 2) for item in items])
    assert abs(numbers.mean()) < 0.06
    assert abs(numbers.std() - 1) < 0.05


def test_servers_give_what_workers_here_give(tmp_path: Path) -> None:
    with live.stream(streamed.Labelled(), 6, blenders=1, start_options=CPU) as stream:
        here = [sample.copy() for sample in stream]
    with contextlib.ExitStack() as stack:
        infos = []
        for number in range(2):
            pool = stack.enter_context(live.start(1, device="cpu"))
            server = stack.enter_context(
                Server(pool, [f"unix:{tmp_path}/{number}"], roots=[tmp_path])
            )
            infos.append(tmp_path / f"{number}.json")
            infos[-1].write_text(json.dumps(server.facts()))
        there = stack.enter_context(
            live.stream(streamed.Labelled(), 6, address=[str(info) for info in infos])
        )
        seen = [sample.copy() for sample in there]
    assert [sample.key for sample in seen] == [sample.key for sample in here]
    for first, second in zip(here, seen, strict=True):
        assert first.record["objects"] == second.record["objects"]
        for name in first.arrays:
            assert np.array_equal(first[name], second[name], equal_nan=True), name


def test_a_file_that_names_no_server_is_refused(tmp_path: Path) -> None:
    launch = tmp_path / "launch.json"
    for text in ("{}", '{"keys": []}', '{"keys": 3}', "no JSON"):
        launch.write_text(text)
        with pytest.raises(InvalidJob, match=r"launch\.json"):
            live.connect(str(launch))
    # Of another machine, whose private socket is not here.
    keys = [{"address": f"unix:{tmp_path}/none", "key": ""},
            {"address": "tcp://127.0.0.1:1", "key": "me:a"}]  # fmt: skip
    launch.write_text(json.dumps({"keys": keys}))
    with pytest.raises(ConnectionLost, match=r"tcp://127\.0\.0\.1:1"):
        live.connect(str(launch))


def test_a_server_streams_assets_as_they_would_be_stored(tmp_path: Path) -> None:
    path, lights = scenes.write_glb(tmp_path / "one.glb"), tmp_path / "lights.toml"
    lights.write_text('[[lights]]\nkind = "white"\n[[lights]]\nkind = "sun"\n')
    job = scenes.make_job({
        "pixels.resolution": [48, 32], "engine.samples": 1, "engine.device": "cpu",
        "pixels.passes": ["rgb", "depth"], "cameras.views": 2, "pixels.tracks": 5,
        "lighting.mode": "file", "lighting.lights": str(lights),
    })  # fmt: skip
    source = live.JobSource([path], job)
    with live.stream(source, blenders=1, start_options=CPU) as stream:
        here = [sample.copy() for sample in stream]
    with (
        live.start(1, device="cpu") as pool,
        Server(pool, [f"unix:{tmp_path}/socket"], roots=[tmp_path]) as server,
        live.stream(source, address=server.addresses) as stream,
    ):
        there = [sample.copy() for sample in stream]
    assert len(here) == len(there) == 2
    for first, second in zip(here, there, strict=True):
        assert first.record["camera"] == second.record["camera"]
        assert first.record["lights"] == second.record["lights"]
        assert set(first.arrays) == set(second.arrays) == {"rgb", "rgb@1", "depth", "tracks"}
        for name, array in first.arrays.items():
            assert np.array_equal(array, second[name], equal_nan=True), name


@pytest.mark.long
def test_fifty_random_kills_lose_nothing_and_give_nothing_twice() -> None:
    dice, over, killed = random.Random(8), threading.Event(), list[int]()
    came = threading.Semaphore(0)
    with live.stream(
        streamed.Box(), 60, blenders=2, seed=3, tries=20, start_options=CPU
    ) as stream:

        def strike() -> None:
            # Some samples come between two kills: Blenders are hit while they start and render.
            while not over.is_set():
                for _ in range(dice.randrange(1, 6)):
                    came.acquire()
                time.sleep(dice.uniform(0, 0.3))
                if pids := stream.pids:
                    killed.append(dice.choice(pids))
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(killed[-1], signal.SIGKILL)

        thread = threading.Thread(target=strike, daemon=True)
        thread.start()
        rounds = 0
        while len(killed) < 50:
            stream.epoch = 0
            drawn = []
            for sample in stream:
                drawn.append(sample.record["index"])
                x = streamed.middle(sample["depth"], sample["mask"], sample.camera)
                assert x == pytest.approx(sample.values["x"], abs=0.08)
                came.release()
            assert drawn == list(range(60))
            rounds += 1
        over.set()
        came.release(5)
        thread.join()
    assert len(set(killed)) > 20
    assert stream.totals.given == 60 * rounds
    assert stream.totals.restarts > 20
