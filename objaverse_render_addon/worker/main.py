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
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Final, NoReturn

from .. import __version__
from ..errors import (
    Interrupted,
    OutOfMemory,
    RenderError,
    UnexpectedError,
    UnknownRequest,
    from_os_error,
)
from .channel import Received, Sender, read_messages
from .confine import STANDS
from .handlers import HANDLERS, Worker, blenders_folder
from .protocol import (
    NICE,
    PROTOCOL,
    REQUESTS,
    SCRATCH,
    Alive,
    Answer,
    Cancel,
    Failed,
    Hello,
    Message,
    Quit,
    Unknown,
)

__all__ = ["main"]

_BEAT: Final = 1.0  # seconds


class _Inbox:
    """Requests that wait, and those that are to end."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Received] = SimpleQueue()
        self._guard = threading.Lock()
        self._canceled: set[int] = set()

    def put(self, received: Received) -> None:
        if isinstance(received.message, Cancel):
            with self._guard:
                self._canceled.add(received.message.request)
        else:
            self._waiting.put(received)

    def next(self) -> Received:
        return self._waiting.get()

    def is_canceled(self, request: int) -> bool:
        return request in self._canceled

    def forget(self, request: int) -> None:
        """It has ended; ids only grow, so that older ones are over too."""
        with self._guard:
            self._canceled = {other for other in self._canceled if other > request}


class _Heart:
    """Says every second that this process lives, while a request is in hand.

    Blender's operators let other threads run; where it hangs with Python's lock, nothing is said.
    """

    def __init__(self, process: _Process) -> None:
        self._process = process
        self._beating = threading.Event()
        threading.Thread(target=self._run, name="heart", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._beating.wait()
            self._process.send(Alive())
            time.sleep(_BEAT)

    def start(self) -> None:
        self._beating.set()

    def stop(self) -> None:
        self._beating.clear()


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

    def __init__(self, process: _Process, inbox: _Inbox, number: int) -> None:
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
    inbox = _Inbox()

    def listen() -> None:
        for received in read_messages(sys.stdin.buffer):
            inbox.put(received)
        process.leave(0)

    threading.Thread(target=listen, daemon=True).start()
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
    heart = _Heart(process)
    while True:
        received = inbox.next()
        heart.start()
        if isinstance(received.message, Quit):
            process.leave(0)
        turn = _Turn(process, inbox, received.request)
        answer = _answer(process.worker, received.message, turn)
        process.worker.abort()
        inbox.forget(turn.number)
        heart.stop()
        turn.send(answer)


def _answer(worker: Worker, request: Message | Unknown, turn: _Turn) -> Answer:
    try:
        handler = HANDLERS.get(type(request))
        if handler is None:
            raise UnknownRequest(_unknown(request))
        if turn.canceled():
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
