"""Changes of what stands on a stage while it is open."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bpy
from mathutils import Matrix

from ..errors import InvalidEdit
from ..job import AssetRules
from ..stage_edits import (
    AddAsset,
    AddLight,
    AddMesh,
    Edit,
    Place,
    Remove,
    SetLight,
    SetMaterial,
    SetTime,
    SetWorld,
    Show,
    decode_edit,
)
from . import lighting, texturing
from .asset import Asset
from .compat import animated_paths
from .pictures import Pictures

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Editor"]

_CLOSE: Final = 1e-5
"""Share of its size by which a matrix may be off that Blender was given."""
_LISTED: Final = 5


class Editor:
    """Changes an open scene, and says what is in it.

    Every edit either is done or raises; after one that raised for another reason than
    :class:`~objaverse_render_addon.errors.InvalidEdit` the stage may be half changed.
    """

    def __init__(self, session: Session) -> None:
        self._session, self._stage = session, session.stage
        self._lights: dict[str, Any] = {}
        self._pictures = Pictures()
        self._roots: dict[str, list[tuple[Any, Any]]] = {}
        """Of an asset that was not normalised: its roots, and where its file has them."""
        self._parts: dict[str, tuple[Any, Asset]] | None = None

    def apply(self, edits: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Make some changes, one after the other.

        Args:
            edits: As :func:`..stage_edits.encode_edit` writes them.

        Returns:
            What each brought.

        Raises:
            InvalidEdit: One says something impossible, or names what is not there.
            RenderError: A file cannot be put on the stage.
        """
        made = [decode_edit(dict(edit)) for edit in edits]
        found: list[dict[str, Any]] = []
        settle = False
        try:
            for edit in made:
                # Also after one that is refused, which may have taken away what passes need.
                settle |= isinstance(edit, (*_POPULATING, SetMaterial))
                found.append(_MAKERS[type(edit)](self, edit) or {})
                if isinstance(edit, _POPULATING):
                    self.forget()
        finally:
            if settle:
                self._session.settle()
        if made:
            self._session.changed(
                geometry=not all(isinstance(one, _SHADING) for one in made),
                appeared=settle or any(isinstance(one, Show) and one.visible for one in made),
            )
        return found

    # --- What there is ---------------------------------------------------------------------------

    def inspect(self) -> dict[str, Any]:
        """Plain data: assets, objects, materials, lights, cameras and times of the scene."""
        stage = self._stage
        cameras = []
        for asset in stage.assets.values():
            for obj in asset.contents["objects"]:
                if obj.type == "CAMERA":
                    cameras.append({"name": obj.name, "matrix": _rows(_world(obj)),
                                    "fov_degrees": math.degrees(obj.data.angle)})  # fmt: skip
        return {
            "assets": {
                name: {"kind": asset.kind, "normalized": asset.normalization.method}
                for name, asset in stage.assets.items()
            },
            "objects": [
                {"name": obj.name, "type": obj.type, "matrix": _rows(_world(obj)),
                 "visible": not obj.hide_render,
                 "materials": [slot.material.name for slot in obj.material_slots if slot.material]}
                for obj in self._objects().values()
                if obj.type not in ("LIGHT", "CAMERA")
            ],
            "materials": sorted(
                {one.name for asset in stage.assets.values() for one in asset.materials}
            ),
            "lights": [
                {"name": obj.name, "kind": obj.data.type, "energy": obj.data.energy,
                 "color": list(obj.data.color), "matrix": _rows(_world(obj))}
                for obj in self._all_lights().values()
            ],
            "cameras": cameras,
            "time": stage.frame,
            "bounds": dataclasses.asdict(stage.bounds),
        }  # fmt: skip

    def names(self) -> list[str]:
        """Of all objects of what is on the stage."""
        return [*self._objects()]

    def forget(self) -> None:
        """Objects may have come or gone, or have other names."""
        self._parts = None

    def _owned(self) -> dict[str, tuple[Any, Asset]]:
        """Objects of what is on the stage by their names, and whose they are."""
        if self._parts is None:
            self._parts = {
                obj.name: (obj, asset)
                for asset in self._stage.assets.values()
                for obj in asset.contents["objects"]
            }
        return self._parts

    def _objects(self) -> dict[str, Any]:
        return {name: obj for name, (obj, _) in self._owned().items()}

    def _all_lights(self) -> dict[str, Any]:
        there = {obj.name: obj for obj in self._stage.scene.objects if obj.type == "LIGHT"}
        return {**there, **self._lights}

    def _find(self, name: str) -> tuple[Any, Asset | None]:
        """An object or a light, and the asset that it is a part of."""
        if name in self._lights:
            return self._lights[name], None
        parts = self._owned()
        if name in parts:
            return parts[name]
        lights = self._all_lights()
        if name in lights:
            return lights[name], None
        raise self._nothing("object", name, [*self._stage.assets, *parts, *self._lights])

    def _nothing(self, kind: str, name: str, there: Iterable[str]) -> InvalidEdit:
        names = sorted({*there})
        more = "" if len(names) <= _LISTED else f" and {len(names) - _LISTED} more"
        return InvalidEdit(
            f"There is no {kind} {name!r} on the stage.",
            hint=f"There are {', '.join(names[:_LISTED])}{more}." if names else "It has none.",
        )

    # --- Changes ---------------------------------------------------------------------------------

    def _place(self, edit: Place) -> None:
        asset, matrix = self._stage.assets.get(edit.name), Matrix([list(r) for r in edit.matrix])
        if asset is None:
            obj, owner = self._find(edit.name)
            self._stand(obj, owner, matrix)
            if owner is not None:
                owner.whole = False
        elif asset.normalization.handle is not None:
            self._stand(asset.normalization.handle, None, asset.handle_at(edit.matrix))
            asset.placed, asset.stands = True, edit.matrix
        else:
            before = [(root, root.matrix_basis.copy()) for root, _ in self._rooted(asset)]
            try:
                for root, home in self._rooted(asset):
                    self._stand(root, asset, matrix @ home)
            except InvalidEdit:
                for root, stood in before:
                    root.matrix_basis = stood
                raise
            asset.placed, asset.stands = True, edit.matrix

    def _rooted(self, asset: Asset) -> list[tuple[Any, Any]]:
        if asset.id not in self._roots:
            self._roots[asset.id] = [
                (obj, _world(obj)) for obj in asset.contents["objects"] if obj.parent is None
            ]
        return self._roots[asset.id]

    def _stand(self, obj: Any, owner: Asset | None, matrix: Any) -> None:
        """Give an object a place in the world, and see that it keeps it."""
        held = _held(obj)
        if held:
            raise InvalidEdit(
                f"{obj.name} is where {held} puts it, and would not stay where it is placed.",
                hint="Place its asset instead.",
            )
        above = Matrix.Identity(4)
        if obj.parent is not None:
            above = _world(obj.parent) @ obj.matrix_parent_inverse
        elif owner is not None and owner.normalization.parts is not None:
            above = owner.normalization.handle.matrix_basis.copy()
        wanted = above.inverted() @ matrix
        before = obj.matrix_basis.copy()
        obj.matrix_basis = wanted
        given = obj.matrix_basis
        if given != wanted and _largest(given - wanted) > _CLOSE * max(1.0, _largest(wanted)):
            obj.matrix_basis = before
            raise InvalidEdit(
                f"{obj.name} cannot stand so: with what it hangs on that is a shear, which "
                "Blender's objects do not have.",
                hint="Scale along the axes that it turns with, or by one factor.",
            )

    def _show(self, edit: Show) -> None:
        asset = self._stage.assets.get(edit.name)
        owner = None
        if asset is None:
            shown, owner = self._find(edit.name)
        else:
            shown = asset.collection
        if asset is None and "hide_render" in animated_paths(shown):
            raise InvalidEdit(f"The visibility of {edit.name} is animated.")
        if shown.hide_render == edit.visible:
            # Blender looks at all that there is again, whatever it was before.
            shown.hide_render = not edit.visible
        if owner is not None:
            owner.whole = False

    def _add_asset(self, edit: AddAsset) -> dict[str, Any]:
        self._free(edit.name)
        rules = dataclasses.replace(
            self._session.job.asset, normalize=edit.normalize, frame=None, witness="off"
        )
        return self._bring(edit.name, Path(edit.path), rules, edit.matrix, edit.folders)

    def _add_mesh(self, edit: AddMesh) -> dict[str, Any]:
        self._free(edit.name)
        path = self._session.scratch / "mesh.ply"
        lines = [
            "ply", "format ascii 1.0", f"element vertex {len(edit.vertices)}",
            "property float x", "property float y", "property float z",
            f"element face {len(edit.faces)}", "property list uchar int vertex_indices",
            "end_header",
            *(" ".join(f"{float(number):.9g}" for number in one) for one in edit.vertices),
            *(f"{len(one)} {' '.join(map(str, one))}" for one in edit.faces),
        ]  # fmt: skip
        path.write_text("\n".join(lines) + "\n")
        rules = dataclasses.replace(
            self._session.job.asset, normalize="none", frame=None, witness="off",
            uncolored="neutral",
        )  # fmt: skip
        try:
            found = self._bring(edit.name, path, rules, edit.matrix, ())
        finally:
            path.unlink(missing_ok=True)
        asset = self._stage.assets[edit.name]
        for obj in asset.rendered:
            obj.name = edit.name
        for material in asset.materials:
            material.name = edit.name
        self._set_inputs(asset.materials, {"base_color": edit.color})
        return found

    def _bring(
        self, name: str, path: Path, rules: AssetRules, matrix: Any, folders: Iterable[str]
    ) -> dict[str, Any]:
        asset = self._stage.add(path, name, rules, folders=list(folders))
        self._stand_new(name, matrix)
        return {
            "objects": [obj.name for obj in asset.rendered], "warnings": list(asset.warnings)
        }  # fmt: skip

    def _stand_new(self, name: str, matrix: Any) -> None:
        """Place what was just added; where it cannot stand so, it was not added."""
        try:
            if matrix is not None:
                self._place(Place(name=name, matrix=matrix))
        except InvalidEdit:
            self._remove(Remove(name=name))
            raise

    def _free(self, name: str) -> None:
        if name in self._stage.assets or name in self._lights:
            raise InvalidEdit(f"There is a {name} on the stage already.", hint="Remove it first.")

    def _remove(self, edit: Remove) -> None:
        if edit.name in self._lights:
            light = self._lights.pop(edit.name)
            bpy.data.lights.remove(light.data)  # Its object goes with it.
        elif edit.name in self._stage.assets:
            self._roots.pop(edit.name, None)
            self._stage.remove(edit.name)
        elif not edit.missing_ok:
            raise self._nothing("asset or light", edit.name, [*self._stage.assets, *self._lights])

    def _add_light(self, edit: AddLight) -> None:
        self._free(edit.name)
        data = bpy.data.lights.new(edit.name, edit.kind)
        light = bpy.data.objects.new(edit.name, data)
        self._stage.scene.collection.objects.link(light)
        self._lights[edit.name] = light
        _shine(data, edit.energy, edit.color, edit.size)
        if edit.angle is not None and edit.kind in ("SUN", "SPOT"):
            angle = math.radians(edit.angle)
            setattr(data, "angle" if edit.kind == "SUN" else "spot_size", angle)
        self._stand_new(edit.name, edit.matrix)

    def _set_light(self, edit: SetLight) -> None:
        lights = self._all_lights()
        if edit.name not in lights:
            raise self._nothing("light", edit.name, lights)
        _shine(lights[edit.name].data, edit.energy, edit.color, edit.size)

    def _set_material(self, edit: SetMaterial) -> None:
        self._set_inputs(self._materials(edit.name), edit.values, edit.repeat)

    def _materials(self, name: str) -> list[Any]:
        assets = self._stage.assets
        own = {one.name: one for asset in assets.values() for one in asset.materials}
        if name in own:
            return [own[name]]
        if name in assets:
            return list(assets[name].materials)
        objects = self._objects()
        if name in objects:
            return [slot.material for slot in objects[name].material_slots if slot.material]
        raise self._nothing("material, asset or object", name, own)

    def _set_inputs(
        self, materials: list[Any], values: Mapping[str, Any], repeat: float = 1.0
    ) -> None:
        # What the passes added to the materials is taken away, and added again to what is new.
        for asset in self._stage.assets.values():
            asset.pass_edits.undo()
        wanted: list[tuple[Any, Any, Any]] = []
        for material in materials:
            shaders = [node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]
            if not shaders:
                raise InvalidEdit(f"The material {material.name} has no Principled BSDF.")
            for shader in shaders:
                inputs = {_plain(socket.name): socket for socket in shader.inputs}
                for name, value in values.items():
                    socket = inputs.get(_plain(name))
                    if socket is None or not hasattr(socket, "default_value"):
                        raise InvalidEdit(
                            f"A Principled BSDF has no input {name!r}.",
                            hint=f"It has {', '.join(sorted(filter(None, inputs)))}.",
                        )
                    fitting = (
                        self._image(value, data=not texturing.is_color(socket))
                        if isinstance(value, str) else _fitting(socket, name, value)
                    )  # fmt: skip
                    wanted.append((material, socket, fitting))
        if any(isinstance(value, str) for value in values.values()):
            texturing.unfold(
                obj for obj in self._objects().values()
                if any(slot.material in materials for slot in obj.material_slots)
            )  # fmt: skip
        for material, socket, value in wanted:
            if isinstance(value, bpy.types.Image):
                texturing.feed(material.node_tree, socket, value, repeat)
                continue
            texturing.starve(material.node_tree, socket)
            socket.default_value = value
            if _plain(socket.name) == "base_color":
                # What the raster lane draws.
                material.diffuse_color = value
                texturing.leave_plain(material.node_tree)

    def _image(self, path: str, *, data: bool) -> Any:
        image = self._pictures.get(Path(path), data=data)
        if image is None:
            raise InvalidEdit(
                f"The image {path} cannot be read.",
                hint="Give the path of a PNG, JPEG, EXR … on the workers' machine.",
            )
        return image

    def _set_world(self, edit: SetWorld) -> None:
        world = lighting.new_world(tuple(edit.color), edit.strength)
        if edit.hdri is not None:
            lighting.add_image(world, self._image(edit.hdri, data=False))
        else:
            world.cycles.sampling_method = "NONE"
        old, self._stage.scene.world = self._stage.scene.world, world
        if old is not None and old.users == 0 and old != self._stage.source_world:
            bpy.data.worlds.remove(old)

    def _set_time(self, edit: SetTime) -> None:
        self._stage.set_time(edit.frame)


