"""What a set of scenes is to be like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from ..errors import InvalidJob, OutputExists
from .objects import KINDS
from .record import LAYOUTS
from .skies import PARTS, Environment, part_of
from .words import LANGUAGES

__all__ = ["CAMERAS", "DEFAULT_LANGUAGES", "RULES_FILE", "Rules", "refuse_others"]

RULES_FILE: Final = "compose.json"
CAMERAS: Final = ("box", "ring", "file")
DEFAULT_LANGUAGES: Final = ("en",)
SUPPORT_CHOICES: Final = ("table", "tray", "shelf", "box")


@dataclass(frozen=True)
class Rules:
    """What decides a set of scenes, with the index of each.

    Attributes:
        objects: Least and most in a scene.
        layouts: Each as often as any other.
        supports: The same.
        rows, columns: Of the grid's layout.
        images: Views of a scene.
        cameras: ``box`` stands in front within ``azimuth`` degrees, ``ring`` all around, ``file``
            are drawn from ``poses``.
        poses: Cameras in the scene's axes, as :func:`.viewing.poses_of` gives them.
        environments: Images of light, one of which each scene has in place of an even sky.
        split: ``train``, ``val`` or ``test``: whose environments and others' objects
            (:func:`.skies.part_of`).
        elevation: Least and most, degrees.
        fov: Of the longer side, least and most, degrees.
        roll: Most about the line of sight, degrees.
        aspect: Of the pictures, width over height.
        kinds: Of objects, by name (:data:`.objects.KINDS`); none where all are others'.
        library: Digest of others' objects to draw from, too (:mod:`.objects.library`).
        stage: Digest of a user's stage to stand on (:mod:`.stages`), in place of supports.
        tries: Draws of a scene before it is given up.
        languages: Of the sentences, of :data:`.words.LANGUAGES`.
    """

    seed: int = 0
    objects: tuple[int, int] = (6, 10)
    layouts: tuple[str, ...] = LAYOUTS
    supports: tuple[str, ...] = SUPPORT_CHOICES
    rows: int = 4
    columns: int = 4
    images: int = 3
    cameras: str = "box"
    azimuth: float = 35.0
    elevation: tuple[float, float] = (24.0, 55.0)
    fov: tuple[float, float] = (34.0, 52.0)
    roll: float = 0.0
    aspect: float = 1.0
    kinds: tuple[str, ...] = tuple(KINDS)
    library: str = ""
    stage: str = ""
    tries: int = 40
    languages: tuple[str, ...] = DEFAULT_LANGUAGES
    poses: tuple[Mapping[str, Any], ...] = ()
    environments: tuple[Environment, ...] = ()
    split: str = ""

    def __post_init__(self) -> None:
        wrong = self._wrong()
        if wrong:
            raise InvalidJob(f"compose: {wrong}.", hint="objaverse-render compose --help")

    def _wrong(self) -> str:
        for name, some, known in (
            ("layouts", self.layouts, LAYOUTS), ("supports", self.supports, SUPPORT_CHOICES),
            ("cameras", (self.cameras,), CAMERAS), ("kinds", self.kinds, tuple(KINDS)),
            ("languages", self.languages, tuple(LANGUAGES)),
        ):  # fmt: skip
            strange = [one for one in some if one not in known]
            if strange or not (some or name == "kinds"):
                return f"{name} are of {', '.join(known)}, not {', '.join(strange) or 'none'}"
        low, high = self.objects
        if not 1 <= low <= high <= 40:
            return f"a scene has 1 to 40 objects, and not {low} to {high}"
        if not (1 <= self.rows <= 8 and 1 <= self.columns <= 8):
            return f"a grid has 1 to 8 rows and columns, not {self.rows} and {self.columns}"
        if not 1 <= self.images <= 1000:
            return f"a scene has 1 to 1000 images, and not {self.images}"
        if not 5 <= self.elevation[0] <= self.elevation[1] <= 89:
            return "elevations lie between 5 and 89 degrees, the lower first"
        if not 10 <= self.fov[0] <= self.fov[1] <= 100:
            return "fields of view lie between 10 and 100 degrees, the lower first"
        if not 0 <= self.azimuth <= 180 or not 0 <= self.roll <= 45:
            return "azimuth is 0 to 180 degrees, roll 0 to 45"
        if (self.cameras == "file") != bool(self.poses):
            return f"cameras are {self.cameras}, and there are {len(self.poses)} poses of a file"
        if self.poses and self.images > len(self.poses):
            return f"the file has {len(self.poses)} cameras, and a scene is to have {self.images}"
        if self.split not in ("", *PARTS):
            return f"split is {', '.join(PARTS)}, and not {self.split}"
        if self.environments and not self.skies:
            return (
                f"none of the {len(self.environments)} environments is of the split {self.split}; "
                "which one is of which, its content decides"
            )
        return ""

    @property
    def skies(self) -> tuple[Environment, ...]:
        """The environments that scenes are drawn from, in the order of their hashes."""
        mine = (one for one in self.environments if self.split in ("", part_of(one.sha256)))
        return tuple(sorted(mine, key=lambda one: one.sha256))

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value
                for name, value in asdict(self).items()}  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rules:
        """From what :meth:`to_dict` gives.

        Raises:
            InvalidJob: Something is unknown or cannot be.
        """
        known = {one.name for one in fields(cls)}
        strange = set(data) - known
        if strange:
            raise InvalidJob(f"compose: there is no {', '.join(sorted(strange))}.")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        try:
            skies = tuple(Environment(**one) for one in values.get("environments", ()))
        except TypeError as error:
            raise InvalidJob(f"compose: environments cannot be read: {error}.") from error
        return cls(**{**values, "environments": skies})

    @classmethod
    def read(cls, path: str | Path) -> Rules:
        """Read a file of them.

        Raises:
            InvalidJob: It is none.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidJob(f"{path} cannot be read as rules of scenes: {error}.") from error
        if not isinstance(data, dict):
            raise InvalidJob(f"{path} has no rules of scenes.")
        return cls.from_dict(data)

    def write(self, path: str | Path) -> None:
        """Write the file."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1, sort_keys=True) + "\n",
                              encoding="utf-8")  # fmt: skip


def refuse_others(folder: Path, field: str, digest: str) -> None:
    """Refuse a folder whose scenes have other objects, or another stage: before they are replaced.

    Args:
        field: Of the rules, ``library`` or ``stage``.
        digest: Of what is to be there.

    Raises:
        OutputExists: It has; nothing of it was changed.
    """
    path = folder / RULES_FILE
    if path.exists() and getattr(Rules.read(path), field) != digest:
        raise OutputExists(
            f"{path} has other rules than these; scenes of two do not mix.",
            hint="Choose another folder, or replace all with --overwrite.",
        )
