"""The rig in the viewport: drawing it, and clicking it. Geometry: :mod:`overlay_geometry`."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import bpy
import numpy as np
import numpy.typing as npt

from ...blender import compat
from ..compose import sentences
from ..compose.shown import composed
from ..widgets import overlapped
from . import live_view, look_through, preview, results
from .overlay_geometry import (
    CURRENT,
    DEPTH,
    number_places,
    pick,
    picture_planes,
    plane_names,
    rig_lines,
)  # fmt: skip

__all__ = ["bring_into_view", "register", "set_visible", "show_picture", "unregister"]

_handles: list[Any] = []
_batch: tuple[Any, ...] | None = None
_pictures: tuple[Any, ...] | None = None
_large: tuple[Any, Any] | None = None
_hovered: int | None = None
_picture: tuple[str, Any] | None = None
_live: tuple[int, Any] | None = None


def set_visible(context: bpy.types.Context, visible: bool) -> None:
    """Show or hide the rig."""
    context.window_manager.objaverse.preview = visible
    if visible:
        preview.invalidate()


def bring_into_view(context: bpy.types.Context, points: npt.NDArray[np.float64]) -> None:
    """Move the viewport that was clicked in, unless it shows points (N, 3) well already.

    Assets come in millimetres and in kilometres; Blender's View All does not know the rig.
    """
    area = context.area
    if area is None or area.type != "VIEW_3D" or not len(points):
        return
    space = area.spaces.active
    view, region = space.region_3d, next(r for r in area.regions if r.type == "WINDOW")
    left, right = overlapped(context, area)
    size = np.array([region.width, region.height], dtype=np.float64)
    free = size - (left + right, 0)
    clip = np.c_[points, np.ones(len(points))] @ np.array(view.perspective_matrix).T
    if view.view_perspective != "CAMERA" and (clip[:, 3] > 0).all():
        pixels = (clip[:, :2] / clip[:, 3:] * 0.5 + 0.5) * size
        seen = (pixels >= (left, 0)).all() and (pixels <= (size[0] - right, size[1])).all()
        if seen and (np.ptp(pixels, axis=0) >= 0.3 * free).any():
            return
    low, high = points.min(axis=0), points.max(axis=0)
    radius = max(1e-6, float(np.max(np.linalg.norm(points - (low + high) / 2, axis=1))))
    # The viewport shows twice its 36 mm sensor across its longer side.
    pixel = 72.0 / space.lens / float(np.max(size))
    half = 0.5 * pixel * max(64.0, float(np.min(free)))
    distance = 1.05 * radius / np.sin(np.arctan(half))
    if view.view_perspective == "CAMERA":
        view.view_perspective = "PERSP"
    rotation = np.array(view.view_rotation.to_matrix())
    aside = 0.5 * (right - left) * pixel * distance
    view.view_location = (low + high) / 2 + rotation[:, 0] * aside
    view.view_distance = distance
    space.clip_start = min(space.clip_start, distance / 100)
    space.clip_end = max(space.clip_end, distance * 10)


def show_picture(image: Any) -> None:
    """Show a rendered view in the viewport's corner; ``None`` takes it away."""
    global _picture
    _picture = None if image is None else (image.name, None)


def _rig_of(context: bpy.types.Context) -> tuple[preview.RigState, int] | None:
    """What is drawn and clicked, and the current view: a finished asset's, else that of a composed
    scene, else the panel's.
    """
    shown = results.shown()
    if shown is not None:
        return shown.rig, context.window_manager.objaverse_result.view
    found = composed(context)
    if found is not None:
        return found.rig, sentences.view_of(context, found)
    if not context.window_manager.objaverse.preview:
        return None
    state = preview.rig(context)
    if state is None:
        return None
    return state, min(context.scene.objaverse.current_view, len(state.views) - 1)


