"""Messages and arrays over a pair of byte streams.

A message is a line; the arrays that follow it inline are, one after the other, a length (8 bytes,
little-endian) and so many bytes. Lines that are no message are whatever else was printed, and are
passed over.
"""

from __future__ import annotations

import contextlib
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from .protocol import RING, Buffer, Message, Unknown, decode, encode

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "LARGEST", "LENGTH", "Received", "Sender", "arrays_of", "begun", "described", "read_messages",
    "store_arrays",
]  # fmt: skip

LENGTH: Final = struct.Struct("<Q")
"""What an inline array begins with."""
LARGEST: Final = 1 << 34
"""Bytes of one inline array; a longer one is damage."""
_ALIGNMENT: Final = 64


@dataclass(frozen=True, slots=True)
class Received:
    """A message, the request that it is or answers, and the arrays that followed it.

    Attributes:
        payloads: Bytes by the buffer's name, of inline buffers.
    """

    request: int
    message: Message | Unknown
    payloads: dict[str, bytes | bytearray] = field(default_factory=dict)


class Sender:
    """Writes messages; safe to use from any thread."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(
        self,
        message: Message,
        request: int = 0,
        payloads: Sequence[bytes | memoryview] = (),
    ) -> None:
        """Write a message, and the bytes of its inline buffers in their order.

        Raises:
            OSError: Nobody listens any more.
            ValueError: The stream is closed.
        """
        line = (encode(message, request) + "\n").encode()
        with self._lock:
            self._stream.write(line)
            for payload in payloads:
                self._stream.write(LENGTH.pack(memoryview(payload).nbytes))
                self._stream.write(payload)
            self._stream.flush()


def read_messages(stream: IO[bytes], longest: int = -1) -> Iterator[Received]:
    """Everything that comes, until the stream ends or is cut off within an array.

    Args:
        longest: Bytes of a line of a peer that is not trusted: it may say no more at once, nothing
            but messages, and send no arrays.

    Raises:
        ValueError: The peer does not keep to that.
    """
    while line := stream.readline(longest):
        if longest >= 0 and not line.endswith(b"\n"):
            raise ValueError("a message is too long, or cut off")
        found = begun(line)
        if found is None:
            if longest >= 0:
                raise ValueError("that is no message")
            continue
        received, inline = found
        buffers: Sequence[Buffer] = getattr(received.message, "buffers", ())
        if longest >= 0 and buffers:
            raise ValueError("arrays are not taken")
        for name in inline:
            data = _read_payload(stream)
            if data is None:
                return
            received.payloads[name] = data
        yield received


def begun(line: bytes) -> tuple[Received, list[str]] | None:
    """What a line says, and the names of the arrays behind it; ``None`` if it is no message."""
    found = decode(line.decode(errors="replace"))
    if found is None:
        return None
    request, message = found
    buffers: Sequence[Buffer] = getattr(message, "buffers", ())
    return Received(request, message), [one.name for one in buffers if not one.file]


def _read_payload(stream: IO[bytes]) -> bytes | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    if length > LARGEST:
        return None
    data = stream.read(length)
    return data if len(data) == length else None


def described(arrays: Mapping[str, npt.NDArray[Any]]) -> list[Buffer]:
    """Buffers for arrays that follow inline, in this order; the bytes are C-contiguous ones."""
    return [
        Buffer(name, array.dtype.newbyteorder("<").str, list(array.shape))
        for name, array in arrays.items()
    ]


def store_arrays(arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> list[Buffer]:
    """Write arrays into a file, best in memory, for a reader on the same machine.

    Raises:
        OSError: There is no room.
    """
    import numpy as np

    buffers, offset = [], 0
    try:
        with path.open("wb") as file:
            for buffer, array in zip(described(arrays), arrays.values(), strict=True):
                file.write(b"\0" * (-offset % _ALIGNMENT))
                offset += -offset % _ALIGNMENT
                file.write(np.ascontiguousarray(array, dtype=buffer.dtype).data)
                buffers.append(replace(buffer, file=str(path), offset=offset))
                offset += buffer.size
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return buffers


def arrays_of(received: Received, shown: Any = None) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a message, without a copy, writable where they came in a file or the ring.

    The file is removed; its memory is given back when the last of the arrays is.

    Args:
        shown: Bytes of the ring's slot that the message names (:meth:`.ring.Ring.take`).

    Raises:
        ValueError: They are not of the size that the message says.
        OSError: The file is gone: it was read before, or the worker has ended.
    """
    import numpy as np

    arrays: dict[str, Any] = {}
    mapped: dict[str, np.memmap[Any, Any]] = {}
    whole: npt.NDArray[np.uint8] | None = None
    for buffer in getattr(received.message, "buffers", ()):
        shape = tuple(buffer.shape)
        if buffer.file == RING:
            if whole is None:
                whole = np.asarray(shown)
            data = whole[buffer.offset : buffer.offset + buffer.size]
            arrays[buffer.name] = data.view(buffer.dtype).reshape(shape)
        elif buffer.file:
            if buffer.file not in mapped:
                mapped[buffer.file] = np.memmap(buffer.file, np.uint8, "c")
            data = mapped[buffer.file][buffer.offset : buffer.offset + buffer.size]
            arrays[buffer.name] = np.ndarray(shape, buffer.dtype, data)
        else:
            flat = np.frombuffer(received.payloads[buffer.name], buffer.dtype)
            arrays[buffer.name] = flat.reshape(shape)
    for file in mapped:
        # Windows keeps it until it is unmapped; it goes with the worker's folder there.
        with contextlib.suppress(OSError):
            Path(file).unlink(missing_ok=True)
    return arrays
