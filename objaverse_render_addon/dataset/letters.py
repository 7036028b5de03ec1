"""Names and numbers in pictures, pixel by pixel: an installed Blender's Python has no Pillow."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["HEIGHT", "width_of", "write"]

# Five rows of three pixels each, a row an octal digit, its highest bit left.
_GLYPHS: Final = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717",
    "6": "74757", "7": "71111", "8": "75757", "9": "75717", "a": "25755", "b": "65656",
    "c": "34443", "d": "65556", "e": "74647", "f": "74644", "g": "34553", "h": "55755",
    "i": "72227", "j": "11152", "k": "55655", "l": "44447", "m": "57755", "n": "65555",
    "o": "25552", "p": "65644", "q": "25563", "r": "65655", "s": "34216", "t": "72222",
    "u": "55557", "v": "55552", "w": "55775", "x": "55255", "y": "55222", "z": "71247",
    "_": "00007", "-": "00700", ".": "00002", " ": "00000",
}  # fmt: skip
_UNKNOWN: Final = "77777"
_SCALE: Final = 2
_ADVANCE: Final = 4 * _SCALE
HEIGHT: Final = 5 * _SCALE
"""Of a line, pixels."""


def width_of(text: str) -> int:
    """Of a text, pixels."""
    return _ADVANCE * len(text) - _SCALE if text else 0


def write(
    pixels: npt.NDArray[np.uint8], text: str, place: tuple[int, int], color: Any, room: int
) -> None:
    """Write a text into a picture.

    Args:
        pixels: (H, W, 3) uint8, changed in place.
        text: Letters, digits and ``_-.``; others become blocks.
        place: Left and upper edge, pixels.
        color: sRGB, 0 to 255.
        room: Pixels to the right that it may take; letters beyond are left away.
    """
    left, top = place
    for letter in text.lower()[: max(0, room + _SCALE) // _ADVANCE]:
        rows = [[int(row) >> bit & 1 for bit in (2, 1, 0)] for row in _GLYPHS.get(letter, _UNKNOWN)]
        dots = np.kron(np.array(rows, bool), np.ones((_SCALE, _SCALE), bool))
        part = pixels[top : top + HEIGHT, left : left + dots.shape[1]]
        part[dots[: part.shape[0], : part.shape[1]]] = color
        left += _ADVANCE
