"""A program that draws for the viewer, in an environment of its own.

    python examples/draw_program.py nerfstudio outputs/…/config.yml     in nerfstudio's environment
    python examples/draw_program.py field field.ply                     in this one, to try it

Started by `ProgramBackend(["/path/to/nerfstudio/python", "examples/draw_program.py", …])`, which
says what goes over the pipes. A nerfstudio checkpoint is a pickle, which runs whatever code is in
it: it is opened here, in that environment, and never by the viewer. That half follows nerfstudio
1.1's interface and was written without a GPU to try it on.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

Draw = Callable[[dict[str, Any], Callable[[], bool]], "dict[str, Any] | None"]


def of_nerfstudio(config: str) -> tuple[dict[str, Any], Draw]:
    """A pipeline, and what it draws."""
    from pathlib import Path

    way_out = "Or ns-export gaussian-splat where it was trained: a .ply needs no GPU."
    try:
        import torch
        from nerfstudio.cameras.cameras import Cameras
        from nerfstudio.utils.eval_utils import eval_setup
    except ImportError as error:
        raise RuntimeError(
            f"{sys.executable} has no nerfstudio ({error}): start this program with the Python "
            f"that ns-train runs in. {way_out}"
        ) from error
    try:
        _, pipeline, _, _ = eval_setup(Path(config), test_mode="inference")
    except Exception as error:
        cuda = "" if torch.cuda.is_available() else " There is no CUDA, which most models need."
        raise RuntimeError(
            f"nerfstudio does not open {config} ({type(error).__name__}: {error}).{cuda} {way_out}"
        ) from error
    model, outputs = pipeline.model, pipeline.datamanager.train_dataparser_outputs
    # From the world of the data to that of the model, which is turned, moved and scaled.
    moved = torch.eye(4)
    moved[:3] = outputs.dataparser_transform
    scale = float(outputs.dataparser_scale)

    def draw(asked: dict[str, Any], stop: Callable[[], bool]) -> dict[str, Any] | None:
        if stop():
            return None
        pose = moved @ torch.tensor(asked["camera_to_world"], dtype=torch.float32)
        pose[:3, 3] *= scale
        lens = asked["intrinsics"]
        camera = Cameras(
            pose[None, :3], lens[0][0], lens[1][1], lens[0][2], lens[1][2],
            asked["width"], asked["height"],
        ).to(model.device)  # fmt: skip
        with torch.no_grad():
            found = model.get_outputs_for_camera(camera)
        color = found["rgb"].clamp(0, 1).cpu().numpy()
        alpha = found["accumulation"].clamp(0, 1).cpu().numpy()
        rgb = np.concatenate([color, alpha], axis=-1)
        depth = np.where(alpha >= 0.5, found["depth"].cpu().numpy() / scale, 0)[..., 0]
        return {"rgb": (rgb * 255 + 0.5).astype(np.uint8), "depth": depth.astype(np.float32)}

    return {"passes": ["rgb", "depth"], "samples": 1}, draw


def of_field(path: str) -> tuple[dict[str, Any], Draw]:
    """A field of Gaussians."""
    from objaverse_render_addon.cameras import Camera
    from objaverse_render_addon.splats.field import read_field
    from objaverse_render_addon.splats.pictures import Painter, passes_of

    field = read_field(path)
    paint, (center, radius) = Painter(field), field.extent()

    def draw(asked: dict[str, Any], stop: Callable[[], bool]) -> dict[str, Any] | None:
        lens, pose = np.array(asked["intrinsics"]), np.array(asked["camera_to_world"])
        pixels = paint(Camera(asked["width"], asked["height"], lens, pose), stop)
        return None if pixels is None else passes_of(pixels)

    about = {"passes": ["rgb", "depth", "mask"], "samples": 1, "center": center, "radius": radius}
    return about, draw


def main() -> None:
    """Read from the standard input, answer on what the standard output was."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What libraries print is no answer.
    kind, path = sys.argv[1:]

    def say(message: dict[str, Any], *arrays: Any) -> None:
        out.write(json.dumps(message).encode() + b"\n")
        for array in arrays:
            out.write(np.ascontiguousarray(array).tobytes())
        out.flush()

    try:
        about, draw = {"nerfstudio": of_nerfstudio, "field": of_field}[kind](path)
    except Exception as error:
        say({"failed": 0, "message": str(error)})
        raise
    asked: queue.Queue[dict[str, Any] | None] = queue.Queue()
    unwanted: set[int] = set()

    def read() -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if "stop" in message:
                unwanted.add(message["stop"])
            else:
                asked.put(message)
        asked.put(None)

    threading.Thread(target=read, daemon=True).start()
    say({"ready": about})
    while (message := asked.get()) is not None:
        number = message["draw"]
        try:
            drawn = draw(message, lambda number=number: number in unwanted)
        except Exception as error:
            say({"failed": number, "message": f"{type(error).__name__}: {error}"})
            continue
        if drawn is None:
            say({"stopped": number})
            continue
        described = [
            {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)}
            for name, array in drawn.items()
        ]
        say({"drawn": number, "samples": 1, "arrays": described}, *drawn.values())


if __name__ == "__main__":
    main()
