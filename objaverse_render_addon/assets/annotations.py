"""The annotation files of Objaverse 1.0: where they are, whether they are whole, what is in them.

They are those of the ``objaverse`` package, at the same place: 160 files
``~/.objaverse/hf-objaverse-v1/metadata/000-NNN.json.gz``, each a JSON object of UID to Sketchfab's
record, and ``lvis-annotations.json.gz``, LVIS category to UIDs. That package writes them in
place, so what it leaves may be half a file.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..errors import DownloadFailed, OnlineAccessDenied
from .download import Session, download, hub_endpoint, new_session

__all__ = ["LVIS", "SHARDS", "AnnotationFiles", "Damaged", "is_uid", "said"]

SHARDS: Final = tuple(f"metadata/000-{number:03d}.json.gz" for number in range(160))
PATHS: Final = "object-paths.json.gz"
LVIS: Final = "lvis-annotations.json.gz"
# The real ones are some tens of MiB unpacked; a file that claims more is no annotation file.
MAX_UNPACKED: Final = 512 << 20
MAX_PACKED: Final = 128 << 20
_REPOSITORY: Final = "datasets/allenai/objaverse/resolve/main"
_UID: Final = re.compile(r"[0-9a-f]{32}")
_SPACE: Final = re.compile(r"[ \t\r\n]*")


class Damaged(Exception):
    """A file that is not what it should be; the message says how."""


def is_uid(text: object) -> bool:
    """Whether this is an Objaverse UID as the annotations write it."""
    return isinstance(text, str) and _UID.fullmatch(text) is not None


def said(name: str) -> str:
    """What a file of the catalogue is, for people; any other name as it stands."""
    if name == PATHS:
        return "The list of Objaverse's files"
    if name == LVIS:
        return "The list of LVIS categories"
    return "Objaverse's list of annotations" if name in SHARDS else name


class AnnotationFiles:
    """The annotation files in a cache, and on a server.

    Args:
        folder: The ``objaverse`` package's folder; ``~/.objaverse`` otherwise.
        endpoint: Server of the data set; ``HF_ENDPOINT`` or Hugging Face otherwise.
        online: Whether the network may be used.
    """

    def __init__(
        self, folder: Path | None = None, endpoint: str | None = None, *, online: bool = True
    ) -> None:
        self.folder = (folder or Path.home() / ".objaverse") / "hf-objaverse-v1"
        self._endpoint = endpoint
        self._base = f"{hub_endpoint(endpoint)}/{_REPOSITORY}"
        self.online = online
        self._session: Session | None = None

    def path(self, name: str) -> Path:
        """Where a file is, or would be."""
        return self.folder / name

    def identity(self, name: str) -> str:
        """Changes when the content does; empty where there is no such file.

        A gzip file ends with CRC-32 and length of what is in it (RFC 1952, section 2.3.1), so
        that 8 bytes tell contents apart.
        """
        try:
            with self.path(name).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 8))
                return f"{size}-{file.read(8).hex()}"
        except OSError:
            return ""

    def stamp(self, name: str) -> str:
        """Size and time of a file: where they are the same, so is the content."""
        try:
            found = self.path(name).stat()
        except OSError:
            return ""
        return f"{found.st_size}-{found.st_mtime_ns}"

    def fetch(self, name: str, cancel: threading.Event | None = None) -> Path:
        """Download a file, whether it is there already or not.

        Raises:
            OnlineAccessDenied, DownloadFailed, OutputNotWritable, DiskFull, Interrupted
        """
        if not self.online:
            raise OnlineAccessDenied.to_fetch(said(name))
        with self.connected() as session:
            return download(
                session, f"{self._base}/{name}", self.path(name),
                cancel=cancel, max_bytes=MAX_PACKED,
            )  # fmt: skip

    @contextlib.contextmanager
    def connected(self) -> Iterator[Session]:
        """Keep the connections to the server for all that is fetched meanwhile."""
        if self._session is not None:
            yield self._session
            return
        with new_session(self._endpoint) as session:
            self._session = session
            try:
                yield session
            finally:
                self._session = None

    def records(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """UID and record of each object in a shard, one decoded at a time.

        What has no UID or is no record is left out.

        Raises:
            Damaged: Maybe only after some records have come.
        """
        for uid, record in _members(_unpack(self.path(name)), name):
            if is_uid(uid) and isinstance(record, dict):
                yield uid, record

    def record(self, name: str, uid: str) -> dict[str, Any] | None:
        """One object's record in a shard; ``None`` where it or the shard is not there."""
        try:
            return next((record for found, record in self.records(name) if found == uid), None)
        except Damaged:
            return None

    def shard_of(self, uid: str, cancel: threading.Event | None = None) -> str | None:
        """The shard that has an object, which is fetched too; ``None`` where none has it.

        Raises:
            DownloadFailed, OnlineAccessDenied, OutputNotWritable, DiskFull, Interrupted
        """
        paths = self.whole(PATHS, cancel)
        where = next((path for found, path in paths if found == uid), None)
        folder = re.fullmatch(rf"glbs/(000-\d\d\d)/{uid}\.glb", str(where))
        name = f"metadata/{folder[1]}.json.gz" if folder else ""
        if name not in SHARDS:
            return None
        self.whole(name, cancel)
        return name

    def whole(self, name: str, cancel: threading.Event | None = None) -> list[tuple[str, Any]]:
        """All that a file has, fetched where it is missing or damaged.

        Raises:
            DownloadFailed, OnlineAccessDenied, OutputNotWritable, DiskFull, Interrupted
        """
        try:
            return list(_members(_unpack(self.path(name)), name))
        except Damaged:
            self.fetch(name, cancel)
        try:
            return list(_members(_unpack(self.path(name)), name))
        except Damaged as error:
            self.path(name).unlink(missing_ok=True)
            raise DownloadFailed(
                f"{error}, also after it was fetched again.",
                hint="The mirror may have a damaged copy.",
            ) from error

    def lvis(self) -> dict[str, list[str]]:
        """LVIS category to UIDs.

        Raises:
            Damaged
        """
        found = {}
        for category, uids in _members(_unpack(self.path(LVIS)), LVIS):
            if isinstance(uids, list):
                found[category] = [uid for uid in uids if is_uid(uid)]
        return found


def _unpack(path: Path) -> str:
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(MAX_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Damaged(f"{path}: {error}") from error
    if len(data) > MAX_UNPACKED:
        raise Damaged(f"{path} has more than {MAX_UNPACKED} bytes in it")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Damaged(f"{path} is no text: {error}") from error


def _members(text: str, name: str) -> Iterator[tuple[str, Any]]:
    """Keys and values of the JSON object that a text is, without ever holding it whole."""
    decode = json.JSONDecoder().raw_decode

    def after_space(position: int) -> int:
        match = _SPACE.match(text, position)
        return match.end() if match else position

    try:
        position = after_space(0)
        if text[position] != "{":
            raise Damaged(f"{name} is no JSON object")
        position = after_space(position + 1)
        while text[position] != "}":
            key, position = decode(text, position)
            position = after_space(position)
            if not isinstance(key, str) or text[position] != ":":
                raise Damaged(f"{name} is no JSON object")
            value, position = decode(text, after_space(position + 1))
            yield key, value
            position = after_space(position)
            if text[position] == ",":
                position = after_space(position + 1)
            elif text[position] != "}":
                raise Damaged(f"{name} is broken at character {position}")
    except (ValueError, IndexError, RecursionError) as error:
        raise Damaged(f"{name} is broken: {error}") from error
