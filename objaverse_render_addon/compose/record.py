"""What ``scene.json`` says of one scene: its objects, where they came to rest, and who sees them.

Lengths are metres, areas and volumes their powers; the scene's axes are right-handed, +Z up, with
the support's centre at the origin and its top at Z = 0. Matrices are row-major and take column
vectors. Pixels are counted from the upper left corner, columns first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ..errors import WrongFormat

__all__ = [
    "FILE", "LAYOUTS", "VERSION", "Color", "Contact", "Scene", "SceneObject", "SceneView",
    "StagePart", "Support", "ViewObject", "surrounded",
]  # fmt: skip

FILE: Final = "scene.json"
VERSION: Final = 1
LAYOUTS: Final = ("grid", "heap", "row", "stack", "container", "scatter")
SUPPORTS: Final = ("table", "tray", "shelf", "box")
STAGED: Final = "stage"
"""Kind of the support that a user's stage is."""
SIZES_FROM: Final = ("parametric", "file", "csv", "category")


@dataclass(frozen=True)
class Color:
    """An object's main colour, as it was made or as a list says.

    Attributes:
        name: One of the eleven basic terms.
        rgb: sRGB, 0 to 1.
    """

    name: str
    rgb: tuple[float, float, float]


@dataclass(frozen=True)
class Contact:
    """Where an object is held by another, or by the support.

    Attributes:
        id: The other object's, 0 the support.
        normal: Unit vector from the other towards this one, world axes.
        share: Of all upward force that this object gets, 0 to 1.
    """

    id: int
    normal: tuple[float, float, float]
    share: float


@dataclass(frozen=True)
class Support:
    """What the objects stand on.

    Attributes:
        kind: ``table``, ``tray``, ``shelf``, ``box``, or ``stage``, a user's.
        size_m: Along X, Y and Z; of tables the top's, of stages what is free for objects, and no
            height.
        material: A word as ``wood``; empty of stages.
        shape: ``rectangle`` or ``round``.
    """

    kind: str
    size_m: tuple[float, float, float]
    material: str
    shape: str = "rectangle"


@dataclass(frozen=True)
class StagePart:
    """What else renders: support, floor and walls; of a user's stage what stands around, too.

    Attributes:
        id: In ``instance_index``; after all objects' ids.
    """

    id: int
    name: str


SURROUNDINGS: Final = "surroundings"
"""Part of a user's stage: all but what objects stand on."""


def surrounded(parts: Sequence[StagePart]) -> bool:
    """Whether there is more to be seen than objects, what they stand on, floor and walls."""
    return any(part.name == SURROUNDINGS for part in parts)


@dataclass(frozen=True)
class SceneObject:
    """One object, at rest.

    Attributes:
        id: In ``instance_index``, from 1, the same in all views.
        source: ``parametric:mug``, a UID or a path.
        size_m: Along its own axes, before it was turned.
        size_from: ``parametric``, ``file`` (its units, taken for metres), ``csv``, or
            ``category:mug``: drawn from what mugs usually are.
        materials: Words as ``ceramic``; empty where nothing is known.
        pose: (4, 4) world from object.
        vertices_hull: (N, 3) corners of its convex hull, object axes.
        container: Whether it is hollow, open, and upright.
        volume_m3: Of its material, without what it could hold.
        tilt_deg: Between its own +Z and the world's, at rest.
        grid: Row (0 is farthest) and column (0 is leftmost) in a grid's layout.
        rim_m: Height of its opening over its lowest point, object axes; ``None`` where it has none.
    """

    id: int
    name: str
    category: str
    source: str
    license: str
    size_m: tuple[float, float, float]
    size_from: str
    color: Color | None
    materials: tuple[str, ...]
    pose: tuple[tuple[float, ...], ...]
    vertices_hull: tuple[tuple[float, float, float], ...]
    container: bool
    volume_m3: float
    tilt_deg: float
    contacts: tuple[Contact, ...] = ()
    grid: tuple[int, int] | None = None
    rim_m: float | None = None


@dataclass(frozen=True)
class ViewObject:
    """How one view sees an object.

    Attributes:
        visible_pixels: In which it is in front.
        amodal_pixels: That it covers or would cover, within the frame and beyond it.
        visible_fraction: The first over the second.
        inside_frame_fraction: Of the amodal pixels, those within the frame.
        bbox: ``x0, y0, x1, y1`` of the visible pixels, half-open; ``None`` where there are none.
        albedo_colors: Share of the visible pixels by colour term, as it is made.
        shaded_colors: The same as it is lit.
        clipped_fraction: Of the visible pixels, those of which a channel is burnt out.
        amodal_rle: What it covers within the frame: COCO's uncompressed run lengths, ``counts``
            down the columns, beginning with what is not covered, and ``size`` as height, width.
    """

    id: int
    visible_pixels: int
    amodal_pixels: int
    visible_fraction: float
    inside_frame_fraction: float
    bbox: tuple[int, int, int, int] | None
    albedo_colors: Mapping[str, float]
    shaded_colors: Mapping[str, float]
    clipped_fraction: float
    amodal_rle: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SceneView:
    """One view; ``view`` is its place among the metadata's ``views``."""

    view: int
    objects: tuple[ViewObject, ...]


