"""A user's stage for composed scenes: rendered once for its triangles, and looked through."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ..assets.licenses import license_of
from ..assets.sources import expand
from ..compose.objects.judging import place_said, told
from ..compose.objects.library import PLY
from ..compose.rules import refuse_others
from ..compose.stages import (
    FOLDER,
    STAGE_FILE,
    UserStage,
    digest_of,
    found_in,
    mistaken_for,
    stages_in,
    to_json,
)
from ..dataset.reader import AssetReader
from ..errors import InvalidGeometry, InvalidJob, from_reason
from ..files import file_sha256, write_whole
from ..job import RenderJob
from ..locks import locked
from .options import RunOptions
from .results import AssetResult, Event
from .run import render

__all__ = ["prepare_stage", "told_apart"]

_JOB: Final[dict[str, Any]] = {
    "files.layout": "folder", "files.geometry_files": ("mesh",), "asset.normalize": "none",
    "pixels.passes": ("depth", "mask"), "pixels.resolution": (64, 64),
    "cameras.pattern": "fibonacci", "cameras.views": 1, "asset.witness": "off",
}  # fmt: skip
"""What is rendered of it: its triangles are what is wanted."""


def prepare_stage(
    given: str | os.PathLike[str],
    out: Path,
    options: RunOptions,
    *,
    surfaces: Sequence[str] = (),
    on_event: Callable[[Event], None] | None = None,
) -> tuple[UserStage, ...]:
    """Find what things stand on in a file, and what is around it.

    What was found in the same file is taken as it is.

    Args:
        given: A 3D file of one scene, in metres.
        out: Of the set; :data:`..compose.stages.STAGE_FILE` and its folder come there.
        options: As of the scenes.
        surfaces: Names of the objects that things stand on; those with the custom property
            ``objaverse_surface`` otherwise, or else the largest level one.

    Returns:
        A stage for each surface.

    Raises:
        InvalidJob: It is not one file.
        InvalidGeometry: Nothing in it can be stood on; the message says why.
        OutputExists: The folder has scenes on another stage.
        RenderError: It cannot be read, as :func:`.run.render` has it.
    """
    sources = list(expand([given]))
    if len(sources) != 1 or sources[0].kind != "path":
        raise InvalidJob(
            f"{os.fspath(given)} is {len(sources)} assets; a stage is one file of this machine.",
            hint="--stage room.blend",
        )
    (source,) = sources
    wanted = list(dict.fromkeys(surfaces))
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / f".{FOLDER}.lock"):
        digest = _digest(Path(source.text))
        if (out / STAGE_FILE).exists() and not options.selection.overwrite:
            known = stages_in(out)
            named = [one.surface for one in known if one.found_by == "name"]
            if {one.file_sha256 for one in known} == {digest} and named == wanted:
                return known
        selection = replace(options.selection, shard=None, overwrite=False, retry="all")
        results: list[AssetResult] = []
        render(
            [source], RenderJob().with_values(_JOB), out / FOLDER,
            replace(options, selection=selection), on_event=on_event, on_result=results.append,
        )  # fmt: skip
        (result,) = results
        if result.error is not None:
            error = result.error
            raise from_reason(
                error.reason, f"The stage cannot be used: {told(source.text, error.message)}",
                error.hint, error.log,
            )  # fmt: skip
        stages = _found(str(result.path), source.text, digest, wanted)
        if not options.selection.overwrite:
            refuse_others(out, "stage", digest_of(stages))
        write_whole(out / STAGE_FILE, to_json(stages).encode())
    return stages


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise InvalidJob(f"{path} cannot be read: {error.strerror or error}.") from error


def _found(path: str, source: str, digest: str, wanted: Sequence[str]) -> tuple[UserStage, ...]:
    with AssetReader(path) as reader:
        metadata = reader.metadata
        geometry = metadata["geometry"]
        if geometry["unmeshed"]:
            raise InvalidGeometry(
                f"The stage cannot be used: {', '.join(geometry['unmeshed'])} of it is no surface, "
                "so that nobody can prove what it hides.",
                hint="Take it out, or make a mesh of it.",
            )
        shape = reader.geometry
        assert shape is not None
        mesh = shape.mesh()
        there = {*mesh.part.tolist()}
        marked = [number for number in geometry.get("surfaces", ()) if number in there]
        asked: list[tuple[str, int | None]] = [(name, None) for name in wanted]
        asked = asked or [("", number) for number in marked] or [("", None)]
        return tuple(
            UserStage(
                asset=metadata["asset_id"], sha256=geometry["files"][PLY]["sha256"],
                file_sha256=digest, source=place_said(source),
                license=license_of(metadata.get("license")).key,
                **found_in(mesh, mesh.parts, name, number),
            ) for name, number in asked
        )  # fmt: skip


def told_apart(
    stages: Sequence[UserStage], kinds: Sequence[str], others: Collection[str]
) -> tuple[str, ...]:
    """Of the own kinds those that nothing on a stage is called like.

    Args:
        others: What others' objects are called.

    Raises:
        InvalidGeometry: There is none, or something is called like one of the others.
    """
    alike: dict[str, str] = {}
    for stage in stages:
        alike |= mistaken_for(stage, {*kinds, *others})
    kept = tuple(name for name in kinds if name not in alike)
    of_others = {name: alike[name] for name in sorted(others) if name in alike}
    if of_others or (kinds and not kept):
        said = ", ".join(f"{thing!r} could be called a {name}"
                         for name, thing in (of_others or alike).items())  # fmt: skip
        raise InvalidGeometry(
            f"The stage cannot be used with these objects: of it {said}, and sentences would mean "
            "it, too.",
            hint="Take it off the stage, rename what is none, or draw other objects.",
        )
    return kept
