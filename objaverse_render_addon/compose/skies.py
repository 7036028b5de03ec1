"""Images of light that scenes stand in: known by their content, and of one split each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..errors import InvalidJob
from ..files import file_sha256
from ..lights import IMAGES, hdri_images

__all__ = ["PARTS", "Environment", "environments_of", "image_of", "part_of", "place_beside"]

PARTS: Final = ("train", "val", "test")
_TENTHS: Final = {8: "val", 9: "test"}


@dataclass(frozen=True)
class Environment:
    """One image, equirectangular.

    Attributes:
        sha256: Of the file; what it is known by.
        name: Of the file, with its ending.
        path: Where it lies, on this machine; no part of what a set is.
    """

    sha256: str
    name: str
    path: str = field(compare=False)


def part_of(sha256: str) -> str:
    """The split of what has this content: of ten eight are of ``train``, one each of the others.

    Content decides, so that no two splits share any, whoever makes them from which folder.
    """
    return _TENTHS.get(int(sha256[:12], 16) % 10, "train")


def environments_of(places: Iterable[str | os.PathLike[str]]) -> tuple[Environment, ...]:
    """The images of folders and files; the same content counts once.

    Raises:
        InvalidJob: There is none, or one is no image of light.
    """
    paths: list[Path] = []
    for place in places:
        path = Path(place).expanduser().absolute()
        if path.is_dir():
            paths += hdri_images(path)
        elif path.suffix.lower() not in IMAGES or not path.is_file():
            raise InvalidJob(
                f"{path} is no image for light.",
                hint="Give .hdr or .exr files, or folders of them.",
            )
        else:
            paths.append(path)
    found: dict[str, Environment] = {}
    for path in paths:
        try:
            digest = file_sha256(path)
        except OSError as error:
            raise InvalidJob(f"{path} cannot be read: {error.strerror}.") from error
        found.setdefault(digest, Environment(digest, path.name, str(path)))
    return tuple(sorted(found.values(), key=lambda one: one.sha256))


def place_beside(scene: Path, sky: Mapping[str, Any]) -> Path:
    """Where a scene's image lies, beside its file."""
    return scene.parent / f"{sky['sha256']}{Path(sky['name']).suffix.lower()}"


def image_of(sky: Mapping[str, Any], environments: Iterable[Environment]) -> Path:
    """The file of a scene's image.

    Raises:
        InvalidJob: It is not there any more, or another one.
    """
    one = next(one for one in environments if one.sha256 == sky["sha256"])
    try:
        found = file_sha256(Path(one.path))
    except OSError as error:
        raise InvalidJob(
            f"{one.path} cannot be read: {error.strerror or error}.",
            hint="The set was begun with it; put it back, or begin another set.",
        ) from error
    if found != one.sha256:
        raise InvalidJob(
            f"{one.path} is not the image any more that the set was begun with.",
            hint="Put the old one back, or begin another set.",
        )
    return Path(one.path)
