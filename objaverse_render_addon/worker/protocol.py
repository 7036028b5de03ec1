"""What a worker is told and what it answers: typed messages, one JSON object a line.

A worker is a process that has Blender in it. It reads requests from its standard input and
answers on a private copy of its standard output; everything that Blender and its importers
print goes to the log instead. Messages are data, never code.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

__all__ = [
    "PROTOCOL",
    "SCRATCH",
    "Describe",
    "Described",
    "Done",
    "Failed",
    "FrameDone",
    "Message",
    "Notice",
    "Quit",
    "Ready",
    "RenderAsset",
    "Stage",
    "decode",
    "encode",
]

PROTOCOL = 1
SCRATCH = "OBJAVERSE_RENDER_SCRATCH"
"""Environment variable that tells a worker its folder for temporary images from the start."""


@dataclass(frozen=True, slots=True)
class RenderAsset:
    """Render one asset and write it; answered by Stage, FrameDone, then Done or Failed.

    Attributes:
        job: :meth:`RenderJob.to_dict`.
        out: Folder that the finished asset goes to.
        scratch: Folder for temporary images, emptied by the worker.
        provenance: What the caller knows of the source; goes into the metadata as it is.
        max_memory: Bytes that the worker may take; 0 for no limit.
        previews: Folder that a PNG of each view is put into as soon as it is there; may be
            empty.
        threads: CPU threads where the job leaves that open; 0 for all.
        folders: Folders that the asset may read from beside its own.
    """

    kind: ClassVar[str] = "render-asset"
    source: str
    asset_id: str
    job: dict[str, Any]
    out: str
    scratch: str
    provenance: dict[str, Any] = field(default_factory=dict)
    max_memory: int = 0
    previews: str = ""
    threads: int = 0
    folders: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Describe:
    """Ask what this Blender is and has."""

    kind: ClassVar[str] = "describe"


@dataclass(frozen=True, slots=True)
class Quit:
    """End the process."""

    kind: ClassVar[str] = "quit"


@dataclass(frozen=True, slots=True)
class Ready:
    """Sent once, when Blender is up."""

    kind: ClassVar[str] = "ready"
    blender: str
    python: str
    pid: int
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the work began: ``import``, ``prepare``, ``render``, ``write``."""

    kind: ClassVar[str] = "stage"
    asset_id: str
    name: str


@dataclass(frozen=True, slots=True)
class FrameDone:
    """A view was rendered, checked and written.

    Attributes:
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
        memory: Bytes that the worker takes; 0 where the system does not say.
        size: Bytes of the finished asset.
    """

    kind: ClassVar[str] = "done"
    asset_id: str
    path: str
    views: int
    warnings: list[str]
    doubts: dict[str, int]
    seconds: dict[str, float]
    sheet: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    device: str = ""
    memory: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The asset failed; nothing of it is left under its final name."""

    kind: ClassVar[str] = "failed"
    asset_id: str
    reason: str
    message: str
    hint: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people should know of a run; said by the run itself, not by a worker."""

    kind: ClassVar[str] = "notice"
    text: str


@dataclass(frozen=True, slots=True)
class Described:
    """Answer to :class:`Describe`: plain data."""

    kind: ClassVar[str] = "described"
    facts: dict[str, Any]


Message: TypeAlias = (
    RenderAsset
    | Describe
    | Quit
    | Ready
    | Stage
    | FrameDone
    | Done
    | Failed
    | Notice
    | Described
)
_KINDS: dict[str, type[Any]] = {
    cls.kind: cls
    for cls in (
        *(RenderAsset, Describe, Quit, Ready, Stage),
        *(FrameDone, Done, Failed, Notice, Described),
    )
}


def encode(message: Message) -> str:
    """One line of JSON, without the line break."""
    return json.dumps({"kind": message.kind, **dataclasses.asdict(message)})


def decode(line: str) -> Message | None:
    """The message on a line, or ``None`` for anything else (a banner, a stray print).

    Unknown fields are dropped, so that a newer peer can be understood.
    """
    if not line.startswith('{"kind"'):
        return None
    try:
        data = json.loads(line)
    except json.JSONDecodeError:
        return None
    cls = _KINDS.get(str(data.pop("kind")))
    if cls is None:
        return None
    known = {item.name for item in dataclasses.fields(cls)}
    try:
        message: Message = cls(**{key: value for key, value in data.items() if key in known})
    except TypeError:  # A field is missing.
        return None
    return message
