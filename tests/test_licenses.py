"""Licences are known by any of their names, and credit is given as they ask."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from objaverse_render_addon import cli
from objaverse_render_addon.assets.licenses import (
    GROUPS,
    LICENSES,
    credit_line,
    license_of,
    parse_filter,
)
from objaverse_render_addon.assets.text import clean, shortened, without_markup
from objaverse_render_addon.dataset.credits import FORMATS, Credit, credit_of, render_credits
from objaverse_render_addon.errors import InvalidJob

UID = "0123456789abcdef" * 2

# --- Text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\x1b[31mred\x1b[0m b", "ared b"),
        ("\x1b]0;new title\x07x", "x"),
        ("\x9b31mq", "q"),
        ("\x1b]8;;http://e.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b[", ""),
        ("one\ntwo\r\nthree\tfour", "one two three four"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
        ("a\udc00b\x00c\x7fd", "abcd"),
        ("\u2028x\u2029", "x"),
        ("Стул 办公椅 café 🚗", "Стул 办公椅 café 🚗"),
        ("<b>bold</b>", "<b>bold</b>"),
        (None, ""),
        (7, ""),
    ],
)
def test_nothing_in_a_text_moves_a_terminal(text: object, expected: str):
    assert clean(text) == expected


def test_a_long_text_is_cut_and_a_very_long_one_costs_no_more():
    assert clean("x" * 300, 10) == "x" * 9 + "…"
    assert len(clean("ab " * 10_000_000, 100)) <= 100


def test_markup_goes_and_comparisons_stay():
    assert clean(without_markup("a<br>b <b class='x'>c</b> 1 < 2 > 0")) == "a b c 1 < 2 > 0"


def test_a_column_is_as_wide_as_asked_in_any_script():
    assert shortened("chair", 8) == "chair   "
    assert shortened("chairman", 5) == "chai…"
    assert shortened("办公椅子", 8) == "办公椅子"
    assert shortened("办公椅子", 7) == "办公椅…"
    assert shortened("办公椅子", 6) == "办公… "
    assert shortened("e\u0301a", 2) == "e\u0301a"


# --- Names of licences -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        *((key, key) for key in LICENSES),
        *((license.name, key) for key, license in LICENSES.items()),
        *((license.url, key) for key, license in LICENSES.items() if "commons" in license.url),
        ("BY-NC", "by-nc"),
        ("CC-BY-4.0", "by"),
        ("cc by-nc-sa 3.0", "by-nc-sa"),
        ("by-sa-nc", "by-nc-sa"),
        ("Creative Commons - Attribution", "by"),
        ("Creative Commons - Attribution - Share Alike", "by-sa"),
        ("Creative Commons - Attribution - Non-Commercial - No Derivatives", "by-nc-nd"),
        ("Creative Commons - Public Domain Dedication", "cc0"),
        ("CC0-1.0", "cc0"),
        ("MIT License", "mit"),
        ("Apache License 2.0", "apache-2.0"),
        ("GNU General Public License v3.0", "gpl-3.0"),
        ("GNU Lesser General Public License v3.0", "lgpl-3.0"),
        ("AGPL-3.0-or-later", "agpl-3.0"),
        ('BSD 3-Clause "New" or "Revised" License', "bsd-3-clause"),
    ],
)
def test_a_license_is_known_by_any_of_its_names(text: str, key: str):
    assert license_of(text).key == key
    assert license_of(text).known


@pytest.mark.parametrize(
    "text",
    [None, "", "  ", 7, {}, "st", "All Rights Reserved", "nc", "by-by", "by-nc-xx",
     "by; drop table", "https://creativecommons.org/licenses/by/3.0/us/", "byte", "0"],
)  # fmt: skip
def test_what_is_not_known_allows_nothing(text: object):
    license = license_of(text)
    assert (license.key, license.known, license.commercial, license.derivatives) == (
        "unknown", False, False, False,
    )  # fmt: skip
    assert license.name == (clean(text) or "not stated")
    assert license.cautions == ["unknown licence"]


def test_an_older_version_keeps_its_address():
    old = license_of("CC-BY-SA-3.0")
    assert old.key == "by-sa"
    assert old.url == "https://creativecommons.org/licenses/by-sa/3.0/"
    assert old.name == "Creative Commons Attribution-ShareAlike 3.0"


@pytest.mark.parametrize(
    ("key", "cautions"),
    [
        ("by", []),
        ("cc0", []),
        ("by-sa", ["share alike"]),
        ("by-nd", ["no derivatives"]),
        ("by-nc-sa", ["no commercial use", "share alike"]),
        ("by-nc-nd", ["no commercial use", "no derivatives"]),
        ("gpl-3.0", ["share alike"]),
    ],
)
def test_terms_that_bind_are_named(key: str, cautions: list[str]):
    assert LICENSES[key].cautions == cautions


# --- Filters ---------------------------------------------------------------------------------


def test_a_filter_takes_names_and_groups():
    wanted = parse_filter(" by, CC0 ,,")
    assert wanted.keys == {"by", "cc0"}
    assert [wanted.allows(t) for t in ("by", "CC-BY-4.0", "cc0", "by-nc", None, "odd")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    assert parse_filter("unknown").allows(None)
    assert parse_filter(["cc-by-sa-4.0"]).keys == {"by-sa"}


def test_groups_promise_what_they_are_called():
    assert all(LICENSES[key].commercial for key in GROUPS["commercial"])
    assert all(LICENSES[key].derivatives for key in GROUPS["free"])
    assert "by-nd" in GROUPS["commercial"] - GROUPS["free"]
    assert "by-nc" not in GROUPS["commercial"]


@pytest.mark.parametrize("text", ["", ",", "by,cc9", "all", "by\x1b[31m!"])
def test_a_filter_of_unknown_names_is_refused(text: str):
    with pytest.raises(InvalidJob) as error:
        parse_filter(text)
    assert "\x1b" not in str(error.value)


# --- Credits ---------------------------------------------------------------------------------


def metadata(asset_id: str = "chair", license: str | None = "by", **known: Any) -> dict[str, Any]:
    return {
        "asset_id": asset_id,
        "file_identifier": f"https://sketchfab.com/3d-models/{UID}",
        "file_name": f"{UID}.glb",
        "license": license,
        "metadata": {
            "name": "Office Chair", "author": "Ann", "author_url": "https://sketchfab.com/ann",
            "source_url": f"https://sketchfab.com/3d-models/{UID}", **known,
        },
        "views": [{}, {}, {}],
    }  # fmt: skip


def write_asset(folder: Path, record: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{record['asset_id']}.zip", "w") as archive:
        archive.writestr(f"{record['asset_id']}/metadata.json", json.dumps(record))


def test_a_credit_has_title_author_source_license_and_change():
    line = credit_of(metadata()).line
    for part in (
        "Office Chair", "Ann", f"https://sketchfab.com/3d-models/{UID}",
        "Creative Commons Attribution 4.0", "https://creativecommons.org/licenses/by/4.0/",
        "rendered as 3 images",
    ):  # fmt: skip
        assert part in line


def test_metadata_of_any_form_give_a_credit():
    for record in ({}, {"metadata": 7, "views": "x", "license": [], "asset_id": None},
                   {"metadata": {"name": {}, "author": 3, "source_url": []}}):  # fmt: skip
        credit = credit_of(record)
        assert credit.title == "Untitled"
        assert not credit.license.known


def test_the_way_to_a_local_file_is_not_published():
    credit = credit_of({"file_identifier": "/home/ann/secret/chair.glb", "file_name": "chair.glb"})
    assert credit.source == "chair.glb"
    assert "secret" not in credit.line


def test_credit_lines_say_what_is_not_known():
    assert credit_line("T", "", "", license_of(None)) == (
        "“T” by an unknown author, licence unknown (not stated)"
    )


HOSTILE = metadata(
    "evil", "by", name="<script>alert(1)</script> | [x](javascript:1) \x1b[31m",
    author="=cmd|' /C'!A", author_url="javascript:alert(1)",
)  # fmt: skip


def test_markdown_credits_hold_no_markup_of_strangers():
    text = render_credits([credit_of(HOSTILE)], ".md")
    assert "<script" not in text
    assert "](javascript" not in text
    assert "\x1b" not in text
    row = next(line for line in text.splitlines() if line.startswith("| evil"))
    assert row.replace("\\|", "").count("|") == 6


def test_a_spreadsheet_runs_nothing_of_the_credits():
    (row,) = csv.DictReader(io.StringIO(render_credits([credit_of(HOSTILE)], ".csv")))
    assert row["author"].startswith("'=")


@pytest.mark.parametrize("extension", FORMATS)
def test_every_format_names_everybody(extension: str):
    found = [credit_of(metadata("b", "by-nc", author="Bob")), credit_of(metadata("a", None))]
    text = render_credits(found, extension)
    assert [name for name in ("Ann", "Bob", UID, "by-nc/4.0") if name not in text] == []
    assert text.index("Ann") < text.index("Bob")


def test_json_credits_are_for_programs():
    (row,) = json.loads(render_credits([credit_of(metadata())], ".json"))
    assert (row["license"], row["license_name"]) == ("by", LICENSES["by"].name)
    assert set(row) >= set(Credit.__slots__) - {"license_text"}


# --- The command -----------------------------------------------------------------------------


def test_attribution_writes_credits_and_warns(tmp_path: Path, capsys: pytest.CaptureFixture):
    data = tmp_path / "data"
    write_asset(data, metadata("chair"))
    write_asset(data, metadata("lamp", "by-nc-nd"))
    write_asset(data, metadata("rock", None))
    target = tmp_path / "credits.md"
    arguments = ["attribution", str(data), "-o", str(target), f"--download-dir={tmp_path}"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr()
    assert "credits of 3 assets" in said.out
    assert "unknown licence: 1 of 3 assets: rock" in said.err
    assert "no commercial use: 1 of 3 assets: lamp" in said.err
    assert "no derivatives: 1 of 3 assets: lamp" in said.err
    assert target.read_text(encoding="utf-8").count("Office Chair") == 3


def test_attribution_prints_text_where_no_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    write_asset(tmp_path / "data", metadata())
    assert cli.main(["attribution", str(tmp_path / "data"), f"--download-dir={tmp_path}"]) == 0
    assert "“Office Chair”" in capsys.readouterr().out


def test_attribution_knows_its_formats(tmp_path: Path, capsys: pytest.CaptureFixture):
    write_asset(tmp_path / "data", metadata())
    assert cli.main(["attribution", str(tmp_path / "data"), "-o", str(tmp_path / "c.docx")]) == 2
    assert ".md" in capsys.readouterr().err


def test_a_broken_asset_is_named_and_the_others_are_credited(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    data = tmp_path / "data"
    write_asset(data, metadata("good"))
    (data / "bad.zip").write_bytes(b"PK no zip")
    assert cli.main(["attribution", str(data), f"--download-dir={tmp_path}"]) != 0
    said = capsys.readouterr()
    assert "Office Chair" in said.out
    assert "bad.zip" in said.err
