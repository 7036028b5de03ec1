r"""Recorded samples, given again: exactly, in any order, without Blender.

A file is a head and records behind each other; nothing that was written is ever changed. Each
record says how long it is, with a checksum of its own head and one of its contents: whatever kills
the writer, all that came before the last, unfinished record is there. A list of where the records
are stands at the end of files that were closed; it is made again from the records where it is not.
Numbers are little-endian::

    head     16 bytes  "objaverse-rec 1\n"
    record   64-byte aligned: "RECD" or "INDX", u32 bytes of JSON, u64 bytes of all that follows,
             u32 CRC-32 of that, u32 CRC-32 of the 20 bytes before; JSON; arrays, 64-byte aligned
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import draw
from ..errors import InvalidJob, SourceNotFound, TruncatedFile, UnsupportedFormat
from .samples import Sample
from .seen import Seen

__all__ = [
    "ALIGNMENT", "CRC", "DTYPES", "HEAD", "MAGIC", "START", "SUFFIX", "Recording", "recorded",
]  # fmt: skip

SUFFIX: Final = ".rec"
MAGIC: Final = b"objaverse-rec 1\n"
HEAD: Final = struct.Struct("<4sIQI")
CRC: Final = struct.Struct("<I")
START: Final = HEAD.size + CRC.size
ALIGNMENT: Final = 64
_LARGEST: Final = 1 << 32
_LARGEST_JSON: Final = 16 << 20
DTYPES: Final = frozenset(
    f"{order}{kind}" for order, kinds in (("|", "b1 u1 i1"), ("<", "u2 i2 u4 i4 u8 i8 f2 f4 f8"))
    for kind in kinds.split()
)  # fmt: skip


def recorded(
    folder: str | os.PathLike[str], units: int, views: int, seed: int
) -> dict[int, Seen]:
    """Which samples of a stream a folder has, by epoch; none where there is no such folder.

    Args:
        units: Of the stream's epochs.
        views: Of its units; 0 where they differ.
        seed: That it is drawn by.

    Raises:
        InvalidJob: Samples of another stream are there.
    """
    found: dict[int, Seen] = {}
    if not any(Path(folder).glob(f"*{SUFFIX}")):
        return found
    recording = Recording(folder)
    for number in range(len(recording)):
        known = recording.about(number)
        try:
            if known["seed"] != seed:
                raise InvalidJob(f"It was drawn by seed {known['seed']}, not {seed}.")
            seen = found.setdefault(known["epoch"], Seen(units, views))
            seen.add(known["index"], known["view"], known.get("views", 0))
        except (InvalidJob, KeyError, TypeError) as error:
            why = error.message if isinstance(error, InvalidJob) else "It says not which it is."
            raise InvalidJob(
                f"{folder} has a sample that is none of this stream. {why}",
                hint="Record into another folder, or go on with the stream of before.",
            ) from error
    recording.close()
    return found


class Recording(Sequence[Sample]):
    """Recorded samples, to be looked up by number, or gone through as a stream is.

    Arrays show the file's own pages, which are read when they are looked at; they may be written
    to, which the file does not hear of. A record's checksum is verified when it is read. Fit to be
    pickled.

    Args:
        where: A file, or a folder of them, which are taken by name.
        seed: Of the order, where it is drawn.
        shuffle: Whether iterating gives them in a drawn order, another in each epoch.
        part: Which of them iterating gives: every nth, beginning with the kth, of ``(k, n)``.

    Attributes:
        cut: Files whose last record was not whole, which is left out.
        epoch: Of the next time round.
        most: Samples, counted in the drawn order, that iterating gives; ``None`` for all.

    Raises:
        SourceNotFound: There is none.
        TruncatedFile: One is damaged before its end.
        UnsupportedFormat: One is no recording.
    """

    def __init__(
        self,
        where: str | os.PathLike[str],
        *,
        seed: int = 0,
        shuffle: bool = False,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        path = Path(where)
        files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise SourceNotFound(
                f"There is no recording at {path}.", hint=f"Give a {SUFFIX} file, or its folder."
            )
        if not 0 <= part[0] < part[1]:
            raise InvalidJob(f"There is no part {part[0]} of {part[1]}.")
        self.files, self.seed, self.shuffle, self.part = files, seed, shuffle, part
        self.epoch = 0
        self.most: int | None = None
        self.cut: list[Path] = []
        self._places: list[tuple[int, int]] = []
        self._maps: dict[int, mmap.mmap] = {}
        for number, file in enumerate(files):
            places, whole = _index(file)
            self._places += [(number, place) for place in places]
            if not whole:
                self.cut.append(file)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        """A sample.

        Raises:
            IndexError: There is none of this number.
            TruncatedFile: Its contents are not what was written.
        """
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        number, place = self._places[index]
        return _read(self.files[number], self._map(number), place)

    def about(self, index: int) -> dict[str, Any]:
        """What is known of a sample (:attr:`.samples.Sample.record`), without its arrays."""
        number, place = self._places[index]
        found = _text(self.files[number], self._map(number), place)[0]
        return dict(found["sample"])

    def _map(self, number: int) -> mmap.mmap:
        if number not in self._maps:
            with self.files[number].open("rb") as file:
                self._maps[number] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return self._maps[number]

    def order(self) -> npt.NDArray[np.int64]:
        """The numbers that the next time round gives, in their order."""
        order = np.arange(len(self))
        if self.shuffle:
            order = np.argsort(draw(self.seed, f"epoch {self.epoch}", "replay", 0, len(self)))
        return order[: self.most][self.part[0] :: self.part[1]]

    def __iter__(self) -> Iterator[Sample]:
        order, self.epoch = self.order(), self.epoch + 1
        for index in order.tolist():
            yield self[index]

    def close(self) -> None:
        """Files are closed when the last array of theirs is gone."""
        self._maps = {}


def _damaged(path: Path, what: str) -> TruncatedFile:
    return TruncatedFile(f"{path} is damaged: {what}.", hint="Take it from where it was copied.")


def _head(path: Path, memory: Any, at: int) -> tuple[bytes, int, int, int]:
    """Kind, bytes of JSON, of all, and CRC-32 of a record.

    Raises:
        TruncatedFile: There is none.
    """
    head = bytes(memory[at : at + START])
    if len(head) < START or zlib.crc32(head[: HEAD.size]) != CRC.unpack(head[HEAD.size :])[0]:
        raise _damaged(path, f"no record begins at byte {at}")
    kind, text, length, crc = HEAD.unpack(head[: HEAD.size])
    if kind not in (b"RECD", b"INDX") or text > min(length, _LARGEST_JSON) or length > _LARGEST:
        raise _damaged(path, f"what stands at byte {at} is no record")
    return kind, text, length, crc


def _index(path: Path) -> tuple[list[int], bool]:
    """Where a file's records are, and whether it ends with a whole one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC[: max(0, size)]:
            raise UnsupportedFormat(f"{path} is no recording.")
        if size < ALIGNMENT:
            return [], False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            if memory[-4:] == b"END\n":
                at = struct.unpack("<Q", memory[-12:-4])[0]
                with contextlib.suppress(TruncatedFile, ValueError):
                    kind, text, length, crc = _head(path, memory, at)
                    start = at + START
                    whole = start + length == size and zlib.crc32(memory[start:]) == crc
                    if kind == b"INDX" and whole:
                        places = json.loads(memory[start : start + text])
                        return [int(place) for place in places], True
            return _scanned(path, memory, size)


