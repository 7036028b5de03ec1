"""USD with cameras: an asset's views as a stage, and its mesh where it is stored.

Format: https://openusd.org/release/api/class_usd_geom_camera.html
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from .base import Format
from .lens import pinhole
from .scene import Scene
from .target import SceneFiles

__all__ = ["UsdScene"]

_FOCAL: Final = 50.0
"""Of every camera, in tenths of a scene unit, as USD counts it; its aperture holds the lens."""


class UsdScene(Format):
    """``<key>/scene.usdc`` with ``/World/Cameras/View_NNN``, Z up, and the pictures beside it."""

    name: ClassVar[str] = "usd"
    about: ClassVar[str] = "USD with a camera per view, and the mesh where it is stored (usd-core)"
    modules: ClassVar[tuple[str, ...]] = ("pxr",)
    extra: ClassVar[str] = "usd"

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """See :class:`.Format`."""
        from pxr import Gf, Sdf, Usd, UsdGeom, Vt

        with tempfile.TemporaryDirectory(prefix="objaverse-usd-") as folder:
            path = Path(folder) / "scene.usdc"
            stage = Usd.Stage.CreateNew(str(path))
            UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
            UsdGeom.SetStageMetersPerUnit(stage, 1.0)
            stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/World").GetPrim())
            for view, number in enumerate(scene.numbers):
                camera = scene.camera(view)
                fx, fy, cx, cy = pinhole(camera)
                width, height = camera.width, camera.height
                prim = UsdGeom.Camera.Define(stage, f"/World/Cameras/View_{number:03d}")
                prim.CreateFocalLengthAttr(_FOCAL)
                prim.CreateHorizontalApertureAttr(_FOCAL * width / fx)
                prim.CreateVerticalApertureAttr(_FOCAL * height / fy)
                prim.CreateHorizontalApertureOffsetAttr(_FOCAL * (width / 2 - cx) / fx)
                prim.CreateVerticalApertureOffsetAttr(_FOCAL * (cy - height / 2) / fy)
                prim.CreateClippingRangeAttr(Gf.Vec2f(1e-3, 1e4))
                # USD multiplies rows from the left.
                prim.AddTransformOp().Set(Gf.Matrix4d(camera.camera_to_world.T.tolist()))
                file = prim.GetPrim().CreateAttribute("image", Sdf.ValueTypeNames.Asset)
                file.Set(Sdf.AssetPath(f"./{number:03d}.png"))
                size = prim.GetPrim().CreateAttribute("imageSize", Sdf.ValueTypeNames.Int2)
                size.Set(Gf.Vec2i(width, height))
                out.add(f"{scene.key}/{number:03d}.png", scene.png(view))
            shape = scene.reader.geometry
            if shape is not None and "mesh.ply" in shape.names:
                mesh = shape.mesh()
                prim = UsdGeom.Mesh.Define(stage, "/World/Mesh")
                prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(mesh.vertices)))
                corners = np.ascontiguousarray(mesh.faces.ravel())
                prim.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(corners))
                counts = np.full(len(mesh.faces), 3, np.int32)
                prim.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(counts))
                prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
                scene.note("dropped", "the mesh comes without materials")
            else:
                scene.note("dropped", "no mesh is stored (--geometry-files mesh), so the stage has "
                           "cameras alone")  # fmt: skip
            stage.GetRootLayer().Save()
            del stage
            out.add(f"{scene.key}/scene.usdc", path.read_bytes())
        return {}
