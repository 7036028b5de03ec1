"""Shards: finished assets put together into tars of a bounded size, in the order of the ledger.

An asset waits in the staging folder as a tar of its own until its block of the ledger is ended;
then the block becomes one shard (or several, where it is too big), with an index beside it. What
is in a shard depends on the list and not on who was faster. A shard appears whole or not at all,
and only then its assets count as done.
"""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...dataset.filesystems import INDEX, file_system
from ...dataset.layout import TAR_END, tar_header, tar_padding
from ...errors import TruncatedFile, from_os_error
from ..queue.ledger import Ledger
from ..queue.rows import FINISHED
from .store import Store

__all__ = ["BLOCK", "MAX_BYTES", "Shards", "Waiting", "assets_in", "indexed_shards"]

BLOCK: Final = 64
"""Assets in a shard."""
MAX_BYTES: Final = 1 << 30
"""Bytes from which a block becomes several shards."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An asset in the staging folder."""

    id: int
    asset_id: str


class Shards:
    """Knows which blocks are complete, and makes shards of them.

    Args:
        request: Whose assets are rendered; others of a block are not waited for.
        prefix: Of the shards' names; differs between machines that share a folder.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        request: int,
        *,
        prefix: str = "shard",
        block: int = BLOCK,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._store, self._ledger, self._request = store, ledger, request
        self._prefix, self._block, self._max_bytes = prefix, block, max_bytes
        self._open: Counter[int] = Counter()
        self._known: set[int] = set()
        self._waiting: dict[int, list[Waiting]] = {}
        self._begun: dict[int, str] = {}

    def ended(self, row: int, waiting: str = "") -> list[Waiting]:
        """An asset ended; returns its block's waiting assets if it was the block's last.

        Args:
            waiting: The asset's id, if it waits in the staging folder.
        """
        block = (row - 1) // self._block
        if block not in self._known:
            self._known.add(block)
            first, last = block * self._block + 1, (block + 1) * self._block
            states = self._ledger.block(self._request, first, last)
            # The asset itself may be in the ledger as ended already.
            self._open[block] = sum(
                one == row or state not in FINISHED for one, state in states.items()
            )
        if waiting:
            self._waiting.setdefault(block, []).append(Waiting(row, waiting))
        self._open[block] -= 1
        return self._waiting.pop(block, []) if self._open[block] == 0 else []

    def rest(self) -> list[list[Waiting]]:
        """What waits when the run is over, block by block."""
        rest = [self._waiting[block] for block in sorted(self._waiting)]
        self._waiting.clear()
        return rest

    def pack(self, assets: Sequence[Waiting], packed: dict[str, list[Waiting]]) -> None:
        """Make shards of one block's assets.

        Args:
            packed: Gets what is in which. Given again after a failure, what is in it already is
                not packed twice.

        Raises:
            OutputNotWritable, DiskFull
        """
        ordered = sorted(assets, key=lambda asset: asset.asset_id)
        groups: list[list[Waiting]] = [[]]
        size = 0
        for asset in ordered:
            more = self._tar(asset).stat().st_size
            if groups[-1] and size + more > self._max_bytes:
                groups.append([])
                size = 0
            groups[-1].append(asset)
            size += more
        there = {asset.id for inside in packed.values() for asset in inside}
        for group in groups:
            first = group[0].id
            if first in there:
                continue
            # The same name again after a failure: it may have arrived nevertheless.
            name = self._begun.setdefault(first, self._name((first - 1) // self._block))
            self._write(name, group)
            packed[name] = group
        for asset in ordered:
            self._begun.pop(asset.id, None)
            with contextlib.suppress(OSError):
                self._tar(asset).unlink()

    def _tar(self, asset: Waiting) -> Path:
        return self._store.staging / f"{asset.asset_id}.tar"

    def _name(self, block: int) -> str:
        name, number = f"{self._prefix}-{block:06d}", 0
        while self._store.exists(f"{name}.tar"):
            number += 1
            name = f"{self._prefix}-{block:06d}-{number:03d}"
        return f"{name}.tar"

    def _write(self, name: str, assets: list[Waiting]) -> None:
        part = self._store.staging / f".{name}.part"
        index: dict[str, dict[str, list[int]]] = {}
        try:
            with part.open("wb") as shard:
                for asset in assets:
                    index[asset.asset_id] = places = {}
                    with tarfile.open(self._tar(asset), "r:") as tar:
                        for member in tar:
                            file = tar.extractfile(member)
                            assert file is not None
                            data = file.read()
                            own = member.name.rpartition("/")[2]
                            shard.write(tar_header(f"{asset.asset_id}.{own}", len(data)))
                            places[own] = [shard.tell(), len(data)]
                            shard.write(data)
                            shard.write(tar_padding(len(data)))
                shard.write(TAR_END)
                shard.flush()
                os.fsync(shard.fileno())
        except OSError as error:
            part.unlink(missing_ok=True)
            raise from_os_error(error, str(part)) from error
        text = json.dumps({"version": 1, "assets": index}, sort_keys=True)
        # The index first: a shard that is there always has one.
        self._store.write(name.removesuffix(".tar") + INDEX, text.encode())
        self._store.put(part, name)


def indexed_shards(store: Store) -> set[str]:
    """Names of the shards that are there, with an index beside them."""
    names = set(store.names())
    shards = (name.removesuffix(INDEX) + ".tar" for name in names if name.endswith(INDEX))
    return names.intersection(shards)


def assets_in(store: Store, shard: str) -> list[str]:
    """Ids of the assets in a shard, by its index.

    Raises:
        TruncatedFile: The index is damaged.
        DownloadFailed, SourceNotFound: It cannot be read.
    """
    from ...dataset.guards import LARGEST

    files = file_system(store.address, None)
    path = files.join(files.base, shard.removesuffix(".tar") + INDEX)
    try:
        data: dict[str, Any] = json.loads(files.read(path, LARGEST))
        return list(data["assets"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise TruncatedFile(
            f"{path} is not the index of a shard: {error}.", hint="Move it and its shard away."
        ) from error
