"""The one door to standard output and standard error: what goes through it is a line, and no more.

Names of files, words of libraries and what a dataset says of itself are a stranger's; a terminal
would obey what stands in them, and a line break would look like a line of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any, Final, TextIO

from ..errors import from_os_error
from ..words import one_line, without_secrets

__all__ = [
    "clear_line",
    "clear_screen",
    "finish",
    "open_all",
    "say",
    "say_json",
    "show",
    "show_json",
    "show_text",
    "warn",
]

_WIPE: Final = "\r\033[K"
_CLEAR: Final = "\033[2J\033[H"


def say(line: str) -> None:
    """A line of progress, on standard output. Where it cannot be written, nobody misses it."""
    _write(sys.stdout, _said(line) + "\n")


def say_json(record: Any) -> None:
    """The same, of a record for programs."""
    _write(sys.stdout, json.dumps(record) + "\n")


def warn(line: str, *, end: str = "\n") -> None:
    """A line on standard error; the same."""
    _write(sys.stderr, _said(line) + end)


def clear_line() -> None:
    """Wipe the line that a terminal's cursor is in."""
    _write(sys.stderr, _WIPE)


def clear_screen() -> None:
    """Begin at the top again, where standard output is a terminal."""
    if sys.stdout.isatty():
        _write(sys.stdout, _CLEAR)


def show(line: str) -> None:
    """A line of what a command was asked for.

    Raises:
        BrokenPipeError: Nobody reads it any more.
        DiskFull, OutputNotWritable: It cannot be written.
    """
    _demand(_said(line))


def show_json(record: Any, *, indent: int | None = None) -> None:
    """The same, of a record for programs."""
    # Escaped as it is, nothing in it can be more than text.
    _demand(json.dumps(record, indent=indent))


def show_text(text: str) -> None:
    """The same, of several lines that were made line by line."""
    for line in text.splitlines():
        show(line)


def _said(line: str) -> str:
    return one_line(without_secrets(line))


def _demand(text: str) -> None:
    try:
        _put(sys.stdout, f"{text}\n")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise from_os_error(error, "Standard output") from error


def _write(stream: TextIO | None, text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        _put(stream, text)


def _put(stream: TextIO | None, text: str) -> None:
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def open_all() -> None:
    """See to it that the standard streams are there: what is opened next would take their place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            # It stays open for as long as the process lives.
            stream = open(os.devnull, "r" if name == "stdin" else "w")  # noqa: PTH123, SIM115
            setattr(sys, name, stream)


def finish() -> None:
    """Let what could not be written go, or the interpreter would try again when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
