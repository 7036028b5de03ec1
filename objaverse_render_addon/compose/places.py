"""Free space that a sentence means: which pixels of the support are left of the mug, and empty.

A pixel belongs to it when it shows the top of the support, far enough from every object and from
the edge, and has the relation to what is mentioned; each with a margin (:mod:`.margins`), by the
poses and in the picture. Only pixels of a margin of 1 and more are meant; those below say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import draw
from ..dataset.export.masks import run_lengths
from .choose import View
from .facts import ground_axes
from .forms import Clause, Phrase
from .margins import SURE, agree, score
from .nouns import SPACE
from .record import STAGED, Scene
from .relations import DIRECTIONS, Relations
from .support import RIM

if TYPE_CHECKING:
    from ..cameras import Camera

__all__ = ["Floor", "Place", "floor_of", "places_of"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

POINTS: Final = 5
"""That are stated of each, beside its mask."""
_FLAT: Final = 0.002
"""Metres from the support's top, up to which depth shows it."""
_LEAST: Final = (40, 0.001)
"""Pixels, and share of the picture, that a place has."""
_TRIES: Final = 12
_WIDER: Final = 10.0
"""Degrees more that the farthest corner of what is mentioned may be off the direction."""
_WORDS: Final = (("left", "right", "front", "behind"),
                 ("front_left", "front_right", "rear_left", "rear_right"),
                 ("next_to",), ("between",))  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A free place of a view.

    Attributes:
        id: Of the view's, ``v0-p1``.
        type: ``direction``, ``next_to`` or ``between``.
        form: Its noun is free space, on a support that is named or not.
        references: Ids.
        mask: (H, W) which pixels are meant.
        points: Column, row and margin of some of them; the first is the farthest inside.
    """

    id: str
    view: int
    type: str
    form: Phrase
    references: tuple[int, ...]
    mask: Mask
    points: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True)
class Floor:
    """What a view sees of the support's top; M pixels.

    Attributes:
        shape: Of the picture.
        pixels: Rows and columns.
        at: (M, 2) metres to the viewer's right and away, as :class:`.facts.Facts` has it.
        spots: (M, 2) in picture widths and heights.
        free: (M,) margins of being far from every object and from the edge.
        gaps: (M, N) metres to each object's footprint.
    """

    shape: tuple[int, int]
    pixels: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
    at: Floats
    spots: Floats
    free: Floats
    gaps: Floats


def floor_of(
    rel: Relations, camera: Camera, depth: npt.NDArray[Any], ids: npt.NDArray[Any]
) -> Floor | None:
    """The support of a view; ``None`` where nothing is seen of it, or nobody knows its id.

    Args:
        depth: (H, W) metres, planar.
        ids: (H, W) of ``instance_index``.
    """
    facts, m = rel.facts, rel.margins
    if not facts.scene.stage:
        return None
    pixels = np.nonzero(ids == facts.scene.stage[0].id)
    points = camera.unproject(depth, pixels)
    top = np.abs(points[:, 2]) < _FLAT
    if not top.any():
        return None
    pixels = pixels[0][top], pixels[1][top]
    points = points[top]
    axes = np.stack(ground_axes(camera))
    at = points @ axes.T
    gaps = np.stack([_distance(at, outline) for outline in facts.footprints], axis=1)
    free = score(gaps.min(axis=1, initial=1.0), *m.free)
    inside = _to_edge(points[:, :2], facts.scene)
    free = np.minimum(free, score(inside, *m.edge))
    spots = np.stack([(pixels[1] + 0.5) / camera.width, (pixels[0] + 0.5) / camera.height], axis=1)
    return Floor((camera.height, camera.width), pixels, at, spots, free, gaps)


def _to_edge(points: Floats, scene: Scene) -> Floats:
    """(M,) metres from world points to the support's edge, within it."""
    x, y, _ = scene.support.size_m
    if scene.support.shape == "round":
        return x / 2 - np.linalg.norm(points, axis=1)
    wall = 0.0 if scene.support.kind in ("table", STAGED) else RIM
    return np.asarray((np.array([x, y]) / 2 - wall - np.abs(points)).min(axis=1))


def _distance(points: Floats, outline: Floats) -> Floats:
    """(M,) from points to a convex outline, counter-clockwise; 0 within."""
    if len(outline) < 3:
        return np.full(len(points), np.inf) if not len(outline) else np.asarray(
            np.linalg.norm(points[:, None] - outline[None], axis=-1).min(axis=1))  # fmt: skip
    found = np.full(len(points), np.inf)
    within = np.ones(len(points), bool)
    for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        side, step = end - start, points - start
        share = np.clip(step @ side / max(float(side @ side), 1e-18), 0, 1)
        found = np.minimum(found, np.linalg.norm(step - share[:, None] * side, axis=1))
        within &= side[0] * step[:, 1] - side[1] * step[:, 0] >= 0
    return np.where(within, 0.0, found)


