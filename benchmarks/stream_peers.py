r"""Images a second into a DataLoader, beside blendtorch: its own cube scene, in turns.

blendtorch needs a Blender of its time, with a window. Debian 12 has one (3.4.1), which stands in a
folder of its own and is entered by chroot (root, Linux)::

    debootstrap --variant=minbase bookworm peer
    chroot peer apt-get update
    chroot peer apt-get install --no-install-recommends blender xvfb xauth libegl1 \
        libgl1-mesa-dri python3-numpy python3-zmq python3-opengl python3-torch python3-psutil
    git clone https://github.com/cheind/pytorch-blender peer/blendtorch
    pip install --no-deps --target peer/blendtorch/site minexr

    python benchmarks/stream_peers.py peer

Both sides have as many Blenders, batches of eight, 640 x 480, and the first batch is not counted;
blendtorch as many of a DataLoader's workers, which is where it is fastest, ours one.
Of blendtorch there are several settings: as it is published but for the shading, which without a
GPU takes seconds (``--rendered`` measures that, too), and those that make it faster: no
antialiasing, a small window, no window redraws. Ratios of one round are of one load; what is
printed is their median. The processor's time of all processes for an image goes with other
programs less than images a second do. Pip's bpy and PyTorch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from stream import Cube  # type: ignore[attr-defined]

BATCH = 8
SETTINGS: dict[str, dict[str, Any]] = {
    "as published, solid": {"shading": "SOLID", "aa": "8", "window": "", "redraw": True},
    "no antialiasing": {"shading": "SOLID", "aa": "OFF", "window": "", "redraw": True},
    "… and a window of 320 x 200": {
        "shading": "SOLID", "aa": "OFF", "window": "320 200", "redraw": True,
    },
    "… and no redraws": {"shading": "SOLID", "aa": "OFF", "window": "320 200", "redraw": False},
}  # fmt: skip
RENDERED = {"shading": "RENDERED", "aa": "8", "window": "", "redraw": True}

SCENE = """
import json, os
import bpy
import numpy as np
import blendtorch.btb as btb

told, _ = btb.parse_blendtorch_args()
wanted = json.loads(os.environ["PEER"])
bpy.context.preferences.system.viewport_aa = wanted["aa"]
cube = bpy.data.objects["Cube"]
camera = btb.Camera()
assert camera.shape == (480, 640), camera.shape
drawn = btb.OffScreenRenderer(camera=camera, mode="rgb")
drawn.set_render_style(shading=wanted["shading"], overlays=False)
sent = btb.DataPublisher(told.btsockets["DATA"], told.btid)

def turn():
    cube.rotation_euler = np.random.uniform(0, np.pi, size=3)

def send(animation):
    sent.publish(image=drawn.render(), frameid=animation.frameid)

animation = btb.AnimationController()
animation.pre_frame.add(turn)
animation.post_frame.add(send, animation)
animation.play(frame_range=(0, 100), num_episodes=-1, use_animation=wanted["redraw"],
               use_offline_render=wanted["redraw"])
"""
TRAINER = """
import json, os, sys, time
import numpy as np
import psutil
from torch.utils.data import DataLoader
from blendtorch import btt

wanted = json.loads(os.environ["PEER"])
with btt.BlenderLauncher(scene="/blendtorch/examples/datagen/cube.blend", script="/peer-scene.py",
                         num_instances=wanted["blenders"], named_sockets=["DATA"],
                         blend_path="/peer-bin") as launched:
    data = btt.RemoteIterableDataset(launched.launch_info.addresses["DATA"], timeoutms=180000,
                                     max_items=wanted["workers"] * 10**6)
    def seconds():
        # In here there is nothing else.
        total = 0.0
        for one in psutil.process_iter():
            try:
                times = one.cpu_times()
                total += times.user + times.system
            except psutil.Error:
                pass
        return total
    since = count = 0
    pictures = set()
    for batch in DataLoader(data, batch_size=8, num_workers=wanted["workers"]):
        now = time.perf_counter()
        if not since:
            since, until, before = now, now + wanted["seconds"], seconds()
            continue
        count += len(batch["image"])
        pictures |= {hash(one.numpy().tobytes()) for one in batch["image"][:2]}
        if now > until and count >= 24:
            took = seconds() - before
            break
    print("PEER", json.dumps({"rate": count / (now - since), "cpu": 1e3 * took / count,
                              "shape": list(batch["image"].shape),
                              "pictures": len(pictures), "count": count}), flush=True)
    np.save("/peer-picture.npy", batch["image"][0].numpy())
