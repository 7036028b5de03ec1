"""Passes as colours for people to look at: contact sheets, turntables, the gallery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..passspec import PASSES, Pass
from .images import encode_srgb8, srgb_curve

__all__ = [
    "CODE_COLORS", "COLORINGS", "RAMP", "Coloring", "Pixels", "Range", "colored", "coloring_of",
    "flow_colors", "id_colors", "legend_of", "pick", "shrink", "value_range",
]  # fmt: skip

Pixels = npt.NDArray[np.uint8]
Range = tuple[float, float]

# Perceptual ramp from near (bright) to far (dark), sampled from matplotlib's "viridis" (CC0).
RAMP: Final = np.array(
    [
        (253, 231, 37), (180, 222, 44), (109, 205, 89), (53, 183, 121), (31, 158, 137),
        (38, 130, 142), (49, 104, 142), (62, 73, 137), (72, 40, 120), (68, 1, 84),
    ],
    dtype=np.float64,
)  # fmt: skip

CODE_COLORS: Final = np.array(
    [(70, 70, 70), (230, 90, 60), (70, 120, 220), (240, 200, 60)], np.uint8
)
"""Of the values 0, 1, 2 … of a pass that has few."""


def _wheel() -> npt.NDArray[np.float64]:
    """(55, 3) the colours of the directions of flow, 0..255.

    Baker et al., "A Database and Evaluation Methodology for Optical Flow", 2011: the wheel of the
    Middlebury benchmark, from red (right) through yellow (down) and on.
    """
    corners = [(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255)]
    steps = [15, 6, 4, 11, 13, 6]
    colors = []
    for index, count in enumerate(steps):
        here, there = np.array(corners[index]), np.array(corners[(index + 1) % 6])
        colors += [here + np.floor(255 * step / count) * np.sign(there - here)
                   for step in range(count)]  # fmt: skip
    return np.array(colors, np.float64)


WHEEL: Final = _wheel()
Array = npt.NDArray[Any]


def colored(
    name: str, data: Array, mask: npt.NDArray[np.bool_], span: Range | None = None
) -> Pixels:
    """A pass as (H, W, 4) uint8 sRGB with straight alpha; clear where no object is.

    Args:
        name: Of the pass, see :data:`objaverse_render_addon.passspec.PASSES`.
        data: The pass, (H, W) or (H, W, C).
        mask: (H, W), where the object is.
        span: Values that get the first and last colour of a ramp, or none and all of each axis'
            colour; the array's own where not given. Without meaning for a pass whose
            :class:`Coloring` has no range.
    """
    return coloring_of(name).paint(data, mask, span)


@dataclass(frozen=True, slots=True)
class Coloring:
    """A way to show a pass to people.

    Attributes:
        paint: (H, W, 4) uint8 of the array, the mask and the range, see :func:`colored`.
        legend: What explains the colours: ``none``, ``ramp``, ``axes``, ``pair``, ``mask``,
            ``ids``, ``wheel``, ``codes``.
        ranged: Whether the colours depend on a range of values, which pictures that are compared
            have to share.
        exact: Whether a colour stands for a number, so that it must not be stored with loss.
        smooth: Whether there are colours between two colours.
    """

    paint: Callable[[Array, npt.NDArray[np.bool_], Range | None], Pixels]
    legend: str
    ranged: bool = False
    exact: bool = False
    smooth: bool = True


def coloring_of(name: str) -> Coloring:
    """How a pass is shown."""
    return COLORINGS[PASSES[name].coloring]


def legend_of(spec: Pass, span: Range | None) -> dict[str, Any]:
    """What a page has to know to explain the colours of a pass.

    Args:
        spec: As the asset itself describes it.
        span: Of its colours.

    Returns:
        ``legend`` (of :class:`Coloring`), ``span``, ``smooth``, ``ball`` (whether a ball of
        directions helps), ``wheel``: ``[r, g, b]`` of the directions of flow, and
        ``bars``: ``[name, [r, g, b] at the upper end]`` per channel.
    """
    kind = COLORINGS[spec.coloring]
    names: tuple[str, ...] = spec.channel_names
    if kind.legend == "axes":
        camera = spec.space == "camera"
        names = ("+X right", "+Y up", "+Z to the camera") if camera else ("+X", "+Y", "+Z")
    if kind.legend == "wheel":
        names = ()
    if spec.coloring == "vector" and span is not None:
        span = (-_most(span), _most(span))
    # Two channels are shown in green and blue, as :func:`_pair` does.
    colors = [[255, 0, 0], [0, 255, 0], [0, 0, 255]][3 - len(names) :]
    return {
        "legend": kind.legend,
        "span": (-1.0, 1.0) if spec.coloring == "direction" else span,
        "smooth": kind.smooth,
        "ball": spec.coloring == "direction" and spec.space == "camera",
        "wheel": WHEEL.tolist() if kind.legend == "wheel" else [],
        "bars": [[name, color] for name, color in zip(names, colors, strict=True)],
    }


def _picture(data: Array, _mask: npt.NDArray[np.bool_], _span: Range | None) -> Pixels:
    if data.shape[-1] == 4:
        return np.asarray(data, np.uint8)
    return np.concatenate([data, np.full_like(data[..., :1], 255)], axis=2)


def _light(data: Array, _mask: npt.NDArray[np.bool_], _span: Range | None) -> Pixels:
    return encode_srgb8(np.asarray(data, np.float32))


def _zero_or_one(data: Array, _mask: npt.NDArray[np.bool_], _span: Range | None) -> Pixels:
    value = (np.clip(data, 0, 1) * 255).astype(np.uint8)
    return np.stack([value, value, value, np.full_like(value, 255)], axis=2)


def _near_to_far(data: Array, mask: npt.NDArray[np.bool_], span: Range | None) -> Pixels:
    share = _share(data, mask, span)
    return _on_object(_ramp(np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0)), mask)


def _point(data: Array, mask: npt.NDArray[np.bool_], span: Range | None) -> Pixels:
    return _on_object(_share(data, mask, span), mask)


def _direction(data: Array, mask: npt.NDArray[np.bool_], _span: Range | None) -> Pixels:
    return _on_object(data * 0.5 + 0.5, mask)


def _reflectance(data: Array, mask: npt.NDArray[np.bool_], _span: Range | None) -> Pixels:
    return _on_object(srgb_curve(np.clip(data, 0, 1)), mask)


def _pair(data: Array, mask: npt.NDArray[np.bool_], _span: Range | None) -> Pixels:
    return _on_object(np.concatenate([np.zeros_like(data[..., :1]), data], axis=2), mask)


def _ids(data: Array, mask: npt.NDArray[np.bool_], _span: Range | None) -> Pixels:
    return np.dstack([id_colors(data), mask.astype(np.uint8) * 255])


def _vector(data: Array, mask: npt.NDArray[np.bool_], span: Range | None) -> Pixels:
    """As directions, grey where nothing moves; black where it is not known."""
    return _on_object(data / (2 * _most(span or value_range(data, mask))) + 0.5, mask)


def _most(span: Range) -> float:
    return max(abs(span[0]), abs(span[1]), 1e-9)


def _flow(data: Array, mask: npt.NDArray[np.bool_], span: Range | None) -> Pixels:
    """Directions as hues and lengths as strength, white where nothing moves; grey if unknown."""
    flow = data[mask] / _most(span or value_range(data, mask))
    known = np.isfinite(flow).all(axis=1)
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    colors = np.full((len(flow), 3), 128, np.uint8)
    colors[known] = flow_colors(flow[known])
    pixels[mask, :3], pixels[mask, 3] = colors, 255
    return pixels


def flow_colors(flow: Array) -> Pixels:
    """(…, 2) of length 0 to 1, right and down, as (…, 3) uint8; what is longer is darker."""
    length = np.linalg.norm(flow, axis=-1)
    turn = np.arctan2(-flow[..., 1], -flow[..., 0]) / np.pi
    place = (turn + 1) / 2 * (len(WHEEL) - 1)
    below = np.floor(place).astype(int)
    part = (place - below)[..., None]
    hue = (WHEEL[below] * (1 - part) + WHEEL[(below + 1) % len(WHEEL)] * part) / 255
    strength = length[..., None]
    color = np.where(strength <= 1, 1 - strength * (1 - hue), hue * 0.75)
    return np.asarray(np.floor(255 * color), np.uint8)


def _codes(data: Array, mask: npt.NDArray[np.bool_], _span: Range | None) -> Pixels:
    some = np.minimum(data, len(CODE_COLORS) - 1).astype(int)
    return np.dstack([CODE_COLORS[some], mask.astype(np.uint8) * 255])


COLORINGS: Final[dict[str, Coloring]] = {
    "picture": Coloring(_picture, "none"),
    "light": Coloring(_light, "none"),
    "ramp": Coloring(_near_to_far, "ramp", ranged=True, exact=True),
    "direction": Coloring(_direction, "axes"),
    "point": Coloring(_point, "axes", ranged=True),
    "mask": Coloring(_zero_or_one, "mask", exact=True, smooth=False),
    "reflectance": Coloring(_reflectance, "none"),
    "pair": Coloring(_pair, "pair"),
    "vector": Coloring(_vector, "axes", ranged=True),
    "flow": Coloring(_flow, "wheel", ranged=True),
    "codes": Coloring(_codes, "codes", exact=True, smooth=False),
    "ids": Coloring(_ids, "ids", exact=True, smooth=False),
}


def _share(data: Array, mask: npt.NDArray[np.bool_], span: Range | None) -> Array:
    low, high = span or value_range(data, mask)
    return np.asarray((data - low) / max(high - low, 1e-9))


def value_range(data: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> Range:
    """Least and greatest finite value on the object; (0, 0) where it is not seen."""
    values = data[mask]
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def id_colors(ids: npt.NDArray[Any]) -> Pixels:
    """Ids of any shape as (…, 3) uint8: neighbouring ids get unlike colours."""
    hues = (ids[..., None].astype(np.float64) * np.array([0.37, 0.61, 0.83])) % 1.0
    return np.asarray((0.25 + 0.7 * hues) * 255 + 0.5, np.uint8)


def shrink(pixels: Pixels, size: int, name: str) -> Pixels:
    """A picture whose longer side is ``size``: colour averaged, everything else picked.

    Args:
        pixels: (H, W, 3) or (H, W, 4), straight alpha.
    """
    height, width = pixels.shape[:2]
    factor = size / max(width, height)
    rows, columns = max(1, round(height * factor)), max(1, round(width * factor))
    if (rows, columns) == (height, width):
        return pixels
    if not PASSES[name].is_picture or factor >= 1:
        picked: Pixels = pick(pixels, size)
        return picked
    alpha = pixels[..., 3:].astype(np.float32) if pixels.shape[2] == 4 else None
    color = pixels[..., :3].astype(np.float32)
    if alpha is None:
        return np.asarray(_box_average(color, rows, columns) + 0.5, np.uint8)
    # Colour counts as much as it covers.
    covered = _box_average(alpha, rows, columns)
    mixed = _box_average(color * alpha, rows, columns) / np.maximum(covered, 1e-6)
    return np.asarray(np.concatenate([mixed, covered], axis=2) + 0.5, np.uint8)


def pick(data: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Rows and columns of a picture (H, W, …) so that its longer side is ``size``."""
    height, width = data.shape[:2]
    factor = size / max(width, height)
    rows, columns = max(1, round(height * factor)), max(1, round(width * factor))
    if (rows, columns) == (height, width):
        return data
    y = ((np.arange(rows) + 0.5) * height / rows).astype(int)
    x = ((np.arange(columns) + 0.5) * width / columns).astype(int)
    picked: npt.NDArray[Any] = data[y][:, x]
    return picked


