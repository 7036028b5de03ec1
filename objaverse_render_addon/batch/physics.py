"""Composed scenes settled, and objects for them judged, by a Python that has the engines, where
this one has not: Blender's own seldom has.

That Python runs this package's own files, whatever else is installed there, so that a scene is the
same wherever it was made.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

from ..compose.physics.pieces import engine
from ..errors import (
    Interrupted,
    MissingDependency,
    SourceNotFound,
    UnexpectedError,
    from_reason,
)

__all__ = ["ENGINES", "check_engines", "scene_file", "told_by"]

ENGINES: Final = ("mujoco", "rapier3d")
_PACKAGE: Final = Path(__file__).resolve().parent.parent
_ASK: Final = f"""
import importlib, sys
assert sys.version_info >= (3, 11), "it is Python %d.%d, and 3.11 is needed" % sys.version_info[:2]
for name in {("numpy", *ENGINES)!r}:
    importlib.import_module(name)
"""


def check_engines(python: str | Path | None) -> None:
    """Whether scenes can be settled.

    Args:
        python: By that program; by this process otherwise.

    Raises:
        MissingDependency: An engine is not installed there.
        SourceNotFound: There is no such program.
    """
    if python is None:
        for name in ENGINES:
            engine(name)
        return
    with _started([str(python), "-c", _ASK]) as (process, log):
        process.communicate()
        if process.returncode:
            lines = _tail(log).splitlines() or [f"it ended with {process.returncode}"]
            raise MissingDependency(
                f"Scenes cannot be settled by {python}: {lines[-1]}.",
                hint="pip install 'objaverse-render-addon[compose]'",
                log=_tail(log),
            )


def scene_file(
    python: str,
    rules: str,
    index: int,
    folder: Path,
    on_refused: Callable[[int, str], None] | None = None,
    cancel: threading.Event | None = None,
) -> Path:
    """As :func:`..compose.make.scene_file`, in a process of another Python.

    Args:
        rules: File of them.
        cancel: Set it, from any thread, to end the process.

    Raises:
        Interrupted: By ``cancel``.
        SourceNotFound: There is no such program.
        UnexpectedError: It ended without a word.
        RenderError: As it is raised there.
    """
    path = ""
    for said in told_by(python, "compose", [rules, str(index), str(folder)], cancel, until="path"):
        if "refused" in said and on_refused is not None:
            on_refused(said["draw"], said["refused"])
        path = said.get("path", "")
    return Path(path)


def told_by(
    python: str, module: str, arguments: Sequence[str], cancel: threading.Event | None = None,
    *, until: str,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """What one of this package's modules tells, a JSON object a line, run by another Python.

    Args:
        module: Of the package, as ``compose``.
        cancel: Set it, from any thread, to end the process.
        until: Key of the last object, without which it did not come to its end.

    Raises:
        Interrupted: By ``cancel``.
        SourceNotFound: There is no such program.
        UnexpectedError: It ended without a word.
        RenderError: As it is raised there.
    """
    said: dict[str, Any] = {}
    command = [python, "-m", f"{_PACKAGE.name}.{module}", *arguments]
    with _started(command) as (process, log):
        over = threading.Event()
        watch = threading.Thread(target=_end, args=(process, cancel, over), daemon=True)
        watch.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                try:
                    said = json.loads(line)
                except ValueError:
                    continue
                yield said
            process.wait()
        finally:
            over.set()
            watch.join()
        if cancel is not None and cancel.is_set():
            raise Interrupted("Cancelled.")
        if until in said:
            return
        if "reason" in said:
            raise from_reason(said["reason"], said["message"], said["hint"], _tail(log))
        raise UnexpectedError(
            f"{python} ended with {process.returncode}, before it had done what it was asked.",
            log=_tail(log),
        )


def _end(
    process: subprocess.Popen[str], cancel: threading.Event | None, over: threading.Event
) -> None:
    """Wait until it is over, or cancelled."""
    while cancel is not None and not over.wait(0.05):
        if cancel.is_set():
            process.kill()
            return


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], IO[bytes]]]:
    """A process that finds this package, and what it writes as errors; ended behind it."""
    program = shutil.which(command[0])
    if program is None:
        raise SourceNotFound(
            f"There is no program at {command[0]}.",
            hint="Give a Python that has mujoco and rapier3d.",
        )
    environment = dict(os.environ)
    # Of the Python that Blender brings.
    environment.pop("PYTHONHOME", None)
    path = [str(_PACKAGE.parent), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    window: dict[str, Any] = (
        {"creationflags": subprocess.CREATE_NO_WINDOW}  # type: ignore[attr-defined]
        if sys.platform == "win32"
        else {}
    )
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                [program, *command[1:]], env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=log, text=True, encoding="utf-8",
                errors="replace", **window,
            )  # fmt: skip
        except OSError as error:
            raise SourceNotFound(
                f"{program} cannot be started: {error.strerror or error}.",
                hint="Give a Python that has mujoco and rapier3d.",
            ) from error
        with process:
            try:
                yield process, log
            finally:
                if process.poll() is None:
                    process.kill()


def _tail(log: IO[bytes]) -> str:
    """The end of what a process wrote."""
    log.seek(0)
    return log.read().decode(errors="replace")[-2000:].strip()
