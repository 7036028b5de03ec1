"""Prove a finished dataset right, from its files alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import Rig, View, look_at_pose
from ..checks import check_frame, check_groups
from ..errors import RenderError
from ..frame import Bounds, Check, Frame
from ..job import RenderJob
from ..passspec import MOVING, PASSES
from ..sensing import sensing_of, sensor_record
from .agreement import agreement
from .guards import BROKEN
from .parallel import mapped
from .reader import AssetReader, AssetRef
from .shape_files import StoredShape

__all__ = ["AssetVerdict", "verify_all", "verify_asset"]

SCENE: Final = "scene.json"
"""What makes a unit a composed scene."""
EXPRESSIONS: Final = "expressions.json"
"""What is said of it."""

_SAME: Final = 1e-5
"""Share of a depth by which two machines may measure another one from the same numbers."""
_STRAY: Final = 1e-4
"""Share of pixels that rounding may decide otherwise."""
_ROUNDING: Final = 1e-4
"""How far beyond its limits rounding may carry a value; vectors of unit length are that exact."""


@dataclass(slots=True)
class AssetVerdict:
    """What verification found in one asset.

    Attributes:
        asset: Where it is.
        failed: Sentences; any of them makes the asset unusable.
        doubts: Check name to the entries of ``views`` that raised it.
        sentences: Of a composed scene, how many were proved, by kind.
    """

    asset: str
    views: int = 0
    failed: list[str] = field(default_factory=list)
    doubts: dict[str, list[int]] = field(default_factory=dict)
    sentences: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed


def verify_asset(
    asset: AssetRef | str | os.PathLike[str], on_view: Callable[[int, int], None] | None = None
) -> AssetVerdict:
    """Repeat every check of the renderer on a finished asset, from its files alone.

    Args:
        on_view: Called with the number of views done, and of all.
    """
    verdict = AssetVerdict(str(asset))
    try:
        with AssetReader(asset) as reader:
            verdict.views = len(reader.views)
            expected = reader.metadata["render_settings"]["num_views"]
            if verdict.views != expected or not verdict.views:
                verdict.failed.append(f"{verdict.views} of {expected} views are in the metadata")
            shape = reader.geometry
            if shape is not None:
                verdict.failed += shape.problems()
            names = set(reader.names())
            if SCENE in names:
                _prove_scene(reader, verdict)
            if {SCENE, EXPRESSIONS} <= names:
                _read_sentences(reader, verdict)
            for position, check in _checks(reader, shape, on_view):
                if check.status == "failed":
                    key = reader.key(position)
                    verdict.failed.append(f"{key}: {check.name} ({check.value:g})")
                elif check.status == "doubt":
                    verdict.doubts.setdefault(check.name, []).append(position)
    except RenderError as error:
        verdict.failed.append(error.message)
    except (*BROKEN, OSError) as error:
        verdict.failed.append(f"the metadata are not as they should be: {error!r}")
    empty = verdict.doubts.get("mask_not_empty", [])
    if verdict.views and len(empty) == verdict.views:
        verdict.failed.append("no view shows anything")
    return verdict


def _prove_scene(reader: AssetReader, verdict: AssetVerdict) -> None:
    """What a scene's file says, against its pictures and the physics."""
    from ..compose.proving import checks_of_views, problems_of

    problems = problems_of(reader)
    verdict.failed += problems
    if problems:
        return
    for position, check in checks_of_views(reader):
        if check.status == "doubt":
            verdict.doubts.setdefault(check.name, []).append(position)


def _read_sentences(reader: AssetReader, verdict: AssetVerdict) -> None:
    """What a scene's sentences say, against its pictures."""
    from ..compose.reader import read_unit

    found = read_unit(reader)
    verdict.failed += found.problems
    verdict.sentences = dict(found.proved)


def verify_all(assets: Iterable[AssetRef], jobs: int = 1) -> Iterator[AssetVerdict]:
    """The verdicts on many assets, in their order, each as soon as it and those before are there.

    Args:
        jobs: Processes; 1 works in this one.

    Raises:
        WorkerCrashed: One of the processes died.
    """
    return mapped(verify_asset, assets, jobs)


