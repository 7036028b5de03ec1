"""Statistics as one HTML page: plots in SVG, no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

from ..words import how_many
from .stats import ABOUT, OF_MOTION

__all__ = ["page"]

_WIDTH, _HEIGHT = 340, 150
_LEFT, _BOTTOM = 6, 22

_STYLE: Final = """
:root { color-scheme: light dark; --back: #f6f5f2; --card: #fff; --ink: #20242c; --faint: #687080;
  --line: #dcdde2; --bar: #3f6fb5; --good: #2e8b57; --doubt: #b07a10; --bad: #c0392b;
  --cell: 40, 95, 175; }
@media (prefers-color-scheme: dark) { :root { --back: #14161b; --card: #1d2027; --ink: #e8eaee;
  --faint: #99a1b0; --line: #343944; --bar: #7aa7e8; --good: #5dc48c; --doubt: #e0b050;
  --bad: #f07568; --cell: 130, 180, 250; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem clamp(1rem, 4vw, 3rem); background: var(--back);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .8rem; }
h3 { font-size: .95rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .2rem 0; color: var(--faint); }
.tiles, .plots, .tables { display: grid; gap: 1rem; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); margin-top: 1.2rem; }
.plots, .tables { grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); }
.tables { align-items: start; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: .9rem 1rem; min-width: 0; }
.tiles b { display: block; font-size: 1.45rem; font-variant-numeric: tabular-nums; }
.tiles span, .small { color: var(--faint); font-size: .83rem; }
.tiles .bad b { color: var(--bad); } .tiles .doubt b { color: var(--doubt); }
svg { display: block; width: 100%; height: auto; margin-top: .5rem; }
svg text { fill: var(--faint); font: 10px system-ui, sans-serif; }
.bar { fill: var(--bar); } .axis { stroke: var(--line); fill: none; }
.median { stroke: var(--ink); stroke-dasharray: 3 3; }
.sphere { max-width: 760px; margin: 0 auto; }
.cell { fill: rgb(var(--cell)); }
table { border-collapse: collapse; width: 100%; font-size: .88rem; margin-top: .4rem; }
td, th { text-align: left; padding: .18rem .5rem .18rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; font-weight: normal; vertical-align: top; }
td { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.name { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3;
  overflow: hidden; }
td.long { text-align: left; white-space: normal; }
tr:last-child > * { border-bottom: 0; }
.doubt { color: var(--doubt); } .bad { color: var(--bad); }
"""


def page(where: str, stats: Mapping[str, Any]) -> str:
    """The page.

    Args:
        where: What it is about, as the reader named it.
        stats: :meth:`.stats.Statistics.to_dict`.
    """
    plots = stats["histograms"]
    parts = [
        f"<h1>{escape(where)}</h1>",
        f"<p>{how_many(stats['assets'], 'asset')}, {how_many(stats['views'], 'view')}; pixels were "
        f"read of {how_many(stats['views_read'], 'view')}.</p>",
        _tiles(stats),
        "<h2>Where the cameras are</h2>",
        f'<div class="card">{_sphere(stats["sphere"])}<p class="small">Seen from the object, in '
        "an equal-area projection (Mollweide): the stronger a cell, the more cameras. Azimuth from "
        "+X (left end) towards +Y; Blender's front view is at 270°.</p></div>",
        "<h2>Distributions</h2>",
        '<div class="plots">',
        *(_plot(name, plots[name]) for name in ABOUT
          if name not in OF_MOTION or plots[name]["count"]),
        "</div>",
        "<h2>What was found</h2>",
        '<div class="tables">',
        _checks(stats["checks"]),
        _table("Warnings", "assets", stats["warnings"]),
        _table("Never rendered", "assets, by reason", stats["failed"]),
        _table("Cannot be read", "assets, by reason", stats["unreadable"]),
        _table("Time by stage", "seconds, all assets", stats["stage_seconds"]),
        *(_table(name.capitalize(), "assets", counts) for name, counts in stats["kinds"].items()),
        "</div>",
        _examples(stats["examples"]),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
        "style-src 'unsafe-inline'\">"
        f"<title>{escape(where)}: statistics</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _tiles(stats: Mapping[str, Any]) -> str:
    plots = stats["histograms"]
    outcomes = list(stats["checks"].values())
    doubts = sum(counts.get("doubt", 0) for counts in outcomes)
    failed = sum(stats["failed"].values())
    unreadable = sum(stats["unreadable"].values())
    seconds = plots["seconds"]
    tiles = [
        *(
            ("", _short(stats[f"{noun}s"]), how_many(stats[f"{noun}s"], noun).partition(" ")[2])
            for noun in ("asset", "view")
        ),
        ("", _middle(plots["coverage"], "{:.0%}"), "median coverage"),
        ("", _middle(plots["fov_degrees"], "{:.0f}°"), "median field of view"),
        *_of_time(stats),
        ("doubt" if doubts else "", _short(doubts), "doubts of checks"),
        ("bad" if failed else "", _short(failed), "never rendered"),
        ("bad" if unreadable else "", _short(unreadable), "cannot be read"),
        ("", _duration(seconds.get("mean", 0) * seconds["count"]), "rendering, in sum"),
    ]
    inner = "".join(
        f'<div class="card {kind}"><b>{escape(value)}</b><span>{escape(about)}</span></div>'
        for kind, value, about in tiles
    )
    return f'<div class="tiles">{inner}</div>'


def _of_time(stats: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Tiles of what moves; none of a dataset of stills."""
    if not stats["animated"]:
        return []
    still = stats["still"]
    return [
        ("", _short(stats["frames"]), f"frames of {how_many(stats['animated'], 'animated asset')}"),
        ("doubt" if still else "", _short(still), "animations in which nothing moves"),
    ]


def _middle(histogram: Mapping[str, Any], form: str) -> str:
    return form.format(histogram["median"]) if histogram["count"] else "–"


def _plot(name: str, histogram: Mapping[str, Any]) -> str:
    title, unit = ABOUT[name]
    head = f'<h3>{escape(title)}</h3><p class="small">{escape(unit)}</p>'
    if not histogram["count"]:
        return f'<div class="card">{head}<p>nothing known</p></div>'
    odd = f"; {histogram['odd']} are no usable numbers" if histogram["odd"] else ""
    if histogram["min"] == histogram["max"]:
        said = f"{_short(histogram['min'])}, all {histogram['count']}{odd}"
        return f'<div class="card">{head}<p>{escape(said)}</p></div>'
    said = (
        f"median {_short(histogram['median'])}, 90 % between {_short(histogram['p5'])} and "
        f"{_short(histogram['p95'])}, all between {_short(histogram['min'])} and "
        f"{_short(histogram['max'])}"
    )
    svg = _bars(histogram, f"{title}: {said}")
    return f'<div class="card">{head}{svg}<p class="small">{escape(said + odd)}</p></div>'


def _bars(histogram: Mapping[str, Any], about: str) -> str:
    edges, counts = _joined(histogram["edges"], histogram["counts"])
    log = histogram["log"]

    def at(value: float) -> float:
        low, high = edges[0], edges[-1]
        if log:
            low, high, value = (math.log10(x) for x in (low, high, max(value, edges[0])))
        return _LEFT + (value - low) / (high - low) * (_WIDTH - 2 * _LEFT)

    most, floor = max(counts), _HEIGHT - _BOTTOM
    bars = []
    for left, right, count in zip(edges, edges[1:], counts, strict=False):
        height = count / most * (floor - 18)
        if count:
            height = max(height, 1.0)
        x, width = at(left), max(at(right) - at(left) - 0.8, 0.6)
        label = f"{_short(left)} to {_short(right)}: {count}"
        bars.append(
            f'<rect class="bar" x="{x:.1f}" y="{floor - height:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}"><title>{label}</title></rect>'
        )
    ticks = "".join(
        f'<text x="{min(max(at(value), 10), _WIDTH - 12):.1f}" y="{_HEIGHT - 6}" '
        f'text-anchor="middle">{_short(value)}</text>'
        f'<path class="axis" d="M{at(value):.1f} {floor}v4"/>'
        for value in _ticks(edges[0], edges[-1], log)
    )
    middle = at(histogram["median"])
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(about)}">'
        f'{"".join(bars)}<path class="axis" d="M{_LEFT} {floor}H{_WIDTH - _LEFT}"/>{ticks}'
        f'<path class="median" d="M{middle:.1f} 14V{floor}"/>'
        f'<text x="{_WIDTH - _LEFT}" y="10" text-anchor="end">{_short(most)} at most</text></svg>'
    )


