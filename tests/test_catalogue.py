"""Objaverse's annotations become an index, and a search finds what it should, and nothing else."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_up_annotations as made_up
import pytest
from objaverse_server import Server, breaking_off, normal, serving, status

from objaverse_render_addon import cli
from objaverse_render_addon.assets import annotations
from objaverse_render_addon.assets.annotations import LVIS, PATHS, SHARDS, AnnotationFiles, Damaged
from objaverse_render_addon.assets.catalogue import (
    Catalogue,
    Query,
    index_path,
    known_of_file,
    look_up,
)
from objaverse_render_addon.assets.entry import CatalogueEntry, description_of
from objaverse_render_addon.assets.licenses import parse_filter
from objaverse_render_addon.assets.lists import read_list
from objaverse_render_addon.assets.thumbnails import Thumbnails
from objaverse_render_addon.errors import (
    DownloadFailed,
    Interrupted,
    InvalidJob,
    OnlineAccessDenied,
    SourceNotFound,
)

COUNT = 10_000
Records = list[dict[str, Any]]


def lvis_of(records: Records) -> dict[str, list[str]]:
    """A tenth of the objects whose name has the noun."""
    found: dict[str, list[str]] = {"bow_(weapon)": [], "Christmas_tree": []}
    for number, record in enumerate(records):
        noun = record["name"].lower().split()[1]
        if number % 10 == 0 and noun in made_up.NOUNS:
            found.setdefault(noun, []).append(record["uid"])
    found["Christmas_tree"] = [records[0]["uid"]]
    return found


@pytest.fixture(scope="module")
def records() -> Records:
    return list(made_up.many(COUNT))


@pytest.fixture(scope="module")
def folder(records: Records, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with all annotation files, as the ``objaverse`` package leaves it."""
    path = tmp_path_factory.mktemp("cache")
    made_up.write(path, records, lvis_of(records))
    return path


@pytest.fixture(scope="module")
def catalogue(folder: Path) -> Iterator[Catalogue]:
    with Catalogue.ready(folder, online=False) as found:
        yield found


def uids(catalogue: Catalogue, text: str = "", **words: Any) -> list[str]:
    words = {"limit": COUNT, "age_restricted": None, **words}
    return [entry.uid for entry in catalogue.search(Query(text, **words)).entries]


def those(records: Records, condition: Any) -> set[str]:
    return {record["uid"] for record in records if condition(record)}


def few(tmp_path: Path, *changes: dict[str, Any], **options: Any) -> Catalogue:
    """The catalogue of a few objects, which differ from usual ones in this."""
    found = [made_up.annotation(number, **change) for number, change in enumerate(changes)]
    made_up.write(tmp_path, found, {})
    return Catalogue.ready(tmp_path, online=False, **options)


def name_of(number: int) -> str:
    return made_up.uid(number)


# --- What a search finds ---------------------------------------------------------------------


def test_everything_is_in_the_index(catalogue: Catalogue, records: Records):
    assert catalogue.objects == COUNT
    assert catalogue.problems == {}
    assert set(uids(catalogue)) == those(records, lambda _: True)


def words_of(record: dict[str, Any]) -> set[str]:
    parts = [record["name"], description_of(record)]
    parts += [tag["name"] for tag in record["tags"]]
    parts += [category["name"] for category in record["categories"]]
    return set(re.findall(r"\w+", " ".join(parts).lower()))


@pytest.mark.parametrize("words", ["chair", "office chair", "LAMP red", "poly"])
def test_all_words_have_to_be_there(catalogue: Catalogue, records: Records, words: str):
    expected = those(records, lambda r: words_of(r) >= set(words.lower().split()))
    assert expected
    # LVIS categories are words too; they are those of the name here.
    assert set(uids(catalogue, words)) == expected


def test_what_the_name_has_comes_first_and_the_liked_before_the_others(
    catalogue: Catalogue, records: Records
):
    by_uid = {record["uid"]: record for record in records}
    found = [by_uid[uid] for uid in uids(catalogue, "chair", limit=600)]
    in_name = ["chair" in record["name"].lower().split() for record in found]
    assert any(in_name) and not all(in_name)
    assert in_name == sorted(in_name, reverse=True)
    likes = [record["likeCount"] for record, there in zip(found, in_name, strict=True) if there]
    assert likes == sorted(likes, reverse=True)


def test_a_phrase_an_exclusion_and_a_beginning(catalogue: Catalogue, records: Records):
    phrase = uids(catalogue, '"office chair"')
    assert set(phrase) >= those(records, lambda r: r["name"].startswith("Office Chair"))
    assert len(phrase) < len(uids(catalogue, "office chair"))
    assert set(uids(catalogue, "chair -office")) == set(uids(catalogue, "chair")) - set(
        uids(catalogue, "office")
    )
    everything = set(uids(catalogue))
    assert set(uids(catalogue, "-chair")) == everything - set(uids(catalogue, "chair"))
    assert set(uids(catalogue, "dra*")) > set(uids(catalogue, "dragon"))


