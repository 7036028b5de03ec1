"""One view: its arrays, its camera, and what they mean.

Every array is valid on exactly the mask's pixels and 0 elsewhere. Geometry is sampled once, at
the pixel's centre; only RGB is antialiased.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

from .cameras import Camera, View

__all__ = [
    "PASS_SPECS",
    "Bounds",
    "Check",
    "Frame",
    "FrameSink",
    "PassSpec",
    "Shot",
    "Tee",
    "assemble",
]

Array = npt.NDArray[Any]
Status = Literal["ok", "doubt", "failed"]


@dataclass(frozen=True, slots=True)
class PassSpec:
    """What the numbers of a pass mean.

    Attributes:
        channels: 1 is an (H, W) array, more is (H, W, channels).
        invalid: The value where no object is.
    """

    name: str
    dtype: str
    channels: int
    space: str
    unit: str
    about: str
    invalid: float = 0.0


PASS_SPECS: Final[dict[str, PassSpec]] = {
    spec.name: spec
    for spec in (
        PassSpec("rgb", "uint8", 4, "sRGB, straight alpha", "0..255", "antialiased colour"),
        PassSpec("depth", "float32", 1, "camera", "scene units", "planar Z: distance along the "
                 "viewing axis, not along the ray"),
        PassSpec("normal", "float32", 3, "camera", "unit length",
                 "surface normal: +X right, +Y up, +Z towards the camera"),
        PassSpec("mask", "uint8", 1, "image", "0 or 1", "1 is object, at the pixel's centre"),
        PassSpec("albedo", "float32", 3, "linear Rec. 709", "0..1",
                 "base colour before lighting, also of metals"),
        PassSpec("roughness_metallic", "float32", 2, "material", "0..1",
                 "roughness, then metallic"),
        PassSpec("position", "float32", 3, "world", "scene units", "surface point"),
        PassSpec("object_index", "uint16", 1, "image", "id", "ids are named in the metadata"),
        PassSpec("distance", "float32", 1, "camera", "scene units",
                 "Euclidean distance from the camera along the ray"),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the object is, in normalised scene units.

    Attributes:
        box_min: (3,) of the evaluated, visible faces.
        box_max: (3,)
        center: Of the bounding sphere.
        radius: Of the bounding sphere.
        exact: False where something renders that the faces do not bound (hair, volumes, shader
            displacement), so that a pixel outside is no contradiction.
    """

    box_min: tuple[float, float, float]
    box_max: tuple[float, float, float]
    center: tuple[float, float, float]
    radius: float
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was verified: its outcome and the number it rests on."""

    name: str
    status: Status
    value: float


@dataclass(frozen=True, slots=True)
class Shot:
    """What is to be rendered: one view of a stage, at one time.

    Attributes:
        time: Animation frame; ``None`` takes the one that the stage shows.
    """

    view: View
    time: int | None = None


@dataclass(slots=True)
class Frame:
    """A view with its arrays.

    Attributes:
        view: Number, camera, and how the camera came about.
        time: Animation frame that the scene was frozen at.
        passes: Name to array; see :data:`PASS_SPECS` for dtype, channels, space and unit.
        object_box: ``[u_min, v_min, u_max, v_max]`` in pixels of the projected geometry, whether
            or not it is inside the image; ``None`` where some of it is behind the camera.
        opaque: Whether RGB is written over a background colour.
        bounds: Of what was on the stage.
        noise_seed: Of the path tracer, for RGB.
        checks: What the checks of :mod:`objaverse_render_addon.checks` found.
    """

    view: View
    time: int = 0
    passes: dict[str, Array] = field(default_factory=dict)
    object_box: tuple[float, float, float, float] | None = None
    normal_space: str = "camera"
    opaque: bool = False
    bounds: Bounds | None = None
    noise_seed: int | None = None
    checks: list[Check] = field(default_factory=list)

    @property
    def camera(self) -> Camera:
        """The view's camera."""
        return self.view.camera

    def spec(self, name: str) -> PassSpec:
        """The meaning of one of this frame's passes."""
        spec = PASS_SPECS[name]
        if name == "rgb" and self.opaque:
            spec = dataclasses.replace(spec, channels=3, space="sRGB", about="antialiased colour "
                "over the background colour")  # fmt: skip
        if name == "normal" and self.normal_space == "world":
            spec = dataclasses.replace(spec, space="world", about="surface normal in world axes")
        return spec


