"""Finished assets in every layout, made from one that the worker's writer wrote as a folder."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

LAYOUTS = ("folder", "zip", "tar", "shard", "shard without index")


def store(assets: Iterable[Path], out: Path, layout: str) -> None:
    """Put folders of finished assets into ``out`` in another layout."""
    out.mkdir(parents=True, exist_ok=True)
    assets = list(assets)
    if layout.startswith("shard"):
        write_shard(out / "shard-000000.tar", assets, index=layout == "shard")
        return
    for asset in assets:
        if layout == "folder":
            shutil.copytree(asset, out / asset.name)
        elif layout == "zip":
            with zipfile.ZipFile(out / f"{asset.name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                for file in sorted(asset.iterdir()):
                    archive.write(file, f"{asset.name}/{file.name}")
        else:
            members = {f"{asset.name}/{f.name}": f.read_bytes() for f in sorted(asset.iterdir())}
            write_tar(out / f"{asset.name}.tar", members)


def write_tar(path: Path, members: dict[str, bytes]) -> dict[str, tuple[int, int]]:
    """A tar archive; returns offset and size of each member's content."""
    places = {}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
            places[name] = (archive.offset - (len(data) + 511) // 512 * 512, len(data))
    return places


def write_shard(path: Path, assets: Iterable[Path], index: bool = True) -> None:
    members, owners = {}, {}
    for asset in assets:
        for file in sorted(asset.iterdir()):
            members[f"{asset.name}.{file.name}"] = file.read_bytes()
            owners[f"{asset.name}.{file.name}"] = asset.name, file.name
    record: dict[str, dict[str, tuple[int, int]]] = {}
    for name, place in write_tar(path, members).items():
        asset, file = owners[name]
        record.setdefault(asset, {})[file] = place
    if index:
        text = json.dumps({"version": 1, "assets": record})
        path.with_name(f"{path.stem}.index.json").write_text(text)
