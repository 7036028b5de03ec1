"""An asset that a server renders into a data set: its files go to the client as they come."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..assets.sources import safe_name
from ..errors import InvalidEdit
from ..worker.channel import Received
from ..worker.guardian import ScratchFolder
from ..worker.protocol import Buffer, Done, FilePart, FrameDone, RenderAsset, Stage
from .admission import Admission

if TYPE_CHECKING:
    from .clients import Client, Turn
    from .pool import Pool

__all__ = ["OUT", "PARTS_AHEAD", "PREVIEWS", "serve_asset"]

OUT: Final = "out"
PREVIEWS: Final = "previews"
PARTS_AHEAD: Final = 4
"""Parts of files that may be on their way."""
_PART: Final = 1 << 20


def serve_asset(
    pool: Pool,
    admission: Admission,
    client: Client,
    message: RenderAsset,
    number: int,
    turn: Turn,
    timeout: float,
) -> Done:
    """Render it here, and send what was made: ``out/…``, and ``previews/…`` where they are wanted.

    Raises:
        RenderError: As a batch's worker fails, and what a client may not have.
    """
    if not isinstance(message.asset_id, str) or safe_name(message.asset_id) != message.asset_id:
        raise InvalidEdit(f"{message.asset_id!r} is no name of an asset.")
    if not isinstance(message.folders, list) or not isinstance(message.provenance, dict):
        raise InvalidEdit("An asset has a list of folders, and a table of what is known of it.")
    job, path = admission.job(client, message.job), admission.path(client, message.path)
    folders = [admission.path(client, folder) for folder in message.folders]
    until = time.monotonic() + timeout
    with ScratchFolder(Path(tempfile.gettempdir()).resolve()) as folder:
        previews = folder / PREVIEWS if message.previews else None

        def send(file: Path) -> None:
            for part, data in _parts(folder, file):
                turn.spend(until)
                client.send(part, number, [memoryview(data)])

        def told(received: Received) -> None:
            answer = received.message
            if isinstance(answer, FrameDone):
                newest = Path(answer.preview) if answer.preview else None
                if newest is not None:
                    send(newest)
                answer = replace(answer, preview=newest.name if newest is not None else "")
            if isinstance(answer, Stage | FrameDone):
                client.send(answer, number, ())

        request = replace(
            message, source=str(message.source), path=path, job=job.to_dict(), known={},
            out=str(folder / OUT), previews=str(previews or ""), folders=folders,
        )  # fmt: skip
        done = pool.render_asset(request, timeout, told, turn.ended_by)
        final = Path(done.path)
        files = [final]
        if final.is_dir():
            files = sorted(one for one in final.iterdir() if one.is_file())
        for file in files:
            send(file)
        sheet = Path(done.sheet) if done.sheet else None
        if sheet is not None:
            send(sheet)
        return replace(
            done, path=final.relative_to(folder).as_posix(),
            sheet=sheet.name if sheet is not None else "",
        )  # fmt: skip


def _parts(folder: Path, file: Path) -> Iterator[tuple[FilePart, bytes]]:
    name, first = file.relative_to(folder).as_posix(), True
    with file.open("rb") as stream:
        while (data := stream.read(_PART)) or first:
            yield FilePart(name, [Buffer("data", "|u1", [len(data)])], first), data
            first = False
