"""Values that training tells whoever renders, across processes, each with a number."""

from __future__ import annotations

import ctypes
import json
import struct
import threading
import time
import zlib
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.context import get_spawning_popen
from typing import Any, Final

from ..errors import InvalidJob

__all__ = ["Steering"]

_HEAD: Final = struct.Struct("<QQII")
"""Number of the state before and after it was written, bytes, CRC-32."""
_ROOM: Final = 1 << 16
_PATIENCE: Final = 5.0


class Steering:
    """A few values, in memory that processes share which are started with it (fork and spawn).

    There is one writer, whoever made it, and any number of readers. One that is pickled for
    anything else than a process of one's own takes its present values along, and is steered no
    more from here.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, state: int = 0) -> None:
        # Without a name, and without a lock that a killed reader could hold.
        self._memory = get_context("spawn").RawArray(ctypes.c_char, _HEAD.size + _ROOM)
        self._writing = threading.Lock()
        self._write(dict(values or {}), state)

    def update(self, values: Mapping[str, Any]) -> int:
        """Change some values; those that are not named stay.

        Args:
            values: JSON: numbers, words, lists and dictionaries of them.

        Returns:
            Number of the new state.

        Raises:
            InvalidJob: A value is no such thing, or they are too many.
        """
        with self._writing:
            state, before = self.read()
            self._write({**before, **values}, state + 1)
            return state + 1

    def _write(self, values: dict[str, Any], state: int) -> None:
        try:
            data = json.dumps(values, allow_nan=False, default=_plain).encode()
        except (TypeError, ValueError) as error:
            raise InvalidJob(
                f"A source is told numbers, words, lists and dictionaries: {error}."
            ) from error
        if len(data) > _ROOM:
            raise InvalidJob(
                f"A source is told {len(data):,} bytes; {_ROOM:,} is the most.",
                hint="Write large values to a file, and tell its path.",
            )
        memory = memoryview(self._memory).cast("B")
        _HEAD.pack_into(memory, 0, state, state - 1 & (1 << 64) - 1, 0, 0)
        memory[_HEAD.size : _HEAD.size + len(data)] = data
        _HEAD.pack_into(memory, 0, state, state, len(data), zlib.crc32(data))

    def read(self) -> tuple[int, dict[str, Any]]:
        """Number of the newest state, and its values."""
        memory = memoryview(self._memory).cast("B")
        until = time.monotonic() + _PATIENCE
        while True:
            before, after, length, crc = _HEAD.unpack_from(memory)
            if before == after and length <= _ROOM:
                data = bytes(memory[_HEAD.size : _HEAD.size + length])
                # A writer may have come between; the checksum tells.
                if zlib.crc32(data) == crc:
                    return before, json.loads(data)
            if time.monotonic() > until:
                raise InvalidJob("Whoever steers this source ended while it wrote.")
            time.sleep(0.0002)

    def __deepcopy__(self, _: dict[int, Any]) -> Steering:
        return self

    def __getstate__(self) -> dict[str, Any]:
        if get_spawning_popen() is not None:
            return {"memory": self._memory}
        state, values = self.read()
        return {"state": state, "values": values}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        if "memory" in kept:
            self._memory, self._writing = kept["memory"], threading.Lock()
        else:
            self.__init__(kept["values"], kept["state"])  # type: ignore[misc]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is none of these")
