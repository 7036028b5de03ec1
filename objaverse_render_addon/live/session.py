"""An open scene, as its user has it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import Camera, intrinsics_of
from ..errors import InvalidEdit, InvalidJob, StaleFrame
from ..frame import FrameSink
from ..job import RenderJob
from ..job.convert import suggest
from ..job.settings import fields_of
from ..stage_edits import (
    AddAsset,
    AddLight,
    AddMesh,
    Edit,
    LightKind,
    Place,
    Remove,
    SetLight,
    SetMaterial,
    SetTime,
    SetWorld,
    Show,
    Value,
    located,
)
from .frames import LiveFrame
from .host import Host, Lane, OpenedScene, RenderOptions
from .shots import ShotLike, look_at, perspective, shots_of

if TYPE_CHECKING:
    from ..job.choices import Normalization

__all__ = ["Opens", "Session"]

_OPENING: Final = 300.0
_CHANGE: Final = 60.0


@functools.cache
def _paths() -> dict[str, str]:
    """Names of settings to their dotted paths in a job: ``samples`` is ``engine.samples``."""
    return {field.setting.name: path for path, field in fields_of(RenderJob).items()}


def values_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name or by dotted path, as a job's dotted paths.

    Raises:
        InvalidJob: There is no such setting.
    """
    paths = _paths()
    found = {}
    for name, value in settings.items():
        path = name if name in paths.values() else paths.get(name)
        if path is None:
            raise InvalidJob(f"There is no setting {name!r}.", hint=suggest(name, [*paths]))
        found[path] = list(value) if isinstance(value, tuple) else value
    return found


