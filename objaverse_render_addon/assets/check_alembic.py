"""Whether an Alembic archive holds together: Blender's reader dies of one that does not.

The container is Ogawa: groups of places of further groups and of data, each data behind its size.
What the groups mean (objects, properties, samples and how those are described) is as Alembic's own
AbcCoreOgawa reads it: https://github.com/alembic/alembic.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import WrongFormat

__all__ = ["check_alembic"]

_IS_DATA: Final = 1 << 63
_HASH: Final = 16
"""Bytes before a sample's own."""
_HASHES: Final = 32
"""Bytes after a table of objects."""
_SIZES: Final = (1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8)
"""Bytes of a number of each kind; the two kinds of text come after these."""
_TEXT, _WIDE, _INT, _FLOAT = 12, 13, 6, 10
_DEEPEST: Final = 300
_MESHES: Final = ("AbcGeom_PolyMesh_v1", "AbcGeom_SubD_v1")
_NEEDED: Final = {"P": (_FLOAT, 3), ".faceIndices": (_INT, 1), ".faceCounts": (_INT, 1)}
"""What a mesh has, and of which kind."""


class _Damaged(Exception):
    """It does not hold together."""


def check_alembic(path: Path, name: str) -> None:
    """See whether every part of an Ogawa archive is where and as long as it says.

    Raises:
        WrongFormat: One is not.
    """
    with path.open("rb") as file:
        # Closed when nobody looks at it any more, which an error's own frames may do.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        _Archive(data).check()
    except (_Damaged, struct.error, ValueError, IndexError, OverflowError) as error:
        raise WrongFormat(f"{name} is damaged: {error}.", hint="Fetch it again.") from error


