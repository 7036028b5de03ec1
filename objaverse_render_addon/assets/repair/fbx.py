"""FBX: which models are hidden, which Blender's importer does not ask."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

__all__ = ["hidden_models"]

_MAGIC: Final = b"Kaydara FBX Binary"
_SIZES: Final = {"Y": 2, "C": 1, "B": 1, "I": 4, "F": 4, "D": 8, "L": 8}
_FORMATS: Final = {"Y": "<h", "C": "<?", "B": "<?", "I": "<i", "F": "<f", "D": "<d", "L": "<q"}
_TOKEN: Final = re.compile(
    r'"([^"]*)"|([{}])|([A-Za-z]\w*)[ \t]*:|([-+]?\d[\d.eE+-]*)|;[^\n]*|([A-Za-z]\w*)'
)
_HIDING: Final = ("Visibility", "Show")
_Node = tuple[str, list[Any], list[Any]]


def hidden_models(path: Path) -> tuple[set[str], set[str]]:
    """Names of models that are hidden, themselves or by one above them.

    Returns:
        Those that always are, and those whose visibility is animated.
    """
    data = path.read_bytes()
    try:
        nodes = _binary(data) if data.startswith(_MAGIC) else _text(data)
        return _hidden(nodes)
    except (struct.error, IndexError, ValueError, RecursionError, TypeError):
        # Malformed: whether it can be read is for the importer to say.
        return set(), set()


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
    for kind, _, inside in items:
        if kind in ("Properties70", "Properties60"):
            for _, values, _ in inside:
                if values and values[0] in _HIDING and values[-1] in (0, 0.0, False):
                    return True
    return False


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
    wanted = ("Objects", "Model", ("Properties70", "Properties60"), ("P", "Property"))
    if names[0] == "Connections":
        return len(names) <= 2
    return len(names) <= 4 and all(
        name == one or name in one for name, one in zip(names, wanted, strict=False)
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
