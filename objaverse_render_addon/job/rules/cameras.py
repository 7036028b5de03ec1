"""From where views are taken, and through which lens."""

from __future__ import annotations

from dataclasses import dataclass

from ..choices import Framing, Pattern, ProjectionName, TestPattern
from ..convert import check, check_fields
from ..patterns import PATTERNS
from ..settings import setting

__all__ = ["CameraRules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraRules:
    """From where the views are taken. Patterns: :data:`PATTERNS`.

    Where the object would leave the frame, the framing ``allow`` lets it, ``fit`` moves the
    camera back, ``resample`` draws the view again (drawn patterns only). Distances are in scene
    units (see :data:`HALF_EXTENT` for the normalisation ``none``). A positive ``shift`` moves the
    object right and down.
    """

    pattern: Pattern = setting("gs-lrm", "from where the views are taken", flag="--cameras")
    views: int | None = setting(
        None,
        "number of views",
        unset="the pattern's own",
        low=1,
        high=100_000,
        usual=256,
    )
    radius: tuple[float, float] | None = setting(
        None,
        "smallest and largest distance from the asset's centre",
        unset="the pattern's own",
        form="range",
        low=0,
        open_low=True,
        high=1e6,
        usual=10.0,
    )
    elevation: tuple[float, float] | None = setting(
        None,
        "lowest and highest angle above the horizon, in degrees",
        unset="the pattern's own",
        form="range",
        low=-90,
        high=90,
        unit="degrees",
    )
    fov: tuple[float, float] | None = setting(
        None,
        "smallest and largest field of view across the picture's shorter side, in degrees",
        unset="the pattern's own",
        form="range",
        low=0.5,
        high=360,
        unit="degrees",
        label="Field of View",
    )
    projection: ProjectionName = setting(
        "perspective",
        "kind of lens: perspective, parallel rays, equirectangular all around, or equidistant "
        "fisheye",
        younger=True,
    )
    ortho: float | None = setting(
        None,
        "scene units that parallel rays take in across the picture's shorter side; implies the "
        "projection orthographic",
        unset="the sphere around the normalised asset",
        low=0,
        open_low=True,
        high=1e6,
        usual=10.0,
        label="Orthographic Scale",
        younger=True,
    )
    stereo: float | None = setting(
        None,
        "scene units between the two cameras of a rectified pair, in place of one camera",
        unset="one camera",
        low=0,
        open_low=True,
        high=1e6,
        usual=1.0,
        label="Stereo Baseline",
        younger=True,
    )
    test_views: int = setting(
        0, "number of views that are held out for tests, beside the others", low=0, high=100_000,
        usual=256, younger=True,
    )  # fmt: skip
    test_cameras: TestPattern = setting(
        "orbit", "from where the held-out views are taken, between the others", younger=True
    )
    framing: Framing | None = setting(
        None,
        "what happens when the object would leave the frame: allow it, move the camera back, or "
        "draw the view again",
        unset="the pattern's own",
    )
    only_northern_hemisphere: bool = setting(False, "no view from below the horizon")
    turns: float = setting(3.0, "rounds of the orbit")
    file: str | None = setting(
        None,
        "poses: transforms.json, a NeRF-synthetic or COLMAP folder, TOML; implies the cameras "
        "file",
        unset="none",
        flag="--camera-file",
        form="path",
        label="Camera File",
        name="camera_file",
    )
    scene_cameras: str | None = setting(
        None,
        "names of the file's own cameras that are taken, separated by commas; implies the cameras "
        "scene",
        unset="all of them",
        form="action",
        younger=True,
    )
    pixel_aspect: float = setting(
        1.0, "height of a pixel over its width", low=0.05, high=20
    )
    shift: tuple[float, float] = setting(
        (0.0, 0.0),
        "shift of the principal point as a share of the picture's width and height",
        form="pair",
        low=-2,
        high=2,
    )

    def __post_init__(self) -> None:
        # What a resolved job has of them, the file decides.
        given = PATTERNS[self.pattern].given if self.pattern in PATTERNS else False
        check_fields(self, "cameras.", ("radius", "fov") if given else ())
        check(self.turns != 0, "cameras.turns 0 makes no orbit.")
        check(
            self.scene_cameras is None or self.pattern == "scene",
            f"cameras.scene_cameras is given, but the pattern is {self.pattern}.",
            "Use --cameras scene.",
        )
        if given:
            self._check_given()
        if self.pattern != "file":
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
        self._check_lens()
        defaults = PATTERNS[self.pattern]
        if defaults.numbered:
            check(
                (self.views or 1) <= defaults.views,
                f"cameras.views {self.views} is more than the {defaults.views} of {self.pattern}.",
                "Leave --views away.",
            )
            check(
                not self.only_northern_hemisphere,
                f"cameras.only_northern_hemisphere is set, but {self.pattern} looks from below.",
                "Use ring or fibonacci for the northern hemisphere.",
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

    def _check_lens(self) -> None:
        check(
            self.ortho is None or self.projection == "orthographic",
            f"cameras.ortho is given, but the projection is {self.projection}.",
            "Use --projection orthographic.",
        )
        if self.projection == "perspective" and self.fov is not None:
            check(
                self.fov[1] <= 170,
                f"cameras.fov {self.fov[1]:g} is more than the 170 degrees of a perspective lens.",
                "Use --projection fisheye.",
            )
        check(
            self.stereo is None or self.projection == "perspective",
            f"cameras.stereo is given, but the projection is {self.projection}; a rectified pair "
            "is perspective.",
        )
        if self.projection == "panorama":
            check(
                self.shift == (0.0, 0.0) and self.pixel_aspect == 1.0,
                "cameras.shift or cameras.pixel_aspect is given, but a panorama is all around, "
                "with its middle in the middle.",
            )

    def _check_given(self) -> None:
        check(
            bool(self.file) or self.pattern != "file",
            "cameras.file has no path, but the pattern is file.",
            "Give --camera-file PATH.",
        )
        check(
            self.framing in (None, "allow"),
            f"cameras.framing {self.framing}: poses of the cameras {self.pattern} are taken as "
            "they are.",
        )
        # What a resolved job holds is no wish of the user's.
        unused = {
            "radius": PATTERNS[self.pattern].radius,
            "elevation": PATTERNS[self.pattern].elevation,
            "fov": PATTERNS[self.pattern].fov,
            "only_northern_hemisphere": False,
            "pixel_aspect": 1.0,
            "shift": (0.0, 0.0),
            "projection": "perspective",
            "ortho": None,
            "stereo": None,
            "test_views": 0,
        }
        for name, default in unused.items():
            check(
                getattr(self, name) in (None, default),
                f"cameras.{name} is given, but the cameras {self.pattern} decide it.",
            )
