"""A server's workers, from elsewhere: no Blender here, and ZeroMQ for what is encrypted alone."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .. import __version__
from ..cameras import Camera
from ..errors import (
    AccessRefused,
    ConnectionLost,
    InvalidJob,
    SourceNotFound,
    UnknownRequest,
    WorkerTimeout,
    from_os_error,
    from_reason,
)
from ..job import RenderJob
from ..stage_edits import Edit, encode_edit
from ..timeline import MOST_FRAMES, frame_range
from ..worker.channel import Received, arrays_of
from ..worker.protocol import (
    PROTOCOL,
    Attach,
    Call,
    Cancel,
    Change,
    Changed,
    Close,
    Describe,
    Described,
    Done,
    Environments,
    Failed,
    FilePart,
    FrameReady,
    Hello,
    Inspect,
    Message,
    More,
    Open,
    Opened,
    Put,
    Quit,
    Render,
    RenderAsset,
    Rendered,
    Request,
    Stage,
    Step,
    Stepped,
    Unknown,
    ends,
)
from ..worker.shots import encode_shot
from .frames import LiveFrame, frame_of
from .host import Changes, OpenedScene, RenderOptions
from .later import Begun
from .listen import parse_address
from .mapping import Maps
from .session import Session
from .uploads import PREFIX, plain_name
from .wires import EncryptedWire, StreamWire, Wire

__all__ = ["Connection", "connect"]

_CONNECT: Final = 15.0
_HEARTBEAT: Final = 10.0
_CREDIT: Final = 4
_PART: Final = 1 << 20
_SLACK: Final = 30.0
"""Seconds that a server may answer late."""


def connect(address: str = "unix", key: str = "", *, timeout: float = _CONNECT) -> Connection:
    """Reach a server that ``objaverse-render serve`` runs.

    Args:
        address: As the server prints it: ``unix:PATH``, ``tcp://127.0.0.1:PORT`` (through an SSH
            tunnel too), ``curve://HOST:PORT``; or a file that holds what ``serve --json`` printed,
            address and key.
        key: As the server prints it; a path of a file that holds it. None on a private socket.
        timeout: Seconds to wait for the server.

    Raises:
        ConnectionLost: Nobody answers there.
        AccessRefused: The key is not taken, or the server speaks another version.
    """
    if address.endswith(".json"):
        address, key = _printed(Path(address), key)
    with contextlib.suppress(OSError):
        if key and len(key) < 1000 and Path(key).is_file():
            key = Path(key).read_text()
    where = parse_address(address)
    wire: Wire
    wire = EncryptedWire(where, key) if where.encrypted else StreamWire(where, key, timeout)
    return Connection(wire, address, timeout)


def _printed(path: Path, key: str) -> tuple[str, str]:
    """Address and key of a server, as it printed them for machines.

    Its private socket is not taken where there is none: the file came from another machine.

    Raises:
        InvalidJob: The file does not say that.
    """
    try:
        keys = json.loads(path.read_text(encoding="utf-8"))["keys"]
        reached = (
            one for one in keys
            if not str(one["address"]).startswith("unix:")
            or Path(str(one["address"]).removeprefix("unix:")).exists()
        )  # fmt: skip
        found = next(reached, keys[0])
        return str(found["address"]), key or str(found["key"])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InvalidJob(
            f"{path} does not say where a server is.",
            hint=f"Start one with: objaverse-render serve --json > {path}",
        ) from error


class Connection(Maps):
    """A server's workers; see :class:`.pool.Pool` for those of this machine.

    Safe to use from any thread, in the process that made it.

    Attributes:
        hello: What the server said of itself.
        address: Where it is.
    """

    def __init__(self, wire: Wire, address: str, timeout: float = _CONNECT) -> None:
        super().__init__(self)
        self._wire, self.address = wire, address
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[Received | None]] = {}
        self._guard = threading.Lock()
        self._names: dict[int, dict[int, str]] = {}
        self._jobs: dict[int, RenderJob] = {}
        self._lost = ""
        self._closed = threading.Event()
        self._pid = os.getpid()
        greeting: queue.SimpleQueue[Received | None] = queue.SimpleQueue()
        self._waiting[0] = greeting
        threading.Thread(target=self._listen, name="live-remote", daemon=True).start()
        self._send(More(), 0)
        try:
            first = greeting.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise ConnectionLost(
                f"{address} does not answer.",
                hint="Is the server there, and is the key one of its? A wrong one gets no answer.",
            ) from None
        if first is None or not isinstance(first.message, Hello):
            self.close()
            raise ConnectionLost(f"What answers at {address} is no server of objaverse-render.")
        self.hello = first.message
        if self.hello.protocol != PROTOCOL:
            self.close()
            raise AccessRefused(
                f"The server at {address} has version {self.hello.version}, which speaks protocol "
                f"{self.hello.protocol}; this is version {__version__}, protocol {PROTOCOL}.",
                hint="Install the same version on both sides.",
            )
        threading.Thread(target=self._beat, name="live-heartbeat", daemon=True).start()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Connection {self.address}{': closed' if self._closed.is_set() else ''}>"

    def close(self) -> None:
        """Go; the server closes this side's scenes."""
        self._closed.set()
        self._wire.close()

    def status(self) -> dict[str, Any]:
        """What the server says of itself."""
        answer = self._ask(Describe(), 30).message
        assert isinstance(answer, Described)
        return answer.facts

    def stop_server(self) -> None:
        """End the server; its owner alone may."""
        self._ask(Quit(), 30)

    @property
    def workers(self) -> int:
        """Their number."""
        return int(self.status()["workers"])

    def attach(self, scene: int, ticket: str) -> Session:
        """Look at a scene that another client has open.

        Args:
            scene: Its :attr:`.session.Session.id`.
            ticket: Its :attr:`.session.Session.ticket`.
        """
        return Session(self, self._opened(self._ask(Attach(scene, ticket), 60), writable=False))

    # --- Files, and assets of data sets ----------------------------------------------------------

    def upload(self, path: str | Path, name: str = "") -> str:
        """Bring a file of this machine along; it is the server's until this connection ends.

        Args:
            name: What it is called there: letters, digits, spaces, ``.``, ``-`` and ``_``; its own
                name, made so, otherwise.

        Returns:
            What :meth:`open` and the like call it: ``upload:NAME``.

        Raises:
            SourceNotFound: It is not there.
            AccessRefused: It is larger than the server takes.
        """
        path = Path(path)
        if not path.is_file():
            raise SourceNotFound(f"There is no file {path}.", hint="Check the path.")
        name, first = name or plain_name(path.name), True
        try:
            with path.open("rb") as file:
                while (data := file.read(_PART)) or first:
                    self._ask(Put(name, base64.b64encode(data).decode(), first), 60)
                    first = False
        except OSError as error:
            raise from_os_error(error, str(path)) from error
        return PREFIX + name

    def render_asset(
        self,
        request: RenderAsset,
        timeout: float,
        on_answer: Callable[[Received], None] = lambda _: None,
    ) -> Done:
        """Have an asset rendered into a data set by the server, as a batch has it.

        Args:
            request: Its path is the server's, or that of an upload; ``out`` is not looked at, and
                previews come where its ``previews`` is not empty.
            on_answer: Gets Stage, FrameDone and FilePart, the files that were made: ``out/…``
                and ``previews/…``.
        """

        def told(received: Received) -> None:
            on_answer(received)
            if isinstance(received.message, FilePart):
                self._send(More(received.request, 1), 0)

        message = self._ask(request, timeout, told).message
        assert isinstance(message, Done)
        return message

    # --- Environments ----------------------------------------------------------------------------

    def have_environments(self, request: Environments, timeout: float) -> dict[str, Any]:
        """Have environments on the server, and what is to be known of them."""
        answer = self._ask(request, timeout).message
        assert isinstance(answer, Described)
        return answer.facts

    def step(self, request: Step, timeout: float) -> tuple[Stepped, dict[str, Any]]:
        """Let them go on; what is told of them, and their arrays."""
        received = self._ask(request, timeout)
        assert isinstance(received.message, Stepped)
        return received.message, arrays_of(received)

    # --- Messages --------------------------------------------------------------------------------

    def _send(self, message: Message, number: int) -> None:
        if os.getpid() != self._pid:
            raise ConnectionLost(
                "This connection belongs to the process that this one was forked from.",
                hint="Connect again here.",
            )
        try:
            self._wire.send(message, number)
        except (OSError, ValueError) as error:
            raise self._gone() from error

    def _gone(self) -> ConnectionLost:
        went = "It was closed." if self._closed.is_set() else "The server went away."
        why = self._lost or went
        return ConnectionLost(f"{self.address}: {why}", hint="Connect and open the scene again.")

    def _listen(self) -> None:
        try:
            for received in self._wire.received():
                with self._guard:
                    waiting = self._waiting.get(received.request)
                if waiting is not None:
                    waiting.put(received)
        except (OSError, ValueError) as error:
            self._lost = f"{error}."
        if not self._closed.is_set():
            self._lost = self._lost or "The server went away."
        with self._guard:
            self._closed.set()
            for waiting in self._waiting.values():
                waiting.put(None)

    def _beat(self) -> None:
        while not self._closed.wait(_HEARTBEAT):
            with contextlib.suppress(ConnectionLost):
                self._send(More(), 0)

    def _ask(
        self,
        request: Request,
        timeout: float,
        on_answer: Callable[[Received], None] = lambda _: None,
    ) -> Received:
        for received in self._answers(request, timeout):
            if not isinstance(received.message, Unknown) and ends(received.message):
                return received
            on_answer(received)
        raise self._gone()

    def _answers(
        self, request: Request, timeout: float, begun: Begun = lambda _: None
    ) -> Iterator[Received]:
        """All answers to a request, which is cancelled where they are not all taken."""
        number, until = next(self._numbers), time.monotonic() + timeout
        waiting: queue.SimpleQueue[Received | None] = queue.SimpleQueue()
        with self._guard:
            if self._closed.is_set():
                raise self._gone()
            self._waiting[number] = waiting
        ended = False

        def cancel() -> None:
            with contextlib.suppress(ConnectionLost):
                self._send(Cancel(number), 0)

        try:
            self._send(request, number)
            begun(cancel)
            while not ended:
                try:
                    received = waiting.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    raise WorkerTimeout(f"{self.address} did not answer in time.") from None
                if received is None:
                    ended = True
                    raise self._gone()
                message = received.message
                if isinstance(message, Unknown):
                    raise ConnectionLost(f"{self.address} answered nonsense: {message.why}.")
                ended = ends(message)
                if isinstance(message, Failed):
                    raise from_reason(message.reason, message.message, message.hint)
                yield received
        finally:
            with self._guard:
                self._waiting.pop(number, None)
            if not ended:
                cancel()

    # --- Host ------------------------------------------------------------------------------------

    def where(self, path: str) -> str:
        """See :class:`.host.Host`: as the server finds it, from its own folder."""
        return path

    def _opened(self, received: Received, *, writable: bool) -> OpenedScene:
        message = received.message
        assert isinstance(message, Opened)
        job = RenderJob.from_dict(message.job)
        self._jobs[message.session] = job
        self._learn(message.session, message.facts)
        return OpenedScene(
            message.session, message.state, job, message.views, message.warnings, message.facts,
            writable, message.ticket,
        )  # fmt: skip

    def _learn(self, scene: int, facts: Mapping[str, Any]) -> None:
        if facts:
            names = facts.get("object_names", {})
            self._names[scene] = {int(key): name for key, name in names.items()}

    def _job(self, scene: int) -> RenderJob:
        if scene not in self._jobs:
            raise UnknownRequest(
                f"The scene {scene} is not open.", hint="It was closed; open it again."
            )
        return self._jobs[scene]

    def open_scene(
        self,
        path: str,
        job: RenderJob,
        *,
        name: str,
        folders: Sequence[str],
        timeout: float,
        on_stage: Callable[[str], None],
    ) -> OpenedScene:
        """See :class:`.host.Host`."""

        def told(received: Received) -> None:
            if isinstance(received.message, Stage):
                on_stage(received.message.name)

        request = Open(path, path, name, job.to_dict(), folders=list(folders))
        return self._opened(self._ask(request, timeout + _SLACK, told), writable=True)

    def change_scene(
        self, scene: int, edits: Sequence[Edit], values: Mapping[str, Any], timeout: float
    ) -> Changes:
        """See :class:`.host.Host`."""
        request = Change(scene, [encode_edit(edit) for edit in edits], 0, dict(values))
        message = self._ask(request, timeout + _SLACK).message
        assert isinstance(message, Changed)
        if values:
            self._jobs[scene] = self._job(scene).with_values(dict(values))
        self._learn(scene, message.facts)
        return Changes(message.state, message.found, message.warnings, message.facts)

    def call_in_scene(
        self, scene: int, function: str, arguments: Mapping[str, Any], timeout: float
    ) -> Any:
        """See :class:`.host.Host`."""
        request = Call(scene, function, dict(arguments), 0)
        message = self._ask(request, timeout + _SLACK).message
        assert isinstance(message, Described)
        return message.facts["result"]

    def inspect_scene(
        self,
        scene: int,
        timeout: float,
        points: Sequence[str] | None = None,
        at: int | None = None,
        called: str | None = None,
    ) -> dict[str, Any]:
        """See :class:`.host.Host`."""
        request = Inspect(scene, None if points is None else list(points), at, called)
        message = self._ask(request, timeout + _SLACK).message
        assert isinstance(message, Described)
        return message.facts

    def close_scene(self, scene: int) -> None:
        """See :class:`.host.Host`."""
        self._jobs.pop(scene, None)
        self._names.pop(scene, None)
        with contextlib.suppress(ConnectionLost):
            self._ask(Close(scene), 60)

    def render_scene(
        self, scene: int, shots: Sequence[tuple[Camera, int | None]] | None, options: RenderOptions
    ) -> Iterator[LiveFrame]:
        """See :class:`.host.Host`."""
        job = self._job(scene)
        encoded, times, count = None, list[int | None](), job.cameras.views or 1
        if shots is not None:
            if not shots:
                return
            times, count = [time for _, time in shots], len(shots)
            encoded = [encode_shot(index, *shot) for index, shot in enumerate(shots)]
        elif (frames := job.time.frames) is not None:
            count *= len(frame_range(frames) or range(MOST_FRAMES))
        request = Render(
            scene,
            shots=encoded,
            lane=options.lane, inline=True,
            options={"workers": options.workers, "timeout": options.timeout,
                     "deadline": options.deadline, "at_least": options.at_least,
                     "credit": _CREDIT},
        )  # fmt: skip
        limit = options.deadline or options.timeout * count
        answers = self._answers(request, limit + _SLACK, options.begun)
        names = self._names.get(scene, {})
        try:
            for received in answers:
                message = received.message
                if isinstance(message, Rendered):
                    return
                if not isinstance(message, FrameReady):
                    continue
                self._send(More(received.request, 1), 0)
                time = times[message.index] if shots is not None else message.view.get("time")
                yield frame_of(
                    message.view, arrays_of(received), job, state=message.state,
                    lane=message.lane, object_names=names, time=time,
                )  # fmt: skip
        finally:
            answers.close()  # type: ignore[attr-defined]
