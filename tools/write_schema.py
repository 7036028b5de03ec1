"""Write what the schema of metadata.json says of the job, as the settings say it.

    python tools/write_schema.py [--check]

A new setting, a new choice: run this, nothing is typed there. A test fails where it was forgotten.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from objaverse_render_addon.job import (  # noqa: E402
    EARLIER_SECTIONS,
    CameraRules,
    JobField,
    RenderJob,
    job_fields,
)  # fmt: skip

SCHEMA: Final = ROOT / "objaverse_render_addon/dataset/metadata.schema.json"
# Choices that other parts of the metadata have too.
_SHARED: Final = {
    "pattern": "cameras.pattern",
    "engine": "engine.engine",
    "lighting_mode": "lighting.mode",
    "normalize": "asset.normalize",
}
_SCALARS: Final = {int: "integer", float: "number", bool: "boolean", str: "string"}


def current(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with what it says of the job brought up to date."""
    schema = copy.deepcopy(schema)
    fields = job_fields()
    for name, path in _SHARED.items():
        schema["$defs"][name] = {"enum": list(fields[path].choices)}
    named = {path: {"$ref": f"#/$defs/{name}"} for name, path in _SHARED.items()}
    tables: dict[str, dict[str, Any]] = {}
    plain: dict[str, Any] = {}
    for path, field in fields.items():
        section, _, name = path.rpartition(".")
        (tables.setdefault(section, {}) if section else plain)[name] = {
            "description": field.setting.about, **(named.get(path) or _value(field)),
        }  # fmt: skip
    young = {path for path, field in fields.items() if field.setting.younger}
    sections = {
        section: _table(values, {name for name in values if f"{section}.{name}" in young})
        for section, values in tables.items()
    }
    now = sorted({home for homes in EARLIER_SECTIONS.values() for home in homes.values()})
    job = schema["properties"]["job"]
    later = {name for name, table in sections.items() if not table["required"]}
    job["required"] = [name for name in (*plain, *sections) if name not in {*now, *later}]
    job["oneOf"] = [
        {"required": now, "not": {"anyOf": [{"required": [old]} for old in EARLIER_SECTIONS]}},
        {
            "description": "Datasets of earlier versions have these sections in one.",
            "required": list(EARLIER_SECTIONS),
            "not": {"anyOf": [{"required": [name]} for name in now]},
        },
    ]
    earlier = {
        old: _table(
            {
                name: {"$ref": f"#/properties/job/properties/{home}/properties/{name}"}
                for name, home in homes.items()
            }
        )
        for old, homes in EARLIER_SECTIONS.items()
    }
    job["properties"] = {**plain, **sections, **earlier}
    return schema


def _table(values: dict[str, Any], young: Iterable[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name for name in values if name not in young],
        "additionalProperties": False,
        "properties": values,
    }


def _value(field: JobField) -> dict[str, Any]:
    said = field.setting
    if field.choices:
        return {"enum": [*field.choices, *([None] if _stays_open(field) else [])]}
    if said.form == "names" and field.path != "pixels.passes":
        names = {"enum": list(said.among)}
        return {"type": "array", "items": names, "uniqueItems": True}
    shared = {"range": "range", "size": "resolution", "names": "passes"}
    if said.form in shared:
        return {"$ref": f"#/$defs/{shared[said.form]}"}
    limits: dict[str, Any] = {}
    if said.low is not None:
        limits["exclusiveMinimum" if said.open_low else "minimum"] = said.low
    if said.high is not None:
        limits["maximum"] = said.high
    length = {"pair": 2, "color": 3}.get(said.form)
    if length:
        items = {"type": "number", **limits}
        value = {"type": "array", "items": items, "minItems": length, "maxItems": length}
    else:
        value = {"type": _SCALARS[field.kind], **limits}
    return {"anyOf": [{"type": "null"}, value]} if _stays_open(field) else value


def _stays_open(field: JobField) -> bool:
    """Whether nothing fills the field in, not even what the pattern of cameras says."""
    section, _, name = field.path.rpartition(".")
    jobs = RenderJob(), RenderJob(cameras=CameraRules(pattern="file", file="poses.json"))
    found = [job.resolved().to_dict() for job in jobs]
    return any((job[section] if section else job)[name] is None for job in found)


def main() -> None:
    """Write the file, or say that it is not what it should be."""
    before = SCHEMA.read_text(encoding="utf-8")
    after = json.dumps(current(json.loads(before)), indent=2, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv:
        SCHEMA.write_text(after, encoding="utf-8")
    elif after != before:
        sys.exit(f"{SCHEMA} is not up to date: run {Path(__file__).name}.")


if __name__ == "__main__":
    main()
