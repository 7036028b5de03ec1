"""The credits that the licences of a dataset's assets ask for."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from ..assets.licenses import License, credit_line, license_of
from ..assets.text import clean
from ..errors import RenderError
from ..words import how_many
from .guards import believing
from .storage import AssetRef

__all__ = ["FORMATS", "Credit", "credit_of", "credits_of", "render_credits"]


@dataclass(frozen=True, slots=True)
class Credit:
    """Whom to thank for one asset, and under which terms.

    Attributes:
        asset_id: Its name in the dataset.
        source: Where it came from: an address, or a file's name.
        license_text: As the metadata have it; empty where they have none.
        changes: What was done to the asset.
    """

    asset_id: str
    title: str
    author: str
    author_url: str
    source: str
    license_text: str
    changes: str

    @property
    def license(self) -> License:
        """What the licence means."""
        return license_of(self.license_text)

    @property
    def line(self) -> str:
        """All of it in one line."""
        source = self.source if self.source.startswith(("http://", "https://")) else ""
        return f"{credit_line(self.title, self.author, source, self.license)}. {self.changes}"


def credit_of(metadata: dict[str, Any]) -> Credit:
    """From an asset's ``metadata.json``; what is not there stays empty."""
    known = metadata.get("metadata")
    known = known if isinstance(known, dict) else {}
    source = clean(known.get("source_url"), 500) or clean(metadata.get("file_identifier"), 500)
    if not source.startswith(("http://", "https://")):
        # Folders of whoever rendered it are nobody's business.
        source = clean(metadata.get("file_name"), 200)
    views = metadata.get("views")
    count = len(views) if isinstance(views, list) else 0
    return Credit(
        asset_id=clean(metadata.get("asset_id")),
        title=clean(known.get("name")) or clean(metadata.get("file_name")) or "Untitled",
        author=clean(known.get("author")),
        author_url=_link(known.get("author_url")),
        source=source,
        license_text=clean(metadata.get("license"), 120),
        changes=f"Modified: normalized and rendered as {how_many(count, 'image')}."
        if count
        else "Modified: normalized and rendered.",
    )


def credits_of(
    assets: Iterable[AssetRef],
    look_up: Callable[[str], dict[str, Any]] | None = None,
) -> tuple[list[Credit], list[tuple[str, RenderError]]]:
    """Credits of finished assets, and those whose metadata cannot be read.

    Args:
        look_up: For assets whose metadata have no licence, or but the file's own word of it:
            source to what a catalogue knows, as ``metadata.json`` would have it.
    """
    found, broken = [], []
    for asset in assets:
        try:
            with believing(asset), asset.open() as reader:
                metadata = dict(reader.metadata)
        except RenderError as error:
            broken.append((str(asset), error))
            continue
        if look_up is not None and not _from_catalogue(metadata):
            known = look_up(str(metadata.get("file_identifier", "")))
            metadata = {**metadata, **{name: value for name, value in known.items() if value}}
        credit = credit_of(metadata)
        found.append(credit if credit.asset_id else replace(credit, asset_id=asset.id))
    return found, broken


def _from_catalogue(metadata: dict[str, Any]) -> bool:
    """Whether the licence is more than what the file states of itself."""
    known = metadata.get("metadata")
    stated = isinstance(known, dict) and known.get("license_source") == "file"
    return bool(metadata.get("license")) and not stated


def _link(value: object) -> str:
    text = clean(value, 500)
    return text if re.match(r"https?://[^\s<>\"'`()]+$", text) else ""


# --- Files


def render_credits(found: list[Credit], extension: str) -> str:
    """The credits file.

    Args:
        extension: One of :data:`FORMATS`: ``.txt``, ``.md``, ``.csv`` or ``.json``.
    """
    return FORMATS[extension](sorted(found, key=lambda credit: credit.asset_id))


def _summary(found: list[Credit]) -> list[str]:
    """How many assets are under which licence, and what to look at, one sentence each."""
    counts = Counter(credit.license for credit in found)
    lines = []
    for license, count in counts.most_common():
        cautions = f" — {', '.join(license.cautions)}" if license.cautions else ""
        lines.append(f"{count} × {license.name}{cautions}")
    return lines


def _as_text(found: list[Credit]) -> str:
    lines = [f"Credits ({how_many(len(found), 'asset')})", ""]
    lines += [f"  {line}" for line in _summary(found)]
    for credit in found:
        lines += ["", f"{credit.asset_id}", f"  {credit.line}"]
    return "\n".join(lines) + "\n"


def _as_markdown(found: list[Credit]) -> str:
    lines = ["# Credits", "", f"{how_many(len(found), 'asset')}:", ""]
    lines += [f"- {_escaped(line)}" for line in _summary(found)]
    lines += ["", "| asset | title | author | licence | changes |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for credit in found:
        license = credit.license
        cells = (
            _escaped(credit.asset_id),
            _linked(credit.title, _link(credit.source)),
            _linked(credit.author or "unknown", credit.author_url),
            _linked(license.name if license.known else f"unknown ({license.name})", license.url),
            _escaped(credit.changes),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Text that Markdown, and the HTML in it, leaves as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", text)


def _linked(text: str, url: str) -> str:
    return f"[{_escaped(text)}]({url})" if url else _escaped(text)


def _rows(found: list[Credit]) -> list[dict[str, Any]]:
    rows = []
    for credit in found:
        license = credit.license
        values = asdict(credit)
        values.pop("license_text")
        rows.append(
            {
                **values,
                "license": license.key,
                "license_stated": credit.license_text,
                "license_name": license.name,
                "license_url": license.url,
                "cautions": license.cautions,
                "attribution": credit.line,
            }
        )
    return rows


def _as_csv(found: list[Credit]) -> str:
    out = io.StringIO()
    rows = _rows(found)
    names = list(_rows([Credit("", "", "", "", "", "", "")])[0])
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        row["cautions"] = ", ".join(row["cautions"])
        # A spreadsheet takes what begins like this for a formula.
        writer.writerow({n: f"'{v}" if v.startswith(("=", "+", "-", "@")) else v
                         for n, v in row.items()})  # fmt: skip
    return out.getvalue()


def _as_json(found: list[Credit]) -> str:
    return json.dumps(_rows(found), indent=1, ensure_ascii=False) + "\n"


FORMATS: Final[dict[str, Callable[[list[Credit]], str]]] = {
    ".txt": _as_text,
    ".md": _as_markdown,
    ".csv": _as_csv,
    ".json": _as_json,
}
