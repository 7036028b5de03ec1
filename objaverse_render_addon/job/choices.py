"""What a setting can be where it is one of a few: each choice's type."""

from __future__ import annotations

from typing import Literal

Normalization = Literal["cube", "unit-cube", "sphere", "none"]
MissingPartPolicy = Literal["doubt", "fail"]
MissingTexturePolicy = Literal["neutral", "random", "fail"]
UncoloredPolicy = Literal["neutral", "random"]
WitnessMode = Literal["auto", "off"]
ViewsPerFrame = Literal["all", "one"]
StillPolicy = Literal["doubt", "fail"]
LeavingPolicy = Literal["doubt", "fail"]
LightingMode = Literal["white", "xl", "hdri", "keep"]
Pattern = Literal[
    "gs-lrm",
    "objaverse-xl",
    "zero123",
    "ring",
    "fibonacci",
    "hammersley",
    "cube-faces",
    "orbit",
    "syncdreamer-input",
    "zero123plus",
    "g-objaverse",
    "file",
    "scene",
]
Framing = Literal["allow", "fit", "resample"]
ClassSource = Literal["name", "collection", "property", "table"]
NormalSpace = Literal["camera", "world"]
GeometryFormat = Literal["npy", "npz", "exr"]
Layout = Literal["zip", "tar", "folder", "webdataset"]
EngineName = Literal["cycles", "eevee", "workbench"]
DeviceName = Literal["auto", "cpu", "cuda", "optix", "hip", "oneapi", "metal"]
