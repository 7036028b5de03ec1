"""Recipes: a trainer's cameras, light, passes, size and export in one word."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from objaverse_render_addon.cli import _parser, main
from objaverse_render_addon.cli.flags import flags_of, job_of, joined
from objaverse_render_addon.cli.render import exports_of
from objaverse_render_addon.dataset.export import FORMATS
from objaverse_render_addon.errors import InvalidJob
from objaverse_render_addon.job import RECIPES, RenderJob, job_fields, recipe_named
from objaverse_render_addon.job.recipes import FROM_PATTERN, SHARED

ROOT = Path(__file__).resolve().parent.parent


def told(*flags: str) -> Any:
    return _parser().parse_args(joined(["render", "a.glb", "--out", "data", *flags]))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_job_a_format_and_the_flags_that_it_prints(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.export in FORMATS
    # Numbers of the panel have 32 bits, and mean the same there.
    fields = job_fields()
    assert set(recipe.own) <= {*SHARED, *FROM_PATTERN, "cameras.pattern"} <= set(fields)
    job = job_of(told("--recipe", name))
    assert job == RenderJob().with_values(recipe.values)
    assert job == job_of(told(*shlex.split(flags_of(recipe.own))))
    assert exports_of(told("--recipe", name)) == {recipe.export: ""}


def test_what_is_shared_is_what_a_job_has_that_says_nothing() -> None:
    # So that nobody has to be told of it on the command line.
    fields = job_fields()
    assert {path: fields[path].default for path in SHARED} == SHARED


@pytest.mark.parametrize("flags", [
    ["--recipe", "instantmesh", "--fov", "40"], ["--fov", "40", "--recipe", "instantmesh"],
])  # fmt: skip
def test_flags_override_a_recipe_wherever_they_stand(flags: list[str]) -> None:
    job = job_of(told(*flags))
    assert job.cameras.fov == (40, 40)
    assert job.cameras.radius == (3.2, 4.5)
    assert exports_of(told(*flags, "--export", "colmap=c")) == {"colmap": "c"}
    assert exports_of(told(*flags, "--export", "none")) == {}
    with pytest.raises(InvalidJob, match="beside others"):
        exports_of(told(*flags, "--export", "none", "--export", "colmap"))
    # Its distances belong to its pattern.
    other = job_of(told("--recipe", "instantmesh", "--cameras", "ring"))
    assert other.cameras == job_of(told("--cameras", "ring")).cameras


def test_a_recipe_overrides_a_job_file_in_all_that_it_is_about(tmp_path: Path) -> None:
    values = {
        "cameras.pattern": "orbit", "cameras.views": 7, "cameras.radius": [9, 9],
        "lighting.background": [1, 0, 0], "engine.samples": 3, "pixels.resolution": [40, 30],
        "asset.normalize": "sphere", "seed": 5, "files.layout": "tar", "engine.threads": 2,
    }  # fmt: skip
    path = tmp_path / "job.toml"
    path.write_text(RenderJob().with_values(values).to_toml())
    job = job_of(told("--job", str(path), "--recipe", "zero123"))
    rest = {name: values[name] for name in ("seed", "files.layout", "engine.threads")}
    assert job == RenderJob().with_values(RECIPES["zero123"].values | rest)
    # Poses of a file are gone with the pattern.
    path.write_text('[cameras]\npattern = "file"\nfile = "poses.json"\n')
    assert job_of(told("--job", str(path), "--recipe", "lgm")).cameras.file is None


def test_the_command_lists_them_and_says_what_one_sets(capsys: Any) -> None:
    assert main(["render", "--recipe", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(RECIPES)
    assert all(len(line) <= 100 for line in lines)
    assert main(["render", "--recipe", "openlrm", "--samples", "8", "--print-job"]) == 0
    said = capsys.readouterr()
    assert said.err == (
        "recipe openlrm: --cameras gs-lrm --views 32 --fov 67.38 --radius 1.9:2.6 "
        "--elevation -20:45 --framing allow --export openlrm\n"
    )
    assert "samples = 8" in said.out


@pytest.mark.parametrize(("name", "way_out"), [
    ("zero12", "zero123"), ("syncdreamer", "halves are syncdreamer-target and syncdreamer-input"),
    ("nothing-like-it", "--recipe list"),
])  # fmt: skip
def test_what_is_no_recipe_is_an_error_with_the_way_out(
    name: str, way_out: str, capsys: Any
) -> None:
    assert main(["render", "a.glb", "--out", "data", "--recipe", name]) == InvalidJob.exit_code
    said = capsys.readouterr().err
    assert f"no recipe '{name}'" in said
    assert way_out in said
    with pytest.raises(InvalidJob):
        recipe_named(name)


def test_the_panels_presets_are_the_recipes() -> None:
    tool = [sys.executable, ROOT / "tools/write_presets.py", "--check"]
    done = subprocess.run(tool, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_settings_of_every_form_are_said_as_they_are_typed() -> None:
    values = {
        "lighting.background": (1.0, 128 / 255, 0.0), "cameras.shift": (0.25, -0.125),
        "pixels.resolution": (640, 360), "cameras.fov": (40.0, 40.0), "engine.denoise": False,
        "cameras.only_northern_hemisphere": True, "pixels.passes": ("rgb", "mask"), "seed": 7,
        "lighting.hdri": None, "lighting.mode": "xl",
    }  # fmt: skip
    said = flags_of(values)
    assert "--background #ff8000 --shift 0.25,-0.125 --resolution 640x360 --fov 40" in said
    assert job_of(told(*shlex.split(said))) == RenderJob().with_values(values)