def _scanned(path: Path, memory: mmap.mmap, size: int) -> tuple[list[int], bool]:
    places: list[int] = []
    at = ALIGNMENT
    while at < size:
        try:
            kind, _, length, _ = _head(path, memory, at)
        except TruncatedFile:
            if size - at >= START and any(memory[at : at + START]):
                raise
            return places, False
        if at + START + length > size:
            return places, False
        if kind == b"RECD":
            places.append(at)
        at += START + length
    if places:
        # The newest may have its length and not all of its contents, where a machine lost power.
        _, _, length, crc = _head(path, memory, places[-1])
        start = places[-1] + START
        if zlib.crc32(memory[start : start + length]) != crc:
            return places[:-1], False
    return places, False


def _text(path: Path, memory: Any, at: int) -> tuple[dict[str, Any], int, int, int]:
    """What a record says in words; bytes of that, of all, and CRC-32 of that.

    Raises:
        TruncatedFile: It says nothing.
    """
    kind, text, length, crc = _head(path, memory, at)
    start = at + START
    try:
        if kind != b"RECD":
            raise ValueError("there is a list of records")
        found = json.loads(bytes(memory[start : start + text]))
        if not isinstance(found["sample"], dict):
            raise ValueError("it is of no sample")
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"the record at byte {at}: {error}") from error
    return found, text, length, crc


def _read(path: Path, memory: mmap.mmap, at: int) -> Sample:
    found, text, length, crc = _text(path, memory, at)
    start = at + START
    whole = memoryview(memory)[start : start + length]
    if len(whole) != length or zlib.crc32(whole) != crc:
        raise _damaged(path, f"the record at byte {at} is not what was written")
    try:
        begin = at + START + text
        begin += -begin % ALIGNMENT
        arrays = {}
        for name, dtype, shape, offset in found["arrays"]:
            count = math.prod(shape)
            size = count * np.dtype(dtype).itemsize
            if dtype not in DTYPES or min(shape, default=0) < 0 or offset < 0:
                raise ValueError(f"{name} is no array")
            if begin + offset + size > start + length:
                raise ValueError(f"{name} reaches beyond its record")
            flat = np.frombuffer(memory, dtype, count, begin + offset)
            arrays[name] = flat.reshape(shape)
        return Sample(arrays, found["sample"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"the record at byte {at}: {error}") from error
