"""The shared libraries that Blender is linked with, and which packages a bare Linux needs for them.

Blender wants libraries of a desktop even where it opens no window. What is missing is asked of the
system's own linker, so that the table below only has to know packages.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from ..errors import MissingLibraries

__all__ = [
    "PACKAGES",
    "explain",
    "install_command",
    "missing",
    "opened_later",
    "package_manager",
    "packages_for",
]

Manager = Literal["apt-get", "dnf"]

PACKAGES: Final[dict[str, tuple[str, str]]] = {
    "libEGL.so.1": ("libegl1", "libglvnd-egl"),
    "libGL.so.1": ("libgl1", "libglvnd-glx"),
    "libICE.so.6": ("libice6", "libICE"),
    "libSM.so.6": ("libsm6", "libSM"),
    "libX11.so.6": ("libx11-6", "libX11"),
    "libXext.so.6": ("libxext6", "libXext"),
    "libXfixes.so.3": ("libxfixes3", "libXfixes"),
    "libXi.so.6": ("libxi6", "libXi"),
    "libXrender.so.1": ("libxrender1", "libXrender"),
    "libXxf86vm.so.1": ("libxxf86vm1", "libXxf86vm"),
    "libgcc_s.so.1": ("libgcc-s1", "libgcc"),
    "libgomp.so.1": ("libgomp1", "libgomp"),
    "libstdc++.so.6": ("libstdc++6", "libstdc++"),
    "libxkbcommon.so.0": ("libxkbcommon0", "libxkbcommon"),
    "libz.so.1": ("zlib1g", "zlib"),
}
"""Name that a program is linked with, to its package for apt and for dnf."""

_COMMANDS: Final[dict[Manager, str]] = {
    "apt-get": "apt-get install -y --no-install-recommends",
    "dnf": "dnf install -y",
}
_NOT_FOUND: Final = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)
_CANNOT_OPEN: Final = re.compile(r"([^\s:/]+\.so[.\d]*): cannot open shared object file")


def missing(binary: Path) -> list[str]:
    """Libraries that a program or module is linked with, itself or through others, and lacks.

    Args:
        binary: An ELF file. The system's ``ldd`` looks into it.

    Returns:
        Names as of :data:`PACKAGES`, sorted; none where the system cannot tell.
    """
    try:
        done = subprocess.run(
            ["ldd", str(binary)], capture_output=True, text=True, errors="replace", timeout=60,
            check=False, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    return sorted(set(_NOT_FOUND.findall(done.stdout)))


def opened_later() -> list[str]:
    """Of the libraries that EEVEE and Workbench open when they render, those that are missing."""
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        return ["libEGL.so.1"]
    return []


def package_manager() -> Manager | None:
    """The one of this system, of those that are known here."""
    return next((name for name in _COMMANDS if shutil.which(name)), None)


def packages_for(libraries: Iterable[str], manager: Manager) -> tuple[list[str], list[str]]:
    """The packages that hold libraries, and the libraries whose packages are not known."""
    known, unknown = set(), []
    for library in libraries:
        if library in PACKAGES:
            known.add(PACKAGES[library][manager == "dnf"])
        else:
            unknown.append(library)
    return sorted(known), unknown


def install_command(libraries: Iterable[str], manager: Manager | None) -> str:
    """What to do about missing libraries, as a sentence with the line to type."""
    libraries = list(libraries)
    if manager is None:
        return "Install them with the system's package manager."
    packages, unknown = packages_for(libraries, manager)
    told = []
    if packages:
        line = f"{_COMMANDS[manager]} {' '.join(packages)}"
        told.append(f"Install them: {line if _is_root() else f'sudo {line}'}")
    if unknown:
        told.append(f"Find the packages that hold {', '.join(unknown)}.")
    return "\n".join(told)


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def explain(output: str, binary: Path | None) -> MissingLibraries | None:
    """The error behind the last words of a Blender that did not start.

    Args:
        output: What it printed.
        binary: Its program or module, to find all that is missing and not only the first.

    Returns:
        ``None`` where it failed for another reason.
    """
    said = _CANNOT_OPEN.findall(output)
    if not said:
        return None
    libraries = sorted({*said, *(missing(binary) if binary else [])})
    return MissingLibraries(
        "Blender needs shared libraries that this system does not have: "
        f"{', '.join(libraries)}.",
        hint=install_command(libraries, package_manager()),
    )
