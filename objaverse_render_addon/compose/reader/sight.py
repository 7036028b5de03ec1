"""What a view shows, by its arrays alone; questions about it are answered 1 (yes), 0, -1 (no).

A question has a limit from which it is answered yes, and one from which no, as the data set's
``margins`` say; here each is moved half way to their middle.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Sight"]

Answers = npt.NDArray[np.int8]
_CLOSE = 3.0
"""Degrees of hue that a pixel may be beyond a name's end."""


class Sight:
    """One view.

    Args:
        table: The ``objects`` of ``scene.json``.
        looks: Those of the view.
        arrays: The passes.
        intrinsics, pose: (3, 3), and (4, 4) camera to world, OpenGL axes.
        limits: The ``margins`` of ``expressions.json``.
    """

    def __init__(
        self, table: list[dict[str, Any]], looks: list[dict[str, Any]],
        arrays: Mapping[str, npt.NDArray[Any]], intrinsics: npt.NDArray[Any],
        pose: npt.NDArray[Any], limits: Mapping[str, Any],
    ) -> None:  # fmt: skip
        seen = {look["id"]: look for look in looks}
        self.table = [one for one in table if one["id"] in seen]
        self.ids = [one["id"] for one in self.table]
        self.limits, self.problems = limits, list[str]()
        ids, depth = arrays["instance_index"], np.asarray(arrays["depth"], np.float64)
        width = ids.shape[1]
        self.pixels = np.array([int((ids == one).sum()) for one in self.ids])
        whole = np.array([max(1, seen[one]["amodal_pixels"]) for one in self.ids])
        self.share = self.pixels / whole
        self.inside = np.array([seen[one]["inside_frame_fraction"] for one in self.ids])
        least, few = limits["absent"]
        self.present = (self.share >= least) | (self.pixels >= few)
        self.plain = (self.share >= limits["visible"] / 2) & (self.pixels >= 16)
        forward = -pose[:3, 2]
        flat = forward[:2] if abs(forward[2]) < 0.97 else pose[:2, 1]
        flat = flat / np.hypot(*flat)
        self.frame = np.array([[flat[1], -flat[0]], [flat[0], flat[1]]])
        self.down = float(np.degrees(np.arcsin(-forward[2])))
        self.clouds, self.columns, self.far = [], [], []
        self.hulls = [_posed(one) for one in self.table]
        for one, hull in zip(self.ids, self.hulls, strict=True):
            v, u = np.nonzero(ids == one)
            z = depth[v, u]
            x = (u + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0] * z
            y = (v + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1] * z
            cloud = np.stack([x, -y, -z], axis=1) @ pose[:3, :3].T + pose[:3, 3]
            self.clouds.append(cloud)
            self.columns.append((float(np.median(u)) + 0.5) / width if len(u) else np.nan)
            self.far.append(float(np.mean(z)) if len(z) else np.nan)
            self._believe_pose(one, cloud, hull, float(np.median(z)) / intrinsics[0, 0]
                               if len(z) else 0.0)  # fmt: skip
        self.spots = np.array([
            self.frame @ ((c[:, :2].min(axis=0) + c[:, :2].max(axis=0)) / 2) if len(c)
            else [np.nan, np.nan] for c in self.clouds
        ]).reshape(-1, 2)  # fmt: skip
        self.size = np.array([
            float(np.ptp(hull[:, :2] @ directions(), axis=0).mean()) for hull in self.hulls
        ])
        self.tall = np.array([float(np.ptp(h[:, 2])) for h in self.hulls])
        self._paint(arrays, ids)

    def __len__(self) -> int:
        return len(self.ids)

    def _believe_pose(
        self, name: int, cloud: npt.NDArray[Any], hull: npt.NDArray[Any], pixel: float
    ) -> None:
        """What the depth shows has to lie within what the pose says."""
        if not len(cloud):
            return
        slack = 0.004 + pixel
        low, high = hull.min(axis=0) - slack, hull.max(axis=0) + slack
        out = 1 - float(((cloud >= low) & (cloud <= high)).all(axis=1).mean())
        if out > 0.02:
            self.problems.append(
                f"{out:.0%} of what is seen of object {name} is not where its pose says"
            )

    def _paint(self, arrays: Mapping[str, npt.NDArray[Any]], ids: npt.NDArray[Any]) -> None:
        """Share of each object's pixels by colour; as the picture and the albedo have it.

        Each twice: with one name a pixel, and with those of hues close by as well.
        """
        self.paint: list[list[tuple[dict[str, float], dict[str, float]]]] = []
        pictures = []
        for name in ("rgb", "albedo"):
            if name in arrays:
                data = np.asarray(arrays[name], np.float64)[..., :3]
                # Bytes are sRGB, floats are light.
                pictures.append(data / 255 if arrays[name].dtype.kind == "u" else _encoded(data))
        for one in self.ids:
            mine = ids == one
            self.paint.append([_colors(picture[mine]) for picture in pictures])

    def meant(self, answers: Answers) -> Answers:
        """What is hardly seen may be meant; what is not there is not."""
        blunt = np.where(self.plain, answers, np.minimum(answers, 0))
        return np.where(self.present, blunt, -1).astype(np.int8)

    def colored(self, term: str) -> Answers:
        """Whether each has a colour."""
        found, limits = [], self.limits["color"]
        for pictures in self.paint:
            yes = decide(min(near.get(term, 0.0) for _, near in pictures), limits)
            no = decide(max(exact.get(term, 0.0) for exact, _ in pictures), limits)
            found.append(1 if yes > 0 else -1 if no < 0 else 0)
        return np.array(found, np.int8)

    def direction(self, word: str, r: int) -> Answers:
        """Whether each is in a direction from another: ``left``, ``rear right`` …"""
        toward = np.zeros(2)
        for part in word.split():
            toward += {"left": (-1, 0), "right": (1, 0), "front": (0, -1), "rear": (0, 1)}[part]
        toward /= np.hypot(*toward)
        step = self.spots - self.spots[r]
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = step @ toward / np.hypot(*step.T)
            turn = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        limits = self.limits["diagonal" if " " in word else "axis"]
        found = decide(-turn, (-limits[0], -limits[1]))
        if "left" in word or "right" in word:
            aside = np.array(self.columns) - self.columns[r]
            against = aside > 0.005 if "left" in word else aside < -0.005
            found = np.where((found > 0) & against, 0, found)
        near = np.hypot(*step.T) < 0.25 * self.limits["apart"] * (self.size + self.size[r])
        return _others(np.where(near, 0, found), r)

    def beside(self, r: int) -> Answers:
        """Whether each is next to another."""
        gaps = np.array([_gap(hull[:, :2], self.hulls[r][:, :2]) for hull in self.hulls])
        near = gaps / np.minimum(self.size, self.size[r])
        limits = self.limits["next_to"]
        return _others(decide(-near, (-limits[0], -limits[1])), r)

    def gaps(self, r: int) -> npt.NDArray[np.float64]:
        """Metres between each and another on the ground."""
        return np.array([_gap(hull[:, :2], self.hulls[r][:, :2]) for hull in self.hulls])

    def carried(self, r: int) -> Answers:
        """Whether each lies on another."""
        found = []
        for one in self.table:
            touch = [c for c in one["contacts"] if c["with"] == self.ids[r]]
            if not touch:
                found.append(-1)
                continue
            up = touch[0]["normal"][2] > 0.6
            found.append(int(decide(touch[0]["share"] if up else 0.0, self.limits["on_share"])))
        return _others(np.array(found), r)

    def carries(self, r: int) -> Answers:
        """Whether another lies on each."""
        return np.array([int(self.carried(i)[r]) for i in range(len(self))], np.int8)

    def held(self, r: int) -> Answers:
        """Whether each is inside another."""
        if not self.table[r]["container"]:
            return np.full(len(self), -1, np.int8)
        low, high = self.hulls[r].min(axis=0), self.hulls[r].max(axis=0)
        share = [
            float((((cloud > low) & (cloud < high)).all(axis=1)).mean()) if len(cloud) else np.nan
            for cloud in self.hulls
        ]
        return _others(decide(np.array(share), self.limits["within"]), r)

    def taller(self, r: int) -> Answers:
        """Whether each is taller than another."""
        return _others(compare(self.tall, self.tall[r], self.limits["taller"]), r)

    def bigger(self, r: int) -> Answers:
        """Whether each is bigger than another."""
        volume = np.array([float(np.prod(one["size_m"])) for one in self.table])
        return _others(compare(volume, volume[r], self.limits["bigger"]), r)

    def same_color(self, r: int) -> Answers:
        """Whether each has the colour of another."""
        names = sorted({term for pictures in self.paint for p, _ in pictures for term in p})
        sure = {term: self.colored(term) for term in names}
        mine = [term for term in names if sure[term][r] > 0]
        if not mine:
            return np.zeros(len(self), np.int8)
        return _others(sure[mine[0]], r)

    def between(self, a: int, b: int) -> Answers:
        """Whether each is between two others."""
        one, other = self.spots[a] - self.spots, self.spots[b] - self.spots
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = (one * other).sum(axis=1) / (np.hypot(*one.T) * np.hypot(*other.T))
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        line = self.spots[b] - self.spots[a]
        aside = np.abs(one @ [-line[1], line[0]]) / np.hypot(*line)
        limits = self.limits["between_beside"]
        off = decide(-aside / (self.size / 2), (-limits[0], -limits[1]))
        found = np.minimum(decide(angle, self.limits["between_angle"]), off)
        return _others(_others(found, a), b)

    def ahead(self, word: str) -> tuple[npt.NDArray[np.float64], float, bool]:
        """Values that grow with a superlative, the lead that is asked for, and if it is a ratio."""
        limits, columns = self.limits, np.array(self.columns)
        volume = np.array([float(np.prod(one["size_m"])) for one in self.table])
        far = np.array(self.far)
        return {
            "left": (-columns, limits["lead_side"], False),
            "right": (columns, limits["lead_side"], False),
            "near": (1 / far, 1 + limits["lead_distance"], True),
            "far": (far, 1 + limits["lead_distance"], True),
            "tall": (self.tall, limits["taller"], True),
            "short": (1 / self.tall, limits["taller"], True),
            "large": (volume, limits["bigger"], True),
            "small": (1 / volume, limits["bigger"], True),
        }[word]  # fmt: skip

    def cornered(self, word: str) -> Answers:
        """Whether each is in a corner of where all are."""
        some = self.spots[self.present]
        low, high = np.nanmin(some, axis=0), np.nanmax(some, axis=0)
        if (high - low < 0.5 * self.size[self.present].mean()).any():
            return np.zeros(len(self), np.int8)
        at = (self.spots - low) / np.maximum(high - low, 1e-9)
        side = at[:, 0] if word.endswith("left") else 1 - at[:, 0]
        away = at[:, 1] if word.startswith("front") else 1 - at[:, 1]
        limits = self.limits["corner"]
        return decide(-np.maximum(side, away), (-limits[0], -limits[1]))

    def postured(self, word: str) -> Answers:
        """Whether each stands upright, lies, or is upside down; by its pose."""
        up = np.array([one["pose"][2][2] for one in self.table])
        tilt = np.degrees(np.arccos(np.clip(up, -1, 1)))
        yes, no = self.limits["lying" if word == "lying" else "upright"]
        off = {"upright": tilt, "lying": np.abs(tilt - 90), "upside down": 180 - tilt}[word]
        return decide(-off, (-yes, -no))

    def covered(self) -> Answers:
        """Whether each is partly hidden by others."""
        low, high, none = self.limits["hidden"]
        share = self.share / np.maximum(self.inside, 1e-9)
        found = decide(-share, (-high, -none))
        return np.where((found > 0) & (share < low * 0.75), 0, found).astype(np.int8)


