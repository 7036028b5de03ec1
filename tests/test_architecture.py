"""The design's rules that a reader of the source can check."""

from __future__ import annotations

import ast
import functools
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

import objaverse_render_addon

PACKAGE = Path(objaverse_render_addon.__file__).parent
ROOT = PACKAGE.parent
# Rooms that exist inside Blender only: its side of the engine, and the add-on's face.
BLENDER_SIDE = {"blender", "ui", "operators", "panels", "passes"}
# May reach into Blender, but only from inside a function.
DOORS = {"__init__", "worker.main", "worker.handlers"}


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
PLAIN = [name for name in MODULES if name.split(".")[0] not in BLENDER_SIDE]


def full_name(name: str) -> str:
    return f"{PACKAGE.name}.{name}".removesuffix(".__init__")


def _imports(tree: ast.AST, inside_functions: bool) -> Iterator[tuple[str, int]]:
    """Imported modules, relative ones with their dots, and their lines."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            if not inside_functions:
                continue
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            if node.module is None:
                yield from ((base + alias.name, node.lineno) for alias in node.names)
            else:
                yield base, node.lineno
        yield from _imports(node, inside_functions)


@functools.cache
def imports(name: str, inside_functions: bool) -> list[tuple[str, int]]:
    """What a module imports, as in :func:`_imports`."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    return list(_imports(tree, inside_functions))


def absolute(name: str, imported: str) -> str:
    """``..errors`` seen from ``batch.run`` is ``errors``."""
    level = len(imported) - len(imported.lstrip("."))
    if not level:
        return imported
    package = name.split(".")[:-1]
    base = package[: len(package) - (level - 1)]
    return ".".join([*base, imported.lstrip(".")])


def test_the_rooms_are_found():
    assert {"job.__init__", "cameras.__init__", "frame", "errors", "worker.main"} <= set(MODULES)
    assert {"cli.render", "batch.run", "dataset.layout", "assets.formats"} <= set(MODULES)


def offenders(
    names: Iterable[str], wrong: Callable[[str, str], bool], *, inside_functions: bool = True
) -> list[tuple[str, str, int]]:
    """Module, what it imports and where, for each import that ``wrong`` says is none of its."""
    return [
        (name, module, line)
        for name in names
        for module, line in imports(name, inside_functions and name not in DOORS)
        if wrong(name, module)
    ]


def room_of(name: str, module: str) -> str:
    return absolute(name, module).split(".")[0] if module.startswith(".") else ""


def test_plain_modules_know_no_blender():
    blenders = {"bpy", "mathutils", "bmesh", "gpu", "bpy_extras", "blf"}
    assert offenders(PLAIN, lambda _, module: module.split(".")[0] in blenders) == []


def test_plain_modules_import_no_room_of_blender():
    assert offenders(PLAIN, lambda name, module: room_of(name, module) in BLENDER_SIDE) == []


def test_the_package_imports_itself_relatively():
    own = {PACKAGE.name, "bl_ext"}
    assert offenders(MODULES, lambda _, module: module.split(".")[0] in own) == []


def test_the_engine_knows_nothing_of_its_doors():
    doors = {"cli", "worker", "batch", "operators", "panels", "ui"}
    engine = [name for name in MODULES if name.startswith("blender.")]
    assert offenders(engine, lambda name, module: room_of(name, module) in doors) == []


def test_relative_imports_lead_somewhere():
    known = {*MODULES, *(module.removesuffix(".__init__") for module in MODULES), ""}

    def lost(name: str, module: str) -> bool:
        target = absolute(name, module) if module.startswith(".") else ""
        return target.strip(".") not in known and target.rpartition(".")[0] not in known

    assert offenders(MODULES, lost) == []


def cycles(*, of_rooms: bool, inside_functions: bool) -> set[str]:
    """Rooms or modules that import themselves by way of others."""
    known = {name.removesuffix(".__init__") for name in MODULES}
    graph: dict[str, set[str]] = {}
    for name in MODULES:
        for module, _ in imports(name, inside_functions):
            if module.startswith("."):
                target = absolute(name, module)
                target = target if target in known else target.rpartition(".")[0]
                ends = (name.removesuffix(".__init__"), target)
                start, end = (end.split(".")[0] for end in ends) if of_rooms else ends
                if start != end and end:
                    graph.setdefault(start, set()).add(end)

    def returns(start: str) -> bool:
        seen, open_ends = set(), [start]
        while open_ends:
            for end in graph.get(open_ends.pop(), set()) - seen:
                seen.add(end)
                open_ends.append(end)
        return start in seen

    return {name for name in graph if returns(name)}


def test_imports_go_one_way():
    # What is imported when a module is: no cycle at all.
    assert cycles(of_rooms=True, inside_functions=False) == set()
    assert cycles(of_rooms=False, inside_functions=False) == set()
    # With what functions import when they are called, these are one cycle; no other room may
    # join, and what the plain rooms stand on (job, cameras, frame, errors, words) least of all.
    late = {"batch", "blender", "compose", "dataset", "worker"}
    assert cycles(of_rooms=True, inside_functions=True) <= late


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_command_line_starts_without_blender_and_without_numpy():
    loaded = run(
        "import sys, objaverse_render_addon, objaverse_render_addon.cli\n"
        "names = 'bpy', 'numpy', 'OpenEXR', 'PIL', 'tqdm'\n"
        "print([name for name in names if name in sys.modules])"
    )
    assert loaded.strip() == "[]"


def test_every_plain_module_is_imported_without_blender():
    names = [full_name(name) for name in PLAIN if not name.endswith("__main__")]
    code = (
        "import sys, importlib\n"
        "sys.modules['bpy'] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print('fine')"
    )
    assert run(code).strip() == "fine"


def test_the_public_names_resolve():
    code = (
        "import sys\n"
        "from objaverse_render_addon import *\n"
        "print(sorted(name for name in dir() if not name.startswith('_') and name != 'sys'))\n"
        "print('bpy' in sys.modules)"
    )
    names, blender = run(code).splitlines()
    assert names == str(sorted(objaverse_render_addon.__all__))
    assert blender == "False"


def test_the_face_of_the_addon_is_on_blenders_side():
    assert {name.split(".")[0] for name in objaverse_render_addon._FACE} <= BLENDER_SIDE
    assert set(objaverse_render_addon._FACE) <= set(MODULES)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="rendr"):
        _ = objaverse_render_addon.rendr


def test_what_a_module_exports_exists():
    missing = [
        (name, item)
        for name in PLAIN
        if not name.endswith("__main__")
        for module in [importlib.import_module(full_name(name))]
        for item in getattr(module, "__all__", [])
        if not hasattr(module, item)
    ]
    assert missing == []
