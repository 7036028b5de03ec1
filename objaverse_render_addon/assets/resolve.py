"""From a source to a file on this machine, whatever the source is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import UnsupportedFormat
from .objaverse import ObjaverseCache
from .sources import Source, classify, uid_of

__all__ = ["Fetched", "Progress", "RepoFormat", "Resolver"]

Progress = Callable[[int, int], None]
RepoFormat = Literal["none", "zip", "tar", "tar.gz", "files"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """An asset's file on this machine.

    Attributes:
        path: The file.
        provenance: What is known of it, for the metadata: ``file_identifier``, ``license``,
            ``sha256``, and for Objaverse-XL ``state`` (``found``, ``modified``, ``new``,
            ``unverified``).
        temporary: Whether :meth:`Resolver.release` removes it.
    """

    path: Path
    provenance: dict[str, Any] = field(default_factory=dict)
    temporary: bool = False


class Resolver:
    """Fetches assets, from any number of threads.

    Args:
        download_dir: Cache of fetched objects; ``~/.objaverse``, as the ``objaverse`` package.
        endpoint: Server of the Objaverse data sets; ``HF_ENDPOINT`` or Hugging Face otherwise.
        online: Whether the network may be used; what is in the cache is found either way.
        keep: Whether what is fetched stays in the cache; otherwise :meth:`release` removes it.
            What was there before stays in any case.
        save_repo_format: How repositories of Objaverse-XL's GitHub objects are kept.
        per_host: Connections to one server at a time.
    """

    def __init__(
        self,
        download_dir: str | Path | None = None,
        endpoint: str | None = None,
        *,
        online: bool = True,
        keep: bool = True,
        save_repo_format: RepoFormat = "none",
        per_host: int = 4,
    ) -> None:
        self.folder = Path(download_dir or Path.home() / ".objaverse").expanduser()
        self._keep, self._repos, self._per_host = keep, save_repo_format, per_host
        self._objects = ObjaverseCache(self.folder, endpoint, online=online)

    def __enter__(self) -> Resolver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fetch(
        self,
        source: Source | str,
        on_progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Fetched:
        """The asset's file, from where it lies, the cache or the network.

        Args:
            on_progress: Told bytes so far and bytes expected (0 where nobody says).
            cancel: Set it, from any thread, to stop within a second.

        Raises:
            SourceNotFound, OnlineAccessDenied, DownloadFailed, WrongFormat, TruncatedFile,
            MissingDependency, OutputNotWritable, DiskFull
            Interrupted: By ``cancel``.
        """
        if isinstance(source, str):
            source = Source(source, classify(source))
        known = dict(source.known)
        if source.kind == "path":
            return Fetched(Path(source.text).expanduser().resolve(), known)
        if source.kind == "objaverse":
            uid = uid_of(source.text) or source.text
            path = self._objects.fetch(uid, on_progress, cancel)
            known["file_identifier"] = f"https://sketchfab.com/3d-models/{uid}"
            return Fetched(path, known)
        raise UnsupportedFormat(f"{source.text}: sources of this kind are not read yet.")

    def release(self, fetched: Fetched) -> None:
        """Say that a file is not needed any more; removes it where downloads are not kept."""

    def close(self) -> None:
        """Remove what was temporary."""
