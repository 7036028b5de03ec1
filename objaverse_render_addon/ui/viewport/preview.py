"""What the viewport shows before anything is rendered: the job's cameras around the asset.

Sampling and measuring happen here and are kept until something changes; drawing them is
:mod:`overlay`'s work. Measuring evaluates the scene, which a draw callback must not do, so it
runs from a timer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import numpy.typing as npt

from ...assets.sources import safe_name
from ...blender.measuring import measure
from ...blender.normalization import normalizing_transform, turn_of
from ...blender.user_scene import asset_objects
from ...cameras import Rig, View, box_corners, sample_views
from ...cameras.bounding import outermost
from ...errors import RenderError
from ...job import HALF_EXTENT, AssetRules, RenderJob
from ...timeline import frame_range
from ...words import how_many
from .. import preferences
from ..job_mapping import to_job
from ..reports import in_panel_words
from ..widgets import redraw
from .overlay_geometry import is_cropped

__all__ = [
    "RigState",
    "around_asset",
    "asset_id",
    "facts",
    "invalidate",
    "reach",
    "register",
    "rig",
    "rig_or_error",
    "unregister",
]

_POINTS = 400
_DELAY = 0.15


@dataclass(frozen=True, slots=True)
class RigState:
    """The cameras of the panel's job around the asset.

    Attributes:
        points: (N, 3) of the asset, normalised.
        cropped: Views that cut the asset off.
        to_world: (4, 4) from normalised coordinates to the scene's.
        half_extent: Of the normalised box; 0 where there is none.
        doubtful: Views that a check has a doubt about, where they are rendered.
    """

    job: RenderJob
    views: list[View]
    points: npt.NDArray[np.float64]
    cropped: frozenset[int]
    to_world: npt.NDArray[np.float64]
    half_extent: float
    doubtful: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Measured:
    """The asset as it was last measured: hull points, transform and rig."""

    key: tuple[Any, ...]
    points: npt.NDArray[np.float64]
    to_world: npt.NDArray[np.float64]
    rig: Rig


_measured: _Measured | None = None
_state: tuple[tuple[Any, ...], RigState | RenderError] | None = None


def asset_id(scene: bpy.types.Scene) -> str:
    """Id of the panel's asset: what the command line would call its file."""
    home = scene.objaverse.asset
    name = home.get("objaverse_source", {}).get("file_name", home.name) if home else "asset"
    return safe_name(Path(str(name)).stem)


def _key(settings: Any) -> tuple[Any, ...]:
    return (
        settings.asset.name if settings.asset else None, settings.normalize, settings.up,
        settings.front if settings.use_front else None,
    )  # fmt: skip


def _files(job: RenderJob) -> tuple[int, ...]:
    """When the file of poses was last written: whoever exports it anew sees the new ones."""
    if not job.cameras.file:
        return ()
    try:
        return (Path(job.cameras.file).stat().st_mtime_ns,)
    except OSError:
        return ()


def _measure(scene: bpy.types.Scene) -> _Measured:
    settings = scene.objaverse
    half = HALF_EXTENT[settings.normalize]
    objects = asset_objects(settings.asset)
    if not objects:
        return _Measured(
            _key(settings), box_corners([-half] * 3, [half] * 3), np.eye(4), Rig()
        )
    before = measure(objects)
    scale, translation, _ = normalizing_transform(before, settings.normalize)
    rules = AssetRules(up=settings.up, front=settings.front if settings.use_front else None)
    turn = turn_of(*rules.axes)
    to_world = np.eye(4)
    to_world[:3, :3] = turn.T / scale
    to_world[:3, 3] = -translation / scale
    points = (outermost(before.points, _POINTS) * scale + translation) @ turn.T
    rig = Rig()
    if settings.normalize == "none":
        x, y, z = (turn @ before.center).tolist()
        rig = Rig((x, y, z), before.longest_edge / 2)
    return _Measured(_key(settings), points, to_world, rig)


def around_asset(context: bpy.types.Context) -> npt.NDArray[np.float64]:
    """From normalised coordinates to the scene's, (4, 4), whatever cameras there are.

    Raises:
        RenderError: The asset cannot be measured.
    """
    return _measure(context.scene).to_world


def rig_or_error(context: bpy.types.Context, *, remeasure: bool = True) -> RigState:
    """The cameras that a render would use now.

    Args:
        remeasure: Look at the asset again; a draw callback has to say no.

    Raises:
        RenderError: The settings contradict each other, or the asset cannot be measured.
    """
    global _measured, _state
    scene = context.scene
    settings = scene.objaverse
    job = to_job(settings, preferences.get(context))
    if remeasure or _measured is None or _measured.key != _key(settings):
        if not remeasure:
            _schedule()
            if _measured is None:
                raise RenderError("The asset is being measured.")
        else:
            _measured = _measure(scene)
            _state = None
    measured = _measured
    assert measured is not None
    name = asset_id(scene)
    frames = _frames(scene, job)
    key = (job, _files(job), name, measured.key, frames)
    if _state is None or _state[0] != key:
        try:
            _state = key, _make(job.resolved(), name, measured, frames)
        except RenderError as error:
            _state = key, error
    state = _state[1]
    if isinstance(state, RenderError):
        raise state.with_traceback(None)
    return state


