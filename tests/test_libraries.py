"""What Blender is linked with and a bare system lacks, is named, with the packages that hold it."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from objaverse_render_addon.errors import MissingLibraries
from objaverse_render_addon.install import install
from objaverse_render_addon.worker import libraries
from objaverse_render_addon.worker.process import WorkerProcess

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("ldd") is None, reason="asks Linux's ldd"
)


def without_its_library(binary: Path, copy: Path) -> Path:
    """A copy of an ELF file that is linked with a library that nobody has."""
    content = binary.resolve().read_bytes()
    if b"\0libc.so.6\0" not in content:
        pytest.skip(f"{binary} is not linked with libc.so.6")
    copy.write_bytes(content.replace(b"\0libc.so.6\0", b"\0libq.so.6\0"))
    copy.chmod(0o755)
    return copy


def test_the_linker_says_what_is_missing(tmp_path: Path) -> None:
    assert libraries.missing(Path(sys.executable)) == []
    program = without_its_library(Path("/bin/true"), tmp_path / "program")
    assert libraries.missing(program) == ["libq.so.6"]
    (tmp_path / "script").write_text("#!/bin/sh\n")
    assert libraries.missing(tmp_path / "script") == []
    assert libraries.missing(tmp_path / "absent") == []


def test_an_installed_blender_without_its_libraries_is_told_by_name(tmp_path: Path) -> None:
    program = without_its_library(Path("/bin/true"), tmp_path / "blender")
    for start in (lambda: WorkerProcess(program, tmp_path / "scratch"), lambda: install(program)):
        with pytest.raises(MissingLibraries, match=r"does not have: libq\.so\.6\."):
            start()
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(("command", "code"), [("doctor", 1), ("render a.glb --out out", 55)])
def test_pips_blender_without_its_libraries_is_told_by_name(
    tmp_path: Path, command: str, code: int
) -> None:
    (tmp_path / "bpy").mkdir()
    spec = importlib.util.find_spec("numpy.random.mtrand")
    assert spec is not None
    without_its_library(Path(spec.origin or ""), tmp_path / "bpy" / "__init__.so")
    (tmp_path / "a.glb").write_bytes(b"glTF" + (2).to_bytes(4, "little") + bytes(8))
    done = subprocess.run(
        [sys.executable, "-m", "objaverse_render_addon.cli", *command.split()], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "missing-libraries" in said
    assert "libq.so.6" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "words",
    [
        "    import bpy\nImportError: libX11.so.6: cannot open shared object file: No such file",
        "/opt/blender/blender: error while loading shared libraries: libX11.so.6: cannot open "
        "shared object file: No such file or directory",
    ],
)
def test_the_first_that_is_missing_is_understood(words: str) -> None:
    error = libraries.explain(words, None)
    assert isinstance(error, MissingLibraries)
    assert "libX11.so.6." in error.message
    assert error.log == ""


@pytest.mark.parametrize("words", ["", "ImportError: bpy.so: undefined symbol: x", "Killed"])
def test_other_failures_are_not_libraries(words: str) -> None:
    assert libraries.explain(words, Path(sys.executable)) is None


def test_the_line_to_type_names_packages_and_owns_up_to_what_it_does_not_know() -> None:
    needed = ["libXi.so.6", "libq.so.6", "libX11.so.6"]
    assert libraries.packages_for(needed, "apt-get") == (["libx11-6", "libxi6"], ["libq.so.6"])
    assert libraries.packages_for(needed, "dnf") == (["libX11", "libXi"], ["libq.so.6"])
    told = libraries.install_command(needed, "apt-get")
    assert re.search(r"apt-get install .*libx11-6 libxi6$", told, re.MULTILINE)
    assert told.endswith("Find the packages that hold libq.so.6.")
    assert "system's package manager" in libraries.install_command(needed, None)


def test_the_table_has_everything_that_this_blender_is_linked_with() -> None:
    spec = importlib.util.find_spec("bpy")
    if spec is None or not spec.origin:
        pytest.skip("no Blender in this Python")
    if shutil.which("readelf") is None:
        pytest.skip("there is no readelf here")
    folder = Path(spec.origin).parent
    ours = {path.name for path in (folder / "lib").iterdir()}
    found = subprocess.run(["ldd", spec.origin], capture_output=True, text=True, check=True).stdout
    files = [spec.origin, *re.findall(rf"=> ({re.escape(str(folder))}\S+)", found)]
    dynamic = subprocess.run(
        ["readelf", "-d", *files], capture_output=True, text=True, check=True
    ).stdout
    linked = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic)) - ours
    glibc = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|util)\.so\.\d+)")
    assert {name for name in linked if not glibc.fullmatch(name)} <= libraries.PACKAGES.keys()
    assert "libX11.so.6" in linked
