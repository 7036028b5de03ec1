"""``metadata.json``: what a finished asset says of itself.

The published form is ``metadata.schema.json`` beside this file. Keys of the Objaverse-XL
scripts keep their names and meanings.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..assets.embedded_license import embedded_license
from ..cameras import PROJECTIONS
from ..files import file_sha256
from ..frame import Bounds, Frame, FrameKey
from ..job import RenderJob
from ..passspec import MOVING, PASSES, Pass
from ..sensing import sensor_record
from .layout import pass_file, tracks_file

__all__ = ["CONVENTIONS", "SCHEMA_VERSION", "asset_record", "source_record", "view_record"]

SCHEMA_VERSION: Final = 1

CONVENTIONS: Final = {
    "world": "right-handed, Z up (Blender); the asset's front usually faces -Y; scene units after "
    "normalization",
    "camera_to_world": "4x4, row-major; camera axes are OpenGL's: +X right, +Y up, the camera "
    "looks along -Z",
    "intrinsics": "3x3 in pixels; origin at the image's top left corner, v downwards, centre of "
    "the first pixel at (0.5, 0.5)",
    "projection": "; ".join(
        f"{name}: fx and fy are {item.focal}" for name, item in PROJECTIONS.items()
    )
    + "; views that say nothing are perspective",
    "fov_degrees": "across the shorter side of the image; 0 of orthographic cameras",
    "sampling": "rgb and rgb_linear are antialiased; all other passes are sampled once, at the "
    "pixel's centre, and are valid on exactly the mask's pixels",
    "motion": "flow, scene flow and occlusion are of the frame that an entry of views names as its "
    "next (forward) or previous (backward); nan, and occlusion 3, where there is none or the "
    "surface cannot be followed there",
    "normalization": "normalised = scale * rotation @ original + translation",
    **{spec.name: spec.convention for spec in PASSES.values() if spec.convention},
}


def source_record(
    path: Path, source: str, known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What is known of the source file: size, SHA-256, identifiers, licence.

    ``save_uid`` is the name that the Objaverse-XL scripts give an object.

    Args:
        known: What a list or a catalogue says, under these names. Where that is no licence, what
            the file states of itself counts, and ``metadata`` says ``license_source: file``.
    """
    digest = file_sha256(path)
    record: dict[str, Any] = {
        "file_identifier": source,
        "file_name": path.name,
        "file_type": path.suffix.lower().lstrip("."),
        "file_size": path.stat().st_size,
        "save_uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, source)),
        "sha256": digest,
        "license": None,
        "metadata": {},
        **(known or {}),
    }
    if not record["license"] and (stated := embedded_license(path)):
        record["license"] = stated.pop("license", None)
        if record["license"]:
            stated["license_source"] = "file"
        record["metadata"] = {**stated, **(record["metadata"] or {})}
    return record


def _place(key: FrameKey | None) -> dict[str, int | None] | None:
    return None if key is None else {"view": key.view, "time": key.time}


def view_record(frame: Frame, job: RenderJob, index: int | None = None) -> dict[str, Any]:
    """One entry of ``views``: one view at one time, and it says both.

    Args:
        index: Its place among all entries; the view's number where each shows the same time.
    """
    camera = frame.camera
    files = {
        PASSES[name].record_key: pass_file(frame.key, name, job.files.geometry)
        for name in job.pixels.passes
    }
    horizontal, vertical = camera.fov
    box = frame.object_box
    lights = []
    for place, said in enumerate(frame.lights):
        own = place if place in frame.lit_anew() else None
        pictures = {
            PASSES[name].record_key: pass_file(frame.key, name, None, own)
            for name in job.pixels.passes
            if PASSES[name].is_picture
        }
        lights.append({**said, **pictures})
    return {
        "index": frame.view.index if index is None else index,
        "view": frame.view.index,
        **({"time": frame.time} if frame.timed else {}),
        **({"split": frame.view.split} if frame.view.split else {}),
        **({"eye": frame.view.eye} if frame.view.eye else {}),
        **(
            {"previous": _place(frame.previous), "next": _place(frame.next)}
            if set(MOVING) & set(job.pixels.passes)
            else {}
        ),
        **({} if frame.tracks is None else {"tracks": tracks_file(frame.key)}),
        **files,
        **({"lights": lights} if lights else {}),
        "width": camera.width,
        "height": camera.height,
        "projection": camera.projection,
        "camera_to_world": camera.camera_to_world.tolist(),
        "intrinsics": camera.intrinsics.tolist(),
        "focal_length_px": float(camera.intrinsics[0, 0]),
        "fov_degrees": frame.view.pose.get("fov_degrees", min(horizontal, vertical)),
        "fov_x_degrees": horizontal,
        "fov_y_degrees": vertical,
        "pose": frame.view.pose,
        "noise_seed": frame.noise_seed,
        "object_box_px": None if box is None else list(box),
        "checks": {check.name: [check.status, check.value] for check in frame.checks},
    }


def asset_record(
    *,
    asset_id: str,
    source: dict[str, Any],
    scene: dict[str, Any],
    normalization: dict[str, Any],
    bounds: Bounds,
    job: RenderJob,
    engine: dict[str, Any],
    passes: list[Pass],
    object_names: dict[int, str],
    ids: dict[str, dict[str, dict[str, Any]]],
    views: list[dict[str, Any]],
    seconds: dict[str, float],
    warnings: list[str],
    version: str,
    geometry: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole of ``metadata.json``, ready for :func:`json.dumps`."""
    resolved = job.resolved()
    license_name = source.get("license")
    summary: dict[str, Counter[str]] = {}
    for view in views:
        for name, (status, _) in view["checks"].items():
            summary.setdefault(name, Counter())[status] += 1
    return {
        "schema_version": SCHEMA_VERSION,
        "generator": {"name": "objaverse_render_addon", "version": version},
        "asset_id": asset_id,
        **source,
        **scene,
        "normalization": {
            **normalization,
            "bbox_min": list(bounds.box_min),
            "bbox_max": list(bounds.box_max),
            "bounding_sphere_center": list(bounds.center),
            "bounding_sphere_radius": bounds.radius,
            "bounds_exact": bounds.exact,
        },
        "render_settings": {
            "resolution": list(resolved.pixels.resolution),
            "num_views": len(views),
            "camera_distribution": resolved.cameras.pattern,
            "only_northern_hemisphere": resolved.cameras.only_northern_hemisphere,
            "modalities": list(resolved.pixels.passes),
            **engine,
        },
        "conventions": CONVENTIONS,
        "passes": {spec.name: spec.record() for spec in passes},
        "object_names": {str(index): name for index, name in object_names.items()},
        "ids": {
            name: {
                number: {**what, **({"license": license_name} if "asset" in what else {})}
                for number, what in named.items()
            }
            for name, named in ids.items()
        },
        "seed": resolved.seed,
        "job": resolved.to_dict(),
        "job_fingerprint": resolved.fingerprint(),
        **({"geometry": geometry} if geometry is not None else {}),
        **({"sensor": sensor} if (sensor := sensor_record(resolved)) is not None else {}),
        "views": views,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "warnings": warnings,
        "checks": {name: dict(sorted(counts.items())) for name, counts in sorted(summary.items())},
    }
