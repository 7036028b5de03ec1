r"""Samples kept in a file as they come, and given again: exactly, in any order, without Blender.

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
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import draw
from ..errors import (
    DiskFull,
    InvalidJob,
    RenderError,
    SourceNotFound,
    TruncatedFile,
    UnsupportedFormat,
    from_os_error,
)
from .samples import Sample

__all__ = ["SUFFIX", "Recorder", "Recording", "record"]

SUFFIX: Final = ".rec"
_MAGIC: Final = b"objaverse-rec 1\n"
_HEAD: Final = struct.Struct("<4sIQI")
_CRC: Final = struct.Struct("<I")
_START: Final = _HEAD.size + _CRC.size
_ALIGNMENT: Final = 64
_LARGEST: Final = 1 << 32
_LARGEST_JSON: Final = 16 << 20
_DTYPES: Final = frozenset(
    f"{order}{kind}" for order, kinds in (("|", "b1 u1 i1"), ("<", "u2 i2 u4 i4 u8 i8 f2 f4 f8"))
    for kind in kinds.split()
)  # fmt: skip


class Recorder:
    """Writes samples behind each other into new files of a folder.

    Every sample is handed to the system in one piece: what was written is there if this process is
    killed. That the machine itself may lose power is not provided for but at the end of a file.

    Args:
        folder: Is made where it is not there.
        name: What files begin with; several writers have other ones.
        shard_bytes: Size that ends a file.

    Attributes:
        count: Samples that were written.

    Raises:
        OutputNotWritable, DiskFull: As the system says.
    """

    def __init__(
        self, folder: str | os.PathLike[str], name: str = "part", *, shard_bytes: int = 1 << 30
    ) -> None:
        self.folder, self.name, self.count = Path(folder), name, 0
        self._most = shard_bytes
        self._file: int | None = None
        self._places: list[int] = []
        self._at = 0
        with self._naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _naming(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise from_os_error(error, str(path)) from error

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> int:
        number = 0
        while True:
            self.path = self.folder / f"{self.name}-{number:05d}{SUFFIX}"
            with contextlib.suppress(FileExistsError):
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
                made = os.open(self.path, flags, 0o644)
                break
            number += 1
        self._file, self._places, self._at = made, [], 0
        self._append([_MAGIC, bytes(-len(_MAGIC) % _ALIGNMENT)])
        return made

    def write(self, sample: Sample) -> None:
        """Write one.

        Raises:
            DiskFull: There is no room; the file ends with the sample before.
            InvalidJob: The sample is no data.
        """
        buffers, arrays, offset = [], [], 0
        for name, array in sample.arrays.items():
            plain = np.ascontiguousarray(array)
            plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
            if plain.dtype.str not in _DTYPES:
                raise InvalidJob(f"{name} has the dtype {plain.dtype}, which is no number's.")
            buffers.append([name, plain.dtype.str, list(plain.shape), offset])
            arrays.append(plain)
            offset += plain.nbytes + -plain.nbytes % _ALIGNMENT
        try:
            text = json.dumps({"sample": sample.record, "arrays": buffers}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidJob(f"What is known of the sample is no JSON: {error}.") from error
        with self._naming(self.folder):
            if self._file is None or self._at >= self._most:
                self._end()
                self._begin()
            place = self._at
            self._record(b"RECD", text.encode(), arrays)
        self._places.append(place)
        self.count += 1

    def _record(self, kind: bytes, text: bytes, arrays: Sequence[npt.NDArray[Any]]) -> None:
        parts: list[Any] = [text, bytes(-(_START + len(text)) % _ALIGNMENT)]
        for array in arrays:
            parts += [array.reshape(-1).view(np.uint8).data, bytes(-array.nbytes % _ALIGNMENT)]
        crc, length = 0, 0
        for part in parts:
            crc, length = zlib.crc32(part, crc), length + len(part)
        head = _HEAD.pack(kind, len(text), length, crc)
        self._append([head, _CRC.pack(zlib.crc32(head)), *parts])

    def _append(self, parts: Sequence[Any]) -> None:
        """In one call of the system, as long as it takes all of it."""
        assert self._file is not None
        views = [memoryview(part) for part in parts if len(part)]
        try:
            done = os.writev(self._file, views[:1000]) if hasattr(os, "writev") else 0
            wanted = sum(len(view) for view in views)
            if done < wanted:
                rest = memoryview(b"".join(views))[done:]
                while rest:
                    rest = rest[os.write(self._file, rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._at)
                os.lseek(self._file, self._at, os.SEEK_SET)
            raise
        self._at += wanted

    def _end(self) -> None:
        if self._file is None:
            return
        file, places = self._file, self._places
        try:
            text = json.dumps(places).encode()
            at = self._at
            # Behind it, where it begins: who reads looks at the last bytes first.
            tail = struct.pack("<Q", at) + b"END\n"
            self._record(b"INDX", text, [np.frombuffer(tail.rjust(_ALIGNMENT, b"\0"), np.uint8)])
            os.fsync(file)
        finally:
            self._file = None
            os.close(file)

    def close(self) -> None:
        """End the file."""
        with self._naming(self.folder):
            self._end()


def record(
    samples: Iterable[Sample],
    folder: str | os.PathLike[str],
    name: str = "part",
    *,
    shard_bytes: int = 1 << 30,
) -> Iterator[Sample]:
    """Samples as they come, kept on their way.

    Where the disk is full, that is said in a warning, what is there stays whole, and the samples go
    on.
    """
    recorder: Recorder | None = Recorder(folder, name, shard_bytes=shard_bytes)
    try:
        for sample in samples:
            if recorder is not None:
                try:
                    recorder.write(sample)
                except DiskFull as error:
                    warnings.warn(
                        f"recorded no more after {recorder.count} samples: {error}",
                        RuntimeWarning, stacklevel=2,
                    )  # fmt: skip
                    with contextlib.suppress(RenderError):
                        recorder.close()
                    recorder = None
            yield sample
    finally:
        if recorder is not None:
            recorder.close()


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
    head = bytes(memory[at : at + _START])
    if len(head) < _START or zlib.crc32(head[: _HEAD.size]) != _CRC.unpack(head[_HEAD.size :])[0]:
        raise _damaged(path, f"no record begins at byte {at}")
    kind, text, length, crc = _HEAD.unpack(head[: _HEAD.size])
    if kind not in (b"RECD", b"INDX") or text > min(length, _LARGEST_JSON) or length > _LARGEST:
        raise _damaged(path, f"what stands at byte {at} is no record")
    return kind, text, length, crc


def _index(path: Path) -> tuple[list[int], bool]:
    """Where a file's records are, and whether it ends with a whole one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC[: max(0, size)]:
            raise UnsupportedFormat(f"{path} is no recording.")
        if size < _ALIGNMENT:
            return [], False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            if memory[-4:] == b"END\n":
                at = struct.unpack("<Q", memory[-12:-4])[0]
                with contextlib.suppress(TruncatedFile, ValueError):
                    kind, text, length, crc = _head(path, memory, at)
                    start = at + _START
                    whole = start + length == size and zlib.crc32(memory[start:]) == crc
                    if kind == b"INDX" and whole:
                        places = json.loads(memory[start : start + text])
                        return [int(place) for place in places], True
            return _scanned(path, memory, size)


