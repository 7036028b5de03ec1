"""Objects that the project makes itself: what they are, and their surfaces."""

from .kinds import KINDS, Kind, Look, Slot
from .mesh import Mesh, Part

__all__ = ["KINDS", "Kind", "Look", "Mesh", "Part", "Slot"]
