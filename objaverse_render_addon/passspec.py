"""The passes: what each is called, what its numbers mean, how it is made, checked and shown.

This is the only place that describes a pass. The job's choices, the compositor's layers, file names
and EXR channels, the metadata and their schema, colours and legends, the panel, training tensors,
the exports that hold everything and the tables of docs/formats.md derive from :data:`PASSES`, so
that a new pass is one more entry here (docs/architecture.md says what else one may need). Whoever
uses a pass *for what it means* (a check of the depth, a format that wants normals) names it.

Nothing but the standard library: the command line reads the names before numpy is loaded.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

if TYPE_CHECKING:
    import numpy.typing as npt

    from .frame import RawChannels

    Assemble = Callable[[RawChannels], npt.NDArray[Any]]

__all__ = [
    "DEFAULT_PASSES", "MARKERS", "MATERIAL_PASSES", "MOVING", "PASSES", "PASS_NAMES", "PICTURES",
    "STILL_PASSES", "Layer", "Pass", "layers_for",
]  # fmt: skip

Coloring = Literal[
    "picture", "light", "ramp", "direction", "point", "mask", "reflectance", "pair", "ids", "flow",
    "codes", "vector",
]
"""How a pass is shown to people, see :data:`objaverse_render_addon.dataset.coloring.COLORINGS`."""
Values = Literal["continuous", "binary", "ids"]
Reads = Literal["picture", "classes", "things", "times", "sight", "sensor"]


class Settings(Protocol):
    """What a pass may mean something else under."""

    @property
    def normal_space(self) -> str:
        """``camera`` or ``world``."""

    @property
    def opaque(self) -> bool:
        """Whether the picture is written over a background colour."""

    @property
    def radial(self) -> bool:
        """Whether the lens sees all around, so that there is no planar depth."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What Blender writes into the multilayer EXR of a view's geometry.

    Attributes:
        name: Of the layer in that file.
        socket: Type of the compositor's socket: ``FLOAT``, ``VECTOR`` or ``RGBA``.
        output: Of the Render Layers node, as it is called since 5.0.
        flag: The view layer's property that switches it on. Empty for an AOV of the name
            ``output``, which the materials' nodes have to write
            (:mod:`objaverse_render_addon.blender.materials`).
    """

    name: str
    socket: Literal["FLOAT", "VECTOR", "RGBA"]
    output: str
    flag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass, all of it.

    Attributes:
        name: In flags, files and metadata.
        dtype: Of the array.
        channels: 1 is an (H, W) array, more is (H, W, channels).
        space: Axes or colour space of the values.
        unit: Of the values.
        about: A few words for the metadata.
        invalid: The value where no object is.
        unknown: What may stand on the object where the value cannot be known; none where it always
            can.
        convention: A sentence for the metadata's ``conventions``, where ``about`` is not enough.
        letters: Channels of a dataset's EXR file, ``"XYZ"`` is ``name.X`` to ``name.Z``. Of a
            picture, those of a file of its own; without any it is a PNG file.
        layers: What Blender has to write for it.
        assemble: The array, from what Blender wrote. ``None`` for a picture: it is rendered with
            the light, and antialiased.
        reads: What it needs beside the picture itself: ``classes`` of objects, the ``things`` that
            render, those at the ``times`` before and after too, or also the ``sight`` at those; or
            which ``sensor`` is simulated.
        always: Whether it is computed for every view, stored or not, since the checks need it.
        default: Whether a job has it that says nothing of passes.
        marks_object: Whether it differs from ``invalid`` wherever the object is, so that it can
            stand in for the mask.
        values: ``continuous`` may be interpolated between pixels of the object, the others never;
            ``ids`` are names that are numbers, and stay integers in tensors.
        limits: Least and greatest value that is possible on the object.
        coloring: How it is shown to people.
        channel_names: For the legend, where each channel is a quantity of its own.
        codes: What its values stand for, from 0, where those are always the same few.
        label: In the panel.
        tip: In the panel, a sentence without full stop.
        short: On a narrow tab; the name in words where empty.
        key: Of its file in the metadata's view records; the name where empty.
        variant: What it is under other settings than the default ones.
    """

    name: str
    dtype: str
    channels: int
    space: str
    unit: str
    about: str
    invalid: float = 0.0
    unknown: float | None = None
    convention: str = ""
    letters: str = ""
    layers: tuple[Layer, ...] = ()
    assemble: Assemble | None = None
    reads: Reads = "picture"
    always: bool = False
    default: bool = False
    marks_object: bool = False
    values: Values = "continuous"
    limits: tuple[float, float] = (-math.inf, math.inf)
    coloring: Coloring
    channel_names: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    label: str
    tip: str
    short: str = ""
    key: str = ""
    variant: Callable[[Pass, Settings], Pass] | None = None

    @property
    def is_picture(self) -> bool:
        """Whether it is an antialiased picture, and no array of values at pixel centres."""
        return self.assemble is None

    @property
    def is_png(self) -> bool:
        """Whether it is a picture for the eye, 8 bits in a PNG file."""
        return self.is_picture and not self.letters

    @property
    def exr_channels(self) -> list[str]:
        """Names of its channels in an EXR file, in the array's order."""
        # What every viewer takes for the colour.
        return [letter if self.is_picture else f"{self.name}.{letter}" for letter in self.letters]

    @property
    def record_key(self) -> str:
        """Where the metadata's view records say its file."""
        return self.key or self.name

    @property
    def tab(self) -> str:
        """A short label."""
        return self.short or self.name.replace("_", " ")

    @property
    def shape(self) -> str:
        """Of the array, in words."""
        return "(H, W)" if self.channels == 1 else f"(H, W, {self.channels})"

    def under(self, settings: Settings) -> Pass:
        """The pass as it is under some settings; a :class:`.frame.Frame` has them."""
        return self if self.variant is None else self.variant(self, settings)

    def channel_counts(self) -> set[int]:
        """Numbers of channels that it can have."""
        return {
            self.under(_Choice(space, opaque, False)).channels
            for space, opaque in itertools.product(("camera", "world"), (False, True))
        }

    def record(self) -> dict[str, Any]:
        """What the metadata say of it."""
        fields = ("dtype", "channels", "space", "unit", "invalid", "about")
        return {field: getattr(self, field) for field in fields}


