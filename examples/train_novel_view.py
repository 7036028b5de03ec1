"""Learn a 3D object from its rendered views, and show views that were never learned from.

A minute on a processor: a voxel grid of density and colour, rendered by marching along rays
(as in NeRF, Mildenhall et al. 2020, without its network), fitted to most views of one asset.

    objaverse-render render rocket.glb --out data --views 40 --resolution 128
    python examples/train_novel_view.py data --out novel-view.png

The picture has a row per view that was held out: what it should be, before, after.
Needs: pip install 'objaverse-render-addon[torch]'
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from PIL import Image
from torch.nn import functional

from objaverse_render_addon.dataset.torch import MultiView, rays

WHITE = (1.0, 1.0, 1.0)


class Grid(torch.nn.Module):
    """Density and colour on a grid that fills a box, white emptiness around it."""

    def __init__(self, low: torch.Tensor, high: torch.Tensor, size: int) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.values = torch.nn.Parameter(torch.zeros(1, 4, size, size, size))

    def refine(self, size: int) -> None:
        """Go on with finer voxels."""
        finer = functional.interpolate(
            self.values.data, size=(size,) * 3, mode="trilinear", align_corners=True
        )
        self.values = torch.nn.Parameter(finer)

    def forward(self, origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Colour and opacity, (N, 4), of rays (N, 3)."""
        steps = self.values.shape[-1]
        # Where the rays are in the box (Kay and Kajiya 1986).
        first, second = (self.low - origins) / directions, (self.high - origins) / directions
        near = torch.minimum(first, second).amax(dim=1).clamp(min=0)
        far = torch.maximum(torch.maximum(first, second).amin(dim=1), near)
        width = ((far - near) / steps)[:, None]
        jitter = torch.rand(len(origins), steps) if self.training else torch.full((1, steps), 0.5)
        depth = near[:, None] + (torch.arange(steps) + jitter) * width
        points = origins[:, None] + directions[:, None] * depth[..., None]
        places = (points - self.low) / (self.high - self.low) * 2 - 1
        found = functional.grid_sample(
            self.values, places[None, None], align_corners=True, padding_mode="border"
        )[0, :, 0]
        absorbed = functional.softplus(found[0] * 10 - 2) * 5 * width
        reaches = torch.exp(-functional.pad(absorbed.cumsum(dim=1), (1, 0)))
        weights = reaches[:, :-1] - reaches[:, 1:]
        color = (weights * torch.sigmoid(found[1:] * 10)).sum(dim=2)
        return torch.cat([color + reaches[:, -1], 1 - reaches[None, :, -1]]).T


@torch.no_grad()
def render(grid: Grid, views: dict[str, torch.Tensor]) -> torch.Tensor:
    """Pictures (k, 3, H, W) of the grid as the cameras of ``views`` see it."""
    grid.eval()
    height, width = views["rgb"].shape[-2:]
    origins, directions = rays(views["intrinsics"], views["camera_to_world"], height, width)
    every = torch.cat([origins, directions], dim=-1).reshape(-1, 6)
    pixels = torch.cat([grid(part[:, :3], part[:, 3:])[:, :3] for part in every.split(8192)])
    grid.train()
    return pixels.reshape(-1, height, width, 3).permute(0, 3, 1, 2)


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB."""
    return float(-10 * torch.log10(functional.mse_loss(one, other)))


def main() -> None:
    """Read, learn, show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder, archive, shard or URL")
    parser.add_argument("--asset", help="its id (default: the first)")
    parser.add_argument("--out", type=Path, default=Path("novel-view.png"))
    parser.add_argument("--held-out", type=int, default=4, help="views to judge by")
    parser.add_argument("--steps", type=int, default=300, help="of learning")
    parser.add_argument("--grid", type=int, default=72, help="voxels along a side")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)

    data = MultiView(options.data, inputs=0, targets=1, seed=options.seed)
    asset = data.data[options.asset] if options.asset else data.data[0]
    with asset.open() as reader:
        views, bounds = len(reader), reader.bounds
    held_out = min(options.held_out, views - 1)
    sample = MultiView(
        data.data, inputs=views - held_out, targets=held_out, background=WHITE, seed=options.seed
    ).sample(asset)
    seen, unseen = sample["input"], sample["target"]

    height, width = seen["rgb"].shape[-2:]
    origins, directions = (
        part.reshape(-1, 3)
        for part in rays(seen["intrinsics"], seen["camera_to_world"], height, width)
    )
    wanted = torch.cat([seen["rgb"], seen["alpha"]], dim=1).permute(0, 2, 3, 1).reshape(-1, 4)

    low, high = torch.tensor(bounds.box_min), torch.tensor(bounds.box_max)
    margin = (high - low) * 0.03
    grid = Grid(low - margin, high + margin, options.grid // 4)
    truth, before = unseen["rgb"], render(grid, unseen)
    start = time.monotonic()
    refine = {0: options.grid // 4, options.steps // 6: options.grid // 2}
    refine[options.steps // 2] = options.grid
    for step in range(options.steps):
        if step in refine:
            # Coarse voxels find where the object is, fine ones what it looks like.
            grid.refine(refine[step])
            optimizer = torch.optim.Adam(grid.parameters(), lr=0.03, fused=True)
        optimizer.param_groups[0]["lr"] = 0.03 * 0.1 ** (step / options.steps)
        chosen = torch.randint(len(wanted), (2048,))
        loss = functional.mse_loss(grid(origins[chosen], directions[chosen]), wanted[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)
    after = render(grid, unseen)
    print(
        f"{asset.id}: {views - held_out} views learned, {held_out} held out: "
        f"{psnr(before, truth):.1f} dB before, {psnr(after, truth):.1f} dB after "
        f"{time.monotonic() - start:.0f} s"
    )
    rows = torch.stack([truth, before, after], dim=1)  # (k, 3, 3, H, W)
    sheet = rows.permute(0, 3, 1, 4, 2).reshape(held_out * height, 3 * width, 3)
    pixels = (sheet.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(options.out)
    print(options.out)


if __name__ == "__main__":
    main()
