"""Denoiser settings and box margins: time per view, and error against a converged picture.

Errors are in 8-bit levels on the object's pixels, composited over white.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from throughput import sample

from objaverse_render_addon import RenderJob
from objaverse_render_addon.blender import compat
from objaverse_render_addon.blender.session import Session
from objaverse_render_addon.dataset.images import composite, encode_srgb8, read_exr

VIEWS = (0, 3, 7, 11)


def color(session: Any, index: int, folder: Path, margin: int | None) -> tuple[np.ndarray, float]:
    """Premultiplied linear RGBA (H, W, 4) of a view, and the seconds it took."""
    stage = session.stage
    view = stage.look(session.views[index])
    if margin is None:
        stage.scene.render.use_border = False
    else:
        session.renderer._set_border(view.camera, stage.box_in(view.camera), margin)
    path = folder / "color.exr"
    stage.scene.render.filepath = str(path)
    since = time.perf_counter()
    bpy.ops.render.render(write_still=True)
    seconds = time.perf_counter() - since
    channels = read_exr(path)
    path.unlink()
    return np.stack([channels[name] for name in "RGBA"], axis=-1), seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", type=Path)
    parser.add_argument("--samples", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--reference", type=int, default=4096)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = options.source or sample(folder)
        job = RenderJob.from_dict(
            {"pixels": {"resolution": options.size}, "cameras": {"views": max(VIEWS) + 1}}
        )
        session = Session(source, "sample", job, folder)
        session.stage.set_up_color()
        cycles = session.stage.scene.cycles

        def measure(samples: int, denoise: tuple[str, str] | None, margin: int | None) -> Any:
            compat.set_checked(cycles, samples=samples, use_denoising=denoise is not None)
            if denoise:
                compat.set_checked(
                    cycles, denoising_prefilter=denoise[0], denoising_quality=denoise[1]
                )
            color(session, VIEWS[0], folder, margin)
            return [color(session, index, folder, margin) for index in VIEWS]

        truth = [pixels for pixels, _ in measure(options.reference, None, 4)]
        print(f"{options.size}², {len(VIEWS)} views, error against {options.reference} samples")
        print("samples  prefilter  quality   margin   s/view   RMSE (8-bit levels)   worst pixel")
        settings: list[tuple[tuple[str, str] | None, int | None]] = [
            (None, None), (None, 2), (("ACCURATE", "HIGH"), None), (("ACCURATE", "HIGH"), 6),
            (("FAST", "HIGH"), 6), (("FAST", "BALANCED"), 6), (("FAST", "FAST"), None),
            (("FAST", "FAST"), 0), (("FAST", "FAST"), 2), (("FAST", "FAST"), 6),
            (("FAST", "FAST"), 16), (("FAST", "FAST"), 32), (("NONE", "FAST"), 6),
        ]  # fmt: skip
        for samples in options.samples:
            for denoise, margin in settings:
                runs = measure(samples, denoise, margin)
                error = [
                    composite(encode_srgb8(pixels), (1.0, 1.0, 1.0)).astype(float)
                    - composite(encode_srgb8(right), (1.0, 1.0, 1.0))
                    for (pixels, _), right in zip(runs, truth, strict=True)
                ]
                covered = [right[..., 3] > 0 for right in truth]
                inside = np.concatenate(
                    [item[mask] for item, mask in zip(error, covered, strict=True)]
                )
                rmse = float(np.sqrt(np.mean(inside**2)))
                seconds = float(np.mean([spent for _, spent in runs]))
                title = denoise or ("off", "")
                edge = "full frame" if margin is None else f"{margin} px"
                print(
                    f"{samples:7d}  {title[0]:9s}  {title[1]:8s}  {edge:10s}{seconds:6.3f}"
                    f"   {rmse:8.2f}   {np.abs(inside).max():12.0f}"
                )


if __name__ == "__main__":
    main()
