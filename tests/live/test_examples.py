"""The examples that show a queue's pictures elsewhere, as a user runs them."""

from __future__ import annotations

import io
import json
import math
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from splats.made import camera_at, field_of

from objaverse_render_addon.cameras import Camera, Rig, intrinsics_of, look_at_pose
from objaverse_render_addon.live.backends.field import FieldBackend
from objaverse_render_addon.live.backends.program import ProgramBackend
from objaverse_render_addon.live.levels import Level, read_levels
from objaverse_render_addon.live.queue import RenderQueue
from objaverse_render_addon.live.shots import look_at
from objaverse_render_addon.splats.field import read_field, write_field

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "live-view.md").read_text(encoding="utf-8")
HANDS = """
import runpy, sys, threading, time
import numpy as np, pygame

def until(what):
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)

def picture():
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)

def done():
    last = pygame.display.get_caption()[0].split()
    return last[0] == "level" and last[1] == last[3]

def hands():
    try:
        until(lambda: pygame.display.get_init() and pygame.display.get_surface() and done())
        seen = [picture()]
        for event in (
            pygame.event.Event(pygame.MOUSEMOTION, rel=(60, 20), buttons=(1, 0, 0), pos=(9, 9)),
            pygame.event.Event(pygame.MOUSEWHEEL, x=0, y=3),
        ):
            pygame.event.post(event)
            until(lambda: not np.array_equal(picture(), seen[-1]))
            until(done)
            time.sleep(0.3)
            seen.append(picture())
        np.savez(KEPT, *seen)
    finally:
        pygame.event.post(pygame.event.Event(pygame.QUIT))

KEPT = sys.argv.pop()
threading.Thread(target=hands).start()
sys.argv = [sys.argv[1], *sys.argv[2:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_pygame_window_shows_turns_and_comes_nearer(tmp_path: Path) -> None:
    pytest.importorskip("pygame", reason="NOT TESTED: pygame-ce is not installed")
    write_field(tmp_path / "field.ply", field_of(400, size=0.06))
    hands, kept = tmp_path / "hands.py", tmp_path / "seen.npz"
    hands.write_text(HANDS)
    example = ROOT / "examples" / "view_in_pygame.py"
    subprocess.run(
        [sys.executable, str(hands), str(example), str(tmp_path / "field.ply"), str(kept)],
        check=True, timeout=120, env=os.environ | {"SDL_VIDEODRIVER": "dummy"},
    )  # fmt: skip
    with np.load(kept) as file:
        first, turned, nearer = (file[name] for name in file.files)
    assert first.shape == (640, 960, 3) and np.ptp(first) > 100
    assert not np.array_equal(first, turned)

    def covered(picture: np.ndarray) -> float:
        return float((picture.max(axis=2) > 8).mean())

    assert covered(nearer) > 1.2 * covered(turned)


@contextmanager
def viser_client(port: int, process: subprocess.Popen[bytes]) -> Iterator[Any]:
    """A connection as viser's page has it: its version as subprotocol, no limit of size."""
    import viser
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    end = time.monotonic() + 60
    while True:
        assert process.poll() is None and time.monotonic() < end
        try:
            client = connect(
                f"ws://127.0.0.1:{port}", max_size=None,
                subprotocols=[Subprotocol(f"viser-v{viser.__version__}")],
            )  # fmt: skip
        except OSError:
            time.sleep(0.1)
        else:
            break
    with client:
        yield client


def at_rest(client: Any) -> np.ndarray:
    """The next picture that came without loss, (H, W, 3), as viser's page unpacks it."""
    import msgspec
    import zstandard
    from PIL import Image

    while True:
        packed = client.recv(timeout=60)
        size = int.from_bytes(packed[8:16], "little")
        unpacked = zstandard.ZstdDecompressor().decompress(packed[16 : 16 + size])
        for message in reversed(msgspec.msgpack.decode(unpacked)["messages"]):
            # It begins with none.
            if message.get("format") == "png" and message.get("rgb_data") is not None:
                picture = Image.open(io.BytesIO(message["rgb_data"]))
                return np.asarray(picture.convert("RGB"))


