"""The viewer as a person meets it, in a real browser."""

from __future__ import annotations

import asyncio
import base64
import http.client
import io
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import write_asset
from batch_lanes import heed_interrupts
from gallery_data import job_of
from splats.made import camera_at, field_of

from objaverse_render_addon.cameras import Camera
from objaverse_render_addon.dataset.images import read_png
from objaverse_render_addon.errors import MissingPass, OutputBusy, RenderError
from objaverse_render_addon.live.backends.field import FieldBackend
from objaverse_render_addon.live.levels import Level
from objaverse_render_addon.live.page import Pane, Viewer
from objaverse_render_addon.live.page.pictures import as_png, pixels_of
from objaverse_render_addon.live.panes import open_panes
from objaverse_render_addon.live.queue import RenderQueue
from objaverse_render_addon.splats.field import write_field

from .conftest import Page

pytest.importorskip("websockets", reason="NOT TESTED: websockets is not installed")

SHOWN = "document.querySelector('.level').textContent.length > 0"
AT_REST = ("[...document.querySelectorAll('.samples')]"
           ".every((one) => one.textContent.endsWith('exact'))")  # fmt: skip


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("view")
    write_field(folder / "field.ply", field_of(3000, 2, size=0.03))
    asset = write_asset(folder, job_of(views=6), "thing")
    return str(folder / "field.ply"), str(asset)


@pytest.fixture
def viewer(sources: tuple[str, str]) -> Iterator[Viewer]:
    with Viewer(open_panes([sources[1], sources[0]])) as viewer:
        yield viewer


def look(page: Page, viewer: Viewer) -> None:
    page.driver.get(viewer.address)
    page.wait("document.documentElement.dataset.ready !== undefined")
    page.wait(AT_REST)


def pixels(page: Page, pane: int = 0) -> Any:
    code = "document.querySelectorAll('.picture')[arguments[0]].toDataURL('image/png')"
    data = base64.b64decode(page.js(code, pane).split(",")[1])
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def drag(page: Page, dx: int, dy: int, selector: str = ".pane") -> None:
    from selenium.webdriver import ActionChains

    chain = ActionChains(page.driver, duration=60).move_to_element(page.find(selector))
    chain.click_and_hold().move_by_offset(dx, dy).release().perform()


def test_pictures_arrive_move_and_come_to_rest(page: Page, viewer: Viewer) -> None:
    look(page, viewer)
    before = [pixels(page, pane) for pane in (0, 1)]
    assert all(picture[..., 3].max() == 255 for picture in before)
    drag(page, 120, 30)
    page.until(
        lambda: all(not np.array_equal(pixels(page, pane), before[pane]) for pane in (0, 1)),
        "both move",
    )
    page.wait("!document.querySelector('.facts').classList.contains('late')")
    settled(page, viewer)
    after = [pixels(page, pane) for pane in (0, 1)]
    assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert "ms" in page.text(".age")
    page.keys("r")
    page.until(lambda: np.array_equal(pixels(page), before[0]), "home again, to the bit")


def test_at_rest_it_is_lossless_and_the_datas_own(
    page: Page, viewer: Viewer, sources: tuple[str, str]
) -> None:
    from objaverse_render_addon.dataset.reader import AssetReader

    look(page, viewer)
    assert page.js("document.querySelectorAll('#cameras option').length") == 7
    page.keys("]", "]")
    page.wait("document.getElementById('cameras').value === '1'")
    page.wait("document.querySelector('.picture').width === 72")
    page.wait(AT_REST)
    with AssetReader(sources[1]) as asset:
        truth = asset.read(1, ["rgb"])["rgb"]
        cameras = [asset.view(index).camera for index in range(6)]
    shown = pixels(page)
    opaque = truth[..., 3] == 255
    assert opaque.any() and np.array_equal(shown[opaque], truth[opaque])
    # The other pane has the same camera.
    drawn = viewer.panes[1].queue._shared.backend.render(  # type: ignore[call-arg]
        cameras[1], Level(72, 64), lambda: False, {}
    )
    page.until(lambda: pixels(page, 1).shape == (64, 72, 4))
    solid = drawn.passes["rgb"][..., 3] == 255
    assert solid.sum() > 20
    page.until(lambda: np.array_equal(pixels(page, 1)[solid], drawn.passes["rgb"][solid]))


