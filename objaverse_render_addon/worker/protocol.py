"""What a worker is told and what it answers: typed messages, and arrays beside them.

A worker is a process that has Blender in it. It reads requests from its standard input and
answers on a private copy of its standard output; everything that Blender and its importers
print goes to the log instead. A message is one JSON object on a line, and says which request it
is or answers. Arrays travel beside it, in a file in memory or as bytes that follow the line
(:class:`Buffer`). Messages are data, never code.

Every request ends with exactly one answer that :func:`ends` it; what comes before tells of its
progress.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

__all__ = [
    "MODULES",
    "NICE",
    "NO_STATE",
    "PROTOCOL",
    "RING",
    "SCRATCH",
    "Act",
    "Acted",
    "Alive",
    "Answer",
    "Attach",
    "Buffer",
    "Call",
    "Cancel",
    "Change",
    "Changed",
    "Close",
    "Closed",
    "Describe",
    "Described",
    "Done",
    "Environments",
    "Failed",
    "FilePart",
    "FrameDone",
    "FrameReady",
    "Hello",
    "Inspect",
    "Message",
    "More",
    "Open",
    "Opened",
    "Play",
    "Put",
    "Quit",
    "Refine",
    "Render",
    "RenderAsset",
    "Rendered",
    "Request",
    "Set",
    "Slots",
    "Stage",
    "Step",
    "Stepped",
    "decode",
    "encode",
    "ends",
]

PROTOCOL = 5
RING = "ring"
"""What a :class:`Buffer` says instead of a file, where its bytes are in a slot of the ring."""
NO_STATE = -1
"""Of a scene that was changed by half."""
MODULES = "OBJAVERSE_RENDER_MODULES"
"""Environment variable: modules whose functions may be called (:class:`Call`), with commas."""
SCRATCH = "OBJAVERSE_RENDER_SCRATCH"
"""Environment variable that tells a worker its folder for temporary images from the start."""
NICE = "OBJAVERSE_RENDER_NICE"
"""Environment variable that tells a worker how far to stand back for other programs."""


# --- Requests -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RenderAsset:
    """Render one asset and write it; answered by Stage, FrameDone, then Done or Failed.

    Attributes:
        source: What the user called it.
        path: The file, on the worker's machine; empty for a lane that fetches it itself.
        job: :meth:`RenderJob.to_dict`.
        out: Folder that the finished asset goes to.
        provenance: What the caller knows of the source; goes into the metadata as it is.
        known: What a list says of the source, for whoever fetches it.
        previews: Folder that a PNG of each view is put into as soon as it is there; may be
            empty.
        threads: CPU threads where the job leaves that open; 0 for all.
        folders: Folders that the asset may read from beside its own.
    """

    kind: ClassVar[str] = "render-asset"
    source: str
    path: str
    asset_id: str
    job: dict[str, Any]
    out: str
    provenance: dict[str, Any] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    previews: str = ""
    threads: int = 0
    folders: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Open:
    """Open a scene and hold it; answered by Stage, then Opened or Failed.

    The request's id is the session's name. A worker holds one session: what was open is closed.

    Attributes:
        path: The file, on the worker's machine; empty for a stage with nothing on it.
        edits: What is to be changed at once, as in :class:`Change`.
        state: Number of the state that the scene is in then; see :class:`Change`.
        folders: Folders that the asset may read from beside its own.
    """

    kind: ClassVar[str] = "open"
    source: str
    path: str
    asset_id: str
    job: dict[str, Any]
    threads: int = 0
    folders: list[str] = field(default_factory=list)
    edits: list[dict[str, Any]] = field(default_factory=list)
    state: int = 0


@dataclass(frozen=True, slots=True)
class Set:
    """Change the job of an open scene; answered by Opened or Failed.

    Attributes:
        values: Dotted paths of the job, as ``engine.samples``, to what they become.
    """

    kind: ClassVar[str] = "set"
    session: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """Change what is on the stage of an open scene; answered by Changed or Failed.

    Attributes:
        edits: One after the other, see :mod:`..stage_edits`. Where one fails, those before it
            stay, and the scene is in no state that has a number.
        values: Of its job, as in :class:`Set`; before the edits.
        state: Number of the state that the scene is in then. Whoever changes it counts; every
            frame says the number of the state that it shows.
    """

    kind: ClassVar[str] = "change"
    session: int
    edits: list[dict[str, Any]]
    state: int
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slots:
    """Where in the ring frames may be put.

    Attributes:
        start: Offset of the first slot.
        room: Bytes of each, with the page that it begins with.
    """

    start: int
    room: int
    count: int

    def offsets(self) -> range:
        """Of the slots."""
        return range(self.start, self.start + self.room * self.count, max(self.room, 1))


@dataclass(frozen=True, slots=True)
class Render:
    """Render views of an open scene; answered by FrameReady each, then Rendered or Failed.

    Attributes:
        views: Numbers of views of the session's job; all of them where it is ``None``.
        inline: Whether arrays follow their message as bytes; else they come in files in memory.
        shots: Cameras instead of views: ``index``, ``width``, ``height``, ``intrinsics`` (3, 3),
            ``camera_to_world`` (4, 4), ``projection``, and ``time``, an animation frame or
            ``None``; for passes of motion also ``previous`` and ``next``, shots of the same view.
        lane: How: ``exact``, as data sets are rendered, or ``raster``, from what a rasterizer
            draws.
        state: What the scene has to be in; ``None`` for whatever it is in.
        slots: Where in the ring frames may be put; then they come there.
        options: For a server that shares the shots out: ``workers``, ``timeout``, ``deadline``,
            ``at_least`` (the oldest state that frames may show), and ``credit``, the number of
            frames that it may send before it is told of :class:`More`.
    """

    kind: ClassVar[str] = "render"
    session: int
    views: list[int] | None = None
    inline: bool = False
    shots: list[dict[str, Any]] | None = None
    lane: str = "exact"
    state: int | None = None
    slots: Slots | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class More:
    """Of a server: so many frames more may come. Not answered; also says that one is there.

    Attributes:
        request: Id of the request whose frames they are.
    """

    kind: ClassVar[str] = "more"
    request: int = 0
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Attach:
    """Of a server: look at a scene that another client has open; answered by Opened or Failed.

    Attributes:
        ticket: That the other one was given.
    """

    kind: ClassVar[str] = "attach"
    session: int
    ticket: str


@dataclass(frozen=True, slots=True)
class Put:
    """Of a server: here is a part of a file, which ``upload:NAME`` is from now on; Described.

    Attributes:
        name: Letters, digits, spaces, ``.``, ``-`` and ``_``.
        data: Bytes, in base64; they follow what came before.
        first: Whether the file begins with them.
    """

    kind: ClassVar[str] = "put"
    name: str
    data: str
    first: bool = False


@dataclass(frozen=True, slots=True)
class Environments:
    """Of a server: have environments of a class, until this client goes; Described, or Failed.

    Attributes:
        scene: ``module:Class``, of a module that the server's owner allowed.
        options: The class is made with, by name; plain data.
        count, limit, same_step, real_time: As of :class:`Play`; a ``limit`` of ``None`` is the
            class's own.
        workers: Processes; 0 for as many as the class needs.
        size: Width and height of pictures; ``None`` for the class's.
        timeout: Seconds that a step may take.
    """

    kind: ClassVar[str] = "environments"
    scene: str
    options: dict[str, Any] = field(default_factory=dict)
    count: int = 1
    workers: int = 0
    limit: int | None = None
    same_step: bool = False
    real_time: bool = False
    size: list[int] | None = None
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """Of a server: have environments do what their orders say; answered by Stepped or Failed.

    Attributes:
        orders: One of each, see :mod:`objaverse_render_addon.environments.orders`.
        seeds: One of each; -1 where none is given.
        actions: Of all that step: name of the action's part to an array, as lists.
        shot: From where they are drawn, as in :class:`Act`.
    """

    kind: ClassVar[str] = "step"
    orders: list[int]
    seeds: list[int]
    actions: dict[str, Any] = field(default_factory=dict)
    shot: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Refine:
    """Bring the picture of a shot of an open scene so far; answered by FrameReady, then Rendered or
    Failed.

    It is rendered in pieces, between which it can be cancelled; asked for again, it goes on where
    it was.

    Attributes:
        shot: As in :class:`Render`.
        samples: In its mean; 0 for a draft, drawn by a rasterizer, with the passes that it has.
        exact: All of the job's samples, as a data set has them. Where that can only be rendered
            whole, no frame is sent.
        inline: As in :class:`Render`.
    """

    kind: ClassVar[str] = "refine"
    session: int
    shot: dict[str, Any]
    samples: int = 0
    exact: bool = False
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Inspect:
    """Ask what is on the stage of an open scene; answered by Described or Failed.

    Attributes:
        points: Names of points, or none: then where they and the objects are as they render is
            answered instead, see :func:`objaverse_render_addon.blender.placing.placed`.
        time: Animation frame at which they are; ``None`` as the stage stands.
        called: What the user calls the asset, or none: then what a data set's metadata say of it
            is answered instead, as of now.
    """

    kind: ClassVar[str] = "inspect"
    session: int
    points: list[str] | None = None
    time: int | None = None
    called: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """Have a function called beside an open scene; answered by Described or Failed.

    Attributes:
        function: Dotted name; its module is one that the worker was told to allow when it started.
        arguments: By name; plain data.
        state: Number of the state that the scene is in then.
    """

    kind: ClassVar[str] = "call"
    session: int
    function: str
    arguments: dict[str, Any]
    state: int


@dataclass(frozen=True, slots=True)
class Play:
    """Have environments of a class in this process; answered by Described or Failed.

    A scene that is open is closed. The answer says what the class says of itself.

    Attributes:
        scene: ``module:Class``; the module is one that the worker was told to allow when it
            started.
        options: The class is made with, by name; plain data.
        buffers: Where the rows of all environments are, in the memory that was handed down
            (:class:`.rows.Rows`); where there are none, the class is described alone.
        first: Number of the first row that is this worker's.
        count: How many are.
        limit: Steps after which an episode is truncated; 0 for never.
        same_step: Whether an episode that ended begins again in the same step.
        real_time: Whether time goes on between two steps.
        size: Width and height of pictures.
    """

    kind: ClassVar[str] = "play"
    scene: str
    options: dict[str, Any] = field(default_factory=dict)
    buffers: list[Buffer] = field(default_factory=list)
    first: int = 0
    count: int = 1
    limit: int = 0
    same_step: bool = False
    real_time: bool = False
    size: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Act:
    """Do what the rows' orders say; answered by Acted or Failed.

    Attributes:
        turn: Which of the two places for observations they go to.
        shot: From where rows are drawn, as in :class:`Render`; ``None`` for the scene's camera.
    """

    kind: ClassVar[str] = "act"
    turn: int
    shot: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """Forget an open scene; answered by Closed or Failed."""

    kind: ClassVar[str] = "close"
    session: int


@dataclass(frozen=True, slots=True)
class Describe:
    """Ask what this Blender is and has; answered by Described."""

    kind: ClassVar[str] = "describe"


@dataclass(frozen=True, slots=True)
class Cancel:
    """End a request soon, before its next render begins; that one is answered by Failed.

    Blender cannot be stopped within a render. Not answered itself, and no error where the request
    has ended already.

    Attributes:
        request: Id of the request to end.
    """

    kind: ClassVar[str] = "cancel"
    request: int


@dataclass(frozen=True, slots=True)
class Quit:
    """End the process."""

    kind: ClassVar[str] = "quit"


Request: TypeAlias = (
    RenderAsset
    | Open
    | Set
    | Change
    | Render
    | Attach
    | More
    | Put
    | Environments
    | Step
    | Refine
    | Inspect
    | Call
    | Play
    | Act
    | Close
    | Describe
    | Cancel
    | Quit
)


# --- Answers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Sent once, when Blender is up, before any request is read.

    Attributes:
        protocol: :data:`PROTOCOL` of the worker; the parent refuses another than its own.
        kinds: Requests that are understood.
        sandbox: What the worker is shut in by, as ``landlock 7, seccomp``; empty where by nothing.
    """

    kind: ClassVar[str] = "hello"
    protocol: int
    version: str
    blender: str
    python: str
    pid: int
    kinds: list[str]
    sandbox: str = ""


