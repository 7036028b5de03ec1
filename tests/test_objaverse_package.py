"""The real ``objaverse`` package, pointed at the same server and cache: each finds what the other
has fetched.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import glb_shell as glb
from objaverse_server import Server, serving, sha256

from objaverse_render_addon.assets import xl
from objaverse_render_addon.assets.resolve import Resolver
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.dataset.verify import verify_asset
from objaverse_render_addon.errors import OnlineAccessDenied

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("objaverse") is None,
    reason="the objaverse package is not installed: nothing proves that the caches fit",
)
UID, OTHER = "0" * 32, "ab" * 16
XL = "/datasets/allenai/objaverse-xl/resolve/main/"
THING = "https://www.thingiverse.com/thing:3/files?fileId=1234"
HAT = "https://3d-api.si.edu/content/document/3d_package:a/resources/hat.glb"
STL = b"\0" * 80 + (2).to_bytes(4, "little") + bytes(range(100))

# The package has its server's address written into it; everything else is as it comes.
PACKAGE = """
import functools, json, multiprocessing, os, sys, urllib.request, requests
from urllib.parse import urlsplit
endpoint = os.environ["TEST_ENDPOINT"]
def here(url):
    path = urlsplit(url)._replace(scheme="", netloc="").geturl()
    return endpoint + path
retrieve, urlopen, get = urllib.request.urlretrieve, urllib.request.urlopen, requests.get
urllib.request.urlretrieve = lambda url, *rest: retrieve(here(url), *rest)
urllib.request.urlopen = lambda url, *rest: urlopen(here(url), *rest)
requests.get = lambda url, **rest: get(here(url), **rest)
multiprocessing.set_start_method("fork")
import objaverse, objaverse.xl, pandas
def told(kind, **rest):
    with open(os.environ["TEST_TOLD"], "a") as file:
        file.write(json.dumps([kind, rest["file_identifier"]]) + "\\n")
handlers = {f"handle_{kind}_object": functools.partial(told, kind)
            for kind in ("found", "modified", "missing", "new")}
def objects(*rows):
    return pandas.DataFrame(rows, columns=["fileIdentifier", "source", "sha256"])
result = eval(sys.argv[1])
print("RESULT", json.dumps(result), flush=True)
# What it leaves running can bring Python's end down ("terminate called"), which is not the matter.
os._exit(0)
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        monkeypatch.setattr(xl, "THINGIVERSE", running.endpoint)
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def package(server: Server, home: Path, expression: str, hub: Path | None = None) -> Any:
    """What the package answers, with ``home`` as the user's folder."""
    home.mkdir(exist_ok=True)
    environment = {
        **os.environ, "HOME": str(home), "USERPROFILE": str(home), "LOGURU_LEVEL": "ERROR",
        "TEST_ENDPOINT": server.endpoint, "TEST_TOLD": str(home / "told"),
    }  # fmt: skip
    if hub is not None:
        environment |= {
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{hub.as_uri()}/.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/",
        }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PACKAGE, expression],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("RESULT ")[2])


# --- Its callbacks --------------------------------------------------------------------------

RENDERING = """
from objaverse_render_addon import RenderJob, RunOptions, handlers
job = RenderJob().with_values({
    "cameras.views": 2, "pixels.resolution": [32, 32], "engine.samples": 1,
    "pixels.passes": ["rgb", "depth", "mask"], "engine.device": "cpu",
})
ours = handlers(job, os.environ["TEST_OUT"], RunOptions.of(timeout=240))
"""


def rendered(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch, table: str, processes: int = 1
) -> tuple[Path, list[dict[str, Any]]]:
    """What the package's download leaves in our output, and what was told of it."""
    out = home / "data"
    monkeypatch.setenv("TEST_OUT", str(out))
    before = PACKAGE.replace("result = eval", f"{RENDERING}\nresult = eval")
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", before)
    package(
        server, home,
        f"len(objaverse.xl.download_objects({table}, processes={processes}, **ours) or ())",
    )  # fmt: skip
    told = [json.loads(line) for line in lines_of(out)]
    return out, told


needs_blender = pytest.mark.skipif(
    importlib.util.find_spec("bpy") is None, reason="rendering needs bpy"
)


@needs_blender
def test_its_download_renders_what_it_fetches(server, home, monkeypatch, tmp_path):
    from blender import scenes

    cube = scenes.write_glb(tmp_path / "hat.glb", scenes.CUBE_VERTICES, scenes.CUBE_FACES)
    table = catalogue(server, "smithsonian", (HAT, cube.read_bytes()))
    server.files["/content/document/3d_package:a/resources/hat.glb"] = cube.read_bytes()
    out, told = rendered(server, home, monkeypatch, table)
    name = xl_name(HAT)
    assert told == [
        {"file_identifier": HAT, "state": "found", "asset_id": name, "status": "done"}
    ]
    with AssetReader(out / f"{name}.zip") as reader:
        assert len(reader) == 2
        assert reader.metadata["file_identifier"] == HAT
        assert reader.metadata["objaverse_xl"] == {
            "state": "found", "expected_sha256": sha256(cube.read_bytes()),
        }  # fmt: skip
        assert reader.read(0)["mask"].any()
    assert verify_asset(out / f"{name}.zip").ok


