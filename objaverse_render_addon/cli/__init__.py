"""``objaverse-render``: the command line, a thin skin over the Python API.

One module per command, each with an ``add`` that declares its arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import __version__
from ..errors import Interrupted, RenderError
from . import (
    attribution,
    compose,
    doctor,
    download,
    export,
    gallery,
    info,
    install,
    merge,
    probe,
    publish,
    render,
    search,
    serve,
    sheet,
    splats,
    stats,
    status,
    turntable,
    verify,
    view,
)
from .common import complain
from .flags import joined
from .terminal import finish, open_all

__all__ = ["main"]

# In the order of --help.
_COMMANDS = (
    render, compose, serve, status, merge, verify, stats, probe, export, publish, gallery,
    sheet, turntable, view, splats, search,
    info, download, attribution, install, doctor,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None, blender: Path | None = None) -> int:
    """Run a command; returns the process's exit code.

    Args:
        blender: The program to render with where ``--blender`` does not say; Blender itself
            gives its own.
    """
    open_all()
    parser = _parser()
    options = parser.parse_args(joined(sys.argv[1:] if arguments is None else arguments))
    if getattr(options, "blender", "") is None:
        options.blender = blender
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except BrokenPipeError:
        # The reader of what was asked for went away (… | head); that is no failure of ours.
        return 0
    except KeyboardInterrupt:
        error: RenderError = Interrupted("Stopped.")
    except RenderError as caught:
        error = caught
    finally:
        finish()
    complain(error, f"error [{error.reason}]")
    finish()
    return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="objaverse-render",
        description="Render 3D assets into verified multi-view datasets.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser
