"""What is known of a file's licence: from the catalogue, or from what the file itself says."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any, Final

from .licenses import license_of
from .text import clean

__all__ = ["embedded_license", "license_line"]

# Of a file's JSON; what is larger takes longer to read than a panel should wait.
_MOST: Final = 32 * 2**20


def license_line(path: Path, folder: str | Path | None = None) -> str:
    """A file's licence in one line, for people: name, author, what it forbids.

    Args:
        folder: Of the catalogue's index, which knows the files that the cache named.
    """
    # A worker wants the rest of this module alone, and the catalogue is a third of its imports.
    from .catalogue import known_of_file

    known = known_of_file(path.name, folder)
    if known:
        said = {"license": known["license"], "author": known["metadata"]["author"]}
    else:
        said = embedded_license(path)
    words = str(said.get("license") or "")
    author = f" by {said['author']}" if said.get("author") else ""
    rights = f"; copyright: {said['copyright']}" if said.get("copyright") else ""
    if not words:
        return f"License unknown{author}{rights}"
    license = license_of(words)
    cautions = f" ({', '.join(license.cautions)})" if license.cautions else ""
    return f"{license.name}{author}{cautions}{rights}"


def embedded_license(path: Path) -> dict[str, str]:
    """What a glTF file states of its rights.

    glTF 2.0 has ``asset.copyright``; Sketchfab's files say the rest in ``asset.extras``.

    Returns:
        Of ``license``, ``author``, ``author_url``, ``name``, ``source_url`` and ``copyright``
        what is there, one line of text each. Empty for other formats, and for what cannot be
        read.
    """
    asset = _document(path).get("asset")
    if not isinstance(asset, dict):
        return {}
    extras = asset.get("extras")
    extras = extras if isinstance(extras, dict) else {}
    author, author_url = _linked(clean(extras.get("author"), 200))
    found = {
        # The address follows from the name.
        "license": _linked(clean(extras.get("license"), 200))[0],
        "author": author,
        "author_url": author_url,
        "name": clean(extras.get("title"), 200),
        "source_url": clean(extras.get("source"), 500),
        "copyright": clean(asset.get("copyright"), 200),
    }
    return {name: text for name, text in found.items() if text}


def _linked(text: str) -> tuple[str, str]:
    """Words and address of ``words (http://…)``."""
    match = re.fullmatch(r"(.*?) ?\((https?://[^\s()]*)\)", text)
    return (match[1], match[2]) if match else (text, "")


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            head = file.read(20)
            if head.startswith(b"glTF"):
                # Header and head of the first chunk, which is the JSON: glTF 2.0, 4.4.
                _, _, _, length, kind = struct.unpack("<4sIII4s", head)
                text = file.read(length) if kind == b"JSON" and length <= _MOST else b""
            elif path.suffix.lower() == ".gltf" and path.stat().st_size <= _MOST:
                text = head + file.read(_MOST)
            else:
                return {}
        found = json.loads(text)
    except (OSError, ValueError, struct.error, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
