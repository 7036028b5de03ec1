"""For all tests: leave at once when they are done."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

_status = pytest.StashKey[int]()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Where Blender is in this process, its teardown may never end (4.5 waits for a lock)."""
    if "bpy" not in sys.modules or _status not in config.stash:
        return
    settings = Path(os.environ.get("BLENDER_USER_RESOURCES", ""))
    if settings.name.startswith("objaverse-test-"):
        shutil.rmtree(settings, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(config.stash[_status])
