"""The wall behind the gate: what runs in a worker reaches nothing, whatever it is."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from objaverse_render_addon.batch.doctor import examine
from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.errors import SandboxUnavailable
from objaverse_render_addon.worker import wall
from objaverse_render_addon.worker.protocol import Done, Open, Opened, RenderAsset
from objaverse_render_addon.worker.supervisor import Place, Supervisor
from objaverse_render_addon.worker.wall import Grounds

from . import hostile, scenes

QUICK = {"cameras.views": 1, "pixels.resolution": [16, 16], "engine.samples": 1,
         "engine.denoise": False, "pixels.passes": ["rgb", "depth"]}  # fmt: skip
needs_landlock = pytest.mark.skipif(
    not wall.available(), reason="this system has no Landlock of version 2 (Linux 5.19)"
)

# What takes the gate's place in the worker: code that a file has brought to run.
EXPLOIT = '''
import sys
from importlib.machinery import PathFinder

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name != "objaverse_render_addon.blender.reach":
            return None
        spec = PathFinder.find_spec(name, path, target)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            module.Gate = Exploit
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Hook())

def attempt(action):
    try:
        return repr(action())
    except OSError as error:
        return type(error).__name__

class Exploit:
    warnings = []
    def __init__(self, path, *_):
        import ctypes, json, os, signal, socket, subprocess, threading
        self.path = path.resolve()
        want = json.loads((path.parent / "want.json").read_text())
        canary, outside, port, local, parent = (
            want[name] for name in ("canary", "outside", "port", "local", "parent"))
        def inet(kind):
            with socket.socket(socket.AF_INET, kind) as one:
                one.settimeout(2)
                one.connect(("127.0.0.1", port))
        def datagram():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.sendto(b"x", ("127.0.0.1", port))
        def near():
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(local)
        def shell():
            done = subprocess.run(["/bin/sh", "-c", f"cat {canary}"], capture_output=True)
            if not done.stdout:
                raise PermissionError
            return done.stdout
        def thread():
            box = []
            one = threading.Thread(target=lambda: box.append(attempt(attempts["read"])))
            one.start()
            one.join()
            if box[0] == "PermissionError":
                raise PermissionError
            return box[0]
        def ring():
            memory = ctypes.create_string_buffer(120)
            if ctypes.CDLL(None).syscall(425, 1, memory) < 0:
                raise PermissionError
        attempts = {
            "read": lambda: open(canary).read(),
            "thread": thread,
            "read-through-root": lambda: open(f"/proc/self/root{canary}").read(),
            "list": lambda: os.listdir(outside),
            "write": lambda: open(canary, "w").write("x"),
            "make": lambda: open(f"{outside}/made", "w"),
            "link": lambda: os.link(canary, f"{os.environ['TMPDIR']}/linked"),
            "truncate": lambda: os.truncate(canary, 0),
            "remove": lambda: os.unlink(canary),
            "move": lambda: os.rename(canary, f"{os.environ['TMPDIR']}/moved"),
            "environment": lambda: open(f"/proc/{parent}/environ").read(),
            "memory": lambda: open(f"/proc/{parent}/mem", "rb").read(1),
            "descriptors": lambda: os.listdir(f"/proc/{parent}/fd"),
            "own-asset": lambda: open(self.path, "r+b"),
            "tcp": lambda: inet(socket.SOCK_STREAM),
            "udp": lambda: inet(socket.SOCK_DGRAM),
            "datagram": datagram,
            "ring": ring,
            "local": near,
            "child": shell,
        }
        if want["abi"] >= 6:
            attempts["signal"] = lambda: os.kill(parent, 0)
        said = {name: attempt(action) for name, action in attempts.items()}
        allowed = {
            "asset": lambda: open(self.path, "rb").read(4),
            "scratch": lambda: open(f"{os.environ['TMPDIR']}/own", "w").write("x"),
        }
        may = {name: attempt(action) for name, action in allowed.items()}
        open(f"{want['out']}/said.json", "w").write(json.dumps([said, may]))
    def __enter__(self):
        return self.path
    def __exit__(self, *_):
        pass
    def origin(self, name):
        return name
'''


@needs_landlock
@pytest.mark.core
def test_what_runs_in_a_worker_reaches_nothing_without_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {name: tmp_path / name for name in ("assets", "outside", "exploit")}
    for folder in folders.values():
        folder.mkdir()
    canary = folders["outside"] / "canary.txt"
    canary.write_text("the secret")
    (folders["exploit"] / "sitecustomize.py").write_text(EXPLOIT)
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(folders["exploit"]), before]))
    )
    monkeypatch.setenv("HF_TOKEN", "the secret of the environment")
    path = scenes.write_glb(folders["assets"] / "asset.glb")
    local = str(tmp_path / "local")
    said: dict[str, dict[str, str]] = {}
    with hostile.listening() as (server, heard), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(local)
        listener.listen()
        for sandbox in ("on", "off"):
            out = tmp_path / f"out-{sandbox}"
            want = {
                "canary": str(canary), "outside": str(folders["outside"]), "local": local,
                "port": int(server.rpartition(":")[2]), "parent": os.getpid(), "out": str(out),
                "abi": wall.available(),
            }  # fmt: skip
            (path.parent / "want.json").write_text(json.dumps(want))
            report = render([path], scenes.make_job(QUICK), out, RunOptions.of(sandbox=sandbox))
            assert not report.failed, report.results
            said[sandbox], may = json.loads((out / "said.json").read_text())
            assert may == {"asset": repr(b"glTF"), "scratch": "1"}
            if sandbox == "on":
                assert heard == [] and canary.read_text() == "the secret"
                assert [one.name for one in folders["outside"].iterdir()] == ["canary.txt"]
    assert set(said["on"].values()) <= {"PermissionError", "OSError"}, said["on"]
    # Without it, the same does what it wants: the test would see that.
    reached = {name for name, answer in said["off"].items() if not answer.endswith("Error")}
    assert {"read", "write", "make", "thread", "tcp", "datagram", "local"} <= reached, said["off"]


@needs_landlock
def test_good_assets_are_the_same_files_inside_the_wall(tmp_path: Path) -> None:
    """Also where each lies in a folder of its own, or behind a link."""
    sources: list[Path] = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        image = hostile.picture(tmp_path / name / "tex.png").name
        sources += [
            hostile.write_gltf(tmp_path / name / f"{name}1.gltf", image=image),
            hostile.write_obj(tmp_path / name / f"{name}2.obj", f"{name}2.mtl", f"map_Kd {image}"),
            hostile.write_usdz(tmp_path / name / f"{name}3.usdz", hostile.usd_text("t.png"),
                               **{"t.png": (tmp_path / name / image).read_bytes()}),
        ]  # fmt: skip
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "linked.gltf"
    link.symlink_to(sources[0])
    sources.append(link)
    files: dict[str, dict[str, dict[str, bytes]]] = {}
    stands: dict[str, set[str]] = {}
    for sandbox in ("on", "off"):
        out = tmp_path / f"out-{sandbox}"
        options = RunOptions.of(sandbox=sandbox, workers=1)
        report = render(sources, scenes.make_job(QUICK), out, options)
        assert not report.failed and not any(one.warnings for one in report.results)
        files[sandbox], stands[sandbox] = {}, set()
        for path in out.glob("*.zip"):
            with zipfile.ZipFile(path) as archive:
                content = {name: archive.read(name) for name in archive.namelist()}
            (record,) = [content.pop(name) for name in list(content) if name.endswith(".json")]
            stands[sandbox].add(json.loads(record)["render_settings"]["sandbox"])
            files[sandbox][path.name] = content
    assert files["on"] == files["off"] and len(files["on"]) == len(sources)
    assert stands["off"] == {""}
    (how,) = stands["on"]
    assert how.startswith(f"landlock {wall.available()}")
    assert how.split(" ", 1)[1] in examine()["sandbox"]["workers"]


@needs_landlock
def test_a_worker_is_replaced_only_where_an_asset_lies_elsewhere(tmp_path: Path) -> None:
    paths = []
    for index in range(9):
        folder = tmp_path / "deep" / f"{index}" / "model"
        folder.mkdir(parents=True)
        paths.append(scenes.write_glb(folder / "model.glb"))
    job = scenes.make_job(QUICK).to_dict()
    supervisor = Supervisor(Place(), folders=[paths[0].parent, paths[1].parent])
    try:
        pids: list[int] = []
        for path in paths:
            answer = supervisor.ask(Open(str(path), str(path), "model", job), 60).message
            assert isinstance(answer, Opened), answer
            pids.append(supervisor.start().pid)
    finally:
        supervisor.close()
    assert pids[0] == pids[1]
    # Then one after the other, until what is above them all is allowed.
    assert len(set(pids)) < 7 and pids[-1] == pids[-2]


def test_where_there_is_no_wall_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wall, "available", lambda: 0)
    path = scenes.write_glb(tmp_path / "cube.glb")
    job = scenes.make_job(QUICK)
    with pytest.raises(SandboxUnavailable, match="Landlock"):
        render([path], job, tmp_path / "on", RunOptions.of(sandbox="on"))
    assert not (tmp_path / "on").exists()
    told: dict[str, list[str]] = {}
    for sandbox in ("auto", "off"):
        seen: list[Any] = []
        report = render(
            [path], job, tmp_path / sandbox, RunOptions.of(sandbox=sandbox), on_event=seen.append
        )
        assert report.results[0].status == "done"
        told[sandbox] = [event.text for event in seen if event.kind == "notice"]
    assert any("docs/security.md" in text for text in told["auto"])
    assert not any("docs/security.md" in text for text in told["off"])
    assert "no Landlock" in examine()["sandbox"]["workers"]


# A program that tries what a driver does, in the place of a worker.
DRIVER = """
import json, os, sys
dev, home = sys.argv[1:]
def attempt(action):
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"
print(json.dumps({
    "card": attempt(lambda: open(f"{dev}/nvidia0", "r+b").close()),
    "control": attempt(lambda: open(f"{dev}/nvidiactl", "r+b").close()),
    "capabilities": attempt(lambda: os.listdir(f"{dev}/nvidia-caps")),
    "render": attempt(lambda: open(f"{dev}/dri/renderD128", "r+b").close()),
    "amd": attempt(lambda: open(f"{dev}/kfd", "r+b").close()),
    "compiled": attempt(lambda: open(f"{home}/.nv/compiled", "w").close()),
    "mesa": attempt(lambda: open(f"{home}/.cache/mesa_shader_cache/compiled", "w").close()),
    "disk": attempt(lambda: open(f"{dev}/sda", "rb").close()),
    "made": attempt(lambda: open(f"{dev}/dri/made", "w").close()),
    "home": attempt(lambda: open(f"{home}/notes", "r").close()),
    "linked": attempt(lambda: open(f"{home}/.cache/cycles/compiled", "w").close()),
    "other": attempt(lambda: open(f"{home}/.cache/other/compiled", "w").close()),
}))
"""


@needs_landlock
def test_drivers_reach_their_devices_and_what_they_compiled_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With files in the place of devices, which this machine need not have."""
    dev, home, scratch = tmp_path / "dev", tmp_path / "home", tmp_path / "scratch"
    for folder in (
        dev / "dri", dev / "nvidia-caps", home / ".cache" / "mesa_shader_cache",
        home / ".cache" / "other", scratch, tmp_path / "elsewhere",
    ):  # fmt: skip
        folder.mkdir(parents=True)
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm", "dri/renderD128", "kfd", "sda"):
        (dev / name).touch()
    (home / "notes").touch()
    (home / ".cache" / "cycles").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(wall, "_DEV", dev)
    monkeypatch.setattr(wall, "_OPTIX", tmp_path)
    monkeypatch.setenv("HOME", str(home))
    program = wall.absolute(sys.executable)
    before = wall.launcher(program, {}, scratch, Grounds())
    # Where drivers keep what they compile is there before them, and its owner's alone.
    assert (home / ".nv").stat().st_mode & 0o777 == 0o700
    done = subprocess.run(
        [*before, program, "-I", "-S", "-c", DRIVER, str(dev), str(home)],
        capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    said = json.loads(done.stdout)
    refused = {"disk", "made", "home", "linked", "other"}
    assert {name for name, answer in said.items() if answer == "PermissionError"} == refused, said
    assert {said[name] for name in said.keys() - refused} == {"done"}, said
    assert not any((tmp_path / "elsewhere").iterdir())
    # Without a card there is nothing to keep.
    monkeypatch.setattr(wall, "_DEV", tmp_path / "elsewhere")
    assert wall._caches() == []


def test_many_folders_become_few_and_never_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    root = Path("/data/models")
    assert wall.gathered([root / "a", root / "a" / "b"]) == (root / "a",)
    assert wall.gathered([root / str(index) / "model" for index in range(300)]) == (root,)
    home = [Path(f"/home/somebody/{index}") for index in range(300)]
    assert set(wall.gathered(home)) == set(home)
    # The first folder below everything is too much, too.
    assert len(wall.gathered([Path(f"/data/{index}") for index in range(300)])) == 300
    assert not Grounds((root,)).lacks(Grounds((root / "a",)))
    assert Grounds((root,)).lacks(Grounds((root.parent,)))
    assert Grounds((root,)).lacks(Grounds((), (root,)))


@needs_landlock
@pytest.mark.core
def test_an_output_that_was_made_anew_can_be_written_again(tmp_path: Path) -> None:
    """Rules are of folders, not of names: what stood there before is another one."""
    path = scenes.write_glb(tmp_path / "cube.glb")
    job = scenes.make_job(QUICK).to_dict()
    out = tmp_path / "out"
    supervisor = Supervisor(Place(), sandbox="on")
    try:
        pids = []
        for turn in range(3):
            if turn == 2:
                out.rename(tmp_path / "moved")
            request = RenderAsset(str(path), str(path), f"cube-{turn}", job, str(out))
            answer = supervisor.ask(request, 60).message
            assert isinstance(answer, Done), answer
            pids.append(supervisor.start().pid)
    finally:
        supervisor.close()
    assert pids[0] == pids[1] != pids[2]
    assert sorted(one.name for one in out.glob("*.zip")) == ["cube-2.zip"]


@needs_landlock
@pytest.mark.core
def test_what_is_fetched_into_a_folder_that_was_not_there_is_read(tmp_path: Path) -> None:
    """The first download of a machine: the worker is there before the cache is."""
    from objaverse_server import serving

    good = scenes.write_glb(tmp_path / "cube.glb")
    with serving() as server:
        server.anything = good.read_bytes()
        report = render(
            [good, f"{server.endpoint}/first.glb", f"{server.endpoint}/second.glb"],
            scenes.make_job(QUICK), tmp_path / "out",
            RunOptions.of(sandbox="on", workers=1, download_dir=tmp_path / "none" / "cache"),
        )  # fmt: skip
    assert [one.status for one in report.results] == ["done"] * 3, report.results
