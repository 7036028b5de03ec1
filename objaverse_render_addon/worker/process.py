"""One worker process, as its parent sees it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from .. import __version__
from ..errors import (
    Interrupted,
    MissingDependency,
    WorkerCrashed,
    WorkerStartFailed,
    WorkerTimeout,
    from_os_error,
)
from . import guardian, libraries, wall
from .channel import Received, Sender
from .guardian import ScratchFolder
from .inlet import inlet_of
from .memory import processor_seconds, resident_bytes
from .protocol import PROTOCOL, SCRATCH, Alive, Hello, Quit, Request
from .ring import DESCRIPTOR
from .wall import Grounds, Sandbox

__all__ = ["HUNG", "START_TIMEOUT", "WorkerProcess", "harmless", "scratch_root"]

START_TIMEOUT: Final = 120.0
HUNG: Final = 15.0
"""Seconds of silence, in which nothing is computed either, after which a worker hangs."""
_IDLE: Final = 0.02
"""Share of a processor below which nothing is computed."""
_LOG_LINES: Final = 40


_VARIABLES: Final = {
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM", "OCIO",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FRAMEWORK_PATH", "DISPLAY", "WAYLAND_DISPLAY",
    "XAUTHORITY", "DRI_PRIME", "VIRTUAL_ENV",
    # What Windows' own libraries do not start without.
    "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA",
    "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE",
}  # fmt: skip
_PREFIXES: Final = (
    "LC_", "XDG_", "PYTHON", "BLENDER_", "CYCLES_", "OBJAVERSE_", "MALLOC_",
    # GPUs and their drivers.
    "CUDA_", "NVIDIA_", "OPTIX_", "HIP_", "HSA_", "ROCR_", "ROCM_", "AMD_", "GPU_", "ONEAPI_",
    "SYCL_", "ZE_", "NEO", "MESA_", "LIBGL_", "GALLIUM_", "LP_", "EGL_", "VK_", "__EGL_", "__GLX_",
    "__GL_", "__NV_", "__VK_", "MTL_",
    # Threads.
    "OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "TBB_",
)  # fmt: skip
_SECRET: Final = re.compile(r"TOKEN|SECRET|PASS|KEY|CREDENTIAL|AUTH(?!ORITY$)")


def harmless(environment: Mapping[str, str]) -> dict[str, str]:
    """What a worker needs of an environment: it works on strangers' files, so nothing secret."""
    return {
        name: value
        for name, value in environment.items()
        if (name.upper() in _VARIABLES or name.upper().startswith(_PREFIXES))
        and not _SECRET.search(name.upper())
    }


def scratch_root(needed: int = 256 << 20) -> Path:
    """A folder for temporary images: in memory where the system has one with room, else on disk.

    Containers often have a memory-backed folder of 64 MiB, which is not enough to be useful.
    """
    memory = Path("/dev/shm")
    with contextlib.suppress(OSError):
        if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= needed:
            return memory
    return Path(tempfile.gettempdir())


