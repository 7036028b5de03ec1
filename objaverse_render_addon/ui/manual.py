"""Right-click, *Online Manual*, over anything of ours: the page that came with the extension."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import bpy

from ..job import job_fields
from .derived import OF_JOB, OF_MACHINE

__all__ = ["register", "unregister"]

PAGE: Final = Path(__file__).with_name("manual.html")

_SECTIONS: Final = {
    "asset": "normalize-row",
    "cameras": "cameras-row",
    "lighting": "lighting-row",
    "pixels": "passes-row",
    "engine": "output-row",
    "files": "output-row",
}
_OPERATORS: Final = {
    "import_*": "asset-row",
    "cancel_import": "asset-row",
    "use_collection": "asset-row",
    "search": "search-objaverse-row",
    "normalize": "normalize-row",
    "*_scene_cameras": "cameras-row",
    "sample_cameras": "cameras-row",
    "preview_cameras": "cameras-row",
    "look_through_camera": "cameras-row",
    "frame_rig": "cameras-row",
    "setup_passes": "passes-row",
    "restore_compositor": "passes-row",
    "*_job": "output-row",
    "render_batch": "batch-row",
    "add_f*": "batch-row",
    "list_output": "batch-row",
    "show_sheet": "batch-row",
    "render_asset": "rendering",
    "*_result": "results",
    "compose_*": "composed-scenes",
    "cancel_compose": "composed-scenes",
    "*_composed": "composed-scenes",
    "write_scenes": "composed-scenes",
    "open_scenes_gallery": "composed-scenes",
    "choose_kinds": "composed-scenes",
    "copy_physics_setup": "composed-scenes",
    "*_output": "the-dataset",
    "statistics": "the-dataset",
    "write_credits": "the-dataset",
    "*": "the-panel",
}


def _map() -> tuple[str, list[tuple[str, str]]]:
    """For Blender: the page, and its anchor for each pattern of names, the first that fits.

    Blender knows all names in lower case here.
    """
    found = [(f"bpy.ops.objaverse.{name}", anchor) for name, anchor in _OPERATORS.items()]
    for path in OF_JOB:
        section, _, _ = path.rpartition(".")
        name = f"bpy.types.objaverse_pg_settings.{job_fields()[path].setting.name}*"
        found.append((name, _SECTIONS.get(section, "cameras-row")))
    for path in OF_MACHINE:
        name = job_fields()[path].setting.name
        found.append((f"bpy.types.objaverse_ap_preferences.{name}", f"{name}-row"))
    found += [
        ("bpy.types.objaverse_pg_search.*", "search-objaverse-row"),
        ("bpy.types.objaverse_pg_dataset.*", "dataset-row"),
        ("bpy.types.objaverse_pg_result.*", "results"),
        ("bpy.types.objaverse_pg_compose*", "composed-scenes"),
        ("bpy.types.objaverse_ap_preferences.*", "preferences"),
        ("bpy.types.objaverse_*", "the-panel"),
    ]
    return f"{PAGE.as_uri()}#", found


def register() -> None:
    """Tell Blender."""
    bpy.utils.register_manual_map(_map)


def unregister() -> None:
    """Forget."""
    bpy.utils.unregister_manual_map(_map)
