"""The rig in the viewport: drawing it, and clicking it. Geometry: :mod:`overlay_geometry`."""

from __future__ import annotations

from typing import Any, ClassVar

import bpy
import numpy as np
import numpy.typing as npt

from . import preview
from .overlay_geometry import pick, rig_lines

__all__ = ["bring_into_view", "register", "set_visible", "show_picture", "unregister"]

_handles: list[Any] = []
_batch: tuple[Any, ...] | None = None
_picture: tuple[str, Any] | None = None


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
    # Sidebar and toolbar lie over the viewport, unless they are set to stand beside it.
    over = context.preferences.system.use_region_overlap
    left, right = (
        sum(r.width for r in area.regions if over and r.type == kind and r.width > 1)
        for kind in ("TOOLS", "UI")
    )
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
    half = 0.5 * pixel * max(64.0, float(free.min()))
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


def _draw_rig() -> None:
    global _batch
    context = bpy.context
    if not context.window_manager.objaverse.preview or not context.space_data.overlay.show_overlays:
        return
    if context.region_data.view_perspective == "CAMERA":
        # From inside a frustum its lines and its number cover the view.
        return
    state = preview.rig(context)
    if state is None:
        return
    import gpu
    from gpu_extras.batch import batch_for_shader

    current = min(context.scene.objaverse.current_view, len(state.views) - 1)
    key = (id(state), current)
    if _batch is None or _batch[0] != key:
        lines = rig_lines(
            state.views,
            half_extent=state.half_extent,
            points=state.points,
            cropped=state.cropped,
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
    shader.bind()
    shader.uniform_float("viewportSize", (region.width, region.height))
    shader.uniform_float("lineWidth", 1.6 * context.preferences.system.ui_scale)
    batch.draw(shader)
    gpu.state.depth_test_set("NONE")
    gpu.state.blend_set("NONE")


def _draw_picture() -> None:
    """The last rendered view, lower left, over the viewport."""
    global _picture
    if _picture is None:
        return
    image = bpy.data.images.get(_picture[0])
    if image is None or not image.size[0]:
        return
    import gpu
    from gpu_extras.presets import draw_texture_2d

    texture = gpu.texture.from_image(image)
    scale = bpy.context.preferences.system.ui_scale
    width, height = image.size
    factor = min(320 * scale / max(width, height), 0.5 * bpy.context.region.height / height)
    gpu.state.blend_set("ALPHA_PREMULT")
    draw_texture_2d(
        texture, (16 * scale, 40 * scale), width * factor, height * factor,
        is_scene_linear_with_rec709_srgb_target=True,
    )  # fmt: skip
    gpu.state.blend_set("NONE")


class OBJAVERSE_GT_views(bpy.types.Gizmo):
    """Every frustum at once: one gizmo that knows which of them is under the mouse."""

    bl_idname = "OBJAVERSE_GT_views"

    def draw(self, _: bpy.types.Context) -> None:
        """Nothing: the draw handler does."""

    def test_select(self, context: bpy.types.Context, location: tuple[int, int]) -> int:
        """-1 beside all frusta; 0 on one, which :meth:`invoke` then finds again."""
        return -1 if _view_at(context, location) is None else 0

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Select the view under the mouse."""
        found = _view_at(context, (event.mouse_region_x, event.mouse_region_y))
        if found is not None:
            context.scene.objaverse.current_view = found
            context.area.tag_redraw()
        return {"FINISHED"}

    def modal(self, _: bpy.types.Context, __: bpy.types.Event, ___: set[str]) -> set[str]:
        """A click is over at once."""
        return {"FINISHED"}


def _view_at(context: bpy.types.Context, location: tuple[int, int]) -> int | None:
    state = preview.rig(context)
    if state is None or context.region_data is None:
        return None
    region = context.region
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
        state = context.window_manager.objaverse
        looking = context.region_data and context.region_data.view_perspective == "CAMERA"
        return bool(state.preview and not looking)

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
    _handles.append(add(_draw_picture, (), "WINDOW", "POST_PIXEL"))


def unregister() -> None:
    """Remove both."""
    global _batch, _picture
    _batch = _picture = None
    while _handles:
        bpy.types.SpaceView3D.draw_handler_remove(_handles.pop(), "WINDOW")
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
