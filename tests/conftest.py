"""For all tests: leave at once when they are done; and what those that fetch something need."""

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


@pytest.fixture
def in_a_hurry_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads do not pause, and somebody's proxy, token or mirror has no part in them."""
    from objaverse_render_addon.assets import transfer

    monkeypatch.setattr(transfer, "BACKOFF", 0.001)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
