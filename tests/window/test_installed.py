"""The extension in an installed Blender without a window, as a render farm has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import PROJECT, Debian

SMALL = "--views 2 --resolution 32 --samples 1"
CALL = "import bpy; bpy.ops.objaverse.render_batch(sources='models', output_dir='data')"


def lines_of(page: str) -> list[str]:
    """The page's shell lines about Blender without a window, continued ones joined."""
    text = (PROJECT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for line in "\n".join(blocks).replace("\\\n", "").splitlines()]
    return [line for line in lines if re.match(r"blender |objaverse-render install", line)]


TOUR = [line for line in lines_of("docs/extension.md") if "models" in line]
(INSTALL_LINE,) = [line for line in lines_of("README.md") if "install" in line]
README = [line for line in lines_of("README.md") if line != INSTALL_LINE]


def test_the_pages_have_lines_to_try() -> None:
    assert len(TOUR) == 2
    assert len(README) == 2
    assert "--addons objaverse_render_addon" in README[0]
    assert README[1].startswith("blender --command objaverse render ")


def test_the_line_that_installs_works_as_it_stands(debian: Debian, tmp_path: Path) -> None:
    root = debian.root.resolve()
    # Blender as a program of this machine: the Debian folder is known in itself by its own name.
    link = root / root.relative_to("/")
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to("/")
    program = tmp_path / "blender"
    program.write_text(f'#!/bin/sh\nexec chroot {root} blender "$@"\n')
    program.chmod(0o755)
    resources = debian.folder / "from-readme"
    environment = {
        **os.environ, "TMPDIR": str(debian.folder), "BLENDER_USER_RESOURCES": str(resources),
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:{os.environ['PATH']}",
    }  # fmt: skip
    line = INSTALL_LINE.replace("/path/to/blender", str(program))
    assert line != INSTALL_LINE
    done = subprocess.run(
        line, shell=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert (resources / "extensions/user_default/objaverse_render_addon").is_dir()
    assert (resources / "scripts/addons/objaverse_render_addon.py").is_file()


def test_install_says_what_it_did(installed: Debian) -> None:
    launcher = installed.folder / "user/scripts/addons/objaverse_render_addon.py"
    assert launcher.is_file()
    assert (installed.folder / "user/extensions/user_default/objaverse_render_addon").is_dir()


def test_blender_sees_no_policy_violation(installed: Debian) -> None:
    done = installed.run("blender --command extension list")
    assert done.returncode == 0, done.stdout
    assert "objaverse_render_addon" in done.stdout
    assert "Policy violation" not in done.stdout


JOB = "[cameras]\nviews = 2\n[engine]\nsamples = 1\n[pixels]\nresolution = [32, 32]\n"
# What a new file starts with; factory settings would render for minutes.
STARTUP = """
import bpy
bpy.ops.objaverse.load_job(filepath='job.toml')
bpy.ops.wm.save_homefile()
"""


@pytest.mark.parametrize("line", [*TOUR, *README])
def test_lines_of_the_pages_work_as_they_stand(installed: Debian, line: str) -> None:
    (installed.folder / "job.toml").write_text(JOB)
    startup = installed.folder / "user/config/startup.blend"
    if not startup.exists():
        (installed.folder / "startup.py").write_text(STARTUP)
        done = installed.run("blender --background --python-exit-code 1 --python startup.py")
        assert done.returncode == 0, done.stdout
        assert startup.exists()
    done = installed.run(f"rm -rf data out rocket.glb; ln -s models/rocket.glb .; {line}")
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout and "Add-on not loaded" not in done.stdout
    made = [name for name in ("data", "out") if (installed.folder / name / "rocket.zip").is_file()]
    assert len(made) == 1, done.stdout


def test_a_failure_has_its_exit_code(installed: Debian) -> None:
    done = installed.run(f"blender --command objaverse render missing.glb --out data {SMALL}")
    assert done.returncode == 10, done.stdout
    assert "source-not-found" in done.stdout


def test_a_failing_batch_is_not_success(installed: Debian) -> None:
    done = installed.run(
        "blender --background --factory-startup --addons objaverse_render_addon"
        ' --python-exit-code 1 --python-expr "import bpy; '
        "bpy.ops.objaverse.render_batch(sources='missing.glb', output_dir='missing')\""
    )
    assert done.returncode == 1, done.stdout
    assert "does not exist" in done.stdout


def test_a_launcher_without_the_extension_says_so(debian: Debian) -> None:
    launcher = debian.folder / "bare/scripts/addons/objaverse_render_addon.py"
    launcher.parent.mkdir(parents=True)
    done = debian.run(
        'PYTHONPATH=source python3 -c "from pathlib import Path;'
        "from objaverse_render_addon.install import write_launcher;"
        "write_launcher(Path('bare/scripts'))\""
    )
    assert done.returncode == 0, done.stdout
    done = debian.run(
        "blender --background --factory-startup --addons objaverse_render_addon"
        f' --python-exit-code 1 --python-expr "{CALL}"',
        BLENDER_USER_RESOURCES=f"{debian.home}/bare",
    )
    assert "the extension is not installed" in done.stdout
    assert done.returncode == 1, done.stdout


def test_a_broken_package_is_not_reported_as_installed(debian: Debian) -> None:
    (debian.folder / "broken.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    done = debian.run(
        "PYTHONPATH=source python3 -m objaverse_render_addon.cli install"
        " --blender /usr/bin/blender --extension broken.zip",
        BLENDER_USER_RESOURCES=f"{debian.home}/bare",
    )
    assert done.returncode not in (0, 1), done.stdout
    assert "Traceback" not in done.stdout


TWICE = '''
import addon_utils, bpy

NAME = "bl_ext.user_default.objaverse_render_addon"

def state():
    handlers = {n: len(getattr(bpy.app.handlers, n)) for n in dir(bpy.app.handlers)
                if isinstance(getattr(bpy.app.handlers, n), list)}
    known = sorted(n for n in dir(bpy.types) if "objaverse" in n.lower())
    props = [hasattr(bpy.types.Scene, "objaverse"), hasattr(bpy.types.WindowManager, "objaverse")]
    return handlers, known, props, bpy.utils.preset_paths("objaverse/render")

addon_utils.disable(NAME)
first = state()
assert not first[1] and not any(first[2]), first
for _ in range(2):
    assert addon_utils.enable(NAME)
    assert any(state()[2]) and state()[3]
    addon_utils.disable(NAME)
    assert state() == first, (state(), first)
print("CLEAN")
'''


def test_enabling_twice_leaves_nothing(installed: Debian) -> None:
    (installed.folder / "twice.py").write_text(TWICE)
    done = installed.run("blender --background --python-exit-code 1 --python twice.py")
    assert done.returncode == 0 and "CLEAN" in done.stdout, done.stdout
    assert "registered before" not in done.stdout and "Traceback" not in done.stdout


SPOKEN = """
import addon_utils, bpy

NAME = "bl_ext.user_default.objaverse_render_addon"
words = [("Render Asset", "Operator"), ("Preview Cameras", "Operator"), ("No Texture", "*")]
bpy.context.preferences.view.use_translate_interface = True
def said(language):
    bpy.context.preferences.view.language = language
    return [bpy.app.translations.pgettext_iface(text, context) for text, context in words]
for language, wanted in {
    "de_DE": ["Asset rendern", "Kameras zeigen", "Ohne Textur"],
    "zh_HANS": ["渲染资产", "预览相机", "无纹理"],
}.items():
    assert said(language) == wanted, said(language)
addon_utils.disable(NAME)
assert said("de_DE")[0] == "Render Asset"
addon_utils.enable(NAME)
assert said("de_DE")[0] == "Asset rendern"
print("SPOKEN")
"""


def test_labels_are_in_blenders_language(installed: Debian) -> None:
    (installed.folder / "spoken.py").write_text(SPOKEN, encoding="utf-8")
    done = installed.run("blender --background --python-exit-code 1 --python spoken.py")
    assert done.returncode == 0 and "SPOKEN" in done.stdout, done.stdout


def test_the_package_holds_what_it_needs_and_nothing_else(package: Path) -> None:
    import zipfile

    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
    page = PROJECT / "objaverse_render_addon/dataset/gallery/page"
    assert {f"dataset/gallery/page/{path.name}" for path in page.iterdir()} <= names
    assert {"blender_manifest.toml", "LICENSE", "dataset/metadata.schema.json"} <= names
    kinds = {".py", ".js", ".css", ".html", ".svg", ".json", ".toml", ""}
    odd = [name for name in names if Path(name).suffix not in kinds and not name.endswith("/")]
    assert odd == []
    assert [name for name in names if "test" in Path(name).parts or "tests" in name] == []


def test_paths_of_this_machine_are_not_in_the_package(package: Path) -> None:
    import zipfile

    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        assert not [name for name in names if name.endswith((".pyc", ".blend1"))]
        manifest = archive.read("blender_manifest.toml").decode()
    assert str(PROJECT) not in manifest
