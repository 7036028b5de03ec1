"""Files of an asset's surface beside its pictures: written, read back, and held against the views.

``mesh.ply`` and ``mesh.glb`` are the triangles as rendered, ``points.ply`` points on them,
``voxels.ply`` the cells that they meet, ``watertight.ply`` and ``sdf.ply`` a closed surface around
them and signed distances to it. All but the GLB are in the world of the pictures, and each says so
in its header; ``geometry`` of the metadata has their checksums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import MissingPass, TruncatedFile
from ..frame import Bounds, Check, Frame
from ..job import HALF_EXTENT, RenderJob
from ..shape import Mesh, SurfacePoints, distance, ply, points, voxels
from ..witness.held import HeldSurface
from ..witness.surface import NotRead, Surface
from .guards import RENDER_AGAIN
from .images import encode_srgb8

if TYPE_CHECKING:
    from .reader import AssetReader

__all__ = ["ShapeFiles", "StoredShape", "held"]

Array = npt.NDArray[Any]

MESH, GLB, POINTS, VOXELS = "mesh.ply", "mesh.glb", "points.ply", "voxels.ply"
WATERTIGHT, DISTANCES = "watertight.ply", "sdf.ply"
_FRAME: Final = (
    "frame: right-handed, Z up, the normalised world of metadata.json (normalised = scale * "
    "rotation @ original + translation)"
)
_FLOATS: Final = "precision: 32-bit floats"
_LOOKED_AT: Final = 20_000
"""Points that a view is held against."""
_FEW: Final = 32


def held(mesh: Mesh, seed: int) -> HeldSurface | None:
    """What views are held against; ``None`` where the mesh has no area, or too many triangles."""
    try:
        surface = Surface(mesh.corners, mesh.may_vanish, mesh.one_sided, len(mesh.faces))
        return HeldSurface(surface, 1.0, np.zeros(3), seed)
    except NotRead:
        return None


def grid_of(job: RenderJob, bounds: Bounds) -> tuple[Array, float]:
    """Smallest corner (3,) and edge of the cube that voxels fill.

    The cube that ``cube`` and ``unit-cube`` fit an asset into, so that of ``unit-cube`` it is
    TRELLIS's; around the object's middle where the asset is normalised otherwise.
    """
    low, high = np.array(bounds.box_min), np.array(bounds.box_max)
    method = job.asset.normalize
    if method in ("cube", "unit-cube"):
        edge = 2 * HALF_EXTENT[method]
        return np.full(3, -edge / 2), edge
    edge = float((high - low).max())
    return (low + high) / 2 - edge / 2, edge


class ShapeFiles:
    """Collects what an asset's files of its surface are made of.

    Args:
        mesh: As rendered.
        glb: The GLB file; none where it is not wanted.
        job: Resolved.
        frame: Animation frame that it is of; at others a moving asset is another one.
        surfaces: Numbers of the objects that say that things stand on them.
    """

    def __init__(
        self, asset_id: str, mesh: Mesh, glb: bytes | None, job: RenderJob, bounds: Bounds,
        frame: int = 0, surfaces: Sequence[int] = (),
    ) -> None:
        self.frame, self._surfaces = frame, surfaces
        self._asset_id, self._mesh, self._glb = asset_id, mesh, glb
        self._job, self._bounds = job, bounds
        self._wanted = job.files.geometry_files
        self._points: SurfacePoints | None = None
        self._color_from = ""
        self._record: dict[str, Any] = {}
        if {"points", "sdf"} & set(self._wanted):
            self._points = points.sample(mesh, job.files.geometry_points, job.seed, asset_id)

    def look(self, frame: Frame) -> None:
        """Take up what a complete frame shows."""
        if self._points is None or "points" not in self._wanted:
            return
        if frame.timed and frame.time != self.frame:
            return
        if "albedo" in frame.passes:
            solid = np.pad(frame.passes["albedo"], ((0, 0), (0, 0), (0, 1)), constant_values=1)
            colors, self._color_from = encode_srgb8(solid.astype(np.float32)), "albedo"
        elif "rgb" in frame.passes:
            colors, self._color_from = frame.passes["rgb"], "rgb"
        else:
            colors = np.zeros((*frame.passes["depth"].shape, 3), np.uint8)
        self._points.look(frame.camera, frame.passes["depth"], colors)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents, once all frames are there; :meth:`record` is whole afterwards."""
        mesh, bounds = self._mesh, self._bounds
        self._record = {
            "triangles": len(mesh.faces),
            "parts": {str(number): name for number, name in sorted(mesh.parts.items())},
            "materials": list(mesh.materials),
            "surfaces": list(self._surfaces),
            "unmeshed": list(mesh.unmeshed),
            "unsure_share": _unsure(mesh),
            "frame": self.frame,
            "files": {},
        }
        for name, data in self._contents(mesh, bounds):
            self._record["files"][name] = {
                "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data),
            }  # fmt: skip
            yield name, data

    def record(self) -> dict[str, Any]:
        """``geometry`` of the metadata."""
        return self._record

    def _contents(self, mesh: Mesh, bounds: Bounds) -> Iterator[tuple[str, bytes]]:
        if "mesh" in self._wanted:
            yield MESH, mesh.to_ply([
                "the triangles that were rendered, modifiers, poses and instances applied",
                _FRAME, _FLOATS,
                "part: number of the object; flags: 1 may be transparent somewhere, 2 has no back",
            ])  # fmt: skip
            if self._glb is not None:
                yield GLB, self._glb
        found = self._points
        if found is not None and "points" in self._wanted:
            self._record["points"] = {
                "by_area": int((~found.edge).sum()),
                "on_edges": int(found.edge.sum()),
                "sharp_degrees": points.SHARP_DEGREES,
                "seen": int((found.seen > 0).sum()),
                "color_from": self._color_from or None,
            }
            yield POINTS, found.to_ply([
                "points on the surface, by area (edge 0) and along sharp edges (edge 1)",
                _FRAME, _FLOATS, "normals: unit, of the faces",
                f"colors: sRGB, {self._color_from or 'none'} of the view that shows the point "
                "largest; black where no view does (seen 0)",
                "seen: how many views show it; part: number of the object",
            ])  # fmt: skip
        if "voxels" in self._wanted:
            low, edge = grid_of(self._job, bounds)
            cells = voxels.occupied(mesh.corners, low, edge)
            centers = (cells + 0.5) * (edge / voxels.RESOLUTION) + low
            self._record["voxels"] = {
                "resolution": voxels.RESOLUTION, "low": low.tolist(), "edge": edge,
                "occupied": len(cells),
            }  # fmt: skip
            columns = dict(zip("xyz", centers.astype(np.float32).T, strict=True))
            yield VOXELS, ply.write(columns, [
                f"centres of the cells of a {voxels.RESOLUTION}^3 grid that triangles meet, in the "
                "order of their indices along x, y, z",
                _FRAME, f"grid: from {low.tolist()}, edge {edge!r}",
            ])  # fmt: skip
        if found is not None and "sdf" in self._wanted:
            yield from self._distances(found)

    def _distances(self, found: SurfacePoints) -> Iterator[tuple[str, bytes]]:
        bounds, job = self._bounds, self._job
        longest = float(np.subtract(bounds.box_max, bounds.box_min).max())
        field = distance.measure(
            self._mesh, found, longest, job.files.geometry_points, job.seed, self._asset_id
        )
        self._record["sdf"] = {
            "samples": len(field.points),
            "negative": "inside",
            "skin": distance.SKIN * longest,
            "mean_error": field.mean_error,
            "largest_error": field.largest_error,
        }
        said = [
            _FRAME, _FLOATS,
            f"the rendered surface is {field.mean_error:.3g} from it on average, "
            f"{field.largest_error:.3g} at most, in the same units",
        ]  # fmt: skip
        yield WATERTIGHT, field.mesh_ply(["a watertight mesh around what was rendered", *said])
        yield DISTANCES, field.samples_ply(
            [
                "signed distances to watertight.ply; negative inside; near 1: around the surface, "
                "near 0: evenly in its box",
                *said,
            ]
        )


