"""What can be changed of an open scene, a method each."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import InvalidEdit, InvalidJob
from ..job import RenderJob
from ..job.convert import suggest
from ..job.settings import fields_of
from ..stage_edits import (
    AddAsset,
    AddLight,
    AddMesh,
    Edit,
    LightKind,
    Place,
    Remove,
    SetLight,
    SetMaterial,
    SetWorld,
    Show,
    Value,
)

if TYPE_CHECKING:
    from ..job.choices import Normalization

__all__ = ["CHANGE", "OPENING", "Changing", "values_of"]

OPENING: Final = 300.0
"""Seconds that a file may take to be opened."""
CHANGE: Final = 60.0
"""Seconds that another change may take."""


@functools.cache
def _paths() -> dict[str, str]:
    """Names of settings to their dotted paths in a job: ``samples`` is ``engine.samples``."""
    return {field.setting.name: path for path, field in fields_of(RenderJob).items()}


def values_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name or by dotted path, as a job's dotted paths.

    Raises:
        InvalidJob: There is no such setting.
    """
    paths = _paths()
    found = {}
    for name, value in settings.items():
        path = name if name in paths.values() else paths.get(name)
        if path is None:
            raise InvalidJob(f"There is no setting {name!r}.", hint=suggest(name, [*paths]))
        if isinstance(value, np.ndarray | np.generic):
            value = value.tolist()
        found[path] = list(value) if isinstance(value, tuple) else value
    return found


class Changing:
    """Has a scene that can be changed; each method makes one change, which is the next state.

    Attributes:
        state: Number of the newest state.
    """

    state: int

    def change(
        self, *edits: Edit, timeout: float = CHANGE, **settings: Any
    ) -> list[dict[str, Any]]:
        """Make several changes at once, in one state."""
        raise NotImplementedError

    def place(self, name: str, matrix: npt.ArrayLike) -> int:
        """Stand an asset, an object or a light at a place in the world."""
        self.change(Place(name=name, matrix=_rows(matrix)))
        return self.state

    def show(self, name: str, visible: bool = True) -> int:
        """Let an asset, an object or a light render, or not."""
        self.change(Show(name=name, visible=visible))
        return self.state

    def hide(self, name: str) -> int:
        """Let an asset, an object or a light not render."""
        return self.show(name, False)

    def add(
        self,
        path: str | Path,
        name: str = "",
        *,
        matrix: npt.ArrayLike | None = None,
        normalize: Normalization = "none",
        folders: Sequence[str | Path] = (),
        timeout: float = OPENING,
    ) -> dict[str, Any]:
        """Put a file on the stage.

        Args:
            path: On the workers' machine.
            name: What it is called from now on; the file's stem otherwise.
            normalize: Box or sphere that it fills before it is placed.

        Returns:
            ``objects``, their names, and ``warnings``.
        """
        edit = AddAsset(
            name=name or Path(path).stem, path=str(path), normalize=normalize,
            matrix=None if matrix is None else _rows(matrix),
            folders=[str(folder) for folder in folders],
        )  # fmt: skip
        return self.change(edit, timeout=timeout)[0]

    def add_mesh(
        self,
        name: str,
        vertices: npt.ArrayLike,
        faces: Iterable[Sequence[int]],
        *,
        color: Sequence[float] = (0.8, 0.8, 0.8),
        matrix: npt.ArrayLike | None = None,
    ) -> int:
        """Put a mesh on the stage: (N, 3) vertices, and each face's numbers of them."""
        points = np.asarray(vertices, dtype=np.float64).tolist()
        corners = [[int(at) for at in face] for face in faces]
        self.change(
            AddMesh(name=name, vertices=points, faces=corners, color=[float(one) for one in color],
                    matrix=None if matrix is None else _rows(matrix))
        )  # fmt: skip
        return self.state

    def remove(self, name: str) -> int:
        """Take an asset or an added light off the stage."""
        self.change(Remove(name=name))
        return self.state

    def add_light(
        self,
        name: str,
        kind: LightKind = "POINT",
        *,
        energy: float = 100.0,
        color: Sequence[float] = (1.0, 1.0, 1.0),
        size: float = 0.1,
        angle: float | None = None,
        matrix: npt.ArrayLike | None = None,
    ) -> int:
        """Put a light on the stage; see :class:`..stage_edits.AddLight`."""
        self.change(
            AddLight(name=name, kind=kind, energy=energy, color=list(color), size=size, angle=angle,
                     matrix=None if matrix is None else _rows(matrix))
        )  # fmt: skip
        return self.state

    def light(
        self,
        name: str,
        *,
        energy: float | None = None,
        color: Sequence[float] | None = None,
        size: float | None = None,
    ) -> int:
        """Change a light; what is not said stays."""
        self.change(
            SetLight(name=name, energy=energy, size=size,
                     color=None if color is None else list(color))
        )  # fmt: skip
        return self.state

    def material(self, name: str, *, repeat: float = 1.0, **values: Value | Path) -> int:
        """Give inputs of materials values, instead of what fed them.

        Args:
            name: Of a material, or of an asset or object, whose materials are all meant.
            values: By the Principled BSDF's inputs: ``base_color=(1, 0, 0)``, ``roughness=0.3``,
                ``metallic=1``, ``emission_strength=2`` …; or the path of an image.
            repeat: How often images lie side by side, see :class:`..stage_edits.SetMaterial`.
        """
        plain: dict[str, Value] = {
            key: str(value) if isinstance(value, str | Path)
            else [float(one) for one in value] if isinstance(value, Sequence) else float(value)
            for key, value in values.items()
        }  # fmt: skip
        self.change(SetMaterial(name=name, values=plain, repeat=repeat))
        return self.state

    def world(
        self,
        color: Sequence[float] = (1.0, 1.0, 1.0),
        strength: float = 1.0,
        *,
        hdri: str | Path | None = None,
    ) -> int:
        """Light the stage evenly from everywhere, or as an equirectangular image does."""
        self.change(
            SetWorld(color=list(color), strength=strength,
                     hdri=None if hdri is None else str(hdri))
        )  # fmt: skip
        return self.state


def _rows(matrix: npt.ArrayLike) -> list[list[float]]:
    found = np.asarray(matrix, dtype=np.float64)
    if found.shape != (4, 4):
        raise InvalidEdit(f"A matrix is (4, 4), not {found.shape}.")
    rows: list[list[float]] = found.tolist()
    return rows
