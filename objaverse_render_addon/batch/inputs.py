"""The files that a job itself names, looked at before any asset needs them."""

from __future__ import annotations

from pathlib import Path

from ..cameras.files import views_from_file
from ..errors import InvalidJob
from ..job import RenderJob

__all__ = ["check_files"]


def check_files(job: RenderJob) -> None:
    """See whether the files that a job names can be used.

    Raises:
        InvalidJob: The image for light cannot be read.
        CameraFileError: The poses cannot be read or understood, or are too few.
    """
    hdri, poses = job.lighting.hdri, job.cameras.file
    if hdri is not None:
        problem = _unreadable(Path(hdri))
        if problem:
            raise InvalidJob(
                f"The HDRI {hdri} cannot be read: {problem}.", hint="Give an .hdr or .exr image."
            )
    if poses is not None:
        views_from_file(poses, job.pixels.resolution, job.cameras.views)


def _unreadable(path: Path) -> str:
    """Why nothing can be read from a file; empty if something can."""
    try:
        with path.open("rb") as file:
            return "" if file.read(1) else "it is empty"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
