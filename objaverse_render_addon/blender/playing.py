"""Environments in Blender: a stage that a user's scene builds, steps and is drawn on."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import bmesh
import bpy
import numpy as np
import numpy.typing as npt
from mathutils import Euler, Matrix, Vector

from ..cameras import Camera, look_at
from ..dataset.images import encode_srgb8
from ..environments.orders import ACT, BEGIN, DRAW
from ..environments.scene import EnvironmentScene
from ..environments.spaces import Discrete, Picture, Space, leaves, to_data
from ..errors import InvalidJob, UnexpectedError
from . import compat
from .camera import apply_camera, new_camera
from .drawing import drawn, set_up_drawing
from .importers import empty_blender
from .playback import Playback

__all__ = ["PlayStage", "Player", "described_class"]

Floats = Sequence[float]

_FIRST: Final = 1
_BEYOND: Final = 1e9
_SOLID: Final = {"MESH", "CURVE", "SURFACE", "META", "FONT", "CURVES", "POINTCLOUD"}
_TOUCHING: Final = 1e-4
"""Share of a distance by which a point may lie below the surface that it is on."""
_LAST_FRAME: Final = 1_000_000
"""Of the rigid bodies' memory."""
_BEHIND: Final = 1.0
"""Seconds of real time that are made up for; what is older is left out, and said."""


def described_class(kind: Any) -> dict[str, Any]:
    """What a user's class says of itself, as plain data.

    Raises:
        InvalidJob: It is none of environments.
    """
    if not (isinstance(kind, type) and issubclass(kind, EnvironmentScene)):
        raise InvalidJob(
            f"{kind!r} is no environment.", hint="Let it inherit from EnvironmentScene."
        )
    for name in ("observation_space", "action_space"):
        if not hasattr(kind, name):
            raise InvalidJob(f"{kind.__name__} has no {name}.", hint="Box(…), Discrete(…) …")
    for name, one in leaves(kind.action_space).items():
        if isinstance(one, Picture):
            raise InvalidJob(f"{kind.__name__}: its action {name!r} is a picture.")
    if kind.state not in ("blender", "python"):
        raise InvalidJob(f'{kind.__name__}.state is "blender" or "python", not {kind.state!r}.')
    return {
        "observation_space": to_data(kind.observation_space),
        "action_space": to_data(kind.action_space),
        "state": kind.state, "max_episode_steps": int(kind.max_episode_steps),
        "fps": float(kind.fps), "picture": [int(one) for one in kind.picture],
    }  # fmt: skip