def _frames(scene: bpy.types.Scene, job: RenderJob) -> int:
    """How many frames a camera that moves along goes by; a file's own range is the scene's here."""
    wanted = frame_range(job.time.frames) if job.time.frames else None
    whole = range(scene.frame_start, scene.frame_end + 1)
    return max(1, len(whole if wanted is None else wanted))


def _make(job: RenderJob, name: str, measured: _Measured, frames: int) -> RigState:
    views = sample_views(job, name, measured.points, measured.rig, frames)
    cropped = frozenset(v.index for v in views if is_cropped(v.camera, measured.points))
    method = measured.key[1]
    half = 0.0 if method in ("none", "sphere") else HALF_EXTENT[method]
    return RigState(job, views, measured.points, cropped, measured.to_world, half)


def reach(state: RigState) -> npt.NDArray[np.float64]:
    """Points (N, 3) of the scene that the rig spans: cameras, and the object."""
    cameras = [view.camera.camera_to_world[:3, 3] for view in state.views]
    points = np.concatenate([np.array(cameras).reshape(-1, 3), state.points])
    return np.asarray(points @ state.to_world[:3, :3].T + state.to_world[:3, 3])


def rig(context: bpy.types.Context, *, may_measure: bool = False) -> RigState | None:
    """As :func:`rig_or_error`; ``None`` where there is nothing to show.

    Args:
        may_measure: Measure where another asset, or for another box, was measured last.
    """
    stale = _measured is None or _measured.key != _key(context.scene.objaverse)
    try:
        return rig_or_error(context, remeasure=may_measure and stale)
    except RenderError:
        return None


def facts(context: bpy.types.Context) -> list[str]:
    """Where the current view stands, and which views are not as they were drawn."""
    try:
        state = rig_or_error(context, remeasure=False)
    except RenderError as error:
        return [in_panel_words(error)]
    view = state.views[min(context.scene.objaverse.current_view, len(state.views) - 1)]
    pose, camera = view.pose, view.camera
    lens = f"FOV {min(camera.fov):.1f}°"
    if "ortho_scale" in pose:
        lens = f"orthographic, {pose['ortho_scale']:.3g} across"
    elif camera.projection != "perspective":
        lens = f"{camera.projection}, {lens}"
    said = [f"View {view.index}: {camera.width} × {camera.height}, {lens}"]
    if view.split == "test":
        said[0] += ", held out"
    if view.index in state.cropped:
        said[0] += ", crops the object"
    if "azimuth_degrees" in pose:
        said.append(
            f"Radius {pose['radius']:.3g}, elevation {pose['elevation_degrees']:.1f}°, azimuth "
            f"{pose['azimuth_degrees']:.1f}°"
        )
    moved = sum("moved_from_radius" in each.pose for each in state.views)
    if moved:
        said.append(f"{how_many(moved, 'view')} moved back until the object is in frame")
    wider = sum("widened_from_scale" in each.pose for each in state.views)
    if wider:
        said.append(f"{how_many(wider, 'view')} widened until the object is in frame")
    if state.cropped:
        said.append(f"{how_many(len(state.cropped), 'view')} cropping the object, drawn red")
    return said


def invalidate() -> None:
    """The asset may have changed: measure it again soon."""
    if not bpy.app.background:
        _schedule()


def _schedule() -> None:
    if not bpy.app.timers.is_registered(_refresh):
        bpy.app.timers.register(_refresh, first_interval=_DELAY)


def _refresh() -> None:
    """Timer: measure, and draw again."""
    global _measured, _state
    context = bpy.context
    if context.scene is None or not context.window_manager.objaverse.preview:
        return
    try:
        _measured = _measure(context.scene)
    except RenderError:
        _measured = None
    _state = None
    redraw()


@bpy.app.handlers.persistent
def _on_depsgraph(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    state = getattr(bpy.context.window_manager, "objaverse", None)
    if state is None or not state.preview:
        return
    objects = asset_objects(scene.objaverse.asset)
    for update in depsgraph.updates:
        moved = update.is_updated_transform or update.is_updated_geometry
        if moved and isinstance(update.id, bpy.types.Object) and update.id.original in objects:
            invalidate()
            return


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    global _measured, _state
    _measured = _state = None


def register() -> None:
    """Watch the scene."""
    bpy.app.handlers.depsgraph_update_post.append(_on_depsgraph)
    bpy.app.handlers.load_post.append(_on_load)


def unregister() -> None:
    """Stop watching."""
    _on_load()
    if bpy.app.timers.is_registered(_refresh):
        bpy.app.timers.unregister(_refresh)
    bpy.app.handlers.load_post.remove(_on_load)
    bpy.app.handlers.depsgraph_update_post.remove(_on_depsgraph)
