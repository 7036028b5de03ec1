"""The files that a job itself names, looked at before any asset needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..cameras.files import views_from_file
from ..errors import InvalidJob
from ..job import RenderJob
from ..job.classes import ClassTable
from ..lights import check_groups, light_files, lights_of

__all__ = ["check_files"]


def check_files(job: RenderJob) -> None:
    """See whether the files that a job names can be used.

    Raises:
        InvalidJob: The image for light, or the table of classes, cannot be read.
        CameraFileError: The poses cannot be read or understood, or are too few.
    """
    poses = job.cameras.file
    for path in light_files(job):
        problem = "" if str(path) == job.lighting.lights else _unreadable(path)
        if problem:
            raise InvalidJob(
                f"The HDRI {path} cannot be read: {problem}.", hint="Give an .hdr or .exr image."
            )
    if job.pixels.class_table is not None:
        ClassTable.read(job.pixels.class_table)
    if job.lighting.groups:
        check_groups(lights_of(job, "", 0))
    if poses is not None:
        views_from_file(poses, job.pixels.resolution, job.cameras.views)


_IMAGES: Final = (
    b"#?RADIANCE", b"#?RGBE", b"v/1\x01", b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM",
    b"RIFF", b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51",
)  # fmt: skip
"""How images begin that Blender reads."""


def _unreadable(path: Path) -> str:
    """Why nothing can be read from an image; empty if something can."""
    try:
        if path.exists() and not path.is_file():
            # A device or a pipe may never end.
            return "it is no regular file"
        with path.open("rb") as file:
            head = file.read(64)
        if not head:
            return "it is empty"
        known = head.startswith(_IMAGES) or path.suffix.lower() in (".tga", ".cin", ".dpx")
        return "" if known else "it is no image"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
