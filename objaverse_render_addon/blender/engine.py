"""The spine: an asset and a job in, frames out.

:func:`open_asset` imports, freezes, normalises and lights an asset; :meth:`AssetScene.frames`
yields its views one by one. Every door uses these two: the worker, the headless and the modal
operator, and whatever streams. Decoding and checking run in a thread beside the next render,
which releases Python's lock.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np

from ..assets.formats import inspect_file
from ..cameras import Camera, Rig, View, draw, sample_views
from ..checks import check_color, check_geometry
from ..dataset.images import cycles_seconds, encode_srgb8, read_exr
from ..errors import ClippedPictures, EmptyPictures, RenderFailed
from ..frame import Check, Frame, assemble
from ..job import RenderJob
from . import compat, importers, lighting, materials
from .camera import apply_camera, new_camera
from .devices import Device, select_device
from .passes import set_output, setup_passes
from .reach import Gate
from .scene import Normalization, count_contents, freeze, linked_files, normalize, stage

__all__ = ["AssetScene", "open_asset"]

_log = logging.getLogger(__name__)

BOX_MARGIN: Final = 3
"""Pixels around the object's projected box that are rendered for RGB. The pixel filter needs
1.5 of them; wider margins change nothing, with the denoiser or without (benchmarks/denoise.py)."""
_GEOMETRY_BUDGET: Final = 256 << 20
_TINY_FILTER: Final = 0.01
FILTER_WIDTH: Final = 1.5

BOUNCES: Final = {
    "max_bounces": 8,
    "diffuse_bounces": 2,
    "glossy_bounces": 2,
    "transmission_bounces": 6,
    "transparent_max_bounces": 16,
    "volume_bounces": 0,
}


class Stopwatch:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, stage: str, since: float) -> None:
        """Count the time since ``since`` (:func:`time.perf_counter`) for a stage."""
        self.count(stage, time.perf_counter() - since)

    def count(self, stage: str, seconds: float) -> None:
        """Count some seconds for a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@dataclass
