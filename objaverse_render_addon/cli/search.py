"""``objaverse-render search``."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidJob
from ..words import how_many
from .common import number_from, whole_from
from .index import add_cache, open_catalogue
from .terminal import show, show_json, warn

if TYPE_CHECKING:
    from ..assets.catalogue import Query, SearchResult

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render search "office chair" --license by,cc0 --max-faces 100000
  objaverse-render search --lvis chair --lvis armchair --animated no --limit 500 -o chairs.txt
  objaverse-render search robot --sample 100 --seed 7 -o robots.txt
  objaverse-render render robots.txt --out data
  objaverse-render search '"low poly" car -wheel' --sort newest --json
  objaverse-render search --list-lvis

All words have to be in an object's name, tags, categories or description; "two words" in quotes
stand side by side, -word must not be there, beg* is the beginning of one; quote them all together
for the shell where one begins with a hyphen, as above. Licences are by, by-sa, by-nd, by-nc,
by-nc-sa, by-nc-nd and cc0, or commercial, free (commercial use and derivatives) and unknown. The
first search makes an index, which takes minutes; all others take milliseconds.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "search",
        help="search Objaverse by words, licence, LVIS category, size",
        description="Search the 800,000 objects of Objaverse 1.0 on this machine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("text", nargs="*", metavar="WORD", help="words to look for")
    group = parser.add_argument_group("what matters")
    group.add_argument(
        "--license", metavar="NAMES", help="licences that will do, comma-separated: by,cc0"
    )
    group.add_argument(
        "--lvis", action="append", default=[], metavar="NAME",
        help="LVIS category; several times, or comma-separated: any of them",
    )  # fmt: skip
    group.add_argument("--author", default="", metavar="WORDS", help="of the author's name")
    count = whole_from(0)
    group.add_argument("--min-faces", type=count, metavar="N", help="at least so many faces")
    group.add_argument("--max-faces", type=count, metavar="N", help="at most so many faces")
    group.add_argument("--max-size", type=number_from(0), metavar="MIB", help="of the GLB, at most")
    group.add_argument("--animated", type=_flag, metavar="yes|no", help="has animations")
    group.add_argument("--textured", type=_flag, metavar="yes|no", help="has textures")
    group.add_argument(
        "--age-restricted", choices=["no", "yes", "any"], default="no",
        help="objects that Sketchfab shows to adults only (default: no)",
    )  # fmt: skip
    group = parser.add_argument_group("which of them")
    group.add_argument(
        "--sort", choices=["relevance", "likes", "views", "newest", "faces"], default="relevance",
        help="faces: the fewest first (default: relevance)",
    )  # fmt: skip
    group.add_argument(
        "--limit", type=count, default=50, metavar="N", help="the first so many (default: 50)"
    )
    group.add_argument(
        "--sample", type=count, metavar="N", help="so many of all matches, by chance"
    )
    group.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of that chance (default: 0)"
    )
    group = parser.add_argument_group("running")
    group.add_argument(
        "-o", "--output", type=Path, metavar="FILE",
        help="write a list for `render`: .txt, .csv, .json or .jsonl",
    )  # fmt: skip
    group.add_argument("--json", action="store_true", help="one JSON object per object found")
    group.add_argument("--list-lvis", action="store_true", help="list LVIS categories and stop")
    add_cache(group)
    parser.set_defaults(run=_search)


def _flag(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")
    return text == "yes"


def _search(options: argparse.Namespace) -> int:
    query = _query(options)
    if options.output is not None and options.output.suffix.lower() not in _WRITERS:
        raise InvalidJob(
            f"{options.output}: lists are {', '.join(_WRITERS)}.", hint="Choose one of these."
        )
    with open_catalogue(options) as catalogue:
        if options.list_lvis:
            return _list_categories(catalogue.lvis_categories(), query.text, options.json)
        found = catalogue.search(query, count=True)
    if options.output is not None:
        _write(options.output, found, _comment(options, found))
        warn(f"{options.output}: {_matches(found)}")
    elif options.json:
        for entry in found.entries:
            show_json(entry.to_dict())
    else:
        _show(found)
    return 0


def _query(options: argparse.Namespace) -> Query:
    from ..assets.catalogue import Query
    from ..assets.licenses import parse_filter

    return Query(
        text=" ".join(options.text),
        author=options.author,
        licenses=parse_filter(options.license) if options.license is not None else None,
        lvis=tuple(name for item in options.lvis for name in item.split(",") if name.strip()),
        min_faces=options.min_faces,
        max_faces=options.max_faces,
        max_bytes=None if options.max_size is None else int(options.max_size * 2**20),
        animated=options.animated,
        textured=options.textured,
        age_restricted={"no": False, "yes": True, "any": None}[options.age_restricted],
        sort=options.sort,
        limit=options.limit,
        sample=options.sample,
        seed=options.seed,
    )


def _list_categories(categories: dict[str, int], text: str, as_json: bool) -> int:
    wanted = {n: c for n, c in categories.items() if text.lower() in n.lower()}
    if as_json:
        show_json(wanted)
        return 0
    for name, count in wanted.items():
        show(f"{count:6d}  {name}")
    return 0


# --- For people


def _show(found: SearchResult) -> None:
    import shutil

    from ..assets.text import shortened

    if not found.entries:
        warn("Nothing found.")
        return
    width = shutil.get_terminal_size((120, 24)).columns
    # What is left beside the columns of fixed width goes to name and author.
    free = max(30, width - 32 - 10 - 9 - 5 - 7 - 7)
    name, author = free * 3 // 5, free - free * 3 // 5
    head = f"{'uid':32s} {'name':{name}s} {'author':{author}s} {'license':10s}"
    show(f"{head} {'faces':>9s} {'anim':>5s} {'likes':>7s}")
    for entry in found.entries:
        show(
            f"{entry.uid} {shortened(entry.title, name)} {shortened(entry.author, author)} "
            f"{shortened(entry.license_text or 'unknown', 10)} {_or_dash(entry.faces):>9s} "
            f"{_or_dash(entry.animations):>5s} {entry.likes:7d}".rstrip()
        )
    warn(_matches(found))


def _matches(found: SearchResult) -> str:
    return f"{len(found.entries)} of {how_many(found.total or 0, 'match', 'matches')}"


def _or_dash(value: int | None) -> str:
    return "–" if value is None else str(value)


# --- For `render`


def _comment(options: argparse.Namespace, found: SearchResult) -> list[str]:
    """How the list was made: the same command makes it again."""
    from ..assets.text import clean

    words = ["objaverse-render", "search", *options.text]
    defaults = {"animated": None, "textured": None, "age_restricted": "no", "sort": "relevance",
                "author": "", "license": None, "min_faces": None, "max_faces": None,
                "max_size": None, "sample": None}  # fmt: skip
    for name in options.lvis:
        words += ["--lvis", name]
    for name, default in defaults.items():
        value = getattr(options, name)
        if value != default:
            text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    words += ["--seed", str(options.seed)] if options.sample is not None else []
    words += ["--limit", str(options.limit)] if options.sample is None else []
    return [
        clean(shlex.join(words), 2000),
        _matches(found),
    ]


def _write(path: Path, found: SearchResult, comment: list[str]) -> None:
    from ..files import write_whole

    write_whole(path, _WRITERS[path.suffix.lower()](found, comment).encode())


def _as_text(found: SearchResult, comment: list[str]) -> str:
    lines = [f"# {line}" for line in comment]
    lines += [
        f"{entry.uid}  # {entry.title} ({entry.license_text or 'unknown licence'})"
        for entry in found.entries
    ]
    return "\n".join(lines) + "\n"


def _as_csv(found: SearchResult, comment: list[str]) -> str:
    import csv
    import io

    names = ("uid", "name", "author", "license", "faces", "animations", "likes")
    out = io.StringIO()
    out.writelines(f"# {line}\n" for line in comment)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for entry in found.entries:
        values = entry.to_dict()
        writer.writerow([values[name] for name in names])
    return out.getvalue()


def _as_json(found: SearchResult, _: list[str]) -> str:
    return json.dumps([entry.to_dict() for entry in found.entries], indent=1) + "\n"


def _as_json_lines(found: SearchResult, _: list[str]) -> str:
    return "".join(json.dumps(entry.to_dict()) + "\n" for entry in found.entries)


_WRITERS = {".txt": _as_text, ".csv": _as_csv, ".json": _as_json, ".jsonl": _as_json_lines}
