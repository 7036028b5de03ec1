"""What is drawn anew for each sample, as data: where things stand, light, materials, cameras.

Each draws from streams of its own name, so that adding one changes nothing that others draw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ..cameras import Camera
from ..cameras.rotations import uniform_rotation
from ..errors import InvalidJob
from ..stage_edits import AddLight, Edit, LightKind, Place, Remove, SetMaterial, SetWorld
from .session import Session
from .shots import look_at
from .sources import Item, Source

__all__ = [
    "Background", "CameraShell", "Lamp", "Look", "Pose", "RandomScene", "Randomizer",
    "random_direction", "random_rotation",
]  # fmt: skip

Range: TypeAlias = tuple[float, float]
Point: TypeAlias = tuple[float, float, float]


def _within(item: Item, stream: str, low: Sequence[float], high: Sequence[float]) -> list[float]:
    drawn = item.random(stream, len(low))
    return [a + (b - a) * float(share) for a, b, share in zip(low, high, drawn, strict=True)]


def random_direction(
    item: Item, stream: str, elevation: Range = (-90.0, 90.0)
) -> npt.NDArray[np.float64]:
    """(3,) unit, uniform on the part of the sphere between two elevations, in degrees."""
    low, high = (math.sin(math.radians(angle)) for angle in elevation)
    turn, up = item.random(stream, 2)
    z = low + (high - low) * up
    flat, angle = math.sqrt(max(0.0, 1 - z * z)), 2 * math.pi * turn
    return np.array([flat * math.cos(angle), flat * math.sin(angle), z])


def random_rotation(item: Item, stream: str) -> npt.NDArray[np.float64]:
    """(3, 3), uniform among all rotations."""
    return uniform_rotation(*item.random(stream, 3))


class Randomizer:
    """Draws something of a unit: edits of its scene."""

    def edits(self, item: Item) -> Iterator[Edit]:
        """What is to be changed; what is said of it is noted with the item."""
        raise NotImplementedError


@dataclass(frozen=True)
class Pose(Randomizer):
    """An asset or object, somewhere in a box, turned.

    Attributes:
        low: Corner of the box, scene units.
        turn: ``any`` rotation, ``upright`` about +Z alone, or ``none``.
        scale: Between which factors; drawn by their logarithm.
    """

    name: str
    low: Point = (0.0, 0.0, 0.0)
    high: Point = (0.0, 0.0, 0.0)
    turn: Literal["any", "upright", "none"] = "any"
    scale: Range = (1.0, 1.0)

    def edits(self, item: Item) -> Iterator[Edit]:
        """See :class:`Randomizer`."""
        matrix = np.eye(4)
        if self.turn == "any":
            matrix[:3, :3] = random_rotation(item, f"pose {self.name} turn")
        elif self.turn == "upright":
            angle = item.uniform(f"pose {self.name} turn", 0.0, 2 * math.pi)
            c, s = math.cos(angle), math.sin(angle)
            matrix[:2, :2] = [[c, -s], [s, c]]
        elif self.turn != "none":
            raise InvalidJob(f"A pose is turned any, upright or none, not {self.turn!r}.")
        matrix[:3, :3] *= _logarithmic(item, f"pose {self.name} scale", self.scale)
        matrix[:3, 3] = _within(item, f"pose {self.name} place", self.low, self.high)
        item.note(**{f"pose {self.name}": matrix.tolist()})
        yield Place(name=self.name, matrix=matrix.tolist())


def _logarithmic(item: Item, stream: str, between: Range) -> float:
    low, high = between
    if not 0 < low <= high:
        raise InvalidJob(f"{stream}: {low} to {high} is no range of factors.")
    return float(low * (high / low) ** float(item.random(stream, 1)[0]))


@dataclass(frozen=True)
class Lamp(Randomizer):
    """A light that shines at a point, from somewhere on a sphere around it.

    Attributes:
        energy: Watts, of a sun W/m²; drawn by their logarithm.
        distance: Scene units.
        elevation: Degrees above the horizon.
        low, high: Colours between which each channel is drawn.
    """

    name: str = "lamp"
    kind: LightKind = "AREA"
    energy: Range = (100.0, 1000.0)
    distance: Range = (3.0, 6.0)
    elevation: Range = (10.0, 90.0)
    size: Range = (0.5, 2.0)
    low: Point = (1.0, 1.0, 1.0)
    high: Point = (1.0, 1.0, 1.0)
    target: Point = (0.0, 0.0, 0.0)

    def edits(self, item: Item) -> Iterator[Edit]:
        """See :class:`Randomizer`."""
        stream = f"lamp {self.name}"
        away = random_direction(item, stream, self.elevation)
        eye = np.array(self.target) + away * item.uniform(f"{stream} distance", *self.distance)
        pose = look_at(eye.tolist(), self.target, size=(4, 4)).camera_to_world
        yield Remove(name=self.name, missing_ok=True)
        yield AddLight(
            name=self.name, kind=self.kind,
            energy=_logarithmic(item, f"{stream} energy", self.energy),
            size=item.uniform(f"{stream} size", *self.size),
            color=_within(item, f"{stream} color", self.low, self.high), matrix=pose.tolist(),
        )  # fmt: skip


@dataclass(frozen=True)
class Look(Randomizer):
    """Values of a material, or of all of an asset's.

    Attributes:
        low, high: Base colours between which each channel is drawn, linear.
        values: More inputs of the Principled BSDF by name, each from one number to another.
        textures: Surfaces of which one is drawn: each the path of an image for the base colour, or
            paths by inputs, as ``{"base_color": "wood.png", "normal": "wood_n.png"}``, the same
            inputs in all. They are on the workers' machine, and stand in for what else is drawn for
            these inputs.
        repeat: How often an image lies side by side; drawn by its logarithm.
    """

    name: str
    low: Point = (0.0, 0.0, 0.0)
    high: Point = (1.0, 1.0, 1.0)
    values: Mapping[str, Range] = field(
        default_factory=lambda: {"roughness": (0.0, 1.0), "metallic": (0.0, 1.0)}
    )
    textures: Sequence[str | Path | Mapping[str, str | Path]] = ()
    repeat: Range = (1.0, 1.0)

    def __post_init__(self) -> None:
        if len({tuple(sorted(one)) for one in self._surfaces}) > 1:
            raise InvalidJob(
                f"The surfaces of {self.name} have images for other inputs each.",
                hint="Give all the same: what one leaves out would be left there from another.",
            )

    @property
    def _surfaces(self) -> list[dict[str, str]]:
        return [
            {name: str(path) for name, path in one.items()} if isinstance(one, Mapping)
            else {"base_color": str(one)}
            for one in self.textures
        ]  # fmt: skip

    @property
    def images(self) -> list[str]:
        """All that may be drawn."""
        return [path for one in self._surfaces for path in one.values()]

    def edits(self, item: Item) -> Iterator[Edit]:
        """See :class:`Randomizer`."""
        stream = f"look {self.name}"
        values: dict[str, Any] = {
            "base_color": _within(item, f"{stream} base_color", self.low, self.high)
        }
        for name, (low, high) in self.values.items():
            values[name] = item.uniform(f"{stream} {name}", low, high)
        if self.textures:
            values |= item.choice(f"{stream} texture", self._surfaces)
            shown = {key: value for key, value in values.items() if isinstance(value, str)}
            item.note(**{stream: shown})
        repeat = _logarithmic(item, f"{stream} repeat", self.repeat)
        yield SetMaterial(name=self.name, values=values, repeat=repeat)


@dataclass(frozen=True)
class Background(Randomizer):
    """The world around: an even colour, or one of several images.

    Attributes:
        images: Paths of equirectangular images, on the workers' machine; none for colours.
        strength: Factors between which the light's is drawn.
    """

    images: Sequence[str | Path] = ()
    low: Point = (0.2, 0.2, 0.2)
    high: Point = (1.0, 1.0, 1.0)
    strength: Range = (0.5, 1.5)

    def edits(self, item: Item) -> Iterator[Edit]:
        """See :class:`Randomizer`."""
        image = str(item.choice("background image", self.images)) if self.images else None
        color = [1.0, 1.0, 1.0]
        if image is None:
            color = _within(item, "background color", self.low, self.high)
        strength = item.uniform("background strength", *self.strength)
        yield SetWorld(color=color, strength=strength, hdri=image)


@dataclass(frozen=True)
class CameraShell:
    """Cameras that look at a point near the middle, uniform on a part of a shell around it.

    Attributes:
        distance: Scene units.
        elevation: Degrees above the horizon.
        fov: Full angle across the picture's shorter side, in degrees.
        off: Scene units by which the point that is looked at is off the middle, along each axis.
        roll: Degrees by which the camera is turned about its axis at most.
    """

    distance: Range = (2.5, 3.5)
    elevation: Range = (-20.0, 80.0)
    fov: Range = (40.0, 60.0)
    center: Point = (0.0, 0.0, 0.0)
    off: float = 0.0
    roll: float = 0.0

    def camera(self, item: Item, size: tuple[int, int]) -> Camera:
        """One, drawn; each call of one item draws another."""
        off = np.array([self.off] * 3)
        target = np.array(self.center) + _within(item, "camera off", (-off).tolist(), off.tolist())
        away = random_direction(item, "camera", self.elevation)
        eye = target + away * item.uniform("camera distance", *self.distance)
        angle = math.radians(item.uniform("camera roll", -self.roll, self.roll))
        fov = item.uniform("camera fov", *self.fov)
        made = look_at(eye.tolist(), target.tolist(), fov=fov, size=size)
        turned = np.eye(4)
        turned[:2, :2] = [
            [math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]
        ]  # fmt: skip
        return Camera(*size, made.intrinsics, made.camera_to_world @ turned)


class RandomScene(Source):
    """A file, or an empty stage, that randomizers change: domain randomisation without code.

    Args:
        path: See :class:`.sources.Source`.
        randomizers: What is drawn for each unit.
        cameras: Where each of its views is taken from.
        views: Of each unit.
        add: Files to add to the stage, by the names that they are called.
        settings: As :meth:`.opening.Opens.open` has them.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        randomizers: Sequence[Randomizer] = (),
        cameras: CameraShell = CameraShell(),
        views: int = 1,
        add: Mapping[str, str | Path] | None = None,
        lane: Literal["exact", "raster"] = "exact",
        **settings: Any,
    ) -> None:
        self.path, self.settings = path, settings  # type: ignore[misc]
        self.randomizers, self.cameras = tuple(randomizers), cameras
        self.views, self.lane, self.add = views, lane, dict(add or {})
        files = [*([path] if path else []), *self.add.values()]
        for one in randomizers:
            files += getattr(one, "images", ())
        self.folders = sorted({str(Path(file).absolute().parent) for file in files})

    def setup(self, session: Session) -> None:
        """See :class:`.sources.Source`."""
        for name, path in self.add.items():
            session.add(path, name, normalize="cube")

    def shots(self, session: Session, item: Item) -> list[Camera]:
        """See :class:`.sources.Source`."""
        session.change(*(edit for one in self.randomizers for edit in one.edits(item)))
        return [self.cameras.camera(item, session.resolution) for _ in range(self.views)]
