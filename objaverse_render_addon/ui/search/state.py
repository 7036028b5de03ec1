"""What is searched for, and the search itself: threads of their own, pictures as icons."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import bpy
import bpy.utils.previews
from bpy.props import BoolProperty, EnumProperty, IntProperty, PointerProperty, StringProperty

from ...assets.browser import Browser
from ...assets.catalogue import Query
from ...assets.entry import CatalogueEntry
from ...assets.licenses import parse_filter
from .. import preferences

__all__ = [
    "PAGE",
    "add_picture",
    "browser",
    "close",
    "entry_of",
    "picture",
    "register",
    "search",
    "unregister",
]

PAGE: Final = 12
MOST: Final = 40 * PAGE

_LICENSES: Final = {
    "any": None,
    "free": "free",
    "commercial": "commercial",
    "by": "by,cc0",
    "cc0": "cc0",
}

_browser: Browser | None = None
_made_for: dict[str, Any] = {}
_pictures: Any = None


def browser() -> Browser | None:
    """The search; ``None`` before the first one."""
    return _browser


def _choices(_: Any, __: bpy.types.Context, ___: str) -> list[str]:
    return _browser.categories if _browser is not None else []


def _changed(self: OBJAVERSE_PG_search, _: bpy.types.Context) -> None:
    """Another filter: search again, where that is a matter of milliseconds."""
    self.limit = PAGE
    if _browser is not None and _browser.is_open and not bpy.app.background:
        bpy.ops.objaverse.search("INVOKE_DEFAULT")


def _entered(self: OBJAVERSE_PG_search, _: bpy.types.Context) -> None:
    """Return was pressed in the field for words."""
    self.limit = PAGE
    if not bpy.app.background:
        bpy.ops.objaverse.search("INVOKE_DEFAULT")


class OBJAVERSE_PG_search(bpy.types.PropertyGroup):
    """What is looked for; on the window manager, never saved."""

    text: StringProperty(
        name="Search",
        description='Words of the name, tags, categories, description; "two words" side by side, '
        "-word excluded, begin*",
        update=_entered,
    )
    license: EnumProperty(
        name="License",
        items=[
            ("any", "Any", "Any license, unknown ones too"),
            ("free", "Free", "Commercial use and changed versions are allowed"),
            ("commercial", "Commercial", "Commercial use is allowed"),
            ("by", "CC BY, CC0", "Nothing is asked for but credit"),
            ("cc0", "CC0", "Not even credit is asked for"),
        ],
        description="Licenses that will do",
        update=_changed,
    )
    lvis: StringProperty(
        name="LVIS",
        description="LVIS category; the objects that have one are good and upright",
        search=_choices,
        search_options={"SUGGESTION"},
        update=_changed,
    )
    use_max_faces: BoolProperty(
        name="Max Faces", description="Leave large objects out", update=_changed
    )
    max_faces: IntProperty(
        name="Max Faces", default=100_000, min=1, description="At most so many", update=_changed
    )
    animated: EnumProperty(
        name="Animated",
        items=[
            ("any", "Any", "With or without animations"),
            ("no", "No", "Without animations"),
            ("yes", "Yes", "With animations"),
        ],
        description="Whether there are animations",
        update=_changed,
    )
    sort: EnumProperty(
        name="Sort",
        items=[
            ("relevance", "Relevance", "Matches in the name first, the most liked first"),
            ("likes", "Likes", "The most liked first"),
            ("views", "Views", "The most viewed first"),
            ("newest", "Newest", "The newest first"),
            ("faces", "Faces", "The fewest faces first"),
        ],
        description="Which come first",
        update=_changed,
    )
    limit: IntProperty(default=PAGE, min=1, max=MOST, options={"HIDDEN"})


def _query(settings: Any) -> Query:
    wanted = _LICENSES[settings.license]
    return Query(
        text=settings.text,
        licenses=parse_filter(wanted) if wanted else None,
        lvis=(settings.lvis,) if settings.lvis.strip() else (),
        max_faces=settings.max_faces if settings.use_max_faces else None,
        animated={"any": None, "no": False, "yes": True}[settings.animated],
        sort=settings.sort,
        limit=settings.limit,
    )


def search(context: bpy.types.Context) -> Browser:
    """Search for what the panel says, with the preferences as they are now."""
    global _browser, _made_for
    options = preferences.options(context)
    wanted = {name: options.get(name) for name in ("download_dir", "endpoint", "online")}
    if _browser is None or wanted != _made_for:
        close()
        _browser, _made_for = Browser(wanted), wanted
    _browser.search(_query(context.window_manager.objaverse_search))
    return _browser


def close() -> None:
    """Stop searching, and end the threads."""
    global _browser
    if _browser is not None:
        _browser.close()
        _browser = None


def entry_of(uid: str) -> CatalogueEntry | None:
    """What was found by that identifier."""
    entries = _browser.entries if _browser is not None else []
    return next((entry for entry in entries if entry.uid == uid), None)


def add_picture(uid: str, path: str) -> None:
    """Keep a thumbnail as an icon; when there are many, only of what is shown."""
    if _pictures is None or uid in _pictures:
        return
    _pictures.load(uid, path, "IMAGE")
    if len(_pictures) > MOST and _browser is not None:
        shown = {entry.uid for entry in _browser.entries}
        for old in [old for old in _pictures if old not in shown]:
            del _pictures[old]


def picture(uid: str) -> Any:
    """The icon of an object, or ``None``."""
    return _pictures.get(uid) if _pictures is not None else None


def register() -> None:
    """Hang the settings on the window manager."""
    global _pictures
    bpy.utils.register_class(OBJAVERSE_PG_search)
    bpy.types.WindowManager.objaverse_search = PointerProperty(type=OBJAVERSE_PG_search)
    _pictures = bpy.utils.previews.new()


def unregister() -> None:
    """Stop what is going on and leave nothing behind."""
    global _pictures
    close()
    with contextlib.suppress(KeyError):
        bpy.utils.previews.remove(_pictures)
    _pictures = None
    del bpy.types.WindowManager.objaverse_search
    bpy.utils.unregister_class(OBJAVERSE_PG_search)