class PlayStage:
    """One empty Blender scene, and what one wants of it. Lengths are scene units, Z is up.

    Everything of ``bpy`` may be used beside it; Blender's scene is :attr:`scene`.

    Attributes:
        playback: Time, and what is called as it goes on.
        background: Colour behind everything, linear Rec. 709.
    """

    def __init__(self, scratch: Path, fps: float) -> None:
        empty_blender()
        self.scene = bpy.context.scene
        set_up_drawing(self.scene)
        self.scene.render.fps = max(1, round(fps))
        self.scene.render.fps_base = self.scene.render.fps / fps
        self.scene.frame_set(_FIRST)
        self.background = (0.6, 0.6, 0.6)
        self.playback = Playback(self.scene)
        self._path = scratch / "picture.exr"
        self._camera = new_camera(self.scene)
        self.view = look_at((4.0, -4.0, 3.0))

    # --- Things ----------------------------------------------------------------------------------

    def _thing(
        self, name: str, at: Floats, color: Floats, fill: Callable[[Any], Any], smooth: bool
    ) -> Any:
        mesh = bpy.data.meshes.new(name)
        made = bmesh.new()
        fill(made)
        made.to_mesh(mesh)
        made.free()
        if smooth:
            for face in mesh.polygons:
                face.use_smooth = True
        material = bpy.data.materials.new(name)
        material.diffuse_color = (*color, 1.0)
        mesh.materials.append(material)
        thing = bpy.data.objects.new(name, mesh)
        thing.location = at
        self.scene.collection.objects.link(thing)
        return thing

    def box(
        self, name: str, size: Floats, *, at: Floats = (0, 0, 0), color: Floats = (0.8, 0.8, 0.8)
    ) -> Any:
        """A box with these edges, its centre at a point; colour as Workbench draws it."""
        scaled = Matrix.Diagonal((*size, 1.0))
        return self._thing(
            name, at, color, lambda made: bmesh.ops.create_cube(made, size=1, matrix=scaled), False
        )

    def ball(
        self, name: str, radius: float, *, at: Floats = (0, 0, 0), color: Floats = (0.8, 0.8, 0.8)
    ) -> Any:
        """A sphere, its centre at a point."""
        return self._thing(
            name, at, color,
            lambda made: bmesh.ops.create_uvsphere(
                made, u_segments=24, v_segments=12, radius=radius
            ),
            True,
        )  # fmt: skip

    def place(self, thing: Any, at: Floats, rotation: Floats = (0, 0, 0)) -> None:
        """Stand a thing at a point, turned by Euler angles, radians, about X, then Y, then Z."""
        turned = Euler(rotation, "XYZ").to_matrix().to_4x4()
        scaled = Matrix.Diagonal((*thing.scale, 1.0))
        thing.matrix_world = Matrix.Translation(Vector(at)) @ turned @ scaled

    def camera(self, eye: Floats, target: Floats = (0, 0, 0), *, fov: float = 50.0) -> None:
        """Look from a point at another; ``fov`` in degrees across a picture's shorter side."""
        self.view = look_at(eye, target, fov=fov)
        self._opening = fov

    _opening = 50.0

    def seen(self, width: int, height: int) -> Camera:
        """The camera, for pictures of a size."""
        at = self.view.camera_to_world
        eye, back = at[:3, 3], at[:3, 2]
        return look_at(
            eye.tolist(), (eye - back).tolist(), at[:3, 1].tolist(), fov=self._opening,
            size=(width, height),
        )  # fmt: skip

    def pose_of(self, thing: Any) -> npt.NDArray[np.float64]:
        """(4, 4) float64, local to world coordinates, as simulation and animation have it now."""
        graph = bpy.context.evaluated_depsgraph_get()
        return np.array(thing.evaluated_get(graph).matrix_world, dtype=np.float64)

    # --- Physics ---------------------------------------------------------------------------------

    def rigid(
        self,
        thing: Any,
        *,
        mass: float = 1.0,
        friction: float = 0.5,
        bounce: float = 0.0,
        shape: str = "CONVEX_HULL",
        moves: bool = True,
        driven: bool = False,
    ) -> None:
        """Let Blender's rigid bodies move a thing, or run into it.

        Args:
            mass: Kilograms, where a unit is a metre.
            bounce: Share of its speed that it keeps, 0 to 1.
            shape: ``BOX``, ``SPHERE``, ``CONVEX_HULL``, ``MESH`` …
            moves: Whether it is moved; otherwise others are stopped by it.
            driven: Whether it stands where it is put, from step to step (*animated*).
        """
        world = self.scene.rigidbody_world
        with bpy.context.temp_override(scene=self.scene, object=thing, active_object=thing):
            if world is None:
                bpy.ops.rigidbody.world_add()
                world = self.scene.rigidbody_world
                world.collection = bpy.data.collections.new("Rigid bodies")
                world.point_cache.frame_start = _FIRST
                world.point_cache.frame_end = _LAST_FRAME
        world.collection.objects.link(thing)
        body = thing.rigid_body
        compat.set_checked(body, type="ACTIVE" if moves else "PASSIVE", collision_shape=shape)
        compat.set_checked(
            body, mass=mass, friction=friction, restitution=bounce, kinematic=driven,
            use_margin=True, collision_margin=0.0,
        )

    def rewind(self) -> None:
        """Begin again at the first frame; what rigid bodies remember of the last run is gone."""
        self.playback.rewind()

    def advance(self, frames: int = 1) -> None:
        """Let animation and physics go on."""
        self.playback.advance(frames)

    def visible(
        self, points: npt.ArrayLike, camera: Camera | None = None, *, of: Any = None
    ) -> npt.NDArray[np.bool_]:
        """Which points a camera sees, by a ray to each: in the picture, and nothing before them.

        Args:
            points: (N, 3) world coordinates.
            camera: The stage's, in the shape of a square picture, otherwise.
            of: The thing on whose surface they are: what else of it is before a point hides it,
                the surface at the point does not.

        Returns:
            (N,) bool.
        """
        found = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        camera = camera or self.seen(512, 512)
        seen = camera.frames(found)
        towards = camera.towards(found)
        _, depth = camera.project(found)
        graph = bpy.context.evaluated_depsgraph_get()
        for at in np.flatnonzero(seen):
            # From the camera: of the first that is hit it is asked whether it is the point.
            reach = depth[at] if camera.lens.parallel else np.linalg.norm(
                found[at] - camera.camera_to_world[:3, 3]
            )
            start = found[at] + towards[at] * reach
            hit, where, _, _, thing, _ = self.scene.ray_cast(
                graph, start.tolist(), (-towards[at]).tolist(), distance=float(reach)
            )
            if hit:
                short = reach - np.linalg.norm(np.array(where) - start)
                same = of is None or thing.original == of or thing == of
                seen[at] = same and short <= _TOUCHING * max(reach, 1.0)
        return seen

    # --- Pictures --------------------------------------------------------------------------------

    def _clipping(self, camera: Camera) -> tuple[float, float]:
        """Near and far just around what there is: depth is as exact as they are close."""
        corners = [
            np.array(one.object.bound_box) @ np.array(one.matrix_world)[:3, :3].T
            + np.array(one.matrix_world)[:3, 3]
            for one in bpy.context.evaluated_depsgraph_get().object_instances
            if one.object.type in _SOLID
        ]  # fmt: skip
        if not corners:
            return 0.1, 100.0
        position, back = camera.camera_to_world[:3, 3], camera.camera_to_world[:3, 2]
        depth = (position - np.concatenate(corners)) @ back
        far = max(1.1 * float(depth.max()), 1e-3)
        return max(0.9 * float(depth.min()), 1e-3 * far), far

    def draw(self, camera: Camera) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """What a camera sees, as Workbench draws it.

        Returns:
            (H, W, 3) uint8 sRGB over the background; (H, W) float32, scene units along the viewing
            axis, 0 where there is nothing.
        """
        apply_camera(self.scene, self._camera, camera, *self._clipping(camera))
        channels = drawn(self.scene, self._path)
        raw = channels["Depth.Z"]
        depth = np.where((raw > 0) & (raw < _BEYOND), raw, np.float32(0)).astype(np.float32)
        planes = [channels[f"Combined.{letter}"] for letter in "RGBA"]
        linear = np.stack(planes, axis=-1).astype(np.float32)
        linear[..., :3] += (1 - linear[..., 3:]) * np.array(self.background, np.float32)
        linear[..., 3] = 1
        return encode_srgb8(linear)[..., :3], depth


