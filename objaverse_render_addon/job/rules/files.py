"""How a dataset keeps what is computed."""

from __future__ import annotations

from dataclasses import dataclass

from ..choices import GEOMETRY_FILES, GeometryFormat, Layout
from ..convert import check_fields, ordered
from ..settings import setting

__all__ = ["Files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """How a dataset keeps what is computed.

    ``npy`` is one array per pass and view, ``npz`` the same compressed (archives of the layout
    ``zip`` are compressed anyway), ``exr`` one multilayer file per view. ``zip`` and ``tar`` are
    one archive per asset, ``folder`` one folder, ``webdataset`` archives of many assets each.
    """

    geometry: GeometryFormat | None = setting(
        None,
        "files of depth, normal, mask and the other geometry: an array per pass, plain or "
        "compressed, or a multilayer EXR per view",
        unset="npz for tar and webdataset, otherwise npy",
        label="Pass Files",
    )
    layout: Layout = setting(
        "zip",
        "how an asset's files are kept together: zip, tar or folder per asset, or WebDataset "
        "shards",
    )
    rig: bool = setting(
        False,
        "skeletons at every frame and the meshes' weights, in rig.npz beside the pictures",
        younger=True,
    )
    geometry_files: tuple[str, ...] = setting(
        (),
        "files of the asset's surface beside its pictures, from what is rendered: its triangles "
        "as PLY and GLB, points on it, voxels, signed distances",
        form="names",
        among=GEOMETRY_FILES,
        younger=True,
    )
    geometry_points: int = setting(
        100_000,
        "points drawn on the surface by area, at most as many on its sharp edges, and samples of "
        "signed distance",
        low=100,
        high=10_000_000,
        usual=1_000_000,
        younger=True,
    )

    def __post_init__(self) -> None:
        check_fields(self, "files.")
        files = ordered("files.geometry_files", self.geometry_files, GEOMETRY_FILES)
        object.__setattr__(self, "geometry_files", files)
