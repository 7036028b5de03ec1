from __future__ import annotations

import errno
import inspect

import pytest

from objaverse_render_addon import errors
from objaverse_render_addon.errors import (
    DiskFull,
    OutputNotWritable,
    RenderError,
    UnexpectedError,
    from_os_error,
    from_reason,
)

CLASSES = [
    item
    for item in vars(errors).values()
    if inspect.isclass(item) and issubclass(item, RenderError)
]
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def test_every_error_has_its_own_reason():
    reasons = [cls.reason for cls in CLASSES]
    assert sorted(reasons) == sorted(set(reasons))


def test_every_error_has_its_own_exit_code_but_for_defects_and_bad_requests():
    shared: dict[int, set[str]] = {}
    for cls in CLASSES:
        shared.setdefault(cls.exit_code, set()).add(cls.__name__)
    assert {code: names for code, names in shared.items() if len(names) > 1} == {
        1: {"RenderError", "UnexpectedError"},
        2: {"InvalidJob", "CameraFileError", "InvalidEdit"},
    }


def test_exit_codes_are_what_a_shell_can_hold_and_leave_3_for_mixed_failures():
    codes = {cls.exit_code for cls in CLASSES}
    assert all(1 <= code <= 255 for code in codes)
    assert 3 not in codes


@each_class
def test_an_error_survives_the_trip_from_another_process(cls: type[RenderError]):
    sent = cls("a.glb: it broke.", hint="Mend it.", log="line 1\nline 2")
    received = from_reason(sent.reason, sent.message, sent.hint, sent.log)
    assert type(received) is cls
    assert (received.message, received.hint, received.log) == (sent.message, sent.hint, sent.log)


@each_class
def test_every_error_is_documented_and_exported(cls: type[RenderError]):
    assert cls.__doc__
    assert cls.__name__ in errors.__all__


def test_the_export_list_is_sorted_and_resolves():
    assert list(errors.__all__) == sorted(errors.__all__)
    assert all(hasattr(errors, name) for name in errors.__all__)


def test_an_unknown_reason_becomes_an_unexpected_error_with_its_message():
    error = from_reason("from-the-future", "what it said")
    assert type(error) is UnexpectedError
    assert error.message == "what it said"


def test_the_text_of_an_error_has_message_and_hint():
    assert str(RenderError("It broke.", hint="Mend it.")) == "It broke. Mend it."
    assert str(RenderError("It broke.")) == "It broke."


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_and_no_quota_are_a_full_disk(number: int):
    error = from_os_error(OSError(number, "no room"), "/out/a.zip")
    assert type(error) is DiskFull
    assert "/out/a.zip" in error.message
    assert "no room" in error.message


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EIO])
def test_any_other_trouble_is_an_output_that_is_not_writable(number: int):
    error = from_os_error(OSError(number, "not so"), "/out")
    assert type(error) is OutputNotWritable
    assert "/out: not so." in error.message
