"""Whatever opens scenes: a pool of workers, or a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..cameras import Camera
from ..job import RenderJob
from .changing import OPENING, values_of
from .host import Host
from .session import Session

__all__ = ["Opens"]


class Opens:
    """Opens scenes; a pool of workers, or a server."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def open(
        self,
        path: str | Path | None = None,
        *,
        job: RenderJob | None = None,
        whole: bool = False,
        name: str = "",
        folders: Sequence[str | Path] = (),
        camera: Camera | None = None,
        timeout: float = OPENING,
        on_stage: Callable[[str], None] = lambda _: None,
        **settings: Any,
    ) -> Session:
        """Open a file and hold it, or a stage with nothing on it.

        Args:
            path: Any 3D file, on the workers' machine; ``None`` for an empty stage.
            job: What it is opened with; the default one otherwise.
            whole: Take the file as a scene: where it stands, in its own light, instead of
                normalised in that of the job.
            name: What the asset is called on the stage; the file's stem otherwise.
            folders: That the file may read from beside its own.
            camera: Where the session looks from; otherwise from the job's first view's side.
            timeout: Seconds that it may take.
            on_stage: Called with ``import`` and ``prepare`` as they begin.
            settings: Of the job, by the names of the command line's flags (``resolution``,
                ``passes``, ``engine``, ``samples``, ``normalize``, ``lighting``, ``seed`` …).

        Raises:
            RenderError: As whatever is wrong, by its class.
        """
        values = values_of(settings)
        if whole:
            values = {"asset.normalize": "none", "lighting.mode": "keep", **values}
        made = (job or RenderJob()).with_values(values) if values else job or RenderJob()
        opened = self._host.open_scene(
            "" if path is None else self._host.where(str(path)), made,
            name=name or ("stage" if path is None else Path(path).stem),
            folders=[self._host.where(str(folder)) for folder in folders],
            timeout=timeout, on_stage=on_stage,
        )  # fmt: skip
        return Session(self._host, opened, camera)
