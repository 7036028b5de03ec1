"""What moves in a file: its actions, how long they take, and how one of them is played."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..errors import InvalidJob
from ..job.convert import suggest
from . import compat

if TYPE_CHECKING:
    from .asset import Contents

__all__ = ["Animation"]

_BLOCKS: Final = (
    "objects", "meshes", "curves", "hair_curves", "pointclouds", "volumes", "metaballs",
    "armatures", "lattices", "lights", "cameras", "particles", "materials", "worlds",
    "node_groups", "textures", "cache_files",
)  # fmt: skip
_WITH_A_RANGE: Final = ("blend", "abc", "usd", "usda", "usdc", "usdz")
"""Formats that say from when to when they play."""
_SIMULATED: Final = {"CLOTH", "SOFT_BODY", "FLUID", "DYNAMIC_PAINT", "OCEAN"}
_CLOCKS: Final = {"SIMULATION_INPUT", "INPUT_SCENE_TIME"}
"""Nodes that know the time."""
_LAYER: Final = re.compile(r"base ?layer|layer ?\d+", re.IGNORECASE)
_Owner = Any


@dataclass
class _Action:
    """One action's parts: what it does to each datablock.

    Attributes:
        parts: (datablock, action, slot) each; the slot is none before Blender 4.4.
    """

    name: str
    parts: list[tuple[_Owner, Any, Any]] = field(default_factory=list)

    @property
    def span(self) -> tuple[float, float]:
        """First and last moment, in the file's frames."""
        ranges = [tuple(action.frame_range) for _, action, _ in self.parts]
        return min(low for low, _ in ranges), max(high for _, high in ranges)


