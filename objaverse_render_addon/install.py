"""Put the extension into an installed Blender, so that its command line finds it too.

Blender knows an extension as ``bl_ext.<repository>.objaverse_render_addon`` only, and
``--addons objaverse_render_addon`` fails without an exit code. A launcher of a few lines among
Blender's scripts makes the short name work, and says so where the extension is missing.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

from . import __version__
from .errors import (
    SourceNotFound,
    WorkerStartFailed,
    WrongFormat,
    from_os_error,
)
from .worker import libraries

__all__ = ["install", "stage", "write_launcher"]

PACKAGE: Final = Path(__file__).resolve().parent
_LAUNCHER: Final = PACKAGE / "launcher.py"
_MARK: Final = "OBJAVERSE-FACTS "
_TIMEOUT: Final = 300

def write_launcher(scripts: Path) -> Path:
    """Write the launcher into a scripts folder of Blender.

    Raises:
        OutputNotWritable, DiskFull
    """
    target = scripts / "addons" / "objaverse_render_addon.py"
    code = _LAUNCHER.read_bytes()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(code)
    except OSError as error:
        raise from_os_error(error, str(target)) from error
    return target


def _manifest() -> Path:
    for folder in (PACKAGE, PACKAGE.parent):
        path = folder / "blender_manifest.toml"
        if path.is_file():
            return path
    raise SourceNotFound("The extension's manifest is not installed with this package.")


def stage(folder: Path) -> None:
    """Lay out the extension's files, ready for Blender's builder."""
    manifest = _manifest().read_text(encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    if not (folder / "LICENSE").is_file():
        shutil.copy(PACKAGE.parent / "LICENSE", folder)
    manifest = re.sub(r'^version = ".*"$', f'version = "{__version__}"', manifest, flags=re.M)
    (folder / "blender_manifest.toml").write_text(manifest, encoding="utf-8")


def install(blender: Path, extension: Path | None = None) -> dict[str, str]:
    """Install and enable the extension in a Blender, write the launcher, and try it.

    Args:
        blender: Blender's program.
        extension: A built zip; built from this package otherwise.

    Returns:
        What was done: ``blender``, ``extension``, ``launcher``.

    Raises:
        SourceNotFound, WrongFormat: ``extension`` is none.
        MissingLibraries: The system lacks libraries that Blender is linked with.
        WorkerStartFailed: Blender cannot be run, or the result does not work in it.
    """
    if extension is not None:
        _check_package(extension)
    facts = _ask(blender)
    with tempfile.TemporaryDirectory(prefix="objaverse-install-") as name:
        folder = Path(name)
        if extension is None:
            stage(folder / "extension")
            _run(
                blender, "--command", "extension", "build",
                "--source-dir", str(folder / "extension"), "--output-dir", str(folder),
            )  # fmt: skip
            extension = next(folder.glob("*.zip"))
        # A folder or link of that name from an older installation would register twice.
        _run(blender, "--command", "extension", "install-file", "-r", "user_default", "-e",
             str(extension.resolve()))  # fmt: skip
    launcher = write_launcher(Path(facts["scripts"]))
    check = "import bpy; bpy.ops.objaverse.render_batch.get_rna_type()"
    _run(blender, "--background", "--python-exit-code", "1", "--addons",
         "objaverse_render_addon", "--python-expr", check)  # fmt: skip
    return {
        "blender": f"{facts['version']} (Python {facts['python']})",
        "extension": __version__,
        "launcher": str(launcher),
    }


def _check_package(path: Path) -> None:
    if not path.is_file():
        raise SourceNotFound(f"{path} does not exist.", hint="Run make extension first.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise WrongFormat(f"{path} is no zip archive: {error}.") from error
    if "blender_manifest.toml" not in names:
        raise WrongFormat(f"{path} is not an extension for Blender: it has no manifest.")


def _ask(blender: Path) -> dict[str, Any]:
    code = (
        "import bpy, json, sys; print('" + _MARK + "' + json.dumps({"
        "'version': bpy.app.version_string, "
        "'python': '%d.%d' % sys.version_info[:2], "
        "'scripts': bpy.utils.user_resource('SCRIPTS')})); "
        # Where this folder is missing, Blender installs and then does not find what it installed.
        "bpy.utils.user_resource('EXTENSIONS', create=True)"
    )
    output = _run(blender, "--background", "--factory-startup", "--python-expr", code)
    for line in output.splitlines():
        if line.startswith(_MARK):
            facts: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            return facts
    raise WorkerStartFailed(f"{blender} does not behave like Blender.", hint="Check --blender.")


def _run(blender: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [str(blender), *arguments], capture_output=True, text=True, timeout=_TIMEOUT,
            check=False, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorkerStartFailed(f"{blender} cannot be run: {error}.") from error
    output = done.stdout + done.stderr
    missing = libraries.explain(output, blender) if done.returncode else None
    if missing is not None:
        raise missing
    # An add-on that does not load leaves the exit code alone.
    if done.returncode or "Add-on not loaded" in output:
        raise WorkerStartFailed(
            f"{blender} {' '.join(arguments[:3])} failed.", log="\n".join(output.splitlines()[-15:])
        )
    return output
