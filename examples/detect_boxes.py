"""Train a detector on pictures that are rendered while it learns, and look at what it finds.

Cubes fall where they like, in any colour, under a lamp that is drawn, too; the network says for
each cell of a grid whether a cube's middle lies in it, and how large its box is.

    python -m pip install ".[bpy,torch]"
    python examples/detect_boxes.py --out boxes.png

A few minutes on two cores. Green are the boxes that are true, red those that were found.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.utils.data import DataLoader

from objaverse_render_addon import live
from objaverse_render_addon.live.randomize import CameraShell, Lamp, Look, Pose
from objaverse_render_addon.live.torch import StreamDataset, collate

SIZE, CELL, CUBES = 96, 12, 3
GRID = SIZE // CELL
_CORNERS = [[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
_FACES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]


class Cubes(live.Source):
    """A few cubes, each turned and coloured anew."""

    settings: ClassVar[dict[str, Any]] = {
        "resolution": (SIZE, SIZE), "samples": 4, "denoise": False, "device": "cpu",
        "passes": ("rgb", "object_index"),
    }  # fmt: skip
    truths = live.Truths(classes={"cube*": 1})

    def setup(self, session: live.Session) -> None:
        """The cubes."""
        for number in range(CUBES):
            session.add_mesh(f"cube{number}", _CORNERS, _FACES)

    def shots(self, session: live.Session, item: live.Item) -> Iterator[Any]:
        """All of them somewhere else."""
        drawn = [Lamp(kind="SUN", energy=(1, 4)).edits(item)]
        for number in range(CUBES):
            side = 2.2 * (number - (CUBES - 1) / 2)
            name, low, high = f"cube{number}", (side - 0.6, -1.5, -1.0), (side + 0.6, 1.5, 1.0)
            drawn += [Pose(name, low, high, scale=(0.6, 1.2)).edits(item), Look(name).edits(item)]
        session.change(*(edit for edits in drawn for edit in edits))
        yield CameraShell(distance=(8, 10), elevation=(10, 60)).camera(item, (SIZE, SIZE))


def pictures_of(batch: dict[str, Any]) -> torch.Tensor:
    """(N, 3, H, W) in 0…1, over grey where there is nothing."""
    rgb = batch["rgb"].float() / 255
    if rgb.shape[1] == 3:
        return rgb
    return rgb[:, :3] * rgb[:, 3:] + 0.5 * (1 - rgb[:, 3:])


def targets_of(boxes: list[torch.Tensor] | torch.Tensor) -> torch.Tensor:
    """(N, 5, GRID, GRID): whether a middle lies in a cell; where in it; log of width and height."""
    made = torch.zeros(len(boxes), 5, GRID, GRID)
    for number, those in enumerate(boxes):
        for u0, v0, u1, v1 in those.tolist():
            u, v = (u0 + u1) / 2 / CELL, (v0 + v1) / 2 / CELL
            column, row = min(int(u), GRID - 1), min(int(v), GRID - 1)
            size = np.log([(u1 - u0) / CELL, (v1 - v0) / CELL])
            made[number, :, row, column] = torch.tensor([1, u - column, v - row, *size])
    return made


def detector() -> nn.Module:
    """Pictures (N, 3, SIZE, SIZE) to (N, 5, GRID, GRID)."""
    layers: list[nn.Module] = []
    channels = 3
    for width, stride in ((16, 2), (32, 2), (64, 3), (64, 1), (64, 1)):
        layers += [nn.Conv2d(channels, width, 3, stride, 1), nn.GroupNorm(8, width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.Conv2d(channels, 5, 1))


def boxes_in(found: torch.Tensor, least: float = 0.5) -> list[tuple[float, float, float, float]]:
    """Boxes of one picture's (5, GRID, GRID), where a cell is surer than those beside it."""
    sure = found[0].sigmoid()
    best = nn.functional.max_pool2d(sure[None, None], 3, 1, 1)[0, 0]
    boxes = []
    for row, column in ((sure == best) & (sure > least)).nonzero().tolist():
        u, v, width, height = found[1:, row, column].tolist()
        u, v = (column + u) * CELL, (row + v) * CELL
        width, height = np.exp([width, height]) * CELL / 2
        boxes.append((u - width, v - height, u + width, v + height))
    return boxes


def overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Intersection over union."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    both = float(np.prod(np.clip(high - low, 0, None)))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return both / (sum(areas) - both)


def main() -> None:
    """Train, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("boxes.png"), help="picture to write")
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--blenders", type=int, default=2)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    options = {"start_options": {"device": "cpu"}, "blenders": arguments.blenders}
    data = StreamDataset(Cubes(), arguments.pictures, **options)
    model = detector()
    rate = torch.optim.AdamW(model.parameters(), 2e-3)
    loader = DataLoader(data, batch_size=16, num_workers=1, collate_fn=collate)
    for step, batch in enumerate(loader):
        wanted, found = targets_of(batch["boxes"]), model(pictures_of(batch))
        there = wanted[:, 0]
        cost = nn.functional.binary_cross_entropy_with_logits(
            found[:, 0], there, pos_weight=torch.tensor(4.0)
        )
        off = (found[:, 1:] - wanted[:, 1:]).abs().sum(1)
        cost = cost + (off * there).sum() / there.sum().clamp(min=1)
        rate.zero_grad()
        cost.backward()
        rate.step()
        if step % 25 == 0:
            print(f"{16 * step} pictures: {cost.item():.2f}", flush=True)
    model.eval()
    # Never seen: drawn by another seed.
    test = StreamDataset(Cubes(), 64, seed=1, **options)
    tests = next(iter(DataLoader(test, batch_size=64, collate_fn=collate)))
    test.close()
    with torch.no_grad():
        found = model(pictures_of(tests))
    hits, total, scale, gap = 0, 0, 3, 6
    step = SIZE * scale + gap
    sheet = Image.new("RGB", (4 * step - gap, 2 * step - gap), "white")
    for number, (picture, those) in enumerate(zip(pictures_of(tests), tests["boxes"], strict=True)):
        mine = boxes_in(found[number])
        total += len(those)
        hits += sum(any(overlap(box, one) > 0.5 for one in mine) for box in those.tolist())
        if number < 8:
            pixels = (picture.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
            tile = Image.fromarray(pixels).resize((SIZE * scale, SIZE * scale))
            pen = ImageDraw.Draw(tile)
            for box, color in [*((b, "lime") for b in those.tolist()), *((b, "red") for b in mine)]:
                pen.rectangle([scale * side for side in box], outline=color, width=2)
            sheet.paste(tile, (number % 4 * step, number // 4 * step))
    sheet.save(arguments.out)
    print(f"{hits} of {total} boxes found with half of them in common; {arguments.out}")


if __name__ == "__main__":
    main()
