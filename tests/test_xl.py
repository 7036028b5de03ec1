"""Objaverse-XL: what its catalogue says, what became of the object, and where it is kept."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import glb_shell as glb
from objaverse_server import Server, files_in, page, serving, sha256, status

from objaverse_render_addon.assets import repositories, xl
from objaverse_render_addon.assets.resolve import RepoFormat, Resolver
from objaverse_render_addon.assets.sources import Source, expand
from objaverse_render_addon.errors import (
    DownloadFailed,
    Interrupted,
    MissingDependency,
    ObjectMissing,
    OnlineAccessDenied,
    UnsafeData,
    WrongFormat,
)

pytest.importorskip("pyarrow", reason="the extra xl is not installed")
import pyarrow.parquet

XL = "/datasets/allenai/objaverse-xl/resolve/main/"
THING = "https://www.thingiverse.com/thing:3/files?fileId=1234"
STL = b"\0" * 80 + (2).to_bytes(4, "little") + bytes(range(100))
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


pytestmark = pytest.mark.usefixtures("in_a_hurry_and_alone")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as running:
        monkeypatch.setattr(xl, "THINGIVERSE", running.endpoint)
        yield running


def publish(server: Server, site: str, *rows: tuple[str, str, str, str]) -> None:
    """Serve a site's catalogue: identifier, SHA-256, licence, metadata."""
    columns = ("fileIdentifier", "sha256", "license", "metadata")
    table = pyarrow.table({n: [row[i] for row in rows] for i, n in enumerate(columns)})
    table = table.append_column("source", [[site] * len(rows)])
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    server.files[f"{XL}{site}/{site}.parquet"] = sink.getvalue().to_pybytes()


# --- Sites with addresses ---------------------------------------------------------------------


@pytest.fixture
def thing(server: Server) -> Server:
    server.files["/download:1234"] = STL
    publish(
        server, "thingiverse",
        *[(f"{THING}{n}", sha256(b"%d" % n), "", "{}") for n in range(5000)],
        (THING, sha256(STL), "Creative Commons - Attribution", '{"filename": "a.stl"}'),
    )  # fmt: skip
    return server


def test_an_object_is_what_the_catalogue_says_and_lies_where_the_package_has_it(thing, tmp_path):
    with Resolver(tmp_path, thing.endpoint) as resolver:
        fetched = resolver.fetch(THING)
        again = resolver.fetch(THING)
    assert fetched.path == again.path == tmp_path / "thingiverse" / "thing-3-file-1234.stl"
    assert fetched.path.read_bytes() == STL
    assert fetched.provenance == {
        "file_identifier": THING,
        "license": "Creative Commons - Attribution",
        "metadata": {"filename": "a.stl"},
        "objaverse_xl": {"state": "found", "expected_sha256": sha256(STL)},
    }
    assert [name for name, _ in thing.asked] == [
        f"{XL}thingiverse/thingiverse.parquet", "/download:1234",
    ]  # fmt: skip
    assert files_in(tmp_path / "thingiverse") == [
        ".thingiverse-index-1.sqlite", "thing-3-file-1234.stl", "thingiverse.parquet",
    ]  # fmt: skip


def test_a_modified_object_is_fetched_and_said_to_be_one(thing, tmp_path):
    changed = STL[:-1] + b"x"
    thing.files["/download:1234"] = changed
    with Resolver(tmp_path, thing.endpoint) as resolver:
        fetched = resolver.fetch(THING)
    assert fetched.path.read_bytes() == changed
    assert fetched.provenance["objaverse_xl"] == {
        "state": "modified", "expected_sha256": sha256(STL),
    }  # fmt: skip


@pytest.mark.parametrize("code", [404, 410])
def test_a_missing_object_has_a_name_of_its_own(thing, tmp_path, code: int):
    thing.orders["/download:1234"] = [status(code)]
    with Resolver(tmp_path, thing.endpoint) as resolver, pytest.raises(ObjectMissing, match="1234"):
        resolver.fetch(THING)
    assert not (tmp_path / "thingiverse" / "thing-3-file-1234.stl").exists()


