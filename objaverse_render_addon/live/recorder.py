"""Samples kept in files as they come (:mod:`.recording` has their format, and reads them)."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DiskFull, InvalidJob, RenderError, from_os_error
from .recording import ALIGNMENT, CRC, DTYPES, HEAD, MAGIC, START, SUFFIX, recorded
from .samples import Sample
from .streaming import Stream

__all__ = ["Recorder", "record"]


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
        self._append([MAGIC, bytes(-len(MAGIC) % ALIGNMENT)])
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
            if plain.dtype.str not in DTYPES:
                raise InvalidJob(f"{name} has the dtype {plain.dtype}, which is no number's.")
            buffers.append([name, plain.dtype.str, list(plain.shape), offset])
            arrays.append(plain)
            offset += plain.nbytes + -plain.nbytes % ALIGNMENT
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
        parts: list[Any] = [text, bytes(-(START + len(text)) % ALIGNMENT)]
        for array in arrays:
            parts += [array.reshape(-1).view(np.uint8).data, bytes(-array.nbytes % ALIGNMENT)]
        crc, length = 0, 0
        for part in parts:
            crc, length = zlib.crc32(part, crc), length + len(part)
        head = HEAD.pack(kind, len(text), length, crc)
        self._append([head, CRC.pack(zlib.crc32(head)), *parts])

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
            self._record(b"INDX", text, [np.frombuffer(tail.rjust(ALIGNMENT, b"\0"), np.uint8)])
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
    resume: bool = False,
) -> Iterator[Sample]:
    """Samples as they come, kept on their way.

    Where the disk is full, that is said in a warning, what is there stays whole, and the samples go
    on.

    Args:
        resume: Go on with what the folder has of this epoch: samples that are there, whole, are
            neither rendered nor given again, so that the folder has each once in the end.

    Raises:
        InvalidJob: What is to be gone on with is no stream with an end, or the folder has samples
            of another one.
    """
    if resume:
        if not isinstance(samples, Stream) or samples.count is None:
            raise InvalidJob("What is gone on with is a live.stream of so and so many units.")
        before = recorded(folder, samples.count, samples.source.views, samples.seed)
        there = before.get(samples.epoch)
        if there is not None:
            samples.go_on_behind(there)
    return _kept(samples, Recorder(folder, name, shard_bytes=shard_bytes))


def _kept(samples: Iterable[Sample], recorder: Recorder | None) -> Iterator[Sample]:
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
