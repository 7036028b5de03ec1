"""Lists of sources: text, CSV, JSON, JSON lines and Parquet, read entry by entry."""

from __future__ import annotations

import csv
import functools
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..errors import InvalidJob, InvalidList, MissingDependency, SourceNotFound
from .text import NAME_BYTES

__all__ = ["EXTENSIONS", "ListEntry", "read_list"]

EXTENSIONS: Final = (".txt", ".csv", ".json", ".jsonl", ".parquet")
_LONGEST: Final = 1 << 20
"""Bytes that a line may have."""
_SOURCE_COLUMNS: Final = ("fileidentifier", "path", "file", "url", "uid", "source")
"""Columns that name the asset, the first one there first; Objaverse-XL's ``source`` is a site."""
_FIELDS: Final = {
    "frame": ("asset.frame", int),
    "normalize": ("asset.normalize", str),
    "up": ("asset.up", str),
    "front": ("asset.front", str),
    "missing-textures": ("asset.missing_textures", str),
    "missing-parts": ("asset.missing_parts", str),
    "uncolored": ("asset.uncolored", str),
    "seed": ("seed", int),
}
_KNOWN: Final = ("sha256", "license")
# And what divides words for one way of reading alone.
_QUOTING: Final = re.compile(r"""["'\\]|[^\S \t\r\n]""")

ListEntry = tuple[str, str, dict[str, Any], dict[str, Any]]
"""What a line says: the source, the asset's id, fields of the job, what is known."""


def read_list(path: Path, more: tuple[str, ...] = ()) -> Iterator[ListEntry]:
    """The entries of a list, in order.

    Args:
        more: Further columns of a table that are wanted among what is known.

    Raises:
        SourceNotFound: The file cannot be read.
        InvalidList: An entry cannot be understood; the message names file and line.
        MissingDependency: A Parquet file, and no pyarrow.
    """
    try:
        yield from _READERS[path.suffix.lower()](path, more)
    except OSError as error:
        raise SourceNotFound(
            f"The list {path} cannot be read: {error.strerror or error}.", hint="Check the path."
        ) from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST + 1):
            number += 1
            if len(line) > _LONGEST:
                raise InvalidList(f"{path}, line {number} has more than {_LONGEST} bytes.")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InvalidList(
                    f"{path}, line {number} is not UTF-8 text: {error.reason}.",
                    hint="Save the list as UTF-8.",
                ) from error
            if "\0" in text:
                raise InvalidList(f"{path}, line {number} is not text.", hint="Is it a list?")
            yield number, text.rstrip("\r\n")


def _text(path: Path, _: tuple[str, ...]) -> Iterator[ListEntry]:
    for number, line in _lines(path):
        if "#" in line:
            line = re.split(r"(?:^|\s)#", line, maxsplit=1)[0]
        line = line.strip()
        if "--" in line:
            source, *rest = re.split(r"\s+(?=--[a-z])", line, maxsplit=1)
            where = f"{path}, line {number}"
            yield _entry(where, source, _options(where, rest[0]) if rest else {})
        elif line:
            # Most lines of the longest lists: millions of identifiers.
            yield line, "", {}, {}


def _options(where: str, text: str) -> dict[str, str]:
    try:
        # Without anything quoted they are the same, and one is twenty times as fast.
        words = shlex.split(text) if _QUOTING.search(text) else text.split()
    except ValueError as error:
        raise InvalidList(f"{where}: {error}.") from error
    options: dict[str, str] = {}
    while words:
        name, equals, value = words.pop(0).partition("=")
        if not equals:
            if not words or not name.startswith("--"):
                raise InvalidList(f"{where}: {name} has no value.", hint="Write --name VALUE.")
            value = words.pop(0)
        name = name.removeprefix("--")
        if name not in ("id", *_FIELDS, *_KNOWN):
            raise InvalidList(
                f"{where}: there is no option --{name} for one asset.",
                hint=f"There are: {', '.join('--' + n for n in ('id', *_FIELDS, *_KNOWN))}.",
            )
        options[name] = value
    return options


def _csv(path: Path, more: tuple[str, ...]) -> Iterator[ListEntry]:
    number = 0

    def lines() -> Iterator[str]:
        nonlocal number
        for number, line in _lines(path):  # noqa: B007 (the row's errors name it)
            if not line.lstrip().startswith("#"):
                yield line

    header: list[str] | None = None
    try:
        for row in csv.reader(lines(), strict=True):
            where = f"{path}, line {number}"
            if header is None:
                header = row
                _source_column(where, header)
            elif row:
                if len(row) != len(header):
                    raise InvalidList(f"{where} has {len(row)} columns instead of {len(header)}.")
                yield _row(where, dict(zip(header, row, strict=True)), more)
    except csv.Error as error:
        raise InvalidList(f"{path}, line {number}: {error}.") from error


def _json_lines(path: Path, more: tuple[str, ...]) -> Iterator[ListEntry]:
    for number, line in _lines(path):
        if line.strip() and not line.lstrip().startswith("#"):
            where = f"{path}, line {number}"
            try:
                item = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InvalidList(f"{where} is no JSON: {error}.") from error
            yield _item(where, item, more)