@dataclass(frozen=True, slots=True)
class _Choice:
    normal_space: str
    opaque: bool
    radial: bool


def _over_background(rgb: Pass, settings: Settings) -> Pass:
    if not settings.opaque:
        return rgb
    about = f"{rgb.about} over the background colour"
    return dataclasses.replace(rgb, channels=3, space="sRGB", about=about)


_AXES: Final = ": +X right, +Y up, +Z towards the camera"


def _in_asked_axes(normal: Pass, settings: Settings) -> Pass:
    if settings.normal_space != "world":
        return normal
    about = normal.about.replace(_AXES, " in world axes")
    return dataclasses.replace(normal, space="world", about=about)


def _along_the_ray(depth: Pass, settings: Settings) -> Pass:
    if not settings.radial:
        return depth
    about = "distance along the ray: the lens sees all around, where no depth is planar"
    return dataclasses.replace(depth, about=about)


_OBJECT: Final = Layer("object_index", "FLOAT", "Object Index", "use_pass_object_index")
_POSITION: Final = Layer("position", "VECTOR", "Position", "use_pass_position")
_SURFACE: Final = (
    _OBJECT,
    Layer("instance_place", "RGBA", "instance_place"),
    Layer("surface_number", "RGBA", "surface_number"),
)
_DEPTH: Final = Layer("depth", "FLOAT", "Depth", "use_pass_z")
_NORMAL: Final = Layer("normal", "VECTOR", "Normal", "use_pass_normal")

