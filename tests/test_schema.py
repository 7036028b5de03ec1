"""metadata.json as the renderer writes it, against its published schema."""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from objaverse_render_addon import checks
from objaverse_render_addon.assets.formats import EXTENSIONS
from objaverse_render_addon.compose import seen
from objaverse_render_addon.dataset.metadata import SCHEMA_VERSION
from objaverse_render_addon.dataset.reader import read_metadata
from objaverse_render_addon.job import PATTERNS, RenderJob
from objaverse_render_addon.witness.held import SURFACE_CHECKS

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = json.loads(
    resources.files("objaverse_render_addon.dataset").joinpath("metadata.schema.json").read_text()
)
CHECK = jsonschema.Draft202012Validator(SCHEMA)
VARIANTS = {
    "default": [],
    "everything": [
        "--geometry=exr", "--layout=folder", "--passes=all", "--normal-space=world",
        "--geometry-files=all", "--geometry-points=500",
    ],
    "other light and cameras": [
        "--lighting=xl", "--cameras=orbit", "--background=white", "--missing-textures=random",
        "--layout=tar",
    ],
    "not normalized": ["--normalize=none", "--lighting=keep", "--cameras=cube-faces"],
}  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Metadata of the sample asset by variant, rendered by the command line, tiny."""
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("rendering needs bpy")
    folder = tmp_path_factory.mktemp("schema")
    sample = folder / "rocket.glb"
    subprocess.run([sys.executable, ROOT / "examples/make_sample.py", sample], check=True)
    found: dict[str, dict[str, Any]] = {}

    def of(variant: str) -> dict[str, Any]:
        if variant not in found:
            flags = VARIANTS[variant]
            views = [] if "--cameras=cube-faces" in flags else ["--views=2"]
            out = folder / variant.replace(" ", "-")
            command = [
                sys.executable, "-m", "objaverse_render_addon.cli", "render", str(sample),
                f"--out={out}", "--resolution=56x48", "--samples=1", "--quiet", *views, *flags,
            ]  # fmt: skip
            subprocess.run(command, check=True, cwd=ROOT)
            metadata = read_metadata(next(out.glob("[!.]*")))
            assert metadata is not None
            found[variant] = metadata
        return copy.deepcopy(found[variant])

    return of


def problems(metadata: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in CHECK.iter_errors(metadata)]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def test_the_schema_has_the_names_of_the_code() -> None:
    definitions = SCHEMA["$defs"]
    assert definitions["pattern"]["enum"] == list(PATTERNS)
    assert SCHEMA["properties"]["file_type"]["enum"] == list(EXTENSIONS)
    # What the schema calls a check is one; that no other is written, the variants below show.
    rooms = [module.__file__ for module in (checks, seen)]
    text = "".join(Path(str(file)).read_text(encoding="utf-8") for file in rooms)
    both = {f"{held}_{name}" for held in ("witness", "mesh") for name in SURFACE_CHECKS}
    named = [name for name in definitions["check"]["enum"] if name not in both]
    assert [name for name in named if f'"{name}"' not in text] == []
    assert both <= {*definitions["check"]["enum"]}


@pytest.mark.core
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_written_fits(variant: str, written: Callable[[str], dict[str, Any]]) -> None:
    metadata = written(variant)
    assert problems(metadata) == []
    assert [view["index"] for view in metadata["views"]] == list(range(len(metadata["views"])))
    for view in metadata["views"]:
        for name in metadata["render_settings"]["modalities"]:
            assert view["image" if name == "rgb" else name]


def test_the_jobs_that_earlier_versions_recorded_fit() -> None:
    earlier = json.loads((ROOT / "tests/earlier_jobs.json").read_text(encoding="utf-8"))
    properties = {"job": SCHEMA["properties"]["job"]}
    check = CHECK.evolve(schema={"properties": properties, "$defs": SCHEMA["$defs"]})
    for entry in earlier.values():
        recorded = entry["recorded"]
        today = RenderJob.from_dict(recorded).to_dict()
        assert check.is_valid({"job": recorded})
        assert check.is_valid({"job": today})
        assert not check.is_valid({"job": recorded | today})
        assert not check.is_valid({"job": {**today, "files": {"layout": "zip"}}})


def test_what_the_schema_says_of_the_job_is_what_the_settings_say() -> None:
    # `python tools/write_schema.py` writes it.
    subprocess.run([sys.executable, ROOT / "tools/write_schema.py", "--check"], check=True)


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("."))

    def change(metadata: Any) -> None:
        for step in parents:
            metadata = metadata[step]
        metadata[last] = value

    return change


def _remove(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda metadata: metadata.pop(name)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(_remove("views"), id="no views"),
        pytest.param(_remove("job_fingerprint"), id="no fingerprint"),
        pytest.param(_set("views", []), id="empty views"),
        pytest.param(_set("surprise", 1), id="unknown key"),
        pytest.param(_set("schema_version", 2), id="other version"),
        pytest.param(_set("views.0.surprise", 1), id="unknown key in a view"),
        pytest.param(_set("views.0.camera_to_world.3", [0, 0, 0, 2]), id="no pose"),
        pytest.param(_set("views.0.camera_to_world.0", [1, 0, 0]), id="pose of 3 columns"),
        pytest.param(_set("views.0.intrinsics.0.1", 0.5), id="skew"),
        pytest.param(_set("views.0.intrinsics.0.0", -1.0), id="negative focal length"),
        pytest.param(_set("views.0.object_box_px", [0, 1, 2]), id="box of three"),
        pytest.param(_set("views.0.depth", "../000_depth.npy"), id="file outside"),
        pytest.param(_set("views.0.checks.finite", ["failed", 0.0]), id="failed check"),
        pytest.param(_set("render_settings.modalities", ["rgb", "rgb"]), id="pass twice"),
        pytest.param(_set("normalization.scale", 0), id="scale of zero"),
        pytest.param(_set("job.cameras.pattern", "spiral"), id="unknown pattern"),
        pytest.param(_set("sha256", "abc"), id="no digest"),
    ],
)
def test_spoilt_metadata_are_refused(
    spoil: Callable[[dict[str, Any]], None], written: Callable[[str], dict[str, Any]]
) -> None:
    metadata = written("default")
    spoil(metadata)
    assert problems(metadata)
