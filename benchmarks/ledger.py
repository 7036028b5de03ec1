"""How fast is the ledger when it is as long as all of Objaverse-XL, and how soon does it resume?

Rows with names as long as real ones are taken in; some of them are claimed, rendered in no time,
and completed with everything that the engine writes of an asset.

    python benchmarks/ledger.py [ROWS] [FOLDER]
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.batch.queue.rows import AssetOutcome, QueueEntry, Row

COMPLETED = 50_000
AT_ONCE = 16


def outcome(row: Row) -> AssetOutcome:
    """What the engine writes of a finished asset."""
    return AssetOutcome(
        row.id, "done", 1, path=f"{row.asset_id}.zip", fingerprint="f" * 64, file_type="glb",
        license="CC-BY-4.0", sha256="a" * 64, worker="worker 1", device="CPU", views=12,
        bytes=123_456, source_bytes=654_321, seconds=1.5,
        stages={"import": 0.1, "prepare": 0.01, "geometry": 0.3, "color": 1.0, "write": 0.1},
    )  # fmt: skip


def measure(rows: int, folder: Path) -> None:
    """Print the table."""
    path = folder / "ledger.sqlite"
    names = random.Random(0)
    since = time.perf_counter()
    with Ledger(path) as ledger:
        uids = (f"{names.getrandbits(128):032x}" for _ in range(rows))
        request = ledger.add("0" * 64, (QueueEntry(uid, uid) for uid in uids))
        seconds = time.perf_counter() - since
        size = path.stat().st_size
        print(f"taken in            {seconds:8.1f} s   {rows / seconds:,.0f} rows/s")
        print(f"file                {size / 2**20:8,.0f} MiB {size / rows:.0f} bytes a row")
        since, done = time.perf_counter(), 0
        while done < min(COMPLETED, rows):
            claimed = ledger.claim(request, AT_ONCE)
            ledger.mark([row.id for row in claimed], "rendering")
            for row in claimed:
                ledger.finish(outcome(row))
            done += len(claimed)
        ledger.flush()
        rate = done / (time.perf_counter() - since)
        print(f"claim and complete  {rate:8,.0f} assets/s")
        ledger.mark([row.id for row in ledger.claim(request, AT_ONCE)], "rendering")
    since = time.perf_counter()
    with Ledger(path) as ledger:
        assert ledger.reset_in_hand() == AT_ONCE
        assert ledger.claim(request, 1)
        print(f"reopened and claimed {(time.perf_counter() - since) * 1000:7.1f} ms")
        since = time.perf_counter()
        counts = ledger.counts()
        print(f"counted             {time.perf_counter() - since:8.2f} s   {counts}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory              {peak:8,.0f} MiB")


def main() -> None:
    """Print the table."""
    rows = int(float(sys.argv[1])) if len(sys.argv) > 1 else 1_000_000
    print(f"{rows:,} rows, {AT_ONCE} claimed at once, {min(COMPLETED, rows):,} completed")
    if len(sys.argv) > 2:
        measure(rows, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure(rows, Path(folder))


if __name__ == "__main__":
    main()
