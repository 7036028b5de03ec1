"""What an environment is told and shows, as data: no Gymnasium where Blender is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import InvalidJob

__all__ = ["Box", "Discrete", "Picture", "Space", "Spaces", "leaves", "spaces_from", "to_data"]

_FEW: Final = 32
"""Numbers that are faster looked at one by one than as an array."""
_PICTURES: Final = {"rgb": (3, "|u1"), "depth": (1, "<f4")}


@dataclass(frozen=True, slots=True)
class Box:
    """An array of real numbers.

    Attributes:
        low: Least values; one for all, or of the array's shape, nested.
        high: Greatest values.
        shape: Of the array; that of ``low`` and ``high`` otherwise.
        dtype: ``float32``, ``float64``, ``uint8`` …
    """

    low: Any
    high: Any
    shape: Sequence[int] | None = None
    dtype: str = "float32"
    _bounds: Any = dataclasses.field(init=False, repr=False, compare=False, default=None)
    _whole: bool = dataclasses.field(init=False, repr=False, compare=False, default=False)

    def __post_init__(self) -> None:
        dtype = np.dtype(self.dtype)
        bounds = []
        for name, one in (("low", self.low), ("high", self.high)):
            found = np.asarray(one, dtype=np.float64 if dtype.kind == "f" else None)
            if dtype.kind not in "fiu" or (dtype.kind in "iu" and found.dtype.kind not in "iu"):
                raise InvalidJob(f"A box of {self.dtype} cannot have {one!r} as {name}.")
            if np.isnan(found).any() if dtype.kind == "f" else False:
                raise InvalidJob("A box has bounds; NaN is none.")
            found = found.astype(dtype) if dtype.kind == "f" else found
            bounds.append(found if found.ndim else found[()])
        if isinstance(bounds[0], np.ndarray) or isinstance(bounds[1], np.ndarray):
            bounds = [np.asarray(one) for one in bounds]
        if (np.asarray(bounds[0]) > np.asarray(bounds[1])).any():
            raise InvalidJob(f"A box from {self.low!r} to {self.high!r} is empty.")
        low, high = (one if isinstance(one, np.ndarray) else one.item() for one in bounds)
        object.__setattr__(self, "_bounds", (low, high))
        if dtype.kind in "iu" and not isinstance(low, np.ndarray):
            # The dtype has no other values: pictures are not looked through for them.
            limits = np.iinfo(dtype)
            object.__setattr__(self, "_whole", low <= limits.min and high >= limits.max)

    def array(self) -> tuple[str, tuple[int, ...]]:
        """The dtype, with its byte order, and the shape of one."""
        shape = np.broadcast_shapes(np.shape(self.low), np.shape(self.high))
        if self.shape is not None:
            shape = np.broadcast_shapes(shape, tuple(self.shape))
        return np.dtype(self.dtype).newbyteorder("<").str, shape

    def gymnasium(self) -> Any:
        """The same for Gymnasium."""
        from gymnasium import spaces

        dtype, shape = self.array()
        low, high = (np.broadcast_to(one, shape).astype(dtype) for one in (self.low, self.high))
        return spaces.Box(low, high, shape, np.dtype(dtype).type)

    def problem(self, value: npt.NDArray[Any]) -> str:
        """What is wrong with an array for it, or several; empty where nothing is."""
        kind = np.dtype(self.dtype).kind
        low, high = self._bounds
        if kind in "iu" and value.dtype.kind not in "iub":
            return f"it is {value.dtype}, and has to be {self.dtype}"
        if kind == "f":
            # What is beyond by the last digit of the caller's is not.
            value = value.astype(self.dtype, copy=False)
        if not value.size:
            return ""
        if kind in "iu" and value.dtype == self.dtype and self._whole:
            return ""
        if isinstance(low, np.ndarray):
            # NaN is neither.
            if (value >= low).all() and (value <= high).all():
                return ""
            return f"{value.tolist()} is not within {low.tolist()} and {high.tolist()}"
        if value.size <= _FEW and all(low <= one <= high for one in value.ravel().tolist()):
            return ""
        least, greatest = value.min(), value.max()
        if least >= low and greatest <= high:
            return ""
        if np.isnan(least):
            return "it has NaN in it"
        return f"its values are {least} to {greatest}, and may be {low} to {high}"


@dataclass(frozen=True, slots=True)
class Discrete:
    """One of ``n`` whole numbers, from 0."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InvalidJob(f"There are no {self.n} numbers to choose from.")

    def array(self) -> tuple[str, tuple[int, ...]]:
        """As of a :class:`Box`."""
        return "<i8", ()

    def gymnasium(self) -> Any:
        """The same for Gymnasium."""
        from gymnasium import spaces

        return spaces.Discrete(self.n)

    def problem(self, value: npt.NDArray[Any]) -> str:
        """As of a :class:`Box`."""
        if value.dtype.kind not in "iu":
            return f"it is {value.dtype}, and has to be a whole number"
        if value.size <= _FEW:
            within = all(0 <= one < self.n for one in value.ravel().tolist())
        else:
            within = value.min() >= 0 and value.max() < self.n
        if not within:
            return f"{value} is none of 0 to {self.n - 1}"
        return ""


