"""Search Objaverse 1.0 by words, licence, LVIS category, size; on this machine, in milliseconds.

::

    catalogue = Catalogue.ready()            # makes the index the first time, which takes minutes
    found = catalogue.search(Query("office chair", licenses=parse_filter("by,cc0"), limit=20))
    for entry in found.entries:
        print(entry.uid, entry.name, entry.attribution)
"""

from __future__ import annotations

import contextlib
import difflib
import random
import re
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ..errors import InvalidJob
from .annotations import LVIS, SHARDS, AnnotationFiles, Damaged, is_uid
from .catalogue_index import APPLICATION, VERSION, IndexProgress, build, thumbnail_url
from .entry import CatalogueEntry
from .licenses import UNKNOWN
from .objaverse import as_uid
from .query import Query, SearchResult, conditions, facet, terms
from .text import clean

__all__ = [
    "Catalogue",
    "Query",
    "SearchResult",
    "index_path",
    "known_of_file",
    "look_up",
    "private_folder",
    "titles",
]

_ORDER: Final = {
    "views": "assets.views DESC, assets.id",
    "newest": "assets.published DESC, assets.id",
    "faces": "assets.faces IS NULL, assets.faces, assets.id",
}
# Where a word may stand: what is found further left comes first.
_TIERS: Final = ("name", "name tags", "name tags description")
_PRIME: Final = (1 << 31) - 1

_SELECT: Final = """
SELECT assets.id, hex(uid), shard, assets.name, licences.text, authors.name, username, authors.url,
    faces, vertices, animations, textures, size, likes, views, published, restricted, thumbnail,
    tags, categories, lvis
FROM assets JOIN licences ON licences.id = licence JOIN authors ON authors.id = author
"""


def private_folder(folder: Path | None = None) -> Path:
    """Where this program keeps what is its own beside the ``objaverse`` package's files."""
    return (folder or Path.home() / ".objaverse") / "objaverse-render"


def index_path(folder: Path | None = None) -> Path:
    """The index of a cache; delete it to have it made anew."""
    return private_folder(folder) / "catalogue.sqlite"


def look_up(uid: str, files: AnnotationFiles) -> CatalogueEntry | None:
    """What is known of an object, without making the index: from it, or from the annotation file.

    Returns:
        ``None`` where Objaverse has no such object.

    Raises:
        OnlineAccessDenied, DownloadFailed, OutputNotWritable, DiskFull: Fetching the files.
    """
    catalogue = Catalogue.existing(files.folder.parent)
    if catalogue is not None:
        with catalogue:
            entry = catalogue.get(uid)
        if entry is not None or not catalogue.problems:
            return entry
    shard = files.shard_of(uid)
    record = files.record(shard, uid) if shard else None
    if shard is None or record is None:
        return None
    lvis: tuple[str, ...] = ()
    with contextlib.suppress(Damaged):
        lvis = tuple(clean(name, 100) for name, uids in files.lvis().items() if uid in uids)
    return CatalogueEntry.from_record(uid, record, shard, lvis)


def known_of_file(name: str, folder: str | Path | None = None) -> dict[str, Any]:
    """What a dataset's metadata should say of a file that the cache named, ``<uid>.glb``.

    Empty for any other file, and where there is no index.
    """
    uid = as_uid(Path(name).stem)
    if uid is None:
        return {}
    catalogue = Catalogue.existing(Path(folder).expanduser() if folder else None)
    if catalogue is None:
        return {}
    with catalogue:
        return catalogue.provenance(uid)


def titles(sources: Iterable[str], folder: str | Path | None = None) -> dict[str, str]:
    """What those of the sources are called that Objaverse names by identifier: source to title.

    Empty where there is no index; files of the cache, ``<uid>.glb``, count too.
    """
    found = {source: as_uid(Path(source).stem) or as_uid(source) for source in sources}
    uids = {source: uid for source, uid in found.items() if uid is not None}
    if not uids:
        return {}
    catalogue = Catalogue.existing(Path(folder).expanduser() if folder else None)
    if catalogue is None:
        return {}
    with catalogue:
        entries = {source: catalogue.get(uid) for source, uid in uids.items()}
    return {source: entry.title for source, entry in entries.items() if entry is not None}


