"""Files behind addresses, with what they name beside them, each in a folder of its own."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import DownloadFailed, SourceNotFound
from ..words import redacted
from . import remote
from .companions import address_of, named_in
from .download import ByteProgress, Session, download
from .formats import EXTENSIONS, guess_extension, inspect_file
from .sources import Source, file_name, safe_name

__all__ = ["fetch_address", "found_in", "is_elsewhere", "place_of"]


def is_elsewhere(source: Source) -> bool:
    """Whether an address leaves this machine."""
    return source.kind == "url" or not remote.is_local(source.text)


def place_of(source: Source, folder: Path) -> Path:
    """Where the cache in ``folder`` has what is behind an address.

    Raises:
        SourceNotFound: It is no address.
    """
    try:
        host = safe_name(urlsplit(source.text).hostname or "local")
    except ValueError as error:
        raise SourceNotFound(f"{source.text} is no address: {error}.", hint="Check it.") from error
    return folder / "urls" / host / hashlib.sha256(source.text.encode()).hexdigest()[:16]


def found_in(folder: Path) -> Path | None:
    """The asset in an address' folder; it gets its name last, so it is complete."""
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            if path.suffix.lower().lstrip(".") in EXTENSIONS and not path.name.startswith("."):
                return path
    return None


def fetch_address(
    source: Source,
    folder: Path,
    session: Session,
    on_progress: ByteProgress | None = None,
    cancel: threading.Event | None = None,
) -> Path:
    """Fetch what is behind an address into ``folder``, under its own name made safe.

    Raises:
        DownloadFailed, ChecksumMismatch, SourceNotFound, WrongFormat, TruncatedFile, UnsafeData,
        MissingDependency, OutputNotWritable, DiskFull, Interrupted
    """
    get = download if source.kind == "url" else remote.copy
    name = file_name(source.text)
    stem, extension = safe_name(Path(name).stem)[:80], Path(name).suffix.lower().lstrip(".")

    def one(url: str, target: Path) -> Path:
        return get(session, url, target, on_progress=on_progress, cancel=cancel)

    def finish(part: Path) -> Path:
        # What a server calls a file is never taken for its name here.
        suffix = extension if extension in EXTENSIONS else guess_extension(part) or "glb"
        final = folder / f"{stem}.{suffix}"
        inspect_file(part, f"{redacted(source.text)}, as {final.name}")
        _companions(source.text, part, suffix, folder, one)
        return final

    return get(
        session,
        source.text,
        folder / "download",
        on_progress=on_progress,
        cancel=cancel,
        sha256=source.known.get("sha256", ""),
        found=lambda: found_in(folder),
        finish=finish,
    )


def _companions(
    url: str, path: Path, extension: str, folder: Path, get: Callable[[str, Path], Path]
) -> None:
    """Fetch what a file names; textures that are not there are the renderer's to judge."""
    for companion in named_in(path, extension, redacted(url)):
        target, where = folder / companion.name, address_of(url, companion.name)
        try:
            if not target.is_file():
                get(where, target)
        except (DownloadFailed, SourceNotFound):
            if companion.needed:
                raise
            continue
        if extension == "obj":
            _companions(where, target, "mtl", target.parent, get)
