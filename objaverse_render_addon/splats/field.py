"""A field of 3D Gaussians and its file: PLY in the layout of the authors' own program.

Properties: ``x y z``; ``f_dc_0..2`` and ``f_rest_0..`` spherical harmonics, the rest channel by
channel; ``opacity`` before the sigmoid; ``scale_0..2`` as logarithms; ``rot_0..3`` a quaternion,
w first, of any length. Format: https://github.com/graphdeco-inria/gaussian-splatting
(``scene/gaussian_model.py``, ``save_ply``); nerfstudio, gsplat and others write the same.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras.rotations import quaternion_matrix
from ..errors import SourceNotFound, TruncatedFile, UnsafeData, UnsupportedFormat
from ..files import write_whole

__all__ = ["Field", "is_field", "read_field", "write_field"]

Floats32 = npt.NDArray[np.float32]

_TYPES: Final = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_LARGEST_HEADER: Final = 1 << 16
_MOST: Final = 1 << 26
_NEEDED: Final = (
    "x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2",
    "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Gaussians in a world.

    Attributes:
        means: (N, 3) float32, scene units.
        scales: (N, 3) float32, standard deviations along the axes, scene units.
        rotations: (N, 4) float32, unit quaternions, w first.
        opacities: (N,) float32 in [0, 1].
        harmonics: (N, K, 3) float32, K 1, 4, 9 or 16: spherical harmonics of degree 0 to 3; colour
            is sRGB as a screen has it, their sum plus a half.
    """

    means: Floats32
    scales: Floats32
    rotations: Floats32
    opacities: Floats32
    harmonics: Floats32

    def __len__(self) -> int:
        return len(self.means)

    @property
    def degree(self) -> int:
        """Of the spherical harmonics."""
        return math.isqrt(self.harmonics.shape[1]) - 1

    @property
    def covariances(self) -> Floats32:
        """(N, 6) float32: xx, xy, xz, yy, yz, zz."""
        w, x, y, z = self.rotations.astype(np.float64).T
        turned = quaternion_matrix(x, y, z, w)
        axes = turned * self.scales[:, None, :]
        full = axes @ axes.transpose(0, 2, 1)
        return full.reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]].astype(np.float32)

    def extent(self) -> tuple[tuple[float, float, float], float]:
        """Centre and radius of where most of it is: the middle 90 % of what is opaque."""
        those = self.means[self.opacities > 0.1]
        if not len(those):
            those = self.means
        if not len(those):
            return (0.0, 0.0, 0.0), 1.0
        low, high = np.quantile(those, [0.05, 0.95], axis=0)
        center = (low + high) / 2
        radius = float(np.linalg.norm(high - low)) / 2
        return (float(center[0]), float(center[1]), float(center[2])), radius or 1.0


def is_field(path: Path) -> bool:
    """Whether a file begins as one does; only its header is read."""
    try:
        with path.open("rb") as file:
            head = file.read(_LARGEST_HEADER)
    except OSError:
        return False
    found = head.partition(b"end_header")[0].split()
    return head.startswith(b"ply") and {b"f_dc_0", b"scale_0", b"rot_0"} <= set(found)


def read_field(path: str | os.PathLike[str]) -> Field:
    """A field from its file.

    Raises:
        SourceNotFound: There is none.
        TruncatedFile: It ends before its last Gaussian.
        UnsupportedFormat: It is no PLY, or no field.
        UnsafeData: It claims more Gaussians than any field has, or has numbers that are none.
    """
    where = Path(path)
    try:
        data = where.read_bytes()
    except OSError as error:
        raise SourceNotFound(f"{where}: {error.strerror or error}.") from error
    kind, count, layout, start = _header(where, data)
    if kind == "ascii":
        rows = _from_text(where, data[start:], count, layout)
    else:
        order = "<" if kind == "binary_little_endian" else ">"
        dtype = np.dtype([(name, order + code) for name, code in layout])
        if len(data) - start < count * dtype.itemsize:
            raise TruncatedFile(
                f"{where} ends before the last of its {count} Gaussians.", hint="Get it again."
            )
        rows = np.frombuffer(data, dtype, count, start)
    return _field(where, rows, [name for name, _ in layout])


