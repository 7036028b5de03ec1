"""pip's Blender on a system that has make and Python and nothing of a desktop.

A copy of a Debian folder that ``tools/debian_folder.sh bare`` made and ``OBJAVERSE_TEST_BARE_ROOT``
names; this Python's packages are put into it, so that only the system is another.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from objaverse_render_addon.worker.libraries import PACKAGES

from .conftest import PROJECT

VARIABLE = "OBJAVERSE_TEST_BARE_ROOT"
# What rendering imports, of the packages here.
NEEDED = (
    "bpy", "numpy", "numpy.libs", "OpenEXR*", "openexr*", "PIL", "pillow*", "tqdm", "requests",
    "urllib3", "idna", "charset_normalizer", "certifi", "trimesh", "collada", "zstandard", "attr",
    "attrs", "cattr", "cattrs", "typing_extensions.py", "dateutil", "six.py",
)  # fmt: skip
CLI = "python3 -m objaverse_render_addon.cli"


class Bare:
    """The copy, with the project in /project."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, command: str, *, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a shell line there; its errors are part of its output."""
        return subprocess.run(
            [
                "chroot", f"--userspec={user}", str(self.root), "sh", "-c",
                f"cd /project && {command}",
            ],
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8",
                "PYTHONPATH": "/packages", "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=300, check=False,
        )  # fmt: skip


def reason(root: Path | None) -> str:
    """Why the folder cannot be used; empty where it can."""
    what = "NOT TESTED on a system without a desktop:"
    if root is None:
        how = "run tools/debian_folder.sh bare SUITE FOLDER as root and name the folder"
        return f"{what} {VARIABLE} is not set; {how}"
    if os.geteuid() != 0:
        return f"{what} {root} needs root for chroot"
    ours = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if not (root / "usr/bin" / ours).exists():
        return f"{what} {root} has no {ours}"
    return ""


@pytest.fixture(scope="module")
def bare(sample: Path) -> Iterator[Bare]:
    name = os.environ.get(VARIABLE)
    root = Path(name).resolve() if name else None
    if why := reason(root):
        pytest.skip(why)
    assert root is not None
    # Beside it: `make clean` and tools/test_window.sh look there for what is still mounted.
    copy = Path(tempfile.mkdtemp(prefix="bare-run-", dir=root.parent))
    copy.chmod(0o755)
    try:
        # Without what is mounted in it.
        subprocess.run(["cp", "-ax", f"{root}/.", str(copy)], check=True)
        # Blender's libraries read it.
        mount = ["mount", "-t", "proc", "proc", str(copy / "proc")]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            subprocess.run(["mount", "--bind", "/proc", str(copy / "proc")], check=True)
        (copy / "packages").mkdir()
        here = Path(sysconfig.get_path("platlib"))
        for path in sorted({path for pattern in NEEDED for path in here.glob(pattern)}):
            link = ["cp", "-al", str(path), str(copy / "packages")]
            if subprocess.run(link, capture_output=True, check=False).returncode:
                shutil.rmtree(copy / "packages" / path.name, ignore_errors=True)
                subprocess.run(["cp", "-a", str(path), str(copy / "packages")], check=True)
        project = copy / "project"
        for part in ("objaverse_render_addon", "tools"):
            shutil.copytree(
                PROJECT / part, project / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        for part in ("Makefile", "pyproject.toml"):
            shutil.copy(PROJECT / part, project)
        shutil.copy(sample, project / "rocket.glb")
        yield Bare(copy)
    finally:
        subprocess.run(["umount", str(copy / "proc")], check=False)
        if not os.path.ismount(copy / "proc"):
            shutil.rmtree(copy, ignore_errors=True)


def test_make_looks_for_libraries_before_it_renders(bare: Bare) -> None:
    for goal in (".venv/ready", ".venv-4.2/ready"):
        steps = bare.run(f"make -n {goal}").stdout
        environment, tool = steps.index("tools/environment.sh"), steps.index("system_libraries.py")
        assert environment < tool < steps.rindex("touch")


def test_what_is_missing_is_told_by_name_until_it_is_installed(bare: Bare) -> None:
    render = f"{CLI} render rocket.glb --out out --views 1 --resolution 32 --samples 1"
    for command, code in ((f"{CLI} doctor", 1), (render, 55)):
        done = bare.run(command)
        assert done.returncode == code, done.stdout
        assert "missing-libraries" in done.stdout
        assert "Traceback" not in done.stdout
        line = re.search(r"apt-get install (.*)", done.stdout)
        assert line, done.stdout
        # All at once, not the first alone.
        assert {"libx11-6", "libxi6", "libxkbcommon0", "libgl1"} <= set(line[1].split())
        assert "libX11.so.6" in done.stdout

    # Who may install nothing is told what to type.
    done = bare.run("python3 tools/system_libraries.py", user="nobody")
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    last = done.stdout.strip().splitlines()[-1]
    assert re.fullmatch(r"sudo apt-get install .*libx11-6.*", last), done.stdout
    assert set(last.split()[5:]) <= {apt for apt, _ in PACKAGES.values()}

    done = bare.run("python3 tools/system_libraries.py")
    if "Failed to fetch" in done.stdout or "Unable to locate" in done.stdout:
        pytest.skip("NOT TESTED on a system without a desktop: its packages cannot be fetched")
    assert done.returncode == 0, done.stdout
    done = bare.run(render)
    assert done.returncode == 0, done.stdout
    assert bare.run(f"{CLI} verify out").returncode == 0
    # And there is nothing left to do.
    done = bare.run("python3 tools/system_libraries.py", user="nobody")
    assert (done.returncode, done.stdout) == (0, "")
