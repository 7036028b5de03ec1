"""What ``view`` was given, as something to look at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ..cameras import Camera
from ..dataset.reader import Dataset
from ..errors import SourceNotFound, UnsupportedFormat
from ..splats.field import is_field, read_field
from .backends.field import FieldBackend
from .backends.stored import StoredBackend
from .levels import Plan
from .page import Pane
from .queue import RenderQueue

__all__ = ["open_panes"]


def open_panes(
    sources: Sequence[str], *, asset: str | None = None, levels: Plan | None = None
) -> list[Pane]:
    """A pane for each source, side by side.

    The first that has cameras lends them to all: they are jumped to together.

    Args:
        sources: A field (``.ply``), or a dataset or asset of one, each.
        asset: Which of a dataset.
        levels: For all of them.

    Raises:
        RenderError: A source is none of these, by name.
    """
    with ExitStack() as undo:
        panes = []
        for source in sources:
            pane = _open(source, asset, levels)
            undo.callback(pane.queue.close)
            panes.append(pane)
        undo.pop_all()
    lent = False
    for pane in panes:
        if lent:
            pane.cameras = ()
        lent = lent or bool(pane.cameras)
    return panes


def _open(source: str, asset: str | None, levels: Plan | None) -> Pane:
    path = Path(source)
    if path.suffix.lower() == ".ply" and is_field(path):
        field = read_field(path)
        center, radius = field.extent()
        backend = FieldBackend(field)
        name = f"{path.name}: {len(field):,} Gaussians"
        return Pane(
            name, RenderQueue(backend, levels), backend.passes, (), center, radius
        )
    return _of_dataset(source, asset, levels)


def _of_dataset(source: str, asset: str | None, levels: Plan | None) -> Pane:
    try:
        data = Dataset.open(source)
    except SourceNotFound as error:
        if Path(source).is_file():
            raise UnsupportedFormat(
                f"{source} is neither a field of Gaussians nor a dataset.",
                hint="Fields are .ply files in the layout of the authors' program.",
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
    cameras: Sequence[Camera] = backend.cameras
    return Pane(
        f"{reader.id}: {len(cameras)} views", RenderQueue(backend, levels), backend.passes,
        cameras, bounds.center, bounds.radius,
    )  # fmt: skip
