"""The parts of a job: what each setting means, its default, and what it cannot be."""

from .asset import AssetRules
from .cameras import CameraRules
from .engine import EngineSettings
from .files import Files
from .lighting import Lighting
from .pixels import Pixels
from .time import TimeRules

__all__ = [
    "AssetRules", "CameraRules", "EngineSettings", "Files", "Lighting", "Pixels", "TimeRules",
]  # fmt: skip