def test_the_author_is_asked_for_apart(catalogue: Catalogue, records: Records):
    name = records[7]["user"]["username"]
    expected = those(records, lambda r: r["user"]["username"] == name)
    assert set(uids(catalogue, author=name)) == expected
    assert set(uids(catalogue, author=name.title())) == expected
    assert uids(catalogue, name) == []


FILTERS = {
    "license": (
        {"licenses": parse_filter("by-nc,cc0")}, lambda r: r["license"] in ("by-nc", "cc0"),
    ),
    "commercial": (
        {"licenses": parse_filter("commercial")}, lambda r: r["license"] in ("by", "by-sa", "cc0"),
    ),
    "few faces": ({"max_faces": 1000}, lambda r: r["faceCount"] <= 1000),
    "many faces": ({"min_faces": 500_000}, lambda r: r["faceCount"] >= 500_000),
    "between": (
        {"min_faces": 100, "max_faces": 200}, lambda r: 100 <= r["faceCount"] <= 200,
    ),
    "animated": ({"animated": True}, lambda r: r["animationCount"] > 0),
    "not animated": ({"animated": False}, lambda r: r["animationCount"] == 0),
    "textured": (
        {"textured": True}, lambda r: r["archives"]["glb"]["textureCount"] > 0,
    ),
    "small": ({"max_bytes": 6000}, lambda r: r["archives"]["glb"]["size"] <= 6000),
    "restricted only": ({"age_restricted": True}, lambda r: r["isAgeRestricted"]),
    "not restricted": ({"age_restricted": False}, lambda r: not r["isAgeRestricted"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_keeps_what_fits(catalogue: Catalogue, records: Records, name: str):
    words, condition = FILTERS[name]
    expected = those(records, condition)
    assert 0 < len(expected) < COUNT
    assert set(uids(catalogue, **words)) == expected
    # And together with words.
    assert set(uids(catalogue, "chair", **words)) == expected & set(uids(catalogue, "chair"))


def test_adults_have_to_ask(catalogue: Catalogue, records: Records):
    restricted = those(records, lambda r: r["isAgeRestricted"])
    assert restricted
    assert not restricted & {e.uid for e in catalogue.search(Query(limit=COUNT)).entries}


def test_lvis_categories_by_any_spelling(catalogue: Catalogue, records: Records):
    lvis = lvis_of(records)
    counts = catalogue.lvis_categories()
    assert counts == {name: len(members) for name, members in lvis.items()}
    assert list(counts) == sorted(counts, key=str.lower)
    assert set(uids(catalogue, lvis=("chair",))) == set(lvis["chair"])
    assert set(uids(catalogue, lvis=("chair", "lamp"))) == set(lvis["chair"] + lvis["lamp"])
    assert uids(catalogue, lvis=("christmas tree",)) == lvis["Christmas_tree"]
    assert uids(catalogue, lvis=("Bow (weapon)",)) == []


def test_a_category_that_does_not_exist_suggests_others(catalogue: Catalogue):
    with pytest.raises(InvalidJob, match="There is no LVIS category 'chairr'") as error:
        uids(catalogue, lvis=("chairr",))
    assert "chair" in error.value.hint
    with pytest.raises(InvalidJob):
        uids(catalogue, lvis=("",))


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("likes", lambda r: -r["likeCount"]),
        ("views", lambda r: -r["viewCount"]),
        ("faces", lambda r: r["faceCount"]),
    ],
)
def test_the_order_is_as_asked(catalogue: Catalogue, records: Records, sort: str, key: Any):
    by_uid = {record["uid"]: record for record in records}
    found = [key(by_uid[uid]) for uid in uids(catalogue, "lamp", sort=sort, limit=100)]
    expected = sorted(key(by_uid[uid]) for uid in uids(catalogue, "lamp"))
    assert found == expected[:100]


def test_the_newest_come_first(catalogue: Catalogue):
    found = catalogue.search(Query("lamp", sort="newest", limit=100)).entries
    dates = [entry.published for entry in found]
    assert dates == sorted(dates, reverse=True)


def test_the_count_is_of_all_matches(catalogue: Catalogue):
    for query in (Query("chair", limit=3), Query("chair", max_faces=1000, limit=3), Query(limit=0)):
        found = catalogue.search(query, count=True)
        assert len(found.entries) == query.limit
        words = {"max_faces": query.max_faces, "age_restricted": False}
        assert found.total == len(uids(catalogue, query.text, **words))
    assert catalogue.search(Query("chair")).total is None


# --- Samples ---------------------------------------------------------------------------------


def test_a_sample_depends_on_its_seed_alone(catalogue: Catalogue):
    first = uids(catalogue, "chair", sample=40, seed=7)
    assert first == uids(catalogue, "chair", sample=40, seed=7)
    assert set(first) != set(uids(catalogue, "chair", sample=40, seed=8))
    assert set(first) <= set(uids(catalogue, "chair"))
    assert uids(catalogue, "chair", sample=100, seed=7)[:40] == first


def test_a_sample_is_no_first_page_in_disguise(catalogue: Catalogue, records: Records):
    """Every object is as likely as any other: likes of samples average to those of all."""
    likes = {record["uid"]: min(record["likeCount"], 20) for record in records}
    mean = sum(likes.values()) / COUNT
    drawn = [
        sum(likes[uid] for uid in uids(catalogue, sample=200, seed=seed)) / 200
        for seed in range(30)
    ]
    spread = (sum((v - mean) ** 2 for v in likes.values()) / COUNT / 200) ** 0.5
    assert abs(sum(drawn) / 30 - mean) < 4 * spread / 30**0.5
    assert 0.5 * spread < (sum((d - mean) ** 2 for d in drawn) / 30) ** 0.5 < 2 * spread


def test_a_sample_of_more_than_there_are_is_all_of_them(catalogue: Catalogue):
    assert set(uids(catalogue, '"office chair"', sample=COUNT)) == set(
        uids(catalogue, '"office chair"')
    )


# --- Hostile queries -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ['"', '""""', "chair OR", "NEAR(chair lamp, 2)", "name:chair", "chair AND NOT lamp", "^chair",
     "chair + lamp", "{name} : chair", "chair*", "cha*r", "*chair", "-", "chair -",
     "'; DROP TABLE x", "chair\x00lamp", "chair\x1b[31m", "стул 椅子 café", "a" * 5000,
     "chair " * 500, "-chair -lamp", "(((", "%_", "\ud800chair", "chair\u202e",
     '-"office chair"', "facets:o1", '"facets" : o1'],
)  # fmt: skip
def test_nothing_that_a_person_types_is_syntax(catalogue: Catalogue, text: str):
    try:
        found = uids(catalogue, text, limit=20)
    except InvalidJob as error:
        assert not any(char.isalnum() for char in text)
        assert "no word" in str(error)
    else:
        assert len(found) <= 20
    with_author = Query("chair", author=text if any(map(str.isalnum, text)) else "x")
    catalogue.search(with_author)


