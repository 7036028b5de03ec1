"""Write the extension's translations: tools/translations.csv, as Blender wants them.

    python tools/write_translations.py [--check] [--missing]

The table has a label, as the panel has it in English, and what it is in each language. This finds
out in which of Blender's contexts a label is looked up, and fails where the panel has a label no
longer; ``--missing`` lists labels that the table has not.
"""

from __future__ import annotations

import ast
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_name("translations.csv")
FACE = ROOT / "objaverse_render_addon" / "ui"
TARGET = FACE / "dictionary.py"
sys.path.insert(0, str(ROOT))

from objaverse_render_addon.job import job_fields  # noqa: E402

# Blender looks operators' names up in a context of their own.
OPERATOR, ANY = "Operator", "*"
HEAD = '''"""What labels are in other languages; written by tools/write_translations.py."""

from typing import Final

__all__ = ["DICTIONARY"]

DICTIONARY: Final[dict[str, dict[tuple[str, str], str]]] = {
'''


def _text(node: ast.expr) -> Iterator[str]:
    """Texts that an expression can be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.strip():
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _text(node.body)
        yield from _text(node.orelse)


def labels() -> set[tuple[str, str]]:
    """Context and text of every label that panels, menus and operators have."""
    found = {(ANY, field.setting.label) for field in job_fields().values()}
    for path in FACE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                kind = OPERATOR if "_OT_" in node.name else ANY
                for line in node.body:
                    if not isinstance(line, ast.Assign):
                        continue
                    if getattr(line.targets[0], "id", "") == "bl_label":
                        found |= {(kind, text) for text in _text(line.value)}
            elif isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                kind = OPERATOR if called in ("operator", "button") else ANY
                for word in node.keywords:
                    drawn = word.arg in ("text", "heading") and called not in ("progress",)
                    makes = called.endswith("Property") or called[:1] == "_"
                    named = word.arg == "name" and makes
                    if drawn or named:
                        found |= {(kind, text) for text in _text(word.value)}
    return found


def dictionary() -> str:
    """The module's text."""
    known = labels()
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    there = {text for _, text in known}
    gone = [row["label"] for row in rows if row["label"] not in there]
    if gone:
        sys.exit(f"{TABLE}: the panel has no label {', '.join(gone)}")
    if "--missing" in sys.argv:
        print("\n".join(sorted(there - {row["label"] for row in rows})))
    parts = [HEAD]
    for language in rows[0]:
        if language == "label":
            continue
        parts.append(f'    "{language}": {{\n')
        for row in sorted(rows, key=lambda row: row["label"]):
            for kind in (ANY, OPERATOR):
                if (kind, row["label"]) in known and row[language]:
                    parts.append(f'        ("{kind}", "{row["label"]}"): "{row[language]}",\n')
        parts.append("    },\n")
    return "".join([*parts, "}\n"])


def main() -> None:
    """Write it, or compare."""
    text = dictionary()
    if "--check" in sys.argv:
        if not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != text:
            sys.exit(f"{TARGET} is not what the table says: run python tools/write_translations.py")
    else:
        TARGET.write_text(text, encoding="utf-8")
        print(TARGET)


if __name__ == "__main__":
    main()
