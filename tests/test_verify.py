from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import LOPSIDED, Sphere, frame_of, write_asset
from jobs import written
from stored import store

from objaverse_render_addon.cli import main
from objaverse_render_addon.dataset.layout import METADATA
from objaverse_render_addon.dataset.parallel import mapped
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.storage import find_assets
from objaverse_render_addon.dataset.verify import AssetVerdict, verify_all, verify_asset
from objaverse_render_addon.errors import SourceNotFound, TruncatedFile, WorkerCrashed
from objaverse_render_addon.frame import Frame
from objaverse_render_addon.job import STILL_PASSES, CameraRules, Lighting, RenderJob


def job_of(
    pattern: str = "ring", views: int = 3, background: Any = None, **output: Any
) -> RenderJob:
    output = {"resolution": (72, 64), "layout": "folder", "passes": STILL_PASSES} | output
    return RenderJob(
        cameras=CameraRules(pattern=pattern, views=views),
        lighting=Lighting(background=background),
        **written(**output),
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_asset(tmp_path_factory.mktemp("original"), job_of())


@pytest.fixture
def asset(tmp_path: Path, original: Path) -> Path:
    """A correct asset, for the test to spoil."""
    return Path(shutil.copytree(original, tmp_path / "asset"))


def edit(asset: Path, change: Callable[[dict[str, Any]], None]) -> AssetVerdict:
    """The verdict after the asset's metadata were changed."""
    path = asset / METADATA
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    return verify_asset(asset)


def failed(verdict: AssetVerdict, *words: str) -> bool:
    """Whether one of the sentences has all these words, and the asset is said to be bad."""
    return not verdict.ok and any(all(w in line for w in words) for line in verdict.failed)


# --- What is right --------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["gs-lrm", "ring", "cube-faces", "zero123"])
def test_a_correct_asset_passes_without_a_doubt(tmp_path: Path, pattern: str):
    job = job_of(pattern, views=6)
    if pattern == "zero123":
        # A cube of 2 in the distances for a cube of 1 is cropped, which is a doubt.
        job = job.with_values({"asset.normalize": "cube"})
    verdict = verify_asset(write_asset(tmp_path, job))
    assert (verdict.failed, verdict.doubts, verdict.views) == ([], {}, 6)


@pytest.mark.parametrize("layout", ["zip", "folder"])
@pytest.mark.parametrize("geometry", ["npy", "exr"])
@pytest.mark.parametrize("space", ["camera", "world"])
def test_every_form_of_an_asset_passes(tmp_path: Path, layout: str, geometry: str, space: str):
    job = job_of(layout=layout, geometry=geometry, normal_space=space)
    verdict = verify_asset(write_asset(tmp_path, job))
    assert (verdict.failed, verdict.doubts) == ([], {})
    assert verdict.ok


@pytest.mark.parametrize("passes", [("rgb",), ("depth",), ("mask", "normal"), ("rgb", "distance")])
def test_an_asset_of_few_passes_passes(tmp_path: Path, passes: tuple[str, ...]):
    verdict = verify_asset(write_asset(tmp_path, job_of(passes=passes)))
    assert (verdict.failed, verdict.doubts) == ([], {})


def test_an_asset_on_a_background_passes(tmp_path: Path):
    verdict = verify_asset(write_asset(tmp_path, job_of(background=(1.0, 1.0, 1.0))))
    assert (verdict.failed, verdict.doubts) == ([], {})


def test_progress_is_told(asset: Path):
    told = []
    verify_asset(asset, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_what_was_written_is_read_back(asset: Path):
    with AssetReader(asset) as reader:
        assert reader.passes == list(STILL_PASSES)
        assert reader.bounds == LOPSIDED.bounds
        view = reader.view(1)
        assert view.index == 1
        assert view.pose["azimuth_degrees"] == 30
        arrays = reader.read(1)
    seen = view.camera.unproject(arrays["depth"])[arrays["mask"] == 1]
    assert np.allclose(seen, arrays["position"][arrays["mask"] == 1], atol=1e-5)


# --- Files that are damaged -----------------------------------------------------------------


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray | None]) -> None:
    data = np.load(path)
    changed = change(data)
    np.save(path, data if changed is None else changed)


