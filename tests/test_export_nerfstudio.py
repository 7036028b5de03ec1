"""nerfstudio itself reads our exports, where it is installed (it needs torch, and many others)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import write_asset
from jobs import written

from objaverse_render_addon.dataset.export import export
from objaverse_render_addon.job import STILL_PASSES, CameraRules, RenderJob

pytest.importorskip("nerfstudio", reason="nerfstudio is not installed")
# Its own imports and indexing warn.
pytestmark = pytest.mark.filterwarnings("ignore")


def job_of(**cameras: Any) -> RenderJob:
    output = written(resolution=(64, 48), layout="folder", passes=STILL_PASSES)
    return RenderJob(cameras=CameraRules(**({"views": 5} | cameras)), **output)


def surfaces(outputs: Any, depths: Any, asset: Path) -> float:
    """The largest distance between nerfstudio's surface points and the stored ones."""
    worst = 0.0
    for index, path in enumerate(outputs.image_filenames):
        number = int(path.stem.split("_")[-1])
        rays = outputs.cameras.generate_rays(camera_indices=index, keep_shape=True)
        depth = depths(index, number)
        points = rays.origins + rays.directions * rays.metadata["directions_norm"] * depth
        mask = np.load(asset / f"{number:03d}_mask.npy") == 1
        stored = np.load(asset / f"{number:03d}_position.npy")
        worst = max(worst, float(np.abs(points.numpy() - stored)[mask].max()))
    return worst


@pytest.mark.parametrize("cameras", [{}, {"shift": (0.05, -0.03), "pixel_aspect": 1.2}])
def test_its_rays_and_depth_meet_the_surface(tmp_path: Path, cameras: dict[str, Any]):
    from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
    from nerfstudio.data.datasets.depth_dataset import DepthDataset

    asset = write_asset(tmp_path / "data", job_of(**cameras), "chair")
    export(asset, tmp_path / "out", "nerfstudio")
    config = NerfstudioDataParserConfig(
        data=tmp_path / "out/chair",
        orientation_method="none",
        center_method="none",
        auto_scale_poses=False,
    )
    seen = 0
    for split in ("train", "val", "test"):
        outputs = config.setup().get_dataparser_outputs(split=split)
        data = DepthDataset(outputs)
        worst = surfaces(outputs, lambda index, _, data=data: data[index]["depth_image"], asset)
        assert worst < 1e-5
        seen += len(data)
    assert seen == 5


def test_its_reader_of_blender_data_takes_ours(tmp_path: Path):
    import torch
    from nerfstudio.data.dataparsers.blender_dataparser import BlenderDataParserConfig

    asset = write_asset(tmp_path / "data", job_of(pattern="ring"), "chair")
    export(asset, tmp_path / "out", "nerf-synthetic")
    config = BlenderDataParserConfig(data=tmp_path / "out/chair")

    def depth(_: int, number: int) -> Any:
        return torch.from_numpy(np.load(asset / f"{number:03d}_depth.npy"))[..., None]

    for split in ("train", "val", "test"):
        outputs = config.setup().get_dataparser_outputs(split=split)
        assert len(outputs.image_filenames) == (3 if split == "train" else 1)
        assert surfaces(outputs, depth, asset) < 1e-5
