"""An asset on its way onto a stage: coloured, measured at all its times, normalised."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import NoGeometry, StillAnimation
from ..job import AssetRules
from ..words import how_many
from . import backfaces, materials
from .asset import Asset, Contents, shown_objects
from .edits import Edits
from .measuring import Measurement, measure, together
from .normalization import normalize, turn_of

if TYPE_CHECKING:
    from .stage import Stage

__all__ = ["STILL", "normalized"]

STILL: Final = 1e-5
"""Motion, as a share of the whole, below which an animation is called still."""


def normalized(
    stage: Stage,
    asset_id: str,
    kind: str,
    collection: Any,
    contents: Contents,
    rendered: list[Any],
    rules: AssetRules,
    *,
    alone: bool,
) -> Asset:
    """Colour what came, measure it at all its times, and bring it to its size and place.

    Args:
        kind: Format of the file.
        collection: Its own on the stage.
        contents: All that came, of which ``rendered`` renders.
        rules: A resolved job's.
        alone: Whether it is the first on the stage, whose times are those of the timeline.

    Raises:
        RenderError: Its geometry cannot be brought there, or it does not move where it should.
    """
    assert rules.normalize
    seed, colored = stage.job.seed, list(contents["materials"])
    edits = Edits()
    lit = contents["worlds"] if stage.job.lighting.mode == "keep" else []
    missing = materials.replace_missing_textures(
        edits, colored + lit, contents["node_groups"], rules, seed, asset_id
    )
    unread = materials.fill_unread(edits, colored) if kind.startswith("usd") else []
    materials.use_nodes(edits, colored)
    shown = shown_objects(contents, rendered, stage.see)
    painted = materials.color_uncolored(edits, shown, rules, seed, asset_id, kind, stage.see)
    colored += painted.materials
    culled = []
    if kind in backfaces.CULLED_FORMATS:
        culled = backfaces.cull_back_faces(edits, shown)
    if not stage.timeline.frames:
        stage.note_cameras()
    whole = _of_all_frames(stage, rendered, asset_id) if alone else None
    if stage.cameras is not None:
        stage.cameras.unlink(collection)
    normalization = normalize(
        collection, rules.normalize, None if alone else {*rendered},
        partial(_measure if whole is None else _measure_some, stage),
        may_instance=True, whole=whole, rotation=turn_of(*rules.axes),
    )  # fmt: skip
    asset = Asset(
        asset_id, kind, collection, contents, rendered, normalization, colored, edits=edits,
        frame=stage.frame,
    )  # fmt: skip
    before = normalization.before
    asset.record = {
        "missing_textures": missing,
        "random_color": painted.random_color,
        "materials": {
            "neutral": sorted(painted.neutral),
            "vertex_colors": sorted(painted.vertex_colors),
            "single_sided": sorted(material.name for material in culled),
        },
        "scene_size": {
            "bbox_min": before.box_min.tolist(), "bbox_max": before.box_max.tolist(),
        },
        "faces_rendered": before.faces,
        "frame": stage.frame,
    }
    if stage.cameras is not None:
        asset.record["cameras"] = list(stage.cameras.names)
    if stage.timeline.frames:
        asset.record["time"] = {**stage.timeline.record(), "motion": stage.motion}
        if stage.job.time.motion_blur:
            asset.record["time"]["shutter"] = stage.job.time.shutter
    asset.warnings = list(normalization.warnings)
    if unread:
        asset.warnings.append(
            f"unread-materials: Blender reads no surface of {', '.join(unread[:5])}, as of "
            "those that are MaterialX alone; neutral grey stands in."
        )
    if missing["count"]:
        asset.warnings.append(f"missing-textures: {', '.join(missing['files'][:5])}")
    return asset


def _of_all_frames(stage: Stage, only: Iterable[Any], asset_id: str) -> Measurement | None:
    """What some objects are at all wanted frames together; ``None`` where they stand still."""
    frames = stage.timeline.frames
    if not frames:
        return None
    only, first = set(only), stage.frame
    start: Measurement | None = None
    motion, empty = 0.0, 0

    def measured() -> Iterator[Measurement]:
        nonlocal start, motion, empty
        for frame in frames:
            stage.set_time(frame)
            stage.note_cameras()
            try:
                found = _measure(stage, only)
            except NoGeometry:
                empty += 1
                continue
            if start is None:
                start = found
            motion = max(motion, found.farthest_from(start))
            yield found

    whole = together(measured())
    stage.set_time(first)
    stage.motion = motion / max(whole.longest_edge, 1e-30)
    if empty:
        stage.warnings.append(
            f"not-always-there: at {how_many(empty, 'frame')} of {len(frames)} nothing of "
            f"{asset_id} renders."
        )
    # A camera that moves through a room shows other pictures.
    animated = stage.animation is not None and stage.animation.moves
    still = stage.motion < STILL and (stage.cameras is None or not animated)
    if still and not empty and (len(frames) > 1 or not animated):
        text = f"the faces of {asset_id} stand still in all {len(frames)} frames."
        if len(frames) == 1:
            text = f"nothing of {asset_id} is animated; it has one frame."
        if stage.job.time.still == "fail":
            raise StillAnimation(
                f"Nothing moves: {text}", hint="Render it as a still, without --frames."
            )
        stage.warnings.append(f"still-animation: {text}")
    return whole


def _measure_some(stage: Stage, only: Iterable[Any] | None = None) -> Measurement:
    """At the first, the middle and the last frame: whether a part stays behind."""
    frames, found = stage.timeline.frames, []
    for frame in sorted({frames[0], frames[len(frames) // 2], frames[-1]}):
        stage.set_time(frame)
        with contextlib.suppress(NoGeometry):
            found.append(_measure(stage, only))
    stage.set_time(frames[0])
    if not found:
        return _measure(stage, only)
    return dataclasses.replace(
        together(found),
        places=np.concatenate([item.places for item in found]),
        boxes=np.concatenate([item.boxes for item in found]),
    )


def _measure(stage: Stage, only: Iterable[Any] | None = None) -> Measurement:
    measured: Measurement = stage.see(lambda graph: measure(only, graph))
    return measured
