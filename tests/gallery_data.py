"""Datasets for the gallery: analytic pictures, and metadata that mean harm."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analytic import LOPSIDED, Shape, write_asset
from jobs import written

from objaverse_render_addon.dataset.gallery import build
from objaverse_render_addon.job import STILL_PASSES, CameraRules, RenderJob

HARM = "<img src=x onerror='window.harmed=1'>"
ENDS = "</script><script>window.harmed=2</script>\u2028\u2029"
ADDRESS = "javascript:window.harmed=3"
HOSTILE_ID = "\"><img src=x onerror=harmed=4>&'`${harmed=5}"


def job_of(views: int = 6, size: tuple[int, int] = (72, 64), **output: Any) -> RenderJob:
    output = {"layout": "folder", "passes": STILL_PASSES, "resolution": size} | output
    cameras = CameraRules(pattern="ring", views=views, elevation=(20.0, 20.0))
    return RenderJob(cameras=cameras, **written(**output))


def add_asset(
    out: Path,
    asset_id: str,
    shape: Shape = LOPSIDED,
    change: Callable[[dict[str, Any]], None] | None = None,
    **job: Any,
) -> Path:
    def both(_: Any, record: dict[str, Any]) -> None:
        if change is not None:
            change(record)

    return write_asset(out, job_of(**job), asset_id, shape, both)


def doubtful(record: dict[str, Any]) -> None:
    record["license"] = "by"
    record["metadata"] = {
        "name": "Doubtful thing",
        "categories": [{"name": "furniture"}],
        "tags": [{"name": "wood"}, {"name": "old"}],
        "viewerUrl": "https://example.org/thing",
    }
    record["checks"]["object_in_frame"] = {"doubt": 2, "ok": 4}
    for view in record["views"][:2]:
        view["checks"]["object_in_frame"] = ["doubt", 1.0]


def warned(record: dict[str, Any]) -> None:
    record["license"] = "cc0"
    record["metadata"] = {"name": "Warned thing", "categories": [{"name": "vehicle"}]}
    record["warnings"] = ["missing-textures: two textures are not there."]


def hostile(record: dict[str, Any]) -> None:
    """Everything that the page shows, as markup, code and addresses."""
    record["license"] = ADDRESS
    record["metadata"] = {
        "name": HARM + ENDS,
        "categories": [{"name": HARM}],
        "tags": [ENDS, ADDRESS, "__proto__", "constructor"],
        "viewerUrl": ADDRESS,
        "user": {"displayName": HARM},
        "__proto__": {"harmed": 6},
        HARM: [ENDS, {"deep": HARM}],
        "constructor": {"prototype": {"harmed": 7}},
    }
    record["file_name"] = record["file_identifier"] = ADDRESS
    record["importer"] = ENDS
    record["warnings"] = [HARM, f"name: {ENDS}", "__proto__: x"]
    record["checks"][HARM] = {"doubt": 1, "ok": 0}
    record["object_names"] = {"7": HARM, HARM: "x", "999999999": "y"}
    for spec in record["passes"].values():
        spec["about"] = spec["unit"] = spec["space"] = HARM
    for view in record["views"]:
        view["checks"][HARM] = ["doubt", HARM]
        view["index"] = HARM
        view["pose"] = {"azimuth_degrees": HARM, "elevation_degrees": 10.0}


def made_up_page(target: Path, source: Path, count: int) -> Path:
    """A page of many assets that all look like the first of another page; returns its file."""
    (original,) = source.glob("assets/*/*/detail.js")
    files = [path for path in original.parent.iterdir() if path.name != "card.json"]
    kinds = ["chair", "lamp", "rocket", "teapot", "bicycle", "tree", "house"]
    licenses = ["by", "cc0", "by-sa", "by-nc"]
    build._prepare(target)
    cards = []
    for number in range(count):
        key = f"{number:020x}"
        folder = target / "assets" / key[:2] / key
        folder.mkdir(parents=True)
        for path in files:
            if path.name != "detail.js":
                os.link(path, folder / path.name)
        kind = kinds[number % len(kinds)]
        failed = number % 97 == 0
        cards.append(
            {
                "k": key, "i": f"asset-{number:05d}", "n": f"{kind} {number}",
                "l": licenses[number % 4], "c": [kind], "t": [f"tag-{number % 31}", "made-up"],
                "w": ["missing-textures"] if number % 13 == 0 else [],
                "d": ["object_in_frame"] if number % 7 == 0 else [],
                "v": 0 if failed else 6, "f": number * 37 % 100_000, "y": "glb",
                "b": number * 1000, "s": number % 60, "r": "no-geometry" if failed else "",
                **({} if failed else {"turn": 6, "p": "webp"}),
            }
        )  # fmt: skip
    detail = original.read_text("ascii")
    for card in cards[:50]:
        name = target / "assets" / card["k"][:2] / card["k"]
        name = name / "detail.js"
        name.write_text(detail.replace(original.parent.name, card["k"]), "ascii")
    build._write_index(target, cards, "Many")
    return target / "index.html"
