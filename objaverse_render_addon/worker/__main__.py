"""``python -m objaverse_render_addon.worker``."""

from __future__ import annotations

from .main import main

main()