class Animation:
    """The animation of what one file brought in.

    Args:
        scene: That it came into.
        kind: Format of the file.

    Attributes:
        names: Of its actions, as ``--action`` takes them.
    """

    def __init__(self, scene: Any, contents: Contents, kind: str) -> None:
        self._scene, self._kind = scene, kind
        self._owners = [block for block in _blocks(contents) if block.animation_data is not None]
        self._actions: dict[str, _Action] = {}
        for owner in self._owners:
            for name, action, slot in self._parts(owner):
                self._add(name, owner, action, slot)
        known = {part[1] for action in self._actions.values() for part in action.parts}
        for action in contents["actions"]:
            if action not in known:
                # Kept by a fake user: the other moves of a character.
                for owner, slot in _who_plays(action, self._owners):
                    self._add(_plain_name(action.name, owner, kind), owner, action, slot)
        self.names = tuple(sorted(self._actions))
        self._rest = [value for owner in self._owners for value in self._at_rest(owner)]
        timed = {
            group
            for group in contents["node_groups"]
            if any(node.type in _CLOCKS for node in group.nodes)
        }
        # Which modifier uses a group, perhaps by way of others, does not matter.
        falls = scene.rigidbody_world is not None and scene.rigidbody_world.enabled
        self.moves = bool(self._owners or contents["cache_files"] or timed or falls) or any(
            len(obj.particle_systems) or any(item.type in _SIMULATED for item in obj.modifiers)
            for obj in contents["objects"]
        )

    def _add(self, name: str, owner: _Owner, action: Any, slot: Any) -> None:
        parts = self._actions.setdefault(name, _Action(name)).parts
        if all(known is not owner for known, _, _ in parts):
            parts.append((owner, action, slot))

    def _parts(self, owner: _Owner) -> Iterator[tuple[str, Any, Any]]:
        data = owner.animation_data
        of_tracks = [
            (track.name if self._kind in ("glb", "gltf") else strip.action.name, strip)
            for track in data.nla_tracks
            for strip in track.strips
            if strip.action is not None
        ]
        for name, strip in of_tracks:
            yield name, strip.action, compat.slot_of(strip)
        if data.action is not None and all(strip.action != data.action for _, strip in of_tracks):
            name = _plain_name(data.action.name, owner, self._kind)
            yield name, data.action, compat.slot_of(data)

    @property
    def rate(self) -> float:
        """Frames per second."""
        render = self._scene.render
        return float(render.fps / render.fps_base)

    def spans(self, wanted: str | None) -> list[tuple[str | None, float, float]]:
        """Action, first and last moment of what is to be played, in the file's frames.

        Args:
            wanted: Name of an action, ``all`` of them, or ``None`` for the file as it is saved.

        Raises:
            InvalidJob: There is no such action.
        """
        if wanted is None:
            return [(None, *self._saved())]
        if wanted in self._actions:
            return [(wanted, *self._actions[wanted].span)]
        if wanted == "all" and self._actions:
            return [(name, *self._actions[name].span) for name in self.names]
        raise InvalidJob(
            f"time.action {wanted!r}: the file has "
            + (f"{', '.join(self.names[:20])}." if self.names else "no actions."),
            hint=suggest(wanted, self.names) if self.names else "Leave --action away.",
        )

    def _saved(self) -> tuple[float, float]:
        scene = self._scene
        if not self.moves:
            return scene.frame_current, scene.frame_current
        if self._kind in _WITH_A_RANGE:
            return scene.frame_start, scene.frame_end
        playing = [
            tuple(owner.animation_data.action.frame_range)
            for owner in self._owners
            if owner.animation_data.action is not None
        ] or [action.span for action in self._actions.values()]
        if not playing:
            return scene.frame_current, scene.frame_current
        return min(low for low, _ in playing), max(high for _, high in playing)

    def play(self, name: str | None) -> None:
        """Let an action play, and nothing else; the file as it is saved where there is no name.

        What the action says nothing of stands where it did when the file came in.
        """
        if name is None:
            return
        parts = {owner: (action, slot) for owner, action, slot in self._actions[name].parts}
        for owner in self._owners:
            data = owner.animation_data
            data.use_nla = False
            compat.play_action(data, *parts.get(owner, (None, None)))
        for holder, attribute, index, value in self._rest:
            with contextlib.suppress(AttributeError, TypeError, ReferenceError):
                if index is None:
                    setattr(holder, attribute, value)
                else:
                    getattr(holder, attribute)[index] = value

    def _at_rest(self, owner: _Owner) -> Iterator[tuple[Any, str, int | None, Any]]:
        """What its actions move, with the values that it came with."""
        seen = set()
        for action in self._actions.values():
            for part, block, slot in action.parts:
                for curve in compat.curves_of(block, slot) if part is owner else ():
                    key = curve.data_path, curve.array_index
                    if key in seen:
                        continue
                    seen.add(key)
                    path, _, attribute = curve.data_path.rpartition(".")
                    with contextlib.suppress(ValueError, AttributeError, TypeError, IndexError):
                        holder = owner.path_resolve(path) if path else owner
                        value = getattr(holder, attribute)
                        if hasattr(value, "__len__") and not isinstance(value, str):
                            yield holder, attribute, curve.array_index, value[curve.array_index]
                        else:
                            yield holder, attribute, None, value


def _blocks(contents: Contents) -> Iterator[_Owner]:
    for kind in _BLOCKS:
        for block in contents[kind]:
            for part in (block, getattr(block, "node_tree", None)):
                if part is not None and hasattr(part, "animation_data"):
                    yield part
            keys = getattr(block, "shape_keys", None)
            if keys is not None:
                yield keys


def _plain_name(name: str, owner: _Owner, kind: str) -> str:
    """Of an action; the FBX importers write its owner before it and its layer behind."""
    if kind != "fbx":
        return name
    parts = name.split("|")
    while len(parts) > 1 and parts[0] in (owner.name, owner.name.partition(".")[0]):
        parts.pop(0)
    while len(parts) > 1 and _LAYER.fullmatch(parts[-1]):
        parts.pop()
    return "|".join(parts)


def _who_plays(action: Any, owners: list[_Owner]) -> Iterator[tuple[_Owner, Any]]:
    """The datablocks that an action without a user was made for, and its slot for each."""
    for slot in compat.slots_of(action):
        paths = {curve.data_path for curve in compat.curves_of(action, slot)}
        for owner in owners:
            fits = compat.fits(action, slot, owner)
            if paths and fits and all(_resolves(owner, path) for path in paths):
                yield owner, slot


def _resolves(owner: _Owner, path: str) -> bool:
    try:
        owner.path_resolve(path)
    except ValueError:
        return False
    return True
