"""``blender --command objaverse …``: the command line inside an installed Blender; presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from .. import cli

__all__ = ["register", "unregister"]

_PRESETS = str(Path(__file__).parent)
_handles: list[Any] = []


def _command(arguments: list[str]) -> int:
    blender = Path(bpy.app.binary_path) if bpy.app.binary_path else None
    try:
        return cli.main(arguments, blender=blender)
    except SystemExit as error:
        # argparse ends the process after --help and bad arguments; Blender wants a number.
        return error.code if isinstance(error.code, int) else 1


def register() -> None:
    """Add the command and the built-in protocols."""
    _handles.append(bpy.utils.register_cli_command("objaverse", _command))
    bpy.utils.register_preset_path(_PRESETS)


def unregister() -> None:
    """Remove both."""
    bpy.utils.unregister_preset_path(_PRESETS)
    while _handles:
        bpy.utils.unregister_cli_command(_handles.pop())
