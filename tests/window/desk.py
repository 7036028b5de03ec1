"""A Blender with a window on a screen of its own, and a mouse and a keyboard for it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from Xlib import XK, X
from Xlib.display import Display
from Xlib.ext import xtest

HERE = Path(__file__).parent


class Desk:
    """Xvfb and Blender in a Debian folder.

    Args:
        root: The Debian folder.
        folder: A folder below ``root`` for everything this writes.
        size: Of the screen, pixels.

    Attributes:
        places: By folder, where buttons were found last, also in windows before: y from below, and
            of the sidebar's tab from its upper edge.
    """

    places: ClassVar[dict[Path, dict[str, int]]] = {}

    def __init__(
        self, root: Path, folder: Path, environment: dict[str, str], size: tuple[int, int],
        display: int, scale: float = 1.0, arguments: tuple[str, ...] = (),
    ) -> None:
        self.root, self.folder, self.size, self.scale = root, folder, size, scale
        self.display: Any = None
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "probe.py", self.folder)
        inside = self.inside(self.folder)
        self.environment = {
            **environment,
            "DISPLAY": f":{display}",
            "OBJAVERSE_PROBE": inside,
            "OBJAVERSE_UI_SCALE": str(scale),
            "LP_NUM_THREADS": "2",
        }
        width, height = size
        self.screen = self.spawn(
            ["Xvfb", f":{display}", "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp"],
            "xvfb.log",
        )
        # A program that is started for each click and each picture takes its time.
        self.display = self.connect(display)
        self.log = self.folder / "blender.log"
        self.blender = self.spawn(
            ["blender", "--gpu-backend", "opengl", "--window-geometry", "0", "0", str(width),
             str(height), "--python", f"{inside}/probe.py", *arguments],
            "blender.log",
        )  # fmt: skip

    def inside(self, path: Path) -> str:
        """A path as the programs in the Debian folder see it."""
        return "/" + str(path.relative_to(self.root))

    def spawn(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("wb") as file:
            return subprocess.Popen(
                ["chroot", str(self.root), *command], env=self.environment, stdout=file,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def connect(self, display: int) -> Any:
        """A connection of our own to the screen, once it is there."""
        # A file of that name may be left of another one.
        name = f"@/tmp/.X11-unix/X{display}\n"
        sockets = Path("/proc/net/unix")
        self.until(
            lambda: name in sockets.read_text() or self.screen.poll() is not None, 40, "the screen"
        )
        if self.screen.poll() is not None:
            raise RuntimeError((self.folder / "xvfb.log").read_text())
        time.sleep(0.1)
        return Display(f":{display}")

    def close(self) -> None:
        if self.display is not None:
            with contextlib.suppress(Exception):  # Where the screen is gone.
                self.display.close()
        for process in (self.blender, self.screen):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(10)

    # --- Seeing

    def ask(self, code: str, timeout: float = 90.0) -> Any:
        """The value of a Python expression (or nothing, of statements) inside Blender."""
        reply = self.folder / "answer"
        reply.unlink(missing_ok=True)
        part = self.folder / "ask.part"
        part.write_text(code)
        part.rename(self.folder / "ask")
        self.until(reply.exists, timeout, f"an answer to {code}", period=0.01)
        answer = json.loads(reply.read_text())
        if "error" in answer:
            raise RuntimeError(f"{code}\n{answer['error']}")
        return answer["value"]

    def until(self, condition: Any, timeout: float, what: str, period: float = 0.1) -> Any:
        """Wait until something is true.

        Args:
            condition: A function, or an expression for :meth:`ask`.
        """
        deadline = time.monotonic() + timeout
        while True:
            value = self.ask(condition) if isinstance(condition, str) else condition()
            if value:
                return value
            blender = getattr(self, "blender", None)
            if blender is not None and blender.poll() is not None:
                raise RuntimeError(f"Blender ended ({blender.returncode}):\n{self.output()}")
            if time.monotonic() > deadline:
                if blender is not None:
                    self.picture(self.folder / "failed.png")
                raise TimeoutError(f"waited {timeout} s for {what}\n{self.output()}")
            time.sleep(period)

    def output(self) -> str:
        return self.log.read_text(errors="replace") if hasattr(self, "log") else ""

    def photo(self) -> np.ndarray:
        """The screen, (H, W, 3) uint8."""
        width, height = self.size
        root = self.display.screen().root
        data = root.get_image(0, 0, width, height, X.ZPixmap, 0xFFFFFFFF).data
        return np.frombuffer(data, np.uint8).reshape(height, width, 4)[..., 2::-1]

    def picture(self, path: Path) -> Path:
        """Keep a photograph of the screen."""
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(self.photo())).save(path, compress_level=1)
        return path

    def run(self, *command: str) -> str:
        done = subprocess.run(
            ["chroot", str(self.root), *command], env=self.environment, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        return done.stdout

    # --- Doing

    def move(self, x: float, y: float) -> None:
        """Move the mouse; y from above."""
        xtest.fake_input(self.display, X.MotionNotify, x=round(x), y=round(y))
        self.display.sync()

    def button(self, number: int = 1) -> None:
        """Press a button of the mouse and let go; 4 and 5 are its wheel."""
        for event in (X.ButtonPress, X.ButtonRelease):
            xtest.fake_input(self.display, event, number)
            self.display.sync()
            time.sleep(0.05)

    def click(self, x: float, y: float, button: int = 1, repeat: int = 1) -> None:
        """Move, let Blender see where the mouse is, and press."""
        self.move(x - 1, y)
        time.sleep(0.06)
        self.move(x, y)
        time.sleep(0.12)
        for _ in range(repeat):
            self.button(button)
        time.sleep(0.15)

    def key(self, *names: str) -> None:
        for name in names:
            if re.fullmatch(r"F\d+", name):
                # Of these xdotool sends what Blender does not know.
                code = self.display.keysym_to_keycode(XK.string_to_keysym(name))
                for event in (X.KeyPress, X.KeyRelease):
                    xtest.fake_input(self.display, event, code)
                    self.display.sync()
                    time.sleep(0.02)
            else:
                self.run("xdotool", "key", name)
            time.sleep(0.05)

    def type(self, text: str) -> None:
        self.run("xdotool", "type", "--delay", "8", text)

    def viewport(self) -> tuple[int, int, int, int]:
        """Of the viewport's free part: x, y from above, width, height."""
        x, y, width, height = self.ask("place('WINDOW')")
        side = self.ask("place('UI')")
        right = min(x + width, side[0]) if side[2] > 1 else x + width
        return x, self.size[1] - y - height, right - x, height

    def drawn(self) -> None:
        """Wait until the viewport shows the present state."""
        before = self.ask("draw_again()")
        self.until(f"DRAWN['count'] > {before}", 40, "the viewport")
        # The drawing is on the screen once Blender does something else again.
        self.ask("None")

    def open_sidebar(self) -> None:
        """Open the sidebar with N, and its tab "Objaverse" with a click."""
        x, y, width, height = self.viewport()
        self.move(x + width // 2, y + height // 2)
        time.sleep(0.2)
        if self.ask("place('UI')")[2] <= 1:
            self.key("n")
            self.until("place('UI')[2] > 1", 40, "the sidebar")
        category = "next(r for w, a, r in regions('UI')).active_panel_category"
        # A click on the tab that is open would close the sidebar.
        if self.ask(category) == "Objaverse":
            return
        x, y, width, height = self.ask("place('UI')")
        top = self.size[1] - y - height
        # Tabs are names that stand on end along the right edge.
        places = self.places.setdefault(self.root, {})
        last = [places["Objaverse"]] if "Objaverse" in places else []
        for offset in (*last, *range(20, height - 20, 40)):
            self.click(x + width - 10, top + offset)
            if self.ask(category) == "Objaverse":
                places["Objaverse"] = offset
                return
        raise AssertionError("there is no tab Objaverse")

    def find(self, name: str, share: float = 0.62, near: str = "") -> tuple[int, int]:
        """Where a button of the sidebar is.

        Args:
            name: Of an operator with its arguments, as ``objaverse.cancel()``, or of a property
                of the panel, as ``pattern`` or ``radius[0]``.
            share: How far to the right it is, 0 to 1.
            near: Another button, found before, a line or two from it.
        """
        x, y, width, height = self.ask("place('UI')")
        column = round(x + share * (width - 20 * self.scale))
        # A button is 20 high.
        step = round(18 * self.scale)
        rows = list(range(y + height - step, y + 4, -step))
        # Where it was seen while another was looked for; then below all that was seen.
        seen = self.ask(f"[at for key, at in SEEN.items() if named(key, {name!r})]")
        # Buttons above it come and go by a line or two.
        shifts = [sign * step * count for count in range(5) for sign in (1, -1)][1:]
        known = [(x, y + by) for x, y in seen for by in shifts]
        lowest = self.ask(f"min([at[1] for at in SEEN.values() if at[0] == {column}], default=0)")
        rows = [row for row in rows if row < lowest] + [row for row in rows if row >= lowest]
        hints = [at[1] for at in seen]
        if near:
            found = self.ask(f"[at for key, at in SEEN.items() if named(key, {near!r})]")
            hints += [at[1] for at in found]
        places = self.places.setdefault(self.root, {})
        if name in places:
            hints.append(places[name])
        rows.sort(key=lambda row: min((abs(row - hint) for hint in hints), default=0))
        spots = [(column, row) for row in rows]
        for tried, patience in ((known, 3), (spots, 2), (spots, 4)):
            self.ask(f"search({name!r}, {tried!r}, {patience})")
            # It answers when the search is over.
            found = self.ask("SEARCH['found']", timeout=180)
            if found:
                places[name] = found[1]
                return found[0], self.size[1] - 1 - found[1]
        self.picture(self.folder / "failed.png")
        raise AssertionError(f"there is no button {name}\n{self.output()[-2000:]}")

    def press(self, name: str, share: float = 0.62, near: str = "") -> None:
        """Click a button of the sidebar; see :meth:`find`."""
        self.click(*self.find(name, share, near))

    def enter(self, name: str, text: str) -> None:
        """Type into a field of the sidebar."""
        self.click(*self.find(name), repeat=2)
        self.key("ctrl+a")
        self.type(text)
        self.key("Return")
        self.until(f"holds({name!r}, {text!r})", 40, f"{name} to be {text}", period=0.02)

    def choose(self, name: str, letter: str, value: str) -> None:
        """Choose from a menu of the sidebar by the letter that it underlines."""
        self.press(name)
        self.key(letter)
        self.until(f"holds({name!r}, {value!r})", 40, f"{name} to be {value}", period=0.02)
