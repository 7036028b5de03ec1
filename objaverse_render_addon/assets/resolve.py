"""From a source to a file on this machine, whatever the source is."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ..errors import (
    ChecksumMismatch,
    DownloadFailed,
    MissingDependency,
    ObjectMissing,
    OnlineAccessDenied,
    SourceNotFound,
)
from ..files import file_sha256
from ..words import redacted
from .addresses import fetch_address, found_in, is_elsewhere, place_of
from .download import PER_HOST, ByteProgress, Session, download
from .formats import inspect_file
from .objaverse import ObjaverseCache
from .repositories import Checkout, RepoFormat, Repositories
from .scratch import Scratch
from .sources import COMPOSED, Source, classify, path_of, uid_of
from .xl import Record, XLCatalogue, github_object, site_target

__all__ = ["ByteProgress", "Fetched", "RepoFormat", "Resolver"]

_PRIVATE: Final = ".objaverse-render"
"""Folder in the cache for what goes again."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An asset's file on this machine.

    Attributes:
        path: The file.
        provenance: What is known of it, for the metadata: ``file_identifier``, ``license`` and
            ``metadata`` where somebody says them, and for Objaverse-XL ``objaverse_xl`` with
            ``state`` (``found``, ``modified``, ``new``, ``unverified``) and ``expected_sha256``.
        temporary: Whether :meth:`Resolver.release` removes it.
        folder: All of it is the asset's own: the repository that the file is in.
    """

    path: Path
    provenance: dict[str, Any] = field(default_factory=dict)
    temporary: bool = False
    folder: Path | None = None


class Resolver:
    """Fetches assets, from any number of threads.

    Args:
        download_dir: Cache of fetched objects; ``~/.objaverse``, as the ``objaverse`` package.
        endpoint: Server of the Objaverse data sets; ``HF_ENDPOINT`` or Hugging Face otherwise.
        online: Whether the network may be used; what is in the cache is found either way.
        keep: Whether what is fetched stays in the cache; otherwise it gets a place of its own,
            where no other program finds it, and :meth:`release` removes it. What was in the
            cache before is used and stays in any case.
        save_repo_format: How repositories of Objaverse-XL's GitHub objects are kept.
        per_host: Connections to one server at a time.
        git_server: Where these repositories are fetched from.
        make_scene: Makes the file of a composed scene, of its set's rules and its number, in a
            folder.
    """

    def __init__(
        self,
        download_dir: str | Path | None = None,
        endpoint: str | None = None,
        *,
        online: bool = True,
        keep: bool = True,
        save_repo_format: RepoFormat = "none",
        per_host: int = PER_HOST,
        git_server: str = "https://github.com",
        make_scene: Callable[[str, int, Path], Path] | None = None,
    ) -> None:
        self.folder = Path(download_dir or Path.home() / ".objaverse").expanduser()
        self._endpoint, self._online, self._keep = endpoint, online, keep
        self._per_host, self._make_scene = per_host, make_scene
        self._guard = threading.Lock()
        self._scratch = Scratch(self.folder / _PRIVATE)
        self._session_made: Session | None = None
        self._objects_made: ObjaverseCache | None = None
        self._catalogue_made: XLCatalogue | None = None
        self._repositories = Repositories(
            self.folder / "github", self._scratch.new, save_repo_format if keep else "none",
            online=online, server=git_server,
        )  # fmt: skip
        self._checkouts: dict[Path, Checkout] = {}

    def __enter__(self) -> Resolver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fetch(
        self,
        source: Source | str,
        on_progress: ByteProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> Fetched:
        """The asset's file, from where it lies, the cache or the network.

        Args:
            on_progress: Called with bytes so far and bytes expected (0 where nobody says).
            cancel: Set it, from any thread, to stop within a second.

        Raises:
            SourceNotFound: There is no such file.
            ObjectMissing: Objaverse-XL's object is no more where it was.
            OnlineAccessDenied: It is not here, and the network may not be used.
            DownloadFailed, ChecksumMismatch, WrongFormat, TruncatedFile, UnsafeData,
            MissingDependency, OutputNotWritable, DiskFull
            Interrupted: By ``cancel``.
        """
        if isinstance(source, str):
            source = Source(source, classify(source))
        if source.kind == "path":
            path = path_of(source.text).resolve()
            return self._checked(source, Fetched(path, _said(source)))
        if source.kind == "compose":
            return self._compose(source)
        if source.kind == "objaverse":
            return self._fetch_objaverse(source, on_progress, cancel)
        if source.kind == "github":
            return self._fetch_github(source, on_progress, cancel)
        if source.kind in ("thingiverse", "smithsonian"):
            return self._fetch_site(source, on_progress, cancel)
        return self._fetch_address(source, on_progress, cancel)

    def release(self, fetched: Fetched) -> None:
        """Say, once for every :meth:`fetch`, that a file is not needed any more.

        It is removed where downloads are not kept; never a user's own file, nor what was in the
        cache before.
        """
        if not fetched.temporary:
            return
        with self._guard:
            checkout = self._checkouts.get(fetched.path)
        if checkout is not None:
            self._repositories.release(checkout)
        else:
            self._scratch.give_back(fetched.path.parent)

    def close(self) -> None:
        """Remove what is temporary, and close the connections."""
        self._repositories.close()
        self._scratch.close()
        with self._guard:
            session, self._session_made = self._session_made, None
            self._objects_made = self._catalogue_made = None
        if session is not None:
            session.close()

    # --- By kind ------------------------------------------------------------------------------

    def _fetch_objaverse(
        self, source: Source, on_progress: ByteProgress | None, cancel: threading.Event | None
    ) -> Fetched:
        uid = uid_of(source.text) or source.text
        identifier = f"https://sketchfab.com/3d-models/{uid}"
        record = None
        catalogue = self._catalogue()
        if "sha256" not in source.known and catalogue.is_here("sketchfab"):
            # Nobody fetches it for this: the server's own sum is checked anyway.
            with contextlib.suppress(MissingDependency, OnlineAccessDenied, DownloadFailed):
                record = catalogue.find("sketchfab", identifier, None, cancel)
        objects = self._objects()
        path = objects.cached(uid)
        if path is not None:
            return self._verdict(source, identifier, record, Fetched(path))
        fetched = self._temporarily(
            uid, lambda into: objects.fetch(uid, on_progress, cancel, into)
        )
        return self._verdict(source, identifier, record, fetched)

    def _compose(self, source: Source) -> Fetched:
        wanted = COMPOSED.fullmatch(source.text)
        if wanted is None or self._make_scene is None:
            raise SourceNotFound(
                f"{source.text} is a scene that is made, and nothing here makes one.",
                hint="objaverse-render compose --scenes N --out DIR",
            )
        folder = self._scratch.borrow(hashlib.sha256(source.text.encode()).hexdigest()[:24])
        try:
            return Fetched(self._make_scene(wanted[1], int(wanted[2]), folder), temporary=True)
        except BaseException:
            self._scratch.give_back(folder)
            raise

    def _fetch_site(
        self, source: Source, on_progress: ByteProgress | None, cancel: threading.Event | None
    ) -> Fetched:
        url, kept = site_target(source.text, self.folder)
        record, known = self._look_up(source, kept.is_file(), on_progress, cancel)

        def fetch(into: Path | None) -> Path:
            target = into / kept.name if into else kept
            if target.is_file():
                return target
            self._need_network(source.text)
            return download(
                self._session(), url, target, on_progress=on_progress, cancel=cancel,
                found=lambda: target if target.is_file() else None,
                finish=lambda part: (inspect_file(part, str(target)), target)[1],
                gone=ObjectMissing,
            )  # fmt: skip

        fetched = Fetched(kept) if kept.is_file() else self._temporarily(source.text, fetch)
        return self._verdict(source, source.text, record, fetched, known)

    def _fetch_github(
        self, source: Source, on_progress: ByteProgress | None, cancel: threading.Event | None
    ) -> Fetched:
        wanted = github_object(source.text)
        if wanted is None:
            raise SourceNotFound(
                f"{source.text} does not name a file of a commit.",
                hint="https://github.com/<owner>/<repository>/blob/<commit>/<path>",
            )
        record, known = self._look_up(source, False, on_progress, cancel)
        checkout = self._repositories.acquire(wanted, on_progress, cancel)
        try:
            path = checkout.file(wanted)
            fetched = Fetched(path, temporary=checkout.temporary, folder=checkout.folder)
            with self._guard:
                if checkout.temporary:
                    self._checkouts[path] = checkout
            fetched = self._verdict(source, source.text, record, fetched, known)
        except BaseException:
            self._repositories.release(checkout)
            raise
        if not checkout.temporary:
            self._repositories.release(checkout)
        return fetched

    def _fetch_address(
        self, source: Source, on_progress: ByteProgress | None, cancel: threading.Event | None
    ) -> Fetched:
        elsewhere = is_elsewhere(source)
        place = place_of(source, self.folder)
        there = found_in(place) if elsewhere else None

        def fetch(into: Path | None) -> Path:
            if elsewhere:
                self._need_network(source.text)
            return fetch_address(source, into or place, self._session(), on_progress, cancel)

        fetched = (
            Fetched(there) if there is not None
            else self._temporarily(source.text, fetch, always=not elsewhere)
        )  # fmt: skip
        provenance = {"file_identifier": redacted(source.text), **_said(source)}
        return self._checked(source, Fetched(fetched.path, provenance, fetched.temporary))

    # --- What is known ------------------------------------------------------------------------

    def _look_up(
        self,
        source: Source,
        is_here: bool,
        on_progress: ByteProgress | None,
        cancel: threading.Event | None,
    ) -> tuple[Record | None, bool]:
        """The catalogue's record, and whether the catalogue could be asked."""
        if "sha256" in source.known:
            return None, False
        try:
            return self._catalogue().find(source.kind, source.text, on_progress, cancel), True
        except OnlineAccessDenied:
            # What was fetched is used; it only cannot be compared.
            return None, False
        except MissingDependency:
            if is_here or not self._online:
                return None, False
            raise

    def _verdict(
        self,
        source: Source,
        identifier: str,
        record: Record | None,
        fetched: Fetched,
        asked: bool = False,
    ) -> Fetched:
        """Compare what came with what Objaverse-XL had."""
        provenance: dict[str, Any] = {"file_identifier": identifier}
        expected = source.known.get("sha256", record.sha256 if record else "")
        if record is not None and record.license:
            provenance["license"] = record.license
        if record is not None and record.metadata:
            with contextlib.suppress(ValueError, RecursionError):
                known = json.loads(record.metadata)
                if isinstance(known, dict):
                    provenance["metadata"] = known
        provenance |= _said(source)
        if expected:
            same = _file_digest(fetched.path) == expected
            state = {"state": "found" if same else "modified", "expected_sha256": expected}
        else:
            state = {"state": "new" if asked and record is None else "unverified"}
        if expected or source.kind != "objaverse":
            provenance["objaverse_xl"] = state
        return replace(fetched, provenance=provenance)

    def _checked(self, source: Source, fetched: Fetched) -> Fetched:
        expected = source.known.get("sha256")
        if expected and fetched.path.is_file() and _file_digest(fetched.path) != expected:
            self.release(fetched)
            raise ChecksumMismatch(
                f"{redacted(source.text)} does not have the SHA-256 {expected}.",
                hint="Its content changed; fetch it again, or correct the list.",
            )
        return fetched

    # --- Places -------------------------------------------------------------------------------

    def _temporarily(
        self, key: str, fetch: Callable[[Path | None], Path], *, always: bool = False
    ) -> Fetched:
        """Fetch into the cache, or where downloads are not kept into a folder that goes again."""
        if self._keep and not always:
            return Fetched(fetch(None))
        folder = self._scratch.borrow(hashlib.sha256(key.encode()).hexdigest()[:24])
        try:
            return Fetched(fetch(folder), temporary=True)
        except BaseException:
            self._scratch.give_back(folder)
            raise

    def _need_network(self, what: str) -> None:
        if not self._online:
            raise OnlineAccessDenied.to_fetch(redacted(what))

    # --- Made when they are needed ------------------------------------------------------------

    def _session(self) -> Session:
        with self._guard:
            if self._session_made is None:
                self._session_made = Session(self._endpoint, self._per_host)
            return self._session_made

    def _objects(self) -> ObjaverseCache:
        session = self._session() if self._online else None
        with self._guard:
            if self._objects_made is None:
                self._objects_made = ObjaverseCache(
                    self.folder, self._endpoint, online=self._online, session=session
                )
            return self._objects_made

    def _catalogue(self) -> XLCatalogue:
        session = self._session() if self._online else None
        with self._guard:
            if self._catalogue_made is None:
                self._catalogue_made = XLCatalogue(self.folder, session, self._endpoint)
            return self._catalogue_made


def _said(source: Source) -> dict[str, Any]:
    license = source.known.get("license")
    return {"license": license} if license else {}


def _file_digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise SourceNotFound(f"{path} cannot be read: {error.strerror}.") from error
