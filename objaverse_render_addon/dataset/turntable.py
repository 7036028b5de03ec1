"""Turntables: an asset's views as an animation that goes once around it, or its own animation."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import InvalidJob, MissingDependency, SourceNotFound
from ..files import write_whole
from ..frame import mask_of
from .coloring import Pixels, Range, colored, coloring_of, shrink, value_range
from .guards import believing
from .images import composite
from .reader import AssetReader

__all__ = ["BACKGROUNDS", "FORMATS", "parse_background", "play_order", "turn_order", "turntable"]

FORMATS: Final = (".webp", ".gif", ".mp4")
BACKGROUNDS: Final = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "dark": (24, 26, 32),
}
Color = tuple[int, int, int]

# Below this, the azimuths do not go around the object, and the views keep their order.
_LEAST_TURN: Final = 60.0
# Seen from closer to a pole than this, a picture belongs to no azimuth.
_POLE: Final = 75.0


def turn_order(directions: npt.NDArray[Any], count: int | None = None, first: int = 0) -> list[int]:
    """Which views to show one after the other so that the object seems to turn.

    Args:
        directions: (N, 3), from the object to each camera, any length.
        count: At most so many views; of each sector of the circle the one that is nearest to the
            first view's height is taken.
        first: The view to begin with.

    Returns:
        Indices by rising azimuth, beginning with ``first``; where the cameras do not stand
        around the object, all of them (or ``count``, evenly spread) in their own order.
    """
    directions = np.asarray(directions, dtype=np.float64).reshape(-1, 3)
    total = len(directions)
    count = total if count is None else max(1, min(count, total))
    unit = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    azimuth = np.degrees(np.arctan2(unit[:, 1], unit[:, 0])) % 360.0
    elevation = np.degrees(np.arcsin(np.clip(unit[:, 2], -1, 1)))
    aside = np.flatnonzero(np.abs(elevation) < _POLE)
    if _turn(azimuth[aside]) < _LEAST_TURN:
        if count == 1:
            return [first] if total else []
        return [round(i * (total - 1) / (count - 1)) for i in range(count)]
    if first not in aside:
        first = int(aside[0])
    from_first = (azimuth - azimuth[first]) % 360.0
    if count >= len(aside):
        chosen = aside
    else:
        left = set(aside.tolist()) - {first}
        chosen = np.array([first] + [0] * (count - 1))
        for step in range(1, count):
            place = 360.0 * step / count
            off = np.abs((from_first - place + 180.0) % 360.0 - 180.0)
            cost = off + 0.7 * np.abs(elevation - elevation[first])
            chosen[step] = min(left, key=lambda index: (cost[index], index))
            left.discard(int(chosen[step]))
    return sorted((int(index) for index in chosen), key=lambda index: (from_first[index], index))


def play_order(reader: AssetReader, view: int = 0, count: int | None = None) -> list[int]:
    """Places in ``views`` of an animation, one frame after the other, as one view sees it.

    Where a camera moves along, every frame has one view, and that is shown.

    Raises:
        InvalidJob: There is no such view.
    """
    keys = [reader.key(place) for place in range(len(reader))]
    times = [key.time for key in keys if key.time is not None]
    along = len(set(times)) == len(times)
    shown = [place for place, key in enumerate(keys) if along or key.view == view]
    if not shown:
        there = sorted({key.view for key in keys})
        raise InvalidJob(f"{reader.ref} has no view {view}; it has {there[0]} to {there[-1]}.")
    shown.sort(key=lambda place: keys[place].time or 0)
    total = len(shown)
    if count is None or count >= total:
        return shown
    return [shown[round(i * (total - 1) / max(1, count - 1))] for i in range(count)]


def _turn(azimuth: npt.NDArray[Any]) -> float:
    """Degrees of the circle that the azimuths cover: all but their widest gap."""
    if len(azimuth) < 2:
        return 0.0
    around = np.sort(azimuth)
    gaps = np.diff(np.append(around, around[0] + 360.0))
    return float(360.0 - gaps.max())


def parse_background(text: str) -> Color | None:
    """``white``, ``#ff8800``, or ``none`` for transparent.

    Raises:
        InvalidJob: It is no colour.
    """
    if text == "none":
        return None
    if text in BACKGROUNDS:
        return BACKGROUNDS[text]
    digits = text.removeprefix("#")
    if len(digits) == 6 and all(c in "0123456789abcdefABCDEF" for c in digits):
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    raise InvalidJob(
        f"{text!r} is no background.", hint=f"{', '.join(BACKGROUNDS)}, none, or like #ff8800."
    )


def turntable(
    asset: Path | str,
    target: Path,
    *,
    name: str = "rgb",
    size: int | None = None,
    views: int | None = None,
    seconds: float | None = None,
    background: Color | None = None,
    view: int = 0,
) -> tuple[int, int, int]:
    """Write a looping animation of one pass.

    Of an asset whose frames were rendered it plays those, as one view sees them.

    Args:
        asset: A finished asset.
        target: Ends in ``.webp``, ``.gif`` or ``.mp4``.
        name: Of the pass.
        size: Longer side in pixels; the views' own where not given.
        views: At most so many.
        seconds: Of one turn, 3 where nothing is said; or of the whole animation, by its own frames
            per second where nothing is said.
        view: Whose animation is played.
        background: sRGB, 0 to 255; ``None`` is transparent, which ``.mp4`` does not have (white).

    Returns:
        Frames, width, height.

    Raises:
        InvalidJob: The format or the pass is none, or there is no such view.
        SourceNotFound: There is no finished asset, or no view in it.
        MissingDependency: Pillow, or for ``.mp4`` PyAV, is not installed.
    """
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise InvalidJob(f"{target} is no animation.", hint=f"Let it end in {', '.join(FORMATS)}.")
    with believing(asset), AssetReader(asset) as reader:
        if name not in reader.passes:
            raise InvalidJob(f"{asset} has no {name}.", hint=f"It has {', '.join(reader.passes)}.")
        if not reader.views:
            raise SourceNotFound(f"{asset} has no views.")
        if len(reader.times) > 1:
            order = play_order(reader, view, views)
            lasts = reader.seconds(order[-1]) - reader.seconds(order[0])
            # The last frame is seen as long as the others.
            lasts *= len(order) / max(1, len(order) - 1)
        else:
            center = np.array(reader.bounds.center)
            poses = np.array([record["camera_to_world"] for record in reader.views], np.float64)
            order, lasts = turn_order(poses[:, :3, 3] - center, views), 3.0
        seconds = seconds or lasts or 3.0
        if suffix == ".mp4" and background is None:
            background = BACKGROUNDS["white"]
        pictures = _pictures(reader, order, name, size, background)
        rate = len(order) / seconds
        first = next(pictures)
        encode = _mp4 if suffix == ".mp4" else _gif if suffix == ".gif" else _webp
        write_whole(target, encode(first, pictures, rate))
    return len(order), first.shape[1], first.shape[0]


def _pictures(
    reader: AssetReader, order: list[int], name: str, size: int | None, background: Color | None
) -> Iterator[Pixels]:
    """(H, W, 3 or 4) of each view, all of the first one's size."""
    span = _span(reader, order, name)
    shape: tuple[int, int] | None = None
    for index in order:
        arrays = reader.read(index)
        pixels = colored(name, arrays[name], _mask(arrays, name), span)
        pixels = shrink(pixels, size or max(pixels.shape[:2]), name)
        shape = shape or (pixels.shape[0], pixels.shape[1])
        if pixels.shape[:2] == shape:
            color = None if background is None else np.array(background) / 255
            yield pixels if color is None else composite(pixels, color)


