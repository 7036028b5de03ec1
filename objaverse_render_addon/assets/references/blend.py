"""Blender's own files: the libraries that Blender reads while it opens one.

Everything else that a .blend file names is read later, and is looked at when the file is open
(:mod:`...blender.reach`). Libraries have to be found before: their blocks are read here as the
format is laid out (header, blocks, and in the block ``DNA1`` the fields of each structure).
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, cast

from ...errors import MissingDependency, TruncatedFile, WrongFormat
from ..reach import base_name
from .look import Look

__all__ = ["scan"]

_MOST_DNA: Final = 64 << 20


def scan(path: Path, found: Look) -> None:
    """Ask for each library, and look into those that are the asset's own."""
    _file(path, path, found)


def _file(place: Path, real: Path, found: Look) -> None:
    if place in found.seen:
        return
    found.seen.add(place)
    try:
        libraries = _libraries(real)
        changes: list[tuple[int, bytes]] = []
        for library in libraries:
            name, base = library.name, place.parent
            if not name:
                continue
            if name.startswith("//"):
                name = name[2:]
            elif not os.path.isabs(name):  # noqa: PTH117
                # Blender takes it as relative to wherever the process stands.
                name = f"/{name}"
            name = name.replace("\\", "/")
            allowed = found.ask(name, base)
            part = found.reach.resolve(name, base)
            if allowed and part.path is not None:
                _file(Path(os.path.normpath(base / name)), part.path, found)
            elif not allowed:
                new = b"//missing/" + os.fsencode(base_name(name))[-200:]
                changes.append((library.offset, new.ljust(library.size, b"\0")[: library.size]))
                changes += [(offset, bytes(size)) for offset, size in library.caches]
        if changes:
            with _opened(real) as file:
                data = bytearray(file.read())
            for offset, text in changes:
                data[offset : offset + len(text)] = text
            found.copies[place] = bytes(data)
    except EOFError as error:
        raise TruncatedFile(f"{real}: {error}.", hint="Fetch it again.") from error
    except (struct.error, IndexError, ValueError, gzip.BadGzipFile, zlib.error) as error:
        raise WrongFormat(
            f"{real}: its blocks cannot be read: {error}.", hint="Open and save it in Blender."
        ) from error


class _Library(NamedTuple):
    """A block of a linked file.

    Attributes:
        name: Path as it is stored; ``//`` is relative to the file.
        offset: Of that path in the file without its compression.
        size: Bytes that the path may have.
        caches: Where the same path stands once more, resolved.
    """

    name: str
    offset: int
    size: int
    caches: list[tuple[int, int]]


