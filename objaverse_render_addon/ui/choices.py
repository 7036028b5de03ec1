"""How the window names what a job lets one choose from.

What there is to choose from is the job's, and a choice without a name here, or a name without a
choice, is an error. The order is this table's, for a .blend file keeps a choice's place in it:
new ones go to the end.
"""

from __future__ import annotations

from typing import Final, get_args

from ..batch.queue.intake import IdSource
from ..job import PATTERNS, job_fields
from ..passspec import PASSES

__all__ = ["flags", "has", "items"]

Item = tuple[str, str, str]

_PATTERN_NAMES: Final = {
    "gs-lrm": "GS-LRM",
    "objaverse-xl": "Objaverse-XL",
    "zero123": "Zero123",
    "ring": "Ring",
    "fibonacci": "Fibonacci Sphere",
    "hammersley": "Hammersley (TRELLIS)",
    "cube-faces": "Cube Faces",
    "orbit": "Orbit",
    "syncdreamer-input": "SyncDreamer Input",
    "zero123plus": "Zero123++",
    "g-objaverse": "G-Objaverse",
    "file": "From File",
    "six-around": "Six Around (Wonder3D)",
    "scene": "Scene Cameras",
}

# Field of the job, to each value's name and description.
_TEXTS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "asset.normalize": {
        "cube": ("Cube", "The longest edge fills [-1, 1]³, centred on the origin"),
        "unit-cube": ("Unit Cube", "The longest edge fills [-0.5, 0.5]³, centred on the origin"),
        "sphere": ("Sphere", "The bounding sphere has radius 1 and its centre in the origin"),
        "none": ("None", "The asset stays as it is; the cameras move around it instead"),
        "diagonal": ("Diagonal", "The box's diagonal is 1 long, as Wonder3D has it"),
    },
    "asset.up": {
        "Z": ("Z", "As it was imported"),
        **{name: (name, f"{name} is turned upwards") for name in ("Y", "X", "-Z", "-Y", "-X")},
    },
    "asset.front": {
        "-Y": ("-Y", "As it was imported"),
        **{name: (name, f"{name} is turned to the front") for name in ("Z", "X", "-X", "Y", "-Z")},
    },
    "asset.missing_textures": {
        "neutral": ("Neutral Grey", "A neutral grey, with a warning in the record"),
        "random": ("Random Colors", "A seeded random colour for each, as Objaverse-XL does"),
        "fail": ("Refuse", "An asset with missing textures fails"),
    },
    "asset.missing_parts": {
        "doubt": ("Go Without", "Rendered without them, with a warning in the record"),
        "fail": ("Refuse", "An asset with missing parts fails"),
    },
    "asset.uncolored": {
        "neutral": ("Neutral Grey", "A neutral grey material"),
        "random": ("Random Color", "A seeded random colour, as Objaverse-XL does"),
    },
    "asset.witness": {
        "auto": ("Second Reading", "Hold every view against the file, read without Blender"),
        "off": ("Off", "Trust the importer"),
    },
    "time.views_per_frame": {
        "all": ("All Views", "Every frame is seen from all views at the same time"),
        "one": ("One in Turn", "The camera moves along: each frame is seen from the next view"),
    },
    "time.still": {
        "doubt": ("Say So", "Rendered, with a warning in the record"),
        "fail": ("Refuse", "An asset whose frames all show the same fails"),
    },
    "time.leaving": {
        "doubt": ("Say So", "Rendered, with a warning in the record"),
        "fail": ("Refuse", "An asset that is out of every view at some frame fails"),
    },
    "cameras.pattern": {
        name: (title, f"{PATTERNS[name].about[0].upper()}{PATTERNS[name].about[1:]}")
        for name, title in _PATTERN_NAMES.items()
    },
    "cameras.framing": {
        "fit": ("Fit", "Move a camera back until the whole object is in frame"),
        "allow": ("Allow Cropping", "Keep the camera, even where it crops the object"),
        "resample": ("Draw Again", "Draw a view again until the whole object is in frame"),
    },
    "cameras.projection": {
        "perspective": ("Perspective", "A pinhole"),
        "orthographic": ("Orthographic", "Parallel rays"),
        "panorama": ("Panorama", "Equirectangular, all around the camera; Cycles only"),
        "fisheye": ("Fisheye", "Equidistant: angles from the axis as distances; Cycles only"),
    },
    "cameras.test_cameras": {
        "orbit": ("Orbit", "A spiral that climbs while it turns"),
        "ring": ("Ring", "One circle, at the middle of the elevations"),
        "fibonacci": ("Fibonacci Sphere", "Evenly spread"),
        "random": ("Random", "Random directions"),
    },
    "lighting.mode": {
        "white": ("Uniform White", "White light from everywhere, the same for every asset"),
        "xl": ("Objaverse-XL Suns", "The four seeded suns of the Objaverse-XL scripts"),
        "hdri": ("HDRI", "Light from an equirectangular image"),
        "keep": ("Keep", "The asset's own lights and world"),
        "file": ("From File", "Lights of a file, a picture for each"),
    },
    "engine.engine": {
        "cycles": ("Cycles", "Path tracing; also computes all geometry passes"),
        "eevee": ("EEVEE", "Fast, needs a GPU; geometry still comes from Cycles"),
        "workbench": ("Workbench", "Flat and instant, needs a GPU"),
    },
    "engine.device": {
        "auto": ("Automatic", "The best GPU, else the CPU"),
        "cpu": ("CPU", "The processor"),
        "optix": ("OptiX", "An NVIDIA GPU through OptiX"),
        "cuda": ("CUDA", "An NVIDIA GPU through CUDA"),
        "hip": ("HIP", "An AMD GPU"),
        "oneapi": ("oneAPI", "An Intel GPU"),
        "metal": ("Metal", "An Apple GPU"),
    },
    "pixels.passes": {spec.name: (spec.label, spec.tip) for spec in PASSES.values()},
    "pixels.classes": {
        "name": ("Object Names", "An object's name without .001"),
        "collection": ("Collections", "The collection that an object is in"),
        "property": ("Property", "A custom property of the object or its data"),
        "table": ("Table", "A file that says which names are of which class"),
    },
    "pixels.normal_space": {
        "camera": ("Camera", "+X right, +Y up, +Z towards the camera"),
        "world": ("World", "The world's axes"),
    },
    "pixels.sensor": {
        "stereo": ("Active Stereo", "Two eyes and a projector: noise grows with the square of "
                   "distance, holes where the second eye does not see"),
        "kinect-azure": ("Kinect Azure", "Time of flight: little noise, edges mixed, no echo from "
                         "what is far or steep"),
        "structured-light": ("Structured Light", "A projected pattern, as of the first Kinect: "
                             "steps, noise at grazing angles, shadows of the projector"),
    },
    "files.geometry": {
        "npy": ("NumPy Arrays", "One .npy file per pass and view"),
        "npz": ("Compressed Arrays", "One .npz file per pass and view, for Tar and Folder"),
        "exr": ("Multilayer EXR", "One lossless 32-bit EXR per view with all passes"),
    },
    "files.geometry_files": {
        "mesh": ("Mesh", "The triangles that are rendered, as mesh.ply, and as mesh.glb with "
                 "materials and textures"),
        "points": ("Points", "Points on the surface and on its sharp edges, with normal, colour "
                   "and part, as points.ply"),
        "voxels": ("Voxels", "The cells of a 64³ grid that the surface meets, as voxels.ply"),
        "sdf": ("Signed Distances", "A watertight mesh, and signed distances around it, as "
                "watertight.ply and sdf.ply; needs point-cloud-utils in the Python that renders"),
    },
    "files.layout": {
        "zip": ("Archive", "One .zip per asset"),
        "tar": ("Tar", "One .tar per asset, without compression"),
        "folder": ("Folder", "One folder per asset"),
        "webdataset": ("WebDataset", "Archives of many assets each, for streaming"),
    },
    # Of a run, not of the job.
    "ids": {
        "name": ("File Name", "By their files' names, which have to differ"),
        "sha256": ("Content Hash", "By the SHA-256 of their files' content"),
    },
}


def _allowed(path: str) -> tuple[str, ...]:
    """The values that the job's field takes."""
    if path == "ids":
        return get_args(IdSource)
    field = job_fields()[path]
    return field.setting.among or field.choices


def has(path: str) -> bool:
    """Whether a field has choices."""
    return path in _TEXTS


def items(path: str) -> list[Item]:
    """Items of an EnumProperty for a field of the job, by its dotted path."""
    texts = _TEXTS[path]
    odd = set(texts).symmetric_difference(_allowed(path))
    if odd:
        raise TypeError(f"{path}: {sorted(odd)} is not both in the job and in ui/choices.py.")
    return [(name, *words) for name, words in texts.items()]


def flags(path: str) -> list[tuple[str, str, str, int]]:
    """As :func:`items`, for a property of which several may be chosen."""
    return [(*item, 1 << index) for index, item in enumerate(items(path))]
