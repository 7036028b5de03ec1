"""Tests that render with real Blender: skipped, with the reason, where there is none."""

from __future__ import annotations

import atexit
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HAS_BLENDER = importlib.util.find_spec("bpy") is not None

_status = 0


def _leave() -> None:
    # bpy 4.5 waits for itself in a destructor when its process ends; nobody needs that wait.
    if "bpy" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_status)


if HAS_BLENDER:
    # What is registered first runs last.
    atexit.register(_leave)
    # Before anything imports bpy: whoever runs the tests keeps their Blender's settings.
    _resources = tempfile.TemporaryDirectory(prefix="objaverse-test-blender-")
    os.environ["BLENDER_USER_RESOURCES"] = _resources.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if HAS_BLENDER:
        return
    skip = pytest.mark.skip(reason='no Blender in this Python: pip install "bpy>=4.2,<5.3"')
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(skip)


def pytest_sessionfinish(exitstatus: int) -> None:
    global _status
    _status = int(exitstatus)


@pytest.fixture(scope="session")
def assets() -> Path:
    """Third-party files that do not belong to the project; whoever has them puts them there."""
    folder = HERE.parents[2] / "shared" / "assets"
    if not folder.is_dir():
        pytest.skip(f"the sample files are not at {folder}")
    return folder