def _opened(path: Path) -> IO[bytes]:
    """The file without its compression."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        return cast(IO[bytes], gzip.open(path))
    if magic != b"\x28\xb5\x2f\xfd":
        return path.open("rb")
    try:
        import zstandard
    except ImportError as error:
        raise MissingDependency(
            f"{path} is compressed, and what it links cannot be seen.",
            hint="Install the reader into Blender's Python: python -m pip install zstandard; or "
            "save the file without compression.",
        ) from error

    class Frames(io.RawIOBase):
        """Frame after frame, as Blender writes them so that it can seek."""

        def __init__(self) -> None:
            self._file = path.open("rb")
            self._reader: Any = zstandard.ZstdDecompressor().stream_reader(
                self._file, read_across_frames=True
            )

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            try:
                return int(self._reader.readinto(buffer))
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from error

        def close(self) -> None:
            self._file.close()
            super().close()

    return io.BufferedReader(Frames(), 1 << 20)


class _Layout(NamedTuple):
    pointer: int
    order: str
    head: struct.Struct
    # Where code, length, structure and count are in a block's head.
    fields: tuple[int, int, int, int]


def _layout(file: IO[bytes]) -> tuple[_Layout, int]:
    start = file.read(12)
    if not start.startswith(b"BLENDER"):
        raise ValueError("there is no header")
    if start[7:9].isdigit():
        # Since 5.0: the header's own length, a format, and blocks of 64 bits.
        length = int(start[7:9])
        if start[9:10] != b"-" or start[10:12] != b"01":
            raise ValueError(f"a header of the kind {start[9:12]!r}")
        file.read(length - 12)
        return _Layout(8, "<", struct.Struct("<4siQqq"), (0, 3, 1, 4)), length
    pointer = {b"-": 8, b"_": 4}.get(start[7:8])
    order = {b"v": "<", b"V": ">"}.get(start[8:9])
    if pointer is None or order is None:
        raise ValueError(f"a header of the kind {start[7:9]!r}")
    code = "Q" if pointer == 8 else "I"
    return _Layout(pointer, order, struct.Struct(f"{order}4si{code}ii"), (0, 1, 3, 4)), 12


def _libraries(path: Path) -> list[_Library]:
    """The linked files of a .blend file."""
    blocks: list[tuple[int, int, bytes]] = []
    dna = b""
    with _opened(path) as file:
        layout, at = _layout(file)
        for code, offset, structure, length in _blocks(file, layout, at):
            if code == b"LI\0\0":
                blocks.append((offset, structure, file.read(length)))
            elif code == b"DNA1" and not dna:
                # Blender, too, takes the first.
                if length > _MOST_DNA:
                    raise ValueError(f"{length} bytes of DNA")
                dna = file.read(length)
            else:
                _skip(file, length)
    if not blocks:
        return []
    structures = _structures(dna, layout)
    found = []
    for offset, structure, data in blocks:
        kind, fields = structures[structure]
        if kind != "Library":
            raise ValueError(f"a library that is a {kind}")
        # ``name`` until 4.4, ``filepath`` since; beside it, until 4.4, the same path resolved.
        wanted = [fields[name] for name in ("name", "filepath") if name in fields]
        wanted += [fields[name] for name in ("filepath_abs",) if name in fields]
        if not wanted:
            raise ValueError("a library without a path")
        start, size = wanted[0]
        raw = data[start : start + size].partition(b"\0")[0]
        caches = [(offset + begin, length) for begin, length in wanted[1:]]
        found.append(_Library(os.fsdecode(raw), offset + start, size, caches))
    return found


def _blocks(file: IO[bytes], layout: _Layout, at: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Code, offset of the content, structure and length of each block, up to the last."""
    head, fields = layout.head, layout.fields
    while len(raw := file.read(head.size)) == head.size:
        values = head.unpack(raw)
        code, length, structure = (values[fields[index]] for index in (0, 1, 2))
        if code == b"ENDB":
            return
        if length < 0:
            raise ValueError("a block of a negative length")
        at += head.size
        yield code, at, structure, length
        at += length
    raise EOFError("the last block is missing")


def _skip(file: IO[bytes], length: int) -> None:
    if file.seekable():
        file.seek(length, os.SEEK_CUR)
        return
    while length > 0:
        read = len(file.read(min(length, 1 << 20)))
        if not read:
            raise EOFError("a block breaks off")
        length -= read


def _structures(dna: bytes, layout: _Layout) -> list[tuple[str, dict[str, tuple[int, int]]]]:
    """Of each structure its name, and field to its offset and its size."""
    order = layout.order
    at = 4

    def tag(expected: bytes) -> None:
        nonlocal at
        at += -at % 4
        if dna[at : at + 4] != expected:
            raise ValueError(f"no {expected.decode()} in the DNA")
        at += 4

    def count() -> int:
        nonlocal at
        (number,) = struct.unpack_from(f"{order}i", dna, at)
        at += 4
        return int(number)

    def texts() -> list[str]:
        nonlocal at
        found = []
        for _ in range(count()):
            end = dna.index(b"\0", at)
            found.append(dna[at:end].decode("utf-8", "replace"))
            at = end + 1
        return found

    def shorts(number: int) -> tuple[int, ...]:
        nonlocal at
        values = struct.unpack_from(f"{order}{number}H", dna, at)
        at += 2 * number
        return values

    if dna[:4] != b"SDNA":
        raise ValueError("no DNA")
    tag(b"NAME")
    names = texts()
    tag(b"TYPE")
    types = texts()
    tag(b"TLEN")
    sizes = shorts(len(types))
    tag(b"STRC")
    structures = []
    for _ in range(count()):
        kind, number = shorts(2)
        fields: dict[str, tuple[int, int]] = {}
        offset = 0
        pairs = shorts(2 * number)
        for type_, name in zip(pairs[::2], pairs[1::2], strict=True):
            declared = names[name]
            size = layout.pointer if declared.startswith(("*", "(")) else sizes[type_]
            head, *dimensions = declared.split("[")
            for dimension in dimensions:
                size *= int(dimension.rstrip("]"))
            fields[head] = (offset, size)
            offset += size
        structures.append((types[kind], fields))
    return structures