def _checks(
    reader: AssetReader,
    shape: StoredShape | None,
    on_view: Callable[[int, int], None] | None,
) -> Iterator[tuple[int, Check]]:
    bounds: Bounds = reader.bounds
    space = reader.metadata["passes"].get("normal", {}).get("space", "camera")
    names = {"object_index": {int(index) for index in reader.metadata["object_names"]}}
    for name, named in reader.metadata.get("ids", {}).items():
        names[name] = {int(index) for index in named}
    recent: list[Frame] = []
    twins = _Twins()
    for position, record in enumerate(reader.views):
        view = reader.view(position)
        if recent and recent[0].key.time != reader.key(position).time:
            # What moved in between is witness to nothing.
            recent = []
        arrays = reader.read(position)
        problems = list(_camera_checks(view, record))
        problems += _shape_checks(arrays, view.camera.width, view.camera.height)
        problems += _id_checks(arrays, names)
        yield from ((position, check) for check in problems)
        if any(check.status == "failed" for check in problems):
            continue
        frame = _frame(reader, position, arrays, space)
        earlier = twins.of(position, arrays)
        again = [_frame(reader, one, reader.read(one), space) for one in earlier]
        yield from _light_checks(reader, position, frame)
        for check in check_frame(frame, bounds, recent + again):
            yield position, check
        if shape is not None and frame.key.time == reader.key(0).time:
            # At other times the asset has moved on.
            yield from ((position, check) for check in shape.checks(frame, bounds))
        for check in _sensor_checks(reader, frame):
            yield position, check
        for check in _motion_checks(reader, frame, position, space):
            yield position, check
        recent[1:] = [frame]
        if on_view:
            on_view(position + 1, len(reader.views))


def _light_checks(
    reader: AssetReader, position: int, frame: Frame
) -> Iterator[tuple[int, Check]]:
    """The pictures under each of several lights; they become part of the frame."""
    names = [name for name in reader.passes if PASSES[name].is_picture]
    frame.lights = reader.lights(position)
    grouped = bool(reader.metadata["job"]["lighting"].get("groups"))
    for place in range(len(frame.lights) if names else 0):
        arrays = reader.read(position, names, light=place)
        camera = frame.view.camera
        for check in _shape_checks(arrays, camera.width, camera.height):
            yield frame.view.index, check
        frame.relit.append(arrays)
    if grouped and "rgb_linear" in names:
        parts = [pictures["rgb_linear"] for pictures in frame.relit]
        yield frame.view.index, check_groups(frame.passes["rgb_linear"], parts)


def _sensor_checks(reader: AssetReader, frame: Frame) -> Iterator[Check]:
    """Whether the measured depth is what comes of the clean one, the seed and the model."""
    measured, clean = frame.passes.get("sensor_depth"), frame.passes.get("depth")
    if measured is None:
        return
    job = RenderJob.from_dict(reader.metadata["job"])
    sensing = sensing_of(job, str(reader.metadata["asset_id"]), frame.key)
    told = reader.metadata.get("sensor") == sensor_record(job)
    if clean is None or sensing is None or not told:
        yield Check("sensor_depth_is_of_depth", "failed", 1.0)
        return
    again = sensing.measured(clean, frame.camera)
    # Another machine's logarithms end in another last bit.
    other = np.abs(measured - again) > _SAME * np.maximum(again, 1e-3)
    share = float(other.mean())
    yield Check("sensor_depth_is_of_depth", "failed" if share > _STRAY else "ok", share)


def _motion_checks(
    reader: AssetReader, frame: Frame, position: int, space: str
) -> Iterator[Check]:
    """Motion against the frames that it leads to, and that it is not another frame's."""
    if not set(MOVING) & set(frame.passes):
        return
    before, after = reader.places_beside(position)
    for which, there in (("forward", after), ("backward", before)):
        if there is None:
            flow = frame.passes.get(f"flow_{which}")
            if flow is not None:
                told = int(np.isfinite(flow[flow != 0]).sum())
                yield Check(f"flow_leads_nowhere_{which}", "failed" if told else "ok", told)
            continue
        other = _frame(reader, there, reader.read(there), space)
        yield from agreement(frame, which, other)
        name = f"flow_{which}"
        if name in frame.passes and name in other.passes:
            mine, theirs = frame.passes[name], other.passes[name]
            # To the bit, though what is seen differs: one of them was not made anew.
            stale = bool(np.nan_to_num(mine).any()) and np.array_equal(mine, theirs)
            moved = any(
                shown in frame.passes
                and not np.array_equal(frame.passes[shown], other.passes.get(shown))
                for shown in ("depth", "position", "mask")
            )
            yield Check(f"{name}_is_new", "failed" if stale and moved else "ok", float(stale))


