"""What was found out about an asset's references."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import MissingParts
from ..reach import Reach, base_name
from ..text import clean

__all__ = ["ABSENT", "Look", "missing_parts"]

ABSENT = "is not there"


@dataclass
class Look:
    """References of an asset, sorted into those that are its own and those that are not.

    Attributes:
        missing: Reference to why it is a missing part.
        needed: Those of them without which nothing can be imported.
        copies: File to what stands for it in a copy of the asset.
        files: What the asset refers to and may read, as it spells it.
        main: The file to import in the copy, where that is another one.
    """

    reach: Reach
    missing: dict[str, str] = field(default_factory=dict)
    needed: list[str] = field(default_factory=list)
    copies: dict[Path, bytes] = field(default_factory=dict)
    files: dict[Path, Path] = field(default_factory=dict)
    seen: set[Path] = field(default_factory=set)
    main: Path | None = None
    _by_name: dict[str, list[str]] = field(default_factory=dict)
    _found: set[str] = field(default_factory=set)

    def ask(
        self,
        reference: str,
        base: Path,
        *,
        needed: bool = False,
        texture: bool = False,
        by_name: bool = False,
    ) -> bool:
        """Whether a reference may stay as it is.

        Args:
            needed: Nothing can be imported without it.
            texture: One that is not there is no news: materials tell of it.
            by_name: The importer looks for its name beside the file, too.
        """
        allowed = True
        tiles = self.reach.tiles(reference, base)
        for one in [reference] if tiles is None else tiles:
            part = self.reach.resolve(one, base)
            if part.path is not None:
                self.has(one, base, part.path)
            elif part.refused:
                allowed = False
                self._miss(reference, part.refused, needed, base if by_name else None)
            elif not texture:
                self._miss(reference, ABSENT, needed=False)
        return allowed

    def has(self, reference: str, base: Path, path: Path) -> None:
        """A reference is to a file of the asset's own."""
        for spelling in (reference, reference.replace("\\", "/")):
            self.files[Path(os.path.normpath(base / spelling))] = path
        self._found.add(base_name(reference))

    def embedded(self, reference: str) -> None:
        """The content of what is referred to is in the file itself."""
        self._found.add(base_name(reference))

    def _miss(self, reference: str, why: str, needed: bool, base: Path | None = None) -> None:
        name = base_name(reference)
        if base is not None:
            # Where the importer finds it by its name, nothing is missing.
            beside = self.reach.resolve(name, base) if name not in ("", ".", "..") else None
            if beside is not None and beside.path is not None:
                self.has(name, base, beside.path)
                return
            self._by_name.setdefault(name, []).append(reference)
        self.missing[reference] = why
        if needed:
            self.needed.append(reference)

    def miss(self, reference: str, why: str) -> None:
        """Name a missing part."""
        self._miss(reference, why, needed=False)

    def settle(self) -> None:
        """Forget those that another reference of the same name has, or the file itself."""
        for name in self._found & self._by_name.keys():
            for reference in self._by_name[name]:
                self.missing.pop(reference, None)

    def room(self, path: Path, folder: Path) -> Path:
        """The asset as an importer may see it: itself, or a copy below ``folder``.

        In the copy everything lies as it does in the original: what was changed, and links to
        what was not.

        Returns:
            The file to import.
        """
        if not self.copies:
            return path
        for place, data in self.copies.items():
            target = _inside(folder, place)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        for place, real in {**self.files, path: path}.items():
            target = _inside(folder, place)
            if place in self.copies or target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.symlink_to(real)
            except OSError:
                # Windows lets few users make links.
                shutil.copyfile(real, target)
        return _inside(folder, self.main or path)


def _inside(folder: Path, path: Path) -> Path:
    return folder / path.relative_to(path.anchor)


def missing_parts(path: Path, missing: dict[str, str]) -> MissingParts:
    """The failure that names an asset's missing parts."""
    named = [f"{clean(reference)!r}, which {why}" for reference, why in missing.items()]
    more = f", and {len(named) - 3} more" if len(named) > 3 else ""
    return MissingParts(
        f"{path} needs {', '.join(named[:3])}{more}.",
        hint="Put it into the asset's folder; of your own files, --allow-outside DIR widens it.",
    )