def test_passes_by_key_and_by_hand(page: Page, viewer: Viewer) -> None:
    look(page, viewer)
    color = pixels(page)
    page.find(".pane").click()
    page.keys("2")
    page.until(lambda: not np.array_equal(pixels(page), color), "depth")
    assert page.js("document.querySelector('.pass').value") == "depth"
    page.keys("1")
    page.until(lambda: np.array_equal(pixels(page), color), "colour again")


def test_a_frustum_is_jumped_to_by_a_click(page: Page, viewer: Viewer) -> None:
    look(page, viewer)
    for _ in range(14):
        page.run(
            "document.querySelector('.pane').dispatchEvent("
            "new WheelEvent('wheel', {deltaY: 80, cancelable: true}))"
        )
    page.wait(AT_REST)
    lines = "document.querySelector('.lines')"
    page.wait(f"{lines}.getContext('2d').getImageData(0, 0, {lines}.width, {lines}.height)"
              ".data.some((value) => value > 0)")  # fmt: skip
    found = page.js(
        """(() => {
          const c = document.querySelector('.lines'), box = c.getBoundingClientRect();
          const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
          for (let i = 3; i < data.length; i += 4) if (data[i] > 100) {
            const at = (i - 3) / 4;
            return [box.left + at % c.width, box.top + Math.floor(at / c.width)];
          }})()"""
    )
    from selenium.webdriver import ActionChains

    for dx, dy in [(0, 4), (4, 8), (-4, 8), (0, 12), (8, 12), (-8, 12)]:
        chain = ActionChains(page.driver)
        chain.w3c_actions.pointer_action.move_to_location(int(found[0]) + dx, int(found[1]) + dy)
        chain.click().perform()
        if page.js("document.getElementById('cameras').value") != "-1":
            break
    assert page.js("document.getElementById('cameras').value") != "-1"
    page.wait("document.querySelector('.picture').width === 72")
    drag(page, 30, 0)
    page.wait("document.getElementById('cameras').value === '-1'")
    # What this test itself reads.
    assert all("willReadFrequently" in text for text in page.complaints())


def copied(page: Page, folder: Path) -> Camera:
    """The pose, as whoever pastes it into a file has it."""
    from objaverse_render_addon.cameras.files import views_from_file

    page.keys("c")
    text = page.js("document.documentElement.dataset.copied")
    (folder / "pose.json").write_text(text)
    frame = json.loads(text)["frames"][0]
    return views_from_file(str(folder / "pose.json"), (frame["w"], frame["h"]))[0].camera


def hold(page: Page, key: str) -> None:
    page.run(
        "document.querySelector('.pane').dispatchEvent("
        "new KeyboardEvent('keydown', {key: arguments[0], bubbles: true}))", key,
    )  # fmt: skip
    time.sleep(0.3)
    page.run("dispatchEvent(new KeyboardEvent('keyup', {key: arguments[0]}))", key)


def test_keys_fly_and_the_pose_is_a_camera_file(
    page: Page, viewer: Viewer, tmp_path: Path
) -> None:
    look(page, viewer)
    page.find("#copy").click()
    page.wait("document.documentElement.dataset.copied !== undefined")
    before = copied(page, tmp_path)
    page.keys("f")
    hold(page, "w")
    after = copied(page, tmp_path)
    moved = after.camera_to_world[:3, 3] - before.camera_to_world[:3, 3]
    forward = -before.camera_to_world[:3, 2]
    assert moved @ forward > 0.02
    assert np.abs(moved - (moved @ forward) * forward).max() < 1e-6
    np.testing.assert_allclose(after.camera_to_world[:3, :3], before.camera_to_world[:3, :3])
    # What is shown is what that pose gives.
    page.wait(AT_REST)
    page.until(lambda: viewer.panes[1].queue.progress.busy is False)
    shown = viewer.panes[1].queue.watch().get_image()
    assert shown is not None
    np.testing.assert_allclose(shown.camera.camera_to_world, after.camera_to_world, atol=1e-12)


