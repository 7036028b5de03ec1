"""A COLLADA document: its elements by id, and the numbers in them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ....errors import ImportFailed

__all__ = ["Document", "Element", "Indices", "Matrix", "link", "number", "numbers", "words"]

Element: TypeAlias = ElementTree.Element
Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def words(element: Element | None) -> list[str]:
    """What an element's text has between blanks."""
    return (element.text or "").split() if element is not None else []


def numbers(element: Element | None) -> Matrix:
    """(N,) an element's numbers; none where some are not."""
    try:
        return np.array(words(element), dtype=np.float64)
    except ValueError:
        return np.empty(0)


def link(element: Element | None, key: str = "url") -> str:
    """The id that an attribute refers to; empty where there is none."""
    return element.get(key, "").rpartition("#")[2] if element is not None else ""


def number(element: Element | None) -> float | None:
    """The number of a ``float`` below an element."""
    values = numbers(element.find("float")) if element is not None else np.empty(0)
    return float(values[0]) if len(values) else None


class Document:
    """One file.

    Args:
        warnings: Is given what is left out.

    Attributes:
        ids: Elements by their ids.

    Raises:
        ImportFailed: It is no XML.
    """

    def __init__(self, path: Path, warnings: list[str]) -> None:
        try:
            root = ElementTree.fromstring(path.read_bytes())
        except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
            raise ImportFailed(f"{path} is no XML that can be read: {error}.") from error
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
        self.path, self.root = path, root
        self.ids = {item.get("id", ""): item for item in root.iter() if item.get("id")}
        self._warnings = warnings

    @property
    def animated(self) -> bool:
        """Whether anything in it moves."""
        return any(True for _ in self.root.iter("channel"))

    def say(self, text: str) -> None:
        """Warn of something, once."""
        if text not in self._warnings:
            self._warnings.append(text)

    def names(self, source: str) -> list[str]:
        """Words of a source of names."""
        element = self.ids.get(source)
        for kind in ("Name_array", "IDREF_array", "SIDREF_array"):
            array = element.find(kind) if element is not None else None
            if array is not None:
                return words(array)
        return []

    def source(self, name: str) -> Matrix | None:
        """(count, stride) of a source of numbers."""
        element = self.ids.get(name)
        if element is None:
            return None
        accessor = element.find("technique_common/accessor")
        array = self.ids.get(link(accessor, "source")) if accessor is not None else None
        if array is None:
            array = element.find("float_array")
        values = numbers(array)
        stride = offset = 0
        if accessor is not None:
            try:
                stride = int(accessor.get("stride", "1"))
                offset = int(accessor.get("offset", "0"))
            except ValueError:
                stride = 0
        if stride < 1:
            stride = max(1, len(accessor.findall("param")) if accessor is not None else 3)
        count = max(0, len(values) - offset) // stride
        return values[offset : offset + count * stride].reshape(count, stride)
