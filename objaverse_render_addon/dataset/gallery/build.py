"""Make the page, and keep it up to date: what did not change is not made again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import webbrowser
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from ... import __version__
from ...errors import (
    DiskFull,
    InvalidJob,
    MissingDependency,
    OutputExists,
    OutputNotWritable,
    RenderError,
    SourceNotFound,
    TruncatedFile,
    from_os_error,
)
from ...files import write_whole
from ..coloring import RAMP
from ..guards import RENDER_AGAIN, believing
from ..layout import METADATA
from ..reader import AssetRef, find_assets
from .asset import asset_files
from .card import card_of, failure_card, label
from .failures import Failure, failures
from .script import plain, script
from .sentences import EXPRESSIONS

__all__ = ["Gallery", "build_gallery", "open_gallery"]

SIZE: Final = 256
"""Longer side of the pictures, pixels, where not said otherwise."""

_FORM: Final = 4  # of the generated files; another number makes everything again
_MARK: Final = ".objaverse-gallery"
_CARD: Final = "card.json"
_CHUNK: Final = 500  # cards per file
_PAGE: Final = "index.html"
# What happens to the place that the page is written to ends the run; all else ends the asset.
_FATAL: Final = (OutputNotWritable, DiskFull, MissingDependency)

OnAsset = Callable[[int, int, str, bool], None]


@dataclass(slots=True)
class Gallery:
    """What was made.

    Attributes:
        page: The file to open.
        assets: Cards on it, failed ones included.
        made: Assets that were new or had changed.
        removed: Assets that are no longer there.
        failed: Assets that have no pictures.
    """

    page: Path
    assets: int = 0
    made: int = 0
    removed: int = 0
    failed: int = 0


def build_gallery(
    folder: Path | str,
    target: Path | None = None,
    *,
    size: int = SIZE,
    jobs: int | None = None,
    limit: int | None = None,
    on_asset: OnAsset | None = None,
) -> Gallery:
    """Make a web page of a dataset that opens from disk, or bring one up to date.

    Stopped at any moment, it goes on from there when called again; the page shows the earlier
    state until everything is made.

    Args:
        folder: A dataset: a folder or URL, with failures where a run recorded some.
        target: Folder for the page; ``<folder>/gallery`` where not given.
        size: Longer side of the pictures in pixels; smaller ones are not enlarged.
        jobs: Threads; one per processor where not given.
        limit: At most so many assets, for a look.
        on_asset: Called with the number of assets done, of all, the id, and whether it was made
            anew.

    Raises:
        SourceNotFound: There is neither a finished asset nor a failure.
        OutputExists: ``target`` holds something else.
        InvalidJob: A number makes no sense, or a URL is given without ``target``.
        OutputNotWritable, DiskFull
    """
    if not 16 <= size <= 4096:
        raise InvalidJob(f"Pictures of {size} pixels.", hint="16 to 4096 make sense.")
    if target is None:
        if "://" in str(folder):
            raise InvalidJob(f"{folder} is no local folder.", hint="Say where with -o FOLDER.")
        target = Path(folder) / "gallery"
    found, lost = _everything(folder, limit)
    _prepare(target)
    gallery = Gallery(target / _PAGE)
    cards: list[dict[str, Any]] = []
    jobs = max(1, jobs or os.cpu_count() or 1)
    work = _Work(target, size)
    with ThreadPoolExecutor(jobs, "gallery") as pool:
        tasks = ((work.asset, item) for item in found)
        losses = ((work.loss, item) for item in lost)
        total = len(found) + len(lost)
        for card, made in _in_order(pool, [*tasks, *losses], 2 * jobs):
            cards.append(card)
            gallery.made += made
            gallery.failed += bool(card["r"])
            if on_asset is not None:
                on_asset(len(cards), total, card["i"], made)
    gallery.assets = len(cards)
    _write_index(target, cards, label(Path(str(folder)).resolve().name or folder))
    gallery.removed = _sweep(target, cards)
    return gallery


def open_gallery(folder: Path | str, on_asset: OnAsset | None = None) -> Path:
    """Bring a dataset's page up to date and show it in the browser; returns its file.

    Args, Raises:
        As :func:`build_gallery`.
    """
    page = build_gallery(folder, on_asset=on_asset).page
    webbrowser.open(page.resolve().as_uri())
    return page


def _everything(
    folder: Path | str, limit: int | None
) -> tuple[list[tuple[str, AssetRef, Failure | None]], list[tuple[str, Failure]]]:
    """Assets and failures, each with its key; a failure of a finished asset goes along with it."""
    lost = {failure["asset_id"]: failure for failure in failures(folder)}

    def broken(where: str, error: RenderError) -> None:
        lost[where] = _failure(where, where, error)

    try:
        there = find_assets(folder, on_broken=broken)
    except SourceNotFound:
        if not lost:
            raise
        there = []
    keys: set[str] = set()
    found = []
    for source in there[:limit]:
        found.append((_key(source.id, keys), source, lost.pop(source.id, None)))
    rest = list(lost.values())[: None if limit is None else max(0, limit - len(found))]
    return found, [(_key(failure["asset_id"], keys), failure) for failure in rest]


def _key(asset_id: str, taken: set[str]) -> str:
    """A file name for an id, whatever is in it; not one that is taken."""
    number = 0
    while True:
        text = f"{asset_id}\0{number}" if number else asset_id
        key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]
        if key not in taken:
            taken.add(key)
            return key
        number += 1


def _in_order(
    pool: ThreadPoolExecutor, tasks: Iterable[tuple[Callable[..., Any], Any]], ahead: int
) -> Iterator[Any]:
    """Results in the tasks' order, with at most ``ahead`` tasks begun and not yet taken."""
    waiting: list[Future[Any]] = []
    try:
        for function, item in tasks:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()


