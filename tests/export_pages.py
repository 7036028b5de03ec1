"""The commands of the pages in ``docs/export``, carried out on shapes known by formula."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from analytic import LOPSIDED, Box, Shape, Sphere, Union, write_asset

from objaverse_render_addon.cli import _parser, main
from objaverse_render_addon.cli.flags import job_of, joined
from objaverse_render_addon.cli.render import exports_of
from objaverse_render_addon.dataset.export import SPLITS, Options
from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.job import HALF_EXTENT, CameraRules, RenderJob

DOCS = Path(__file__).resolve().parent.parent / "docs/export"
Change = Callable[[str, Any, dict[str, Any]], None]
TIMES = (1, 5, 9)
"""Frames of a file whose animation is rendered."""


def commands(page: str) -> list[list[str]]:
    """What the first block of commands of a page says, word by word."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    block = re.search(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block, page
    lines = block[1].replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def ours(page: str, kind: str) -> list[list[str]]:
    """The arguments of our own commands of one kind, ``render`` or ``export``.

    What a ``render`` exports on its way is the same as that ``export`` of what it rendered.
    """
    found = [words[1:] for words in commands(page) if words[0] == "objaverse-render"]
    if kind == "export":
        return [export for words in found for export in _exports(words)]
    return [words for words in found if words[0] == kind]


def _exports(words: list[str]) -> list[list[str]]:
    if words[0] == "export":
        return [words]
    options = _parser().parse_args(joined(words))
    return [
        ["export", options.out, "--to", name, "--out", folder or f"{options.out}-{name}"]
        for name, folder in exports_of(options).items()
    ]


def theirs(page: str) -> list[str]:
    """The commands of the trainers, as they stand there but for spaces."""
    return [" ".join(words) for words in commands(page) if words[0] not in (
        "objaverse-render", "mv",
    ) and words[:3] != ["python", "-m", "pip"]]  # fmt: skip


def scaled(shape: Shape, factor: float) -> Shape:
    if isinstance(shape, Union):
        return Union(tuple(scaled(part, factor) for part in shape.parts))  # type: ignore[misc]
    if isinstance(shape, Sphere):
        return Sphere(tuple(factor * c for c in shape.center), factor * shape.radius)  # type: ignore[arg-type]
    low, high = (tuple(factor * c for c in corner) for corner in (shape.low, shape.high))
    return Box(low, high)  # type: ignore[arg-type]


def names_of(page: str, train: int = 2, others: int = 1) -> list[str]:
    """Names of assets, so that with the page's options every split with a share has scenes."""
    options = _parser().parse_args(joined(ours(page, "export")[0]))
    chosen = Options(split=options.split, seed=options.seed)
    wanted = {
        split: train if split == "train" else others if share else 0
        for split, share in zip(SPLITS, chosen.split, strict=True)
    }
    names: list[str] = []
    number = 0
    while sum(wanted.values()):
        name, number = f"asset{number}", number + 1
        split = chosen.split_of(name)
        if wanted[split]:
            wanted[split] -= 1
            names.append(name)
    return names


def job_of_page(arguments: list[str], side: int | None) -> tuple[RenderJob, str]:
    """The job of a page's ``render``, with pictures of another size and the same shape."""
    options = _parser().parse_args(joined(arguments))
    job = job_of(options)
    width, height = job.pixels.resolution
    if side:
        size = (round(side * width / max(width, height)), round(side * height / max(width, height)))
        job = dataclasses.replace(job, pixels=dataclasses.replace(job.pixels, resolution=size))
    return job, str(options.out)


def render(
    arguments: list[str], names: list[str], side: int | None = 48, shape: Shape = LOPSIDED,
    change: Change | None = None,
) -> None:
    """What ``render`` would leave in its folder, below the folder that is current."""
    job, out = job_of_page(arguments, side)
    times = TIMES if job.time.frames else (None,)
    if job.cameras.pattern == "scene":
        # Which cameras a scene has is up to it.
        job = dataclasses.replace(job, cameras=CameraRules(pattern="ring", views=2))
    factor = _normalized(shape, job.resolved().asset.normalize or "cube")

    for name in names:

        def said(frames: Any, record: dict[str, Any], name: str = name) -> None:
            record["sha256"] = hashlib.sha256(name.encode()).hexdigest()
            record["file_identifier"] = f"{name}.glb"
            if change:
                change(name, frames, record)

        write_asset(Path(out), job, name, scaled(shape, factor), said, times)


def _normalized(shape: Shape, method: str) -> float:
    """What makes a shape, whose longest edge is 2, as large as normalisation leaves it."""
    if method != "diagonal":
        return HALF_EXTENT[method]
    edges = np.subtract(shape.bounds.box_max, shape.bounds.box_min)
    return 2 * HALF_EXTENT[method] / float(np.linalg.norm(edges))


def run(
    page: str, names: list[str], side: int | None = 48, shape: Shape = LOPSIDED,
    change: Change | None = None,
) -> None:
    """All of our commands of a page, in their order."""
    for words in commands(page):
        if words[0] != "objaverse-render":
            continue
        if words[1] == "render":
            render(words[1:], names, side, shape, change)
        for arguments in _exports(words[1:]):
            assert main(arguments) == 0


def points_of(folder: str, name: str, view: int, half: float) -> tuple[np.ndarray, np.ndarray]:
    """World points (N, 3) that a view shows, with the object in [-half, half], and their pixels."""
    (path,) = Path(folder).glob(f"{name}.*")
    with AssetReader(path) as reader:
        arrays = reader.read(view)
        bounds = np.array([reader.bounds.box_min, reader.bounds.box_max])
        camera = reader.view(view).camera
    rows, columns = np.nonzero(arrays["mask"])
    points = camera.unproject(arrays["depth"])[rows, columns]
    scale = 2 * half / np.ptp(bounds, axis=0).max()
    return scale * (points - bounds.mean(axis=0)), np.stack([columns, rows], axis=1) + 0.5
