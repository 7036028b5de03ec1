"""Installed Blenders, headless and with a window: Debian folders that hold everything needed.

``tools/debian_folder.sh`` makes them, ``OBJAVERSE_TEST_BLENDER_ROOTS`` names them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .desk import Desk

PROJECT = Path(__file__).resolve().parents[2]
VARIABLE = "OBJAVERSE_TEST_BLENDER_ROOTS"
ROOTS = [Path(name) for name in os.environ.get(VARIABLE, "").split(":") if name]
HOW = "tools/debian_folder.sh blender SUITE FOLDER, as root, makes one; name all, colon-separated"


def _reason(root: Path | None) -> str:
    """Why a folder cannot be used; empty where it can."""
    if root is None:
        return f"NOT TESTED in an installed Blender: {VARIABLE} is not set; {HOW}"
    if os.geteuid() != 0:
        return f"NOT TESTED in an installed Blender: {root} needs root for chroot"
    if not (root / "usr/bin/blender").exists():
        return f"NOT TESTED in an installed Blender: {root} has none; {HOW}"
    return ""


class Debian:
    """A Debian folder with Blender, and a place of our own in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = Path(tempfile.mkdtemp(prefix="objaverse-test-", dir=root / "tmp"))
        self.home = self.inside(self.folder)
        (self.folder / "home").mkdir()
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": f"{self.home}/home",
            "TMPDIR": self.home,
            "BLENDER_USER_RESOURCES": f"{self.home}/user",
        }

    def inside(self, path: Path) -> str:
        return "/" + str(path.relative_to(self.root))

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a shell line in our place; its errors are part of its output."""
        return subprocess.run(
            ["chroot", str(self.root), "sh", "-c", f"cd {self.home} && {command}"],
            env={**self.environment, **environment}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=170, check=False,
        )  # fmt: skip

    def version(self) -> tuple[int, ...]:
        found = re.search(r"Blender (\d+)\.(\d+)", self.run("blender --version").stdout)
        assert found
        return int(found[1]), int(found[2])

    def workers(self) -> list[int]:
        """Processes that render for the extension that is installed here."""
        found = []
        for folder in Path("/proc").iterdir():
            try:
                command = (folder / "cmdline").read_bytes().decode(errors="replace")
                # A process that ended and was not yet waited for has no command line.
            except OSError:
                continue
            if "--background" in command and f"{self.home}/user/extensions" in command:
                found.append(int(folder.name))
        return found


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension's zip, fresh."""
    folder = tmp_path_factory.mktemp("extension")
    tool = PROJECT / "tools/build_extension.py"
    done = subprocess.run(
        [sys.executable, str(tool), "--output", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.zip"))


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own textured asset."""
    path = tmp_path_factory.mktemp("sample") / "rocket.glb"
    maker = PROJECT / "examples/make_sample.py"
    subprocess.run([sys.executable, str(maker), str(path)], check=True)
    return path


def _debian(root: Path, package: Path, sample: Path) -> Iterator[Debian]:
    debian = Debian(root)
    shutil.copytree(
        PROJECT / "objaverse_render_addon", debian.folder / "source/objaverse_render_addon",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    shutil.copy(package, debian.folder / "extension.zip")
    models = debian.folder / "models"
    models.mkdir()
    shutil.copy(sample, models / "rocket.glb")
    try:
        yield debian
    finally:
        shutil.rmtree(debian.folder, ignore_errors=True)


@pytest.fixture(scope="session", params=ROOTS or [None], ids=lambda root: root and root.name)
def debian(request: pytest.FixtureRequest) -> Iterator[Debian]:
    """Every Debian folder in turn, nothing installed."""
    reason = _reason(request.param)
    if reason:
        pytest.skip(reason)
    yield from _debian(request.param, *map(request.getfixturevalue, ("package", "sample")))


INSTALL = (
    "PYTHONPATH=source python3 -m objaverse_render_addon.cli install"
    " --blender /usr/bin/blender --extension extension.zip"
)


@pytest.fixture(scope="session")
def installed(debian: Debian) -> Debian:
    """The same with the extension installed, by the project's own installer."""
    done = debian.run(INSTALL)
    assert done.returncode == 0, done.stdout
    return debian


@pytest.fixture(scope="session")
def profiles() -> Iterator[dict[Path, Path]]:
    """By Debian folder: Blender's own files with the extension, as the installer left them."""
    made: dict[Path, Path] = {}
    yield made
    for path in made.values():
        shutil.rmtree(path, ignore_errors=True)


def _with_extension(root: Path, request: pytest.FixtureRequest) -> Iterator[Debian]:
    profiles = request.getfixturevalue("profiles")
    for debian in _debian(root, *map(request.getfixturevalue, ("package", "sample"))):
        user = debian.folder / "user"
        if root in profiles:
            shutil.copytree(profiles[root], user)
        else:
            done = debian.run(INSTALL)
            assert done.returncode == 0, done.stdout
            profiles[root] = Path(tempfile.mkdtemp(prefix="objaverse-user-", dir=root / "tmp"))
            shutil.copytree(user, profiles[root], dirs_exist_ok=True)
        yield debian


@pytest.fixture(scope="module", params=ROOTS or [None], ids=lambda root: root and root.name)
def every(request: pytest.FixtureRequest) -> Iterator[Debian]:
    """Every Blender in turn, with the extension."""
    reason = _reason(request.param)
    if reason:
        pytest.skip(reason)
    yield from _with_extension(request.param, request)


@pytest.fixture(scope="module")
def newest(request: pytest.FixtureRequest) -> Iterator[Debian]:
    """The newest Blender of all, with the extension."""
    usable = [root for root in ROOTS if not _reason(root)]
    if not usable:
        pytest.skip(_reason(ROOTS[0] if ROOTS else None))
    versions = {}
    for root in usable:
        asked = subprocess.run(
            ["chroot", str(root), "blender", "--version"], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        found = re.search(r"Blender (\d+)\.(\d+)", asked.stdout)
        if found:
            versions[root] = int(found[1]), int(found[2])
    yield from _with_extension(max(versions, key=lambda root: versions[root]), request)


def free_display() -> int:
    # Other folders' screens too, which are no files here; tests beside these begin elsewhere.
    taken, first = Path("/proc/net/unix").read_text(), 71 + 8 * (os.getpid() % 99)
    return next(n for n in range(first, 999) if f".X11-unix/X{n}\n" not in taken)


def open_window(newest: Debian, *arguments: str) -> Desk:
    """Blender on a screen of its own."""
    desk = Desk(
        newest.root, newest.folder / "desk", newest.environment, (1100, 1900), free_display(), 0.8,
        arguments,
    )  # fmt: skip
    try:
        desk.ask("1", timeout=120)
    except Exception:
        desk.close()
        raise
    return desk


@pytest.fixture(scope="module")
def desk(newest: Debian) -> Iterator[Desk]:
    """Blender's window, its sidebar open at our tab."""
    try:
        desk = open_window(newest)
    except (OSError, RuntimeError, TimeoutError):
        # Without the extension: is it ours that no window opens?
        try:
            open_window(newest, "--factory-startup").close()
        except (OSError, RuntimeError, TimeoutError) as error:
            pytest.skip(f"NOT TESTED in a window: none opens here; {str(error)[-300:]}")
        raise
    try:
        desk.open_sidebar()
        yield desk
    finally:
        pictures = os.environ.get("OBJAVERSE_TEST_PICTURES")
        if pictures:
            shutil.copytree(desk.folder, pictures, dirs_exist_ok=True)
        desk.close()


@pytest.fixture
def whole(desk: Desk) -> Iterator[None]:
    """The scene is the same after a test as before it."""
    before = desk.ask("scene_state()")
    yield
    after = desk.ask("scene_state()")
    changed = {name: [before[name], after[name]] for name in before if before[name] != after[name]}
    assert changed == {}


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """In a window nothing goes wrong unheard, and no test leaves a run behind."""
    desk = request.getfixturevalue("desk") if "desk" in request.fixturenames else None
    yield
    if desk is None:
        return
    if desk.blender.poll() is None:
        assert desk.ask("not bpy.context.window_manager.objaverse.running")
    assert "Traceback" not in desk.output()
    assert "rror: Python" not in desk.output()
