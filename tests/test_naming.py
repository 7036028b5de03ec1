"""Names of files that are named alike: by the whole list, whatever its order and its parts."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from pathlib import Path

import pytest
from batch_lanes import PlanLane, files_of, make_job, run

from objaverse_render_addon.assets.sources import expand, is_junk, other_names, place_of
from objaverse_render_addon.batch.queue import naming
from objaverse_render_addon.batch.queue.intake import entries_of
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.batch.queue.plan import plan
from objaverse_render_addon.batch.queue.rows import AssetOutcome

ROOT = Path(__file__).parent.parent


def write(folder: Path, *names: str) -> list[str]:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name} {'#' * 7 * number}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    return [str(folder / name) for name in names]


def named(ledger: Ledger, request: int) -> dict[str, str | None]:
    return {row["source"]: row["asset_id"] for row in ledger.assets(request=request)}


def names_of(folder: Path, sources: list[str], root: Path) -> dict[str, str | None]:
    """Path below ``root`` to name, by a new ledger."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        found = named(ledger, ledger.add("", entries_of(sources, "name")))
    return {str(Path(source).relative_to(root)): name for source, name in found.items()}


@pytest.mark.parametrize(
    "expected",
    [
        {"chair.glb": "chair", "sofa/lamp.glb": "lamp"},
        {"chair.glb": "chair-glb", "chair.obj": "chair-obj"},
        {"chair.glb": "chair-glb", "CHAIR.obj": "CHAIR-obj"},
        {"sofa/scene.gltf": "sofa-scene", "lamp/scene.gltf": "lamp-scene"},
        # One extension is no other's, the other two are told apart by their folders.
        {"a/x.glb": "a-x", "b/x.glb": "b-x", "b/x.obj": "x-obj"},
        {"a/x.glb": "a-x-glb", "a/x.obj": "a-x-obj", "b/x.glb": "b-x-glb", "b/x.obj": "b-x-obj"},
        {"a/gltf/s.gltf": "a-gltf-s", "b/gltf/s.gltf": "b-gltf-s"},
        # A name that would be right is another file's.
        {"a/x.glb": "x-glb", "a/x.obj": "a-x", "x-obj.glb": "x-obj"},
        {"p/a b/x.glb": "a_b-x", "p/(c)/x.glb": "c-x"},
    ],
    ids=str,
)  # fmt: skip
def test_files_of_one_name_get_several_in_any_order(tmp_path: Path, expected: dict[str, str]):
    root = tmp_path / "in"
    for number, order in enumerate(itertools.permutations(write(root, *expected))):
        assert names_of(tmp_path / f"{number}", list(order), root) == expected


def test_what_would_meet_in_one_name_gets_another(tmp_path: Path):
    root = tmp_path / "in"
    sources = write(root, "x/b-c.glb", "y/b-c.glb", "x-b/c.glb", "z/c.glb")
    found = names_of(tmp_path, sources, root)
    assert (found["y/b-c.glb"], found["z/c.glb"]) == ("y-b-c", "z-c")
    others = {found["x/b-c.glb"], found["x-b/c.glb"]}
    assert len(others) == 2 and "x-b-c" not in others
    assert names_of(tmp_path / "again", sources[::-1], root) == found


def test_a_name_that_was_given_is_kept_by_who_has_it(tmp_path: Path):
    x, y, z = write(tmp_path, "x/chair.glb", "y/chair.glb", "z/chair.glb")
    for number, order in enumerate(itertools.permutations([x, f"{y} --id chair", z])):
        table = tmp_path / f"{number}.txt"
        table.write_text("\n".join(order))
        with Ledger(tmp_path / f"{number}" / "ledger.sqlite") as ledger:
            found = named(ledger, ledger.add("", entries_of([str(table)], "name")))
            assert found == {x: "x-chair", y: "chair", z: "z-chair"}


