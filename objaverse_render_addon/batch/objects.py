"""Assets of others for composed scenes: rendered once for their surface and colours, and judged."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ..assets.annotations import LVIS, AnnotationFiles
from ..assets.catalogue import Catalogue, look_up
from ..assets.sources import Source, expand, place_of, uid_of
from ..compose.objects.judging import COLUMNS, list_problem, place_said, told
from ..compose.objects.library import FOLDER, LIBRARY_FILE, Foreign, LeftOut, Library
from ..compose.rules import refuse_others
from ..dataset.credits import credits_of, render_credits
from ..dataset.storage import AssetRef
from ..errors import InvalidList, RenderError, SourceNotFound
from ..files import write_whole
from ..job import RenderJob
from ..locks import locked
from .judging import Task, judge
from .options import Fetching, RunOptions
from .results import AssetResult, Event
from .run import render

__all__ = ["CREDITS_FILE", "REPORT_FILE", "prepare"]

REPORT_FILE: Final = "objects.csv"
CREDITS_FILE: Final = "CREDITS.md"
_JOB: Final[dict[str, Any]] = {
    "files.layout": "folder", "files.geometry_files": ("mesh",), "asset.normalize": "cube",
    "pixels.passes": ("depth", "mask", "albedo"), "pixels.resolution": (64, 64),
    "cameras.pattern": "fibonacci", "cameras.views": 8,
}  # fmt: skip
"""What is rendered of each: its surface, and its colours from all around."""


def prepare(
    given: Sequence[str | os.PathLike[str] | Source],
    out: Path,
    options: RunOptions,
    *,
    license: str | None = None,
    on_event: Callable[[Event], None] | None = None,
    cancel: threading.Event | None = None,
) -> Library:
    """Make the assets that were asked for into objects of scenes in ``out``.

    What was prepared for the same list is taken as it is.

    Args:
        given: Files, folders, UIDs, addresses, or lists of them with the columns
            :data:`..compose.objects.judging.COLUMNS`.
        options: As of the scenes.
        license: Only those under one of these, as ``by,cc0``; those that allow commercial use and
            changes, or state nothing, otherwise.
        cancel: As of :func:`.run.render`.

    Raises:
        SourceNotFound: Nothing is there, or nothing of it can be used; the message counts why.
        OutputExists: The folder has scenes of other objects.
        InvalidList: A list says what cannot be.
        RenderError: As :func:`.run.render`.
    """
    sources = list(expand(given, more=COLUMNS))
    for source in sources:
        wrong = list_problem(source.known)
        if wrong:
            raise InvalidList(f"{source.text}: {wrong}.")
    asked = _digest(sources, license)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / f".{FOLDER}.lock"):
        if (out / LIBRARY_FILE).exists() and not options.selection.overwrite:
            library = Library.read(out)
            if library.asked == asked:
                return library
        library = _made(sources, asked, out, options, license, on_event, cancel)
        if not options.selection.overwrite:
            refuse_others(out, "library", library.digest())
        _write(library, out)
    if not library.objects:
        raise SourceNotFound(
            f"Of {len(sources)} assets none can be used: {_counted(library.left_out)}.",
            hint=f"{out / REPORT_FILE} says why of each; a CSV with path, name and size helps.",
        )
    return library


def _digest(sources: Sequence[Source], license: str | None) -> str:
    said = [
        (place_of(one.text) if one.kind == "path" else one.text, one.asset_id,
         sorted(one.job.items()), sorted(one.known.items()))
        for one in sources
    ]  # fmt: skip
    return hashlib.sha256(repr((said, license)).encode("utf-8", "surrogatepass")).hexdigest()


def _made(
    sources: Sequence[Source], asked: str, out: Path, options: RunOptions, license: str | None,
    on_event: Callable[[Event], None] | None, cancel: threading.Event | None,
) -> Library:  # fmt: skip
    known = {one.text: one.known for one in reversed(sources)}
    results: list[AssetResult] = []

    with _lookup(sources, options.fetching) as lookup:
        selection = replace(
            options.selection, shard=None, overwrite=False, retry="all", lookup=lookup,
            licenses=license,
        )  # fmt: skip
        render(
            sources, RenderJob().with_values(_JOB), out / FOLDER,
            replace(options, selection=selection), on_event=on_event, on_result=results.append,
            cancel=cancel,
        )  # fmt: skip
    tasks = [
        Task(str(one.path), one.source, dict(known.get(one.source, {})), str(out),
             license is not None)
        for one in results if one.status != "failed"
    ]  # fmt: skip
    failed = [
        LeftOut(place_said(one.source), one.asset_id, one.error.reason,
                told(one.source, one.error.message))
        for one in results if one.error is not None
    ]  # fmt: skip
    python = options.fetching.physics
    jobs = options.workers.workers or max(1, (os.cpu_count() or 1) - 1)
    rows = list(judge(tasks, jobs, str(python) if python is not None else None, cancel))
    objects = sorted((one for one in rows if isinstance(one, Foreign)), key=lambda one: one.asset)
    left_out = [one for one in rows if isinstance(one, LeftOut)] + failed
    return Library(
        asked, tuple(objects), tuple(sorted(left_out, key=lambda one: one.asset)), out
    )


@contextlib.contextmanager
def _lookup(
    sources: Sequence[Source], fetching: Fetching
) -> Iterator[Callable[[str], dict[str, Any]]]:
    """What Objaverse's catalogue knows: from the index, or else from its annotation files."""
    folder = Path(fetching.download_dir or Path.home() / ".objaverse").expanduser()
    catalogue = Catalogue.existing(folder)
    if catalogue is not None:
        with catalogue:
            yield catalogue.known
        return
    files = AnnotationFiles(folder, fetching.endpoint, online=fetching.online)
    found: dict[str, dict[str, Any]] = {}
    uids = [uid for one in sources if one.kind == "objaverse" and (uid := uid_of(one.text))]
    if uids:
        with contextlib.suppress(RenderError), files.connected():
            files.whole(LVIS)
            for uid in uids:
                entry = look_up(uid, files)
                if entry is not None:
                    found[uid] = entry.provenance()
    yield lambda source: found.get(uid_of(source) or "", {})


