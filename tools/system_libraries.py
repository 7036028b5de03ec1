"""Install what Blender's Python package misses on a bare Linux; used by the Makefile.

Silent where nothing is missing. Where it may not install anything, it ends with the line to type.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from objaverse_render_addon.worker import libraries  # noqa: E402


def main() -> int:
    """Install."""
    spec = importlib.util.find_spec("bpy")
    if not sys.platform.startswith("linux") or spec is None or not spec.origin:
        return 0
    binary = Path(spec.origin)
    needed = libraries.missing(binary)
    if not needed:
        return 0
    print(f"Blender needs libraries that are not here: {', '.join(needed)}", flush=True)
    manager = libraries.package_manager()
    if manager is not None:
        packages, _ = libraries.packages_for([*needed, *libraries.opened_later()], manager)
        if packages:
            tool = ROOT / "tools" / "system_packages.sh"
            if subprocess.run([str(tool), *packages], check=False).returncode:
                return 1
    left = libraries.missing(binary)
    if left:
        print(f"Still missing: {', '.join(left)}", libraries.install_command(left, manager),
              sep="\n", file=sys.stderr)  # fmt: skip
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
