"""What the commands that ask the catalogue share: where it is, and its making shown."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import new_bar

if TYPE_CHECKING:
    from ..assets.catalogue import Catalogue
from .terminal import warn

__all__ = ["add_cache", "open_catalogue"]

_WHAT = {"annotations": "reading annotations", "index": "writing the index"}
_UNIT = {"annotations": "file", "index": "object"}


def add_cache(parser: argparse._ActionsContainer) -> None:
    """Add ``--download-dir`` and ``--offline``."""
    parser.add_argument(
        "--download-dir", type=Path, metavar="DIR",
        help="cache of annotations and objects (default: ~/.objaverse)",
    )  # fmt: skip
    parser.add_argument(
        "--offline", action="store_true", help="never use the network; what is here has to do"
    )


def cache_folder(options: argparse.Namespace) -> Path | None:
    """What ``--download-dir`` says."""
    return options.download_dir.expanduser() if options.download_dir else None


def open_catalogue(options: argparse.Namespace) -> Catalogue:
    """The catalogue; where its index has to be made first, with words and a bar on stderr."""
    from ..assets.catalogue import Catalogue

    with _Making(cache_folder(options), options.offline) as making:
        catalogue = Catalogue.ready(
            cache_folder(options), online=not options.offline, on_progress=making
        )
    if catalogue.problems:
        missing = [name for name in catalogue.problems if name.startswith("metadata/")]
        warn(
            f"warning: {len(missing)} of the 160 annotation files are not in the index "
            f"({catalogue.objects} objects are): {next(iter(catalogue.problems.values()))}. "
            "Search once with the network to have all."
        )
    return catalogue


class _Making:
    """Shows how the index is made; silent where nothing has to be made."""

    def __init__(self, folder: Path | None, offline: bool) -> None:
        self._folder, self._offline = folder, offline
        self._stage = ""
        self._bar: Any = None
        self._since = time.monotonic()

    def __enter__(self) -> _Making:
        return self

    def __call__(self, stage: str, done: int, total: int) -> None:
        if not self._stage:
            where = self._folder or "~/.objaverse"
            fetch = "" if self._offline else "what is missing of it is fetched first, "
            warn(
                f"Making the index of Objaverse in {where}, once: {fetch}then it takes about two "
                "minutes."
            )
        if stage != self._stage:
            self._close()
            self._stage = stage
            self._bar = new_bar(total, desc=_WHAT[stage], unit=_UNIT[stage])
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __exit__(self, kind: object, *_: object) -> None:
        self._close()
        if self._stage and kind is None:
            seconds = time.monotonic() - self._since
            warn(f"The index is ready after {seconds:.0f} s.")
