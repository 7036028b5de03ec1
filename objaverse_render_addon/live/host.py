"""What a session asks of whoever has the workers: a pool in this process, or a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from ..cameras import Camera
from ..job import RenderJob
from ..stage_edits import Edit
from .frames import LiveFrame
from .later import Begun

__all__ = ["Changes", "Host", "Lane", "OpenedScene", "RenderOptions"]

Lane: TypeAlias = Literal["exact", "raster"]


@dataclass(frozen=True, slots=True)
class OpenedScene:
    """A scene that was opened.

    Attributes:
        id: Its name at its host.
        views: Number of views of its job.
        facts: What the metadata of a data set would say of it.
        writable: Whether this side may change it.
        ticket: Lets others look at it, where it is a server's.
    """

    id: int
    state: int
    job: RenderJob
    views: int = 0
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    writable: bool = True
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a change brought; ``facts`` is empty where nothing of them is other."""

    state: int
    found: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How shots are rendered.

    Attributes:
        lane: ``exact`` as data sets are rendered, ``raster`` for live rates.
        workers: The most that work at it; 0 chooses.
        timeout: Seconds that one shot may take.
        deadline: Seconds that all may take; ``None`` for as long as they need.
        at_least: Number of the oldest state that frames may show.
        begun: Given what cancels them, from any thread: they end as Interrupted.
    """

    lane: Lane = "exact"
    workers: int = 0
    timeout: float = 600.0
    deadline: float | None = None
    at_least: int | None = None
    begun: Begun = field(default=lambda _: None, compare=False)


class Host(Protocol):
    """Has scenes open. Safe to use from any thread."""

    def where(self, path: str) -> str:
        """A path of this process's as the workers find it."""

    def open_scene(
        self,
        path: str,
        job: RenderJob,
        *,
        name: str,
        folders: Sequence[str],
        timeout: float,
        on_stage: Callable[[str], None],
    ) -> OpenedScene:
        """Open a file, or a stage with nothing on it where the path is empty."""

    def change_scene(
        self, scene: int, edits: Sequence[Edit], values: Mapping[str, Any], timeout: float
    ) -> Changes:
        """Change it: first its job's values, then what is on the stage."""

    def call_in_scene(
        self, scene: int, function: str, arguments: Mapping[str, Any], timeout: float
    ) -> Any:
        """Call a function of an allowed module beside it."""

    def inspect_scene(
        self,
        scene: int,
        timeout: float,
        points: Sequence[str] | None = None,
        at: int | None = None,
        called: str | None = None,
    ) -> dict[str, Any]:
        """What is on its stage; with names of points, or none, where all that is as it renders.

        Args:
            at: Animation frame at which that is; as the stage stands otherwise.
            called: What the user calls the asset: what metadata say of it is given instead
                (:meth:`.session.Session.told`).
        """

    def render_scene(
        self, scene: int, shots: Sequence[tuple[Camera, int | None]] | None, options: RenderOptions
    ) -> Iterator[LiveFrame]:
        """Complete frames, in the order of the shots; closing the iterator cancels the rest.

        Args:
            shots: Cameras and animation frames; ``None`` for all views of the scene's job, as a
                data set has them.
        """

    def close_scene(self, scene: int) -> None:
        """Forget it; no error where it is forgotten."""
