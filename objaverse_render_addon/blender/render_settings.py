"""What decides a pixel, whatever is on the stage: set, and read back."""

from __future__ import annotations

from typing import Any, Final

from ..job import EngineSettings, RenderJob
from . import compat

__all__ = ["BOUNCES", "FILTER_WIDTH", "set_up_color", "set_up_geometry", "set_up_render"]

_TINY_FILTER: Final = 0.01
FILTER_WIDTH: Final = 1.5

BOUNCES: Final = {
    "max_bounces": 8,
    "diffuse_bounces": 2,
    "glossy_bounces": 2,
    "transmission_bounces": 6,
    # The most that Cycles takes: behind the last one it is black. A ray seldom meets many.
    "transparent_max_bounces": 1024,
    "volume_bounces": 0,
}


def set_up_render(scene: Any, engine: EngineSettings) -> None:
    """Everything that decides a pixel and that no job changes."""
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
        threads_mode="FIXED" if engine.threads else "AUTO",
    )
    if engine.threads:
        compat.set_checked(render, threads=engine.threads)
    compat.set_checked(scene.display_settings, display_device="sRGB")
    compat.set_checked(
        scene.view_settings,
        view_transform="Standard",
        look="None",
        exposure=0.0,
        gamma=1.0,
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


def set_up_geometry(scene: Any) -> None:
    """One sample at the pixel's centre."""
    _store_guides(scene, False)
    scene.render.engine = "CYCLES"
    compat.set_checked(scene.cycles, samples=1, use_denoising=False)
    compat.set_checked(
        scene.cycles, pixel_filter_type="BLACKMAN_HARRIS", filter_width=_TINY_FILTER
    )
    compat.set_checked(scene.cycles, seed=0)
    # What is blurred has no truth.
    compat.set_checked(scene.render, use_border=False, use_motion_blur=False)


def set_up_color(
    scene: Any, job: RenderJob, *, denoised: bool, guides: bool, scale: float
) -> float | None:
    """The job's engine and samples, into the render's own file.

    Args:
        denoised: Whether Cycles denoises itself.
        guides: Whether it stores what denoising needs.
        scale: Frames of the timeline for one of the file's.

    Returns:
        The pixel filter's width in pixels, as Blender has it; ``None`` where the engine has none.
    """
    engine, width = job.engine, None
    _store_guides(scene, guides)
    compat.set_compositing(scene, False)
    name = compat.engine_id(engine.engine)
    if scene.render.engine != name:
        # Choosing the same one again costs milliseconds.
        scene.render.engine = name
    if engine.engine == "cycles":
        compat.set_checked(scene.cycles, filter_width=FILTER_WIDTH, samples=engine.samples)
        compat.set_checked(scene.cycles, use_denoising=denoised)
        width = round(float(scene.cycles.filter_width), 6)
    elif engine.engine == "eevee":
        compat.set_checked(scene.render, filter_size=FILTER_WIDTH)
        width = round(float(scene.render.filter_size), 6)
        compat.set_checked(scene.eevee, taa_render_samples=engine.samples)
    compat.set_image_format(scene.render.image_settings, multilayer=job.lighting.groups)
    if job.time.motion_blur:
        compat.set_checked(
            scene.render, use_motion_blur=True, motion_blur_position="CENTER",
            # Blender counts in the file's frames.
            motion_blur_shutter=job.time.shutter / scale,
        )  # fmt: skip
    return width


def _store_guides(scene: Any, stored: bool) -> None:
    cycles = scene.view_layers[0].cycles
    if cycles.denoising_store_passes != stored:
        compat.set_checked(cycles, denoising_store_passes=stored)