@dataclass(slots=True)
class _Work:
    """Makes the files of one asset at a time, from several threads."""

    target: Path
    size: int

    def asset(self, item: tuple[str, AssetRef, Failure | None]) -> tuple[dict[str, Any], bool]:
        """The card of a finished asset, and whether it was made anew."""
        key, source, failure = item
        mark = ""
        try:
            mark = f"{_FORM} {__version__} {self.size} {_fingerprint(source)} {_digest(failure)}"
            kept = self._kept(key, mark)
            if kept is not None:
                return kept, False
            with believing(source), source.open() as reader:
                card = card_of(source.id, reader.metadata)
                files = asset_files(reader, key, size=self.size, card=card)
            if failure is not None:
                card["r"] = label(failure["reason"])
                files["failure.js"] = script("failure", key, plain(dict(failure)))
        except _FATAL:
            raise
        except RenderError as error:
            return self._lost(key, mark, _failure_of(source, error)), True
        except OSError as error:
            broken = TruncatedFile(f"{source} cannot be read: {error}.", hint=RENDER_AGAIN)
            return self._lost(key, mark, _failure_of(source, broken)), True
        return self._keep(key, mark, card, files), True

    def loss(self, item: tuple[str, Failure]) -> tuple[dict[str, Any], bool]:
        """The card of an asset that was never finished."""
        key, failure = item
        mark = f"{_FORM} {__version__} {_digest(failure)}"
        kept = self._kept(key, mark)
        if kept is not None:
            return kept, False
        return self._lost(key, mark, failure), True

    def _lost(self, key: str, mark: str, failure: Failure) -> dict[str, Any]:
        files = {"failure.js": script("failure", key, plain(dict(failure)))}
        return self._keep(key, mark, failure_card(failure), files)

    def _place(self, key: str) -> Path:
        return self.target / "assets" / key[:2] / key

    def _kept(self, key: str, mark: str) -> dict[str, Any] | None:
        try:
            record = json.loads((self._place(key) / _CARD).read_text("utf-8"))
            card: dict[str, Any] = record["card"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return card if record.get("mark") == mark else None

    def _keep(
        self, key: str, mark: str, card: dict[str, Any], files: dict[str, bytes]
    ) -> dict[str, Any]:
        """Put an asset's files in their place, all at once."""
        card = {"k": key, **card}
        record = json.dumps({"mark": mark, "card": card}, ensure_ascii=True)
        place = self._place(key)
        part = place.with_name(f".{key}.part{os.getpid()}")
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            for name, data in {**files, _CARD: record.encode()}.items():
                (part / name).write_bytes(data)
            shutil.rmtree(place, ignore_errors=True)
            part.rename(place)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise from_os_error(error, str(place)) from error
        return card


def _failure_of(source: AssetRef, error: RenderError) -> Failure:
    return _failure(source.id, str(source), error)


def _failure(asset_id: str, source: str, error: RenderError) -> Failure:
    return {
        "asset_id": asset_id, "source": source, "reason": error.reason,
        "message": error.message, "hint": error.hint or RENDER_AGAIN, "log": error.log,
    }  # fmt: skip


def _fingerprint(asset: AssetRef) -> str:
    """A word that changes when the asset does."""
    if "://" in asset.location:
        with asset.open() as reader:
            return _digest(reader.metadata)
    path = Path(asset.location)
    facts = (path / METADATA if asset.kind == "folder" else path).stat()
    # Sentences are written after the pictures, and again with other quotas.
    said = path / EXPRESSIONS
    told = f" {said.stat().st_mtime_ns}" if asset.kind == "folder" and said.is_file() else ""
    return f"{path.name} {facts.st_size} {facts.st_mtime_ns}{told}"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _prepare(target: Path) -> None:
    """The page itself, in a folder that is empty or a page already.

    Raises:
        OutputExists: The folder holds something else.
    """
    mark = target / _MARK
    if target.exists() and not mark.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputExists(
            f"{target} is there and is no gallery.", hint="Choose another folder with -o."
        )
    write_whole(mark, b"Made by objaverse-render gallery; made again at any time.\n")
    for item in (resources.files(__package__) / "page").iterdir():
        if item.is_file() and not item.name.startswith("."):
            data, path = item.read_bytes(), target / item.name
            if not path.is_file() or path.read_bytes() != data:
                write_whole(path, data)


def _write_index(target: Path, cards: list[dict[str, Any]], title: str) -> None:
    """The cards in files named by content, then the one that says which files count."""
    chunks = []
    for start in range(0, len(cards), _CHUNK):
        part = cards[start : start + _CHUNK]
        name = _digest(part)
        path = target / "index" / f"{name}.js"
        if not path.is_file():
            write_whole(path, script("cards", name, part))
        chunks.append(name)
    catalogue = {"title": title, "total": len(cards), "chunks": chunks, "ramp": RAMP.tolist()}
    write_whole(target / "catalogue.js", script("catalogue", "catalogue", catalogue))
    for path in (target / "index").glob("*.js"):
        if path.stem not in chunks:
            path.unlink(missing_ok=True)


def _sweep(target: Path, cards: list[dict[str, Any]]) -> int:
    """Remove the files of assets that are no longer there; returns how many."""
    known = {card["k"] for card in cards}
    removed = 0
    for path in (target / "assets").glob("*/*"):
        if path.name not in known:
            removed += not path.name.startswith(".")
            shutil.rmtree(path, ignore_errors=True)
    return removed
