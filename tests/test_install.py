"""What is put into Blender is what Blender's rules want, and nothing else."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
import sys
import tomllib
import types
import zipfile
from pathlib import Path

import pytest

import objaverse_render_addon
from objaverse_render_addon import install
from objaverse_render_addon.errors import (
    OutputNotWritable,
    SourceNotFound,
    WorkerStartFailed,
    WrongFormat,
)

PACKAGE = Path(objaverse_render_addon.__file__).parent


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    folder = tmp_path / "extension"
    install.stage(folder)
    return folder


def manifest(folder: Path) -> dict:
    return tomllib.loads((folder / "blender_manifest.toml").read_text(encoding="utf-8"))


# --- The extension's files --------------------------------------------------------------------


def test_the_package_is_staged_and_nothing_else(staged: Path):
    found = {p.relative_to(staged).as_posix() for p in staged.rglob("*") if p.is_file()}
    sources = {
        p.relative_to(PACKAGE).as_posix()
        for p in PACKAGE.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert found == sources | {"blender_manifest.toml", "LICENSE"}
    assert {Path(name).suffix for name in sources} <= {
        *(".py", ".toml", "", ".json"),
        # The gallery's page.
        *(".html", ".css", ".js", ".svg"),
    }
    unwanted = ("__pycache__", "tests", "docs", "demo", "examples", "benchmarks", ".git")
    assert [p for p in found if set(Path(p).parts) & {*unwanted}] == []


def test_staging_again_leaves_nothing_of_the_first_time(staged: Path):
    (staged / "old.py").touch()
    install.stage(staged)
    assert not (staged / "old.py").exists()


def test_one_extension_is_for_every_system_and_python(staged: Path):
    assert not {"wheels", "platforms"} & manifest(staged).keys()
    compiled = {".so", ".pyd", ".dylib", ".dll", ".whl"}
    assert [path for path in staged.rglob("*") if path.suffix in compiled] == []


def test_the_manifest_keeps_blenders_rules(staged: Path):
    found = manifest(staged)
    assert found["schema_version"] == "1.0.0"
    assert found["id"] == PACKAGE.name
    assert found["version"] == objaverse_render_addon.__version__
    assert found["type"] == "add-on"
    assert found["blender_version_min"] == "4.2.0"
    assert found["license"] == ["SPDX:GPL-3.0-or-later"]
    assert "blender" not in found["name"].lower()
    texts = {"tagline": found["tagline"], **found["permissions"]}
    assert set(texts) == {"tagline", "network", "files"}
    for name, text in texts.items():
        assert 0 < len(text) <= 64, name
        assert text[-1].isalnum(), name


def test_the_manifest_in_the_repository_says_the_same(staged: Path):
    # The version there is a copy for readers; it must not grow old.
    path = PACKAGE.parent / "blender_manifest.toml"
    if not path.is_file():
        pytest.skip("this is an installed package")
    here = tomllib.loads(path.read_text(encoding="utf-8"))
    assert manifest(staged) == here


def test_the_package_imports_itself_by_relative_imports_only(staged: Path):
    # Blender imports it as bl_ext.<repository>.objaverse_render_addon.
    names = {PACKAGE.name, "bl_ext", *(path.stem for path in PACKAGE.glob("*.py"))}
    names |= {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    found = []
    for path in staged.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            found += [(path.name, m) for m in modules if m.split(".")[0] in names]
    assert found == []


def test_blenders_own_tool_accepts_the_extension(staged: Path, tmp_path: Path):
    spec = importlib.util.find_spec("bpy")
    if spec is None or not spec.origin:
        pytest.skip("no Blender in this Python")
    tools = Path(spec.origin).parent.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    tool = next(tools, None)
    if tool is None:
        pytest.skip("this bpy came without Blender's extension tool")
    for arguments in (
        ["validate", str(staged)],
        ["build", "--source-dir", str(staged), "--output-dir", str(tmp_path)],
    ):
        done = subprocess.run(
            [sys.executable, str(tool), *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in (done.stdout + done.stderr).lower()
    built = next(tmp_path.glob("*.zip"))
    assert objaverse_render_addon.__version__ in built.name


# --- The launcher -----------------------------------------------------------------------------


def test_the_launcher_goes_among_blenders_addons(tmp_path: Path):
    path = install.write_launcher(tmp_path / "scripts")
    assert path == tmp_path / "scripts" / "addons" / "objaverse_render_addon.py"
    assert install.write_launcher(tmp_path / "scripts") == path
    assert path.read_bytes() == (PACKAGE / "launcher.py").read_bytes()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "scripts").touch()
    with pytest.raises(OutputNotWritable, match="scripts"):
        install.write_launcher(tmp_path / "scripts")


class Addons(types.ModuleType):
    """Blender's ``addon_utils``, as far as the launcher asks it."""

    def __init__(self, *names: str, works: bool = True) -> None:
        super().__init__("addon_utils")
        self.names, self.works = names, works
        self.enabled: list[str] = []

    def modules(self) -> list[types.SimpleNamespace]:
        return [types.SimpleNamespace(__name__=name) for name in self.names]

    def check(self, name: str) -> tuple[bool, bool]:
        return name in self.enabled, name in self.enabled

    def enable(self, name: str, *, persistent: bool) -> object:
        assert persistent
        if not self.works:
            return None
        self.enabled.append(name)
        return object()

    def disable(self, name: str) -> None:
        self.enabled.remove(name)