class _Archive:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = memoryview(data)
        self._size = len(data)
        self._samplings = 1
        self._words: list[bytes] = [b""]

    # --- The container ------------------------------------------------------------------------

    def _group(self, place: int) -> Any:
        """Places of a group's children, uint64."""
        if place == 0:
            return np.zeros(0, np.uint64)
        if place + 8 > self._size:
            raise _Damaged("a group lies beyond its end")
        (count,) = struct.unpack_from("<Q", self._data, place)
        if count > (self._size - place - 8) // 8:
            raise _Damaged(f"a group of {count} parts is longer than the file")
        children = np.frombuffer(self._data, np.uint8, 8 * count, place + 8).copy().view("<u8")
        places = children & np.uint64(_IS_DATA - 1)
        if len(places) and int(np.max(places)) + 8 > self._size:
            raise _Damaged("a part of a group lies beyond its end")
        return children

    def _bytes(self, child: int) -> memoryview:
        if not child & _IS_DATA:
            raise _Damaged("there is a group where data should be")
        place = child & (_IS_DATA - 1)
        if place == 0:
            return self._data[:0]
        (length,) = struct.unpack_from("<Q", self._data, place)
        if length > self._size - place - 8:
            raise _Damaged("data goes on beyond its end")
        return self._data[place + 8 : place + 8 + length]

    def _inner(self, child: int) -> Any:
        if child & _IS_DATA:
            raise _Damaged("there is data where a group should be")
        return self._group(child)

    # --- What is in it ------------------------------------------------------------------------

    def check(self) -> None:
        (place,) = struct.unpack_from("<Q", self._data, 8)
        root = [int(child) for child in self._group(place)]
        if len(root) < 6:
            raise _Damaged(f"its root has {len(root)} parts of 6")
        for index in (0, 1):
            if len(self._bytes(root[index])) < 4:
                raise _Damaged("it does not say its version")
        self._bytes(root[3])
        self._check_times(self._bytes(root[4]))
        words = self._bytes(root[5])
        at = 0
        while at < len(words):
            end = at + 1 + words[at]
            if end > len(words):
                raise _Damaged("a description is cut off")
            self._words.append(bytes(words[at + 1 : end]))
            at = end
        self._check_object(root[2], b"", 0)

    def _check_times(self, data: memoryview) -> None:
        at = found = 0
        while at < len(data):
            _, cycle, count = struct.unpack_from("<IdI", data, at)
            at += 16 + 8 * count
            if at > len(data) or not count or not cycle > 0:
                raise _Damaged("its times cannot be read")
            found += 1
        self._samplings = max(1, found)

    def _check_object(self, child: int, title: bytes, depth: int) -> None:
        if depth > _DEEPEST:
            raise _Damaged("its objects are nested without end")
        parts = [int(part) for part in self._inner(child)]
        if not parts:
            return
        table = self._bytes(parts[-1]) if parts[-1] & _IS_DATA else self._data[:0]
        objects = list(self._objects(table[: max(0, len(table) - _HASHES)]))
        if len(objects) + 1 > len(parts) - bool(parts[-1] & _IS_DATA):
            raise _Damaged("it names more objects than it has")
        properties = self._check_compound(parts[0], depth + 1)
        if title:
            self._check_schema(title, properties)
        for index, meta in enumerate(objects, 1):
            self._check_object(parts[index], meta, depth + 1)

    def _objects(self, table: memoryview) -> Any:
        at = 0
        names = set()
        while at < len(table):
            (length,) = struct.unpack_from("<I", table, at)
            name = bytes(table[at + 4 : at + 4 + length])
            at += 4 + length
            if at >= len(table) or not name or b"/" in name or name in names:
                raise _Damaged("the name of an object cannot be read")
            names.add(name)
            index, at = table[at], at + 1
            meta, at = self._meta(table, at, index, "<I")
            yield meta

    def _meta(self, table: memoryview, at: int, index: int, kind: str) -> tuple[bytes, int]:
        if index != 0xFF:
            if index >= len(self._words):
                raise _Damaged("a description is not there")
            return self._words[index], at
        (length,) = struct.unpack_from(kind, table, at)
        at += struct.calcsize(kind)
        if length > len(table) - at:
            raise _Damaged("a description is cut off")
        return bytes(table[at : at + length]), at + length

    def _check_schema(self, meta: bytes, properties: dict[bytes, Any]) -> None:
        """The property that an object keeps its content in is there, and of a mesh all of it."""
        fields = dict(item.partition(b"=")[::2] for item in meta.split(b";"))
        kind, colon, name = fields.get(b"schemaObjTitle", b"").partition(b":")
        if not colon:
            return
        content = properties.get(name)
        if not isinstance(content, dict):
            raise _Damaged("the content of an object is not there")
        if kind.decode(errors="replace") in _MESHES:
            for needed, of in _NEEDED.items():
                if content.get(needed.encode()) != of:
                    raise _Damaged(f"a mesh has no {needed} that can be read")

    def _check_compound(self, child: int, depth: int) -> dict[bytes, Any]:
        """Its properties: kind and extent of each, or what is in it."""
        if depth > _DEEPEST:
            raise _Damaged("its properties are nested without end")
        parts = [int(part) for part in self._inner(child)]
        found: dict[bytes, Any] = {}
        if not parts or not parts[-1] & _IS_DATA:
            return found
        table = self._bytes(parts[-1])
        at = index = 0
        while at < len(table):
            (info,) = struct.unpack_from("<I", table, at)
            at += 4
            if info >> 2 & 3 == 3:
                raise _Damaged("a property cannot be read")
            kind = "<" + "BHI"[info >> 2 & 3]
            numbers: list[int] = []
            if info & 3:
                count = 1 + 2 * bool(info & 0x200) + bool(info & 0x100)
                numbers = [int(struct.unpack_from(kind, table, at + i * struct.calcsize(kind))[0])
                           for i in range(count)]  # fmt: skip
                at += count * struct.calcsize(kind)
            (length,) = struct.unpack_from(kind, table, at)
            at += struct.calcsize(kind)
            name = bytes(table[at : at + length])
            if len(name) < length or not name or b"/" in name or name in found:
                raise _Damaged("the name of a property cannot be read")
            _, at = self._meta(table, at + length, info >> 20 & 0xFF, kind)
            if index >= len(parts) - 1:
                raise _Damaged("it names more properties than it has")
            if info & 3 == 0:
                found[name] = self._check_compound(parts[index], depth + 1)
            else:
                found[name] = info >> 4 & 15, info >> 12 & 0xFF
                self._check_property(parts[index], info, numbers)
            index += 1
        return found

    def _check_property(self, child: int, info: int, numbers: list[int]) -> None:
        pod, extent = info >> 4 & 15, info >> 12 & 0xFF
        if pod > _WIDE or not extent:
            raise _Damaged("a property is of no kind that there is")
        if info & 0x100 and numbers[-1] >= self._samplings:
            raise _Damaged("the times of a property are not there")
        samples = numbers[0]
        first, last = 1, samples - 1
        if info & 0x200:
            first, last = numbers[1], numbers[2]
        elif info & 0x800:
            first = last = 0
        if not samples:
            return
        if last >= samples or (first > last and last):
            raise _Damaged("a property has other samples than it says")
        stored = 1 if last <= 0 else last - first + 2
        parts = self._inner(child)
        each = 1 if info & 3 == 1 else 2
        if len(parts) < stored * each:
            raise _Damaged("samples of a property are not there")
        for part in range(stored):
            sample = self._bytes(int(parts[each * part]))
            count = 1
            if each == 2:
                dimensions = self._bytes(int(parts[each * part + 1]))
                count = self._count(dimensions, sample, pod, extent)
            self._check_sample(sample, pod, count * extent)

    @staticmethod
    def _count(dimensions: memoryview, sample: memoryview, pod: int, extent: int) -> int:
        """Elements of an array."""
        if len(dimensions):
            if len(dimensions) % 8:
                raise _Damaged("the size of an array cannot be read")
            count = 1
            for (length,) in struct.iter_unpack("<Q", dimensions):
                count *= length
            return count
        if not len(sample):
            return 0
        if pod >= _TEXT:
            raise _Damaged("an array of texts does not say its size")
        return (len(sample) - _HASH) // (_SIZES[pod] * extent)

    @staticmethod
    def _check_sample(sample: memoryview, pod: int, count: int) -> None:
        if not len(sample) and not count:
            return
        length = len(sample) - _HASH
        if length < 0:
            raise _Damaged("a sample is cut off")
        if pod < _TEXT:
            fits = length == count * _SIZES[pod]
        elif pod == _TEXT:
            fits = bytes(sample[_HASH:]).count(b"\0") == count and (
                not length or sample[-1] == 0
            )
        else:
            wide = np.frombuffer(sample[_HASH:], np.uint8)
            fits = length % 4 == 0 and int((wide.view("<u4") == 0).sum()) == count
        if not fits:
            raise _Damaged("a sample has another size than it says")