def margin_of(rel: Relations, floor: Floor, clause: Clause, places: tuple[int, ...]) -> Floats:
    """(M,) margins of a clause at each pixel of the floor, free or not.

    Args:
        places: Of what it mentions.
    """
    if clause.kind == "between":
        return _between(rel, floor, *places)
    (r,) = places
    near = floor.gaps[:, r] / max(float(rel.facts.sizes[r]), 1e-6)
    if clause.word == "next_to":
        margin = score(-near, -rel.margins.next_to[0], -rel.margins.next_to[1])
        return np.asarray(np.where(_parted(rel, floor, r) & (margin > 0), 0.0, margin))
    margin = score(-near, -rel.margins.place_near[0], -rel.margins.place_near[1])
    return np.asarray(np.minimum(margin, _direction(rel, floor, clause.word, r)))


def _direction(rel: Relations, floor: Floor, word: str, r: int) -> Floats:
    facts, m = rel.facts, rel.margins
    axis = np.array(DIRECTIONS[word])
    limits = m.diagonal if "_" in word else m.axis
    said = []
    for there in (facts.ground[r], facts.seen[r]):
        step = floor.at - there
        length = np.maximum(np.linalg.norm(step, axis=1), 1e-9)
        turn = np.degrees(np.arccos(np.clip(step @ axis / length, -1, 1)))
        margin = score(-turn, -limits[0], -limits[1])
        sure = np.clip(length / (m.apart * max(float(facts.sizes[r]), 1e-6)), 0, SURE)
        said.append(np.sign(margin) * np.minimum(np.abs(margin), sure))
    # Of something large, all of it has to be on the other side.
    step = floor.at[:, None] - facts.footprints[r][None]
    length = np.maximum(np.linalg.norm(step, axis=2), 1e-9)
    turn = np.degrees(np.arccos(np.clip(step @ axis / length, -1, 1))).max(axis=1, initial=0.0)
    said.append(score(-turn, -limits[0] - _WIDER, -limits[1] - _WIDER))
    if axis[0]:
        aside = [floor.spots[:, 0] - one[r, 0] for one in (facts.center, facts.median, facts.edges)]
        shown = score(np.sign(axis[0]) * agree(*aside), *m.shift)
        if not axis[1]:
            # In front of or behind something nothing is beside it.
            low, high = facts.span[r]
            above = (floor.spots[:, 0] > low) & (floor.spots[:, 0] < high)
            shown = np.where(above, np.minimum(shown, 0.0), shown)
        said.append(shown)
    if axis[1]:
        lower = floor.spots[:, 1] - facts.lower[r]
        said.append(score(-np.sign(axis[1]) * lower, *m.lower))
    found = np.asarray(agree(*said))
    if axis[1]:
        steep = score(facts.elevation, m.elevation[0], m.elevation[0] / 2)
        found = np.sign(found) * np.minimum(np.abs(found), np.clip(steep, 0, SURE))
    return found


def _between(rel: Relations, floor: Floor, a: int, b: int) -> Floats:
    facts, m = rel.facts, rel.margins
    half = max(float(min(facts.sizes[a], facts.sizes[b])) / 2, 1e-6)
    said = []
    for at in (facts.ground, facts.seen):
        line = at[b] - at[a]
        length = max(float(np.linalg.norm(line)), 1e-9)
        one, other = at[a] - floor.at, at[b] - floor.at
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1)
            cosine = cosine / np.linalg.norm(other, axis=1)
        turned = score(np.degrees(np.arccos(np.clip(cosine, -1, 1))), *m.between_angle)
        along = np.abs(-one @ line / length**2 - 0.5)
        middle = score(-along, -m.between_along[0], -m.between_along[1])
        beside = np.abs(one @ [-line[1], line[0]]) / length
        near = score(-beside / half, -m.between_beside[0], -m.between_beside[1])
        said.append(np.minimum(turned, np.minimum(middle, near)))
    return np.asarray(agree(*said))


