"""Hundreds of hostile inputs: none reads, writes or reaches what is not its own.

A part of the matrix runs with every suite; the whole, inside the wall and without it, from this
machine's disk and from a server, is what ``make test-long`` runs.
"""

from __future__ import annotations

import functools
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from objaverse_render_addon.batch.options import RunOptions
from objaverse_render_addon.batch.run import render
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.worker import wall

from . import hostile, hostile_matrix, scenes
from .hostile_matrix import CANARY, Case, Ground

QUICK = {"cameras.views": 1, "pixels.resolution": [16, 16], "engine.samples": 1,
         "engine.denoise": False, "pixels.passes": ["rgb", "depth"]}  # fmt: skip
TOKEN = "the-secret-of-the-environment"
SECONDS = 10.0
"""In which each has to end."""

pytestmark = [
    pytest.mark.skipif(
        not Path("/proc/self/environ").exists(), reason="pipes, devices and inotify are Linux's"
    ),
    # Blender's own, where a node of its shading language gets a file.
    pytest.mark.filterwarnings("ignore:.*CyclesRender:pytest.PytestUnraisableExceptionWarning"),
]


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A server of a folder's files, and what it was asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """What is below a folder, and since when."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (status.st_size, status.st_mtime_ns)
    return found


def contents(archive: Path) -> dict[str, bytes]:
    """A finished asset's files, but for its record, which has times in it."""
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist() if not name.endswith(".json")}