def _unsure(mesh: Mesh) -> float:
    """Share of the area that views need not show: it may be transparent, or has no back."""
    unsure = mesh.may_vanish | mesh.one_sided
    total = float(mesh.areas.sum())
    return float(mesh.areas[unsure].sum()) / total if total > 0 else 1.0


class StoredShape:
    """The files of a finished asset's surface.

    Attributes:
        record: ``geometry`` of the metadata.
    """

    def __init__(self, reader: AssetReader) -> None:
        self._reader = reader
        self.record: dict[str, Any] = reader.metadata["geometry"]
        self.names: list[str] = list(self.record["files"])

    def bytes_of(self, name: str) -> bytes:
        """Content of a file, proven by its checksum.

        Raises:
            MissingPass: The asset has no such file.
            TruncatedFile: It is damaged.
        """
        if name not in self.names:
            raise MissingPass(
                f"{self._reader.ref} has no {name}.",
                hint="Render with --geometry-files mesh,points,voxels,sdf.",
            )
        data = self._reader.bytes_of(name)
        if hashlib.sha256(data).hexdigest() != self.record["files"][name]["sha256"]:
            raise TruncatedFile(
                f"{self._reader.ref}: {name} is not what was written.", hint=RENDER_AGAIN
            )
        return data

    def _parsed(self, name: str, read: Any) -> Any:
        data = self.bytes_of(name)
        try:
            return read(data)
        except (ValueError, KeyError, TypeError, MemoryError) as error:
            raise TruncatedFile(
                f"{self._reader.ref}: {name} is damaged: {error}.", hint=RENDER_AGAIN
            ) from error

    def mesh(self) -> Mesh:
        """The triangles that were rendered."""
        said = self.record
        parts = {int(number): name for number, name in said["parts"].items()}
        names = tuple(said["materials"])
        mesh: Mesh = self._parsed(MESH, lambda data: Mesh.from_ply(data, parts, names))
        return mesh

    def glb(self) -> bytes:
        """The same with materials and textures: a glTF file, Y up."""
        return self.bytes_of(GLB)

    def points(self) -> SurfacePoints:
        """Points on the surface."""
        found: SurfacePoints = self._parsed(POINTS, SurfacePoints.from_ply)
        return found

    def voxels(self) -> Array:
        """(N, 3) float32, centres of the cells; ``record["voxels"]`` has the grid."""
        found: Array = self._parsed(VOXELS, _places)
        return found

    def watertight(self) -> tuple[Array, Array]:
        """Vertices (N, 3) float32 and triangles (M, 3) int32."""
        found: tuple[Array, Array] = self._parsed(
            WATERTIGHT, lambda data: (_places(data), ply.read(data)[1])
        )
        return found

    def distances(self) -> tuple[Array, Array, Array]:
        """Points (K, 3) float32, distances (K,) float32 negative inside, and whether near (K,)."""
        def read(data: bytes) -> tuple[Array, Array, Array]:
            table = ply.read(data)[0]
            if not np.isfinite(table["sdf"]).all():
                raise ValueError("it has distances that are not finite")
            return _places(data), table["sdf"], table["near"] > 0

        found: tuple[Array, Array, Array] = self._parsed(DISTANCES, read)
        return found

    # --- Checks -------------------------------------------------------------------------------

    def problems(self) -> Iterator[str]:
        """What is wrong with the files themselves and with each other, as sentences."""
        for name in self.names:
            try:
                data = self.bytes_of(name)
                if len(data) != self.record["files"][name]["bytes"]:
                    yield f"{name} has another size than the metadata say"
                if name == GLB and not data.startswith(b"glTF\x02\0\0\0"):
                    yield f"{name} is no GLB file"
            except TruncatedFile as error:
                yield error.message
        if MESH in self.names and len(self.mesh().faces) != self.record["triangles"]:
            yield f"{MESH} has another number of triangles than the metadata say"

    @cached_property
    def _held(self) -> HeldSurface | None:
        return held(self.mesh(), 0) if MESH in self.names else None

    @cached_property
    def _points(self) -> SurfacePoints | None:
        return self.points() if POINTS in self.names else None

    @cached_property
    def _cells(self) -> Array | None:
        if VOXELS not in self.names:
            return None
        grid = self.record["voxels"]
        count = int(grid["resolution"])
        filled: Array = np.zeros((count + 2,) * 3, bool)
        cells = (self.voxels() - np.array(grid["low"])) / (grid["edge"] / count)
        filled[tuple(np.clip(np.floor(cells).astype(np.int64) + 1, 0, count + 1).T)] = True
        # A pixel's depth is in the cell, or rounding has it next door.
        for axis in range(3):
            filled = filled | np.roll(filled, 1, axis) | np.roll(filled, -1, axis)
        return filled

    def checks(self, frame: Frame, bounds: Bounds) -> Iterator[Check]:
        """Hold a view against the files.

        - ``mesh_box``, ``mesh_missing``, ``mesh_extra``: see :meth:`.HeldSurface.checks`.
        - ``points_on_object``: share of the points that lie beside the object, or before it.
        - ``voxels_on_object``: share of the seen surface that is in no occupied cell.
        - ``sdf_on_surface``: share of the samples that are farther from the surface than some of
          the seen surface is.
        - ``sdf_sign``: share of the samples in plain sight, before the surface, that count as
          inside.
        """
        if frame.timed and frame.time != self.record["frame"]:
            return
        depth = frame.passes.get("depth")
        if self._held is not None:
            yield from self._held.checks(frame, bounds, "mesh")
        if depth is None or not (depth > 0).any():
            return
        unsure = float(self.record["unsure_share"])
        whole = bounds.exact and not self.record["unmeshed"] and not frame.view_dependent
        if self._points is not None:
            share = _astray(self._points, frame, depth, bounds)
            if share is not None:
                yield _graded("points_on_object", share, 0.01 + unsure, whole)
        seen = _surface(frame, depth)
        if self._cells is not None:
            grid = self.record["voxels"]
            count = int(grid["resolution"])
            place = (seen - np.array(grid["low"])) / (grid["edge"] / count)
            cells = np.clip(np.floor(place).astype(np.int64) + 1, 0, count + 1)
            share = float(np.mean(~self._cells[tuple(cells.T)]))
            yield _graded("voxels_on_object", share, 0.01, whole)
        if DISTANCES in self.names:
            yield from self._distance_checks(frame, depth, seen, whole, unsure)

    def _distance_checks(
        self, frame: Frame, depth: Array, seen: Array, whole: bool, unsure: float
    ) -> Iterator[Check]:
        samples, distances, _ = self._samples
        few = seen[:: max(1, len(seen) // 500)]
        nearest = np.full(len(samples), np.inf)
        for point in few:
            np.minimum(nearest, np.linalg.norm(samples - point, axis=1), out=nearest)
        # What is seen is outside, and so as near to the watertight mesh as its skin is thick.
        slack = 4 * float(self.record["sdf"]["skin"])
        beyond = float(np.mean(np.abs(distances) > nearest + slack))
        yield _graded("sdf_on_surface", beyond, 0.001, whole)
        uv, z = frame.camera.project(samples)
        with np.errstate(invalid="ignore"):
            inside = (z > 1e-9) & (uv >= 0).all(axis=1)
            inside &= (uv < [frame.camera.width, frame.camera.height]).all(axis=1)
        columns, rows = uv[inside].astype(np.int64).T
        around = _around(np.where(depth > 0, depth, np.inf).astype(np.float64))
        front = np.min([plane[rows, columns] for plane in around], axis=0)
        pixel = frame.camera.pixel_width(z[inside])
        free = z[inside] < front - 2 * slack - 3 * pixel
        if free.sum() >= _FEW:
            wrong = float(np.mean(distances[inside][free] < -slack))
            yield _graded("sdf_sign", wrong, 0.01 + unsure, whole)

    @cached_property
    def _samples(self) -> tuple[Array, Array, Array]:
        samples, distances, near = self.distances()
        step = max(1, len(samples) // _LOOKED_AT)
        return samples[::step].astype(np.float64), distances[::step], near[::step]


def _astray(
    found: SurfacePoints, frame: Frame, depth: Array, bounds: Bounds
) -> float | None:
    """Share of the points in frame beside the object, or before what is seen of it."""
    step = max(1, len(found) // _LOOKED_AT)
    uv, z = frame.camera.project(found.points[::step].astype(np.float64))
    with np.errstate(invalid="ignore"):
        inside = (z > 1e-9) & (uv >= 0).all(axis=1)
        inside &= (uv < [frame.camera.width, frame.camera.height]).all(axis=1)
    if inside.sum() < _FEW:
        return None
    columns, rows = uv[inside].astype(np.int64).T
    around = _around(np.where(depth > 0, depth, np.nan).astype(np.float64))
    planes = np.stack([plane[rows, columns] for plane in around])
    beside = np.isnan(planes).all(axis=0)
    nearest = np.min(np.where(np.isnan(planes), np.inf, planes), axis=0)
    # Within a pixel the surface may come as much nearer as that is wide, and at an edge some more.
    pixel = frame.camera.pixel_width(z[inside])
    before = z[inside] < nearest - 0.01 * bounds.radius - 3 * pixel
    return float(np.mean(beside | before))


def _around(plane: Array) -> list[Array]:
    """A plane and its eight neighbours, each in its place; the border repeats itself."""
    padded = np.pad(plane, 1, mode="edge")
    height, width = plane.shape
    return [
        padded[down : height + down, along : width + along]
        for down in range(3) for along in range(3)
    ]  # fmt: skip


def _surface(frame: Frame, depth: Array) -> Array:
    """(N, 3) points of the surface that a view sees, a few thousand."""
    at = np.nonzero(depth > 0)
    step = max(1, len(at[0]) // 4_000) | 1
    return np.asarray(frame.camera.unproject(depth, (at[0][::step], at[1][::step])))


def _places(data: bytes) -> Array:
    table = ply.read(data)[0]
    places = np.stack([table[axis] for axis in "xyz"], axis=1)
    if not np.isfinite(places).all():
        raise ValueError("it has places that are not finite")
    return places


def _graded(name: str, value: float, doubt: float, whole: bool) -> Check:
    failed = whole and value > max(0.2, 2 * doubt)
    status: Any = "failed" if failed else "doubt" if value > doubt else "ok"
    return Check(name, status, round(value, 6))
