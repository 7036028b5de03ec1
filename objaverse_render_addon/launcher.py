"""Makes --addons objaverse_render_addon find the extension of that name.

``install.py`` copies this file among Blender's scripts; nothing in the package imports it.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

# Blender reads this without running the file.
bl_info = {
    "name": "Objaverse Render (launcher)",
    "blender": (4, 2, 0),
    "category": "Render",
    "description": "Enables the extension objaverse_render_addon by its short name",
}

_enabled: list[str] = []


def _blenders() -> Any:
    return importlib.import_module("addon_utils")


def register() -> None:
    """Blender: enable the extension."""
    addon_utils = _blenders()
    names = [module.__name__ for module in addon_utils.modules()]
    names = [name for name in names if re.fullmatch(r"bl_ext\..+\.objaverse_render_addon", name)]
    if not names:
        # Blender would go on without a word, and with exit code 0.
        print("objaverse_render_addon: the extension is not installed.", file=sys.stderr)
        raise RuntimeError("install the extension objaverse_render_addon first")
    if not addon_utils.check(names[0])[1]:
        if addon_utils.enable(names[0], persistent=True) is None:
            raise RuntimeError(f"{names[0]} could not be enabled; its error is above")
        _enabled.append(names[0])


def unregister() -> None:
    """Blender: disable it again."""
    while _enabled:
        _blenders().disable(_enabled.pop())
