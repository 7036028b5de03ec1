"""What ``view`` was given, as something to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from ..assets.formats import EXTENSIONS
from ..dataset.reader import Dataset
from ..errors import SourceNotFound, UnsupportedFormat
from ..job import RenderJob
from ..splats.field import is_field, read_field
from .backends.field import FieldBackend
from .backends.scene import SceneBackend
from .backends.stored import StoredBackend
from .levels import Adaptive, Plan
from .page import Pane
from .queue import RenderQueue

__all__ = ["open_panes"]


def open_panes(
    sources: Sequence[str],
    *,
    asset: str | None = None,
    levels: Callable[[], Plan] = Adaptive,
    job: RenderJob | None = None,
    blender: Path | None = None,
    workers: int = 2,
) -> list[Pane]:
    """A pane for each source, side by side.

    The first that has cameras lends them to all: they are jumped to together.

    Args:
        sources: A field (``.ply``), a dataset or asset of one, or a 3D file, each.
        asset: Which of a dataset.
        levels: Makes the plan of each.
        job: How 3D files are rendered.
        blender: Program of an installed Blender; pip's ``bpy`` otherwise.
        workers: Processes with Blender in them, for each 3D file.

    Raises:
        RenderError: A source is none of these, by name.
    """
    with ExitStack() as undo:
        panes = []
        for source in sources:
            path = Path(source)
            if path.suffix.lower() == ".ply" and is_field(path):
                pane = _of_field(path, levels())
            elif path.is_file() and path.suffix.lower()[1:] in EXTENSIONS:
                pane = _of_file(path, job or RenderJob(), blender, workers, levels())
            else:
                pane = _of_dataset(source, asset, levels())
            undo.callback(pane.queue.close)
            panes.append(pane)
        undo.pop_all()
    lent = False
    for pane in panes:
        if lent:
            pane.cameras = ()
        lent = lent or bool(pane.cameras)
    return panes


def _of_field(path: Path, levels: Plan) -> Pane:
    field = read_field(path)
    center, radius = field.extent()
    backend = FieldBackend(field)
    name = f"{path.name}: {len(field):,} Gaussians"
    return Pane(name, RenderQueue(backend, levels), backend.passes, (), center, radius)


def _of_file(path: Path, job: RenderJob, blender: Path | None, workers: int, levels: Plan) -> Pane:
    backend = SceneBackend(path, job, blender=blender, workers=workers)
    bounds = backend.facts["bounds"]
    queue = RenderQueue(backend, levels, workers=workers)
    return Pane(path.name, queue, backend.passes, (), bounds["center"], bounds["radius"])


def _of_dataset(source: str, asset: str | None, levels: Plan) -> Pane:
    try:
        data = Dataset.open(source)
    except SourceNotFound as error:
        if Path(source).is_file():
            raise UnsupportedFormat(
                f"{source} is neither a field of Gaussians, nor a dataset, nor a 3D file.",
            ) from error
        raise
    if asset is not None and asset not in data.ids:
        raise SourceNotFound(f"{source} has no asset {asset}.")
    reader = (data[asset] if asset is not None else data[0]).open()
    try:
        backend, bounds = StoredBackend(reader), reader.bounds
    except BaseException:
        reader.close()
        raise
    # The page knows pinholes alone.
    cameras = [camera for camera in backend.cameras if camera.projection == "perspective"]
    return Pane(
        f"{reader.id}: {len(cameras)} views", RenderQueue(backend, levels), backend.passes,
        cameras, bounds.center, bounds.radius,
    )  # fmt: skip