class AssetScene:
    """An asset on its stage, ready to be rendered.

    Attributes:
        views: As sampled; the frames carry the cameras as Blender sees them.
        denoised: Whether RGB is denoised; not every build of Blender can.
        object_names: Object index to name, where that pass is asked for.
        record: What the metadata say of the asset, ready for JSON.
        warnings: ``name: sentence`` each.
        device: What Cycles renders on.
    """

    job: RenderJob
    asset_id: str
    scene: bpy.types.Scene
    camera: Any
    normalization: Normalization
    views: list[View]
    frame: int
    device: Device
    alpha: materials.AlphaClip
    denoised: bool = False
    object_names: dict[int, str] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    watch: Stopwatch = field(default_factory=Stopwatch)

    def frames(
        self,
        scratch: Path,
        on_geometry: Callable[[Frame, Future[Any]], None] = lambda *_: None,
    ) -> Iterator[tuple[Frame, Future[None]]]:
        """Render the views in order.

        Geometry comes first for a batch of views, since it costs little and tells early that
        there is nothing to see; then colour, view by view.

        Args:
            scratch: Folder for temporary images, best in memory; emptied as frames are read.
            on_geometry: Told of each frame before its colour is rendered, with what ends when
                its geometry is complete, so that it can be written meanwhile.

        Yields:
            A frame whose geometry is complete, and what ends when its colour and its checks are,
            too; it raises what went wrong with them.

        Raises:
            EmptyPictures, ClippedPictures: The pictures would be useless.
            RenderFailed: Blender refused a setting or wrote nothing.
        """
        width, height = self.job.output.resolution
        per_view = width * height * 4 * (8 + 3 * len(self.job.output.passes))
        batch = max(1, min(len(self.views), _GEOMETRY_BUDGET // per_view))
        layer = self.scene.view_layers[0]
        output = setup_passes(self.scene, layer, self.job.output.passes, scratch)
        recent: list[Frame] = []
        usable = _Usefulness()
        with ThreadPoolExecutor(1, "decode") as decoder:
            for start in range(0, len(self.views), batch):
                views = self.views[start : start + batch]
                frames, decoded = self._render_geometry(views, scratch, output, decoder)
                for frame in frames:
                    checked = decoder.submit(
                        check_geometry, frame, self.normalization.bounds, list(recent)
                    )
                    on_geometry(frame, checked)
                    path = self._render_color(frame, scratch)
                    completed = decoder.submit(self._complete, frame, path, checked)
                    if frame is frames[0]:
                        # The last of the geometry was read while its colour was rendered.
                        for future in decoded:
                            usable.add(future.result())
                        if start + batch >= len(self.views):
                            usable.verdict(self.asset_id)
                    yield frame, completed
                    # The first view and the one before are the witnesses for the next.
                    recent[1:] = [frame]

    def _render_geometry(
        self, views: list[View], scratch: Path, output: Any, decoder: ThreadPoolExecutor
    ) -> tuple[list[Frame], list[Future[Frame]]]:
        since = time.perf_counter()
        frames, decoded = [], []
        with ExitStack() as undo:
            if self.alpha.needed:
                undo.enter_context(self.alpha)
            self._set_up_geometry()
            for view in views:
                seen = self._look(view)
                box = self._projected_box(seen.camera)
                self._set_border(seen.camera, box, 2)
                set_output(output, scratch, f"geometry-{view.index:05d}")
                path = compat.file_output_path(output, self.scene)
                self._render(path)
                frame = Frame(seen, self.frame, object_box=box)
                frame.normal_space = self.job.output.normal_space
                frame.opaque = self.job.lighting.background is not None
                frames.append(frame)
                decoded.append(decoder.submit(self._decode_geometry, frame, path))
        self.watch.add("geometry", since)
        if "rgb" in self.job.output.passes:
            self._set_up_color()
        return frames, decoded

    def _render_color(self, frame: Frame, scratch: Path) -> Path | None:
        if "rgb" not in self.job.output.passes:
            return None
        since = time.perf_counter()
        path = scratch / f"color-{frame.view.index:05d}.exr"
        self._look(frame.view)
        self._set_border(frame.camera, frame.object_box, BOX_MARGIN)
        seed = draw(self.job.seed, self.asset_id, "noise", frame.view.index, 1)
        frame.noise_seed = int(seed[0] * 2**31)
        self.scene.cycles.seed = frame.noise_seed
        self.scene.render.filepath = str(path)
        self._render(path)
        self.watch.add("color", since)
        return path

    def _decode_geometry(self, frame: Frame, path: Path) -> Frame:
        output = self.job.output
        try:
            channels = read_exr(path)
        finally:
            # The next asset uses the name again.
            path.unlink(missing_ok=True)
        frame.passes = assemble(channels, frame.camera, output.passes, output.normal_space)
        return frame

    def _complete(self, frame: Frame, color: Path | None, checked: Future[list[Check]]) -> None:
        if color is not None:
            try:
                channels = read_exr(color)
                self.watch.count("cycles", cycles_seconds(color))
            finally:
                color.unlink(missing_ok=True)
            linear = np.stack([channels[name] for name in "RGBA"], axis=-1)
            frame.passes["rgb"] = encode_srgb8(linear)
        frame.checks = checked.result()
        if frame.checks[0].status != "failed":
            frame.checks = frame.checks + check_color(frame)

    def _look(self, view: View) -> View:
        """Point Blender's camera; the view with the camera as Blender sees it."""
        bounds = self.normalization.bounds
        position = view.camera.camera_to_world[:3, 3]
        distance = float(np.linalg.norm(position - np.array(bounds.center)))
        near = max(distance - bounds.radius, 0.0) * 0.5
        near = max(near, 1e-3 * bounds.radius)
        far = (distance + bounds.radius) * 4
        camera = apply_camera(self.scene, self.camera, view.camera, near, far)
        return View(view.index, camera, view.pose)

    def _projected_box(self, camera: Camera) -> tuple[float, float, float, float] | None:
        uv, depth = camera.project(self.normalization.points)
        if not (depth > 1e-6).all():
            return None
        low, high = uv.min(axis=0).tolist(), uv.max(axis=0).tolist()
        return low[0], low[1], high[0], high[1]

    def _set_border(
        self, camera: Camera, box: tuple[float, float, float, float] | None, margin: int
    ) -> None:
        """Render the object's box only; the film is transparent elsewhere anyway."""
        render = self.scene.render
        render.use_border = False
        if box is None or not self.normalization.bounds.exact:
            return
        width, height = camera.width, camera.height
        # The points are the hull to 0.2 % of the radius.
        slack = margin + 0.002 * max(box[2] - box[0], box[3] - box[1])
        left, top = math.floor(box[0] - slack), math.floor(box[1] - slack)
        right, bottom = math.ceil(box[2] + slack), math.ceil(box[3] + slack)
        left, right = max(0, left), min(width, right)
        top, bottom = max(0, top), min(height, bottom)
        if left >= right or top >= bottom:
            # Out of the frame altogether; any small corner shows the emptiness.
            left, top, right, bottom = 0, 0, min(8, width), min(8, height)
        render.border_min_x, render.border_max_x = left / width, right / width
        # Blender counts rows from the bottom.
        render.border_min_y, render.border_max_y = 1 - bottom / height, 1 - top / height
        render.use_border = True

    def _render(self, path: Path) -> None:
        try:
            bpy.ops.render.render(write_still=not self.scene.render.use_compositing)
        except RuntimeError as error:
            raise RenderFailed(f"Blender could not render: {str(error).strip()}.") from error
        if not path.is_file():
            raise RenderFailed(f"Blender rendered, but wrote nothing to {path}.")

    def _set_up_geometry(self) -> None:
        scene = self.scene
        scene.render.engine = "CYCLES"
        compat.set_checked(scene.cycles, samples=1, use_denoising=False)
        compat.set_checked(
            scene.cycles, pixel_filter_type="BLACKMAN_HARRIS", filter_width=_TINY_FILTER
        )
        scene.cycles.seed = 0
        scene.render.use_border = False
        compat.set_compositing(scene, True)

    def _set_up_color(self) -> None:
        scene, engine = self.scene, self.job.engine
        compat.set_compositing(scene, False)
        name = compat.engine_id(engine.engine)
        if scene.render.engine != name:
            # Choosing the same one again costs milliseconds.
            scene.render.engine = name
        if engine.engine == "cycles":
            compat.set_checked(scene.cycles, filter_width=FILTER_WIDTH, samples=engine.samples)
            compat.set_checked(scene.cycles, use_denoising=self.denoised)
        elif engine.engine == "eevee":
            scene.eevee.taa_render_samples = engine.samples
        compat.set_image_format(scene.render.image_settings, multilayer=False)


class _Usefulness:
    """Whether an asset's views show enough of it to be of use."""

    def __init__(self) -> None:
        self.views = 0
        self.empty = 0
        self.clipped = 0

    def add(self, frame: Frame) -> None:
        """Count a frame that has its geometry."""
        self.views += 1
        self.empty += not frame.passes["mask"].any()
        box = frame.object_box
        if box is None:
            self.clipped += 1
            return
        width, height = frame.camera.width, frame.camera.height
        inside_x = min(box[2], width) - max(box[0], 0)
        inside_y = min(box[3], height) - max(box[1], 0)
        area = (box[2] - box[0]) * (box[3] - box[1])
        self.clipped += area > 0 and max(inside_x, 0) * max(inside_y, 0) < 0.25 * area

    def verdict(self, asset_id: str) -> None:
        """Raise where no view is of use."""
        if self.empty == self.views:
            raise EmptyPictures(
                f"{asset_id}: none of the {self.views} views shows anything of the object.",
                hint="Its faces may be fully transparent, or the cameras look elsewhere.",
            )
        if self.clipped == self.views:
            raise ClippedPictures(
                f"{asset_id}: all {self.views} views cut off more than three quarters of the "
                "object.",
                hint="Use --framing fit, a larger --radius or a wider --fov.",
            )


def open_asset(
    path: Path,
    asset_id: str,
    job: RenderJob,
    on_stage: Callable[[str], None] = lambda _: None,
    folders: Sequence[str] = (),
) -> AssetScene:
    """Import an asset into an empty Blender and make it ready to render.

    Args:
        job: Any job; it is resolved here.
        on_stage: Told ``import`` and ``prepare`` as they begin.
        folders: Folders that the asset may read from beside its own.

    Raises:
        RenderError: Anything that is wrong with the file or impossible for the job.
    """
    job = job.resolved()
    watch = Stopwatch()
    since = time.perf_counter()
    on_stage("import")
    kind = inspect_file(path)
    importers.empty_blender()
    keep = job.lighting.mode == "keep"
    gate = Gate(path, kind, folders, job.asset.missing_parts)
    with gate as file:
        importer = importers.import_file(file, kind, keep_lights=keep)
    record: dict[str, Any] = count_contents()
    record["linked_files"] = sorted(map(gate.origin, linked_files()))
    record["importer"] = importer
    watch.add("import", since)

    since = time.perf_counter()
    on_stage("prepare")
    source_world = bpy.context.scene.world
    scene = stage(keep)
    _set_up_render(scene, job)
    device = select_device(job.engine.device)
    scene.cycles.device = "CPU" if device.kind == "CPU" else "GPU"
    frame = freeze(scene, job.asset.frame)
    missing = materials.replace_missing_textures(job, asset_id)
    random_color = materials.color_uncolored(scene.objects, job, asset_id, kind)
    assert job.asset.normalize
    normalization = normalize(scene, job.asset.normalize)
    warnings = [*normalization.warnings, *gate.warnings]
    if missing["count"]:
        warnings.append(f"missing-textures: {', '.join(missing['files'][:5])}")
    record["lighting"] = lighting.light_scene(scene, job, asset_id, source_world)
    if keep:
        lighting.rescale_lights(scene, normalization.scale)
        if not record["lighting"]["lights"] and not source_world:
            warnings.append("no-light: the file has no lights and no world to keep.")
    unclear = materials.add_material_passes(job.output.passes)
    if unclear:
        warnings.append(f"unclear-materials: {', '.join(unclear[:5])}")
    alpha = materials.AlphaClip(job.engine.alpha_threshold)
    if alpha.unclear:
        warnings.append(f"unclear-transparency: {', '.join(alpha.unclear[:5])}")
    denoised = job.engine.denoise and job.engine.engine == "cycles"
    if denoised and not compat.has_denoiser(scene.cycles):
        denoised = False
        warnings.append("not-denoised: this Blender was built without OpenImageDenoise.")
    names = _number_objects() if "object_index" in job.output.passes else {}
    rig = Rig()
    if job.asset.normalize == "none":
        center = normalization.before.center.tolist()
        rig = Rig((center[0], center[1], center[2]), normalization.before.longest_edge / 2)
    views = sample_views(job, asset_id, normalization.points, rig)
    camera = new_camera(scene)
    before = normalization.before
    record |= {
        "missing_textures": missing,
        "random_color": random_color,
        "scene_size": {"bbox_min": before.box_min.tolist(), "bbox_max": before.box_max.tolist()},
        "faces_rendered": before.faces,
        "frame": frame,
    }
    watch.add("prepare", since)
    return AssetScene(
        job, asset_id, scene, camera, normalization, views, frame, device, alpha, denoised, names,
        record, warnings, watch,
    )  # fmt: skip


def _number_objects() -> dict[int, str]:
    names = {}
    helpers = ("EMPTY", "ARMATURE", "LIGHT", "CAMERA")
    seen = [obj for obj in bpy.data.objects if obj.type not in helpers]
    for index, obj in enumerate(sorted(seen, key=lambda item: item.name_full), 1):
        obj.pass_index = index
        names[index] = obj.name
    return names


def _set_up_render(scene: bpy.types.Scene, job: RenderJob) -> None:
    """Everything that decides a pixel, set and read back."""
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    compat.set_checked(
        render,
        film_transparent=True,
        use_persistent_data=True,
        use_sequencer=False,
        use_simplify=False,
        use_motion_blur=False,
        use_freestyle=False,
        use_stamp=False,
        use_crop_to_border=False,
        use_border=False,
        use_file_extension=True,
        use_overwrite=True,
        use_multiview=False,
        dither_intensity=0.0,
        threads_mode="FIXED" if job.engine.threads else "AUTO",
    )
    if job.engine.threads:
        compat.set_checked(render, threads=job.engine.threads)
    compat.set_checked(scene.display_settings, display_device="sRGB")
    compat.set_checked(
        scene.view_settings, view_transform="Standard", look="None", exposure=0.0, gamma=1.0
    )
    compat.set_checked(
        cycles,
        use_adaptive_sampling=False,
        pixel_filter_type="BLACKMAN_HARRIS",
        film_exposure=1.0,
        film_transparent_glass=False,
        caustics_reflective=False,
        caustics_refractive=False,
        time_limit=0.0,
        **BOUNCES,
    )
    if compat.has_denoiser(cycles):
        compat.set_checked(
            cycles,
            denoising_input_passes="RGB_ALBEDO_NORMAL",
            denoising_prefilter="FAST",
            denoising_quality="FAST",
        )
    layer = scene.view_layers[0]
    # The clip makes alpha 0 or 1 where it can; where it cannot, this is the rule.
    compat.set_checked(layer, pass_alpha_threshold=job.engine.alpha_threshold)