def test_keys_and_hands_orbit_turn_the_head_and_move_aside(
    page: Page, viewer: Viewer, tmp_path: Path
) -> None:
    look(page, viewer)
    center = np.array(viewer.panes[0].center)

    def now() -> tuple[Any, Any]:
        pose = copied(page, tmp_path).camera_to_world
        return pose[:3, 3], pose[:3, :3]

    place, turned = now()
    hold(page, "ArrowRight")
    other, other_turned = now()
    assert np.linalg.norm(other - place) > 0.05 and np.abs(other_turned - turned).max() > 0.01
    away = np.linalg.norm(place - center)
    assert np.linalg.norm(other - center) == pytest.approx(away, rel=1e-6)
    assert other[2] == pytest.approx(place[2], abs=1e-6)
    page.keys("f")
    hold(page, "ArrowDown")
    place, turned = now()
    np.testing.assert_allclose(place, other, atol=1e-9)
    assert np.abs(turned - other_turned).max() > 0.01
    # With shift, or the other button, a hand moves it aside.
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.keys import Keys

    chain = ActionChains(page.driver, duration=60).key_down(Keys.SHIFT)
    chain.move_to_element(page.find(".pane")).click_and_hold().move_by_offset(80, 0)
    chain.release().key_up(Keys.SHIFT).perform()
    aside, same = now()
    np.testing.assert_allclose(same, turned, atol=1e-9)
    assert (aside - place) @ turned[:, 0] < -0.05
    builder = ActionBuilder(page.driver, duration=60)
    builder.pointer_action.move_to(page.find(".pane")).pointer_down(button=2)
    builder.pointer_action.move_by(0, 60).pointer_up(button=2)
    builder.perform()
    above, same = now()
    np.testing.assert_allclose(same, turned, atol=1e-9)
    assert (above - aside) @ turned[:, 1] > 0.05
    # Frusta are hidden and shown.
    page.keys("r")
    for _ in range(10):
        page.run(
            "document.querySelector('.pane').dispatchEvent("
            "new WheelEvent('wheel', {deltaY: 80, cancelable: true}))"
        )
    lines = "document.querySelector('.lines').toDataURL()"
    settled(page, viewer)
    with_lines = page.js(lines)
    page.keys("v")
    page.until(lambda: page.js(lines) != with_lines, "no frusta")
    page.keys("v")
    page.until(lambda: page.js(lines) == with_lines, "frusta again")


def test_jpeg_while_it_moves_and_no_loss_at_rest(page: Page, viewer: Viewer) -> None:
    look(page, viewer)
    page.run("window.kinds = []; const make = window.createImageBitmap;"
             "window.createImageBitmap = (blob) =>"
             " { window.kinds.push(blob.type); return make(blob); }")  # fmt: skip
    for _ in range(3):
        drag(page, 40, 10)
    assert "image/jpeg" in page.js("window.kinds")
    settled(page, viewer)
    kinds = page.js("window.kinds")
    # Where the browser was slow it rested between two of them.
    assert kinds[0] == "image/jpeg" and kinds.count("image/jpeg") >= 2
    assert kinds[-1] == "image/png" and 2 <= kinds.count("image/png") <= 6


def test_a_picture_says_what_it_is_and_that_it_is_old(page: Page, sources: Any) -> None:
    from objaverse_render_addon.splats.field import read_field

    going = threading.Event()
    going.set()

    class Waits(FieldBackend):
        def render(self, *arguments: Any) -> Any:
            going.wait(30)
            return super().render(*arguments)

    backend = Waits(read_field(sources[0]))
    with Viewer([Pane("waits", RenderQueue(backend), backend.passes)]) as viewer:
        look(page, viewer)
        picture = viewer.panes[0].queue.watch().get_image()
        assert picture is not None and picture.last
        size = f"{picture.camera.width}×{picture.camera.height}"
        assert page.text(".level") == f"level {picture.levels}/{picture.levels} · {size}"
        page.wait("/\\d\\.\\d s old/.test(document.querySelector('.age').textContent)")
        assert not page.js("document.querySelector('.facts').classList.contains('late')")
        going.clear()
        try:
            drag(page, 50, 0)
            page.wait("document.querySelector('.facts').classList.contains('late')")
        finally:
            going.set()
        page.wait("!document.querySelector('.facts').classList.contains('late')")


