"""What the ledger holds: the states of an asset, its row, how it ended, and runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

__all__ = [
    "FAILED",
    "FINISHED",
    "MERGED",
    "STATES",
    "UNDECODABLE",
    "AssetOutcome",
    "QueueEntry",
    "Row",
    "Run",
    "file_type",
]

STATES: Final = (
    "waiting", "downloading", "rendering", "packing", "done", "failed", "given up",
)  # fmt: skip
FAILED: Final = ("failed", "given up")
FINISHED: Final = ("done", *FAILED)
MERGED: Final = "merged"
"""Remark of a ledger that was merged: of how many parts, and which."""
UNDECODABLE: Final = "undecodable"
"""Option of an asset whose file's name is no UTF-8; its source has it with the bytes escaped."""


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """An asset that a run was asked for.

    Attributes:
        asset_id: Name of the finished asset, unique in its folder.
        options: Job fields that this asset has its own values for.
        naming: Whether the name is its file's, so that it may get another where two files have
            the same (``derived``); was ``given`` to a file by the user; or is the source's own
            and no other's (``own``).
    """

    source: str
    asset_id: str
    options: dict[str, Any] | None = None
    naming: Literal["derived", "given", "own"] = "own"


@dataclass(slots=True)
class Row:
    """An asset in the ledger, as far as a run needs it."""

    id: int
    source: str
    asset_id: str
    state: str
    attempts: int = 0
    replace: bool = False
    options: dict[str, Any] | None = None


@dataclass(slots=True)
class AssetOutcome:
    """How one asset ended; columns of ``assets``."""

    id: int
    state: str
    attempts: int = 0
    reason: str | None = None
    message: str | None = None
    hint: str | None = None
    log: str | None = None
    fingerprint: str | None = None
    path: str | None = None
    file_type: str | None = None
    license: str | None = None
    sha256: str | None = None
    worker: str | None = None
    device: str | None = None
    views: int | None = None
    bytes: int | None = None
    source_bytes: int | None = None
    seconds: float | None = None
    stages: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    doubts: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Run:
    """One run as the ledger knows it.

    Attributes:
        started: Unix time, for people.
        elapsed: Seconds that it has worked, by a clock that nobody can set.
        ended: ``finished``, ``interrupted``, …; empty while it works, or if it was killed.
        note: What it is waiting for, if so.
    """

    id: int
    host: str
    pid: int
    started: float
    seen: float
    elapsed: float
    done: int
    failed: int
    workers: int
    ended: str
    note: str


def file_type(source: str) -> str | None:
    """What a source's name says that it is."""
    suffix = Path(source).suffix.lower().lstrip(".")
    return suffix if 0 < len(suffix) <= 6 else None
