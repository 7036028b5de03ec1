"""Compose, go on, describe, look, write, and what is needed for it."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import bpy
from bpy.props import BoolProperty, IntProperty

from ...batch.composing import DescribeRun, ScenesRun, Settling
from ...batch.physics import ENGINES
from ...batch.run import AssetResult
from ...compose.objects.library import Library
from ...errors import InvalidJob, RenderError
from ...words import how_many
from .. import preferences, run_state
from ..background import BackgroundOperator, CancelOperator
from ..operators.gallery import GalleryOperator
from ..operators.results import show_finished
from ..reports import fail, in_panel_words
from ..viewport import overlay, results
from ..widgets import redraw
from . import sentences
from .settings import kind_property, languages_of, output_of, own_of, rules_of, values_of
from .shown import close, composed, facts, reach, show

__all__ = ["CLASSES", "lacks_physics"]

_MOST_SAID: Final = 5
"""Own objects of which the panel says why they are left out; all are in the scenes' folder."""


@functools.cache
def _has_engines() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ENGINES)


def lacks_physics(context: bpy.types.Context) -> bool:
    """Whether scenes cannot be settled: the Python that is named is not there, or none is named and
    this one has no engines.
    """
    python = preferences.physics(context)
    if python == sys.executable:
        return not _has_engines()
    return Path(python).is_absolute() and not Path(python).exists()


class OBJAVERSE_OT_compose_scene(BackgroundOperator, bpy.types.Operator):
    """Draw objects, let them settle beside your work, and show them in a scene of their own"""

    bl_idname = "objaverse.compose_scene"
    bl_label = "Compose"
    bl_options: ClassVar = {"REGISTER", "UNDO"}
    kind = "compose"
    in_the_way = "A scene is being composed; wait for it or cancel it"
    cancelled_by = "objaverse.cancel_compose"

    go_on: BoolProperty(
        name="Next", description="Compose the next scene of the set",
        options={"HIDDEN", "SKIP_SAVE"},
    )

    @classmethod
    def description(cls, _: bpy.types.Context, properties: Any) -> str:
        """What this button does."""
        return "Compose the next scene of the set" if properties.go_on else ""

    def begin(self, context: bpy.types.Context) -> Settling:
        """Draw and settle in a process of its own."""
        settings = context.scene.objaverse_compose
        context.window_manager.objaverse_composed.trouble = ""
        rules = rules_of(settings)
        index = settings.index + self.go_on
        job = Settling(
            rules, index, preferences.physics(context), own_of(settings),
            sentences.session_folder(), preferences.options(context),
        )  # fmt: skip
        settings.index = index
        job.start()
        return job

    def finish(self, context: bpy.types.Context, job: Settling) -> set[str]:
        """Show it, in sight."""
        settings = context.scene.objaverse_compose
        size = settings.resolution_x, settings.resolution_y
        results.close(context)
        sentences.forget(context)
        if job.library is not None:
            context.window_manager.objaverse_composed.own_said = _own_said(job.library)
        try:
            found = show(context, job.scene, size, job.objects)
        except RenderError as error:
            return self.failed(context, error)
        context.window_manager.objaverse_composed.view = 0
        overlay.bring_into_view(context, reach(found))
        self.report({"INFO"}, facts(found))
        return {"FINISHED"}

    def failed(self, context: bpy.types.Context, error: RenderError) -> set[str]:
        """In the panel too."""
        context.window_manager.objaverse_composed.trouble = in_panel_words(error)
        return fail(self, error)


def _own_said(library: Library) -> str:
    """How many of the user's objects can be drawn from, and why not the others."""
    said = f"{how_many(len(library.objects), 'object')} of yours to draw from"
    left = [f"{one.source} ({one.said})" for one in library.left_out]
    more = f" and {len(left) - _MOST_SAID} more" if len(left) > _MOST_SAID else ""
    return f"{said}; left out: {', '.join(left[:_MOST_SAID])}{more}" if left else said


class OBJAVERSE_OT_cancel_compose(CancelOperator, bpy.types.Operator):
    """Stop composing; the scene that is shown stays"""

    bl_idname = "objaverse.cancel_compose"
    bl_label = "Cancel Composing"
    kind = "compose"
    nothing = "No scene is being composed"


class _NeedsComposed:
    if TYPE_CHECKING:

        @classmethod
        def poll_message_set(cls, text: str) -> None:
            """Blender's."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether the window's scene is a composed one."""
        if composed(context) is None:
            cls.poll_message_set("Compose a scene first")
            return False
        return True


