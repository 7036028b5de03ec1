"""What is true of one view's objects, as margins (:mod:`.margins`).

Left, right, in front and behind are the viewer's. What can be told both from the scene and from
the picture has to agree. Sources of the thresholds: acceptability of spatial words falls with the
angle (Logan and Sadler 1996; Regier and Carlson, *Grounding spatial language in perception*, 2001).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .colors import TERMS
from .facts import Facts, hull_2d
from .margins import SURE, Margins, agree, score
from .nouns import called, of_anything, stands
from .record import surrounded

__all__ = ["CORNERS", "DIRECTIONS", "EXTREMES", "RELATIONS", "Relations"]

Floats = npt.NDArray[np.float64]
_HALF: Final = 0.5**0.5
DIRECTIONS: Final[dict[str, tuple[float, float]]] = {
    "left": (-1.0, 0.0), "right": (1.0, 0.0), "front": (0.0, -1.0), "behind": (0.0, 1.0),
    "front_left": (-_HALF, -_HALF), "front_right": (_HALF, -_HALF),
    "rear_left": (-_HALF, _HALF), "rear_right": (_HALF, _HALF),
}  # fmt: skip
"""Right and away."""
RELATIONS: Final = (*DIRECTIONS, "next_to", "on", "in", "under", "taller", "shorter", "bigger",
                    "smaller", "same_color", "other_color")  # fmt: skip
EXTREMES: Final = ("leftmost", "rightmost", "nearest", "farthest", "tallest", "shortest", "largest",
                   "smallest")  # fmt: skip
CORNERS: Final = ("front_left", "front_right", "rear_left", "rear_right")


class Relations:
    """Margins of one view's claims.

    All pairs are (N, N): the first has the relation to the second.
    """

    def __init__(self, facts: Facts, margins: Margins | None = None) -> None:
        self.facts, self.margins = facts, margins or Margins()
        self._pairs: dict[str, Floats] = {}
        self._nouns: dict[str, Floats] = {}
        self._colors: dict[str, Floats] = {}
        self._between: dict[tuple[int, int], Floats] = {}
        self.targets = np.array([state == "target" for state in facts.states], bool)
        self.references = np.array([s in ("target", "reference") for s in facts.states], bool)
        self.there = np.array([state != "absent" for state in facts.states], bool)

    def settle(self, margin: Floats, sure: npt.NDArray[np.bool_] | None = None) -> Floats:
        """Margins of who is meant: what is hardly seen may be, what is not there is not.

        Args:
            sure: (N,) who can be meant for sure; the targets by default.
        """
        sure = self.targets if sure is None else sure
        blunt = np.where(sure, margin, np.minimum(margin, 0.0))
        return np.where(self.there, blunt, -SURE)

    def noun(self, concept: str) -> Floats:
        """(N,) that a word is true of each."""
        if concept not in self._nouns:
            found = called(concept, self.facts.objects)
            if of_anything(concept) and surrounded(self.facts.scene.stage):
                # Of what else stands in a user's stage nobody knows what it is.
                found = np.minimum(found, 0.0)
            self._nouns[concept] = found
        return self._nouns[concept]

    def color(self, term: str) -> Floats:
        """(N,) that each has a colour, as it is made and as it is lit."""
        if term not in self._colors:
            m, facts = self.margins, self.facts
            sure = [has.get(term, 0.0) for has, _ in facts.paints]
            may = [might.get(term, 0.0) for _, might in facts.paints]
            rest = [
                max((share for part in (look.albedo_colors, look.shaded_colors)
                     for name, share in part.items() if name != term), default=0.0)
                for look in facts.looks
            ]  # fmt: skip
            has = np.minimum(score(sure, *m.color), score(rest, m.runner_up, 0.5))
            has_not = score(may, *m.color)
            self._colors[term] = np.where(
                has >= 1, has, np.where(has_not <= -1, has_not, 0.0)
            )
        return self._colors[term]

    @cached_property
    def colors(self) -> tuple[str, ...]:
        """Terms that anything has for sure."""
        return tuple(term for term in TERMS if (self.color(term) >= 1).any())

    @cached_property
    def color_of(self) -> list[str | None]:
        """Each one's colour, where it is sure."""
        return [
            next((term for term in self.colors if self.color(term)[i] >= 1), None)
            for i in range(len(self.facts))
        ]

    def no_color(self, term: str) -> Floats:
        """(N,) that each is of another colour, which is sure too."""
        named = np.array([color is not None for color in self.color_of])
        margin = -self.color(term)
        return np.where(margin >= 1, np.where(named, margin, 0.0), margin)

    def posture(self, word: str) -> Floats:
        """(N,) ``upright``, ``lying`` or ``upside_down``; 0 of what has none."""
        m, tilt = self.margins, np.array([obj.tilt_deg for obj in self.facts.objects])
        if word == "upright":
            margin = score(-tilt, -m.upright[0], -m.upright[1])
        elif word == "lying":
            margin = score(-np.abs(tilt - 90), -m.lying[0], -m.lying[1])
        else:
            margin = score(tilt, 180 - m.upright[0], 180 - m.upright[1])
        return np.where(stands(self.facts.objects), margin, 0.0)

    @cached_property
    def hidden(self) -> Floats:
        """(N,) partly hidden by others."""
        low, high, none = self.margins.hidden
        share = np.array([look.visible_fraction for look in self.facts.looks])
        inside = np.array([look.inside_frame_fraction for look in self.facts.looks])
        # What the frame cuts is another matter.
        whole = share / np.maximum(inside, 1e-9)
        # What is nearly all hidden is partly hidden to some.
        margin = np.where(whole < low, 0.0, score(-whole, -high, -none))
        margin = np.where((margin >= 1) & (whole < 1.1 * low), 0.0, margin)
        return np.where((inside > 0.98) | (margin <= -1), margin, 0.0)

    def pair(self, relation: str) -> Floats:
        """(N, N) of one of :data:`RELATIONS`; the diagonal is false."""
        if relation not in self._pairs:
            with np.errstate(invalid="ignore", divide="ignore"):
                margin = np.array(self._pair(relation), np.float64)
            np.fill_diagonal(margin, -SURE)
            self._pairs[relation] = margin
        return self._pairs[relation]

    def _pair(self, relation: str) -> Any:
        if relation in DIRECTIONS:
            return self._direction(relation)
        if relation == "next_to":
            return self._next_to()
        if relation == "on":
            return self._on
        if relation == "under":
            return self._on.T
        if relation == "in":
            return self._in
        if relation in ("same_color", "other_color"):
            return self._same_color if relation == "same_color" else -self._same_color
        if relation == "taller":
            return self._taller
        if relation == "bigger":
            return self._bigger
        return {"shorter": self._taller, "smaller": self._bigger}[relation].T

    def _direction(self, name: str) -> Floats:
        facts, m = self.facts, self.margins
        axis, diagonal = np.array(DIRECTIONS[name]), "_" in name
        size = (facts.sizes[:, None] + facts.sizes[None]) / 2
        angles = []
        for places in (facts.ground, facts.seen):
            step = places[:, None] - places[None]
            length = np.linalg.norm(step, axis=-1)
            turn = np.degrees(np.arccos(np.clip(step @ axis / length, -1, 1)))
            limits = m.diagonal if diagonal else m.axis
            margin = score(-turn, -limits[0], -limits[1])
            # Next to nothing apart, there is no direction.
            sure = np.clip(length / (m.apart * size), 0, SURE)
            angles.append(np.sign(margin) * np.minimum(np.abs(margin), sure))
        parts = []
        if axis[0]:
            parts.append(self.shift * np.sign(axis[0]))
        if axis[1]:
            parts.append(self._lower * -np.sign(axis[1]))
        # Margins of the opposite are those of the one mirrored, so that both have a dead zone.
        shown = [score(part, *(m.shift if i == 0 and axis[0] else m.lower))
                 for i, part in enumerate(parts)]  # fmt: skip
        picture = np.min(shown, axis=0)
        if axis[0] and not axis[1]:
            picture = np.where(self._overlap > m.overlap, np.minimum(picture, 0.0), picture)
        found = agree(*angles, picture)
        if axis[1]:
            steep = score(facts.elevation, m.elevation[0], m.elevation[0] / 2)
            found = np.sign(found) * np.minimum(np.abs(found), np.clip(steep, 0, SURE))
        return np.asarray(found)

    @property
    def shift(self) -> Floats:
        """How much further right, in widths: as centroid, as median, as middle of the box."""
        facts = self.facts
        # Of a spoon with its bowl at one end they may say different things.
        columns = (facts.center[:, 0], facts.median[:, 0], facts.edges[:, 0])
        return np.asarray(agree(*(one[:, None] - one[None] for one in columns)))

    @property
    def _lower(self) -> Floats:
        low = self.facts.lower
        return low[:, None] - low[None]

    @property
    def _overlap(self) -> Floats:
        low, high = self.facts.span.T
        shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
        return np.asarray(shared / np.minimum((high - low)[:, None], high - low))

    @cached_property
    def gaps(self) -> Floats:
        """(N, N) metres between the footprints."""
        count, out = len(self.facts), self.facts.footprints
        found = np.zeros((count, count))
        for i in range(count):
            for j in range(i + 1, count):
                found[i, j] = found[j, i] = _gap(out[i], out[j])
        return found

    @cached_property
    def beside(self) -> npt.NDArray[np.bool_]:
        """(N, N) whether their heights overlap enough to be beside each other."""
        top, bottom = self.facts.top, self.facts.bottom
        shared = np.minimum(top[:, None], top) - np.maximum(bottom[:, None], bottom)
        return shared > 0.3 * np.minimum((top - bottom)[:, None], top - bottom)

    def _next_to(self) -> Any:
        sizes = self.facts.sizes
        near = self.gaps / np.minimum(sizes[:, None], sizes)
        margin = score(-near, -self.margins.next_to[0], -self.margins.next_to[1])
        # What stands between two things parts them.
        between = np.array([
            [any(self.between(i, j)[k] > -1 for k in range(len(sizes)) if k not in (i, j))
             if i != j else False for j in range(len(sizes))] for i in range(len(sizes))
        ])  # fmt: skip
        unsure = (between | ~self.beside | (self.gaps <= 0)) & (margin > 0)
        return np.where(unsure, 0.0, margin)

    def _contacts(self) -> tuple[Floats, Floats]:
        count = len(self.facts)
        share, upward = np.zeros((count, count)), np.zeros((count, count))
        place = {obj.id: i for i, obj in enumerate(self.facts.objects)}
        for obj in self.facts.objects:
            for one in obj.contacts:
                if one.id in place:
                    i, r = place[obj.id], place[one.id]
                    share[i, r], upward[i, r] = one.share, one.normal[2]
        return share, upward

    @cached_property
    def _on(self) -> Any:
        share, upward = self._contacts()
        margin = score(share, *self.margins.on_share)
        middle = (self.facts.top + self.facts.bottom) / 2
        above = middle[:, None] > self.facts.top[None] - 0.25 * (self.facts.top - self.facts.bottom)
        steep = (upward >= 0.8) & above
        # On and in are not told apart by everybody: what is in something is not said to be on it.
        on = np.where(steep, margin, np.minimum(margin, 0.0))
        return np.where((self._within > self.margins.within[1]) & (on > 0), 0.0, on)

    @cached_property
    def _within(self) -> Floats:
        """(N, N) share of the first's samples in the second's hollow."""
        count = len(self.facts)
        found = np.zeros((count, count))
        for r, holder in enumerate(self.facts.objects):
            if not holder.container:
                continue
            rim = self.facts.bottom[r] + (holder.rim_m or 0.0)
            for i in range(count):
                points = self.facts.samples[i]
                low = (points[:, 2] < rim) & (points[:, 2] > self.facts.bottom[r])
                found[i, r] = float((low & self._over(points, r)).mean())
        return found

    @cached_property
    def _outlines(self) -> dict[int, Floats]:
        return {}

    def _over(self, points: Floats, r: int) -> npt.NDArray[np.bool_]:
        outline = self._outlines.get(r)
        if outline is None:
            # World points on world outlines: ground axes are a rotation of them.
            outline = self._outlines[r] = hull_2d(self.facts.samples[r][:, :2])
        following = np.roll(outline, -1, axis=0)
        side = (following - outline)[None]
        step = points[:, None, :2] - outline[None]
        return np.asarray((side[..., 0] * step[..., 1] >= side[..., 1] * step[..., 0]).all(axis=1))

    @cached_property
    def _in(self) -> Any:
        share, _ = self._contacts()
        margin = score(self._within, *self.margins.within)
        touch = share > 0
        return np.where((margin > 0) & ~touch, 0.0, margin)

    @cached_property
    def _taller(self) -> Any:
        height = self.facts.top - self.facts.bottom
        ratio = np.log(height[:, None] / height[None]) / np.log(self.margins.taller)
        return np.clip(ratio, -SURE, SURE)

    @cached_property
    def _bigger(self) -> Any:
        volume = np.array([np.prod(obj.size_m) for obj in self.facts.objects])
        pixels = np.array([max(look.amodal_pixels, 1) for look in self.facts.looks], np.float64)
        step = np.log(self.margins.bigger)
        real = np.log(volume[:, None] / volume[None]) / step
        shown = 1 + np.log(pixels[:, None] / (0.9 * pixels[None])) / step
        larger = np.clip(np.minimum(real, shown), 0, SURE)
        return larger - larger.T

    @cached_property
    def _same_color(self) -> Any:
        names = self.color_of
        count = len(names)
        margin = np.zeros((count, count))
        for i, mine in enumerate(names):
            for j, theirs in enumerate(names):
                if mine and theirs:
                    size = min(float(self.color(mine)[i]), float(self.color(theirs)[j]))
                    margin[i, j] = size if mine == theirs else -size
        return margin

    def between(self, a: int, b: int) -> Floats:
        """(N,) that each is between two others; the two are not."""
        if (a, b) not in self._between:
            self._between[a, b] = self._betweens(a, b)
        return self._between[a, b]

    def _betweens(self, a: int, b: int) -> Floats:
        m, places = self.margins, self.facts.ground
        found = []
        for at in (places, self.facts.seen):
            line = at[b] - at[a]
            length = float(np.linalg.norm(line)) or 1e-9
            one, other = at[a] - at, at[b] - at
            with np.errstate(invalid="ignore", divide="ignore"):
                cosine = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1)
                angle = np.degrees(np.arccos(np.clip(
                    cosine / np.linalg.norm(other, axis=1), -1, 1)))  # fmt: skip
            along = (at - at[a]) @ line / length**2
            beside = np.abs((at - at[a]) @ [-line[1], line[0]]) / length
            size = np.maximum(self.facts.sizes / 2, 1e-9)
            turned = score(angle, *m.between_angle)
            middle = score(-np.abs(along - 0.5), -m.between_along[0], -m.between_along[1])
            near = score(-beside / size, -m.between_beside[0], -m.between_beside[1])
            least = np.minimum(turned, np.minimum(middle, near))
            # In their line, though off the middle: not between them for some, but for others.
            found.append(np.where((turned > 0) & (least < 0), 0.0, least))
        margin = np.asarray(agree(*found))
        margin = np.where(self.beside[:, a] & self.beside[:, b], margin, np.minimum(margin, 0.0))
        for end in (a, b):
            # What stands on or under one of the two is nowhere along the line.
            away = np.linalg.norm(places - places[end], axis=1)
            margin = np.where(away < np.maximum(self.facts.sizes, self.facts.sizes[end]) / 2, 0.0,
                              margin)  # fmt: skip
        margin[[a, b]] = -SURE
        return margin

    def leads(self, key: str) -> Floats:
        """(N, N) how far the first leads the second in one of :data:`EXTREMES`."""
        facts, m = self.facts, self.margins
        if key in ("leftmost", "rightmost"):
            ahead = self.shift / m.lead_side
            return np.asarray(np.clip(ahead if key == "rightmost" else -ahead, -SURE, SURE))
        if key in ("nearest", "farthest"):
            both = []
            for far in (facts.distance, facts.depth):
                mean = (far[:, None] + far[None]) / 2
                both.append((far[:, None] - far[None]) / mean / m.lead_distance)
            ahead = np.clip(np.nan_to_num(agree(*both)), -SURE, SURE)
            return np.asarray(ahead if key == "farthest" else -ahead)
        found: dict[str, Floats] = {
            "tallest": self._taller, "shortest": self._taller.T,
            "largest": self._bigger, "smallest": self._bigger.T,
        }  # fmt: skip
        return found[key]

    def closest(self, reference: int) -> Floats:
        """(N, N) how much closer the first is to something than the second."""
        gap = np.maximum(self.gaps[:, reference], 0.002)
        mean = (gap[:, None] + gap[None]) / 2
        return np.clip((gap[None] - gap[:, None]) / mean / self.margins.lead_gap, -SURE, SURE)

    @cached_property
    def across(self) -> tuple[Floats, Floats]:
        """Where each is among all, 0 to 1 rightwards and away; from the poses, and as seen."""
        found = []
        for places in (self.facts.ground, self.facts.seen):
            some = places[self.there]
            low, high = np.nanmin(some, axis=0), np.nanmax(some, axis=0)
            found.append((places - low) / np.maximum(high - low, 1e-9))
        return found[0], found[1]

    def corner(self, name: str) -> Floats:
        """(N,) that each is in a corner of where the things are."""
        if not self.there.any():
            return np.full(len(self.facts), -SURE)
        # Things in one line have no corners.
        size = float(self.facts.sizes[self.there].mean())
        for places in (self.facts.ground, self.facts.seen):
            some = places[self.there]
            if not (np.nanmax(some, axis=0) - np.nanmin(some, axis=0) >= size).all():
                return np.zeros(len(self.facts))
        both = []
        for at in self.across:
            side = at[:, 0] if name.endswith("left") else 1 - at[:, 0]
            depth = at[:, 1] if name.startswith("front") else 1 - at[:, 1]
            both.append(score(-np.maximum(side, depth), -self.margins.corner[0],
                              -self.margins.corner[1]))  # fmt: skip
        return np.asarray(agree(*both))




def _gap(one: Floats, other: Floats) -> float:
    """Distance between two convex outlines (K, 2), 0 where they overlap."""
    for outline, points in ((one, other), (other, one)):
        side = np.roll(outline, -1, axis=0) - outline
        length = np.maximum(np.linalg.norm(side, axis=1), 1e-12)
        normal = np.stack([side[:, 1], -side[:, 0]], axis=1) / length[:, None]
        out = np.min(((points[None] - outline[:, None]) * normal[:, None]).sum(axis=-1), axis=1)
        if (out > 0).any():
            break
    else:
        return 0.0
    return min(_to_edges(one, other), _to_edges(other, one))


def _to_edges(points: Floats, outline: Floats) -> float:
    start, side = outline[None], (np.roll(outline, -1, axis=0) - outline)[None]
    step = points[:, None] - start
    share = (step * side).sum(axis=-1) / np.maximum((side**2).sum(axis=-1), 1e-18)
    nearest = start + np.clip(share, 0, 1)[..., None] * side
    return float(np.min(np.linalg.norm(points[:, None] - nearest, axis=-1)))
