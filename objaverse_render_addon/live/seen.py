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


class Seen:
    """Samples of one epoch, by unit and view, in any order and of any worker.

    Args:
        units: Of an epoch.
        views: Samples of each unit.
    """

    def __init__(self, units: int, views: int) -> None:
        self.units, self.views = units, views
        self._blocks: dict[int, npt.NDArray[np.bool_]] = {}
        """(4096, views) each."""

    def __len__(self) -> int:
        """Samples that were seen."""
        return sum(int(np.count_nonzero(block)) for block in self._blocks.values())

    def add(self, unit: int, view: int) -> None:
        """One more was seen.

        Raises:
            InvalidJob: The epoch has none such.
        """
        if not (0 <= unit < self.units and 0 <= view < self.views):
            raise InvalidJob(
                f"Sample {unit}.{view} is none of an epoch of {self.units} units of "
                f"{self.views} views."
            )
        self._block(unit // _BLOCK)[unit % _BLOCK, view] = True

    def _block(self, number: int) -> npt.NDArray[np.bool_]:
        if number not in self._blocks:
            self._blocks[number] = np.zeros((_BLOCK, self.views), dtype=np.bool_)
        return self._blocks[number]

    def has(self, unit: int, view: int) -> bool:
        """Whether this one was."""
        block = self._blocks.get(unit // _BLOCK)
        return block is not None and bool(block[unit % _BLOCK, view])

    def whole(self, unit: int) -> bool:
        """Whether all of a unit were."""
        block = self._blocks.get(unit // _BLOCK)
        return block is not None and bool(block[unit % _BLOCK].all())

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
                f"{other.units} units of {other.views} views were streamed; these are "
                f"{self.units} of {self.views}.",
                hint="Go on with the source and the count of before.",
            )
        for number, block in other._blocks.items():
            self._block(number)[:] |= block

    def copy(self) -> Seen:
        """Another of the same."""
        made = Seen(self.units, self.views)
        made.update(self)
        return made

    def to_dict(self) -> dict[str, Any]:
        """JSON; a million samples are some hundred kilobytes at most."""
        packed = {
            str(number): base64.b64encode(zlib.compress(np.packbits(block).tobytes())).decode()
            for number, block in self._blocks.items()
        }
        return {"units": self.units, "views": self.views, "seen": packed}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Seen:
        """What :meth:`to_dict` gave.

        Raises:
            InvalidJob: It is nothing such.
        """
        try:
            made = cls(int(data["units"]), int(data["views"]))
            for number, packed in data["seen"].items():
                block = made._block(int(number))
                size = -(-block.size // 8)
                # No more is unpacked than a block has, whatever it says.
                bits = zlib.decompressobj().decompress(base64.b64decode(packed), size + 1)
                if len(bits) != size or not 0 <= int(number) * _BLOCK < made.units:
                    raise ValueError("a block of it is of another size")
                flat = np.unpackbits(np.frombuffer(bits, np.uint8))[: block.size]
                block[:] = flat.reshape(block.shape)
        except (AttributeError, KeyError, TypeError, ValueError, zlib.error) as error:
            raise InvalidJob(f"This does not say what was seen of a stream: {error}.") from error
        return made
