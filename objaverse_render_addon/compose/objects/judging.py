"""From an asset as it was rendered to an object to draw from, or to the reason why it is none."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ...assets.licenses import license_of
from ...errors import RenderError
from ..colors import TERMS, nearest, shares, srgb
from ..layouts import HOVER, Start
from ..physics.accept import refusal
from ..physics.settle import settle
from ..record import Support
from ..support import ground_of
from ..things import Thing, foreign
from .categories import SIZES, plain, size_of
from .library import PLY, Foreign, LeftOut, base_of, solid_of
from .usable import MOST_FACES, Unusable, flat_topped, one_piece, rim_of

if TYPE_CHECKING:
    from ...dataset.reader import AssetReader

__all__ = ["COLUMNS", "judged", "list_problem", "place_said", "told"]

COLUMNS: Final = ("name", "category", "size", "height", "color", "colour")
"""Of lists, beside those that every list may have (``up``, ``front``, ``license``)."""
SMALLEST: Final = 0.012
LARGEST: Final = 0.6
"""Metres that the longest edge may be: smaller things sink in engines, larger ones need a floor."""
THINNEST: Final = 0.002
TIPS: Final = (10.0, 40.0)
"""Degrees by which what is tall and what lies may tip when it is let go."""
_LIES: Final = 0.6
"""Height over the longer side of the foot, up to which a thing is said to lie."""
_NEAR: Final = (0.8, 1.25)
"""How far a file's own size may lie outside of what its category's usually is."""
_PLAIN: Final = (0.70, 0.15)
"""Share of the surface that is of one colour term, and of the next, where it has a colour."""
_NAME: Final = re.compile(r"[a-z]+(?: [a-z]+){0,4}")
_NOISE: Final = frozenset({
    *TERMS, "gray", "low", "high", "poly", "lowpoly", "highpoly", "model", "mesh", "final", "scan",
    "textured", "asset", "prop", "old", "new", "small", "large", "big", "tall", "short", "plain",
})  # fmt: skip
_TABLE: Final = Support("table", (1.6, 1.6, 0.04), "wood")


def list_problem(known: Mapping[str, Any]) -> str:
    """What is wrong with a list's columns for one asset; nothing where all is right."""
    for name in ("size", "height"):
        if name in known:
            try:
                metres = float(known[name])
            except ValueError:
                metres = math.nan
            if not 0 < metres < math.inf:
                return f"{name} is in metres, and not {known[name]!r:.40}"
    color = _said_color(known)
    if color and color not in TERMS:
        return f"a colour is one of {', '.join(TERMS)}, and not {color!r:.40}"
    for name in ("name", "category"):
        if name in known and not _NAME.fullmatch(plain(known[name])):
            return f"{name} is a word or a few in English, and not {known[name]!r:.40}"
    return ""


def judged(
    reader: AssetReader, folder: Path, source: str, known: Mapping[str, Any], *, any_license: bool
) -> Foreign | LeftOut:
    """An object, or why it is none.

    Args:
        reader: Of the asset, with its surface and the passes ``albedo`` and ``mask``.
        folder: Where ``objects`` is, with the asset in it.
        source: As it was named.
        known: What a list says of it.
        any_license: Whether licences without commercial use or changes will do, too.
    """
    asset = reader.metadata["asset_id"]
    try:
        return _judged(reader, folder, source, known, any_license)
    except Unusable as error:
        return LeftOut(place_said(source), asset, error.reason, error.said)
    except RenderError as error:
        return LeftOut(place_said(source), asset, error.reason, told(source, error.message))


def told(source: str, message: str) -> str:
    """A message without the folders of whoever has the source."""
    return message.replace(source, place_said(source))


def place_said(source: str) -> str:
    """A source without the folders of whoever has it."""
    return source if "://" in source else Path(source).name


def _judged(
    reader: AssetReader, folder: Path, source: str, known: Mapping[str, Any], any_license: bool
) -> Foreign:
    metadata = reader.metadata
    license = license_of(known.get("license") or metadata.get("license"))
    if license.known and not any_license and not (license.commercial and license.derivatives):
        raise Unusable("license", f"{license.name}: {', '.join(license.cautions)}")
    name, category = _named(metadata, source, known)
    geometry = metadata["geometry"]
    if geometry["unmeshed"]:
        raise Unusable("not-a-surface", f"{', '.join(geometry['unmeshed'])} of it is no surface")
    if geometry["triangles"] > MOST_FACES:
        many = f"it has {geometry['triangles']:,} triangles, more than {MOST_FACES:,}"
        raise Unusable("too-many-faces", many)
    shape = reader.geometry
    assert shape is not None
    if shape.mesh().may_vanish.any():
        raise Unusable("see-through", "a material of it may be transparent")
    sha256 = geometry["files"][PLY]["sha256"]
    asset = metadata["asset_id"]
    whole = base_of(folder, asset, sha256, (0.0, 0.0, 0.0))
    one_piece(whole)
    solid = solid_of(folder, asset, sha256, (0.0, 0.0, 0.0))
    low, size = whole.vertices.min(axis=0), whole.size
    foot = low + size * [0.5, 0.5, 0.0]
    longest = float(np.max(size))
    drawn, size_from = _size(
        size, float(metadata["normalization"]["scale"]), name, category, known
    )
    if drawn[0] * float(np.min(size)) / longest < THINNEST:
        raise Unusable("too-thin", f"it would be {1000 * drawn[0] * np.min(size) / longest:.2g} mm")
    if not SMALLEST <= drawn[0] <= drawn[1] <= LARGEST:
        raise Unusable("not-for-a-table", f"it would be {drawn[1]:.3g} m long")
    if float(solid.volume) <= 0:
        raise Unusable("not-closed", "it has no volume")
    color, color_from = _color(reader, known)
    x, y, z = foot.tolist()
    one = Foreign(
        asset, sha256, name, category, place_said(source), license.key, drawn, size_from, (x, y, z),
        longest, color, color_from, rim_of(whole), flat_top=flat_topped(whole),
    )  # fmt: skip
    thing = foreign(one, sum(drawn) / 2, folder)
    _stands(thing)
    rolls = thing.pieces.ball is not None
    return Foreign.of({**one.__dict__, "rolls": rolls})