def test_a_server_that_is_out_of_order_is_no_missing_object(thing, tmp_path):
    thing.orders["/download:1234"] = [status(503)] * 9
    with Resolver(tmp_path, thing.endpoint) as resolver, pytest.raises(DownloadFailed, match="503"):
        resolver.fetch(THING)


def test_an_object_that_the_catalogue_does_not_have_is_new(thing, tmp_path):
    thing.files["/download:77"] = STL
    with Resolver(tmp_path, thing.endpoint) as resolver:
        fetched = resolver.fetch("https://www.thingiverse.com/thing:9/files?fileId=77")
    assert fetched.provenance["objaverse_xl"] == {"state": "new"}
    assert "license" not in fetched.provenance


def test_a_login_page_is_no_object(thing, tmp_path):
    thing.orders["/download:1234"] = [page]
    with Resolver(tmp_path, thing.endpoint) as resolver, pytest.raises(WrongFormat, match="HTML"):
        resolver.fetch(THING)
    assert not (tmp_path / "thingiverse" / "thing-3-file-1234.stl").exists()


def test_what_a_list_says_makes_the_catalogue_unnecessary(thing, tmp_path):
    known = {"sha256": sha256(STL), "license": "CC0"}
    with Resolver(tmp_path, thing.endpoint) as resolver:
        fetched = resolver.fetch(Source(THING, "thingiverse", known=known))
    assert fetched.provenance["objaverse_xl"]["state"] == "found"
    assert fetched.provenance["license"] == "CC0"
    assert [name for name, _ in thing.asked] == ["/download:1234"]


def test_the_catalogue_s_own_table_is_a_list(thing, tmp_path):
    table = tmp_path / "some.parquet"
    table.write_bytes(thing.files[f"{XL}thingiverse/thingiverse.parquet"])
    last = list(expand([str(table)]))[-1]
    assert last == Source(
        THING, "thingiverse",
        known={"sha256": sha256(STL), "license": "Creative Commons - Attribution"},
    )  # fmt: skip


def test_offline_what_was_fetched_is_used_and_what_was_not_is_named(thing, tmp_path):
    kept = tmp_path / "thingiverse" / "thing-3-file-1234.stl"
    kept.parent.mkdir()
    kept.write_bytes(STL)
    with Resolver(tmp_path, thing.endpoint, online=False) as offline:
        fetched = offline.fetch(THING)
        assert fetched.path == kept
        assert fetched.provenance["objaverse_xl"] == {"state": "unverified"}
        with pytest.raises(OnlineAccessDenied):
            offline.fetch("https://www.thingiverse.com/thing:9/files?fileId=77")
    assert thing.asked == []


