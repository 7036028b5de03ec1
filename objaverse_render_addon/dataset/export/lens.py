"""What formats demand of a lens, as errors that name the camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cameras import Camera
from ...errors import FormatCannotHold
from .scene import Scene

__all__ = [
    "demand_centered",
    "demand_one_size",
    "demand_square_pictures",
    "demand_square_pixels",
    "demand_unshifted",
    "fov_x",
    "lens_numbers",
    "pinhole",
    "shared_fov_x",
    "shared_lens",
    "shared_projection",
    "tell_distances",
    "tell_lost_lens",
    "viewpoints",
]

SAME = 1e-6
"""Relative difference below which two lenses are one."""


def pinhole(camera: Camera) -> tuple[float, float, float, float]:
    """Pixels: fx, fy, cx, cy; the first pixel's centre is (0.5, 0.5).

    Raises:
        FormatCannotHold: It is no pinhole.
    """
    if camera.projection != "perspective":
        raise FormatCannotHold(f"A camera is {camera.projection}, which is no pinhole.")
    return lens_numbers(camera)


def shared_projection(scene: Scene) -> str:
    """The kind of lens that all views have.

    Raises:
        FormatCannotHold: They differ.
    """
    kinds = sorted({camera.projection for camera in scene.cameras})
    if len(kinds) > 1:
        raise FormatCannotHold(
            f"{scene.asset_id}: its views are {' and '.join(kinds)}; {scene.form.name} holds one "
            "kind of lens."
        )
    return kinds[0]


def lens_numbers(camera: Camera) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy of any lens; what fx and fy are, its projection says."""
    (fx, skew, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
    if skew:
        raise FormatCannotHold("The pixels are skewed, which no format here holds.")
    return fx, fy, cx, cy


def fov_x(camera: Camera) -> float:
    """Full horizontal angle of view in radians, of a centred lens."""
    return 2 * math.atan(0.5 * camera.width / float(camera.intrinsics[0, 0]))


def demand_unshifted(scene: Scene) -> None:
    """The principal point in the middle of the picture.

    Raises:
        FormatCannotHold: Naming the first view where it is not.
    """
    for view, camera in enumerate(scene.cameras):
        _, _, cx, cy = lens_numbers(camera)
        middle = camera.width / 2, camera.height / 2
        if max(abs(cx - middle[0]), abs(cy - middle[1])) > SAME * max(camera.width, camera.height):
            raise FormatCannotHold(
                f"{scene.asset_id}: the principal point of view {view} is ({cx:g}, {cy:g}); "
                f"{scene.form.name} puts it in the middle, ({middle[0]:g}, {middle[1]:g}).",
                hint="Render with --shift 0,0, or export to nerfstudio, which holds shifts.",
            )


def demand_square_pixels(scene: Scene) -> None:
    """The same focal length both ways.

    Raises:
        FormatCannotHold: Naming the first view where they differ.
    """
    for view, camera in enumerate(scene.cameras):
        fx, fy, _, _ = lens_numbers(camera)
        if abs(fx / fy - 1) > SAME:
            raise FormatCannotHold(
                f"{scene.asset_id}: the pixels of view {view} are {fx / fy:g} times as high as "
                f"wide; {scene.form.name} has square pixels only.",
                hint="Render with --pixel-aspect 1, or export to nerfstudio, which holds both.",
            )


def demand_centered(scene: Scene) -> None:
    """Square pixels and the principal point in the middle: one angle says all of the lens."""
    demand_square_pixels(scene)
    demand_unshifted(scene)


def demand_one_size(scene: Scene) -> tuple[int, int]:
    """Width and height that all views share.

    Raises:
        FormatCannotHold: They differ.
    """
    sizes = sorted({(camera.width, camera.height) for camera in scene.cameras})
    if len(sizes) > 1:
        raise FormatCannotHold(
            f"{scene.asset_id}: its views have {len(sizes)} sizes, {scene.form.name} holds one."
        )
    return sizes[0]


def demand_square_pictures(scene: Scene) -> int:
    """The side that all pictures share.

    Raises:
        FormatCannotHold: They are not square, or differ.
    """
    width, height = demand_one_size(scene)
    if width != height:
        raise FormatCannotHold(
            f"{scene.asset_id}: its pictures are {width}x{height}; trainers of "
            f"{scene.form.name} read square ones.",
            hint=f"Render with --resolution {min(width, height)}.",
        )
    return width


def shared_fov_x(scene: Scene, views: Sequence[int] | None = None) -> float:
    """The horizontal angle of view in radians that views share; the lens is centred.

    Args:
        views: All of the scene's where nothing is said.

    Raises:
        FormatCannotHold: The lenses differ, or one angle does not describe them.
    """
    demand_centered(scene)
    cameras = scene.cameras if views is None else [scene.camera(view) for view in views]
    angles: Sequence[float] = [fov_x(camera) for camera in cameras]
    if max(angles) - min(angles) > SAME * max(angles):
        raise FormatCannotHold(
            f"{scene.asset_id}: its views have fields of view from "
            f"{math.degrees(min(angles)):.2f}° to {math.degrees(max(angles)):.2f}°; "
            f"{scene.form.name} holds one for all.",
            hint="Render with one --fov, or export to nerfstudio, which holds one per view.",
        )
    return angles[0]


def shared_lens(
    scene: Scene, views: Sequence[int] | None = None
) -> tuple[float, float, float, float]:
    """The lens that views share: fx, fy, cx, cy in pixels.

    Args:
        views: All of the scene's where nothing is said.

    Raises:
        FormatCannotHold: They differ.
    """
    views = range(len(scene)) if views is None else views
    lenses = [pinhole(scene.camera(view)) for view in views]
    for view, lens in zip(views, lenses, strict=True):
        if any(abs(a - b) > SAME * abs(b) for a, b in zip(lens, lenses[0], strict=True)):
            raise FormatCannotHold(
                f"{scene.asset_id}: view {view} has another lens (fx {lens[0]:g}) than view {views[0]} "
                f"(fx {lenses[0][0]:g}); {scene.form.name} holds one for all.",
                hint="Render with one --fov, or export to nerfstudio, which holds one per view.",
            )
    return lenses[0]


def tell_lost_lens(scene: Scene, degrees: float, about: str) -> None:
    """Note what a format without intrinsics loses.

    Args:
        degrees: What its trainers take for granted, horizontally.
        about: What is not stored, as a sentence.
    """
    away = [abs(math.degrees(fov_x(camera)) - degrees) for camera in scene.cameras]
    scene.note(
        "dropped",
        f"{about}; worst is the difference from {degrees:g}° in degrees",
        amount=len(away),
        worst=round(max(away), 6),
    )


def viewpoints(scene: Scene) -> npt.NDArray[Any]:
    """(V, 3) float64: azimuth and elevation in degrees, and distance from the origin, per view.

    Azimuth is counted from +X towards +Y in 0..360, elevation from the horizon upwards.
    """
    centers = np.stack([camera.camera_to_world[:3, 3] for camera in scene.cameras])
    distance = np.linalg.norm(centers, axis=1)
    azimuth = np.degrees(np.arctan2(centers[:, 1], centers[:, 0])) % 360
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.nan_to_num(centers[:, 2] / distance)
    return np.stack([azimuth, np.degrees(np.arcsin(np.clip(height, -1, 1))), distance], axis=1)


def tell_distances(scene: Scene, distance: float, effect: str, way_out: str) -> None:
    """Note views that stand elsewhere than where trainers take all to stand.

    Args:
        effect: What it does to the training, as the end of a sentence.
        way_out: The flags that render them right.
    """
    away = np.abs(viewpoints(scene)[:, 2] - distance)
    wrong = away > 1e-3 * distance
    scene.note(
        "differs",
        f"trainers take {distance:g} for the distance of every camera, so {effect}; render with "
        f"{way_out} (views); worst is the difference",
        amount=int(wrong.sum()),
        worst=round(float(away.max()), 6),
    )
