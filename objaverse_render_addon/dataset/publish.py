"""A folder to the Hugging Face Hub, in commits that a repeated run goes on from.

The Hub's limits: https://huggingface.co/docs/hub/storage-limits.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import FormatCannotHold, InvalidJob, MissingDependency, SourceNotFound, UploadFailed
from ..files import file_sha256
from ..words import how_many

__all__ = ["Published", "publish"]

MOST_FILES: Final = 100_000
MOST_IN_FOLDER: Final = 10_000
MOST_BYTES: Final = 50_000_000_000
FILES_AT_ONCE: Final = 50
BYTES_AT_ONCE: Final = 5_000_000_000
_ADDRESS: Final = re.compile(r"hf://datasets/([\w.\-]+/[\w.\-]+)")


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a folder.

    Attributes:
        url: Of the repository.
        sent: Files that were sent.
        there: Files that were there already.
    """

    url: str
    sent: int
    there: int


def publish(
    folder: str | Path,
    address: str,
    *,
    private: bool = False,
    revision: str | None = None,
    endpoint: str | None = None,
    on_commit: Callable[[int, int], None] | None = None,
) -> Published:
    """Send a folder's files to a data set on the Hub.

    What is there with the same content is not sent again; nothing on the Hub is deleted. Files
    and folders that begin with a dot stay where they are.

    Args:
        address: ``hf://datasets/<owner>/<name>``.
        private: Whether a repository that is new is nobody else's.
        revision: Branch; made where it is missing.
        endpoint: Of the Hub; its own, or the environment variable ``HF_ENDPOINT``.
        on_commit: Called with how many files are there, and of how many.

    Raises:
        MissingDependency: ``huggingface_hub`` is not installed.
        InvalidJob: The address is none.
        SourceNotFound: There is no such folder, or nothing in it.
        FormatCannotHold: The Hub does not take as much.
        UploadFailed: The Hub refuses, or cannot be reached; a repeated run goes on.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingDependency(
            "Publishing needs huggingface_hub.",
            hint='Run: python -m pip install "objaverse-render-addon[huggingface]"',
        )
    from huggingface_hub import CommitOperationAdd, HfApi

    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise InvalidJob(
            f"{address} is no address of a data set on the Hub.",
            hint="It looks like hf://datasets/OWNER/NAME.",
        )
    name, place = match[1], Path(folder)
    files = _files(place)
    api = HfApi(endpoint=endpoint)
    try:
        url = str(api.create_repo(name, repo_type="dataset", private=private, exist_ok=True))
        if revision is not None:
            api.create_branch(name, branch=revision, repo_type="dataset", exist_ok=True)
        known = _known(api, name, revision)
        missing = [path for path in files if not _same(place / path, known.get(path))]
        done = len(files) - len(missing)
        if on_commit:
            on_commit(done, len(files))
        for batch in _batches(place, missing):
            operations = [CommitOperationAdd(path, place / path) for path in batch]
            api.create_commit(
                name, operations, repo_type="dataset", revision=revision,
                commit_message=f"Add {how_many(len(batch), 'file')}",
            )  # fmt: skip
            done += len(batch)
            if on_commit:
                on_commit(done, len(files))
    except Exception as error:  # Whatever the client and its own library for HTTP raise.
        raise UploadFailed(
            f"{address}: {str(error).strip().splitlines()[0][:300] if str(error) else error!r}.",
            hint="Run the same command again: what arrived is not sent twice. Log in with "
            "`hf auth login` where the Hub asks who you are.",
        ) from error
    return Published(url, len(missing), len(files) - len(missing))


def _files(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise SourceNotFound(f"There is no folder {folder}.")
    found = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise SourceNotFound(f"There is nothing in {folder}.")
    if len(found) > MOST_FILES:
        raise FormatCannotHold(
            f"{folder} has {len(found):,} files; the Hub takes {MOST_FILES:,}.",
            hint="Export it to huggingface or webdataset, which pack many assets into a file.",
        )
    folders = Counter(path.rpartition("/")[0] for path in found)
    where, count = folders.most_common(1)[0]
    if count > MOST_IN_FOLDER:
        raise FormatCannotHold(
            f"{folder / where} has {count:,} files; the Hub takes {MOST_IN_FOLDER:,} in a folder.",
            hint="Export it to huggingface or webdataset, which pack many assets into a file.",
        )
    for path in found:
        if (size := (folder / path).stat().st_size) > MOST_BYTES:
            raise FormatCannotHold(
                f"{folder / path} has {size / 1e9:.0f} GB; the Hub takes "
                f"{MOST_BYTES / 1e9:.0f} in a file."
            )
    return found


def _known(api: Any, name: str, revision: str | None) -> dict[str, tuple[int, str]]:
    """Path to size and checksum of what is there: SHA-256, or git's of small files."""
    from huggingface_hub.hf_api import RepoFile

    known = {}
    for entry in api.list_repo_tree(
        name, repo_type="dataset", revision=revision, recursive=True
    ):
        if isinstance(entry, RepoFile):
            digest = entry.lfs.sha256 if entry.lfs else entry.blob_id
            known[entry.path] = (entry.size, digest)
    return known


def _same(path: Path, known: tuple[int, str] | None) -> bool:
    if known is None or path.stat().st_size != known[0]:
        return False
    size, digest = known
    if len(digest) == 40:
        # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
        blob = b"blob %d\0" % size + path.read_bytes()
        return hashlib.sha1(blob, usedforsecurity=False).hexdigest() == digest
    return file_sha256(path) == digest


def _batches(folder: Path, files: list[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for path in files:
        more = (folder / path).stat().st_size
        if batch and (len(batch) >= FILES_AT_ONCE or size + more > BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += more
    if batch:
        yield batch
