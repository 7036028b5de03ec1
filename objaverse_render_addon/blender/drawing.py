"""Pictures that Blender's Workbench draws, of a scene made for it: one, or several in one go.

Workbench has its dependency graph made anew for each render, whatever is kept otherwise: of many
objects that takes longer than to draw them. Only the frames of one animation share it. So several
pictures are the frames of one; what is other in each is set before it is drawn, and time stands.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np
import numpy.typing as npt

from ..dataset.images import encode_srgb8, read_exr
from . import compat
from .devices import render_failure

__all__ = ["digits_of", "drawn", "drawn_in_turn", "set_up_drawing", "srgb_of"]

Array = npt.NDArray[Any]

_ONE: Final = 0x3C00
"""Bits of a half float that is 1."""

_FLAT: Final = {
    "show_object_outline": False, "show_cavity": False, "show_shadows": False, "show_xray": False,
    "show_specular_highlight": False, "show_backface_culling": False, "use_dof": False,
    "background_type": "THEME",
}  # fmt: skip


def set_up_drawing(scene: Any) -> None:
    """Have a scene drawn by Workbench, without antialiasing, over nothing, with depth."""
    render = scene.render
    render.engine = compat.engine_id("workbench")
    compat.set_checked(
        render, film_transparent=True, use_sequencer=False, use_simplify=False, use_border=False,
        use_persistent_data=True, dither_intensity=0.0, resolution_percentage=100, use_stamp=False,
        use_freestyle=False, use_file_extension=True, use_overwrite=True, use_multiview=False,
        use_placeholder=False,
    )  # fmt: skip
    compat.set_compositing(scene, False)
    compat.set_checked(scene.display_settings, display_device="sRGB")
    compat.set_checked(scene.view_settings, view_transform="Standard", look="None")
    compat.set_checked(scene.display, render_aa="OFF")
    compat.set_checked(scene.display.shading, **_FLAT)
    compat.set_checked(scene.view_layers[0], use_pass_z=True, use_pass_combined=True)
    # Its colours are half floats already.
    compat.set_image_format(render.image_settings, multilayer=True, half=True)


def drawn(scene: Any, path: Path) -> dict[str, Array]:
    """Draw a scene through a file.

    Returns:
        ``Combined.R`` …, (H, W) float16, scene-referred Rec. 709, premultiplied; ``Depth.Z``,
        (H, W) float32.
    """
    scene.update_tag()
    scene.render.filepath = str(path)
    try:
        bpy.ops.render.render(write_still=True, scene=scene.name)
    except RuntimeError as error:
        raise render_failure(error, "draw") from error
    return _channels(path)


def drawn_in_turn(
    scene: Any,
    folder: Path,
    moment: float,
    steps: Sequence[Callable[[], None]],
    on_picture: Callable[[dict[str, Array]], None],
) -> None:
    """Draw a scene as often as there are steps, all at one moment and of one size.

    Args:
        folder: For the pictures; it is empty, and is so again afterwards.
        moment: Of Blender's time.
        steps: Each makes ready for its picture, and neither renders nor evaluates a scene.
        on_picture: Gets the channels of each as it is there, as of :func:`drawn`; nor does it.

    Raises:
        RenderFailed: Blender drew other than it was told to.
        Exception: What a step or ``on_picture`` raises; the pictures after it go nowhere.
    """
    whole = math.floor(moment)
    # Frames of numbers that are not the moment's own; Blender's sound keeps a list up to them.
    first = max(whole, 0) + 1
    begun = done = 0
    errors: list[BaseException] = []

    def before(drawing: Any, *_: Any) -> None:
        nonlocal begun
        # It is called for whatever is evaluated, and may be more than once for a picture.
        if drawing.name != scene.name or drawing.frame_current != first + done:
            return
        begun = done + 1
        if not errors:
            try:
                steps[done]()
                # To tag the scene would do, and have all that stands in it looked at again.
                drawing.render.resolution_percentage = 100
            except BaseException as error:
                errors.append(error)
        drawing.frame_current, drawing.frame_subframe = whole, moment - whole

    def after(drawing: Any, *_: Any) -> None:
        nonlocal done
        if drawing.name != scene.name:
            return
        try:
            for path in list(folder.iterdir()):
                if errors:
                    path.unlink(missing_ok=True)
                else:
                    done += 1
                    on_picture(_channels(path))
        except BaseException as error:
            errors.append(error)

    handlers = bpy.app.handlers
    scene.render.filepath = str(folder / "drawn")
    scene.frame_start, scene.frame_end, scene.frame_step = first, first + len(steps) - 1, 1
    handlers.frame_change_pre.append(before)
    handlers.render_write.append(after)
    try:
        bpy.ops.render.render(animation=True, scene=scene.name)
    except RuntimeError as error:
        errors.append(render_failure(error, "draw"))
    finally:
        handlers.frame_change_pre.remove(before)
        handlers.render_write.remove(after)
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
    if errors:
        raise errors[0]
    if (begun, done) != (len(steps), len(steps)):
        raise render_failure(RuntimeError(f"{done} pictures of {len(steps)} came"), "draw")


def _channels(path: Path) -> dict[str, Array]:
    try:
        channels = read_exr(path)
    finally:
        path.unlink(missing_ok=True)
    # Layers are called by the view layer's name before theirs.
    return {".".join(name.split(".")[-2:]): plane for name, plane in channels.items()}


def srgb_of(channels: dict[str, Array]) -> npt.NDArray[np.uint8]:
    """(H, W, 4) as :func:`..dataset.images.encode_srgb8` has the colours that were drawn.

    There are few half floats, so that each is encoded once.
    """
    planes = [np.ascontiguousarray(channels[f"Combined.{letter}"]) for letter in "RGBA"]
    bits = [plane.view(np.uint16) for plane in planes if plane.dtype == np.float16]
    full = bits[3] == _ONE if len(bits) == 4 else None
    if full is None or not (full | (bits[3] == 0)).all():
        # Pixels that are covered in part.
        return encode_srgb8(np.stack(planes, axis=-1).astype(np.float32))
    # All four bytes of a pixel at once, the first being the lowest.
    red, green, blue = (table[plane] for table, plane in zip(_encoded(), bits[:3], strict=True))
    pixels = red | green | blue | np.uint32(0xFF << 24)
    shown: npt.NDArray[np.uint8] = (pixels * full).astype("<u4", copy=False).view(np.uint8)
    return shown.reshape(*full.shape, 4)


def digits_of(plane: Array) -> npt.NDArray[np.uint16]:
    """(H, W) 0..255 of a channel whose colours are digits to the base of 256, over 255."""
    if plane.dtype != np.float16:
        return np.rint(plane * 255).astype(np.uint16)
    return _digits()[np.ascontiguousarray(plane).view(np.uint16)]


def _halves() -> npt.NDArray[np.float32]:
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


@functools.cache
def _encoded() -> list[npt.NDArray[np.uint32]]:
    """Each half float as 8-bit sRGB, by its bits: as a pixel's first, second and third byte."""
    halves = _halves()
    found = encode_srgb8(np.stack([halves] * 3 + [np.ones_like(halves)], axis=-1))[:, 0]
    return [found.astype(np.uint32) << np.uint32(shift) for shift in (0, 8, 16)]


@functools.cache
def _digits() -> npt.NDArray[np.uint16]:
    halves = np.nan_to_num(_halves(), nan=0.0, posinf=0.0, neginf=0.0)
    return np.rint(np.clip(halves, 0.0, 1.0) * 255).astype(np.uint16)