def test_random_characters_never_break_a_search(catalogue: Catalogue):
    draw = random.Random(5)
    alphabet = "ab \"'*-+^:(){}[]\\,.;%_#@!?<>=&|~/ÄÖé椅\x00\x1b"
    for _ in range(500):
        text = "".join(draw.choice(alphabet) for _ in range(draw.randint(1, 30)))
        try:
            uids(catalogue, text, limit=3)
        except InvalidJob:
            assert not any(char.isalnum() for char in text) or "*" in text or text.strip()


def test_words_of_every_script_are_found(tmp_path: Path):
    names = ["OfficeChair_v2", "办公椅子", "Café Stuhl", "Красный стул", "オフィスチェア", "Boxes"]
    searches = ["chair", "officechair", "椅子", "办公", "cafe", "STUHL", "стул", "チェア", "box"]
    expected = [0, 0, 1, 1, 2, 2, 3, 4, 5]
    plain: dict[str, Any] = {"tags": [], "description": "", "categories": []}
    with few(tmp_path, *({"name": name, **plain} for name in names)) as found:
        for text, number in zip(searches, expected, strict=True):
            assert uids(found, text) == [name_of(number)], text
        # Letters of one word that stand apart are not that word.
        assert uids(found, "公子") == []


# --- Hostile records -------------------------------------------------------------------------

EVIL = "\x1b[31mEvil\x1b]0;title\x07 <img src=x onerror=alert(1)>\u202e chair\r\nlamp"


def test_texts_of_strangers_are_one_plain_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    user = {"username": "a\nb", "displayName": EVIL, "profileUrl": "javascript:alert(1)"}
    few(tmp_path, {"name": EVIL, "description": EVIL, "user": user,
                   "tags": [{"name": EVIL}, {"name": 7}, "x", None], "isAgeRestricted": False,
                   "license": EVIL, "publishedAt": EVIL}).close()  # fmt: skip
    with Catalogue.ready(tmp_path, online=False) as found:
        entry = found.get(name_of(0))
    assert entry is not None
    assert entry.name.startswith("Evil <img src=x")
    assert entry.author_url == ""
    for arguments in (["search", "evil"], ["info", name_of(0)]):
        assert cli.main([*arguments, f"--download-dir={tmp_path}", "--offline"]) == 0
    said = capsys.readouterr()
    assert "Evil" in said.out
    assert [c for c in said.out + said.err if not (c.isprintable() or c == "\n")] == []
    assert "onerror" not in said.out.split("description")[1].split("attribution")[0]


