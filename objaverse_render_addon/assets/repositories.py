"""Repositories of Objaverse-XL's GitHub objects: one commit of each, fetched with git.

An object needs its neighbours (a ``.gltf`` its buffers, an ``.obj`` its materials and textures),
so a single file is not enough. Git fetches exactly the commit that the identifier names, without
its history. Where repositories are kept, they lie as the ``objaverse`` package keeps them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote

from ..errors import (
    DownloadFailed,
    Interrupted,
    MissingDependency,
    ObjectMissing,
    OnlineAccessDenied,
    TruncatedFile,
    UnsafeData,
    from_os_error,
)
from ..files import file_sha256
from ..locks import locked
from . import transfer as limits
from .archives import pack, safe_member, unpack
from .formats import EXTENSIONS
from .git import run_git
from .transfer import ByteProgress, TransferBroken, pause
from .xl import GitHubObject

__all__ = ["Checkout", "RepoFormat", "Repositories"]

RepoFormat = Literal["none", "zip", "tar", "tar.gz", "files"]

_UNUSED: Final = 2
"""Checkouts that nobody uses and that stay for the next object of the same repository."""
_HASHES: Final = ".objaverse-file-hashes.json"


@dataclass(slots=True)
class Checkout:
    """A commit's files in a folder.

    Attributes:
        temporary: Whether the folder goes when nobody uses it any more.
        users: How many use it.
    """

    folder: Path
    temporary: bool
    users: int = 0

    def file(self, wanted: GitHubObject) -> Path:
        """An object's file.

        Raises:
            ObjectMissing: The commit does not have it.
            UnsafeData: It leads out of the repository.
        """
        root = self.folder.resolve()
        for name in (wanted.path, unquote(wanted.path)):
            path = root / safe_member(name, f"{wanted.owner}/{wanted.repository}")
            if path.is_file():
                if not path.resolve().is_relative_to(root):
                    raise UnsafeData(f"{path} is a link that leads out of its repository.")
                return path
        raise ObjectMissing(
            f"{wanted.owner}/{wanted.repository} has no file {wanted.path} at {wanted.commit[:12]}."
        )


class Repositories:
    """Checkouts, from any number of threads.

    Args:
        folder: The ``objaverse`` package's folder for GitHub: ``~/.objaverse/github``.
        scratch: Makes a new folder for temporary checkouts.
        keep: How new ones are kept; ``none`` keeps nothing.
        server: Where repositories are fetched from.
    """

    def __init__(
        self,
        folder: Path,
        scratch: Callable[[], Path],
        keep: RepoFormat = "none",
        *,
        online: bool = True,
        server: str = "https://github.com",
    ) -> None:
        self._folder, self._scratch, self._keep = folder / "repos", scratch, keep
        self._online, self._server = online, server.rstrip("/")
        self._guard = threading.Lock()
        self._busy: dict[tuple[str, str, str], threading.Lock] = {}
        self._checkouts: dict[tuple[str, str, str], Checkout] = {}

    def acquire(
        self,
        wanted: GitHubObject,
        on_progress: ByteProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> Checkout:
        """The commit that an object is in; :meth:`release` it afterwards.

        Raises:
            ObjectMissing: Repository or commit are no more.
            MissingDependency: No git, or no git-lfs where the repository needs it.
            OnlineAccessDenied, DownloadFailed, UnsafeData, TruncatedFile, OutputNotWritable,
            DiskFull, Interrupted
        """
        key = (wanted.owner, wanted.repository, wanted.commit)
        with self._guard:
            busy = self._busy.setdefault(key, threading.Lock())
        while not busy.acquire(timeout=0.1):
            if cancel is not None and cancel.is_set():
                raise Interrupted(f"Fetching {wanted.owner}/{wanted.repository} was stopped.")
        try:
            with self._guard:
                found = self._checkouts.get(key)
                if found is not None:
                    found.users += 1
                    return found
            made = self._find(wanted, cancel) or self._fetch(wanted, on_progress, cancel)
            made.users = 1
            with self._guard:
                self._checkouts[key] = made
            return made
        finally:
            busy.release()

    def release(self, checkout: Checkout) -> None:
        """It is not needed any more."""
        with self._guard:
            checkout.users = max(0, checkout.users - 1)
            unused = [key for key, item in self._checkouts.items() if not item.users]
            old = [self._checkouts.pop(key) for key in unused[: max(0, len(unused) - _UNUSED)]]
        for item in old:
            _remove(item)

    def close(self) -> None:
        """Remove what is temporary."""
        with self._guard:
            items = list(self._checkouts.values())
            self._checkouts.clear()
        for item in items:
            _remove(item)

    def _find(self, wanted: GitHubObject, cancel: threading.Event | None) -> Checkout | None:
        """What was kept, by us or by the package; its names do not tell commits apart."""
        base = self._folder / wanted.owner
        if _is_of(base / wanted.repository, wanted):
            return Checkout(base / wanted.repository, temporary=False)
        for kind in ("zip", "tar", "tar.gz"):
            archive = base / f"{wanted.repository}.{kind}"
            if not archive.is_file():
                continue
            base_of_it = self._scratch()
            folder = base_of_it / wanted.repository
            try:
                unpack(archive, folder if kind == "zip" else base_of_it, cancel)
            except TruncatedFile:
                # Somebody else's accident; it stays as it is, and the commit is fetched anew.
                pass
            except BaseException:
                shutil.rmtree(base_of_it, ignore_errors=True)
                raise
            if _is_of(folder, wanted):
                return Checkout(folder, temporary=True)
            shutil.rmtree(base_of_it, ignore_errors=True)
        return None

    def _fetch(
        self,
        wanted: GitHubObject,
        on_progress: ByteProgress | None,
        cancel: threading.Event | None,
    ) -> Checkout:
        name = f"{wanted.owner}/{wanted.repository}"
        if not self._online:
            raise OnlineAccessDenied(
                f"{name} is not on this machine, and online access is switched off.",
                hint="Fetch it online first, with --save-repo-format.",
            )
        if shutil.which("git") is None:
            raise MissingDependency(
                f"Fetching {name} needs git.", hint="Install it from https://git-scm.com."
            )
        folder = self._scratch() / wanted.repository
        try:
            folder.mkdir()
            self._git_commit(folder, wanted, on_progress, cancel)
            shutil.rmtree(folder / ".git", onerror=_make_writable)
            (folder / _HASHES).write_text(
                json.dumps(_hashes(folder, wanted, cancel), indent=2), encoding="utf-8"
            )
            kept = self._save(folder, wanted, cancel)
        except OSError as error:
            shutil.rmtree(folder.parent, ignore_errors=True)
            raise from_os_error(error, str(folder)) from error
        except BaseException:
            shutil.rmtree(folder.parent, ignore_errors=True)
            raise
        if kept is not None:
            shutil.rmtree(folder.parent, ignore_errors=True)
            return Checkout(kept, temporary=False)
        return Checkout(folder, temporary=True)

    def _git_commit(
        self,
        folder: Path,
        wanted: GitHubObject,
        on_progress: ByteProgress | None,
        cancel: threading.Event | None,
    ) -> None:
        name = f"{wanted.owner}/{wanted.repository}"
        url = f"{self._server}/{name}.git" if "://" in self._server else f"{self._server}/{name}"
        run_git(folder, ["init", "-q"], name, None, cancel)
        run_git(folder, ["remote", "add", "origin", url], name, None, cancel)
        fetch = ["fetch", "--depth", "1", "--no-tags", "--no-recurse-submodules", "--progress",
                 "origin", wanted.commit]  # fmt: skip
        for attempt in range(limits.RETRIES + 1):
            try:
                run_git(folder, fetch, name, on_progress, cancel)
                break
            except TransferBroken as error:
                if attempt == limits.RETRIES:
                    raise DownloadFailed(
                        f"{url} at {wanted.commit[:12]}: {error}.", hint="Try again later."
                    ) from error
                pause(min(limits.BACKOFF * 2**attempt, limits.LONGEST_WAIT), cancel, name)
        try:
            run_git(folder, ["checkout", "-q", "--detach", "FETCH_HEAD"], name, None, cancel)
            attributes = folder / ".gitattributes"
            if attributes.is_file() and b"filter=lfs" in attributes.read_bytes():
                if shutil.which("git-lfs") is None:
                    raise MissingDependency(
                        f"{name} keeps its files in Git LFS.",
                        hint="Install git-lfs from https://git-lfs.com.",
                    )
                run_git(folder, ["lfs", "pull", "origin"], name, None, cancel)
        except TransferBroken as error:
            raise DownloadFailed(f"{url} at {wanted.commit[:12]}: {error}.") from error

    def _save(
        self, folder: Path, wanted: GitHubObject, cancel: threading.Event | None
    ) -> Path | None:
        """Keep it, where nothing of that name is kept; its folder, where it is one."""
        if self._keep == "none":
            return None
        base = self._folder / wanted.owner
        base.mkdir(parents=True, exist_ok=True)
        suffix = "" if self._keep == "files" else f".{self._keep}"
        target = base / f"{wanted.repository}{suffix}"
        with locked(base / f".{target.name}.lock", cancel):
            if target.exists():
                return None
            if self._keep == "files":
                folder.replace(target)
                return target
            part = base / f".{target.name}.part"
            pack(folder, part, self._keep)
            part.replace(target)
        return None


def _is_of(folder: Path, wanted: GitHubObject) -> bool:
    """Whether a kept repository is at the wanted commit, as the list of hashes in it says."""
    try:
        hashes = json.loads((folder / _HASHES).read_bytes())
        start = f"https://github.com/{wanted.owner}/{wanted.repository}/blob/{wanted.commit}/"
        return any(str(item["fileIdentifier"]).startswith(start) for item in hashes)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _hashes(
    folder: Path, wanted: GitHubObject, cancel: threading.Event | None
) -> list[dict[str, str]]:
    found = []
    start = f"https://github.com/{wanted.owner}/{wanted.repository}/blob/{wanted.commit}"
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower().lstrip(".") in EXTENSIONS and path.is_file():
            if cancel is not None and cancel.is_set():
                raise Interrupted(f"Fetching {wanted.owner}/{wanted.repository} was stopped.")
            digest = file_sha256(path)
            name = path.relative_to(folder).as_posix()
            found.append({"sha256": digest, "fileIdentifier": f"{start}/{name}"})
    return found


def _remove(checkout: Checkout) -> None:
    if checkout.temporary:
        shutil.rmtree(checkout.folder, onerror=_make_writable)
        with contextlib.suppress(OSError):
            checkout.folder.parent.rmdir()


def _make_writable(function: Callable[..., Any], path: str, _: Any) -> None:
    # Git's objects are read-only, which stops Windows from removing them.
    with contextlib.suppress(OSError):
        Path(path).chmod(0o700)
        function(path)
