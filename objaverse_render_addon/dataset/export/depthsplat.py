"""DepthSplat, pixelSplat, MVSplat: ``.torch`` chunks of scenes.

A scene is first left in ``.export/pending``; ``finish`` packs what waits there. What is in which
chunk is written to ``.export/chunks.json`` after each chunk, so that an interrupted run loses
nothing and a repeated one adds to what is there.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import OutputExists, TruncatedFile
from .base import Format, Options, Record
from .lens import demand_one_size, pinhole
from .scene import Scene
from .target import PRIVATE, SceneFiles, Target

__all__ = ["DepthSplat"]

FAR = 50.0
"""Depth from which on it counts as background, as in the converter that began this format."""
STAGES = ("train", "test")
SIZE = (640, 360)
"""Width and height of the only pictures that the loaders take unless told otherwise."""
VIEWS = 46
"""As many that two of them can be 45 apart, which ``bounded_re10k`` asks for in the end."""
FIRST_GAP = 25
MAX_FOV = 100.0
STEP = 64
"""The encoders halve pictures several times."""

Chunks = dict[str, dict[str, dict[str, str]]]
"""Stage, chunk and key to the digest of what was packed."""


class DepthSplat(Format):
    """``{train,test}/NNNNNN.torch``, each a list of scenes, and ``{train,test}/index.json``.

    A scene is a dictionary: ``key``; ``cameras`` (V, 18) float32, ``fx/w fy/h cx/w cy/h 0 0`` and
    world to camera 3x4, row by row, with OpenCV axes; ``images``, a list of uint8 tensors with a
    PNG (RGB) each; where they are stored ``depths`` (V, H, W) float32, planar, -1 where nothing
    is, and ``masks`` (V, H, W) uint8; ``normalization``. The loaders know no split val: its scenes
    are in test, which they validate on.
    """

    name = "depthsplat"
    about = "DepthSplat, pixelSplat, MVSplat: .torch chunks and index.json (needs torch)"
    trains = "python -m src.main +experiment=re10k dataset.roots=[{target}]"
    background = (0.0, 0.0, 0.0)
    holds = ("rgb", "depth", "mask")
    modules = ("torch",)
    extra = "torch"
    chunk_bytes = 100_000_000

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """See :class:`.Format`."""
        return (_pending(key),)

    def holds_out(self, split: str) -> bool:
        """See :class:`.Format`: of scenes that are tested on, an index says them."""
        return split != "train"

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        import torch

        width, height = demand_one_size(scene)
        _tell_what_is_skipped(scene, width, height)
        cameras = np.stack([_camera(scene, view) for view in range(len(scene))])
        error = float(np.abs(cameras.astype(np.float32) - cameras).max())
        scene.note("quantised", "cameras are float32; worst is of any number", len(scene), error)
        pictures = [np.frombuffer(scene.rgb_png(view), np.uint8) for view in range(len(scene))]
        content: dict[str, Any] = {
            "key": scene.key,
            "cameras": torch.from_numpy(cameras.astype(np.float32)),
            "images": [torch.from_numpy(picture.copy()) for picture in pictures],
            "normalization": _normalization(scene),
        }
        if scene.has("depth"):
            depths = np.stack([_depth(scene, view) for view in range(len(scene))])
            content["depths"] = torch.from_numpy(depths)
        if scene.has_mask:
            masks = np.stack([scene.mask(view) for view in range(len(scene))])
            content["masks"] = torch.from_numpy(masks.astype(np.uint8))
        out.add(_pending(scene.key), _saved(content))
        if scene.split == "val":
            scene.note("differs", "the loaders know no split val; its scenes are in test")
        stage = "train" if scene.split == "train" else "test"
        return {"stage": stage, "size": [width, height], "evaluation": _evaluation(scene)}

    def command(self, target: Path, records: list[Record]) -> str:
        """See :class:`.Format`; with what lets the loaders take these pictures and views."""
        sizes = {tuple(record.data.get("size", SIZE)) for record in records}
        fewest = min((record.views for record in records), default=VIEWS)
        said = [super().command(target, records)]
        if sizes - {SIZE}:
            width, height = (min(side) for side in zip(*sizes, strict=True))
            said.append("dataset.skip_bad_shape=false")
            said.append(f"dataset.image_shape=[{_whole(height)},{_whole(width)}]")
        if records and fewest < VIEWS:
            gap = max(1, (fewest - 1) // 2)
            said += [
                f"dataset.view_sampler.{name}min_distance_between_context_views={gap}"
                for name in ("initial_", "")
            ]
        return " ".join(said)

    def is_whole(self, target: Target, record: Record) -> bool:
        """See :class:`.Format`: waiting, or in a chunk."""
        chunk = record.data.get("chunk")
        here = chunk is not None and (target.folder / str(chunk)).is_file()
        return here or target.has_files(record)

    def finish(self, target: Target, records: list[Record], options: Options) -> None:  # noqa: ARG002
        """Pack what waits, and write the indices."""
        chunks = _read_chunks(target)
        waiting = [record for record in records if target.has_files(record)]
        # From here on a chunk without this list is a loss, and not what a killed run left.
        _write_chunks(target, chunks)
        _take_out(target, chunks, {record.key for record in waiting})
        for stage in STAGES:
            scenes = [record for record in waiting if record.data["stage"] == stage]
            if scenes:
                _trim(target, chunks, stage)
            for group in self._groups(target, chunks, stage, scenes):
                _pack(target, chunks, stage, group)
        for stage in STAGES:
            index = {key: chunk for chunk, scenes in chunks[stage].items() for key in scenes}
            target.write_json(f"{stage}/index.json", dict(sorted(index.items())))
        held_out = {
            record.key: record.data["evaluation"]
            for record in records
            if record.data.get("evaluation")
        }
        if held_out:
            target.write_json("evaluation_index.json", held_out)
        _settle(target, chunks, records)

    def _groups(
        self, target: Target, chunks: Chunks, stage: str, scenes: list[Record]
    ) -> Iterator[tuple[str, list[Record]]]:
        """Chunks to write and the scenes that come into each, the last one being filled first."""
        there = chunks[stage]
        last = max(there, default="")
        size = (target.folder / stage / last).stat().st_size if last else self.chunk_bytes
        name, group = last, list[Record]()
        for record in scenes:
            more = sum(record.files.values())
            if size + more > self.chunk_bytes and (group or size):
                if group:
                    yield name, group
                number = int(name[: -len(".torch")]) + 1 if name else 0
                name, group, size = f"{number:06d}.torch", [], 0
            group.append(record)
            size += more
        if group:
            yield name, group


def _evaluation(scene: Scene) -> dict[str, list[int]] | None:
    """Places of two views to start from, and of those that are held out, if any are."""
    split = scene.split_views()
    if not scene.has_held_out:
        return None
    train, count = split["train"], len(split["train"])
    if count < 2:
        scene.note("differs", "fewer than two views are not held out: none to start from")
        return None
    return {"context": [train[count // 4], train[(3 * count) // 4]], "target": split["test"]}


def _whole(side: int) -> int:
    """The largest size within a picture's that the encoders take."""
    return side // STEP * STEP or side