@pytest.mark.parametrize("keep", [0, 6, 60, 128, 1000])
def test_an_array_that_breaks_off_is_found(asset: Path, keep: int):
    path = asset / "001_depth.npy"
    path.write_bytes(path.read_bytes()[:keep])
    assert failed(verify_asset(asset), "001_depth.npy is damaged")


@pytest.mark.parametrize("keep", [0, 4, 40, 500])
def test_a_picture_that_breaks_off_is_found(asset: Path, keep: int):
    path = asset / "002.png"
    path.write_bytes(path.read_bytes()[:keep])
    assert failed(verify_asset(asset), "002.png is damaged")


def test_an_exr_that_breaks_off_is_found(tmp_path: Path):
    asset = write_asset(tmp_path, job_of(geometry="exr"))
    path = asset / "001.exr"
    path.write_bytes(path.read_bytes()[:-200])
    assert failed(verify_asset(asset), "001.exr is not a whole EXR")


@pytest.mark.parametrize("name", ["000.png", "001_mask.npy", "002_normal.npy"])
def test_a_missing_file_is_found(asset: Path, name: str):
    (asset / name).unlink()
    assert failed(verify_asset(asset), name, "cannot be read")


def test_pickled_data_are_refused(asset: Path):
    np.save(asset / "001_depth.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert failed(verify_asset(asset), "001_depth.npy is damaged")


def test_every_damaged_byte_of_an_archive_is_found(tmp_path: Path):
    path = write_asset(tmp_path, job_of(layout="zip", views=1, passes=("rgb", "depth", "mask")))
    whole = path.read_bytes()
    # Of each file its data; the headers are partly redundant.
    with zipfile.ZipFile(path) as archive:
        zipped = archive.infolist()
    for info in zipped:
        start = info.header_offset + 30 + len(info.filename)
        for share in (0.1, 0.5, 0.9):
            damaged = bytearray(whole)
            damaged[start + int(share * (info.compress_size - 1))] ^= 0x55
            path.write_bytes(damaged)
            assert not verify_asset(path).ok, (info.filename, share)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_an_archive_that_breaks_off_is_found(tmp_path: Path, share: float):
    path = write_asset(tmp_path, job_of(layout="zip"))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert failed(verify_asset(path), METADATA)


def test_a_wrong_dtype_is_found(asset: Path):
    rewrite(asset / "001_depth.npy", lambda data: data.astype(np.float64))
    assert failed(verify_asset(asset), "view 1: depth_shape_and_dtype")


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-1], lambda data: data[..., None], lambda data: data.T,
     lambda data: np.float32(1.0)],
    ids=["shorter", "deeper", "turned", "scalar"],
)  # fmt: skip
def test_a_wrong_shape_is_found(asset: Path, change: Callable[[np.ndarray], np.ndarray]):
    rewrite(asset / "001_depth.npy", lambda data: np.ascontiguousarray(change(data)))
    assert not verify_asset(asset).ok


# --- Data that contradict themselves --------------------------------------------------------


def test_an_edited_mask_is_found(asset: Path):
    def punch(mask: np.ndarray) -> None:
        rows, columns = np.nonzero(mask)
        mask[rows[100], columns[100]] = 0

    rewrite(asset / "001_mask.npy", punch)
    verdict = verify_asset(asset)
    assert failed(verdict, "view 1: mask_equals_depth (1)") or failed(
        verdict, "view 1: depth_zero_outside_mask (1)"
    )
    assert not any("view 0" in line or "view 2" in line for line in verdict.failed)


def test_a_mask_of_255_is_found(asset: Path):
    rewrite(asset / "000_mask.npy", lambda mask: mask * 255)
    assert failed(verify_asset(asset), "view 0: mask_in_limits (255)")


@pytest.mark.parametrize("name", ["depth", "normal", "albedo", "position", "object_index"])
def test_what_is_not_zero_beside_the_object_is_found(asset: Path, name: str):
    def spill(data: np.ndarray) -> None:
        data[0, 0] = 1

    rewrite(asset / f"002_{name}.npy", spill)
    assert failed(verify_asset(asset), f"view 2: {name}_zero_outside_mask")


def test_what_is_no_number_is_found(asset: Path):
    def spoil(data: np.ndarray) -> None:
        data[data > 0] = np.nan

    rewrite(asset / "002_depth.npy", spoil)
    assert failed(verify_asset(asset), "view 2: finite")