@pytest.mark.parametrize("spoil", [lambda d: d[: len(d) // 2], lambda _: b"", lambda _: b"PAR1x"])
def test_half_a_catalogue_left_by_others_is_fetched_again(thing, tmp_path, spoil):
    table = tmp_path / "thingiverse" / "thingiverse.parquet"
    table.parent.mkdir()
    whole = thing.files[f"{XL}thingiverse/thingiverse.parquet"]
    table.write_bytes(spoil(whole))
    with Resolver(tmp_path, thing.endpoint) as resolver:
        assert resolver.fetch(THING).provenance["objaverse_xl"]["state"] == "found"
    assert table.read_bytes() == whole


def test_a_newer_catalogue_makes_a_newer_index(thing, tmp_path):
    with Resolver(tmp_path, thing.endpoint) as resolver:
        resolver.fetch(THING)
    publish(thing, "thingiverse", (THING, sha256(b"other"), "", "{}"))
    table = tmp_path / "thingiverse" / "thingiverse.parquet"
    table.write_bytes(thing.files[f"{XL}thingiverse/thingiverse.parquet"])
    with Resolver(tmp_path, thing.endpoint) as resolver:
        assert resolver.fetch(THING).provenance["objaverse_xl"]["state"] == "modified"


def test_an_object_of_the_smithsonian_has_the_package_s_name(server, tmp_path, monkeypatch):
    identifier = "https://3d-api.si.edu/content/document/3d_package:a/resources/b.glb"
    publish(server, "smithsonian", (identifier, sha256(glb()), "CC0", '{"title": "Hat"}'))
    server.files["/b.glb"] = glb()
    # The museum itself is not asked by tests.
    monkeypatch.setattr(
        "objaverse_render_addon.assets.resolve.site_target",
        lambda text, folder: (f"{server.endpoint}/b.glb", xl.site_target(text, folder)[1]),
    )
    with Resolver(tmp_path, server.endpoint) as resolver:
        fetched = resolver.fetch(identifier)
    assert fetched.path.parent == tmp_path / "smithsonian" / "objects"
    assert fetched.path.name == f"{uuid.uuid5(uuid.NAMESPACE_DNS, identifier)}.glb"
    assert fetched.provenance["metadata"] == {"title": "Hat"}
    assert fetched.provenance["objaverse_xl"]["state"] == "found"


# --- Repositories -----------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A folder of bare repositories: ``someone/models`` with two commits."""
    work = tmp_path / "work"
    (work / "sub dir").mkdir(parents=True)
    git(work, "init", "-q", "-b", "main")
    (work / "chair.glb").write_bytes(glb(kind=3))
    (work / "sub dir" / "box.gltf").write_text('{"asset": {}, "buffers": [{"uri": "box.bin"}]}')
    (work / "sub dir" / "box.bin").write_bytes(b"1234")
    (work / "README.md").write_text("models")
    git(work, "add", "."), git(work, "commit", "-qm", "one")
    (work / "chair.glb").write_bytes(glb(kind=5))
    (work / "chair2.glb").write_bytes(glb(kind=9))
    git(work, "add", "."), git(work, "commit", "-qm", "two")
    bare = tmp_path / "hub" / "someone" / "models.git"
    bare.parent.mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)
    return tmp_path / "hub"


def commits(hub: Path) -> list[str]:
    """The first one first."""
    return git(hub / "someone" / "models.git", "rev-list", "--reverse", "main").split()


def of(commit: str, path: str) -> str:
    return f"https://github.com/someone/models/blob/{commit}/{path}"


def repos(
    server: Server, hub: Path, folder: Path, keep: RepoFormat = "none", *, online: bool = True
) -> Resolver:
    return Resolver(
        folder, server.endpoint, online=online, save_repo_format=keep, git_server=hub.as_uri()
    )


@needs_git
def test_an_object_of_a_repository_comes_with_its_neighbours_at_its_commit(server, hub, tmp_path):
    first, second = commits(hub)
    publish(
        server, "github",
        (of(first, "chair.glb"), sha256(glb(kind=3)), "MIT License", "{}"),
        (of(second, "chair.glb"), sha256(glb(kind=3)), "", "{}"),
    )  # fmt: skip
    with repos(server, hub, tmp_path / "cache") as resolver:
        old = resolver.fetch(of(first, "chair.glb"))
        assert old.path.read_bytes() == glb(kind=3)
        assert old.provenance == {
            "file_identifier": of(first, "chair.glb"),
            "license": "MIT License",
            "objaverse_xl": {"state": "found", "expected_sha256": sha256(glb(kind=3))},
        }
        new = resolver.fetch(of(second, "chair.glb"))
        assert new.provenance["objaverse_xl"]["state"] == "modified"
        box = resolver.fetch(of(second, "sub dir/box.gltf"))
        assert (box.path.parent / "box.bin").read_bytes() == b"1234"
        assert box.provenance["objaverse_xl"] == {"state": "new"}
        quoted = resolver.fetch(of(second, "sub%20dir/box.gltf"))
        assert quoted.path == box.path
        for fetched in (old, new, box, quoted):
            assert fetched.temporary
            # All of the repository is the object's own.
            assert fetched.folder is not None and fetched.path.is_relative_to(fetched.folder)
            resolver.release(fetched)
    assert files_in(tmp_path / "cache") == [
        "github/.github-index-1.sqlite", "github/github.parquet",
    ]  # fmt: skip


@needs_git
def test_one_checkout_serves_all_objects_of_a_commit_and_few_stay_unused(
    server, hub, tmp_path, monkeypatch
):
    fetches = []
    real = repositories.run_git

    def counting(folder, arguments, *rest):
        fetches.append(arguments[0])
        real(folder, arguments, *rest)

    monkeypatch.setattr(repositories, "run_git", counting)
    first, second = commits(hub)
    publish(server, "github", ("x", "", "", "{}"))
    with repos(server, hub, tmp_path / "cache") as resolver:
        wanted = [of(second, n) for n in ("chair.glb", "chair2.glb", "sub dir/box.gltf")] * 2
        results: list[Path] = []
        threads = [
            threading.Thread(target=lambda t=text: results.append(resolver.fetch(t).path))
            for text in wanted
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(set(results)) == 3
        assert fetches.count("fetch") == 1
        one = resolver.fetch(of(first, "chair.glb"))
        resolver.release(one)
        assert one.path.is_file()
        assert fetches.count("fetch") == 2
        assert resolver.fetch(of(first, "chair.glb")).path == one.path
        assert fetches.count("fetch") == 2


@needs_git
@pytest.mark.parametrize(
    ("identifier", "error"),
    [
        ("https://github.com/someone/gone/blob/{first}/chair.glb", ObjectMissing),
        ("https://github.com/someone/models/blob/{none}/chair.glb", ObjectMissing),
        ("https://github.com/someone/models/blob/{first}/none.glb", ObjectMissing),
        ("https://github.com/someone/models/blob/{first}/../../x.glb", UnsafeData),
        ("https://github.com/someone/models/blob/{first}/%2e%2e/x.glb", UnsafeData),
    ],
)
def test_what_is_gone_is_a_missing_object(server, hub, tmp_path, identifier: str, error):
    publish(server, "github", ("x", "", "", "{}"))
    text = identifier.format(first=commits(hub)[0], none="0" * 39 + "1")
    with repos(server, hub, tmp_path / "cache") as resolver, pytest.raises(error):
        resolver.fetch(text)
    assert not list((tmp_path / "cache").rglob("chair.glb"))


@needs_git
@pytest.mark.parametrize("keep", ["zip", "tar", "tar.gz", "files"])
def test_a_repository_is_kept_as_told_and_found_again(server, hub, tmp_path, keep: RepoFormat):
    first, second = commits(hub)
    publish(server, "github", (of(first, "chair.glb"), sha256(glb(kind=3)), "", "{}"))
    cache = tmp_path / "cache"
    with repos(server, hub, cache, keep) as resolver:
        resolver.release(resolver.fetch(of(first, "chair.glb")))
    kept = cache / "github" / "repos" / "someone"
    names = [p.name for p in kept.iterdir()]
    assert names == ["models" if keep == "files" else f"models.{keep}"]
    assert not list(cache.rglob(".git"))
    if keep == "zip":
        with zipfile.ZipFile(kept / "models.zip") as archive:
            assert "sub dir/box.bin" in archive.namelist()
    elif keep != "files":
        with tarfile.open(kept / f"models.{keep}") as archive:
            assert "models/sub dir/box.bin" in archive.getnames()
    with repos(server, hub, cache, keep, online=False) as offline:
        fetched = offline.fetch(of(first, "sub dir/box.gltf"))
        assert (fetched.path.parent / "box.bin").read_bytes() == b"1234"
        assert fetched.temporary == (keep != "files")
        # Another commit is not what is kept here.
        with pytest.raises(OnlineAccessDenied):
            offline.fetch(of(second, "chair.glb"))
        offline.release(fetched)
    before = files_in(kept)
    with repos(server, hub, cache, keep) as resolver:
        assert resolver.fetch(of(second, "chair.glb")).path.read_bytes() == glb(kind=5)
    assert files_in(kept) == before


@needs_git
def test_a_link_in_a_kept_repository_that_leads_out_is_refused(server, hub, tmp_path):
    first = commits(hub)[0]
    publish(server, "github", ("x", "", "", "{}"))
    with repos(server, hub, tmp_path / "cache", "files") as resolver:
        kept = resolver.fetch(of(first, "chair.glb")).path
    secret = tmp_path / "secret.glb"
    kept.rename(secret)
    kept.symlink_to(secret)
    with (
        repos(server, hub, tmp_path / "cache", online=False) as resolver,
        pytest.raises(UnsafeData, match="link"),
    ):
        resolver.fetch(of(first, "chair.glb"))


@needs_git
def test_nothing_in_a_repository_is_run_or_followed(server, hub, tmp_path):
    work = tmp_path / "work"
    secret = tmp_path / "secret.glb"
    secret.write_bytes(glb(kind=99))
    (work / "link.glb").symlink_to(secret)
    (work / ".gitattributes").write_text("*.glb filter=evil\n")
    (work / ".gitmodules").write_text('[submodule "x"]\n path = x\n url = file:///nowhere\n')
    git(work, "add", "."), git(work, "commit", "-qm", "three")
    git(work, "push", "-q", str(hub / "someone" / "models.git"), "main")
    publish(server, "github", ("x", "", "", "{}"))
    third = commits(hub)[2]
    with repos(server, hub, tmp_path / "cache") as resolver:
        link = resolver.fetch(of(third, "link.glb"))
        assert not link.path.is_symlink()
        assert link.path.read_text() == str(secret)
        assert resolver.fetch(of(third, "chair.glb")).path.read_bytes() == glb(kind=5)


@needs_git
def test_files_in_git_lfs_are_asked_for_and_a_machine_without_it_is_told(
    server, hub, tmp_path, monkeypatch
):
    work = tmp_path / "work"
    (work / ".gitattributes").write_text("*.glb filter=lfs diff=lfs merge=lfs -text\n")
    git(work, "add", ".gitattributes"), git(work, "commit", "-qm", "lfs")
    git(work, "push", "-q", str(hub / "someone" / "models.git"), "main")
    publish(server, "github", ("x", "", "", "{}"))
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "git-lfs" else real(name))
    with (
        repos(server, hub, tmp_path / "cache") as resolver,
        pytest.raises(MissingDependency, match="git-lfs"),
    ):
        resolver.fetch(of(commits(hub)[2], "chair.glb"))


@needs_git
def test_without_git_the_way_out_is_said(server, hub, tmp_path, monkeypatch):
    publish(server, "github", ("x", "", "", "{}"))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with (
        repos(server, hub, tmp_path / "cache") as resolver,
        pytest.raises(MissingDependency, match="git-scm"),
    ):
        resolver.fetch(of(commits(hub)[0], "chair.glb"))


@needs_git
def test_a_server_that_says_nothing_is_left_on_cancelling_within_a_second(tmp_path, server):
    import socket

    publish(server, "github", ("x", "", "", "{}"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cancel = threading.Event()
        threading.Timer(0.5, cancel.set).start()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Resolver(tmp_path, server.endpoint, git_server=address) as resolver:
            start = time.monotonic()
            with pytest.raises(Interrupted):
                resolver.fetch(of("a" * 40, "x.glb"), None, cancel)
            assert time.monotonic() - start < 2


@needs_git
@pytest.mark.parametrize("bad", ["../evil.glb", "/tmp/evil.glb", "a/../../evil.glb"])
def test_a_kept_archive_that_leads_out_of_itself_is_refused(server, hub, tmp_path, bad: str):
    publish(server, "github", ("x", "", "", "{}"))
    kept = tmp_path / "cache" / "github" / "repos" / "someone"
    kept.mkdir(parents=True)
    with zipfile.ZipFile(kept / "models.zip", "w") as archive:
        archive.writestr(bad, glb())
    with (
        repos(server, hub, tmp_path / "cache") as resolver,
        pytest.raises(UnsafeData, match="evil"),
    ):
        resolver.fetch(of(commits(hub)[0], "chair.glb"))
    assert not list(tmp_path.rglob("evil.glb"))
    assert not Path("/tmp/evil.glb").exists()


@needs_git
def test_half_an_archive_left_by_others_stays_and_the_commit_is_fetched_anew(server, hub, tmp_path):
    first = commits(hub)[0]
    publish(server, "github", ("x", "", "", "{}"))
    with repos(server, hub, tmp_path / "cache", "tar.gz") as resolver:
        resolver.fetch(of(first, "chair.glb"))
    kept = tmp_path / "cache" / "github" / "repos" / "someone" / "models.tar.gz"
    half = kept.read_bytes()[:-3000]
    kept.write_bytes(half)
    with repos(server, hub, tmp_path / "cache", "tar.gz") as resolver:
        assert resolver.fetch(of(first, "chair.glb")).path.read_bytes() == glb(kind=3)
    assert kept.read_bytes() == half
