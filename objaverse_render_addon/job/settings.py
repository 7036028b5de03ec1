"""What every door says of a setting, said once: at the field itself.

Flags, the panel's properties and the schema of the metadata derive from it. A new setting is a
field in :mod:`.rules`, its words in the docs, and a line in the panel that draws it.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

__all__ = ["JobField", "Setting", "fields_of", "section", "setting"]

_T = TypeVar("_T")

Form = Literal["", "range", "pair", "size", "color", "names", "path", "frames", "action"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A field's words and limits.

    Attributes:
        about: What it is, beginning small: help of the flag and tip of the panel.
        unset: What ``None`` stands for.
        flag: Of the command line; the field's name where nothing is said.
        form: How it is typed and shown, where the type alone does not say: ``range`` low and high,
            ``pair`` along x and y, ``size`` width and height in pixels, ``color`` sRGB in 0..1,
            ``names`` some of a list, ``path`` of a file, ``frames`` of an animation, ``action`` a
            name of one.
        low: Smallest number.
        high: Largest number.
        open_low: ``low`` itself is too small.
        usual: Number up to which the panel's slider goes.
        unit: Of the numbers; ``degrees``, ``pixels``, ``share``.
        label: In the panel; the field's name where nothing is said.
        name: The panel's property; the field's name where nothing is said.
        among: Of ``names``, those that there are, in their order.
        younger: It came when there were datasets already. At its default it is no part of a
            fingerprint, and metadata need not have it: data of before are the same.
    """

    about: str
    unset: str = ""
    flag: str = ""
    form: Form = ""
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    usual: float | None = None
    unit: Literal["", "degrees", "pixels", "share"] = ""
    label: str = ""
    name: str = ""
    among: tuple[str, ...] = ()
    younger: bool = False


def setting(default: _T, about: str, **words: Any) -> _T:
    """A field of a section: its default, and what :class:`Setting` says of it."""
    said = {"setting": Setting(about=about, **words)}
    return dataclasses.field(default=default, metadata=said)


def section(kind: type[_T], title: str) -> _T:
    """A field of the job that is a section, and the title of its flags."""
    return dataclasses.field(default_factory=kind, metadata={"title": title})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobField:
    """A field of the job, and what can be known of it.

    Attributes:
        path: ``section.name``, or the name alone.
        title: Of its section.
        kind: Its type, where something is set.
        optional: Whether it can be ``None``.
        default: As the job has it.
        choices: Of a field that is one of a few; else empty.
        setting: What is said of it, without gaps.
    """

    path: str
    title: str
    kind: Any
    optional: bool
    default: Any
    choices: tuple[str, ...]
    setting: Setting


def fields_of(job: type[Any], prefix: str = "", title: str = "every draw") -> dict[str, JobField]:
    """The fields of a job and of its sections, by path."""
    kinds = typing.get_type_hints(job)
    found: dict[str, JobField] = {}
    for field in dataclasses.fields(job):
        path, kind = prefix + field.name, kinds[field.name]
        if dataclasses.is_dataclass(kind):
            found |= fields_of(cast(type[Any], kind), f"{path}.", field.metadata["title"])
            continue
        optional = typing.get_origin(kind) in (typing.Union, types.UnionType)
        if optional:
            kind = next(item for item in typing.get_args(kind) if item is not type(None))
        said: Setting = field.metadata["setting"]
        found[path] = JobField(
            path=path,
            title=title,
            kind=kind,
            optional=optional,
            default=field.default,
            choices=typing.get_args(kind) if typing.get_origin(kind) is Literal else (),
            setting=dataclasses.replace(
                said,
                flag=said.flag or "--" + field.name.replace("_", "-"),
                label=said.label or field.name.replace("_", " ").title(),
                name=said.name or field.name,
            ),
        )
    return found
