"""Depth and object indices of meshes, drawn by a shader of our own.

Workbench draws ids as colours with all that it takes for a picture, and has the dependency graph
made anew. Positions and a number are enough, which stay with the driver from frame to frame. Only
meshes are drawn, and what Blender makes meshes of.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..cameras import Camera
from .stage import Stage
from .surface_numbers import can_deform
from .things import SURFACES, shown

__all__ = ["IndexDrawing"]

Array = npt.NDArray[Any]

_VERTEX: Final = """
void main() {
  gl_Position = clip * vec4(place, 1.0);
  away = dot(axis, vec4(place, 1.0));
}
"""
_FRAGMENT: Final = "void main() { found = vec2(number, away); }"
_left: Final = deque[Any]()
"""What the driver keeps for drawings that are gone, until another draws: garbage is collected by
whichever thread comes by, and the driver ends the process of one that may not draw."""


class _Triangles:
    """Of one object, ready to be drawn as soon as Blender has somewhere to draw."""

    def __init__(self, points: Array, corners: Array) -> None:
        self._arrays: tuple[Array, Array] | None = (points, corners)
        self.batch: Any = None

    def make(self, shader: Any) -> None:
        if self._arrays is not None:
            from gpu_extras.batch import batch_for_shader

            points, corners = self._arrays
            self.batch = batch_for_shader(shader, "TRIS", {"place": points}, indices=corners)
            self._arrays = None


class IndexDrawing:
    """Draws what renders on a stage; whoever uses it has had Blender draw before."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._now: tuple[int, int, int] | None = None
        self._surfaces = -1
        self._still: dict[tuple[int, int], _Triangles | None] = {}
        """Triangles of objects whose shape stays, by what they are."""
        self._drawn: list[tuple[_Triangles, float]] | None = []
        """Triangles and number of each thing; ``None`` where something is no mesh."""
        self._places: Array = np.empty((0, 4, 4))
        self._shader: Any = None
        self._targets: tuple[tuple[int, int], Any, Any] | None = None

    def __del__(self, left: deque[Any] = _left) -> None:
        left.append((self._shader, self._still, self._drawn, self._targets))

    def prepare(self, surfaces: int) -> bool:
        """Take in what renders now.

        Args:
            surfaces: How often something was changed otherwise than by being moved.

        Returns:
            Whether all of it can be drawn.
        """
        now = self._stage.version, self._stage.frame, surfaces
        if now != self._now:
            _left.clear()
            if surfaces != self._surfaces:
                self._still.clear()
            self._surfaces = surfaces
            self._drawn = self._stage.see(self._look)
            for triangles, _ in self._drawn or []:
                triangles.make(self._program())
            self._now = now
        return self._drawn is not None

    def _look(self, graph: Any) -> list[tuple[_Triangles, float]] | None:
        found: list[tuple[_Triangles, float]] = []
        places: list[Any] = []
        moving: dict[tuple[int, int], _Triangles | None] = {}
        for _, instance in shown(graph):
            obj = instance.object
            if obj.type not in SURFACES or obj.particle_systems:
                return None
            if not instance.show_self:
                continue
            # One that stays has its triangles for all its instances and times.
            still = not can_deform(obj.original)
            known, data = (self._still, obj.original.data) if still else (moving, obj.data)
            key = obj.original.as_pointer(), data.as_pointer()
            if key not in known:
                known[key] = _triangles_of(obj)
            triangles = known[key]
            if triangles is not None:
                found.append((triangles, float(obj.pass_index)))
                places.append(np.array(instance.matrix_world))
        self._places = np.array(places, np.float64).reshape(-1, 4, 4)
        return found

    def _program(self) -> Any:
        if self._shader is None:
            import gpu

            info, between = gpu.types.GPUShaderCreateInfo(), gpu.types.GPUStageInterfaceInfo("far")
            info.push_constant("MAT4", "clip")
            info.push_constant("VEC4", "axis")
            info.push_constant("FLOAT", "number")
            info.vertex_in(0, "VEC3", "place")
            between.smooth("FLOAT", "away")
            info.vertex_out(between)
            info.fragment_out(0, "VEC2", "found")
            info.vertex_source(_VERTEX)
            info.fragment_source(_FRAGMENT)
            self._shader = gpu.shader.create_from_info(info)
        return self._shader

    def _target(self, size: tuple[int, int]) -> Any:
        if self._targets is None or self._targets[0] != size:
            import gpu

            color = gpu.types.GPUTexture(size, format="RG32F")
            depth = gpu.types.GPUTexture(size, format="DEPTH_COMPONENT32F")
            target = gpu.types.GPUFrameBuffer(depth_slot=depth, color_slots=[color])
            # It does not hold what it draws into.
            self._targets = size, target, (color, depth)
        return self._targets[1]

    def draw(self, camera: Camera, clip: tuple[float, float]) -> tuple[Array, Array]:
        """What a camera sees of what was taken in.

        Args:
            camera: A perspective one.
            clip: Depths between which something is drawn.

        Returns:
            Object indices, (H, W) uint16, and depth along the camera's axis, (H, W) float32, in
            scene units; both 0 where nothing is.
        """
        import gpu

        width, height = camera.width, camera.height
        seen = camera.world_to_camera @ self._places
        rows = np.ascontiguousarray(-seen[:, 2], np.float32)
        # Column after column, as shaders have it.
        clips = np.ascontiguousarray((_clip_of(camera, *clip) @ seen).swapaxes(1, 2), np.float32)
        shader, target = self._program(), self._target((width, height))
        places = [shader.uniform_from_name(name) for name in ("clip", "axis", "number")]
        with target.bind():
            target.clear(color=(0.0, 0.0, 0.0, 0.0), depth=1.0)
            gpu.state.viewport_set(0, 0, width, height)
            gpu.state.depth_test_set("LESS_EQUAL")
            gpu.state.depth_mask_set(True)
            gpu.state.face_culling_set("NONE")
            gpu.state.blend_set("NONE")
            shader.bind()
            for (triangles, number), matrix, row in zip(
                self._drawn or [], clips, rows, strict=True
            ):
                shader.uniform_vector_float(places[0], matrix, 16, 1)
                shader.uniform_vector_float(places[1], row, 4, 1)
                shader.uniform_float("number", number)
                triangles.batch.draw(shader)
            read = target.read_color(0, 0, width, height, 2, 0, "FLOAT")
            gpu.state.depth_test_set("NONE")
            gpu.state.depth_mask_set(False)
        # Of several dimensions, it was not laid out as it says before 5.2.
        read.dimensions = width * height * 2
        found = np.frombuffer(read, np.float32).reshape(height, width, 2)[::-1]
        return found[..., 0].astype(np.uint16), np.ascontiguousarray(found[..., 1])


def _triangles_of(obj: Any) -> _Triangles | None:
    mesh = obj.to_mesh()
    if mesh is None:
        return None
    try:
        count = len(mesh.loop_triangles)
        points = np.empty((len(mesh.vertices), 3), np.float32)
        mesh.attributes["position"].data.foreach_get("vector", points.reshape(-1))
        corners = np.empty((count, 3), np.int32)
        mesh.loop_triangles.foreach_get("vertices", corners.reshape(-1))
    finally:
        obj.to_mesh_clear()
    return _Triangles(points, corners) if count else None


def _clip_of(camera: Camera, near: float, far: float) -> Array:
    """(4, 4) from the camera's axes to clip space."""
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
    found = np.zeros((4, 4))
    found[0, 0], found[0, 2] = 2 * fx / camera.width, 1 - 2 * cx / camera.width
    found[1, 1], found[1, 2] = 2 * fy / camera.height, 2 * cy / camera.height - 1
    found[2, 2], found[2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
    found[3, 2] = -1.0
    return found
