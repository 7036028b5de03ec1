"""A composed scene's file against its own pictures, and its poses against the physics again.

Objects are drawn here a second time, without Blender: of all true meshes at their poses the nearest
in each pixel is what ``instance_index`` and ``depth`` have to show, but where support or room is
nearer yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import Camera
from ..errors import WrongFormat
from ..frame import Check
from .drawing import about, nearest, slack_of
from .layouts import Start
from .objects import KINDS, Mesh
from .objects.kinds import PAINTS
from .objects.library import LIBRARY_FILE, Library
from .physics.accept import refusal
from .physics.pieces import engine
from .physics.settle import Settled, touching_of
from .record import FILE, STAGED, Scene, SceneObject, SceneView
from .seen import checks_of, view_of
from .staged import Staged, staged
from .support import ground_of
from .things import Thing, asset_of, foreign, parametric

if TYPE_CHECKING:
    from ..dataset.reader import AssetReader

__all__ = ["checks_of_views", "problems_of"]

Floats = npt.NDArray[np.float64]

_STRAY: Final = 0.001
"""Of an object's pixels, as many as rounding may decide otherwise; and two in any case."""
_EXACT: Final = 2e-5
"""Of depth; rounding of single precision moves it by less."""
_SHARE: Final = 0.02
_SIZE: Final = 1e-5
_SAID: Final = ("name", "category", "source", "license", "size_from")
_ROUNDED: Final = 2e-5
"""Metres; corners of hulls are written to a hundredth of a millimetre."""


def problems_of(asset: AssetReader) -> list[str]:
    """What is wrong with a scene's unit; nothing where it is right.

    Raises:
        RenderError: A file is not there, or not readable.
        MissingDependency: The engines are not installed.
    """
    try:
        data = json.loads(asset.bytes_of(FILE))
    except ValueError as error:
        raise WrongFormat(f"{FILE} cannot be read as a scene: {error}.") from error
    scene = Scene.from_dict(data)
    made = scene.recipe.get("objects", [])
    if len(made) != len(scene.objects):
        return [f"{FILE}: {len(made)} recipes for {len(scene.objects)} objects"]
    problems, things = [], []
    theirs = Library.read(_folder(asset)) if any(asset_of(one) for one in made) else None
    for obj, one in zip(scene.objects, made, strict=True):
        thing, wrong = _again(obj, one, theirs)
        problems += wrong
        if thing is not None:
            problems += _not_as_made(obj, one, thing)
            things.append(thing)
    if problems:
        return problems
    problems += _not_at_rest(scene, things)
    meshes = [thing.mesh for thing in things]
    stage = None
    if scene.support.kind == STAGED:
        stage, wrong = staged(scene, _folder(asset))
        problems += wrong
    if len(scene.views) != len(asset.views):
        problems.append(f"{FILE}: {len(scene.views)} of {len(asset.views)} views")
    for view in scene.views:
        if not 0 <= view.view < len(asset.views):
            problems.append(f"{FILE}: there is no view {view.view}")
            continue
        problems += [
            f"view {view.view}: {one}" for one in _unlike(asset, scene, view, meshes, stage)
        ]
    return problems


def checks_of_views(asset: AssetReader) -> Iterator[tuple[int, Check]]:
    """Each view's checks of its light and its place, as they were made when it was rendered.

    Raises:
        RenderError: A file is not there, or not readable.
    """
    scene = Scene.from_dict(json.loads(asset.bytes_of(FILE)))
    if not {"rgb", "instance_index"} <= set(asset.passes):
        return
    for view in scene.views:
        arrays = asset.read(view.view, ["rgb", "instance_index"])
        camera = asset.view(view.view).camera
        ids = arrays["instance_index"].reshape(camera.height, camera.width)
        for check in checks_of(view, camera, scene, ids, arrays["rgb"]):
            yield view.view, check