_MAKERS: Final[dict[type[Edit], Callable[[Editor, Any], dict[str, Any] | None]]] = {
    Place: Editor._place,
    Show: Editor._show,
    AddAsset: Editor._add_asset,
    AddMesh: Editor._add_mesh,
    Remove: Editor._remove,
    AddLight: Editor._add_light,
    SetLight: Editor._set_light,
    SetMaterial: Editor._set_material,
    SetWorld: Editor._set_world,
    SetTime: Editor._set_time,
}
_SHADING: Final = (AddLight, SetLight, SetMaterial, SetWorld)
_POPULATING: Final = (AddAsset, AddMesh, Remove)


def _world(obj: Any) -> Any:
    """Where an object stands as far as it and what it hangs on say so themselves.

    Objects of a stage are hidden in the viewport, where Blender does not keep their matrices.
    """
    if obj.parent is None:
        return obj.matrix_basis.copy()
    return _world(obj.parent) @ obj.matrix_parent_inverse @ obj.matrix_basis


def _largest(matrix: Any) -> float:
    """Of its numbers, by their size."""
    largest: float = max(abs(number) for row in matrix for number in row)
    return largest


def _held(obj: Any) -> str:
    """What beside its own numbers decides where an object stands."""
    one = obj
    while one is not None:
        if any(not constraint.mute for constraint in one.constraints):
            return f"a constraint of {one.name}"
        moves = ("location", "rotation", "scale", "delta")
        if any(path.startswith(moves) for path in animated_paths(one)):
            return f"an animation of {one.name}"
        if one.parent is not None and one.parent_type != "OBJECT":
            return f"a {one.parent_type.lower()} of {one.parent.name}"
        one = one.parent
    return ""


def _shine(data: Any, energy: float | None, color: Any, size: float | None) -> None:
    if energy is not None:
        data.energy = energy
    if color is not None:
        data.color = color
    if size is not None:
        if data.type == "AREA":
            data.size = size
        elif data.type != "SUN":
            data.shadow_soft_size = size


def _plain(name: str) -> str:
    return name.lower().replace(" ", "_")


def _fitting(socket: Any, name: str, value: Any) -> Any:
    length = len(socket.default_value) if hasattr(socket.default_value, "__len__") else 0
    if length == 0 and isinstance(value, int | float):
        return float(value)
    if length and isinstance(value, list | tuple):
        if length == 4 and len(value) == 3:
            return (*value, 1.0)
        if len(value) == length:
            return tuple(value)
    kind = f"{length} numbers" if length else "a number"
    raise InvalidEdit(f"The input {name!r} is {kind}, not {value!r}.")


def _rows(matrix: Any) -> list[list[float]]:
    return [list(row) for row in matrix]