def test_a_viser_client_is_shown_what_its_camera_sees(tmp_path: Path) -> None:
    pytest.importorskip("viser", reason="NOT TESTED: viser is not installed")
    import msgspec
    from viser._messages import ViewerCameraMessage
    from viser.transforms import SO3

    field = field_of(400, size=0.06)
    write_field(tmp_path / "field.ply", field)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    example = ROOT / "examples" / "view_in_viser.py"
    process = subprocess.Popen(
        [sys.executable, str(example), str(tmp_path / "field.ply"), "--port", str(port)]
    )
    try:
        with viser_client(port, process) as client:
            for azimuth, size in ((20.0, (320, 240)), (140.0, (240, 360))):
                seen = camera_of(azimuth, size)
                pose = seen.camera_to_world
                turn = SO3.from_matrix(pose[:3, :3] * [1, -1, -1]).wxyz
                fov = 2 * math.atan(0.5 * seen.height / seen.intrinsics[1, 1])
                client.send(msgspec.msgpack.encode(ViewerCameraMessage(
                    tuple(turn.tolist()), tuple(pose[:3, 3].tolist()), fov, 0.01, 100.0,
                    size[1], size[0], (0.0, 0.0, 0.0), (0.0, 0.0, 1.0),
                ).as_serializable_dict()))  # fmt: skip
                # It is as large as the example makes it.
                scale = 960 / max(size)
                camera = camera_of(azimuth, (round(size[0] * scale), round(size[1] * scale)))
                drawn = FieldBackend(field).render(
                    camera, Level(camera.width, camera.height), lambda: False, {}
                )
                assert drawn is not None
                alpha = drawn.alpha[..., None]
                truth = drawn.image * alpha + 255 * (1 - alpha)
                picture = at_rest(client)
                assert picture.shape == truth.shape and np.ptp(picture) > 100
                assert np.abs(picture - truth).max() < 3
        with viser_client(port, process):  # One who left takes nothing with it.
            pass
    finally:
        process.kill()
        process.wait()


def camera_of(azimuth: float, size: tuple[int, int]) -> Camera:
    lens = intrinsics_of("perspective", 50.0, size)
    return Camera(*size, lens, look_at_pose(azimuth, 25.0, 1.4, Rig()))


@pytest.fixture
def beside_a_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_field(tmp_path / "field.ply", field_of(300, size=0.06))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("beside_a_field")
def test_the_page_s_python_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    found: dict[str, Any] = {}
    exec(code.replace("queue.get_image()  ", "queue.wait(30)  "), found)
    picture, number = found["picture"], found["number"]
    assert picture.update == number and picture.last
    assert picture.drawn.image.any() and picture.drawn.depth.any() and picture.drawn.alpha.any()


def test_who_comes_from_omni_nerf_finds_what_the_page_says(beside_a_field: Path) -> None:
    """Each call of its table, with that queue's own levels, pose and picture."""
    table = PAGE.partition("## Coming from omni-nerf")[2]

    def said(code: str) -> str:
        assert f"`{code}`" in table, code
        return code

    sizes = [(64, 36), (128, 72), (320, 180), (640, 360), (1280, 720)]
    levels = [{"width": w, "height": h, "fov": 35.98339777} for w, h in sizes]
    (beside_a_field / "levels.json").write_text(json.dumps(levels[:3]))
    names: dict[str, Any] = {
        "RenderQueue": RenderQueue, "FieldBackend": FieldBackend, "read_field": read_field,
        "read_levels": read_levels, "np": np, "pose": np.eye(4),
    }  # fmt: skip
    with eval(said('RenderQueue(FieldBackend(read_field("field.ply")))'), names) as queue:
        queue.update_camera(camera_at(0))
        assert queue.wait(30, last=True).drawn.image.any()
    code = said('RenderQueue(…, levels=read_levels("levels.json"))')
    code = code.replace("…", 'FieldBackend(read_field("field.ply"))')
    # Euler angles, XYZ in radians: about the world's axes, as SciPy's "xyz".
    angles, position = np.array([1.1, -0.3, 0.7]), np.array([1.2, -0.9, 0.8])
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    names |= {
        "Rx": np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]]),
        "Ry": np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]),
        "Rz": np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]), "position": position,
    }  # fmt: skip
    exec(said("pose[:3, :3] = Rz @ Ry @ Rx"), names)
    exec(said("pose[:3, 3] = position"), names)
    pose, (a, b, c) = names["pose"], angles
    np.testing.assert_allclose(
        pose[0, :3],
        [np.cos(b) * np.cos(c), np.cos(c) * np.sin(b) * np.sin(a) - np.cos(a) * np.sin(c),
         np.cos(a) * np.cos(c) * np.sin(b) + np.sin(a) * np.sin(c)],
    )  # fmt: skip
    with eval(code, names) as queue:
        seen: list[Any] = []
        queue.watch(callback=seen.append)
        number = queue.update_camera(look_at(tuple(position)))
        last = queue.wait(30, at_least=number, last=True)
        assert last.camera.fov[1] == pytest.approx(35.98339777)
        assert (last.camera.width, last.camera.height) == sizes[2] and last.levels == 3
        names["get_image"] = lambda: last
        image = eval(said("get_image().drawn.image"), names) / 255
        assert image.shape == (180, 320, 3) and 0 <= image.min() < image.max() <= 1
        assert queue.get_image() is None
    program = ProgramBackend([sys.executable, str(ROOT / "examples/draw_program.py"), "field",
                              "field.ply"])  # fmt: skip
    assert 'ProgramBackend([python, "examples/draw_program.py", "nerfstudio", config])' in table
    with RenderQueue(program) as queue:
        queue.update_camera(camera_at(0))
        assert queue.wait(60, last=True).drawn.image.any()
