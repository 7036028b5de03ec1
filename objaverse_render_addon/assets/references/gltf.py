"""glTF and GLB: buffers and images."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ...errors import UnsafeData, WrongFormat
from ..reach import base_name
from .look import Look

__all__ = ["scan"]


def scan(path: Path, found: Look) -> None:
    """Ask for each URI, decoded as the importer decodes it."""
    data = path.read_bytes()
    rest = b""
    text = data
    if data.startswith(b"glTF"):
        if len(data) < 20:
            raise WrongFormat(f"{path} has no JSON in it.")
        length = struct.unpack_from("<I", data, 12)[0]
        text, rest = data[20 : 20 + length], data[20 + length :]
    try:
        document: Any = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise WrongFormat(
            f"{path}: its JSON cannot be read: {str(error)[:200]}.", hint="Fetch it again."
        ) from error
    _check_strides(path, document)
    changed = False
    for key, needed in (("buffers", True), ("images", False)):
        items = document.get(key) if isinstance(document, dict) else None
        for item in items if isinstance(items, list) else ():
            uri = item.get("uri") if isinstance(item, dict) else None
            if not isinstance(uri, str) or uri.startswith("data:"):
                continue
            if not found.ask(unquote(uri), path.parent, needed=needed, texture=not needed):
                item["uri"] = "missing/" + quote(base_name(unquote(uri)) or "file", safe="")
                changed = True
    if not changed:
        return
    text = json.dumps(document).encode()
    if data.startswith(b"glTF"):
        text += b" " * (-len(text) % 4)
        head = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON")
        text = head + text + rest
    found.copies[path] = text


def _check_strides(path: Path, document: Any) -> None:
    # With a negative one, Blender's importer reads the memory before the buffer.
    views = document.get("bufferViews") if isinstance(document, dict) else None
    for index, view in enumerate(views if isinstance(views, list) else ()):
        stride = view.get("byteStride") if isinstance(view, dict) else None
        if stride is not None and not (isinstance(stride, int) and 0 <= stride <= 252):
            raise UnsafeData(
                f"{path}: bufferView {index} has a byteStride of {str(stride)[:40]}; it may be 4 "
                "to 252.",
                hint="Export it again.",
            )
