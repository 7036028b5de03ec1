"""What belongs to the machine, not to the job: device, threads, memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import bpy
from bpy.props import FloatProperty, IntProperty, StringProperty

from .derived import property_of

__all__ = ["ADDON", "get", "register", "unregister"]

_NICE: Final = 10
ADDON: Final = (__package__ or "").removesuffix(".ui")
"""The name that Blender knows the add-on by; as an extension it is longer than the package's."""


class OBJAVERSE_AP_preferences(bpy.types.AddonPreferences):
    """Shown in Blender's preferences, under the add-on."""

    bl_idname = ADDON

    device: property_of("engine.device")
    threads: property_of("engine.threads")
    workers: IntProperty(
        name="Workers",
        min=0,
        max=256,
        description="Assets of a batch that are rendered at a time; 0 goes by what the machine has",
    )
    download_dir: StringProperty(
        name="Download Folder",
        description="Where fetched objects are kept; empty takes ~/.objaverse, as the objaverse "
        "package does",
        subtype="DIR_PATH",
    )
    endpoint: StringProperty(
        name="Mirror", description="Server of the data set; empty takes Hugging Face"
    )
    timeout: FloatProperty(
        name="Timeout",
        default=300.0,
        min=1.0,
        subtype="TIME_ABSOLUTE",
        description="Seconds that one asset may take before it is given up",
    )
    max_memory: FloatProperty(
        name="Memory Limit (GiB)",
        min=0.0,
        description="What a worker may take; 0 takes 90 % of the machine's",
    )

    physics: StringProperty(
        name="Physics Python",
        description="Python program that settles composed scenes, with the packages mujoco and "
        "rapier3d; empty takes Blender's own Python",
        subtype="FILE_PATH",
    )
    server: StringProperty(
        name="Server",
        description="Address that objaverse-render serve printed: renders and the live view are "
        "its workers' then; empty renders on this machine",
    )
    server_key: StringProperty(
        name="Key",
        description="What objaverse-render serve printed beside the address; a private socket "
        "needs none",
        subtype="PASSWORD",
        options={"HIDDEN"},
    )

    def draw(self, _: bpy.types.Context) -> None:
        """Draw the settings."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        for name in (
            "device", "workers", "threads", "timeout", "max_memory", "download_dir", "endpoint",
            "physics", "server",
        ):  # fmt: skip
            layout.prop(self, name)
        row = layout.row()
        row.active = bool(self.server)
        row.prop(self, "server_key")


def get(context: bpy.types.Context) -> Any:
    """The add-on's preferences; ``None`` where it runs without being an enabled add-on."""
    addon = context.preferences.addons.get(ADDON)
    return addon.preferences if addon else None


def physics(context: bpy.types.Context) -> str:
    """The Python that settles composed scenes."""
    own = get(context)
    chosen = bpy.path.abspath(own.physics.strip()) if own is not None else ""
    return str(Path(chosen).expanduser()) if chosen else sys.executable


def options(context: bpy.types.Context) -> dict[str, Any]:
    """Of :class:`objaverse_render_addon.batch.options.RunOptions`, what the preferences say."""
    values: dict[str, Any] = {
        "blender": bpy.app.binary_path or None,
        "online": bpy.app.online_access,
        # The window is somebody's; without one the machine is the render's.
        "nice": 0 if bpy.app.background else _NICE,
    }
    preferences = get(context)
    if preferences is not None:
        values["timeout"] = preferences.timeout
        values["workers"] = preferences.workers or None
        values["download_dir"] = bpy.path.abspath(preferences.download_dir) or None
        values["endpoint"] = preferences.endpoint or None
        if preferences.max_memory:
            values["max_memory"] = int(preferences.max_memory * 2**30)
    return values


register, unregister = bpy.utils.register_classes_factory((OBJAVERSE_AP_preferences,))
