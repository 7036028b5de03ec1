"""``objaverse-render download``."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Interrupted, exit_code_of
from ..words import redacted
from .common import Bar, complain, readable_size, whole_from
from .terminal import say, say_json

if TYPE_CHECKING:
    from ..assets.ahead import FetchResult

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render download 8476c4170df24cf5bbe6967222d1a42d
  objaverse-render download uids.txt --jobs 16
  objaverse-render download https://example.com/chair.glb s3://bucket/table.glb
  objaverse-render download xl-subset.parquet --download-dir /data/objaverse
  objaverse-render download uids.txt --offline      what is here, what is not

What is fetched lies where the objaverse package keeps it, and objaverse-render render finds it
there. Run the same command again to go on where it stopped.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "download",
        help="fetch assets ahead, without rendering",
        description="Fetch assets into the cache.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="URLs, Objaverse UIDs and Objaverse-XL identifiers, or lists of them (.txt, .csv, "
        ".json, .jsonl, .parquet)",
    )
    parser.add_argument(
        "--download-dir", type=Path, metavar="DIR", help="the cache (default: ~/.objaverse)"
    )
    parser.add_argument(
        "--jobs", type=whole_from(1), default=8, metavar="N", help="fetches at a time (default: 8)"
    )
    parser.add_argument(
        "--per-host", type=whole_from(1), default=4, metavar="N",
        help="connections to one server at a time (default: 4)",
    )  # fmt: skip
    parser.add_argument(
        "--save-repo-format", choices=["files", "zip", "tar", "tar.gz"], default="files",
        help="how repositories of Objaverse-XL's GitHub objects are kept (default: files)",
    )  # fmt: skip
    parser.add_argument("--offline", action="store_true", help="say what is here, fetch nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object per source")
    parser.add_argument("--quiet", action="store_true", help="only failures")
    parser.set_defaults(run=_download)


def _download(options: argparse.Namespace) -> int:
    from ..assets.ahead import fetch_all
    from ..assets.resolve import Resolver
    from ..assets.sources import expand

    counts = {"fetched": 0, "here": 0, "failed": 0}
    codes: set[int] = set()
    received = 0
    cancel = threading.Event()
    bar = Bar(
        hidden=options.json or options.quiet, unit="B", unit_scale=True, unit_divisor=1024
    )
    with bar, Resolver(
        options.download_dir,
        online=not options.offline,
        per_host=options.per_host,
        save_repo_format=options.save_repo_format,
    ) as resolver:
        bar.show(0, 0)
        try:
            for result in fetch_all(
                resolver,
                expand(options.sources),
                jobs=options.jobs,
                on_bytes=bar.grow,
                cancel=cancel,
            ):
                counts[result.status] += 1
                received += result.received
                if result.error is not None:
                    codes.add(result.error.exit_code)
                bar.clear()
                _tell(result, options)
        except KeyboardInterrupt as error:
            cancel.set()
            raise Interrupted("Stopped.", hint="Run the same command again to go on.") from error
    if options.json:
        say_json({"kind": "summary", **counts, "bytes": received})
    elif not options.quiet and sum(counts.values()) > 1:
        said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        say(f"{said}, {readable_size(received)}")
    return exit_code_of(codes)


def _tell(result: FetchResult, options: argparse.Namespace) -> None:
    error, fetched = result.error, result.fetched
    if options.json:
        record = {
            "kind": "result",
            "source": redacted(result.source.text),
            "status": result.status,
            "path": str(fetched.path) if fetched and not fetched.temporary else None,
            "bytes": result.received,
            "known": fetched.provenance if fetched else {},
            "reason": error.reason if error else None,
            "error": error.message if error else None,
            "hint": error.hint if error else None,
        }
        say_json(record)
        return
    if error is not None:
        complain(error, f"failed [{error.reason}]")
    elif fetched is not None and not options.quiet:
        size = f" ({readable_size(result.received)})" if result.received else ""
        state = fetched.provenance.get("objaverse_xl", {}).get("state", "")
        note = f" [{state}]" if state in ("modified", "new") else ""
        # What lies in an archive here is unpacked when it is rendered, and stays where it is.
        where = redacted(result.source.text) if fetched.temporary else fetched.path
        say(f"{result.status:7s} {where}{size}{note}")