def _joined(edges: list[float], counts: list[int], most: int = 80) -> tuple[list[float], list[int]]:
    """At most so many bars: neighbours are put together."""
    step = -(-len(counts) // most)
    if step == 1:
        return edges, counts
    joined = [sum(counts[i : i + step]) for i in range(0, len(counts), step)]
    return [*edges[: len(counts) : step], edges[-1]], joined


def _ticks(low: float, high: float, log: bool) -> list[float]:
    """Round numbers within a range, about five."""
    if log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        step = max(1, (last - first) // 5)
        decades = [10.0**power for power in range(first, last + 1, step)]
        if last - first >= 2:
            return decades
        between = [m * 10.0**p for p in range(first - 1, last + 1) for m in (1, 2, 3, 5)]
        inside = [value for value in between if low <= value <= high]
        return inside or [low, high]
    raw = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(raw))
    gap = next(unit * m for m in (1, 2, 5, 10) if unit * m >= raw)
    return [i * gap for i in range(math.ceil(low / gap), math.floor(high / gap + 1e-9) + 1)]


def _mollweide(azimuth: float, sine: float) -> tuple[float, float]:
    """Place of a direction in the unit ellipse of 2 by 1 (Snyder, "Map Projections", 1987).

    Args:
        azimuth: 0…1 round the horizon.
        sine: Of the elevation.
    """
    latitude = math.asin(max(-1.0, min(1.0, sine)))
    theta = latitude
    for _ in range(60):
        slope = 2 + 2 * math.cos(2 * theta)
        if slope < 1e-12:
            break
        theta -= (2 * theta + math.sin(2 * theta) - math.pi * sine) / slope
        theta = max(-math.pi / 2, min(math.pi / 2, theta))
    return (2 * azimuth - 1) * math.cos(theta), math.sin(theta)


def _sphere(rows: list[list[int]]) -> str:
    width, height, margin = 720, 360, 24
    most = max(max(row) for row in rows) or 1

    def at(azimuth: float, sine: float) -> str:
        x, y = _mollweide(azimuth, sine)
        x, y = width / 2 + x * (width / 2 - margin), height / 2 - y * (height / 2 - 16)
        return f"{x:.1f} {y:.1f}"

    cells, bands = [], len(rows)
    for row, counts in enumerate(rows):
        low, high = 2 * row / bands - 1, 2 * (row + 1) / bands - 1
        for column, count in enumerate(counts):
            if not count:
                continue
            left, right = column / len(counts), (column + 1) / len(counts)
            corners = "L".join((at(left, low), at(right, low), at(right, high), at(left, high)))
            share = 0.15 + 0.85 * count / most
            about = (
                f"azimuth {360 * left:.0f}° to {360 * right:.0f}°, elevation "
                f"{math.degrees(math.asin(low)):.0f}° to {math.degrees(math.asin(high)):.0f}°: "
                f"{count} cameras"
            )
            cells.append(
                f'<path class="cell" d="M{corners}Z" opacity="{share:.2f}">'
                f"<title>{about}</title></path>"
            )
    lines = []
    for azimuth in range(0, 361, 60):
        places = "L".join(at(azimuth / 360, math.sin(math.radians(e))) for e in range(-90, 91, 5))
        lines.append(f'<path class="axis" d="M{places}"/>')
    for elevation in (-60, -30, 0, 30, 60):
        sine = math.sin(math.radians(elevation))
        lines.append(f'<path class="axis" d="M{at(0, sine)}L{at(1, sine)}"/>')
        x, y = at(0, sine).split()
        lines.append(f'<text x="{float(x) - 4:.1f}" y="{y}" text-anchor="end">{elevation}°</text>')
    for azimuth in range(60, 360, 60):
        x, y = at(azimuth / 360, 0).split()
        lines.append(f'<text x="{float(x) + 3:.1f}" y="{float(y) - 3:.1f}">{azimuth}°</text>')
    total = sum(map(sum, rows))
    return (
        f'<svg class="sphere" viewBox="0 0 {width} {height}" role="img" aria-label="Directions of '
        f'{total} cameras on the sphere">{"".join(cells)}{"".join(lines)}</svg>'
    )


def _name(text: object) -> str:
    """A name that may be long: three lines of it, broken after its parts, all of it in a tip."""
    name = escape(str(text))
    parts = re.sub(r"(?<=[_/.-])(?=\w)", "<wbr>", name)
    return f'<span class="name" title="{name}">{parts}</span>'


def _table(title: str, unit: str, counts: Mapping[str, Any], most: int = 30) -> str:
    if not counts:
        return ""
    items = list(counts.items())
    rows = [f"<tr><th>{_name(name)}</th><td>{_short(count)}</td></tr>"
            for name, count in items[:most]]  # fmt: skip
    if len(items) > most:
        rows.append(f"<tr><th>and {len(items) - most} more</th><td></td></tr>")
    return (
        f'<div class="card"><h3>{escape(title)}</h3><p class="small">{escape(unit)}</p>'
        f"<table>{''.join(rows)}</table></div>"
    )


def _checks(checks: Mapping[str, Mapping[str, int]]) -> str:
    if not checks:
        return ""

    def cell(counts: Mapping[str, int], kind: str, name: str) -> str:
        count = counts.get(kind, 0)
        return f'<td class="{name if count else ""}">{_short(count) if count else ""}</td>'

    rows = "".join(
        f"<tr><th>{_name(name)}</th>{cell(counts, 'ok', 'ok')}{cell(counts, 'doubt', 'doubt')}"
        f"{cell(counts, 'failed', 'bad')}</tr>"
        for name, counts in checks.items()
    )
    return (
        '<div class="card"><h3>Checks</h3><p class="small">views</p><table>'
        f"<tr><th></th><td>ok</td><td>doubt</td><td>failed</td></tr>{rows}</table></div>"
    )


def _examples(examples: Iterable[Mapping[str, str]]) -> str:
    rows = "".join(
        f'<tr><th>{_name(item["asset"])}</th><td class="long">{escape(item["error"])}</td></tr>'
        for item in examples
    )
    if not rows:
        return ""
    return f'<h2>What cannot be read</h2><div class="card"><table>{rows}</table></div>'


def _short(value: float) -> str:
    """A number with three or four digits."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return str(value)
    for power, letter in ((12, "T"), (9, "G"), (6, "M"), (4, "k")):
        if abs(value) >= 10**power:
            return f"{value / 10 ** (3 if letter == 'k' else power):.3g} {letter}"
    if abs(value) >= 100 or float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.3g}"


def _duration(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.1f} s"