class OBJAVERSE_OT_close_composed(_NeedsComposed, bpy.types.Operator):
    """Remove the composed scene from this file, and go back to your own"""

    bl_idname = "objaverse.close_composed"
    bl_label = "Close Composed Scene"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove it."""
        results.close(context)
        sentences.forget(context)
        close(context)
        return {"FINISHED"}


class OBJAVERSE_OT_walk_composed(_NeedsComposed, bpy.types.Operator):
    """Go to another view of the composed scene"""

    bl_idname = "objaverse.walk_composed"
    bl_label = "Go To View"
    bl_options: ClassVar = {"INTERNAL"}

    by: IntProperty(name="By", default=1, description="Views to go on", options={"SKIP_SAVE"})

    @classmethod
    def description(cls, _: bpy.types.Context, properties: Any) -> str:
        """What this button does."""
        which = "next" if properties.by > 0 else "previous"
        return f"Go to the {which} view of the composed scene"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Go; who looks through a camera, to the other one."""
        found = composed(context)
        if found is None:
            return {"CANCELLED"}
        sentences.look_at(context, found, sentences.view_of(context, found) + self.by)
        _take_camera(context, sentences.view_of(context, found))
        return {"FINISHED"}


class OBJAVERSE_OT_look_composed(_NeedsComposed, bpy.types.Operator):
    """Look through the camera of this view, and back"""

    bl_idname = "objaverse.look_composed"
    bl_label = "Look Through Camera"
    bl_options: ClassVar = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Look, or leave."""
        found = composed(context)
        if found is None or context.area is None or context.area.type != "VIEW_3D":
            return {"CANCELLED"}
        eye = context.area.spaces.active.region_3d
        if eye.view_perspective == "CAMERA":
            eye.view_perspective = "PERSP"
        elif _take_camera(context, sentences.view_of(context, found)):
            eye.view_perspective = "CAMERA"
        redraw()
        return {"FINISHED"}


def _take_camera(context: bpy.types.Context, view: int) -> bool:
    """Let a view's camera be the scene's; whether it is still there."""
    name = f"camera-{view:03d}"
    camera = next((one for one in context.scene.objects if one.type == "CAMERA"
                   and one.name.partition(".")[0] == name), None)  # fmt: skip
    if camera is not None:
        context.scene.camera = camera
    return camera is not None


class _ComposeRun(BackgroundOperator):
    """A run of workers; the panel shows how it goes."""

    kind = "render"
    in_the_way = "A render is running; wait for it or cancel it"
    cancelled_by = "objaverse.cancel"
    # It may take hours, and Blender does not save automatically while something waits for ESC.
    is_modal = False

    @classmethod
    def show(cls, context: bpy.types.Context, job: Any, event: Any) -> None:
        """In panel and viewport."""
        run_state.show(context, job, event)


class OBJAVERSE_OT_compose_sentences(_ComposeRun, bpy.types.Operator):
    """Render the composed scene's views, and list what is true and unique in each of them"""

    bl_idname = "objaverse.compose_sentences"
    bl_label = "Sentences"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is a scene to talk about, and nothing is rendered."""
        if composed(context) is None:
            cls.poll_message_set("Compose a scene first")
            return False
        return super().poll(context)

    def begin(self, context: bpy.types.Context) -> DescribeRun:
        """Render a copy, as it came to rest."""
        settings, found = context.scene.objaverse_compose, composed(context)
        assert found is not None
        if not settings.languages:
            raise InvalidJob("No language is chosen.")
        size = found.rig.views[0].camera
        values = values_of(settings) | {"pixels.resolution": (size.width, size.height)}
        run = DescribeRun(
            found.record, found.name, values, sentences.folder_for(found), languages_of(settings),
            found.objects,
        )  # fmt: skip
        run.options = {**preferences.options(context), "retry": "all"}
        run_state.start(context, run, "sentences")
        return run

    @classmethod
    def ended(cls, context: bpy.types.Context, job: DescribeRun) -> None:
        """List them, and show the pictures."""
        run_state.ended(context, job)
        state, found = context.window_manager.objaverse, composed(context)
        if job.error is not None or not job.report.ok or found is None:
            return
        try:
            count = sentences.read(context, found, job.folder)
            if not bpy.app.background:
                show_finished(context, job.folder)
        except RenderError as error:
            state.failure = in_panel_words(error)
            return
        state.status = f"{found.name}: {how_many(count, 'sentence')}"

    def finish(self, context: bpy.types.Context, job: DescribeRun) -> set[str]:
        """Say it to scripts, too."""
        errors = [result.error for result in job.report.failed if result.error is not None]
        if errors:
            return fail(self, errors[0])
        self.report({"INFO"}, context.window_manager.objaverse.status)
        return {"FINISHED"}


class OBJAVERSE_OT_write_scenes(_ComposeRun, bpy.types.Operator):
    """Compose, render and describe many scenes, each into its own folder; what is whole is kept"""

    bl_idname = "objaverse.write_scenes"
    bl_label = "Write Scenes"
    outlives_file = True

    _counts: ClassVar[dict[str, int]] = {}

    def begin(self, context: bpy.types.Context) -> ScenesRun:
        """Make the set from its first scene on."""
        settings = context.scene.objaverse_compose
        rules, count = rules_of(settings), settings.scenes
        run = ScenesRun(
            rules, count, values_of(settings), output_of(settings), own_of(settings)
        )
        run.options = {
            **preferences.options(context), "overwrite": settings.overwrite, "retry": "all",
            "physics": preferences.physics(context),
        }  # fmt: skip
        type(self)._counts = {"of": count}
        run_state.start(context, run, "scenes")
        return run

    @classmethod
    def show(cls, context: bpy.types.Context, job: ScenesRun, event: Any) -> None:
        """How many of them there are."""
        super().show(context, job, event)
        state, counts = context.window_manager.objaverse, cls._counts
        if isinstance(event, AssetResult):
            counts[event.status] = counts.get(event.status, 0) + 1
            if event.error is not None:
                said = f"{event.asset_id}: {in_panel_words(event.error)}"
                state.notes = "\n".join([*state.notes.splitlines(), said])
        done = sum(number for name, number in counts.items() if name != "of")
        state.progress = done / counts["of"]
        state.status = f"{done} of {how_many(counts['of'], 'scene')}"
        if not job.cancelled.is_set():
            job.share, job.status = state.progress, state.status

    @classmethod
    def ended(cls, context: bpy.types.Context, job: ScenesRun) -> None:
        """Say how many there are."""
        run_state.ended(context, job)
        if job.error is None:
            # Each that failed stands among the notes.
            said = [f"{number} {name}" for name, number in cls._counts.items() if name != "of"]
            state = context.window_manager.objaverse
            state.failure, state.status = "", f"Scenes: {', '.join(said)}"

    def finish(self, context: bpy.types.Context, job: ScenesRun) -> set[str]:
        """Say it to scripts, too."""
        return run_state.tell(self, context, job)


class OBJAVERSE_OT_open_scenes_gallery(GalleryOperator, bpy.types.Operator):
    """Make the web page of the written scenes, with masks and sentences, and open it"""

    bl_idname = "objaverse.open_scenes_gallery"
    bl_label = "Open Scenes Gallery"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there are some, and no page is being made."""
        if not cls.folder(context).is_dir():
            cls.poll_message_set("No scenes are written yet")
            return False
        return super().poll(context)

    @classmethod
    def folder(cls, context: bpy.types.Context) -> Path:
        """The folder for scenes."""
        return output_of(context.scene.objaverse_compose)


