"""A scene composed in a real window: settled beside it, looked at, described, written."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from objaverse_render_addon.compose.record import Scene

from .conftest import Debian
from .desk import Desk
from .test_window import count, dismiss, look, wait_until_idle

YELLOW, BLUE = (255, 209, 51), (92, 174, 255)
COMPOSED = "bpy.context.window_manager.objaverse_composed"
SETTINGS = "bpy.context.scene.objaverse_compose"
RESULT = "bpy.context.window_manager.objaverse_result"
STATE = "bpy.context.window_manager.objaverse"
COMPOSE, NEXT = "objaverse.compose_scene()", "objaverse.compose_scene(go_on=True)"
IS_COMPOSED = "'objaverse_composed' in bpy.context.scene"
OURS = """
import sys
def ours(name):
    return next(m for n, m in sys.modules.items()
                if n.endswith('objaverse_render_addon.' + name))
"""


@pytest.fixture(scope="module")
def physics(newest: Debian) -> str:
    """A Python with the engines, in the Debian folder; wheels are kept there for the next time."""
    asked = newest.run("python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'")
    version = asked.stdout.split()[-1]
    packages = newest.root / f"opt/objaverse-physics-{version}"
    if not (packages / "rapier3d").is_dir():
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--target", str(packages),
             "--python-version", version, "--only-binary", ":all:", "mujoco>=4,<5",
             "rapier3d>=0.36", "numpy"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"NOT TESTED in a window: no engines for {version}; {done.stderr[-300:]}")
    program = newest.folder / "physics"
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH=/opt/{packages.name}:$PYTHONPATH exec python3 \"$@\"\n"
    )
    program.chmod(0o755)
    return f"{newest.home}/physics"


def headers(desk: Desk) -> None:
    """Close all panels of the sidebar but Compose, by clicks on their headers."""
    x, y, width, height = desk.ask("place('UI')")
    top = desk.size[1] - y - height
    desk.move(x + width // 2, top + 10)
    # With Ctrl the others close; a second click closes this one, too.
    desk.run("xdotool", "keydown", "ctrl")
    desk.click(x + 60, top + 10)
    desk.run("xdotool", "keyup", "ctrl")
    time.sleep(0.6)
    desk.picture(desk.folder / "headers.png")
    desk.click(x + 60, top + 10)
    time.sleep(0.6)
    desk.picture(desk.folder / "headers2.png")


@pytest.fixture(scope="module")
def compose(desk: Desk, newest: Debian) -> Iterator[Desk]:
    """The window with the panel Compose open, and small scenes asked for."""
    desk.ask("bpy.context.view_layer.objects.active = None")
    headers(desk)
    yield desk


def test_look(compose: Desk, physics: str) -> None:
    print(physics)
