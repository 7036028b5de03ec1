"""A small dataset, and questions to an export, for the tests of what all exports share."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from analytic import write_asset
from jobs import written

from objaverse_render_addon.dataset.layout import METADATA
from objaverse_render_addon.job import CameraRules, RenderJob

NAMES = ("chair", "lamp", "table")


def job_of(views: int = 4, pattern: str = "ring", **output: Any) -> RenderJob:
    chosen = {"resolution": (48, 48), "layout": "zip"} | output
    return RenderJob(cameras=CameraRules(pattern=pattern, views=views), **written(**chosen))


def three(folder: Path) -> Path:
    """A dataset of three assets."""
    for name in NAMES:
        write_asset(folder, job_of(), name)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Every file that is not private."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if name[0] != "."}


def statuses(report: Any) -> dict[str, str]:
    return {outcome.asset: outcome.status for outcome in report.outcomes}


def rewrite(asset: Path, change: Any) -> None:
    """Change an archive's metadata."""
    with zipfile.ZipFile(asset) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (name,) = [name for name in members if name.endswith(METADATA)]
    record = json.loads(members[name])
    change(record)
    members[name] = json.dumps(record).encode()
    with zipfile.ZipFile(asset, "w") as archive:
        for member, payload in members.items():
            archive.writestr(member, payload)