@needs_blender
def test_what_changed_is_marked_and_what_is_broken_fails_alone(
    server, home, monkeypatch, tmp_path
):
    from blender import scenes

    cube = scenes.write_glb(tmp_path / "hat.glb", scenes.CUBE_VERTICES, scenes.CUBE_FACES)
    broken = HAT.replace("hat", "broken")
    table = catalogue(server, "smithsonian", (HAT, b"what it was"), (broken, b"glTF no more"))
    base = "/content/document/3d_package:a/resources/"
    server.files |= {f"{base}hat.glb": cube.read_bytes(), f"{base}broken.glb": b"glTF no more"}
    out, told = rendered(server, home, monkeypatch, table, processes=2)
    by_name = {line["file_identifier"]: line for line in told}
    assert by_name[HAT]["state"] == "modified"
    assert by_name[HAT]["status"] == "done"
    assert by_name[broken]["status"] == "failed"
    assert by_name[broken]["reason"] in ("truncated-file", "wrong-format", "import-failed")
    with AssetReader(out / f"{xl_name(HAT)}.zip") as reader:
        assert reader.metadata["objaverse_xl"]["state"] == "modified"


def lines_of(out: Path) -> list[str]:
    return (out / ".state/objaverse-xl.jsonl").read_text().splitlines()


def xl_name(identifier: str) -> str:
    from objaverse_render_addon.assets.sources import Source, classify

    return Source(identifier, classify(identifier)).name


def test_a_file_in_a_repository_reads_all_of_it(tmp_path):
    from objaverse_render_addon.batch.handlers import _repository

    commit = "a" * 40
    path = tmp_path / "repos/owner/name/models/car/scene.gltf"
    identifier = f"https://github.com/owner/name/blob/{commit}/models/car/scene.gltf"
    assert _repository(path, identifier) == tmp_path / "repos/owner/name"
    assert _repository(tmp_path / "elsewhere.gltf", identifier) is None
    assert _repository(path, HAT) is None


def test_they_go_to_other_processes_and_refuse_a_bad_job_at_once(tmp_path):
    import pickle

    from objaverse_render_addon import RenderJob, handlers
    from objaverse_render_addon.errors import InvalidJob

    made = handlers(RenderJob(), tmp_path / "out")
    kinds = "found", "modified", "missing", "new"
    assert set(made) == {f"handle_{kind}_object" for kind in kinds}
    again = pickle.loads(pickle.dumps(made))
    again["handle_missing_object"](file_identifier=HAT, sha256="0" * 64, metadata={})
    again["handle_new_object"](
        local_path="x", file_identifier=HAT, sha256="0" * 64, metadata={}
    )
    lines = [json.loads(line) for line in lines_of(tmp_path / "out")]
    assert [line["state"] for line in lines] == ["missing", "new"]
    bad = RenderJob().with_values({"lighting.mode": "hdri", "lighting.hdri": "none.exr"})
    with pytest.raises(InvalidJob, match=r"none\.exr"):
        handlers(bad, tmp_path / "out")


def asked(server: Server, end: str) -> int:
    return sum(name.endswith(end) for name, _ in server.asked)


def test_what_the_package_fetched_we_find(server, home):
    server.add(UID, glb())
    theirs = package(server, home, f"objaverse.load_objects(['{UID}'])")[UID]
    with Resolver(home / ".objaverse", server.endpoint, online=False) as resolver:
        fetched = resolver.fetch(UID)
    assert str(fetched.path) == theirs
    assert not fetched.temporary
    assert asked(server, ".glb") == 1


def test_what_we_fetched_the_package_finds(server, home):
    server.add(UID, glb())
    server.add(OTHER, glb(kind=9))
    with Resolver(home / ".objaverse", server.endpoint) as resolver:
        ours = resolver.fetch(UID).path
    assert package(server, home, f"objaverse.load_objects(['{UID}'])") == {UID: str(ours)}
    assert package(server, home, "sorted(objaverse.load_uids())") == [UID, OTHER]
    assert asked(server, ".glb") == 1
    assert asked(server, "object-paths.json.gz") == 1


def test_what_the_package_left_half_done_we_mend_for_it(server, home):
    server.add(UID, glb())
    index = home / ".objaverse" / "hf-objaverse-v1" / "object-paths.json.gz"
    index.parent.mkdir(parents=True)
    index.write_bytes(gzip.compress(b"{" * 1000)[:-9])
    with Resolver(home / ".objaverse", server.endpoint) as resolver:
        resolver.fetch(UID)
    assert package(server, home, "objaverse.load_uids()") == [UID]