class FrameSink(Protocol):
    """Where frames go: a data set, previews, a socket. Called from one thread."""

    def geometry(self, frame: Frame) -> None:
        """Take a frame whose geometry is complete and checked; its colour is still to come."""

    def frame(self, frame: Frame) -> None:
        """Take the same frame, complete."""

    def close(self) -> None:
        """Take nothing more: all frames were given."""

    def abort(self) -> None:
        """Forget what was given; safe to call at any time, from any thread, and again."""


class Tee:
    """Gives every frame to several sinks, in order."""

    def __init__(self, *sinks: FrameSink) -> None:
        self._sinks = sinks

    def geometry(self, frame: Frame) -> None:
        """See :class:`FrameSink`."""
        for sink in self._sinks:
            sink.geometry(frame)

    def frame(self, frame: Frame) -> None:
        """See :class:`FrameSink`."""
        for sink in self._sinks:
            sink.frame(frame)

    def close(self) -> None:
        """See :class:`FrameSink`."""
        for sink in self._sinks:
            sink.close()

    def abort(self) -> None:
        """See :class:`FrameSink`."""
        for sink in self._sinks:
            sink.abort()


def _layer(channels: dict[str, Array], name: str, letters: str) -> Array:
    planes = [channels[f"{name}.{letter}"] for letter in letters]
    return planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)


def assemble(
    channels: dict[str, Array], camera: Camera, wanted: Iterable[str], normal_space: str
) -> dict[str, Array]:
    """The passes of a view from the channels of Blender's multilayer EXR.

    Args:
        channels: ``depth.V`` (1e10 where nothing is), ``normal.XYZ`` (world axes), and those
            that ``wanted`` asks for of ``albedo.RGB``, ``roughness_metallic.RGB``,
            ``position.XYZ``, ``object_index.V``.
        camera: As Blender sees it.
        wanted: Pass names. ``mask``, ``depth`` and ``normal`` are always computed, since the
            checks need them.
        normal_space: ``camera`` or ``world``.

    Returns:
        Arrays as :data:`PASS_SPECS` describes them, without ``rgb``.
    """
    depth = channels["depth.V"]
    axes = [channels[f"normal.{letter}"] for letter in "XYZ"]
    square = sum(axis * axis for axis in axes)
    # Cycles writes 1e10 where a ray meets nothing. A pixel counts only where both are there.
    valid = np.isfinite(depth) & (depth > 0) & (depth < 1e9) & (square > 0.25)
    # Most of a picture is empty.
    some = np.stack([axis[valid] for axis in axes], axis=-1).astype(np.float64)
    some /= np.linalg.norm(some, axis=-1, keepdims=True)
    normal = np.zeros((*depth.shape, 3), dtype=np.float32)
    normal[valid] = some if normal_space == "world" else some @ camera.camera_to_world[:3, :3]
    passes: dict[str, Array] = {
        "mask": valid.astype(np.uint8),
        "depth": np.where(valid, depth, 0.0).astype(np.float32),
        "normal": normal,
    }
    wanted = set(wanted)
    if "distance" in wanted:
        stretch = np.linalg.norm(camera.rays(), axis=-1)
        passes["distance"] = (passes["depth"] * stretch).astype(np.float32)
    for name, letters in (("albedo", "RGB"), ("roughness_metallic", "RG"), ("position", "XYZ")):
        if name in wanted:
            data = _layer(channels, name, letters)
            passes[name] = np.where(valid[..., None], data, 0.0).astype(np.float32)
    if "object_index" in wanted:
        ids = np.rint(channels["object_index.V"])
        passes["object_index"] = np.where(valid, ids, 0).astype(np.uint16)
    return passes
