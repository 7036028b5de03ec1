"""One suite of promises for everything that draws."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from analytic import write_asset
from gallery_data import job_of
from splats.made import field_of

from objaverse_render_addon.dataset.reader import AssetReader
from objaverse_render_addon.errors import RenderError, WorkerStartFailed
from objaverse_render_addon.live.backends import Backend
from objaverse_render_addon.live.backends.field import FieldBackend
from objaverse_render_addon.live.backends.program import ProgramBackend
from objaverse_render_addon.live.backends.stored import StoredBackend
from objaverse_render_addon.live.levels import Adaptive, Level
from objaverse_render_addon.splats import pictures
from objaverse_render_addon.splats.field import write_field

from .fake import FakeBackend, camera_of
from .promises import Promises


class TestFake(Promises):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        yield FakeBackend()


PROGRAM = Path(__file__).parents[2] / "examples" / "draw_program.py"


class TestProgram(Promises):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Backend]:
        write_field(tmp_path / "field.ply", field_of(3000))
        command = [sys.executable, str(PROGRAM), "field", str(tmp_path / "field.ply")]
        backend = ProgramBackend(command, 60)
        yield backend
        backend.close()


class TestStored(Promises):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Backend]:
        backend = StoredBackend(AssetReader(write_asset(tmp_path, job_of(views=6), "thing")))
        yield backend
        backend.close()


SAYS = """
import sys, json
print(json.dumps({"ready": {"passes": ["rgb", "depth"]}}), flush=True)
for line in sys.stdin:
    number = json.loads(line)["draw"]
    print(%s, flush=True)
"""


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ('json.dumps({"failed": number, "message": "no glass"})', "no glass"),
        ('json.dumps({"drawn": number, "arrays": []})', "were asked for"),
        ('"nonsense"', "has ended"),
        ('json.dumps({"drawn": number, "arrays": [{"name": "rgb", "dtype": "object", '
         '"shape": [1]}]})', "has ended"),
        ('exec("import os; os._exit(3)")', "has ended"),
    ],
)  # fmt: skip
def test_a_program_that_draws_wrongly_is_named(answer: str, error: str) -> None:
    backend = ProgramBackend([sys.executable, "-c", SAYS % answer], 60)
    try:
        with pytest.raises(RenderError, match=error):
            backend.render(camera_of(1), Level(64, 48), lambda: False, {})
    finally:
        backend.close()


def test_a_program_that_is_none_is_named() -> None:
    for command in (["/nowhere/python"], [sys.executable, "-c", "print('hello')"]):
        with pytest.raises(WorkerStartFailed):
            ProgramBackend(command, 30)


def test_without_nerfstudio_it_is_said_and_what_to_do() -> None:
    """Whatever is missing of it here; a .ply needs none of it."""
    with pytest.raises(WorkerStartFailed, match=r"nerfstudio.*ns-export gaussian-splat"):
        ProgramBackend([sys.executable, str(PROGRAM), "nerfstudio", "config.yml"], 60)


def test_a_field_that_is_none_is_named_by_the_program_too(tmp_path: Path) -> None:
    (tmp_path / "field.ply").write_bytes(b"nothing")
    with pytest.raises(WorkerStartFailed, match=r"field\.ply"):
        ProgramBackend([sys.executable, str(PROGRAM), "field", str(tmp_path / "field.ply")], 60)


class TestField(Promises):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        yield FieldBackend(field_of(3000))


class TestLargeField(Promises):
    """Whose drafts have some of its Gaussians."""

    @pytest.fixture
    def backend(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
        monkeypatch.setattr(pictures, "_MOST_IN_DRAFT", 1000)
        yield FieldBackend(field_of(3000))

    def test_its_drafts_are_drafts(self, backend: Backend) -> None:
        levels = Adaptive().levels(camera_of(1), backend.samples({}), backend.drafts)
        assert [level.samples for level in levels][-2:] == [0, 1]
        draft, whole = self.draw(backend, 1, levels[-2]), self.draw(backend, 1, levels[-1])
        assert not np.array_equal(draft.image, whole.image)
        plain = self.draw(FieldBackend(field_of(1000)), 1, levels[-1])
        assert not FieldBackend(field_of(1000)).drafts and plain.alpha.any()