class Opens:
    """Opens scenes; a pool of workers, or a server."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def open(
        self,
        path: str | Path | None = None,
        *,
        job: RenderJob | None = None,
        whole: bool = False,
        name: str = "",
        folders: Sequence[str | Path] = (),
        camera: Camera | None = None,
        timeout: float = _OPENING,
        on_stage: Callable[[str], None] = lambda _: None,
        **settings: Any,
    ) -> Session:
        """Open a file and hold it, or a stage with nothing on it.

        Args:
            path: Any 3D file, on the workers' machine; ``None`` for an empty stage.
            job: What it is opened with; the default one otherwise.
            whole: Take the file as a scene: where it stands, in its own light, instead of
                normalised in that of the job.
            name: What the asset is called on the stage; the file's stem otherwise.
            folders: That the file may read from beside its own.
            camera: Where the session looks from; otherwise from the job's first view's side.
            timeout: Seconds that it may take.
            on_stage: Called with ``import`` and ``prepare`` as they begin.
            settings: Of the job, by the names of the command line's flags (``resolution``,
                ``passes``, ``engine``, ``samples``, ``normalize``, ``lighting``, ``seed`` …).

        Raises:
            RenderError: As whatever is wrong, by its class.
        """
        values = values_of(settings)
        if whole:
            values = {"asset.normalize": "none", "lighting.mode": "keep", **values}
        made = (job or RenderJob()).with_values(values) if values else job or RenderJob()
        opened = self._host.open_scene(
            "" if path is None else self._host.where(str(path)), made,
            name=name or ("stage" if path is None else Path(path).stem),
            folders=[str(folder) for folder in folders],
            timeout=timeout, on_stage=on_stage,
        )  # fmt: skip
        return Session(self._host, opened, camera)


class Session:
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
        self.camera = camera or self._first_camera()

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
        return dict(self._facts)

    @property
    def object_names(self) -> dict[int, str]:
        """Number in the pass ``object_index`` to name."""
        return {int(key): name for key, name in self._facts.get("object_names", {}).items()}

    def inspect(self, timeout: float = _CHANGE) -> dict[str, Any]:
        """Assets, objects with their matrices, materials, lights and cameras on the stage."""
        return self._host.inspect_scene(self._id, timeout)

    def placed(self, points: Sequence[str] = (), timeout: float = _CHANGE) -> dict[str, Any]:
        """Where objects and points are, as they render at the stage's time: world, scene units.

        Args:
            points: Names of objects (an empty's origin), or ``object:group``: the middle of a
                vertex group's vertices, weighted.

        Returns:
            ``objects``: ``name``, ``index`` in the pass ``object_index`` (0 where nothing asked
            for that), ``matrix`` (4, 4) from the object's axes to the world's, ``low`` and
            ``high``, (3,) corners of its box in its own axes. ``points``: name to (3,).

        Raises:
            InvalidEdit: There is no such point.
        """
        return self._host.inspect_scene(self._id, timeout, list(points))

    def close(self) -> None:
        """Forget the scene."""
        self._host.close_scene(self._id)

    # --- The camera ------------------------------------------------------------------------------

    def _first_camera(self) -> Camera:
        bounds = self._facts.get("bounds", {})
        center = np.array(bounds.get("center", (0.0, 0.0, 0.0)), dtype=np.float64)
        radius = float(bounds.get("radius", 1.0)) or 1.0
        away = np.array((0.6, -0.7, 0.45)) / np.linalg.norm((0.6, -0.7, 0.45))
        eye = center + 2.6 * radius * away
        return look_at(eye.tolist(), center.tolist(), size=self.resolution)

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
        old = self.camera
        made = perspective(camera_to_world, size=(old.width, old.height), fov=fov or 50.0)
        intrinsics = made.intrinsics if fov is not None else old.intrinsics
        # A field of view is a perspective lens's; without one the lens stays what it is.
        projection = old.projection if fov is None else "perspective"
        self.camera = Camera(
            old.width, old.height, intrinsics, made.camera_to_world, projection
        )
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
        old = self.camera
        width, height = old.width, old.height
        if (fov is None) + (focal_px is None) + (intrinsics is None) != 2:
            raise InvalidEdit("A lens is a field of view, a focal length, or intrinsics.")
        if intrinsics is not None:
            matrix = np.array(intrinsics, dtype=np.float64)
        elif fov is not None:
            matrix = intrinsics_of("perspective", fov, (width, height), 1.0, shift)
        else:
            matrix = np.array([
                [focal_px, 0, width * (0.5 + shift[0])],
                [0, focal_px, height * (0.5 + shift[1])],
                [0, 0, 1],
            ], dtype=np.float64)  # fmt: skip
        self.camera = Camera(width, height, matrix, old.camera_to_world)
        return self.camera

    # --- Changes ---------------------------------------------------------------------------------

    def change(
        self, *edits: Edit, timeout: float = _CHANGE, **settings: Any
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
                self.camera = _resized(self.camera, width, height)
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

    def place(self, name: str, matrix: npt.ArrayLike) -> int:
        """Stand an asset, an object or a light at a place in the world."""
        self.change(Place(name=name, matrix=_rows(matrix)))
        return self.state

    def show(self, name: str, visible: bool = True) -> int:
        """Let an asset, an object or a light render, or not."""
        self.change(Show(name=name, visible=visible))
        return self.state

    def hide(self, name: str) -> int:
        """Let an asset, an object or a light not render."""
        return self.show(name, False)

    def add(
        self,
        path: str | Path,
        name: str = "",
        *,
        matrix: npt.ArrayLike | None = None,
        normalize: Normalization = "none",
        folders: Sequence[str | Path] = (),
        timeout: float = _OPENING,
    ) -> dict[str, Any]:
        """Put a file on the stage.

        Args:
            path: On the workers' machine.
            name: What it is called from now on; the file's stem otherwise.
            normalize: Box or sphere that it fills before it is placed.

        Returns:
            ``objects``, their names, and ``warnings``.
        """
        edit = AddAsset(
            name=name or Path(path).stem, path=str(path), normalize=normalize,
            matrix=None if matrix is None else _rows(matrix),
            folders=[str(folder) for folder in folders],
        )  # fmt: skip
        return self.change(edit, timeout=timeout)[0]

    def add_mesh(
        self,
        name: str,
        vertices: npt.ArrayLike,
        faces: Iterable[Sequence[int]],
        *,
        color: Sequence[float] = (0.8, 0.8, 0.8),
        matrix: npt.ArrayLike | None = None,
    ) -> int:
        """Put a mesh on the stage: (N, 3) vertices, and each face's numbers of them."""
        points = np.asarray(vertices, dtype=np.float64).tolist()
        corners = [[int(at) for at in face] for face in faces]
        self.change(
            AddMesh(name=name, vertices=points, faces=corners, color=[float(one) for one in color],
                    matrix=None if matrix is None else _rows(matrix))
        )  # fmt: skip
        return self.state

    def remove(self, name: str) -> int:
        """Take an asset or an added light off the stage."""
        self.change(Remove(name=name))
        return self.state

    def add_light(
        self,
        name: str,
        kind: LightKind = "POINT",
        *,
        energy: float = 100.0,
        color: Sequence[float] = (1.0, 1.0, 1.0),
        size: float = 0.1,
        angle: float | None = None,
        matrix: npt.ArrayLike | None = None,
    ) -> int:
        """Put a light on the stage; see :class:`..stage_edits.AddLight`."""
        self.change(
            AddLight(name=name, kind=kind, energy=energy, color=list(color), size=size, angle=angle,
                     matrix=None if matrix is None else _rows(matrix))
        )  # fmt: skip
        return self.state

    def light(
        self,
        name: str,
        *,
        energy: float | None = None,
        color: Sequence[float] | None = None,
        size: float | None = None,
    ) -> int:
        """Change a light; what is not said stays."""
        self.change(
            SetLight(name=name, energy=energy, size=size,
                     color=None if color is None else list(color))
        )  # fmt: skip
        return self.state

    def material(self, name: str, *, repeat: float = 1.0, **values: Value | Path) -> int:
        """Give inputs of materials values, instead of what fed them.

        Args:
            name: Of a material, or of an asset or object, whose materials are all meant.
            values: By the Principled BSDF's inputs: ``base_color=(1, 0, 0)``, ``roughness=0.3``,
                ``metallic=1``, ``emission_strength=2`` …; or the path of an image.
            repeat: How often images lie side by side, see :class:`..stage_edits.SetMaterial`.
        """
        plain: dict[str, Value] = {
            key: str(value) if isinstance(value, str | Path)
            else [float(one) for one in value] if isinstance(value, Sequence) else float(value)
            for key, value in values.items()
        }  # fmt: skip
        self.change(SetMaterial(name=name, values=plain, repeat=repeat))
        return self.state

    def world(
        self,
        color: Sequence[float] = (1.0, 1.0, 1.0),
        strength: float = 1.0,
        *,
        hdri: str | Path | None = None,
    ) -> int:
        """Light the stage evenly from everywhere, or as an equirectangular image does."""
        self.change(
            SetWorld(color=list(color), strength=strength,
                     hdri=None if hdri is None else str(hdri))
        )  # fmt: skip
        return self.state

    def set_time(self, frame: int) -> int:
        """Stop time at an animation frame."""
        self.change(SetTime(frame=frame))
        self.time = frame
        return self.state

    def call(self, function: str, /, *, timeout: float = _CHANGE, **arguments: Any) -> Any:
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
    ) -> LiveFrame:
        """One frame of the newest state.

        Args:
            camera: From where; the session's camera otherwise.
            time: Animation frame; as the stage stands otherwise.
            lane: ``exact`` as data sets are rendered, ``raster`` for live rates (docs/live.md).
            at_least: Number of the oldest state that it may show; the newest known here otherwise.
                Where somebody else changes the scene, it is waited for.
            timeout: Seconds that it may take.

        Raises:
            StaleFrame: The state did not come.
        """
        oldest = self.state if at_least is None else at_least
        options = RenderOptions(lane, timeout=timeout, at_least=oldest)
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

        Raises:
            WorkerCrashed, WorkerTimeout: With the number of the shot.
            RenderError: What a shot failed of, in its turn.
        """
        wanted = list(shots_of(shots, self.camera))
        options = RenderOptions(lane, workers, timeout, deadline)
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
        """As :meth:`frame`, later; in a coroutine, ``await asyncio.wrap_future(…)`` it."""
        return self._later(lambda: self.frame(*arguments, **options))

    def render_async(self, shots: Iterable[ShotLike], **options: Any) -> Future[list[LiveFrame]]:
        """As :meth:`render`, later and all at once."""
        return self._later(lambda: list(self.render(shots, **options)))

    def _later(self, task: Callable[[], Any]) -> Future[Any]:
        threads = ThreadPoolExecutor(1, "live-later")
        try:
            return threads.submit(task)
        finally:
            threads.shutdown(wait=False)


def _resized(camera: Camera, width: int, height: int) -> Camera:
    """The same field of view across the shorter side, the principal point at the same share."""
    scale = min(width, height) / min(camera.width, camera.height)
    matrix = camera.intrinsics.copy()
    matrix[0, 0] *= scale
    matrix[1, 1] *= scale
    matrix[0, 2] *= width / camera.width
    matrix[1, 2] *= height / camera.height
    return dataclasses.replace(camera, width=width, height=height, intrinsics=matrix)


def _rows(matrix: npt.ArrayLike) -> list[list[float]]:
    found = np.asarray(matrix, dtype=np.float64)
    if found.shape != (4, 4):
        raise InvalidEdit(f"A matrix is (4, 4), not {found.shape}.")
    return [[float(number) for number in row] for row in found]