def _tell_what_is_skipped(scene: Scene, width: int, height: int) -> None:
    """Note what the loaders leave out, without a word or with one per scene."""
    render = "--cameras orbit --views 50 --resolution 640x360"
    if (width, height) != SIZE:
        scene.note(
            "differs",
            f"the loaders skip pictures that are not {SIZE[0]}x{SIZE[1]}: give DepthSplat and "
            "MVSplat dataset.skip_bad_shape=false and a dataset.image_shape of the pictures' size "
            f"at most; pixelSplat has no such key, render with {render} (views)",
            len(scene),
        )
    if len(scene) < VIEWS:
        scene.note(
            "differs",
            f"the loaders draw context views that are {FIRST_GAP} apart at first and {VIEWS - 1} "
            "after the warm-up, and skip scenes with fewer views without a word: lower "
            "dataset.view_sampler.min_distance_between_context_views and initial_min_… below the "
            f"number of views, or render with {render} (views)",
            len(scene),
        )
    wide = [camera for camera in scene.cameras if max(camera.fov) > MAX_FOV]
    scene.note("differs", f"the loaders skip scenes with a field of view beyond {MAX_FOV:g}°: "
               "raise dataset.max_fov (views)", len(wide))  # fmt: skip


def _pending(key: str) -> str:
    return f"{PRIVATE}/pending/{key}.torch"