def test_one_file_with_two_wishes_is_told(tmp_path: Path):
    x, y = write(tmp_path, "x/chair.glb", "y/chair.glb")
    table = tmp_path / "table.txt"
    lines = [x, f"{x} --seed 1", y, f"{y} --seed 2 --id other", f"{tmp_path}/x/../y/chair.glb"]
    table.write_text("\n".join(lines))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        request = ledger.add("", entries_of([str(table)], "name"))
        rows = list(ledger.assets(request=request))
        assert [row["asset_id"] for row in rows] == ["x-chair", None, "y-chair", "other", None]
        for row in rows:
            if not row["asset_id"]:
                assert (row["state"], row["reason"]) == ("failed", "duplicate-asset")
                assert "--id" in row["hint"]


def test_files_of_one_content_are_told_by_content(tmp_path: Path):
    x, y = write(tmp_path, "x/chair.glb", "y/chair.glb")
    Path(y).write_bytes(Path(x).read_bytes())
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        rows = list(ledger.assets(request=ledger.add("", entries_of([x, y], "sha256"))))
        assert [len(row["asset_id"] or "") for row in rows] == [64, 0]
        assert "same content" in rows[1]["hint"]


def test_addresses_are_told_apart_as_paths_are(tmp_path: Path):
    given = [
        "https://a.example/x/scene.glb", "https://b.example/y/scene.glb?v=1",
        "https://b.example/y/scene.glb?v=2", "s3://bucket/z/scene.glb",
        "zip://scene.glb::s3://bucket/all.zip",
    ]  # fmt: skip
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        found = named(ledger, ledger.add("", entries_of(given, "name")))
    names = list(found.values())
    assert names[0] == "x-scene" and names[3] == "z-scene"
    assert all(name and name.startswith("scene-") for name in (names[1], names[2], names[4]))
    assert len(set(names)) == 5


def test_other_names_are_names_and_of_one_number():
    long = "x" * 300 + "/" + "y" * 300 + ".glb"
    for text in ("a", "/", "..", long, "ä/ö.OBJ", "https://x", "(/)"):
        names = list(other_names(place_of(text)))
        assert len(names) == naming._LEVELS
        assert all(0 < len(name) <= 120 and "." not in name for name in names)


# --- Lists that change ----------------------------------------------------------------------


def test_what_has_a_name_keeps_it_when_the_list_grows_and_shrinks(tmp_path: Path):
    root = tmp_path / "in"
    folders, stems, ends = ("a", "b", "c/a", "c"), ("s", "t"), (".glb", ".obj")
    every = write(root, *(f"{f}/{s}{e}" for s in stems for e in ends for f in folders))
    sizes = [Path(source).stat().st_size for source in every]
    assert len(set(sizes[:4])) == 4, "one name's files differ"
    draw = random.Random(0)
    for number in range(40):
        names: dict[str, str] = {}
        with Ledger(tmp_path / f"{number}.sqlite") as ledger:
            for step in range(6):
                some = draw.sample(every, draw.randint(1, len(every)))
                request = ledger.add(f"{step}", entries_of(some, "name"))
                found = named(ledger, request)
                assert found.keys() == set(some)
                assert len({name.lower() for name in found.values() if name}) == len(some)
                for source, name in found.items():
                    assert name
                    if name.count("-"):
                        assert names.setdefault(source, name) == name, (number, step)
                rows = ledger.claim(request, 99)
                ledger.finish(
                    *(
                        AssetOutcome(
                            row.id, "done", 1, source_bytes=Path(row.source).stat().st_size
                        )
                        for row in rows
                    )
                )


def test_an_asset_that_is_done_is_not_rendered_again_when_another_of_its_name_comes(
    tmp_path: Path,
):
    root, out = tmp_path / "in", tmp_path / "out"
    sofa, lamp, bed = write(root, "sofa/scene.obj", "lamp/scene.obj", "bed/scene.obj")
    for given, new, ids in (
        ([sofa], ["scene"], ["scene"]),
        ([root], ["bed-scene", "lamp-scene"], ["bed-scene", "lamp-scene", "scene"]),
        ([bed], [], ["bed-scene"]),
        ([lamp, sofa], [], ["lamp-scene", "scene"]),
    ):
        planned = plan(given, make_job(), out)
        assert sorted(item.asset_id for item in planned) == ids
        assert sorted(item.asset_id for item in planned if item.action == "render") == new
        lane = PlanLane()
        report = run(given, out, lane)
        assert sorted(lane.rendered) == new
        assert (report.counts["done"], report.counts["skipped"]) == (len(new), len(ids) - len(new))
        assert report.ok
        assert sorted(result.asset_id for result in report.results) == ids


