"""Whether two jobs render the same: their fingerprints, and how they differ.

Files that a job names count by their content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ..errors import CameraFileError
from ..files import file_sha256
from .earlier import earlier_form

__all__ = ["differences", "fingerprint_of", "pose_files"]

_MACHINE: Final = ("engine.device", "engine.threads", "asset.witness")
"""How fast and how sure, not what."""
_NAMED: Final = (
    ("lighting", "hdri"), ("lighting", "lights"), ("cameras", "file"), ("pixels", "class_table"),
)  # fmt: skip
_SPLITS: Final = ("train", "val", "test")


def fingerprint_of(job: dict[str, Any], without: Iterable[str] = ()) -> str:
    """SHA-256 of what decides the pictures, of a resolved job's dictionary.

    It is taken of the form that the first version wrote, so that an output folder goes on
    whatever becomes of that form.

    Args:
        without: Paths of fields that do not count.
    """
    job = {key: dict(part) if isinstance(part, dict) else part for key, part in job.items()}
    for path in {*_MACHINE, *without}:
        section, _, name = path.rpartition(".")
        del (job[section] if section else job)[name]
        if section and not job[section]:
            # Of a section that came later nothing is left, as if it had not come.
            del job[section]
    for section, key in _NAMED:
        if job[section].get(key) is not None:
            job[section] = {**job[section], key: _content(job[section][key])}
    data = earlier_form(job)
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Lines ``field: old -> new`` for every value in which two job dictionaries differ."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) or isinstance(after, dict):
            # A section that one of them knows nothing of says nothing.
            before, after = (part if isinstance(part, dict) else {} for part in (before, after))
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before} -> {after}")
    return lines


def _content(path: str) -> str:
    """SHA-256 of a file, or of the poses in a folder; the path where nothing can be read."""
    digest = hashlib.sha256()
    try:
        if Path(path).is_dir():
            images = sorted(
                file for file in Path(path).iterdir() if file.suffix.lower() in (".hdr", ".exr")
            )
            for file in images:
                digest.update(f"{file.name}\0{file_sha256(file)}\0".encode())
            if images:
                return digest.hexdigest()
            for file in pose_files(path):
                digest.update(f"{file.relative_to(path)}\0".encode() + file.read_bytes())
            return digest.hexdigest()
        if not Path(path).is_file():
            # A device or a pipe may never end.
            return path
        return file_sha256(Path(path))
    except (OSError, CameraFileError):
        return path


def pose_files(path: str | Path) -> list[Path]:
    """The files that a path of poses stands for: itself, or those in a folder.

    A folder holds ``transforms.json``, the three files of a NeRF-synthetic scene, or a COLMAP
    model (``cameras`` and ``images``, text or binary), which may lie in its ``sparse/0``.

    Raises:
        CameraFileError: The folder holds none of these, or it is a pipe or a device.
    """
    path = Path(path)
    if not path.is_dir():
        if path.exists() and not path.is_file():
            # A device or a pipe may never end.
            raise CameraFileError(f"{path} is neither a file nor a folder.")
        return [path]
    for folder in (path, path / "sparse" / "0", path / "sparse"):
        for ending in (".bin", ".txt"):
            model = [folder / f"{name}{ending}" for name in ("cameras", "images")]
            if all(file.is_file() for file in model):
                return model
    whole = path / "transforms.json"
    splits = [path / f"transforms_{split}.json" for split in _SPLITS]
    found = [whole] if whole.is_file() else [file for file in splits if file.is_file()]
    if not found:
        raise CameraFileError(
            f"The folder {path} holds no poses.",
            hint="There should be transforms.json, transforms_train.json, or COLMAP's cameras and "
            "images as .bin or .txt, also in sparse/0.",
        )
    return found
