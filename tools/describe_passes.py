"""Write what the registry of passes says into the metadata's schema and docs/formats.md.

To be run after an entry of objaverse_render_addon/passspec.py was added or changed; with --check it
only says whether that was forgotten.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from objaverse_render_addon.dataset.metadata import CONVENTIONS  # noqa: E402
from objaverse_render_addon.passspec import PASS_NAMES, PASSES, Pass  # noqa: E402

SCHEMA = ROOT / "objaverse_render_addon/dataset/metadata.schema.json"
DOCS = ROOT / "docs/formats.md"
STEM = "^[0-9]{3,}(_-?[0-9]{3,})?"


@dataclass(frozen=True)
class Settings:
    """Other than the default ones, and the flag that asks for them."""

    flag: str
    normal_space: str = "camera"
    opaque: bool = False
    radial: bool = False


OTHERS = (
    Settings("--background", opaque=True),
    Settings("--normal-space world", normal_space="world"),
)


def schema(text: str) -> str:
    """The schema with everything that follows from the registry."""
    found = json.loads(text)
    definitions, properties = found["$defs"], found["properties"]
    definitions["pass"]["enum"] = list(PASS_NAMES)
    properties["conventions"]["required"] = sorted(CONVENTIONS)
    of_pass = properties["passes"]["additionalProperties"]
    of_pass["required"] = list(next(iter(PASSES.values())).record())
    of_pass["properties"]["dtype"]["enum"] = sorted({spec.dtype for spec in PASSES.values()})
    counts = set[int]().union(*(spec.channel_counts() for spec in PASSES.values()))
    of_pass["properties"]["channels"]["enum"] = sorted(counts)
    view = definitions["view"]["properties"]
    rest = {
        key: value
        for key, value in view.items()
        # Nothing else of a view is the name of a file.
        if not str(value.get("pattern", "")).startswith("^[0-9]{3,}")
    }
    files: dict[str, Any] = {
        spec.record_key: {
            "type": "string",
            "pattern": STEM
            + _ending(spec),
        }
        for spec in PASSES.values()
    }
    first = [key for key in ("index", "time", "split", "eye") if key in rest]
    definitions["view"]["properties"] = {key: rest.pop(key) for key in first} | files | rest
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _ending(spec: Pass) -> str:
    if spec.is_png:
        return r"\.png$"
    return rf"_{spec.name}\.exr$" if spec.is_picture else rf"(_{spec.name}\.np[yz]|\.exr)$"


def docs(text: str) -> str:
    """The page with its tables of passes and of EXR channels."""
    meaning = [
        [f"`{spec.name}`", spec.dtype, _varying(spec, lambda spec: spec.shape),
         _varying(spec, lambda spec: spec.space), spec.unit, _nothing(spec), spec.about]
        for spec in PASSES.values()
    ]  # fmt: skip
    channels = [
        [f"`{spec.name}`", ", ".join(f"`{channel}`" for channel in spec.exr_channels)]
        for spec in PASSES.values()
        if spec.letters
    ]
    text = _with_rows(text, "| pass | dtype |", meaning)
    return _with_rows(text, "| pass | channels |", channels)


def _with_rows(text: str, head: str, rows: list[list[str]]) -> str:
    start = text.index("\n", text.index("\n", text.index(head)) + 1) + 1
    end = text.index("\n\n", start) + 1
    return text[:start] + "".join(f"| {' | '.join(row)} |\n" for row in rows) + text[end:]


def _varying(spec: Pass, say: Callable[[Pass], str]) -> str:
    usual = say(spec)
    others = [(say(spec.under(other)), other.flag) for other in OTHERS]
    return ", or ".join(
        [usual, *(f"{said} with `{flag}`" for said, flag in others if said != usual)]
    )


def _nothing(spec: Pass) -> str:
    if spec.is_png:
        return "alpha 0, or the background"
    return ", ".join([f"{spec.invalid:g}"] * spec.channels)


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for path, made in ((SCHEMA, schema), (DOCS, docs)):
        text = path.read_text(encoding="utf-8")
        if made(text) != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(made(text), encoding="utf-8")
    if check and stale:
        print(f"{', '.join(stale)}: not what the passes are. Run tools/describe_passes.py.")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
