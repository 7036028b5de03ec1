"""Build the extension's zip files with Blender's own builder, and validate them.

Needs an environment with pip's ``bpy``, whose files include the builder. Wheels of OpenEXR are
fetched once into ``build/wheels``; the zip of a platform holds those of every Python that a
Blender for it runs on.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from objaverse_render_addon.install import fetch_wheels, stage  # noqa: E402

# Blender 4.2 to 5.0, 5.1 and later, and distributions that build against their own Python.
PYTHONS = ("3.11", "3.13", "3.14")
PLATFORMS = {
    "linux-x64": "manylinux_2_28_x86_64",
    "windows-x64": "win_amd64",
    "macos-arm64": "macosx_11_0_arm64",
    "macos-x64": "macosx_10_15_x86_64",
}


def builder() -> Path:
    """Blender's ``blender_ext.py``."""
    spec = importlib.util.find_spec("bpy")
    if spec is None or not spec.origin:
        sys.exit("There is no bpy in this Python; run: make extension")
    found = sorted(Path(spec.origin).parent.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))
    if not found:
        sys.exit(f"Blender's extension builder is not in {Path(spec.origin).parent}.")
    return found[-1]


def main() -> None:
    """Build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--platform", choices=PLATFORMS, action="append", help="default: all")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    platforms = options.platform or list(PLATFORMS)
    wheels = [
        wheel
        for platform in platforms
        for python in PYTHONS
        for wheel in fetch_wheels(ROOT / "build" / "wheels", python, PLATFORMS[platform])
    ]
    folder = ROOT / "build" / "extension"
    stage(folder, wheels, platforms)
    options.output.mkdir(parents=True, exist_ok=True)
    for old in options.output.glob("objaverse_render_addon-*.zip"):
        old.unlink()
    tool = [sys.executable, str(builder())]
    subprocess.run(
        [*tool, "build", "--source-dir", str(folder), "--output-dir", str(options.output),
         "--split-platforms"],
        check=True,
    )  # fmt: skip
    for path in sorted(options.output.glob("objaverse_render_addon-*.zip")):
        subprocess.run([*tool, "validate", str(path)], check=True)
        print(f"{path.name} ({path.stat().st_size / 2**20:.1f} MiB)")


if __name__ == "__main__":
    main()
