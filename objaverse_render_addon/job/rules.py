"""The parts of a job: what each setting means, its default, and what it cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..errors import InvalidJob
from ..passspec import DEFAULT_PASSES, PASS_NAMES
from ..timeline import frame_range
from .choices import (
    GEOMETRY_FILES,
    Axis,
    ClassSource,
    DeviceName,
    EngineName,
    Framing,
    GeometryFormat,
    Layout,
    LeavingPolicy,
    LightingMode,
    MissingPartPolicy,
    MissingTexturePolicy,
    Normalization,
    NormalSpace,
    Pattern,
    ProjectionName,
    SensorName,
    StillPolicy,
    TestPattern,
    UncoloredPolicy,
    ViewsPerFrame,
    WitnessMode,
)
from .convert import check, check_fields, suggest
from .patterns import PATTERNS
from .settings import setting

__all__ = [
    "AssetRules", "CameraRules", "EngineSettings", "Files", "Lighting", "Pixels", "TimeRules",
]  # fmt: skip


# Where -Y goes when Z is brought upwards from that axis the short way.
_FRONTS: Final = {"Z": "-Y", "-Z": "Y", "Y": "Z", "-Y": "-Z", "X": "-Y", "-X": "-Y"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRules:
    """How an asset is brought into the scene."""

    normalize: Normalization | None = setting(
        None,
        "box or sphere that the asset fills before it is rendered, centred on the origin; cube is "
        "[-1, 1]³, diagonal a box whose diagonal is 1",
        unset="the camera pattern's own",
    )
    up: Axis = setting(
        "Z",
        "axis of the asset, as it was imported, that is turned upwards",
        label="Up Axis",
        younger=True,
    )
    front: Axis | None = setting(
        None,
        "axis of the asset, as it was imported, that is turned to the front, which ring and orbit "
        "see first",
        unset="where a turn of -Y goes with up",
        label="Front Axis",
        younger=True,
    )
    frame: int | None = setting(
        None,
        "the one animation frame that all views show",
        unset="as saved",
        low=-1_048_574,
        high=1_048_574,
    )
    missing_textures: MissingTexturePolicy = setting(
        "neutral", "what stands in for a texture that is not there"
    )
    missing_parts: MissingPartPolicy = setting(
        "doubt",
        "what becomes of an asset that needs files which are not its own, or not there: it is "
        "rendered without them and says so, or it fails",
        younger=True,
    )
    uncolored: UncoloredPolicy = setting(
        "neutral", "material of STL and PLY files without colours", label="Uncolored Files"
    )
    witness: WitnessMode = setting(
        "auto",
        "whether glTF, OBJ, PLY and STL files are read a second time, without Blender, and held "
        "against every view",
        younger=True,
    )

    def __post_init__(self) -> None:
        check_fields(self, "asset.")
        check(
            self.front is None or self.front[-1] != self.up[-1],
            f"asset.front {self.front} lies along asset.up {self.up}.",
            "Give two different axes.",
        )

    @property
    def axes(self) -> tuple[str, str]:
        """Up and front, where nothing is open: each axis with its sign."""
        return self.up, self.front or _FRONTS[self.up]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRules:
    """Which moments of an animation are rendered. Without ``frames`` the asset stands still, at
    ``asset.frame``.

    Frames are whole numbers as the user counts; :mod:`objaverse_render_addon.timeline` says which
    moment of the file each shows.
    """

    frames: str | None = setting(
        None,
        "animation frames that are rendered: all of the file's, one N, or A:B or A:B:STEP with "
        "both ends",
        unset="the asset stands still",
        form="frames",
        younger=True,
        label="Frames",
        name="frames",
    )
    action: str | None = setting(
        None,
        "name of the action that is played, or all: each of the file's, one after the other",
        unset="as saved",
        form="action",
        younger=True,
    )
    scale: float = setting(
        1.0,
        "how many times slower it plays: at 4 there are four frames for each of the file's",
        flag="--time-scale",
        low=1e-3,
        high=1e3,
        usual=10.0,
        younger=True,
        label="Slow Motion",
        name="time_scale",
    )
    views_per_frame: ViewsPerFrame = setting(
        "all",
        "whether every frame is seen from all views at the same time, or from one each in turn, so "
        "that the camera moves along",
        younger=True,
    )
    motion_blur: bool = setting(
        False, "blur what moves in RGB, never in other passes", younger=True
    )
    shutter: float = setting(
        0.5,
        "how long the shutter is open for motion blur, in frames, around the frame",
        low=0,
        open_low=True,
        high=100,
        usual=2.0,
        younger=True,
    )
    still: StillPolicy = setting(
        "doubt",
        "what becomes of an asset whose frames all show the same: it is rendered and says so, or "
        "it fails",
        flag="--still",
        younger=True,
        label="Nothing Moves",
    )
    leaving: LeavingPolicy = setting(
        "doubt",
        "what becomes of an asset that is out of every view at some frame: it is rendered and says "
        "so, or it fails",
        younger=True,
        label="Leaves the Picture",
    )

    def __post_init__(self) -> None:
        check_fields(self, "time.")
        if self.frames is not None:
            text = "".join(self.frames.split())
            try:
                frame_range(text)
            except ValueError as error:
                raise InvalidJob(
                    f"time.frames {self.frames!r} {error}.",
                    hint="--frames all, --frames 12, --frames 1:48 or --frames 1:48:4.",
                ) from error
            object.__setattr__(self, "frames", text)
            return
        check(self.action != "all", "time.action all plays actions, but no frames are asked for.",
              "Add --frames all.")  # fmt: skip
        for name, default in (("scale", 1.0), ("views_per_frame", "all"), ("motion_blur", False)):
            check(
                getattr(self, name) == default,
                f"time.{name} is given, but no frames are asked for.",
                "Add --frames all.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lighting:
    """Light and background.

    Of the modes, ``white`` is uniform white from everywhere, ``xl`` the four seeded suns of the
    Objaverse-XL scripts, ``hdri`` an equirectangular image, or a folder of them, ``keep`` the
    file's own, ``file`` the lights of a file, a picture for each.
    """

    mode: LightingMode = setting(
        "white",
        "what lights the asset: uniform white, the seeded suns of Objaverse-XL, an image, or the "
        "file's own lights",
        flag="--lighting",
        label="Lighting",
        name="lighting",
    )
    hdri: str | None = setting(
        None,
        "equirectangular .hdr or .exr image, or a folder of them, from which each view draws its "
        "own; implies the lighting hdri",
        unset="no image",
        form="path",
        label="HDRI",
    )
    strength: float = setting(
        1.0,
        "factor on the world's light (white and hdri)",
        flag="--light-strength",
        low=0,
        usual=5.0,
        name="light_strength",
    )
    per_view: int | None = setting(
        None,
        "images that each view draws from the folder, and turns, a picture for each",
        unset="one",
        flag="--hdri-per-view",
        low=1,
        high=1000,
        usual=8,
        label="HDRIs per View",
        name="hdri_per_view",
        younger=True,
    )
    lights: str | None = setting(
        None,
        "TOML or JSON file of lights, each of which gives every view a picture; implies the "
        "lighting file",
        unset="none",
        form="path",
        younger=True,
    )
    groups: bool = setting(
        False,
        "let all lights of the file shine at once, and write each one's part, as a light group of "
        "Cycles",
        flag="--light-groups",
        label="Light Groups",
        name="light_groups",
        younger=True,
    )
    background: tuple[float, float, float] | None = setting(
        None,
        "colour behind the asset (sRGB)",
        unset="transparent",
        form="color",
        low=0,
        high=1,
        label="Background Color",
    )

    def __post_init__(self) -> None:
        check_fields(self, "lighting.")
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
            (self.mode == "file") == (self.lights is not None),
            f"lighting.lights is {self.lights or 'not given'}, but the lighting is {self.mode}.",
            "Give --lights FILE.",
        )
        check(
            self.per_view is None or self.mode == "hdri",
            "lighting.per_view counts images of a folder, but the lighting is not hdri.",
            "Give --hdri FOLDER.",
        )
        check(
            not self.groups or self.mode == "file",
            "lighting.groups are of the lights of a file.",
            "Give --lights FILE.",
        )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How pictures are computed. Depth, normal, mask and the other geometry always come from
    Cycles at pixel centres; ``engine``, ``samples`` and ``denoise`` are about RGB.
    """

    engine: EngineName = setting("cycles", "engine for RGB; geometry always comes from Cycles")
    samples: int = setting(64, "samples per pixel of RGB", low=1, high=65536)
    denoise: bool = setting(True, "denoise RGB with OpenImageDenoise")
    device: DeviceName = setting(
        "auto", "what computes; what is asked for and missing is an error"
    )
    threads: int = setting(0, "CPU threads; 0 takes all", low=0, high=1024)
    alpha_threshold: float = setting(
        0.5,
        "opacity from which a surface is object in mask, depth and normal",
        low=0,
        open_low=True,
        high=1,
        unit="share",
    )

    def __post_init__(self) -> None:
        check_fields(self, "engine.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What is computed for each view."""

    resolution: tuple[int, int] = setting(
        (512, 512), "width and height", form="size", low=4, high=16384, unit="pixels"
    )
    passes: tuple[str, ...] = setting(
        DEFAULT_PASSES, "what is written for each view", form="names", among=PASS_NAMES
    )
    normal_space: NormalSpace = setting("camera", "axes of the normal pass")
    sensor: SensorName = setting(
        "stereo",
        "depth camera whose noise and holes sensor_depth has, beside the clean depth: active "
        "stereo, Kinect Azure (time of flight) or structured light; one scene unit counts as a "
        "metre; implies the passes depth and sensor_depth",
        flag="--sensor-depth",
        younger=True,
        label="Depth Camera",
    )
    tracks: int = setting(
        0,
        "points of the surface that are followed through all frames and views: where each is, in "
        "pixels and in space, and whether it is seen",
        low=0,
        high=100_000,
        usual=4096,
        younger=True,
        label="Tracked Points",
    )
    classes: ClassSource = setting(
        "name",
        "where the classes of semantic_index come from: objects' names without .001, their "
        "collections, a custom property, or a table of names",
        younger=True,
    )
    class_property: str = setting(
        "category_id", "custom property that says an object's class", younger=True
    )
    class_table: str | None = setting(
        None,
        "CSV or JSON of name patterns and their classes; implies the classes table",
        unset="none",
        form="path",
        younger=True,
    )

    def __post_init__(self) -> None:
        check_fields(self, "pixels.")
        if self.classes == "table":
            check(
                bool(self.class_table),
                "pixels.class_table has no table, but the classes are those of a table.",
                "Give --class-table PATH.",
            )
        else:
            check(
                self.class_table is None,
                f"pixels.class_table is given, but the classes come from {self.classes}.",
                "Use --classes table.",
            )
        check(
            bool(self.passes), "pixels.passes is empty.", f"Choose from {', '.join(PASS_NAMES)}."
        )
        check(
            "sensor_depth" not in self.passes or "depth" in self.passes,
            "pixels.passes has sensor_depth, but not the clean depth that it is made from.",
            "Add depth.",
        )
        object.__setattr__(self, "passes", _ordered("pixels.passes", self.passes, PASS_NAMES))


def _ordered(path: str, names: tuple[str, ...], among: tuple[str, ...]) -> tuple[str, ...]:
    """A set in all but its type: another order is no other job."""
    for name in names:
        if name not in among:
            raise InvalidJob(f"{path} cannot have {name!r}.", hint=suggest(name, among))
    check(len(set(names)) == len(names), f"{path} has one of them twice.")
    return tuple(name for name in among if name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """How a dataset keeps what is computed.

    ``npy`` is one array per pass and view, ``npz`` the same compressed (archives of the layout
    ``zip`` are compressed anyway), ``exr`` one multilayer file per view. ``zip`` and ``tar`` are
    one archive per asset, ``folder`` one folder, ``webdataset`` archives of many assets each.
    """

    geometry: GeometryFormat | None = setting(
        None,
        "files of depth, normal, mask and the other geometry: an array per pass, plain or "
        "compressed, or a multilayer EXR per view",
        unset="npz for tar and webdataset, otherwise npy",
        label="Pass Files",
    )
    layout: Layout = setting(
        "zip",
        "how an asset's files are kept together: zip, tar or folder per asset, or WebDataset "
        "shards",
    )
    rig: bool = setting(
        False,
        "skeletons at every frame and the meshes' weights, in rig.npz beside the pictures",
        younger=True,
    )
    geometry_files: tuple[str, ...] = setting(
        (),
        "files of the asset's surface beside its pictures, from what is rendered: its triangles "
        "as PLY and GLB, points on it, voxels, signed distances",
        form="names",
        among=GEOMETRY_FILES,
        younger=True,
    )
    geometry_points: int = setting(
        100_000,
        "points drawn on the surface by area, at most as many on its sharp edges, and samples of "
        "signed distance",
        low=100,
        high=10_000_000,
        usual=1_000_000,
        younger=True,
    )

    def __post_init__(self) -> None:
        check_fields(self, "files.")
        files = _ordered("files.geometry_files", self.geometry_files, GEOMETRY_FILES)
        object.__setattr__(self, "geometry_files", files)
