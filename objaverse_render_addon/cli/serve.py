"""``objaverse-render serve``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from ..words import how_many
from .common import add_blender, add_sandbox, gpu_list, number_from
from .terminal import say, show, show_json

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render serve                            for programs of yours on this machine
  objaverse-render serve --listen tcp://127.0.0.1:7777 --root /data/assets
  objaverse-render serve --listen curve://0.0.0.0:7777 --client ada --client ben
  objaverse-render serve status                     what the server on this machine does
  objaverse-render serve stop

In Python: live.connect(ADDRESS, KEY).open("chair.glb").frame(). See docs/live.md, also for how to
reach a cluster's node through an SSH tunnel.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "serve",
        help="hold scenes open for other programs",
        description="Hold scenes open in workers for other programs, which change and render them "
        "without loading them again. Without --listen it is a private socket that nobody else may "
        "use; at tcp:// addresses of loopback a key is asked for, and at curve:// ones all is "
        "encrypted besides (needs the extra remote-live).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "action", nargs="?", choices=["run", "status", "stop"], default="run",
        help="status or stop: of the server that runs already (default: run one)",
    )  # fmt: skip
    parser.add_argument(
        "--listen", action="append", default=[], metavar="ADDRESS",
        help="unix, unix:PATH, tcp://127.0.0.1:PORT (0 takes any) or curve://HOST:PORT; may be "
        "repeated",
    )  # fmt: skip
    parser.add_argument(
        "--client", action="append", default=[], metavar="NAME",
        help="who gets a key; may be repeated (default: me)",
    )  # fmt: skip
    parser.add_argument(
        "--root", action="append", type=Path, default=[], metavar="DIR",
        help="folder that clients may open files from; may be repeated (default: this one)",
    )  # fmt: skip
    parser.add_argument(
        "--allow-module", action="append", default=[], metavar="NAME",
        help="module whose functions clients may call beside a scene, and whose environments they "
        "may have; may be repeated",
    )  # fmt: skip
    parser.add_argument("--keys", type=Path, metavar="DIR", help="where keys lie instead")
    parser.add_argument("--workers", default="auto", metavar="N", help="or auto, the default")
    parser.add_argument(
        "--gpus", type=gpu_list, metavar="LIST", help="NVIDIA GPUs to use, as nvidia-smi counts"
    )
    parser.add_argument("--device", default="auto", help="as of render")
    parser.add_argument(
        "--max-memory", type=number_from(0), default=0, metavar="GIB", help="a worker's memory"
    )
    parser.add_argument(
        "--max-vram", type=number_from(0), default=0, metavar="GIB",
        help="a worker's memory of its GPU: no more workers than fit, and one that takes more ends",
    )  # fmt: skip
    parser.add_argument(
        "--no-standby", action="store_true",
        help="let no worker wait for the place of one that had to be ended",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="for machines")
    add_blender(parser)
    add_sandbox(parser)
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    if options.action == "run":
        return _run(options)
    from ..live.remote import connect

    address = options.listen[0] if options.listen else "unix"
    with connect(address) as server:
        if options.action == "stop":
            server.stop_server()
            say(f"The server at {server.address} ends.")
            return 0
        facts = server.status()
    if options.json:
        show_json(facts)
        return 0
    show(f"version {facts['version']}, pid {facts['pid']}, {how_many(facts['workers'], 'worker')}")
    show(f"files from {', '.join(facts['roots'])}")
    for one in facts.get("clients", ()):
        if not one["asks"]:
            scenes, requests = len(one["scenes"]), one["requests"]
            show(f"client {one['name']}: {how_many(scenes, 'scene')}, "
                 f"{how_many(requests, 'request')}")  # fmt: skip
    for one in facts.get("pool", {}).get("workers", ()):
        doing = "busy" if one["busy"] else "idle"
        size = f"{one['memory'] / 2**20:,.0f} MiB" if one["memory"] else "not started"
        show(f"worker {one['place']}: {doing}, {size}")
    return 0


def _run(options: argparse.Namespace) -> int:
    from ..errors import InvalidJob
    from ..live.server import Server
    from ..live.starting import start

    if options.workers != "auto" and not options.workers.isdecimal():
        raise InvalidJob("--workers is a number, or auto.")
    pool = start(
        "auto" if options.workers == "auto" else int(options.workers),
        gpus=options.gpus, device=options.device, blender=options.blender,
        max_memory=int(options.max_memory * 2**30), max_vram=int(options.max_vram * 2**30),
        sandbox=options.sandbox, modules=options.allow_module,
        folders=options.root or [Path.cwd()], standby=not options.no_standby,
    )  # fmt: skip
    with pool, Server(
        pool, options.listen, clients=options.client, roots=options.root, keys=options.keys,
        modules=options.allow_module,
        environments={"blender": options.blender, "sandbox": options.sandbox},
    ) as server:
        # An end of the system's is a stop like any other.
        signal.signal(signal.SIGTERM, lambda *_: server.stop())
        if options.json:
            show_json(server.facts())
        else:
            show(f"{how_many(pool.workers, 'worker')}, started when there is need of them.")
            for name, address, key in server.keys:
                show(f"for {name}: {address}")
                if key:
                    show(f"  key: {key}")
            say("Stop it with Ctrl+C, or with: objaverse-render serve stop")
        sys.stdout.flush()  # Whoever started it may wait for this, behind a pipe.
        while not server.wait(0.5):
            pass
    return 0