def test_files_that_moved_together_are_found_again(tmp_path: Path):
    out = tmp_path / "out"
    write(tmp_path / "old", "sofa/scene.obj", "lamp/scene.obj")
    assert run([tmp_path / "old"], out).counts["done"] == 2
    (tmp_path / "old").rename(tmp_path / "new")
    assert run([tmp_path / "new"], out).counts["skipped"] == 2
    assert sorted(files_of(out)) == ["lamp-scene.zip", "sofa-scene.zip"]


# --- Parts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 5])
def test_parts_of_a_list_give_the_names_of_the_whole(tmp_path: Path, parts: int):
    root = tmp_path / "in"
    # Names that others would get, too: a-s is a file, and b-s-t is that of b/s-t and b-s/t.
    names = ["a/s.obj", "b/s.obj", "a-s.obj", "b/s-t.obj", "c/s-t.obj", "b-s/t.obj", "c/t.obj"]
    names += [f"only{n}.obj" for n in range(9)]
    write(root, *names)
    assert run([root], tmp_path / "whole").ok
    for index in range(parts):
        assert run([root], tmp_path / "parts", shard=(index, parts)).ok
    whole = files_of(tmp_path / "whole")
    assert len(whole) == len(names)
    assert files_of(tmp_path / "parts").keys() == whole.keys()
    assert not list((tmp_path / "parts").rglob(".*.names"))


# --- What is no asset -----------------------------------------------------------------------


def test_what_systems_leave_beside_files_is_no_asset(tmp_path: Path):
    root = tmp_path / "in"
    sources = write(root, "chair.obj", "sub/._chair.obj", "__MACOSX/chair.obj", "._b.glb", "b.obj")
    write(root, ".DS_Store", "Thumbs.db", "my.__MACOSX.obj", "sub/_.obj", "._folder/d.obj")
    table = tmp_path / "list.txt"
    table.write_text("\n".join(sources))
    for given, ids in (
        ([root], {"chair", "b", "my___MACOSX", "asset", "d"}),
        ([table], {"chair", "b"}),
    ):
        said: list[str] = []
        out = tmp_path / f"out{len(ids)}"
        report = run(given, out, on_event=lambda e, said=said: said.append(getattr(e, "text", "")))
        assert report.ok
        assert {result.asset_id for result in report.results} == ids
        assert [text for text in said if "3 files that a system leaves" in text]
    assert list(expand([sources[3]])) == []
    assert is_junk("__MACOSX\\chair.obj") and not is_junk("x__MACOSX/chair._obj")


# --- Long lists -----------------------------------------------------------------------------

_LONG = """
import resource, sys
from pathlib import Path
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.batch.queue.rows import QueueEntry
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
count, before = int(sys.argv[2]), peak()
entries = (QueueEntry(f"/m/{n:07d}/scene.gltf", "scene", None, "derived") for n in range(count))
with Ledger(Path(sys.argv[1])) as ledger:
    request = ledger.add("", entries)
    assert ledger.counts(request)["waiting"] == count
    assert [row.asset_id for row in ledger.claim(request, 2)] == ["0000000-scene", "0000001-scene"]
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_a_long_list_of_one_name_takes_little_memory(tmp_path: Path):
    grown = []
    for count in (10_000, 40_000):
        done = subprocess.run(
            [sys.executable, "-c", _LONG, str(tmp_path / f"{count}.sqlite"), str(count)],
            cwd=ROOT, check=True, capture_output=True, text=True,
        )  # fmt: skip
        grown.append(float(done.stdout))
    # Thirty thousand rows more: the pages that SQLite keeps, and not these rows.
    assert grown[1] - grown[0] < 30, grown
