"""What is said of the composed scene: read from its finished pictures, listed, chosen."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ...compose.expressions import EXPRESSIONS
from ...compose.margins import Margins
from ...compose.record import FILE, Scene, SceneView
from ...dataset.gallery.sentences import doubts_of
from ..viewport import results
from ..widgets import redraw
from .shown import Composed, composed

__all__ = [
    "chosen", "doubts", "folder_for", "forget", "look_at", "read", "register", "session_folder",
    "unregister", "view_of",
]  # fmt: skip

_looks: dict[tuple[str, int], SceneView] = {}
_folder: Path | None = None


def _changed(_: Any, __: bpy.types.Context) -> None:
    redraw()


class OBJAVERSE_PG_sentence(bpy.types.PropertyGroup):
    """One sentence of one view; its name is the phrase."""

    request: StringProperty()
    language: StringProperty()
    view: IntProperty()
    sort: StringProperty()
    type: StringProperty()
    margin: FloatProperty()
    targets: StringProperty()
    references: StringProperty()


class OBJAVERSE_PG_composed(bpy.types.PropertyGroup):
    """What the window says of the composed scene; on the window manager, never saved."""

    sentences: CollectionProperty(type=OBJAVERSE_PG_sentence)
    active: IntProperty(
        name="Sentence", min=0, update=_changed, options=set(),
        description="The sentence whose targets are lit",
    )
    of: StringProperty(description="Which scene the sentences are of")
    folder: StringProperty(description="The rendered scene that the sentences are of")
    view: IntProperty(
        name="View", min=0, update=_changed, options=set(),
        description="The view of the composed scene whose sentences are listed",
    )
    labels: BoolProperty(
        name="Labels", default=True, update=_changed, options=set(),
        description="Name the composed objects in the viewport, and box them",
    )
    trouble: StringProperty(description="Why no scene was composed")
    own_said: StringProperty(description="Which of the user's own objects can be drawn from")


def session_folder() -> Path:
    """What composed scenes need beside Blender; it goes with this session."""
    global _folder
    if _folder is None:
        _folder = Path(tempfile.mkdtemp(prefix="objaverse-composed-"))
    return _folder


def folder_for(found: Composed) -> Path:
    """A folder for the pictures of one scene, empty; it goes with this session."""
    return Path(tempfile.mkdtemp(prefix=f"{found.name}-", dir=session_folder()))


def read(context: bpy.types.Context, found: Composed, folder: Path) -> int:
    """List what a finished scene's files say; returns how many sentences there are.

    Raises:
        OSError, ValueError, RenderError: They cannot be read.
    """
    state = context.window_manager.objaverse_composed
    record = json.loads((folder / EXPRESSIONS).read_text(encoding="utf-8"))
    scene = Scene.read(folder / FILE)
    _looks.clear()
    _looks.update({(found.key, view.view): view for view in scene.views})
    state.sentences.clear()
    for one in record["expressions"]:
        by_style: dict[str, dict[str, str]] = {}
        for text in one["texts"]:
            by_style.setdefault(text["language"], {})[text["style"]] = text["text"]
        for language, texts in by_style.items():
            item = state.sentences.add()
            item.name = texts.get("phrase") or next(iter(texts.values()))
            item.request, item.language = texts.get("request", ""), language
            item.view, item.sort, item.type = one["view"], one["kind"], one["type"]
            item.margin = one["margin"]
            item.targets = " ".join(map(str, one["targets"]))
            item.references = " ".join(map(str, one["references"]))
    state.of, state.folder = found.key, str(folder)
    look_at(context, found, view_of(context, found))
    return len(record["expressions"])


def listed(state: Any, found: Composed) -> bool:
    """Whether the sentences are this scene's."""
    return bool(state.of == found.key and len(state.sentences))


def view_of(context: bpy.types.Context, found: Composed) -> int:
    """The view that is looked at: of the pictures, where they are shown, else of the cameras."""
    manager = context.window_manager
    result, state = manager.objaverse_result, manager.objaverse_composed
    view = state.view
    if results.shown() is not None and state.folder and result.path == state.folder:
        view = result.view
    return min(int(view), len(found.rig.views) - 1)


def look_at(context: bpy.types.Context, found: Composed, view: int) -> None:
    """Go to a view, round at the ends, and to its first sentence."""
    manager = context.window_manager
    result, state = manager.objaverse_result, manager.objaverse_composed
    state.view = view % len(found.rig.views)
    if results.shown() is not None and state.folder and result.path == state.folder:
        result.view = state.view
    for place, item in enumerate(state.sentences):
        if item.view == state.view:
            state.active = place
            break


def chosen(context: bpy.types.Context, found: Composed) -> Any:
    """The sentence that is lit: of this scene and of the view that is looked at, or ``None``."""
    state = context.window_manager.objaverse_composed
    if not listed(state, found) or state.active >= len(state.sentences):
        return None
    item = state.sentences[state.active]
    return item if item.view == view_of(context, found) else None


def ids_of(text: str) -> list[int]:
    """Ids out of a sentence's list of them."""
    return [int(number) for number in text.split()]


def doubts(context: bpy.types.Context, found: Composed, number: int) -> list[str]:
    """What keeps an object from being talked about in the view that is looked at."""
    looks = _looks.get((found.key, view_of(context, found)))
    if looks is None:
        return []
    settings = context.scene
    pixels = settings.render.resolution_x * settings.render.resolution_y
    color = found.object(number).color
    look = next((one for one in looks.objects if one.id == number), None)
    if look is None:
        return []
    return doubts_of(look, pixels, color.name if color else None, Margins())


def forget(context: bpy.types.Context) -> None:
    """Say nothing any more."""
    state = context.window_manager.objaverse_composed
    state.sentences.clear()
    state.of = state.folder = ""
    _looks.clear()


@bpy.app.handlers.persistent
def _on_load(*_: Any) -> None:
    if composed(bpy.context) is None:
        forget(bpy.context)


_CLASSES: Final = (OBJAVERSE_PG_sentence, OBJAVERSE_PG_composed)


def register() -> None:
    """Hang the state on the window manager."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.WindowManager.objaverse_composed = PointerProperty(type=OBJAVERSE_PG_composed)
    bpy.app.handlers.load_post.append(_on_load)


def unregister() -> None:
    """Leave nothing behind."""
    global _folder
    bpy.app.handlers.load_post.remove(_on_load)
    _looks.clear()
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)
        _folder = None
    del bpy.types.WindowManager.objaverse_composed
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
