"""The parts of a job: what each setting means, its default, and what it cannot be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import InvalidJob
from .choices import (
    DEFAULT_PASSES,
    PASS_NAMES,
    DeviceName,
    EngineName,
    Framing,
    GeometryFormat,
    Layout,
    LightingMode,
    MissingTexturePolicy,
    Normalization,
    NormalSpace,
    Pattern,
    UncoloredPolicy,
)
from .convert import check, check_kinds, check_range, suggest
from .patterns import PATTERNS

__all__ = ["AssetRules", "CameraRules", "EngineSettings", "Files", "Lighting", "Pixels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRules:
    """How an asset is brought into the scene.

    Attributes:
        normalize: Box or sphere that the asset fills, centred on the origin. ``None`` takes the
            camera pattern's own.
        frame: The one animation frame that all views show; ``None`` takes the frame that the
            file was saved at.
        missing_textures: What stands in for a texture that is not there.
        uncolored: Material of an STL or PLY file without colours.
    """

    normalize: Normalization | None = None
    frame: int | None = None
    missing_textures: MissingTexturePolicy = "neutral"
    uncolored: UncoloredPolicy = "neutral"

    def __post_init__(self) -> None:
        check_kinds(self, "asset.")
        check(
            self.frame is None or abs(self.frame) <= 1_048_574,
            f"asset.frame {self.frame} is outside Blender's range.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lighting:
    """Light and background.

    Attributes:
        mode: ``white`` uniform white from everywhere; ``xl`` the four seeded suns of the
            Objaverse-XL scripts; ``hdri`` an equirectangular image; ``keep`` the file's own.
        hdri: Path of the image for ``hdri``.
        strength: Factor on the world's radiance (``white``, ``hdri``).
        background: ``None`` for a transparent background, else sRGB in 0..1.
    """

    mode: LightingMode = "white"
    hdri: str | None = None
    strength: float = 1.0
    background: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "lighting.")
        if self.mode == "hdri":
            check(
                bool(self.hdri),
                "lighting.hdri has no image, but the lighting is hdri.",
                "Give --hdri PATH.",
            )
        else:
            check(
                self.hdri is None,
                f"lighting.hdri is given, but the lighting is {self.mode}.",
                "Use --lighting hdri.",
            )
        check(
            math.isfinite(self.strength) and self.strength >= 0,
            f"lighting.strength {self.strength} is not a number of zero or more.",
        )
        if self.background is not None:
            check(
                all(0 <= channel <= 1 for channel in self.background),
                f"lighting.background {self.background} has a channel outside 0..1.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraRules:
    """From where the views are taken.

    Attributes:
        pattern: One of :data:`PATTERNS`.
        views: Number of views.
        radius: Distance from the rig's centre, scene units (see :data:`HALF_EXTENT` for
            ``none``).
        elevation: Degrees above the XY plane.
        fov: Field of view across the shorter side of the image, degrees.
        framing: What happens when the object would leave the frame: ``allow`` it, ``fit`` by
            moving the camera back, or ``resample`` the view (drawn patterns only).
        only_northern_hemisphere: No view from below.
        turns: Rounds of the ``orbit`` pattern.
        file: Poses for the ``file`` pattern.
        pixel_aspect: Height of a pixel over its width.
        shift: Shift of the principal point as a share of the image's width and height; positive
            moves the object right and down.
    """

    pattern: Pattern = "gs-lrm"
    views: int | None = None
    radius: tuple[float, float] | None = None
    elevation: tuple[float, float] | None = None
    fov: tuple[float, float] | None = None
    framing: Framing | None = None
    only_northern_hemisphere: bool = False
    turns: float = 3.0
    file: str | None = None
    pixel_aspect: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        check_kinds(self, "cameras.")
        check(
            self.views is None or 1 <= self.views <= 100_000,
            f"cameras.views {self.views} is not between 1 and 100000.",
        )
        check_range("cameras.radius", self.radius, 0, 1e6, open_low=self.pattern != "file")
        check_range("cameras.elevation", self.elevation, -90, 90)
        check_range("cameras.fov", self.fov, 0 if self.pattern == "file" else 0.5, 170)
        check(
            math.isfinite(self.turns) and self.turns != 0,
            f"cameras.turns {self.turns} makes no orbit.",
        )
        check(
            0.05 <= self.pixel_aspect <= 20,
            f"cameras.pixel_aspect {self.pixel_aspect} is not in 0.05..20.",
        )
        check(
            all(abs(share) <= 2 for share in self.shift),
            f"cameras.shift {self.shift} is beyond two image sizes.",
        )
        if self.pattern == "file":
            self._check_file()
        else:
            check(
                self.file is None,
                f"cameras.file is given, but the pattern is {self.pattern}.",
                "Use --cameras file.",
            )
        if self.pattern == "cube-faces":
            check(
                self.views in (None, 6), "cameras.views of cube-faces is six.",
                "Leave --views away.",
            )
            check(
                self.elevation in (None, PATTERNS["cube-faces"].elevation),
                "cameras.elevation is given, but cube-faces looks along the axes.",
            )
            check(
                not self.only_northern_hemisphere,
                "cameras.only_northern_hemisphere is set, but cube-faces looks from below too.",
                "Use ring or fibonacci for the northern hemisphere.",
            )
        if self.pattern == "ring" and self.elevation is not None:
            check(
                self.elevation[0] == self.elevation[1],
                "cameras.elevation of a ring is one number, not a range.",
                "Use orbit to climb, or give one number.",
            )
        framing = self.framing or PATTERNS[self.pattern].framing
        if framing == "resample":
            check(
                PATTERNS[self.pattern].drawn,
                f"cameras.framing resample: the pattern {self.pattern} draws nothing, so nothing "
                "can be drawn again.",
                "Use --framing fit.",
            )
        if framing != "allow":
            check(
                all(abs(share) < 0.5 for share in self.shift),
                f"cameras.shift {self.shift} puts the principal point outside the picture, where "
                f"no distance brings the object into frame (framing {framing}).",
                "Use --framing allow.",
            )
        if self.only_northern_hemisphere and self.elevation is not None:
            check(
                self.elevation[1] >= 0,
                "cameras.elevation below the horizon leaves nothing of the northern hemisphere.",
            )

    def _check_file(self) -> None:
        check(
            bool(self.file), "cameras.file has no path, but the pattern is file.",
            "Give --camera-file PATH.",
        )
        check(
            self.framing in (None, "allow"),
            f"cameras.framing {self.framing}: poses from a file are taken as they are.",
        )
        # What a resolved job holds is no wish of the user's.
        unused = {
            "radius": PATTERNS["file"].radius,
            "elevation": PATTERNS["file"].elevation,
            "fov": PATTERNS["file"].fov,
            "only_northern_hemisphere": False,
            "pixel_aspect": 1.0,
            "shift": (0.0, 0.0),
        }
        for name, default in unused.items():
            check(
                getattr(self, name) in (None, default),
                f"cameras.{name} is given, but the file of poses decides it.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How pictures are computed. Depth, normal, mask and the other geometry always come from
    Cycles at pixel centres; ``engine``, ``samples`` and ``denoise`` are about RGB.

    Attributes:
        samples: Samples per pixel of RGB.
        threads: CPU threads; 0 takes all.
        alpha_threshold: A surface at least this opaque is object in mask, depth and normal.
    """

    engine: EngineName = "cycles"
    samples: int = 64
    denoise: bool = True
    device: DeviceName = "auto"
    threads: int = 0
    alpha_threshold: float = 0.5

    def __post_init__(self) -> None:
        check_kinds(self, "engine.")
        check(
            1 <= self.samples <= 65536, f"engine.samples {self.samples} is not in 1..65536."
        )
        check(0 <= self.threads <= 1024, f"engine.threads {self.threads} is not in 0..1024.")
        check(
            0 < self.alpha_threshold <= 1,
            f"engine.alpha_threshold {self.alpha_threshold} is not above 0 and up to 1.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What is computed for each view.

    Attributes:
        resolution: Width and height in pixels.
        passes: Names from :data:`PASS_NAMES`.
        normal_space: Axes of the normal pass.
    """

    resolution: tuple[int, int] = (512, 512)
    passes: tuple[str, ...] = DEFAULT_PASSES
    normal_space: NormalSpace = "camera"

    def __post_init__(self) -> None:
        check_kinds(self, "pixels.")
        width, height = self.resolution
        check(
            4 <= width <= 16384 and 4 <= height <= 16384,
            f"pixels.resolution {width}x{height} is not between 4 and 16384 pixels a side.",
        )
        check(
            bool(self.passes), "pixels.passes is empty.", f"Choose from {', '.join(PASS_NAMES)}."
        )
        for name in self.passes:
            if name not in PASS_NAMES:
                raise InvalidJob(
                    f"pixels.passes cannot have {name!r}.", hint=suggest(name, PASS_NAMES)
                )
        check(len(set(self.passes)) == len(self.passes), "pixels.passes has one of them twice.")
        # A set in all but its type: another order is no other job.
        ordered = tuple(name for name in PASS_NAMES if name in self.passes)
        object.__setattr__(self, "passes", ordered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """How a dataset keeps what is computed.

    Attributes:
        geometry: ``npy`` one array per pass and view, ``npz`` the same compressed (archives of
            the layout ``zip`` are compressed anyway), ``exr`` one multilayer file per view.
            ``None`` takes ``npz`` for ``tar`` and ``webdataset``, otherwise ``npy``.
        layout: ``zip`` or ``tar`` one archive per asset, ``folder`` one folder per asset,
            ``webdataset`` archives of many assets each.
    """

    geometry: GeometryFormat | None = None
    layout: Layout = "zip"

    def __post_init__(self) -> None:
        check_kinds(self, "files.")
