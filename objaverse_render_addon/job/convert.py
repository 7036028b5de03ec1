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
from collections.abc import Callable, Collection
from typing import Any, Literal, TypeVar

from ..errors import InvalidJob
from .settings import Setting

__all__ = ["check", "check_fields", "ordered", "read", "suggest", "to_toml"]

# Field name to its type; slow to find out.
kinds: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)


def check_fields(section: object, where: str, free: Collection[str] = ()) -> None:
    """Give every field its declared kind (a list becomes a tuple) and see to its limits.

    Args:
        free: Names of fields whose limits do not count.

    Raises:
        InvalidJob: Naming the field.
    """
    for name, kind in kinds(type(section)).items():
        object.__setattr__(section, name, convert(kind, getattr(section, name), where + name))
    for field in dataclasses.fields(section):  # type: ignore[arg-type]
        value, said = getattr(section, field.name), field.metadata.get("setting")
        if value is not None and said is not None and field.name not in free:
            _check_limits(where + field.name, value, said)


def _check_limits(path: str, value: Any, said: Setting) -> None:
    numbers = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(number, int | float) for number in numbers):
        return
    shown = ("x" if said.form == "size" else "..").join(map(_shown, numbers))
    finite = all(map(math.isfinite, numbers))
    if said.form == "range":
        check(
            finite and numbers[0] <= numbers[1],
            f"{path} {shown} is not a range.",
            "Give the smaller number first.",
        )
    low = -math.inf if said.low is None else said.low
    high = math.inf if said.high is None else said.high
    inside = all(
        (low < number if said.open_low else low <= number) and number <= high
        for number in numbers
    )
    bounds = [
        *([] if said.low is None else [f"{'above' if said.open_low else 'from'} {_shown(low)}"]),
        *([] if said.high is None else [f"up to {_shown(high)}"]),
    ]
    check(finite and inside, f"{path} {shown} is not {' '.join(bounds) or 'a finite number'}.")


def _shown(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def check(condition: bool, message: str, hint: str = "") -> None:
    """Refuse what does not hold, by name."""
    if not condition:
        raise InvalidJob(message, hint=hint)


def suggest(word: str, known: typing.Iterable[str]) -> str:
    """A hint for a word that is not known: the one that it is like, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, 1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose from {', '.join(known)}."


def ordered(path: str, names: tuple[str, ...], among: tuple[str, ...]) -> tuple[str, ...]:
    """A set in all but its type: another order is no other job."""
    for name in names:
        if name not in among:
            raise InvalidJob(f"{path} cannot have {name!r}.", hint=suggest(name, among))
    check(len(set(names)) == len(names), f"{path} has one of them twice.")
    return tuple(name for name in among if name in names)


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
