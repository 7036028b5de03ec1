"""A pass that the registry does not have: a copy of the product with one more entry, and its use.

The functions below run in a process of their own, on the copy: ``python one_more_pass.py NAME
FOLDER``. Nothing in them says more of the pass than its name.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENTRY = """
        Pass(
            name="st",
            dtype="float32",
            channels=2,
            space="texture",
            unit="0..1",
            about="texture coordinates",
            letters="UV",
            layers=(Layer("st", "VECTOR", "UV", "use_pass_uv"),),
            assemble=lambda raw: raw.on_object(raw.planes("st", "XY"), "float32"),
            limits=(0, 1),
            coloring="pair",
            channel_names=("u", "v"),
            label="Texture Coordinates",
            tip="Where on its texture a point is",
            short="texture",
        ),
        Pass(
            name="quarter",
            dtype="uint16",
            channels=1,
            space="image",
            unit="id",
            about="quarter of the texture, from 1",
            letters="V",
            layers=(Layer("st", "VECTOR", "UV", "use_pass_uv"),),
            assemble=lambda raw: raw.on_object(
                1 + (raw.planes("st", "X") > 0.5) + 2 * (raw.planes("st", "Y") > 0.5), "uint16"
            ),
            values="ids",
            limits=(1, 4),
            coloring="ids",
            label="Quarter",
            tip="Quarter of the texture",
        ),
"""
END = "    )\n}\n\nPASS_NAMES"


def copy_with_one_more(folder: Path) -> Path:
    """The package, its tools and its page of passes, with two more entries in the registry."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "objaverse_render_addon", folder / "objaverse_render_addon",
                    ignore=ignore)  # fmt: skip
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=ignore)
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs/formats.md", folder / "docs")
    registry = folder / "objaverse_render_addon/passspec.py"
    text = registry.read_text(encoding="utf-8")
    assert text.count(END) == 1
    registry.write_text(text.replace(END, ENTRY.lstrip("\n") + END), encoding="utf-8")
    return folder


