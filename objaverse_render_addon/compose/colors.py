"""Which of the eleven basic colour terms people would call a pixel.

The terms are those of Berlin and Kay, *Basic Color Terms* (1969). A pixel is called by the term of
its nearest prototype in CIELAB (D65, 2°). Prototypes are the named colours of the web (CSS Color
Module Level 4, W3C, https://www.w3.org/TR/css-color-4/#named-colors), each put under a basic term
by hand; those that people do not agree about (turquoise, khaki, …) are left out, so that the
border lies half way between what is agreed. Fitted to no data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["TERMS", "claims", "lab", "nearest", "shares", "srgb"]

Floats = npt.NDArray[np.float64]

_PROTOTYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "black": ("000000", "101010", "1c1c1c"),
    "white": ("ffffff", "f5f5f5", "fffaf0", "f8f8ff", "f0f8ff", "e6e6e6", "dcdcdc"),
    "grey": ("808080", "a9a9a9", "696969", "708090", "778899", "c0c0c0", "484848", "3a3a3a"),
    "red": ("ff0000", "b22222", "dc143c", "8b0000", "c81e1e", "e53935", "600000"),
    "orange": ("ffa500", "ff8c00", "ff7f00", "f57c00", "e06010"),
    "yellow": ("ffff00", "ffd700", "f0e020", "c8b400", "ffee58", "e0c020"),
    "green": ("008000", "006400", "228b22", "32cd32", "00ff00", "2e8b57", "6b8e23", "7cfc00",
              "90ee90", "003800", "4caf50"),
    "blue": ("0000ff", "00008b", "000080", "4169e1", "1e90ff", "4682b4", "87cefa", "6495ed",
             "00bfff", "191970", "1565c0", "00002e", "1a3fb5"),
    "purple": ("800080", "4b0082", "9400d3", "8a2be2", "9932cc", "663399", "9370db", "ba55d3",
               "380038"),
    "pink": ("ffc0cb", "ff69b4", "ffb6c1", "ff1493", "db7093", "f48fb1"),
    "brown": ("8b4513", "a0522d", "654321", "5d4037", "795548", "3b2008", "6b4423"),
}  # fmt: skip
"""Term to sRGB, as two hexadecimal digits per channel. Dark shades stand for what is in shadow."""

TERMS: Final = tuple(_PROTOTYPES)

_TO_XYZ: Final = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip
"""Linear sRGB to CIE XYZ (IEC 61966-2-1)."""
_WHITE: Final = _TO_XYZ.sum(axis=1)


def lab(srgb: npt.NDArray[Any]) -> Floats:
    """CIELAB of sRGB.

    Args:
        srgb: (…, 3), 0 to 255 where it is of whole numbers, else 0 to 1.

    Returns:
        (…, 3) float64: L* from 0 to 100, a*, b*. CIE 15:2004.
    """
    scale = 255.0 if srgb.dtype.kind in "ui" else 1.0
    value = np.clip(srgb.astype(np.float64) / scale, 0, 1)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T / _WHITE
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def srgb(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(…, 3) bytes of sRGB; bytes as they are, other numbers from linear ones (IEC 61966-2-1)."""
    if picture.dtype.kind in "ui":
        return np.asarray(picture[..., :3], np.uint8)
    value = np.clip(picture[..., :3].astype(np.float64), 0, 1)
    curve = np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)
    return np.rint(255 * curve).astype(np.uint8)


_OWNERS: Final = np.array([place for place, term in enumerate(TERMS) for _ in _PROTOTYPES[term]])
_POINTS: Final = lab(
    np.array([list(bytes.fromhex(code)) for term in TERMS for code in _PROTOTYPES[term]], np.uint8)
)
_STEP: Final = 4
"""Colours are told apart in 64 steps a channel, so that few are looked up."""


def _looked_up(pixels: npt.NDArray[Any]) -> tuple[Floats, npt.NDArray[np.intp]]:
    """(U, T) distance of each colour that occurs to each term, and (N,) which pixel has which."""
    scale = 1 if pixels.dtype.kind in "ui" else 255
    whole = np.clip(np.rint(np.asarray(pixels, np.float64) * scale), 0, 255).astype(np.int64)
    steps = whole // _STEP
    weights = np.array([1 << 12, 1 << 6, 1], np.int64)
    codes, back = np.unique((steps * weights).sum(axis=1), return_inverse=True)
    some = np.stack([codes >> 12, codes >> 6 & 63, codes & 63], axis=1)
    # Ends stay ends: the first step is 0, the last 255.
    found = lab(np.rint(some * (255 / 63)).astype(np.uint8))
    gaps = np.sqrt(((found[:, None] - _POINTS) ** 2).sum(axis=2))
    terms = [gaps[:, place == _OWNERS].min(axis=1) for place in range(len(TERMS))]
    return np.stack(terms, axis=1), np.asarray(back.reshape(-1), np.intp)


def nearest(pixels: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Place in :data:`TERMS` of each pixel's term.

    Args:
        pixels: (N, 3) sRGB, as :func:`lab` takes it.

    Returns:
        (N,).
    """
    gaps, back = _looked_up(pixels)
    return np.asarray(gaps.argmin(axis=1)[back], np.intp)


def claims(pixels: npt.NDArray[Any], lead: float) -> tuple[dict[str, float], dict[str, float]]:
    """How much of some pixels has each term for sure, and how much may have it.

    Args:
        pixels: (N, 3) sRGB, as :func:`lab` takes it; without alpha.
        lead: By how much a term is nearer than the next one where it is sure, and farther than the
            nearest where it may be meant; CIELAB (ΔE*ab of 1976).

    Returns:
        Term to share, each; a pixel of no sure term is in the second alone, once for each term
        that it may have. Empty where there are no pixels.
    """
    if not len(pixels):
        return {}, {}
    gaps, back = _looked_up(pixels)
    counts = np.bincount(back, minlength=len(gaps)) / len(pixels)
    may = gaps <= gaps.min(axis=1, keepdims=True) + lead
    sure = may & (may.sum(axis=1) == 1)[:, None]
    both = [dict(zip(TERMS, (counts @ one).tolist(), strict=True)) for one in (sure, may)]
    return both[0], both[1]


def shares(pixels: npt.NDArray[Any]) -> dict[str, float]:
    """How much of some pixels each term has.

    Args:
        pixels: (N, 3) sRGB, as :func:`lab` takes it; without alpha.

    Returns:
        Term to share, largest first, rounded to 1e-4; terms without any are left out. Empty where
        there are no pixels.
    """
    if not len(pixels):
        return {}
    counts = np.bincount(nearest(pixels), minlength=len(TERMS))
    order = sorted(range(len(TERMS)), key=lambda place: (-int(counts[place]), place))
    return {TERMS[p]: round(float(counts[p]) / len(pixels), 4) for p in order if counts[p]}
