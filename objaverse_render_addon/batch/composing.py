"""Composed scenes beside a window: one settled, one rendered and described, many written."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..compose import expressions
from ..compose.card import write_card
from ..compose.record import Scene
from ..compose.rules import RULES_FILE, Rules
from ..errors import Interrupted, RenderError
from ..files import write_whole
from ..worker.protocol import Stage
from .background import BackgroundJob, BackgroundRun
from .compose import compose, job_for
from .options import RunOptions
from .physics import check_engines, scene_file
from .results import Notice

__all__ = ["DescribeRun", "ScenesRun", "Settling"]


class Settling(BackgroundJob):
    """Draws one scene and lets it settle, in a process of its own.

    Args:
        python: Program with the engines.

    Attributes:
        scene: It, without views, once the job has ended without an error.
        index: Its number.
    """

    scene: Scene

    def __init__(self, rules: Rules, index: int, python: str) -> None:
        super().__init__("compose", "Drawing a scene")
        self.rules, self.index, self._python = rules, index, python

    def work(self) -> None:
        """Draw until one is accepted."""
        check_engines(self._python)
        if self.cancelled.is_set():
            raise Interrupted("Cancelled.")
        self.status = "Settling, draw 1"
        with tempfile.TemporaryDirectory(prefix="objaverse-scene-") as name:
            folder = Path(name)
            self.rules.write(folder / RULES_FILE)
            path = scene_file(
                self._python, str(folder / RULES_FILE), self.index, folder,
                on_refused=self._refused, cancel=self.cancelled,
            )  # fmt: skip
            self.scene = Scene.read(path)

    def _refused(self, draw: int, why: str) -> None:
        self.share = (draw + 1) / self.rules.tries
        self.status = f"Settling, draw {draw + 2} (before: {why})"


class DescribeRun(BackgroundRun):
    """Renders one scene that has settled, and writes what can be said of it.

    Args:
        scene: Without views.
        values: Dotted fields of the pictures' job.
        out: Folder; the scene's own is in it.

    Attributes:
        folder: The finished scene's, once the run has ended without an error.
    """

    def __init__(
        self, scene: Scene, name: str, values: Mapping[str, Any], out: Path,
        languages: tuple[str, ...],
    ) -> None:  # fmt: skip
        super().__init__([], job_for(values), out)
        self._scene, self._name, self._languages = scene, name, languages
        self.folder = Path()

    def work(self) -> None:
        """Render, then describe."""
        path = self.previews / f"{self._name}.scene"
        write_whole(path, self._scene.to_json().encode())
        self.sources = [str(path)]
        super().work()
        done = [one.path for one in self.report.results if one.path and one.status != "failed"]
        if not done:
            return
        self.folder = Path(done[0])
        self._events.put(Stage(self._name, "Describing"))
        expressions.write(self.folder, languages=self._languages)


class ScenesRun(BackgroundRun):
    """Makes a set of scenes: :func:`.compose.compose`, and its card."""

    def __init__(self, rules: Rules, scenes: int, values: Mapping[str, Any], out: Path) -> None:
        super().__init__([], job_for(values), out)
        self._rules, self._scenes, self._values = rules, scenes, dict(values)

    def work(self) -> None:
        """Make them."""
        self.report = compose(
            self._rules, self._scenes, self.out, self._values,
            RunOptions.of(**self.options, previews=self.previews),
            on_event=self._events.put, on_result=self._events.put, cancel=self.cancelled,
            lanes=self.lanes,
        )  # fmt: skip
        if self.report.ok:
            try:
                write_card(self.out)
            except RenderError as error:
                self._events.put(Notice(f"The set has no card: {error}"))
