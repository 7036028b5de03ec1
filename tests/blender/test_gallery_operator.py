"""The gallery's button inside Blender."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gallery_data import add_asset

from .test_addon import bpy, enabled  # noqa: F401  (fixtures)


@pytest.mark.core
def test_the_panels_gallery_is_made_of_the_output_folder(bpy: Any, tmp_path: Path):  # noqa: F811
    add_asset(tmp_path, "thing", views=3, size=(32, 32))
    bpy.context.scene.objaverse.output_dir = str(tmp_path)
    assert bpy.ops.objaverse.open_gallery() == {"FINISHED"}
    assert (tmp_path / "gallery" / "index.html").is_file()
    assert len(list((tmp_path / "gallery" / "assets").glob("*/*/detail.js"))) == 1


@pytest.mark.core
def test_without_assets_the_button_says_so(bpy: Any, tmp_path: Path):  # noqa: F811
    bpy.context.scene.objaverse.output_dir = str(tmp_path)
    with pytest.raises(RuntimeError, match="no finished asset"):
        bpy.ops.objaverse.open_gallery()
