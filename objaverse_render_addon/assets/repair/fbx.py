"""FBX: what Blender's importer does not ask: which models are hidden, how opaque materials are."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

__all__ = ["Facts", "read_facts"]

_MAGIC: Final = b"Kaydara FBX Binary"
_SIZES: Final = {"Y": 2, "C": 1, "B": 1, "I": 4, "F": 4, "D": 8, "L": 8}
_FORMATS: Final = {"Y": "<h", "C": "<?", "B": "<?", "I": "<i", "F": "<f", "D": "<d", "L": "<q"}
_TOKEN: Final = re.compile(
    r'"([^"]*)"|([{}])|([A-Za-z]\w*)[ \t]*:|([-+]?\d[\d.eE+-]*)|;[^\n]*|([A-Za-z]\w*)'
)
_HIDING: Final = ("Visibility", "Show")
_Node = tuple[str, list[Any], list[Any]]


@dataclass
class Facts:
    """What a file says of its models and materials, by name.

    Attributes:
        hidden: Models that are hidden, themselves or by one above them.
        unsure: Models whose visibility is animated.
        opacities: Material to its opacity, 0..1, where it says one; not of names that come twice
            and differ.
    """

    hidden: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    opacities: dict[str, float] = field(default_factory=dict)


def read_facts(path: Path) -> Facts:
    """What a file says; nothing where it is malformed: whether it can be read is the importer's."""
    data = path.read_bytes()
    try:
        nodes = _binary(data) if data.startswith(_MAGIC) else _text(data)
        hidden, unsure = _hidden(nodes)
        return Facts(hidden, unsure, _opacities(nodes))
    except (struct.error, IndexError, ValueError, RecursionError, TypeError, OverflowError):
        return Facts()


def _opacities(nodes: list[_Node]) -> dict[str, float]:
    found: dict[str, set[float]] = {}
    for section, _, items in nodes:
        for kind, values, inside in items if section == "Objects" else ():
            opacity = _opacity(_properties(inside)) if kind == "Material" and values else None
            if opacity is not None:
                found.setdefault(_name(values), set()).add(opacity)
    return {name: values.pop() for name, values in found.items() if len(values) == 1}


def _opacity(said: dict[str, list[float]]) -> float | None:
    """Opacity of a material by its properties.

    The format has transparency as ``TransparentColor`` times ``TransparencyFactor``; ``Opacity``,
    where there is one, is what the program that wrote it means by them (Blender writes the base
    color as the color, 3ds Max white beside a factor of 0). A factor of 0 or 1 alone is what
    writers of both meanings have for an opaque material.
    """
    if "Opacity" in said:
        opacity = said["Opacity"][0]
    elif "TransparencyFactor" in said:
        factor = said["TransparencyFactor"][0]
        if "TransparentColor" in said:
            color = said["TransparentColor"]
            opacity = 1 - factor * sum(color) / len(color)
        else:
            opacity = 1.0 if factor in (0, 1) else 1 - factor
    else:
        return None
    return min(max(float(opacity), 0.0), 1.0) if opacity == opacity else None


def _properties(items: list[Any]) -> dict[str, list[float]]:
    """Those that are numbers, by name."""
    found = {}
    for kind, _, inside in items:
        for _, values, _ in inside if kind in ("Properties70", "Properties60") else ():
            numbers = [float(item) for item in values[1:] if isinstance(item, (int, float))]
            if values and isinstance(values[0], str) and numbers:
                found[values[0]] = numbers
    return found


