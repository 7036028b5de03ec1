"""What is here to render with: this Python, its packages, Blender, devices, storage."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path
from typing import Any, Final

from .. import __version__
from ..assets.repair.basisu import INSTALL
from ..errors import RenderError
from ..worker.process import WorkerProcess, scratch_root
from ..worker.protocol import Describe, Described
from ..worker.wall import Sandbox

__all__ = ["examine"]

_PACKAGES: Final = ("bpy", "numpy", "OpenEXR", "pillow", "tqdm", "DracoPy", "opengl-basisu")


def examine(
    blender: Path | None = None, sandbox: Sandbox = "auto"
) -> dict[str, dict[str, Any]]:
    """Start a worker and tell what it and this machine have.

    Returns:
        Sections of plain facts; ``problems`` only where there are some, each with its way out.
    """
    facts: dict[str, dict[str, Any]] = {
        "this program": {
            "version": __version__,
            "python": platform.python_version(),
            "system": platform.platform(),
            "cpu threads": os.cpu_count(),
        },
        "packages": {name: _version(name) for name in _PACKAGES},
    }
    scratch = scratch_root()
    free = shutil.disk_usage(scratch).free / 2**30
    facts["temporary images"] = {
        "folder": str(scratch),
        "free": f"{free:.1f} GiB",
        "in memory": scratch == Path("/dev/shm"),
    }
    problems: dict[str, str] = {}
    try:
        worker = WorkerProcess(blender, sandbox=sandbox)
        facts["sandbox"] = _shut_in(worker.hello.sandbox, sandbox)
        try:
            worker.send(Describe())
            answer = worker.await_answer(60, None).message
        finally:
            worker.close()
        assert isinstance(answer, Described)
        found = answer.facts
        devices = found.pop("devices")
        formats = found.pop("formats")
        facts["blender"] = found
        facts["devices"] = {
            kind.lower(): ", ".join(names) or "yes" for kind, names in devices.items()
        }
        facts["formats"] = {name: reader or "no importer" for name, reader in formats.items()}
        if not formats.get("glb, Draco"):
            problems["Draco"] = "compressed glTF is refused: python -m pip install DracoPy"
        if not formats.get("glb, KTX2"):
            problems["KTX2"] = f"its textures are missing: {INSTALL}"
    except RenderError as error:
        problems[error.reason] = str(error)
    if problems:
        facts["problems"] = problems
    return facts


def _shut_in(how: str, sandbox: Sandbox) -> dict[str, Any]:
    """What workers are held to."""
    if how:
        closed = "files, network" if "seccomp" in how else "files"
        return {"workers": f"shut in by {how}", "closed": closed}
    why = "switched off" if sandbox == "off" else "this system has no Landlock (Linux 5.19)"
    return {"workers": f"not shut in: {why}"}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