"""
ENTER = """
set -e
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
BT=/blendtorch
# Not in the place of this shell: the first process of all gets no signal of Xvfb.
chroot "$ROOT" env PYTHONPATH=$BT/pkg_blender:$BT/pkg_pytorch:$BT/site \
    PEER="$PEER" HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LIBGL_ALWAYS_SOFTWARE=1 \
    xvfb-run -a -s "-screen 0 1280x1024x24" python3 /peer-trainer.py
"""


def theirs(root: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Images a second of blendtorch, in a setting."""
    (root / "peer-scene.py").write_text(SCENE)
    (root / "peer-trainer.py").write_text(TRAINER)
    (root / "peer-bin").mkdir(exist_ok=True)
    window = f"--window-geometry 0 0 {wanted['window']}" if wanted["window"] else ""
    launcher = root / "peer-bin" / "blender"
    # In background, where blendtorch tries it out first, it knows no window.
    launcher.write_text(
        '#!/bin/sh\ncase "$*" in *--background*|--version) exec /usr/bin/blender "$@";; esac\n'
        f'exec /usr/bin/blender {window} "$@"\n'
    )
    launcher.chmod(0o755)
    # Mounts, processes and what they leave end with it.
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER],
        env={"ROOT": str(root), "PEER": json.dumps(wanted), "PATH": "/usr/sbin:/usr/bin:/bin"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        if line.startswith("PEER "):
            found: dict[str, Any] = json.loads(line[5:])
            if found["pictures"] < 2 or found["shape"] != [BATCH, 480, 640, 3]:
                raise SystemExit(f"blendtorch gave no pictures of the cube: {found}")
            return found
    raise SystemExit(f"blendtorch ended with {done.returncode}:\n{done.stdout[-3000:]}")


def processor_seconds(pid: int) -> float:
    """That a process and all that it started took so far."""
    parents, times = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            one = int(path.parent.name)
            parents[one] = int(fields[1])
            times[one] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    mine = {pid}
    while more := {one for one, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sum(times.get(one, 0.0) for one in mine)


def ours(count: int, blenders: int) -> dict[str, float]:
    """Images a second of ours into a DataLoader's worker at live rates, and what one costs."""
    from torch.utils.data import DataLoader

    from objaverse_render_addon.live.torch import StreamDataset

    data = StreamDataset(Cube("raster"), count, blenders=blenders, start_options={"device": "cpu"})
    seen, since, before = 0, 0.0, 0.0
    for batch in DataLoader(data, batch_size=BATCH, num_workers=1):
        if not since:
            since, before = time.perf_counter(), processor_seconds(os.getpid())
            continue
        seen += len(batch["rgb"])
        if seen == count - BATCH:
            # While the Blenders are there.
            took = processor_seconds(os.getpid()) - before
            now = time.perf_counter()
    return {"rate": seen / (now - since), "cpu": 1e3 * took / seen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="a Debian 12 with Blender and blendtorch")
    parser.add_argument("--blenders", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=640, help="images of ours a round")
    parser.add_argument("--seconds", type=float, default=12, help="of each of blendtorch's")
    parser.add_argument("--rendered", action="store_true", help="with its default shading, too")
    chosen = parser.parse_args()
    settings = {**SETTINGS, **({"as published, rendered": RENDERED} if chosen.rendered else {})}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ("ours", *settings)}
    for number in range(1, chosen.rounds + 1):
        found["ours"].append(ours(chosen.count, chosen.blenders))
        for name, wanted in settings.items():
            more = {
                "blenders": chosen.blenders, "workers": chosen.blenders, "seconds": chosen.seconds
            }  # fmt: skip
            found[name].append(theirs(chosen.root.absolute(), {**wanted, **more}))
        for name, rounds in found.items():
            print(f"round {number}: {name}: {said(rounds[-1:])}", flush=True)
    print(f"\n{chosen.blenders} Blenders each, medians of {chosen.rounds} rounds in turns:")
    for name, rounds in found.items():
        pairs = list(zip(found["ours"], rounds, strict=True))
        faster = statistics.median(a["rate"] / b["rate"] for a, b in pairs)
        cheaper = statistics.median(b["cpu"] / a["cpu"] for a, b in pairs)
        print(f"{name}: {said(rounds)}; ours is {faster:.1f} times as fast, and takes "
              f"{cheaper:.1f} times less of the processor")  # fmt: skip


def said(rounds: list[dict[str, float]]) -> str:
    """Medians, as words."""
    rate, cpu = (statistics.median(one[key] for one in rounds) for key in ("rate", "cpu"))
    return f"{rate:.2f} images/s, {cpu:.0f} ms of processor an image"


if __name__ == "__main__":
    main()
