"""Files that a client of a server brings along, for as long as it is there."""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
import threading
from pathlib import Path
from typing import Final

from ..errors import AccessRefused, InvalidEdit, from_os_error
from ..worker.guardian import ScratchFolder

__all__ = ["PREFIX", "Uploads", "plain_name"]

PREFIX: Final = "upload:"
"""Of a path that is a file which the client brought."""
_NAME: Final = re.compile(r"[\w -][\w .-]{0,199}")


def plain_name(name: str) -> str:
    """A file's name as a server takes it; its end, with the extension, stays."""
    return re.sub(r"^\.|[^\w .-]", "_", name)[-200:] or "_"


class Uploads:
    """A folder of one client's own, made when it is needed.

    Args:
        most: Bytes that all files of it may have.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._folder: ScratchFolder | None = None
        self._sizes: dict[str, int] = {}
        self._guard = threading.Lock()
        self._closed = False

    def put(self, name: object, data: object, *, first: bool) -> int:
        """Add to a file, or begin it anew; the bytes that it has then.

        Raises:
            InvalidEdit: It has no name, or what came is no base64.
            DiskFull, OutputNotWritable: There is no room for it.
            AccessRefused: It would be too much, or the client is gone.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(data, str):
            raise InvalidEdit("A file that is brought along has a plain name, and base64.")
        try:
            content = base64.b64decode(data, validate=True)
        except (ValueError, binascii.Error) as error:
            raise InvalidEdit(f"What came of {name} is no base64.") from error
        with self._guard:
            if self._closed:
                raise AccessRefused("The client is gone.")
            before = 0 if first else self._sizes.get(name, 0)
            others = sum(size for other, size in self._sizes.items() if other != name)
            if others + before + len(content) > self._most:
                raise AccessRefused(
                    f"{name} is more than this server takes.",
                    hint=f"It takes {self._most >> 20:,} MiB from one client; or lay the file "
                    "into one of its folders.",
                )
            try:
                if self._folder is None:
                    self._folder = ScratchFolder(Path(tempfile.gettempdir()).resolve())
                with (self._folder.path / name).open("wb" if first else "ab") as file:
                    file.write(content)
            except OSError as error:
                raise from_os_error(error, f"{name}, on the server") from error
            self._sizes[name] = before + len(content)
            return self._sizes[name]

    def path(self, name: str) -> Path:
        """Where a file lies.

        Raises:
            AccessRefused: There is none of this name.
        """
        with self._guard:
            if name not in self._sizes or self._folder is None:
                raise AccessRefused(f"No file {name} was brought along.", hint="Upload it first.")
            return self._folder.path / name

    def has(self, path: Path) -> bool:
        """Whether that is one of them."""
        with self._guard:
            return (
                self._folder is not None
                and path.parent == self._folder.path
                and path.name in self._sizes
            )

    def close(self) -> None:
        """Remove everything."""
        with self._guard:
            self._closed = True
            folder, self._folder, self._sizes = self._folder, None, {}
        if folder is not None:
            folder.remove()
