"""Hugging Face data sets: Parquet with image features, a dataset card, and Croissant.

A scene is first left in ``.export/pending``; ``finish`` puts what waits into Parquet files of a
bounded size and writes down what is in which (``.export/parquet.json``) after each, so that a run
that was killed loses nothing and a repeated one adds to what is there.

Features: https://huggingface.co/docs/datasets/about_dataset_features; card:
https://huggingface.co/docs/hub/datasets-cards; Croissant: https://docs.mlcommons.org/croissant/.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...words import how_many
from ..images import encode_png
from .base import SPLITS, Format, Options, Record
from .scene import Scene
from .target import PRIVATE, SceneFiles, Target

__all__ = ["HuggingFace"]

SHARD_BYTES: Final = 400_000_000
"""Of a Parquet file, as the Hub recommends them at most."""
INDEX: Final = f"{PRIVATE}/parquet.json"
PICTURES: Final = ("image", "depth", "mask", "normal")
_FEATURES: Final[dict[str, Any]] = {
    "asset": {"dtype": "string", "_type": "Value"},
    "view": {"dtype": "int32", "_type": "Value"},
    **{name: {"_type": "Image"} for name in PICTURES},
    "intrinsics": {"feature": {"dtype": "float64", "_type": "Value"}, "length": 9,
                   "_type": "Sequence"},
    "camera_to_world": {"feature": {"dtype": "float64", "_type": "Value"}, "length": 16,
                        "_type": "Sequence"},
    "license": {"dtype": "string", "_type": "Value"},
    "source": {"dtype": "string", "_type": "Value"},
    "sha256": {"dtype": "string", "_type": "Value"},
}  # fmt: skip
_ABOUT: Final = {
    "asset": "Name of the asset.",
    "view": "Number of the view.",
    "image": "PNG, sRGB, straight alpha (RGB where the data set has a background).",
    "depth": "TIFF of 32-bit floats: planar depth in scene units, 0 where nothing is.",
    "mask": "PNG, 255 where the object is.",
    "normal": "PNG, world axes (Z up), each component n is (n + 1) / 2 of 255; black where nothing "
    "is.",
    "intrinsics": "3x3 by rows, pixels; the centre of the first pixel is at (0.5, 0.5).",
    "camera_to_world": "4x4 by rows; +X right, +Y up, looks along -Z (OpenGL, Blender).",
    "license": "Of the asset, as its source says.",
    "source": "Where the asset came from.",
    "sha256": "Of the asset's file.",
}
_Packed = dict[str, dict[str, str]]
"""Parquet file to the scenes in it, and the digest of what was packed of each."""


class HuggingFace(Format):
    """``data/<split>/NNNNN.parquet``, one row per view; ``README.md``, ``croissant.json``."""

    name = "huggingface"
    about = "Hugging Face datasets: Parquet with image features, card, Croissant (needs pyarrow)"
    trains = 'python -c "import datasets; print(datasets.load_dataset(\'{target}\'))"'
    holds = ("rgb", "depth", "mask", "normal")
    modules = ("pyarrow",)
    extra = "huggingface"

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`.Format`."""
        return (_pending(key),)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [_row(scene, view) for view in range(len(scene))]
        columns = {name: [row[name] for row in rows] for name in _FEATURES}
        if scene.has("normal"):
            scene.note("quantised", "normals have 8 bits per axis, and world axes (views)",
                       len(scene))  # fmt: skip
        table = pa.table(columns, schema=_schema())
        buffer = io.BytesIO()
        # Pictures are compressed already.
        pq.write_table(table, buffer, compression="none", row_group_size=100)
        out.add(_pending(scene.key), buffer.getvalue())
        return {"license": columns["license"][0], "holds": [n for n in self.holds if scene.has(n)]}

    def is_whole(self, target: Target, record: Record) -> bool:
        """See :class:`.Format`: waiting, or in a Parquet file."""
        shard = record.data.get("shard")
        here = shard is not None and (target.folder / str(shard)).is_file()
        return here or target.has_files(record)

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """Pack what waits, and write card and Croissant."""
        packed = _read_index(target)
        waiting = [record for record in records if target.has_files(record)]
        _take_out(target, packed, {record.key for record in waiting})
        for split in SPLITS:
            group: list[Record] = []
            for record in [record for record in waiting if record.split == split]:
                if group and _bytes_of([*group, record]) > SHARD_BYTES:
                    _pack(target, packed, split, group)
                    group = []
                group.append(record)
            if group:
                _pack(target, packed, split, group)
        shards = {key: shard for shard, keys in packed.items() for key in keys}
        for record in records:
            if record.data.get("shard") != shards.get(record.key):
                record.data["shard"] = shards.get(record.key)
                target.keep(record)
            if record.key in shards:
                (target.folder / _pending(record.key)).unlink(missing_ok=True)
        target.write("README.md", _card(target, records).encode())
        target.write_json("croissant.json", _croissant(target))


