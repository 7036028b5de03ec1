"""Learns to keep a pole upright on a cart that Blender draws, and shows how that went.

    python -m pip install ".[bpy,gym]" stable-baselines3
    python examples/control.py out

Eight environments are in one Blender; PPO (Stable-Baselines3) sees where the cart and the pole are.
Written are curve.png, the lengths of episodes over all steps, and pole.gif, an episode of what was
learned.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import gymnasium
import numpy as np
from PIL import Image, ImageDraw

from objaverse_render_addon.live import env as environments


def draw_curve(path: Path, steps: list[int], lengths: list[float], top: float) -> None:
    """Episodes as dots, their running mean over fifty as a line."""
    width, height, margin = 640, 360, 46
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)

    def at(step: float, length: float) -> tuple[float, float]:
        across = margin + (width - 2 * margin) * step / max(steps)
        return across, height - margin - (height - 2 * margin) * length / top

    for level in range(0, int(top) + 1, 100):
        pen.line([at(0, level), at(max(steps), level)], fill=(225, 225, 225))
        pen.text((8, at(0, level)[1] - 6), str(level), fill="black")
    for step, length in zip(steps, lengths, strict=True):
        x, y = at(step, length)
        pen.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=(170, 190, 225))
    mean = [float(np.mean(lengths[max(0, n - 49) : n + 1])) for n in range(len(lengths))]
    pen.line([at(*one) for one in zip(steps, mean, strict=True)], fill=(190, 70, 20), width=2)
    pen.text((margin, 12), "steps of an episode, over all steps so far", fill="black")
    pen.text((width - margin - 40, height - margin + 8), f"{max(steps):,}", fill="black")
    picture.save(path)


def main() -> None:
    """Learn, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import VecMonitor

    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    environments.register_all()
    ends: list[int] = []
    lengths: list[float] = []

    class Noted(BaseCallback):
        def _on_step(self) -> bool:
            for told in self.locals["infos"]:
                if "episode" in told:
                    ends.append(self.num_timesteps)
                    lengths.append(float(told["episode"]["l"]))
            if self.num_timesteps % (options.steps // 10 // 8 * 8 or 8) == 0 and lengths:
                print(f"{self.num_timesteps:,} steps: the last 50 episodes took "
                      f"{np.mean(lengths[-50:]):.0f} steps each", flush=True)  # fmt: skip
            return True

    many = VecMonitor(environments.for_stable_baselines("objaverse_render/CartPole-v0", 8))
    learner = PPO(
        "MlpPolicy", many, seed=options.seed, n_steps=64, batch_size=256, gae_lambda=0.8,
        gamma=0.98, n_epochs=10, learning_rate=1e-3, ent_coef=0.0, clip_range=0.2,
        policy_kwargs={"net_arch": [64, 64]}, device="cpu",
    )  # fmt: skip
    since = time.perf_counter()
    learner.learn(options.steps, callback=Noted())
    seconds = time.perf_counter() - since
    many.close()
    draw_curve(options.out / "curve.png", ends, lengths, 500)
    print(f"{options.steps:,} steps in {seconds:.0f} s; the last 50 episodes took "
          f"{np.mean(lengths[-50:]):.0f} steps each.")

    with gymnasium.make("objaverse_render/CartPole-v0", render_mode="rgb_array") as one:
        observation, _ = one.reset(seed=options.seed)
        pictures, over = [], False
        while not over:
            action, _ = learner.predict(observation, deterministic=True)
            observation, _, fallen, cut, _ = one.step(int(action))
            over = fallen or cut
            pictures.append(Image.fromarray(one.render()))
        kept = pictures[::4]
        kept[0].save(options.out / "pole.gif", save_all=True, append_images=kept[1:], duration=80)
        print(f"What was learned keeps it upright for {len(pictures)} steps of 500.")


if __name__ == "__main__":
    main()
