"""What brings a scene to its state, on any worker: how it was opened, what was changed since."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..job import RenderJob
from ..stage_edits import Edit, Remove
from ..worker.protocol import Change, Open

__all__ = ["Scene", "Snapshot"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A scene in one state.

    Attributes:
        job: With all that was set since.
        values: Dotted paths of the job to values, and the state since when.
        edits: Each with the state that it made, in their order.
    """

    scene: Scene
    state: int
    job: RenderJob
    values: Mapping[str, tuple[int, Any]]
    edits: Sequence[tuple[int, dict[str, Any]]]
    object_names: Mapping[int, str]

    def opening(self) -> Open:
        """What opens it in this state."""
        scene = self.scene
        return Open(
            scene.source, scene.path, scene.asset_id, self.job.to_dict(), scene.threads,
            list(scene.folders), [edit for _, edit in self.edits], self.state,
        )  # fmt: skip

    def since(self, session: int, state: int) -> Change | None:
        """What brings an open scene from an earlier state to this one; ``None`` where nothing."""
        if state == self.state:
            return None
        return Change(
            session,
            [edit for made, edit in self.edits if made > state],
            self.state,
            {name: value for name, (made, value) in self.values.items() if made > state},
        )


@dataclass(eq=False)
class Scene:
    """An open scene, wherever it is open.

    Attributes:
        source: What the user calls the file.
        path: On the workers' machine; empty for a stage with nothing on it.
        job: As it was opened.
        state: Number of the newest state; it only grows.
        lost: Why a worker cannot bring it past one of the states ``called``; empty where any can.
        called: States that a function made that was called in it, oldest first.
        owner: Who may change it.
    """

    id: int
    source: str
    path: str
    asset_id: str
    job: RenderJob
    folders: Sequence[str] = ()
    threads: int = 0
    owner: str = ""
    state: int = 0
    lost: str = ""
    called: tuple[int, ...] = ()
    views: int = 0
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    writing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._edits: dict[tuple[str, ...], tuple[int, dict[str, Any]]] = {}
        self._values: dict[str, tuple[int, Any]] = {}
        self._now = self.job
        self._names: dict[int, str] = {}
        self._guard = threading.Lock()
        self._snapshot: Snapshot | None = None

    def snapshot(self) -> Snapshot:
        """The newest state."""
        with self._guard:
            if self._snapshot is None:
                self._snapshot = Snapshot(
                    self, self.state, self._now, dict(self._values), [*self._edits.values()],
                    self._names,
                )
            return self._snapshot

    def is_cut(self, held: int, wanted: int) -> bool:
        """Whether nothing brings it from one state to another: a function was called in between."""
        return any(held < one <= wanted for one in self.called)

    def learned(self, facts: dict[str, Any], warnings: list[str]) -> None:
        """A worker says what is known of it."""
        with self._guard:
            self.facts, self.warnings = facts, warnings
            names = facts.get("object_names", {})
            self._names = {int(key): name for key, name in names.items()}
            self._snapshot = None

    def changed(
        self,
        state: int,
        edits: Iterable[tuple[Edit, dict[str, Any]]],
        values: Mapping[str, Any],
    ) -> None:
        """It is in another state now.

        Args:
            edits: Each as it is, and as a message has it.

        Raises:
            InvalidJob: Its job cannot have these values.
        """
        with self._guard:
            if values:
                self._now = self._now.with_values(dict(values))
            for edit, encoded in edits:
                self._add(state, edit, encoded)
            self._values.update({name: (state, value) for name, value in values.items()})
            self.state, self._snapshot = state, None

    def _add(self, state: int, edit: Edit, encoded: dict[str, Any]) -> None:
        target = edit.target
        self._edits.pop(target, None)
        if isinstance(edit, Remove):
            # Where it was added since, that and all that was done with it is of no use any more.
            for one in [one for one in self._edits if one[1] == edit.name]:
                del self._edits[one]
            encoded = {**encoded, "missing_ok": True}
        # The newest is the last, whatever it takes the place of.
        self._edits[target] = state, encoded
