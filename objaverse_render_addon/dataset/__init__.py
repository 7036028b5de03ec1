"""What is written and read back: image files, layouts, metadata, verification, contact sheets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .reader import Dataset

__all__ = ["open"]


def open(  # noqa: A001
    where: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> Dataset:
    """Finished assets of any layout, lazily: see :meth:`.reader.Dataset.open`."""
    # Blender's side imports this package at its start, and needs none of it.
    from .reader import Dataset

    return Dataset.open(where, storage_options=storage_options)