def decide(value: Any, limits: Any) -> Answers:
    """1 from the first limit on, -1 to the second, each moved half way to their middle."""
    yes, no = limits
    middle = (yes + no) / 2
    at = (np.asarray(value, np.float64) - middle) / ((yes - no) / 2)
    with np.errstate(invalid="ignore"):
        return np.where(at >= 0.5, 1, np.where(at <= -0.5, -1, 0)).astype(np.int8)


def compare(values: Any, other: Any, ratio: float) -> Answers:
    """1 where larger by half the ratio (of logarithms), -1 where smaller by it."""
    with np.errstate(invalid="ignore", divide="ignore"):
        at = np.log(np.asarray(values) / other) / np.log(ratio)
    return np.where(at >= 0.5, 1, np.where(at <= -0.5, -1, 0)).astype(np.int8)


def _others(answers: Any, r: int) -> Answers:
    found = np.array(answers, np.int8)
    found[r] = -1
    return found


def _posed(one: dict[str, Any]) -> npt.NDArray[np.float64]:
    pose = np.array(one["pose"], np.float64)
    return np.array(one["vertices_hull"], np.float64) @ pose[:3, :3].T + pose[:3, 3]


def directions() -> npt.NDArray[np.float64]:
    """(2, 180) unit vectors all around."""
    turn = np.radians(np.arange(0, 360, 2.0))
    return np.stack([np.cos(turn), np.sin(turn)])


