"""Pictures of objects, fetched once into the cache."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from ..errors import DownloadFailed, OnlineAccessDenied, SourceNotFound
from .catalogue import private_folder
from .download import download, new_session
from .entry import CatalogueEntry

__all__ = ["Thumbnails"]

MAX_BYTES: Final = 8 << 20
_BEGINNINGS: Final = {b"\xff\xd8\xff": ".jpg", b"\x89PNG\r\n\x1a\n": ".png"}


class Thumbnails:
    """Thumbnails of a cache.

    Args:
        folder: The cache; ``~/.objaverse`` otherwise.
        online: Whether the network may be used; what is in the cache is found either way.
    """

    def __init__(self, folder: Path | None = None, *, online: bool = True) -> None:
        self.folder = private_folder(folder) / "thumbnails"
        self._online = online

    def cached(self, uid: str) -> Path | None:
        """The picture, where it is here already."""
        for extension in _BEGINNINGS.values():
            path = self.folder / f"{uid}{extension}"
            if path.is_file():
                return path
        return None

    def fetch(self, entry: CatalogueEntry, cancel: threading.Event | None = None) -> Path:
        """The picture's file, from the cache or the network.

        Raises:
            SourceNotFound: The object has none.
            OnlineAccessDenied: It is not here, and the network may not be used.
            DownloadFailed: The network's or the server's reason, or what came is no picture.
            OutputNotWritable, DiskFull
            Interrupted: By ``cancel``.
        """
        found = self.cached(entry.uid)
        if found is not None:
            return found
        if not entry.thumbnail:
            raise SourceNotFound(f"{entry.title} ({entry.uid}) has no thumbnail.")
        if not self._online:
            raise OnlineAccessDenied.to_fetch(f"The thumbnail of {entry.uid}")

        def finish(part: Path) -> Path:
            with part.open("rb") as file:
                start = file.read(8)
            for beginning, extension in _BEGINNINGS.items():
                if start.startswith(beginning):
                    return target.with_suffix(extension)
            raise DownloadFailed(f"{entry.thumbnail} is no JPEG or PNG.")

        target = self.folder / f"{entry.uid}.picture"
        with new_session() as session:
            return download(
                session, entry.thumbnail, target,
                cancel=cancel, max_bytes=MAX_BYTES, finish=finish,
            )  # fmt: skip