def _draw_rig() -> None:
    global _batch
    context = bpy.context
    if not context.space_data.overlay.show_overlays:
        return
    if context.region_data.view_perspective == "CAMERA":
        # From inside a frustum its lines and its number cover the view.
        return
    found = _rig_of(context)
    if found is None:
        return
    state, current = found
    import gpu
    from gpu_extras.batch import batch_for_shader

    key = (id(state), current)
    if _batch is None or _batch[0] != key:
        lines = rig_lines(
            state.views,
            half_extent=state.half_extent,
            points=state.points if _has_planes(context) else None,
            cropped=state.cropped,
            doubtful=state.doubtful,
            current=current,
            to_world=state.to_world,
        )
        shader = gpu.shader.from_builtin("POLYLINE_FLAT_COLOR")
        batch = batch_for_shader(
            shader, "LINES", {"pos": lines.positions, "color": lines.colors}
        )
        # The state is kept alive, so that its id stays its own.
        _batch = (key, shader, batch, state)
    _, shader, batch, _ = _batch
    region = context.region
    gpu.state.blend_set("ALPHA")
    gpu.state.depth_test_set("LESS_EQUAL")
    _draw_small()
    shader.bind()
    shader.uniform_float("viewportSize", (region.width, region.height))
    shader.uniform_float("lineWidth", 1.6 * context.preferences.system.ui_scale)
    batch.draw(shader)
    gpu.state.depth_test_set("NONE")
    gpu.state.blend_set("NONE")


def _has_planes(context: bpy.types.Context) -> bool:
    """Whether the object's depth is shown: a result's planes would lie over its pictures."""
    return results.shown() is None and composed(context) is None


def _draw_small() -> None:
    """Each view's picture on its frustum; all of them are one texture and one draw."""
    global _pictures
    shown = results.shown()
    name = bpy.context.window_manager.objaverse_result.shown_pass
    if shown is None or name not in shown.reading.small:
        _pictures = None
        return
    import gpu
    from gpu_extras.batch import batch_for_shader

    cells, sizes = shown.reading.small[name]
    key = (id(shown), name, shown.version)
    if _pictures is None or (_pictures[0] != key and time.monotonic() > _pictures[4]):
        places = np.flatnonzero(sizes[:, 0])
        if not len(places):
            return
        atlas, corners = _atlas(cells[places], sizes[places])
        planes = picture_planes(shown.rig.views, places.tolist(), to_world=shown.rig.to_world)
        shader = gpu.shader.from_builtin("IMAGE")
        batch = batch_for_shader(
            shader, "TRIS", {"pos": planes.reshape(-1, 3), "texCoord": corners.reshape(-1, 2)}
        )
        # Pictures come one by one, and thousands of them make a large texture.
        _pictures = key, shader, batch, _texture(atlas), time.monotonic() + 0.25
    _, shader, batch, texture, _ = _pictures
    # Nearer pictures hide those behind, whatever their order.
    gpu.state.depth_mask_set(True)
    shader.bind()
    shader.uniform_sampler("image", texture)
    batch.draw(shader)
    gpu.state.depth_mask_set(False)


