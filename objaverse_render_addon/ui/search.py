"""Search Objaverse in the sidebar: words and filters, pictures of what is found, a click imports.

Threads do the work (``assets/browser.py``); a timer carries pictures into Blender and asks for the
panel to be drawn anew. Drawing reads what is there and does nothing else.
"""

from __future__ import annotations

import contextlib
import textwrap
from typing import Any, ClassVar, Final

import bpy
import bpy.utils.previews
from bpy.props import (
    BoolProperty,
    EnumProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..assets.browser import Browser
from ..assets.catalogue import Query
from ..assets.entry import Entry
from ..assets.licences import parse_filter
from ..assets.text import clean
from . import preferences
from .operators.common import fail

__all__ = ["register", "unregister"]

PAGE: Final = 12
TIMER_PERIOD: Final = 0.1
CELL: Final = 100
"""Width of a result in the sidebar, in units of the interface's scale."""

_LICENCES: Final = {"any": None, "free": "free", "commercial": "commercial", "by": "by,cc0",
                    "cc0": "cc0"}  # fmt: skip

_browser: Browser | None = None
_made_for: dict[str, Any] = {}
_pictures: Any = None


def _choices(_: Any, __: bpy.types.Context, ___: str) -> list[str]:
    return _browser.categories if _browser is not None else []


def _changed(self: OBJAVERSE_PG_search, context: bpy.types.Context) -> None:
    """Another filter: search again, where that is a matter of milliseconds."""
    self.limit = PAGE
    if _browser is not None and _browser.is_open and not bpy.app.background:
        _start(context)


def _entered(self: OBJAVERSE_PG_search, context: bpy.types.Context) -> None:
    """Return was pressed in the field for words."""
    self.limit = PAGE
    if not bpy.app.background:
        _start(context)


class OBJAVERSE_PG_search(bpy.types.PropertyGroup):
    """What is looked for; on the window manager, never saved."""

    text: StringProperty(
        name="Search",
        description='Words of the name, tags, categories, description; "two words" side by side, '
        "-word excluded, begin*",
        update=_entered,
    )
    licence: EnumProperty(
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
    limit: IntProperty(default=PAGE, min=1, max=40 * PAGE, options={"HIDDEN"})


def _query(settings: Any) -> Query:
    wanted = _LICENCES[settings.licence]
    return Query(
        text=settings.text,
        licences=parse_filter(wanted) if wanted else None,
        lvis=(settings.lvis,) if settings.lvis.strip() else (),
        max_faces=settings.max_faces if settings.use_max_faces else None,
        animated={"any": None, "no": False, "yes": True}[settings.animated],
        sort=settings.sort,
        limit=settings.limit,
    )


def _start(context: bpy.types.Context) -> Browser:
    """Search for what the panel says, with the preferences as they are now."""
    global _browser, _made_for
    options = preferences.options(context)
    wanted = {name: options.get(name) for name in ("download_dir", "endpoint", "online")}
    if _browser is None or wanted != _made_for:
        _stop()
        _browser, _made_for = Browser(wanted), wanted
    _browser.search(_query(context.window_manager.objaverse_search))
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, persistent=True)
    return _browser


def _tick() -> float | None:
    """Take over what came since; ends when nothing is going on."""
    if _browser is None:
        return None
    # Before what came is taken: what comes after that is for the next time.
    going_on = _browser.busy
    for uid, path in _browser.poll():
        if _pictures is not None and uid not in _pictures:
            _pictures.load(uid, str(path), "IMAGE")
    if _pictures is not None and len(_pictures) > 40 * PAGE:
        shown = {entry.uid for entry in _browser.entries}
        for uid in [uid for uid in _pictures if uid not in shown]:
            del _pictures[uid]
    _redraw()
    return TIMER_PERIOD if going_on else None


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


def _stop() -> None:
    global _browser
    if _browser is not None:
        _browser.close()
        _browser = None


class OBJAVERSE_OT_search(bpy.types.Operator):
    """Search Objaverse; the first time its index is made, which takes minutes"""

    bl_idname = "objaverse.search"
    bl_label = "Search"
    bl_options: ClassVar = {"INTERNAL"}

    more: BoolProperty(
        name="More", description="Show more of what was found", options={"HIDDEN", "SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, _: bpy.types.Event) -> set[str]:
        """Search beside the window."""
        self._begin(context)
        return {"FINISHED"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Search, and wait for it."""
        browser = self._begin(context)
        browser.wait()
        if browser.error is not None:
            return fail(self, browser.error)
        self.report({"INFO"}, f"{len(browser.entries)} of {browser.total} objects")
        return {"FINISHED"}

    def _begin(self, context: bpy.types.Context) -> Browser:
        settings = context.window_manager.objaverse_search
        settings.limit = settings.limit + PAGE if self.more else PAGE
        return _start(context)


class OBJAVERSE_OT_cancel_search(bpy.types.Operator):
    """Stop searching; annotations that were fetched are kept"""

    bl_idname = "objaverse.cancel_search"
    bl_label = "Cancel Search"
    bl_options: ClassVar = {"INTERNAL"}

    def execute(self, _: bpy.types.Context) -> set[str]:
        """Stop."""
        if _browser is not None:
            _browser.cancel()
        return {"FINISHED"}


class OBJAVERSE_OT_import_found(bpy.types.Operator):
    """Import an object that the search found"""

    bl_idname = "objaverse.import_found"
    bl_label = "Import Object"
    bl_options: ClassVar = {"INTERNAL"}

    uid: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def description(cls, _: bpy.types.Context, properties: Any) -> str:
        """Title, author, licence and counts of this object."""
        entry = _entry(properties.uid)
        return "Import this object" if entry is None else _about(entry)

    def invoke(self, _: bpy.types.Context, __: bpy.types.Event) -> set[str]:
        """Import beside the window."""
        return self._import("INVOKE_DEFAULT")

    def execute(self, _: bpy.types.Context) -> set[str]:
        """Import, and wait for it."""
        return self._import("EXEC_DEFAULT")

    def _import(self, how: str) -> set[str]:
        try:
            done: set[str] = bpy.ops.objaverse.import_asset(how, filepath=self.uid)
        except RuntimeError as error:
            # That operator's own report, or its poll message.
            self.report({"ERROR"}, str(error).removeprefix("Error: ").strip())
            return {"CANCELLED"}
        return {"CANCELLED"} if done == {"CANCELLED"} else {"FINISHED"}


def _entry(uid: str) -> Entry | None:
    entries = _browser.entries if _browser is not None else []
    return next((entry for entry in entries if entry.uid == uid), None)


def _about(entry: Entry) -> str:
    faces = "unknown" if entry.faces is None else f"{entry.faces:,}"
    size = "unknown" if entry.size is None else f"{entry.size / 2**20:.1f} MiB"
    cautions = f" ({', '.join(entry.licence.cautions)})" if entry.licence.cautions else ""
    lines = [
        f"Import {entry.title} by {entry.author or 'an unknown author'}",
        f"{entry.licence.name}{cautions}",
        f"{faces} faces, {entry.animations or 0} animations, {size}",
        *([f"LVIS: {', '.join(entry.lvis)}"] if entry.lvis else []),
        entry.uid,
    ]
    return ".\n".join(lines)


class OBJAVERSE_PT_search(bpy.types.Panel):
    """Search Objaverse, and import what is found."""

    bl_label = "Search Objaverse"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Objaverse"
    bl_parent_id = "OBJAVERSE_PT_main"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw."""
        layout = self.layout
        settings = context.window_manager.objaverse_search
        row = layout.row(align=True)
        row.prop(settings, "text", text="", icon="VIEWZOOM")
        row.operator("objaverse.search", text="", icon="FILE_REFRESH")
        columns = layout.column()
        columns.use_property_split = True
        columns.use_property_decorate = False
        columns.prop(settings, "licence")
        columns.prop(settings, "lvis")
        row = columns.row(heading="Max Faces", align=True)
        row.prop(settings, "use_max_faces", text="")
        sub = row.row()
        sub.active = settings.use_max_faces
        sub.prop(settings, "max_faces", text="")
        columns.prop(settings, "animated")
        columns.prop(settings, "sort")
        browser = _browser
        if browser is None:
            self._first_time(context)
            return
        if browser.searching:
            row = layout.row(align=True)
            row.progress(factor=browser.share, text=browser.status)
            row.operator("objaverse.cancel_search", text="", icon="X")
        if browser.error is not None:
            _paragraph(context, layout, str(browser.error), "ERROR")
        elif browser.total is not None:
            self._results(context, browser)
        if browser.notice:
            _paragraph(context, layout, browser.notice, "INFO")

    def _first_time(self, context: bpy.types.Context) -> None:
        _paragraph(
            context, self.layout,
            "The first search reads the annotations of 800,000 objects and makes an index; that "
            "takes minutes, once.",
            "INFO",
        )  # fmt: skip
        if not bpy.app.online_access:
            box = self.layout.box()
            box.label(text="Online access is off: only fetched ones", icon="INTERNET_OFFLINE")
            allow = box.operator("screen.userpref_show", text="Allow It in Preferences, System")
            allow.section = "SYSTEM"

    def _results(self, context: bpy.types.Context, browser: Browser) -> None:
        layout = self.layout
        entries, total = browser.entries, browser.total
        if not entries:
            layout.label(text="Nothing found", icon="INFO")
            return
        layout.label(text=f"{len(entries):,} of {total:,}")
        width = context.region.width / context.preferences.system.ui_scale
        count = max(1, int((width - 30) / CELL))
        letters = max(8, int(width / count / 7) - 3)
        grid = layout.grid_flow(row_major=True, columns=count, even_columns=True, align=False)
        for entry in entries:
            cell = grid.box().column(align=True)
            picture = _pictures.get(entry.uid) if _pictures is not None else None
            if picture is not None:
                cell.template_icon(icon_value=picture.icon_id, scale=5.0)
            else:
                empty = cell.row()
                empty.alignment = "CENTER"
                empty.scale_y = 5.0
                empty.label(text="", icon="MESH_DATA")
            title = clean(entry.title, letters)
            cell.operator("objaverse.import_found", text=title).uid = entry.uid
            facts = cell.row()
            facts.alignment = "CENTER"
            facts.scale_y = 0.8
            facts.active = False
            facts.label(text=f"{entry.licence_text or 'unknown'} · {_brief(entry.faces)}")
        if total is not None and len(entries) < total:
            layout.operator("objaverse.search", text="More", icon="TRIA_DOWN").more = True


def _brief(faces: int | None) -> str:
    """A number of faces in the width of a cell: 86, 1.5k, 349k, 1.5M."""
    if faces is None:
        return "?"
    for unit, letter in ((1_000_000, "M"), (1000, "k")):
        if faces >= unit:
            return f"{faces / unit:.1f}".removesuffix(".0") + letter
    return str(faces)


def _paragraph(
    context: bpy.types.Context, layout: bpy.types.UILayout, text: str, icon: str
) -> None:
    letters = int(context.region.width / context.preferences.system.ui_scale / 7.0) - 7
    column = layout.column(align=True)
    column.alert = icon == "ERROR"
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, max(16, letters))[:10]):
        column.label(text=line, icon="BLANK1" if number else icon)


_CLASSES: Final = (
    OBJAVERSE_PG_search,
    OBJAVERSE_OT_search,
    OBJAVERSE_OT_cancel_search,
    OBJAVERSE_OT_import_found,
    OBJAVERSE_PT_search,
)


def register() -> None:
    """Register the classes."""
    global _pictures
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.WindowManager.objaverse_search = PointerProperty(type=OBJAVERSE_PG_search)
    _pictures = bpy.utils.previews.new()


def unregister() -> None:
    """Stop what is going on and leave nothing behind."""
    global _pictures
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    _stop()
    with contextlib.suppress(KeyError):
        bpy.utils.previews.remove(_pictures)
    _pictures = None
    del bpy.types.WindowManager.objaverse_search
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
