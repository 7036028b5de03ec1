"""A user's stage: a 3D file of which one surface is what objects stand on, and the rest is around.

Of several surfaces each makes a stage of its own, and each scene is on one of them.
``stage.json`` beside a set's scenes says what was found in the file; ``stage/ASSET`` is the file as
:func:`..batch.run.render` left it, with ``mesh.ply``, the triangles that free space, cameras and
proofs go by, and ``mesh.glb``, what is rendered.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import InvalidGeometry, InvalidJob
from ..shape import Mesh as Triangles
from .clearing import ABOVE, clearings, front_of
from .nouns import NOUNS, Noun
from .objects.library import GLB, PLY, stamp_of, surface_of
from .record import STAGED, SURROUNDINGS, Support

__all__ = [
    "BACKDROP", "FOLDER", "PARTS", "STAGE_FILE", "SURFACE", "UserStage",
    "digest_of", "found_in", "mistaken_for", "parts_of", "stages_in", "support_of", "to_json",
]  # fmt: skip

Floats = npt.NDArray[np.float64]

STAGE_FILE: Final = "stage.json"
FOLDER: Final = "stage"
SURFACE: Final = "surface"
BACKDROP: Final = ("floor", "walls")
"""Beyond the stage, wherever it is open."""
PARTS: Final = (SURFACE, SURROUNDINGS, *BACKDROP)
SMALLEST: Final = (0.3, 0.25)
"""Metres of the free rectangle's longer and shorter edge, at least."""
MOST_FACES: Final = 400_000
_SEEN: Final = 0.3
"""Share of looks at it that have to be free from its best side."""
_VERSION: Final = 2


