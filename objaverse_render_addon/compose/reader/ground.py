"""Free space, by the arrays alone: what is asked of some pixels of a view, answered 1, 0, -1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .sight import Answers, Sight, decide, directions

__all__ = ["Ground", "mask_of"]


def mask_of(runs: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """(H, W) of COCO's uncompressed run lengths."""
    values = np.arange(len(runs["counts"])) % 2 == 1
    return np.repeat(values, runs["counts"]).reshape(runs["size"][::-1]).T


class Ground:
    """Some pixels of a view.

    Args:
        scene: ``scene.json``.
        arrays: The passes.
        intrinsics, pose: As :class:`.sight.Sight` takes them.
        mask: (H, W) which pixels.
    """

    def __init__(
        self, sight: Sight, scene: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]],
        intrinsics: npt.NDArray[Any], pose: npt.NDArray[Any], mask: npt.NDArray[np.bool_],
    ) -> None:  # fmt: skip
        self.sight, self.limits = sight, sight.limits
        v, u = np.nonzero(mask)
        z = np.asarray(arrays["depth"], np.float64)[v, u]
        x = (u + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0] * z
        y = (v + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1] * z
        points = np.stack([x, -y, -z], axis=1) @ pose[:3, :3].T + pose[:3, 3]
        self._ids = arrays["instance_index"][v, u]
        self._points = points
        self.spots = points[:, :2] @ sight.frame.T
        self.columns = (u + 0.5) / mask.shape[1]
        self._support = scene["support"]
        self._stage = [part["id"] for part in scene["stage"]][:1]
        self.hulls = [hull[:, :2] for hull in sight.hulls]

    def empty(self) -> Answers:
        """Whether each pixel shows the support, with nothing near."""
        shown = np.isin(self._ids, self._stage) & (np.abs(self._points[:, 2]) < 0.003)
        near = np.min([self.gap(r) for r in range(len(self.hulls))], axis=0, initial=1.0)
        free = decide(near, self.limits["free"])
        wide, deep, _ = self._support["size_m"]
        if self._support["shape"] == "round":
            left = wide / 2 - np.hypot(*self._points[:, :2].T)
        else:
            left = np.minimum(wide / 2 - np.abs(self._points[:, 0]),
                              deep / 2 - np.abs(self._points[:, 1]))  # fmt: skip
        found = np.minimum(free, decide(left, self.limits["edge"]))
        return np.where(shown, found, -1).astype(np.int8)

    def gap(self, r: int) -> npt.NDArray[np.float64]:
        """Metres to an object's shadow, by 180 directions."""
        axes = directions()
        beyond = (self.hulls[r] @ axes).max(axis=0)
        out = np.full(len(self._points), -np.inf)
        for axis, far in zip(axes.T, beyond, strict=True):
            out = np.maximum(out, self._points[:, :2] @ axis - far)
        return np.asarray(np.maximum(out, 0.0))

    def related(self, word: str, r: int) -> Answers:
        """Whether each is beside something, or near it in a direction."""
        size = self.sight.size[r]
        if word == "beside":
            near, far = self.limits["next_to"]
            return decide(-self.gap(r) / size, (-near, -far))
        near, far = self.limits["place_near"]
        close = decide(-self.gap(r) / size, (-near, -far))
        toward = np.zeros(2)
        for part in word.split():
            toward += {"left": (-1, 0), "right": (1, 0), "front": (0, -1), "rear": (0, 1)}[part]
        step = self.spots - self.sight.spots[r]
        cosine = step @ toward / np.maximum(np.hypot(*step.T) * np.hypot(*toward), 1e-9)
        turn = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        limits = self.limits["diagonal" if " " in word else "axis"]
        found = np.minimum(close, decide(-turn, (-limits[0], -limits[1])))
        aside = self.columns - self.sight.columns[r]
        if "left" in word or "right" in word:
            found = np.where(aside * (1 if "left" in word else -1) > 0.005, -1, found)
        return np.asarray(found, np.int8)

    def between(self, a: int, b: int) -> Answers:
        """Whether each is between two things."""
        one, other = self.sight.spots[a] - self.spots, self.sight.spots[b] - self.spots
        lengths = np.maximum(np.hypot(*one.T) * np.hypot(*other.T), 1e-12)
        angle = np.degrees(np.arccos(np.clip((one * other).sum(axis=1) / lengths, -1, 1)))
        line = self.sight.spots[b] - self.sight.spots[a]
        aside = np.abs(one @ [-line[1], line[0]]) / max(float(np.hypot(*line)), 1e-9)
        half = min(self.sight.size[a], self.sight.size[b]) / 2
        limits = self.limits["between_beside"]
        off = decide(-aside / half, (-limits[0], -limits[1]))
        return np.minimum(decide(angle, self.limits["between_angle"]), off)

