"""MosaicML's MDS, for ``streaming.StreamingDataset``: shards of samples, one sample per view.

Format: https://docs.mosaicml.com/projects/streaming/. Each asset has shards of its own, and the
index of a split names them all.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from .base import SPLITS, Format, Options, Record
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["Mds"]

_COLUMNS: Final = {
    "asset": "str", "view": "int", "image": "png", "intrinsics": "ndarray:float64",
    "camera_to_world": "ndarray:float64", "metadata": "json",
}  # fmt: skip
_OPTIONAL: Final = {"depth": "ndarray:float32", "mask": "png", "normal": "ndarray:float32"}
_BYTES: Final = 1 << 26
"""Of a shard, as the library has it."""


class Mds(Format):
    """``<split>/index.json``, ``<split>/<key>/shard.NNNNN.mds``."""

    name: ClassVar[str] = "mds"
    about: ClassVar[str] = "MosaicML streaming: MDS shards, a sample per view (needs streaming)"
    holds: ClassVar[tuple[str, ...]] = ("rgb", "depth", "mask", "normal")
    modules: ClassVar[tuple[str, ...]] = ("streaming",)
    extra: ClassVar[str] = "mds"

    def places(self, key: str, split: str) -> tuple[str, ...]:
        """See :class:`.Format`."""
        return (f"{split}/{key}",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """The asset's shards, and what the index says of them."""
        from streaming import MDSWriter

        there = {name: kind for name, kind in _OPTIONAL.items() if scene.has(name)}
        with tempfile.TemporaryDirectory(prefix="objaverse-mds-") as folder:
            place = Path(folder) / "out"
            with MDSWriter(
                out=str(place), columns=_COLUMNS | there, size_limit=_BYTES, exist_ok=True
            ) as writer:
                for view in range(len(scene)):
                    writer.write(_sample(scene, view, set(there)))
            shards = json.loads((place / "index.json").read_text(encoding="utf-8"))["shards"]
            for path in sorted(place.glob("*.mds")):
                out.add(f"{scene.split}/{scene.key}/{path.name}", path.read_bytes())
        for shard in shards:
            shard["raw_data"]["basename"] = f"{scene.key}/{shard['raw_data']['basename']}"
        return {"shards": shards}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """``index.json`` of each split that has scenes."""
        for split in SPLITS:
            chosen = [record for record in records if record.split == split]
            shards = [shard for record in chosen for shard in record.data["shards"]]
            if shards:
                target.write_json(f"{split}/index.json", {"version": 2, "shards": shards})


def _sample(scene: Scene, view: int, there: set[str]) -> dict[str, Any]:
    from PIL import Image

    camera = scene.camera(view)
    said = scene.metadata
    sample: dict[str, Any] = {
        "asset": scene.key,
        "view": scene.numbers[view],
        "image": Image.fromarray(scene.picture(view)),
        "intrinsics": np.asarray(camera.intrinsics, np.float64),
        "camera_to_world": np.asarray(camera.camera_to_world, np.float64),
        "metadata": {
            name: said.get(name) for name in ("license", "sha256", "file_identifier")
        },
    }  # fmt: skip
    if "depth" in there:
        sample["depth"] = np.ascontiguousarray(scene.depth(view))
    if "mask" in there:
        sample["mask"] = Image.fromarray(scene.mask(view).astype(np.uint8) * 255)
    if "normal" in there:
        sample["normal"] = np.ascontiguousarray(scene.world_normal(view))
    return sample
