"""A pool of workers for clients: who may do what, and how much of it.

It speaks the workers' own protocol (:mod:`..worker.protocol`), and knows nothing of how a client is
reached (:mod:`.listen`). Everything that a client says is data that is checked before anything is
allocated; what it may read are the folders that the server's owner named, what it may call are
modules that the owner named. A client that does not keep to the rules is dropped alone.
"""

from __future__ import annotations

import itertools
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .. import __version__
from ..errors import (
    AccessRefused,
    Interrupted,
    InvalidEdit,
    RenderError,
    UnexpectedError,
    UnknownRequest,
)
from ..stage_edits import AddMesh, decode_edit, located
from ..timeline import LAST_FRAME
from ..worker.channel import Received
from ..worker.protocol import (
    PROTOCOL,
    Attach,
    Call,
    Cancel,
    Change,
    Changed,
    Close,
    Closed,
    Describe,
    Described,
    Environments,
    Failed,
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
    Request,
    Set,
    Stage,
    Step,
    Unknown,
)
from .admission import Admission, files_of
from .clients import Client, Limits, Misbehaved, Turn
from .pool import Pool
from .served_asset import PARTS_AHEAD, serve_asset
from .served_environments import Playground
from .served_frames import serve_frames
from .uploads import Uploads

__all__ = ["Service"]

_MOST_POINTS: Final = 1000
_LONGEST_NAME: Final = 1000
_LONGEST_PATH: Final = 4096
_KINDS: Final = sorted(
    one.kind for one in (
        Attach, Call, Cancel, Change, Close, Describe, Environments, Inspect, More, Open, Put, Quit,
        Render, RenderAsset, Set, Step,
    )
)  # fmt: skip


