"""What computes the colours."""

from __future__ import annotations

from dataclasses import dataclass

from ..choices import DeviceName, EngineName
from ..convert import check_fields
from ..settings import setting

__all__ = ["EngineSettings"]


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
