"""``objaverse.xl.download_objects`` calls back for every object: this renders it.

::

    import objaverse.xl
    from objaverse_render_addon import RenderJob, handlers

    objaverse.xl.download_objects(objects, **handlers(RenderJob(), "data"))
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..assets.sources import GITHUB, Source, classify
from ..errors import RenderError
from ..job import RenderJob
from ..locks import locked
from .inputs import check_files
from .options import RunOptions
from .output.store import state_folder

__all__ = ["TOLD", "handlers"]

TOLD = "objaverse-xl.jsonl"
"""In the folder ``.state`` of the output: a line for every call, and what became of it."""


def handlers(
    job: RenderJob,
    out: str | Path,
    options: RunOptions | None = None,
    *,
    modified: bool = True,
    new: bool = False,
) -> dict[str, Callable[..., None]]:
    """The callbacks of ``objaverse.xl.download_objects``, by their names there.

    The package calls them from its own processes, as soon as an object is there and before it may
    be removed; so each call returns when its object is rendered. One renders at a time, with all
    of the machine. Names of assets are those that the same objects have on the command line, the
    metadata say ``file_identifier``, ``objaverse_xl`` and what the catalogue knows, and an asset
    that fails is in the ledger (``objaverse-render status``) and does not end the download.

    Args:
        options: Of each render.
        modified: Whether objects are rendered that have another content than the catalogue says;
            the metadata say so.
        new: Whether files of a repository are rendered that the catalogue does not know.

    Raises:
        InvalidJob: A file that the job names cannot be used.
    """
    check_files(job)
    place = out if isinstance(out, str) and "://" in out else str(Path(out).absolute())

    def of(state: str, rendered: bool) -> Callable[..., None]:
        return functools.partial(_handle, state, rendered, job, place, options or RunOptions())

    return {
        "handle_found_object": of("found", True),
        "handle_modified_object": of("modified", modified),
        "handle_missing_object": of("missing", False),
        "handle_new_object": of("new", new),
    }


def _handle(
    state: str,
    rendered: bool,
    job: RenderJob,
    out: str,
    options: RunOptions,
    file_identifier: str,
    metadata: Mapping[Any, Any] | None = None,
    local_path: str = "",
    sha256: str = "",
    new_sha256: str = "",
    old_sha256: str = "",
) -> None:
    """One object, as the package tells of it; in whichever of its processes."""
    folder = state_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    said: dict[str, Any] = {"file_identifier": file_identifier, "state": state}
    if new_sha256:
        said["sha256"] = new_sha256
    with locked(folder / f"{TOLD}.lock"):
        if rendered:
            expected = old_sha256 or (sha256 if state == "found" else "")
            xl = {"state": state, **({"expected_sha256": expected} if expected else {})}
            known: dict[str, Any] = {"file_identifier": file_identifier, "objaverse_xl": xl}
            if metadata:
                known["metadata"] = {str(key): value for key, value in metadata.items()}
            said |= _rendered(Path(local_path), file_identifier, known, job, out, options)
        with (folder / TOLD).open("a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")


def _rendered(
    path: Path,
    identifier: str,
    known: dict[str, Any],
    job: RenderJob,
    out: str,
    options: RunOptions,
) -> dict[str, Any]:
    from .run import render

    path = path.expanduser().absolute()
    name = Source(identifier, classify(identifier)).name
    selection = replace(options.selection, provenance={str(path): known})
    options = replace(options, selection=selection)
    root = _repository(path, identifier)
    if root is not None:
        reach = replace(options.workers, allow_outside=(*options.workers.allow_outside, str(root)))
        options = replace(options, workers=reach)
    try:
        (result,) = render([Source(str(path), "path", name)], job, out, options).results
    except RenderError as error:
        return {"status": "failed", "reason": error.reason, "error": error.message}
    told: dict[str, Any] = {"asset_id": name, "status": result.status}
    if result.error is not None:
        told |= {"reason": result.error.reason, "error": result.error.message}
    return told


def _repository(path: Path, identifier: str) -> Path | None:
    """The folder of the repository that a file lies in: all of it is the asset's own."""
    if not GITHUB.fullmatch(identifier):
        return None
    inside = Path(identifier.split("/blob/", 1)[1].partition("/")[2])
    if path.parts[-len(inside.parts) :] != inside.parts:
        return None
    return path.parents[len(inside.parts) - 1]