def _camera(scene: Scene, view: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(18,), see :class:`DepthSplat`."""
    camera = scene.camera(view)
    fx, fy, cx, cy = pinhole(camera)
    lens = [fx / camera.width, fy / camera.height, cx / camera.width, cy / camera.height, 0.0, 0.0]
    return np.concatenate([lens, camera.world_to_camera_opencv[:3].ravel()])


def _depth(scene: Scene, view: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    depth = scene.depth(view)
    beyond = depth >= FAR
    scene.note("clipped", f"depth from {FAR:g} on is written as -1, as background (pixels)",
               int(beyond.sum()))  # fmt: skip
    return np.where((depth > 0) & ~beyond, depth, np.float32(-1)).astype(np.float32)


def _normalization(scene: Scene) -> dict[str, Any]:
    record = scene.metadata["normalization"]
    return {
        "scale": float(record["scale"]),
        "rotation": [list(map(float, row)) for row in record.get("rotation", np.eye(3).tolist())],
        "translation": [float(value) for value in record["translation"]],
        "bbox_min": [float(value) for value in record["bbox_min"]],
        "bbox_max": [float(value) for value in record["bbox_max"]],
        "bounding_sphere_radius": float(record["bounding_sphere_radius"]),
    }


def _saved(content: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _loaded(target: Target, path: str) -> Any:
    """What this module saved; tensors and plain values only."""
    import torch

    try:
        return torch.load(target.folder / path, weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise TruncatedFile(
            f"{target.folder / path} cannot be read: {error}.",
            hint="Remove it and export again; its scenes are then written anew.",
        ) from error


def _chunk_files(target: Target, stage: str) -> list[Path]:
    return sorted((target.folder / stage).glob("[0-9]" * 6 + ".torch"))


def _read_chunks(target: Target) -> Chunks:
    """What is packed, as far as its chunk is still there.

    Raises:
        OutputExists: There are chunks, but what is in them was lost.
    """
    path = target.folder / PRIVATE / "chunks.json"
    try:
        chunks: Chunks = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if any(_chunk_files(target, stage) for stage in STAGES):
            raise OutputExists(
                f"{target.folder} holds chunks, and what is in them is not known: {error}.",
                hint="Choose another --out, or remove that folder.",
            ) from error
        return {stage: {} for stage in STAGES}
    here = {stage: {path.name for path in _chunk_files(target, stage)} for stage in STAGES}
    return {
        stage: {chunk: keys for chunk, keys in chunks[stage].items() if chunk in here[stage]}
        for stage in STAGES
    }


def _write_chunks(target: Target, chunks: Chunks) -> None:
    target.write_json(f"{PRIVATE}/chunks.json", chunks)


def _take_out(target: Target, chunks: Chunks, keys: set[str]) -> None:
    """Remove scenes that were rendered again from the chunks that they are in."""
    for stage in STAGES:
        for chunk, scenes in list(chunks[stage].items()):
            old = keys & set(scenes)
            if not old:
                continue
            path = f"{stage}/{chunk}"
            content = _loaded(target, path)
            kept = [scene for scene in content if scene["key"] not in old]
            for key in old:
                del scenes[key]
            if kept:
                target.write(path, _saved(kept))
            else:
                del chunks[stage][chunk]
                (target.folder / path).unlink()
            _write_chunks(target, chunks)


def _trim(target: Target, chunks: Chunks, stage: str) -> None:
    """Remove what a run that was killed put into chunks and never wrote down."""
    for path in _chunk_files(target, stage):
        if path.name not in chunks[stage]:
            path.unlink()
    last = max(chunks[stage], default="")
    if not last:
        return
    content = _loaded(target, f"{stage}/{last}")
    kept = [scene for scene in content if scene["key"] in chunks[stage][last]]
    if len(kept) < len(content):
        target.write(f"{stage}/{last}", _saved(kept))


def _settle(target: Target, chunks: Chunks, records: list[Record]) -> None:
    """Let each record say which chunk its scene is in; what waited there is not needed any more."""
    found = {
        key: f"{stage}/{chunk}"
        for stage in STAGES
        for chunk, scenes in chunks[stage].items()
        for key in scenes
    }
    for record in records:
        if record.data.get("chunk") != found.get(record.key):
            record.data["chunk"] = found.get(record.key)
            target.keep(record)
        if record.key in found:
            (target.folder / _pending(record.key)).unlink(missing_ok=True)


def _pack(target: Target, chunks: Chunks, stage: str, group: tuple[str, list[Record]]) -> None:
    name, records = group
    path, scenes = f"{stage}/{name}", chunks[stage].get(name, {})
    content = _loaded(target, path) if scenes else []
    content += [_loaded(target, _pending(record.key)) for record in records]
    target.write(path, _saved(content))
    chunks[stage][name] = scenes | {record.key: record.source for record in records}
    _write_chunks(target, chunks)