def _hidden(nodes: list[_Node]) -> tuple[set[str], set[str]]:
    names: dict[Any, str] = {}
    dark: set[Any] = set()
    parents: dict[Any, Any] = {}
    animated: set[Any] = set()
    for section, _, items in nodes:
        if section == "Objects":
            for kind, values, inside in items:
                if kind == "Model" and values:
                    names[values[0]] = _name(values)
                    if _is_hidden(inside):
                        dark.add(values[0])
        elif section == "Connections":
            for _, values, _ in items:
                if len(values) >= 3 and values[0] == "OO":
                    parents[values[1]] = values[2]
                elif len(values) >= 4 and values[0] == "OP" and values[3] in _HIDING:
                    animated.add(values[2])
    hidden, unsure, shown = set[str](), set[str](), set[str]()
    for key, name in names.items():
        chain = []
        at: Any = key
        while at in names and at not in chain:
            chain.append(at)
            at = parents.get(at)
        if any(one in dark and one in animated for one in chain):
            unsure.add(name)
        (hidden if any(one in dark and one not in animated for one in chain) else shown).add(name)
    # Blender knows objects by their names alone.
    return hidden - shown, unsure - hidden


def _name(values: list[Any]) -> str:
    text = next((item for item in values if isinstance(item, str)), "")
    # Binary files have the class behind the name, text files before it.
    return text.partition("\0")[0] if "\0" in text else text.rpartition("::")[2]


def _is_hidden(items: list[Any]) -> bool:
    return any(_properties(items).get(name, [1.0])[-1] == 0 for name in _HIDING)


# --- Binary -----------------------------------------------------------------------------------


def _binary(data: bytes) -> list[_Node]:
    wide = struct.unpack_from("<I", data, 23)[0] >= 7500
    return list(_records(data, 27, len(data), wide, ()))


def _records(
    data: bytes, at: int, end: int, wide: bool, above: tuple[str, ...]
) -> Iterator[_Node]:
    head = struct.Struct("<QQQB" if wide else "<IIIB")
    while at + head.size <= end:
        stop, count, length, size = head.unpack_from(data, at)
        if not at < stop <= end:
            return
        start = at + head.size
        name = data[start : start + size].decode(errors="replace")
        at = stop
        if not _wanted((*above, name)):
            continue
        start += size
        values = _values(data, start, count)
        inside = _records(data, start + length, stop, wide, (*above, name))
        yield name, values, list(inside)


def _wanted(names: tuple[str, ...]) -> bool:
    wanted = (
        ("Objects",), ("Model", "Material"), ("Properties70", "Properties60"), ("P", "Property")
    )
    if names[0] == "Connections":
        return len(names) <= 2
    return len(names) <= 4 and all(
        name in some for name, some in zip(names, wanted, strict=False)
    )


def _values(data: bytes, at: int, count: int) -> list[Any]:
    values: list[Any] = []
    for _ in range(count):
        kind = chr(data[at])
        at += 1
        if kind in _SIZES:
            values.append(struct.unpack_from(_FORMATS[kind], data, at)[0])
            at += _SIZES[kind]
        elif kind in "SR":
            size = struct.unpack_from("<I", data, at)[0]
            text = data[at + 4 : at + 4 + size]
            values.append(text.decode(errors="replace") if kind == "S" else None)
            at += 4 + size
        else:
            # An array: how many, how packed, how long.
            at += 12 + struct.unpack_from("<I", data, at + 8)[0]
            values.append(None)
    return values


# --- Text -------------------------------------------------------------------------------------


def _text(data: bytes) -> list[_Node]:
    root: list[_Node] = []
    stack: list[list[_Node]] = [root]
    current: _Node | None = None
    for match in _TOKEN.finditer(data.decode(errors="replace")):
        text, brace, key, number, word = match.groups()
        if brace == "{":
            stack.append(current[2] if current is not None else [])
        elif brace == "}":
            if len(stack) > 1:
                stack.pop()
            current = None
        elif key is not None:
            current = (key, [], [])
            stack[-1].append(current)
        elif current is not None and (text is not None or word is not None):
            current[1].append(text if text is not None else word)
        elif current is not None and number is not None and len(current[1]) < 16:
            value = float(number)
            current[1].append(int(value) if value.is_integer() else value)
    return root
