"""What kind of 3D file this is, by its name and by its first bytes.

Wrong, empty and cut-off files are named here, before an importer sees them: importers crash,
import half of a scene, or say nothing.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
from pathlib import Path, PurePath
from typing import Final

from ..errors import (
    EmptyFile,
    RenderError,
    SourceNotFound,
    TruncatedFile,
    UnsupportedFormat,
    WrongFormat,
)
from .archives import check_zip
from .check_alembic import check_alembic

__all__ = ["EXTENSIONS", "SCENE", "guess_extension", "inspect_file"]

EXTENSIONS: Final = (
    "glb", "gltf", "obj", "fbx", "stl", "ply", "abc", "usd", "usda", "usdc", "usdz", "blend", "dae",
)  # fmt: skip

SCENE: Final = "scene"
"""Extension of scenes that were composed here: nobody's assets, so that no folder is searched for
them."""

_HEAD = 4096
_LONGEST_HEADER: Final = 1 << 16
_USD: Final = (".usd", ".usda", ".usdc")
MUCH_JSON: Final = 4 << 20
"""Bytes of JSON beyond which only a worker reads it as a whole: in memory it is 24 times that."""


def inspect_file(path: Path, name: str = "", *, whole: bool = False) -> str:
    """The format of a file, as one of :data:`EXTENSIONS`, or :data:`SCENE`.

    Args:
        name: What it is called where it is not, or not yet, called by its path.
        whole: Read all of it that tells whether it is right, however large it is.

    Raises:
        SourceNotFound, EmptyFile, UnsupportedFormat, WrongFormat, TruncatedFile, UnsafeData
    """
    name = name or str(path)
    extension = PurePath(name).suffix.lower().lstrip(".")
    try:
        if not path.is_file():
            kind = "is a folder" if path.is_dir() else "does not exist"
            raise SourceNotFound(f"{name} {kind}.", hint="Check the path.")
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise SourceNotFound(f"{name} cannot be read: {error.strerror}.") from error
    if extension == SCENE and head.startswith(b"{") and b'"layout"' in head:
        return SCENE
    if extension not in EXTENSIONS:
        raise UnsupportedFormat(
            f"{name} has the extension {extension!r}, which no importer reads.",
            hint=f"Known are: {', '.join(EXTENSIONS)}.",
        )
    if size == 0:
        raise EmptyFile(f"{name} is empty.", hint="Fetch it again.")
    found = _sniff(head, size)
    if found != extension:
        found = _sloppy(path, extension, head, size) or found
    allowed = {"usd": ("usda", "usdc", "usdz"), "stl": ("stl", "stl-ascii")}.get(
        extension, (extension,)
    )
    if found not in allowed and not (
        extension == "obj"
        and found in ("", "text", "utf-16")
        and head.count(0) <= len(head) // 2
    ):
        what = _NAMES.get(found, f"a {found} file") if found else "something unknown"
        raise WrongFormat(
            f"{name} is named {extension}, but its content is {what}.",
            hint=f"Rename it to .{found}." if found in EXTENSIONS
            else "Save it as UTF-8." if found == "utf-16" else "Fetch it again.",
        )
    _check_whole(path, name, found or extension, head, size, whole)
    return extension


def _sloppy(path: Path, extension: str, head: bytes, size: int) -> str:
    """What a file is that its own program reads, and that is not quite as it should be."""
    if extension == "stl":
        from .repair.stl import triangle_count

        # Bytes after the last triangle, or no number of triangles.
        return "stl" if triangle_count(head, size) is not None else ""
    if extension == "usdz" and head.startswith(b"PK\x03\x04") and zipfile.is_zipfile(path):
        # A picture comes first.
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.lower() for name in archive.namelist()[:1000]]
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
            return ""
        return "usdz" if any(name.endswith(_USD) for name in names) else ""
    return ""


def guess_extension(path: Path) -> str:
    """The extension that fits a file's content, or none."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    found = _sniff(head, path.stat().st_size).removesuffix("-ascii")
    return found if found in EXTENSIONS else ""


_NAMES: Final = {
    "text": "plain text",
    "utf-16": "text in UTF-16",
    "html": "an HTML page, probably an error page of the server that it came from",
    "lfs": "a Git LFS pointer, not the file itself",
    "zip": "a zip archive",
    "png": "a PNG image",
    "jpeg": "a JPEG image",
    "stl-ascii": "an ASCII STL mesh",
}

_MAGIC: Final = (
    (b"glTF", "glb"),
    (b"Kaydara FBX Binary", "fbx"),
    (b"; FBX", "fbx"),
    (b"Ogawa", "abc"),
    (b"\x89HDF", "abc"),
    (b"#usda", "usda"),
    (b"PXR-USDC", "usdc"),
    (b"BLENDER", "blend"),
    (b"\x28\xb5\x2f\xfd", "blend"),
    (b"\x1f\x8b", "blend"),
    (b"version https://git-lfs", "lfs"),
    (b"\x89PNG", "png"),
    (b"\xff\xd8\xff", "jpeg"),
)


