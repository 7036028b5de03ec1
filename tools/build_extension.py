"""Build the extension's zip with Blender's own builder, and validate it: one for all systems.

Needs an environment with pip's ``bpy``, whose files include the builder.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from objaverse_render_addon.install import stage  # noqa: E402


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
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for old in options.output.glob("objaverse_render_addon-*.zip"):
        old.unlink()
    tool = [sys.executable, str(builder())]
    # Of its own: two may be built at a time.
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "extension"
        stage(folder)
        subprocess.run(
            [*tool, "build", "--source-dir", str(folder), "--output-dir", str(options.output)],
            check=True,
        )
    (path,) = options.output.glob("objaverse_render_addon-*.zip")
    subprocess.run([*tool, "validate", str(path)], check=True)
    print(f"{path.name} ({path.stat().st_size / 2**20:.1f} MiB)")


if __name__ == "__main__":
    main()