class WorkerProcess:
    """Starts a process that has Blender in it, talks to it, and ends it with all its children.

    Args:
        blender: Program of an installed Blender; ``None`` takes pip's ``bpy``.
        scratch: Folder for its log and its temporary images; removed with the worker. ``None``
            picks one (:func:`scratch_root`).
        environment: Variables beside those of this process that a worker gets (:func:`harmless`).
        stopped: Set it, from any thread, to wait for the start no longer.
        sandbox: Whether it is shut in (:mod:`.wall`): where that can be, always, or never.
        grounds: What it may touch then, beside Blender and its own folder.
        ring: Descriptor of a :class:`.ring.Ring` that it puts frames into.

    Attributes:
        hello: What it said of itself.

    Raises:
        Interrupted: By ``stopped``.
        MissingDependency: There is no ``bpy`` in this Python.
        MissingLibraries: The system lacks libraries that Blender is linked with.
        SandboxUnavailable: It has to be shut in, and cannot.
        WorkerStartFailed: Blender does not come up, or speaks another protocol.
    """

    def __init__(
        self,
        blender: Path | None = None,
        scratch: Path | None = None,
        environment: Mapping[str, str] | None = None,
        stopped: threading.Event | None = None,
        *,
        sandbox: Sandbox = "auto",
        grounds: Grounds | None = None,
        ring: int | None = None,
    ) -> None:
        self._ring = ring
        inside = (grounds or Grounds()) if wall.is_wanted(sandbox) else None
        base = scratch or scratch_root()
        try:
            self._folder = ScratchFolder(base)
        except OSError as error:
            raise from_os_error(error, f"The folder for temporary images, {base}") from error
        self.scratch = self._folder.path
        self._log = self.scratch / "worker.log"
        self._log_start = 0
        self._requests = self._beats = 0
        self._seen, self._quiet = (0, 0.0), 0.0
        try:
            self._process = self._spawn(blender, environment or {}, inside)
        except BaseException:
            self._folder.remove()
            raise
        guardian.watch(self.scratch, self.pid)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._sender = Sender(self._process.stdin)
        self._inlet = inlet_of(self._process.stdout)
        try:
            self.hello = self._greeting(blender, stopped, inside)
        except BaseException:
            self.kill()
            raise

    def _greeting(
        self, blender: Path | None, stopped: threading.Event | None, inside: Grounds | None
    ) -> Hello:
        what = str(blender) if blender else "pip's bpy"
        hint = "See what objaverse-render doctor says."
        if inside is not None:
            hint += " If doctor --sandbox off starts it, please report what it lacks."
        try:
            first = self.await_answer(START_TIMEOUT, stopped).message
        except (WorkerCrashed, WorkerTimeout) as error:
            missing = libraries.explain(error.log, _binary(blender))
            if missing is not None:
                raise missing from error
            said = _last_line(error.log)
            raise WorkerStartFailed(
                f"{what} did not start: {error.message}" + (f" It said: {said}" if said else ""),
                hint=f"{error.hint} {hint}".strip(),
                log=error.log,
            ) from error
        if not isinstance(first, Hello):
            raise WorkerStartFailed(f"{what} greeted with something else than its version.")
        if first.protocol != PROTOCOL:
            raise WorkerStartFailed(
                f"{what} has a worker of version {first.version}, which speaks protocol "
                f"{first.protocol}; this is version {__version__}, protocol {PROTOCOL}.",
                hint="Install the same version on both sides.",
            )
        return first

    def _spawn(
        self, blender: Path | None, more: Mapping[str, str], inside: Grounds | None
    ) -> subprocess.Popen[bytes]:
        # It removes the folder if this process is gone before it was asked anything. Blender makes
        # one of its own for temporary files as it starts, which stays if it is killed.
        scratch = dict.fromkeys((SCRATCH, "TMPDIR", "TEMP", "TMP"), str(self.scratch))
        # NumPy's products are small here, and its threads take as long as the work where they wait.
        threads = {"OPENBLAS_NUM_THREADS": "1"}
        environment = {**threads, **harmless(os.environ), **scratch, **more}
        package = Path(__file__).resolve().parent.parent
        if blender is None:
            if importlib.util.find_spec("bpy") is None:
                raise MissingDependency(
                    "There is no Blender in this Python.",
                    hint='Install it with: pip install "objaverse-render-addon[bpy]", or give '
                    "--blender PATH.",
                )
            command = [sys.executable, "-m", f"{package.name}.worker"]
            environment["PYTHONPATH"] = os.pathsep.join(
                filter(None, [str(package.parent), environment.get("PYTHONPATH", "")])
            )
            # pip's bpy would read, and its importers write, the user's own Blender settings.
            environment["BLENDER_USER_RESOURCES"] = str(self.scratch / "user")
        else:
            if shutil.which(str(blender)) is None:
                raise WorkerStartFailed(
                    f"There is no program at {blender}.", hint="Check --blender."
                )
            command = [
                str(blender), "--background", "--factory-startup", "--python-exit-code", "1",
                "--python", str(Path(__file__).with_name("inside_blender.py")),
            ]  # fmt: skip
        if inside is not None:
            # A screen is nothing to render on, and a way out.
            for name in ("DISPLAY", "WAYLAND_DISPLAY"):
                environment.pop(name, None)
            command[0] = wall.absolute(command[0])
            command = [
                *wall.launcher(command[0], environment, self.scratch, inside), *command
            ]  # fmt: skip
        extra: dict[str, object] = (
            {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined]
            if sys.platform == "win32"
            else {"start_new_session": True}
        )
        if self._ring is not None:
            environment[DESCRIPTOR] = str(self._ring)
            extra["pass_fds"] = (self._ring,)
        with self._log.open("wb") as log:
            try:
                return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                    env=environment, **extra,
                )  # fmt: skip
            except OSError as error:
                raise WorkerStartFailed(f"{command[0]}: {error.strerror}.") from error

    @property
    def pid(self) -> int:
        """Of the process."""
        return int(self._process.pid)

    def send(self, request: Request) -> int:
        """Send a request.

        Returns:
            Its id, which its answers have.

        Raises:
            WorkerCrashed: The process is gone.
        """
        self._requests += 1
        try:
            self._sender.send(request, self._requests)
        except (OSError, ValueError) as error:
            if not self.scratch.is_dir():
                raise WorkerCrashed(f"The worker's folder {self.scratch} was removed.") from error
            raise self._crashed() from error
        return self._requests

    def receive(self, timeout: float) -> Received:
        """The next answer.

        Raises:
            WorkerTimeout: None came in ``timeout`` seconds.
            WorkerCrashed: The process ended instead.
        """
        until = time.monotonic() + timeout
        while True:
            try:
                received = self._inlet.next(max(0.0, until - time.monotonic()))
            except TimeoutError:
                raise WorkerTimeout(
                    "The worker did not answer in time.", log=self.log_tail()
                ) from None
            if received is None:
                raise self._crashed()
            self._beats += 1
            if not isinstance(received.message, Alive):
                return received

    def await_answer(
        self,
        timeout: float,
        stopped: threading.Event | None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Received:
        """The same, given up soon where ``stopped`` is set.

        Args:
            meanwhile: Called ten times a second; what it raises ends the waiting.

        Raises:
            Interrupted: It is stopped.
        """
        deadline = time.monotonic() + timeout
        while True:
            if stopped is not None and stopped.is_set():
                raise Interrupted("Stopped.")
            left = deadline - time.monotonic()
            try:
                # Where all of us stood still beyond the deadline, the answer may lie there.
                return self.receive(min(0.1, max(0.02, left)))
            except WorkerTimeout:
                if left <= 0.1:
                    raise
            meanwhile()

    def check_hung(self, since: float) -> float:
        """Look whether a request in hand goes on, several times a second.

        A worker that says nothing and computes nothing hangs: a render beats, and an import that
        takes its time computes. Where the system does not say what is computed, nobody can tell.

        Args:
            since: Seconds that it was looked at last before; a machine that stood still as a whole
                does not count as silence.

        Returns:
            Seconds for which nothing was heard of it nor computed.

        Raises:
            WorkerCrashed: They are too many.
        """
        computed = processor_seconds(self.pid)
        if computed is None:
            return 0.0
        if self._beats != self._seen[0] or computed - self._seen[1] > _IDLE * max(1.0, self._quiet):
            self._seen, self._quiet = (self._beats, computed), 0.0
        else:
            self._quiet += min(since, 0.5)
        if self._quiet > HUNG:
            raise WorkerCrashed(
                f"The worker hangs: for {HUNG:g} seconds it said nothing and computed nothing.",
                log=self.log_tail(),
            )
        return self._quiet

    def is_ready(self) -> bool:
        """Whether its folder is there; what it prints from now on is of the next request."""
        try:
            self._log_start = self._log.stat().st_size
        except OSError:
            return False
        return True

    @property
    def lives(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    @property
    def memory(self) -> int:
        """Bytes that it takes; 0 where the system does not say."""
        return resident_bytes(self.pid)

    def _crashed(self) -> WorkerCrashed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        how = f"ended with exit code {code}"
        hint = ""
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in {*signal.Signals} else str(-code)
            how = f"was ended by {name}"
            if name == "SIGKILL":
                hint = "The system may have run out of memory."
        log = self.log_tail()
        return WorkerCrashed(f"The worker {how}.", hint=hint, log=log)

    def log_tail(self) -> str:
        """The last lines that were printed since the last request."""
        try:
            with self._log.open("rb") as file:
                file.seek(self._log_start)
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        noise = ("Fra:", "Saved:", "Time:")
        kept = [line for line in lines if line.strip() and not line.startswith(noise)]
        return "\n".join(kept[-_LOG_LINES:])

    def close(self) -> None:
        """End in peace: ask, wait a little, then insist."""
        with contextlib.suppress(WorkerCrashed):
            self.send(Quit())
        with contextlib.suppress(OSError, ValueError):
            if self._process.stdin:
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self.kill()

    def kill(self) -> None:
        """End the process and everything it started, at once."""
        process = self._process
        if sys.platform == "win32":
            if process.poll() is None:
                subprocess.run(
                    ["taskkill", "/PID", str(process.pid), "/T", "/F"],
                    capture_output=True, check=False,
                )  # fmt: skip
        else:
            # The group may outlive its leader.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(OSError, ValueError):
            if process.stdin:
                process.stdin.close()
        self._inlet.close()
        self._remove_scratch()

    def _remove_scratch(self) -> None:
        # Windows keeps files of a process busy for a moment after it ended.
        for _ in range(20):
            if self._folder.remove():
                return
            time.sleep(0.1)
        guardian.watch(self.scratch)  # Without its process, whose number others may get.


def _binary(blender: Path | None) -> Path | None:
    """What is linked with the libraries that Blender needs."""
    if blender is not None:
        program = shutil.which(str(blender))
        return Path(program).resolve() if program else None
    spec = importlib.util.find_spec("bpy")
    return Path(spec.origin) if spec is not None and spec.origin else None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
