"""All that the page shows of one asset: its files, made from the finished dataset alone."""

from __future__ import annotations

import base64
import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...cameras import Camera
from ...errors import TruncatedFile
from ...frame import mask_of
from ...passspec import MARKERS, PASSES, Pass
from ..coloring import (
    CODE_COLORS,
    Range,
    colored,
    coloring_of,
    id_colors,
    legend_of,
    pick,
    shrink,
    value_range,
)
from ..guards import RENDER_AGAIN
from ..reader import AssetReader
from ..turntable import play_order, turn_order
from .pictures import Sheets, encode
from .script import plain, script
from .sentences import language_of

__all__ = ["CARD_SIZE", "asset_files"]

CARD_SIZE: Final = 176
"""Pixels of a card's picture."""
_TURN_FRAMES: Final = 12
_POINTS: Final = 3000
_MOST_PIXELS: Final = 2**26
# Where a card's picture is best taken from: a little to the right of an asset's front (-Y), and
# from a little above.
_LIKED: Final = (math.radians(-58.0), math.radians(22.0))


@dataclass(slots=True)
class _View:
    record: dict[str, Any]
    camera: Camera
    ranges: dict[str, Range]
    coverage: float | None = None


def asset_files(
    reader: AssetReader, key: str, *, size: int, card: dict[str, Any]
) -> dict[str, bytes]:
    """Name to content of an asset's files.

    Args:
        reader: The asset, open.
        key: What the page calls it, see :func:`~.script.script`.
        size: Longer side of the pictures, pixels; they are never enlarged.
        card: Its card; ``turn`` is set to the number of frames of its turntable.

    Raises:
        TruncatedFile: A file is missing or damaged.
    """
    names = [name for name in reader.passes if name in PASSES]
    views = [_view(reader, index) for index in range(len(reader.views))]
    if not views or not names:
        raise TruncatedFile(f"{reader.ref} has no views.", hint=RENDER_AGAIN)
    camera = views[0].camera
    shorter = min(1.0, size / max(camera.width, camera.height))
    tile = (max(1, round(camera.width * shorter)), max(1, round(camera.height * shorter)))
    exact = {name: coloring_of(name).exact for name in names}
    sheets = {name: Sheets(name, tile, len(views), exact=exact[name]) for name in names}
    bounds = reader.bounds
    spans = _spans(reader, views, names)
    center = np.array(bounds.center, np.float64)
    poses = np.array([view.camera.camera_to_world for view in views])
    shown = "rgb" if "rgb" in names else names[0]
    first = _best_view(poses[:, :3, 3] - center, views)
    keys = [reader.key(index) for index in range(len(views))]
    plays = len(reader.times) > 1
    if plays:
        turn = play_order(reader, keys[first].view, _TURN_FRAMES)
        order = play_order(reader, keys[first].view)
    else:
        turn = turn_order(poses[:, :3, 3] - center, _TURN_FRAMES, first)
        order = turn_order(poses[:, :3, 3] - center, None, first)
    frames: dict[int, npt.NDArray[np.uint8]] = {}
    cloud = _Cloud(sum(key.time == keys[first].time for key in keys))
    for index, view in enumerate(views):
        arrays = reader.read(index)
        mask = _mask(arrays, shown)
        view.coverage = float(mask.mean())
        for name in names:
            sheets[name].add(_picture(name, arrays[name], mask, spans.get(name), max(tile)))
        if index in turn:
            frames[index] = _picture(shown, arrays[shown], mask, spans.get(shown), CARD_SIZE)
        if keys[index].time == keys[first].time:
            # Surfaces of several times are no surface.
            cloud.add(arrays, mask, view.camera)
    files: dict[str, bytes] = {}
    for sheet in sheets.values():
        files.update(sheet.files)
    strip = np.concatenate([_square(frames[index], CARD_SIZE) for index in turn], axis=1)
    data, suffix = encode(strip[:, :CARD_SIZE], exact=exact[shown])
    files[f"card.{suffix}"] = data
    if len(turn) > 1:
        files[f"turn.{suffix}"] = encode(strip, exact=exact[shown])[0]
    card["turn"], card["p"] = len(turn), suffix
    seen = {
        "views": [_view_record(view) for view in views],
        "passes": [
            {
                **_described(_spec(reader, name), spans.get(name)),
                **sheets[name].record,
                "keys": _keys(reader, name),
            }
            for name in names
        ],
        "tile": list(tile),
        "order": order,
        "pace": 1000 * (reader.seconds(order[-1]) - reader.seconds(order[0])) / (len(order) - 1)
        if plays and len(order) > 1 else None,
        "first": first,
        "box": [list(bounds.box_min), list(bounds.box_max)],
        "sphere": [list(bounds.center), bounds.radius],
        "cloud": cloud.encoded(),
        "language": language_of(reader, max(tile)),
        "metadata": plain({k: v for k, v in reader.metadata.items() if k != "views"}),
    }
    files["detail.js"] = script("detail", key, plain_numbers(seen))
    return files