@pytest.mark.parametrize(
    "change",
    [
        {"name": None}, {"name": {"a": 1}}, {"tags": None}, {"tags": "chair"}, {"categories": 5},
        {"user": None}, {"user": []}, {"archives": None}, {"archives": {"glb": 3}},
        {"faceCount": None}, {"faceCount": -1}, {"faceCount": "many"}, {"faceCount": 1e300},
        {"faceCount": float("nan")}, {"faceCount": True}, {"license": None}, {"license": ""},
        {"license": ["by"]}, {"thumbnails": None}, {"thumbnails": {"images": [None, 3, {}]}},
        {"thumbnails": {"images": "x"}}, {"likeCount": 10**30}, {"likeCount": None},
        {"publishedAt": 5}, {"isAgeRestricted": "maybe"}, {"description": ["x"]},
        {"animationCount": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_of_any_form_is_taken_for_what_it_says(tmp_path: Path, change: dict[str, Any]):
    with few(tmp_path, change, {}) as found:
        assert set(uids(found)) == {name_of(0), name_of(1)}
        entry = found.get(name_of(0))
        assert entry is not None
        json.dumps(entry.to_dict())
        assert entry.attribution
        assert entry.faces is None or 0 <= entry.faces < 1 << 53


def test_unknown_counts_fit_no_limit(tmp_path: Path):
    with few(tmp_path, {"faceCount": None, "animationCount": None}, {"faceCount": 5}) as found:
        assert uids(found, max_faces=10**9) == [name_of(1)]
        assert uids(found, min_faces=0) == [name_of(1)]
        assert name_of(0) not in uids(found, animated=False) + uids(found, animated=True)
        assert uids(found, sort="faces") == [name_of(1), name_of(0)]


def test_unknown_and_missing_licenses_are_unknown(tmp_path: Path):
    licenses = [None, "", "st", "All rights reserved", "by", {"slug": "by-nc"}, "CC-BY-4.0"]
    with few(tmp_path, *({"license": license} for license in licenses)) as found:
        assert set(uids(found, licenses=parse_filter("unknown"))) == {name_of(n) for n in range(4)}
        assert set(uids(found, licenses=parse_filter("by"))) == {name_of(4), name_of(6)}
        assert uids(found, licenses=parse_filter("by-nc")) == [name_of(5)]
        assert uids(found, licenses=parse_filter("cc0")) == []
        record = found.provenance(name_of(0))
        assert record["license"] is None
        assert found.provenance(name_of(2))["license"] == "st"


def test_an_object_in_two_files_counts_once(tmp_path: Path):
    record = made_up.annotation(0)
    made_up.write(tmp_path, [record], {})
    twin = tmp_path / "hf-objaverse-v1" / SHARDS[1]
    twin.write_bytes(made_up.packed({record["uid"]: record, "../../etc": record, "x": {}}))
    with Catalogue.ready(tmp_path, online=False) as found:
        assert found.objects == 1


def test_provenance_is_what_metadata_have(
    catalogue: Catalogue, records: Records, folder: Path
):
    record = records[3]
    known = catalogue.provenance(record["uid"])
    assert known["license"] == record["license"]
    assert known["file_identifier"] == f"https://sketchfab.com/3d-models/{record['uid']}"
    assert known["metadata"]["author"] == record["user"]["displayName"]
    assert known["metadata"]["source_url"] == known["file_identifier"]
    assert known["metadata"]["license_url"].startswith("https://creativecommons.org/")
    assert catalogue.provenance("f" * 32) == {}
    assert catalogue.provenance("'; --") == {}
    for source in (record["uid"].upper(), f"https://sketchfab.com/3d-models/x-{record['uid']}"):
        assert catalogue.known(source) == known
    assert catalogue.known("models/chair.glb") == {}
    assert known_of_file(f"{record['uid']}.glb", folder) == known
    assert known_of_file("chair.glb", folder) == known_of_file(f"{'f' * 32}.glb", folder) == {}
    assert known_of_file(f"{record['uid']}.glb", folder / "nowhere") == {}


def test_an_entry_is_the_same_from_the_index_and_from_its_record(
    catalogue: Catalogue, records: Records
):
    lvis = lvis_of(records)
    for number, record in enumerate(records[:50]):
        groups = tuple(name for name, members in lvis.items() if record["uid"] in members)
        shard = SHARDS[number % len(SHARDS)]
        stored = catalogue.get(record["uid"])
        assert stored is not None
        assert set(stored.lvis) == set(groups)
        assert stored == CatalogueEntry.from_record(record["uid"], record, shard, stored.lvis)
        assert stored.object_path == f"glbs/{Path(shard).name[:7]}/{record['uid']}.glb"


# --- Damaged files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b'{"a": {}}', mtime=0)[:-5], *(
        gzip.compress(text, mtime=0) for text in (
            b"[]", b"{", b'{"a"', b'{"a": 1', b'{"a": 1 "b"}', b"{1: 2}", b'{"a": NaM}',
            b"\xff\xfe", b"<html>", b'{"a":' + b"[" * 100_000,
        )
    )],
    ids=str,
)  # fmt: skip
def test_a_damaged_file_is_noticed(tmp_path: Path, content: bytes):
    files = AnnotationFiles(tmp_path, online=False)
    path = files.path(SHARDS[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(Damaged):
        list(files.records(SHARDS[0]))


def test_a_file_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(annotations, "MAX_UNPACKED", 1000)
    files = AnnotationFiles(tmp_path, online=False)
    files.path(SHARDS[0]).parent.mkdir(parents=True)
    files.path(SHARDS[0]).write_bytes(gzip.compress(b"{" + b" " * 10_000_000 + b"}"))
    with pytest.raises(Damaged, match="more than 1000"):
        list(files.records(SHARDS[0]))


def test_offline_a_damaged_file_is_left_out_and_said(tmp_path: Path):
    made_up.write(tmp_path, made_up.many(320), {})
    base = tmp_path / "hf-objaverse-v1"
    whole = (base / SHARDS[3]).read_bytes()
    # Broken after its first record, which must not be in the index twice or at all.
    text = gzip.decompress(whole)
    (base / SHARDS[3]).write_bytes(gzip.compress(text[: len(text) * 3 // 4]))
    (base / SHARDS[4]).unlink()
    with Catalogue.ready(tmp_path, online=False) as found:
        assert found.objects == 320 - 4
        assert set(found.problems) == {SHARDS[3], SHARDS[4]}
        assert "not on this machine" in found.problems[SHARDS[4]]
        since = index_path(tmp_path).stat().st_mtime_ns
    Catalogue.ready(tmp_path, online=False).close()
    assert index_path(tmp_path).stat().st_mtime_ns == since
    (base / SHARDS[3]).write_bytes(whole)
    with Catalogue.ready(tmp_path, online=False) as found:
        assert found.objects == 320 - 2


def test_nothing_here_and_no_network_says_so(tmp_path: Path):
    with pytest.raises(OnlineAccessDenied):
        Catalogue.ready(tmp_path, online=False)
    assert Catalogue.existing(tmp_path) is None
    assert list(index_path(tmp_path).parent.iterdir()) == []


# --- When the index is made ------------------------------------------------------------------


def test_the_index_is_made_once(tmp_path: Path):
    told: list[tuple[str, int, int]] = []
    few(tmp_path, {}, {}, on_progress=lambda *step: told.append(step)).close()
    assert told[0] == ("annotations", 0, 161)
    assert told[-1] == ("index", 2, 2)
    told.clear()
    Catalogue.ready(tmp_path, online=False, on_progress=lambda *step: told.append(step)).close()
    assert told == []


def test_annotation_files_that_change_make_it_anew(tmp_path: Path):
    few(tmp_path, {}, {}).close()
    base = tmp_path / "hf-objaverse-v1"
    other = made_up.annotation(9)
    (base / SHARDS[0]).write_bytes(made_up.packed({other["uid"]: other}))
    with Catalogue.ready(tmp_path, online=False) as found:
        assert set(uids(found)) == {name_of(9), name_of(1)}


def test_files_that_were_touched_or_removed_change_nothing(tmp_path: Path):
    few(tmp_path, {}, {}).close()
    since = index_path(tmp_path).stat().st_mtime_ns
    base = tmp_path / "hf-objaverse-v1"
    (base / SHARDS[0]).write_bytes((base / SHARDS[0]).read_bytes())
    (base / SHARDS[1]).unlink()
    with Catalogue.ready(tmp_path, online=False) as found:
        assert found.objects == 2
    assert index_path(tmp_path).stat().st_mtime_ns == since


def spoil_version(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as base:
        base.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_version,
        lambda path: path.write_bytes(b"no database"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:3000]),
    ],
)
def test_an_index_of_another_kind_is_made_anew(tmp_path: Path, spoil: Any):
    few(tmp_path, {}, {}).close()
    spoil(index_path(tmp_path))
    assert Catalogue.existing(tmp_path) is None
    with Catalogue.ready(tmp_path, online=False) as found:
        assert found.objects == 2


def test_what_stops_the_making_leaves_the_old_index_and_nothing_else(tmp_path: Path):
    few(tmp_path, {}, {}).close()
    other = made_up.annotation(9)
    base = tmp_path / "hf-objaverse-v1"
    (base / SHARDS[0]).write_bytes(made_up.packed({other["uid"]: other}))
    cancel = threading.Event()

    def stop(stage: str, *_: int) -> None:
        if stage == "index":
            cancel.set()

    for _ in range(2):
        with pytest.raises(Interrupted):
            Catalogue.ready(tmp_path, online=False, on_progress=stop, cancel=cancel)
    assert [path.name for path in index_path(tmp_path).parent.iterdir()] == ["catalogue.sqlite"]
    with Catalogue.existing(tmp_path) or pytest.fail("it is gone") as found:
        assert set(uids(found)) == {name_of(0), name_of(1)}


def test_searches_go_on_while_the_index_is_replaced(tmp_path: Path):
    with few(tmp_path, {}, {}) as old:
        index_path(tmp_path).unlink()
        Catalogue.ready(tmp_path, online=False).close()
        assert old.objects == len(uids(old)) == 2


def test_threads_share_a_catalogue(catalogue: Catalogue):
    expected = uids(catalogue, "chair", limit=50)
    found: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: found.append(uids(catalogue, "chair", limit=50)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


def test_importing_the_catalogue_costs_no_database():
    code = (
        "import sys, objaverse_render_addon.cli\n"
        "print([name for name in ('sqlite3', 'requests', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- From a server ---------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


def serve(server: Server, records: Records, lvis: dict[str, list[str]]) -> None:
    for name, content in made_up.shards(records).items():
        server.files[name] = made_up.packed(content)
        for uid in content:
            server.list(uid, f"glbs/{Path(name).name[:7]}/{uid}.glb")
    server.files[LVIS] = made_up.packed(lvis)


def test_the_first_search_fetches_what_is_missing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    records = list(made_up.many(200))
    serve(server, records, {"chair": [records[0]["uid"]]})
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    assert cli.main(["search", "--lvis", "chair", f"--download-dir={tmp_path}"]) == 0
    said = capsys.readouterr()
    assert records[0]["uid"] in said.out
    assert "Making the index" in said.err
    assert len(server.asked) == 161
    # Where the objaverse package looks for them.
    assert (tmp_path / "hf-objaverse-v1" / "metadata" / "000-159.json.gz").is_file()
    assert cli.main(["search", "--lvis", "chair", f"--download-dir={tmp_path}"]) == 0
    assert "Making the index" not in capsys.readouterr().err
    assert len(server.asked) == 161


def test_what_others_left_damaged_is_fetched_again(server: Server, tmp_path: Path):
    records = list(made_up.many(200))
    serve(server, records, {})
    made_up.write(tmp_path, records, {})
    path = tmp_path / "hf-objaverse-v1" / SHARDS[5]
    path.write_bytes(path.read_bytes()[:200])
    with Catalogue.ready(tmp_path, server.endpoint) as found:
        assert found.objects == 200
    assert [name for name, _ in server.asked] == [SHARDS[5]]
    assert path.read_bytes() == server.files[SHARDS[5]]


def test_a_mirror_with_a_damaged_file_is_named_and_keeps_nothing(server: Server, tmp_path: Path):
    serve(server, list(made_up.many(200)), {})
    server.files[SHARDS[5]] = server.files[SHARDS[5]][:200]
    with pytest.raises(DownloadFailed, match=r"000-005\.json\.gz"):
        Catalogue.ready(tmp_path, server.endpoint)
    base = tmp_path / "hf-objaverse-v1"
    assert not (base / SHARDS[5]).exists()
    assert (base / SHARDS[4]).is_file()
    assert Catalogue.existing(tmp_path) is None


def test_a_file_that_cannot_be_had_is_an_error_and_not_a_smaller_index(
    server: Server, tmp_path: Path
):
    serve(server, list(made_up.many(200)), {})
    server.orders[SHARDS[5]] = [status(404)]
    with pytest.raises(DownloadFailed):
        Catalogue.ready(tmp_path, server.endpoint)
    with Catalogue.ready(tmp_path, server.endpoint) as found:
        assert found.objects == 200


def test_a_download_that_breaks_off_goes_on(server: Server, tmp_path: Path):
    serve(server, list(made_up.many(200)), {})
    server.orders[SHARDS[5]] = [breaking_off(50), normal]
    with Catalogue.ready(tmp_path, server.endpoint) as found:
        assert found.objects == 200


def test_what_was_made_without_the_network_is_completed_with_it(server: Server, tmp_path: Path):
    records = list(made_up.many(200))
    serve(server, records, {})
    made_up.write(tmp_path, records, {})
    for name in (LVIS, *SHARDS[10:]):
        (tmp_path / "hf-objaverse-v1" / name).unlink()
    with Catalogue.ready(tmp_path, online=False) as found:
        assert len(found.problems) == 151
        assert found.objects < 200
        with pytest.raises(InvalidJob, match="no LVIS"):
            uids(found, lvis=("chair",))
    with Catalogue.ready(tmp_path, server.endpoint) as found:
        assert (found.objects, found.problems) == (200, {})


def test_one_object_is_looked_up_without_the_index(server: Server, tmp_path: Path):
    records = list(made_up.many(200))
    serve(server, records, {})
    files = AnnotationFiles(tmp_path, server.endpoint)
    entry = look_up(records[7]["uid"], files)
    assert entry is not None
    assert entry.name == records[7]["name"]
    assert [name for name, _ in server.asked] == [PATHS, SHARDS[7]]
    assert look_up("f" * 32, files) is None
    assert Catalogue.existing(tmp_path) is None


@pytest.mark.parametrize("where", ["../../x", "glbs/../metadata/x.glb", 7, None, "glbs/000-999/{}"])
def test_a_list_that_names_strange_paths_leads_nowhere(
    server: Server, tmp_path: Path, where: object
):
    server.list(name_of(0), where)
    assert look_up(name_of(0), AnnotationFiles(tmp_path, server.endpoint)) is None


# --- Thumbnails ------------------------------------------------------------------------------

JPEG = b"\xff\xd8\xff\xe0" + b"0" * 500


def pictured(server: Server, body: bytes) -> CatalogueEntry:
    server.files["pictures/a.jpeg"] = body
    url = f"{server.endpoint}/datasets/allenai/objaverse/resolve/main/pictures/a.jpeg"
    images = [{"url": "http://127.0.0.1:9/big", "width": 1920}, {"url": url, "width": 256},
              {"url": "http://127.0.0.1:9/tiny", "width": 64}]  # fmt: skip
    record = made_up.annotation(0, thumbnails={"images": images})
    return CatalogueEntry.from_record(record["uid"], record, SHARDS[0])


def test_the_picture_that_is_just_wide_enough_is_taken():
    record = made_up.annotation(0)
    entry = CatalogueEntry.from_record(record["uid"], record, SHARDS[0])
    by_width = {image["width"]: image["url"] for image in record["thumbnails"]["images"]}
    assert entry.thumbnail == by_width[256]


def test_a_thumbnail_is_fetched_once(server: Server, tmp_path: Path):
    entry = pictured(server, JPEG)
    thumbnails = Thumbnails(tmp_path)
    path = thumbnails.fetch(entry)
    assert path.read_bytes() == JPEG
    assert path.name == f"{entry.uid}.jpg"
    assert thumbnails.fetch(entry) == path == thumbnails.cached(entry.uid)
    assert len(server.asked) == 1
    assert Thumbnails(tmp_path, online=False).fetch(entry) == path


def test_what_is_no_picture_does_not_stay(server: Server, tmp_path: Path):
    entry = pictured(server, b"<html>no")
    with pytest.raises(DownloadFailed, match="no JPEG or PNG"):
        Thumbnails(tmp_path).fetch(entry)
    assert [p for p in Thumbnails(tmp_path).folder.iterdir() if p.suffix != ".lock"] == []


def test_without_network_or_picture_there_is_none(server: Server, tmp_path: Path):
    entry = pictured(server, JPEG)
    with pytest.raises(OnlineAccessDenied):
        Thumbnails(tmp_path, online=False).fetch(entry)
    record = made_up.annotation(0, thumbnails={"images": []})
    with pytest.raises(SourceNotFound):
        Thumbnails(tmp_path).fetch(CatalogueEntry.from_record(record["uid"], record, SHARDS[0]))


# --- The commands ----------------------------------------------------------------------------


def command(folder: Path, *arguments: str) -> int:
    return cli.main([*arguments, f"--download-dir={folder}", "--offline"])


def test_a_list_of_results_is_one_that_render_takes(
    catalogue: Catalogue, folder: Path, tmp_path: Path
):
    expected = [e.uid for e in catalogue.search(Query("chair", max_faces=100_000, limit=7)).entries]
    for extension in (".txt", ".csv", ".json", ".jsonl"):
        path = tmp_path / f"uids{extension}"
        found = command(folder, "search", "chair", "--max-faces", "100,000", "--limit=7",
                        "-o", str(path))  # fmt: skip
        assert found == 0
        entries = [source for source, *_ in read_list(path)]
        assert [source.rpartition("/")[2] for source in entries] == expected, extension
    head = (tmp_path / "uids.txt").read_text(encoding="utf-8").splitlines()[:2]
    assert head[0] == "# objaverse-render search chair --max-faces 100000 --limit 7"
    assert head[1].startswith("# 7 of ")


def test_the_list_says_how_its_sample_was_drawn(
    catalogue: Catalogue, folder: Path, tmp_path: Path
):
    path = tmp_path / "uids.txt"
    flags = ["two words", "--sample=9", "--seed=3", "--lvis=chair,lamp", "--animated=no",
             "--license=by"]  # fmt: skip
    assert command(folder, "search", *flags[1:], "-o", str(path)) == 0
    text = path.read_text(encoding="utf-8")
    for part in ("--sample 9", "--seed 3", "--lvis chair,lamp", "--animated no", "--license by"):
        assert part in text.splitlines()[0]
    expected = catalogue.search(
        Query(sample=9, seed=3, lvis=("chair", "lamp"), animated=False, licenses=parse_filter("by"))
    )
    assert [source for source, *_ in read_list(path)] == [e.uid for e in expected.entries]


@pytest.mark.usefixtures("catalogue")
def test_a_search_is_told_as_a_table_and_as_json(folder: Path, capsys: pytest.CaptureFixture):
    assert command(folder, "search", "office", "chair", "--limit=5") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert len(lines) == 6
    assert len({line.index(word) for line, word in [(lines[0], "likes")]}) == 1
    assert "5 of " in said.err
    assert command(folder, "search", "office", "chair", "--limit=5", "--json") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["uid"] for item in found] == [line[:32] for line in lines[1:]]
    assert found[0]["license"] and found[0]["attribution"]


@pytest.mark.usefixtures("catalogue")
def test_nothing_found_is_no_error(folder: Path, capsys: pytest.CaptureFixture):
    assert command(folder, "search", "xyzzyplugh") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "Nothing found" in said.err


def test_categories_are_listed(folder: Path, catalogue: Catalogue, capsys: Any):
    assert command(folder, "search", "--list-lvis") == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[1]: int(line.split()[0]) for line in lines} == catalogue.lvis_categories()
    assert command(folder, "search", "--list-lvis", "cha") == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["chair"]


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    "flags",
    [["--license=free-beer"], ["--lvis=no such thing"], ["!!!"], ["-o", "uids.docx"]],
)
def test_what_cannot_be_searched_exits_2(folder: Path, flags: list[str]):
    assert command(folder, "search", *flags) == 2


@pytest.mark.parametrize("flags", [["--animated=maybe"], ["--limit=-1"], ["--max-faces=x"]])
def test_flags_of_no_meaning_are_refused(folder: Path, flags: list[str]):
    with pytest.raises(SystemExit) as stop:
        command(folder, "search", *flags)
    assert stop.value.code == 2


@pytest.mark.usefixtures("catalogue")
def test_info_tells_everything_about_an_object(
    folder: Path, records: Records, capsys: pytest.CaptureFixture
):
    record = next(r for r in records if r["description"] and r["license"] == "by-nc")
    address = f"https://sketchfab.com/3d-models/some-name-{record['uid']}"
    assert command(folder, "info", address) == 0
    said = capsys.readouterr().out
    for part in (
        record["uid"], record["name"], record["user"]["displayName"], record["description"][:40],
        "Creative Commons Attribution-NonCommercial 4.0", "licenses/by-nc/4.0/",
        "no commercial use", f"{record['faceCount']:,} faces", "licensed under",
        record["thumbnails"]["images"][3]["url"],
    ):  # fmt: skip
        assert part in said
    assert command(folder, "info", record["uid"], "--json") == 0
    assert json.loads(capsys.readouterr().out)["license"] == "by-nc"


def test_info_saves_the_thumbnail(server: Server, tmp_path: Path):
    entry = pictured(server, JPEG)
    url = entry.thumbnail
    few(tmp_path, {"thumbnails": {"images": [{"url": url, "width": 256}]}}).close()
    target = tmp_path / "picture"
    assert cli.main(["info", name_of(0), f"--download-dir={tmp_path}", "-o", str(target)]) == 0
    assert (tmp_path / "picture.jpg").read_bytes() == JPEG


@pytest.mark.usefixtures("catalogue")
def test_info_of_what_is_not_there(folder: Path, capsys: pytest.CaptureFixture):
    assert command(folder, "info", "f" * 32) == SourceNotFound.exit_code
    assert "no object" in capsys.readouterr().err
    assert command(folder, "info", "chair") == 2


def test_the_index_is_bounded_in_what_it_keeps_of_a_record(tmp_path: Path):
    long = "x" * 10_000_000
    tags = [{"name": f"tag{n}"} for n in range(10_000)]
    user = {"username": long, "displayName": long, "profileUrl": long}
    record = {"name": long, "description": long, "tags": tags, "license": long, "user": user}
    few(tmp_path, record).close()
    assert index_path(tmp_path).stat().st_size < 200_000


def test_a_search_for_words_of_the_index_itself_finds_nothing(catalogue: Catalogue):
    for text in ("o1", "c1", "a0", "facets"):
        assert uids(catalogue, text) == []