def catalogue(server: Server, site: str, *rows: tuple[str, bytes]) -> str:
    """Serve it; the expression that makes the package's table of it."""
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    columns = {
        "fileIdentifier": [name for name, _ in rows],
        "source": [site] * len(rows),
        "license": ["CC0"] * len(rows),
        "fileType": ["glb"] * len(rows),
        "sha256": [sha256(body) for _, body in rows],
        "metadata": ["{}"] * len(rows),
    }
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    server.files[f"{XL}{site}/{site}.parquet"] = sink.getvalue().to_pybytes()
    listed = [[name, site, sha256(body)] for name, body in rows]
    return f"objects(*{listed!r})"


def fetch_xl(table: str, more: str = "") -> str:
    return f"objaverse.xl.download_objects({table}, processes=1, **handlers{more})"


@pytest.mark.parametrize(
    ("site", "identifier", "body", "path"),
    [
        ("thingiverse", THING, STL, "/download:1234"),
        ("smithsonian", HAT, glb(), "/content/document/3d_package:a/resources/hat.glb"),
        ("sketchfab", f"https://sketchfab.com/3d-models/{UID}", glb(), ""),
    ],
)
@pytest.mark.parametrize("first", ["package", "we"])
def test_objaverse_xl_is_in_one_place_for_both(
    server, home, monkeypatch, first: str, site: str, identifier: str, body: bytes, path: str
):
    table = catalogue(server, site, (identifier, body))
    if path:
        server.files[path] = body
    else:
        path = "/" + server.add(UID, body)
    monkeypatch.setattr(
        "objaverse_render_addon.assets.resolve.site_target",
        lambda text, folder: (f"{server.endpoint}{path}", xl.site_target(text, folder)[1]),
    )
    if first == "package":
        theirs = package(server, home, fetch_xl(table))[identifier]
        assert json.loads((home / "told").read_text()) == ["found", identifier]
        with Resolver(home / ".objaverse", server.endpoint, online=False) as resolver:
            ours = resolver.fetch(identifier).path
    else:
        with Resolver(home / ".objaverse", server.endpoint) as resolver:
            ours = resolver.fetch(identifier).path
        theirs = package(server, home, fetch_xl(table))[identifier]
        assert not (home / "told").exists()
    # The package does not always spell the home folder out.
    assert Path(theirs.replace("~", str(home))) == ours
    assert ours.read_bytes() == body
    assert asked(server, path.rpartition("/")[2]) == 1


@pytest.mark.parametrize("first", ["package", "we"])
def test_the_catalogue_is_fetched_once_for_both(server, home, first: str):
    catalogue(server, "thingiverse", (THING, STL))
    server.files["/download:1234"] = STL
    rows = "objaverse.xl.downloaders['thingiverse'].get_annotations()['fileIdentifier'].tolist()"

    def ours() -> None:
        with Resolver(home / ".objaverse", server.endpoint) as resolver:
            assert resolver.fetch(THING).provenance["objaverse_xl"]["state"] == "found"

    def theirs() -> None:
        assert package(server, home, rows) == [THING]

    for fetch in (theirs, ours) if first == "package" else (ours, theirs):
        fetch()
    assert asked(server, ".parquet") == 1


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("keep", ["zip", "tar", "tar.gz", "files"])
@pytest.mark.parametrize("first", ["package", "we"])
def test_a_kept_repository_is_found_by_both(server, home, tmp_path, first: str, keep: str):
    work, bare = tmp_path / "work", tmp_path / "hub" / "someone" / "models.git"
    work.mkdir()
    bare.parent.mkdir(parents=True)
    (work / "chair.glb").write_bytes(glb(kind=3))

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(work), "-c", "user.name=A", "-c", "user.email=a@b.c"]
        done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "main"), git("add", "."), git("commit", "-qm", "one")
    git("clone", "-q", "--bare", str(work), str(bare))
    identifier = f"https://github.com/someone/models/blob/{git('rev-parse', 'HEAD')}/chair.glb"
    table = catalogue(server, "github", (identifier, glb(kind=3)))
    hub = tmp_path / "hub"

    def ours(online: bool) -> None:
        with Resolver(
            home / ".objaverse", server.endpoint, online=online, save_repo_format=keep,  # type: ignore[arg-type]
            git_server=hub.as_uri(),
        ) as resolver:  # fmt: skip
            fetched = resolver.fetch(identifier)
            assert fetched.path.read_bytes() == glb(kind=3)
            resolver.release(fetched)

    expression = fetch_xl(table, f", save_repo_format='{keep}'")
    if first == "package":
        with pytest.raises(OnlineAccessDenied):
            ours(online=False)
        package(server, home, expression, hub)
        assert json.loads((home / "told").read_text()) == ["found", identifier]
        ours(online=False)
    else:
        ours(online=True)
        shutil.rmtree(hub)
        # It takes what is there, and says nothing of what it does not have to fetch.
        assert package(server, home, expression, hub) == {}
        assert not (home / "told").exists()
