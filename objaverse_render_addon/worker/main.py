"""The worker's own end: reads requests, has them handled one after the other, answers.

Started by :mod:`.process`, with pip's ``bpy`` as ``python -m objaverse_render_addon.worker`` or
inside an installed Blender. It ends when its standard input does, so that it never outlives the
process that started it.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..errors import (
    Interrupted,
    OutOfMemory,
    RenderError,
    UnexpectedError,
    UnknownRequest,
    from_os_error,
)
from .channel import Sender
from .confine import STANDS
from .handlers import HANDLERS, Worker, blenders_folder
from .inbox import Inbox
from .inlet import inlet_of
from .protocol import (
    NICE,
    PROTOCOL,
    REQUESTS,
    SCRATCH,
    Act,
    Alive,
    Answer,
    Change,
    Failed,
    Hello,
    Message,
    Quit,
    Unknown,
)

__all__ = ["main"]


class _Process:
    """What has to be put right when the process ends, from whatever thread."""

    def __init__(self, sender: Sender) -> None:
        self.folders: set[str] = set()
        self.worker: Worker | None = None
        self._sender = sender

    def send(
        self, message: Message, request: int = 0, payloads: Sequence[memoryview] = ()
    ) -> None:
        try:
            self._sender.send(message, request, payloads)
        except (OSError, ValueError):
            self.leave(1)  # Nobody listens any more.

    def leave(self, code: int) -> NoReturn:
        """End at once, also in the middle of a render."""
        if self.worker is not None:
            self.worker.abort()
        # Whoever made the folder may be gone, and it may be in memory.
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(code)


class _Turn:
    """See :class:`.handlers.Turn`."""

    def __init__(self, process: _Process, inbox: Inbox, number: int) -> None:
        self.number = number
        self._process, self._inbox = process, inbox

    def send(self, answer: Answer, payloads: Sequence[memoryview] = ()) -> None:
        self._process.send(answer, self.number, payloads)

    def canceled(self) -> bool:
        return self._inbox.is_canceled(self.number)


def main() -> None:
    """Serve requests until told to quit or until the input ends."""
    # Blender, its add-ons and C libraries print to descriptor 1 whenever they like. The messages
    # keep a copy of it, everybody else gets the log.
    process = _Process(Sender(os.fdopen(os.dup(1), "wb")))
    sys.stdout.flush()
    os.dup2(2, 1)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    scratch = Path(os.environ.get(SCRATCH) or tempfile.mkdtemp(prefix="objaverse-render-"))
    process.folders.add(str(scratch))
    inbox = Inbox(
        inlet_of(sys.stdin.buffer), lambda: process.send(Alive()), lambda: process.leave(0)
    )
    if hasattr(os, "nice"):
        # Before Blender starts threads, which keep what they were started with.
        os.nice(int(os.environ.get(NICE, "0")))
    import bpy

    from ..blender import importers
    from ..blender.compat import leave_extensions_alone

    process.folders.update(blenders_folder())
    leave_extensions_alone()
    # What the user's own Blender is set to must not show in the data.
    bpy.ops.wm.read_factory_settings(use_empty=True)
    importers.forbid_scripts()
    process.worker = Worker(scratch)
    process.send(
        Hello(
            PROTOCOL, __version__, bpy.app.version_string, platform.python_version(), os.getpid(),
            REQUESTS, os.environ.get(STANDS, ""),
        )
    )  # fmt: skip
    inbox.done(0)
    while True:
        received = inbox.next()
        if isinstance(received.message, Quit):
            process.leave(0)
        turn = _Turn(process, inbox, received.request)
        answer = _answer(process.worker, received.message, turn)
        process.worker.abort()
        turn.send(answer)
        inbox.done(turn.number)


def _answer(worker: Worker, request: Message | Unknown, turn: _Turn) -> Answer:
    try:
        handler = HANDLERS.get(type(request))
        if handler is None:
            raise UnknownRequest(_unknown(request))
        # To look for it takes as long as to make most changes; whoever steps asks for nothing else.
        if not isinstance(request, Act | Change) and turn.canceled():
            raise Interrupted("Cancelled before it began.")
        return handler(worker, request, turn)
    except Exception as error:
        return failure(error, request)


def _unknown(request: Message | Unknown) -> str:
    if isinstance(request, Unknown):
        return f"This worker cannot take the message {request.kind}: {request.why}."
    return f"This worker cannot take the message {request.kind}."


def failure(error: Exception, request: Message | Unknown) -> Failed:
    """A named failure of whatever went wrong with a request."""
    source, asset_id = getattr(request, "source", ""), getattr(request, "asset_id", "")
    where = f"{source}: " if source else ""
    log = ""
    if isinstance(error, RenderError):
        named, log = error, error.log
        name = Path(source).name
        if not ((name and name in named.message) or named.message.startswith(f"{asset_id}: ")):
            named.message = where + named.message
    elif isinstance(error, MemoryError):
        named = OutOfMemory(f"{where}out of memory. {error}".strip())
    elif isinstance(error, OSError):
        named = from_os_error(error, f"{where}{error.filename or ''}")
    else:
        log = "".join(traceback.format_exception(error))
        named = UnexpectedError(f"{where}{type(error).__name__}: {error}")
        print(log, file=sys.stderr, flush=True)
    return Failed(asset_id, named.reason, named.message, named.hint, log)


if __name__ == "__main__":
    main()
