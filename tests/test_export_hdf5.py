"""HDF5 in BlenderProc's layout, read with h5py alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exporting import camera_of, emptied, exported, notes, seen_points, stored

from objaverse_render_addon.dataset.export import export
from objaverse_render_addon.errors import MissingDependency

h5py = pytest.importorskip("h5py", reason="h5py is not installed")


def contents(path: Path) -> dict[str, Any]:
    with h5py.File(path, "r") as file:
        return {name: np.array(data) for name, data in file.items()}


def text_of(data: np.ndarray) -> Any:
    # As BlenderProc's own viewer reads its JSON.
    return json.loads(data.tobytes().rstrip(b"\0"))


@pytest.mark.parametrize("space", ["camera", "world"])
def test_everything_that_is_stored_comes_back(tmp_path: Path, space: str):
    reader = stored(tmp_path / "data", normal_space=space)
    out, report = exported(tmp_path, "hdf5")
    assert sorted(path.name for path in (out / "asset").iterdir()) == [
        "0.hdf5", "1.hdf5", "2.hdf5", "3.hdf5",
    ]  # fmt: skip
    for view in range(4):
        found, arrays = contents(out / f"asset/{view}.hdf5"), reader.read(view)
        mask = arrays["mask"] == 1
        assert found["colors"].dtype == np.uint8
        assert (found["colors"] == arrays["rgb"]).all()
        for name in ("depth", "distance"):
            assert (found[name].dtype, found[name].shape) == (np.float32, mask.shape)
            assert (found[name][mask] == arrays[name][mask]).all()
            assert (found[name][~mask] == np.float32(1e10)).all()
        normal = arrays["normal"].astype(np.float64)
        if space == "world":
            normal = normal @ camera_of(reader, view).camera_to_world[:3, :3]
        assert np.abs(found["normals"] * 2.0 - 1 - normal).max() < 3e-7
        assert (found["normals"][~mask] == 0.5).all()
        assert (found["category_id_segmaps"] == arrays["mask"]).all()
        assert (found["instance_segmaps"] == arrays["object_index"]).all()
        for name in ("albedo", "roughness_metallic", "position"):
            assert (found[name] == arrays[name]).all()
        ids = {item["idx"]: item for item in text_of(found["instance_attribute_maps"])}
        assert ids[7] == {"idx": 7, "name": "thing", "category_id": 1}
        assert ids[0]["name"] == "background"
    assert "0..1" in notes(report, "rescaled")
    assert "1e+10" in notes(report, "differs")


def test_surface_points_project_to_the_pixels_that_show_them(tmp_path: Path):
    reader = stored(tmp_path / "data", cameras={"shift": (0.1, 0.05), "pixel_aspect": 1.2})
    out, report = exported(tmp_path, "hdf5")
    for view in range(4):
        pose = text_of(contents(out / f"asset/{view}.hdf5")["camera_pose"])
        k, rotation = (np.array(pose[name]).reshape(3, 3) for name in ("cam_K", "cam_R_w2c"))
        points, centres = seen_points(reader, view)
        local = points @ rotation.T + pose["cam_t_w2c"]
        uv = (local @ k.T)[:, :2] / local[:, 2:]
        # There the centre of the first pixel is (0, 0).
        assert np.abs(uv - (centres - 0.5)).max() < 2e-3
    assert "half a pixel" in notes(report, "differs")


def test_few_passes_make_few_keys(tmp_path: Path):
    stored(tmp_path / "data", passes=("rgb",), background=(1.0, 1.0, 1.0))
    out, _ = exported(tmp_path, "hdf5")
    found = contents(out / "asset/0.hdf5")
    assert sorted(found) == ["camera_pose", "colors", "instance_attribute_maps"]
    assert found["colors"].shape == (64, 64, 3)


def test_a_mask_stands_for_the_instance_where_no_index_is_stored(tmp_path: Path):
    reader = stored(tmp_path / "data", "vase", passes=("rgb", "mask"), change=emptied(1))
    out, _ = exported(tmp_path, "hdf5")
    for view in range(4):
        found = contents(out / f"vase/{view}.hdf5")
        assert (found["instance_segmaps"] == reader.read(view)["mask"]).all()
        names = {item["idx"]: item["name"] for item in text_of(found["instance_attribute_maps"])}
        assert names == {0: "background", 1: "vase"}


def test_the_same_data_make_the_same_files(tmp_path: Path):
    stored(tmp_path / "data", views=1)
    files = []
    for name in ("a", "b"):
        export(tmp_path / "data", tmp_path / name, "hdf5")
        files.append((tmp_path / name / "asset/0.hdf5").read_bytes())
    assert files[0] == files[1]


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stored(tmp_path / "data", views=1)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingDependency, match=r"\[hdf5\]"):
        export(tmp_path / "data", tmp_path / "out", "hdf5")
