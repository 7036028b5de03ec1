"""Which samples of an epoch have been seen: what a stream goes on behind after a restart."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import InvalidJob

__all__ = ["Seen"]

_BLOCK: Final = 4096
"""Units that lie together: room is taken for what was seen, not for what an epoch may have."""
_MOST: Final = 1 << 20
"""Samples of a unit."""


class Seen:
    """Samples of one epoch, by unit and view, in any order and of any worker.

    Args:
        units: Of an epoch.
        views: Samples of each unit; 0 where they differ in that.
    """

    def __init__(self, units: int, views: int) -> None:
        self.units, self.views = units, views
        self._blocks: dict[int, npt.NDArray[np.bool_]] = {}
        """(4096, views) each; where units differ, as wide as the largest of a block."""
        self._sizes: dict[int, npt.NDArray[np.int32]] = {}
        """(4096,) each, where units differ: samples of those of which any was seen; 0 of others."""

    def __len__(self) -> int:
        """Samples that were seen."""
        return sum(int(np.count_nonzero(block)) for block in self._blocks.values())

    def add(self, unit: int, view: int, views: int = 0) -> None:
        """One more was seen.

        Args:
            views: Samples of this unit; to be said where they differ in that.

        Raises:
            InvalidJob: The epoch has none such.
        """
        number, row = divmod(unit, _BLOCK)
        size = self.views or views
        if not (0 <= unit < self.units and 0 <= view < size <= _MOST):
            raise InvalidJob(
                f"Sample {unit}.{view} is none of an epoch of {self.units} units of "
                f"{size or 'unknown'} views."
            )
        if not self.views:
            sizes = self._sizes.setdefault(number, np.zeros(_BLOCK, dtype=np.int32))
            if sizes[row] not in (0, size):
                raise InvalidJob(
                    f"Unit {unit} had {sizes[row]} samples, and has {size} now.",
                    hint="What was seen is of other assets, or of another job.",
                )
            sizes[row] = size
        self._block(number, size)[row, view] = True

    def _block(self, number: int, width: int) -> npt.NDArray[np.bool_]:
        block = self._blocks.get(number)
        there = 0 if block is None else block.shape[1]
        if block is None or there < width:
            wider = np.zeros((_BLOCK, width), dtype=np.bool_)
            if block is not None:
                wider[:, :there] = block
            self._blocks[number] = block = wider
        return block

    def has(self, unit: int, view: int) -> bool:
        """Whether this one was."""
        block = self._blocks.get(unit // _BLOCK)
        return block is not None and view < block.shape[1] and bool(block[unit % _BLOCK, view])

    def whole(self, unit: int) -> bool:
        """Whether all of a unit were."""
        number, row = divmod(unit, _BLOCK)
        block = self._blocks.get(number)
        if block is None:
            return False
        size = self.views or int(self._sizes[number][row])
        return size > 0 and bool(block[row, :size].all())

    def among(self, units: range) -> int:
        """Samples of these units that were seen."""
        found = 0
        for number, block in self._blocks.items():
            first = number * _BLOCK
            begin = max(units.start, first + (units.start - first) % units.step)
            end = max(0, units.stop - first)
            found += int(np.count_nonzero(block[begin - first : end : units.step]))
        return found

    def update(self, other: Seen) -> None:
        """What another one saw was seen here, too.

        Raises:
            InvalidJob: It is of another epoch's size.
        """
        if (other.units, other.views) != (self.units, self.views):
            raise InvalidJob(
                f"{other.units} units of {other.views or 'different'} views were streamed; these "
                f"are {self.units} of {self.views or 'different'}.",
                hint="Go on with the source and the count of before.",
            )
        for number, sizes in other._sizes.items():
            mine = self._sizes.setdefault(number, np.zeros(_BLOCK, dtype=np.int32))
            if ((mine != sizes) & (mine > 0) & (sizes > 0)).any():
                raise InvalidJob("Units had other numbers of samples each time.")
            np.maximum(mine, sizes, out=mine)
        for number, block in other._blocks.items():
            self._block(number, block.shape[1])[:, : block.shape[1]] |= block

    def copy(self) -> Seen:
        """Another of the same."""
        made = Seen(self.units, self.views)
        made.update(self)
        return made

    def to_dict(self) -> dict[str, Any]:
        """JSON; a million samples are some hundred kilobytes at most."""
        packed = {
            str(number): _packed(np.packbits(block)) for number, block in self._blocks.items()
        }
        said: dict[str, Any] = {"units": self.units, "views": self.views, "seen": packed}
        if not self.views:
            said["sizes"] = {
                str(number): _packed(sizes.astype("<i4")) for number, sizes in self._sizes.items()
            }
        return said

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Seen:
        """What :meth:`to_dict` gave.

        Raises:
            InvalidJob: It is nothing such.
        """
        try:
            made = cls(int(data["units"]), int(data["views"]))
            for name, packed in data["seen"].items():
                number = int(name)
                if not 0 <= number * _BLOCK < made.units:
                    raise ValueError("a block of it is beyond its end")
                width = made.views
                if not width:
                    sizes = _unpacked(data["sizes"][name], 4 * _BLOCK).view("<i4").astype(np.int32)
                    if np.min(sizes) < 0:
                        raise ValueError("a unit of it has fewer samples than none")
                    made._sizes[number], width = sizes, int(np.max(sizes))
                if not 0 < width <= _MOST:
                    raise ValueError("its units have no size")
                flat = np.unpackbits(_unpacked(packed, _BLOCK * width // 8))
                made._blocks[number] = flat.reshape(_BLOCK, width).astype(np.bool_)
        except (AttributeError, KeyError, TypeError, ValueError, zlib.error) as error:
            raise InvalidJob(f"This does not say what was seen of a stream: {error}.") from error
        return made


def _packed(data: npt.NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(data.tobytes())).decode()


def _unpacked(text: str, size: int) -> npt.NDArray[np.uint8]:
    """So many bytes, and no more whatever it says.

    Raises:
        ValueError: There are others.
    """
    data = zlib.decompressobj().decompress(base64.b64decode(text), size + 1)
    if len(data) != size:
        raise ValueError("a block of it is of another size")
    return np.frombuffer(data, np.uint8)
