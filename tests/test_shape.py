"""Triangles, points, voxels and signed distances against what can be worked out by hand."""

from __future__ import annotations

import dataclasses
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from analytic import Box, Union, mesh_of, write_asset
from jobs import written

from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.shape_files import StoredShape
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import InvalidJob, MissingDependency, TruncatedFile
from objaverse_render_addon.job import CameraRules, RenderJob
from objaverse_render_addon.shape import Mesh, SurfacePoints, distance, ply, points, voxels

LOPSIDED = Union(
    (Box((-1.0, -0.5, -0.6), (0.2, 0.5, 0.0)), Box((0.2, -0.3, -0.2), (1.0, 0.5, 0.6)))
)
CUBE = Box((-1.0, -0.5, -0.25), (1.0, 0.5, 0.25))


# --- PLY ------------------------------------------------------------------------------------


def test_a_mesh_is_read_back_and_by_trimesh():
    mesh = mesh_of(LOPSIDED)
    flagged = dataclasses.replace(mesh, one_sided=mesh.part == 2)
    data = flagged.to_ply(["made of boxes", "ümlaut"])
    again = Mesh.from_ply(data, mesh.parts, mesh.materials)
    for field in ("vertices", "faces", "part", "material", "may_vanish", "one_sided"):
        assert np.array_equal(getattr(again, field), getattr(flagged, field)), field
    theirs = trimesh.load(io.BytesIO(data), file_type="ply", process=False)
    assert np.array_equal(theirs.faces, mesh.faces)
    assert np.allclose(theirs.vertices, mesh.vertices)
    assert b"comment made of boxes\ncomment ?mlaut\n" in data


@pytest.mark.parametrize("spoil", [
    lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"",
    lambda data: data.replace(b"binary_little", b"binary_big___"),
    lambda data: data.replace(b"element face 24", b"element face 99999999"),
    lambda data: data.replace(b"property float x", b"property list x "),
    lambda data: data[:-24] + b"\3" + b"\x7f" * 23,
])  # fmt: skip
def test_a_damaged_mesh_is_a_value_error(spoil: Any):
    data = mesh_of(LOPSIDED).to_ply([])
    Mesh.from_ply(data)
    with pytest.raises(ValueError):
        Mesh.from_ply(spoil(data))


# --- Points ---------------------------------------------------------------------------------


def test_points_lie_on_the_box_evenly_and_know_their_normals():
    found = points.sample(mesh_of(CUBE), 20_000, 0, "a")
    even = found.points[~found.edge]
    assert len(even) == 20_000
    share = np.abs(even) / CUBE.high
    assert np.abs(share.max(axis=1) - 1).max() < 1e-6
    axis = share.argmax(axis=1)
    normals = found.normals[~found.edge]
    rows = np.arange(len(axis))
    assert np.allclose(normals[rows, axis], np.sign(even[rows, axis]))
    # Faces of 1 by 0.5, 2 by 0.5 and 2 by 1, twice each.
    assert np.allclose(np.bincount(axis) / len(axis), np.array([0.5, 1.0, 2.0]) / 3.5, atol=0.01)


def test_sharp_edges_are_those_of_the_box_and_no_diagonals():
    found = points.sample(mesh_of(CUBE), 5_000, 0, "a")
    edge = found.points[found.edge]
    assert len(edge) == 5_000
    # On an edge two coordinates are at their limits.
    at_limit = np.abs(np.abs(edge) / CUBE.high - 1) < 1e-6
    assert (at_limit.sum(axis=1) >= 2).all()
    assert np.allclose(np.linalg.norm(found.normals[found.edge], axis=1), 1, atol=1e-6)
    along = (~at_limit).argmax(axis=1)[at_limit.sum(axis=1) == 2]
    assert np.allclose(np.bincount(along) / len(along), np.array([2, 1, 0.5]) / 3.5, atol=0.03)


def test_a_smooth_sheet_has_no_sharp_edges():
    bent = np.array([(x, y, 0.1 * x) for x in (0, 1, 2) for y in (0, 1)], np.float32)
    faces = np.array([(0, 2, 1), (1, 2, 3), (2, 4, 3), (3, 4, 5)], np.int32)
    nothing = np.zeros(4, bool)
    flat = Mesh(bent, faces, np.ones(4, np.int32), np.zeros(4, np.int32), nothing, nothing, {}, ())
    assert not points.sample(flat, 100, 0, "a").edge.any()


def test_another_seed_or_asset_draws_other_points_and_the_same_the_same():
    mesh = mesh_of(CUBE)
    first = points.sample(mesh, 100, 0, "a").points
    assert np.array_equal(first, points.sample(mesh, 100, 0, "a").points)
    assert not np.array_equal(first, points.sample(mesh, 100, 1, "a").points)
    assert not np.array_equal(first, points.sample(mesh, 100, 0, "b").points)


# --- Voxels ---------------------------------------------------------------------------------


