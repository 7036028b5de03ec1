"""Between plain data and checked dataclasses, by the types of their fields."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import json
import math
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from ..errors import InvalidJob

__all__ = ["check", "check_kinds", "check_range", "read", "suggest", "to_toml"]

# Field name to its type; slow to find out.
kinds: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)


def check_kinds(section: object, where: str) -> None:
    """Give every field its declared kind (a list becomes a tuple), or name the one that cannot."""
    for name, kind in kinds(type(section)).items():
        object.__setattr__(section, name, convert(kind, getattr(section, name), where + name))


def check(condition: bool, message: str, hint: str = "") -> None:
    """Refuse what does not hold, by name."""
    if not condition:
        raise InvalidJob(message, hint=hint)


def check_range(
    name: str, value: tuple[float, float] | None, low: float, high: float, *, open_low: bool = False
) -> None:
    """Refuse what is no range, or one outside the bounds that it may have."""
    if value is None:
        return
    first, last = value
    check(
        math.isfinite(first) and math.isfinite(last) and first <= last,
        f"{name} {first:g}..{last:g} is not a range.",
        "Give the smaller number first.",
    )
    inside = (low < first if open_low else low <= first) and last <= high
    check(inside, f"{name} {first:g}..{last:g} is outside {low:g}..{high:g}.")


def suggest(word: str, known: typing.Iterable[str]) -> str:
    """A hint for a word that is not known: the one that it is like, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, 1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose from {', '.join(known)}."


_T = TypeVar("_T")


def read(cls: type[_T], data: object, where: str) -> _T:
    """A dataclass from nested dictionaries, or the name of what is unknown or wrong in them."""
    if not isinstance(data, dict):
        raise InvalidJob(f"{where.rstrip('.') or 'The job'} should be a table.")
    hints = kinds(cls)
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in hints:
            raise InvalidJob(f"There is no job field {where}{key}.", hint=suggest(key, hints))
        kind = hints[key]
        if dataclasses.is_dataclass(kind):
            value = read(typing.cast(type[Any], kind), value, f"{where}{key}.")
        values[key] = value
    return cls(**values)


def convert(kind: Any, value: object, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return convert(next(arg for arg in args if arg is not type(None)), value, where)
    if origin is Literal:
        if value in args:
            return value
        raise InvalidJob(
            f"{where} cannot be {value!r}.", hint=suggest(str(value), [str(arg) for arg in args])
        )
    if origin is tuple:
        if args[-1] is Ellipsis:
            if not isinstance(value, list | tuple):
                raise InvalidJob(f"{where} should be a list, not {value!r}.")
            return tuple(convert(args[0], item, where) for item in value)
        # One number stands for the range from it to itself.
        if isinstance(value, int | float) and not isinstance(value, bool) and len(args) == 2:
            value = [value, value]
        if not isinstance(value, list | tuple) or len(value) != len(args):
            raise InvalidJob(f"{where} should be {len(args)} numbers, not {value!r}.")
        return tuple(convert(arg, item, where) for arg, item in zip(args, value, strict=True))
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise InvalidJob(f"{where} should be a {kind.__name__}, not {value!r}.")


def to_toml(data: dict[str, Any]) -> str:
    """Scalars, lists and one level of tables as a TOML document; ``None`` is left away."""
    lines = [f"{key} = {_toml(value)}" for key, value in data.items() if _is_plain(value)]
    for section, values in data.items():
        if not isinstance(values, dict):
            continue
        lines += ["", f"[{section}]"]
        given = {key: value for key, value in values.items() if value is not None}
        lines += [f"{key} = {_toml(value)}" for key, value in given.items()]
    return "\n".join(lines) + "\n"


def _is_plain(value: object) -> bool:
    return value is not None and not isinstance(value, dict)


def _toml(value: object) -> str:
    # Scalars and arrays of them are written the same way in JSON and in TOML.
    # The one exception is DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