def _row(scene: Scene, view: int) -> dict[str, Any]:
    camera, name = scene.camera(view), f"{scene.key}_{scene.numbers[view]:03d}"

    def file(data: bytes, kind: str) -> dict[str, Any]:
        return {"bytes": data, "path": f"{name}.{kind}"}

    row: dict[str, Any] = dict.fromkeys(PICTURES)
    row["image"] = file(scene.png(view), "png")
    if scene.has("depth"):
        row["depth"] = file(_tiff(scene.depth(view)), "depth.tiff")
    if scene.has_mask:
        row["mask"] = file(encode_png(scene.mask(view).astype(np.uint8) * 255), "mask.png")
    if scene.has("normal"):
        normal, there = scene.world_normal(view), scene.mask(view)[..., None]
        levels = np.where(there, np.rint((normal + 1) * 127.5), 0).astype(np.uint8)
        row["normal"] = file(encode_png(levels), "normal.png")
    said = scene.metadata
    return row | {
        "asset": scene.key,
        "view": scene.numbers[view],
        "intrinsics": camera.intrinsics.ravel().tolist(),
        "camera_to_world": camera.camera_to_world.ravel().tolist(),
        "license": str(said.get("license") or "unknown"),
        "source": str(said.get("file_identifier") or ""),
        "sha256": str(said.get("sha256") or ""),
    }


def _tiff(depth: Any) -> bytes:
    """32-bit floats, which a PNG cannot have."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(depth.astype(np.float32)).save(buffer, "TIFF", compression="tiff_deflate")
    return buffer.getvalue()


def _schema() -> Any:
    import pyarrow as pa

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = {"string": pa.string(), "int32": pa.int32()}
    fields = []
    for name, said in _FEATURES.items():
        if said["_type"] == "Image":
            kind = picture
        elif said["_type"] == "Sequence":
            kind = pa.list_(pa.float64(), said["length"])
        else:
            kind = kinds[said["dtype"]]
        fields.append((name, kind))
    info = json.dumps({"info": {"features": _FEATURES}})
    return pa.schema(fields, metadata={"huggingface": info})


def _pending(key: str) -> str:
    return f"{PRIVATE}/pending/{key}.parquet"


def _bytes_of(records: list[Record]) -> int:
    return sum(size for record in records for size in record.files.values())


def _read_index(target: Target) -> _Packed:
    """What is packed; files of which nothing is written down a killed run left, and they go."""
    try:
        packed: _Packed = json.loads((target.folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        packed = {}
    packed = {name: keys for name, keys in packed.items() if (target.folder / name).is_file()}
    for path in (target.folder / "data").glob("*/*.parquet"):
        if path.relative_to(target.folder).as_posix() not in packed:
            path.unlink()
    return packed


def _take_out(target: Target, packed: _Packed, keys: set[str]) -> None:
    """Remove scenes that were rendered again from the files that they are in."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for name in list(packed):
        old = keys & set(packed[name])
        if not old:
            continue
        table = pq.read_table(target.folder / name)
        kept = table.filter(pc.invert(pc.is_in(table["asset"], pc.pa.array(sorted(old)))))
        for key in old:
            del packed[name][key]
        if packed[name]:
            buffer = io.BytesIO()
            pq.write_table(kept, buffer, compression="none", row_group_size=100)
            target.write(name, buffer.getvalue())
        else:
            del packed[name]
            (target.folder / name).unlink()
        target.write_json(INDEX, packed)


