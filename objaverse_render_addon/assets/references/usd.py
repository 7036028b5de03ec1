"""USD: layers as text and as crates, and packages of them.

Every asset path of a layer is found without USD, which Blender's Python does not have everywhere:
in text between ``@``; in a crate among its tokens, where prim names and other words are, too. A
word that looks like a path to elsewhere is changed whatever it is for; nothing that renders is
spelled so. Named as missing is what looks like a file's name.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from ...errors import WrongFormat
from ..archives import safe_member
from ..reach import base_name
from .look import ABSENT, Look

__all__ = ["scan", "scan_package"]

_LAYERS: Final = ("usd", "usda", "usdc")
_LONGEST: Final = 4096
_PRIM: Final = re.compile(r"(?:\.\.)?(?:/[A-Za-z_]\w*)*/?")
_TEMPLATE: Final = b"templateAssetPath"
_ARGUMENTS: Final = ":SDF_FORMAT_ARGS:"
_THERE: Final = ("leads", "is hidden", "is no regular", "is larger")
"""How refusals begin of what is there, and not for the asset."""
_QUOTED: Final = re.compile(rb"(?<=[\"'])[^\"']*(?=[\"'])")


class _World(Protocol):
    """What the paths of a layer are relative to."""

    def allows(self, reference: str, sure: bool) -> bool:
        """Whether a word may stay; ``sure`` where it is an asset path and nothing else."""

    def refuse(self, reference: str, why: str) -> None:
        """Name a missing part."""


def scan(path: Path, found: Look) -> None:
    """Ask for each asset path of a layer, and of the layers that it reads."""
    if _is_package(path):
        scan_package(path, found)
    else:
        _layer(path, path, found)


def _is_package(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


class _Folder:
    """The world of a layer that is a file."""

    def __init__(self, base: Path, found: Look) -> None:
        self._base, self._found = base, found
        self.files: dict[Path, Path] = {}

    def allows(self, reference: str, sure: bool) -> bool:
        tiles = self._found.reach.tiles(reference, self._base) if "<" in reference else None
        if tiles is not None:
            answers = [self._allows(one, sure) for one in tiles]
            return all(answers)
        return self._allows(reference, sure)

    def _allows(self, reference: str, sure: bool) -> bool:
        joined = os.path.join(self._base, reference)  # noqa: PTH118
        if not (sure or ".." in reference or os.path.lexists(joined)):
            absolute = reference.startswith(("/", "\\")) or ":" in reference
            if not absolute:
                return True
        part = self._found.reach.resolve(reference, self._base)
        if part.path is not None:
            self._found.has(reference, self._base, part.path)
            self.files[Path(os.path.normpath(joined))] = part.path
            return True
        if part.refused:
            if sure or not _PRIM.fullmatch(reference) or os.path.lexists(joined):
                self.refuse(reference, part.refused)
            return False
        if sure and _extension(reference) in (*_LAYERS, "usdz"):
            self.refuse(reference, ABSENT)
        return True

    def refuse(self, reference: str, why: str) -> None:
        self._found.miss(reference, why)


def _layer(place: Path, real: Path, found: Look) -> None:
    if place in found.seen:
        return
    found.seen.add(place)
    world = _Folder(place.parent, found)
    data = real.read_bytes()
    changed = _changed(data, world, real)
    if changed != data:
        found.copies[place] = changed
    for where, path in world.files.items():
        extension = _extension(path.name)
        if extension in (*_LAYERS, "usdz") and where not in found.seen:
            if not _is_package(path):
                _layer(where, path, found)
                continue
            found.seen.add(where)
            changes, missing = _package(path, path, path.parent, found)
            if changes:
                found.missing.update(missing)
                found.copies[where] = _packed(_members(path, changes))
        elif extension == "mtlx" and where not in found.seen:
            found.seen.add(where)
            _material(where, path, found)


def _material(place: Path, real: Path, found: Look) -> None:
    """A MaterialX document: any quoted word may be a file's name."""
    data = real.read_bytes()

    def one(match: re.Match[bytes]) -> bytes:
        reference = os.fsdecode(match[0])
        part = found.reach.resolve(reference, place.parent) if reference else None
        if part is None or not part.refused:
            if part is not None and part.path is not None:
                found.has(reference, place.parent, part.path)
            return match[0]
        found.miss(reference, part.refused)
        return _harmless(match[0])

    changed = _QUOTED.sub(one, data)
    if changed != data:
        found.copies[place] = changed


