"""What can be changed on the stage of an open scene, as plain data.

Each edit says what is so afterwards, not what becomes different, so that one which comes later
takes the place of an earlier one of the same :attr:`target`: a scene that has to be opened again is
brought to its state by few of them.

Lengths are scene units, matrices are (4, 4), row-major, from local to world coordinates, colours
are linear Rec. 709.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

from .errors import InvalidEdit
from .job.choices import Normalization

__all__ = [
    "AddAsset", "AddLight", "AddMesh", "Edit", "LightKind", "Place", "Remove", "SetLight",
    "SetMaterial", "SetTime", "SetWorld", "Show", "Value", "decode_edit", "encode_edit", "located",
]  # fmt: skip

LightKind: TypeAlias = Literal["POINT", "SUN", "SPOT", "AREA"]
Matrix: TypeAlias = Sequence[Sequence[float]]
Color: TypeAlias = Sequence[float]
Value: TypeAlias = float | Sequence[float] | str

_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 4096
_MOST_VERTICES: Final = 1_000_000
_HUGE: Final = 1e15
_NUMBERS: Final = {int, float}
_NESTED: Final = {list, tuple, dict}


_names: dict[type[Any], tuple[str, ...]] = {}


def _fields(kind: type[Any]) -> tuple[str, ...]:
    """Names of an edit's fields; asked for a thousand times a second."""
    if kind not in _names:
        _names[kind] = tuple(item.name for item in dataclasses.fields(kind))
    return _names[kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    edit: ClassVar[str]

    @property
    def target(self) -> tuple[str, ...]:
        """What it is about: a later edit of the same takes its place."""
        return self.edit, getattr(self, "name", "")

    def __post_init__(self) -> None:
        for field_name in _fields(type(self)):
            value = getattr(self, field_name)
            if field_name == "name":
                _check(isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME,
                       self.edit, "name", value)  # fmt: skip
            elif field_name == "matrix" and value is not None:
                _check_matrix(self.edit, value)
            elif field_name == "color" and value is not None:
                _check_numbers(self.edit, field_name, value, 3)
            elif field_name in ("energy", "size", "strength", "angle") and value is not None:
                _check_numbers(self.edit, field_name, [value], 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(_Edit):
    """Stand an asset, an object or a light at a place.

    Attributes:
        matrix: Of an asset that was normalised, from its normalised coordinates; of any other from
            those of its file.
    """

    edit: ClassVar[str] = "place"
    name: str
    matrix: Matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Show(_Edit):
    """Let an asset, an object or a light render, or not."""

    edit: ClassVar[str] = "show"
    name: str
    visible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAsset(_Edit):
    """Put a file on the stage.

    Attributes:
        name: What it is called from now on.
        path: On the worker's machine.
        folders: That it may read from beside its own.
    """

    edit: ClassVar[str] = "add-asset"
    name: str
    path: str
    normalize: Normalization = "none"
    matrix: Matrix | None = None
    folders: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _Edit.__post_init__(self)
        _check(isinstance(self.path, str) and bool(self.path), self.edit, "path", self.path)
        _check(self.normalize in get_args(Normalization), self.edit, "normalize", self.normalize)
        _check(
            isinstance(self.folders, list) and all(isinstance(one, str) for one in self.folders),
            self.edit, "folders", self.folders,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMesh(_Edit):
    """Put a mesh on the stage.

    Attributes:
        vertices: (N, 3).
        faces: Numbers of each face's vertices, counter-clockwise seen from outside.
    """

    edit: ClassVar[str] = "add-mesh"
    name: str
    vertices: Sequence[Sequence[float]]
    faces: Sequence[Sequence[int]]
    color: Color = (0.8, 0.8, 0.8)
    matrix: Matrix | None = None

    def __post_init__(self) -> None:
        _Edit.__post_init__(self)
        count = len(self.vertices) if isinstance(self.vertices, list | tuple) else 0
        _check(3 <= count <= _MOST_VERTICES, self.edit, "vertices", f"{count} of them")
        for vertex in self.vertices:
            _check_numbers(self.edit, "vertices", vertex, 3)
        several = isinstance(self.faces, list | tuple) and 0 < len(self.faces) <= 2 * _MOST_VERTICES
        _check(several, self.edit, "faces", type(self.faces).__name__)
        for face in self.faces:
            _check(
                isinstance(face, list | tuple) and len(face) >= 3
                and all(type(at) is int and 0 <= at < count for at in face),
                self.edit, "faces", face,
            )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove(_Edit):
    """Take off an asset or a light that was added, or the asset that the scene was opened with.

    Attributes:
        missing_ok: Whether it may be gone already.
    """

    edit: ClassVar[str] = "remove"
    name: str
    missing_ok: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AddLight(_Edit):
    """Put a light on the stage; it shines along its -Z.

    Attributes:
        energy: Watts; watts per square metre of a sun.
        size: Radius of a point or spot, edge of an area.
        angle: Full cone of a spot or apparent size of a sun, in degrees.
    """

    edit: ClassVar[str] = "add-light"
    name: str
    kind: LightKind = "POINT"
    energy: float = 100.0
    color: Color = (1.0, 1.0, 1.0)
    size: float = 0.1
    angle: float | None = None
    matrix: Matrix | None = None

    def __post_init__(self) -> None:
        _Edit.__post_init__(self)
        _check(self.kind in get_args(LightKind), self.edit, "kind", self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLight(_Edit):
    """Change a light; what is ``None`` stays."""

    edit: ClassVar[str] = "set-light"
    name: str
    energy: float | None = None
    color: Color | None = None
    size: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMaterial(_Edit):
    """Give inputs of a material's Principled BSDF values, instead of what fed them.

    An image lies on the surface by its active UVs; meshes without any get them, each face from the
    side that it looks at most, a scene unit of its object for the image's edge. Images of colours
    are read as sRGB, others as the numbers in them; one of ``normal`` is a tangent-space normal
    map.

    Attributes:
        name: Of a material, or of an asset or object, whose materials are all meant.
        values: By input's name as Blender shows it (``Base Color``, ``Roughness``) or in lower case
            with underscores; a number, or three of a colour, or the path of an image on the
            worker's machine.
        repeat: How often images lie beside each other where one would.
    """

    edit: ClassVar[str] = "set-material"
    name: str
    values: dict[str, Value]
    repeat: float = 1.0

    @property
    def target(self) -> tuple[str, ...]:
        """See :class:`Edit`; other inputs are others."""
        return self.edit, self.name, *sorted(self.values)

    def __post_init__(self) -> None:
        _Edit.__post_init__(self)
        fine = isinstance(self.values, dict) and bool(self.values)
        _check(fine, self.edit, "values", self.values)
        for key, value in self.values.items():
            _check(isinstance(key, str), self.edit, "values", key)
            if isinstance(value, str):
                _check(0 < len(value) <= _LONGEST_PATH, self.edit, key, value)
            elif isinstance(value, list | tuple):
                _check_numbers(self.edit, key, value, len(value))
                _check(len(value) in (3, 4), self.edit, key, value)
            else:
                _check_numbers(self.edit, key, [value], 1)
        _check_numbers(self.edit, "repeat", [self.repeat], 1)
        _check(self.repeat > 0, self.edit, "repeat", self.repeat)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWorld(_Edit):
    """Light the stage evenly from everywhere, instead of what its world was.

    Attributes:
        strength: Factor on the colour.
        hdri: Equirectangular image instead of the colour, on the worker's machine.
    """

    edit: ClassVar[str] = "set-world"
    color: Color = (1.0, 1.0, 1.0)
    strength: float = 1.0
    hdri: str | None = None

    def __post_init__(self) -> None:
        _Edit.__post_init__(self)
        _check(self.hdri is None or isinstance(self.hdri, str), self.edit, "hdri", self.hdri)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTime(_Edit):
    """Stop time at an animation frame."""

    edit: ClassVar[str] = "set-time"
    frame: int

    def __post_init__(self) -> None:
        fine = type(self.frame) is int and abs(self.frame) <= 1_048_574
        _check(fine, self.edit, "frame", self.frame)


Edit: TypeAlias = (
    Place | Show | AddAsset | AddMesh | Remove | AddLight | SetLight | SetMaterial | SetWorld
    | SetTime
)  # fmt: skip

_KINDS: Final[dict[str, type[Any]]] = {cls.edit: cls for cls in get_args(Edit)}


def encode_edit(edit: Edit) -> dict[str, Any]:
    """As it goes into a message."""
    fields = {name: _copied(getattr(edit, name)) for name in _fields(type(edit))}
    return {"edit": edit.edit, **fields}


def _copied(value: Any) -> Any:
    """The same, whatever its owner does with it later."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if not isinstance(value, list | tuple):
        return value
    return [_copied(one) for one in value] if value and type(value[0]) in _NESTED else [*value]


def decode_edit(data: dict[str, Any]) -> Edit:
    """What somebody sent.

    Raises:
        InvalidEdit: There is no such edit, or it has no such values.
    """
    values = dict(data)
    kind = values.pop("edit", None)
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise InvalidEdit(f"There is no edit {kind!r}.", hint=f"There are {', '.join(_KINDS)}.")
    try:
        made: Edit = cls(**values)
    except (TypeError, ValueError) as error:
        raise InvalidEdit(f"The edit {kind} cannot be understood: {error}.") from error
    return made


def located(edit: Edit, where: Callable[[str], str]) -> Edit:
    """An edit whose files are called otherwise: by what ``where`` gives for each path."""
    if isinstance(edit, AddAsset):
        folders = [where(folder) for folder in edit.folders]
        return dataclasses.replace(edit, path=where(edit.path), folders=folders)
    if isinstance(edit, SetWorld) and edit.hdri is not None:
        return dataclasses.replace(edit, hdri=where(edit.hdri))
    if isinstance(edit, SetMaterial):
        values = {
            key: where(value) if isinstance(value, str) else value
            for key, value in edit.values.items()
        }
        return dataclasses.replace(edit, values=values)
    return edit


def _check(fine: bool, edit: str, name: str, value: object) -> None:
    if not fine:
        raise InvalidEdit(f"The edit {edit} cannot have {name} {str(value)[:200]!r}.")


def _check_numbers(edit: str, name: str, values: Iterable[Any], count: int) -> None:
    fine = isinstance(values, list | tuple) and len(values) == count and _are_numbers(values)
    _check(fine, edit, name, values)


def _are_numbers(values: Sequence[Any]) -> bool:
    """Whether they are, and of a size that one can compute with; many come by the second."""
    if not values or not (set(map(type, values)) <= _NUMBERS or all(map(_is_number, values))):
        return False
    return bool(min(values) > -_HUGE and max(values) < _HUGE and math.isfinite(sum(values)))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_matrix(edit: str, matrix: Matrix) -> None:
    rows = isinstance(matrix, list | tuple) and len(matrix) == 4 and all(
        isinstance(row, list | tuple) and len(row) == 4 for row in matrix
    )  # fmt: skip
    fine = rows and _are_numbers([*itertools.chain.from_iterable(matrix)])
    _check(fine and list(matrix[3]) == [0, 0, 0, 1], edit, "matrix", matrix)
    (a, b, c, _), (d, e, f, _), (g, h, i, _) = matrix[:3]
    volume = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    _check(abs(volume) > 1e-30, edit, "matrix, which flattens everything,", matrix)