def _sniff(head: bytes, size: int) -> str:
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head.startswith(b"PK\x03\x04"):
        first_name = head[30 : 30 + int.from_bytes(head[26:28], "little")].lower()
        return "usdz" if first_name.endswith(tuple(name.encode() for name in _USD)) else "zip"
    if re.match(rb"ply[ \t]*[\r\n]", head):
        return "ply"
    # A binary STL may start with "solid" as well; its length gives it away.
    if len(head) >= 84 and size == 84 + 50 * struct.unpack_from("<I", head, 80)[0]:
        return "stl"
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{")):
        return "utf-16"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = text[:512].lower()
    if lower.startswith((b"<!doctype html", b"<html")):
        return "html"
    if lower.startswith(b"solid") and (b"facet" in head.lower() or b"endsolid" in head.lower()):
        return "stl-ascii"
    if b"<collada" in head.lower():
        return "dae"
    if text.startswith(b"{"):
        return "gltf" if b'"asset"' in head or b'"accessors"' in head or size > _HEAD else "text"
    if b"\0" in head:
        # Whatever it is, a header length that does not fit is the likeliest story for an STL.
        return "stl" if len(head) >= 84 and _stl_is_short(head, size) else ""
    keywords = (b"v ", b"vn ", b"vt ", b"f ", b"o ", b"g ", b"mtllib ", b"usemtl ")
    return "obj" if any(line.startswith(keywords) for line in text.splitlines()) else "text"


def _stl_is_short(head: bytes, size: int) -> bool:
    return size < 84 + 50 * int(struct.unpack_from("<I", head, 80)[0]) < 1 << 32


def _check_whole(
    path: Path, name: str, found: str, head: bytes, size: int, whole: bool
) -> None:
    def cut_off(expected: str) -> RenderError:
        return TruncatedFile(
            f"{name} has {size} bytes, but {expected}.", hint="Fetch it again."
        )

    if found == "glb":
        if size < 12 or struct.unpack_from("<I", head, 8)[0] > size:
            raise cut_off("its header promises more")
    elif found == "stl" and _stl_is_short(head, size):
        raise cut_off("its triangle count needs more")
    elif found == "ply":
        _check_ply(path, name)
    elif found == "stl-ascii" and b"endsolid" not in _tail(path, size).lower():
        raise cut_off("the closing endsolid is missing")
    elif found == "usdz":
        if not zipfile.is_zipfile(path):
            raise cut_off("the archive's directory is missing")
        check_zip(path, name)
    elif found == "dae":
        if b"</COLLADA>" not in _tail(path, size):
            raise cut_off("the closing </COLLADA> is missing")
    elif found == "gltf" and size > MUCH_JSON and not whole:
        if not _tail(path, size).rstrip().endswith(b"}"):
            raise cut_off("the JSON breaks off at its end")
    elif found == "gltf":
        try:
            json.loads(path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise WrongFormat(f"{name} is not UTF-8 text: {error}.") from error
        except json.JSONDecodeError as error:
            raise cut_off(f"the JSON breaks off at character {error.pos}") from error
        except RecursionError as error:
            raise WrongFormat(f"{name} is JSON that is nested too deeply.") from error
        except ValueError as error:
            # A number of thousands of digits.
            raise WrongFormat(f"{name} is JSON that cannot be read: {error}.") from error
    elif found == "abc" and head.startswith(b"Ogawa"):
        # Where the root is, which is written last; Blender's process dies of a file without it.
        if size < 16 or struct.unpack_from("<Q", head, 8)[0] + 8 > size:
            raise cut_off("its root lies beyond that")
        if whole:
            check_alembic(path, name)
    elif found == "usdc" and size < 88:
        raise cut_off("a usdc header alone needs 88")


def _check_ply(path: Path, name: str) -> None:
    """Refuse headers that Blender's process dies of."""
    with path.open("rb") as file:
        header, end, _ = file.read(_LONGEST_HEADER).partition(b"end_header")
    lines = [line.split() for line in re.split(rb"[\r\n]+", header)]
    if not end:
        raise TruncatedFile(f"{name} has a header that does not end.", hint="Fetch it again.")
    wrong = ""
    orders = [words[1] for words in lines if words[:1] == [b"format"] and len(words) > 1]
    if orders[:1] not in ([b"ascii"], [b"binary_little_endian"], [b"binary_big_endian"]):
        wrong = "does not say how its numbers are written"
    elements = 0
    for words in lines:
        if words and words[0].startswith(b"element"):
            elements += 1
            count = words[2] if len(words) > 2 else b""
            if not count.isdigit() or len(count) > 10 or int(count) >= 1 << 31:
                wrong = f"counts {count[:20].decode(errors='replace')!r} of something"
        elif words and words[0].startswith(b"property") and not elements:
            wrong = "has a property of nothing"
    if wrong:
        raise WrongFormat(f"{name} has a header that {wrong}.", hint="Fetch it again.")


def _tail(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, size - 1024))
        return file.read()