def test_a_3d_file_is_drawn_then_traced_and_ends_as_it_is_rendered(
    page: Page, tmp_path: Path
) -> None:
    pytest.importorskip("bpy", reason="NOT TESTED: bpy is not installed")
    from blender.scenes import write_glb

    from objaverse_render_addon.job import RenderJob

    job = RenderJob().with_values({
        "pixels.passes": ["rgb", "depth", "normal", "mask"], "engine.samples": 8,
        "engine.device": "cpu", "engine.denoise": False,
    })  # fmt: skip
    page.driver.get("about:blank")
    page.complaints()  # Of an earlier page, whose viewer has ended.
    page.size(480, 400)
    panes = open_panes([str(write_glb(tmp_path / "box.glb"))], job=job, workers=1)
    seen: list[Any] = []
    panes[0].queue.watch(callback=seen.append)
    with Viewer(panes) as viewer:
        page.driver.get(viewer.address)
        page.wait("document.querySelector('.samples').textContent === '8 samples, exact'", 60)
        assert [one.samples for one in seen[-3:]] == [0, 1, 8]
        drawn = seen[-1].drawn
        shown, truth = pixels(page), drawn.passes["rgb"]
        opaque = truth[..., 3] == 255
        assert opaque.sum() > 2000 and np.array_equal(shown[opaque], truth[opaque])
        page.find(".pane").click()
        page.keys("3")
        page.until(lambda: not np.array_equal(pixels(page), shown), "normals")
        assert page.js("document.querySelector('.pass').value") == "normal"
        page.driver.get("about:blank")


def touch(page: Page, *fingers: list[tuple[int, int]]) -> None:
    """Fingers that go along these places of the page; as the screen reports them."""
    def say(kind: str, at: int | None) -> None:
        points = [] if at is None else [
            {"x": path[at][0], "y": path[at][1], "id": number}
            for number, path in enumerate(fingers)
        ]
        page.driver.execute_cdp_cmd(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
        )

    say("touchStart", 0)
    for at in range(1, len(fingers[0])):
        say("touchMove", at)
    say("touchEnd", None)


def settled(page: Page, viewer: Viewer) -> Any:
    """The picture of what was asked for last, when it is there without loss."""
    time.sleep(0.3)

    def there() -> Any:
        if any(pane.queue.progress.busy for pane in viewer.panes) or not page.js(AT_REST):
            return None
        before = pixels(page)
        time.sleep(0.4)
        return before if np.array_equal(pixels(page), before) else None

    end = time.monotonic() + 40
    while (found := there()) is None:
        assert time.monotonic() < end, "it does not come to rest"
    return found


def shown_share(picture: Any) -> float:
    return float(np.mean(picture[..., 3] > 128))


def test_fingers_turn_move_and_come_nearer(page: Page, viewer: Viewer) -> None:
    page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        look(page, viewer)
        before, steps = pixels(page), range(11)
        # Two that go along: sideways, by as much as they go.
        touch(page, [(200 + 8 * i, 400) for i in steps], [(280 + 8 * i, 400) for i in steps])
        page.until(lambda: not np.array_equal(pixels(page), before), "aside")
        aside = settled(page, viewer)

        def middle(picture: Any) -> float:
            return float(np.nonzero(picture[..., 3] > 128)[1].mean())

        wide = page.js("document.querySelector('.picture').getBoundingClientRect().width")
        assert (middle(aside) - middle(before)) / before.shape[1] * wide > 30
        # Two that part: nearer.
        touch(page, [(200 - 6 * i, 400) for i in steps], [(260 + 6 * i, 400) for i in steps])
        page.until(lambda: not np.array_equal(pixels(page), aside), "nearer")
        near = settled(page, viewer)
        assert shown_share(near) > 1.3 * shown_share(aside)
        # One turns.
        touch(page, [(300 + 10 * i, 400) for i in steps])
        page.until(lambda: not np.array_equal(pixels(page), near), "turned")
        page.keys("r")
        page.until(lambda: np.array_equal(pixels(page), before), "home again")
    finally:
        page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_the_picture_is_saved_as_it_is(
    page: Page, viewer: Viewer, sources: tuple[str, str], tmp_path: Path
) -> None:
    from objaverse_render_addon.dataset.reader import AssetReader

    page.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    look(page, viewer)
    page.keys("]")
    page.wait("document.getElementById('cameras').value === '0'")
    page.wait("document.querySelector('.picture').width === 72")
    page.wait(AT_REST)
    page.find(".pane").click()
    page.keys("p")
    (file,) = page.until(lambda: [*tmp_path.glob("*.png")], "the file")
    page.until(lambda: file.stat().st_size > 0)
    with AssetReader(sources[1]) as asset:
        truth = asset.read(0, ["rgb"])["rgb"]
    assert np.array_equal(read_png(file.read_bytes()), truth)


