"""The proof of a view: its own numbers against each other, its geometry and other views.

Every check ends in a number. What contradicts itself is a failure, what may be right but should
be known a doubt; docs/checks.md says which is which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .frame import Bounds, Check, Frame, mask_of
from .passspec import MATERIAL_PASSES, PASSES

__all__ = ["check_color", "check_frame", "check_geometry", "check_groups"]

Array = npt.NDArray[Any]
_WITNESSES: Final = 4_000
"""Points of a view's surface that are looked for in another view: a share to within a percent."""
_NORMALS: Final = 2_000
"""Points whose normals are looked at: what is wrong with axes is wrong with half of them."""
_LINES: Final = 16
"""Of a picture that are compared before all of it is."""
_TELLING: Final = 16
"""Different numbers that an array must have before another that is the same to the bit is odd."""


def _dilate(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Grown by one pixel in all eight directions."""
    rows = mask.copy()
    rows[1:] |= mask[:-1]
    rows[:-1] |= mask[1:]
    grown = rows.copy()
    grown[:, 1:] |= rows[:, :-1]
    grown[:, :-1] |= rows[:, 1:]
    return grown


def _graded(name: str, value: float, doubt: bool, failed: bool = False) -> Check:
    return Check(name, "failed" if failed else "doubt" if doubt else "ok", round(value, 6))


def check_frame(frame: Frame, bounds: Bounds, others: Iterable[Frame] = ()) -> list[Check]:
    """Prove one view from its own numbers: geometry first, then colour.

    Args:
        frame: What it holds is checked; what is not there cannot be.
        bounds: Of the normalised object.
        others: Earlier views of the same asset. What this view sees has to fall on the masks of
            those that show the same time, through the written intrinsics and poses of both.

    Returns:
        One :class:`Check` per property. ``failed`` is a contradiction in the data, ``doubt``
        something that can be right but that a user of the data will want to know.
    """
    others = list(others)
    checks = check_geometry(frame, bounds, others)
    return checks + check_color(frame, others) if checks[0].status != "failed" else checks


def check_geometry(frame: Frame, bounds: Bounds, others: Iterable[Frame] = ()) -> list[Check]:
    """The part of :func:`check_frame` that needs no colour."""
    others = list(others)
    depth, normal = frame.passes.get("depth"), frame.passes.get("normal")
    checks = [_check_finite(frame)]
    if checks[0].status == "failed":
        return checks
    mask = mask_of(frame.passes, exact=True)
    if mask is None:
        return checks
    checks.append(_check_limits(frame))
    count = int(np.count_nonzero(mask))
    edge = bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
    checks.append(_graded("mask_not_empty", count, count == 0))
    if not _within(frame, bounds):
        checks.append(_graded("object_in_frame", float(edge), edge))
    if depth is not None:
        stray = int(np.count_nonzero(mask != (depth > 0)))
        checks.append(_graded("mask_equals_depth", stray, False, stray > 0))
    if normal is not None:
        length = np.sqrt(np.einsum("ijk,ijk->ij", normal, normal))
        deviation = float(np.abs(length - mask).max())
        checks.append(_graded("unit_normals", deviation, False, deviation > 1e-4))
    if not count:
        return checks
    checks += _check_materials(frame, mask)
    at = np.nonzero(mask)
    checks += _check_box(frame, at, bounds)
    if depth is not None:
        points = frame.camera.unproject(depth, at)
        checks += _check_bounds(points, bounds)
        surface = points[_thin(len(points), _WITNESSES)]
        checks += _check_consistency(frame, mask, surface, others, bounds)
        checks += _check_derived(frame, at, depth, points, bounds)
    if normal is not None:
        checks.append(_check_facing(frame, at, normal))
        if depth is not None:
            checks += _check_gradient(frame, mask, depth, normal)
    checks += _check_new_geometry(frame, others, checks)
    return checks


def check_color(frame: Frame, others: Iterable[Frame] = ()) -> list[Check]:
    """The part of :func:`check_frame` that is about colour."""
    mask = mask_of(frame.passes, exact=True)
    if mask is None:
        return []
    # Of several lights the worst; what is blurred reaches beyond where it is.
    alphas = [check for pictures in (frame.passes, *frame.relit) if not frame.blurred
              for check in _alpha_checks(pictures, mask)]  # fmt: skip
    checks = [max(alphas, key=lambda check: check.value)] if alphas else []
    if "rgb" in frame.passes and mask.any():
        seen = frame.passes["rgb"][mask]
        # A channel at a time: along rows of three numbers takes ten times as long.
        spread = max(float(seen[:, at].max()) - float(seen[:, at].min()) for at in range(3))
        checks.append(_graded("rgb_not_uniform", spread, spread < 2))
        checks += _check_new_color(frame, others)
    return checks


def check_groups(together: Array, parts: Iterable[Array]) -> Check:
    """Whether the lights of one render add up to it.

    Args:
        together: (H, W, 4) linear, premultiplied, under all lights.
        parts: Each light's, alike.
    """
    total = np.sum([part[..., :3].astype(np.float64) for part in parts], axis=0)
    error = float(np.abs(together[..., :3] - total).max())
    share = error / max(1e-6, float(np.abs(together[..., :3]).max()))
    # What shines by itself is nobody's light.
    return _graded("lights_add_up", share, share > 5e-3)


def _within(frame: Frame, bounds: Bounds) -> bool:
    """Whether the camera stands within the box of what it sees, as in a room."""
    place = frame.camera.camera_to_world[:3, 3]
    return bool(((place > bounds.box_min) & (place < bounds.box_max)).all())


def _check_finite(frame: Frame) -> Check:
    finite = all(
        not np.isinf(data).any() if _may_be_unknown(name) else np.isfinite(data).all()
        for name, data in frame.passes.items()
        if data.dtype.kind == "f"
    )
    return _graded("finite", float(finite), False, not finite)


def _may_be_unknown(name: str) -> bool:
    return name in PASSES and PASSES[name].unknown is not None


def _check_limits(frame: Frame) -> Check:
    beyond = 0.0
    for name, data in frame.passes.items():
        if name in PASSES and data.size:
            low, high = PASSES[name].limits
            if _may_be_unknown(name):
                data = data[~np.isnan(data)]
                if not data.size:
                    continue
            low, high = min(low, PASSES[name].invalid), max(high, PASSES[name].invalid)
            beyond = max(beyond, low - float(data.min()), float(data.max()) - high)
    return _graded("values_in_limits", beyond, False, beyond > 1e-4)


def _check_derived(
    frame: Frame, at: tuple[Array, ...], depth: Array, points: Array, bounds: Bounds
) -> list[Check]:
    """What says in other words what depth says."""
    checks = []
    position, distance = frame.passes.get("position"), frame.passes.get("distance")
    few = _thin(len(points), _WITNESSES)
    rows, columns = at[0][few], at[1][few]
    z = depth[rows, columns].astype(np.float64)
    if position is not None:
        away = np.linalg.norm(position[rows, columns] - points[few], axis=1)
        # Rays pass a hundredth of a pixel beside the centre.
        slack = 0.1 * frame.camera.pixel_width(z) + 2e-3 * bounds.radius
        stray = float(np.mean(away > slack))
        checks.append(_graded("position_agrees_with_depth", stray, stray > 0, stray > 0.01))
    if distance is not None:
        # The length of a ray of unit depth.
        stretch = np.linalg.norm(frame.camera.rays((rows, columns)), axis=1)
        error = float(np.abs(distance[rows, columns] / (z * stretch) - 1).max())
        checks.append(_graded("distance_agrees_with_depth", error, False, error > 1e-3))
    return checks


def _check_new_geometry(frame: Frame, others: list[Frame], found: list[Check]) -> list[Check]:
    """Whether arrays are another view's to the bit: one that was not rendered anew.

    An object that looks the same from both sides has the same depth there, which its surface,
    seen by both cameras, confirms; its points in the world are never the same.
    """
    rivals = _of_other_cameras(frame, others)
    if not rivals:
        return []
    names = {
        name for name in frame.passes
        if name in PASSES and not PASSES[name].is_picture and PASSES[name].values == "continuous"
        and any(_same(frame, other, name) for other in rivals)
        and _telling(frame.passes[name])
    }  # fmt: skip
    in_world = {"position"} | ({"normal"} if frame.normal_space == "world" else set())
    shares = [check.value for check in found if check.name == "reprojection"]
    contradicted = bool(shares) and shares[0] < 0.98
    failed = bool(names & in_world) or (bool(names & {"depth", "distance"}) and contradicted)
    return [_graded("geometry_is_new", len(names), bool(names) and not shares, failed)]


def _check_new_color(frame: Frame, others: Iterable[Frame]) -> list[Check]:
    """The same of the picture, which cannot stay as it is where the geometry changes."""
    rivals = _of_other_cameras(frame, others)
    if not rivals:
        return []
    same = [other for other in rivals if _same(frame, other, "rgb")]
    if not same or not _telling(frame.passes["rgb"]):
        return [_graded("color_is_new", 0, False)]
    depth, changed = frame.passes.get("depth"), False
    for other in same:
        theirs = other.passes.get("depth")
        if depth is not None and theirs is not None:
            seen = (depth > 0) | (theirs > 0)
            near = np.abs(depth - theirs) <= 1e-3 * np.maximum(depth, theirs)
            changed |= float(np.mean(~near[seen])) > 0.01
    return [_graded("color_is_new", 1, True, changed)]


def _of_other_cameras(frame: Frame, others: Iterable[Frame]) -> list[Frame]:
    """Views of the same size from elsewhere."""
    camera = frame.camera
    return [
        other for other in others
        if (other.camera.width, other.camera.height) == (camera.width, camera.height)
        and not (
            _close(other.camera.camera_to_world, camera.camera_to_world)
            and _close(other.camera.intrinsics, camera.intrinsics)
            and other.camera.projection == camera.projection
        )
    ]  # fmt: skip


def _close(ours: Array, theirs: Array) -> bool:
    # np.allclose() takes ten times as long for a matrix.
    return bool((np.abs(ours - theirs) <= 1e-6 + 1e-5 * np.abs(theirs)).all())


def _same(frame: Frame, other: Frame, name: str) -> bool:
    if name not in other.passes:
        return False
    ours, theirs = frame.passes[name], other.passes[name]
    if ours.shape != theirs.shape:
        return False
    # A few lines tell nearly all that differ.
    some = slice(None, None, max(1, len(ours) // _LINES))
    return np.array_equal(ours[some], theirs[some]) and np.array_equal(ours, theirs)


def _telling(data: Array) -> bool:
    flat = data.reshape(-1)
    some = flat[_thin(len(flat), 16 * _WITNESSES)]
    return len(np.unique(some)) > _TELLING


def _check_materials(frame: Frame, mask: npt.NDArray[np.bool_]) -> list[Check]:
    """Written on all of the object, and nothing but what the materials say."""
    checks, odd = [], []
    for name in MATERIAL_PASSES:
        if name not in frame.passes:
            continue
        data = frame.passes[name]
        if name in frame.constants:
            (rows, columns), said = _sampled(np.nonzero(mask), _WITNESSES), frame.constants[name]
            stray = np.full(len(rows), np.inf)
            for value in said:
                np.minimum(stray, np.abs(data[rows, columns] - value).max(axis=-1), out=stray)
            odd.append(float(np.mean(stray > 1e-4)))
    stored = any(name in frame.passes for name in MATERIAL_PASSES)
    if stored and frame.unwritten is not None:
        checks.append(_graded("materials_written", frame.unwritten, frame.unwritten > 0))
    if odd:
        checks.append(_graded("materials_as_said", max(odd), max(odd) > 0, max(odd) > 0.1))
    return checks


def _check_bounds(points: Array, bounds: Bounds) -> list[Check]:
    # The box finds what the sphere cannot: an object that was turned about its centre.
    slack = 2e-3 * bounds.radius
    low, high = np.array(bounds.box_min) - slack, np.array(bounds.box_max) + slack
    offset = points - np.array(bounds.center)
    beyond = np.einsum("ij,ij->i", offset, offset) > (bounds.radius * (1 + 1e-3)) ** 2
    outside = np.zeros(len(points), dtype=bool)
    for axis in range(3):
        along = points[:, axis]
        outside |= (along < low[axis]) | (along > high[axis])
    strays = {"depth_in_bounding_sphere": beyond, "depth_in_bounding_box": outside}
    return [
        _graded(name, share, share > 0, bounds.exact and share > 1e-2)
        for name, share in ((name, float(stray.mean())) for name, stray in strays.items())
    ]


def _check_box(frame: Frame, at: tuple[Array, ...], bounds: Bounds) -> list[Check]:
    """The mask against the projection of the very geometry that it is the mask of."""
    if frame.object_box is None:
        return []
    rows, columns = at
    seen = np.array([columns.min(), rows[0], columns.max(), rows[-1]]) + 0.5
    width, height = frame.camera.width, frame.camera.height
    box = np.clip(np.array(frame.object_box), 0, np.array([width, height, width, height]))
    inset = (seen - box) * np.array([1, 1, -1, -1])
    # The other way round a gap can be honest: a tip thinner than a pixel, a transparent rim.
    slack = 3.0 + 0.05 * max(box[2] - box[0], box[3] - box[1])
    stray = float(inset.min())
    return [
        _graded("mask_in_projected_box", stray, stray < -1, bounds.exact and stray < -2),
        _graded("mask_fills_projected_box", float(inset.max()), bool(inset.max() > slack)),
    ]


def _check_facing(frame: Frame, at: tuple[Array, ...], normal: Array) -> Check:
    rows, columns = _sampled(at, _NORMALS)
    rays = frame.camera.rays((rows, columns))
    if frame.normal_space == "world":
        rays = rays @ frame.camera.camera_to_world[:3, :3].T
    facing = float(np.mean(np.einsum("ij,ij->i", rays, normal[rows, columns]) < 0))
    # Smooth shading turns some normals away at the silhouette; wrong axes turn half of them.
    return _graded("normals_face_camera", facing, facing < 0.9)


def _check_gradient(
    frame: Frame, mask: npt.NDArray[np.bool_], depth: Array, normal: Array
) -> list[Check]:
    """The normals against those that follow from neighbouring depths.

    Shading normals are no face normals, so it is not the angle that counts: the axes they are
    said to be in have to fit better than flipped or exchanged ones.
    """
    inner = mask.copy()
    inner[[0, -1]] = inner[:, [0, -1]] = False
    inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    rows, columns = _sampled(np.nonzero(inner), _NORMALS)
    camera = frame.camera
    center = depth[rows, columns].astype(np.float64)
    points, jump = {}, np.zeros(len(rows))
    for step in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        at = rows + step[0], columns + step[1]
        points[step] = camera.local_points(depth, at)
        jump = np.maximum(jump, np.abs(depth[at] - center))
    # A larger step between two pixels is an edge of the object or too steep to tell.
    smooth = jump < 3 * camera.pixel_width(center)
    if smooth.sum() < 64:
        return []
    across = (points[0, 1] - points[0, -1])[smooth]
    upwards = (points[-1, 0] - points[1, 0])[smooth]
    face = np.cross(across, upwards)
    face /= np.linalg.norm(face, axis=1, keepdims=True)
    given = normal[rows, columns][smooth].astype(np.float64)
    rotation = camera.camera_to_world[:3, :3]
    world = frame.normal_space == "world"
    said, other = (given @ rotation, given) if world else (given, given @ rotation)
    rivals = [said * flip for flip in ([-1, 1, 1], [1, -1, 1], [1, 1, -1])] + [other]
    agreement = [float(np.mean(np.einsum("ij,ij->i", face, n))) for n in [said, *rivals]]
    margin = agreement[0] - max(agreement[1:])
    return [_graded("normals_agree_with_depth", margin, margin < -0.05)]


def _thin(length: int, most: int) -> slice:
    # An odd stride falls on every column of a picture, whose width is even as a rule.
    return slice(None, None, max(1, length // most) | 1)


def _sampled(indices: tuple[Array, ...], most: int) -> tuple[Array, ...]:
    return tuple(index[_thin(len(index), most)] for index in indices)


def _check_consistency(
    frame: Frame,
    mask: npt.NDArray[np.bool_],
    points: Array,
    others: Iterable[Frame],
    bounds: Bounds,
) -> list[Check]:
    shares = []
    for other in others:
        theirs = mask_of(other.passes, exact=True)
        if other.time != frame.time or theirs is None or not theirs.any():
            continue
        shares.append(_share_seen(points, other, theirs, bounds))
        if "depth" in other.passes:
            # Wrong intrinsics can shrink a surface into itself; then only this direction tells.
            seen = _sampled(np.nonzero(theirs), _WITNESSES)
            surface = other.camera.unproject(other.passes["depth"], seen)
            shares.append(_share_seen(surface, frame, mask, bounds))
    share = min((share for share in shares if share is not None), default=None)
    if share is None:
        return []
    # Wires thinner than a pixel fall beside the other view's mask without being wrong.
    failed = share < 0.3 and not frame.view_dependent
    return [_graded("reprojection", share, share < 0.98, failed)]


def _share_seen(
    points: Array, by: Frame, mask: npt.NDArray[np.bool_], bounds: Bounds
) -> float | None:
    """Share of the surface points in a view's frame that it sees, or sees something before.

    ``None`` where too few are in frame to tell.
    """
    uv, z = by.camera.project(points)
    with np.errstate(invalid="ignore"):
        inside = (
            (z > 0)
            & (uv[:, 0] >= 0)
            & (uv[:, 1] >= 0)
            & (uv[:, 0] < by.camera.width)
            & (uv[:, 1] < by.camera.height)
        )
    if inside.sum() < 16:
        return None
    columns, rows = uv[inside].astype(np.int64).T
    right = _dilate(mask)[rows, columns]
    depth = by.passes.get("depth")
    if depth is not None:
        # Nothing is between a camera and what it sees. Beside the object it sees past it.
        height, width = mask.shape
        framed = np.full((height + 2, width + 2), np.inf, dtype=np.float32)
        framed[1:-1, 1:-1] = np.where(mask, depth, -np.inf)
        at = rows * (width + 2) + columns
        nearest = framed.take(at)
        for step in (0, width + 2, 2 * (width + 2)):
            for along in (0, 1, 2):
                np.minimum(nearest, framed.take(at + (step + along)), out=nearest)
        right &= z[inside] > nearest - 0.02 * bounds.radius
    return float(np.mean(right))


def _alpha_checks(pictures: Mapping[str, Array], mask: npt.NDArray[np.bool_]) -> list[Check]:
    if "rgb" in pictures and pictures["rgb"].shape[-1] == 4:
        return [_check_alpha(pictures["rgb"][..., 3] >= 128, mask)]
    if "rgb_linear" in pictures:
        return [_check_alpha(pictures["rgb_linear"][..., 3] >= 0.5, mask)]
    return []


def _check_alpha(opaque: npt.NDArray[np.bool_], mask: npt.NDArray[np.bool_]) -> Check:
    band = _dilate(mask) & _dilate(~mask)
    wrong = (opaque != mask) & ~band
    disagree = int(np.count_nonzero(wrong)) / max(1, int(np.count_nonzero(mask)))
    return _graded("alpha_agrees_with_mask", disagree, disagree > 0.02)