def run_on(copy: Path, name: str, folder: Path) -> str:
    """One of the functions below, on the copy; what it printed."""
    ours = (copy, ROOT / "tests", ROOT / "tests/blender")
    paths = [*ours, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, __file__, name, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def dataset(folder: Path) -> None:
    """From Blender's channels to files in every format, their readers and their pictures."""
    import analytic
    import jsonschema
    import numpy as np
    from jobs import written as sections
    from test_gallery import data_in

    from objaverse_render_addon.cli.flags import _names
    from objaverse_render_addon.dataset.export import Options, export
    from objaverse_render_addon.dataset.gallery.build import build_gallery
    from objaverse_render_addon.dataset.reader import AssetReader
    from objaverse_render_addon.dataset.sheet import contact_sheet, picture_of
    from objaverse_render_addon.dataset.turntable import turntable
    from objaverse_render_addon.dataset.verify import verify_asset
    from objaverse_render_addon.job import PASS_NAMES, CameraRules, RenderJob
    from objaverse_render_addon.passspec import layers_for

    assert PASS_NAMES[-2:] == ("st", "quarter")
    assert {"st", "quarter", "rgb"} < set(_names(PASS_NAMES, "all"))
    assert [layer.name for layer in layers_for(["st", "quarter"])] == ["depth", "normal", "st"]
    written = analytic.channels_of

    def with_uv(shape: Any, camera: Any) -> dict[str, Any]:
        channels = written(shape, camera)
        for letter, axis in (("X", 1), ("Y", 0)):
            ramp = np.linspace(0, 1, channels["depth.V"].shape[axis], dtype=np.float32)
            channels[f"st.{letter}"] = np.broadcast_to(
                ramp if axis else ramp[:, None], channels["depth.V"].shape
            )
        return channels

    analytic.channels_of = with_uv
    for geometry in ("npy", "npz", "exr"):
        passes = ("rgb", "depth", "st", "quarter")
        output = sections(resolution=(40, 32), layout="folder", passes=passes, geometry=geometry)
        job = RenderJob(cameras=CameraRules(pattern="ring", views=3), **output)
        path = analytic.write_asset(folder / geometry, job)
        assert verify_asset(path).failed == []
        with AssetReader(path) as reader:
            arrays = reader.read(1)
            assert reader.metadata["passes"]["st"]["about"] == "texture coordinates"
            assert reader.views[1]["quarter"] == ("001.exr" if geometry == "exr" else
                                                  f"001_quarter.{geometry}")  # fmt: skip
        seen = arrays["depth"] > 0
        assert arrays["st"].shape == (32, 40, 2) and arrays["st"].dtype == np.float32
        assert np.allclose(arrays["st"][..., 0], np.where(seen, np.linspace(0, 1, 40), 0))
        assert arrays["quarter"].dtype == np.uint16
        right, lower = np.arange(40) >= 20, np.arange(32)[:, None] >= 16
        assert np.array_equal(arrays["quarter"], np.where(seen, 1 + right + 2 * lower, 0))
    picture = picture_of("st", arrays)
    assert (picture[~seen] == 40).all()
    assert np.allclose(picture[seen][:, 1:], 255 * arrays["st"][seen], atol=1)
    assert len(np.unique(picture_of("quarter", arrays)[seen], axis=0)) == 4
    data = folder / "npy"
    assert contact_sheet(data / "asset", folder / "sheet.png", size=40)[0] == 4 + 4 * 44
    assert turntable(data / "asset", folder / "turn.webp", name="st")[1:] == (40, 32)
    # An impossible value is found by what the entry says.
    bad = np.load(data / "asset/001_st.npy")
    bad[seen] += 2
    shutil.copytree(data, folder / "bad")
    np.save(folder / "bad/asset/001_st.npy", bad)
    failed = verify_asset(folder / "bad/asset").failed
    assert [line.split(" (")[0] for line in failed] == ["view 1: st_in_limits"], failed
    export(data, folder / "webdataset", "webdataset", Options())
    import tarfile

    (shard,) = (folder / "webdataset").glob("*.tar")
    with tarfile.open(shard) as archive:
        packed = archive.extractfile("asset-001.npz")
        assert packed is not None
        with zipfile.ZipFile(io.BytesIO(packed.read())) as archive_of_arrays:
            assert sorted(archive_of_arrays.namelist()) == ["depth.npy", "quarter.npy", "st.npy"]
            uv = np.load(io.BytesIO(archive_of_arrays.read("st.npy")))
            assert np.array_equal(uv, np.load(data / "asset/001_st.npy"))
    page = build_gallery(data).page.parent
    (detail,) = page.glob("*/**/detail.js")
    passes = {item["name"]: item for item in data_in(detail)["passes"]}
    assert passes["st"]["tab"] == "texture"
    assert passes["st"]["bars"] == [["u", [0, 255, 0]], ["v", [0, 0, 255]]]
    assert (passes["quarter"]["legend"], passes["quarter"]["smooth"]) == ("ids", False)
    # Schema and page follow with one command.
    root = Path(sys.modules["objaverse_render_addon"].__file__ or "").parent.parent
    tool = [sys.executable, str(root / "tools/describe_passes.py")]
    assert subprocess.run([*tool, "--check"], capture_output=True).returncode == 1
    subprocess.run(tool, check=True)
    subprocess.run([*tool, "--check"], check=True)
    page_of_passes = (root / "docs/formats.md").read_text(encoding="utf-8")
    assert "| `st` | float32 | (H, W, 2) | texture |" in page_of_passes
    assert "| `st` | `st.U`, `st.V` |" in page_of_passes
    schema = json.loads(
        (root / "objaverse_render_addon/dataset/metadata.schema.json").read_text(encoding="utf-8")
    )
    view = {**reader.views[1], "checks": {"finite": ["ok", 1.0]}}
    definitions = {"$ref": "#/$defs/view", "$defs": schema["$defs"]}
    jsonschema.Draft202012Validator(definitions).validate(view)


def tensors(folder: Path) -> None:
    """Training samples."""
    import torch

    from objaverse_render_addon.dataset.torch import MultiView

    data = MultiView(folder / "npy", inputs=2, targets=0, passes=("st", "quarter"))
    sample = data[0]["input"]
    assert sample["st"].shape == (2, 2, 32, 40) and sample["st"].dtype == torch.float32
    assert sample["quarter"].shape == (2, 1, 32, 40) and sample["quarter"].dtype == torch.int64


def blender(folder: Path) -> None:
    """The panel, and a render whose texture coordinates are known."""
    import bpy
    import numpy as np
    import scenes

    import objaverse_render_addon

    with scenes.new_blend(folder / "plane.blend"):
        plane = scenes.add_mesh([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], [(0, 1, 2, 3)])
        layer = plane.data.uv_layers.new()
        for loop, uv in zip(layer.data, [(0, 0), (1, 0), (1, 1), (0, 1)], strict=True):
            loop.uv = uv
    pose = scenes.look_at((0.3, -0.8, 4))
    cameras = scenes.camera_file(folder / "above.json", [pose], scenes.lens(45, (48, 32)))
    passes = ["position", "st", "quarter"]
    (frame,) = scenes.shoot(folder / "plane.blend", {**cameras, "pixels.passes": passes})
    seen = frame.passes["mask"] == 1
    assert 0.3 < seen.mean() < 0.9
    expected = (frame.passes["position"][seen][:, :2] + 1) / 2
    assert np.abs(frame.passes["st"][seen] - expected).max() < 1e-4
    assert not frame.passes["st"][~seen].any()
    quarter = 1 + (expected[:, 0] > 0.5) + 2 * (expected[:, 1] > 0.5)
    assert np.array_equal(frame.passes["quarter"][seen], quarter)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    objaverse_render_addon.register()
    settings = bpy.context.scene.objaverse
    choices = settings.bl_rna.properties["passes"].enum_items_static
    items = {item.identifier: item for item in choices}
    assert items["st"].name == "Texture Coordinates"
    assert items["st"].description == "Where on its texture a point is"
    settings.passes = {"st", "rgb"}
    from objaverse_render_addon.ui.job_mapping import to_job

    assert to_job(settings).pixels.passes == ("rgb", "st")
    objaverse_render_addon.unregister()


if __name__ == "__main__":
    _, function, target = sys.argv
    globals()[function](Path(target))
    print("fine", flush=True)
    # Blender's teardown may never end.
    os._exit(0)