@pytest.fixture
def launcher(tmp_path: Path) -> types.ModuleType:
    path = install.write_launcher(tmp_path)
    spec = importlib.util.spec_from_file_location("launcher", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXTENSION = "bl_ext.user_default.objaverse_render_addon"


def test_the_launcher_enables_the_extension_and_takes_it_back(launcher, monkeypatch):
    addons = Addons("cycles", "objaverse_render_addon", EXTENSION)
    monkeypatch.setitem(sys.modules, "addon_utils", addons)
    launcher.register()
    assert addons.enabled == [EXTENSION]
    launcher.unregister()
    assert addons.enabled == []


def test_the_launcher_leaves_an_enabled_extension_alone(launcher, monkeypatch):
    addons = Addons(EXTENSION)
    addons.enabled.append(EXTENSION)
    monkeypatch.setitem(sys.modules, "addon_utils", addons)
    launcher.register()
    launcher.unregister()
    assert addons.enabled == [EXTENSION]


@pytest.mark.parametrize(
    "addons", [Addons("objaverse_render_addon"), Addons(EXTENSION, works=False)]
)
def test_the_launcher_says_what_is_missing(launcher, monkeypatch, addons):
    monkeypatch.setitem(sys.modules, "addon_utils", addons)
    with pytest.raises(RuntimeError, match=r"install|could not be enabled"):
        launcher.register()


def test_blender_reads_the_launchers_facts_without_running_it():
    tree = ast.parse((PACKAGE / "launcher.py").read_text(encoding="utf-8"))
    info = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "bl_info"
    )
    assert info["blender"] == (4, 2, 0)
    assert len(info["description"]) <= 64


# --- Blender ----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="programs are scripts here")
@pytest.mark.parametrize("content", ["#!/bin/sh\necho hello\n", "#!/bin/sh\nexit 7\n", None])
def test_a_program_that_is_no_blender_is_named(tmp_path: Path, content: str | None):
    program = tmp_path / "blender"
    if content is not None:
        program.write_text(content)
        program.chmod(0o755)
    with pytest.raises(WorkerStartFailed, match="blender"):
        install.install(program)


@pytest.mark.skipif(sys.platform == "win32", reason="programs are scripts here")
def test_installing_is_done_with_blenders_own_commands(tmp_path: Path):
    """A stand-in that writes down what it is asked, and answers as Blender would."""
    scripts, log, archive = tmp_path / "scripts", tmp_path / "log", tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("blender_manifest.toml", "")
    program = tmp_path / "blender"
    facts = f'{{"version": "5.2.0", "python": "3.13", "scripts": "{scripts}"}}'
    program.write_text(
        f"#!/bin/sh\necho \"$@\" >> '{log}'\n"
        f"case \"$*\" in *user_resource*) echo 'OBJAVERSE-FACTS {facts}';; esac\n"
    )
    program.chmod(0o755)
    done = install.install(program, archive)
    assert done["blender"] == "5.2.0 (Python 3.13)"
    assert Path(done["launcher"]).is_file()
    _, installed, tried = log.read_text().splitlines()
    assert installed == f"--command extension install-file -r user_default -e {archive}"
    assert "--python-exit-code 1 --addons objaverse_render_addon" in tried
    with pytest.raises(SourceNotFound, match="make extension"):
        install.install(program, tmp_path / "missing.zip")
    archive.write_bytes(b"PK")
    with pytest.raises(WrongFormat, match="no zip archive"):
        install.install(program, archive)


@pytest.mark.skipif(sys.platform == "win32", reason="programs are scripts here")
def test_an_addon_that_does_not_load_is_a_failure_although_blender_exits_with_0(tmp_path: Path):
    program = tmp_path / "blender"
    program.write_text("#!/bin/sh\necho 'Add-on not loaded: \"objaverse_render_addon\"'\n")
    program.chmod(0o755)
    with pytest.raises(WorkerStartFailed) as caught:
        install._run(program, "--background")
    assert "Add-on not loaded" in caught.value.log


def test_the_installed_package_stages_itself_without_the_repository(tmp_path: Path, monkeypatch):
    """pip puts manifest and licence into the package; ``install`` has nothing else."""
    home = tmp_path / "site-packages" / PACKAGE.name
    shutil.copytree(PACKAGE, home, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "blender_manifest.toml"):
        source = PACKAGE / name if (PACKAGE / name).is_file() else PACKAGE.parent / name
        shutil.copy(source, home)
    monkeypatch.setattr(install, "PACKAGE", home)
    install.stage(tmp_path / "extension")
    assert manifest(tmp_path / "extension")["id"] == PACKAGE.name
    assert (tmp_path / "extension" / "launcher.py").is_file()
    (home / "blender_manifest.toml").unlink()
    with pytest.raises(SourceNotFound, match="manifest"):
        install.stage(tmp_path / "again")
