"""Several lights for one view: what a file of lights says, what is drawn from a folder of images.

Each light gives a view a picture of its own; geometry is rendered once. With light groups all of
them shine at once, and each picture is one light's part, so that a weighted sum of the pictures
(linear, premultiplied) is the render under those weights.
"""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from .cameras import Camera, draw
from .errors import InvalidJob
from .job import RenderJob
from .job.convert import check_fields, read
from .job.settings import setting

__all__ = [
    "IMAGES", "Light", "check_groups", "hdri_images", "light_files", "lights_of",
    "more_pictures", "sky_axes",
]  # fmt: skip

LightKind = Literal["white", "hdri", "sun"]
IMAGES: Final = (".hdr", ".exr")
"""Endings of a folder's images that light is drawn from."""
_MOST: Final = 1 << 20
_WHITE: Final = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """One light, and what it is called.

    Attributes:
        name: In the metadata; no two of a view are the same.
        kind: Uniform ``white``, an ``hdri``, or a ``sun``.
        hdri: Equirectangular image.
        rotation: Degrees by which the image is turned about +Z, counter-clockwise seen from above.
        strength: Factor on the world's light; of a sun W/m² on a surface that faces it.
        azimuth: Degrees, where a sun's light comes from, as of cameras.
        elevation: Degrees above the horizon, where it comes from.
        angle: Degrees that a sun is wide.
        color: Linear Rec. 709 factor.
    """

    name: str = ""
    kind: LightKind = "white"
    hdri: str | None = None
    rotation: float = setting(0.0, "turn", low=-360, high=360)
    strength: float = setting(1.0, "strength", low=0)
    azimuth: float = setting(270.0, "azimuth", low=-360, high=360)
    elevation: float = setting(45.0, "elevation", low=-90, high=90)
    angle: float = setting(0.5, "width", low=0, high=180)
    color: tuple[float, float, float] = setting(_WHITE, "colour", form="color", low=0)

    def __post_init__(self) -> None:
        check_fields(self, "")
        if (self.kind == "hdri") != (self.hdri is not None):
            raise InvalidJob(
                f"the light {self.name!r} is {self.kind}, and has {self.hdri or 'no image'}.",
                hint='Give kind = "hdri" and hdri = "PATH" together.',
            )

    @property
    def is_world(self) -> bool:
        """Whether it comes from all around."""
        return self.kind != "sun"

    def record(self, camera: Camera) -> dict[str, Any]:
        """What the metadata say of it, under a camera."""
        own = {"white": (), "hdri": ("hdri", "rotation")}.get(
            self.kind, ("azimuth", "elevation", "angle")
        )
        said = {key: value for key, value in asdict(self).items() if key in own}
        record = {"name": self.name, "kind": self.kind, "strength": self.strength, **said}
        if self.color != _WHITE:
            record["color"] = list(self.color)
        rotation = camera.camera_to_world[:3, :3]
        if self.kind == "hdri":
            record["environment_to_camera"] = (rotation.T @ sky_axes(self.rotation)).tolist()
        elif self.kind == "sun":
            a, e = math.radians(self.azimuth), math.radians(self.elevation)
            away = np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
            record["direction_camera"] = (rotation.T @ away).tolist()
        return record


def sky_axes(rotation: float) -> npt.NDArray[np.float64]:
    """(3, 3) from an image's own axes to the world's, for its turn in degrees.

    In its own axes the middle of the image is +X, azimuth grows to the left (+Y is a quarter of the
    width left of the middle), and the upper edge is +Z.
    """
    a = math.radians(rotation)
    return np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1.0]])


def light_files(job: RenderJob) -> list[Path]:
    """The images and the file that a job's light is made of.

    Raises:
        InvalidJob: The file of lights cannot be read.
    """
    lighting = job.lighting
    found: list[Path] = []
    if lighting.lights is not None:
        found = [Path(lighting.lights)]
        found += [Path(light.hdri) for light in _from_file(lighting.lights) if light.hdri]
    if lighting.hdri is not None:
        path = Path(lighting.hdri)
        found += hdri_images(path) if path.is_dir() else [path]
    return found


def hdri_images(folder: Path) -> list[Path]:
    """The images of a folder, by name.

    Raises:
        InvalidJob: There are none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGES)
    if not found:
        raise InvalidJob(
            f"The folder {folder} has no image for light.", hint="There should be .hdr or .exr."
        )
    return found


def lights_of(job: RenderJob, asset_id: str, view: int) -> list[Light]:
    """The lights of one view, in order; none where the job has one light for all.

    Images are drawn from a folder without repeating one as long as there are others, and turned;
    both depend on the seed, the asset and the view alone.

    Raises:
        InvalidJob: The file of lights, or the folder, cannot be used.
    """
    lighting = job.lighting
    if lighting.lights is not None:
        return _from_file(lighting.lights)
    if lighting.hdri is None or not Path(lighting.hdri).is_dir():
        return []
    images = hdri_images(Path(lighting.hdri))
    count = lighting.per_view or 1
    order = np.argsort(draw(job.seed, asset_id, "hdri", view, len(images)), kind="stable")
    turns = 360.0 * draw(job.seed, asset_id, "hdri-turn", view, count)
    return [
        Light(
            name=f"{number}-{images[order[number % len(images)]].stem}",
            kind="hdri",
            hdri=str(images[order[number % len(images)]]),
            rotation=float(turns[number]),
            strength=lighting.strength,
        )
        for number in range(count)
    ]


def more_pictures(job: RenderJob) -> int:
    """How many pictures come with a view's own, each under another light or one's part of it.

    Raises:
        InvalidJob: The file of lights cannot be read.
    """
    lighting = job.lighting
    if lighting.lights is not None:
        return len(_from_file(lighting.lights)) - (not lighting.groups)
    return (lighting.per_view or 1) - 1


def _from_file(where: str) -> list[Light]:
    path = Path(where)
    try:
        if path.stat().st_size > _MOST:
            raise ValueError("it is too large")
        text = path.read_text(encoding="utf-8")
        toml = path.suffix.lower() == ".toml"
        data = tomllib.loads(text) if toml else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidJob(
            f"The file of lights {path} cannot be read: {error}.",
            hint="Give TOML or JSON with a list named lights, see docs/lights.md.",
        ) from error
    entries = data.get("lights") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InvalidJob(
            f"The file of lights {path} has no list named lights.",
            hint="Each of its tables begins with [[lights]], see docs/lights.md.",
        )
    found: list[Light] = []
    for number, entry in enumerate(entries):
        try:
            light = read(Light, {"name": f"light{number}", **entry}, "")
        except (InvalidJob, TypeError) as error:
            raise InvalidJob(
                f"{path}, light {number}: {getattr(error, 'message', error)}",
                hint=getattr(error, "hint", "") or "",
            ) from error
        if light.hdri is not None and not Path(light.hdri).is_absolute():
            light = read(Light, asdict(light) | {"hdri": str(path.parent / light.hdri)}, "")
        found.append(light)
    names = [light.name for light in found]
    if len(set(names)) < len(names):
        raise InvalidJob(f"The file of lights {path} names one of them twice.")
    return found


def check_groups(lights: list[Light]) -> None:
    """See whether all can shine at once.

    Raises:
        InvalidJob: More than one of them is the world, which there is one of.
    """
    worlds = [light.name for light in lights if light.is_world]
    if len(worlds) > 1:
        raise InvalidJob(
            f"The lights {', '.join(worlds)} come from all around, and there is one world.",
            hint="Light groups take one such light and any number of suns.",
        )
