"""What a user may name as a source: a file, a folder, or a list of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import SourceNotFound
from .formats import EXTENSIONS
from .objaverse import as_uid

__all__ = ["expand"]


def expand(sources: Iterable[str]) -> list[str]:
    """Every 3D file that the sources name, in order.

    A folder stands for the 3D files in it and below, sorted; a ``.txt`` file for the paths
    (relative to the file) and UIDs in it, one a line, ``#`` starting a comment. Anything else stands for
    itself, so that a file that is not there is one failed asset and not a failed run.

    Raises:
        SourceNotFound: A list cannot be read, or a folder has no 3D file.
    """
    found: list[str] = []
    for source in sources:
        path = Path(source).expanduser()
        if path.is_dir():
            files = [str(file) for file in sorted(path.rglob("*")) if _is_asset(file)]
            if not files:
                raise SourceNotFound(
                    f"There is no 3D file in the folder {source}.",
                    hint=f"Known extensions are: {', '.join(EXTENSIONS)}.",
                )
            found += files
        elif path.suffix.lower() == ".txt":
            found += expand(_read_list(path))
        else:
            found.append(str(source))
    return found


def _is_asset(path: Path) -> bool:
    return path.suffix.lower().lstrip(".") in EXTENSIONS and path.is_file()


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceNotFound(f"The list {path} cannot be read: {error}.") from error
    entries = [line.split("#", 1)[0].strip() for line in lines]
    return [entry if as_uid(entry) else str(path.parent / entry) for entry in entries if entry]
