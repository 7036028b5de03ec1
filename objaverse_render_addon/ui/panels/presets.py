"""Protocols: all settings of a well-known dataset, or of one's own, chosen in one go."""

from __future__ import annotations

import ast
import functools
import math
from pathlib import Path
from typing import Any, ClassVar, Final

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

from ..job_mapping import JOB_PROPERTIES

__all__ = ["CLASSES", "OBJAVERSE_PT_presets", "active_protocols"]

PRESETS: Final = "objaverse/render"
_BUILT_IN: Final = Path(__file__).parents[1] / "presets"


def _protocols() -> list[tuple[str, Path]]:
    """Names and files of all protocols, in the order of their names."""
    found = [
        (bpy.path.display_name(path.name, title_case=False), path)
        for folder in bpy.utils.preset_paths(PRESETS)
        for path in Path(folder).glob("*.py")
    ]
    return sorted(found, key=lambda each: each[0].lower())


@functools.cache
def _values(path: Path, _written: int) -> dict[str, Any]:
    """Property to value, of all that a protocol sets; its file is read anew when it changes."""
    found = {}
    for line in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Attribute):
            found[line.targets[0].attr] = ast.literal_eval(line.value)
    return found


def _same(value: Any, now: Any) -> bool:
    if isinstance(value, str | set):
        return bool(value == now)
    if isinstance(value, tuple | list):
        return len(value) == len(now) and all(map(_same, value, now))
    # Blender's have 32 bits.
    return math.isclose(value, now, rel_tol=1e-6, abs_tol=1e-9)


def active_protocols(settings: Any) -> list[str]:
    """The protocols that the settings are those of, whoever set them; the chosen one first.

    What a protocol does not set, as the asset's frame and the seed, does not count.
    """
    found = [name for name, path in _protocols() if _is_active(settings, path)]
    # Some are equal; Blender notes here which was chosen last.
    return sorted(found, key=lambda name: name != OBJAVERSE_PT_presets.bl_label)


def _is_active(settings: Any, path: Path) -> bool:
    try:
        values = _values(path, path.stat().st_mtime_ns)
        return all(_same(value, getattr(settings, name)) for name, value in values.items())
    except (OSError, ValueError, SyntaxError, AttributeError, TypeError):
        # Somebody's own file, of whatever form or time.
        return False


class OBJAVERSE_PT_presets(PresetPanel, bpy.types.Panel):
    """Protocols of well-known datasets, and the user's own."""

    bl_label = "Render Protocols"
    preset_subdir = PRESETS
    preset_operator = "script.execute_preset"
    preset_add_operator = "objaverse.add_preset"

    def draw(self, context: bpy.types.Context) -> None:
        """As Blender's own, with the active one marked; only one's own can be removed."""
        layout, manager = self.layout, context.window_manager
        layout.emboss = "PULLDOWN_MENU"
        layout.operator_context = "EXEC_DEFAULT"
        now = active_protocols(context.scene.objaverse)
        column = layout.column(align=True)
        for name, path in _protocols():
            row = column.row(align=True)
            chosen = row.operator(
                self.preset_operator, text=name, translate=False,
                icon="CHECKMARK" if name in now else "BLANK1",
            )  # fmt: skip
            chosen.filepath, chosen.menu_idname = str(path), self.bl_idname
            if not path.is_relative_to(_BUILT_IN):
                gone = row.operator(self.preset_add_operator, text="", icon="REMOVE")
                gone.name, gone.remove_name = name, True
        layout.separator()
        row = layout.row()
        field = row.row()
        field.emboss = "NORMAL"
        field.prop(manager, "preset_name", text="")
        row.operator(self.preset_add_operator, text="", icon="ADD").name = manager.preset_name


class OBJAVERSE_OT_add_preset(AddPresetBase, bpy.types.Operator):
    """Keep these settings as a protocol of your own, or remove one that you kept"""

    bl_idname = "objaverse.add_preset"
    bl_label = "Add Render Protocol"
    preset_menu = "OBJAVERSE_PT_presets"
    preset_subdir = PRESETS
    preset_defines: ClassVar = ["settings = bpy.context.scene.objaverse"]
    # The pattern first: choosing it fills in its own ranges. A frame belongs to an asset.
    preset_values: ClassVar = [
        f"settings.{name}"
        for name in sorted(JOB_PROPERTIES, key=lambda name: name != "pattern")
        if name not in ("frame", "use_frame", "frames", "action", "scene_cameras")
    ]

    @classmethod
    def description(cls, _: bpy.types.Context, properties: Any) -> str:
        """What this button does."""
        if properties.remove_name:
            return f"Remove the protocol {properties.name}"
        return "Keep these settings as a protocol of your own"


CLASSES: Final = (OBJAVERSE_PT_presets, OBJAVERSE_OT_add_preset)