def bytes_of(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Everything that was written, archives taken apart."""
    for path in folder.rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        yield path, path.read_bytes()
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                yield from ((path / name, archive.read(name)) for name in archive.namelist())


class Attack:
    """Cases between good assets, and what became of them all."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
        self.root = root
        self.ground = Ground(root / "inside", root / "outside", server)
        self.work = root / "work"
        for folder in (self.ground.inside, self.ground.outside, self.work):
            folder.mkdir()
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hostile_matrix.place_secrets(self.ground.outside)
        self.good = hostile_matrix.neighbours(root / "good")
        alone = self.run("alone", list(map(str, self.good)), "off")
        assert not alone.failed, alone.results
        self.truth = {
            path.stem: contents(root / "alone" / f"{path.stem}.zip") for path in self.good
        }

    def run(
        self, name: str, sources: list[str], sandbox: str, on_result: Any = None, **more: Any
    ) -> Any:
        return render(
            sources, scenes.make_job(QUICK), self.root / name,
            RunOptions.of(
                workers=1, timeout=60, max_memory=3 << 30, sandbox=sandbox,
                download_dir=self.root / f"cache-{name}",
                scratch=self._scratch(name), **more,
            ),
            on_result=on_result,
        )  # fmt: skip

    def _scratch(self, name: str) -> Path:
        folder = self.root / f"scratch-{name}"
        folder.mkdir(exist_ok=True)
        return folder

    def launch(self, cases: list[Case], sandbox: str, served: bool, heard: list[bytes]) -> str:
        """Run them, see that nothing came of it, and say how they ended."""
        ground = self.ground
        name = f"{sandbox}-{'served' if served else 'local'}"
        took: dict[str, float] = {}
        last = time.monotonic()

        def ended(result: Any) -> None:
            nonlocal last
            took[result.source] = time.monotonic() - last
            last = time.monotonic()

        before = tree(ground.outside), tree(ground.inside)
        with serving(ground.inside) as (web, asked):
            wild = {case.name: case.source for case in cases}
            if served:
                wild = {
                    key: f"{web}/{Path(source).relative_to(ground.inside)}"
                    for key, source in wild.items()
                }
            sources = list(wild.values())
            step = len(sources) // len(self.good) + 1
            mixed = [
                one for index, path in enumerate(self.good)
                for one in (str(path), *sources[index * step : (index + 1) * step])
            ]  # fmt: skip
            with hostile.watched(ground.outside, *ground.watched) as opened:
                report = self.run(name, mixed, sandbox, ended)
        by_source = {result.source: result for result in report.results}
        wrong: list[Any] = [
            (case.name, complaint)
            for case in cases
            if (complaint := self.judge(case, by_source[wild[case.name]], took, served))
        ]
        wrong += [("opened", one) for one in sorted(set(opened))]
        wrong += [("asked", one) for one in heard]
        wrong += [("asked", path) for path in asked if ".." in unquote(path).split("/")]
        wrong += [("left", path) for path in self._scratch(name).iterdir()]
        for folder, then in zip((ground.outside, ground.inside), before, strict=True):
            wrong += [("changed", one) for one in set(tree(folder).items()) ^ set(then.items())]
        for path in self.good:
            result = by_source[str(path)]
            if result.status != "done":
                wrong.append(("good", result))
            elif contents(self.root / name / f"{path.stem}.zip") != self.truth[path.stem]:
                wrong.append(("differs", path))
        for folder in (self.root / name, self.root / f"cache-{name}"):
            for path, data in bytes_of(folder):
                # What was fetched may have the name of what it asks for in it.
                seen = CANARY.encode() in data and folder == self.root / name
                if TOKEN.encode() in data or seen:
                    wrong.append(("has the secret", path))
        assert not wrong, "\n".join(map(str, wrong))
        count = len(cases), sum(result.status == "done" for result in report.results)
        return f"{name}: {count[0]} cases, {count[1] - len(self.good)} rendered without, " \
               f"slowest {max(took.values()):.1f} s"

    def judge(self, case: Case, result: Any, took: dict[str, float], served: bool) -> str:
        if took[result.source] > SECONDS:
            return f"took {took[result.source]:.1f} s"
        if result.status != "done":
            if result.error is None:
                return f"ended as {result.status}"
            said = f"{result.error.message} {result.error.log}"
            if TOKEN in said or CANARY in said or "objaverse-render-" in said:
                return f"tells {said}"
            return "" if result.error.reason in NAMED else f"{result.error.reason}: {said[:300]}"
        if NEEDED & set(case.name.split("-")[:2]) and "buffer" in case.name:
            return "rendered without its buffer"
        said = [text for text in result.warnings if text.startswith("missing-")]
        if not (said or case.silent or served):
            return f"says nothing of what is missing: {result.warnings}"
        with AssetReader(Path(result.path)) as asset:
            if "objaverse-render-" in json.dumps(asset.metadata):
                return "its record names our folders"
            rgb = asset.read(0)["rgb"].astype(int)
        # Magenta is the secret picture, and the secret material.
        return "shows the secret" if (rgb[..., 0] - rgb[..., 1]).max() > 40 else ""


NAMED = {"missing-parts", "unsafe-data", "wrong-format", "truncated-file", "empty-file",
         "source-not-found", "protocol-not-allowed", "import-failed", "no-geometry",
         "download-failed", "unsupported-format"}  # fmt: skip
NEEDED = {"gltf", "glb"}
LIVE = {
    "gltf-buffer", "gltf-image", "glb-buffer", "glb-image", "obj-library", "obj-map",
    "usd-reference", "usd-payload", "usd-sublayer", "usd-texture", "usd-clips", "usd-part",
    "usdz-texture", "usdz-reference", "fbx-texture", "blend-image", "blend-sequence",
    "blend-world", "blend-library", "blend-font", "blend-volume",
    "blend-cachefile", "blend-meshcache", "blend-light",
}  # fmt: skip
IDLE = {"blend-nodes-csv", "blend-nodes-vdb", "blend-nodes-computed"}


@pytest.mark.core
def test_hostile_files_reach_nothing_and_their_neighbours_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of reference, every trick; not each with each."""
    with hostile.listening() as (server, heard):
        attack = Attack(tmp_path, monkeypatch, server)
        cases = [
            *hostile_matrix.references(attack.ground, attack.work, every=9),
            *hostile_matrix.particular(attack.ground),
        ]
        print(attack.launch(cases, "auto", False, heard))


@pytest.mark.long
@pytest.mark.parametrize("served", [False, True], ids=["local", "served"])
@pytest.mark.parametrize("sandbox", ["off", "on"])
def test_the_whole_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: str, served: bool
) -> None:
    if sandbox == "on" and not wall.available():
        pytest.skip("this system has no Landlock of version 2 (Linux 5.19)")
    with hostile.listening() as (server, heard):
        attack = Attack(tmp_path, monkeypatch, server)
        ground = attack.ground
        cases = [
            *hostile_matrix.references(ground, attack.work),
            *hostile_matrix.particular(ground),
            *hostile_matrix.sources(ground),
            *hostile_matrix.packages(ground),
        ]
        assert len(cases) >= 300
        chosen = [case for case in cases if case.portable or not served]
        print(attack.launch(chosen, sandbox, served, heard))


@pytest.mark.long
def test_what_the_matrix_asks_for_would_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the user allows the folder, it is: no case is hostile in name only."""
    with hostile.listening() as (server, _):
        attack = Attack(tmp_path, monkeypatch, server)
        ground = attack.ground
        cases = [
            case for case in hostile_matrix.references(ground, attack.work)
            if case.name.endswith("-absolute")
        ]  # fmt: skip
        took: dict[str, set[str]] = {}
        with hostile.watched(ground.outside) as opened:

            def ended(result: Any) -> None:
                took[result.asset_id.removesuffix("-absolute")] = set(opened.now())
                opened.clear()

            attack.run("all", [case.source for case in cases], "off", ended,
                       allow_outside=[ground.outside])  # fmt: skip
    # What is left is never read (sounds, films, scripts), or led elsewhere whatever is allowed.
    read = {name for name, seen in took.items() if seen}
    assert read >= LIVE, LIVE - read
    assert not {name for name in took if name.startswith("blend-nodes")} - read - IDLE


@pytest.mark.core
def test_addresses_in_lists_of_every_format_reach_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hostile.listening() as (server, heard):
        attack = Attack(tmp_path, monkeypatch, server)
        before = tree(attack.ground.outside)
        ends: dict[str, set[str]] = {}
        with hostile.watched(attack.ground.outside) as opened:
            for path in hostile_matrix.lists(attack.ground):
                # One good asset is enough to see that the others keep it from nothing.
                good = [str(attack.good[0])] if not ends else []
                report = attack.run(f"out{path.suffix}", [*good, str(path)], "auto")
                assert [one.status for one in report.results[: len(good)]] == ["done"] * len(good)
                rest = report.results[len(good) :]
                assert len(rest) == len(dict(hostile_matrix.addresses(attack.ground)))
                ends[path.suffix] = {one.error.reason if one.error else "done" for one in rest}
        refused = {"protocol-not-allowed", "source-not-found", "unsupported-format"}
        assert all(reasons == refused for reasons in ends.values()), ends
        assert {".txt", ".csv", ".json", ".jsonl"} <= ends.keys()
        assert not opened and heard == [] and tree(attack.ground.outside) == before
