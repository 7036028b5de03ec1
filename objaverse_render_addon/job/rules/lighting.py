"""What lights the asset, and what is behind it."""

from __future__ import annotations

from dataclasses import dataclass

from ..choices import LightingMode
from ..convert import check, check_fields
from ..settings import setting

__all__ = ["Lighting"]


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