class Catalogue:
    """The index, open for reading; any number of threads may use it.

    Use :meth:`ready` or :meth:`existing` to get one.

    Attributes:
        objects: How many objects are in it.
        problems: Annotation file to why it is not in it; empty where all of Objaverse is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Nobody writes to the file: a new index takes its name, and this one stays open.
        self._base = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
        self._lock = threading.Lock()
        try:
            marks = [self._value(f"PRAGMA {name}") for name in ("application_id", "user_version")]
            if marks != [APPLICATION, VERSION]:
                raise sqlite3.DatabaseError("another program's, or another version's")
            self._base.execute("PRAGMA cache_size = -16384")
            self.objects = int(self._value("SELECT value FROM facts WHERE name = 'objects'"))
            self._shards = {
                name: (stamp, identity, problem)
                for name, stamp, identity, problem in self._rows(
                    "SELECT name, stamp, identity, problem FROM shards"
                )
            }
            self._categories = {
                _folded(name): (number, name, count)
                for number, name, count in self._rows("SELECT id, name, count FROM categories")
            }
            self._licenses: dict[int, str] = dict(self._rows("SELECT id, key FROM licences"))
        except (sqlite3.Error, TypeError, ValueError):
            self._base.close()
            raise
        self.problems = {name: shard[2] for name, shard in self._shards.items() if shard[2]}

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._base.close()

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def existing(cls, folder: Path | None = None) -> Catalogue | None:
        """The index if there is one, as it is: without making it, without the network.

        Args:
            folder: The cache; ``~/.objaverse`` otherwise.
        """
        path = index_path(folder)
        if not path.is_file():
            return None
        try:
            return cls(path)
        except (sqlite3.Error, TypeError, ValueError):
            return None

    @classmethod
    def ready(
        cls,
        folder: Path | None = None,
        endpoint: str | None = None,
        *,
        online: bool = True,
        on_progress: IndexProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> Catalogue:
        """The index, made first where it is missing, not of this version, or out of date.

        Args:
            folder: The cache; ``~/.objaverse`` otherwise.
            endpoint: Server of the data set; ``HF_ENDPOINT`` or Hugging Face otherwise.
            online: Whether annotation files may be fetched. Without, the index has what is here,
                and :attr:`problems` says what is not.
            on_progress: Called while it is made, see :data:`~.catalogue_index.IndexProgress`; not
                called where nothing has to be made.

        Raises:
            OnlineAccessDenied, DownloadFailed, MissingDependency, OutputNotWritable, DiskFull,
            Interrupted: See :func:`~.catalogue_index.build`.
        """
        files = AnnotationFiles(folder, endpoint, online=online)
        found = cls.existing(folder)
        if found is not None:
            if found._is_current(files):
                return found
            found.close()
        build(files, index_path(folder), on_progress=on_progress, cancel=cancel)
        return cls(index_path(folder))

    def _is_current(self, files: AnnotationFiles) -> bool:
        if files.online and self.problems:
            return False
        for name in (LVIS, *SHARDS):
            stamp, identity, _ = self._shards.get(name, ("", "", ""))
            now = files.stamp(name)
            # A file that is no longer here is in the index all the same.
            if now and now != stamp and files.identity(name) != identity:
                return False
        return True

    # --- Searching

    def search(self, query: Query, *, count: bool = False) -> SearchResult:
        """The objects that a query describes.

        Args:
            count: Whether to count all matches too, which takes longer where they are many.

        Raises:
            InvalidJob: An LVIS category that does not exist, or a text without a word in it.
        """
        where, values = conditions(query)
        match = self._match(query)
        if query.sample is not None:
            # An affine map of a prime field puts the objects into another order for every seed.
            draw = random.Random(query.seed)
            factor, shift = draw.randrange(1, _PRIME), draw.randrange(_PRIME)
            order = f"(assets.lot * {factor} + {shift}) % {_PRIME}, assets.uid"
            ids = self._ids(match, where, values, order, query.sample)
        elif query.sort in _ORDER:
            ids = self._ids(match, where, values, _ORDER[query.sort], query.limit)
        elif query.sort == "relevance":
            ids = []
            for tier in _TIERS if query.text.strip() else _TIERS[-1:]:
                if len(ids) < query.limit:
                    # What an earlier tier found is among what this one finds.
                    more = self._ids(
                        self._match(query, tier), where, values, "words.rowid",
                        query.limit + len(ids),
                    )  # fmt: skip
                    ids = list(dict.fromkeys(ids + more))[: query.limit]
        else:
            ids = self._ids(match, where, values, "words.rowid", query.limit)
        total = self._count(match, where, values) if count else None
        return SearchResult(self._entries(ids), total)

    def get(self, uid: str) -> CatalogueEntry | None:
        """An object; ``None`` where it is not in the index."""
        if not is_uid(uid):
            return None
        key = bytes.fromhex(uid)
        rows = self._rows(f"{_SELECT} WHERE assets.uid = ?", (key,))
        return _entry(rows[0]) if rows else None

    def provenance(self, uid: str) -> dict[str, Any]:
        """What a dataset's metadata should say of an object; empty where it is not in the index."""
        entry = self.get(uid)
        return entry.provenance() if entry is not None else {}

    def known(self, source: str) -> dict[str, Any]:
        """The same of a source as it was named: a UID or a Sketchfab address.

        Fit to be the ``lookup`` of :func:`objaverse_render_addon.batch.run.render`.
        """
        uid = as_uid(source)
        return self.provenance(uid) if uid is not None else {}

    def lvis_categories(self) -> dict[str, int]:
        """LVIS categories and how many objects of this index are in each, by name."""
        found = sorted(self._categories.values(), key=lambda item: item[1].lower())
        return {name: count for _, name, count in found}

    def _match(self, query: Query, columns: str = _TIERS[-1]) -> str:
        """The query as a full-text expression."""
        # Every object has this word, so that there is always something to subtract from.
        wanted, unwanted = [facet("o1")], []
        for term, excluded in terms(query.text):
            if excluded:
                unwanted.append(f"{{{_TIERS[-1]}}} : {term}")
            else:
                wanted.append(f"{{{columns}}} : {term}")
        wanted += [f"author : {term}" for term, _ in terms(query.author)]
        if query.licenses is not None:
            keys = query.licenses.keys
            numbers = [n for n, key in self._licenses.items() if key != UNKNOWN and key in keys]
            wanted.append(
                facet(*(f"c{n}" for n in numbers), *(["c0"] if UNKNOWN in keys else []))
            )
        if query.lvis:
            wanted.append(facet(*(f"l{self._category(name)}" for name in query.lvis)))
        for letter, flag in (("a", query.animated), ("t", query.textured)):
            if flag is not None:
                wanted.append(facet(f"{letter}{int(flag)}"))
        if query.age_restricted:
            wanted.append(facet("r1"))
        elif query.age_restricted is False:
            unwanted.append(facet("r1"))
        positive = " AND ".join(f"({part})" for part in wanted[1:] or wanted)
        return f"({positive})" + "".join(f" NOT ({part})" for part in unwanted)

    def _category(self, name: str) -> int:
        folded = _folded(name)
        if folded in self._categories:
            return int(self._categories[folded][0])
        if not self._categories:
            raise InvalidJob(
                "The index has no LVIS categories.",
                hint=f"Search once with the network: {self.problems.get(LVIS, '')}",
            )
        near = [n for key, (_, n, _) in self._categories.items() if folded and folded in key]
        near = near or difflib.get_close_matches(name, self.lvis_categories(), 5)
        like = f"Similar ones are {', '.join(sorted(near)[:8])}. " if near else ""
        raise InvalidJob(
            f"There is no LVIS category {clean(name)!r}.",
            hint=f"{like}`objaverse-render search --list-lvis` lists them all.",
        )

    # --- SQL

    def _ids(
        self, match: str, where: str, values: list[Any], order: str, limit: int
    ) -> list[int]:
        rows = self._rows(
            f"SELECT words.rowid FROM words {_join(where, order)} WHERE words MATCH ? {where} "
            f"ORDER BY {order} LIMIT ?",
            [match, *values, max(0, limit)],
        )
        return [row[0] for row in rows]

    def _count(self, match: str, where: str, values: list[Any]) -> int:
        query = f"SELECT count(*) FROM words {_join(where)} WHERE words MATCH ? {where}"
        return int(self._rows(query, [match, *values])[0][0])

    def _entries(self, ids: list[int]) -> list[CatalogueEntry]:
        found = {}
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            rows = self._rows(f"{_SELECT} WHERE assets.id IN ({','.join('?' * len(some))})", some)
            found.update({row[0]: _entry(row) for row in rows})
        return [found[key] for key in ids]

    def _rows(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._base.execute(query, tuple(values)).fetchall()

    def _value(self, query: str) -> Any:
        row = self._base.execute(query).fetchone()
        return None if row is None else row[0]


def _join(*parts: str) -> str:
    """The join with the rows, where anything looks at them."""
    needed = any("assets." in part for part in parts)
    return "CROSS JOIN assets ON assets.id = words.rowid" if needed else ""


def _folded(category: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", category.lower()).strip()


def _entry(row: tuple[Any, ...]) -> CatalogueEntry:
    uid = row[1].lower()
    values = list(row[1:])
    values[0] = uid
    values[1] = SHARDS[row[2]]
    values[15] = bool(values[15])
    values[16] = thumbnail_url(values[16], uid)
    for place in (17, 18, 19):
        values[place] = tuple(values[place].split(", ")) if values[place] else ()
    return CatalogueEntry(*values)
