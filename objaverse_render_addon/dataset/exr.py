"""Scanline EXR files, uncompressed and ZIP: what Blender writes for us, and what we write.

Of files that others wrote, tiled or with other compressions, it reads the headers, so that they can
be held against what is expected before anybody unpacks their pixels.

The OpenEXR package cannot do this inside an installed Blender. Its C functions are visible to the
whole process, and so are those of the OpenEXR that Blender itself is linked with; whichever was
loaded first gets the other's calls, and where the versions differ the process dies.

Format: openexr.com, "OpenEXR File Layout".
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["BrokenExr", "Part", "Unsupported", "read", "read_headers", "write"]

Array = npt.NDArray[Any]

_MAGIC: Final = 20000630
_TILED, _LONG_NAMES, _DEEP, _MULTIPART = 0x200, 0x400, 0x800, 0x1000
_TYPES: Final = (np.dtype("<u4"), np.dtype("<f2"), np.dtype("<f4"))
_LINES: Final = {0: 1, 2: 1, 3: 16}  # NONE, ZIPS, ZIP: lines per block
_ZIP: Final = 3
_LEVEL: Final = 4
_USUAL_HEAD: Final = 1 << 14
_MOST: Final = 1100
"""Times that zlib can make something smaller, at the very most."""


class Unsupported(ValueError):
    """It may be a good file, but of a kind that this module does not read."""


class BrokenExr(ValueError):
    """It is not a whole EXR file."""


@dataclass(slots=True)
class Part:
    """A part's header.

    Attributes:
        kind: ``scanlineimage``, ``tiledimage``, ``deepscanline`` or ``deeptile``.
        notes: Its attributes of type string.
        channels: Name to dtype, in the order of the file.
        layer: What :meth:`full` puts before names of channels; empty for nothing.
        sampled: Names of those that have not a sample for each pixel.
        window: Lowest x and y, highest x and y, all of them inside.
        tile: Width and height of its tiles; 0 where it has none.
    """

    kind: str = "scanlineimage"
    notes: dict[str, str] = field(default_factory=dict)
    channels: dict[str, np.dtype[Any]] = field(default_factory=dict)
    layer: str = ""
    sampled: list[str] = field(default_factory=list)
    compression: int = -1
    window: tuple[int, int, int, int] = (0, 0, 0, 0)
    tile: tuple[int, int] = (0, 0)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        left, top, right, bottom = self.window
        return bottom - top + 1, right - left + 1

    def full(self, channel: str) -> str:
        """A channel's name with its layer: ``depth.Z``, also where a part ``depth`` has a ``Z``."""
        return f"{self.layer}.{channel}" if self.layer and "." not in channel else channel

    @property
    def deep(self) -> bool:
        """Whether a pixel is a list of samples."""
        return self.kind.startswith("deep")

    @property
    def foreign(self) -> str:
        """What keeps :func:`read` from reading it; empty where nothing does."""
        if self.kind != "scanlineimage":
            return f"its type is {self.kind}"
        if self.compression not in _LINES:
            return f"its compression has the number {self.compression}"
        return "channels are subsampled" if self.sampled else ""


