"""Where else people look: File › Import, the Render menu, context menus, and the arrow keys.

What a menu has, Blender's menu search (F3) finds.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import bpy

from ..assets.formats import EXTENSIONS

__all__ = ["register", "unregister"]

_keys: list[tuple[Any, Any]] = []


class OBJAVERSE_MT_render(bpy.types.Menu):
    """What is done from the asset to the finished dataset"""

    bl_idname = "OBJAVERSE_MT_render"
    bl_label = "Objaverse Dataset"
    _ENTRIES: ClassVar = (
        ("objaverse.preview_cameras", "HIDE_ON"),
        ("objaverse.render_asset", "RENDER_STILL"),
        ("objaverse.render_batch", "RENDER_ANIMATION"),
        (),
        ("objaverse.show_result", "HIDE_OFF"),
        ("objaverse.list_output", "PRESET"),
        ("objaverse.open_output", "FILE_FOLDER"),
        ("objaverse.open_gallery", "IMAGE_REFERENCE"),
        (),
        ("objaverse.verify_output", "CHECKMARK"),
        ("objaverse.export_output", "EXPORT"),
        ("objaverse.statistics", "GRAPH"),
        ("objaverse.write_credits", "TEXT"),
        (),
        ("objaverse.load_job", "FILE_FOLDER"),
        ("objaverse.save_job", "FILE_TICK"),
    )

    def draw(self, _: bpy.types.Context) -> None:
        """Draw."""
        for entry in self._ENTRIES:
            if entry:
                self.layout.operator(entry[0], icon=entry[1])
            else:
                self.layout.separator()


class OBJAVERSE_FH_asset(bpy.types.FileHandler):
    """A 3D file dropped on the viewport becomes the asset."""

    bl_idname = "OBJAVERSE_FH_asset"
    bl_label = "Objaverse Asset"
    bl_import_operator = "objaverse.import_asset"
    # A .blend file that is dropped is opened or appended, as ever.
    bl_file_extensions = ";".join(f".{name}" for name in EXTENSIONS if name != "blend")

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """Only over a 3D viewport."""
        return context.area is not None and context.area.type == "VIEW_3D"


def _in_import(self: Any, _: bpy.types.Context) -> None:
    text = "Objaverse Asset (any 3D file)"
    self.layout.operator("objaverse.import_asset", text=text).ask = True


def _in_render(self: Any, _: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu(OBJAVERSE_MT_render.bl_idname, icon="RENDER_RESULT")


def _in_context(self: Any, _: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator("objaverse.use_collection", icon="OUTLINER_COLLECTION")


_MENUS: Final = {
    "TOPBAR_MT_file_import": _in_import,
    "TOPBAR_MT_render": _in_render,
    "VIEW3D_MT_object_context_menu": _in_context,
    "OUTLINER_MT_collection": _in_context,
}


def register() -> None:
    """Add entries and keys."""
    bpy.utils.register_class(OBJAVERSE_MT_render)
    bpy.utils.register_class(OBJAVERSE_FH_asset)
    for name, draw in _MENUS.items():
        getattr(bpy.types, name).append(draw)
    keys = bpy.context.window_manager.keyconfigs.addon
    if keys is not None:
        # Where they go to other frames. With nothing to walk through, and over other editors, the
        # operator lets them through to that.
        keymap = keys.keymaps.new("Frames")
        for key, by in (("RIGHT_ARROW", 1), ("LEFT_ARROW", -1)):
            item = keymap.keymap_items.new("objaverse.walk_result", key, "PRESS", repeat=True)
            item.properties.by = by
            _keys.append((keymap, item))


def unregister() -> None:
    """Remove them."""
    while _keys:
        keymap, item = _keys.pop()
        keymap.keymap_items.remove(item)
        if not len(keymap.keymap_items):
            bpy.context.window_manager.keyconfigs.addon.keymaps.remove(keymap)
    for name, draw in _MENUS.items():
        getattr(bpy.types, name).remove(draw)
    bpy.utils.unregister_class(OBJAVERSE_FH_asset)
    bpy.utils.unregister_class(OBJAVERSE_MT_render)