def _pack(target: Target, packed: _Packed, split: str, group: list[Record]) -> None:
    import pyarrow.parquet as pq

    from ...files import replacing

    numbers = [int(Path(name).stem) for name in packed if name.startswith(f"data/{split}/")]
    name = f"data/{split}/{max(numbers, default=-1) + 1:05d}.parquet"
    final = target.folder / name
    final.parent.mkdir(parents=True, exist_ok=True)
    with replacing(final) as part, pq.ParquetWriter(part, _schema(), compression="none") as writer:
        for record in group:
            writer.write_table(
                pq.read_table(target.folder / _pending(record.key), schema=_schema()), 100
            )
    packed[name] = {record.key: record.source for record in group}
    target.write_json(INDEX, packed)


def _card(target: Target, records: list[Record]) -> str:
    """``README.md``: what the Hub shows and what ``load_dataset`` reads."""
    there = [split for split in SPLITS if any(record.split == split for record in records)]
    licenses = sorted({str(record.data.get("license")) for record in records})
    views = sum(record.views for record in records)
    sizes = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"),
             (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M")]  # fmt: skip
    category = next((word for limit, word in sizes if views < limit), "n>10M")
    title = target.folder.name
    lines = [
        "---",
        f"pretty_name: {json.dumps(title)}",
        "license: other",
        "license_name: per-asset",
        "license_link: LICENSES.md",
        "tags: [3d, multi-view, depth, rendering]",
        f"size_categories: [{json.dumps(category)}]",
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    for split in there:
        name = "validation" if split == "val" else split
        lines += [f"  - split: {name}", f"    path: data/{split}/*.parquet"]
    lines += [
        "---", "", f"# {title}", "",
        f"{how_many(views, 'view')} of {how_many(len(records), '3D asset')}, rendered in Blender "
        "by objaverse-render-addon. One row is one view.", "",
        "| column | |", "| --- | --- |",
        *(f"| `{name}` | {text} |" for name, text in _ABOUT.items()), "",
        "Licences are those of the assets, row by row in `license`: "
        + ", ".join(_cell(one) for one in licenses[:20])
        + (" …" if len(licenses) > 20 else "") + ".", "",
    ]  # fmt: skip
    rows = [f"| {_cell(record.key)} | {_cell(str(record.data.get('license')))} |"
            for record in records]  # fmt: skip
    head = ["# Licences of the assets", "", "| asset | licence |", "| --- | --- |"]
    target.write("LICENSES.md", "\n".join([*head, *rows, ""]).encode())
    return "\n".join(lines)


def _cell(text: str) -> str:
    return re.sub(r"[|\r\n<>`]", " ", text)[:200]


def _croissant(target: Target) -> dict[str, Any]:
    """Croissant 1.0 over the Parquet files."""
    kinds = {"string": "sc:Text", "int32": "cr:Int32"}
    fields = []
    for name, said in _FEATURES.items():
        kind = {"Image": "sc:ImageObject", "Sequence": "cr:Float64"}.get(
            said["_type"], kinds.get(said.get("dtype", ""), "sc:Text")
        )
        source: dict[str, Any] = {"fileSet": {"@id": "parquet"}, "extract": {"column": name}}
        if kind == "sc:ImageObject":
            source["transform"] = {"jsonPath": "bytes"}
        field: dict[str, Any] = {
            "@type": "cr:Field", "@id": f"views/{name}", "dataType": kind,
            "description": _ABOUT[name], "source": source,
        }  # fmt: skip
        if said["_type"] == "Sequence":
            field |= {"isArray": True, "arrayShape": str(said["length"])}
        fields.append(field)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": re.sub(r"\W+", "-", target.folder.name) or "dataset",
        "description": "Views of 3D assets, rendered in Blender, one row each.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": "LICENSES.md",
        # Contained in nothing: it lies beside this file.
        "distribution": [
            {"@type": "cr:FileSet", "@id": "parquet", "name": "parquet",
             "encodingFormat": "application/x-parquet", "includes": "data/*/*.parquet"},
        ],
        "recordSet": [
            {"@type": "cr:RecordSet", "@id": "views", "name": "views", "field": fields}
        ],
    }  # fmt: skip


_CONTEXT: Final = {
    "@language": "en", "@vocab": "https://schema.org/", "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs", "column": "cr:column", "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract",
    "field": "cr:field", "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes",
    "isArray": "cr:isArray", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath",
    "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path",
    "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex",
    "repeated": "cr:repeated", "replace": "cr:replace", "sc": "https://schema.org/",
    "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField",
    "transform": "cr:transform",
}  # fmt: skip
"""As the specification prints it."""
