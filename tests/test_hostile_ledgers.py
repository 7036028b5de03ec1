"""Ledgers that are not what was written: named so, whatever happened, and never believed."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_lanes import PlanLane, files_of, make_sources, run

from objaverse_render_addon import cli
from objaverse_render_addon.assets.sources import Source
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.batch.queue.rows import QueueEntry
from objaverse_render_addon.errors import Interrupted, InvalidList, LedgerDamaged

COUNT = 60


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return make_sources(tmp_path_factory.mktemp("in"), COUNT)


@pytest.fixture(scope="module")
def half(sources: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with half of the list, and the whole list in the ledger."""
    out = tmp_path_factory.mktemp("half") / "out"

    cancel = threading.Event()

    def stop(*_: object) -> None:
        if len(lane.rendered) == COUNT // 2:
            cancel.set()
            lane.sleep(30)

    lane = PlanLane(None, stop)
    with pytest.raises(Interrupted):
        run(sources, out, lane, cancel=cancel)
    assert len(list(out.glob("*.zip"))) == COUNT // 2
    return out


def copied(half: Path, to: Path) -> tuple[Path, Path]:
    shutil.copytree(half, to, symlinks=True)
    return to, to / ".state" / "ledger.sqlite"


def looked_at(out: Path) -> None:
    """Every way of looking ends with 0, or says that the ledger is damaged."""
    for command in (
        ["status", str(out)], ["status", str(out), "--failed"],
        ["status", str(out), "--csv", str(out.parent / "csv")],
        ["status", str(out), "--retry", "timeout"],
        ["stats", str(out), "--views", "0", "-o", str(out.parent / "stats.html")],
    ):  # fmt: skip
        assert cli.main(command) in (0, 13, 45), command


def test_random_damage_is_named_or_does_no_harm(
    half: Path, sources: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
):
    whole = files_of(run_whole(sources, tmp_path / "whole"))
    dice, named = random.Random(7), 0
    for number in range(60):
        out, path = copied(half, tmp_path / f"out{number}")
        content = bytearray(path.read_bytes())
        for _ in range(dice.choice((1, 4, 40, 400))):
            content[dice.randrange(len(content))] = dice.randrange(256)
        if number % 3 == 0:
            # All in one place.
            at = dice.randrange(len(content) - 1280)
            content[at : at + 1280] = dice.randbytes(1280)
        path.write_bytes(content)
        looked_at(out)
        try:
            report = run(sources, out, PlanLane())
        except LedgerDamaged as error:
            named += 1
            assert "ledger.sqlite" in error.message and "Move it away" in error.hint
            path.unlink()
            report = run(sources, out, PlanLane())
        assert report.counts["done"] + report.counts["skipped"] == COUNT, number
        assert files_of(out) == whole, number
        shutil.rmtree(out)
    assert 20 < named < 60
    assert "Traceback" not in capsys.readouterr().err


def run_whole(sources: list[str], out: Path) -> Path:
    assert run(sources, out, PlanLane()).ok
    return out


def _sql(text: str, *values: Any) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA ignore_check_constraints = 1")
            db.execute(text, values)
            db.commit()

    return spoil


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


WILFUL = {
    "folder": _folder,
    "state": _sql("UPDATE assets SET state = 'wating' WHERE id % 5 = 0"),
    "options": _sql("UPDATE assets SET options = '{no json' WHERE state = 'waiting'"),
    "list": _sql("UPDATE assets SET options = '[1]' WHERE state = 'waiting'"),
    "request": _sql("UPDATE assets SET request = 'y' WHERE id % 5 = 0"),
    "attempts": _sql("UPDATE assets SET attempts = 'many' WHERE id % 5 = 0"),
    "text": _sql("UPDATE assets SET source = CAST(x'ff80fe' AS TEXT) WHERE id % 5 = 0"),
    "name": _sql("UPDATE assets SET asset_id = '../../x' WHERE id = 59"),
    "backslash": _sql("UPDATE assets SET asset_id = '..\\..\\x' WHERE id = 59"),
    "absolute": _sql("UPDATE assets SET asset_id = '/etc/x' WHERE id = 59"),
    "hidden": _sql("UPDATE assets SET asset_id = '.ssh' WHERE id = 59"),
    "column": _sql("ALTER TABLE assets DROP COLUMN stages"),
    "run": _sql("UPDATE runs SET elapsed = 'long', pid = 'x'"),
    "merged": _sql("INSERT OR REPLACE INTO meta VALUES ('merged', '{\"of\": [], \"parts\": 3}')"),
}


@pytest.mark.parametrize("name", sorted(WILFUL))
def test_wilful_damage_is_named(name: str, half: Path, sources: list[str], tmp_path: Path):
    out, path = copied(half, tmp_path / "out")
    WILFUL[name](path)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    looked_at(out)
    try:
        report = run(sources, out, PlanLane())
    except LedgerDamaged as error:
        assert "ledger.sqlite" in error.message
    else:
        # The list is taken in again, or it is of no account for a run.
        assert name in ("run", "merged", "options", "list", "name", "backslash", "absolute",
                        "hidden")  # fmt: skip
        assert report.counts["done"] + report.counts["skipped"] == COUNT
    assert not [*tmp_path.rglob("x.zip"), *tmp_path.parent.glob("x.zip")]
    assert set(before) <= {path.name for path in tmp_path.rglob("*")}


def test_assets_that_a_ledger_lost_are_taken_in_again(
    half: Path, sources: list[str], tmp_path: Path
):
    out, path = copied(half, tmp_path / "out")
    _sql("DELETE FROM assets WHERE id % 5 = 0")(path)
    report = run(sources, out, PlanLane())
    assert report.ok and len(list(out.glob("*.zip"))) == COUNT
    # And one that lost none reads a list once only.
    with Ledger(path, read_only=True) as ledger:
        (digest,) = ledger._db.execute("SELECT digest FROM requests").fetchone()
        assert ledger.request(digest) is not None


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/x", "..", ".hidden", "a\\b"])
def test_no_name_of_an_asset_leads_elsewhere(name: str, sources: list[str], tmp_path: Path):
    with pytest.raises(InvalidList, match="no name for an asset"):
        run([Source(sources[0], "path", name)], tmp_path / "out")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        request = ledger.add("x", [QueueEntry("/a.glb", name)])
        with pytest.raises(LedgerDamaged):
            ledger.claim(request, 1)


def test_looking_through_takes_no_time(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        entries = (QueueEntry(f"/assets/number/{n}.glb", f"asset-{n:07d}") for n in range(60_000))
        ledger.add("x", entries)
    assert 5 << 20 < path.stat().st_size < 16 << 20
    started = time.monotonic()
    Ledger(path).close()
    assert time.monotonic() - started < 3
