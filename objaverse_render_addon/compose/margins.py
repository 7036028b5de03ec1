"""How sure a claim has to be: every threshold of the language, in one place.

A claim's *margin* is a number: 1 and more is true, -1 and less is false, in between nobody says
anything. It grows evenly with what was measured: each setting names where a claim is true and where
it is false, and the margin is 0 half way between.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["SURE", "Margins", "agree", "score"]

Floats = npt.NDArray[np.float64]

SURE: Final = 10.0
"""Margin of what is not measured, as a name; no margin is larger."""


@dataclass(frozen=True, slots=True)
class Margins:
    """Thresholds; pairs are (true from, false from).

    Attributes:
        visible: Share of itself that a target shows; less of it may be meant, so that it is
            doubtful, but for what shows less than ``absent``.
        reference: The same of what is mentioned to say where.
        absent: Share and pixels; what shows less of both is not there.
        pixels: That a target shows at least, and share of the picture.
        side: Pixels that a target is wide and high.
        inside: Share of a target that is in the frame.
        axis: Degrees between the direction on the ground and left, right, front, behind.
        diagonal: The same of what is between two of them.
        apart: Distance on the ground that has a direction, in mean sizes.
        shift: To the side in the picture, in widths of the picture.
        lower: Of the lower edges in the picture, in its heights.
        overlap: Of what is beside each other, in columns of the narrower.
        elevation: Degrees that the camera looks down, for in front and behind.
        next_to: Gap on the ground, in sizes of the smaller.
        lead_side: Of the leftmost before the second, in widths of the picture.
        lead_distance: Of the nearest, as share of the distance.
        lead_gap: Of the closest to something, as share of the gap.
        taller, bigger: Ratio of heights, of volumes of the boxes.
        corner: Of the way across all objects, on both axes.
        between_angle: Degrees at the one in the middle.
        between_along: Distance from the middle of the line, in its lengths.
        between_beside: Distance from the line, in halves of the mean size.
        row_bend, row_space: Of a row: distance from its line in spacings; spacing in sizes.
        on_share: Of its weight that the other carries.
        within: Of its points that are inside the other.
        color: Share of the pixels by which a thing has a colour, and by which it has not.
        color_pixels: That a thing shows at least for anybody to say what colour it has, or has not.
        runner_up: Share of the second colour, at most.
        hue: By which a pixel's colour term is nearer than the next, in CIELAB (ΔE*ab); below it
            the pixel may have either.
        hidden: Visible share of what is partly hidden, from and to, and from where it is not.
        upright, lying: Degrees of tilt.
        free, edge: Of free space: metres from every object on the ground, and from the support's
            edge.
        place_near: Of free space left of something: gap, in its sizes.
    """

    visible: float = 0.4
    reference: float = 0.25
    absent: tuple[float, int] = (0.05, 64)
    pixels: tuple[int, float] = (64, 0.001)
    side: int = 8
    inside: float = 0.7
    axis: tuple[float, float] = (35.0, 80.0)
    diagonal: tuple[float, float] = (25.0, 70.0)
    apart: float = 0.6
    shift: tuple[float, float] = (0.03, -0.01)
    lower: tuple[float, float] = (0.02, -0.01)
    overlap: float = 0.25
    elevation: tuple[float, float] = (15.0, 80.0)
    next_to: tuple[float, float] = (1.0, 3.0)
    lead_side: float = 0.03
    lead_distance: float = 0.1
    lead_gap: float = 0.3
    taller: float = 1.2
    bigger: float = 1.5
    corner: tuple[float, float] = (0.15, 0.6)
    between_angle: tuple[float, float] = (150.0, 110.0)
    between_along: tuple[float, float] = (0.3, 0.5)
    between_beside: tuple[float, float] = (1.0, 3.0)
    row_bend: float = 0.2
    row_space: float = 1.0
    on_share: tuple[float, float] = (0.5, 0.0)
    within: tuple[float, float] = (0.6, 0.1)
    color: tuple[float, float] = (0.7, 0.2)
    color_pixels: int = 100
    runner_up: float = 0.15
    hue: float = 8.0
    hidden: tuple[float, float, float] = (0.3, 0.8, 0.95)
    upright: tuple[float, float] = (10.0, 45.0)
    lying: tuple[float, float] = (12.0, 45.0)
    free: tuple[float, float] = (0.025, 0.005)
    edge: tuple[float, float] = (0.02, 0.0)
    place_near: tuple[float, float] = (3.0, 5.0)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = asdict(self).items()
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values}


def score(value: Any, true_from: float, false_from: float) -> Any:
    """Margins of what was measured: 1 at ``true_from``, -1 at ``false_from``, straight between.

    What is no number has none.
    """
    middle, half = (true_from + false_from) / 2, (true_from - false_from) / 2
    return np.nan_to_num(np.clip((np.asarray(value) - middle) / half, -SURE, SURE), nan=0.0)


def agree(*margins: Any) -> Any:
    """The smallest of margins that say the same, 0 where they do not."""
    stack = np.stack([np.broadcast_to(one, np.shape(margins[0])) for one in margins])
    low, high = stack.min(axis=0), stack.max(axis=0)
    return np.where(low > 0, low, np.where(high < 0, high, 0.0))
