"""What a setting can be where it is one of a few: each choice's type."""

from __future__ import annotations

from typing import Final, Literal

Normalization = Literal["cube", "unit-cube", "sphere", "none", "diagonal"]
Axis = Literal["X", "Y", "Z", "-X", "-Y", "-Z"]
MissingPartPolicy = Literal["doubt", "fail"]
MissingTexturePolicy = Literal["neutral", "random", "fail"]
UncoloredPolicy = Literal["neutral", "random"]
WitnessMode = Literal["auto", "off"]
ViewsPerFrame = Literal["all", "one"]
StillPolicy = Literal["doubt", "fail"]
LeavingPolicy = Literal["doubt", "fail"]
LightingMode = Literal["white", "xl", "hdri", "keep", "file"]
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
    "six-around",
    "file",
    "scene",
]
TestPattern = Literal["orbit", "ring", "fibonacci", "random"]
ProjectionName = Literal["perspective", "orthographic", "panorama", "fisheye"]
Framing = Literal["allow", "fit", "resample"]
ClassSource = Literal["name", "collection", "property", "table"]
NormalSpace = Literal["camera", "world"]
SensorName = Literal["stereo", "kinect-azure", "structured-light"]
GeometryFormat = Literal["npy", "npz", "exr"]
GEOMETRY_FILES: Final = ("mesh", "points", "voxels", "sdf")
"""What can be written of an asset's surface; several of them at once."""
Layout = Literal["zip", "tar", "folder", "webdataset"]
EngineName = Literal["cycles", "eevee", "workbench"]
DeviceName = Literal["auto", "cpu", "cuda", "optix", "hip", "oneapi", "metal"]
