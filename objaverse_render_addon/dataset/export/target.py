"""The folder that an export fills: scenes appear whole, lists are replaced at once.

``.export/`` in it holds what makes an export resumable: ``header.json`` (format and options),
``scenes/<key>.json`` (a :class:`~.base.Record` per whole scene, written last), ``parts/``.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import OutputExists, from_os_error
from ...files import write_whole
from .base import Format, Options, Record

__all__ = ["SceneFiles", "Target"]

PRIVATE = ".export"
_HEADER = threading.Lock()


class Target:
    """An export's folder.

    Raises:
        OutputExists: Another export stands there.
        OutputNotWritable, DiskFull: Naming the folder.
    """

    def __init__(self, folder: Path, form: Format, options: Options) -> None:
        self.folder = folder.absolute()
        self.form = form
        self._private = self.folder / PRIVATE
        header = {"version": 1, "format": form.name, "options": options.to_dict()}
        try:
            (self._private / "scenes").mkdir(parents=True, exist_ok=True)
            (self._private / "parts").mkdir(exist_ok=True)
        except OSError as error:
            raise from_os_error(error, f"The export folder {folder}") from error
        with _HEADER:
            path = self._private / "header.json"
            if path.is_file():
                self._compare(_json_of(path), header)
            else:
                self.write_json(f"{PRIVATE}/header.json", header)

    def _compare(self, there: Any, asked: dict[str, Any]) -> None:
        if there == asked:
            return
        there = there if isinstance(there, dict) else {}
        # An option that is younger than the export has had its default.
        chosen = Options().to_dict() | (there.get("options") or {})
        old = {"format": there.get("format"), **chosen}
        new = {"format": asked["format"], **asked["options"]}
        changed = [
            f"{name} {_brief(old.get(name))} → {_brief(value)}"
            for name, value in new.items()
            if old.get(name) != value
        ]
        if not changed and there.get("version") == asked["version"]:
            return
        raise OutputExists(
            f"{self.folder} holds an export made with other options ({', '.join(changed)}).",
            hint="Choose another --out, or remove that folder.",
        )

    def write(self, path: str, data: bytes) -> None:
        """Write a file whole, or leave the one that was there."""
        write_whole(self.folder / path, data)

    def write_json(self, path: str, data: Any) -> None:
        """Write JSON whole."""
        self.write(path, _encode(data))

    def record(self, key: str) -> Record | None:
        """What is known of a scene; ``None`` where it is not whole."""
        path = self._private / "scenes" / f"{key}.json"
        try:
            return Record.from_dict(_json_of(path))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def records(self) -> list[Record]:
        """All scenes that are whole, by key."""
        keys = sorted(path.stem for path in (self._private / "scenes").glob("[!.]*.json"))
        found = [self.record(key) for key in keys]
        return [record for record in found if record is not None]

    def has_files(self, record: Record) -> bool:
        """Whether every file of a scene is there with its size."""
        try:
            return all(
                (self.folder / path).stat().st_size == size for path, size in record.files.items()
            )
        except OSError:
            return False

    def scene_files(self, key: str, places: tuple[str, ...]) -> SceneFiles:
        """Where a scene's files are collected; what a killed process left of it is removed."""
        parts = self._private / "parts"
        for stale in parts.glob(f"{key}.*"):
            shutil.rmtree(stale, ignore_errors=True)
        return SceneFiles(self.folder, parts / f"{key}.{os.getpid()}", places)

    def keep(self, record: Record) -> None:
        """The scene is whole from here on."""
        self.write_json(f"{PRIVATE}/scenes/{record.key}.json", record.to_dict())

    def forget(self, key: str) -> None:
        """The scene is not whole from here on."""
        (self._private / "scenes" / f"{key}.json").unlink(missing_ok=True)


class SceneFiles:
    """Collects a scene's files under a temporary name and makes them appear together.

    Attributes:
        folder: The target, where the files will be.
        files: Path in the target to size in bytes.
    """

    def __init__(self, folder: Path, part: Path, places: tuple[str, ...]) -> None:
        self.folder, self._part, self._places = folder, part, places
        self.files: dict[str, int] = {}

    def add(self, path: str, data: bytes) -> None:
        """Add a file, by its path in the target.

        Raises:
            ValueError: It is not in one of the format's places.
        """
        pure = PurePosixPath(path)
        inside = any(PurePosixPath(place) in (pure, *pure.parents) for place in self._places)
        if not inside or pure.is_absolute() or ".." in pure.parts:
            raise ValueError(f"{path} is not in {self._places}")
        if path in self.files:
            raise ValueError(f"{path} is written twice")
        final = self._part / path
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            final.write_bytes(data)
        except OSError as error:
            raise from_os_error(error, str(self.folder / path)) from error
        self.files[path] = len(data)

    def add_json(self, path: str, data: Any) -> None:
        """Add JSON."""
        self.add(path, _encode(data))

    def add_npy(self, path: str, data: npt.NDArray[Any]) -> None:
        """Add an array of any shape and number type as ``.npy``, in C order."""
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(data), allow_pickle=False)
        self.add(path, buffer.getvalue())

    def commit(self) -> None:
        """Give every place its final name; what stood there before is replaced."""
        try:
            for place in self._places:
                final, new, old = self.folder / place, self._part / place, self._part / "old"
                final.parent.mkdir(parents=True, exist_ok=True)
                if final.exists():
                    final.rename(old)
                if new.exists():
                    new.rename(final)
                if old.is_dir():
                    shutil.rmtree(old)
                else:
                    old.unlink(missing_ok=True)
        except OSError as error:
            raise from_os_error(error, str(self.folder)) from error
        self.discard()

    def discard(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._part, ignore_errors=True)


def _encode(data: Any) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _json_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:40]} … {text[-12:]}"
