"""Fields as files, and what is drawn of them, against the plainest way to draw."""

from __future__ import annotations

import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from objaverse_render_addon.errors import (
    InvalidJob,
    RenderError,
    SourceNotFound,
    TruncatedFile,
    UnsafeData,
    UnsupportedFormat,
)
from objaverse_render_addon.splats.drawing import Prepared, draw, has_numba
from objaverse_render_addon.splats.field import Field, is_field, read_field, write_field

from .made import camera_at, drawn_plainly, field_of

WAYS = [False, *([True] if has_numba() else [])]


@pytest.mark.parametrize("numba", WAYS)
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_pixels_are_those_of_the_plain_way(numba: bool, degree: int) -> None:
    field = field_of(300, degree)
    camera = camera_at(40 + 80 * degree, radius=1.4 if degree else 0.4)
    color, alpha, depth = drawn_plainly(field, camera)
    drawn = draw(Prepared(field), camera, numba=numba)
    assert drawn is not None and alpha.max() > 0.9
    # A Gaussian that is just as strong as counts may fall on either side.
    for ours, truth, rim in ((drawn.color, color, 0.02), (drawn.alpha, alpha, 0.005)):
        off = np.abs(ours - truth)
        assert off.max() < rim and np.quantile(off, 0.99) < 1e-4
    there = alpha > 0.05
    assert np.quantile(np.abs(drawn.depth - depth)[there], 0.99) < 1e-4


def test_both_ways_are_one() -> None:
    if not has_numba():
        pytest.skip("NOT TESTED: numba is not installed")
    field, camera = Prepared(field_of(4000, size=0.02)), camera_at(10, (160, 120))
    fast, plain = draw(field, camera, numba=True), draw(field, camera, numba=False)
    assert fast is not None and plain is not None
    assert np.quantile(np.abs(fast.color - plain.color), 0.999) < 1e-4
    again = draw(field, camera, numba=True)
    assert again is not None and np.array_equal(again.color, fast.color)


def test_a_draft_has_what_matters_most() -> None:
    field = Prepared(field_of(20_000, 1, size=0.02))
    camera = camera_at(10, (80, 60))
    draft = field.most_important(2_000)
    whole, few = draw(field, camera), draw(draft, camera)
    first = Prepared(field_of(20_000, 1, size=0.02))
    for name in ("means", "covariances", "opacities", "harmonics"):
        setattr(first, name, getattr(first, name)[:2_000])
    any_few = draw(first, camera)
    assert whole is not None and few is not None and any_few is not None
    assert len(draft) == 2_000
    # They cover as much, and look more alike than as many others do.
    off, others = np.abs(few.color - whole.color), np.abs(any_few.color - whole.color)
    assert abs(few.alpha.mean() - whole.alpha.mean()) < 0.1 and off.mean() < 0.6 * others.mean()
    # All of them are the field itself, and of none nothing is drawn.
    same = draw(field.most_important(10**6), camera)
    assert same is not None and np.array_equal(same.color, whole.color)
    nothing = draw(field.most_important(0), camera)
    assert nothing is not None and not nothing.alpha.any()


@pytest.mark.parametrize("numba", WAYS)
def test_nothing_and_what_lies_behind(numba: bool) -> None:
    field = field_of(50)
    none = Field(*(getattr(field, name)[:0] for name in Field.__dataclass_fields__))
    behind = Field(field.means + np.float32(30), *(
        getattr(field, name) for name in list(Field.__dataclass_fields__)[1:]
    ))  # fmt: skip
    for empty in (none, behind):
        drawn = draw(Prepared(empty), camera_at(45), numba=numba)
        assert drawn is not None
        assert not drawn.alpha.any() and not drawn.depth.any()


def test_other_lenses_are_refused_by_name() -> None:
    with pytest.raises(InvalidJob, match="fisheye"):
        draw(Prepared(field_of(5)), replace(camera_at(0), projection="fisheye"))