def read(path: Path) -> dict[str, Array]:
    """Every channel of every part by its name, (H, W), in the file's own dtype.

    Raises:
        BrokenExr: The file is not whole, or not what its head says.
        Unsupported: It is fine as far as can be seen, but of a kind that is not read here.
        OSError: It cannot be read at all.
    """
    data = path.read_bytes()
    parts, position, multipart = _headers(data)
    for part in parts:
        if part.foreign:
            raise Unsupported(part.foreign)
    tables = []
    for part in parts:
        count = -(-part.size[0] // _LINES[part.compression])
        tables.append(_take(data, position, "<u8", count))
        position += 8 * count
    found: dict[str, Array] = {}
    # In a file of several parts a block says first which it belongs to.
    before = 4 if multipart else 0
    for part, table in zip(parts, tables, strict=True):
        found.update(_pixels(data, part, table, before))
    return found


def read_headers(path: Path) -> list[Part]:
    """The parts' headers alone, of any kind of file.

    Raises:
        BrokenExr: The file is not whole, or not what its head says.
        Unsupported: It is fine as far as can be seen, but of a kind that is not read here.
        OSError: It cannot be read at all.
    """
    with path.open("rb") as file:
        data = file.read(_USUAL_HEAD)
        try:
            return _headers(data)[0]
        except BrokenExr:
            return _headers(data + file.read())[0]


def _take(data: bytes, position: int, dtype: str, count: int) -> Array:
    try:
        return np.frombuffer(data, dtype, count, position)
    except (ValueError, OverflowError) as error:
        raise BrokenExr("it breaks off") from error


def _headers(data: bytes) -> tuple[list[Part], int, bool]:
    """The headers, where they end, and whether chunks say which part they belong to."""
    try:
        magic, version = struct.unpack_from("<II", data)
        if magic != _MAGIC:
            raise BrokenExr("it does not begin as one")
        if version & 0xFF != 2:
            raise Unsupported(f"version {version & 0xFF} of the format")
        multipart = bool(version & _MULTIPART)
        position = 8
        parts = []
        while not multipart or data[position] != 0:
            part, position = _header(data, position)
            parts.append(part)
            if not multipart:
                part.kind = _only_kind(version, part)
                break
        _name_layers(parts)
        return parts, position + multipart, multipart
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise BrokenExr("its header breaks off") from error


def _header(data: bytes, position: int) -> tuple[Part, int]:
    part = Part()
    while data[position] != 0:
        name, position = _text(data, position)
        kind, position = _text(data, position)
        (size,) = struct.unpack_from("<I", data, position)
        position += 4
        value = data[position : position + size]
        position += size
        if name == "channels":
            part.channels, part.sampled = _channels(value)
        elif name == "compression":
            part.compression = value[0]
        elif name == "dataWindow":
            part.window = struct.unpack("<4i", value)
        elif name == "tiles":
            part.tile = struct.unpack_from("<II", value)
        elif name == "type":
            part.kind = value.decode("utf-8")
        elif kind == "string":
            part.notes[name] = value.decode("utf-8", errors="replace")
    if part.compression < 0 or min(part.size) < 1:
        raise BrokenExr("its header lacks compression or size")
    return part, position + 1


def _only_kind(version: int, part: Part) -> str:
    """A file of one part says what it is in its version; its attribute may be missing or wrong."""
    if version & _DEEP:
        return part.kind if part.deep else "deepscanline"
    return "tiledimage" if version & _TILED else "scanlineimage"


def _name_layers(parts: list[Part]) -> None:
    """Several parts may use the same names, and then mean their own by them."""
    seen: set[str] = set()
    for part in parts:
        part.layer = part.notes.get("name", "") if len(parts) > 1 else ""
        names = {part.full(name) for name in part.channels}
        if twice := seen & names:
            raise BrokenExr(f"two parts have a channel {min(twice)}")
        seen |= names


def _text(data: bytes, position: int) -> tuple[str, int]:
    end = data.find(b"\0", position)
    if end < 0:
        raise BrokenExr("its header breaks off")
    return data[position:end].decode("utf-8"), end + 1


def _channels(value: bytes) -> tuple[dict[str, np.dtype[Any]], list[str]]:
    channels: dict[str, np.dtype[Any]] = {}
    sampled = []
    position = 0
    while value[position] != 0:
        name, position = _text(value, position)
        kind, _, _, across, down = struct.unpack_from("<iB3sii", value, position)
        if kind not in (0, 1, 2):
            raise BrokenExr("a channel has a type that the format does not know")
        if (across, down) != (1, 1):
            sampled.append(name)
        channels[name] = _TYPES[kind]
        position += 16
    return channels, sampled


def _pixels(data: bytes, part: Part, table: Array, before: int) -> dict[str, Array]:
    height, width = part.size
    line = width * sum(dtype.itemsize for dtype in part.channels.values())
    if height * line > len(data) * (_MOST if part.compression else 1):
        raise BrokenExr("it is too short for its size")
    lines = _plain_lines(data, part, table, line, before)
    if lines is None:
        lines = _blocks(data, part, table, line, before)
    found = {}
    start = 0
    for name, dtype in part.channels.items():
        end = start + width * dtype.itemsize
        found[part.full(name)] = lines[:, start:end].copy().view(dtype)
        start = end
    return found


def _plain_lines(
    data: bytes, part: Part, table: Array, line: int, before: int
) -> Array | None:
    """(H, line) bytes without a copy, where uncompressed lines follow each other evenly."""
    if part.compression != 0:
        return None
    height, top = part.size[0], part.window[1]
    first, last = int(table[0]), int(table[-1])
    stride = (last - first) // (height - 1) if height > 1 else before + 8 + line
    if stride < before + 8 + line or last + before + 8 + line > len(data):
        return None
    if (table != first + stride * np.arange(height, dtype=np.uint64)).any():
        return None
    heads = np.ndarray((height, 2), "<i4", data, first + before, (stride, 4))
    if (heads != np.stack([top + np.arange(height), np.full(height, line)], axis=1)).any():
        return None
    return np.ndarray((height, line), "u1", data, first + before + 8, (stride, 1))


def _blocks(data: bytes, part: Part, table: Array, line: int, before: int) -> Array:
    """(H, line) bytes of blocks in any order, each of which may be compressed."""
    height = part.size[0]
    lines = np.zeros((height, line), dtype=np.uint8)
    step = _LINES[part.compression]
    for offset in table.tolist():
        offset += before
        head = _take(data, offset, "<i4", 2)
        row, size = int(head[0]) - part.window[1], int(head[1])
        if not 0 <= row < height or size < 0:
            raise BrokenExr("a block lies outside the picture")
        count = min(step, height - row)
        block = _take(data, offset + 8, "u1", size)
        if size != count * line:
            if part.compression == 0:
                raise BrokenExr("a block has another size than its lines")
            block = _unzip(block, count * line)
        lines[row : row + count] = block.reshape(count, line)
    return lines


def _unzip(block: Array, size: int) -> Array:
    try:
        # One byte more than there should be: a block can say that it is gigabytes.
        stream = zlib.decompressobj()
        packed = np.frombuffer(stream.decompress(block.tobytes(), size + 1), np.uint8)
    except zlib.error as error:
        raise BrokenExr(f"a block cannot be unpacked: {error}") from error
    if len(packed) != size or not stream.eof:
        raise BrokenExr("a block has another size than its lines")
    # Each byte is the difference to the one before, plus 128; sums wrap around, as bytes do.
    steps = packed.copy()
    steps[1:] -= 128
    split = np.cumsum(steps, dtype=np.uint8)
    half = (size + 1) // 2
    block = np.empty(size, np.uint8)
    block[::2], block[1::2] = split[:half], split[half:]
    return block


def _zip(block: Array) -> bytes:
    split = np.concatenate([block[::2], block[1::2]])
    steps = split.copy()
    steps[1:] -= split[:-1]
    steps[1:] += 128
    packed = zlib.compress(steps.tobytes(), _LEVEL)
    # What does not get smaller is kept as it is; readers tell by the size.
    return packed if len(packed) < len(block) else block.tobytes()


def write(path: Path, channels: dict[str, Array], notes: dict[str, str]) -> None:
    """Write (H, W) channels of float32, float16 or uint32 with lossless compression.

    Args:
        notes: Further attributes of the header.
    """
    planes = {name: _plane(channels[name]) for name in sorted(channels)}
    height, width = next(iter(planes.values())).shape
    if any(plane.shape != (height, width) for plane in planes.values()):
        raise ValueError("all channels have to have the same size")
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    listed = b"".join(
        name.encode() + b"\0" + struct.pack("<iB3xii", _TYPES.index(plane.dtype), 0, 1, 1)
        for name, plane in planes.items()
    )
    attributes = [
        ("channels", "chlist", listed + b"\0"),
        ("compression", "compression", bytes([_ZIP])),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1.0)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0.0, 0.0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1.0)),
        *((name, "string", text.encode()) for name, text in notes.items()),
    ]
    names = [*planes, *(name for name, _, _ in attributes)]
    long_names = _LONG_NAMES if max(map(len, names)) > 31 else 0
    head = struct.pack("<II", _MAGIC, 2 | long_names)
    for name, kind, value in attributes:
        head += name.encode() + b"\0" + kind.encode() + b"\0"
        head += struct.pack("<I", len(value)) + value
    head += b"\0"
    lines = np.concatenate([plane.view(np.uint8) for plane in planes.values()], axis=1)
    step = _LINES[_ZIP]
    blocks = []
    for row in range(0, height, step):
        packed = _zip(lines[row : row + step].reshape(-1))
        blocks.append(struct.pack("<ii", row, len(packed)) + packed)
    sizes = np.array([0, *(len(block) for block in blocks[:-1])], dtype="<u8")
    offsets = np.cumsum(sizes, dtype="<u8") + np.uint64(len(head) + 8 * len(blocks))
    path.write_bytes(b"".join([head, offsets.astype("<u8").tobytes(), *blocks]))


def _plane(data: Array) -> Array:
    for dtype in _TYPES:
        if data.dtype == dtype:
            return np.ascontiguousarray(data, dtype)
    raise ValueError(f"EXR has no {data.dtype}")
