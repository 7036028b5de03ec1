"""Tracked points as trackers' benchmarks keep them: TAP-Vid and PointOdyssey, as ``.npz``.

Formats: https://github.com/google-deepmind/tapnet (tapnet/tapvid), whose own files are pickles of
the same arrays; https://pointodyssey.com (``anno.npz``).
"""

from __future__ import annotations

import io
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...errors import MissingPass
from .base import Format
from .lens import demand_one_size
from .scene import Scene
from .target import SceneFiles

__all__ = ["PointOdyssey", "TapVid"]

Array = npt.NDArray[Any]


class _Tracks(Format):
    holds: ClassVar[tuple[str, ...]] = ("rgb",)
    has_time: ClassVar[bool] = True

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_one_size(scene)
        if not scene.has_tracks:
            raise MissingPass(
                f"{scene.asset_id}: {self.name} needs tracked points, and none are stored.",
                hint="Render with --tracks 1024 --frames all.",
            )
        for folder, views in scene.sequences.items():
            tracks = np.stack([scene.tracks(view) for view in views])
            self.sequence(scene, out, f"{scene.key}{folder}", views, tracks)
        return {}

    def sequence(
        self, scene: Scene, out: SceneFiles, home: str, views: list[int], tracks: Array
    ) -> None:
        """Write the views of one camera.

        Args:
            tracks: (T, N, 6) as :attr:`.Frame.tracks`.
        """
        raise NotImplementedError


class TapVid(_Tracks):
    """``<key>.npz``, or ``<key>/NNN.npz`` of several cameras: ``video`` (T, H, W, 3) uint8,
    ``points`` (N, T, 2) float32, x and y as shares of width and height, ``occluded`` (N, T) bool.
    """

    name: ClassVar[str] = "tapvid"
    about: ClassVar[str] = "TAP-Vid: video, points and occluded as npz"

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`.Format`."""
        return (key, f"{key}.npz")

    def sequence(
        self, scene: Scene, out: SceneFiles, home: str, views: list[int], tracks: Array
    ) -> None:
        """See :class:`_Tracks`."""
        camera = scene.camera(views[0])
        points = tracks[..., :2] / np.array([camera.width, camera.height], np.float32)
        data = {
            "video": np.stack([scene.rgb(view) for view in views]),
            "points": np.nan_to_num(points).transpose(1, 0, 2).astype(np.float32),
            "occluded": (tracks[..., 5] == 0).T,
        }
        out.add(f"{home}.npz", _npz(data))


class PointOdyssey(_Tracks):
    """``<key>/rgbs/rgb_NNNNN.png`` and ``<key>/anno.npz``, below ``<key>/NNN`` of several cameras:
    ``trajs_2d`` (T, N, 2) pixels, ``trajs_3d`` (T, N, 3) world, ``visibs`` and ``valids`` (T, N)
    bool, ``intrinsics`` (T, 3, 3), ``extrinsics`` (T, 4, 4) world to camera with OpenCV's axes.
    """

    name: ClassVar[str] = "pointodyssey"
    about: ClassVar[str] = "PointOdyssey: pictures and anno.npz with tracks in 2D and 3D"

    def sequence(
        self, scene: Scene, out: SceneFiles, home: str, views: list[int], tracks: Array
    ) -> None:
        """See :class:`_Tracks`."""
        cameras = [scene.camera(view) for view in views]
        data = {
            "trajs_2d": np.nan_to_num(tracks[..., :2]),
            "trajs_3d": np.nan_to_num(tracks[..., 2:5]),
            "visibs": tracks[..., 5] == 1,
            "valids": np.isfinite(tracks[..., :5]).all(axis=-1),
            "intrinsics": np.stack([camera.intrinsics for camera in cameras]).astype(np.float32),
            "extrinsics": np.stack([camera.world_to_camera_opencv for camera in cameras]).astype(
                np.float32
            ),
        }
        out.add(f"{home}/anno.npz", _npz(data))
        for number, view in enumerate(views):
            out.add(f"{home}/rgbs/rgb_{number:05d}.png", scene.rgb_png(view))
        scene.note("differs", "pictures are PNG, where PointOdyssey's own are JPEG (scenes)")


def _npz(data: dict[str, Array]) -> bytes:
    buffer = io.BytesIO()
    named: Any = data
    np.savez_compressed(buffer, **named)
    return buffer.getvalue()
