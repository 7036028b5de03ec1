"""One suite of promises for everything that draws."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from splats.made import field_of

from objaverse_render_addon.live.backends import Backend
from objaverse_render_addon.live.backends.field import FieldBackend

from .fake import FakeBackend
from .promises import Promises


class TestFake(Promises):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        yield FakeBackend()


class TestField(Promises):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        yield FieldBackend(field_of(3000))
