"""Recipes: what a trainer, or a well-known dataset, wants to be rendered, in one word.

This table is all that there is of them. ``render --recipe``, the panel's protocols
(``tools/write_presets.py``) and the commands of the pages in ``docs/export`` derive from it.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Final

from ..errors import InvalidJob
from .convert import suggest

__all__ = ["FROM_PATTERN", "RECIPES", "SHARED", "Recipe", "recipe_named"]

FROM_PATTERN: Final = (
    "asset.normalize", "cameras.views", "cameras.radius", "cameras.elevation", "cameras.fov",
    "cameras.framing", "cameras.file", "cameras.ortho",
)  # fmt: skip
"""What a recipe that does not say them leaves to its camera pattern."""

SHARED: Final[dict[str, Any]] = {
    "asset.missing_textures": "neutral",
    "asset.missing_parts": "doubt",
    "asset.uncolored": "neutral",
    "lighting.mode": "white",
    "lighting.hdri": None,
    "lighting.per_view": None,
    "lighting.lights": None,
    "lighting.groups": False,
    "lighting.strength": 1.0,
    "lighting.background": None,
    "cameras.only_northern_hemisphere": False,
    "cameras.shift": (0.0, 0.0),
    "cameras.pixel_aspect": 1.0,
    "cameras.projection": "perspective",
    "cameras.stereo": None,
    "cameras.test_views": 0,
    "engine.engine": "cycles",
    "engine.samples": 64,
    "engine.denoise": True,
    "pixels.resolution": (512, 512),
    "pixels.passes": ("rgb", "depth", "normal", "mask"),
    "pixels.normal_space": "camera",
}
"""What every recipe sets that says nothing else, so that it means the same whatever was set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to render for one trainer.

    Attributes:
        about: In one line.
        label: In the panel's menu.
        export: The format that the trainer reads, as ``--export`` calls it.
        own: Settings of the job by dotted path, where they are not :data:`SHARED` or the
            pattern's own.
    """

    about: str
    label: str
    export: str
    own: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """All settings of the job by dotted path, for ``RenderJob.with_values``."""
        all_of_it = dict.fromkeys(FROM_PATTERN) | SHARED | self.own
        return json.loads(json.dumps(all_of_it))  # type: ignore[no-any-return]


def _recipe(label: str, export: str, about: str, pattern: str, **own: Any) -> Recipe:
    """A recipe, with the names of settings of their own sections only."""
    values = {"cameras.pattern": pattern}
    values |= {name.replace("__", "."): value for name, value in own.items()}
    return Recipe(about=about, label=label, export=export, own=values)


# 100 views all around with one lens: what a scene of its own is trained on.
_SCENE: Final[dict[str, Any]] = {"cameras__views": 100, "pixels__resolution": (800, 800)}
# All three loaders skip pictures of another size, and scenes with fewer views, without a word.
_RE10K: Final[dict[str, Any]] = {"cameras__views": 50, "pixels__resolution": (640, 360)}

RECIPES: Final[dict[str, Recipe]] = {
    "zero123": _recipe(
        "Zero123", "zero123", "Zero123: 12 random views", "zero123", engine__samples=128
    ),
    "zero123plus": _recipe(
        "Zero123++", "zero123plus",
        "Zero123++, and InstantMesh's validation: one view and its six", "zero123plus",
        pixels__resolution=(320, 320),
    ),
    "syncdreamer-target": _recipe(
        "SyncDreamer Target", "syncdreamer", "SyncDreamer, one half: the 16 views to be made",
        "ring", asset__normalize="unit-cube", cameras__views=16, cameras__elevation=(30.0, 30.0),
        cameras__fov=(49.134, 49.134), cameras__radius=(1.5, 1.5), cameras__framing="allow",
        pixels__resolution=(256, 256),
    ),
    "syncdreamer-input": _recipe(
        "SyncDreamer Input", "syncdreamer", "SyncDreamer, the other half: 16 views to make them of",
        "syncdreamer-input", pixels__resolution=(256, 256),
    ),
    "instantmesh": _recipe(
        "InstantMesh", "instantmesh", "InstantMesh: 32 random views with depth and normals",
        "gs-lrm", cameras__views=32, cameras__fov=(50.0, 50.0), cameras__radius=(3.2, 4.5),
    ),
    "lgm": _recipe(
        "LGM", "lgm", "LGM: 100 views from 1.5", "fibonacci", asset__normalize="unit-cube",
        cameras__views=100, cameras__fov=(49.1, 49.1), cameras__radius=(1.5, 1.5),
        cameras__framing="allow",
    ),
    "openlrm": _recipe(
        "OpenLRM", "openlrm", "OpenLRM: 32 random views of a wide lens", "gs-lrm",
        cameras__views=32, cameras__fov=(67.38, 67.38), cameras__radius=(1.9, 2.6),
        cameras__elevation=(-20.0, 45.0), cameras__framing="allow",
    ),
    "gs-lrm": _recipe(
        "GS-LRM", "gs-lrm", "GS-LRM, FaceLift: 32 views, each with a lens of its own", "gs-lrm"
    ),
    "long-lrm": _recipe("Long-LRM", "long-lrm", "Long-LRM: 48 along a path", "orbit"),
    "lvsm": _recipe("LVSM", "lvsm", "LVSM: 48 along a path", "orbit"),
    "depthsplat": _recipe(
        "DepthSplat", "depthsplat", "DepthSplat: 50 along a path, 640x360", "orbit", **_RE10K
    ),
    "mvsplat": _recipe(
        "MVSplat", "depthsplat", "MVSplat: 50 along a path, 640x360", "orbit", **_RE10K
    ),
    "pixelsplat": _recipe(
        "pixelSplat", "depthsplat", "pixelSplat: 50 along a path, 640x360", "orbit", **_RE10K
    ),
    "trellis": _recipe("TRELLIS", "trellis", "TRELLIS's renders: 150 views", "hammersley"),
    "trellis-cond": _recipe(
        "TRELLIS Conditioning", "trellis-cond", "TRELLIS's pictures to condition on: 24 views",
        "hammersley", cameras__views=24, cameras__fov=(10.0, 70.0), cameras__radius=(0.1, 0.1),
        cameras__framing="fit", pixels__resolution=(1024, 1024), pixels__passes=("rgb",),
    ),
    "g-objaverse": _recipe(
        "G-Objaverse", "g-objaverse", "G-Objaverse's rig: 40 views with material", "g-objaverse",
        pixels__passes=("rgb", "depth", "normal", "mask", "albedo", "roughness_metallic"),
    ),
    "wonder3d": _recipe(
        "Wonder3D", "wonder3d", "Wonder3D: six orthographic sides with normals", "six-around",
        asset__normalize="diagonal", cameras__projection="orthographic", cameras__ortho=1.35,
        cameras__radius=(2.0, 2.0), pixels__passes=("rgb", "normal", "mask"),
    ),
    "era3d": _recipe(
        "Era3D", "wonder3d", "Era3D's targets: Wonder3D's six orthographic sides", "six-around",
        asset__normalize="diagonal", cameras__projection="orthographic", cameras__ortho=1.35,
        cameras__radius=(2.0, 2.0), pixels__passes=("rgb", "normal", "mask"),
    ),
    "mv-adapter": _recipe(
        "MV-Adapter", "webdataset", "MV-Adapter: six orthographic sides, 1.1 wide", "six-around",
        cameras__projection="orthographic", cameras__ortho=1.1,
        pixels__resolution=(768, 768), pixels__passes=("rgb", "normal", "mask", "position"),
    ),
    "objaverse-xl": _recipe(
        "Objaverse-XL", "objaverse-xl", "the scripts of Objaverse-XL: 12 random views, four suns",
        "objaverse-xl", lighting__mode="xl", engine__samples=128,
        asset__missing_textures="random", asset__uncolored="random",
    ),
    "3dgs": _recipe(
        "3D Gaussian Splatting", "colmap",
        "3D Gaussian Splatting, gsplat: 100 views all around, surface points", "fibonacci",
        **_SCENE,
    ),
    "nerfstudio": _recipe(
        "nerfstudio", "nerfstudio", "nerfstudio: 100 views all around, depth and points",
        "fibonacci", **_SCENE,
    ),
    "instant-ngp": _recipe(
        "instant-ngp", "nerfstudio", "instant-ngp: 100 views all around", "fibonacci",
        **_SCENE, pixels__passes=("rgb", "mask"),
    ),
}  # fmt: skip
"""Name to recipe, as ``--recipe`` calls it and in the order of ``--recipe list``."""


def recipe_named(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        InvalidJob: There is none, with the names that there are.
    """
    if name not in RECIPES:
        halves = [other for other in RECIPES if other.startswith(f"{name}-")]
        hint = f"Its halves are {' and '.join(halves)}." if len(halves) > 1 else None
        raise InvalidJob(
            f"There is no recipe {name!r}.",
            hint=hint or f"{suggest(name, RECIPES)} --recipe list says what each is.",
        )
    return RECIPES[name]