def _named(metadata: Mapping[str, Any], source: str, known: Mapping[str, Any]) -> tuple[str, str]:
    """Name and category: by the list, by the catalogue, or by the file's name."""
    said = metadata.get("metadata")
    lvis = said.get("lvis") if isinstance(said, dict) else None
    name = plain(str(known.get("name", "")))
    if not name and lvis:
        name = plain(str(lvis[0]))
    if not name:
        name = _of_file(source)
    if not name and "category" in known:
        name = plain(str(known["category"]))
    if not _NAME.fullmatch(name):
        raise Unusable("no-name", "neither list, catalogue nor file name says what it is")
    category = plain(str(known.get("category") or (lvis[0] if lvis else "") or name))
    return name, category if category in SIZES else name


def _of_file(source: str) -> str:
    """What a file's name ends with, where that is a word of the table."""
    stem = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", Path(source).stem)
    words = [word for word in plain(re.sub(r"\d+", " ", stem)).split() if len(word) > 1]
    while words and words[-1] in _NOISE:
        words.pop()
    for first in range(max(0, len(words) - 3), len(words)):
        if " ".join(words[first:]) in SIZES:
            return " ".join(words[first:])
    return ""


def _size(
    size: npt.NDArray[np.float64], scale: float, name: str, category: str, known: Mapping[str, Any]
) -> tuple[tuple[float, float], str]:
    """Least and most of the longest edge, metres, and what says so."""
    longest = float(np.max(size))
    if "size" in known:
        return (float(known["size"]),) * 2, "csv"
    if "height" in known:
        return (float(known["height"]) * longest / float(size[2]),) * 2, "csv"
    usual = size_of(name) or size_of(category)
    if usual is None:
        raise Unusable("no-size", f"nothing says how large a {name} is")
    own = longest / scale
    if usual[0] * _NEAR[0] <= own <= usual[1] * _NEAR[1]:
        return (own, own), "file"
    return usual, f"category:{name if size_of(name) else category}"


def _said_color(known: Mapping[str, Any]) -> str:
    color = str(known.get("colour") or known.get("color") or "").strip().lower()
    return "grey" if color == "gray" else color


def _color(
    reader: AssetReader, known: Mapping[str, Any]
) -> tuple[tuple[str, tuple[float, float, float]] | None, str]:
    """Its colour, by the list, or by its albedo where that is nearly all of one term."""
    pixels = []
    for place in range(len(reader.views)):
        arrays = reader.read(place, ("albedo", "mask"))
        shown = arrays["mask"].reshape(arrays["albedo"].shape[:2]) > 0
        pixels.append(srgb(arrays["albedo"][shown]))
    every = np.concatenate(pixels)
    if not len(every):
        return None, ""
    said = _said_color(known)
    parts = list(shares(every).items())
    term = said
    if not term:
        second = parts[1][1] if len(parts) > 1 else 0.0
        if parts[0][1] < _PLAIN[0] or second > _PLAIN[1]:
            return None, ""
        term = parts[0][0]
    some = every[nearest(every) == TERMS.index(term)]
    r, g, b = (np.median(some if len(some) else every, axis=0) / 255).round(4).tolist()
    return (term, (r, g, b)), "list" if said else "albedo"


def _stands(thing: Thing) -> None:
    """Let it go on a table by itself.

    Raises:
        Unusable: It tips over, or would not be accepted there even alone.
    """
    ground = ground_of(_TABLE)
    pose = np.eye(4)
    pose[2, 3] = HOVER
    settled = settle([Start(thing, pose)], ground)
    tilt = math.degrees(math.acos(float(np.clip(settled.poses[0][2, 2], -1, 1))))
    lies = thing.height <= _LIES * float(np.max(thing.mesh.size[:2]))
    if tilt > TIPS[lies]:
        raise Unusable("not-standing", f"let go, it tips by {tilt:.0f}°")
    why = refusal([Start(thing, pose)], settled, ground)
    if why:
        raise Unusable("not-at-rest", f"alone on a table: {why}")