def brute_force(corners: np.ndarray, resolution: int) -> np.ndarray:
    """Cells that triangles in the unit cube around the origin meet, by clipping polygons."""
    met = np.zeros((resolution,) * 3, bool)
    for triangle in (corners + 0.5) * resolution:
        low = np.floor(triangle.min(axis=0)).astype(int)
        high = np.floor(triangle.max(axis=0)).astype(int)
        for cell in itertools.product(*(range(a, b + 1) for a, b in zip(low, high, strict=True))):
            polygon = list(triangle)
            for axis in range(3):
                for side, limit in ((1, cell[axis] + 1), (-1, cell[axis])):
                    polygon = clipped(polygon, axis, side, limit)
            if polygon:
                met[cell] = True
    return met


def clipped(polygon: list[Any], axis: int, side: int, limit: float) -> list[Any]:
    kept = []
    for start, end in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
        a, b = side * (start[axis] - limit), side * (end[axis] - limit)
        if a <= 0:
            kept.append(start)
        if (a < 0 < b) or (b < 0 < a):
            kept.append(start + (end - start) * (a / (a - b)))
    return kept


def test_voxels_are_the_cells_that_triangles_meet():
    corners = np.random.default_rng(3).uniform(-0.45, 0.45, (12, 3, 3))
    found = np.zeros((16,) * 3, bool)
    found[tuple(voxels.occupied(corners, np.full(3, -0.5), 1.0, 16).T)] = True
    assert np.array_equal(found, brute_force(corners, 16))
    assert 0.02 < found.mean() < 0.6


def test_voxels_of_a_box_that_fills_the_cube_are_its_shell():
    mesh = mesh_of(Box((-0.5,) * 3, (0.5,) * 3))
    cells = voxels.occupied(mesh.corners, np.full(3, -0.5), 1.0)
    # TRELLIS clips to just inside, so that what lies on the cube's faces counts.
    assert len(cells) == 64**3 - 62**3
    assert ((cells == 0) | (cells == 63)).any(axis=1).all()


# --- Signed distances -----------------------------------------------------------------------


def exact_distance(places: np.ndarray, high: Any) -> np.ndarray:
    beyond = np.abs(places) - np.array(high)
    return np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(axis=1), 0)


@pytest.mark.parametrize("turned", [False, True])
def test_distances_are_those_of_the_box_whichever_way_its_faces_look(turned: bool):
    pytest.importorskip("point_cloud_utils")
    mesh = mesh_of(CUBE)
    if turned:
        mesh = dataclasses.replace(mesh, faces=np.ascontiguousarray(mesh.faces[:, ::-1]))
    found = distance.measure(mesh, points.sample(mesh, 2_000, 0, "a"), 2.0, 4_000, 0, "a")
    exact = exact_distance(found.points.astype(np.float64), CUBE.high)
    # The skin is a two-thousandth of the longest edge.
    assert np.abs(found.distances - exact).max() < 0.003
    assert np.abs(found.distances - exact).mean() < 0.0012
    clear = np.abs(exact) > 0.01
    assert (np.sign(found.distances[clear]) == np.sign(exact[clear])).all()
    assert found.near.sum() == 2_000
    assert np.abs(exact[found.near]).mean() < 0.1
    assert 0 < found.mean_error <= found.largest_error < 0.01
    closed = trimesh.Trimesh(found.vertices, found.faces, process=False)
    assert closed.is_watertight
    assert closed.volume == pytest.approx(2 * 1 * 0.5, rel=0.02)


def test_without_the_library_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distance.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="point-cloud-utils") as caught:
        distance.need_library()
    assert "geometry" in caught.value.hint


# --- The job --------------------------------------------------------------------------------


def test_the_job_knows_the_files_in_any_order_and_no_others():
    job = RenderJob().with_values({"files.geometry_files": ["sdf", "mesh"]})
    assert job.files.geometry_files == ("mesh", "sdf")
    with pytest.raises(InvalidJob, match="voxel"):
        RenderJob().with_values({"files.geometry_files": ["voxel"]})
    assert job.fingerprint() != RenderJob().fingerprint()


# --- Stored, read, verified -----------------------------------------------------------------

FILES = ("mesh", "points", "voxels")


def stored(
    folder: Path, files: tuple[str, ...] = FILES, layout: str = "folder", change: Any = None
) -> Path:
    job = RenderJob(
        cameras=CameraRules(pattern="fibonacci", views=4),
        **written(resolution=(64, 64), layout=layout, passes=("rgb", "depth", "mask", "albedo")),
    )
    job = job.with_values({"files.geometry_files": list(files), "files.geometry_points": 2_000})
    return write_asset(folder, job, "asset", LOPSIDED, change)


