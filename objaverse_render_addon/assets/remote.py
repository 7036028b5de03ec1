"""Files behind any address that fsspec knows: S3, Google Cloud, HDFS, members of archives …"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Unpack

from ..errors import DownloadFailed, RenderError, SourceNotFound
from ..words import redacted
from .download import Session
from .protocols import url_to_fs
from .transfer import CHUNK, Stream, TransferBroken, TransferOptions, transfer

__all__ = ["copy", "is_local"]

_LOCAL = ("file", "local", "memory", "zip", "tar", "libarchive", "dir")


def is_local(url: str) -> bool:
    """Whether an address never leaves this machine."""
    *outer, last = url.split("::")
    schemes = [part.split("://", 1)[0] for part in (*outer, last) if "://" in part]
    return all(scheme in _LOCAL for scheme in schemes)


def copy(
    session: Session,
    url: str,
    target: Path,
    **wishes: Unpack[TransferOptions],
) -> Path:
    """Fetch a file through fsspec; see :func:`transfer` for what it takes and raises.

    Raises:
        MissingDependency: fsspec, or the package of this protocol, is not installed.
        ProtocolNotAllowed: The protocol is not on the list.
        SourceNotFound: There is no such file.
    """
    name = redacted(url)

    @contextlib.contextmanager
    def opener(have: int, validator: str, _: object) -> Iterator[Stream]:
        try:
            system, path = _open(url, name)
            info = system.info(path)
            if info.get("type") == "directory":
                raise SourceNotFound(f"{name} is a folder.", hint="Name the files in it.")
            total = int(info.get("size") or 0)
            mark = _mark(info, total)
            start = have if have and mark and mark == validator else 0
            with system.open(path, "rb", block_size=1 << 20, cache_type="readahead") as file:
                if start:
                    file.seek(start)
                yield Stream(start, total, mark, "", iter(lambda: file.read(CHUNK), b""))
        except (RenderError, TransferBroken):
            raise
        except FileNotFoundError as error:
            raise SourceNotFound(f"There is no {name}.", hint="Check the address.") from error
        except PermissionError as error:
            raise DownloadFailed(f"{name}: {error}.", hint="Check the credentials.") from error
        except Exception as error:
            # Every file system has exceptions of its own.
            if is_local(url) and not isinstance(error, OSError):
                raise DownloadFailed(
                    f"{name}: {type(error).__name__}: {str(error)[:300]}.",
                    hint="Is the archive whole, and this a file in it?",
                ) from error
            raise TransferBroken(f"{type(error).__name__}: {str(error)[:300]}") from error

    turn = functools.partial(session.turn, url, wishes.get("cancel"))
    return transfer(opener, name, target, turn=turn, **wishes)


def _open(url: str, name: str) -> tuple[Any, str]:
    try:
        return url_to_fs(url, name)
    except ValueError as error:
        raise SourceNotFound(f"{name}: {error}.", hint="Check the address.") from error


def _mark(info: dict[str, Any], total: int) -> str:
    """What changes with the file's content: an ETag or a time, with the length; or nothing."""
    for key in ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "updated"):
        if info.get(key):
            return json.dumps([key, str(info[key]), total])
    return ""