@dataclass(frozen=True, slots=True)
class Alive:
    """Every second while a request is in hand, from a thread that does nothing else."""

    kind: ClassVar[str] = "alive"


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the work began, ``import``, ``prepare``, ``render``, ``write``, or goes on:
    ``samples``.
    """

    kind: ClassVar[str] = "stage"
    asset_id: str
    name: str


@dataclass(frozen=True, slots=True)
class FrameDone:
    """A frame was rendered, checked and written.

    Attributes:
        index: How many were before it.
        total: How many there will be.
        preview: Path of its PNG, where previews were asked for.
    """

    kind: ClassVar[str] = "frame-done"
    asset_id: str
    index: int
    total: int
    preview: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The asset is whole, under its final name.

    Attributes:
        sheet: Path of a contact sheet, where previews were asked for.
        source: Record of the source file, as in the metadata.
        device: What rendered it.
        size: Bytes of the finished asset.
    """

    kind: ClassVar[str] = "done"
    asset_id: str
    path: str
    views: int = 0
    warnings: list[str] = field(default_factory=list)
    doubts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    sheet: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    device: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The request failed; of an asset, nothing is left under its final name.

    Attributes:
        asset_id: Where the request was for an asset.
    """

    kind: ClassVar[str] = "failed"
    asset_id: str
    reason: str
    message: str
    hint: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """A scene is open, or its job was changed.

    Attributes:
        views: Number of views of its job.
        record: What the metadata say of the scene.
        facts: All that they are made of, see ``Session.facts``; ``frames`` is the number of frames
            of the job, views at all their times.
        found: What edits that it was opened with brought, as in :class:`Changed`.
        state: Number of the state that it is in.
        job: Of a server: as it is now.
        ticket: Of a server: lets others look at it (:class:`Attach`); empty where one may not
            change it oneself.
    """

    kind: ClassVar[str] = "opened"
    session: int
    views: int
    warnings: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    found: list[dict[str, Any]] = field(default_factory=list)
    state: int = 0
    job: dict[str, Any] = field(default_factory=dict)
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """The scene is in another state.

    Attributes:
        found: What each edit brought: the names of what came, or what was replaced.
        facts: As in :class:`Opened`, where they may be others now.
    """

    kind: ClassVar[str] = "changed"
    session: int
    state: int
    found: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Buffer:
    """An array beside a message.

    Attributes:
        dtype: As numpy writes it, with its byte order (``<f4``).
        file: Path of the file in memory that holds the bytes of all of the message's arrays;
            whoever reads it removes it. Empty where the bytes follow the message, :data:`RING`
            where they are in a slot of the ring.
        offset: Of its bytes in the file or slot.
    """

    name: str
    dtype: str
    shape: list[int]
    file: str = ""
    offset: int = 0

    @property
    def size(self) -> int:
        """In bytes."""
        count = int(self.dtype[2:])
        for length in self.shape:
            count *= length
        return count


@dataclass(frozen=True, slots=True)
class FrameReady:
    """A complete, checked frame.

    Attributes:
        view: Its record, as in the metadata.
        buffers: One for each pass, of the dtype and shape that the pass has.
        state: Number of the state of the scene that it shows.
        lane: How it was rendered, and which passes were computed from others.
        slot: Offset of the slot in the ring that its arrays are in, and that slot's generation.
    """

    kind: ClassVar[str] = "frame-ready"
    index: int
    view: dict[str, Any]
    buffers: list[Buffer]
    state: int = 0
    lane: dict[str, Any] = field(default_factory=dict)
    slot: int = -1
    generation: int = 0


@dataclass(frozen=True, slots=True)
class FilePart:
    """Of a server: bytes of a file that it made, behind those that came before.

    Attributes:
        name: Below the folder that was asked for, with ``/``.
        buffers: One, of uint8, inline.
        first: Whether the file begins with them.
    """

    kind: ClassVar[str] = "file-part"
    name: str
    buffers: list[Buffer]
    first: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """All frames that were asked for were sent."""

    kind: ClassVar[str] = "rendered"
    frames: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The scene is forgotten."""

    kind: ClassVar[str] = "closed"
    session: int


