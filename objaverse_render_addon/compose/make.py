"""A scene's file: drawn, settled and accepted; all that comes after is a function of it."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import InvalidGeometry, InvalidJob, SourceNotFound, from_os_error
from ..files import write_whole
from .drawn import Drawn, drawn, key_of
from .draws import Draws, dealt
from .light import light_of, surfaces_of
from .objects.library import FOLDER, GLB, PLY, Library
from .physics.accept import refusal
from .physics.pieces import engine
from .physics.settle import Settled, settle
from .record import Scene, SceneObject, StagePart
from .rules import Rules
from .skies import image_of, place_beside
from .stages import BACKDROP, UserStage, digest_of, parts_of, stages_in, support_of
from .things import asset_of
from .viewing import cameras_of

__all__ = ["PARTS", "SUFFIX", "bring_objects", "make", "scene_file"]

SUFFIX: Final = ".scene"
PARTS: Final = ("table", "floor", "walls")
"""What renders beside the objects, in the order of its ids."""
_LEAST: Final = 2
_UPRIGHT: Final = 25.0
"""Degrees from upright, beyond which a vessel holds nothing for sure."""


def scene_file(
    rules: Rules | str, index: int, folder: Path,
    on_refused: Callable[[int, str], None] | None = None,
) -> Path:  # fmt: skip
    """Make a scene's file, with what of others it shows beside it: objects, stage, light.

    Args:
        rules: Of its set, or their file, beside which those surfaces are.
        on_refused: Called with the number of every draw that is no scene, and why.

    Raises:
        InvalidGeometry: No draw came to rest as it should; the message counts why.
        InvalidJob: The rules are of other objects than those that are there.
        MissingDependency: An engine is not installed.
    """
    library, stages = None, None
    if isinstance(rules, str):
        path = Path(rules)
        rules = Rules.read(path)
        library = Library.read(path.parent) if rules.library else None
        if rules.stage:
            stages = stages_in(path.parent), path.parent
    path = folder / f"{key_of(index)}{SUFFIX}"
    scene = make(rules, index, library, on_refused, stages)
    if library is not None:
        bring_objects(scene, library.folder, folder)
    if stages is not None:
        stage = UserStage.of(scene.recipe["stage"])
        _beside(stage.picture(stages[1]), stage.picture(folder))
    sky = scene.recipe["light"].get("environment")
    if sky is not None:
        _beside(image_of(sky, rules.skies), place_beside(path, sky))
    write_whole(path, scene.to_json().encode())
    return path


def bring_objects(scene: Scene, source: Path, folder: Path) -> None:
    """Put the surfaces of a scene's objects that are others' where its file is.

    Args:
        source: A set's folder, or another that has them.

    Raises:
        SourceNotFound: One is not there.
    """
    for name in sorted({asset_of(made) for made in scene.recipe["objects"]} - {""}):
        for file in (PLY, GLB):
            place = source / FOLDER / name / file
            if not place.is_file():
                raise SourceNotFound(
                    f"{place} is not there any more, a surface of the scene.",
                    hint="Compose the scene again.",
                )
            _beside(place, folder / FOLDER / name / file)


def _beside(file: Path, place: Path) -> None:
    """The same file once more, where the scene may read it."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        try:
            place.hardlink_to(file)
        except OSError:
            shutil.copyfile(file, place)  # On another file system.
    except OSError as error:
        raise from_os_error(error, str(file)) from error


