"""G-buffer Objaverse, read as its loaders read it: fixed lens, near plane, exchanged axes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import LOPSIDED
from exporting import camera_of, emptied, exported, notes, stored
from PIL import Image

from objaverse_render_addon.dataset.export import Options, export
from objaverse_render_addon.errors import FormatCannotHold, MissingPass

FOV = math.degrees(2 * math.atan(512 / 1422.222))
CENTER = (np.array(LOPSIDED.bounds.box_min) + np.array(LOPSIDED.bounds.box_max)) / 2
RIG = {"fov": (FOV, FOV), "radius": (4.2, 4.6)}


def read_exr(path: Path) -> np.ndarray:
    """(H, W, 4) float32 in the order of the names R, G, B, A, read by OpenEXR itself."""
    package = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed")
    with package.File(str(path), separate_channels=True) as file:
        channels = file.channels()
        return np.stack([channels[name].pixels for name in "RGBA"], axis=-1)


def view_of(out: Path, key: str, view: int) -> dict[str, Any]:
    """As the loaders of RichDreamer and DiffSplat do."""
    stem = out / f"0/{key}/campos_512_v4/{view:05d}/{view:05d}"
    said = json.loads(Path(f"{stem}.json").read_text())
    pose = np.eye(4)
    for column, name in enumerate(("x", "y", "z", "origin")):
        pose[:3, column] = said[name]
    found = read_exr(Path(f"{stem}_nd.exr"))
    depth = found[..., 3].astype(np.float64)
    depth[depth < np.linalg.norm(pose[:3, 3]) - 0.867] = 0
    red, green, blue = (found[..., i].astype(np.float64) for i in range(3))
    with Image.open(f"{stem}.png") as image:
        rgba = np.asarray(image)
    return {"json": said, "c2w": pose, "depth": depth, "rgba": rgba,
            "normal": np.stack([-red, -blue, green], axis=-1), "stem": stem}  # fmt: skip


def unprojected(found: dict[str, Any]) -> np.ndarray:
    """World points (H, W, 3) with the lens that loaders take for granted."""
    height, width = found["depth"].shape
    focal = 1422.222 * height / 1024
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(u - width / 2) / focal, (v - height / 2) / focal, np.ones_like(u)], axis=-1)
    local = rays * found["depth"][..., None]
    return local @ found["c2w"][:3, :3].T + found["c2w"][:3, 3]


def test_its_loaders_find_the_surface_and_its_normals(tmp_path: Path):
    reader = stored(tmp_path / "data", cameras=RIG, views=5)
    out, report = exported(tmp_path, "g-objaverse")
    # The object is 2 wide as it is stored and 1 in the format.
    factor = 0.5
    for view in range(5):
        found, arrays = view_of(out, "asset", view), reader.read(view)
        mask = arrays["mask"] == 1
        assert ((found["depth"] > 0) == mask).all()
        points = unprojected(found)[mask]
        truth = arrays["position"][mask].astype(np.float64) - CENTER
        assert np.abs(points - factor * truth).max() < 3e-6
        normal = arrays["normal"].astype(np.float64) @ camera_of(reader, view).camera_to_world[
            :3, :3
        ].T
        assert np.abs(found["normal"] - normal).max() < 1e-6
        assert (found["normal"][~mask] == 0).all()
        assert (found["rgba"] == arrays["rgb"]).all()
        assert abs(found["json"]["x_fov"] - math.radians(FOV)) < 1e-9
        assert found["json"]["max_depth"] == found["depth"].max()
    assert "[-0.5, 0.5]" in notes(report, "rescaled")


def test_surface_points_project_to_the_pixels_that_show_them(tmp_path: Path):
    reader = stored(tmp_path / "data", cameras=RIG)
    out, _ = exported(tmp_path, "g-objaverse")
    for view in range(4):
        found, arrays = view_of(out, "asset", view), reader.read(view)
        rows, columns = np.nonzero(arrays["mask"])
        points = 0.5 * (arrays["position"][rows, columns] - CENTER)
        local = (points - found["c2w"][:3, 3]) @ found["c2w"][:3, :3]
        uv = local[:, :2] / local[:, 2:] * (1422.222 * 64 / 1024) + 32
        assert np.abs(uv - np.stack([columns, rows], axis=1) - 0.5).max() < 2e-3


def test_materials_have_the_order_of_the_original(tmp_path: Path):
    def materials(frames: list[Any], _record: dict[str, Any]) -> None:
        for frame in frames:
            mask = frame.passes["mask"] == 1
            frame.passes["roughness_metallic"][mask] = (0.25, 0.8)
            frame.passes["albedo"][mask] = (0.0, 0.2158605, 1.5)

    reader = stored(tmp_path / "data", cameras=RIG, change=materials)
    out, report = exported(tmp_path, "g-objaverse")
    mask = reader.read(0)["mask"] == 1
    stem = view_of(out, "asset", 0)["stem"]
    with Image.open(f"{stem}_mr.png") as image:
        pixels = np.asarray(image)
    assert (pixels[mask] == [204, 64, 0, 0]).all()
    with Image.open(f"{stem}_albedo.png") as image:
        pixels = np.asarray(image)
    assert (pixels[mask] == [0, 128, 255]).all()
    assert (pixels[~mask] == 0).all()
    (clipped,) = [note for note in report.notes if note["kind"] == "clipped"]
    assert clipped["amount"] == sum(int(reader.read(view)["mask"].sum()) for view in range(4))
    assert "8-bit" in notes(report, "quantised")


def test_what_its_loaders_do_not_read_is_told(tmp_path: Path):
    stored(tmp_path / "data", "few", cameras={"fov": (60.0, 60.0)})
    stored(tmp_path / "data", "many", views=42, resolution=(16, 16), cameras=RIG)
    out, report = exported(tmp_path, "g-objaverse")
    told = {note["text"]: note for note in report.notes}
    (lens,) = [note for text, note in told.items() if "field of view" in text]
    assert lens["worst"] == pytest.approx(60 - FOV, abs=1e-4)
    assert [n["amount"] for t, n in told.items() if "missing" in t] == [36]
    assert [n["amount"] for t, n in told.items() if "not read" in t and "views" in t and
            "others" in t] == [2]  # fmt: skip
    assert any("_hdr.exr" in text for text in told)
    listed = []
    for split in ("train", "val", "test"):
        listed += json.loads((out / f"gobjaverse_{split}.json").read_text())
    assert sorted(listed) == ["0/few", "0/many"]


def test_an_empty_view_is_empty(tmp_path: Path):
    stored(tmp_path / "data", cameras=RIG, change=emptied(2))
    out, _ = exported(tmp_path, "g-objaverse")
    found = view_of(out, "asset", 2)
    assert not found["depth"].any()
    assert not found["normal"].any()
    assert found["json"]["max_depth"] == 0


@pytest.mark.parametrize(
    ("lacking", "error"),
    [
        ({"passes": ("rgb", "depth")}, MissingPass),
        ({"background": (0.0, 0.0, 0.0)}, MissingPass),
        ({"resolution": (64, 48)}, FormatCannotHold),
    ],
)
def test_what_it_cannot_hold_is_refused(tmp_path: Path, lacking: Any, error: type[Exception]):
    stored(tmp_path / "data", cameras=RIG, **lacking)
    report = export(tmp_path / "data", tmp_path / "out", "g-objaverse", Options())
    assert [type(outcome.error) for outcome in report.outcomes] == [error]
    assert not (tmp_path / "out/0").exists()
