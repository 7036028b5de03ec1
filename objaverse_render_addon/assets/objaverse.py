"""Objaverse 1.0 by UID: where an object is, and how it gets here.

Paths and cache are those of the ``objaverse`` package, so that either finds what the other has
fetched: ``~/.objaverse/hf-objaverse-v1/glbs/000-xxx/<uid>.glb``.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..errors import DownloadFailed, Interrupted, OnlineAccessDenied, SourceNotFound
from .annotations import said
from .download import ByteProgress, Session, download, hub_endpoint, new_session
from .formats import inspect_file

__all__ = ["ObjaverseCache", "as_uid"]

_UID: Final = re.compile(r"[0-9a-f]{32}")
_SKETCHFAB: Final = re.compile(
    r"https?://(?:www\.)?sketchfab\.com/(?:3d-models|models)/(?:[\w-]*-)?([0-9a-f]{32})/?"
)
_INDEX: Final = "object-paths.json.gz"
_REPOSITORY: Final = "datasets/allenai/objaverse/resolve/main"


def as_uid(source: str) -> str | None:
    """The Objaverse 1.0 UID that a source names, as such or as a Sketchfab address."""
    text = source.strip().lower()
    if _UID.fullmatch(text):
        return text
    match = _SKETCHFAB.fullmatch(text)
    return match.group(1) if match else None


class ObjaverseCache:
    """Objects of Objaverse 1.0, fetched once, from any number of threads.

    Args:
        folder: The ``objaverse`` package's folder; ``~/.objaverse`` otherwise.
        endpoint: Server of the data set; ``HF_ENDPOINT`` or Hugging Face otherwise.
        online: Whether the network may be used; what is in the folder is found either way.
        session: What to ask through; one of its own otherwise.
    """

    def __init__(
        self,
        folder: Path | None = None,
        endpoint: str | None = None,
        *,
        online: bool = True,
        session: Session | None = None,
    ) -> None:
        self.folder = (folder or Path.home() / ".objaverse") / "hf-objaverse-v1"
        self._endpoint = endpoint
        self._base = f"{hub_endpoint(endpoint)}/{_REPOSITORY}"
        self._online = online
        self._paths: dict[str, str] | None = None
        self._session = session
        self._guard = threading.Lock()

    def cached(self, uid: str) -> Path | None:
        """The object's file, where it is here already."""
        return next(iter(sorted(self.folder.glob(f"glbs/*/{uid}.glb"))), None)

    def fetch(
        self,
        uid: str,
        on_progress: ByteProgress | None = None,
        cancel: threading.Event | None = None,
        into: Path | None = None,
    ) -> Path:
        """The object's file, from the cache or the network.

        Args:
            on_progress: Called with bytes so far and bytes expected, of the list of objects first
                where that is not here yet.
            into: Folder for it where it is not in the cache and shall not get there.

        Raises:
            SourceNotFound: Objaverse has no such object.
            OnlineAccessDenied: It is not in the cache, and the network may not be used.
            DownloadFailed: The network's or the server's reason.
        """
        cached = self.cached(uid)
        if cached is not None:
            return cached
        where = self._object_paths(on_progress, cancel).get(uid)
        if where is None:
            raise SourceNotFound(
                f"Objaverse 1.0 has no object {uid}.", hint="Check the identifier."
            )
        # The list comes from the network: nothing but its own folder may be written to.
        if not re.fullmatch(rf"glbs/[\w-]+/{uid}\.glb", str(where)):
            raise DownloadFailed(f"Objaverse's list names a strange path for {uid}: {where!r}.")
        target = into / f"{uid}.glb" if into else self.folder / where

        def finish(part: Path) -> Path:
            # A server's error page or half a file must not stay where others look for an object.
            inspect_file(part, str(target))
            return target

        return self._download(
            where,
            target,
            on_progress,
            cancel,
            found=lambda: target if target.is_file() else None,
            finish=finish,
        )

    def _object_paths(
        self, on_progress: ByteProgress | None, cancel: threading.Event | None
    ) -> dict[str, str]:
        # One thread reads, the others wait for it; it looks for `cancel` itself.
        while not self._guard.acquire(timeout=0.1):
            if cancel is not None and cancel.is_set():
                raise Interrupted("Stopped before the list of objects was there.")
        try:
            if self._paths is None:
                self._paths = self._read_paths(on_progress, cancel)
            return self._paths
        finally:
            self._guard.release()

    def _read_paths(
        self, on_progress: ByteProgress | None, cancel: threading.Event | None
    ) -> dict[str, str]:
        path = self.folder / _INDEX
        # Older tools write this file in place; what they left may be half of it.
        found = _read_json(path)

        def finish(part: Path) -> Path:
            nonlocal found
            found = _read_json(part)
            if found is None:
                raise DownloadFailed(f"{self._base}/{_INDEX} is damaged.", hint="Try again.")
            return path

        def by_another() -> Path | None:
            nonlocal found
            found = _read_json(path)
            return None if found is None else path

        if found is None:
            self._download(
                _INDEX, path, on_progress, cancel, found=by_another, finish=finish
            )
        assert found is not None
        return found

    def _download(
        self,
        where: str,
        target: Path,
        on_progress: ByteProgress | None,
        cancel: threading.Event | None,
        *,
        found: Callable[[], Path | None],
        finish: Callable[[Path], Path],
    ) -> Path:
        if not self._online:
            raise OnlineAccessDenied.to_fetch(said(where))
        if self._session is None:
            self._session = new_session(self._endpoint)
        return download(
            self._session,
            f"{self._base}/{where}",
            target,
            on_progress=on_progress,
            cancel=cancel,
            found=found,
            finish=finish,
        )


def _read_json(path: Path) -> dict[str, str] | None:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error):
        return None
    return data if isinstance(data, dict) else None
