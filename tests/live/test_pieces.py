"""How a picture is cut into pieces, by what pieces took."""

from __future__ import annotations

import numpy as np
import pytest

from objaverse_render_addon.live.backends.pieces import Pieces


def rendered(
    pieces: Pieces, fixed: float, pace: float, size: tuple[int, int], samples: int,
    noise: np.random.Generator | None = None,
) -> list[float]:  # fmt: skip
    """Seconds of each piece of a picture, on a machine that takes so long."""
    took: list[float] = []
    done = 0
    while done < samples:
        count, (across, down) = pieces.next(*size, samples - done)
        strips = across * down
        assert 1 <= count <= samples - done
        for _ in range(strips):
            work = size[0] * size[1] * count / strips
            seconds = fixed + pace * work
            if noise is not None and noise.random() < 0.3:
                seconds *= noise.uniform(1, 4)
            pieces.took(work, seconds)
            took.append(seconds)
        done += count
    return took


@pytest.mark.parametrize("pace", [1e-9, 1e-7, 3e-6])
@pytest.mark.parametrize("fixed", [0.0, 0.004, 0.02])
def test_pieces_take_what_they_should(fixed: float, pace: float) -> None:
    pieces = Pieces(0.03)
    for size in ((640, 480), (1280, 960), (320, 240)):
        rendered(pieces, fixed, pace, size, 8)
        last = rendered(pieces, fixed, pace, size, 64)[1:]
        whole = size[0] * size[1] * 64 * pace + fixed
        # A fixed time of two thirds makes it twice as long, and a little for whole strips.
        assert len(last) == 0 or np.median(last) < 0.045
        if whole > 0.2:
            assert sum(last) < (1.3 if fixed < 0.005 else 2.4) * whole


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
