"""Environments for reinforcement learning: scenes in Blender that are reset, stepped and looked at.

A scene is a class (:class:`EnvironmentScene`), its spaces are data (:class:`Box` …);
``gymnasium.make("objaverse_render/CartPole-v0")`` makes one of those that are here. See
docs/environments.md. Writing a scene needs no Gymnasium, using one does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...environments import Box, Discrete, EnvironmentScene, Picture

if TYPE_CHECKING:
    from .registry import register, register_all
    from .single import Environment
    from .stable_baselines import for_stable_baselines
    from .vector import VectorEnvironment
    from .watching import watch

__all__ = [
    "Box", "Discrete", "Environment", "EnvironmentScene", "Picture", "VectorEnvironment",
    "for_stable_baselines", "register", "register_all", "watch",
]  # fmt: skip

_HOME = {
    "for_stable_baselines": "stable_baselines", "Environment": "single",
    "VectorEnvironment": "vector", "register": "registry", "register_all": "registry",
    "watch": "watching",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # Blender's side has the scenes alone.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if error.name != "gymnasium":
            raise
        from ...errors import MissingDependency

        raise MissingDependency(
            "Environments are used through Gymnasium, which is not there.",
            hint='Install it with: pip install "objaverse-render-addon[gym]"',
        ) from error
