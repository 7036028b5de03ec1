"""Arrays that several processes have together, in memory without a name; each writes its rows.

Who may write which rows when, the messages say: a row is its worker's from the request to its
answer, and its parent's otherwise.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import OutOfMemory
from .protocol import RING, Buffer
from .ring import anonymous

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Rows", "mapped"]

_ALIGNMENT: Final = 64


class Rows:
    """The parent's end.

    Attributes:
        descriptor: To hand down.
        buffers: Where each array is; to be told.
        arrays: By name; what others write appears in them.
    """

    def __init__(self) -> None:
        self.descriptor = anonymous()
        self.buffers: list[Buffer] = []
        self.arrays: dict[str, npt.NDArray[Any]] = {}

    def fit(self, arrays: Mapping[str, tuple[str, Sequence[int]]]) -> None:
        """Make room for arrays, all zero; once.

        Args:
            arrays: Name to dtype, as numpy writes it, and shape.

        Raises:
            OutOfMemory: There is not enough.
        """
        self.buffers, place = _placed(arrays)
        size = max(place, 1)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.descriptor, 0, size)
            else:
                os.ftruncate(self.descriptor, size)
        except OSError as error:
            raise OutOfMemory(
                f"There is no memory for what environments show: {size / 2**20:,.0f} MiB.",
                hint="Take smaller pictures, or fewer environments.",
            ) from error
        self.arrays = mapped(self.descriptor, self.buffers)

    @staticmethod
    def size(arrays: Mapping[str, tuple[str, Sequence[int]]]) -> int:
        """Bytes that arrays take."""
        return _placed(arrays)[1]

    def close(self) -> None:
        """No process gets it any more; arrays stay."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


def _placed(arrays: Mapping[str, tuple[str, Sequence[int]]]) -> tuple[list[Buffer], int]:
    """Where each array lies, one behind the other, and the bytes of all."""
    buffers, place = [], 0
    for name, (dtype, shape) in arrays.items():
        buffer = Buffer(name, dtype, list(shape), RING, place)
        buffers.append(buffer)
        place += buffer.size + -buffer.size % _ALIGNMENT
    return buffers, place


def mapped(descriptor: int, buffers: Sequence[Buffer]) -> dict[str, npt.NDArray[Any]]:
    """The arrays that lie behind a descriptor."""
    import numpy as np

    memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    return {
        one.name: np.ndarray(tuple(one.shape), one.dtype, memory, one.offset) for one in buffers
    }
