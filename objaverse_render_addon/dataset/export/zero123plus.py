"""Zero123++ as InstantMesh trains it, and the pictures that InstantMesh is validated on."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np

from .base import SPLITS, Format, Note, Options, Record
from .lens import demand_square_pictures, tell_distances, tell_lost_lens, viewpoints
from .scene import Scene
from .target import SceneFiles, Target

__all__ = ["Zero123Plus"]

FOLDER = "rendering_zero123plus"
SAMPLES = "valid_samples"
VIEWS = 7
FOV = 30.0
DISTANCE = 4.0
KEPT = 16
"""So many names at the list's end are what Zero123++ is validated on."""
RENDER = "--cameras zero123plus --resolution 320"
ANGLES = np.array([[60.0 * view - 30.0, 20.0 if view % 2 else -10.0] for view in range(1, VIEWS)])
"""(6, 2) azimuth and elevation in degrees of the views 1 to 6, of Zero123++ v1.2."""


class Zero123Plus(Format):
    """``rendering_zero123plus/<key>/NNN.png`` (RGBA), ``zero123plus.json``, ``valid_samples``.

    View 0 is the condition, 1 to 6 are the targets. ``valid_samples/<key>/000.png`` to ``005.png``
    are the targets once more, of the scenes that are not in the split train (or of the first one,
    where all are): InstantMesh's reconstruction is validated on them.
    """

    name = "zero123plus"
    about = "Zero123++ (InstantMesh's first stage) and InstantMesh's valid_samples: seven views"
    trains = (
        "python train.py --base configs/zero123plus-finetune.yaml --gpus 0, --num_nodes 1"
        "  # in it, for train and validation: root_dir {target}, meta_fname zero123plus.json"
    )
    holds = ("rgb",)
    half_edge = 1.0

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`.Format`."""
        return (f"{FOLDER}/{key}",)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        demand_square_pictures(scene)
        tell_lost_lens(scene, FOV, "the lens is not stored, and not read")
        tell_distances(scene, DISTANCE, "validation paints from elsewhere", RENDER)
        scene.note("differs", f"trainers read the views 0 to {VIEWS - 1}; render with {RENDER}",
                   int(len(scene) != VIEWS))  # fmt: skip
        found = viewpoints(scene)[1:VIEWS, :2]
        off = np.abs(found - ANGLES[: len(found)])
        off[:, 0] = np.minimum(off[:, 0], 360 - off[:, 0])
        scene.note(
            "differs",
            "views 1 to 6 are not at the azimuths 30 to 330° and the elevations 20 and -10° of "
            f"Zero123++ v1.2; render with {RENDER} (views); worst is in degrees",
            int((off > 0.01).any(axis=1).sum()),
            round(float(off.max(initial=0)), 6),
        )
        for view in scene.counted():
            out.add(f"{FOLDER}/{scene.key}/{view:03d}.png", scene.rgba_png(view))
        return {}

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """``zero123plus.json``, the names by split with val at the end, and ``valid_samples``."""
        keys = {split: [r.key for r in records if r.split == split] for split in SPLITS}
        listed = {split: keys[split] for split in ("train", "val")}
        target.write_json("zero123plus.json", listed)
        wanted = {record.key: record for record in _samples(records)}
        samples = target.folder / SAMPLES
        # The loader takes whatever lies in this folder for a scene.
        for there in samples.iterdir() if samples.is_dir() else ():
            if there.name not in wanted:
                shutil.rmtree(there)
        for record in wanted.values():
            for view in range(1, min(VIEWS, record.views)):
                source = target.folder / FOLDER / record.key / f"{view:03d}.png"
                copy = f"{SAMPLES}/{record.key}/{view - 1:03d}.png"
                data = source.read_bytes()
                place = target.folder / copy
                if not place.is_file() or place.read_bytes() != data:
                    target.write(copy, data)

    def tells(self, target: Target, records: list[Record], options: Options) -> list[Note]:
        """See :class:`.Format`; also where the trainers' own split leaves nothing."""
        told = super().tells(target, records, options)
        if 0 < len(records) <= KEPT:
            told.append(Note(
                "differs",
                f"Zero123++'s loader keeps the last {KEPT} names of its list for validation, and "
                f"there are no more: render more, or lower the {KEPT} in "
                "src/data/objaverse_zero123plus.py (scenes)", len(records),
            ))  # fmt: skip
        if records and all(record.split == "train" for record in records):
            told.append(Note(
                "differs",
                f"no scene is held back from training, so {SAMPLES} has one that is trained on",
            ))  # fmt: skip
        return told


def _samples(records: list[Record]) -> list[Record]:
    return [record for record in records if record.split != "train"] or records[:1]
