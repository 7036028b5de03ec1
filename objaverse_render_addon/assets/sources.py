"""What a user may name as a source, and the list of assets that it stands for."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from ..errors import SourceNotFound
from . import lists
from .formats import EXTENSIONS
from .objaverse import as_uid
from .text import short_name

__all__ = [
    "COMPOSED",
    "GITHUB",
    "NAMED_BY_FILE",
    "THING",
    "Source",
    "SourceKind",
    "classify",
    "expand",
    "is_junk",
    "other_names",
    "path_of",
    "place_of",
    "safe_name",
]

SourceKind = Literal[
    "path", "url", "remote", "objaverse", "github", "thingiverse", "smithsonian", "compose"
]

NAMED_BY_FILE: Final = ("path", "url", "remote")
"""Kinds of sources whose names are those of their files, which others may have, too."""
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
GITHUB: Final = re.compile(r"https?://github\.com/([\w.-]+)/([\w.-]+)/blob/([0-9a-f]{40})/(.+)")
"""Objaverse-XL's identifiers: owner, repository, commit, path; …"""
THING: Final = re.compile(r"https?://(?:www\.)?thingiverse\.com/thing:(\d+)/files\?fileId=(\d+)")
"""… thing, file."""
_SMITHSONIAN: Final = re.compile(r"https?://[\w.-]+\.si\.edu/.+")
COMPOSED: Final = re.compile(r"compose://(.+)#(\d+)")
"""A scene that is made here: the file of its set's rules, and its number in the set."""
_JUNK: Final = re.compile(
    r"(?:^|[/\\])(?:(?:\._[^/\\]*|\.DS_Store|Thumbs\.db)$|__MACOSX[/\\])"
)
_FOLDERS: Final = 3
"""How many folders above a file may become part of its name."""
_URL: Final = re.compile(r"[A-Za-z][\w+.-]+:(?://|:)|[a-z][\w+.-]*::")


class Source(NamedTuple):
    """One asset that was asked for.

    Attributes:
        text: As the user, or the list, named it; a path in a list is relative to the list.
        kind: Where it comes from.
        asset_id: Its name in the dataset, where the list gives one.
        job: Dotted fields of the job to values that are this asset's own
            (``RenderJob.with_values``).
        known: What the list says of it: ``sha256``, ``license``.
    """

    text: str
    kind: SourceKind
    asset_id: str = ""
    job: Mapping[str, Any] = _NOTHING
    known: Mapping[str, Any] = _NOTHING

    @property
    def name(self) -> str:
        """Its name in the dataset, as far as it is known before it is fetched."""
        if self.asset_id:
            return self.asset_id
        if self.kind == "objaverse":
            return uid_of(self.text) or self.text
        if self.kind == "thingiverse" and (thing := THING.fullmatch(self.text)):
            return f"thing-{thing[1]}-file-{thing[2]}"
        stem = Path(self.text).stem if self.kind == "path" else Path(file_name(self.text)).stem
        if self.kind in ("github", "smithsonian"):
            # Thousands of repositories have a scene.gltf.
            stem = f"{stem[:100]}-{hashlib.sha256(self.text.encode()).hexdigest()[:12]}"
        return safe_name(stem)


def safe_name(text: str) -> str:
    """A name that every file system takes, without dots."""
    return short_name(re.sub(r"[^\w\-]+", "_", text).strip("_")[:120]) or "asset"


def file_name(url: str) -> str:
    """The last part of an address' path, which may be anything."""
    inner = url.split("::", 1)[0] if "::" in url and "://" in url.split("::", 1)[0] else url
    try:
        parts = urlsplit(inner)
    except ValueError:
        return ""
    path = parts.path if parts.path.strip("/") else parts.netloc
    return unquote(path).replace("\\", "/").rstrip("/").rpartition("/")[2]


def place_of(text: str) -> str:
    """The same for every way to write a file's path: it is absolute, without ``..``."""
    if _URL.match(text):
        return text
    return os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111


def other_names(place: str) -> Iterator[str]:
    """Names for a source whose own (:attr:`Source.name`) is another one's, too.

    The most natural comes first: ``sofa/scene.gltf`` may be ``scene-gltf``, ``sofa-scene``,
    ``sofa-scene-gltf`` and so on with the folders above, and at last ``scene-`` with a hash of
    the whole place. There are as many of every source.

    Args:
        place: Of the source (:func:`place_of`).
    """
    if not _URL.match(place):
        *folders, file = Path(place).parts
    else:
        file = file_name(place)
        above = place.split("::", 1)[0].partition("?")[0].rstrip("/").rpartition("/")[0]
        folders = [unquote(part) for part in above.partition("://")[2].split("/")]
    stem, extension = safe_name(Path(file).stem), safe_name(Path(file).suffix or "file")
    yield safe_name(f"{stem}-{extension}")
    name = stem
    for _ in range(_FOLDERS):
        if folders and (folder := re.sub(r"[^\w\-]+", "_", folders.pop()).strip("_")):
            name = f"{folder}-{name}"
        yield safe_name(name)
        yield safe_name(f"{name}-{extension}")
    digest = hashlib.sha256(place.encode(errors="surrogatepass")).hexdigest()[:12]
    yield safe_name(f"{stem[:100]}-{digest}")


