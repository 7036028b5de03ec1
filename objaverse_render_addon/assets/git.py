"""Git, run so that it can be stopped, and so that nothing that it fetches is run."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from ..errors import DownloadFailed, Interrupted, ObjectMissing
from .transfer import MAX_BYTES, ByteProgress, TransferBroken

__all__ = ["run_git"]

SILENT: Final = 120.0
"""Seconds that git may say nothing."""
_SCALE: Final = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_RECEIVING: Final = re.compile(r"Receiving objects:\s+\d+%[^,]*, ([\d.]+) (bytes|KiB|MiB|GiB)")
_GONE: Final = re.compile(
    r"(?i)repository .*not found|not our ref|could not read Username|does not exist|access denied|"
    r"access blocked|repository is (disabled|empty)|does not appear to be a git repository|"
    r"authentication failed|unadvertised object|no such remote ref"
)


def run_git(
    folder: Path,
    arguments: list[str],
    name: str,
    on_progress: ByteProgress | None,
    cancel: threading.Event | None,
) -> None:
    """Run git, without anything that a repository could make it run.

    Raises:
        Broken: It failed, and may not the next time.
        ObjectMissing: The server says that there is no such thing.
        Interrupted: By ``cancel``.
    """
    nothing = os.devnull
    command = [
        "git", "-C", str(folder), "-c", f"core.hooksPath={nothing}", "-c", "core.symlinks=false",
        "-c", "core.fsmonitor=false", "-c", "core.autocrlf=false", "-c", "core.longpaths=true",
        "-c", "credential.helper=", "-c", "core.askPass=", "-c", "protocol.ext.allow=never",
        "-c", "submodule.recurse=false", "-c", "gc.auto=0",
        "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60", *arguments,
    ]  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "SSH_ASK"))}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C"}
    extra: dict[str, Any] = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined]
        if sys.platform == "win32"
        else {"start_new_session": True}
    )
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=environment, **extra,
    )  # fmt: skip
    said: list[str] = []
    heard = [time.monotonic(), 0.0]

    def listen() -> None:
        assert process.stderr is not None
        rest = b""
        while block := os.read(process.stderr.fileno(), 4096):
            heard[0] = time.monotonic()
            *lines, rest = re.split(rb"[\r\n]", rest + block)
            for line in lines:
                text = line.decode(errors="replace").strip()
                if match := _RECEIVING.search(text):
                    heard[1] = float(match[1]) * _SCALE[match[2]]
                elif text:
                    said.append(text)
                    del said[:-20]
        if rest:
            said.append(rest.decode(errors="replace").strip())

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    told = -1.0
    try:
        while process.poll() is None:
            if cancel is not None and cancel.is_set():
                raise Interrupted(f"Fetching {name} was stopped.")
            if heard[1] > MAX_BYTES:
                raise DownloadFailed(f"{name} has more than {MAX_BYTES} bytes.")
            if time.monotonic() - heard[0] > SILENT and "checkout" not in arguments:
                raise TransferBroken(f"git said nothing for {SILENT:g} seconds")
            if on_progress and heard[1] != told:
                told = heard[1]
                on_progress(int(told), 0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
    finally:
        _end(process)
        listener.join(2)
        if process.stderr is not None:
            process.stderr.close()
    if process.returncode:
        words = " ".join(line for line in said if not line.startswith("hint:"))[-400:]
        if _GONE.search(words):
            raise ObjectMissing(f"{name} is not there any more: {words}.")
        raise TransferBroken(words or f"git ended with {process.returncode}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """With what it started: git fetches in processes of its own."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
