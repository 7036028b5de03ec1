"""Classes of objects from a table: patterns of names, and what class they mean."""

from __future__ import annotations

import csv
import fnmatch
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InvalidJob

__all__ = ["ClassTable"]

_HINT = (
    "CSV with the columns pattern, class and, if you like, id; or JSON: "
    '{"chair*": "chair", "table": {"class": "table", "id": 7}}.'
)


@dataclass(frozen=True)
class ClassTable:
    """What an object's name says of its class.

    Attributes:
        rules: ``(pattern, class)``; ``*``, ``?`` and ``[…]`` as in file names, case counts; the
            first that fits decides.
        ids: Class to its number, from the table or in the order of appearance, 1 to 65535.
    """

    rules: tuple[tuple[str, str], ...]
    ids: dict[str, int]

    def class_of(self, name: str) -> str | None:
        """The class of an object of this name; none where no pattern fits."""
        return next(
            (label for pattern, label in self.rules if fnmatch.fnmatchcase(name, pattern)), None
        )

    @classmethod
    def read(cls, path: str | Path) -> ClassTable:
        """Read a ``.csv`` or ``.json`` table.

        Raises:
            InvalidJob: It is not there, or not a table; the message names the file and the line.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidJob(f"Table of classes {path}: {error}.", hint=_HINT) from error
        try:
            rows = _from_json(text) if path.suffix.lower() == ".json" else _from_csv(text)
        except ValueError as error:
            raise InvalidJob(f"Table of classes {path}: {error}.", hint=_HINT) from error
        ids: dict[str, int] = {}
        for pattern, label, number in rows:
            if number is None:
                continue
            if not 1 <= number <= 65535:
                raise InvalidJob(
                    f"Table of classes {path}: {label} has the id {number}; ids are 1 to 65535.",
                    hint=_HINT,
                )
            if ids.setdefault(label, number) != number or any(
                other != label and ids[other] == number for other in ids
            ):
                raise InvalidJob(
                    f"Table of classes {path}: the id {number} of {pattern} contradicts another "
                    "line.",
                    hint="One id per class, and one class per id.",
                )
        free = (number for number in range(1, 65536) if number not in ids.values())
        for _, label, _ in rows:
            if label not in ids:
                ids[label] = next(free)
        return cls(tuple((pattern, label) for pattern, label, _ in rows), ids)


_Rows = list[tuple[str, str, int | None]]


def _from_csv(text: str) -> _Rows:
    reader = csv.DictReader(io.StringIO(text))
    if not {"pattern", "class"} <= set(reader.fieldnames or ()):
        raise ValueError("it has no columns pattern and class")
    return [
        _row(line["pattern"], line["class"], line.get("id") or None, f"line {number}")
        for number, line in enumerate(reader, 2)
    ]


def _from_json(text: str) -> _Rows:
    data = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    return [
        _row(pattern, said.get("class"), said.get("id"), repr(pattern))
        if isinstance(said, dict)
        else _row(pattern, said, None, repr(pattern))
        for pattern, said in data.items()
    ]


def _row(pattern: Any, label: Any, number: Any, where: str) -> tuple[str, str, int | None]:
    if not (isinstance(pattern, str) and pattern and isinstance(label, str) and label):
        raise ValueError(f"{where} lacks a pattern or a class")
    if number is None:
        return pattern, label, None
    try:
        return pattern, label, int(str(number))
    except ValueError:
        raise ValueError(f"{where} has the id {number!r}, which is no whole number") from None
