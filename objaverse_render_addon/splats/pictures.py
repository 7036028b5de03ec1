"""What a field shows as the passes of a frame; rendered into a folder, and held against truth."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import Camera
from ..dataset.images import composite, encode_png
from ..dataset.reader import AssetReader
from ..errors import InvalidJob, MissingPass
from ..files import write_whole
from .drawing import Pixels, Prepared, draw
from .field import Field
from .gpu import on_gpu

__all__ = ["Likeness", "Painter", "compare", "passes_of", "psnr", "render_views"]

_DEPTH_UNIT: Final = 0.001
"""nerfstudio's parser multiplies stored depth by it."""


def passes_of(pixels: Pixels) -> dict[str, npt.NDArray[Any]]:
    """``rgb``, ``depth`` and ``mask`` as :data:`.passspec.PASSES` has them.

    A pixel is on the object where its alpha is a half or more; depth is there and 0 elsewhere.
    """
    alpha = pixels.alpha[..., None]
    straight = pixels.color / np.maximum(alpha, 1e-6)
    rgba = np.concatenate([straight, alpha], axis=-1)
    rgb = np.floor(np.clip(rgba, 0, 1) * 255 + 0.5).astype(np.uint8)
    there = pixels.alpha >= 0.5
    depth = np.where(there, pixels.depth, 0).astype(np.float32)
    return {"rgb": rgb, "depth": depth, "mask": there.astype(np.uint8)}


_MOST_IN_DRAFT: Final = 50_000


class Painter:
    """Draws a field on whatever draws it fastest here.

    Attributes:
        drafts: Whether it is so large that a draft, of its most important Gaussians, is worth it.
    """

    def __init__(self, field: Field) -> None:
        self._gpu = on_gpu(field)
        self._prepared = Prepared(field)
        self.drafts = self._gpu is None and 2 * len(self._prepared) > 3 * _MOST_IN_DRAFT
        self._draft = self._prepared
        if self.drafts:
            self._draft = self._prepared.most_important(_MOST_IN_DRAFT)

    def __call__(
        self, camera: Camera, should_stop: Callable[[], bool] = lambda: False,
        *, draft: bool = False,
    ) -> Pixels | None:  # fmt: skip
        """See :func:`.drawing.draw`."""
        if self._gpu is not None:
            return self._gpu.draw(camera)
        return draw(self._draft if draft else self._prepared, camera, should_stop)


def render_views(
    field: Field, cameras: Sequence[Camera], out: Path,
    on_view: Callable[[int, int], None] = lambda *_: None,
) -> Path:  # fmt: skip
    """A field seen by cameras, as a folder that nerfstudio and our own cameras read.

    ``transforms.json``, ``images/NNN.png`` with alpha, ``depths/NNN.npy`` in thousandths of a scene
    unit as nerfstudio wants them (float32, planar, 0 where alpha is below a half).

    Returns:
        ``transforms.json``, which is written last.

    Raises:
        OutputNotWritable, DiskFull: Naming the file.
    """
    from io import BytesIO

    paint, frames = Painter(field), []
    for index, camera in enumerate(cameras):
        pixels = paint(camera)
        assert pixels is not None
        passes = passes_of(pixels)
        image, depth = f"images/{index:03d}.png", f"depths/{index:03d}.npy"
        write_whole(out / image, encode_png(passes["rgb"]))
        buffer = BytesIO()
        np.save(buffer, passes["depth"] / np.float32(_DEPTH_UNIT))
        write_whole(out / depth, buffer.getvalue())
        (fx, _, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
        frames.append({
            "file_path": image, "depth_file_path": depth,
            "transform_matrix": camera.camera_to_world.tolist(),
            "fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": camera.width, "h": camera.height,
        })  # fmt: skip
        on_view(index + 1, len(cameras))
    record = {
        "camera_model": "PINHOLE", "orientation_override": "none",
        "depth_unit_scale_factor": _DEPTH_UNIT, "frames": frames,
    }  # fmt: skip
    target = out / "transforms.json"
    write_whole(target, json.dumps(record, indent=1).encode())
    return target


@dataclass(frozen=True, slots=True)
class Likeness:
    """How near a field's picture comes to the truth.

    Attributes:
        view: Place in the asset's views.
        psnr: Decibels, of 8-bit sRGB over the background.
        depth: Median error in scene units where both have an object; ``None`` without such.
        overlap: Intersection over union of the object's pixels.
    """

    view: int
    psnr: float
    depth: float | None
    overlap: float


def compare(
    field: Field, asset: AssetReader, views: Sequence[int] | None = None,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Iterator[Likeness]:  # fmt: skip
    """Hold a field against a finished asset, view by view, at the asset's own size.

    Args:
        views: Places in the asset's views; all by default.
        background: sRGB, behind both.

    Raises:
        MissingPass: The asset has no colour.
        InvalidJob: There is no such view.
    """
    if "rgb" not in asset.passes:
        raise MissingPass(f"{asset.ref} has no rgb to compare with.")
    paint = Painter(field)
    wanted = [name for name in ("rgb", "depth", "mask") if name in asset.passes]
    for index in range(len(asset)) if views is None else views:
        if not 0 <= index < len(asset):
            raise InvalidJob(f"{asset.ref} has no view {index}; it has {len(asset)}.")
        truth = asset.read(index, wanted)
        pixels = paint(asset.view(index).camera)
        assert pixels is not None
        ours = passes_of(pixels)
        theirs = truth["rgb"]
        if theirs.shape[-1] == 4:
            theirs = composite(theirs, background)
        there = truth["mask"] > 0 if "mask" in truth else None
        if there is None and "depth" in truth:
            there = truth["depth"] > 0
        if there is None:
            there = truth["rgb"][..., -1] >= 128
        both, either = there & (ours["mask"] > 0), there | (ours["mask"] > 0)
        error = None
        if "depth" in truth and both.any():
            error = float(np.median(np.abs(ours["depth"] - truth["depth"])[both]))
        overlap = float(both.sum()) / float(either.sum()) if either.any() else 1.0
        yield Likeness(index, psnr(composite(ours["rgb"], background), theirs), error, overlap)


def psnr(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Peak signal to noise of two 8-bit pictures, in decibels; infinite where they are equal."""
    square = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return math.inf if square == 0 else 10 * math.log10(255**2 / square)
