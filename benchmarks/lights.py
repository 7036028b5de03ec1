"""Several lights per view: seconds against as many renders of one light each, as ratios.

Each whole: import, geometry, colour, checks, metadata. Interpreter and imports of Blender are paid
before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from throughput import sample

from objaverse_render_addon import RenderJob
from objaverse_render_addon.blender.session import Session

SUNS = [(200, 40), (300, 20), (60, 50), (120, 10), (0, 80), (240, 5), (330, 60), (90, -20)]


def seconds(source: Path, folder: Path, lights: list[str], job: dict[str, Any]) -> float:
    """Of one render with these lights."""
    path = folder / "lights.toml"
    path.write_text("\n".join(lights))
    values = job | {"lighting.mode": "file", "lighting.lights": str(path)}
    since = time.perf_counter()
    session = Session(source, "sample", RenderJob().with_values(values), folder)
    for shot in session.shots():
        session.renderer.render(shot)
    return time.perf_counter() - since


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", type=Path)
    parser.add_argument("--lights", type=int, default=4)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--views", type=int, default=4)
    options = parser.parse_args()
    lights = [
        f'[[lights]]\nname = "l{number}"\nkind = "sun"\nazimuth = {azimuth}\nelevation = {height}\n'
        for number, (azimuth, height) in enumerate(SUNS[: options.lights])
    ]
    job = {
        "pixels.resolution": [options.size, options.size], "cameras.views": options.views,
        "pixels.passes": ["rgb", "rgb_linear", "depth", "normal", "mask"],
        "engine.samples": options.samples,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = options.source or sample(folder)
        seconds(source, folder, lights[:1], job)  # Warm.
        each = sum(seconds(source, folder, [light], job) for light in lights)
        together = seconds(source, folder, lights, job)
        groups = seconds(source, folder, lights, job | {"lighting.groups": True})
    print(f"{len(lights)} renders of one light each: 1.00")
    print(f"{len(lights)} lights in one render:      {together / each:.2f}")
    print(f"{len(lights)} light groups:              {groups / each:.2f} (not denoised)")


if __name__ == "__main__":
    main()