@dataclass(frozen=True)
class UserStage:
    """A stage that can be used.

    Attributes:
        asset: Its folder's name.
        sha256: Of ``mesh.ply``.
        file_sha256: Of the user's file.
        source: Its name.
        license: As its metadata state it.
        surface: The object that things stand on, by name, and :attr:`part`, its number.
        found_by: ``name``, ``property`` (``objaverse_surface``) or ``largest``.
        around: Names of all other objects.
        pose: (4, 4) scene from stage.
        size_m: Of the free rectangle, along the scene's X and Y.
        floor_m: Lowest Z of the stage, scene axes.
        reach_m: The farthest that it reaches from the middle, along X or Y.
    """

    asset: str
    sha256: str
    file_sha256: str
    source: str
    license: str
    surface: str
    part: int
    found_by: str
    around: tuple[str, ...]
    pose: tuple[tuple[float, ...], ...]
    size_m: tuple[float, float]
    floor_m: float
    reach_m: float

    def digest(self) -> str:
        """What scenes stand on goes by it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> UserStage:
        """From what :meth:`to_dict` gives.

        Raises:
            ValueError, TypeError, KeyError: It is none.
        """
        name = str(row["asset"])
        if not re.fullmatch(r"[\w-]{1,120}", name):
            raise ValueError(f"{name[:150]!r} is no name of a folder")
        wide, deep = row["size_m"]
        return cls(**{
            **row, "around": tuple(row["around"]), "size_m": (float(wide), float(deep)),
            "pose": tuple(tuple(map(float, line)) for line in row["pose"]),
        })  # fmt: skip

    def mesh(self, folder: Path) -> Triangles:
        """Its triangles, stage axes.

        Args:
            folder: Where :data:`FOLDER` is.

        Raises:
            SourceNotFound, TruncatedFile: They are not there, or others.
        """
        return surface_of(folder / FOLDER / self.asset / PLY, self.sha256)

    def corners(self, folder: Path) -> Floats:
        """(M, 3, 3) triangles, scene axes.

        Raises:
            SourceNotFound, TruncatedFile: As :meth:`mesh`.
        """
        path = folder / FOLDER / self.asset / PLY
        return _placed(path, self.sha256, self.pose, stamp_of(path))

    def picture(self, folder: Path) -> Path:
        """The file that is rendered."""
        return folder / FOLDER / self.asset / GLB


def to_json(stages: Sequence[UserStage]) -> str:
    """The text of :data:`STAGE_FILE`."""
    rows = [asdict(one) for one in stages]
    return json.dumps({"version": _VERSION, "stages": rows}, indent=1, sort_keys=True) + "\n"


def stages_in(folder: Path) -> tuple[UserStage, ...]:
    """The stages of a set, one for each surface.

    Raises:
        InvalidJob: There is none, or it cannot be understood.
    """
    path = folder / STAGE_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("version") not in (1, _VERSION):
            raise ValueError("it is of another version")
        # The first version had one surface.
        found = tuple(UserStage.of(row) for row in data.get("stages", [data]))
        if not found:
            raise ValueError("it has no surface")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidJob(
            f"{path} cannot be read as a stage: {error}.",
            hint="Run compose with the same --stage again.",
        ) from error
    return found


def digest_of(stages: Sequence[UserStage]) -> str:
    """What the scenes of a set stand on goes by it."""
    if len(stages) == 1:
        return stages[0].digest()
    return hashlib.sha256("".join(one.digest() for one in stages).encode()).hexdigest()


@functools.lru_cache(4)
def _placed(
    path: Path, sha256: str, pose: tuple[tuple[float, ...], ...], _: tuple[int, int]
) -> Floats:
    turn = np.array(pose)
    return np.asarray(surface_of(path, sha256).corners @ turn[:3, :3].T + turn[:3, 3])


def found_in(
    mesh: Triangles, parts: Mapping[int, str], name: str = "", marked: int | None = None
) -> dict[str, Any]:
    """Where in a stage things can stand.

    Args:
        mesh: Its triangles, metres, +Z up.
        parts: Number of an object to its name.
        name: The object that the user names.
        marked: Number of the one that says so itself, where none is named.

    Returns:
        Of :class:`UserStage` what is found: ``surface``, ``part``, ``found_by``, ``around``,
        ``pose``, ``size_m``, ``floor_m`` and ``reach_m``.

    Raises:
        InvalidGeometry: Nothing of it can be used; the message says why.
    """
    if len(mesh.faces) > MOST_FACES:
        raise InvalidGeometry(
            f"The stage has {len(mesh.faces):,} triangles, more than {MOST_FACES:,}.",
            hint="Simplify what is far away, or take it out.",
        )
    there = {number: parts.get(number, "") for number in np.unique(mesh.part).tolist()}
    only, found_by = marked, "largest" if marked is None else "property"
    if name:
        only, found_by = _named(there, name), "name"
    corners = mesh.corners
    small: list[tuple[float, float]] = []
    hidden = False
    for one in clearings(corners, mesh.part, only):
        if max(one.size) < SMALLEST[0] or min(one.size) < SMALLEST[1]:
            small.append(one.size)
            continue
        quarters, seen = front_of(one, corners)
        if seen < _SEEN:
            hidden = True
            continue
        pose = one.pose(quarters)
        placed = corners.reshape(-1, 3) @ pose[:3, :3].T + pose[:3, 3]
        wide, deep = one.size if quarters % 2 == 0 else one.size[::-1]
        around = sorted({text for number, text in there.items() if number != one.part})
        return {
            "surface": there[one.part], "part": one.part, "found_by": found_by,
            "around": tuple(around), "pose": tuple(map(tuple, pose.tolist())),
            "size_m": (wide, deep), "floor_m": float(np.min(placed[:, 2])),
            "reach_m": float(np.abs(placed[:, :2]).max()),
        }  # fmt: skip
    whose = f"on {there[only]}" if only is not None else "in it"
    if hidden:
        raise InvalidGeometry(
            f"The stage cannot be used: there is no free look at what is level {whose}.",
            hint="Walls or doors stand before it; take one out, or name another object with "
            "--surface.",
        )
    best = max(small, key=lambda size: size[0] * size[1], default=None)
    largest = f"{best[0]:.2g} × {best[1]:.2g}" if best else "none"
    raise InvalidGeometry(
        f"The stage cannot be used: nothing level {whose} has {SMALLEST[0]:g} × {SMALLEST[1]:g} m "
        f"with {ABOVE:g} m free above; the largest is {largest}.",
        hint="Blender's units are taken for metres. Clear a part of the surface, or name another "
        "object with --surface.",
    )


def _named(there: Mapping[int, str], name: str) -> int:
    """Number of the object that the user names."""
    named = [number for number, text in there.items() if text == name]
    if len(named) != 1:
        known = ", ".join(sorted(filter(None, there.values()))[:12])
        raise InvalidGeometry(
            f"The stage has {'no' if not named else 'several'} objects called {name!r} that "
            f"render; it has {known}.",
            hint="--surface takes an object's name, not a mesh's.",
        )
    return named[0]


def mistaken_for(stage: UserStage, names: Collection[str]) -> dict[str, str]:
    """Which things a sentence about them could confuse with what is around.

    Args:
        names: What things are called.

    Returns:
        Those of the names to the stage's object that some call so.
    """
    found: dict[str, str] = {}
    for one in stage.around:
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", one)
        plain = f" {' '.join(re.sub(r'[^a-z]+', ' ', spaced.lower()).split())} "
        for name in names:
            noun = NOUNS.get(name, Noun((name,)))
            words = {name, *noun.en, *noun.maybe}
            if any(f" {word}{end} " in plain for word in words for end in ("", "s", "es")):
                found.setdefault(name, one)
    return found


def parts_of(stage: UserStage) -> tuple[str, ...]:
    """What renders beside objects, in the order of its ids."""
    return PARTS if stage.around else tuple(part for part in PARTS if part != SURROUNDINGS)


def support_of(stage: UserStage) -> Support:
    """What objects stand on."""
    return Support(STAGED, (*stage.size_m, 0.0), "", "rectangle")
