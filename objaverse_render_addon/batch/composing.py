"""Composed scenes beside a window: one settled, one rendered and described, many written."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..assets.sources import expand
from ..compose import expressions
from ..compose.card import write_card
from ..compose.make import bring_objects
from ..compose.objects.judging import COLUMNS
from ..compose.objects.library import Library
from ..compose.record import Scene
from ..compose.rules import RULES_FILE, Rules
from ..errors import Interrupted, RenderError
from ..files import write_whole
from ..worker.protocol import Done, Failed, Stage
from .background import BackgroundJob, BackgroundRun
from .compose import compose, job_for
from .objects import prepare
from .options import RunOptions
from .physics import check_engines, scene_file
from .results import Event, Notice

__all__ = ["DescribeRun", "ScenesRun", "Settling"]


class Settling(BackgroundJob):
    """Draws one scene and lets it settle, in a process of its own.

    Args:
        python: Program with the engines.
        own: A folder of assets to draw from, too, or a list of them; none otherwise.
        home: Folder for what is made of them; what is there of the same files is taken as it is.
        options: For :meth:`.RunOptions.of`, of how they are rendered once.

    Attributes:
        scene: It, without views, once the job has ended without an error.
        index: Its number.
        objects: The folder with the surfaces of those assets, where there are any.
        library: What was made of them.
    """

    scene: Scene

    def __init__(
        self, rules: Rules, index: int, python: str, own: str = "", home: Path | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__("compose", "Drawing a scene")
        self.rules, self.index, self._python = rules, index, python
        self._own, self._home, self._options = own, home, dict(options or {})
        self.objects: Path | None = None
        self.library: Library | None = None

    def work(self) -> None:
        """Draw until one is accepted."""
        check_engines(self._python)
        self._not_cancelled()
        with tempfile.TemporaryDirectory(prefix="objaverse-scene-") as name:
            folder = place = Path(name)
            rules = self.rules
            if self._own:
                self.library = self._prepared()
                self.objects = place = self.library.folder
                rules = replace(rules, library=self.library.digest())
                self._not_cancelled()
            self.status = "Settling, draw 1"
            rules.write(place / RULES_FILE)
            path = scene_file(
                self._python, str(place / RULES_FILE), self.index, folder,
                on_refused=self._refused, cancel=self.cancelled,
            )  # fmt: skip
            self.scene = Scene.read(path)

    def _not_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise Interrupted("Cancelled.")

    def _prepared(self) -> Library:
        """The own assets as objects to draw from; those of other files have another folder."""
        assert self._home is not None
        self.status = "Looking for objects"
        sources = list(expand([self._own], more=COLUMNS))
        said = [(one, _stamp(one.text) if one.kind == "path" else ()) for one in sources]
        digest = hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).hexdigest()
        ended: set[str] = set()

        def tell(event: Event) -> None:
            if isinstance(event, Stage):
                self.status = f"Preparing {event.asset_id}"
            elif isinstance(event, Done | Failed):
                ended.add(event.asset_id)
                self.share = len(ended) / len(sources)

        return prepare(
            sources, self._home / f"own-{digest[:16]}",
            RunOptions.of(**self._options, physics=self._python),
            on_event=tell, cancel=self.cancelled,
        )  # fmt: skip

    def _refused(self, draw: int, why: str) -> None:
        self.share = (draw + 1) / self.rules.tries
        self.status = f"Settling, draw {draw + 2} (before: {why})"


def _stamp(path: str) -> tuple[int, int]:
    """Size and time of a file; none where it is not there, which its own failure says."""
    try:
        found = Path(path).stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


class DescribeRun(BackgroundRun):
    """Renders one scene that has settled, and writes what can be said of it.

    Args:
        scene: Without views.
        values: Dotted fields of the pictures' job.
        out: Folder; the scene's own is in it.
        objects: Folder with the surfaces of others' objects, where the scene has any.

    Attributes:
        folder: The finished scene's, once the run has ended without an error.
    """

    def __init__(
        self, scene: Scene, name: str, values: Mapping[str, Any], out: Path,
        languages: tuple[str, ...], objects: Path | None = None,
    ) -> None:  # fmt: skip
        super().__init__([], job_for(values), out)
        self._scene, self._name, self._languages = scene, name, languages
        self._objects = objects
        self.folder = Path()

    def work(self) -> None:
        """Render, then describe."""
        path = self.previews / f"{self._name}.scene"
        if self._objects is not None:
            bring_objects(self._scene, self._objects, self.previews)
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
    """Makes a set of scenes: :func:`.compose.compose`, and its card.

    Args:
        own: As of :class:`Settling`.
    """

    def __init__(
        self, rules: Rules, scenes: int, values: Mapping[str, Any], out: Path, own: str = ""
    ) -> None:
        super().__init__([], job_for(values), out)
        self._rules, self._scenes, self._values = rules, scenes, dict(values)
        self._own = [own] if own else []

    def work(self) -> None:
        """Make them."""
        self.report = compose(
            self._rules, self._scenes, self.out, self._values,
            RunOptions.of(**self.options, previews=self.previews), objects=self._own,
            on_event=self._events.put, on_result=self._events.put, cancel=self.cancelled,
            lanes=self.lanes,
        )  # fmt: skip
        if self.report.ok:
            try:
                write_card(self.out)
            except RenderError as error:
                self._events.put(Notice(f"The set has no card: {error}"))
