"""A piece of memory without a name that a worker writes frames into and its parent reads.

It belongs to nobody but the two: the parent makes it (``memfd_create``, or a file that is removed
at once) and hands its descriptor down. Nothing can be left behind, whoever is killed. Its pages are
reserved when it grows, so that too little memory is an error then and no signal later.

It is cut into slots of one size. Each begins with a page of its own: whether it is free, and a
number (the generation) that is written before the pixels and after them. A worker fills a free
slot and tells its parent by a message; the parent takes it only then, checks both numbers, and
gives it back when the last array that shows it is gone.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ..errors import OutOfMemory, WorkerCrashed
from .channel import described
from .memory import available_bytes
from .protocol import RING, Buffer, Slots

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["DESCRIPTOR", "Ring", "RingWriter", "anonymous", "room_for"]

DESCRIPTOR: Final = "OBJAVERSE_RENDER_RING"
"""Environment variable that tells a worker the descriptor of its ring."""

_PAGE: Final = 4096
_ALIGNMENT: Final = 64
_HEAD: Final = struct.Struct("<QQQ")
"""State, generation before and after."""
_FREE, _WRITING, _FULL = 0, 1, 2
_NAP: Final = 0.0005
_LEFT: Final = 64 << 20
"""Bytes of memory that are left to others."""


def room_for(sizes: Sequence[int]) -> int:
    """Bytes of a slot that holds arrays of these sizes."""
    total = _PAGE + sum(size + -size % _ALIGNMENT for size in sizes)
    return total + -total % _PAGE


class Ring:
    """The parent's end; safe to use from any thread.

    Raises:
        OSError: The system has no such memory.
    """

    def __init__(self) -> None:
        self.descriptor = anonymous()
        self.slots = Slots(0, 0, 0)
        self._guard = threading.Lock()
        self._size = 0
        self._map: mmap.mmap | None = None
        self._held: dict[int, int] = {}
        """Where slots begin and end that arrays show."""
        self._returned: deque[int] = deque()

    def fit(self, room: int, count: int) -> Slots:
        """See to it that there are some slots, and free those that nobody looks at.

        To be called between two requests: a worker that was killed leaves what it began.

        Args:
            room: Bytes of each (:func:`room_for`).

        Raises:
            OutOfMemory: There is not enough memory.
        """
        with self._guard:
            self._settle()
            slots = self.slots
            if not room <= slots.room <= 4 * room or slots.count < count:
                # What is still shown keeps its place; the new ones come behind it.
                start = max(self._held.values(), default=0)
                self._resize(start + room * count)
                slots = self.slots = Slots(start, room, count)
            assert self._map is not None
            for at in slots.offsets():
                if at not in self._held:
                    self._map[at : at + _HEAD.size] = bytes(_HEAD.size)
            return slots

    def _resize(self, size: int) -> None:
        if size < self._size and not self._held:
            os.ftruncate(self.descriptor, size)
        elif size > self._size:
            there = available_bytes()
            try:
                if 0 <= there < size - self._size + _LEFT:
                    raise OSError(errno.ENOMEM, f"{there / 2**20:,.0f} MiB are free")
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(self.descriptor, 0, size)
                else:
                    os.ftruncate(self.descriptor, size)
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.ftruncate(self.descriptor, self._size)
                raise OutOfMemory(
                    f"There is no memory for frames on their way: {size / 2**20:,.0f} MiB "
                    f"({error.strerror}).",
                    hint="Render fewer passes, at a lower resolution or with fewer workers.",
                ) from error
        else:
            size = self._size
        self._size = size
        # Arrays that show the old one keep it.
        self._map = mmap.mmap(self.descriptor, self._size)

    @property
    def free(self) -> int:
        """Slots that no array shows."""
        with self._guard:
            self._settle()
            return sum(at not in self._held for at in self.slots.offsets())

    def take(self, slot: int, generation: int) -> Any:
        """The bytes that a worker wrote into a slot, as something that numpy looks at.

        The slot is given back when nothing refers to it any more.

        Args:
            slot: Offset of the slot.

        Raises:
            WorkerCrashed: It is not whole.
        """
        with self._guard:
            self._settle()
            if self._map is None or slot not in self.slots.offsets() or slot in self._held:
                raise WorkerCrashed(f"The worker named a slot that is none of its: {slot}.")
            if _HEAD.unpack_from(self._map, slot) != (_FULL, generation, generation):
                raise WorkerCrashed("The worker named a slot that it did not fill.")
            end = slot + self.slots.room
            self._held[slot] = end
            return _Shown(self._map, slot, end, self._returned)

    def _settle(self) -> None:
        while self._returned:
            self._held.pop(self._returned.popleft(), None)

    def close(self) -> None:
        """No worker gets it any more; what is shown stays."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


class _Shown:
    """A slot that arrays look at; gives it back when the last of them is gone."""

    def __init__(self, memory: mmap.mmap, slot: int, end: int, returned: deque[int]) -> None:
        import numpy as np

        self._memory, self._slot, self._returned = memory, slot, returned
        whole = np.frombuffer(memory, np.uint8)[slot + _PAGE : end]
        # Numpy asks for this, and keeps this object for as long as it looks.
        self.__array_interface__ = whole.__array_interface__

    def __del__(self) -> None:
        # In whatever thread, and maybe within a call of the ring: no lock is taken.
        self._memory[self._slot : self._slot + 8] = bytes(8)
        self._returned.append(self._slot)


class RingWriter:
    """The worker's end.

    Args:
        descriptor: Handed down.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map: mmap.mmap | None = None
        self._generation = 0

    def write(
        self,
        arrays: Mapping[str, npt.NDArray[Any]],
        slots: Slots,
        canceled: Callable[[], bool],
    ) -> tuple[list[Buffer], int, int] | None:
        """Write arrays into a slot as soon as one is free.

        Returns:
            What describes them, the slot, and its generation; ``None`` where no slot is large
            enough, or where it was cancelled meanwhile.
        """
        import numpy as np

        buffers, offset = [], _PAGE
        for buffer in described(arrays):
            buffers.append(replace(buffer, file=RING, offset=offset - _PAGE))
            offset += buffer.size + -buffer.size % _ALIGNMENT
        if offset > slots.room:
            return None
        memory = self._reach()
        while (slot := self._free(memory, slots)) is None:
            if canceled():
                return None
            time.sleep(_NAP)
        self._generation += 1
        _HEAD.pack_into(memory, slot, _WRITING, self._generation, 0)
        for buffer, array in zip(buffers, arrays.values(), strict=True):
            at = slot + _PAGE + buffer.offset
            np.copyto(np.ndarray(array.shape, buffer.dtype, memory, at), array)
        _HEAD.pack_into(memory, slot, _FULL, self._generation, self._generation)
        return buffers, slot, self._generation

    def _reach(self) -> mmap.mmap:
        size = os.fstat(self._descriptor).st_size
        if self._map is None or len(self._map) != size:
            self._map = mmap.mmap(self._descriptor, size)
        return self._map

    def _free(self, memory: mmap.mmap, slots: Slots) -> int | None:
        for slot in slots.offsets():
            if _HEAD.unpack_from(memory, slot)[0] == _FREE:
                return slot
        return None


def anonymous() -> int:
    """Descriptor of a piece of memory that has no name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("objaverse-render")
    descriptor, path = tempfile.mkstemp(prefix="objaverse-render-")
    os.unlink(path)  # noqa: PTH108
    return descriptor
