"""Recordings to and from other layouts.

A WebDataset sample is files of one tar that share a name up to the first dot: here ``json``, which
is the sample's record, and ``<pass>.npy``. What others wrote may have ``<name>.png`` beside them.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..dataset.images import read_png
from ..dataset.layout import TAR_END, tar_header, tar_padding
from ..dataset.reader import AssetReader, Dataset, array_from_npy
from ..errors import RenderError, TruncatedFile, from_os_error
from ..passspec import PASSES
from .as_dataset import Stored, to_dataset
from .samples import Sample, camera_record

__all__ = ["Stored", "from_dataset", "from_webdataset", "to_dataset", "to_webdataset"]

_LARGEST: Final = 1 << 30


def to_webdataset(
    samples: Iterable[Sample], folder: str | os.PathLike[str], *, shard_bytes: int = 1 << 30
) -> list[Path]:
    """Write samples as shards ``000000.tar`` …, which appear whole or not at all.

    Args:
        samples: A recording, or a stream.
        folder: Is made where it is not there.

    Raises:
        OutputNotWritable, DiskFull: As the system says.
    """
    out, made = Path(folder), list[Path]()
    part = out / ".part.tar"
    number, size, file = 0, 0, None
    try:
        out.mkdir(parents=True, exist_ok=True)
        for sample in samples:
            epoch, index, view = sample.key
            name = f"{epoch:04d}-{index:08d}-{view:03d}"
            members = {f"{name}.json": json.dumps(sample.record, allow_nan=False).encode()}
            for key, array in sample.arrays.items():
                data = io.BytesIO()
                np.lib.format.write_array(data, np.ascontiguousarray(array), allow_pickle=False)
                members[f"{name}.{key}.npy"] = data.getvalue()
            if file is None:
                file, size = part.open("wb"), 0
            for member, content in members.items():
                size += file.write(tar_header(member, len(content)) + content)
                size += file.write(tar_padding(len(content)))
            if size >= shard_bytes:
                made.append(_finished(file, part, out / f"{number:06d}.tar"))
                file, number = None, number + 1
        if file is not None:
            made.append(_finished(file, part, out / f"{number:06d}.tar"))
            file = None
    except OSError as error:
        raise from_os_error(error, str(out)) from error
    finally:
        if file is not None:
            file.close()
        part.unlink(missing_ok=True)
    return made


def _finished(file: Any, part: Path, path: Path) -> Path:
    with file:
        file.write(TAR_END)
    part.replace(path)
    return path


def from_webdataset(where: str | os.PathLike[str]) -> Iterator[Sample]:
    """Samples of a shard, or of a folder of them, in their order.

    Raises:
        TruncatedFile: What is there is damaged.
    """
    path = Path(where)
    for shard in sorted(path.glob("*.tar")) if path.is_dir() else [path]:
        try:
            with tarfile.open(shard, "r:") as archive:
                members = (member for member in archive if member.isreg())
                for name, group in groupby(members, lambda one: one.name.partition(".")[0]):
                    yield _sample(archive, name, group)
        except (tarfile.TarError, OSError, EOFError, ValueError, RenderError) as error:
            raise TruncatedFile(f"{shard} is no whole shard of samples: {error}") from error


def _sample(archive: tarfile.TarFile, name: str, members: Iterable[tarfile.TarInfo]) -> Sample:
    arrays: dict[str, Any] = {}
    record: dict[str, Any] = {"key": name}
    for member in members:
        if member.size > _LARGEST:
            raise ValueError(f"{member.name} is too large")
        file = archive.extractfile(member)
        assert file is not None
        data, key = file.read(), member.name.partition(".")[2]
        if key == "json":
            record = json.loads(data)
            if not isinstance(record, dict):
                raise ValueError(f"{member.name} is no table")
        elif key.endswith("npy"):
            arrays[key.removesuffix(".npy").removesuffix("npy") or "array"] = array_from_npy(data)
        elif key.endswith("png"):
            arrays[key.removesuffix(".png").removesuffix("png") or "rgb"] = read_png(data)
    return Sample(arrays, record)


def from_dataset(data: Dataset | str | os.PathLike[str]) -> Iterator[Sample]:
    """Every view of every finished asset of a data set, as a stream of its job would give it."""
    assets = data if isinstance(data, Dataset) else Dataset.open(data)
    for index, asset in enumerate(assets):
        with asset.open() as reader:
            for place in range(len(reader)):
                said, key = reader.views[place], reader.key(place)
                arrays, lights = _under_lights(reader, place)
                record = {
                    "index": index, "view": place, "views": len(reader), "epoch": 0, "seed": 0,
                    "state": 0, "dropped": 0, "values": {"asset": asset.id, "view": key.view},
                    "camera": camera_record(reader.view(place).camera),
                    "time": key.time, "noise_seed": said.get("noise_seed"),
                    "object_box_px": said.get("object_box_px"), "checks": said.get("checks", {}),
                    **({"lights": lights} if lights else {}),
                }  # fmt: skip
                yield Sample(arrays, record)


def _under_lights(reader: AssetReader, place: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A view's arrays, also under other lights, and what is said of those, as a stream has them."""
    arrays = dict(reader.read(place))
    tracks = reader.tracks(place)
    if tracks is not None:
        arrays["tracks"] = tracks
    told = reader.lights(place)
    if not told:
        return arrays, []
    pictures = [name for name in arrays if name in PASSES and PASSES[name].is_picture]
    files = {PASSES[name].record_key for name in pictures}
    grouped = bool(reader.metadata["job"]["lighting"].get("groups"))
    lights = []
    for light, one in enumerate(told):
        lights.append({key: value for key, value in one.items() if key not in files})
        if light or grouped:
            read = reader.read(place, pictures, light=light)
            arrays |= {f"{name}@{light}": data for name, data in read.items()}
    return arrays, lights