PASSES: Final[dict[str, Pass]] = {
    spec.name: spec
    for spec in (
        Pass(
            name="rgb",
            dtype="uint8",
            channels=4,
            space="sRGB, straight alpha",
            unit="0..255",
            about="antialiased colour",
            convention="8-bit sRGB, straight (unassociated) alpha, view transform Standard",
            default=True,
            limits=(0, 255),
            coloring="picture",
            label="RGB",
            tip="Antialiased colour with straight alpha, 8-bit sRGB",
            key="image",
            variant=_over_background,
        ),
        Pass(
            name="rgb_linear",
            dtype="float16",
            channels=4,
            space="linear Rec. 709, premultiplied alpha",
            unit="scene-referred",
            about="the same light before any curve, not over a background",
            convention="the renderer's own scene-referred values as 16-bit floats: linear, "
            "primaries and white of Rec. 709 (sRGB), premultiplied (associated) alpha, without "
            "view transform and background; values beyond 65504 are 65504",
            letters="RGBA",
            limits=(-65504, 65504),
            coloring="light",
            label="Linear RGB",
            tip="Light as it was rendered, in half floats: linear, alpha premultiplied",
            short="linear",
        ),
        Pass(
            name="depth",
            dtype="float32",
            channels=1,
            space="camera",
            unit="scene units",
            about="planar Z: distance along the viewing axis, not along the ray",
            convention="planar Z in scene units: distance along the viewing axis, of orthographic "
            "cameras from their plane; of panoramas and fisheyes, which have no plane, distance "
            "along the ray; 0 where nothing is",
            letters="Z",
            layers=(_DEPTH, _NORMAL),
            assemble=lambda raw: raw.depth,
            always=True,
            default=True,
            marks_object=True,
            limits=(0, math.inf),
            coloring="ramp",
            label="Depth",
            tip="Planar Z in scene units, 0 where nothing is; of lenses that see all around, along "
            "the ray",
            variant=_along_the_ray,
        ),
        Pass(
            name="normal",
            dtype="float32",
            channels=3,
            space="camera",
            unit="unit length",
            about=f"surface normal with normal maps and bump{_AXES}",
            convention="unit length; camera space: +X right, +Y up, +Z towards the camera (or "
            "world axes, see passes); 0 where nothing is; with normal maps and bump, without them "
            "in normal_geometric",
            letters="XYZ",
            layers=(_DEPTH, _NORMAL),
            assemble=lambda raw: raw.unit_vectors("normal"),
            always=True,
            default=True,
            marks_object=True,
            limits=(-1, 1),
            coloring="direction",
            label="Normal",
            tip="Surface normals of unit length",
            variant=_in_asked_axes,
        ),
        Pass(
            name="normal_geometric",
            dtype="float32",
            channels=3,
            space="camera",
            unit="unit length",
            about=f"surface normal of the mesh, flat or smooth as it is shaded{_AXES}",
            letters="XYZ",
            layers=(Layer("normal_geometric", "RGBA", "normal_geometric"),),
            assemble=lambda raw: raw.unit_vectors("normal_geometric", "RGB"),
            limits=(-1, 1),
            coloring="direction",
            label="Geometric Normal",
            tip="Normals of the mesh as it is shaded, without normal maps and bump",
            short="mesh normal",
            variant=_in_asked_axes,
        ),
        Pass(
            name="mask",
            dtype="uint8",
            channels=1,
            space="image",
            unit="0 or 1",
            about="1 is object, at the pixel's centre",
            convention="1 is object; a surface counts where its opacity reaches the alpha "
            "threshold",
            letters="V",
            layers=(_DEPTH, _NORMAL),
            assemble=lambda raw: raw.valid.astype("uint8"),
            always=True,
            default=True,
            marks_object=True,
            values="binary",
            limits=(1, 1),
            coloring="mask",
            label="Mask",
            tip="1 where the object is, at the pixel's centre",
        ),
        Pass(
            name="albedo",
            dtype="float32",
            channels=3,
            space="linear Rec. 709",
            unit="0..1",
            about="base colour before lighting, also of metals",
            letters="RGB",
            layers=(Layer("albedo", "RGBA", "albedo"),),
            assemble=lambda raw: raw.on_object(raw.planes("albedo", "RGB"), "float32"),
            limits=(0, 1),
            coloring="reflectance",
            label="Albedo",
            tip="Base colour without light, also of metals",
        ),
        Pass(
            name="roughness_metallic",
            dtype="float32",
            channels=2,
            space="material",
            unit="0..1",
            about="roughness, then metallic",
            letters="RM",
            layers=(Layer("roughness_metallic", "RGBA", "roughness_metallic"),),
            assemble=lambda raw: raw.on_object(raw.planes("roughness_metallic", "RG"), "float32"),
            limits=(0, 1),
            coloring="pair",
            channel_names=("roughness", "metallic"),
            label="Roughness and Metallic",
            tip="Material parameters, 0 to 1",
            short="rough, metal",
        ),
        Pass(
            name="position",
            dtype="float32",
            channels=3,
            space="world",
            unit="scene units",
            about="surface point",
            letters="XYZ",
            layers=(_POSITION,),
            assemble=lambda raw: raw.on_object(raw.planes("position", "XYZ"), "float32"),
            coloring="point",
            label="Position",
            tip="Surface point in world space",
        ),
        Pass(
            name="object_index",
            dtype="uint16",
            channels=1,
            space="image",
            unit="id",
            about="ids are named in the metadata",
            letters="V",
            layers=(_OBJECT,),
            assemble=lambda raw: raw.on_object(raw.planes("object_index", "V").round(), "uint16"),
            marks_object=True,
            values="ids",
            limits=(0, 65535),
            coloring="ids",
            label="Object Index",
            tip="A number per object, named in the metadata",
            short="object id",
        ),
        Pass(
            name="distance",
            dtype="float32",
            channels=1,
            space="camera",
            unit="scene units",
            about="Euclidean distance from the camera along the ray",
            letters="Z",
            layers=(_DEPTH, _NORMAL),
            assemble=lambda raw: (raw.depth * raw.camera.stretch()).astype("float32"),
            marks_object=True,
            limits=(0, math.inf),
            coloring="ramp",
            label="Distance",
            tip="Euclidean distance from the camera along the ray",
        ),
        Pass(
            name="uv",
            dtype="float32",
            channels=2,
            space="texture",
            unit="of the texture",
            about="texture coordinates of the map that renders: u right, v up, 0 to 1 across the "
            "texture, beyond where it repeats; 0 where a surface has none",
            letters="UV",
            layers=(Layer("uv", "VECTOR", "UV", "use_pass_uv"),),
            assemble=lambda raw: raw.on_object(raw.planes("uv", "XY"), "float32"),
            coloring="pair",
            channel_names=("u", "v"),
            label="UV",
            tip="Texture coordinates, u to the right and v up",
        ),
        Pass(
            name="instance_index",
            dtype="uint32",
            channels=1,
            space="image",
            unit="id",
            about="a number for every object and for every instance of one (of collections, "
            "geometry nodes, particles), the same at all times; ids are named in the metadata",
            letters="V",
            layers=_SURFACE,
            assemble=lambda raw: raw.instances,
            reads="things",
            marks_object=True,
            values="ids",
            limits=(0, 2**32 - 1),
            coloring="ids",
            label="Instance Index",
            tip="A number per object and per instance of one, named in the metadata",
            short="instance id",
        ),
        Pass(
            name="material_index",
            dtype="uint16",
            channels=1,
            space="image",
            unit="id",
            about="a number for every material; ids are named in the metadata",
            letters="V",
            layers=(Layer("material_index", "FLOAT", "Material Index", "use_pass_material_index"),),
            assemble=lambda raw: raw.on_object(raw.planes("material_index", "V").round(), "uint16"),
            values="ids",
            limits=(0, 32767),
            coloring="ids",
            label="Material Index",
            tip="A number per material, named in the metadata",
            short="material id",
        ),
        Pass(
            name="semantic_index",
            dtype="uint16",
            channels=1,
            space="image",
            unit="id",
            about="a number for every class, 0 where an object has none; ids are named in the "
            "metadata",
            letters="V",
            layers=(_OBJECT,),
            assemble=lambda raw: raw.classes,
            reads="classes",
            values="ids",
            limits=(0, 65535),
            coloring="ids",
            label="Semantic Index",
            tip="A number per class, named in the metadata",
            short="class id",
        ),
        Pass(
            name="flow_forward",
            dtype="float32",
            channels=2,
            space="image",
            unit="pixels",
            about="where the surface point is in the next rendered frame of the same view, less "
            "where it is here: u right, v down; nan where that is not known, as in a clip's last "
            "frame",
            letters="UV",
            layers=(*_SURFACE, _POSITION),
            assemble=lambda raw: raw.flow("next"),
            reads="times",
            unknown=math.nan,
            coloring="flow",
            channel_names=("right", "down"),
            label="Forward Flow",
            tip="Motion of the surface to the next rendered frame, in pixels: right and down",
            short="flow",
        ),
        Pass(
            name="flow_backward",
            dtype="float32",
            channels=2,
            space="image",
            unit="pixels",
            about="the same to the rendered frame before; nan as in a clip's first frame",
            letters="UV",
            layers=(*_SURFACE, _POSITION),
            assemble=lambda raw: raw.flow("previous"),
            reads="times",
            unknown=math.nan,
            coloring="flow",
            channel_names=("right", "down"),
            label="Backward Flow",
            tip="Motion of the surface to the rendered frame before, in pixels: right and down",
            short="flow back",
        ),
        Pass(
            name="occlusion_forward",
            dtype="uint8",
            channels=1,
            space="image",
            unit="0, 1, 2 or 3",
            about="whether the next rendered frame of the same view shows the surface point: 0 it "
            "does, 1 something is before it, 2 it is out of the picture, 3 it is not known",
            letters="V",
            layers=(*_SURFACE, _POSITION),
            assemble=lambda raw: raw.occlusion("next"),
            reads="sight",
            values="ids",
            limits=(0, 3),
            coloring="codes",
            codes=("seen", "hidden", "out of the picture", "not known"),
            label="Forward Occlusion",
            tip="Whether the next rendered frame shows the surface point: 0 it does",
            short="hidden next",
        ),
        Pass(
            name="occlusion_backward",
            dtype="uint8",
            channels=1,
            space="image",
            unit="0, 1, 2 or 3",
            about="the same of the rendered frame before",
            letters="V",
            layers=(*_SURFACE, _POSITION),
            assemble=lambda raw: raw.occlusion("previous"),
            reads="sight",
            values="ids",
            limits=(0, 3),
            coloring="codes",
            codes=("seen", "hidden", "out of the picture", "not known"),
            label="Backward Occlusion",
            tip="Whether the rendered frame before shows the surface point: 0 it does",
            short="hidden before",
        ),
        Pass(
            name="scene_flow",
            dtype="float32",
            channels=3,
            space="world",
            unit="scene units",
            about="where the surface point is at the time of the next rendered frame, less where "
            "it is here, whatever the camera does; nan where that is not known",
            letters="XYZ",
            layers=(*_SURFACE, _POSITION),
            assemble=lambda raw: raw.scene_flow("next"),
            reads="times",
            unknown=math.nan,
            coloring="vector",
            label="Scene Flow",
            tip="Motion of the surface in space to the next rendered frame",
        ),
        Pass(
            name="sensor_depth",
            dtype="float32",
            channels=1,
            space="camera",
            unit="scene units",
            about="planar Z as a depth camera measures it, one scene unit for a metre; 0 also "
            "where it measures nothing",
            convention="planar Z of depth with the noise and the holes of the depth camera that "
            "sensor names, seeded by the job's seed, the asset, the view and the time; 0 where "
            "nothing is and where nothing is measured; depth beside it is the truth",
            letters="Z",
            layers=(_DEPTH, _NORMAL),
            assemble=lambda raw: raw.measured,
            reads="sensor",
            limits=(0, math.inf),
            coloring="ramp",
            label="Sensor Depth",
            tip="Depth with the noise and holes of a depth camera, beside the clean one",
            short="sensor",
        ),
    )
}