def is_junk(path: str) -> bool:
    """Whether a file is what systems leave beside files, which may be named like an asset.

    AppleDouble files (``._chair.glb``, all of ``__MACOSX`` in a Mac's zip), ``.DS_Store``,
    ``Thumbs.db``.
    """
    return _JUNK.search(path) is not None


def uid_of(text: str) -> str | None:
    """The Objaverse 1.0 UID that a source names: as such, as an address, or with ``.glb``."""
    return as_uid(text) or as_uid(text.strip().lower().removesuffix(".glb"))


def classify(text: str) -> SourceKind:
    """Where a source comes from, by how it is written."""
    if len(text) == 32 and as_uid(text):
        return "objaverse"
    if _URL.match(text):
        if as_uid(text):
            return "objaverse"
        if GITHUB.fullmatch(text):
            return "github"
        if THING.fullmatch(text):
            return "thingiverse"
        if _SMITHSONIAN.fullmatch(text):
            return "smithsonian"
        scheme = text.split(":", 1)[0].lower()
        if COMPOSED.fullmatch(text):
            return "compose"
        if "::" not in text:
            if scheme in ("http", "https"):
                return "url"
            if scheme == "file":
                return "path"
        return "remote"
    if len(text) >= 32 and (as_uid(text) or (uid_of(text) and not Path(text).exists())):
        return "objaverse"
    return "path"


def expand(
    sources: Iterable[str | os.PathLike[str] | Source],
    on_junk: Callable[[str], object] | None = None,
    more: tuple[str, ...] = (),
) -> Iterator[Source]:
    """Every asset that the sources name, in order, one after the other.

    A folder stands for the 3D files in it and below, sorted; a list (``.txt``, ``.csv``,
    ``.json``, ``.jsonl``, ``.parquet``) for its entries. Anything else stands for itself, so
    that a file that is not there is one failed asset and not a failed run. What is named twice
    counts once; lists and folders are read as they are needed. What systems leave beside files
    (:func:`is_junk`) is no asset.

    Args:
        on_junk: Called with the path of every such file that is left out.
        more: Further columns of lists that are wanted in :attr:`Source.known`.

    Raises:
        SourceNotFound: A list cannot be read, or a folder has no 3D file.
        InvalidList: A list's entry cannot be understood.
    """
    seen: set[int] = set()
    for given in sources:
        for source in _expand_one(given, more):
            if source.kind == "path" and is_junk(source.text):
                if on_junk is not None:
                    on_junk(source.text)
                continue
            key = _identity(source)
            if key not in seen:
                seen.add(key)
                yield source


def _identity(source: Source) -> int:
    """128 bits, for the same asset with the same wishes: of millions, less memory than text."""
    uid = uid_of(source.text) if source.kind == "objaverse" else None
    if uid and not source.asset_id and not source.job:
        return int(uid, 16)
    said = (uid or source.text, source.asset_id, sorted(source.job.items()))
    text = repr(said).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big")


def _expand_one(
    given: str | os.PathLike[str] | Source, more: tuple[str, ...]
) -> Iterator[Source]:
    if isinstance(given, Source):
        yield given
        return
    text = os.fspath(given)
    if classify(text) != "path":
        yield Source(text, classify(text))
        return
    if text.startswith("file:"):
        text = _from_file_url(text)
    path = path_of(text)
    if path.suffix.lower() not in lists.EXTENSIONS or path.is_dir():
        yield from _files(Source(text, "path"))
        return
    for entry, asset_id, job, known in lists.read_list(path, more):
        kind = classify(entry)
        if kind == "path":
            entry = _from_file_url(entry) if entry.startswith("file:") else entry
            # A list may name folders, but no other list: it could name itself.
            entry = str(path.parent / os.path.expanduser(entry))  # noqa: PTH111
        source = Source(entry, kind, asset_id, job or _NOTHING, known or _NOTHING)
        if kind == "path":
            yield from _files(source)
        else:
            yield source


def path_of(text: str) -> Path:
    """A path as a shell reads it: ``~name`` stays where there is no such user."""
    return Path(os.path.expanduser(text))  # noqa: PTH111


def _files(source: Source) -> Iterator[Source]:
    # Lists have millions of lines, and pathlib would take half of the time that reading them does.
    folder = os.path.expanduser(source.text)  # noqa: PTH111
    if not os.path.isdir(folder):  # noqa: PTH112
        yield source
        return
    found = False
    for path in _walk(Path(folder)):
        found = True
        yield source._replace(text=path)
    if not found:
        raise SourceNotFound(
            f"There is no 3D file in the folder {source.text}.",
            hint=f"Known extensions are: {', '.join(EXTENSIONS)}.",
        )


def _walk(folder: Path) -> Iterator[str]:
    """The 3D files below a folder; links to folders are not followed, for they may lead back."""
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif Path(entry.name).suffix.lower().lstrip(".") in EXTENSIONS and entry.is_file():
            yield entry.path


def _from_file_url(url: str) -> str:
    from urllib.request import url2pathname

    return url2pathname(urlsplit(url).path)