def _folder(asset: AssetReader) -> Path:
    """The folder of a scene's set, with objects and stages of others.

    Raises:
        WrongFormat: The scene is in no folder that has any beside it.
    """
    if asset.ref.kind != "folder" or "://" in asset.ref.location:
        raise WrongFormat(
            f"{asset.ref} shows what is of others, whose surfaces are not beside it.",
            hint="Verify it where its set is, with all that lies beside the scenes.",
        )
    return Path(asset.ref.location).absolute().parent


def _again(
    obj: SceneObject, made: dict[str, Any], theirs: Library | None
) -> tuple[Thing | None, list[str]]:
    """An object made once more from its recipe, or why that cannot be."""
    name = f"object {obj.id} ({obj.name})"
    asset = asset_of(made)
    if asset:
        assert theirs is not None
        one = next((one for one in theirs.objects if one.asset == asset), None)
        if one is None:
            return None, [f"{name} is made of {asset}, which is not in {LIBRARY_FILE}"]
        longest = made["scale"] * one.longest
        if not one.longest_m[0] * (1 - _SIZE) <= longest <= one.longest_m[1] * (1 + _SIZE):
            return None, [f"{name} is {longest:.4g} m long, which {LIBRARY_FILE} does not allow"]
        return foreign(one, longest, theirs.folder), []
    kind = KINDS.get(made.get("kind", ""))
    if kind is None or not 0 <= made.get("variant", -1) < len(kind.shapes):
        return None, [f"{name} is made of what is not known: {made.get('kind')!r}"]
    if obj.color is None or obj.color.name not in PAINTS:
        return None, [f"{name} has no colour that it is made in"]
    return parametric(made["kind"], made["variant"], made["scale"], obj.color.name), []


