"""Five hundred assets in one worker: is the last as fast as the first, and is memory flat?"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path

from throughput import sample

from objaverse_render_addon import RenderJob
from objaverse_render_addon.worker.process import WorkerProcess
from objaverse_render_addon.worker.protocol import Done, Failed, RenderAsset


def resident(pid: int) -> float:
    """Memory of a process in MiB; Linux only."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    """Print a line per hundred."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="*", type=Path, help="taken in turns; default: the sample")
    parser.add_argument("--assets", type=int, default=500)
    options = parser.parse_args()
    job = RenderJob.from_dict(
        {
            "cameras": {"views": 2},
            "engine": {"samples": 4},
            "pixels": {"resolution": 96},
            "files": {"layout": "folder"},
        }
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = options.sources or [sample(folder)]
        worker = WorkerProcess()
        hundred: list[float] = []
        first = 0.0
        try:
            for index in range(options.assets):
                source = sources[index % len(sources)]
                worker.send(
                    RenderAsset(
                        source=str(source), path=str(source), asset_id=f"a{index}",
                        job=job.to_dict(), out=str(folder / "out"),
                    )
                )  # fmt: skip
                while not isinstance(answer := worker.receive(60).message, Done | Failed):
                    pass
                assert isinstance(answer, Done), answer
                hundred.append(answer.seconds["total"])
                shutil.rmtree(answer.path)
                if len(hundred) == 100:
                    median = statistics.median(hundred)
                    first = first or median
                    print(
                        f"assets {index - 98:4d}..{index + 1:4d}: median {median * 1000:.0f} ms, "
                        f"ratio to the first hundred {median / first:.2f}, "
                        f"memory {resident(worker.pid):.0f} MiB",
                        flush=True,
                    )
                    hundred = []
            print(json.dumps({"worker": worker.hello.blender}))
        finally:
            worker.close()


if __name__ == "__main__":
    main()
