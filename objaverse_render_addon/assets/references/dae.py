"""COLLADA: images, and parts in other documents."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote
from xml.parsers import expat

from ...errors import UnsafeData, WrongFormat
from ..reach import base_name
from .look import Look

__all__ = ["scan"]

_NAMESPACES: Final = (
    "http://www.collada.org/2005/11/COLLADASchema",
    "http://www.collada.org/2008/03/COLLADASchema",
)
_LINKS: Final = ("url", "source", "target", "href")


def scan(path: Path, found: Look) -> None:
    """Ask for each image and each document.

    Raises:
        UnsafeData: The file declares entities, which may be any file's content.
        WrongFormat: It is no XML.
    """
    data = path.read_bytes()
    _refuse_entities(path, data)
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise WrongFormat(f"{path} is no XML that can be read: {error}.") from error
    changed = False
    for element in root.iter():
        name = element.tag.rpartition("}")[2]
        text = (element.text or "").strip()
        if name in ("init_from", "ref") and text and not _ask(text, path, found, texture=True):
            element.text = "missing/" + quote(base_name(unquote(text)) or "file", safe="")
            changed = True
        for key in _LINKS:
            link = element.get(key, "").partition("#")[0].strip()
            if link and not _ask(link, path, found, texture=False):
                element.set(key, "#missing")
                changed = True
    if changed:
        for namespace in _NAMESPACES:
            if root.tag.startswith(f"{{{namespace}}}"):
                ElementTree.register_namespace("", namespace)
        found.copies[path] = ElementTree.tostring(root, "utf-8", xml_declaration=True)


def _ask(text: str, path: Path, found: Look, *, texture: bool) -> bool:
    # COLLADA's references are URIs, but exporters write paths; Blender's reader takes either.
    if text.lower().startswith("file:"):
        text = unquote(text[5:])
        text = text[2:] if text.startswith("///") else text
        if text.startswith("/") and text[2:3] == ":":
            text = text[1:]
    names = [text, unquote(text)]
    answers = [found.ask(name, path.parent, texture=texture) for name in dict.fromkeys(names)]
    return all(answers)


def _refuse_entities(path: Path, data: bytes) -> None:
    def refuse(*_: Any) -> None:
        raise UnsafeData(
            f"{path} declares XML entities, which may stand for any file.",
            hint="Do not use it; fetch it from where it is made.",
        )

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    parser.StartDoctypeDeclHandler = lambda _name, system, public, _inside: (
        refuse() if system or public else None
    )
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise WrongFormat(f"{path} is no XML that can be read: {error}.") from error