def _gap(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Distance of two convex shapes' shadows: the widest gap in any of 180 directions.

    It is the separating axis theorem for convex shapes, by sampled axes.
    """
    axes = directions()
    apart = np.min(other @ axes, axis=0) - np.max(one @ axes, axis=0)
    return max(0.0, float(np.max(apart)))


def _encoded(light: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """SRGB, 0 to 1, of linear light (IEC 61966-2-1)."""
    x = np.clip(light, 0, 1)
    encoded = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.asarray(encoded, np.float64)


def _colors(pixels: npt.NDArray[Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Share of colour names, by hue, saturation and value; and with those of hues close by."""
    if not len(pixels):
        return {}, {}
    steps, counts = np.unique(np.rint(np.clip(pixels, 0, 1) * 31), axis=0, return_counts=True)
    exact: dict[str, float] = {}
    near: dict[str, float] = {}
    for (r, g, b), count in zip(steps / 31, counts, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(r, g, b)
        share = float(count) / len(pixels)
        name = _name(hue, saturation, value)
        exact[name] = exact.get(name, 0.0) + share
        for one in {name, *(_name((hue + turn / 360) % 1, saturation, value)
                            for turn in (-_CLOSE, _CLOSE))}:  # fmt: skip
            near[one] = near.get(one, 0.0) + share
    return exact, near


def _name(hue: float, saturation: float, value: float) -> str:
    degrees = 360 * hue
    if value < 0.13:
        return "black"
    # Of what is dark a trace of warm light is a large share.
    if saturation < 0.17 or saturation * value < 0.07:
        return "white" if value > 0.8 else "black" if value < 0.2 else "gray"
    if degrees < 42 and value < 0.62 and (degrees > 14 or saturation < 0.55):
        return "brown"
    if 325 <= degrees < 342 and value > 0.55:
        return "pink"
    if degrees >= 325 or degrees < 14:
        # Pale reds are pink; so are dark ones in shadow that keep their share of white.
        pale = 0.7 if degrees >= 325 else 0.6
        return "pink" if saturation < pale and value > 0.45 else "red"
    if degrees < 44:
        return "orange"
    if degrees < 68:
        return "yellow"
    if degrees < 174:
        return "green"
    if degrees < 256:
        return "blue"
    if degrees < 312:
        return "purple"
    return "pink" if value > 0.6 else "purple"