def moved(data: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return np.roll(data, (rows, columns), axis=(0, 1))


def spoilt(frames: list[Frame], *changes: tuple[str, Callable[[np.ndarray], np.ndarray]]) -> None:
    for name, change in changes:
        data = frames[1].passes[name]
        seen = frames[1].passes["mask"] > 0
        changed = change(data.copy())
        inside = seen if data.ndim == 2 else seen[..., None]
        same_place = name != "mask" and changed.shape == data.shape
        frames[1].passes[name] = np.where(inside, changed, 0).astype(data.dtype) \
            if same_place else changed.astype(data.dtype)  # fmt: skip


# What versions of this and of other renderers wrote without a word, and what says it now.
SILENT: dict[str, tuple[Callable[[list[Frame]], None], str]] = {
    "albedo summed along the ray": (
        lambda f: spoilt(f, ("albedo", lambda d: d + 2.0)), "albedo_in_limits"),
    "a negative roughness": (
        lambda f: spoilt(f, ("roughness_metallic", lambda d: d - 0.6)),
        "roughness_metallic_in_limits"),
    "depth of another scale": (
        lambda f: spoilt(f, ("depth", lambda d: d * 1.1)), "depth_in_bounding_box"),
    "depth remapped to 0..1": (
        lambda f: spoilt(f, ("depth", lambda d: d / d.max())), "depth_in_bounding_sphere"),
    "distance instead of depth": (
        lambda f: spoilt(f, ("depth", lambda d: f[1].passes["distance"])),
        "distance_agrees_with_depth"),
    "a mask that is shifted": (
        lambda f: f[1].passes.__setitem__("mask", moved(f[1].passes["mask"], 0, 2)),
        "depth_zero_outside_mask"),
    "everything shifted": (
        lambda f: f[1].passes.update({n: moved(d, 0, 3) for n, d in f[1].passes.items()}),
        "mask_in_projected_box"),
    "mirrored": (
        lambda f: f[1].passes.update({n: d[:, ::-1] for n, d in f[1].passes.items()}),
        "depth_in_bounding_box"),
    "positions in the camera's axes": (
        lambda f: spoilt(f, ("position", lambda d: d @ f[1].camera.camera_to_world[:3, :3])),
        "position_agrees_with_depth"),
    "normals that are not of unit length": (
        lambda f: spoilt(f, ("normal", lambda d: 0.5 * d)), "unit_normals"),
    "normals packed into 0..1": (
        lambda f: spoilt(f, ("normal", lambda d: 0.5 * d + 0.5)), "unit_normals"),
    "an object of no name": (
        lambda f: spoilt(f, ("object_index", lambda d: d + 1)), "object_index_named (8)"),
    "all of the view before again": (
        lambda f: f[1].passes.update(f[0].passes), "geometry_is_new"),
    "the picture of the view before again": (
        lambda f: f[1].passes.__setitem__("rgb", f[0].passes["rgb"]), "color_is_new"),
    "the picture of a view long before again": (
        lambda f: f[5].passes.__setitem__("rgb", f[2].passes["rgb"]), "view 5: color_is_new"),
    "the depth of a view long before again": (
        lambda f: f[5].passes.update({n: f[2].passes[n] for n in f[2].passes if n != "rgb"}),
        "view 5: geometry_is_new"),
}  # fmt: skip


@pytest.mark.parametrize("error", SILENT)
def test_what_was_wrong_without_a_word_is_found(tmp_path: Path, error: str):
    change, words = SILENT[error]
    asset = write_asset(tmp_path, job_of(views=6), change=lambda frames, _: change(frames))
    assert failed(verify_asset(asset), words)


@pytest.mark.parametrize("axes", [(-1, -1, -1), (1, -1, 1), (1, 1, -1)])
def test_flipped_normals_are_doubted(tmp_path: Path, axes: tuple[int, int, int]):
    def flip(frames: list[Frame], _: dict[str, Any]) -> None:
        for frame in frames:
            spoilt([frame, frame], ("normal", lambda data: data * axes))

    verdict = verify_asset(write_asset(tmp_path, job_of(), change=flip))
    assert {"normals_face_camera", "normals_agree_with_depth"} & set(verdict.doubts)


def test_a_round_object_is_allowed_to_look_the_same_from_everywhere(tmp_path: Path):
    asset = write_asset(tmp_path, job_of("ring", passes=("depth", "normal", "mask")),
                        shape=Sphere())  # fmt: skip
    verdict = verify_asset(asset)
    assert (verdict.failed, verdict.doubts) == ([], {})


@pytest.mark.parametrize("pattern", ["ring", "gs-lrm"])
def test_pictures_that_are_swapped_between_views_are_found(tmp_path: Path, pattern: str):
    def swap(frames: list[Frame], _: dict[str, Any]) -> None:
        frames[0].passes, frames[1].passes = frames[1].passes, frames[0].passes

    asset = write_asset(tmp_path, job_of(pattern), change=swap)
    verdict = verify_asset(asset)
    assert failed(verdict, "view 0: depth_in_bounding_box")
    assert failed(verdict, "view 1: depth_in_bounding_box")


def test_poses_that_are_swapped_between_views_are_found(asset: Path):
    def swap(record: dict[str, Any]) -> None:
        one, other = record["views"][:2]
        for name in ("camera_to_world", "pose"):
            one[name], other[name] = other[name], one[name]

    verdict = edit(asset, swap)
    assert failed(verdict, "view 0: depth_in_bounding_box")
    assert failed(verdict, "view 1: depth_in_bounding_box")


def test_a_matrix_that_is_not_that_of_the_pose_is_found(asset: Path):
    def swap(record: dict[str, Any]) -> None:
        one, other = record["views"][:2]
        one["camera_to_world"], other["camera_to_world"] = (
            other["camera_to_world"], one["camera_to_world"],
        )  # fmt: skip

    assert failed(edit(asset, swap), "view 0: pose_agrees")


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_changed_intrinsics_are_found(asset: Path, factor: float):
    def zoom(record: dict[str, Any]) -> None:
        record["views"][1]["intrinsics"][0][0] *= factor

    assert failed(edit(asset, zoom), "view 1: intrinsics_agree")


def test_a_scaled_or_mirrored_camera_is_found(asset: Path):
    def scale(record: dict[str, Any]) -> None:
        for row in record["views"][2]["camera_to_world"][:3]:
            row[0] *= -1

    assert failed(edit(asset, scale), "view 2: camera_is_rigid")


def test_a_transposed_camera_is_found(asset: Path):
    def transpose(record: dict[str, Any]) -> None:
        view = record["views"][2]
        view["camera_to_world"] = np.transpose(view["camera_to_world"]).tolist()

    assert failed(edit(asset, transpose), "view 2: camera_is_rigid")


def test_views_of_different_objects_are_doubted(tmp_path: Path):
    def take_apart(frames: list[Frame], _: dict[str, Any]) -> None:
        part = LOPSIDED.parts[0]
        for frame in frames[1:]:
            frame.passes = frame_of(part, frame.camera).passes

    verdict = verify_asset(write_asset(tmp_path, job_of(), change=take_apart))
    assert verdict.doubts["reprojection"] == [1, 2]


def test_normals_in_other_axes_than_written_are_doubted(asset: Path):
    def relabel(record: dict[str, Any]) -> None:
        record["passes"]["normal"]["space"] = "world"

    verdict = edit(asset, relabel)
    assert verdict.doubts["normals_agree_with_depth"] == [0, 1, 2]


# --- Metadata that are not whole ------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_metadata_that_break_off_are_found(asset: Path, share: float):
    path = asset / METADATA
    text = path.read_text()
    path.write_text(text[: int(share * len(text))])
    assert failed(verify_asset(asset), "no readable metadata.json")


def test_views_that_are_missing_from_the_metadata_are_found(asset: Path):
    assert failed(edit(asset, lambda record: record["views"].pop()), "2 of 3 views")
    assert failed(edit(asset, lambda record: record["views"].clear()), "0 of 3 views")


@pytest.mark.parametrize(
    "path",
    ["views", "normalization", "passes", "render_settings", "normalization.bbox_min",
     "views.1.camera_to_world", "views.1.intrinsics", "views.1.width", "views.2.depth",
     "views.0.pose", "render_settings.num_views"],
)  # fmt: skip
def test_a_key_that_is_missing_is_found(asset: Path, path: str):
    def remove(record: Any) -> None:
        *parents, name = path.split(".")
        for key in parents:
            record = record[int(key) if key.isdigit() else key]
        del record[name]

    assert failed(edit(asset, remove), path.split(".")[-1])


@pytest.mark.parametrize("value", [None, "x", [], [[1, 2], [3]], {"a": 1}])
@pytest.mark.parametrize("key", ["camera_to_world", "intrinsics", "width", "image", "depth"])
def test_a_value_of_another_kind_is_found(asset: Path, key: str, value: Any):
    assert not edit(asset, lambda record: record["views"][1].update({key: value})).ok


def test_an_asset_that_shows_nothing_at_all_fails(tmp_path: Path):
    def clear(frames: list[Frame], _: dict[str, Any]) -> None:
        for frame in frames:
            for data in frame.passes.values():
                data[:] = 0

    verdict = verify_asset(write_asset(tmp_path, job_of(), change=clear))
    assert failed(verdict, "no view shows anything")


def test_an_asset_of_which_one_view_shows_nothing_is_doubted(tmp_path: Path):
    def clear(frames: list[Frame], _: dict[str, Any]) -> None:
        for data in frames[1].passes.values():
            data[:] = 0

    verdict = verify_asset(write_asset(tmp_path, job_of(), change=clear))
    assert verdict.ok
    assert verdict.doubts == {"mask_not_empty": [1]}


# --- Finding assets -------------------------------------------------------------------------


def test_finished_assets_are_found_and_unfinished_ones_are_not(tmp_path: Path):
    for name, layout in (("b", "zip"), ("a", "folder")):
        write_asset(tmp_path, job_of(views=1, layout=layout, passes=("mask",)), name)
    (tmp_path / ".parts" / "d.1").mkdir(parents=True)
    (tmp_path / ".parts" / "d.1" / METADATA).write_text("{}")
    (tmp_path / ".parts" / "c.1.zip").write_bytes(b"")
    (tmp_path / "e").mkdir()
    (tmp_path / "notes.txt").write_text("")
    places = [tmp_path / "a", tmp_path / "b.zip"]
    found = [(ref.id, Path(ref.location)) for ref in find_assets(tmp_path)]
    assert found == [("a", places[0]), ("b", places[1])]
    for place in places:
        assert [Path(ref.location) for ref in find_assets(place)] == [place]
    with pytest.raises(SourceNotFound):
        find_assets(tmp_path / "e")


def test_reading_what_is_no_asset_is_named(tmp_path: Path):
    with pytest.raises(SourceNotFound):
        AssetReader(tmp_path / "missing.zip")
    with pytest.raises(SourceNotFound):
        AssetReader(tmp_path)
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(TruncatedFile):
        AssetReader(tmp_path / "a.zip")


# --- Many assets ----------------------------------------------------------------------------


def test_several_processes_find_what_one_does_in_the_same_order(tmp_path: Path):
    for index, name in enumerate("abcdef"):
        layout = "zip" if index % 2 else "folder"
        write_asset(tmp_path, job_of(views=1, layout=layout, passes=("rgb", "mask")), name)
    (tmp_path / "c" / "000_mask.npy").unlink()
    assets = find_assets(tmp_path)
    one, several = list(verify_all(assets)), list(verify_all(assets, jobs=2))
    assert one == several
    assert [verdict.ok for verdict in one] == [True, True, False, True, True, True]


def _die(_: Any) -> None:
    os._exit(9)


def test_a_process_that_dies_is_named():
    with pytest.raises(WorkerCrashed, match="died"):
        list(mapped(_die, range(5), 2))


def test_the_command_tells_each_asset_and_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name in "ab":
        write_asset(tmp_path, job_of(views=1, passes=("rgb", "mask")), name)
    store([tmp_path / "a", tmp_path / "b"], tmp_path / "shards", "shard")
    assert main(["verify", str(tmp_path / "shards"), "--jobs", "2"]) == 0
    out = capsys.readouterr().out
    assert f"ok     {tmp_path}/shards/shard-000000.tar/a (1 view)" in out
    assert "2 of 2 assets are right" in out
    (tmp_path / "b" / "000_mask.npy").unlink()
    assert main(["verify", str(tmp_path), "--json"]) == 32
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["ok"] for line in lines] == [True, False]