@dataclass(frozen=True, slots=True)
class Acted:
    """All rows did what they were told.

    Attributes:
        told: Number of a row to what is to be said of it, beside its arrays.
    """

    kind: ClassVar[str] = "acted"
    told: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stepped:
    """A server's environments did what they were told; their arrays follow.

    Attributes:
        told: As of :class:`Acted`.
        lost: Numbers of those whose process died.
        buffers: The rows of all, by name.
    """

    kind: ClassVar[str] = "stepped"
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Described:
    """Plain data."""

    kind: ClassVar[str] = "described"
    facts: dict[str, Any]


Answer: TypeAlias = (
    Hello
    | Alive
    | Stage
    | FrameDone
    | Done
    | Failed
    | Opened
    | Changed
    | FrameReady
    | FilePart
    | Rendered
    | Closed
    | Acted
    | Stepped
    | Described
)
Message: TypeAlias = Request | Answer

_LAST = (Done, Failed, Opened, Changed, Rendered, Closed, Acted, Stepped, Described)


def ends(answer: Message) -> bool:
    """Whether it is the last to its request."""
    return isinstance(answer, _LAST)


# --- As text ------------------------------------------------------------------------------------

KINDS: dict[str, type[Any]] = {cls.kind: cls for cls in (*Request.__args__, *Answer.__args__)}
REQUESTS = sorted(cls.kind for cls in Request.__args__)
_FIELDS = {
    kind: dict.fromkeys(item.name for item in dataclasses.fields(cls)).keys()
    for kind, cls in KINDS.items()
}