@pytest.mark.parametrize("layout", ["folder", "zip", "tar"])
def test_what_is_written_is_read_back(tmp_path: Path, layout: str):
    with AssetReader(stored(tmp_path, layout=layout)) as reader:
        shape = reader.geometry
        assert isinstance(shape, StoredShape)
        assert shape.names == ["mesh.ply", "mesh.glb", "points.ply", "voxels.ply"]
        mesh, found = shape.mesh(), shape.points()
        assert mesh.parts == {1: "part 1", 2: "part 2"}
        assert np.array_equal(mesh.vertices, mesh_of(LOPSIDED).vertices)
        assert shape.record["points"]["color_from"] == "albedo"
        assert (found.colors[found.seen == 0] == 0).all()
        assert 0.3 < (found.seen > 0).mean() < 1
        cells = shape.voxels()
        grid = shape.record["voxels"]
        assert len(cells) == grid["occupied"]
        place = (cells - np.array(grid["low"])) / (grid["edge"] / 64)
        assert np.abs(place % 1 - 0.5).max() < 1e-4


def test_an_asset_without_them_has_none(tmp_path: Path):
    with AssetReader(stored(tmp_path, ())) as reader:
        assert reader.geometry is None


def test_points_have_the_colour_of_what_is_seen_there(tmp_path: Path):
    with AssetReader(stored(tmp_path)) as reader:
        found = reader.geometry.points()  # type: ignore[union-attr]
        best = np.zeros(len(found), bool)
        for view in range(4):
            arrays = reader.read(view)
            index, rows, columns, _ = points.seen_at(
                found, reader.view(view).camera, arrays["depth"]
            )
            linear = np.clip(arrays["albedo"][rows, columns], 0, 1)
            curve = np.where(
                linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
            )
            best[index[np.abs(found.colors[index] - 255 * curve).max(axis=1) < 0.6]] = True
        assert best[found.seen > 0].all()


def test_verify_finds_nothing_wrong_with_what_is_right(tmp_path: Path):
    verdict = verify_asset(stored(tmp_path))
    assert (verdict.failed, verdict.doubts) == ([], {})


def rewritten(folder: Path, name: str, data: bytes) -> None:
    """Put another file in its place, with the checksum that it should have."""
    import hashlib
    import json

    (folder / name).write_bytes(data)
    path = folder / "metadata.json"
    record = json.loads(path.read_text())
    record["geometry"]["files"][name] = {
        "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data),
    }  # fmt: skip
    path.write_text(json.dumps(record))


def test_verify_finds_a_mesh_that_stands_elsewhere(tmp_path: Path):
    folder = stored(tmp_path, ("mesh",))
    mesh = Mesh.from_ply((folder / "mesh.ply").read_bytes())
    turned = mesh.vertices[:, [0, 2, 1]] * np.float32([1, -1, 1])
    rewritten(folder, "mesh.ply", dataclasses.replace(mesh, vertices=turned).to_ply([]))
    assert any("mesh_" in sentence for sentence in verify_asset(folder).failed)


def test_verify_finds_points_that_are_off_the_surface(tmp_path: Path):
    folder = stored(tmp_path, ("points",))
    found = SurfacePoints.from_ply((folder / "points.ply").read_bytes())
    found.points *= np.float32(1.3)
    rewritten(folder, "points.ply", found.to_ply([]))
    assert any("points_on_object" in sentence for sentence in verify_asset(folder).failed)


def test_verify_finds_voxels_of_another_place(tmp_path: Path):
    folder = stored(tmp_path, ("voxels",))
    centers = ply.read((folder / "voxels.ply").read_bytes())[0]
    moved = {axis: plane * np.float32(0.8) for axis, plane in centers.items()}
    rewritten(folder, "voxels.ply", ply.write(moved))
    assert any("voxels_on_object" in sentence for sentence in verify_asset(folder).failed)


@pytest.mark.parametrize("fault, check", [(-1.0, "sdf_sign"), (1.5, "sdf_on_surface")])
def test_verify_finds_distances_of_the_wrong_sign_or_scale(
    tmp_path: Path, fault: float, check: str
):
    pytest.importorskip("point_cloud_utils")
    folder = stored(tmp_path, ("sdf",))
    assert verify_asset(folder).failed == []
    table = ply.read((folder / "sdf.ply").read_bytes())[0]
    rewritten(folder, "sdf.ply", ply.write(table | {"sdf": table["sdf"] * np.float32(fault)}))
    assert any(check in sentence for sentence in verify_asset(folder).failed)


def test_verify_finds_a_file_that_is_damaged_cut_or_gone(tmp_path: Path):
    folder = stored(tmp_path)
    data = (folder / "voxels.ply").read_bytes()
    for spoilt in (data[:-1], data[:-1] + bytes([data[-1] ^ 1])):
        (folder / "voxels.ply").write_bytes(spoilt)
        assert any("voxels.ply" in sentence for sentence in verify_asset(folder).failed)
        with AssetReader(folder) as reader, pytest.raises(TruncatedFile, match=r"voxels\.ply"):
            reader.geometry.voxels()  # type: ignore[union-attr]
    (folder / "voxels.ply").unlink()
    assert any("voxels.ply" in sentence for sentence in verify_asset(folder).failed)