def _atlas(
    cells: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """One picture (H, W, 3) of all cells, and where each lies in it (N, 6, 2), v downwards.

    The six are those of :func:`overlay_geometry.picture_planes`.
    """
    count, size = cells.shape[:2]
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    atlas = np.zeros((rows * columns, size, size, 3), np.uint8)
    atlas[:count] = cells
    atlas = atlas.reshape(rows, columns, size, size, 3).swapaxes(1, 2)
    row, column = np.divmod(np.arange(count), columns)
    low = np.stack([column, row], axis=1) * float(size)
    # Half a pixel within, where no neighbour shows through.
    corner = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    inside = 0.5 + corner[None] * (sizes[:, None, ::-1] - 1.0)
    uv = (low[:, None] + inside) / (columns * size, rows * size)
    return atlas.reshape(rows * size, columns * size, 3), uv[:, [0, 1, 2, 0, 2, 3]].astype("f4")


def _texture(pixels: npt.NDArray[np.uint8]) -> Any:
    """A picture (H, W, 3), sRGB, on the GPU as the viewport takes it, its first row at v = 0."""
    import gpu

    height, width = pixels.shape[:2]
    floats = np.ones((height, width, 4), np.float32)
    encodes = compat.viewport_encodes()
    values = (np.arange(256) / 255) ** (2.2 if encodes else 1.0)
    floats[..., :3] = values.astype(np.float32)[pixels]
    buffer = gpu.types.Buffer("FLOAT", floats.size, floats.ravel())
    # Dark colours need more than 8 bits before they are encoded.
    kind = "RGBA16F" if encodes else "RGBA8"
    return gpu.types.GPUTexture((width, height), format=kind, data=buffer)


def _draw_numbers() -> None:
    """The views' numbers, facing the viewer: the current one's, the one under the mouse, others."""
    context = bpy.context
    found = _rig_of(context)
    if (
        found is None
        or not context.space_data.overlay.show_overlays
        or context.region_data.view_perspective == "CAMERA"
    ):
        return
    import blf

    state, current = found
    scale = context.preferences.system.ui_scale
    chosen = [current] if _hovered is None else [current, _hovered]
    places = number_places(
        state.views,
        np.array(context.region_data.perspective_matrix),
        (context.region.width, context.region.height),
        first=chosen,
        room=(24 * scale, 16 * scale),
        to_world=state.to_world,
    )
    blf.enable(0, blf.SHADOW)
    blf.shadow(0, 3, 0.0, 0.0, 0.0, 1.0)
    for index, x, y in places:
        special = index in chosen
        blf.size(0, (15 if special else 11) * scale)
        blf.color(0, *(CURRENT if special else (0.92, 0.92, 0.92, 1.0)))
        width, _ = blf.dimensions(0, str(index))
        blf.position(0, x - width / 2, y + 4 * scale, 0)
        blf.draw(0, str(index))
    chosen_view = next((view for view in state.views if view.index == current), None)
    if chosen_view is not None and _has_planes(context):
        names = plane_names(
            chosen_view.camera, state.points, np.array(context.region_data.perspective_matrix),
            (context.region.width, context.region.height), to_world=state.to_world,
        )  # fmt: skip
        blf.size(0, 11 * scale)
        blf.color(0, *DEPTH[:3], 0.9)
        for said, x, y in names:
            blf.position(0, x, y + 4 * scale, 0)
            blf.draw(0, said)
    blf.disable(0, blf.SHADOW)


def _draw_picture() -> None:
    """A rendered view lower left, over the viewport: of the run, else live, else of what is shown.

    Who looks through a view sees the live picture where it belongs.
    """
    global _picture, _large, _live
    context = bpy.context
    live = live_view.shown()
    shown = results.shown()
    image = bpy.data.images.get(_picture[0]) if _picture is not None else None
    import gpu

    if image is not None and image.size[0]:
        _draw_corner(context, gpu.texture.from_image(image), tuple(image.size), linear=True)
    elif live is not None:
        if live.pixels is None:
            _draw_lines(context, live.caption(), 40 * context.preferences.system.ui_scale)
            return
        if _live is None or _live[0] != live.version:
            _live = live.version, _texture(live.pixels[::-1])
        height, width = live.pixels.shape[:2]
        frame = live_view.frame_in(context)
        if frame is not None:
            _draw_in_frame(_live[1], frame)
            _draw_lines(context, live.caption(), 30 * context.preferences.system.ui_scale)
        else:
            top = _draw_corner(context, _live[1], (width, height), linear=False)
            _draw_lines(context, live.caption(), top)
    elif shown is not None:
        if shown.large is None:
            _large = None
            return
        key = (id(shown), shown.large_version)
        if _large is None or _large[0] != key:
            _large = key, _texture(shown.large[::-1])
        height, width = shown.large.shape[:2]
        top = _draw_corner(context, _large[1], (width, height), linear=False)
        _draw_lines(context, results.caption(context), top)
    elif look_through.looks(context):
        height = 30 * context.preferences.system.ui_scale
        _draw_lines(context, look_through.caption(context), height)


def _draw_in_frame(texture: Any, frame: tuple[float, float, float, float]) -> None:
    """Draw a picture over the camera's frame: left, bottom, width, height."""
    import gpu
    from gpu_extras.presets import draw_texture_2d

    gpu.state.blend_set("ALPHA_PREMULT")
    draw_texture_2d(texture, frame[:2], frame[2], frame[3])
    gpu.state.blend_set("NONE")


def _draw_corner(
    context: bpy.types.Context, texture: Any, size: tuple[int, int], *, linear: bool
) -> float:
    """Draw a picture lower left with a frame; returns the height of its upper edge."""
    import gpu
    from gpu_extras.batch import batch_for_shader
    from gpu_extras.presets import draw_texture_2d

    scale = context.preferences.system.ui_scale
    factor = min(320 * scale / max(size), 0.5 * context.region.height / size[1])
    x, y, width, height = 16 * scale, 40 * scale, size[0] * factor, size[1] * factor
    gpu.state.blend_set("ALPHA_PREMULT")
    if linear and not compat.viewport_encodes():
        draw_texture_2d(
            texture, (x, y), width, height, is_scene_linear_with_rec709_srgb_target=True
        )
    else:
        draw_texture_2d(texture, (x, y), width, height)
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
    shader.uniform_float("color", (0.05, 0.05, 0.05, 1.0))
    batch_for_shader(shader, "LINE_STRIP", {"pos": corners}).draw(shader)
    gpu.state.blend_set("NONE")
    return float(y + height)


def _draw_lines(context: bpy.types.Context, lines: list[str], y: float) -> None:
    """Text above a height, lower left."""
    import blf

    scale = context.preferences.system.ui_scale
    blf.size(0, 12 * scale)
    blf.enable(0, blf.SHADOW)
    blf.shadow(0, 3, 0.0, 0.0, 0.0, 1.0)
    for number, line in enumerate(reversed(lines)):
        warned = len(lines) - number > 1
        blf.color(0, *((1.0, 0.6, 0.2, 1.0) if warned else (0.95, 0.95, 0.95, 1.0)))
        blf.position(0, 16 * scale, y + (8 + 17 * number) * scale, 0)
        blf.draw(0, line)
    blf.disable(0, blf.SHADOW)


class OBJAVERSE_GT_views(bpy.types.Gizmo):
    """Every frustum at once: one gizmo that knows which of them is under the mouse."""

    bl_idname = "OBJAVERSE_GT_views"

    def draw(self, _: bpy.types.Context) -> None:
        """Nothing: the draw handler does."""

    def test_select(self, context: bpy.types.Context, location: tuple[int, int]) -> int:
        """-1 beside all frusta; 0 on one, which :meth:`invoke` then finds again."""
        global _hovered
        found = _view_at(context, location)
        if found != _hovered:
            _hovered = found
            context.area.tag_redraw()
        return -1 if found is None else 0

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Select the view under the mouse."""
        found = _view_at(context, (event.mouse_region_x, event.mouse_region_y))
        if found is not None:
            scene = composed(context)
            if scene is not None:
                sentences.look_at(context, scene, found)
            if results.shown() is not None:
                context.window_manager.objaverse_result.view = found
            elif scene is None:
                context.scene.objaverse.current_view = found
                # Before this viewport is drawn again, which may take long.
                look_through.follow()
            context.area.tag_redraw()
        return {"FINISHED"}

    def modal(self, _: bpy.types.Context, __: bpy.types.Event, ___: set[str]) -> set[str]:
        """A click is over at once."""
        return {"FINISHED"}


def _view_at(context: bpy.types.Context, location: tuple[int, int]) -> int | None:
    found = _rig_of(context)
    if found is None or context.region_data is None:
        return None
    state, region = found[0], context.region
    return pick(
        state.views,
        np.array(context.region_data.perspective_matrix),
        (region.width, region.height),
        (float(location[0]), float(location[1])),
        to_world=state.to_world,
    )


class OBJAVERSE_GGT_rig(bpy.types.GizmoGroup):
    """Makes the rig clickable while it is shown."""

    bl_idname = "OBJAVERSE_GGT_rig"
    bl_label = "Objaverse Camera Rig"
    bl_space_type = "VIEW_3D"
    bl_region_type = "WINDOW"
    bl_options: ClassVar[set[str]] = {"3D", "PERSISTENT", "SHOW_MODAL_ALL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """While the rig is shown and not looked through."""
        drawn = context.window_manager.objaverse.preview or results.shown() is not None
        drawn = drawn or composed(context) is not None
        looking = context.region_data and context.region_data.view_perspective == "CAMERA"
        return bool(drawn and not looking)

    def setup(self, _: bpy.types.Context) -> None:
        """One gizmo for all views."""
        self.gizmos.new(OBJAVERSE_GT_views.bl_idname)


_CLASSES = (OBJAVERSE_GT_views, OBJAVERSE_GGT_rig)


def register() -> None:
    """Register the gizmo; draw handlers too where there is something to draw on."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    add = bpy.types.SpaceView3D.draw_handler_add
    _handles.append(add(_draw_rig, (), "WINDOW", "POST_VIEW"))
    _handles.append(add(_draw_numbers, (), "WINDOW", "POST_PIXEL"))
    _handles.append(add(_draw_picture, (), "WINDOW", "POST_PIXEL"))


def unregister() -> None:
    """Remove both."""
    global _batch, _picture, _pictures, _large, _live, _hovered
    _batch = _picture = _pictures = _large = _live = _hovered = None
    while _handles:
        bpy.types.SpaceView3D.draw_handler_remove(_handles.pop(), "WINDOW")
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