_ENCODER = json.JSONEncoder(default=dataclasses.asdict, check_circular=False)
_HEAD = '{"id": '
# What a step of environments says, there and back, would take a good part of it to write and read.
_ACT = [f'"kind": "act", "turn": {turn}, "shot": null}}' for turn in (0, 1)]
_ACTED = '"kind": "acted", "told": {}}'
_PLAIN: dict[str, Callable[[], Any]] = {
    _ACT[0]: lambda: Act(0), _ACT[1]: lambda: Act(1), _ACTED: Acted,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message that is none of these, or lacks a field."""

    kind: str
    why: str


def encode(message: Message, request: int) -> str:
    """One line of JSON, without the line break.

    Args:
        request: Id of the request that it is, or answers; 0 for what answers none.
    """
    if type(message) is Act and message.shot is None and message.turn in (0, 1):
        return f"{_HEAD}{request}, {_ACT[message.turn]}"
    if type(message) is Acted and not message.told:
        return f"{_HEAD}{request}, {_ACTED}"
    # Not asdict of the whole: it copies every number that is within.
    fields = {name: getattr(message, name) for name in _FIELDS[message.kind]}
    return _ENCODER.encode({"id": request, "kind": message.kind, **fields})


def decode(line: str) -> tuple[int, Message | Unknown] | None:
    """The request's id and the message on a line; ``None`` for anything else (a stray print).

    Unknown fields are dropped, so that a newer peer can be understood.
    """
    if not line.startswith('{"id"'):
        return None
    head, _, rest = line.partition(", ")
    if (plain := _PLAIN.get(rest)) is not None:
        digits = head.removeprefix(_HEAD)
        # As JSON writes it, and not as int() would read it too.
        if digits.isdecimal() and len(digits) < 19 and str(int(digits)) == digits:
            return int(digits), plain()
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    request, kind = data.pop("id"), data.pop("kind", None)
    if not isinstance(request, int):
        return None
    cls = KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        return request, Unknown(str(kind), f"there is no message {kind!r}")
    known, values = _FIELDS[cls.kind], data
    if not data.keys() <= known:
        values = {key: value for key, value in data.items() if key in known}
    try:
        if "buffers" in known:
            values["buffers"] = [Buffer(**buffer) for buffer in values.get("buffers", ())]
        if values.get("slots") is not None:
            values["slots"] = Slots(**values["slots"])
        message: Message = cls(**values)
    except (TypeError, KeyError) as error:  # A field is missing.
        return request, Unknown(str(kind), str(error))
    return request, message
