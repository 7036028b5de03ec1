"""Jobs from names of fields."""

from __future__ import annotations

import dataclasses
from typing import Any

from objaverse_render_addon.job import Files, Pixels

_OF_PIXELS = {field.name for field in dataclasses.fields(Pixels)}


def written(**chosen: Any) -> dict[str, Any]:
    """The parts of a job that say what is written, from fields of either by name."""
    pixels = {name: value for name, value in chosen.items() if name in _OF_PIXELS}
    files = {name: value for name, value in chosen.items() if name not in _OF_PIXELS}
    return {"pixels": Pixels(**pixels), "files": Files(**files)}
