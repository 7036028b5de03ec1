"""``objaverse-render info``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidJob, SourceNotFound
from .index import add_cache, cache_folder
from .terminal import say, show, show_json

if TYPE_CHECKING:
    from ..assets.entry import CatalogueEntry

__all__ = ["add"]

_EXAMPLES = """\
examples:
  objaverse-render info 8476c4170df24cf5bbe6967222d1a42d
  objaverse-render info https://sketchfab.com/3d-models/8476c4170df24cf5bbe6967222d1a42d
  objaverse-render info 8476c4170df24cf5bbe6967222d1a42d -o thumbnail.jpg
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "info",
        help="what is known of an object of Objaverse: licence, author, counts",
        description="Licence, attribution, counts and thumbnail of objects of Objaverse 1.0.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("uids", nargs="+", metavar="UID", help="UIDs or Sketchfab addresses")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="save the thumbnail, of one object"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per object")
    add_cache(parser)
    parser.set_defaults(run=_info)


def _info(options: argparse.Namespace) -> int:
    from ..assets.annotations import AnnotationFiles
    from ..assets.catalogue import look_up
    from ..assets.entry import description_of
    from ..assets.objaverse import as_uid

    if options.output is not None and len(options.uids) > 1:
        raise InvalidJob("-o saves the thumbnail of one object.", hint="Give one UID.")
    uids = []
    for text in options.uids:
        uid = as_uid(text)
        if uid is None:
            raise InvalidJob(f"{text!r} is no UID.", hint="A UID has 32 of 0-9 and a-f.")
        uids.append(uid)
    files = AnnotationFiles(cache_folder(options), online=not options.offline)
    found = []
    for uid in uids:
        entry = look_up(uid, files)
        if entry is None:
            raise SourceNotFound(
                f"Objaverse 1.0 has no object {uid}.", hint="Check the identifier."
            )
        found.append(entry)
        description = description_of(files.record(entry.shard, uid) or {}, 2000)
        if options.json:
            show_json({**entry.to_dict(), "description": description})
        else:
            _show(entry, description)
    if options.output is not None:
        _save_thumbnail(found[0], options)
    return 0


def _show(entry: CatalogueEntry, description: str) -> None:
    license = entry.license
    cautions = f" [{', '.join(license.cautions)}]" if license.cautions else ""
    size = "–" if entry.size is None else f"{entry.size / 2**20:.1f} MiB"
    lines = {
        "uid": entry.uid,
        "name": entry.title,
        "author": f"{entry.author or 'unknown'} {entry.author_url}",
        "page": entry.url,
        "licence": f"{license.name}{cautions} {license.url}",
        "counts": f"{_said(entry.faces)} faces, {_said(entry.vertices)} vertices, "
        f"{_said(entry.textures)} textures, {_said(entry.animations)} animations",
        "GLB": f"{size}, {entry.object_path}",
        "published": f"{entry.published or 'unknown'}; {entry.likes} likes, {entry.views} views",
        "categories": ", ".join(entry.categories),
        "LVIS": ", ".join(entry.lvis),
        "tags": ", ".join(entry.tags),
        "warning": "age-restricted" if entry.age_restricted else "",
        "thumbnail": entry.thumbnail,
        "description": description,
        "attribution": entry.attribution,
    }
    for name, text in lines.items():
        if text.strip():
            show(f"{name:12s} {text.strip()}")


def _said(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _save_thumbnail(entry: CatalogueEntry, options: argparse.Namespace) -> None:
    from ..assets.thumbnails import Thumbnails
    from ..files import write_whole

    folder = cache_folder(options)
    path = Thumbnails(folder, online=not options.offline).fetch(entry)
    target: Path = options.output
    if target.suffix.lower() not in (path.suffix, ".jpeg" if path.suffix == ".jpg" else ""):
        target = target.with_name(target.name + path.suffix)
    write_whole(target, path.read_bytes())
    say(f"{'saved':12s} {target}")
