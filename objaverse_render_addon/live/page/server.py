"""The viewer's server: on this machine only, for whoever has its address with the token."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import http
import json
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final, Self

from ...cameras import Camera
from ...errors import MissingDependency, OutputBusy, RenderError
from ..queue import Picture, RenderQueue, Watcher
from . import messages
from .pictures import as_jpeg, as_png, pixels_of

__all__ = ["Pane", "Viewer"]

_AHEAD: Final = 2
"""Pictures on their way that the page has not confirmed."""
_REST: Final = 0.25
"""Seconds without another camera, after which the last picture comes without loss."""
_FILES: Final = {
    "": ("index.html", "text/html"),
    "view.js": ("view.js", "text/javascript"),
    "motion.js": ("motion.js", "text/javascript"),
    "view.css": ("view.css", "text/css"),
}
_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_POLICY: Final = "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; "
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(slots=True)
class Pane:
    """One thing to look at.

    Attributes:
        name: For people.
        queue: Draws it; closed with the viewer.
        passes: Names of what can be shown.
        cameras: To jump to; may be none.
        center: Of what is there, scene units.
        radius: Of what is there, scene units.
        poses: Names of the cameras.
    """

    name: str
    queue: RenderQueue
    passes: Sequence[str]
    cameras: Sequence[Camera] = ()
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = 1.0
    poses: Sequence[str] = ()

    def described(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "passes": list(self.passes),
            "cameras": [
                {
                    "name": name, "width": camera.width, "height": camera.height,
                    "intrinsics": camera.intrinsics.ravel().tolist(),
                    "camera_to_world": camera.camera_to_world.ravel().tolist(),
                }
                for camera, name in zip(self.cameras, self._names(), strict=True)
            ],
            "center": list(self.center), "radius": self.radius,
        }  # fmt: skip

    def _names(self) -> Sequence[str]:
        return self.poses or [str(number) for number in range(len(self.cameras))]


class Viewer:
    """A page that shows panes side by side, from one camera.

    ::

        with Viewer([Pane("field", queue, ["rgb", "depth"])]) as viewer:
            print(viewer.address)
            viewer.wait()

    Args:
        port: 0 for one that is free.

    Attributes:
        address: What a browser opens; whoever has it may look.
        token: Part of the address.

    Raises:
        MissingDependency: websockets is not installed.
        OutputBusy: The port is in use.
    """

    def __init__(self, panes: Sequence[Pane], port: int = 0) -> None:
        try:
            import websockets.asyncio.server  # noqa: F401
        except ImportError as error:
            raise MissingDependency(
                "The viewer needs websockets.",
                hint="pip install 'objaverse-render-addon[view]'",
            ) from error
        self.panes = list(panes)
        self.token = secrets.token_urlsafe(24)
        self.port = port
        self.faults: list[BaseException] = []
        self._ready, self._ended = threading.Event(), threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(name="viewer", target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()
        if self.faults:
            for pane in self.panes:
                pane.queue.close()
            raise self.faults[0]

    @property
    def address(self) -> str:
        """What a browser opens."""
        return f"http://127.0.0.1:{self.port}/{self.token}/"

    def wait(self) -> None:
        """Until it is closed, or interrupted."""
        while not self._ended.wait(0.5):
            pass

    def close(self) -> None:
        """End the server and the panes' queues."""
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # It has ended.
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        for pane in self.panes:
            pane.queue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            fault = OutputBusy(
                f"Port {self.port} cannot be used: {error.strerror or error}.",
                hint="Leave --port away: a free one is taken.",
            )
            self.faults.append(fault)
        except BaseException as error:
            self.faults.append(error)
        finally:
            self._ready.set()
            self._ended.set()

    async def _serve(self) -> None:
        from websockets.asyncio.server import serve

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with serve(
            self._connected, "127.0.0.1", self.port, process_request=self._request,
            max_size=messages.LARGEST, max_queue=64, compression=None, server_header=None,
        ) as server:  # fmt: skip
            self.port = next(iter(server.sockets)).getsockname()[1]
            self._ready.set()
            await self._stop.wait()

    # --- Who may look ---------------------------------------------------------------------------

    def _request(self, connection: Any, request: Any) -> Any:
        """The page's files; ``None`` for what is a websocket, and may be."""
        host = request.headers.get("Host", "")
        if host.rpartition(":")[0] not in _LOCAL and host not in _LOCAL:
            # Somebody's name that leads here: another page would read ours.
            return _answer(connection, http.HTTPStatus.FORBIDDEN, "Not this name.")
        token, _, name = request.path.partition("?")[0].lstrip("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return _answer(
                connection, http.HTTPStatus.FORBIDDEN,
                "The address has a token that is printed where the viewer was started.",
            )  # fmt: skip
        if name == "socket":
            if request.headers.get("Origin") != f"http://{host}":
                return _answer(connection, http.HTTPStatus.FORBIDDEN, "Not from another page.")
            return None
        if name not in _FILES:
            return _answer(connection, http.HTTPStatus.NOT_FOUND, "There is no such page.")
        name, kind = _FILES[name]
        body = (resources.files(__package__) / "files" / name).read_bytes()
        return _answer(connection, http.HTTPStatus.OK, body, kind, f"connect-src ws://{host}")

    # --- One page -------------------------------------------------------------------------------

    async def _connected(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        looks = [_Look(number, pane) for number, pane in enumerate(self.panes)]
        tasks: list[asyncio.Task[None]] = []
        try:
            shown = any(pane.queue.progress.update for pane in self.panes)
            described = [pane.described() for pane in self.panes]
            await connection.send(
                json.dumps({"kind": "hello", "panes": described, "shown": shown})
            )
            tasks = [asyncio.create_task(self._show(connection, look)) for look in looks]
            async for text in connection:
                try:
                    self._obey(messages.read(text), looks)
                except messages.Malformed as error:
                    await connection.close(1008, str(error)[:100])
        except ConnectionClosed:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _obey(self, message: Any, looks: list[_Look]) -> None:
        if isinstance(message, messages.Moved):
            chosen = range(len(looks)) if message.panes is None else message.panes
            for pane in chosen:
                look = _of(looks, pane)
                look.moved = time.monotonic()
                update = look.pane.queue.update_camera(message.camera)
                if update in look.numbers:
                    # The same again: the page is told that it is what it asked for.
                    look.sent = None
                look.numbers[update], look.own = message.number, update
                look.changed.set()
        elif isinstance(message, messages.Show):
            look = _of(looks, message.pane)
            if message.name not in look.pane.passes:
                raise messages.Malformed(f"there is no pass {message.name[:40]!r}")
            look.shown, look.sent = message.name, None
            look.changed.set()
        else:
            look = _of(looks, message.pane)
            look.ahead = max(0, look.ahead - 1)
            look.changed.set()

    async def _show(self, connection: Any, look: _Look) -> None:
        """Send a pane's pictures: the newest whenever the page has room for one."""
        from websockets.exceptions import ConnectionClosed

        feed = asyncio.create_task(look.follow())
        try:
            while True:
                look.changed.clear()
                if look.problem:
                    text, look.problem = look.problem, ""
                    await connection.send(
                        json.dumps({"kind": "problem", "pane": look.number, "text": text})
                    )
                wait = await self._send(connection, look)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(look.changed.wait(), wait)
        except ConnectionClosed:
            pass
        finally:
            feed.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feed

    async def _send(self, connection: Any, look: _Look) -> float | None:
        """Send what is new, if anything; seconds until it has to be looked at again."""
        picture = look.picture
        if picture is None or look.ahead >= _AHEAD:
            return None
        shown = look.shown if look.shown in picture.drawn.passes else look.pane.passes[0]
        place = (picture.update, picture.index)
        rest = time.monotonic() - look.moved
        exact = picture.last and rest >= _REST
        later = _REST - rest + 0.01 if picture.last and not exact else None
        if look.sent in ((place, exact), (place, True)):
            return None if look.sent == (place, True) else later
        pixels = pixels_of(picture, shown)
        image = await asyncio.to_thread(as_png if exact else as_jpeg, pixels)
        look.ahead += 1
        look.sent = (place, exact)
        await connection.send(messages.packed(look.header(picture, shown, exact), image))
        return later


def _of(looks: list[_Look], number: int) -> _Look:
    if number >= len(looks):
        raise messages.Malformed(f"there is no pane {number}")
    return looks[number]


@dataclass(slots=True)
class _Look:
    """One page's look at one pane."""

    number: int
    pane: Pane
    shown: str = ""
    moved: float = 0.0
    ahead: int = 0
    sent: tuple[tuple[int, int], bool] | None = None
    picture: Picture | None = None
    problem: str = ""
    numbers: dict[int, int] = field(default_factory=dict)
    own: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.shown = self.pane.passes[0]

    async def follow(self) -> None:
        """Keep the newest picture at hand."""
        watcher: Watcher = self.pane.queue.watch()
        while True:
            try:
                async for picture in watcher:
                    self.picture = picture
                    self.changed.set()
                return
            except RenderError as error:
                self.problem = str(error)
            except Exception as error:
                self.problem = f"{type(error).__name__}: {error}"
            self.changed.set()

    def header(self, picture: Picture, shown: str, exact: bool) -> dict[str, Any]:
        """What is said of a picture."""
        for update in [number for number in self.numbers if number < picture.update]:
            del self.numbers[update]
        progress, camera = self.pane.queue.progress, picture.camera
        foreign = {}
        if picture.update > self.own:
            # Whoever looks from another page moved it since.
            foreign = {
                "intrinsics": camera.intrinsics.ravel().tolist(),
                "camera_to_world": camera.camera_to_world.ravel().tolist(),
            }
        return {
            **foreign,
            "pane": self.number, "pass": shown, "exact": exact,
            "camera": self.numbers.get(picture.update, 0),
            "width": camera.width, "height": camera.height,
            "level": picture.index + 1, "levels": picture.levels, "last": picture.last,
            "samples": picture.samples, "update": picture.update, "newest": progress.update,
            "took": round((picture.ready - picture.asked) * 1000, 1),
            "age": round((progress.age or 0.0) * 1000, 1) if progress.shown else 0.0,
        }  # fmt: skip


def _answer(
    connection: Any, status: http.HTTPStatus, body: str | bytes, kind: str = "text/plain",
    connects: str = "",
) -> Any:  # fmt: skip
    data = body.encode() if isinstance(body, str) else body
    response = connection.respond(status, "")
    response.body = data
    for name in ("Content-Type", "Content-Length"):
        del response.headers[name]
    response.headers["Content-Type"] = f"{kind}; charset=utf-8"
    response.headers["Content-Length"] = str(len(data))
    response.headers["Content-Security-Policy"] = _POLICY + connects
    for name, value in _HEADERS.items():
        response.headers[name] = value
    return response
