"""Folders that go with their process, and what dead processes left of theirs."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import threading
from pathlib import Path

from ..errors import from_os_error
from ..locks import try_lock

__all__ = ["Scratch"]


class Scratch:
    """A folder below ``parent``, made when it is needed first, and folders in it.

    What processes left there that are dead now is removed then; a lock beside each folder, which
    the system lets go of with its process, tells.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._guard = threading.Lock()
        self._made: tuple[Path, Path, int] | None = None
        self._users: dict[Path, int] = {}

    def borrow(self, name: str) -> Path:
        """The folder of this name; :meth:`give_back` it.

        Raises:
            OutputNotWritable, DiskFull
        """
        with self._guard:
            folder = self._folder() / name
            try:
                folder.mkdir(exist_ok=True)
            except OSError as error:
                raise from_os_error(error, str(folder)) from error
            self._users[folder] = self._users.get(folder, 0) + 1
            return folder

    def give_back(self, folder: Path) -> None:
        """Remove a folder, once everybody who borrowed it gave it back."""
        with self._guard:
            self._users[folder] = self._users.get(folder, 1) - 1
            if self._users[folder] <= 0:
                del self._users[folder]
                shutil.rmtree(folder, ignore_errors=True)

    def new(self) -> Path:
        """A folder of its own, for the caller to remove.

        Raises:
            OutputNotWritable, DiskFull
        """
        with self._guard:
            folder = self._folder()
        try:
            return Path(tempfile.mkdtemp(dir=folder))
        except OSError as error:
            raise from_os_error(error, str(folder)) from error

    def close(self) -> None:
        """Remove everything."""
        with self._guard:
            made, self._made = self._made, None
        if made is not None:
            folder, path, lock = made
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._parent.rmdir()

    def _folder(self) -> Path:
        if self._made is None:
            try:
                self._parent.mkdir(parents=True, exist_ok=True)
                self._sweep()
                lock = None
                while lock is None:
                    # Locked before it is there, so that nobody takes it for a dead one's.
                    folder = self._parent / f"{os.getpid()}-{secrets.token_hex(6)}"
                    path = folder.with_suffix(".lock")
                    lock = try_lock(path)
                folder.mkdir()
            except OSError as error:
                raise from_os_error(error, str(self._parent)) from error
            self._made = folder, path, lock
        return self._made[0]

    def _sweep(self) -> None:
        for path in self._parent.glob("*.lock"):
            lock = try_lock(path)
            if lock is not None:
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                os.close(lock)
                path.unlink(missing_ok=True)
