"""What a run does beside rendering: exports on the way, licences that will do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from objaverse_render_addon import cli
from objaverse_render_addon.dataset.export import export

from . import scenes


@pytest.mark.parametrize("layout", ["zip", "webdataset"])
def test_an_export_made_on_the_way_is_that_made_afterwards(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("one", "two", "three")
    sources = [str(scenes.write_glb(tmp_path / f"{name}.glb")) for name in names]
    (tmp_path / "broken.glb").write_bytes(b"glTF")
    job = tmp_path / "job.json"
    values = {"cameras.views": 2, "pixels.resolution": [24, 20], "files.layout": layout}
    job.write_text(json.dumps(scenes.make_job(values).to_dict()))
    out = tmp_path / "out"
    code = cli.main(
        ["render", *sources, str(tmp_path / "broken.glb"), "--out", str(out), "--job", str(job),
         "--export", "nerfstudio", "--export", f"zero123={tmp_path / 'elsewhere'}"]
    )  # fmt: skip
    said = capsys.readouterr()
    assert code == 13, said.err
    assert "3 scenes for nerfstudio" in said.out
    for name, made in (("nerfstudio", tmp_path / "out-nerfstudio"), ("zero123", "elsewhere")):
        export(out, tmp_path / f"after-{name}", name)
        here, there = tmp_path / made, tmp_path / f"after-{name}"
        files = {path.relative_to(here) for path in here.rglob("*") if path.is_file()}
        again = {path.relative_to(there) for path in there.rglob("*") if path.is_file()}
        visible = {path for path in files if not path.parts[0].startswith(".")}
        assert visible == {path for path in again if not path.parts[0].startswith(".")}
        for path in visible - {Path("export.json")}:
            assert (here / path).read_bytes() == (there / path).read_bytes(), path


def test_a_recipe_renders_and_exports_in_one_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(scenes.write_glb(tmp_path / "one.glb"))
    small = ["--resolution", "24", "--samples", "1", "--views", "3"]
    assert cli.main(
        ["render", source, "--out", str(tmp_path / "data"), "--recipe", "zero123", *small]
    ) == 0  # fmt: skip
    assert "recipe zero123: --cameras zero123" in capsys.readouterr().err
    made = tmp_path / "data-zero123/one"
    assert {path.name for path in made.glob("*.png")} == {"000.png", "001.png", "002.png"}
    for path in made.glob("*.npy"):
        pose = np.load(path)
        assert 1.5 <= np.linalg.norm(pose[:, :3].T @ pose[:, 3]) <= 2.2


def test_an_unknown_export_is_told_before_anything_is_rendered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(scenes.write_glb(tmp_path / "one.glb"))
    assert cli.main(["render", source, "--out", str(tmp_path / "out"), "--export", "nerf"]) == 2
    assert "no format 'nerf'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_only_what_is_under_a_wanted_license_is_rendered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("free", "other", "unknown"):
        scenes.write_glb(tmp_path / f"{name}.glb")
    (tmp_path / "list.txt").write_text(
        "free.glb --license by\nother.glb --license by-nc\nunknown.glb\n"
    )
    out = tmp_path / "out"
    arguments = [
        "render", str(tmp_path / "list.txt"), "--out", str(out), "--license", "by,cc0",
        "--views", "1", "--resolution", "16", "--samples", "1",
    ]  # fmt: skip
    assert cli.main(arguments) == 0
    assert "Left out: 2 assets" in capsys.readouterr().err
    assert [path.name for path in out.glob("*.zip")] == ["free.zip"]
    assert cli.main([*arguments[:-6], "--license", "no-such"]) == 2