class OBJAVERSE_OT_choose_kinds(bpy.types.Operator):
    """Draw from all kinds of objects"""

    bl_idname = "objaverse.choose_kinds"
    bl_label = "Choose Kinds"
    bl_options: ClassVar = {"INTERNAL"}

    every: BoolProperty(
        name="All", default=True, description="All of them, or none", options={"SKIP_SAVE"}
    )

    @classmethod
    def description(cls, _: bpy.types.Context, properties: Any) -> str:
        """What this button does."""
        return "" if properties.every else "Draw from no kind of object, to choose a few by hand"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Switch them."""
        from ...compose.objects import KINDS

        kinds = context.scene.objaverse_compose.kinds
        for kind in KINDS:
            setattr(kinds, kind_property(kind), self.every)
        return {"FINISHED"}


class OBJAVERSE_OT_copy_physics_setup(bpy.types.Operator):
    """Copy what gives MuJoCo and Rapier a Python of their own."""

    bl_idname = "objaverse.copy_physics_setup"
    bl_label = "Copy Setup For Physics"
    bl_description = (
        "Copy the line that gives MuJoCo and Rapier a Python of their own, to be pasted into a "
        "terminal, and name that Python in the preferences"
    )
    bl_options: ClassVar = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Copy it."""
        folder = Path.home() / "objaverse-physics"
        inside = folder / ("Scripts" if sys.platform == "win32" else "bin")
        python = inside / ("python.exe" if sys.platform == "win32" else "python")
        with_it = "py" if sys.platform == "win32" else "python3"
        line = f'{with_it} -m venv "{folder}" && "{python}" -m pip install mujoco rapier3d numpy'
        context.window_manager.clipboard = line
        own = preferences.get(context)
        if own is not None:
            own.physics = str(python)
        self.report({"INFO"}, f"Copied; paste it into a terminal: {line}")
        return {"FINISHED"}


CLASSES: Final = (
    OBJAVERSE_OT_compose_scene,
    OBJAVERSE_OT_cancel_compose,
    OBJAVERSE_OT_close_composed,
    OBJAVERSE_OT_walk_composed,
    OBJAVERSE_OT_look_composed,
    OBJAVERSE_OT_compose_sentences,
    OBJAVERSE_OT_write_scenes,
    OBJAVERSE_OT_open_scenes_gallery,
    OBJAVERSE_OT_choose_kinds,
    OBJAVERSE_OT_copy_physics_setup,
)