def _mask(arrays: dict[str, npt.NDArray[Any]], name: str) -> npt.NDArray[np.bool_]:
    mask = mask_of(arrays)
    return np.ones(arrays[name].shape[:2], bool) if mask is None else mask


def _span(reader: AssetReader, order: list[int], name: str) -> Range | None:
    """One range for all views, so that a colour means the same in each."""
    if not coloring_of(name).ranged:
        return None
    ranges = []
    for index in order:
        arrays = reader.read(index)
        mask = _mask(arrays, name)
        if mask.any():
            ranges.append(value_range(arrays[name], mask))
    return (min(r[0] for r in ranges), max(r[1] for r in ranges)) if ranges else (0.0, 1.0)


def _images(first: Pixels, rest: Iterator[Pixels]) -> tuple[Any, list[Any]]:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency(
            "Animations need Pillow, which Blender does not have.",
            hint="Use the pip package: pip install objaverse-render-addon",
        ) from error
    return Image.fromarray(first), [Image.fromarray(pixels) for pixels in rest]


def _webp(first: Pixels, rest: Iterator[Pixels], rate: float) -> bytes:
    image, others = _images(first, rest)
    buffer = io.BytesIO()
    image.save(
        buffer, "WEBP", save_all=True, append_images=others, duration=round(1000 / rate), loop=0,
        quality=85, method=4, minimize_size=False, background=(0, 0, 0, 0),
    )  # fmt: skip
    return buffer.getvalue()


def _gif(first: Pixels, rest: Iterator[Pixels], rate: float) -> bytes:
    image, others = _images(first, rest)
    buffer = io.BytesIO()
    # GIF counts in hundredths of a second, and viewers take less than two for ten.
    duration = max(20, round(100 / rate) * 10)
    image.save(
        buffer, "GIF", save_all=True, append_images=others, duration=duration, loop=0, disposal=2,
        optimize=False,
    )  # fmt: skip
    return buffer.getvalue()


def _mp4(first: Pixels, rest: Iterator[Pixels], rate: float) -> bytes:
    """H.264 that every browser plays: even sides, 4:2:0."""
    try:
        import av
    except ImportError as error:
        raise MissingDependency(
            "MP4 needs PyAV.", hint="pip install 'objaverse-render-addon[video]', or take .webp."
        ) from error
    from fractions import Fraction

    buffer = io.BytesIO()
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", Fraction(rate).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "18", "preset": "medium"}
        for pixels in (first, *rest):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(pixels[:height, :width, :3]), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