def _picture(
    name: str,
    data: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    span: Range | None,
    size: int,
) -> npt.NDArray[np.uint8]:
    """A pass in colours, small; what is picked and not averaged is picked first, to save work."""
    if not PASSES[name].is_picture:
        return colored(name, pick(data, size), pick(mask, size), span)
    return shrink(colored(name, data, mask), size, name)


def plain_numbers(value: Any) -> Any:
    """Floats with six digits, which is more than a screen shows; none that JSON cannot hold."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_numbers(item) for item in value]
    return value


def _view(reader: AssetReader, index: int) -> _View:
    view = reader.view(index)
    camera = view.camera
    sane = (
        camera.width > 0
        and camera.height > 0
        and camera.width * camera.height <= _MOST_PIXELS
        and camera.intrinsics.shape == (3, 3)
        and camera.camera_to_world.shape == (4, 4)
        and np.isfinite(camera.intrinsics).all()
        and np.isfinite(camera.camera_to_world).all()
        and camera.intrinsics[0, 0] > 0
        and camera.intrinsics[1, 1] > 0
    )
    if not sane:
        raise TruncatedFile(f"{reader.ref}: the camera of view {index} is none.")
    return _View(reader.views[index], camera, {})


def _mask(arrays: dict[str, npt.NDArray[Any]], shown: str) -> npt.NDArray[np.bool_]:
    mask = mask_of(arrays)
    return np.ones(arrays[shown].shape[:2], bool) if mask is None else mask


def _spans(reader: AssetReader, views: list[_View], names: list[str]) -> dict[str, Range]:
    """One range per pass for all views, so that a colour means the same distance in each."""
    bounds = reader.bounds
    spans: dict[str, Range] = {
        # Of the object, around its centre, so that a colour is a place.
        name: _span_of_box([*bounds.box_min, *bounds.box_max])
        for name in names
        if PASSES[name].coloring == "point"
    }
    wanted = [name for name in names if coloring_of(name).ranged and name not in spans]
    if not wanted:
        return spans
    markers = [name for name in MARKERS if name in names]
    needed = dict.fromkeys([*wanted, *markers[:1]])
    for index, view in enumerate(views):
        arrays = reader.read(index, needed)
        mask = _mask(arrays, wanted[0])
        if mask.any():
            view.ranges = {name: value_range(arrays[name], mask) for name in wanted}
    for name in wanted:
        found = [view.ranges[name] for view in views if name in view.ranges]
        if found:
            spans[name] = (min(low for low, _ in found), max(high for _, high in found))
    return spans


def _span_of_box(corners: list[float]) -> Range:
    reach = max(abs(value) for value in corners)
    return -reach, reach


def _best_view(directions: npt.NDArray[Any], views: list[_View]) -> int:
    azimuth, elevation = _LIKED
    liked = np.array([math.cos(azimuth) * math.cos(elevation),
                      math.sin(azimuth) * math.cos(elevation), math.sin(elevation)])  # fmt: skip
    unit = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    score = unit @ liked
    for index, view in enumerate(views):
        checks = view.record.get("checks")
        cut = checks.get("object_in_frame") if isinstance(checks, dict) else None
        score[index] -= 0.5 * (isinstance(cut, list) and cut[:1] == ["doubt"])
    return int(score.argmax())


def _square(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """The picture in the middle of a clear square."""
    square = np.zeros((side, side, 4), np.uint8)
    height, width = min(side, pixels.shape[0]), min(side, pixels.shape[1])
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels[:height, :width]
    return square


_SAID: Final = ("about", "unit", "space", "dtype")


def _spec(reader: AssetReader, name: str) -> Pass:
    """What the asset itself says of a pass, else what this version writes."""
    own = reader.metadata.get("passes")
    said = own.get(name) if isinstance(own, dict) else None
    if not isinstance(said, dict):
        return PASSES[name]
    said = {key: plain(said[key]) for key in _SAID if isinstance(said.get(key), str)}
    return dataclasses.replace(PASSES[name], **said)


def _described(spec: Pass, span: Range | None) -> dict[str, Any]:
    """What the page says of a pass, and how it explains its colours."""
    words = {key: getattr(spec, key) for key in ("name", "tab", *_SAID)}
    return {**words, **legend_of(spec, span)}


def _view_record(view: _View) -> dict[str, Any]:
    camera, record = view.camera, view.record
    horizontal, vertical = camera.fov
    pose = record.get("pose")
    return {
        "index": plain(record.get("index")),
        "view": plain(record.get("view")),
        "time": plain(record.get("time")),
        "size": [camera.width, camera.height],
        "k": [float(camera.intrinsics[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2))],
        "pose": camera.camera_to_world[:3].ravel().tolist(),
        "lens": camera.projection,
        "split": plain(record.get("split") or ""),
        "fov": [horizontal, vertical],
        "sampled": plain(pose) if isinstance(pose, dict) else {},
        "checks": plain(record.get("checks") or {}),
        "ranges": view.ranges,
        "coverage": view.coverage,
        "box": plain(record.get("object_box_px")),
    }


def _keys(reader: AssetReader, name: str) -> list[list[Any]]:
    """Number, name and colour of each id of a pass, at most so many as a legend can show."""
    spec = PASSES[name]
    if spec.codes:
        colors = CODE_COLORS.tolist()
        return [[number, text, colors[number]] for number, text in enumerate(spec.codes)]
    if spec.values != "ids":
        return []
    ids = reader.metadata.get("ids")
    named = ids.get(name) if isinstance(ids, dict) else None
    if name == "object_index" and not named:
        named = reader.metadata.get("object_names")
    found = []
    for number, what in list(named.items())[:500] if isinstance(named, dict) else []:
        if str(number).isascii() and str(number).isdigit() and len(str(number)) < 10:
            said = what.get("name") if isinstance(what, dict) else what
            color = id_colors(np.array(int(number)))
            found.append([int(number), plain(str(said)), color.tolist()])
    return sorted(found)


class _Cloud:
    """Coloured surface points from depth, so that the rig shows what the cameras look at."""

    def __init__(self, views: int) -> None:
        self._each = max(8, _POINTS // views)
        self._positions: list[npt.NDArray[np.float32]] = []
        self._colors: list[npt.NDArray[np.uint8]] = []

    def add(
        self, arrays: dict[str, npt.NDArray[Any]], mask: npt.NDArray[np.bool_], camera: Camera
    ) -> None:
        """Take some points of a view, evenly spread over its object's pixels."""
        if "depth" not in arrays or "rgb" not in arrays:
            return
        places = np.flatnonzero(mask)
        if not places.size:
            return
        # Steps of the golden ratio do not line up with the picture's columns.
        steps = (np.arange(min(self._each, places.size)) * 0.6180339887498949) % 1.0
        chosen = places[(steps * places.size).astype(int)]
        v, u = np.unravel_index(chosen, mask.shape)
        points = camera.unproject(arrays["depth"], (v, u)).astype(np.float32)
        good = np.isfinite(points).all(axis=1)
        self._positions.append(points[good])
        self._colors.append(np.asarray(arrays["rgb"][v, u, :3], np.uint8)[good])

    def encoded(self) -> dict[str, Any] | None:
        """Corner, size of the box, and base64: 3 x uint16 within it, then 3 x uint8 per point."""
        if not any(len(points) for points in self._positions):
            return None
        points = np.concatenate(self._positions)
        low, high = points.min(axis=0), points.max(axis=0)
        extent = np.maximum(high - low, 1e-9)
        steps = np.round((points - low) / extent * 65535).astype("<u2")
        return {
            "low": low.tolist(),
            "size": extent.tolist(),
            "points": base64.b64encode(steps.tobytes()).decode(),
            "colors": base64.b64encode(np.concatenate(self._colors).tobytes()).decode(),
        }