def _extension(name: str) -> str:
    return base_name(name).rpartition(".")[2].lower()


def _changed(data: bytes, world: _World, where: Path) -> bytes:
    if data.startswith(b"PXR-USDC"):
        return _crate(data, world, where)
    return _text(data, world)


def _allowed(raw: bytes, world: _World, sure: bool) -> bool:
    reference = os.fsdecode(raw)
    if not reference or len(reference) > _LONGEST:
        return True
    if reference.startswith("`"):
        world.refuse(reference, "is computed")
        return False
    reference = reference.partition(_ARGUMENTS)[0]
    # The file within a package is looked at with the package.
    outer, bracket, _ = reference.partition("[")
    return world.allows(outer if bracket and reference.endswith("]") else reference, sure)


def _harmless(raw: bytes) -> bytes:
    name = base_name(os.fsdecode(raw)).strip("`\"'.") or "file"
    return b"./missing/" + os.fsencode(re.sub(r"[@\[\]]", "_", name))


# --- Text -----------------------------------------------------------------------------------


def _text(data: bytes, world: _World) -> bytes:
    # A whole grammar is not needed, and could be led astray: whatever lies between two signs, of
    # whichever meaning, is no path to elsewhere.
    if _TEMPLATE in data:
        world.refuse(_TEMPLATE.decode(), "is computed")
        data = data.replace(_TEMPLATE, _TEMPLATE[:-1] + b"_")

    def triple(match: re.Match[bytes]) -> bytes:
        if _allowed(match[1], world, True):
            return match[0]
        return b"@" + _harmless(match[1]) + b"@"

    data = re.sub(rb"@@@((?:(?!@@@).){1,4096}?)@@@", triple, data, flags=re.DOTALL)
    parts = data.split(b"@")
    quoted = re.compile(rb"^[^\"']*$")
    for index in range(1, len(parts) - 1):
        part = parts[index]
        if not part.strip() or b"\n" in part or len(part) > _LONGEST:
            continue
        # Between two paths there is a comma; between a path and the next one's begin, a word.
        sure = index % 2 == 1 and quoted.match(part) is not None
        if not _allowed(part, world, sure):
            parts[index] = _harmless(part)
    return b"@".join(parts)


# --- Crates ---------------------------------------------------------------------------------


def _crate(data: bytes, world: _World, where: Path) -> bytes:
    try:
        version = tuple(data[8:11])
        entry, start, size = _section(data, b"TOKENS")
        tokens = _tokens(data[start : start + size], version)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise WrongFormat(f"{where}: its table of words cannot be read: {error}.") from error
    kept = list(tokens)
    for index, token in enumerate(tokens):
        if token == _TEMPLATE:
            world.refuse(_TEMPLATE.decode(), "is computed")
            kept[index] = _TEMPLATE[:-1] + b"_"
        elif not _allowed(token, world, sure=False):
            kept[index] = _harmless(token)
    if kept == tokens:
        return data
    table = b"".join(token + b"\0" for token in kept)
    section = struct.pack("<Q", len(kept))
    if version < (0, 4, 0):
        section += struct.pack("<Q", len(table)) + table
    else:
        packed = _lz4_stored(table)
        section += struct.pack("<QQ", len(table), len(packed)) + packed
    changed = bytearray(data)
    # At the end, and the table of contents says so: nothing else has to move.
    struct.pack_into("<qq", changed, entry + 16, len(data), len(section))
    return bytes(changed) + section


