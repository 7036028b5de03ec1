"""Files that a fetched file names and cannot do without: buffers, materials, textures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote, urljoin

from ..errors import UnsafeData
from .archives import safe_member
from .formats import EXTENSIONS, MUCH_JSON

__all__ = ["Companion", "address_of", "named_in"]

MOST: Final = 2000
"""Files that one asset may name."""
_URI: Final = re.compile(rb'"uri"\s*:\s*("(?!data:)(?:[^"\\]|\\.){1,2000}")')
_IMAGES: Final = ("png", "jpg", "jpeg", "webp", "ktx2", "dds", "bmp", "tga", "tif", "tiff", "gif")
_MAPS: Final = ("map_", "bump", "disp", "decal", "norm", "refl")


class Companion(NamedTuple):
    """A file beside another one.

    Attributes:
        name: Its path relative to the other one, with forward slashes; never out of its folder.
        needed: Whether nothing can be imported without it.
    """

    name: str
    needed: bool


def named_in(path: Path, extension: str, where: str) -> list[Companion]:
    """The files that a ``.gltf``, ``.obj`` or ``.mtl`` names, without those inside it.

    Raises:
        UnsafeData: One that is needed is not beside or below it.
    """
    if extension == "gltf":
        names = _gltf(path)
    elif extension == "obj":
        names = _words(path, ("mtllib",), needed=False)
    elif extension == "mtl":
        names = _words(path, _MAPS, needed=False)
    else:
        return []
    found: dict[str, Companion] = {}
    for name, needed in names:
        if "://" in name or name.startswith("data:") or not name.strip():
            continue
        try:
            name = safe_member(name, where)
        except UnsafeData:
            if needed:
                raise
            # Materials are full of C:\Users\…; such a texture is missing here as elsewhere.
            continue
        parts = name.split("/")
        # Hidden names are ours, and another model is not part of this one.
        if any(part.startswith(".") for part in parts) or _extension(name) in EXTENSIONS:
            continue
        found.setdefault(name, Companion(name, needed))
        if len(found) == MOST:
            break
    return list(found.values())


def address_of(url: str, name: str) -> str:
    """Where a companion of the file at ``url`` is."""
    inner, *outer = url.split("::")
    if inner.lower().startswith(("http://", "https://")):
        return "::".join([urljoin(inner, quote(name)), *outer])
    return "::".join([f"{inner.rpartition('/')[0]}/{name}", *outer])


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _gltf(path: Path) -> Iterator[tuple[str, bool]]:
    if path.stat().st_size > MUCH_JSON:
        yield from _gltf_by_parts(path)
        return
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        return
    for key, needed in (("buffers", True), ("images", False)):
        items = document.get(key) if isinstance(document, dict) else None
        for item in items if isinstance(items, list) else ():
            uri = item.get("uri") if isinstance(item, dict) else None
            if isinstance(uri, str):
                yield (uri if uri.startswith("data:") else unquote(uri)), needed


def _gltf_by_parts(path: Path) -> Iterator[tuple[str, bool]]:
    """The same of one that is too large to be read as a whole here."""
    longest = 16 << 10
    with path.open("rb") as file:
        text = b""
        while more := file.read(1 << 20):
            text += more
            ends = 0
            for match in _URI.finditer(text):
                ends = match.end()
                try:
                    uri = str(json.loads(match[1]))
                except ValueError:
                    continue
                yield unquote(uri), _extension(uri) not in _IMAGES
            # One that the end cuts off is found with what comes next.
            text = text[max(ends, len(text) - longest) :]


def _words(path: Path, keys: tuple[str, ...], *, needed: bool) -> Iterator[tuple[str, bool]]:
    with path.open("rb") as file:
        while line := file.readline(1 << 16):
            head, _, rest = line.decode(errors="replace").strip().partition(" ")
            if head.lower().startswith(keys):
                # Texture options come before the name, which may have spaces only without them.
                name = rest.strip().split(" ")[-1] if rest.startswith("-") else rest.strip()
                yield name.strip('"'), needed
