"""Objaverse 1.0 by UID: where an object is, and how it gets here.

Paths and cache are those of the ``objaverse`` package, so that either finds what the other has
fetched: ``~/.objaverse/hf-objaverse-v1/glbs/000-xxx/<uid>.glb``.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import threading
import zlib
from pathlib import Path
from typing import Any, Final

from ..errors import DownloadFailed, OnlineAccessDenied, RenderError, SourceNotFound
from .download import Progress, download, new_session
from .formats import inspect_file

__all__ = ["ObjaverseCache", "as_uid"]

_UID: Final = re.compile(r"[0-9a-f]{32}")
_SKETCHFAB: Final = re.compile(
    r"https?://(?:www\.)?sketchfab\.com/(?:3d-models|models)/(?:[\w-]*-)?([0-9a-f]{32})/?"
)
_REPOSITORY: Final = "datasets/allenai/objaverse/resolve/main"


def as_uid(source: str) -> str | None:
    """The Objaverse 1.0 UID that a source names, as such or as a Sketchfab address."""
    text = source.strip().lower()
    if _UID.fullmatch(text):
        return text
    match = _SKETCHFAB.fullmatch(text)
    return match.group(1) if match else None


class ObjaverseCache:
    """Objects of Objaverse 1.0, fetched once.

    Args:
        folder: The ``objaverse`` package's folder; ``~/.objaverse`` otherwise.
        endpoint: Server of the data set; ``HF_ENDPOINT`` or Hugging Face otherwise.
        online: Whether the network may be used; what is in the folder is found either way.
    """

    def __init__(
        self, folder: Path | None = None, endpoint: str | None = None, *, online: bool = True
    ) -> None:
        self.folder = (folder or Path.home() / ".objaverse") / "hf-objaverse-v1"
        endpoint = endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        self._base = f"{endpoint.rstrip('/')}/{_REPOSITORY}"
        self._online = online
        self._paths: dict[str, str] | None = None
        self._session: Any = None

    def fetch(
        self,
        uid: str,
        on_progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Path:
        """The object's file, from the cache or the network.

        Raises:
            SourceNotFound: Objaverse has no such object.
            OnlineAccessDenied: It is not in the cache, and the network may not be used.
            DownloadFailed: The network's or the server's reason.
        """
        for cached in sorted(self.folder.glob(f"glbs/*/{uid}.glb")):
            return cached
        where = self._object_paths(cancel).get(uid)
        if where is None:
            raise SourceNotFound(
                f"Objaverse 1.0 has no object {uid}.", hint="Check the identifier."
            )
        # The list comes from the network: nothing but its own folder may be written to.
        if not re.fullmatch(rf"glbs/[\w-]+/{uid}\.glb", str(where)):
            raise DownloadFailed(f"Objaverse's list names a strange path for {uid}: {where!r}.")
        path = self._download(where, on_progress, cancel)
        try:
            inspect_file(path)
        except RenderError:
            # A server's error page or half a file must not stay where others look for an object.
            path.unlink(missing_ok=True)
            raise
        return path

    def _object_paths(self, cancel: threading.Event | None) -> dict[str, str]:
        if self._paths is None:
            path = self.folder / "object-paths.json.gz"
            # Older tools write this file in place; what they left may be half of it.
            self._paths = _read_json(path)
            if self._paths is None:
                self._paths = _read_json(self._download("object-paths.json.gz", None, cancel))
            if self._paths is None:
                path.unlink(missing_ok=True)
                raise DownloadFailed(f"{path} is damaged.", hint="Try again.")
        return self._paths

    def _download(
        self, where: str, on_progress: Progress | None, cancel: threading.Event | None
    ) -> Path:
        if not self._online:
            raise OnlineAccessDenied(
                f"{where} is not on this machine, and online access is switched off.",
                hint="In Blender: Preferences, System, Allow Online Access.",
            )
        if self._session is None:
            self._session = new_session()
        return download(
            self._session,
            f"{self._base}/{where}",
            self.folder / where,
            on_progress=on_progress,
            cancel=cancel,
        )


def _read_json(path: Path) -> dict[str, str] | None:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, EOFError, ValueError, zlib.error):
        return None
    return data if isinstance(data, dict) else None
