"""A batch's lane whose worker is a server's: the asset goes there, its data set comes back."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Final

from ..batch.lanes.local import Lane, LaneBroken, Progress
from ..dataset.layout import PARTS, asset_path, new_writer
from ..errors import ConnectionLost, Interrupted, RenderError, WorkerTimeout, from_os_error
from ..files import replacing
from ..worker.channel import Received
from ..worker.protocol import Done, FilePart, FrameDone, RenderAsset, Stage
from .remote import Connection, connect
from .served_asset import OUT, PREVIEWS

__all__ = ["ServerLane", "server_lanes"]

_MOST: Final = 8
"""Lanes; a server takes no more requests of one client at a time."""


class ServerLane:
    """Renders one asset at a time on a server; see :class:`..batch.lanes.local.Lane`.

    The asset's one file is brought along; what it refers to beside itself is not there.

    Args:
        address: As ``objaverse-render serve`` prints it.
        key: Of this client; empty on a private socket.
        timeout: Seconds that one asset may take, the wait for a worker included.
        previews: Folder for a PNG of each view as soon as it is there.
    """

    def __init__(
        self, address: str, key: str = "", *, timeout: float = 300.0, previews: Path | None = None
    ) -> None:
        self._address, self._key = address, key
        self._timeout, self._previews = timeout, previews
        self._server: Connection | None = None
        self._stopped = threading.Event()

    def render(self, task: RenderAsset, tell: Progress) -> Done:
        """See :class:`..batch.lanes.local.Lane`."""
        if self._stopped.is_set():
            raise Interrupted("Stopped.")
        try:
            # One for each asset: what it brought along goes with it.
            server = self._server = connect(self._address, self._key)
        except RenderError as error:
            raise LaneBroken(error) from error
        try:
            with server:
                return self._render(server, task, tell)
        except ConnectionLost as error:
            if self._stopped.is_set():
                raise Interrupted("Stopped.") from error
            raise
        except WorkerTimeout as error:
            raise WorkerTimeout(
                f"{task.source}: not done after {self._timeout:g} seconds.",
                hint="Allow more, or render fewer or smaller views.",
            ) from error
        finally:
            self._server = None

    def _render(self, server: Connection, task: RenderAsset, tell: Progress) -> Done:
        request = replace(
            task, path=server.upload(task.path), out="", folders=[],
            previews="here" if self._previews is not None else "",
        )  # fmt: skip
        with _Made(task, self._previews) as made:

            def told(received: Received) -> None:
                answer = received.message
                if isinstance(answer, FilePart):
                    made.add(answer, received.payloads["data"])
                elif isinstance(answer, FrameDone):
                    tell(replace(answer, preview=made.preview(answer.preview)))
                elif isinstance(answer, Stage):
                    tell(answer)

            done = server.render_asset(request, self._timeout, told)
            return replace(done, path=str(made.commit()), sheet=made.preview(done.sheet))

    def stop(self) -> None:
        """See :class:`..batch.lanes.local.Lane`."""
        self._stopped.set()
        server = self._server
        if server is not None:
            server.close()

    def close(self) -> None:
        """See :class:`..batch.lanes.local.Lane`."""
        self.stop()


class _Made:
    """Files of one asset, as they come: under their final name all at once, or not at all."""

    def __init__(self, task: RenderAsset, previews: Path | None) -> None:
        self._out, self._name = Path(task.out), task.asset_id
        self._layout = task.job["files"]["layout"]
        self._previews = previews
        # Where whoever cleans up after a killed run looks for it.
        self._folder = self._out / PARTS / f"{self._name}.{os.getpid()}"
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _Made:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended()
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._folder.parent.rmdir()

    def _ended(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, part: FilePart, data: bytes | bytearray) -> None:
        """Bytes of a file came."""
        try:
            if part.first:
                self._ended()
                place = self._place(part.name)
                place.parent.mkdir(parents=True, exist_ok=True)
                self._file = place.open("wb")
            if self._file is None:
                raise ConnectionLost("The server sent a part of no file.")
            self._file.write(data)
        except OSError as error:
            raise from_os_error(error, str(self._out)) from error

    def _place(self, name: str) -> Path:
        first, *rest = PurePosixPath(name).parts
        if not rest or any(one in ("..", "/") or "\\" in one for one in rest):
            raise ConnectionLost(f"The server sent a file with the name {name!r}.")
        if first == PREVIEWS and self._previews is not None and len(rest) == 1:
            return self._previews / rest[0]
        if first != OUT:
            raise ConnectionLost(f"The server sent a file with the name {name!r}.")
        return self._folder.joinpath(*rest)

    def preview(self, name: str) -> str:
        """Where a picture that came is here."""
        self._ended()
        if not name or self._previews is None:
            return ""
        return str(self._place(f"{PREVIEWS}/{name}"))

    def commit(self) -> Path:
        """Put it where the asset belongs; the path."""
        self._ended()
        final = asset_path(self._out, self._name, self._layout)
        made = self._folder / final.name
        try:
            if self._layout != "folder":
                with replacing(final) as part:
                    made.replace(part)
                return final
            files = {one.name: one.read_bytes() for one in sorted(made.iterdir())}
        except OSError as error:
            raise from_os_error(error, str(final)) from error
        writer = new_writer(self._out, self._name, self._layout)
        try:
            for name, data in files.items():
                writer.add(name, data)
            return writer.commit()
        except BaseException:
            writer.abort()
            raise


def server_lanes(
    address: str, key: str = "", *, timeout: float = 300.0, previews: Path | None = None
) -> Callable[[int], Sequence[tuple[str, Lane]]]:
    """What :func:`..batch.run.render` takes as its ``lanes``: as many as the server has workers.

    Raises:
        RenderError: When it is called: nobody answers there, or the key is none.
    """

    def lanes(assets: int) -> Sequence[tuple[str, Lane]]:
        with connect(address, key) as server:
            count = max(1, min(server.workers, assets, _MOST))
        return [
            (f"server {number + 1}", ServerLane(address, key, timeout=timeout, previews=previews))
            for number in range(count)
        ]

    return lanes
