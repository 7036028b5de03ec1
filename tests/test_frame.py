from __future__ import annotations

import numpy as np
import pytest
from analytic import (
    LOPSIDED,
    MOMENT,
    NOTHING,
    Box,
    Shape,
    Sphere,
    camera_at,
    channels_of,
    frame_of,
)

from objaverse_render_addon.cameras import Camera
from objaverse_render_addon.frame import assemble
from objaverse_render_addon.passspec import MOVING, PASS_NAMES, PASSES, PICTURES, STILL_PASSES

WITHOUT_RGB = tuple(name for name in STILL_PASSES if name not in PICTURES)


# --- Assembling -----------------------------------------------------------------------------


def made_up(**planes: list[list[float]]) -> dict[str, np.ndarray]:
    """Channels of a 2x2 picture: a surface that faces the camera, but for ``planes``."""
    channels = {
        "depth.V": [[2, 3], [4, 5]],
        "normal.X": [[0, 0], [0, 0]],
        "normal.Y": [[0, 0], [0, 0]],
        "normal.Z": [[1, 1], [1, 1]],
        "object_index.V": [[1, 2], [3, 4]],
    }
    channels |= {".".join(name.rsplit("_", 1)): data for name, data in planes.items()}
    return {name: np.array(data, np.float32) for name, data in channels.items()}


TOP = Camera(2, 2, np.array([[2.0, 0, 1], [0, 2, 1], [0, 0, 1]]), np.eye(4))


def test_every_pass_has_a_meaning():
    assert tuple(PASSES) == PASS_NAMES
    assert set(PASS_NAMES) == {*STILL_PASSES, *MOVING, "sensor_depth"}
    assert set(STILL_PASSES).isdisjoint(MOVING)


@pytest.mark.parametrize("nothing", [NOTHING, np.inf, np.nan, 0.0, -1.0])
def test_a_pixel_without_depth_is_zero_in_every_pass(nothing: float):
    channels = made_up(depth_V=[[2, nothing], [4, 5]])
    passes = assemble(
        channels, TOP, ["depth", "normal", "mask", "object_index", "distance"], "camera"
    )
    assert passes["mask"].tolist() == [[1, 0], [1, 1]]
    assert all((data[0, 1] == 0).all() for data in passes.values())
    assert passes["depth"].tolist() == [[2, 0], [4, 5]]


@pytest.mark.parametrize("length", [0.0, 0.3, np.nan])
def test_a_pixel_without_a_normal_is_zero_in_every_pass(length: float):
    channels = made_up(normal_Z=[[1, 1], [length, 1]])
    passes = assemble(channels, TOP, ["depth", "normal", "mask"], "camera")
    assert passes["mask"].tolist() == [[1, 1], [0, 1]]
    assert all((data[1, 0] == 0).all() for data in passes.values())


def test_shortened_normals_are_unit_again():
    channels = made_up(normal_Z=[[0.7, 0.9], [1.1, 1]], normal_X=[[0.1, 0.2], [0.3, 0.4]])
    normal = assemble(channels, TOP, [], "camera")["normal"]
    assert np.allclose(np.linalg.norm(normal, axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("shape", [Sphere(), Box(), LOPSIDED], ids=["sphere", "box", "lopsided"])
@pytest.mark.parametrize("space", ["camera", "world"])
def test_mask_depth_and_normal_say_the_same(shape: Shape, space: str):
    passes = assemble(channels_of(shape, camera_at()), camera_at(), WITHOUT_RGB, space, MOMENT)
    length = np.linalg.norm(passes["normal"], axis=-1)
    assert 0 < passes["mask"].mean() < 1
    assert np.array_equal(passes["mask"] == 1, passes["depth"] > 0)
    assert np.array_equal(passes["mask"] == 1, length > 0.5)
    assert np.allclose(length, passes["mask"], atol=1e-6)


def test_normals_are_in_the_axes_that_were_asked_for():
    # Straight from above: the camera's axes are turned about Z, and its Z is the world's.
    camera = camera_at(azimuth=300, elevation=0)
    shape = Box((-1, -1, -1), (1, 1, 1))
    channels = channels_of(shape, camera)
    world = assemble(channels, camera, [], "world")["normal"]
    local = assemble(channels, camera, [], "camera")["normal"]
    faces = {tuple(np.round(n, 3).tolist()) for n in world.reshape(-1, 3)} - {(0, 0, 0)}
    assert faces == {(1.0, 0.0, 0.0), (0.0, -1.0, 0.0)}
    rotation = camera.camera_to_world[:3, :3]
    assert np.allclose(local @ rotation.T, world, atol=1e-6)
    # What is seen faces the camera: its +Z.
    assert (local[world.any(axis=-1)][:, 2] > 0.4).all()


def test_every_pass_has_the_dtype_and_channels_of_its_specification():
    passes = assemble(channels_of(LOPSIDED, camera_at()), camera_at(), WITHOUT_RGB,
                      "camera", MOMENT)  # fmt: skip
    assert set(passes) == set(WITHOUT_RGB)
    for name, data in passes.items():
        spec = PASSES[name]
        assert data.dtype == np.dtype(spec.dtype), name
        assert data.shape == ((96, 96) if spec.channels == 1 else (96, 96, spec.channels)), name
        assert (data[passes["mask"] == 0] == spec.invalid).all(), name


def test_mask_depth_and_normal_are_there_also_when_nobody_asks():
    passes = assemble(made_up(), TOP, ["rgb"], "camera")
    assert set(passes) == {"mask", "depth", "normal"}


def test_position_and_distance_are_those_of_the_surface():
    camera = camera_at(fov=80, radius=2.5)
    passes = assemble(channels_of(Sphere(), camera), camera, WITHOUT_RGB, "camera", MOMENT)
    mask = passes["mask"] == 1
    assert np.allclose(np.linalg.norm(passes["position"][mask], axis=1), 1, atol=1e-5)
    away = passes["position"][mask] - camera.camera_to_world[:3, 3]
    assert np.allclose(np.linalg.norm(away, axis=1), passes["distance"][mask], atol=1e-5)
    assert np.allclose(camera.unproject(passes["depth"])[mask], passes["position"][mask], atol=1e-5)


def test_object_ids_are_rounded():
    channels = made_up(object_index_V=[[0.999, 2.001], [65535, 4]])
    ids = assemble(channels, TOP, ["object_index"], "camera")["object_index"]
    assert ids.tolist() == [[1, 2], [65535, 4]]


def test_material_passes_take_the_channels_they_mean():
    camera = camera_at()
    passes = assemble(channels_of(Sphere(), camera), camera, WITHOUT_RGB, "camera", MOMENT)
    assert passes["albedo"][48, 48].tolist() == [0.25, 0.5, 0.75]
    assert passes["roughness_metallic"][48, 48].tolist() == [0.5, 0.5]


def test_the_specification_of_a_frame_names_the_space_of_its_normals():
    frame = frame_of(Sphere(), camera_at(), normal_space="world")
    assert frame.spec("normal").space == "world"
    assert "world" in frame.spec("normal").about
    assert frame.spec("depth") == PASSES["depth"]
    assert frame_of(Sphere(), camera_at()).spec("normal") == PASSES["normal"]