def _parted(rel: Relations, floor: Floor, r: int) -> Mask:
    """(M,) whether something stands between each pixel and an object."""
    facts = rel.facts
    line = facts.ground[r] - floor.at
    square = np.maximum((line**2).sum(axis=1), 1e-12)
    found = np.zeros(len(floor.at), bool)
    for k, there in enumerate(facts.ground):
        if k == r:
            continue
        share = ((there - floor.at) * line).sum(axis=1) / square
        off = np.linalg.norm(floor.at + share[:, None] * line - there, axis=1)
        found |= (share > 0) & (share < 1) & (off < facts.sizes[k] / 2)
    return found


def places_of(
    rel: Relations, floor: Floor | None, seed: int, scene: str, count: int
) -> list[Place]:
    """Some free places of a view, drawn; the same for the same arguments.

    Args:
        scene: The scene's name, for the draws.
        count: How many, where there are as many.
    """
    if floor is None or not count:
        return []
    view, number = View(rel), rel.facts.view
    known = [place for place in sorted(view.references) if rel.references[place]]
    found: list[Place] = []
    said: set[Phrase] = set()
    for slot in range(count):
        for attempt in range(_TRIES):
            u = draw(seed, scene, f"place-{number}", slot, 9, attempt).tolist()
            form, places = _drawn(view, known, u)
            if form is None or form in said:
                continue
            assert form.clause is not None
            margin = np.minimum(floor.free, margin_of(rel, floor, form.clause, places))
            mask, points = _pixels(floor, margin, u[8])
            if mask is None:
                continue
            said.add(form)
            ids = tuple(rel.facts.objects[place].id for place in places)
            word = form.clause.word
            kind = form.clause.kind if word not in (*DIRECTIONS, "next_to") else (
                "direction" if word in DIRECTIONS else word)  # fmt: skip
            found.append(Place(f"v{number}-p{slot}", number, kind, form, ids, mask, points))
            break
    return found


def _drawn(
    view: View, known: list[int], u: list[float]
) -> tuple[Phrase | None, tuple[int, ...]]:
    """A form, which may have no place at all, and the places of what it mentions."""
    words = _WORDS[int(u[0] * len(_WORDS))]
    word = words[int(u[1] * len(words))]
    if len(known) < 1 + (word == "between"):
        return None, ()
    first = known[int(u[2] * len(known))]
    places: tuple[int, ...] = (first,)
    if word == "between":
        others = [place for place in known if place != first]
        places = (first, others[int(u[3] * len(others))])
    refs = []
    for place, luck in zip(places, u[4:6], strict=False):
        ways = view.references[place]
        refs.append(ways[int(luck * len(ways))])
    kind = "between" if word == "between" else "relation"
    clause = Clause(kind, "" if kind == "between" else word, tuple(refs))
    support = view.rel.facts.scene.support.kind
    # "On the tray" may be on one of the things, where one of them may be called so.
    named = u[6] < 0.7 and support != STAGED and bool((view.rel.noun(support) <= -1).all())
    return Phrase(f"{SPACE}:{support}" if named else SPACE, None, clause), places


def _pixels(
    floor: Floor, margin: Floats, luck: float
) -> tuple[Mask | None, tuple[tuple[int, int, float], ...]]:
    """Which pixels are meant, and some of them; ``None`` where there are too few."""
    mask = np.zeros(floor.shape, bool)
    mask[floor.pixels] = margin >= 1
    inner = _eroded(mask)
    if mask.sum() < max(_LEAST[0], _LEAST[1] * mask.size) or not inner.any():
        return None, ()
    deepest = inner
    while (smaller := _eroded(deepest)).any():
        deepest = smaller
    sure = np.zeros(floor.shape)
    sure[floor.pixels] = margin
    rows, columns = np.nonzero(inner)
    steps = (int(luck * len(rows)) + np.arange(1, POINTS) * len(rows) // POINTS) % len(rows)
    first = np.flatnonzero(deepest)[0]
    spots = [int(first), *(rows[steps] * mask.shape[1] + columns[steps]).tolist()]
    points = tuple((c, r, round(float(sure[r, c]), 4))
                   for r, c in (divmod(one, mask.shape[1]) for one in dict.fromkeys(spots)))
    return mask, points


def _eroded(mask: Mask) -> Mask:
    """Pixels whose four neighbours are set too."""
    wide = np.pad(mask, 1)
    return np.asarray(
        mask & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    )


def record_of(place: Place, texts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """For JSON."""
    return {
        "id": place.id, "view": place.view, "type": place.type, "form": place.form.to_list(),
        "references": list(place.references), "mask": run_lengths(place.mask),
        "points": [list(point) for point in place.points], "texts": list(texts),
    }  # fmt: skip