def _not_as_made(obj: SceneObject, made: dict[str, Any], wanted: Thing) -> list[str]:
    """Where an object's row is not what its recipe makes."""
    name = f"object {obj.id} ({obj.name})"
    found = []
    if not _alike(wanted.made, made):
        found.append(f"{name} has a recipe of another colour or material")
    if any(getattr(obj, field) != getattr(wanted, field) for field in _SAID):
        found.append(f"{name} is made as {wanted.name}")
    mesh = wanted.mesh
    if np.abs(mesh.size - obj.size_m).max() > _SIZE:
        found.append(f"{name} is {_size(mesh.size)}, stated is {_size(obj.size_m)}")
    rim = None if wanted.rim is None else wanted.rim * wanted.height
    if (rim is None) != (obj.rim_m is None) or abs((rim or 0.0) - (obj.rim_m or 0.0)) > _SIZE:
        found.append(f"{name} has another opening than it is made with")
    corners = np.array(obj.vertices_hull)
    for side in (np.min, np.max):
        if np.abs(side(corners, axis=0) - side(mesh.vertices, axis=0)).max() > _ROUNDED:
            found.append(f"{name} is not within its hull")
            break
    turn = np.array(obj.pose)[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > 1e-6 or np.linalg.det(turn) < 0:
        found.append(f"{name} is bent or mirrored by its pose")
    return found


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two recipes are the same, but for the rounding of a scale."""
    rest = [{name: value for name, value in some.items() if name != "scale"}
            for some in (one, other)]  # fmt: skip
    return rest[0] == rest[1] and abs(one["scale"] / other["scale"] - 1) < _SIZE


def _size(size: Any) -> str:
    return " × ".join(f"{value:.4f}" for value in size) + " m"


def _not_at_rest(scene: Scene, things: list[Thing]) -> list[str]:
    """Why the scene would not be accepted, from its poses alone."""
    ground = ground_of(scene.support)
    poses = np.array([obj.pose for obj in scene.objects], dtype=np.float64)
    starts = [Start(thing, pose) for thing, pose in zip(things, poses, strict=True)]
    contacts = tuple(obj.contacts for obj in scene.objects)
    settled = Settled(poses, contacts, touching_of(starts, ground))
    physics = scene.recipe.get("physics", {})
    engine("rapier3d")
    # Another version may let creep what this one held, of which nobody is to blame.
    again = physics.get("rapier3d") == version("rapier3d")
    why = refusal(starts, settled, ground, second=again)
    return [f"{FILE}: its poses are not at rest: {why}"] if why else []


def _unlike(
    asset: AssetReader, scene: Scene, view: SceneView, meshes: list[Mesh], stage: Staged | None
) -> list[str]:
    """Where a view's arrays are not what the scene's file says."""
    wanted = [name for name in ("rgb", "depth", "instance_index", "albedo") if name in asset.passes]
    if not {"rgb", "instance_index"} <= set(wanted):
        return ["it has no rgb or no instance_index"]
    arrays = asset.read(view.view, wanted)
    camera = asset.view(view.view).camera
    ids = arrays["instance_index"].reshape(camera.height, camera.width).astype(np.int64)
    found = _counted_otherwise(scene, view, view_of(
        view.view, camera, scene, meshes, ids, arrays["rgb"], arrays.get("albedo")
    ))  # fmt: skip
    if "depth" in arrays:
        depth = arrays["depth"].reshape(ids.shape).astype(np.float64)
        found += _elsewhere(scene, camera, meshes, ids, depth)
        if stage is not None:
            found += stage.problems(scene, camera, ids, depth)
    return found


def _counted_otherwise(scene: Scene, said: SceneView, now: SceneView) -> list[str]:
    found = []
    if [one.id for one in said.objects] != [obj.id for obj in scene.objects]:
        return ["it does not have each object once"]
    for one, other in zip(said.objects, now.objects, strict=True):
        for name in ("visible_pixels", "amodal_pixels", "bbox", "amodal_rle"):
            if getattr(one, name) != getattr(other, name):
                found.append(f"{name} of object {one.id} are not the picture's")
        for name in ("visible_fraction", "inside_frame_fraction", "clipped_fraction"):
            if abs(getattr(one, name) - getattr(other, name)) > 1e-6:
                found.append(f"{name} of object {one.id} is not the picture's")
        for name in ("albedo_colors", "shaded_colors"):
            a, b = getattr(one, name), getattr(other, name)
            if any(abs(a.get(term, 0) - b.get(term, 0)) > _SHARE for term in {*a, *b}):
                found.append(f"{name} of object {one.id} are not the picture's")
    return found


def _elsewhere(
    scene: Scene, camera: Camera, meshes: list[Mesh], ids: npt.NDArray[np.int64], depth: Floats
) -> list[str]:
    """Objects that are seen where they are not, or not where they are."""
    depths = []
    for obj, mesh in zip(scene.objects, meshes, strict=True):
        pose = np.array(obj.pose)
        depths.append(nearest(camera, mesh.vertices @ pose[:3, :3].T + pose[:3, 3], mesh.triangles))
    first = np.min(depths, axis=0)
    slack = slack_of(depth)
    found = []
    for obj, mine in zip(scene.objects, depths, strict=True):
        seen = ids == obj.id
        allowed = max(2, _STRAY * int(seen.sum()))
        # The nearest of all objects there; on equal terms where two touch.
        ahead = seen & np.isfinite(mine) & (mine > first + slack)
        off = seen & np.isfinite(mine) & ~about(mine, depth, slack)
        # Nearest of all and not behind what is seen, and yet another is; what has sunk into
        # another by the little that it may is behind it.
        there = np.where(ids > 0, depth, np.inf)
        missing = ~seen & np.isfinite(mine) & (mine <= first) & (mine < there * (1 + _EXACT))
        for pixels, text in (
            (seen & ~np.isfinite(mine), "is seen where its pose has nothing of it"),
            (ahead, "is seen where it is not the nearest"),
            (off, "is seen at another depth than its pose says"),
            (missing, "is not seen where it is the nearest"),
        ):
            count = int(pixels.sum())
            if count > allowed:
                found.append(f"object {obj.id} ({obj.name}) {text}, in {count} pixels")
    return found
