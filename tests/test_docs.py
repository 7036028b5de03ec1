"""The documentation names what the code has, and its links lead somewhere."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import pytest

from objaverse_render_addon import errors, live
from objaverse_render_addon.assets.formats import EXTENSIONS
from objaverse_render_addon.dataset.export import FORMATS
from objaverse_render_addon.job import PATTERNS, RECIPES
from objaverse_render_addon.live import randomize

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(name: str) -> list[list[str]]:
    """Cells of every table row of a page."""
    lines = [line for line in page(name).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def error_classes() -> list[type[errors.RenderError]]:
    found = [getattr(errors, name) for name in errors.__all__]
    return [cls for cls in found if isinstance(cls, type)]


@pytest.mark.parametrize("cls", error_classes(), ids=lambda cls: cls.__name__)
def test_every_error_has_its_row(cls: type[errors.RenderError]) -> None:
    expected = [f"`{cls.reason}`", str(cls.exit_code), f"`{cls.__name__}`"]
    assert [row[:3] for row in rows("docs/errors.md")].count(expected) == 1


def test_the_errors_page_has_no_others() -> None:
    documented = {row[2].strip("`") for row in rows("docs/errors.md") if row[1].isdigit()}
    assert documented == {cls.__name__ for cls in error_classes()}


def test_every_check_has_its_row_and_no_other() -> None:
    schema = resources.files("objaverse_render_addon.dataset") / "metadata.schema.json"
    names = json.loads(schema.read_text(encoding="utf-8"))["$defs"]["check"]["enum"]
    documented = [row[0].strip("`") for row in rows("docs/checks.md") if row[0].startswith("`")]
    assert sorted(documented) == sorted(names)


def _range(bounds: tuple[float, float], digits: int = 1) -> str:
    low, high = (f"{round(bound, digits):g}" for bound in bounds)
    return low if low == high else f"{low}…{high}"


@pytest.mark.parametrize("name", [name for name in PATTERNS if not PATTERNS[name].given])
def test_every_pattern_has_its_numbers(name: str) -> None:
    (row,) = [row for row in rows("docs/cameras.md") if row[0].split()[0] == f"`{name}`"]
    defaults = PATTERNS[name]
    assert row[1] == str(defaults.views)
    radius = _range(defaults.radius, 2)
    assert row[2] == (f"{radius}.0" if radius.isdigit() else radius)
    assert row[3] == ("–" if name == "cube-faces" else _range(defaults.elevation) + "°")
    assert row[4] == _range(defaults.fov) + "°"
    assert row[5:7] == [defaults.normalize, defaults.framing]


def test_every_pattern_is_named() -> None:
    for text in (page("docs/cameras.md"), page("README.md")):
        assert [name for name in PATTERNS if f"`{name}`" not in text] == []


def test_every_format_is_named() -> None:
    text = page("README.md")
    assert [name for name in EXTENSIONS if not re.search(rf"\b{name}\b", text)] == []


def test_every_export_has_its_row_and_its_page() -> None:
    cells = [row[0] for row in rows("docs/export/index.md")]
    linked = dict(re.findall(r"\[([\w-]+)\]\(([\w-]+\.md)\)", "\n".join(cells)))
    assert sorted(linked) == sorted(FORMATS)
    for file in linked.values():
        assert (ROOT / "docs/export" / file).is_file()


def test_every_recipe_has_its_row() -> None:
    found = [row for row in rows("docs/export/index.md") if row[0].strip("`") in RECIPES]
    assert found == [
        [f"`{name}`", f"[{recipe.export}]({recipe.export}.md)", recipe.about]
        for name, recipe in RECIPES.items()
    ]


BLENDTORCH = """
    parse_blendtorch_args DataPublisher publish DuplexChannel send recv AnimationController
    play rewind frameid pre_play pre_animation pre_frame post_frame post_animation post_play
    OffScreenRenderer set_render_style CompositeRenderer CompositeSelection Camera
    world_to_ndc ndc_to_pixel object_to_pixel bbox_object_to_pixel look_at BaseEnv
    RemoteControlledAgent real_time attach_default_renderer compute_object_visibility
    random_spherical_loc scene_stats BlenderLauncher named_sockets start_port bind_addr
    proto instance_args blend_path background seed assert_alive wait LaunchInfo
    RemoteIterableDataset queue_size timeoutms max_items item_transform record_path_prefix
    SingleFileDataset FileDataset FileRecorder RemoteEnv launch_env OpenAIRemoteEnv
    use_animation use_offline_render use_physics num_episodes frame_range datagen densityopt
    control
"""


def test_all_of_blendtorch_has_a_row_and_ours_is_there() -> None:
    there = [*rows("docs/blendtorch.md"), *rows("docs/environments.md")]
    theirs = " ".join(row[0] for row in there)
    assert [name for name in BLENDTORCH.split() if not re.search(rf"\b{name}\b", theirs)] == []
    assert all(len(row) == 2 and row[1] for row in there if row[0].startswith(("`", "…")))
    ours = " ".join(row[1] for row in rows("docs/blendtorch.md"))
    for name in re.findall(r"\blive\.(?!md)(\w+)", ours):
        assert hasattr(live, name), name
    for name in re.findall(r"\brandomize\.(\w+)", ours):
        assert hasattr(randomize, name), name


def test_every_mistake_of_composed_scenes_has_tests_that_are_there() -> None:
    table = page("docs/compose.md").split("## Mistakes that are caught")[1].split("\n## ")[0]
    told = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(told) >= 15
    for line in told:
        found = re.findall(r"`(test_\w+)\.py`((?:: |, )(?:`(?!test_)\w+`(?:, )?)+)?", line)
        assert found, line
        for module, names in found:
            files = ROOT.glob(f"tests/**/{module}.py")
            text = "".join(path.read_text(encoding="utf-8") for path in files)
            assert text, module
            for name in re.findall(r"`(\w+)`", names):
                assert re.search(rf"def test_\w*{name}", text), (module, name)


def test_all_of_refgrasp_s_command_line_has_a_row() -> None:
    theirs = {
        "--gpu-id", "--gpu-ids", "--output-dir", "--obj-dir", "--iterations",
        "--images-per-iteration", "--scene-graph-rows", "--scene-graph-cols", "--seed",
        "--cleanup-interval", "--texture-limit", "--cpu-threads", "--samples",
    }  # fmt: skip
    ours = re.findall(r'"(--[a-z-]+)"', page("objaverse_render_addon/cli/compose.py"))
    for name in ("docs/compose.md", "docs/refgrasp.md"):
        table = [row for row in rows(name) if len(row) == 2]
        there = {flag for row in table for flag in re.findall(r"`(--[a-z-]+)", row[0])}
        assert theirs <= there, (name, theirs - there)
        for left, right in table:
            if theirs & {*re.findall(r"--[a-z-]+", left)}:
                assert {*re.findall(r"--[a-z-]+", right)} <= {*ours}, right


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        file, _, heading = target.partition("#")
        found = path.parent / file if file else path
        assert found.exists(), target
        if heading:
            text = found.read_text(encoding="utf-8")
            titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
            assert heading in anchors, target
