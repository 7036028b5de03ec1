"""What is said of a composed scene, for the page: objects of each view, sentences, and doubts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..coloring import id_colors, pick
from ..export.masks import mask_of, one_outline
from ..guards import parse_json
from ..reader import AssetReader
from .script import plain

if TYPE_CHECKING:
    from ...compose.margins import Margins
    from ...compose.record import Scene, ViewObject

__all__ = ["EXPRESSIONS", "doubts_of", "language_of"]

SCENE: Final = "scene.json"
EXPRESSIONS: Final = "expressions.json"
RELATED: Final = ("on", "in", "next_to", "left", "front", "taller", "bigger", "same_color")
_MUTUAL: Final = ("next_to", "same_color")
_BURNT: Final = 0.05
"""Share of an object's pixels that are burnt out, from which the page says so."""
_MEANT: Final = {
    "target": "",
    "reference": "is mentioned, and never meant",
    "doubtful": "nothing is said of it",
    "absent": "counts as not there",
}
_SAID: Final = (
    "id", "kind", "type", "targets", "references", "margin", "needed", "minimal", "candidates",
    "same_noun", "edit", "pair",
)  # fmt: skip


def language_of(reader: AssetReader, size: int) -> dict[str, Any] | None:
    """What the page shows of a composed scene; ``None`` where the asset is none.

    Args:
        size: Longer side of the page's pictures, pixels: masks are outlined in these.

    Returns:
        ``objects`` (id to name and colour) and ``views``, in the order of the asset's: each with
        ``size`` (the pixels in which boxes and outlines are), ``objects`` (``box``, half-open, an
        SVG path that fills to the mask by the even-odd rule, visible share, what is doubtful),
        ``said``, ``places`` (free space that is spoken of: outline, points and their least margin)
        and ``graph`` (as of :func:`_graph`; ``None`` where the asset has no depth).

    Raises:
        WrongFormat: ``scene.json`` is none.
        TruncatedFile: Another file is missing or damaged.
    """
    if SCENE not in reader.names() or "instance_index" not in reader.passes:
        return None
    from ...compose.margins import Margins
    from ...compose.record import Scene

    scene = Scene.from_dict(parse_json(reader.bytes_of(SCENE), SCENE), f"{reader.ref}/{SCENE}")
    margins = Margins()
    said: list[dict[str, Any]] = []
    free: list[dict[str, Any]] = []
    if EXPRESSIONS in reader.names():
        record = parse_json(reader.bytes_of(EXPRESSIONS), f"{reader.ref}/{EXPRESSIONS}")
        said, free = record["expressions"], record.get("places", [])
        given: dict[str, Any] = record["margins"]
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in given.items()
        }
        margins = Margins(**values)
    places = {looks.view: place for place, looks in enumerate(scene.views)}
    colored = {obj.id: obj.color.name if obj.color else None for obj in scene.objects}
    views: list[dict[str, Any] | None] = []
    for index in range(len(reader.views)):
        place = places.get(index)
        if place is None:
            views.append(None)
            continue
        whole = reader.read(index, ("instance_index",))["instance_index"]
        ids = pick(whole, min(size, max(whole.shape)))
        objects = [
            {
                "id": look.id, "path": _path(ids == look.id), "box": _box(ids == look.id),
                "seen": look.visible_fraction,
                "doubts": doubts_of(look, whole.size, colored[look.id], margins),
            }
            for look in scene.views[place].objects
        ]  # fmt: skip
        views.append({
            "size": [ids.shape[1], ids.shape[0]], "objects": objects,
            "said": [_expression(one) for one in said if one["view"] == place],
            "places": [_place(one, ids.shape) for one in free if one["view"] == place],
            "graph": _graph(scene, place, reader, margins) if "depth" in reader.passes else None,
        })  # fmt: skip
    return {
        "layout": scene.layout,
        "objects": {
            str(obj.id): {"name": plain(obj.name),
                          "color": id_colors(np.array(obj.id)).tolist()}
            for obj in scene.objects
        },
        "views": views,
    }  # fmt: skip


def _graph(
    scene: Scene, view: int, reader: AssetReader, margins: Margins
) -> dict[str, Any]:  # fmt: skip
    """Which object has which relation to which, in a view.

    Returns:
        ``places``: id to metres to the viewer's right and away from the viewer; ``pairs``: relation
        to lists of the first's id, the second's, and the margin: 1 and more is sure, what lies
        between -1 and 1 in doubt; what is surely false is left away. Of opposites there is one.
    """
    from ...compose.facts import facts_of
    from ...compose.relations import Relations

    found = Relations(facts_of(scene, view, reader, margins), margins)
    there = np.flatnonzero(found.there)
    ids = [obj.id for obj in found.facts.objects]
    pairs: dict[str, list[list[float]]] = {}
    for name in RELATED:
        margin = np.nan_to_num(found.pair(name))
        # What goes both ways is told once.
        both = name in _MUTUAL
        pairs[name] = [
            [ids[a], ids[b], round(float(margin[a, b]), 2)]
            for a in there for b in there
            if margin[a, b] > -1 and (a < b if both else a != b)
        ]  # fmt: skip
    return {
        "places": {str(ids[i]): np.round(found.facts.ground[i], 4).tolist() for i in there},
        "pairs": pairs,
    }


def doubts_of(look: ViewObject, pixels: int, color: str | None, margins: Margins) -> list[str]:
    """What keeps an object, or its colour, from being talked about; empty where nothing does."""
    from ...compose.facts import seen_by

    seen, inside = look.visible_fraction, look.inside_frame_fraction
    made, lit = (part.get(color or "", 0.0) for part in (look.albedo_colors, look.shaded_colors))
    unsure = color and look.visible_pixels and min(made, lit) < margins.color[0]
    found = (
        _MEANT[seen_by(look, pixels, margins)],
        f"{1 - seen:.0%} hidden" if seen < margins.visible else "",
        f"{1 - inside:.0%} beyond the frame" if inside < margins.inside else "",
        f"colour in doubt: {color} is {made:.0%} as made, {lit:.0%} as lit" if unsure else "",
        f"{look.clipped_fraction:.0%} burnt out" if look.clipped_fraction >= _BURNT else "",
    )
    return [text for text in found if text]


def _path(mask: Any) -> str:
    corners, _ = one_outline(mask)
    return "M" + "L".join(f"{x} {y}" for x, y in corners) + "Z" if corners else ""


def _box(mask: Any) -> list[int] | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def _place(one: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Free space, in a picture of this height and width."""
    mask = mask_of(one["mask"])
    high, wide = shape[0] / mask.shape[0], shape[1] / mask.shape[1]
    points = [[round((x + 0.5) * wide, 2), round((y + 0.5) * high, 2)] for x, y, _ in one["points"]]
    return {
        "id": plain(one["id"]), "type": plain(one["type"]), "references": one["references"],
        "path": _path(pick(mask, max(shape))), "points": points, "texts": _texts(one),
        "margin": min((margin for *_, margin in one["points"]), default=0.0),
    }  # fmt: skip


def _expression(one: dict[str, Any]) -> dict[str, Any]:
    return {**{key: plain(one[key]) for key in _SAID}, "texts": _texts(one)}


def _texts(one: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"language": plain(text["language"]), "style": plain(text["style"]),
         "text": plain(text["text"]),
         "spans": [[str(kind), int(begin), int(end)]
                   for kind in ("target", "references")
                   for begin, end in text["spans"].get(kind, ())]}
        for text in one["texts"]
    ]  # fmt: skip
