"""The extension in an installed Blender without a window, as a render farm has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import PROJECT, Debian

SMALL = "--views 2 --resolution 32 --samples 1"
CALL = "import bpy; bpy.ops.objaverse.render_batch(sources='models', output_dir='data')"


def lines_of_the_page() -> list[str]:
    """Every line of docs/extension.md that renders without a window, continued ones joined."""
    text = (PROJECT / "docs/extension.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for line in "\n".join(blocks).replace("\\\n", "").splitlines()]
    return [line for line in lines if line.startswith("blender ") and "models" in line]


def test_the_page_has_lines_to_try() -> None:
    assert len(lines_of_the_page()) == 2


def test_install_says_what_it_did(installed: Debian) -> None:
    launcher = installed.folder / "user/scripts/addons/objaverse_render_addon.py"
    assert launcher.is_file()
    assert (installed.folder / "user/extensions/user_default/objaverse_render_addon").is_dir()


def test_blender_sees_no_policy_violation(installed: Debian) -> None:
    done = installed.run("blender --command extension list")
    assert done.returncode == 0, done.stdout
    assert "objaverse_render_addon" in done.stdout
    assert "Policy violation" not in done.stdout


@pytest.mark.parametrize("line", lines_of_the_page())
def test_lines_of_the_page_work_as_they_stand(installed: Debian, line: str) -> None:
    job = installed.folder / "job.toml"
    job.write_text(
        "[cameras]\nviews = 2\n[engine]\nsamples = 1\n[output]\nresolution = [32, 32]\n"
    )
    done = installed.run(f"rm -rf data; {line}")
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout and "Add-on not loaded" not in done.stdout
    assert (installed.folder / "data/rocket.zip").is_file(), done.stdout


def test_a_failure_has_its_exit_code(installed: Debian) -> None:
    done = installed.run(f"blender --command objaverse render missing.glb --out data {SMALL}")
    assert done.returncode == 10, done.stdout
    assert "source-not-found" in done.stdout


def test_a_failing_batch_is_not_success(installed: Debian) -> None:
    done = installed.run(
        "blender --background --factory-startup --addons objaverse_render_addon"
        ' --python-exit-code 1 --python-expr "import bpy; '
        "bpy.ops.objaverse.render_batch(sources='missing.glb', output_dir='data')\""
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


def test_paths_of_this_machine_are_not_in_the_package(package: Path) -> None:
    import zipfile

    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        assert not [name for name in names if name.endswith((".pyc", ".blend1"))]
        manifest = archive.read("blender_manifest.toml").decode()
    assert str(PROJECT) not in manifest