def _box_average(
    pixels: npt.NDArray[np.float32], rows: int, columns: int
) -> npt.NDArray[np.floating[Any]]:
    height, width, channels = pixels.shape
    if height % rows == 0 and width % columns == 0:
        return np.asarray(
            pixels.reshape(rows, height // rows, columns, width // columns, channels)
            .mean(axis=(1, 3))
        )  # fmt: skip
    # Through a summed-area table.
    table = np.zeros((height + 1, width + 1, channels))
    table[1:, 1:] = pixels.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    y0, x0 = (np.arange(rows) * height) // rows, (np.arange(columns) * width) // columns
    y1, x1 = np.append(y0[1:], height), np.append(x0[1:], width)
    total = table[y1][:, x1] - table[y0][:, x1] - table[y1][:, x0] + table[y0][:, x0]
    return np.asarray(total / ((y1 - y0)[:, None] * (x1 - x0)[None, :])[..., None])


def _ramp(share: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Shares of the way from near to far as (H, W, 3) in 0..1."""
    place = np.clip(share, 0, 1) * (len(RAMP) - 1)
    below = np.minimum(place.astype(int), len(RAMP) - 2)
    rest = (place - below)[..., None]
    mixed: npt.NDArray[np.float64] = RAMP[below] * (1 - rest) + RAMP[below + 1] * rest
    return mixed / 255.0


def _on_object(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> Pixels:
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    inside = np.nan_to_num(values[mask], nan=0.0, posinf=1.0, neginf=0.0)
    pixels[mask, :3] = np.clip(inside, 0, 1) * 255 + 0.5
    pixels[mask, 3] = 255
    return pixels