PASS_NAMES: Final = tuple(PASSES)
PICTURES: Final = frozenset(spec.name for spec in PASSES.values() if spec.is_picture)
"""Passes that are rendered with the light."""
MOVING: Final = tuple(name for name, spec in PASSES.items() if spec.reads in ("times", "sight"))
"""Passes that need frames of an animation."""
STILL_PASSES: Final = tuple(
    name for name, spec in PASSES.items() if name not in MOVING and spec.reads != "sensor"
)
"""Passes that every job can have."""
DEFAULT_PASSES: Final = tuple(spec.name for spec in PASSES.values() if spec.default)

MARKERS: Final = tuple(
    spec.name
    for spec in sorted(
        (spec for spec in PASSES.values() if spec.marks_object),
        # The mask itself, then single numbers, then what is not 0 only taken together.
        key=lambda spec: (spec.values != "binary", spec.channels, spec.values == "ids"),
    )
)
"""Passes that say where the object is, the most direct one first."""

MATERIAL_PASSES: Final = ("albedo", "roughness_metallic")
"""Passes that materials write, each channel a share of 0..1."""


def layers_for(wanted: Iterable[str]) -> list[Layer]:
    """What Blender has to write for some passes and for those that are always computed."""
    names = set(wanted)
    found = {
        layer.name: layer
        for spec in PASSES.values()
        if spec.always or spec.name in names
        for layer in spec.layers
    }
    return list(found.values())
