"""An open scene, as its user has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy.typing as npt

from ..cameras import Camera
from ..errors import StaleFrame
from ..frame import FrameSink
from ..job import RenderJob
from ..stage_edits import Edit, SetTime, located
from .changing import CHANGE, Changing, values_of
from .frames import LiveFrame
from .host import Host, Lane, OpenedScene, RenderOptions
from .later import Begun, later
from .shots import ShotLike, look_at, moved, overlooking, resized, shots_of, with_lens

__all__ = ["Session"]


class Session(Changing):
    """A scene that stays open: change it, look at it, as often as you like.

    Whatever changes it returns the number of the state that it is in then, which only grows; every
    frame says which state it shows (:attr:`.frames.LiveFrame.state`). The camera is no part of that
    state: it belongs to each shot. Matrices are (4, 4) from local to world coordinates, lengths
    scene units, colours linear Rec. 709, camera axes OpenGL's.

    Errors are raised here as themselves; warnings are data (:attr:`warnings`).

    Attributes:
        camera: Where :meth:`frame` looks from unless it is told.
        time: Animation frame at which the stage stands, as it was set here; ``None`` as opened.
        state: Number of the newest state.
        writable: Whether it may be changed from here.
        ticket: What lets other clients of the same server look at it
            (:meth:`.remote.Connection.attach`); empty where there is none.
    """

    def __init__(self, host: Host, opened: OpenedScene, camera: Camera | None = None) -> None:
        self._host, self._id = host, opened.id
        self.state = opened.state
        self._job = opened.job
        self._warnings, self._facts = list(opened.warnings), opened.facts
        self.writable, self.ticket = opened.writable, opened.ticket
        self.time: int | None = None
        self.camera = camera or overlooking(self._facts.get("bounds", {}), self.resolution)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        width, height = self.resolution
        return f"<Session {self._id}: state {self.state}, {width}x{height}>"

    def _repr_png_(self) -> bytes:
        return self.frame()._repr_png_()

    # --- What it is ------------------------------------------------------------------------------

    @property
    def id(self) -> int:
        """Its name at its host; another client of the same server may look at it by that."""
        return self._id

    @property
    def job(self) -> RenderJob:
        """As it is now."""
        return self._job

    @property
    def resolution(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._job.pixels.resolution

    @property
    def warnings(self) -> list[str]:
        """``name: sentence`` each, of the scene as it is."""
        return list(self._warnings)

    @property
    def facts(self) -> dict[str, Any]:
        """What a data set's metadata say of the scene: importer, light, bounds, engine, names."""
        return {name: said for name, said in self._facts.items() if name != "frames"}

    @property
    def count(self) -> int:
        """How many frames :meth:`render_views` gives: the job's views at all their times."""
        return int(self._facts["frames"])

    @property
    def object_names(self) -> dict[int, str]:
        """Number in the pass ``object_index`` to name."""
        return {int(key): name for key, name in self._facts.get("object_names", {}).items()}

    def inspect(self, timeout: float = CHANGE) -> dict[str, Any]:
        """Assets, objects with their matrices, materials, lights and cameras on the stage."""
        return self._host.inspect_scene(self._id, timeout)

    def placed(
        self, points: Sequence[str] = (), timeout: float = CHANGE, *, time: int | None = None
    ) -> dict[str, Any]:
        """Where objects and points are, as they render: world, scene units.

        Args:
            time: Animation frame; as the stage stands otherwise.
            points: Names of objects (an empty's origin), or ``object:group``: the middle of a
                vertex group's vertices, weighted.

        Returns:
            ``objects``: ``name``, ``index`` in the pass ``object_index`` (0 where nothing asked
            for that), ``matrix`` (4, 4) from the object's axes to the world's, ``low`` and
            ``high``, (3,) corners of its box in its own axes. ``points``: name to (3,).

        Raises:
            InvalidEdit: There is no such point.
        """
        return self._host.inspect_scene(self._id, timeout, list(points), time)

    def told(self, called: str, timeout: float = CHANGE) -> dict[str, Any]:
        """What a data set's metadata say of the asset beside its views, as of now.

        Some of that is known once its views are rendered: ask behind them.

        Args:
            called: What its user calls the asset.

        Returns:
            ``facts`` as :attr:`facts`; ``source``, its file (size, SHA-256, licence …);
            ``fingerprint`` of the job; ``made_of``, the program that renders; ``kind`` of the file.

        Raises:
            InvalidEdit: The scene began with no file.
        """
        return self._host.inspect_scene(self._id, timeout, called=called)

    def close(self) -> None:
        """Forget the scene."""
        self._host.close_scene(self._id)

    # --- The camera ------------------------------------------------------------------------------

    def look_at(
        self,
        eye: Sequence[float],
        target: Sequence[float] = (0.0, 0.0, 0.0),
        up: Sequence[float] = (0.0, 0.0, 1.0),
        *,
        fov: float | None = None,
    ) -> Camera:
        """Move the camera to a point, looking at another; see :func:`.shots.look_at`."""
        looking = look_at(eye, target, up, size=(self.camera.width, self.camera.height))
        return self.move_camera(looking.camera_to_world, fov=fov)

    def move_camera(self, camera_to_world: npt.ArrayLike, *, fov: float | None = None) -> Camera:
        """Give the camera a pose, and its lens another angle where that is said.

        Args:
            camera_to_world: (4, 4), OpenGL axes.
            fov: Full angle across the picture's shorter side, in degrees.
        """
        self.camera = moved(self.camera, camera_to_world, fov)
        return self.camera

    def lens(
        self,
        *,
        fov: float | None = None,
        focal_px: float | None = None,
        intrinsics: npt.ArrayLike | None = None,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> Camera:
        """Give the camera another lens.

        Args:
            fov: Full angle across the picture's shorter side, in degrees.
            focal_px: Focal length in pixels instead.
            intrinsics: (3, 3), pixels, instead.
            shift: Of the principal point, as a share of width and height.
        """
        self.camera = with_lens(
            self.camera, fov=fov, focal_px=focal_px, intrinsics=intrinsics, shift=shift
        )
        return self.camera

    # --- Changes ---------------------------------------------------------------------------------

    def change(
        self, *edits: Edit, timeout: float = CHANGE, **settings: Any
    ) -> list[dict[str, Any]]:
        """Make several changes at once, in one state.

        Args:
            edits: See :mod:`..stage_edits`.
            settings: As :meth:`set`.

        Returns:
            What each edit brought, as the names of objects that came.

        Raises:
            InvalidEdit: One says something impossible or names what is not there; nothing of them
                is so then.
        """
        there = [located(edit, self._host.where) for edit in edits]
        made = self._host.change_scene(self._id, there, values_of(settings), timeout)
        self.state = made.state
        if settings:
            self._job = self._job.with_values(values_of(settings))
            width, height = self.resolution
            if (self.camera.width, self.camera.height) != (width, height):
                self.camera = resized(self.camera, width, height)
        if made.facts:
            self._facts, self._warnings = made.facts, made.warnings
        return made.found

    def set(self, **settings: Any) -> int:
        """Change settings of the job: ``samples``, ``engine``, ``passes``, ``resolution``,
        ``normal_space``, ``denoise``, ``seed`` …

        What belongs to a scene from its start (asset, lighting, device) is refused by name.
        """
        self.change(**settings)
        return self.state

    def set_time(self, frame: int) -> int:
        """Stop time at an animation frame."""
        self.change(SetTime(frame=frame))
        self.time = frame
        return self.state

    def call(self, function: str, /, *, timeout: float = CHANGE, **arguments: Any) -> Any:
        """Call a function of a module that whoever started the workers allowed by name.

        It gets the worker's :class:`..blender.session.Session` and the arguments, which are plain
        data as is what it returns. It is not called again where its worker dies: the scene is lost
        then, and says so (:class:`~objaverse_render_addon.errors.SceneLost`).
        """
        result = self._host.call_in_scene(self._id, function, arguments, timeout)
        self.state += 1
        return result

    # --- Frames ----------------------------------------------------------------------------------

    def frame(
        self,
        camera: Camera | None = None,
        time: int | None = None,
        *,
        lane: Lane = "exact",
        at_least: int | None = None,
        timeout: float = 600.0,
        begun: Begun = lambda _: None,
    ) -> LiveFrame:
        """One frame of the newest state.

        Args:
            camera: From where; the session's camera otherwise.
            time: Animation frame; as the stage stands otherwise.
            lane: ``exact`` as data sets are rendered, ``raster`` for live rates (docs/live.md).
            at_least: Number of the oldest state that it may show; the newest known here otherwise.
                Where somebody else changes the scene, it is waited for.
            timeout: Seconds that it may take.
            begun: Called with what cancels it, from any thread; it ends as Interrupted then.

        Raises:
            StaleFrame: The state did not come.
        """
        oldest = self.state if at_least is None else at_least
        options = RenderOptions(lane, timeout=timeout, at_least=oldest, begun=begun)
        frames = self._host.render_scene(self._id, [(camera or self.camera, time)], options)
        found = next(iter(frames))
        if found.state < oldest:
            raise StaleFrame(f"A frame of state {found.state} came; {oldest} was asked for.")
        return found

    def render(
        self,
        shots: Iterable[ShotLike],
        sink: FrameSink | None = None,
        *,
        lane: Lane = "exact",
        workers: int = 0,
        timeout: float = 600.0,
        deadline: float | None = None,
        progress: Callable[[int, int], None] | None = None,
        begun: Begun = lambda _: None,
    ) -> Iterator[LiveFrame]:
        """Complete, checked frames of shots, in their order, all of one state.

        Several workers share them; one that dies is replaced and its shot tried once more. Leaving
        the loop (or ``close()`` of the iterator) cancels what is still to come.

        Args:
            shots: Cameras, (camera, animation frame) pairs, or animation frames.
            sink: Gets each frame before it is yielded: a data set's writer, previews. Whoever made
                it closes it.
            workers: The most that work at it; 0 chooses.
            timeout: Seconds that one shot may take.
            deadline: Seconds that all may take.
            progress: Called with frames done and their number, from here; what it raises is raised
                here, and ends the rendering.
            begun: Called with what cancels it, from any thread, also in the midst of a frame; it
                ends as Interrupted then.

        Raises:
            WorkerCrashed, WorkerTimeout: With the number of the shot.
            RenderError: What a shot failed of, in its turn.
        """
        wanted = list(shots_of(shots, self.camera))
        options = RenderOptions(lane, workers, timeout, deadline, begun=begun)
        frames = self._host.render_scene(self._id, wanted, options)

        def given() -> Iterator[LiveFrame]:
            try:
                for number, frame in enumerate(frames, 1):
                    if sink is not None:
                        sink.geometry(frame)
                        sink.frame(frame)
                    if progress is not None:
                        progress(number, len(wanted))
                    yield frame
            finally:
                close = getattr(frames, "close", None)
                if close is not None:
                    close()

        return given()

    def render_views(self, *, timeout: float = 600.0) -> Iterator[LiveFrame]:
        """All views of the scene's job, in a data set's order, with its pixels to the bit.

        Args:
            timeout: Seconds that one may take.
        """
        yield from self._host.render_scene(self._id, None, RenderOptions(timeout=timeout))

    def render_to(self, shots: Iterable[ShotLike], sink: FrameSink, **options: Any) -> int:
        """The same, into a sink; the number of frames. The sink is closed, or aborted."""
        count = 0
        try:
            for _ in self.render(shots, sink, **options):
                count += 1
        except BaseException:
            sink.abort()
            raise
        sink.close()
        return count

    def frame_async(self, *arguments: Any, **options: Any) -> Future[LiveFrame]:
        """As :meth:`frame`, later; in a coroutine, ``await asyncio.wrap_future(…)`` it.

        To cancel the future ends the render.
        """
        return later(lambda begun: self.frame(*arguments, begun=begun, **options))

    def render_async(self, shots: Iterable[ShotLike], **options: Any) -> Future[list[LiveFrame]]:
        """As :meth:`render`, later and all at once. To cancel the future ends the renders."""
        return later(lambda begun: list(self.render(shots, begun=begun, **options)))
