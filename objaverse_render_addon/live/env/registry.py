"""What ``gymnasium.make`` and ``make_vec`` find."""

from __future__ import annotations

from typing import Any, Final

import gymnasium

from .rows import scene_name

__all__ = ["register", "register_all"]

_HERE: Final = __name__.rpartition(".")[0]
_SCENES: Final = f"{__name__.partition('.')[0]}.environments"
_OWN: Final = {
    "CartPole-v0": f"{_SCENES}.cart_pole:CartPole",
    "CartPolePictures-v0": f"{_SCENES}.cart_pole:CartPolePictures",
    "PushBall-v0": f"{_SCENES}.push:PushBall",
}
NAMESPACE: Final = "objaverse_render"


def register(name: str, scene: Any, **kwargs: Any) -> None:
    """Let Gymnasium make a scene of one's own by a name.

    Args:
        name: As ``objaverse_render/Mine-v0``.
        scene: A class of ``EnvironmentScene`` in a module, or ``module:Class``.
        kwargs: Of :class:`.single.Environment`.
    """
    gymnasium.register(
        name, f"{_HERE}.single:Environment",
        vector_entry_point=f"{_HERE}.vector:VectorEnvironment",
        kwargs={"scene": scene_name(scene), **kwargs},
    )  # fmt: skip


def register_all() -> None:
    """The project's own; Gymnasium calls this when it is imported (an entry point)."""
    for name, scene in _OWN.items():
        if f"{NAMESPACE}/{name}" not in gymnasium.registry:
            register(f"{NAMESPACE}/{name}", scene)
    if f"{NAMESPACE}/Scene-v0" not in gymnasium.registry:
        # Any scene: gymnasium.make("objaverse_render/Scene-v0", scene=Mine).
        gymnasium.register(
            f"{NAMESPACE}/Scene-v0", f"{_HERE}.single:Environment",
            vector_entry_point=f"{_HERE}.vector:VectorEnvironment",
        )  # fmt: skip
