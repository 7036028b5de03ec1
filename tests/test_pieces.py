"""How a picture is cut into pieces, by what pieces took."""

from __future__ import annotations

import numpy as np
import pytest

from objaverse_render_addon.blender.pieces import Pieces


def rendered(
    pieces: Pieces, fixed: float, pace: float, size: tuple[int, int], samples: int,
    noise: np.random.Generator | None = None, heavy: float = 1.0,
) -> list[float]:  # fmt: skip
    """Seconds of each piece of a picture, on a machine that takes so long; rows in its middle third
    take some times longer than the others.
    """
    took: list[float] = []
    across, down = pieces.cut(*size, samples)
    count, part = across * down, 0
    rows = np.where(np.abs(np.arange(3 * down) - 1.5 * down) < 0.5 * down, heavy, 1.0)
    until = np.concatenate([[0], np.cumsum(rows)]) / rows.sum()
    while part < count:
        some = pieces.next(part)
        assert some >= 1 and part + some <= count and (some == 1 or across == 1)
        share = until[3 * (part + some)] - until[3 * part] if across == 1 else 1 / count
        seconds = fixed + pace * size[0] * size[1] * samples * share
        if noise is not None and noise.random() < 0.3:
            seconds *= noise.uniform(1, 4)
        pieces.rendered(part, some, seconds)
        took.append(seconds)
        part += some
    return took


@pytest.mark.parametrize("pace", [1e-9, 1e-7, 1e-6])
@pytest.mark.parametrize("fixed", [0.0, 0.004, 0.02])
def test_pieces_take_what_they_should(fixed: float, pace: float) -> None:
    pieces = Pieces(0.03)
    for size in ((640, 480), (1280, 960), (320, 240)):
        rendered(pieces, fixed, pace, size, 8)
        last = rendered(pieces, fixed, pace, size, 32)[1:]
        whole = size[0] * size[1] * 32 * pace + fixed
        # A fixed time of two thirds makes it twice as long, and a little for whole strips.
        assert len(last) == 0 or np.median(last) < 0.045
        if whole > 0.2:
            assert sum(last) < (1.3 if fixed < 0.005 else 2.4) * whole


@pytest.mark.parametrize("heavy", [1.0, 6.0])
def test_pieces_are_alike_though_a_picture_s_parts_are_not(heavy: float) -> None:
    pieces = Pieces(0.03)
    for _ in range(4):
        rendered(pieces, 0.002, 1e-7, (640, 480), 1, heavy=heavy)
        took = rendered(pieces, 0.002, 1e-7, (640, 480), 32, heavy=heavy)
    assert max(took) < 0.045 and np.mean(took) > 0.02, took
    least = (640 * 480 * 32 * 1e-7) / (0.03 - 0.002)
    assert least <= len(took) < 1.25 * least


def test_a_scene_that_takes_longer_than_a_piece_is_not_cut_to_dust() -> None:
    pieces = Pieces(0.03)
    rendered(pieces, 0.2, 1e-7, (640, 480), 16)
    took = rendered(pieces, 0.2, 1e-7, (640, 480), 64)
    assert sum(took) < 2.5 * (64 * 640 * 480 * 1e-7 + 0.2)


def test_other_load_makes_no_nonsense() -> None:
    noise = np.random.default_rng(4)
    pieces = Pieces(0.03)
    for _ in range(6):
        took = rendered(pieces, 0.004, 1.2e-7, (640, 480), 16, noise)
    assert 0.012 < np.median(took) < 0.045
    assert pieces.tiles(640, 480, 10**9) == (80, 60)
    assert pieces.tiles(2, 2, 10**6) == (1, 1)


def test_a_busy_machine_makes_no_small_pieces() -> None:
    """Ten times as long as if two threads had the machine for themselves."""
    pieces = Pieces(0.03, threads=2)
    for _ in range(4):
        across, down = pieces.cut(640, 480, 32)
        part = count = 0
        while part < across * down:
            some = pieces.next(part)
            alone = 0.002 + 640 * 480 * 32 * 1e-7 * some / (across * down)
            pieces.rendered(part, some, 10 * alone, 2 * alone)
            part, count = part + some, count + 1
    assert 1 < count / (640 * 480 * 32 * 1e-7 / 0.03) < 1.8, count
