"""A file's own cameras, as it has them at any time: parented, constrained, animated.

Lens shift, sensor fit and the scene's pixel aspect are in their intrinsics. Depth of field is
left out: what is blurred has no truth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cameras import Camera, View
from ..errors import CameraFileError
from ..job.convert import suggest
from .camera import read_lens

__all__ = ["SceneCameras"]


@dataclass(frozen=True, slots=True)
class _Seen:
    """One camera at one time, where the file has it."""

    camera: Camera
    clip: tuple[float, float]


class SceneCameras:
    """Those cameras of a file that a job wants.

    Args:
        source: The scene that they came with.
        objects: All that came.
        names: As the job names them, separated by commas; all, sorted by name, where it does not.
        count: The first so many.
        size: Of the pictures, pixels.

    Attributes:
        names: Of the cameras, by number of view.
        warnings: ``name: sentence`` each.

    Raises:
        CameraFileError: There is none, none of this name, or one that is no pinhole.
    """

    def __init__(
        self,
        source: Any,
        objects: Sequence[Any],
        names: str | None,
        count: int | None,
        size: tuple[int, int],
    ) -> None:
        self._size = size
        render = source.render
        self._scale = float(render.pixel_aspect_x), float(render.pixel_aspect_y)
        self.warnings: list[str] = []
        known = {obj.name: obj for obj in sorted(objects, key=lambda item: item.name_full)
                 if obj.type == "CAMERA"}  # fmt: skip
        if not known:
            raise CameraFileError(
                "The file has no camera.", hint="Use another --cameras, as ring or gs-lrm."
            )
        if names is not None:
            wanted = [name.strip() for name in names.split(",") if name.strip()]
            for name in wanted:
                if name not in known:
                    raise CameraFileError(
                        f"The file has no camera {name!r}; it has {', '.join(list(known)[:20])}.",
                        hint=suggest(name, known),
                    )
        else:
            wanted = [name for name, obj in known.items() if obj.data.type == "PERSP"] or [*known]
            if len(wanted) < len(known):
                others = [name for name in known if name not in wanted]
                self.warnings.append(
                    f"cameras-left-out: {', '.join(others[:5])} have no perspective."
                )
        if count is not None and count > len(wanted):
            raise CameraFileError(
                f"The file has {len(wanted)} cameras that count; views asked for: {count}."
            )
        self._cameras = [known[name] for name in wanted[:count]]
        self.names = tuple(obj.name for obj in self._cameras)
        for obj in self._cameras:
            if obj.data.type != "PERSP":
                raise CameraFileError(
                    f"The camera {obj.name} is {obj.data.type.lower()}.",
                    hint="Only perspective cameras are rendered; choose with --scene-cameras.",
                )
            if obj.data.dof.use_dof:
                self.warnings.append(
                    f"no-depth-of-field: {obj.name} has depth of field, which is left out."
                )
        bound = {
            marker.camera.name: None
            for marker in sorted(source.timeline_markers, key=lambda item: item.frame)
            if marker.camera is not None
        }
        if len(bound) > 1:
            self.warnings.append(
                f"cameras-switch: markers of the file's timeline cut from camera to camera "
                f"({', '.join(list(bound)[:5])}); each camera is a view of its own, at all frames."
            )
        if render.use_multiview:
            self.warnings.append(
                "one-eye: the file renders its cameras in stereo; they are rendered as they stand."
            )
        self._seen: dict[int, list[_Seen]] = {}

    def object_of(self, view: View) -> Any:
        """The file's camera that a view is of."""
        return self._cameras[view.index]

    def link(self, collection: Any) -> None:
        """Put them where they are evaluated."""
        for obj in self._cameras:
            if obj.name not in collection.objects:
                collection.objects.link(obj)

    def unlink(self, collection: Any) -> None:
        """Take them away again: what is normalised are not they."""
        for obj in self._cameras:
            if obj.name in collection.objects:
                collection.objects.unlink(obj)

    def remember(self, frame: int, depsgraph: Any) -> None:
        """Note how they stand at a frame, from the evaluated scene."""
        found = []
        for obj in self._cameras:
            evaluated = obj.evaluated_get(depsgraph)
            projection, intrinsics = read_lens(evaluated, depsgraph, self._size, self._scale)
            pose = np.array(evaluated.matrix_world.normalized(), dtype=np.float64)
            camera = Camera(*self._size, intrinsics, pose, projection)
            rotation = camera.camera_to_world[:3, :3]
            if np.linalg.det(rotation) < 0 or abs(np.linalg.det(rotation) - 1) > 1e-3:
                raise CameraFileError(
                    f"The camera {obj.name} is mirrored or sheared at frame {frame}.",
                    hint="Apply the scale of what it is parented to.",
                )
            data = evaluated.data
            found.append(_Seen(camera, (float(data.clip_start), float(data.clip_end))))
        self._seen[frame] = found

    def views(
        self, frame: int, scale: float, translation: Sequence[float],
        turn: npt.NDArray[np.float64] | None = None,
    ) -> list[View]:
        """The views at a frame, in normalised units.

        Args:
            scale, translation, turn: Of the normalisation; the turn is (3, 3).
        """
        turn = np.eye(3) if turn is None else turn
        views = []
        for index, seen in enumerate(self._seen[frame]):
            pose = seen.camera.camera_to_world.copy()
            pose[:3] = turn @ pose[:3]
            pose[:3, 3] = scale * pose[:3, 3] + translation
            intrinsics = seen.camera.intrinsics.copy()
            if seen.camera.lens.parallel:
                # In pixels per unit.
                intrinsics[[0, 1], [0, 1]] /= scale
            camera = dataclasses.replace(
                seen.camera, intrinsics=intrinsics, camera_to_world=pose
            )
            near, far = (scale * distance for distance in seen.clip)
            views.append(View(index, camera, clip=(near, far)))
        return views