def _json(path: Path, more: tuple[str, ...]) -> Iterator[ListEntry]:
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidList(f"The list {path} is no JSON: {error}.") from error
    groups: Iterable[tuple[str, Any]] = (
        document.items() if isinstance(document, dict) else [("", document)]
    )
    for name, items in groups:
        if not isinstance(items, list):
            raise InvalidList(
                f"{path}: {name or 'the document'} is no list.",
                hint="It has to be a list of sources, or names with a list each.",
            )
        for number, item in enumerate(items, 1):
            yield _item(f"{path}, entry {number}{name and f' of {name}'}", item, more)


def _parquet(path: Path, more: tuple[str, ...]) -> Iterator[ListEntry]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependency(
            f"Reading {path} needs pyarrow.",
            hint='Install it with: pip install "objaverse-render-addon[xl]"',
        ) from error
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            wanted = {*_SOURCE_COLUMNS, "id", "assetid", *map(_plain, (*_FIELDS, *_KNOWN, *more))}
            names = [name for name in file.schema_arrow.names if _plain(name) in wanted]
            _source_column(str(path), names)
            for batch in file.iter_batches(8192, columns=names):
                for row in batch.to_pylist():
                    number += 1
                    yield _row(f"{path}, row {number}", row, more)
    except pyarrow.ArrowException as error:
        raise InvalidList(f"The list {path} is no Parquet: {error}.") from error


_READERS: Final = {
    ".txt": _text, ".csv": _csv, ".json": _json, ".jsonl": _json_lines, ".parquet": _parquet,
}  # fmt: skip


def _item(where: str, item: Any, more: tuple[str, ...]) -> ListEntry:
    if isinstance(item, str):
        return _entry(where, item, {})
    if isinstance(item, dict):
        return _row(where, item, more)
    raise InvalidList(f"{where} is neither a source nor an object with one.")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


@functools.lru_cache(64)
def _columns(names: tuple[str, ...], more: tuple[str, ...] = ()) -> dict[str, str]:
    """What is known of a table's columns: meaning to name."""
    found = {_plain(name): name for name in reversed(names)}
    wanted = (*_FIELDS, *_KNOWN, *more)
    columns = {name: found[_plain(name)] for name in wanted if _plain(name) in found}
    for name in ("assetid", "id"):
        if name in found:
            columns["id"] = found[name]
    for name in reversed(_SOURCE_COLUMNS):
        if name in found:
            columns["source"] = found[name]
    return columns


def _source_column(where: str, names: Iterable[str]) -> None:
    if "source" not in _columns(tuple(names)):
        raise InvalidList(
            f"{where}: no column names the assets.",
            hint="Call it path, url, uid or fileIdentifier; a list without columns is a .txt file.",
        )


def _row(where: str, row: Mapping[str, Any], more: tuple[str, ...]) -> ListEntry:
    columns = _columns(tuple(row), more)
    if "source" not in columns:
        _source_column(where, row)
    options = {
        name: row[column]
        for name, column in columns.items()
        if name != "source" and row[column] not in (None, "")
    }
    return _entry(where, row[columns["source"]], options)


def _entry(where: str, source: Any, options: Mapping[str, Any]) -> ListEntry:
    if not isinstance(source, str) or not source.strip() or "\0" in source:
        raise InvalidList(f"{where} names no source: {str(source)[:80]!r}.")
    job: dict[str, Any] = {}
    known: dict[str, Any] = {}
    asset_id = ""
    for name, value in options.items():
        if name == "id":
            asset_id = str(value)
            fits = len(asset_id.encode(errors="replace")) <= NAME_BYTES
            if not (re.fullmatch(r"[\w-]{1,120}", asset_id) and fits):
                raise InvalidList(
                    f"{where}: {asset_id[:150]!r} is no name for an asset.",
                    hint=f"Letters, digits, _ and -, at most 120, and {NAME_BYTES} bytes of UTF-8.",
                )
        elif name in _FIELDS:
            field, kind = _FIELDS[name]
            job[field] = _checked(where, name, field, kind, value)
        else:
            known[name] = str(value)
    digest = known.get("sha256", "0" * 64).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise InvalidList(f"{where}: {digest[:80]!r} is no SHA-256.")
    if "sha256" in known:
        known["sha256"] = digest
    return source.strip(), asset_id, job, known


def _checked(where: str, name: str, field: str, kind: type, value: Any) -> Any:
    try:
        read = kind(value)
        if kind is int and isinstance(value, float) and read != value:
            raise ValueError
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidList(f"{where}: {name}: {value!r} is no whole number.") from error
    try:
        _accepted(field, read)
    except InvalidJob as error:
        raise InvalidList(f"{where}: {name}: {error.message.rstrip('.')}.") from error
    return read


@functools.lru_cache(1024)
def _accepted(field: str, value: Any) -> None:
    from ..job import RenderJob

    RenderJob().with_values({field: value})
