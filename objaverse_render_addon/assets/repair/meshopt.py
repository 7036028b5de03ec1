"""Decoder of meshoptimizer's codecs, as ``EXT_`` and ``KHR_meshopt_compression`` specify them.

https://github.com/KhronosGroup/glTF/blob/main/extensions/2.0/Vendor/EXT_meshopt_compression
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["decode"]

Bytes = npt.NDArray[np.uint8]

_GROUP: Final = 16
_MOST: Final = 8 << 30
"""Bytes of a buffer view."""
_BITS: Final = ((0, 2, 4, 8), (0, 1, 2, 4), (1, 2, 4, 8))
"""Bits of a byte in a group: of version 0, and of version 1 by its control."""


def decode(data: bytes, count: int, stride: int, mode: str, filter_: str) -> bytes:
    """A buffer view, ``count * stride`` bytes.

    Args:
        mode: ``ATTRIBUTES``, ``TRIANGLES`` or ``INDICES``.
        filter_: ``NONE``, ``OCTAHEDRAL``, ``QUATERNION``, ``EXPONENTIAL`` or ``COLOR``.

    Raises:
        ValueError: The data are not what they should be.
    """
    if not 0 <= count <= _MOST // max(stride, 1):
        raise ValueError(f"meshopt data of {count} elements")
    try:
        if mode == "ATTRIBUTES":
            values = _attributes(data, count, stride)
            return bytes(_FILTERS[filter_](values).tobytes())
        indices = _triangles(data, count) if mode == "TRIANGLES" else _sequence(data, count)
        return indices.astype({2: "<u2", 4: "<u4"}[stride]).tobytes()
    except (IndexError, KeyError) as error:
        raise ValueError(f"damaged meshopt data ({mode}, {filter_}): {error}") from error


# --- Attributes -------------------------------------------------------------------------------


def _attributes(data: bytes, count: int, stride: int) -> Bytes:
    """(count, stride)."""
    if not data or data[0] & 0xF0 != 0xA0 or data[0] & 0x0F > 1 or stride % 4 or stride > 256:
        raise ValueError("no meshopt attributes")
    version = data[0] & 0x0F
    source = np.frombuffer(data, np.uint8)
    tail = stride + (stride // 4 if version else 0)
    last = source[len(source) - tail :][:stride].copy()
    channels = source[len(source) - stride // 4 :] if version else np.zeros(stride // 4, np.uint8)
    end = len(source) - max(tail, 24 if version else 32)
    block = min(8192 // stride & ~(_GROUP - 1), 256)
    result = np.empty((count, stride), np.uint8)
    at = 1
    for start in range(0, count, block):
        size = min(block, count - start)
        at, deltas = _block(source, at, end, size, stride, version)
        last = _undo(deltas, last, channels, result[start : start + size])
    if at > end:
        raise ValueError("meshopt attributes are cut off")
    return result


def _block(
    source: Bytes, at: int, end: int, size: int, stride: int, version: int
) -> tuple[int, Bytes]:
    """Differences (stride, size), byte by byte."""
    controls = source[at : at + stride // 4] if version else np.zeros(stride // 4, np.uint8)
    at += stride // 4 if version else 0
    deltas = np.zeros((stride, size), np.uint8)
    groups = -(-size // _GROUP)
    for index in range(stride):
        control = int(controls[index // 4]) >> (index % 4 * 2) & 3
        if control == 2 and version:
            continue
        if control == 3 and version:
            deltas[index] = source[at : at + size]
            at += size
            continue
        at, values = _bytes(source, at, groups, _BITS[control + 1 if version else 0])
        deltas[index] = values[:size]
        if at > end:
            raise ValueError("meshopt attributes are cut off")
    return at, deltas


def _bytes(source: Bytes, at: int, groups: int, bits: tuple[int, ...]) -> tuple[int, Bytes]:
    header = source[at : at + -(-groups // 4)]
    at += len(header)
    values = np.zeros(groups * _GROUP, np.uint8)
    for group in range(groups):
        width = bits[int(header[group // 4]) >> (group % 4 * 2) & 3]
        target = values[group * _GROUP : (group + 1) * _GROUP]
        if width == 0:
            continue
        if width == 8:
            target[:] = source[at : at + _GROUP]
            at += _GROUP
            continue
        packed = source[at : at + 2 * width]
        at += 2 * width
        if width == 1:
            # Ones of a bit begin with the lowest, wider ones with the highest.
            target[:] = np.unpackbits(packed, bitorder="little")
        else:
            shifts = np.arange(8 - width, -1, -width, dtype=np.uint8)
            target[:] = (packed[:, None] >> shifts & ((1 << width) - 1)).ravel()
        escaped = target == (1 << width) - 1
        extra = int(escaped.sum())
        target[escaped] = source[at : at + extra]
        at += extra
    return at, values


def _undo(deltas: Bytes, last: Bytes, channels: Bytes, result: Bytes) -> Bytes:
    """Sums of differences into ``result`` (size, stride); its last row."""
    for first in range(0, len(deltas), 4):
        channel = int(channels[first // 4])
        parts = deltas[first : first + 4]
        if channel & 3 == 0:
            signed = (parts >> 1) ^ (0 - (parts & 1)).astype(np.uint8)
            sums = np.cumsum(signed, axis=1, dtype=np.uint8) + last[first : first + 4, None]
            result[:, first : first + 4] = sums.T
        elif channel & 3 == 1:
            words = np.ascontiguousarray(parts.T).view("<u2")
            start = last[first : first + 4].copy().view("<u2")
            signed16 = (words >> 1) ^ (0 - (words & 1)).astype(np.uint16)
            sums16 = np.cumsum(signed16, axis=0, dtype=np.uint16) + start
            result[:, first : first + 4] = sums16.astype("<u2").view(np.uint8)
        elif channel & 3 == 2:
            turn = (32 - (channel >> 4)) & 31
            long = np.ascontiguousarray(parts.T).view("<u4").ravel()
            turned = (long << np.uint32(turn)) | (long >> np.uint32((32 - turn) & 31))
            turned = long if turn == 0 else turned
            turned[0] ^= last[first : first + 4].copy().view("<u4")[0]
            found = np.bitwise_xor.accumulate(turned).astype("<u4")
            result[:, first : first + 4] = found[:, None].view(np.uint8)
        else:
            raise ValueError("an unknown channel of meshopt attributes")
    return np.array(result[-1])


# --- Indices ----------------------------------------------------------------------------------


def _triangles(data: bytes, count: int) -> npt.NDArray[np.uint32]:
    if not data or data[0] & 0xF0 != 0xE0 or data[0] & 0x0F > 1 or count % 3:
        raise ValueError("no meshopt triangles")
    if len(data) < 17 + count // 3:
        raise ValueError("meshopt triangles are cut off")
    most = 13 if data[0] & 0x0F else 15
    table = data[len(data) - 16 :]
    at = 1 + count // 3
    edges = [(0, 0)] * 16
    recent = [0] * 16
    edge = vertex = following = last = 0
    result = np.empty((count // 3, 3), np.uint32)

    def number(before: int) -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128 or shift > 28:
                break
        return (before + ((value >> 1) ^ -(value & 1))) & 0xFFFFFFFF

    for index, code in enumerate(data[1 : 1 + count // 3]):
        if code < 0xF0:
            a, b = edges[(edge - 1 - (code >> 4)) & 15]
            low = code & 15
            push = True
            if low < most:
                c = following if low == 0 else recent[(vertex - 1 - low) & 15]
                push = low == 0
                following += push
            else:
                c = last = number(last) if low == 15 else last + low - (low ^ 3)
            if push:
                recent[vertex & 15] = c
                vertex += 1
            edges[edge & 15], edges[(edge + 1) & 15] = (c, b), (a, c)
            edge += 2
        else:
            if code < 0xFE:
                aux = table[code & 15]
                high, low, first = aux >> 4, aux & 15, 0
                one = False
            else:
                aux = data[at]
                at += 1
                high, low, first = aux >> 4, aux & 15, 0 if code == 0xFE else 15
                one = True
                if aux == 0:
                    following = 0
            a = b = c = 0
            if first == 0:
                a = following
                following += 1
            if high == 0:
                b = following
                following += 1
            else:
                b = recent[(vertex - high) & 15]
            if low == 0:
                c = following
                following += 1
            else:
                c = recent[(vertex - low) & 15]
            if one:
                if first == 15:
                    a = last = number(last)
                if high == 15:
                    b = last = number(last)
                if low == 15:
                    c = last = number(last)
            recent[vertex & 15] = a
            vertex += 1
            if high == 0 or (one and high == 15):
                recent[vertex & 15] = b
                vertex += 1
            if low == 0 or (one and low == 15):
                recent[vertex & 15] = c
                vertex += 1
            for pair in ((b, a), (c, b), (a, c)):
                edges[edge & 15] = pair
                edge += 1
        result[index] = a, b, c
    return result.ravel()


def _sequence(data: bytes, count: int) -> npt.NDArray[np.uint32]:
    if not data or data[0] & 0xF0 != 0xD0 or data[0] & 0x0F > 1:
        raise ValueError("no meshopt indices")
    at, last = 1, [0, 0]
    result = np.empty(count, np.uint32)
    for index in range(count):
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128 or shift > 28:
                break
        which = value & 1
        value >>= 1
        last[which] = (last[which] + ((value >> 1) ^ -(value & 1))) & 0xFFFFFFFF
        result[index] = last[which]
    return result


# --- Filters ----------------------------------------------------------------------------------


def _octahedral(values: Bytes) -> npt.NDArray[Any]:
    kind = np.dtype("i1") if values.shape[1] == 4 else np.dtype("<i2")
    most = float(np.iinfo(kind).max)
    whole = values.view(kind).reshape(len(values), 4)
    x, y, one = (whole[:, axis].astype(np.float32) for axis in range(3))
    z = one - np.abs(x) - np.abs(y)
    fold = np.minimum(z, 0)
    x = x + np.where(x >= 0, fold, -fold)
    y = y + np.where(y >= 0, fold, -fold)
    scale = most / np.sqrt(x * x + y * y + z * z)
    found = np.stack([x, y, z], axis=1) * scale[:, None]
    result = whole.copy()
    result[:, :3] = _rounded(found)
    return result


def _quaternion(values: Bytes) -> npt.NDArray[Any]:
    whole = values.view("<i2").reshape(len(values), 4)
    largest = whole[:, 3] & 3
    one = (whole[:, 3] | 3).astype(np.float32)
    three = whole[:, :3].astype(np.float32) / (one * np.float32(np.sqrt(2)))[:, None]
    rest = np.sqrt(np.maximum(0, 1 - (three * three).sum(axis=1)))
    result = np.empty_like(whole)
    rows = np.arange(len(whole))
    for axis in range(3):
        result[rows, (largest + 1 + axis) & 3] = _rounded(three[:, axis] * 32767)
    result[rows, largest] = _rounded(rest * 32767)
    return result


def _exponential(values: Bytes) -> npt.NDArray[Any]:
    words = values.view("<i4")
    mantissa = (words << 8) >> 8
    return np.asarray(np.ldexp(mantissa.astype(np.float32), words >> 24).astype("<f4"))


def _color(values: Bytes) -> npt.NDArray[Any]:
    kind = np.dtype("u1") if values.shape[1] == 4 else np.dtype("<u2")
    whole = values.view(kind).reshape(len(values), 4)
    signed = whole.view(np.dtype(kind.str.replace("u", "i"))).astype(np.int64)
    bits = np.floor(np.log2(np.maximum(whole[:, 3].astype(np.int64), 1))).astype(np.int64)
    # The highest bit set tells how many bits there are.
    scale = (np.int64(1) << (bits + 1)) - 1
    y, co, cg = signed[:, 0] & scale, signed[:, 1], signed[:, 2]
    alpha = whole[:, 3].astype(np.int64)
    alpha = ((alpha << 1) & scale) | (alpha & 1)
    channels = np.stack([y + co - cg, y + cg, y - co - cg, alpha], axis=1)
    most = float(np.iinfo(kind).max)
    found = channels * (most / np.maximum(scale, 1))[:, None]
    return np.asarray(np.clip(np.floor(found + 0.5), 0, most).astype(kind))


def _rounded(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.trunc(values + np.where(values >= 0, 0.5, -0.5))


_FILTERS: Final[dict[str, Any]] = {
    "NONE": lambda values: values,
    "OCTAHEDRAL": _octahedral,
    "QUATERNION": _quaternion,
    "EXPONENTIAL": _exponential,
    "COLOR": _color,
}
