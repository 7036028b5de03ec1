"""Light, floor and walls of a scene, and how bright: computed, so that nothing burns out.

What a white matt surface that lies flat sends back is set, not what the lamps shine with: for a
small lamp of P watts at a distance d its irradiance is P cos θ / (π d²), of an even sky of
radiance L it is π L.
"""

from __future__ import annotations

import math
from typing import Any, Final

from .draws import Draws
from .record import STAGED
from .skies import Environment, part_of
from .support import MATERIALS

__all__ = ["light_of", "surfaces_of"]

BRIGHTNESS: Final = (1.0, 1.2)
"""Radiance of a perfectly white surface that lies flat, where 1 is the picture's white."""
_DISTANCE: Final = 2.3
_SKY_SEEN: Final = 0.72
"""Of the sky, what walls and things leave of it on the support."""
_SKY_ON_SHELF: Final = 0.6
"""The same, between back and sides."""
_IMAGE: Final = (0.65, 1.0)
"""Share of the brightness that an image gives, where there is one; lamps give the rest."""
_WHITES: Final = (
    (1.0, 0.89, 0.77), (1.0, 0.94, 0.87), (1.0, 0.98, 0.96), (0.95, 0.97, 1.0), (0.90, 0.94, 1.0),
)  # fmt: skip
"""Linear, from 4000 K to 7500 K, the strongest channel 1."""


def light_of(
    support: str, draws: Draws, environment: Environment | None = None
) -> dict[str, Any]:
    """Sky and lamps, ready for JSON: strengths are what Blender takes.

    Of an image ``sky`` is the radiance of an even sky that is as bright on a surface as the image
    is on the one that it lights most, of those that face up or 45 degrees to a side: walls are no
    more than a backdrop then, through which it shines.

    Args:
        support: Its kind.
    """
    total = draws.uniform(*BRIGHTNESS)
    sky = draws.uniform(0.44, 0.6)
    seen = _SKY_ON_SHELF if support == "shelf" else 1.0 if support == STAGED else _SKY_SEEN
    if environment is not None:
        seen = _SKY_ON_SHELF if support == "shelf" else 1.0
        sky = draws.uniform(*_IMAGE) * total / seen
    left = total - seen * sky
    fill_share = draws.uniform(0.2, 0.38)
    azimuth = draws.uniform(0, 360)
    turned = 110.0, 230.0
    if support == "shelf":
        # From elsewhere it stands in the shadow of its back and sides.
        azimuth, turned = draws.uniform(-110, -70), (-25.0, 25.0)
    lamps = []
    for share, turn, elevation, size in (
        (1 - fill_share, 0.0, draws.uniform(46, 72), draws.uniform(0.35, 0.9)),
        (fill_share, draws.uniform(*turned), draws.uniform(38, 60), draws.uniform(1.2, 1.8)),
    ):
        flat = math.sin(math.radians(elevation))
        angle = math.radians(azimuth + turn)
        aside = math.cos(math.radians(elevation))
        lamps.append({
            "position": [_DISTANCE * aside * math.cos(angle), _DISTANCE * aside * math.sin(angle),
                         _DISTANCE * flat],
            "size": size,
            "power": math.pi**2 * _DISTANCE**2 * share * left / flat,
            "color": list(draws.choice(_WHITES)),
        })  # fmt: skip
    found = {"sky": sky, "sky_color": list(draws.choice(_WHITES)), "lamps": lamps, "white": total}
    if environment is not None:
        found["environment"] = {
            "sha256": environment.sha256, "name": environment.name,
            "split": part_of(environment.sha256), "turn_deg": draws.uniform(0, 360),
        }  # fmt: skip
    return found


def surfaces_of(material: str, draws: Draws) -> dict[str, Any]:
    """Materials of support, floor and walls: a generator's name and its numbers each."""

    def made(kind: str, calm: bool = False) -> dict[str, Any]:
        return {
            "kind": kind, "tone": draws.unit(), "turn": draws.uniform(0, 360),
            "offset": [draws.uniform(-50, 50) for _ in range(3)], "calm": calm,
            "scale": draws.uniform(0.8, 1.25),
        }  # fmt: skip

    others = [kind for kind in MATERIALS if kind not in (material, "cloth")]
    return {
        "support": made(material), "under": made(draws.choice([k for k in others if k != "paint"])),
        "floor": made(draws.choice(("wood", "concrete", "terrazzo"))),
        "walls": made("paint", calm=True),
    }