def _frame(
    reader: AssetReader, position: int, arrays: dict[str, npt.NDArray[Any]], space: str
) -> Frame:
    box = reader.views[position]["object_box_px"]
    time = reader.key(position).time
    frame = Frame(
        reader.view(position), time or 0, time is not None, arrays, tuple(box) if box else None
    )
    frame.view_dependent = bool(reader.metadata.get("materials", {}).get("view_dependent"))
    frame.blurred = bool(reader.metadata["job"].get("time", {}).get("motion_blur"))
    frame.normal_space = "world" if space == "world" else "camera"
    return frame


class _Twins:
    """Views whose arrays were seen before, to the bit; those of the view before are looked at
    anyway.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, bytes], int] = {}

    def of(self, position: int, arrays: dict[str, npt.NDArray[Any]]) -> set[int]:
        """Positions of one earlier view for each array that it shares with one."""
        found = set()
        for name in ("rgb", "depth", "distance", "position"):
            if name in arrays and arrays[name].any():
                digest = hashlib.blake2b(np.ascontiguousarray(arrays[name]).data, digest_size=16)
                found.add(self._seen.setdefault((name, digest.digest()), position))
        return found - {position, position - 1, 0}


def _id_checks(
    arrays: dict[str, npt.NDArray[Any]], names: Mapping[str, set[int]]
) -> Iterator[Check]:
    """Whether the metadata name everything that is seen."""
    for name, data in arrays.items():
        if name in names and data.dtype.kind == "u":
            unknown = set(np.unique(data).tolist()) - names[name] - {0}
            status: Any = "failed" if unknown else "ok"
            yield Check(f"{name}_named", status, float(min(unknown, default=0)))


def _camera_checks(view: View, record: dict[str, Any]) -> Iterator[Check]:
    """Whether the numbers that say the same of a camera say the same."""
    camera = view.camera
    rotation = camera.camera_to_world[:3, :3]
    stray = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    stray = max(stray, float(np.abs(camera.camera_to_world[3] - [0, 0, 0, 1]).max()))
    rigid = stray < 1e-3 and float(np.linalg.det(rotation)) > 0
    yield Check("camera_is_rigid", "ok" if rigid else "failed", stray)
    written = [*camera.fov, float(camera.intrinsics[0, 0])]
    said = [record["fov_x_degrees"], record["fov_y_degrees"], record["focal_length_px"]]
    same = bool(np.allclose(written, said, rtol=1e-4))
    error = float(np.abs(np.subtract(written, said)).max())
    yield Check("intrinsics_agree", "ok" if same else "failed", error)
    if "azimuth_degrees" in view.pose:
        away = look_at_pose(
            view.pose["azimuth_degrees"], view.pose["elevation_degrees"], 0.0, Rig()
        )[:3, 2]
        turned = float(np.abs(rotation[:, 2] - away).max())
        yield Check("pose_agrees", "ok" if turned < 1e-3 else "failed", turned)


def _shape_checks(
    arrays: dict[str, npt.NDArray[Any]], width: int, height: int
) -> Iterator[Check]:
    for name, data in arrays.items():
        spec = PASSES[name]
        channels = 1 if data.ndim == 2 else data.shape[-1]
        right = (
            data.shape[:2] == (height, width)
            and channels in spec.channel_counts()
            and data.dtype == np.dtype(spec.dtype)
        )
        yield Check(f"{name}_shape_and_dtype", "ok" if right else "failed", float(right))
        low, high = spec.limits
        beyond = (data < low - _ROUNDING) | (data > high + _ROUNDING)
        odd = data[beyond & (data != spec.invalid)]
        first = float(odd.flat[0]) if odd.size else 0.0
        yield Check(f"{name}_in_limits", "failed" if odd.size else "ok", first)
    mask = arrays.get("mask")
    if mask is None:
        return
    for name, data in arrays.items():
        spec = PASSES[name]
        if spec.is_picture or data.shape[:2] != mask.shape:
            continue
        stray = int(np.count_nonzero(data[mask == 0] != spec.invalid))
        yield Check(f"{name}_zero_outside_mask", "failed" if stray else "ok", stray)