def make(
    rules: Rules, index: int, library: Library | None = None,
    on_refused: Callable[[int, str], None] | None = None,
    stages: tuple[Sequence[UserStage], Path] | None = None,
) -> Scene:  # fmt: skip
    """A scene without views, as :func:`scene_file` writes it.

    Args:
        library: Others' objects to draw from.
        on_refused: As of :func:`scene_file`.
        stages: A user's to stand on, one of which is dealt, and the folder that they are in.

    Raises:
        InvalidJob: The rules are of other ones.
    """
    stage = None
    if stages is not None:
        (dealt_one,) = dealt(rules.seed, "surface", stages[0], index, 1)
        stage = dealt_one, stages[1]
    if rules.stage != (digest_of(stages[0]) if stages is not None else ""):
        raise InvalidJob(
            "The stage is another than the one that the rules are of.",
            hint="Run compose with the same --stage again.",
        )
    if rules.library != (library.digest() if library is not None else ""):
        raise InvalidJob(
            "The table of objects is another than the one that the rules are of.",
            hint="Run compose with the same --objects again.",
        )
    reasons: Counter[str] = Counter()

    def refuse(attempt: int, why: str) -> None:
        reasons[why] += 1
        if on_refused is not None:
            on_refused(attempt, why)

    for attempt in range(rules.tries):
        one = drawn(rules, index, attempt, library, support_of(stage[0]) if stage else None)
        # Fewer than were asked for only where more have no room in many draws.
        patient = attempt < rules.tries // 2
        if len(one.starts) < (rules.objects[0] if patient else min(_LEAST, rules.objects[0])):
            refuse(attempt, "too little room")
            continue
        settled = settle(one.starts, one.ground)
        why = refusal(one.starts, settled, one.ground)
        scene = None
        if not why:
            scene = _scene(rules, index, attempt, one, settled, dict(reasons), stage)
        if scene is not None:
            return scene
        refuse(attempt, why or "not enough cameras see it from within the room")
    said = ", ".join(f"{why} ({count})" for why, count in reasons.most_common())
    raise InvalidGeometry(
        f"{key_of(index)}: none of {rules.tries} draws is a scene: {said}.",
        hint="More tries, fewer objects or other layouts.",
    )


def _scene(
    rules: Rules, index: int, attempt: int, one: Drawn, settled: Settled, reasons: dict[str, int],
    stage: tuple[UserStage, Path] | None,
) -> Scene | None:  # fmt: skip
    """The scene; none where its cameras cannot be."""
    key = f"{key_of(index)}/{attempt}"
    objects, made, points = [], [], []
    for number, (start, pose, contacts) in enumerate(
        zip(one.starts, settled.poses, settled.contacts, strict=True), 1
    ):
        thing = start.thing
        tilt = math.degrees(math.acos(float(np.clip(pose[2, 2], -1, 1))))
        hull = thing.pieces.hull
        points.append(hull @ pose[:3, :3].T + pose[:3, 3])
        x, y, z = thing.mesh.size.tolist()
        objects.append(SceneObject(
            number, thing.name, thing.category, thing.source, thing.license, (x, y, z),
            thing.size_from, thing.color, thing.materials, _rows(pose), _points(hull),
            thing.rim is not None and tilt < _UPRIGHT, thing.solid.volume, tilt, contacts,
            start.grid, thing.rim * thing.height if thing.rim is not None else None,
        ))  # fmt: skip
        made.append(thing.made)
    around = stage[0].corners(stage[1]) if stage is not None else None
    cameras = cameras_of(
        rules, points, one.support.kind, Draws(rules.seed, key, "cameras"), around
    )
    if not cameras:
        return None
    sky = dealt(rules.seed, "environment", rules.skies, index, 1)[0] if rules.skies else None
    recipe: dict[str, Any] = {
        "attempt": attempt, "refused": reasons, "objects": made,
        "surfaces": surfaces_of(one.support.material, Draws(rules.seed, key, "surfaces")),
        "light": light_of(one.support.kind, Draws(rules.seed, key, "light"), sky),
        "cameras": cameras,
        "physics": {"mujoco": engine("mujoco").__version__, "rapier3d": version("rapier3d"),
                    "seconds": settled.seconds},
    }  # fmt: skip
    if rules.split:
        recipe["split"] = rules.split
    names: tuple[str, ...] = PARTS
    if stage is not None:
        recipe["stage"], names = stage[0].to_dict(), parts_of(stage[0])
        recipe["surfaces"] = {name: recipe["surfaces"][name] for name in BACKDROP}
    parts = tuple(StagePart(len(objects) + place, name) for place, name in enumerate(names, 1))
    return Scene(rules.seed, index, one.layout, one.support, tuple(objects), parts, (), recipe)


def _rows(pose: npt.NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in pose.tolist())


def _points(points: npt.NDArray[np.float64]) -> tuple[Any, ...]:
    # To a hundredth of a millimetre: it is read, and there are many.
    return tuple(tuple(point) for point in np.round(points, 5).tolist())
