"""Drag files from another program onto a window and let go: the source's side of XDND, version 5.

https://www.freedesktop.org/wiki/Specifications/XDND/
"""

from __future__ import annotations

import time
from pathlib import PurePosixPath
from typing import Any

from Xlib import X, Xatom
from Xlib.display import Display
from Xlib.protocol import event

VERSION = 5
KIND = "text/uri-list"


class Drag:
    """Files in hand, from a program of their own.

    Args:
        display: Number of the screen.
        paths: As the target sees them.
    """

    def __init__(self, display: int, *paths: str) -> None:
        self.display = Display(f":{display}")
        self.root = self.display.screen().root
        self.content = "".join(f"{PurePosixPath(path).as_uri()}\r\n" for path in paths).encode()
        self.source = self.root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
        self.source.set_selection_owner(self.atom("XdndSelection"), X.CurrentTime)
        self.target = self._target(self.root)
        assert self.target is not None, "no window takes drops"

    def atom(self, name: str) -> int:
        return int(self.display.intern_atom(name))

    def _target(self, window: Any) -> Any:
        if window.get_full_property(self.atom("XdndAware"), Xatom.ATOM):
            return window
        children = window.query_tree().children
        return next(filter(None, map(self._target, children)), None)

    def _send(self, kind: str, *data: int) -> None:
        words = (self.source.id, *data)
        self.target.send_event(
            event.ClientMessage(
                window=self.target, client_type=self.atom(kind),
                data=(32, (*words, *[0] * (5 - len(words)))),
            )
        )  # fmt: skip
        self.display.flush()

    def _answer(self, kind: str, timeout: float = 20.0) -> tuple[int, ...]:
        """Wait for a message of the target; hand it the paths meanwhile, when it asks."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self.display.pending_events():
                time.sleep(0.01)
                continue
            came = self.display.next_event()
            if came.type == X.SelectionRequest:
                self._hand_over(came)
            elif came.type == X.ClientMessage and came.client_type == self.atom(kind):
                return tuple(came.data[1])
        raise TimeoutError(f"the window sends no {kind}")

    def _hand_over(self, asked: Any) -> None:
        kind = self.atom(KIND)
        if asked.target == self.atom("TARGETS"):
            asked.requestor.change_property(asked.property, Xatom.ATOM, 32, [kind])
        else:
            asked.requestor.change_property(asked.property, asked.target, 8, self.content)
        asked.requestor.send_event(
            event.SelectionNotify(
                time=asked.time, requestor=asked.requestor, selection=asked.selection,
                target=asked.target, property=asked.property,
            )
        )  # fmt: skip
        self.display.flush()

    def over(self, *path: tuple[int, int]) -> None:
        """Carry them into the window and over these spots; x, y from above."""
        self._send("XdndEnter", VERSION << 24, self.atom(KIND))
        for x, y in path:
            self.root.warp_pointer(x, y)
            self._send("XdndPosition", 0, x << 16 | y, X.CurrentTime, self.atom("XdndActionCopy"))
            self._answer("XdndStatus")
            time.sleep(0.1)

    def drop(self) -> None:
        """Let go."""
        self._send("XdndDrop", 0, X.CurrentTime)
        self._answer("XdndFinished")

    def close(self) -> None:
        self.display.close()