def _section(data: bytes, wanted: bytes) -> tuple[int, int, int]:
    """Where a section's entry in the table of contents is, its start and its size."""
    (table,) = struct.unpack_from("<q", data, 16)
    (count,) = struct.unpack_from("<Q", data, table)
    for index in range(min(count, 64)):
        entry = table + 8 + 32 * index
        name, start, size = struct.unpack_from("<16sqq", data, entry)
        if name.rstrip(b"\0") == wanted:
            if not 0 <= start <= start + size <= len(data):
                raise ValueError("it lies beyond the file's end")
            return entry, start, size
    raise ValueError(f"there is no section {wanted.decode()}")


def _tokens(section: bytes, version: tuple[int, ...]) -> list[bytes]:
    count, size = struct.unpack_from("<QQ", section)
    if size > 1 << 30:
        raise ValueError(f"{size} bytes of words")
    if version < (0, 4, 0):
        table = section[16 : 16 + size]
    else:
        (packed,) = struct.unpack_from("<Q", section, 16)
        table = _fast_decompress(section[24 : 24 + packed], size)
    if len(table) != size:
        raise ValueError("it is cut off")
    tokens = table.split(b"\0")[:-1]
    if len(tokens) != count:
        raise ValueError(f"{len(tokens)} words instead of {count}")
    return tokens


def _fast_decompress(data: bytes, size: int) -> bytes:
    """USD's own wrapping of LZ4: a number of chunks, 0 for a single one, and the chunks."""
    if not data:
        return b""
    if data[0] == 0:
        return _lz4(memoryview(data)[1:], size)
    out, at = b"", 1
    for _ in range(data[0]):
        (length,) = struct.unpack_from("<i", data, at)
        out += _lz4(memoryview(data)[at + 4 : at + 4 + length], size - len(out))
        at += 4 + length
    return out


