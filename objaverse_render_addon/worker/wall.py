"""What a worker may touch, where the system can hold it to that (:mod:`.confine` does).

The gate in front of the importers decides what an asset may read. This is the wall behind it, for
the day on which a file finds an error in an importer: whatever runs in the worker then reads what
Blender needs and the folders of the run's assets, writes its scratch folder and the output, and
reaches no network.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import shutil
import site
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from ..errors import RenderError, SandboxUnavailable
from ..job import RenderJob
from ..lights import light_files
from .protocol import Change, Open, RenderAsset, Request

__all__ = ["Grounds", "Sandbox", "available", "gathered", "grounds_of", "is_wanted", "launcher"]

Sandbox: TypeAlias = Literal["auto", "on", "off"]

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_MOST: Final = 256
"""Folders of assets that a worker is told of; of more, their parents."""

_SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store",
    "/run/current-system", "/run/opengl-driver",
)  # fmt: skip
_SETTINGS: Final = (
    "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types",
    "nsswitch.conf", "passwd", "group", "fonts", "OpenCL", "vulkan", "glvnd", "egl", "drirc",
    "nvidia",
)  # fmt: skip
# Of /proc; the process' own folder comes to it, other processes' do not.
_FACTS: Final = (
    "cmdline", "cpuinfo", "devices", "driver", "filesystems", "loadavg", "meminfo", "modules",
    "stat", "sys", "uptime", "version",
)  # fmt: skip
_DEV: Final = Path("/dev")
_DEVICES: Final = (
    "null", "zero", "full", "random", "urandom", "dri", "kfd", "dxg", "nvidia-caps",
)
# Where drivers keep what they compiled for a GPU; it takes them minutes each time otherwise.
_CACHES: Final = (
    ".nv", ".cache/nvidia", ".cache/mesa_shader_cache", ".cache/mesa_shader_cache_db",
    ".cache/neo_compiler_cache", ".cache/cycles",
)  # fmt: skip
_OPTIX: Final = Path("/var/tmp")
# Variables that name files which Blender or its libraries read.
_NAMING: Final = ("OCIO", "LD_LIBRARY_PATH", "BLENDER_SYSTEM_SCRIPTS", "BLENDER_SYSTEM_DATAFILES",
                  "BLENDER_SYSTEM_EXTENSIONS", "BLENDER_SYSTEM_RESOURCES")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Grounds:
    """What one worker's assets need, beside Blender.

    Attributes:
        reads: Files, and folders with all below.
        writes: Folders with all below.
    """

    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()

    def __or__(self, other: Grounds) -> Grounds:
        return Grounds(
            tuple(dict.fromkeys(self.reads + other.reads)),
            tuple(dict.fromkeys(self.writes + other.writes)),
        )

    def lacks(self, other: Grounds) -> bool:
        """Whether there is something in the other that is not within these."""

        def within(path: Path, folders: Sequence[Path]) -> bool:
            return any(path.is_relative_to(folder) for folder in folders)

        return not (
            all(within(path, self.reads) for path in other.reads)
            and all(within(path, self.writes) for path in other.writes)
        )

    def stamp(self) -> dict[Path, tuple[int, int] | None]:
        """Which folders stand under these names: rules are of the folder, not of the name, and
        there is none of a folder that is made later.
        """
        return {path: _number(path) for path in (*self.reads, *self.writes)}

    def has_moved(self, stamp: Mapping[Path, object], needed: Grounds) -> bool:
        """Whether one of those that another needs is not the one that it was."""
        wanted = (*needed.reads, *needed.writes)
        return any(
            number != _number(path)
            for path, number in stamp.items()
            if any(one.is_relative_to(path) for one in wanted)
        )


def _number(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def grounds_of(request: Request) -> Grounds:
    """What a request needs; folders to write to are made."""
    if isinstance(request, Change):
        return Grounds(tuple(dict.fromkeys(_edited(request.edits))))
    if not isinstance(request, RenderAsset | Open):
        return Grounds()
    reads = []
    if request.path:
        path = Path(request.path).absolute()
        reads += [path.parent, path.resolve().parent]
    if isinstance(request, Open):
        reads += _edited(request.edits)
    for folder in request.folders:
        reads += [Path(folder), Path(folder).resolve()]
    for section, name in (("lighting", "hdri"), ("lighting", "lights"), ("cameras", "file")):
        file = request.job.get(section, {}).get(name)
        if file:
            reads.append(Path(file).expanduser().resolve())
    if request.job.get("lighting", {}).get("lights"):
        # What its lights name lies wherever they say.
        with contextlib.suppress(RenderError):
            job = RenderJob.from_dict(request.job)
            reads += [path.expanduser().resolve() for path in light_files(job)]
    writes = []
    if isinstance(request, RenderAsset):
        for folder in filter(None, (request.out, request.previews)):
            made = Path(folder).absolute()
            try:
                made.mkdir(parents=True, exist_ok=True)
            except OSError:
                continue  # The worker says so, by name.
            writes.append(made.resolve())
    return Grounds(tuple(dict.fromkeys(reads)), tuple(writes))


def _edited(edits: Iterable[Mapping[str, Any]]) -> list[Path]:
    """Folders that edits of a scene read from."""
    found = []
    for edit in edits:
        values = edit.get("values")
        named = [edit.get("path"), edit.get("hdri")]
        named += values.values() if isinstance(values, Mapping) else ()
        for name in named:
            if isinstance(name, str):
                path = Path(name).absolute()
                found += [path.parent, path.resolve().parent]
        for folder in edit.get("folders") or ():
            found += [Path(folder), Path(folder).resolve()]
    return found


def gathered(folders: Iterable[Path], most: int = _MOST) -> tuple[Path, ...]:
    """Few folders in the place of many: those below others are left out, and of too many their
    parents are taken, but never somebody's home or what is above it.
    """
    found = set(folders)
    while True:
        found = {one for one in found if not any(above in found for above in one.parents)}
        deepest = max((len(one.parts) for one in found if _may_widen(one)), default=0)
        if len(found) <= most or not deepest:
            return tuple(sorted(found))
        found = {
            one.parent if len(one.parts) == deepest and _may_widen(one) else one for one in found
        }


def _may_widen(folder: Path) -> bool:
    return len(folder.parts) > 3 and not _is_homely(folder.parent)


def _homes() -> tuple[Path, Path]:
    return Path.home(), Path.home().resolve()


def _is_homely(folder: Path) -> bool:
    """Whether a folder is somebody's home, or has homes in it, or everything."""
    return (
        folder.parent in (folder, Path("/home"))
        or folder == Path("/home")
        or any(home.is_relative_to(folder) for home in _homes())
    )


