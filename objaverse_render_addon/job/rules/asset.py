"""How an asset is brought into the scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..choices import (
    Axis,
    MissingPartPolicy,
    MissingTexturePolicy,
    Normalization,
    UncoloredPolicy,
    WitnessMode,
)
from ..convert import check, check_fields
from ..settings import setting

__all__ = ["AssetRules"]

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
