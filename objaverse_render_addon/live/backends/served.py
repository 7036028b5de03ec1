"""A 3D file on a server's workers: drawn first, then path traced in levels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...cameras import Camera
from ...errors import ConnectionLost, InvalidJob, RenderError, WorkerCrashed, WorkerTimeout
from ...job import RenderJob
from ..host import Lane
from ..levels import Level
from ..remote import connect
from . import Backend, Drawn, of_the_start, samples_of

__all__ = ["ServedBackend"]


class ServedBackend(Backend):
    """Shows a 3D file as its job renders it; as :class:`.scene.SceneBackend` does here.

    A level is a frame of its own, with so many samples, denoised where the job is: what is
    superseded ends with its level. Noise is that of a single shot, whatever ``view`` is. Where the
    server was lost, the next picture looks for it once, and brings the file along again.

    Args:
        path: A 3D file of this machine; it is brought along.
        job: As for a data set.
        address: Of the server, as it prints it.
        key: Of this client; empty on a private socket.

    Attributes:
        facts: What the metadata would say of the scene.

    Raises:
        RenderError: Anything that is wrong with server, file or job.
    """

    workers = 1
    anew = True

    def __init__(
        self, path: Path, job: RenderJob, *, address: str, key: str = "", asset_id: str = ""
    ) -> None:
        self.job = job.resolved()
        self.passes = tuple(sorted(self.job.pixels.passes, key=lambda name: name != "rgb"))
        if not {"rgb", "depth"} <= set(self.passes):
            raise InvalidJob("What is looked at needs the passes rgb and depth.")
        self._guard = threading.Lock()
        self._closed = False
        self._drafts = True
        self._values: dict[str, Any] = {}
        self._start: dict[str, Any] | None = None
        self._name = asset_id or path.stem
        self._file, self._address, self._key = path, address, key
        self._connect()
        try:
            self._open({})
        except BaseException:
            self._server.close()
            raise
        self.facts = self._session.facts

    def samples(self, scene: Mapping[str, Any]) -> int:
        """See :class:`.Backend`."""
        return samples_of(self.job, scene)

    def render(
        self,
        camera: Camera,
        level: Level,
        should_stop: Callable[[], bool],
        scene: Mapping[str, Any],
    ) -> Drawn | None:
        """See :class:`.Backend`."""
        with self._guard:
            if should_stop():
                return None
            try:
                drawn = self._level(camera, level, scene)
            except ConnectionLost:
                self._server.close()
                if self._closed:
                    raise
                # It was started again, perhaps, or another one in its place.
                self._connect()
                drawn = self._level(camera, level, scene)
            return None if should_stop() else drawn

    def _level(self, camera: Camera, level: Level, scene: Mapping[str, Any]) -> Drawn:
        values = dict(scene.get("values", {}))
        if level.samples == 0 and self._drafts:
            try:
                return self._drawn(camera, values, scene, 0, "raster")
            except (ConnectionLost, WorkerCrashed, WorkerTimeout):
                raise
            except RenderError:
                # A scene that a rasterizer does not see as it is.
                self._drafts = False
        samples = max(level.samples, 1)
        if self.job.with_values(values).engine.engine == "cycles":
            values["engine.samples"] = samples
        return self._drawn(camera, values, scene, samples, "exact")

    def _connect(self) -> None:
        """Reach the server, and bring the file there; nothing is open then."""
        server = connect(self._address, self._key)
        try:
            self._path = server.upload(self._file)
        except BaseException:
            server.close()
            raise
        self._server, self._start = server, None
        if self._closed:
            server.close()

    def _open(self, start: dict[str, Any]) -> None:
        """Open the scene, with those of the job's fields that belong to it from its start."""
        self._session = self._server.open(
            self._path, job=self.job.with_values(start), name=self._name
        )
        self._start, self._values, self._drafts = start, start, True

    def _drawn(
        self,
        camera: Camera,
        values: dict[str, Any],
        scene: Mapping[str, Any],
        samples: int,
        lane: Lane,
    ) -> Drawn:
        start = of_the_start(self.job, values)
        if start != self._start:
            if self._start is not None:
                self._start = None  # Where it fails, none is open.
                self._session.close()
            self._open(start)
        if values != self._values:
            base = self.job.to_dict()
            wanted = {path: _at(base, path) for path in self._values} | values
            self._session.set(**{
                path: value for path, value in wanted.items() if path not in start
            })  # fmt: skip
            self._values = values
        frame = self._session.frame(camera, scene.get("time"), lane=lane)
        return Drawn({name: np.array(frame[name]) for name in frame.passes}, samples)

    def close(self) -> None:
        """See :class:`.Backend`."""
        self._closed = True
        self._server.close()


def _at(job: Mapping[str, Any], path: str) -> Any:
    value: Any = job
    for name in path.split("."):
        value = value[name]
    return value