@functools.cache
def available() -> int:
    """Version of Landlock that workers can be shut in with; 0 where this system cannot."""
    if sys.platform != "linux":
        return 0
    from . import confine

    version = confine.landlock()
    return version if version >= confine.OLDEST else 0


def is_wanted(sandbox: Sandbox) -> bool:
    """Whether workers are to be shut in.

    Raises:
        SandboxUnavailable: They have to be, and cannot.
    """
    if sandbox == "on" and not available():
        raise SandboxUnavailable(
            "Workers cannot be shut in here: this system has no Landlock.",
            hint="It is in Linux since 5.19, where the system has it switched on; containers may "
            "forbid it. --sandbox auto does without.",
        )
    return sandbox != "off" and bool(available())


def launcher(
    program: str, environment: Mapping[str, str], scratch: Path, grounds: Grounds
) -> list[str]:
    """What to put before a worker's command, so that it is shut in.

    Args:
        program: Absolute path of what is run: a Python, or an installed Blender.
        environment: Of the worker.
        scratch: The worker's folder; the rules are written there.
        grounds: What its assets need.
    """
    rules = {
        "run": [*_SYSTEM, *map(str, _programs(program, environment))],
        "list": [str(_PACKAGE.parent)],
        "read": [
            str(_PACKAGE), "/sys", *(f"/proc/{name}" for name in _FACTS),
            *(f"/etc/{name}" for name in _SETTINGS),
            *map(str, _named(environment)),
            *(one for path in grounds.reads for one in _reading(path)),
        ],
        "use": [*(str(_DEV / name) for name in _DEVICES), *map(str, _DEV.glob("nvidia*"))],
        "write": [str(scratch), *map(str, grounds.writes), *map(str, _caches())],
    }  # fmt: skip
    path = scratch / "wall.json"
    path.write_text(json.dumps(rules))
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("confine.py")), str(path)]


def _programs(program: str, environment: Mapping[str, str]) -> list[Path]:
    """Folders of Python, its packages and Blender."""
    found = [Path(program), Path(program).resolve()]
    if Path(program) == Path(sys.executable):
        for prefix in {Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix)}:
            # A container's home may be where its Python is.
            parts = ("bin", "lib", "lib64", "share", "pyvenv.cfg") if _is_homely(prefix) else ("",)
            found += [prefix / part for part in parts]
        found += map(Path, site.getsitepackages())
        if site.ENABLE_USER_SITE:
            found.append(Path(site.getusersitepackages()))
        for module in ("bpy", "numpy"):
            spec = importlib.util.find_spec(module)
            if spec is not None and spec.origin:
                found.append(Path(spec.origin).resolve().parent)
        for entry in environment.get("PYTHONPATH", "").split(os.pathsep):
            # The package itself is listed by name.
            if entry and Path(entry).resolve() != _PACKAGE.parent:
                found.append(Path(entry))
    else:
        found.append(Path(program).resolve().parent)
    return [one for one in found if not _is_homely(one)]


def _named(environment: Mapping[str, str]) -> list[Path]:
    found = []
    for name in _NAMING:
        for entry in filter(None, environment.get(name, "").split(os.pathsep)):
            path = Path(entry)
            found.append(path.parent if path.is_file() else path)
    return [path for path in found if not _is_homely(path)]


def _reading(path: Path) -> list[str]:
    """The rules for a file or folder of assets; of a home, without what is hidden in it."""
    if path in _homes() and path.is_dir():
        return [str(one) for one in path.iterdir() if not one.name.startswith(".")]
    return [str(path)]


def _caches() -> list[Path]:
    if not any(_DEV.glob("nvidia*")) and not (_DEV / "dri").is_dir():
        return []
    own = [Path.home() / name for name in _CACHES]
    own.append(_OPTIX / f"OptixCache_{os.environ.get('USER', '')}")
    if (_DEV / "nvidiactl").exists():
        for path in (own[0], own[-1]):
            try:
                path.mkdir(mode=0o700, exist_ok=True)
            except OSError:
                continue
    return [
        path for path in own
        if path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.getuid()
    ]  # fmt: skip


def absolute(program: str) -> str:
    """Where a program is that is found by its name."""
    return str(Path(shutil.which(program) or program).absolute())
