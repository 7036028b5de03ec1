"""A short, seeded part of ``make fuzz``."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.run import Fuzzer

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="bounds memory and time as Linux does"
)


@pytest.mark.core
def test_damaged_files_end_by_name(tmp_path: Path) -> None:
    fuzzer = Fuzzer(tmp_path, seed=27)
    try:
        tally = fuzzer.run("inspector", 300)
        assert tally.found == {}
        assert tally.ends["done"] > 50 and len(tally.ends) > 3
        rendered = fuzzer.run("worker", 16)
        # What Blender's own importers die of has the name of that, and costs nothing else.
        assert {why.split()[0] for why in rendered.found} <= {"worker-crashed"}
        assert rendered.ends["done"] > 0 and sum(rendered.ends.values()) == 16
        # A case is the same whenever it is made.
        cases = [fuzzer.case(11, tmp_path / name).read_bytes() for name in ("first", "again")]
        assert cases[0] == cases[1]
        # What is found is seen.
        assert fuzzer.judge("inspector", tmp_path / "never.glb")[0] == "source-not-found"
    finally:
        fuzzer.close()


def test_what_is_wrong_is_found_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fuzzer that finds nothing may be blind."""
    from fuzz import run

    good = tmp_path / "corpus" / "plain-ply"
    good.mkdir(parents=True)
    (good / "plain.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n")
    fuzzer = Fuzzer(tmp_path)

    def raising(*_: object, **__: object) -> str:
        raise ZeroDivisionError

    def hanging(*_: object, **__: object) -> str:
        while True:
            pass

    def greedy(*_: object, **__: object) -> str:
        return str(bytearray(4 << 30))

    monkeypatch.setitem(run.SECONDS, "inspector", 0.5)
    for broken, found in ((raising, "ZeroDivisionError"), (hanging, "hang"), (greedy, "Memory")):
        monkeypatch.setattr(run, "inspect_file", broken)
        (why,) = fuzzer.run("inspector", 1).found
        assert why.startswith(found)
    assert len(list((tmp_path / "found").iterdir())) == 3
