"""What a user may name as a source: a file, a folder, or a list of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import SourceNotFound
from .formats import EXTENSIONS
from .objaverse import as_uid

__all__ = ["expand"]


def expand(sources: Iterable[str]) -> list[str]:
    """Every 3D file that the sources name, in order.

    A folder stands for the 3D files in it and below, sorted; a ``.txt`` file for the paths
    (relative to the file), UIDs and folders in it, one a line, where ``#`` at the start or after
    a space begins a comment. Anything else stands for itself, so that a file that is not there
    is one failed asset and not a failed run. What is named twice counts once.

    Raises:
        SourceNotFound: A list cannot be read, or a folder has no 3D file.
    """
    found: dict[str, None] = {}
    for source in sources:
        if Path(source).suffix.lower() == ".txt":
            # A list may name folders, but no other list: it could name itself.
            entries = _read_list(Path(source).expanduser())
        else:
            entries = [str(source)]
        for entry in entries:
            found.update(dict.fromkeys(_files(entry)))
    return list(found)


def _files(source: str) -> list[str]:
    path = Path(source).expanduser()
    if not path.is_dir():
        return [source]
    files = [str(file) for file in sorted(path.rglob("*")) if _is_asset(file)]
    if not files:
        raise SourceNotFound(
            f"There is no 3D file in the folder {source}.",
            hint=f"Known extensions are: {', '.join(EXTENSIONS)}.",
        )
    return files


def _is_asset(path: Path) -> bool:
    return path.suffix.lower().lstrip(".") in EXTENSIONS and path.is_file()


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceNotFound(f"The list {path} cannot be read: {error}.") from error
    entries = [re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip() for line in lines]
    return [
        entry if as_uid(entry) else str(path.parent / Path(entry).expanduser())
        for entry in entries
        if entry
    ]
