"""Train a field of 3D Gaussians on what you rendered, in a minute on a processor, and look at it.

    pip install 'objaverse-render-addon[bpy,view]' torch
    objaverse-render render chair.glb --out data --views 40 --cameras fibonacci --resolution 64
    python examples/train_splats.py data -o chair.ply
    objaverse-render view data chair.ply

Everything is dense and in plain PyTorch: each Gaussian is evaluated at each pixel, and autograd
does the rest. That is the whole method in a page, right for small pictures; for large ones take
gsplat or nerfstudio with what `objaverse-render export nerfstudio` writes, and look at their .ply
the same way.

Every eighth view is held out; at the end the field is drawn with this package's own rasteriser and
compared with those.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from objaverse_render_addon.dataset.point_cloud import Sighting, sample
from objaverse_render_addon.dataset.reader import AssetReader, Dataset
from objaverse_render_addon.splats.field import Field, write_field
from objaverse_render_addon.splats.pictures import compare

SH0, SH1 = 0.28209479177387814, 0.4886025119029199


class Gaussians(torch.nn.Module):
    """Parameters as the file has them: logarithms of scales, opacities before the sigmoid."""

    def __init__(self, points: np.ndarray, colors: np.ndarray, spacing: float) -> None:
        super().__init__()
        count = len(points)
        harmonics = np.zeros((count, 4, 3), np.float32)
        harmonics[:, 0] = (colors / 255 - 0.5) / SH0
        self.means = torch.nn.Parameter(torch.tensor(points))
        self.scales = torch.nn.Parameter(torch.full((count, 3), float(np.log(spacing))))
        self.turns = torch.nn.Parameter(torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1))
        self.opacities = torch.nn.Parameter(torch.full((count,), 1.0))
        self.harmonics = torch.nn.Parameter(torch.tensor(harmonics))

    def forward(self, camera: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Colour (H, W, 3), multiplied with alpha, and alpha (H, W)."""
        to_camera = torch.tensor(camera.world_to_camera_opencv, dtype=torch.float32)
        rotation = to_camera[:3, :3]
        points = self.means @ rotation.T + to_camera[:3, 3]
        near = torch.nonzero(points[:, 2] > 0.05).squeeze(1)
        order = near[torch.argsort(points[near, 2])]
        x, y, z = points[order].unbind(1)
        (fx, _, cx), (_, fy, cy), _ = camera.intrinsics.tolist()

        w, i, j, k = torch.nn.functional.normalize(self.turns[order], dim=1).unbind(1)
        turned = torch.stack([
            1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w),
            2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w),
            2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j),
        ], dim=1).view(-1, 3, 3)  # fmt: skip
        axes = turned * self.scales[order].exp()[:, None, :]
        nought = torch.zeros_like(z)
        jacobian = torch.stack(
            [fx / z, nought, -fx * x / z**2, nought, fy / z, -fy * y / z**2], dim=1
        ).view(-1, 2, 3)
        half = jacobian @ rotation @ axes
        flat = half @ half.transpose(1, 2)
        a, b, c = flat[:, 0, 0] + 0.3, flat[:, 0, 1], flat[:, 1, 1] + 0.3
        area = a * c - b * b

        u = torch.arange(camera.width) + 0.5 - (fx * x / z + cx)[:, None]
        v = torch.arange(camera.height) + 0.5 - (fy * y / z + cy)[:, None]
        power = -0.5 * (
            (c / area)[:, None, None] * u[:, None, :] ** 2
            + (a / area)[:, None, None] * v[:, :, None] ** 2
        ) + (b / area)[:, None, None] * u[:, None, :] * v[:, :, None]
        alpha = torch.sigmoid(self.opacities[order])[:, None, None] * power.exp()
        alpha = torch.where(alpha < 1 / 255, 0.0, alpha.clamp(max=0.99))
        through = torch.cumprod(1 - alpha, dim=0)
        weights = alpha * torch.cat([torch.ones_like(through[:1]), through[:-1]])

        eye = torch.tensor(camera.camera_to_world[:3, 3], dtype=torch.float32)
        way = torch.nn.functional.normalize(self.means[order].detach() - eye, dim=1)
        harmonics = self.harmonics[order]
        color = SH0 * harmonics[:, 0] + 0.5 + SH1 * (
            way[:, 2:] * harmonics[:, 2] - way[:, 1:2] * harmonics[:, 1]
            - way[:, :1] * harmonics[:, 3]
        )  # fmt: skip
        count = len(order)
        shown = (weights.view(count, -1).T @ color.clamp(min=0)).view(*weights.shape[1:], 3)
        return shown, 1 - through[-1]

    def field(self) -> Field:
        """As the viewer and the file have it."""
        with torch.no_grad():
            return Field(
                self.means.numpy().copy(), self.scales.exp().numpy(),
                torch.nn.functional.normalize(self.turns, dim=1).numpy(),
                torch.sigmoid(self.opacities).numpy(), self.harmonics.numpy().copy(),
            )  # fmt: skip


def train(
    asset: AssetReader, views: Sequence[int], steps: int = 400, count: int = 1500
) -> Gaussians:
    """Fit a field to some views of a finished asset."""
    torch.manual_seed(0)
    names = [name for name in ("rgb", "depth", "mask", "normal") if name in asset.passes]
    sightings = [
        Sighting(view, asset.view(view).camera, asset.read(view, names)) for view in views
    ]
    cloud = sample(sightings, count=count)
    bounds = asset.bounds
    spacing = 0.8 * bounds.radius * float(np.sqrt(4 / max(len(cloud), 1)))
    model = Gaussians(cloud.points, cloud.colors, spacing)
    rates = {"means": 2e-3 * bounds.radius, "scales": 2e-2, "turns": 1e-2, "opacities": 4e-2,
             "harmonics": 1e-2}  # fmt: skip
    optimizer = torch.optim.Adam(
        [{"params": [getattr(model, name)], "lr": rate} for name, rate in rates.items()], eps=1e-15
    )
    pictures = []
    for sighting in sightings:
        rgba = torch.tensor(sighting.passes["rgb"].astype(np.float32) / 255)
        pictures.append((sighting.camera, rgba[..., :3] * rgba[..., 3:], rgba[..., 3]))
    began = time.monotonic()
    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, rates.values(), strict=True):
            group["lr"] = rate * 0.05 ** (step / steps)
        camera, color, alpha = pictures[torch.randint(len(pictures), ()).item()]
        shown, covered = model(camera)
        behind = torch.rand(3)
        truth = color + behind * (1 - alpha[..., None])
        loss = (shown + behind * (1 - covered[..., None]) - truth).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            spent = time.monotonic() - began
            print(f"{spent:5.1f} s, step {step + 1}: loss {loss.item():.4f}", flush=True)
    return model


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the field, .ply")
    parser.add_argument("--asset", help="which of the dataset (default: its first)")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--gaussians", type=int, default=1500)
    options = parser.parse_args()
    data = Dataset.open(options.dataset)
    with (data[options.asset] if options.asset else data[0]).open() as asset:
        held = list(range(0, len(asset), 8))
        views = [view for view in range(len(asset)) if view not in held]
        model = train(asset, views, options.steps, options.gaussians)
        write_field(options.output, model.field())
        found = list(compare(model.field(), asset, held))
    mean = sum(one.psnr for one in found) / len(found)
    print(f"{options.output}: {mean:.2f} dB on {len(held)} held-out views")
    print(f"objaverse-render view {options.dataset} {options.output}")


if __name__ == "__main__":
    main()