def test_two_pages_look_through_one_camera(page: Page, viewer: Viewer) -> None:
    look(page, viewer)
    first = page.driver.current_window_handle
    drag(page, 90, 20)
    turned = settled(page, viewer)
    page.driver.switch_to.new_window("tab")
    second = page.driver.current_window_handle
    try:
        page.size(900, 700)
        page.driver.get(viewer.address)
        page.wait("document.documentElement.dataset.ready !== undefined")
        # Who comes in sees what is shown, and takes nothing away.
        page.wait(AT_REST)
        page.until(lambda: np.array_equal(pixels(page), turned), "the first one's picture")
        time.sleep(0.7)
        assert np.array_equal(pixels(page), turned)
        assert not page.js("document.querySelector('.facts').classList.contains('late')")
        # Who moves leads, from where both stand.
        drag(page, -60, 10)
        page.wait(AT_REST)
        page.until(lambda: not np.array_equal(pixels(page), turned))
        led = settled(page, viewer)
        page.driver.switch_to.window(first)
        page.until(lambda: np.array_equal(pixels(page), led), "the second one's picture")
        page.wait(AT_REST)
        drag(page, 40, 0)
        page.until(lambda: not np.array_equal(pixels(page), led), "one's own again")
    finally:
        page.driver.switch_to.window(second)
        page.driver.close()
        page.driver.switch_to.window(first)


def test_the_page_is_never_more_than_two_pictures_behind(
    page: Page, viewer: Viewer
) -> None:
    look(page, viewer)
    page.run("window.held = []; const say = WebSocket.prototype.send;"
             "WebSocket.prototype.send = function (text) {"
             " if (text.includes('seen') && window.held)"
             " window.held.push(() => say.call(this, text));"
             " else say.call(this, text); }")  # fmt: skip
    for _ in range(6):
        drag(page, 15, 0)
    time.sleep(0.5)
    held = page.js("window.held.length")
    assert 1 <= held <= 2 * len(viewer.panes)
    page.run("const all = window.held; window.held = null; all.forEach((one) => one());")
    page.wait(AT_REST)
    page.wait("!document.querySelector('.facts').classList.contains('late')")


def test_the_end_of_the_viewer_is_seen(page: Page, sources: tuple[str, str]) -> None:
    viewer = Viewer(open_panes([sources[0]]))
    try:
        look(page, viewer)
    finally:
        viewer.close()
    page.wait("document.body.classList.contains('lost')")
    assert "ended" in page.text("#said")
    page.driver.get("about:blank")
    page.complaints()  # It may say that nobody answers.


def test_a_failure_of_the_backend_is_on_the_page(page: Page) -> None:
    class Breaks(FieldBackend):
        def render(self, camera: Any, *rest: Any) -> Any:
            if camera.camera_to_world[0, 3] > 0:
                raise MissingPass("The glass is broken.")
            return super().render(camera, *rest)

    backend = Breaks(field_of(300))
    with Viewer([Pane("breaks", RenderQueue(backend), backend.passes)]) as viewer:
        page.driver.get(viewer.address)
        page.wait("document.querySelector('.problem')?.hidden === false")
        assert "The glass is broken." in page.text(".problem")
        drag(page, 400, 0)
        page.wait("document.querySelector('.problem').hidden")


# --- Who may look ---------------------------------------------------------------------------------


def ask(viewer: Viewer, path: str, **headers: str) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=10)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    return response.status, response.read(), response.headers


def test_only_who_has_the_address_may_look(viewer: Viewer) -> None:
    assert ask(viewer, "/")[0] == 403
    assert ask(viewer, f"/{viewer.token[:-1]}x/")[0] == 403
    status, body, headers = ask(viewer, f"/{viewer.token}/")
    assert status == 200 and b"Live view" in body and viewer.token.encode() not in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert ask(viewer, f"/{viewer.token}/", Host="evil.example:80")[0] == 403
    assert ask(viewer, f"/{viewer.token}/view.js")[0] == 200
    assert ask(viewer, "/view.js")[0] == 403
    assert ask(viewer, f"/{viewer.token}/../server.py")[0] == 404
    assert ask(viewer, f"/{viewer.token}/socket")[0] == 403


