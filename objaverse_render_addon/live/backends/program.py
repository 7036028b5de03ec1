"""A program of its own that draws: a renderer in another environment, whatever it is made of.

It is started with pipes and never imported here. What is said is JSON, one object a line, arrays
as raw bytes behind their line; nothing is pickled, nothing executed. From the program, once::

    {"ready": {"passes": ["rgb", "depth"], "samples": 1, "center": [0, 0, 0], "radius": 1.0}}

or, where it cannot, ``{"failed": 0, "message": "why, and what to do"}``. To it, for each picture,
axes and pixels as in :mod:`...cameras`::

    {"draw": 7, "width": 64, "height": 48, "samples": 1, "scene": {},
     "intrinsics": [[…]], "camera_to_world": [[…]]}

and ``{"stop": 7}`` where it is not wanted any more. It answers each ``draw`` once: with
``{"drawn": 7, "samples": 1, "arrays": [{"name", "dtype", "shape"}, …]}`` and the arrays' bytes in
that order, ``{"stopped": 7}``, or ``{"failed": 7, "message": "…"}``. ``examples/draw_program.py``
is one, and the place where a nerfstudio pipeline goes.
"""

from __future__ import annotations

import contextlib
import json
import math
import queue
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from ...cameras import Camera
from ...errors import RenderFailed, WorkerCrashed, WorkerStartFailed
from ...passspec import PASSES
from ..levels import Level
from . import Backend, Drawn

__all__ = ["ProgramBackend"]

_START: Final = 300.0
_LINE: Final = 1 << 16
_MOST: Final = 1 << 30
_ASK: Final = 0.01
"""Seconds between two questions whether a picture is still wanted."""


class ProgramBackend(Backend):
    """Draws by a program; see the module, and :class:`.Backend`.

    Args:
        command: Program and arguments; run as whoever runs this, so let it be one you trust.
        timeout: Seconds in which it has to be ready.

    Attributes:
        facts: What it said of itself.

    Raises:
        WorkerStartFailed: It did not start, or said nothing that is understood.
    """

    def __init__(self, command: Sequence[str], timeout: float = _START) -> None:
        try:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as error:
            raise WorkerStartFailed(f"{command[0]}: {error.strerror or error}.") from error
        self._answers: queue.Queue[tuple[dict[str, Any], dict[str, Any]] | None] = queue.Queue()
        self._number = 0
        threading.Thread(target=self._read, daemon=True).start()
        try:
            came = self._answers.get(timeout=timeout)
        except queue.Empty:
            came = None
        said = came[0] if came is not None else {}
        if "failed" in said:
            self.close()
            raise WorkerStartFailed(f"{command[0]}: {str(said.get('message', ''))[:1000]}")
        ready = said.get("ready")
        try:
            assert isinstance(ready, dict)
            self.passes = tuple(str(name) for name in ready["passes"])
            self._samples = int(ready.get("samples", 1))
            if not ({"rgb", "depth"} <= set(self.passes) <= set(PASSES) and self._samples > 0):
                raise ValueError("it needs rgb and depth, and passes that there are")
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            self.close()
            raise WorkerStartFailed(
                f"{command[0]} did not say that it is ready: {error}."
            ) from error
        self.facts: dict[str, Any] = ready

    def samples(self, scene: Mapping[str, Any]) -> int:
        """See :class:`.Backend`."""
        del scene
        return self._samples

    def render(
        self,
        camera: Camera,
        level: Level,
        should_stop: Callable[[], bool],
        scene: Mapping[str, Any],
    ) -> Drawn | None:
        """See :class:`.Backend`."""
        if camera.projection != "perspective":
            raise RenderFailed(f"A program is asked for pinholes; this camera is "
                               f"{camera.projection}.")  # fmt: skip
        self._number += 1
        number = self._number
        self._say({
            "draw": number, "width": camera.width, "height": camera.height,
            "samples": level.samples, "scene": dict(scene),
            "intrinsics": camera.intrinsics.tolist(),
            "camera_to_world": camera.camera_to_world.tolist(),
        })  # fmt: skip
        told = False
        while True:
            if not told and should_stop():
                told = True
                self._say({"stop": number})
            try:
                came = self._answers.get(timeout=_ASK)
            except queue.Empty:
                continue
            if came is None:
                self._answers.put(None)
                raise WorkerCrashed("The program that draws has ended.")
            answer, arrays = came
            if answer.get("failed") == number:
                raise RenderFailed(str(answer.get("message", "It said no reason."))[:1000])
            if answer.get("stopped") == number and told:
                return None
            if answer.get("drawn") == number:
                return None if told else _checked(arrays, camera, self.passes, answer)

    def close(self) -> None:
        """See :class:`.Backend`."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None and stream is self._process.stdin:
                    stream.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message, allow_nan=False).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise WorkerCrashed("The program that draws has ended.") from error

    def _read(self) -> None:
        """Every answer with its arrays, until there is one that is none."""
        stream = self._process.stdout
        assert stream is not None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError), stream:
            while line := stream.readline(_LINE):
                answer = json.loads(line)
                arrays = {}
                for said in answer.get("arrays", []):
                    shape = tuple(int(length) for length in said["shape"])
                    dtype = np.dtype(PASSES[said["name"]].dtype)
                    size = math.prod(shape) * dtype.itemsize
                    if str(np.dtype(said["dtype"])) != str(dtype) or not 0 <= size <= _MOST:
                        raise ValueError(said)
                    data = stream.read(size)
                    arrays[said["name"]] = np.frombuffer(data, dtype).reshape(shape)
                self._answers.put((answer, arrays))
        self._answers.put(None)


def _checked(
    arrays: dict[str, Any], camera: Camera, passes: Sequence[str], answer: Mapping[str, Any]
) -> Drawn:
    size = (camera.height, camera.width)
    wrong = [name for name, array in arrays.items() if array.shape[:2] != size]
    if wrong or not {"rgb", "depth"} <= set(arrays) <= set(passes):
        raise RenderFailed(
            f"The program drew {sorted(arrays)}, of another size: {wrong}; rgb and depth of "
            f"{camera.width}x{camera.height} were asked for."
        )
    return Drawn(arrays, int(answer.get("samples", 1)))