def _scanned(path: Path, memory: mmap.mmap, size: int) -> tuple[list[int], bool]:
    places: list[int] = []
    at = _ALIGNMENT
    while at < size:
        try:
            kind, _, length, _ = _head(path, memory, at)
        except TruncatedFile:
            if size - at >= _START and any(memory[at : at + _START]):
                raise
            return places, False
        if at + _START + length > size:
            return places, False
        if kind == b"RECD":
            places.append(at)
        at += _START + length
    if places:
        # The newest may have its length and not all of its contents, where a machine lost power.
        _, _, length, crc = _head(path, memory, places[-1])
        start = places[-1] + _START
        if zlib.crc32(memory[start : start + length]) != crc:
            return places[:-1], False
    return places, False


def _read(path: Path, memory: mmap.mmap, at: int) -> Sample:
    kind, text, length, crc = _head(path, memory, at)
    start = at + _START
    whole = memoryview(memory)[start : start + length]
    if kind != b"RECD" or len(whole) != length or zlib.crc32(whole) != crc:
        raise _damaged(path, f"the record at byte {at} is not what was written")
    try:
        found = json.loads(bytes(whole[:text]))
        begin = at + _START + text
        begin += -begin % _ALIGNMENT
        arrays = {}
        for name, dtype, shape, offset in found["arrays"]:
            count = math.prod(shape)
            size = count * np.dtype(dtype).itemsize
            if dtype not in _DTYPES or min(shape, default=0) < 0 or offset < 0:
                raise ValueError(f"{name} is no array")
            if begin + offset + size > start + length:
                raise ValueError(f"{name} reaches beyond its record")
            flat = np.frombuffer(memory, dtype, count, begin + offset)
            arrays[name] = flat.reshape(shape)
        return Sample(arrays, found["sample"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"the record at byte {at}: {error}") from error
