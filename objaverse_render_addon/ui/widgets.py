"""What several panels draw, and drawing anew."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, ClassVar

import bpy

__all__ = [
    "Panel",
    "allow_online",
    "areas",
    "columns",
    "overlapped",
    "progress",
    "redraw",
    "redraw_status_bar",
    "text",
    "warnings",
]


class Panel:
    """Where all panels are: the sidebar's tab."""

    bl_space_type: ClassVar = "VIEW_3D"
    bl_region_type: ClassVar = "UI"
    bl_category: ClassVar = "Objaverse"


def columns(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    """A column with labels left and values right; nothing here is animated."""
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    return column


def text(
    context: bpy.types.Context,
    layout: bpy.types.UILayout,
    words: str,
    icon: str,
    *,
    alert: bool = False,
) -> None:
    """Text over as many lines as the sidebar's width asks for."""
    letters = int(context.region.width / context.preferences.system.ui_scale / 7.0) - 7
    column = layout.column(align=True)
    column.alert = alert
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(words, max(16, letters))[:10]):
        column.label(text=line, icon="BLANK1" if number else icon)


def warnings(context: bpy.types.Context, layout: bpy.types.UILayout, lines: str) -> None:
    """The first of several warnings, one a line."""
    found = lines.splitlines()
    if len(found) > 4:
        found[3:] = [f"and {len(found) - 3} more"]
    for line in found:
        text(context, layout, line, "ERROR", alert=True)


def progress(layout: bpy.types.UILayout, share: float, status: str, cancel: str) -> None:
    """A bar with a cross that cancels."""
    row = layout.row(align=True)
    row.progress(factor=share, text=status)
    row.operator(cancel, text="", icon="X")


def allow_online(layout: bpy.types.UILayout) -> None:
    """That Blender's online access is off, and the way to where it is allowed."""
    box = layout.box()
    box.label(text="Online access is off", icon="INTERNET_OFFLINE")
    allow = box.operator("screen.userpref_show", text="Allow It in Preferences, System")
    allow.section = "SYSTEM"


def areas(*kinds: str) -> Iterator[Any]:
    """All windows' areas of these kinds."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in kinds:
                yield area


def overlapped(context: bpy.types.Context, area: bpy.types.Area) -> tuple[int, int]:
    """Pixels of a viewport that toolbar (left) and sidebar (right) lie over.

    None, where the user has set them to stand beside it.
    """
    if not context.preferences.system.use_region_overlap:
        return 0, 0
    left, right = (
        sum(region.width for region in area.regions if region.type == kind and region.width > 1)
        for kind in ("TOOLS", "UI")
    )
    return left, right


def redraw() -> None:
    """Draw panels, viewports and pictures anew."""
    for area in areas("VIEW_3D", "IMAGE_EDITOR"):
        area.tag_redraw()


def redraw_status_bar() -> None:
    """Draw the status bar anew, which is no screen's area; what others have written there stays.

    It is among what follows this name.
    """
    bpy.msgbus.publish_rna(key=(bpy.types.ViewLayer, "name"))
