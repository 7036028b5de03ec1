"""What the files of the surface cost beside a default render: mesh and points, then all of them.

    python benchmarks/geometry_files.py [ASSET]

Prints the share of each in one run's own seconds, so that a busy machine changes both sides.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from throughput import sample

from objaverse_render_addon import RenderJob, render
from objaverse_render_addon.batch.options import RunOptions


def share(source: Path, files: list[str]) -> tuple[float, float]:
    """Seconds for the files, and of the whole render."""
    job = RenderJob().with_values({"files.geometry_files": files})
    with tempfile.TemporaryDirectory() as out:
        (result,) = render([source], job, out, RunOptions.of(workers=1)).results
        assert result.status == "done", result
        return result.seconds["geometry_files"], result.seconds["total"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(sys.argv[1]) if len(sys.argv) > 1 else sample(Path(folder))
        for files in (["mesh", "points"], ["mesh", "points", "voxels", "sdf"]):
            spent, total = share(source, files)
            print(f"  {','.join(files):26} {spent:6.2f} s of {total:7.2f} s   {spent / total:6.1%}")


if __name__ == "__main__":
    main()
