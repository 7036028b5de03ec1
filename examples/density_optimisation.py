"""Learn how a scene's parameters are distributed, from pictures alone.

Somebody rendered superellipsoids, whose two exponents they drew from a normal distribution that is
not known. A discriminator learns to tell their pictures from those of a simulation; the
simulation's own distribution is moved to where the discriminator is mistaken, by the score
function: nothing is differentiated through Blender. The simulation is steered while it renders, and
every sample says by which distribution it was drawn, so that what is late is weighted as it should
be.

    python -m pip install ".[bpy,torch]"
    python examples/density_optimisation.py --out density.png

A few minutes on two cores. The picture shows both means over the steps, and where they should go.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

from objaverse_render_addon import live
from objaverse_render_addon.live.torch import tensors_of
from objaverse_render_addon.stage_edits import AddMesh, Remove

SIZE = (32, 32)
TRUE = (0.5, 1.8)
START = (1.4, 0.9)
SPREAD = 0.12
"""Standard deviation of the exponents that are looked for; that of the simulation is learned."""


def superellipsoid(first: float, second: float, rows: int = 14) -> tuple[Any, list[list[int]]]:
    """Vertices and faces; exponents of 1 are a sphere, of 0 a box, of 2 an octahedron."""

    def power(number: Any, exponent: float) -> Any:
        return np.sign(number) * np.abs(number) ** exponent

    up = np.linspace(-math.pi / 2, math.pi / 2, rows)[:, None]
    around = np.linspace(-math.pi, math.pi, 2 * rows, endpoint=False)[None]
    flat = power(np.cos(up), first)
    points = np.stack(
        [
            flat * power(np.cos(around), second),
            flat * power(np.sin(around), second),
            np.broadcast_to(power(np.sin(up), first), (rows, 2 * rows)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    columns = 2 * rows
    faces = [
        [row * columns + at, row * columns + (at + 1) % columns,
         (row + 1) * columns + (at + 1) % columns, (row + 1) * columns + at]
        for row in range(rows - 1) for at in range(columns)
    ]  # fmt: skip
    return points, faces


class Shapes(live.Source):
    """Superellipsoids whose exponents are drawn as it was told last."""

    settings: ClassVar[dict[str, Any]] = {
        "resolution": SIZE, "samples": 1, "denoise": False, "device": "cpu",
        "passes": ("normal", "mask"),
    }  # fmt: skip

    def __init__(self, mean: tuple[float, float], spread: float) -> None:
        self.update(mean=mean, spread=[spread, spread])

    def setup(self, session: live.Session) -> None:
        """Something that the first unit may take away."""
        session.add_mesh("shape", *superellipsoid(1, 1))

    def shots(self, session: live.Session, item: live.Item) -> Iterator[Any]:
        """One shape in place of the last, seen a little from the side."""
        mean, spread = (np.array(item.values[name]) for name in ("mean", "spread"))
        exponents = mean + spread * item.normal("exponents", 2)
        vertices, faces = superellipsoid(*np.clip(exponents, 0.1, 3.0))
        mesh = AddMesh(name="shape", vertices=vertices.tolist(), faces=faces)
        session.change(Remove(name="shape"), mesh)
        item.note(exponents=exponents.tolist(), mean=mean.tolist(), spread=spread.tolist())
        turn = item.uniform("turn", -0.3, 0.3)
        yield live.look_at((4 * math.sin(turn), -4 * math.cos(turn), 2.5), fov=35, size=SIZE)


def pictures(samples: list[live.Sample]) -> torch.Tensor:
    """(N, 4, H, W): what the discriminator sees, normals and mask."""
    made = [tensors_of(sample) for sample in samples]
    return torch.stack([
        torch.cat([one["normal"], one["mask"].float() / 255]) for one in made
    ])  # fmt: skip


def discriminator() -> nn.Module:
    """A logit: whether a picture is one of those that were given."""
    return nn.Sequential(
        nn.Conv2d(4, 16, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 32, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(32 * 16, 1),
    )  # fmt: skip


def optimise(steps: int, batch: int, blenders: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Means of both exponents after each step, (steps + 1, 2)."""
    torch.manual_seed(seed)
    options: dict[str, Any] = {"blenders": blenders, "start_options": {"device": "cpu"}}
    with live.stream(Shapes(TRUE, SPREAD), 8 * batch, seed=seed + 1, **options) as given:
        target = pictures([sample.copy() for sample in given])
    source = Shapes(START, 2 * SPREAD)
    mean = torch.tensor(START, requires_grad=True)
    logarithm = torch.full((2,), math.log(2 * SPREAD), requires_grad=True)
    judge = discriminator()
    of_judge = torch.optim.Adam(judge.parameters(), 1e-3, betas=(0.5, 0.999))
    of_density = torch.optim.Adam([{"params": [mean], "lr": 0.03},
                                   {"params": [logarithm], "lr": 0.005}])  # fmt: skip
    slower = torch.optim.lr_scheduler.LinearLR(of_density, 1.0, 0.1, steps)
    history, loss = [list(START)], nn.BCEWithLogitsLoss()
    with live.stream(source, seed=seed, **options) as simulation:
        endless = iter(simulation)
        for step in range(steps):
            samples = [sample.copy() for sample in itertools.islice(endless, batch)]
            seen = pictures(samples)
            for _ in range(2):
                real = target[torch.randint(len(target), (batch,))]
                cost = loss(judge(real), torch.ones(batch, 1))
                cost = cost + loss(judge(seen), torch.zeros(batch, 1))
                of_judge.zero_grad()
                cost.backward()
                of_judge.step()
            with torch.no_grad():
                reward = judge(seen)[:, 0]
                reward = (reward - reward.mean()) / (reward.std() + 1e-6)
            exponents, old_mean, old_spread = (
                torch.tensor([sample.values[name] for sample in samples])
                for name in ("exponents", "mean", "spread")
            )
            now = torch.distributions.Normal(mean, logarithm.exp())
            then = torch.distributions.Normal(old_mean, old_spread)
            score = now.log_prob(exponents).sum(1)
            # Those that were on their way were drawn by an earlier distribution.
            weight = (score.detach() - then.log_prob(exponents).sum(1)).exp().clamp(max=5)
            of_density.zero_grad()
            (-(weight * reward * score).mean()).backward()
            of_density.step()
            slower.step()
            with torch.no_grad():
                logarithm.clamp_(math.log(SPREAD / 2), math.log(4 * SPREAD))
            source.update(mean=mean.tolist(), spread=logarithm.exp().tolist())
            history.append(mean.tolist())
            if step % 20 == 19:
                late = sum(sample.state < samples[-1].state for sample in samples)
                print(f"step {step + 1}: mean {mean.tolist()}, judge {cost.item():.2f}, "
                      f"{late} of {batch} drawn earlier", flush=True)  # fmt: skip
    return np.array(history)


