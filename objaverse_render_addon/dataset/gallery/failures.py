"""What a run could not render, for the page to show."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from ...errors import SourceNotFound
from ...words import redacted, without_secrets

__all__ = ["Failure", "failures"]


class Failure(TypedDict):
    """An asset that failed: what it is, why, and the way out."""

    asset_id: str
    source: str
    reason: str
    message: str
    hint: str
    log: str


def failures(folder: Path | str) -> list[Failure]:
    """The assets that the runs into a folder or URL could not render, as its ledger has them.

    Returns:
        In the ledger's order; nothing where there is no ledger.

    Raises:
        LedgerDamaged: The ledger cannot be read.
    """
    # The batch room knows ledgers; it needs this one, which is why it is not imported above.
    from ...batch import status

    try:
        ledgers = status.ledgers(folder)
    except SourceNotFound:
        return []
    return [
        {
            "asset_id": str(row["asset_id"] or redacted(row["source"])),
            "source": redacted(str(row["source"])),
            "reason": str(row["reason"] or "error"),
            "message": without_secrets(str(row["message"] or "")),
            "hint": without_secrets(str(row["hint"] or "")),
            "log": without_secrets(str(row["log"] or "")),
        }
        for row in status.failures(ledgers)
    ]
