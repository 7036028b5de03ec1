"""How a list is rendered, beside what: which assets, by whom, fetched how, kept where."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..assets.resolve import RepoFormat, Resolver
from ..errors import InvalidJob
from ..worker.wall import Sandbox
from .output import packing
from .queue.intake import IdSource

__all__ = ["Fetching", "RunOptions", "Selection", "Storage", "Workers"]

_Path: TypeAlias = str | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which assets of the list, under which names.

    Attributes:
        ids: Name assets by file name or by content.
        shard: ``(i, n)``: only the ``i``-th of ``n`` parts of the list, counted from 0, with a
            ledger of its own.
        retry: Reasons of earlier failures to try again, or ``all``.
        overwrite: Render what is finished too.
        licenses: Render only what is under one of these, as ``by,cc0``; by the list's or the
            catalogue's word.
        provenance: Source to what is known of it; goes into the metadata.
        lookup: Gives what a catalogue knows of a source, from any thread; the local index of
            Objaverse otherwise, where there is one.
    """

    ids: IdSource = "name"
    shard: tuple[int, int] | None = None
    retry: Iterable[str] | Literal["all"] = ()
    overwrite: bool = False
    licenses: str | None = None
    provenance: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    lookup: Callable[[str], dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        if self.shard is not None and not 0 <= self.shard[0] < self.shard[1]:
            raise InvalidJob(
                f"There is no part {self.shard[0]} of {self.shard[1]}.",
                hint="--shard i/n counts from 0 to n-1.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """What renders.

    Attributes:
        blender: Program of an installed Blender; pip's ``bpy`` otherwise.
        workers: Processes that render; by what the machine has otherwise.
        gpus: Indices of the GPUs to render on; all that the job's device means otherwise.
        timeout: Seconds that one asset may take; of animations each 32 frames.
        max_memory: Bytes that a worker may take; its share of 90 % of the machine's otherwise,
            0 for no limit.
        recycle: Assets after which a worker is replaced.
        attempts: Times that an asset may take its worker down before it is given up.
        scratch: Folder for temporary images; memory-backed storage otherwise, where there is some.
        previews: Folder for a PNG of each view as soon as it is there; ``on_event`` is told.
        cluster: Render on the machines of a Ray cluster; they all have to see the output.
        address: Of the cluster's head; one on this machine otherwise.
        allow_outside: Folders of one's own that assets may read from beside theirs. They differ
            from machine to machine and are no part of the job: what is finished stays as it is,
            with its warnings, until it is overwritten.
        sandbox: Whether workers are shut in, so that they touch nothing but Blender, the assets'
            folders, ``scratch`` and the output: ``auto`` where the system can, ``on``, ``off``.
        nice: How far workers stand back for other programs, as the command ``nice`` counts; not
            on Windows.
    """

    blender: _Path | None = None
    workers: int | None = None
    gpus: Sequence[int] | None = None
    timeout: float = 300.0
    max_memory: int | None = None
    recycle: int = 1000
    attempts: int = 2
    scratch: _Path | None = None
    previews: _Path | None = None
    cluster: Literal["ray"] | None = None
    address: str | None = None
    allow_outside: Sequence[_Path] = ()
    sandbox: Sandbox = "auto"
    nice: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """How what is not on this machine comes here.

    Attributes:
        download_dir: Cache of fetched objects; ``~/.objaverse``, as the ``objaverse`` package.
        keep_downloads: Whether what is fetched stays in the cache after rendering.
        save_repo_format: How repositories of Objaverse-XL's GitHub objects are kept.
        endpoint: Server of the Objaverse data set; ``HF_ENDPOINT`` or Hugging Face otherwise.
        online: Whether objects may be fetched.
        physics: Python program with the engines that settle composed scenes; this one otherwise.
    """

    download_dir: _Path | None = None
    keep_downloads: bool = True
    save_repo_format: RepoFormat = "none"
    endpoint: str | None = None
    online: bool = True
    physics: _Path | None = None

    def resolver(self) -> Resolver:
        """What fetches in this way."""
        return Resolver(
            self.download_dir, self.endpoint, online=self.online, keep=self.keep_downloads,
            save_repo_format=self.save_repo_format, make_scene=self._make_scene,
        )  # fmt: skip

    def _make_scene(self, rules: str, index: int, folder: Path) -> Path:
        # With its imports, which nobody else needs.
        if self.physics is not None:
            from .physics import scene_file as made_there

            return made_there(str(self.physics), rules, index, folder)
        from ..compose.make import scene_file

        return scene_file(rules, index, folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where the run keeps its books, and how it deals with storage that is full or fails.

    Attributes:
        state: Folder for the ledger and for what is not packed yet.
        min_free: Bytes of disk that have to stay free; the run waits otherwise.
        patience: Seconds to wait for a full disk or failing storage before the run ends.
        shard_assets: Assets in a WebDataset shard.
        shard_bytes: Bytes from which a shard is split.
    """

    state: _Path | None = None
    min_free: int | None = None
    patience: float = 600.0
    shard_assets: int = packing.BLOCK
    shard_bytes: int = packing.MAX_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """All of it; every default is a good one."""

    selection: Selection = Selection()
    workers: Workers = Workers()
    fetching: Fetching = Fetching()
    storage: Storage = Storage()

    @classmethod
    def of(cls, **values: Any) -> RunOptions:
        """Options by their own names, whatever they belong to: ``RunOptions.of(timeout=60)``.

        Raises:
            TypeError: There is no option of this name.
        """
        groups: dict[str, Any] = {}
        for name, group in _GROUPS.items():
            known = {item.name for item in dataclasses.fields(group)} & set(values)
            groups[name] = group(**{option: values.pop(option) for option in known})
        if values:
            raise TypeError(f"there is no option {', '.join(sorted(values))}")
        return cls(**groups)


_GROUPS: dict[str, type[Any]] = {
    "selection": Selection, "workers": Workers, "fetching": Fetching, "storage": Storage,
}  # fmt: skip
