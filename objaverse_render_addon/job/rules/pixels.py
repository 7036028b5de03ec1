"""What is computed for each view."""

from __future__ import annotations

from dataclasses import dataclass

from ...passspec import DEFAULT_PASSES, PASS_NAMES
from ..choices import ClassSource, NormalSpace, SensorName
from ..convert import check, check_fields, ordered
from ..settings import setting

__all__ = ["Pixels"]


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
        object.__setattr__(self, "passes", ordered("pixels.passes", self.passes, PASS_NAMES))
