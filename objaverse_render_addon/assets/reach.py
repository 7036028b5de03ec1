"""What an asset may read: files of its own folder, and of folders that its user allows it.

One rule for all formats. :meth:`Reach.resolve` says of a reference, as a file has it, which file it
means, or why that one is not for the asset. It asks the file system about nothing that lies
outside, so that no answer tells what is there; nothing is opened here.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["MOST_BYTES", "Part", "Reach", "base_name"]

MOST_BYTES: Final = 8 << 30
"""A larger file is nobody's texture; a download may not be larger either."""
_LONGEST: Final = 4096
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://|(?i:file|data|https?|ftp|smb):")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_TILE: Final = re.compile(r"<UDIM>|<UVTILE>|%\(UDIM\)d")


@dataclass(frozen=True, slots=True)
class Part:
    """What a reference means.

    Attributes:
        path: The file, with links resolved; ``None`` where there is none for the asset.
        refused: Why the reference leads to nothing that the asset may read; empty where it is
            allowed and there, or allowed and not there.
    """

    path: Path | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """Folders that an asset may read from, with what is below them.

    Attributes:
        folders: Absolute, with links resolved; the first is that of the asset's file, in which
            hidden files are not the asset's.
    """

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, path: Path, allowed: Iterable[str | os.PathLike[str]] = ()) -> Reach:
        """The reach of an asset's file: its own folder, and those that are allowed beside it."""
        folders = [path.resolve().parent]
        for folder in allowed:
            # As it is spelled, too: a file of its owner's has it so.
            spelled = Path(folder).expanduser().absolute()
            folders += [spelled.resolve(), spelled]
        return cls(tuple(dict.fromkeys(folders)))

    def resolve(self, reference: str, base: Path, *, folder: bool = False) -> Part:
        r"""The file that a reference means.

        Absolute paths, ``..``, links, addresses and network shares that lead out are refused, and
        so are hidden files and what is no regular file of a size in reason. A path of another
        system's (``C:\Users\…``, here) is one that is not there.

        Args:
            reference: As the importer would join it to ``base``; already decoded.
            base: Folder of the file that has the reference.
            folder: Whether a folder is meant.
        """
        if "\0" in reference or len(reference) > _LONGEST:
            return Part(refused="is no path")
        if _ADDRESS.match(reference):
            return Part(refused="is an address")
        windows = os.name == "nt"
        if not windows and _DRIVE.match(reference):
            return Part()
        found: Path | None = None
        # Importers turn backslashes around, or not, and take ``..`` apart as text or as the
        # system does: whatever they make of it has to stay inside.
        for spelling in dict.fromkeys((reference, reference.replace("\\", "/"))):
            if spelling.startswith(("//", "\\\\")):
                return Part(refused="is on another machine")
            joined = os.path.join(base, spelling)  # noqa: PTH118
            for candidate in dict.fromkeys((joined, os.path.normpath(joined))):
                part = self._look(candidate, folder)
                if part.refused:
                    return part
                found = found or part.path
        return Part(found)

    def _look(self, candidate: str, folder: bool) -> Part:
        # As text first: the file system is not asked about what lies outside.
        if self._below(Path(os.path.normpath(candidate))) is None:
            return Part(refused="lies outside its folder")
        try:
            real = Path(candidate).resolve()
            below = self._below(real)
            if below is None:
                return Part(refused="leads outside its folder")
            status = real.stat()
            if self._own(real) and any(part.startswith(".") for part in below.parts):
                return Part(refused="is hidden")
        except (OSError, RuntimeError, ValueError):
            return Part()
        if folder:
            return Part(real) if stat.S_ISDIR(status.st_mode) else Part(refused="is no folder")
        if not stat.S_ISREG(status.st_mode):
            return Part(refused="is no regular file")
        if status.st_size > MOST_BYTES:
            return Part(refused="is larger than 8 GiB")
        return Part(real)

    def _below(self, path: Path) -> Path | None:
        """The path relative to a folder that it is in; ``None`` outside of them all."""
        for folder in self.folders:
            if path.is_relative_to(folder):
                return path.relative_to(folder)
        return None

    def _own(self, path: Path) -> bool:
        """Whether it is only in the folder of the file, which nobody has allowed."""
        return not any(path.is_relative_to(folder) for folder in self.folders[1:])

    def tiles(self, reference: str, base: Path) -> list[str] | None:
        """The references that ``tex.<UDIM>.png`` stands for; ``None`` where it is one file's."""
        name = base_name(reference)
        if not _TILE.search(name):
            return None
        pattern = re.compile(r"\w+".join(map(re.escape, _TILE.split(name))))
        head = reference[: len(reference) - len(name)]
        # Refused, or not there, is for the folder to say.
        part = self.resolve(head or ".", base, folder=True)
        if part.path is None:
            return [reference]
        try:
            names = sorted(os.listdir(part.path))  # noqa: PTH208
        except OSError:
            return []
        return [head + found for found in names if pattern.fullmatch(found)]


def base_name(reference: str) -> str:
    """What a path ends with, whichever way its slashes lean."""
    return re.split(r"[\\/]", reference)[-1]
