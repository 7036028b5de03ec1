"""What earlier versions wrote, in today's form; and today's in the form of fingerprints."""

from __future__ import annotations

from typing import Any, Final

from ..errors import InvalidJob
from .convert import suggest

__all__ = ["EARLIER_SECTIONS", "current_form", "earlier_form"]

# Where a section of earlier job files has its fields now.
EARLIER_SECTIONS: Final[dict[str, dict[str, str]]] = {
    "output": {
        "resolution": "pixels",
        "passes": "pixels",
        "normal_space": "pixels",
        "geometry": "files",
        "layout": "files",
    }
}


def current_form(data: dict[str, Any]) -> dict[str, Any]:
    """A job's dictionary as :meth:`RenderJob.to_dict` writes it today.

    Of an earlier version's, the fields of a section that was divided are in their new sections;
    everything else stays as it is, also what is no job.

    Raises:
        InvalidJob: A field is given both where it was and where it is.
    """
    if not isinstance(data, dict) or not EARLIER_SECTIONS.keys() & data.keys():
        return data
    new = {key: value for key, value in data.items() if key not in EARLIER_SECTIONS}
    for old, homes in EARLIER_SECTIONS.items():
        given = data.get(old, {})
        if not isinstance(given, dict):
            raise InvalidJob(f"{old} should be a table.")
        for name, value in given.items():
            if name not in homes:
                raise InvalidJob(f"There is no job field {old}.{name}.", hint=suggest(name, homes))
            section = new.get(homes[name], {})
            if not isinstance(section, dict):
                raise InvalidJob(f"{homes[name]} should be a table.")
            if name in section:
                raise InvalidJob(
                    f"{old}.{name} is {homes[name]}.{name} by now, and both are given.",
                    hint=f"Leave {old}.{name} away.",
                )
            new[homes[name]] = {**section, name: value}
    return new


def earlier_form(data: dict[str, Any]) -> dict[str, Any]:
    """The form that fingerprints are taken of: as it was, so that output folders go on."""
    new = dict(data)
    for old, homes in EARLIER_SECTIONS.items():
        new[old] = {
            name: new[section][name]
            for name, section in homes.items()
            if name in new[section]
        }
        for section in set(homes.values()):
            new[section] = {key: value for key, value in new[section].items() if key not in homes}
            if not new[section]:
                del new[section]
    return new