def _counted(left_out: Sequence[LeftOut]) -> str:
    reasons = [one.reason for one in left_out]
    return ", ".join(f"{reasons.count(one)} {one}" for one in dict.fromkeys(sorted(reasons)))


def _write(library: Library, out: Path) -> None:
    """The table, the report of what is used and what is not, and whom to thank."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("source", "asset", "used", "reason", "said", "name", "category", "size_m",
                     "size_from", "color", "color_from", "license"))  # fmt: skip
    rows = [
        (one.source, one.asset, "yes", "", "", one.name, one.category,
         f"{one.longest_m[0]:.4g}" if one.longest_m[0] == one.longest_m[1] else
         f"{one.longest_m[0]:.4g}-{one.longest_m[1]:.4g}",
         one.size_from, one.color[0] if one.color else "", one.color_from, one.license)
        for one in library.objects
    ] + [
        (one.source, one.asset, "no", one.reason, one.said, "", "", "", "", "", "", "")
        for one in library.left_out
    ]  # fmt: skip
    for row in rows:
        # A spreadsheet takes what begins like this for a formula.
        writer.writerow([f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell for cell in row])
    assets = [AssetRef(one.asset, "folder", str(out / FOLDER / one.asset))
              for one in library.objects]  # fmt: skip
    found, _ = credits_of(assets)
    write_whole(out / REPORT_FILE, buffer.getvalue().encode())
    write_whole(out / CREDITS_FILE, render_credits(found, ".md").encode())
    write_whole(out / LIBRARY_FILE, library.to_json().encode())