@dataclass(frozen=True, slots=True)
class Picture:
    """What the environment's camera sees; drawn after each step, the scene does not give it.

    Attributes:
        kind: ``rgb``, (height, width, 3) uint8 sRGB; or ``depth``, (height, width, 1) float32
            scene units along the viewing axis, 0 where there is nothing.
        far: Of depth: the greatest there may be.
    """

    width: int = 84
    height: int = 84
    kind: str = "rgb"
    far: float = math.inf

    def __post_init__(self) -> None:
        if self.kind not in _PICTURES:
            raise InvalidJob(f"There is no picture {self.kind!r}.", hint="rgb or depth.")

    def array(self) -> tuple[str, tuple[int, ...]]:
        """As of a :class:`Box`."""
        channels, dtype = _PICTURES[self.kind]
        return dtype, (self.height, self.width, channels)

    def gymnasium(self) -> Any:
        """The same for Gymnasium."""
        from gymnasium import spaces

        dtype, shape = self.array()
        high = 255 if self.kind == "rgb" else self.far
        return spaces.Box(0, high, shape, np.dtype(dtype).type)

    def problem(self, value: npt.NDArray[Any]) -> str:
        """As of a :class:`Box`."""
        return "" if value.max(initial=0) <= self.far else f"depth is beyond {self.far}"


Space: TypeAlias = Box | Discrete | Picture
Spaces: TypeAlias = Space | Mapping[str, Space]
"""One, or several by name."""

_KINDS: Final[dict[str, type[Any]]] = {"box": Box, "discrete": Discrete, "picture": Picture}


def leaves(spaces: Spaces) -> dict[str, Space]:
    """Name to space; one alone is called by the empty name."""
    return dict(spaces) if isinstance(spaces, Mapping) else {"": spaces}


def to_gymnasium(spaces: Spaces) -> Any:
    """As Gymnasium has them; several are its ``Dict``."""
    if not isinstance(spaces, Mapping):
        return spaces.gymnasium()
    from gymnasium.spaces import Dict

    return Dict({name: one.gymnasium() for name, one in spaces.items()})


def to_data(spaces: Spaces) -> dict[str, Any]:
    """Ready for JSON."""
    names = {cls: kind for kind, cls in _KINDS.items()}
    found: dict[str, Any] = {}
    for name, one in leaves(spaces).items():
        if type(one) not in names:
            raise InvalidJob(
                f"{one!r} is no space.", hint="Box, Discrete, Picture, or a dictionary of those."
            )
        values = {
            item.name: getattr(one, item.name) for item in dataclasses.fields(one) if item.init
        }
        for key in ("low", "high", "shape"):
            if values.get(key) is not None:
                values[key] = np.asarray(values[key]).tolist()
        found[name] = {"space": names[type(one)], **values}
    return found


def spaces_from(data: Mapping[str, Any]) -> Spaces:
    """The other way round."""
    found = {}
    for name, one in data.items():
        values = dict(one)
        found[name] = _KINDS[values.pop("space")](**values)
    return found[""] if list(found) == [""] else found