@pytest.mark.parametrize("numba", WAYS)
def test_it_stops_when_asked(numba: bool) -> None:
    asked = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 3

    field = Prepared(field_of(2000))
    assert draw(field, camera_at(0, (320, 240)), should_stop, numba=numba) is None
    assert len(asked) <= 6


def test_several_threads_may_draw_at_once() -> None:
    field = Prepared(field_of(2000))
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda n: draw(field, camera_at(n % 2 * 90)), range(8)))
    for one in drawn[2:]:
        assert one is not None
    assert np.array_equal(drawn[0].color, drawn[6].color)  # type: ignore[union-attr]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_draws() -> None:
    field = Prepared(field_of(500))
    draw(field, camera_at(0))
    child = os.fork()
    if not child:
        drawn = draw(field, camera_at(0))
        os._exit(0 if drawn is not None and drawn.alpha.any() else 1)
    end = time.monotonic() + 20
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        assert time.monotonic() < end, "the child hangs"
        time.sleep(0.02)
    assert ended[1] == 0


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_a_field_survives_its_file(tmp_path: Path, degree: int) -> None:
    field, path = field_of(70, degree), tmp_path / "field.ply"
    write_field(path, field)
    assert is_field(path)
    again = read_field(path)
    assert again.degree == degree and len(again) == 70
    for name in Field.__dataclass_fields__:
        np.testing.assert_allclose(getattr(again, name), getattr(field, name), rtol=2e-5, atol=1e-6)


def test_another_reader_finds_the_layout_of_the_authors(tmp_path: Path) -> None:
    plyfile = pytest.importorskip("plyfile")
    field, path = field_of(9, 2), tmp_path / "field.ply"
    write_field(path, field)
    rows = plyfile.PlyData.read(path, mmap=False)["vertex"]
    names = [one.name for one in rows.properties]
    assert names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[-8:] == [
        "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
    ]  # fmt: skip
    # features_rest.transpose(1, 2).flatten(): all of red's first.
    rest = np.stack([rows[f"f_rest_{n}"] for n in range(24)], axis=1)
    np.testing.assert_array_equal(rest[:, :8], field.harmonics[:, 1:, 0])
    np.testing.assert_allclose(np.exp(rows["scale_1"]), field.scales[:, 1], rtol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-rows["opacity"])), field.opacities, rtol=1e-4)
    for text, order in ((True, "="), (False, ">")):
        other = plyfile.PlyData(
            [plyfile.PlyElement.describe(rows.data, "vertex")], text=text, byte_order=order
        )
        stream = io.BytesIO()
        other.write(stream)
        path.write_bytes(stream.getvalue())
        np.testing.assert_allclose(read_field(path).means, field.means, rtol=1e-5)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "field.ply"
    write_field(path, field_of(40, 1))
    whole = path.read_bytes()
    with pytest.raises(SourceNotFound):
        read_field(tmp_path / "none.ply")
    cases = {
        whole[:-5]: TruncatedFile,
        whole.replace(b"f_rest_3", b"f_rest_x"): UnsupportedFormat,
        whole.replace(b"rot_0", b"rut_0"): UnsupportedFormat,
        whole.replace(b"vertex 40", b"vertex 99999999999"): UnsafeData,
        whole.replace(b"float opacity", b"list uchar int opacity"): UnsupportedFormat,
        whole[:-20] + b"\xff" * 20: UnsafeData,
        b"solid cube": UnsupportedFormat,
        b"": UnsupportedFormat,
    }
    for data, error in cases.items():
        path.write_bytes(data)
        with pytest.raises(error, match=r"field\.ply"):
            read_field(path)
    rng = np.random.default_rng(3)
    for _ in range(200):
        hurt = bytearray(whole)
        for at in rng.integers(0, 600, 3):
            hurt[at] = int(rng.integers(256))
        path.write_bytes(bytes(hurt))
        try:
            read_field(path)
        except RenderError:
            continue