def draw_curve(history: np.ndarray[Any, Any], path: Path) -> None:
    """Both means over the steps, and where they should go."""
    width, height, edge, top = 720, 400, 50, 2.4
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)

    def at(step: float, value: float) -> tuple[float, float]:
        x = edge + (width - 2 * edge) * step / max(1, len(history) - 1)
        return x, height - edge - (height - 2 * edge) * value / top

    for value in np.arange(0, top + 0.1, 0.4):
        pen.line([at(0, value), at(len(history) - 1, value)], "#dddddd")
        pen.text((12, at(0, value)[1] - 6), f"{value:.1f}", "black")
    for place, color in enumerate(("#c0392b", "#2456a6")):
        pen.line([at(0, TRUE[place]), at(len(history) - 1, TRUE[place])], color, 1)
        pen.line([at(step, value) for step, value in enumerate(history[:, place])], color, 3)
        pen.text((width - edge + 4, at(0, TRUE[place])[1] - 6), f"{TRUE[place]}", color)
    pen.text((edge, 16), "means of the exponents; thin: what the pictures were drawn by", "black")
    pen.text((edge, height - 30), f"0 to {len(history) - 1} steps", "black")
    picture.save(path)


def main() -> None:
    """Optimise, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("density.png"), help="picture to write")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--blenders", type=int, default=2)
    arguments = parser.parse_args()
    history = optimise(arguments.steps, arguments.batch, arguments.blenders)
    draw_curve(history, arguments.out)
    off = np.abs(history[-20:].mean(axis=0) - TRUE)
    print(f"The means are off by {off[0]:.2f} and {off[1]:.2f}; {arguments.out}")


if __name__ == "__main__":
    main()
