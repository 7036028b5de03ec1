"""Worker processes as their parent starts them; without Blender, by a program in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from objaverse_render_addon.errors import WorkerStartFailed
from objaverse_render_addon.worker.process import WorkerProcess


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
def test_an_installed_blender_keeps_its_temporary_files_in_the_scratch_folder(tmp_path: Path):
    program, scratch = tmp_path / "blender", tmp_path / "scratch"
    program.write_text('#!/bin/sh\ntouch "$TMPDIR/its own" && echo "TMPDIR=$TMPDIR" >&2\nexit 1\n')
    program.chmod(0o755)
    with pytest.raises(WorkerStartFailed) as caught:
        WorkerProcess(program, scratch)
    assert f"TMPDIR={scratch / 'objaverse-render-'}" in caught.value.log
    assert list(scratch.iterdir()) == []
