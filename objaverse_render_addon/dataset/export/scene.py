"""A stored asset as an exporter sees it: chosen views, checked arrays, a place for notes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...cameras import Camera
from ...errors import CheckFailed, FormatCannotHold, InvalidJob, MissingPass, TruncatedFile
from ...frame import mask_of
from ...passspec import MARKERS, PASSES
from ..guards import parse_json
from ..images import check_png, composite, encode_png
from ..reader import AssetReader
from .base import SPLITS, DataKind, Format, Note, Options

__all__ = ["Scene"]

Array = npt.NDArray[Any]
MOST_DIGITS = 6
SCENE = "scene.json"
"""Of composed scenes."""


class Scene:
    """One asset on its way into a format.

    Views are counted from 0 to ``len(scene) - 1``, whatever was chosen.

    Attributes:
        key: The scene's name in the target.
        split: ``train``, ``val`` or ``test``.
        notes: What is not exactly as it is stored, see :meth:`note`.
        scale: Of the similarity ``exported = scale * (stored - center)`` that fits the object to
            the format's box; 1 where it needs none.
        center: (3,) of it.

    Raises:
        MissingPass: The format needs a pass that is not stored.
        InvalidJob: There are no such views.
    """

    def __init__(self, reader: AssetReader, form: Format, options: Options) -> None:
        self.reader, self.form, self.options = reader, form, options
        self.metadata = reader.metadata
        self.asset_id = reader.id
        self.key = form.key(self.asset_id, self.metadata)
        self.split = _own_split(reader) or options.split_of(self.asset_id)
        self.notes: list[Note] = []
        if self.key != self.asset_id:
            self.note("renamed", "scenes have another name than the assets, see export.json")
        missing = [name for name in form.needs if name not in reader.passes]
        if missing:
            raise MissingPass(
                f"{self.asset_id}: {form.name} needs {', '.join(missing)}, stored are "
                f"{', '.join(reader.passes)}.",
                hint=f"Render with --passes {','.join([*reader.passes, *missing])}.",
            )
        self._positions = self._chosen(self._of_frame())
        self.keys = [reader.key(position) for position in self._positions]
        self._demand_a_place_for_time()
        self._demand_projection()
        self.numbers = self._checked_numbers()
        self.scale, self.center = self._similarity()
        self._last: tuple[int, dict[str, Array]] = (-1, {})
        lit = sum(len(reader.lights(position)) > 1 for position in self._positions)
        self.note("dropped", "pictures under other lights than the first, or under each of several "
                  "light groups, are left out (views)", lit)  # fmt: skip
        dropped = ", ".join(name for name in reader.passes if name not in form.holds)
        if dropped:
            self.note("dropped", f"stored, but {form.name} has no place for: {dropped}")

    def __len__(self) -> int:
        return len(self._positions)

    def _of_frame(self) -> list[int]:
        """Places in ``views`` of the animation frame that the options choose, or of all."""
        places, frame = list(range(len(self.reader.views))), self.options.frame
        if frame is None:
            return places
        found = [place for place in places if self.reader.key(place).time == frame]
        if not found:
            times = self.reader.times
            there = f"has the frames {times[0]} to {times[-1]}" if times else "stands still"
            raise InvalidJob(f"{self.asset_id} {there}, frame {frame} is asked for.")
        return found

    def _chosen(self, places: list[int]) -> list[int]:
        if self.options.views is None:
            kept = places
            if not self.form.holds_out(self.split):
                kept = [place for place in kept if self.reader.views[place].get("split") != "test"]
                if not kept:
                    raise InvalidJob(f"{self.asset_id}: all views are held out for tests.")
                self.note("dropped", "views that are held out for tests: this format has no place "
                          "for them, and trainers would learn from them; --views names views to "
                          "write (views)", len(places) - len(kept))  # fmt: skip
            return kept
        chosen, count = sorted(set(self.options.views)), len(places)
        if chosen[-1] >= count:
            raise InvalidJob(f"{self.asset_id} has {count} views, view {chosen[-1]} is asked for.")
        return [places[view] for view in chosen]

    def _demand_a_place_for_time(self) -> None:
        times = self.times
        if len(times) > 1 and not self.form.has_time:
            raise FormatCannotHold(
                f"{self.asset_id} shows {len(times)} frames of an animation; {self.form.name} has "
                "no place for time.",
                hint=f"--frame {times[0]} exports one of them; nerfstudio, nerf-synthetic "
                "(D-NeRF), kubric, tum, visionsim, hdf5, webdataset and coco hold all.",
            )

    @property
    def times(self) -> list[int]:
        """Animation frames that the views show, ascending; none of what stands still."""
        return sorted({key.time for key in self.keys if key.time is not None})

    def when(self, view: int) -> float:
        """When a view is, from 0 at the first frame to 1 at the last; 0 of what stands still."""
        times, time = self.times, self.keys[view].time
        if time is None or len(times) < 2:
            return 0.0
        return (time - times[0]) / (times[-1] - times[0])

    def seconds(self, view: int) -> float:
        """When a view is, in seconds as it plays; of what stands still a second for each view."""
        if self.keys[view].time is None:
            return float(view)
        return self.reader.seconds(self._positions[view])

    @property
    def sequences(self) -> dict[str, list[int]]:
        """Views of one camera, one after the other, by the name of a folder below the scene's.

        A camera that moves along is one, and so are the views of what stands still: its folder is
        the scene's own.
        """
        times = [key.time for key in self.keys]
        if None in times or len(set(times)) == len(times):
            return {"": list(range(len(self)))}
        cameras: dict[int, list[int]] = {}
        for view, key in enumerate(self.keys):
            cameras.setdefault(key.view, []).append(view)
        if len(cameras) == 1:
            return {"": list(range(len(self)))}
        return {f"/{number:03d}": views for number, views in sorted(cameras.items())}

    def _demand_projection(self) -> None:
        for position in self._positions:
            projection = self.reader.views[position].get("projection", "perspective")
            if projection not in self.form.projections:
                raise FormatCannotHold(
                    f"{self.asset_id}: view {self.reader.views[position]['index']} is "
                    f"{projection}; {self.form.name} holds "
                    f"{' and '.join(self.form.projections)} cameras only.",
                    hint="Export to nerfstudio or webdataset, which hold every lens, or render "
                    "with --projection perspective.",
                )

    @property
    def has_held_out(self) -> bool:
        """Whether some of the views are held out for tests, and others are not."""
        found = {self.view_split(view) for view in range(len(self))}
        return "test" in found and len(found) > 1

    def view_split(self, view: int) -> str | None:
        """``test`` of a view that is held out, ``train`` of the others; ``None`` where none is."""
        found: str | None = self.reader.views[self._positions[view]].get("split")
        return found

    def split_views(self) -> dict[str, list[int]]:
        """The views in parts, each in order: ``train``, ``val`` and ``test``.

        Views that were rendered to be held out are the test, and val too, since trainers watch
        that while they learn from all the others. Where there are none, parts are drawn.
        """
        if not self.has_held_out:
            return self.options.split_views(self.asset_id, len(self))
        said = [self.view_split(view) for view in range(len(self))]
        held_out = [view for view, split in enumerate(said) if split == "test"]
        train = [view for view, split in enumerate(said) if split != "test"]
        return {"train": train, "val": held_out, "test": held_out}

    def _checked_numbers(self) -> list[int]:
        numbers = [self.reader.views[position]["index"] for position in self._positions]
        whole = all(isinstance(n, int) and 0 <= n < 10**MOST_DIGITS for n in numbers)
        if not numbers or not whole or len(set(numbers)) != len(numbers):
            raise CheckFailed(f"{self.asset_id}: its views are not numbered once each.")
        return numbers

    def _similarity(self) -> tuple[float, npt.NDArray[np.float64]]:
        half = self.form.half_edge
        if half is None:
            return 1.0, np.zeros(3)
        low, high = np.array(self.reader.bounds.box_min), np.array(self.reader.bounds.box_max)
        scale, center = 2 * half / float((high - low).max()), (low + high) / 2
        if not np.isfinite([scale, *center]).all():
            raise CheckFailed(f"{self.asset_id}: its bounding box is none.")
        if abs(scale - 1) < 1e-3 and np.abs(center * scale).max() < 1e-3 * half:
            return 1.0, np.zeros(3)
        self.note(
            "rescaled",
            f"cameras and depth are scaled and moved so that the object fills "
            f"[{-half:g}, {half:g}] along its longest edge; worst is the factor",
            worst=scale,
        )
        return scale, center

    def note(self, kind: DataKind, text: str, amount: int = 1, worst: float | None = None) -> None:
        """Tell what is not exactly as it is stored.

        Args:
            text: A sentence without the asset's name, numbers of the view or amounts, so that
                it can be counted over scenes.
            amount: How often (pixels, views; the text says what is counted). 0 tells nothing.
            worst: The largest deviation, in a unit that the text names.
        """
        if amount == 0:
            return
        for note in self.notes:
            if (note.kind, note.text) == (kind, text):
                note.add(amount, worst)
                return
        self.notes.append(Note(kind, text, amount, worst))

    @cached_property
    def source_digest(self) -> str:
        """SHA-256 of what the metadata say."""
        text = json.dumps(self.metadata, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def counted(self) -> range:
        """The views, for formats whose trainers count them from 0; that is told."""
        if self.numbers != list(range(len(self))):
            self.note("renamed", "views are counted anew from 0, in their order", len(self))
        return range(len(self))

    # --- Cameras ------------------------------------------------------------------------------

    def camera(self, view: int) -> Camera:
        """The view's camera, after the similarity. See :mod:`~...cameras` for the axes."""
        camera = self.reader.view(self._positions[view]).camera
        pose = camera.camera_to_world.copy()
        if not (np.isfinite(pose).all() and np.isfinite(camera.intrinsics).all()):
            raise CheckFailed(f"{self.asset_id}: the camera of view {view} is not finite.")
        pose[:3, 3] = self.scale * (pose[:3, 3] - self.center)
        intrinsics = camera.intrinsics
        if camera.lens.parallel:
            # In pixels per scene unit.
            intrinsics = intrinsics.copy()
            intrinsics[[0, 1], [0, 1]] /= self.scale
        return dataclasses.replace(camera, intrinsics=intrinsics, camera_to_world=pose)

    @property
    def cameras(self) -> list[Camera]:
        """Of all views."""
        return [self.camera(view) for view in range(len(self))]

    # --- Pictures -----------------------------------------------------------------------------

    def png(self, view: int) -> bytes:
        """The stored picture, byte for byte: RGBA with straight alpha, or RGB.

        Raises:
            TruncatedFile: It is damaged.
            CheckFailed: It has another size than the metadata say.
        """
        return self._png(view)[0]

    def _png(self, view: int) -> tuple[bytes, int]:
        name = self.reader.views[self._positions[view]]["image"]
        data = self.reader.bytes_of(name)
        try:
            width, height, channels = check_png(data)
        except ValueError as error:
            raise TruncatedFile(f"{self.reader.ref}: {name} is damaged: {error}.") from error
        self._check_size(view, "rgb", (height, width, channels))
        return data, channels

    def picture(self, view: int) -> npt.NDArray[np.uint8]:
        """(H, W, 4) uint8 with straight alpha, or (H, W, 3) over the dataset's background."""
        pixels = self.reader.read(self._positions[view], ("rgb",))["rgb"]
        self._check_size(view, "rgb", pixels.shape)
        return pixels

    def rgba_png(self, view: int) -> bytes:
        """The stored picture of a format that needs alpha.

        Raises:
            MissingPass: The dataset was rendered over a background colour.
        """
        data, channels = self._png(view)
        if channels != 4:
            raise MissingPass(
                f"{self.asset_id}: {self.form.name} needs alpha, and the pictures have none.",
                hint="Render without --background.",
            )
        return data

    def rgb(self, view: int) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 over the options' background."""
        pixels = self.picture(view)
        if pixels.shape[2] == 3:
            return pixels
        background = self.options.background or self.form.background
        red, green, blue = background
        self.note(
            "composited",
            f"pictures are laid over the background {red:g},{green:g},{blue:g} (sRGB)",
        )
        return composite(pixels, background)

    def rgb_png(self, view: int) -> bytes:
        """PNG of :meth:`rgb`."""
        return encode_png(self.rgb(view))

    # --- Geometry -----------------------------------------------------------------------------

    def array(self, view: int, name: str) -> Array:
        """A stored pass as it is, without the similarity.

        Returns:
            (H, W) or (H, W, C), of the pass' own dtype and units (:data:`.PASS_SPECS`).

        Raises:
            MissingPass: It is not stored.
            CheckFailed: Its shape or values are not what the metadata say.
        """
        if name not in self.reader.passes:
            raise MissingPass(f"{self.asset_id}: {name} is not stored.")
        if self._last[0] != view:
            self._last = view, {}
        if name not in self._last[1]:
            self._last[1].update(self.reader.read(self._positions[view], (name,)))
        data = self._last[1][name]
        self._check_size(view, name, data.shape)
        finite = np.isfinite(data) | (np.isnan(data) if PASSES[name].unknown is not None else False)
        if data.dtype.kind == "f" and not finite.all():
            raise CheckFailed(f"{self.asset_id}: {name} of view {view} is not finite.")
        return data

    @property
    def has_tracks(self) -> bool:
        """Whether points were followed."""
        return all("tracks" in self.reader.views[position] for position in self._positions)

    def tracks(self, view: int) -> Array:
        """(N, 6), see :attr:`objaverse_render_addon.frame.Frame.tracks`; exported units."""
        found = self.reader.tracks(self._positions[view])
        assert found is not None
        moved = found.copy()
        moved[:, 2:5] = (found[:, 2:5] - self.center) * self.scale
        return moved

    def has(self, name: str) -> bool:
        """Whether a pass is stored."""
        return name in self.reader.passes

    def depth(self, view: int) -> npt.NDArray[np.float32]:
        """(H, W) float32, as the pass, exported units, 0 where nothing is."""
        return (self.array(view, "depth") * np.float32(self.scale)).astype(np.float32, copy=False)

    def position(self, view: int) -> npt.NDArray[np.float32]:
        """(H, W, 3) float32 world points in exported units, 0 where nothing is."""
        data = self.array(view, "position")
        if self.scale == 1.0 and not self.center.any():
            return data
        moved = self.scale * (data - self.center)
        return np.where(self.mask(view)[..., None], moved, 0).astype(np.float32)

    @property
    def has_mask(self) -> bool:
        """Whether what is stored says exactly where the object is."""
        return any(self.has(name) for name in MARKERS)

    def mask(self, view: int) -> npt.NDArray[np.bool_]:
        """(H, W) bool, the object; from the depth and the like where no mask is stored."""
        for name in MARKERS:
            if self.has(name):
                mask = mask_of({name: self.array(view, name)}, exact=True)
                assert mask is not None
                return mask
        raise MissingPass(
            f"{self.asset_id}: {self.form.name} needs mask or depth, neither is stored.",
            hint="Render with --passes rgb,depth,normal,mask.",
        )

    def world_normal(self, view: int) -> npt.NDArray[np.float32]:
        """(H, W, 3) float32 unit normals in world axes, 0 where nothing is."""
        data = self.array(view, "normal")
        if self.metadata["passes"]["normal"]["space"] == "world":
            return data
        rotation = self.camera(view).camera_to_world[:3, :3]
        return (data.astype(np.float64) @ rotation.T).astype(np.float32)

    def _check_size(
        self, view: int, name: str, shape: tuple[int, ...]
    ) -> None:
        record = self.reader.views[self._positions[view]]
        size = (record["height"], record["width"])
        planes = [() if count == 1 else (count,) for count in PASSES[name].channel_counts()]
        if shape not in [(*size, *plane) for plane in planes]:
            raise CheckFailed(
                f"{self.asset_id}: {name} of view {view} has the shape {shape}, the metadata "
                f"say {size[1]}x{size[0]}."
            )


def _own_split(reader: AssetReader) -> str:
    """Of a composed scene whose assets are of one split: it is made of nothing else's."""
    if SCENE not in reader.names():
        return ""
    recipe = parse_json(reader.bytes_of(SCENE), f"{reader.ref}/{SCENE}").get("recipe")
    split = recipe.get("split", "") if isinstance(recipe, dict) else ""
    return split if split in SPLITS else ""
