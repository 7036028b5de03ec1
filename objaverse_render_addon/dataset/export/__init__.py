"""Finished assets in the formats that trainers read: pure functions of the stored data.

One module per format or family. To add one:

1. Write a module beside this one with a :class:`Format`: declare ``name``, ``about``, the passes
   it ``needs`` and ``holds``, the box that trainers expect (``half_edge``), what has to be
   installed (``modules``, ``extra``; import it inside the functions).
2. ``write(scene, out)`` writes one asset. :class:`~.scene.Scene` gives cameras, pictures and
   arrays, checked and rescaled; ``out.add(path, data)`` takes bytes under a path in the target,
   which has to lie in one of ``places(key, split)`` (by default the folder ``<key>``). A scene
   appears whole, or not at all. What ``write`` returns (JSON) is kept for ``finish``.
3. ``finish(target, records, options)`` writes lists over all scenes with ``target.write``, from
   the records alone: they are those of earlier runs too, so a list is never lost and needs no
   merging. Where a format packs scenes into larger files, ``write`` leaves each scene in a
   private place and ``finish`` packs; ``is_whole`` then says where a packed scene is
   (:mod:`.depthsplat` does so).
4. Whatever is not exactly as it is stored is told with ``scene.note``: clipped, quantised,
   rescaled, composited, dropped. What the format cannot hold at all is a ``FormatCannotHold``;
   :mod:`.lens` has the usual demands.
5. Add it to ``FORMATS`` below, write its page in ``docs/export/`` and its row in
   ``docs/export/index.md``, and read it back in a ``tests/test_export_*.py`` by code that
   follows the format's description and shares nothing with the exporter.
"""

from __future__ import annotations

from typing import Final

from .base import SPLITS, Format, Note, Options, Record
from .bop import Bop
from .bop_scenes import BopScenes
from .bop_webdataset import BopWebDataset
from .co3d import Dust3r, Vggt
from .coco import Coco
from .coco_panoptic import CocoPanoptic
from .colmap import Colmap
from .depthsplat import DepthSplat
from .flow import KittiFlow, Sintel, Spring
from .g_objaverse import GObjaverse
from .gltf import Gltf
from .grefcoco import GRefCoco
from .gs_lrm import GsLrm, LongLrm, Lvsm
from .hdf5 import Hdf5
from .huggingface import HuggingFace
from .instantmesh import InstantMesh
from .kubric import Kubric
from .lgm import Lgm
from .mdetr import Mdetr
from .mds import Mds
from .ms_swift import MsSwift
from .nerf_synthetic import NerfSynthetic
from .nerfstudio import Nerfstudio
from .openlrm import OpenLrm
from .refcoco import RefCoco
from .refgrasp import PolygonTransformer, RefGrasp
from .refspatial import RefSpatial
from .rerun import Rerun
from .run import ExportOutcome, Report, export, export_asset, finish_export
from .scene import Scene
from .syncdreamer import SyncDreamer
from .target import SceneFiles, Target
from .tracks import PointOdyssey, TapVid
from .trellis import Trellis, TrellisCond
from .tum import Tum
from .usd import UsdScene
from .visionsim import Visionsim
from .webdataset import WebDataset
from .wonder3d import Wonder3D
from .yolo import Yolo
from .zero123 import ObjaverseXl, Zero123
from .zero123plus import Zero123Plus

__all__ = [
    "FORMATS",
    "SPLITS",
    "ExportOutcome",
    "Format",
    "Note",
    "Options",
    "Record",
    "Report",
    "Scene",
    "SceneFiles",
    "Target",
    "export",
    "export_asset",
    "finish_export",
]

# In the order of --to help.
FORMATS: Final[dict[str, Format]] = {
    form.name: form
    for form in (
        Nerfstudio(),
        NerfSynthetic(),
        Colmap(),
        GsLrm(),
        LongLrm(),
        Lvsm(),
        DepthSplat(),
        OpenLrm(),
        InstantMesh(),
        Zero123Plus(),
        Wonder3D(),
        Lgm(),
        Trellis(),
        TrellisCond(),
        SyncDreamer(),
        Zero123(),
        ObjaverseXl(),
        GObjaverse(),
        Dust3r(),
        Vggt(),
        Bop(),
        BopWebDataset(),
        BopScenes(),
        Coco(),
        Yolo(),
        TapVid(),
        PointOdyssey(),
        Sintel(),
        KittiFlow(),
        Spring(),
        Hdf5(),
        WebDataset(),
        HuggingFace(),
        Mds(),
        Gltf(),
        UsdScene(),
        Rerun(),
        Visionsim(),
        Kubric(),
        Tum(),
        RefGrasp(),
        RefCoco(),
        GRefCoco(),
        Mdetr(),
        PolygonTransformer(),
        MsSwift(),
        RefSpatial(),
        CocoPanoptic(),
    )
}  # fmt: skip
"""Name to format, as ``--to`` calls it."""
