"""The protocols that an address may have, for sources, for outputs and for datasets.

fsspec knows some that do more than fetch: ``reference://`` takes a file of anybody's and, in older
versions, executes the templates in it. Lists of sources are shared between strangers, so what an
address may have is a list, and what it does not name is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import MissingDependency, ProtocolNotAllowed
from .text import clean

__all__ = ["PROTOCOLS", "check_protocols", "url_to_fs"]

PROTOCOLS: Final = {
    "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "tos", "hdfs", "webhdfs",
    "arrow_hdfs", "hf", "http", "https", "ftp", "ftps", "sftp", "ssh", "smb", "webdav", "dav",
    "davs", "github", "gdrive", "dropbox", "box", "dbfs", "lakefs",
    "file", "local", "memory", "dir", "zip", "tar", "libarchive", "simplecache", "filecache",
}  # fmt: skip
"""Whoever registers a file system of their own with fsspec adds its name, in Python."""
OLDEST: Final = (2026, 6)
"""Older versions of fsspec execute the templates of a reference."""
_WORD: Final = re.compile(r"[a-z][a-z0-9+_-]*")


def check_protocols(url: str, what: str) -> None:
    """See whether an address, and each of those that it is chained of, has an allowed protocol.

    Args:
        what: The address as people may see it.

    Raises:
        ProtocolNotAllowed: It does not.
    """
    for part in url.split("::"):
        head, mark, _ = part.partition("://")
        # In a chain, a single word is a protocol as well.
        if not mark and ("::" not in url or not _WORD.fullmatch(head)):
            continue
        if head.lower() not in PROTOCOLS:
            raise ProtocolNotAllowed(
                f"{what}: {clean(head, 40)}:// is no protocol that an address may have here.",
                hint="Known are s3, gs, az, hdfs, hf, http, https, sftp, ftp, file, zip, tar and "
                "others; see docs/sources.md.",
            )


def url_to_fs(url: str, what: str, options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """The file system, of fsspec, of an address, and the path in it.

    Args:
        what: The address as people may see it.

    Raises:
        ProtocolNotAllowed: See :func:`check_protocols`.
        MissingDependency: fsspec, or what it needs for this protocol, is not installed, or too old.
        ValueError: It is no address.
    """
    check_protocols(url, what)
    try:
        import fsspec
        from fsspec.core import url_to_fs as open_url
    except ImportError as error:
        raise MissingDependency(
            f"{what} needs fsspec.",
            hint='Install it with: pip install "objaverse-render-addon[remote]"',
        ) from error
    numbers = re.findall(r"\d+", fsspec.__version__)[:2]
    if tuple(map(int, numbers)) < OLDEST:
        raise MissingDependency(
            f"{what} needs fsspec {OLDEST[0]}.{OLDEST[1]} or newer; here is {fsspec.__version__}, "
            "which executes what a file of references says.",
            hint='Update it: pip install -U "objaverse-render-addon[remote]"',
        )
    try:
        return open_url(url, **(options or {}))  # type: ignore[no-any-return]
    except ImportError as error:
        raise MissingDependency(f"{what}: {error}.", hint="pip install what it names.") from error
