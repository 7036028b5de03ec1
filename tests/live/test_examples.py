"""The examples that show a queue's pictures elsewhere, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from splats.made import field_of

from objaverse_render_addon.splats.field import write_field

ROOT = Path(__file__).parents[2]
HANDS = """
import runpy, sys, threading, time
import numpy as np, pygame

def until(what):
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)

def picture():
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)

def done():
    last = pygame.display.get_caption()[0].split()
    return last[0] == "level" and last[1] == last[3]

def hands():
    try:
        until(lambda: pygame.display.get_init() and pygame.display.get_surface() and done())
        seen = [picture()]
        for event in (
            pygame.event.Event(pygame.MOUSEMOTION, rel=(60, 20), buttons=(1, 0, 0), pos=(9, 9)),
            pygame.event.Event(pygame.MOUSEWHEEL, x=0, y=3),
        ):
            pygame.event.post(event)
            until(lambda: not np.array_equal(picture(), seen[-1]))
            until(done)
            time.sleep(0.3)
            seen.append(picture())
        np.savez(KEPT, *seen)
    finally:
        pygame.event.post(pygame.event.Event(pygame.QUIT))

KEPT = sys.argv.pop()
threading.Thread(target=hands).start()
sys.argv = [sys.argv[1], *sys.argv[2:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_pygame_window_shows_turns_and_comes_nearer(tmp_path: Path) -> None:
    pytest.importorskip("pygame", reason="NOT TESTED: pygame-ce is not installed")
    write_field(tmp_path / "field.ply", field_of(400, size=0.06))
    hands, kept = tmp_path / "hands.py", tmp_path / "seen.npz"
    hands.write_text(HANDS)
    example = ROOT / "examples" / "view_in_pygame.py"
    subprocess.run(
        [sys.executable, str(hands), str(example), str(tmp_path / "field.ply"), str(kept)],
        check=True, timeout=120, env=os.environ | {"SDL_VIDEODRIVER": "dummy"},
    )  # fmt: skip
    with np.load(kept) as file:
        first, turned, nearer = (file[name] for name in file.files)
    assert first.shape == (640, 960, 3) and np.ptp(first) > 100
    assert not np.array_equal(first, turned)

    def covered(picture: np.ndarray) -> float:
        return float((picture.max(axis=2) > 8).mean())

    assert covered(nearer) > 1.2 * covered(turned)
