"""Colour terms of what people agree about."""

import numpy as np
import pytest

from objaverse_render_addon.compose.colors import TERMS, lab, shares

AGREED = {
    "black": "0a0a0a", "white": "fafafa", "grey": "8a8a8a", "red": "d01515", "orange": "ff9010",
    "yellow": "f8e820", "green": "209030", "blue": "2040d0", "purple": "7a1a90", "pink": "ff90c0",
    "brown": "70401a",
}  # fmt: skip


@pytest.mark.parametrize("term", TERMS)
def test_agreed_colours_have_their_term(term):
    color = np.array([list(bytes.fromhex(AGREED[term]))], np.uint8)
    assert shares(color) == {term: 1.0}
    assert shares(color / 255.0) == {term: 1.0}


def test_lab_is_cie_s():
    # sRGB's red, by CIE 15 with D65.
    assert np.allclose(lab(np.array([255, 0, 0], np.uint8)), [53.24, 80.09, 67.20], atol=0.02)
    assert np.allclose(lab(np.array([1.0, 1.0, 1.0])), [100, 0, 0], atol=1e-6)


def test_shares_are_of_pixels():
    two = np.array([[255, 0, 0]] * 3 + [[255, 255, 255]], np.uint8)
    assert shares(two) == {"red": 0.75, "white": 0.25}
    assert shares(np.zeros((0, 3), np.uint8)) == {}
    # A white thing under blue light is not white.
    assert "white" not in shares(np.array([[90, 120, 230]], np.uint8))
