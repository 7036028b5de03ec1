"""What the page's grid knows of an asset: a short record, out of metadata that nobody trusts."""

from __future__ import annotations

from typing import Any, Final

from .failures import Failure

__all__ = ["card_of", "failure_card", "label"]

_LABEL: Final = 160
_LABELS: Final = 24


def label(value: Any) -> str:
    """One line of text, not too long; what is no text is written as text."""
    if value is None:
        return ""
    text = " ".join(str(value).split())
    return text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"


def card_of(asset_id: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """The card of a finished asset; the keys are short because there is one per asset.

    ``i`` id, ``n`` name, ``l`` licence, ``w`` and ``d`` names of warnings and doubts, ``c``
    categories, ``t`` tags, ``v`` views, ``f`` faces, ``y`` file type, ``b`` bytes of the source,
    ``s`` seconds, ``r`` reason of a failure.
    """
    catalogue = _dict(metadata.get("metadata"))
    checks = _dict(metadata.get("checks"))
    seconds = _dict(metadata.get("seconds"))
    views = metadata.get("views")
    return {
        "i": asset_id,
        "n": label(catalogue.get("name")) or label(metadata.get("file_name")) or label(asset_id),
        "l": label(_name(metadata.get("license") or catalogue.get("license"))),
        "w": _unique(label(w).partition(":")[0] for w in _list(metadata.get("warnings"))),
        "d": sorted(label(n) for n, counts in checks.items() if _number(_dict(counts).get("doubt")))
        [:_LABELS],
        "c": _names(catalogue.get("categories") or catalogue.get("category")),
        "t": _names(catalogue.get("tags")),
        "v": len(views) if isinstance(views, list) else 0,
        "f": _number(metadata.get("faces_rendered") or metadata.get("poly_count")),
        "y": label(metadata.get("file_type")),
        "b": _number(metadata.get("file_size")),
        "s": round(_number(seconds.get("total")), 2),
        "r": "",
    }  # fmt: skip


def failure_card(failure: Failure) -> dict[str, Any]:
    """The card of an asset that there is no picture of."""
    name = failure["source"].replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, _, kind = name.rpartition(".")
    return {
        "i": failure["asset_id"],
        "n": label(name) or label(failure["asset_id"]),
        "l": "", "w": [], "d": [], "c": [], "t": [], "v": 0, "f": 0,
        "y": kind.lower() if stem and len(kind) <= 5 else "",
        "b": 0, "s": 0.0,
        "r": label(failure["reason"]) or "error",
    }  # fmt: skip


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | int:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 2**53
    return value if good else 0


def _name(value: Any) -> Any:
    """Sketchfab's records have ``{"name": …}`` where others have the word itself."""
    if isinstance(value, dict):
        return next((value[key] for key in ("label", "name", "slug") if value.get(key)), "")
    return value


def _names(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return _unique(label(_name(item)) for item in items)


def _unique(names: Any) -> list[str]:
    return list(dict.fromkeys(name for name in names if name))[:_LABELS]