def _header(path: Path, data: bytes) -> tuple[str, int, list[tuple[str, str]], int]:
    head, end, _ = data[:_LARGEST_HEADER].partition(b"end_header")
    lines = head.decode("latin-1").splitlines()
    if not end or not lines or lines[0].strip() != "ply":
        raise UnsupportedFormat(f"{path} is no PLY file.")
    start = data.index(b"\n", len(head)) + 1 if b"\n" in data[len(head) :] else len(data)
    kind, count, layout, element = "", -1, [], ""
    for line in lines[1:]:
        words = line.split()
        if not words:
            continue
        if words[0] == "format" and len(words) > 1:
            kind = words[1]
        elif words[0] == "element" and len(words) == 3:
            element = words[1]
            if element == "vertex":
                count = int(words[2]) if words[2].isdigit() else -1
            elif count < 0:
                raise UnsupportedFormat(f"{path} has {element} before its Gaussians.")
        elif words[0] == "property" and element == "vertex":
            if len(words) != 3 or words[1] not in _TYPES:
                raise UnsupportedFormat(f"{path} has a property that is no number: {line[:60]!r}.")
            layout.append((words[2], _TYPES[words[1]]))
    names = [name for name, _ in layout]
    missing = [name for name in _NEEDED if name not in names]
    if missing or len(set(names)) < len(names):
        raise UnsupportedFormat(
            f"{path} is no field of 3D Gaussians: it has no {', '.join(missing[:4]) or 'order'}.",
            hint="Fields are PLY files in the layout of the authors' program; compressed ones "
            "(.splat, .spz, .ksplat, SuperSplat's .ply) have to be converted first.",
        )
    if kind not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise UnsupportedFormat(f"{path} is of the format {kind[:40]!r}.")
    if not 0 <= count <= _MOST:
        raise UnsafeData(f"{path} says that it has {count} Gaussians.")
    return kind, count, layout, start


def _from_text(
    path: Path, text: bytes, count: int, layout: list[tuple[str, str]]
) -> npt.NDArray[Any]:
    words = text.split(maxsplit=count * len(layout))[: count * len(layout)]
    if len(words) < count * len(layout):
        raise TruncatedFile(f"{path} ends before the last of its {count} Gaussians.")
    try:
        numbers = np.array(words, dtype=np.float64).reshape(count, len(layout))
    except ValueError as error:
        raise UnsupportedFormat(f"{path}: {error}.") from error
    rows = np.empty(count, dtype=[(name, "f8") for name, _ in layout])
    for column, (name, _) in enumerate(layout):
        rows[name] = numbers[:, column]
    return rows


def _field(path: Path, rows: npt.NDArray[Any], names: list[str]) -> Field:
    rest = sum(name.startswith("f_rest_") for name in names)
    if rest not in (0, 9, 24, 45) or any(f"f_rest_{n}" not in names for n in range(rest)):
        raise UnsupportedFormat(
            f"{path} has {rest} coefficients beside the first; degrees 0 to 3 have 0, 9, 24 or 45."
        )

    def columns(*wanted: str) -> npt.NDArray[np.float64]:
        return np.stack([rows[name].astype(np.float64) for name in wanted], axis=1)

    harmonics = np.empty((len(rows), 1 + rest // 3, 3))
    harmonics[:, 0] = columns("f_dc_0", "f_dc_1", "f_dc_2")
    if rest:
        others = columns(*(f"f_rest_{n}" for n in range(rest)))
        harmonics[:, 1:] = others.reshape(len(rows), 3, rest // 3).transpose(0, 2, 1)
    quaternions = columns("rot_0", "rot_1", "rot_2", "rot_3")
    lengths = np.linalg.norm(quaternions, axis=1, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        arrays = {
            "means": columns("x", "y", "z"),
            "scales": np.exp(columns("scale_0", "scale_1", "scale_2")),
            "rotations": quaternions / lengths,
            "opacities": 1 / (1 + np.exp(-rows["opacity"].astype(np.float64))),
            "harmonics": harmonics,
        }
        single = {name: array.astype(np.float32) for name, array in arrays.items()}
    wrong = [name for name, array in single.items() if not np.isfinite(array).all()]
    if wrong:
        raise UnsafeData(
            f"{path} has {wrong[0]} that are no finite numbers.",
            hint="Training may have diverged; leave such Gaussians out.",
        )
    return Field(**single)


def write_field(path: str | os.PathLike[str], field: Field) -> None:
    """A field as a file, whole or not at all.

    Opacities are kept from 1e-7 to 1 - 1e-7, as the file has them before the sigmoid.
    """
    count, coefficients = field.harmonics.shape[:2]
    rest = [f"f_rest_{n}" for n in range(3 * (coefficients - 1))]
    names = [*_NEEDED[:3], "nx", "ny", "nz", *_NEEDED[3:6], *rest, *_NEEDED[6:]]
    shares = np.clip(field.opacities.astype(np.float64), 1e-7, 1 - 1e-7)
    with np.errstate(divide="ignore"):
        scales = np.log(np.maximum(field.scales, np.finfo(np.float32).tiny))
    columns = [
        field.means, np.zeros((count, 3)), field.harmonics[:, 0],
        field.harmonics[:, 1:].transpose(0, 2, 1).reshape(count, -1),
        np.log(shares / (1 - shares))[:, None], scales, field.rotations,
    ]  # fmt: skip
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    header = "\n".join([*lines, *(f"property float {name}" for name in names), "end_header\n"])
    rows = np.concatenate(columns, axis=1).astype("<f4")
    write_whole(Path(path), header.encode() + rows.tobytes())
