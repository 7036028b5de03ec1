"""Numbers of objects, instances, materials and classes, and what they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..job import Pixels
from ..job.classes import ClassTable
from ..passspec import PASSES, layers_for
from .asset import Asset
from .things import Key

__all__ = ["Numbering"]

_COPY = re.compile(r"\.\d{3,}$")
"""What Blender appends to a name that is taken."""


class Numbering:
    """Numbers what is on a stage, for the passes that are wanted.

    Args:
        pixels: Of the job.

    Attributes:
        classes: (last object index + 1,) uint16, class of each object.
        ids: Of instances; :meth:`number_instances` fills it.
        lists: Whether things are wanted, see :mod:`.things`.
        follows: Whether they are followed through time, shapes that change too.
        tracks: How many points of the surface are followed.
        sees: Whether it is asked what hides what.
        named: By pass, number to what it stands for: ``name``, ``asset``, and what else is known;
            ready for the metadata.
    """

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        flags = {layer.flag for layer in layers_for(pixels.passes)}
        self._objects = "use_pass_object_index" in flags
        self._materials = "use_pass_material_index" in flags
        reads = {PASSES[name].reads for name in pixels.passes}
        self.sees = "sight" in reads
        self.follows = self.sees or "times" in reads
        self.tracks = pixels.tracks
        self.lists = self.follows or "things" in reads or bool(self.tracks)
        self._classified = bool(reads - {"picture"})
        self._next_object = self._next_material = 1
        self._class_ids: dict[str, int] = {}
        self._class_of: dict[int, str] = {}
        self._object_of: dict[str, int] = {}
        self.classes: npt.NDArray[np.uint16] = np.zeros(1, np.uint16)
        self.ids: dict[Key, int] = {}
        self.named: dict[str, dict[int, dict[str, Any]]] = {}

    def add(self, asset: Asset) -> None:
        """Number an asset's objects and materials.

        Raises:
            FormatCannotHold: There are more than Blender has numbers for.
            InvalidJob: The table of classes cannot be read.
        """
        asset.object_names = {}
        if self._objects:
            self._next_object = asset.number_objects(self._next_object)
        if self._materials:
            self._next_material, names = asset.number_materials(self._next_material)
            for number, name in names.items():
                self._say("material_index", number, name=name, asset=asset.id)
        if self._classified:
            self._classify(asset)
        for number, name in asset.object_names.items():
            said = {"class": self._class_of[number]} if number in self._class_of else {}
            self._say("object_index", number, name=name, asset=asset.id, **said)

    def _classify(self, asset: Asset) -> None:
        table = None
        if self._pixels.classes == "table":
            assert self._pixels.class_table is not None
            table = ClassTable.read(self._pixels.class_table)
            self._class_ids |= table.ids
        objects = {obj.pass_index: obj for obj in asset.contents["objects"]}
        for number in asset.object_names:
            obj = objects[number]
            self._object_of[obj.name_full] = number
            name: str | None
            if table is not None:
                name = table.class_of(obj.name)
            else:
                name, fixed = self._class_said(asset, obj)
                if name is not None and fixed is not None:
                    self._class_ids[name] = fixed
            if name is not None:
                self._class_of[number] = name

    def _class_said(self, asset: Asset, obj: Any) -> tuple[str | None, int | None]:
        """An object's class, and its number where the file says one."""
        if self._pixels.classes == "collection":
            ours = {asset.collection, asset.normalization.parts}
            known = set(asset.contents["collections"]) - ours
            users = [item.name for item in obj.users_collection if item in known]
            return (sorted(users)[0] if users else None), None
        if self._pixels.classes == "property":
            value = obj.get(self._pixels.class_property)
            if value is None and obj.data is not None:
                value = obj.data.get(self._pixels.class_property)
            if isinstance(value, (int, float)) and 0 < value < 65536 and value == int(value):
                return str(int(value)), int(value)
            return (str(value) if value not in (None, "") else None), None
        return _COPY.sub("", obj.name), None

    def finish(self, keys: Iterable[dict[Key, str]]) -> None:
        """Number classes and instances, when all assets are known; what has a number keeps it.

        Args:
            keys: What renders at each time of the job, see :func:`.things.keys`.
        """
        taken = set(self._class_ids.values())
        free = (number for number in range(1, 65536) if number not in taken)
        for name in sorted(set(self._class_of.values())):
            if name not in self._class_ids:
                self._class_ids[name] = next(free)
        last = max(self._class_of, default=0)
        self.classes = np.zeros(last + 1, np.uint16)
        for number, name in self._class_of.items():
            self.classes[number] = self._class_ids[name]
        if self._classified:
            for name, number in sorted(self._class_ids.items(), key=lambda item: item[1]):
                self._say("semantic_index", number, name=name)
        found: dict[Key, str] = {}
        for some in keys:
            found |= some
        new = sorted(found.keys() - self.ids.keys())
        for number, key in enumerate(new, len(self.ids) + 1):
            self.ids[key] = number
            instancer, whole, _, path = key
            index = self._object_of.get(whole, 0)
            said: dict[str, Any] = {"name": found[key], "object_index": index}
            if index in self._class_of:
                said["class"] = self._class_of[index]
            if index in self.named.get("object_index", {}):
                said["asset"] = self.named["object_index"][index]["asset"]
            if path:
                said |= {"instancer": instancer, "number": list(path)}
            self._say("instance_index", number, **said)

    def _say(self, kind: str, index: int, **what: Any) -> None:
        self.named.setdefault(kind, {})[index] = what

    def record(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Of the wanted passes, ready for JSON."""
        found = {}
        for name in self._pixels.passes:
            spec = PASSES[name]
            named = self.named.get(name) or {
                number: {"name": text} for number, text in enumerate(spec.codes) if number
            }
            if spec.values == "ids":
                found[name] = {str(number): what for number, what in named.items()}
        return found