@dataclass(frozen=True)
class Scene:
    """One scene.

    Attributes:
        index: Of the scene in its set.
        stage: What renders beside the objects.
        views: Empty until it was rendered.
        recipe: What decides the picture and no label: light, materials, versions.
    """

    seed: int
    index: int
    layout: str
    support: Support
    objects: tuple[SceneObject, ...]
    stage: tuple[StagePart, ...] = ()
    views: tuple[SceneView, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As :data:`FILE` has it."""
        objects = []
        for obj in self.objects:
            data = asdict(obj)
            data["settled"] = {"tilt_deg": data.pop("tilt_deg")}
            data["contacts"] = [
                {"with": one.id, "normal": list(one.normal), "share": one.share}
                for one in obj.contacts
            ]
            objects.append(data)
        return {
            "version": VERSION, "seed": self.seed, "index": self.index, "layout": self.layout,
            "support": asdict(self.support), "up": "+Z", "objects": objects,
            "stage": [asdict(part) for part in self.stage],
            "views": [asdict(view) for view in self.views],
            "recipe": dict(self.recipe),
        }  # fmt: skip

    def to_json(self) -> str:
        """The file's text, the same for the same scene."""
        return json.dumps(self.to_dict(), indent=1, sort_keys=True, allow_nan=False) + "\n"

    def write(self, path: str | Path) -> None:
        """Write the file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Scene:
        """Read a scene's file.

        Raises:
            WrongFormat: It is none, or says what cannot be.
        """
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise WrongFormat(f"{path} cannot be read as a scene: {error}.") from error
        return cls.from_dict(data, str(path))

    @classmethod
    def from_dict(cls, data: Any, where: str = FILE) -> Scene:
        """A scene from what :meth:`to_dict` gives, checked.

        Raises:
            WrongFormat: Something is missing or cannot be; the message says what.
        """
        if not isinstance(data, dict) or data.get("version") != VERSION:
            raise WrongFormat(
                f"{where} is no scene of version {VERSION}.",
                hint="objaverse-render compose writes one in each of its scenes.",
            )
        try:
            scene = cls(
                int(data["seed"]), int(data["index"]), data["layout"], _support(data["support"]),
                tuple(_object(one) for one in data["objects"]),
                tuple(StagePart(int(one["id"]), one["name"]) for one in data.get("stage", ())),
                tuple(_view(one) for one in data.get("views", ())),
                dict(data.get("recipe", {})),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise WrongFormat(f"{where} cannot be read as a scene: {what}.") from error
        wrong = _wrong(scene)
        if wrong:
            raise WrongFormat(f"{where} cannot be: {wrong}.")
        return scene


def _floats(values: Sequence[Any], count: int) -> tuple[Any, ...]:
    if len(values) != count:
        raise ValueError(f"{len(values)} numbers where {count} belong")
    numbers = tuple(float(value) for value in values)
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("a number is not finite")
    return numbers


def _support(data: Mapping[str, Any]) -> Support:
    return Support(
        data["kind"], _floats(data["size_m"], 3), data["material"],
        data.get("shape", "rectangle"),
    )  # fmt: skip


def _object(data: Mapping[str, Any]) -> SceneObject:
    color, grid, rim = data["color"], data.get("grid"), data.get("rim_m")
    return SceneObject(
        int(data["id"]), data["name"], data["category"], data["source"], data["license"],
        _floats(data["size_m"], 3), data["size_from"],
        Color(color["name"], _floats(color["rgb"], 3)) if color is not None else None,
        tuple(data["materials"]),
        tuple(_floats(row, 4) for row in data["pose"]),
        tuple(_floats(point, 3) for point in data["vertices_hull"]),
        bool(data["container"]), float(data["volume_m3"]), float(data["settled"]["tilt_deg"]),
        tuple(
            Contact(int(one["with"]), _floats(one["normal"], 3), float(one["share"]))
            for one in data["contacts"]
        ),
        (int(grid[0]), int(grid[1])) if grid is not None else None,
        float(rim) if rim is not None else None,
    )  # fmt: skip


def _view(data: Mapping[str, Any]) -> SceneView:
    return SceneView(int(data["view"]), tuple(_seen(one) for one in data["objects"]))


def _seen(data: Mapping[str, Any]) -> ViewObject:
    box = data["bbox"]
    return ViewObject(
        int(data["id"]), int(data["visible_pixels"]), int(data["amodal_pixels"]),
        float(data["visible_fraction"]), float(data["inside_frame_fraction"]),
        (int(box[0]), int(box[1]), int(box[2]), int(box[3])) if box is not None else None,
        dict(data["albedo_colors"]), dict(data["shaded_colors"]), float(data["clipped_fraction"]),
        data.get("amodal_rle"),
    )  # fmt: skip


def _wrong(scene: Scene) -> str:
    """What cannot be of a scene; nothing where all can."""
    ids = [obj.id for obj in scene.objects]
    if ids != list(range(1, len(ids) + 1)):
        return f"its objects have the ids {ids[:10]}, not 1, 2, 3 …"
    if scene.layout not in LAYOUTS:
        return f"its layout is {scene.layout!r}"
    if scene.support.kind not in (*SUPPORTS, STAGED):
        return f"its support is {scene.support.kind!r}"
    for obj in scene.objects:
        if len(obj.pose) != 4:
            return f"the pose of object {obj.id} has {len(obj.pose)} rows"
        if tuple(obj.pose[3]) != (0.0, 0.0, 0.0, 1.0):
            return f"the pose of object {obj.id} does not end in 0 0 0 1"
        if obj.size_from.partition(":")[0] not in SIZES_FROM:
            return f"the size of object {obj.id} is from {obj.size_from!r}"
        if min(obj.size_m) <= 0 or obj.volume_m3 <= 0:
            return f"object {obj.id} has no size"
        if any(one.id == obj.id or one.id not in (0, *ids) for one in obj.contacts):
            return f"object {obj.id} touches what is not there"
    for view in scene.views:
        for seen in view.objects:
            if seen.id not in ids:
                return f"view {view.view} sees an object {seen.id}, which is not there"
            if seen.visible_pixels > seen.amodal_pixels:
                return f"view {view.view} sees more of object {seen.id} than there is"
    return ""
