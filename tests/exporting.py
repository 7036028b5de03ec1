"""Small datasets known by formula, and what the tests of the exports ask of all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from analytic import LOPSIDED, Shape, write_asset
from jobs import written

from objaverse_render_addon.cameras import Camera
from objaverse_render_addon.dataset.export import Options, Report, export
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.frame import Frame
from objaverse_render_addon.job import STILL_PASSES, CameraRules, Lighting, RenderJob

Change = Callable[[list[Frame], dict[str, Any]], None]


def stored(
    folder: Path,
    asset_id: str = "asset",
    shape: Shape = LOPSIDED,
    views: int = 4,
    pattern: str = "gs-lrm",
    background: Any = None,
    change: Change | None = None,
    cameras: dict[str, Any] | None = None,
    **output: Any,
) -> AssetReader:
    """A finished asset in a folder of assets, open."""
    chosen = {"resolution": (64, 64), "layout": "folder", "passes": STILL_PASSES} | output
    job = RenderJob(
        cameras=CameraRules(pattern=pattern, views=views, **(cameras or {})),
        lighting=Lighting(background=background),
        **written(**chosen),
    )
    return AssetReader(write_asset(folder, job, asset_id, shape, change))


def exported(folder: Path, to: str, **options: Any) -> tuple[Path, Report]:
    """The export of what :func:`stored` put into ``folder/data``; it has to succeed."""
    target = folder / "out"
    report = export(folder / "data", target, to, Options(**options))
    assert [outcome.error for outcome in report.outcomes if outcome.error] == []
    return target, report


def seen_points(
    reader: AssetReader, view: int, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """World points (N, 3) of a view's object pixels, and those pixels' centres (N, 2)."""
    arrays = reader.read(view)
    rows, columns = np.nonzero(arrays["mask"])
    points = arrays["position"][rows, columns].astype(np.float64) * scale
    return points, np.stack([columns, rows], axis=1) + 0.5


def camera_of(reader: AssetReader, view: int) -> Camera:
    return reader.view(view).camera


def notes(report: Report, kind: str) -> str:
    """All sentences of one kind, for a search."""
    return "\n".join(note["text"] for note in report.notes if note["kind"] == kind)


def emptied(*views: int) -> Change:
    """The object is in none of these views."""

    def change(frames: list[Frame], _record: dict[str, Any]) -> None:
        for view in views:
            for data in frames[view].passes.values():
                data[...] = 0

    return change