def test_another_site_cannot_listen(viewer: Viewer) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    async def tries(origin: str | None, token: str) -> Any:
        where = f"ws://127.0.0.1:{viewer.port}/{token}/socket"
        async with connect(where, origin=origin, compression=None) as socket:  # type: ignore[arg-type]
            return json.loads(await socket.recv())

    own = f"http://127.0.0.1:{viewer.port}"
    for origin, token in [
        ("http://evil.example", viewer.token), (None, viewer.token), (own, "x"), (own, ""),
        ("http://127.0.0.1:1", viewer.token), ("null", viewer.token),
    ]:  # fmt: skip
        with pytest.raises(InvalidStatus, match="403"):
            asyncio.run(tries(origin, token))
    assert asyncio.run(tries(own, viewer.token))["kind"] == "hello"


GOOD: dict[str, Any] = {
    "kind": "camera", "number": 1, "width": 32, "height": 24,
    "intrinsics": camera_at(0, (32, 24)).intrinsics.ravel().tolist(),
    "camera_to_world": camera_at(0, (32, 24)).camera_to_world.ravel().tolist(),
}  # fmt: skip
WRONG: list[Any] = [
    "", "[]", "{}", "null", '{"kind": "eval"}', "[" * 5000, '{"kind": "seen", "pane": 99}',
    '{"kind": "show", "pane": 0, "pass": "no"}', '{"kind": "seen", "pane": -1}',
    GOOD | {"width": 10**9}, GOOD | {"width": 0}, GOOD | {"width": 4096, "height": 4096},
    GOOD | {"intrinsics": [0] * 9}, GOOD | {"camera_to_world": [float("nan")] * 16},
    GOOD | {"camera_to_world": [1] * 16}, GOOD | {"number": True}, GOOD | {"panes": [5]},
    GOOD | {"camera_to_world": [10**400] * 16}, "x" * 100_000, b"\xff\xfe",
]  # fmt: skip


def test_what_is_no_message_ends_that_page_alone(viewer: Viewer) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    origin = f"http://127.0.0.1:{viewer.port}"
    where = f"ws://127.0.0.1:{viewer.port}/{viewer.token}/socket"

    async def all_of_it() -> None:
        async with connect(where, origin=origin, compression=None) as good:  # type: ignore[arg-type]
            await good.recv()
            for wrong in WRONG:
                text = wrong if isinstance(wrong, str | bytes) else json.dumps(wrong)
                async with connect(where, origin=origin, compression=None) as bad:  # type: ignore[arg-type]
                    await bad.recv()
                    await bad.send(text)
                    with pytest.raises(ConnectionClosed):
                        while True:
                            await asyncio.wait_for(bad.recv(), 10)
                    assert bad.close_code in (1007, 1008, 1009), text[:80]
            await good.send(json.dumps(GOOD))
            header: dict[str, Any] = {}
            while not header.get("exact"):
                data = await asyncio.wait_for(good.recv(), 20)
                assert isinstance(data, bytes)
                length = int.from_bytes(data[:4], "little")
                header = json.loads(data[4 : 4 + length])
                await good.send(json.dumps({"kind": "seen", "pane": header["pane"]}))
            assert (header["width"], header["height"], header["camera"]) == (32, 24, 1)

    asyncio.run(all_of_it())


def test_lossless_is_lossless() -> None:
    with RenderQueue(FieldBackend(field_of(200))) as queue:
        queue.update_camera(camera_at(0))
        picture = queue.wait(30, last=True)
    data = as_png(pixels_of(picture, "rgb"))
    assert np.array_equal(read_png(data), picture.drawn.passes["rgb"])


def test_the_command_prints_an_address_that_opens_and_ends_in_peace(
    sources: tuple[str, str],
) -> None:
    command = [sys.executable, "-m", "objaverse_render_addon.cli", "view", "--no-open", *sources]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(address) as answer:
            assert b"Live view" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_what_cannot_be_shown_is_named(tmp_path: Path, sources: tuple[str, str]) -> None:
    (tmp_path / "cube.txt").write_text("v 0 0 0")
    for source in ("cube.txt", "nothing"):
        with pytest.raises(RenderError, match=source):
            open_panes([sources[0], str(tmp_path / source)])
    with Viewer([]) as viewer, pytest.raises(OutputBusy, match=str(viewer.port)):
        Viewer([], viewer.port)
