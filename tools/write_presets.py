"""Write the panel's protocols from the recipes of objaverse_render_addon/job/recipes.py.

To be run after a recipe was added or changed; with --check it only says whether that was forgotten.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from objaverse_render_addon.job import RECIPES, Recipe, RenderJob, job_fields  # noqa: E402

FOLDER = ROOT / "objaverse_render_addon/ui/presets/objaverse/render"


def preset(recipe: Recipe) -> str:
    """A recipe in the form of Blender's presets: all of it, whatever was set before."""
    job = RenderJob().with_values(recipe.values).resolved().to_dict()
    lines = ["import bpy", "", "settings = bpy.context.scene.objaverse"]
    # The pattern fills in its own ranges.
    for path in sorted(recipe.values, key=lambda path: path != "cameras.pattern"):
        section, _, field = path.partition(".")
        said, value = job_fields()[path].setting, job[section][field]
        if said.form == "color" or path == "cameras.stereo":
            lines.append(f"settings.use_{said.name} = {value is not None}")
        if value is None:
            continue
        if said.form == "size":
            lines += [f"settings.{said.name}_{axis} = {number}"
                      for axis, number in zip("xy", value, strict=True)]  # fmt: skip
        else:
            lines.append(f"settings.{said.name} = {_literal(value, said.form)}")
    return "\n".join([*lines, ""])


def _literal(value: Any, form: str) -> str:
    if form == "names":
        return "{" + ", ".join(f'"{name}"' for name in value) + "}"
    if isinstance(value, list):
        return f"({', '.join(map(repr, value))})"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    made = {f"{recipe.label}.py": preset(recipe) for recipe in RECIPES.values()}
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py")}
    stale = sorted(name for name in {*made, *there} if made.get(name) != there.get(name))
    if check and stale:
        print(f"{', '.join(stale)}: not what the recipes are. Run tools/write_presets.py.")
        return 1
    for name in stale:
        if name in made:
            (FOLDER / name).write_text(made[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