class Player:
    """Rows of environments of one class, on one stage.

    Args:
        arrays: That the rows are in, see :mod:`..live.env.crew`.
        first: Number of the first row that is here, of ``count``.
        real_time: Whether time goes on between two steps.
        clock: Seconds; another for tests.
    """

    def __init__(
        self,
        kind: type[EnvironmentScene],
        options: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]],
        scratch: Path,
        *,
        first: int,
        count: int,
        limit: int,
        same_step: bool = False,
        real_time: bool = False,
        size: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = kind.__name__
        self._arrays, self._first, self._limit = arrays, first, limit
        self._same_step, self._clock = same_step, clock
        self._tick = 1 / kind.fps if real_time else 0.0
        self.stage = PlayStage(scratch, kind.fps)
        built = kind(**options)
        built.build(self.stage)
        self._plain = kind.state == "python"
        self._scenes = [copy.copy(built) for _ in range(count)]
        if count > 1:
            self._check_apart(built)
        self._size = (size[0], size[1]) if size else kind.picture
        self._turn = 0
        self._observed, self._acted = leaves(kind.observation_space), leaves(kind.action_space)
        self._pictured = [
            name for name, one in self._observed.items() if isinstance(one, Picture)
        ]
        self._given = [name for name in self._observed if name not in self._pictured]
        self._random: list[np.random.Generator | None] = [None] * count
        self._since = [0.0] * count
        self._before: list[Any] = [None] * count
        self._told: dict[int, dict[str, Any]] = {}

    def _check_apart(self, built: EnvironmentScene) -> None:
        if not self._plain:
            raise InvalidJob(
                f"{self._name} has its state in Blender, and there is one of that in a process.",
                hint='Give it as many workers as environments, or say state = "python".',
            )
        for name, value in vars(built).items():
            if isinstance(value, list | dict | set | bytearray | np.ndarray):
                raise InvalidJob(
                    f"{self._name}.build() leaves a {type(value).__name__} in self.{name}, which "
                    "all environments of this process would have together.",
                    hint="Make it in reset(), or let it be a tuple.",
                )

    @property
    def camera(self) -> Camera:
        """Of pictures."""
        return self.stage.seen(*self._size)

    # --- Requests --------------------------------------------------------------------------------

    def act(self, turn: int, camera: Camera | None = None) -> dict[int, dict[str, Any]]:
        """Do what each row is told to; what is to be said of some.

        Args:
            turn: Which of the two places for observations is written to.
            camera: From where rows are drawn; the stage's otherwise.

        Raises:
            UnexpectedError: The user's scene raised something.
        """
        self._told, self._turn = {}, turn
        orders = self._arrays["order"]
        for place in range(len(self._scenes)):
            row = self._first + place
            order = int(orders[row])
            if order & BEGIN:
                self._reset(place)
            elif order & ACT:
                self._step(place)
            if order & DRAW:
                self._picture(place, camera)
        return self._told

    def _tell(self, row: int, **facts: Any) -> None:
        self._told.setdefault(row, {}).update(facts)

    def _reset(self, place: int, seed: int = -1) -> None:
        row, arrays = self._first + place, self._arrays
        seed = int(arrays["seed"][row]) if seed < 0 else seed
        random = self._random[place]
        if seed >= 0 or random is None:
            # Whoever asks gives a seed to each that has none.
            random = self._random[place] = np.random.default_rng(max(seed, 0))
        arrays["seed"][row] = -1
        arrays["steps"][row] = 0
        arrays["reward"][row] = 0
        arrays["terminated"][row] = arrays["truncated"][row] = False
        observation = self._user(place, "reset", random)
        self._observe(place, observation, "reset")
        self._since[place], self._before[place] = self._clock(), None

    def _step(self, place: int) -> None:
        row, arrays = self._first + place, self._arrays
        action = self._action(row)
        reward, ticks, skipped = 0.0, 0, 0
        if self._tick:
            late = self._clock() - self._since[place]
            due = int(min(late, _BEHIND) / self._tick)
            skipped = int(late / self._tick) - due
            self._since[place] += (due + skipped) * self._tick
        else:
            due = 0
        waiting = self._before[place] if self._before[place] is not None else action
        done = False
        while True:
            now = waiting if ticks < due else action
            observation, value, done, told = self._user(place, "step", now)
            reward += self._number(value)
            ticks += 1
            arrays["steps"][row] += 1
            ended = self._limit and arrays["steps"][row] >= self._limit
            if done or ended or ticks > due:
                break
        self._before[place] = action
        if self._tick:
            self._tell(row, ticks=ticks, ticks_left_out=skipped)
        if told:
            self._tell(row, **told)
        arrays["reward"][row] = reward
        arrays["terminated"][row] = bool(done)
        arrays["truncated"][row] = bool(ended and not done)
        self._observe(place, observation, "step")
        if self._same_step and (done or ended):
            for name in self._observed:
                arrays[f"final/{name}"][row] = arrays[f"observed/{name}"][self._turn, row]
            said = self._told.pop(row, {})
            flags = [(name, arrays[name][row]) for name in ("reward", "terminated", "truncated")]
            self._reset(place)
            for name, value in flags:
                arrays[name][row] = value
            self._tell(row, final_info=said)

    def _number(self, value: Any) -> float:
        number = float(value)
        if not math.isfinite(number):
            raise InvalidJob(f"{self._name}.step() gave {number} as reward.")
        return number

    def _action(self, row: int) -> Any:
        found: dict[str, Any] = {}
        for name, space in self._acted.items():
            value = self._arrays[f"action/{name}"][row]
            found[name] = int(value) if isinstance(space, Discrete) else np.array(value)
        return found[""] if list(found) == [""] else found

    def _user(self, place: int, method: str, argument: Any) -> Any:
        try:
            return getattr(self._scenes[place], method)(argument)
        except Exception as error:
            import traceback

            raise UnexpectedError(
                f"{self._name}.{method}() of environment {self._first + place} raised "
                f"{type(error).__name__}: {error}",
                hint="Its traceback is in this error's log.",
                log="".join(traceback.format_exception(error)),
            ) from error

    # --- What is seen ----------------------------------------------------------------------------

    def _observe(self, place: int, observation: Any, method: str) -> None:
        row, arrays = self._first + place, self._arrays
        arrays["state"][row] += 1
        given = self._given
        parts = observation if isinstance(observation, Mapping) else {"": observation}
        if (given and parts.keys() != set(given)) or (not given and observation is not None):
            wanted = ", ".join(map(repr, given)) if given != [""] else "one array"
            raise InvalidJob(
                f"{self._name}.{method}() has to give {wanted or 'None'} as observation, not "
                f"{type(observation).__name__}.",
                hint="Pictures are drawn, and not given; several spaces are a dictionary.",
            )
        for name in given:
            self._write(f"observed/{name}", row, self._observed[name], parts[name], method)
        for name in self._pictured:
            space = self._observed[name]
            assert isinstance(space, Picture)
            rgb, depth = self._drawn(place, self.stage.seen(space.width, space.height))
            shown = rgb if space.kind == "rgb" else depth[..., None]
            self._write(f"observed/{name}", row, space, shown, method)

    def _write(self, array: str, row: int, space: Space, value: Any, method: str) -> None:
        target = self._arrays[array][self._turn]
        found = np.asarray(value)
        if found.shape != target.shape[1:]:
            raise InvalidJob(
                f"{self._name}.{method}() gave an observation of shape {found.shape}; its space "
                f"has {target.shape[1:]}."
            )
        # Before it is written: casts wrap around without a word.
        wrong = space.problem(found)
        if wrong:
            raise InvalidJob(
                f"{self._name}.{method}() gave an observation outside of its space: {wrong}."
            )
        target[row] = found

    def _drawn(
        self, place: int, camera: Camera
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        if self._plain:
            self._user(place, "pose", self.stage)
        return self.stage.draw(camera)

    def _picture(self, place: int, camera: Camera | None) -> None:
        row = self._first + place
        camera = camera or self.camera
        rgb, depth = self._drawn(place, camera)
        self._arrays["picture"][row], self._arrays["depth"][row] = rgb, depth
        self._arrays["pictured"][row] = self._arrays["state"][row]
