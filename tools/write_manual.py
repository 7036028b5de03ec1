"""Write the page that "Online Manual" opens in Blender from docs/extension.md.

To be run after that page was changed; with --check it only says whether that was forgotten. Needs
the package Markdown.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import markdown

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "docs/extension.md"
PAGE = ROOT / "objaverse_render_addon/ui/manual.html"

_HEAD = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Objaverse Render in Blender</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { border: 1px solid #8886; padding: .3rem .6rem; text-align: left; vertical-align: top; }
pre, code { background: #8882; border-radius: .2rem; }
pre { padding: .6rem; overflow-x: auto; }
:target { background: #fc06; }
</style>
"""


def page() -> str:
    """The page, complete in itself: the extension has neither the pictures nor the other pages."""
    text = SOURCE.read_text(encoding="utf-8")
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)\n*", "", text)
    text = re.sub(r"\[([^\]]+)\]\((?!#)[^)]*\)", r"\1", text)
    # A part of the panel is a row of the table: it gets an anchor to be opened at.
    text = re.sub(r"^\| ([A-Z][A-Za-z ]+) \|", _row, text, flags=re.MULTILINE)
    body = markdown.markdown(text, extensions=["tables", "fenced_code", "toc"])
    return f"{_HEAD}{body}\n</html>\n"


def _row(found: re.Match[str]) -> str:
    name = found[1]
    return f'| <span id="{name.lower().replace(" ", "-")}-row">{name}</span> |'


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    made = page()
    if parser.parse_args().check:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made:
            return 0
        print(f"{PAGE.name} is not what {SOURCE.name} says. Run tools/write_manual.py.")
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
