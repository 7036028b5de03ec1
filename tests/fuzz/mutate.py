"""Damage, the kinds of it that get furthest: everything follows from the generator given."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from random import Random
from typing import Any

_LIKED = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_NUMBERS = (
    "0", "-1", "1e38", "-1e308", "1e999", "nan", "inf", "4294967295", "9" * 5000, "0.5", "1e-320",
)  # fmt: skip
_TEXTS = (
    "", "../../x", "/dev/zero", "/proc/self/environ", "%2e%2e/x", "\x00", "\x1b[2J", "a" * 5000,
    "\ud7ff", "file:///x", "http://127.0.0.1:9/x", "\\\\server\\x", "<UDIM>.png", "[[[[", "💥", ".",
)  # fmt: skip


def mutated(data: bytes, extension: str, rng: Random, others: list[bytes]) -> bytes:
    """The data with one to four things wrong."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = _once(data, extension, rng, others)
    return data


def _once(data: bytes, extension: str, rng: Random, others: list[bytes]) -> bytes:
    if extension in ("glb", "gltf") and rng.random() < 0.6:
        try:
            return _document(data, extension, rng)
        except (ValueError, KeyError, struct.error, UnicodeDecodeError, RecursionError):
            pass
    kinds: list[Callable[[bytes, Random], bytes]] = [_flip, _word, _cut, _drop, _repeat, _fill]
    if extension in ("gltf", "obj", "dae", "usda", "ply", "stl", "mtl"):
        kinds += [_number, _number, _string, _line, _nest]
    if others and rng.random() < 0.05:
        other = rng.choice(others)
        at, there = rng.randrange(len(data) + 1), rng.randrange(len(other) + 1)
        return data[:at] + other[there:]
    return rng.choice(kinds)(data, rng)


def _somewhere(data: bytes, rng: Random) -> int:
    """Heads matter more."""
    return rng.randrange(min(len(data), 256 if rng.random() < 0.3 else len(data)) or 1)


def _flip(data: bytes, rng: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64))):
        if changed:
            changed[_somewhere(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _word(data: bytes, rng: Random) -> bytes:
    """A size, an offset, a count."""
    size = rng.choice((1, 2, 4, 8))
    at = _somewhere(data, rng) // size * size
    value = rng.choice((*_LIKED, rng.getrandbits(32))) & ((1 << 8 * size) - 1)
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def _cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(data: bytes, rng: Random) -> bytes:
    at = _somewhere(data, rng)
    return data[:at] + data[at + rng.choice((1, 4, 16, 256, 4096)) :]


def _repeat(data: bytes, rng: Random) -> bytes:
    at, length = _somewhere(data, rng), rng.choice((1, 8, 64, 1024))
    return data[:at] + data[at : at + length] * rng.choice((2, 3, 200)) + data[at + length :]


def _fill(data: bytes, rng: Random) -> bytes:
    at, length = _somewhere(data, rng), rng.choice((4, 12, 64, 512))
    value = rng.choice((0, 0xFF, 0x20, rng.randrange(256)))
    return data[:at] + bytes([value]) * length + data[at + length :]


def _replace(data: bytes, pattern: bytes, rng: Random, make: Callable[[], bytes]) -> bytes:
    found = list(re.finditer(pattern, data))
    if not found:
        return _flip(data, rng)
    one = rng.choice(found)
    return data[: one.start()] + make() + data[one.end() :]


def _number(data: bytes, rng: Random) -> bytes:
    return _replace(
        data, rb"-?\d+(\.\d+)?([eE][-+]?\d+)?", rng, lambda: rng.choice(_NUMBERS).encode()
    )


def _string(data: bytes, rng: Random) -> bytes:
    return _replace(
        data, rb"""["@'][^"@'\n]*["@']|[\w./]+\.(png|mtl|bin|usda)""", rng,
        lambda: b'"' + rng.choice(_TEXTS).encode("utf-8", "surrogatepass") + b'"',
    )  # fmt: skip


def _line(data: bytes, rng: Random) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    if rng.random() < 0.5:
        lines.insert(at, lines[rng.randrange(len(lines))])
    else:
        del lines[at]
    return b"\n".join(lines)


def _nest(data: bytes, rng: Random) -> bytes:
    at, depth = _somewhere(data, rng), rng.choice((3, 100, 100_000))
    return data[:at] + rng.choice((b"[", b"{", b"(", b'{"a":', b"<a>")) * depth + data[at:]


# --- glTF's JSON, changed as JSON, so that what comes after the parser is reached too ------------


def _document(data: bytes, extension: str, rng: Random) -> bytes:
    if extension == "gltf":
        return json.dumps(_changed(json.loads(data), rng)).encode("utf-8", "surrogatepass")
    (length,) = struct.unpack_from("<I", data, 12)
    text = json.dumps(_changed(json.loads(data[20 : 20 + length]), rng)).encode(
        "utf-8", "surrogatepass"
    )
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    head = struct.pack("<4sII", b"glTF", 2, 20 + len(text) + len(rest))
    return head + struct.pack("<I4s", len(text), b"JSON") + text + rest


def _changed(document: Any, rng: Random) -> Any:
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], dict | list):
                walk(value[key])

    walk(document)
    owner, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del owner[key]
    elif kind == 1 and isinstance(owner[key], int | float):
        owner[key] = rng.choice((-1, 0, 1, 255, 5126, 1 << 31, 1 << 53, 1e38, -1.5, 10**400))
    elif kind == 2:
        owner[key] = rng.choice(_TEXTS)
    elif kind == 3:
        owner[key] = json.loads(json.dumps(rng.choice(places)[0]))
    elif kind == 4:
        owner[key] = rng.choice((None, True, [], {}, [[]], "x", 7, [0] * 1000))
    elif isinstance(owner, list):
        owner.extend(owner[: 50])
    else:
        owner[rng.choice(("uri", "byteStride", "sparse", "extras", "matrix", "mesh", "skin"))] = (
            rng.choice((0, -4, [0] * 16, "/dev/zero", {"count": 1 << 31, "indices": {}}))
        )
    return document
