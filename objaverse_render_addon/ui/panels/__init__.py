"""The sidebar: tab "Objaverse" of the 3D viewport, from the asset to the finished dataset."""

from __future__ import annotations

from typing import Final

from . import batch, dataset, job, presets, render

__all__ = ["CLASSES"]

CLASSES: Final = (
    *presets.CLASSES, *job.CLASSES, *render.CLASSES, *batch.CLASSES, *dataset.CLASSES,
)  # fmt: skip
