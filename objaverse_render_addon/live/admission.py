"""What clients of a server may have opened, and how large it may be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AccessRefused, InvalidEdit, InvalidJob
from ..job import RenderJob
from ..lights import light_files, more_pictures
from ..passspec import PASSES
from .uploads import PREFIX

if TYPE_CHECKING:
    from .clients import Client, Limits

__all__ = ["Admission", "files_of"]


class Admission:
    """Holds what clients ask for against what the server's owner allows.

    Args:
        roots: Folders that files are opened from.
    """

    def __init__(self, roots: Sequence[Path], limits: Limits) -> None:
        self.roots = [Path(root).resolve() for root in roots]
        self._limits = limits

    def path(self, client: Client, path: object) -> str:
        """A file that a client may have opened, with its links followed.

        Args:
            path: Below a root, or ``upload:NAME``.

        Raises:
            AccessRefused: It is none.
        """
        if not isinstance(path, str) or "\0" in path:
            raise InvalidEdit("A path is text.")
        if path.startswith(PREFIX):
            return str(client.uploads.path(path.removeprefix(PREFIX)))
        if client.uploads.has(Path(path)):
            return path
        for root in self.roots:
            found = (root / path).resolve()
            if found.is_relative_to(root) and (found.exists() or len(self.roots) == 1):
                return str(found)
        raise AccessRefused(
            f"{path} is not in a folder that this server opens files from.",
            hint="Its owner names them with --root.",
        )

    def job(self, client: Client, data: object) -> RenderJob:
        """A job whose files, and size, are allowed; with the files' own paths."""
        if not isinstance(data, dict):
            raise InvalidJob("A job is a table.")
        job = RenderJob.from_dict(data)
        for path, value in files_of(job).items():
            job = job.with_values({path: self.path(client, value)})
        if job.lighting.lights is not None:
            # What its lights name is opened too, wherever they say that it lies.
            for file in light_files(job):
                self.path(client, str(file))
        self.pixels(*job.pixels.resolution, job)
        return job

    def pixels(self, width: int, height: int, job: RenderJob) -> None:
        """Look whether a frame is not too large.

        Raises:
            AccessRefused: It is.
        """
        pixels, limits = width * height, self._limits
        passes = [PASSES[name] for name in job.pixels.passes]
        passes += [one for one in passes if one.is_picture] * more_pictures(job)
        channels = sum(one.channels * 4 for one in passes)
        if pixels > limits.pixels or pixels * channels > limits.array:
            raise AccessRefused(
                f"Frames of {width} x {height} pixels are more than this server gives.",
                hint=f"It gives {limits.pixels:,} pixels and {limits.array >> 20:,} MiB.",
            )


def files_of(job: RenderJob) -> dict[str, str]:
    """Dotted paths of a job's fields that name a file, and what they name."""
    found = {
        "lighting.hdri": job.lighting.hdri, "lighting.lights": job.lighting.lights,
        "cameras.file": job.cameras.file,
    }  # fmt: skip
    return {path: value for path, value in found.items() if value is not None}