class Service:
    """Answers clients out of a pool.

    Args:
        roots: Folders that clients may open files from.
        modules: Whose environments clients may have, beside the package's own.
        environments: Of :class:`.env.crew.Crew`: how their processes are started.
        on_stop: Called when the owner asks the server to end.
    """

    def __init__(
        self,
        pool: Pool,
        roots: Sequence[Path],
        limits: Limits = Limits(),  # noqa: B008  (it is frozen)
        on_stop: Callable[[], None] = lambda: None,
        *,
        modules: Sequence[str] = (),
        environments: Mapping[str, Any] | None = None,
    ) -> None:
        self.pool, self.limits = pool, limits
        self._playground = Playground(pool.workers, limits, modules, environments)
        self._admission = Admission(roots, limits)
        self._on_stop = on_stop
        self._guard = threading.Lock()
        self._clients: set[Client] = set()
        self._tickets: dict[int, str] = {}
        self._names = itertools.count(1)
        self.dropped = 0

    def hello(self) -> Hello:
        """What a client is greeted with."""
        return Hello(
            PROTOCOL, __version__, "", platform.python_version(), os.getpid(), _KINDS, "server"
        )  # fmt: skip

    def join(self, client: Client) -> None:
        """A client is there."""
        with self._guard:
            client.uploads = Uploads(self.limits.upload)
            self._clients.add(client)

    def leave(self, client: Client, *, misbehaved: bool = False) -> None:
        """It is gone: what it asked for is cancelled, and its scenes are closed."""
        with self._guard:
            if client not in self._clients:
                return
            self._clients.discard(client)
            self.dropped += misbehaved
            client.gone = True
            turns, scenes = list(client.running.values()), list(client.scenes)
        for turn in turns:
            turn.cancel()
        for scene in scenes:
            self._tickets.pop(scene, None)
            self.pool.close_scene(scene)
        client.uploads.close()
        if client.environments is not None:
            # A step that is in hand is not waited for here.
            ending = threading.Thread(target=client.environments.close, name="serve-end")
            ending.start()

    def overdue(self, client: Client) -> str:
        """Why it may not stay any longer; empty where it may."""
        now = time.monotonic()
        if now - client.heard > self.limits.idle:
            return "nothing was heard of it"
        if now - client.since > self.limits.session:
            return "its time is over"
        return ""

    def take(self, client: Client, received: Received) -> None:
        """A client said something; what it asks for is done in a thread of its own.

        Raises:
            Misbehaved: It is to be dropped.
        """
        client.heard = time.monotonic()
        number, message = received.request, received.message
        if isinstance(message, More):
            if type(message.frames) is not int or not 0 <= message.frames <= self.limits.credit:
                raise Misbehaved("it takes more frames than it may")
            turn = client.running.get(message.request) if type(message.request) is int else None
            if turn is not None and message.frames:
                turn.more(message.frames)
            return
        if isinstance(message, Cancel):
            turn = client.running.get(message.request) if type(message.request) is int else None
            if turn is not None:
                turn.cancel()
            return
        if number <= 0 or number in client.running:
            raise Misbehaved("it numbers its requests wrongly")
        with self._guard:
            if len(client.running) >= self.limits.requests:
                raise Misbehaved("it asks for too much at a time")
            options = message.options if isinstance(message, Render) else {}
            credit = options.get("credit", 1) if isinstance(options, dict) else 1
            if isinstance(message, RenderAsset):
                credit = PARTS_AHEAD
            if type(credit) is not int or not 0 <= credit <= self.limits.credit:
                credit = 1
            turn = client.running[number] = Turn(credit)

        def work() -> None:
            payloads: Sequence[memoryview] = ()
            answer: Message
            try:
                if isinstance(message, Step):
                    if client.environments is None:
                        raise UnknownRequest("There are no environments.", hint="Ask for some.")
                    answer, payloads = client.environments.step(message)
                else:
                    answer = self._answer(client, message, number, turn)
            except Exception as error:
                answer = _failed(error)
            finally:
                client.running.pop(number, None)
            if not client.gone:
                client.send(answer, number, payloads)
            if isinstance(message, Quit) and isinstance(answer, Described):
                self._on_stop()  # It has heard of it.

        threading.Thread(target=work, name="serve-request", daemon=True).start()

    # --- Requests --------------------------------------------------------------------------------

    def _answer(
        self, client: Client, message: Request | Message | Unknown, number: int, turn: Turn
    ) -> Message:
        if isinstance(message, Open):
            return self._open(client, message, number)
        if isinstance(message, Attach):
            return self._attach(client, message)
        if isinstance(message, Set):
            message = Change(message.session, [], 0, message.values)
        if isinstance(message, Change):
            return self._change(client, message)
        if isinstance(message, Render):
            self._may_see(client, message.session)
            return serve_frames(
                self.pool, self._admission, client, message, number, turn, self.limits
            )
        if isinstance(message, Put):
            size = client.uploads.put(message.name, message.data, first=message.first is True)
            return Described({"bytes": size})
        if isinstance(message, RenderAsset):
            return serve_asset(self.pool, self._admission, client, message, number, turn,
                               self.limits.answer)  # fmt: skip
        if isinstance(message, Inspect):
            scene = self._may_see(client, message.session)
            points, at, called = self._points(message), self._time(message), message.called
            if called is not None and (
                not isinstance(called, str) or len(called) > _LONGEST_PATH
            ):
                raise InvalidEdit(f"An asset's name is text of up to {_LONGEST_PATH} letters.")
            found = self.pool.inspect_scene(scene, points=points, at=at, called=called)
            return Described(found)
        if isinstance(message, Call):
            scene = self._may_change(client, message.session)
            if not isinstance(message.function, str) or not isinstance(message.arguments, dict):
                raise InvalidEdit("A call has a function's name and arguments by name.")
            result = self.pool.call_in_scene(scene, message.function, message.arguments)
            return Described({"result": result})
        if isinstance(message, Environments):
            return self._have_environments(client, message)
        if isinstance(message, Close):
            scene = self._may_see(client, message.session)
            if scene in client.scenes:
                self._tickets.pop(scene, None)
                self.pool.close_scene(scene)
            client.scenes.discard(scene)
            client.views.discard(scene)
            return Closed(message.session)
        if isinstance(message, Describe):
            return Described(self.status(client))
        if isinstance(message, Quit):
            if not client.is_owner:
                raise AccessRefused("Only its owner stops a server.")
            return Described({})
        kind, why = getattr(message, "kind", "?"), getattr(message, "why", "")
        raise UnknownRequest(f"This server does not take the message {kind}. {why}".strip())

    def _have_environments(self, client: Client, message: Environments) -> Message:
        if client.environments is not None:
            raise AccessRefused(
                "There are environments already.", hint="Connect once more for others."
            )
        made = self._playground.have(message)
        with self._guard:
            taken = client.environments is None and not client.gone
            if taken:
                client.environments = made
        if not taken:
            made.close()
            raise Interrupted("The client is gone.")
        return Described(made.facts())

    def status(self, client: Client) -> dict[str, Any]:
        """Plain data; of other clients only its owner hears."""
        facts: dict[str, Any] = {
            "version": __version__, "protocol": PROTOCOL, "pid": os.getpid(),
            "workers": self.pool.workers, "roots": [str(root) for root in self._admission.roots],
        }  # fmt: skip
        if client.is_owner:
            with self._guard:
                clients = [
                    {"name": one.name, "scenes": sorted(one.scenes), "requests": len(one.running),
                     "asks": one is client}
                    for one in self._clients
                ]  # fmt: skip
            facts |= {"pool": self.pool.status(), "clients": clients, "dropped": self.dropped}
        return facts

    def _may_see(self, client: Client, scene: object) -> int:
        if type(scene) is not int or scene not in client.scenes | client.views:
            raise UnknownRequest(f"The scene {scene!r} is not open.", hint="Open or attach it.")
        return scene

    def _may_change(self, client: Client, scene: object) -> int:
        found = self._may_see(client, scene)
        if found not in client.scenes:
            raise AccessRefused(
                f"The scene {found} is another client's, to be looked at.",
                hint="Open the file yourself to change it.",
            )
        return found

    def _open(self, client: Client, message: Open, number: int) -> Message:
        if len(client.scenes) >= self.limits.scenes:
            raise AccessRefused(
                f"{self.limits.scenes} scenes are open, and more are not given to one client.",
                hint="Close one.",
            )
        path = self._admission.path(client, message.path) if message.path else ""
        if not isinstance(message.folders, list) or not isinstance(message.asset_id, str):
            raise InvalidEdit("A scene has a name and a list of folders.")
        folders = [self._admission.path(client, folder) for folder in message.folders]
        name = message.asset_id[:255] or "stage"
        opened = self.pool.open_scene(
            path, self._admission.job(client, message.job), name=name, folders=folders,
            owner=client.name,
            on_stage=lambda stage: client.send(Stage(name, stage), number, ()),
        )  # fmt: skip
        with self._guard:
            if client.gone:
                self.pool.close_scene(opened.id)
                raise Interrupted("The client is gone.")
            client.scenes.add(opened.id)
            self._tickets[opened.id] = secrets.token_urlsafe(18)
        return self._opened(opened.id, self._tickets[opened.id])

    def _opened(self, scene: int, ticket: str) -> Opened:
        found = self.pool.opened(scene)
        return Opened(
            found.id, found.views, found.warnings, found.facts.get("scene", {}), found.facts, [],
            found.state, found.job.to_dict(), ticket,
        )  # fmt: skip

    def _attach(self, client: Client, message: Attach) -> Message:
        known = self._tickets.get(message.session) if type(message.session) is int else None
        right = known is not None and isinstance(message.ticket, str)
        if not right or not secrets.compare_digest(str(known), message.ticket):
            raise AccessRefused("There is no such scene, or the ticket is not its.")
        client.views.add(message.session)
        return self._opened(message.session, "")

    def _change(self, client: Client, message: Change) -> Message:
        scene = self._may_change(client, message.session)
        if not isinstance(message.edits, list) or not isinstance(message.values, dict):
            raise InvalidEdit("A change has a list of edits and a table of values.")
        edits = []
        for data in message.edits:
            if not isinstance(data, dict):
                raise InvalidEdit("An edit is a table.")
            edit = decode_edit(data)
            edit = located(edit, lambda path: self._admission.path(client, path))
            if isinstance(edit, AddMesh) and len(edit.vertices) > self.limits.message:
                raise AccessRefused("That mesh is larger than this server takes.")
            edits.append(edit)
        values = dict(message.values)
        if values:
            job = self.pool.opened(scene).job.with_values(values)
            job = self._admission.job(client, job.to_dict())
            found = files_of(job)
            values |= {path: found[path] for path in found.keys() & values.keys()}
        made = self.pool.change_scene(scene, edits, values)
        return Changed(scene, made.state, made.found, made.warnings, made.facts)

    def _points(self, message: Inspect) -> list[str] | None:
        points = message.points
        if points is None:
            return None
        if (
            not isinstance(points, list) or len(points) > _MOST_POINTS
            or not all(isinstance(name, str) and len(name) < _LONGEST_NAME for name in points)
        ):  # fmt: skip
            raise InvalidEdit(f"Points are a list of up to {_MOST_POINTS} names.")
        return points

    def _time(self, message: Inspect) -> int | None:
        at = message.time
        if at is not None and (type(at) is not int or abs(at) > LAST_FRAME):
            raise InvalidEdit(f"{at!r} is no animation frame.")
        return at


def _failed(error: Exception) -> Failed:
    if not isinstance(error, RenderError):
        # What it was is the owner's to know.
        error = UnexpectedError(f"The server could not do that ({type(error).__name__}).")
    return Failed("", error.reason, error.message, error.hint)