def _lz4(data: memoryview, most: int) -> bytes:
    """An LZ4 block, after the format's description (lz4_Block_format.md)."""
    out, at, end = bytearray(), 0, len(data)
    while at < end:
        token = data[at]
        at += 1
        length = token >> 4
        if length == 15:
            while True:
                length += data[at]
                at += 1
                if data[at - 1] != 255:
                    break
        out += data[at : at + length]
        at += length
        if len(out) > most:
            raise ValueError("it is larger than it says")
        if at >= end:
            break
        offset = data[at] | data[at + 1] << 8
        at += 2
        length = (token & 15) + 4
        if token & 15 == 15:
            while True:
                length += data[at]
                at += 1
                if data[at - 1] != 255:
                    break
        if not 0 < offset <= len(out) or len(out) + length > most:
            raise ValueError("it is damaged")
        start = len(out) - offset
        if offset >= length:
            out += out[start : start + length]
        else:
            piece = bytes(out[start:])
            out += (piece * (length // offset + 1))[:length]
    return bytes(out)


def _lz4_stored(data: bytes) -> bytes:
    """The same for writing, without compression; as many chunks as it needs."""
    most = 0x7E000000
    chunks = [data[start : start + most] for start in range(0, len(data), most)] or [b""]
    blocks = []
    for chunk in chunks:
        length = len(chunk)
        if length < 15:
            head = bytes([length << 4])
        else:
            rest = length - 15
            head = b"\xf0" + b"\xff" * (rest // 255) + bytes([rest % 255])
        blocks.append(head + chunk)
    if len(blocks) == 1:
        return b"\0" + blocks[0]
    sized = [struct.pack("<i", len(block)) + block for block in blocks]
    return bytes([len(blocks)]) + b"".join(sized)


# --- Packages -------------------------------------------------------------------------------


def scan_package(path: Path, found: Look) -> None:
    """Ask for each asset path of a package's layers; the package is their whole world."""
    changes, missing = _package(path, path, path.parent, found)
    if not changes:
        return
    found.missing.update(missing)
    home = path.with_suffix("")
    members = _members(path, changes)
    for name, data in members.items():
        found.copies[home / name] = data
    found.main = home / next(iter(members))


class _Package:
    """The world of a layer in a package."""

    def __init__(
        self, layer: str, there: set[str], home: Path, found: Look, missing: dict[str, str]
    ) -> None:
        self._base, self._there, self._home = posixpath.dirname(layer), there, home
        self._found, self._missing = found, missing

    def allows(self, reference: str, sure: bool) -> bool:
        name = posixpath.normpath(posixpath.join(self._base, reference))
        if name in self._there or posixpath.normpath(reference) in self._there:
            return True
        # What is not in the package, Blender looks for beside it.
        for spelling in dict.fromkeys((name, reference)):
            part = self._found.reach.resolve(spelling, self._home)
            if part.refused.startswith(_THERE) and (sure or not (self._home / spelling).is_dir()):
                self.refuse(reference, part.refused)
                return False
        # Whether it is in a folder that the user allows, or no path at all.
        part = self._found.reach.resolve(reference, Path("/"))
        if part.path is not None:
            return True
        outside = name.startswith(("../", "/", "\\")) or name == ".."
        if not outside and not part.refused.startswith(("is a", "is on", "is no p")):
            if sure and _extension(reference) in (*_LAYERS, "usdz"):
                self.refuse(reference, ABSENT)
            return True
        if sure or not _PRIM.fullmatch(reference) or os.path.lexists(reference):
            self.refuse(reference, "lies outside its package" if outside else part.refused)
        return False

    def refuse(self, reference: str, why: str) -> None:
        self._missing[reference] = why


def _package(
    source: Path | bytes, where: Path, home: Path, found: Look
) -> tuple[dict[str, bytes], dict[str, str]]:
    """A package's layers that have to be changed, and what is missing in it."""
    missing: dict[str, str] = {}
    changes: dict[str, bytes] = {}
    with _damage_named(where), zipfile.ZipFile(_readable(source)) as archive:
        there = set(archive.namelist())
        for name in archive.namelist():
            if _extension(name) not in (*_LAYERS, "usdz"):
                continue
            data = archive.read(name)
            if data.startswith(b"PK\x03\x04"):
                inner, more = _package(data, where / name, home, found)
                missing.update(more)
                changed = _packed(_members(data, inner)) if inner else data
            else:
                changed = _changed(data, _Package(name, there, home, found, missing), where / name)
            if changed != data:
                changes[name] = changed
    if not there:
        raise WrongFormat(f"{where} is an empty package.")
    return changes, missing


@contextlib.contextmanager
def _damage_named(where: Path) -> Iterator[None]:
    """What the reader of archives stumbles over is the package's."""
    damage = (
        zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, struct.error,
        zlib.error,
    )  # fmt: skip
    try:
        yield
    except (*damage, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise  # A place before the file's begin is asked for; the rest is the disk's.
        raise WrongFormat(f"{where} is damaged: {error}.", hint="Fetch it again.") from error


def _readable(source: Path | bytes) -> Path | io.BytesIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _members(source: Path | bytes, changes: dict[str, bytes]) -> dict[str, bytes]:
    where = source if isinstance(source, Path) else Path("The package")
    with _damage_named(where), zipfile.ZipFile(_readable(source)) as archive:
        return {
            safe_member(info.filename, "The package"): changes.get(info.filename)
            or archive.read(info)
            for info in archive.infolist()
            if not info.is_dir()
        }


def _packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    # USD maps a package's files into memory, and wants them at multiples of 64 bytes.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            padding = -(buffer.tell() + 30 + len(name.encode()) + 4) % 64
            info.extra = struct.pack("<HH", 0x1986, padding) + bytes(padding)
            archive.writestr(info, data)
    return buffer.getvalue()
