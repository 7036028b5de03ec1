"""Runs inside the Blender under test: answers questions about its state, and changes nothing.

What a person does is done with a mouse and keys from outside; this only lets the tests know what
came of it, and which button is under the mouse.
"""

import json
import os
import traceback
from pathlib import Path

import bpy

FOLDER = Path(os.environ["OBJAVERSE_PROBE"])
NAMES = {"bpy": bpy}


def regions(kind):
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == kind:
                        yield window, area, region


def place(kind):
    """x, y, width and height of a region of the 3D viewport; y counts from below."""
    _, _, region = next(regions(kind))
    return region.x, region.y, region.width, region.height


def button():
    """What the button under the mouse is, as Blender itself copies it for scripts; or None."""
    for window, area, region in regions("UI"):
        with bpy.context.temp_override(window=window, area=area, region=region):
            for operator, options in (
                (bpy.ops.ui.copy_python_command_button, {}),
                (bpy.ops.ui.copy_data_path_button, {"full_path": True}),
            ):
                if operator.poll():
                    operator(**options)
                    return bpy.context.window_manager.clipboard
    return None


def scene_state():
    """All of a scene that a render must leave alone."""
    scene = bpy.context.scene
    render = {}
    for name in scene.render.bl_rna.properties.keys():
        value = getattr(scene.render, name)
        if isinstance(value, (int, float, str, bool)):
            render[name] = value
    return {
        "render": render,
        "camera": scene.camera.name if scene.camera else None,
        "world": scene.world.name if scene.world else None,
        "use_nodes": getattr(scene, "compositing_node_group", None) is not None,
        "frame": scene.frame_current,
        "selected": sorted(obj.name for obj in bpy.context.selected_objects),
        "active": getattr(bpy.context.view_layer.objects.active, "name", None),
        "objects": {
            obj.name: [
                [round(value, 5) for row in obj.matrix_world for value in row],
                obj.hide_render,
                obj.hide_viewport,
                obj.hide_get(),
            ]
            for obj in scene.objects
        },
        "scenes": [item.name for item in bpy.data.scenes],
        "collections": [item.name for item in bpy.data.collections],
        "materials": [item.name for item in bpy.data.materials],
        "passes": {
            name: getattr(bpy.context.view_layer, name)
            for name in bpy.context.view_layer.bl_rna.properties.keys()
            if name.startswith("use_pass")
        },
        "view": bpy.context.scene.view_settings.view_transform,
    }


def search(name, spots, patience):
    """Move the mouse over spots, x and y from below, until a button is under it.

    What was seen on the way is noted in SEEN. Blender learns of a move only after a timer has
    returned, and when it is busy after the next one: patience is how many it waits.
    """
    SEARCH.update(name=name, spots=spots[::-1], at=None, found=None, running=True,
                  patience=patience, waited=0)
    for key in [key for key in SEEN if named(key, name)]:
        del SEEN[key]


def step():
    if SEARCH["at"] is not None:
        SEARCH["waited"] += 1
        if SEARCH["waited"] < SEARCH["patience"]:
            return
        copied = button()
        if copied:
            SEEN[copied] = SEARCH["at"]
        if named(copied, SEARCH["name"]):
            SEARCH["found"] = SEARCH["at"]
    if SEARCH["found"] is not None or not SEARCH["spots"]:
        SEARCH["running"] = False
        return
    SEARCH["at"], SEARCH["waited"] = SEARCH["spots"].pop(), 0
    bpy.context.window_manager.windows[0].cursor_warp(*SEARCH["at"])


def named(copied, name):
    """Whether a button is this operator's, or this setting's: of another group by its full name."""
    if not copied:
        return False
    own = name if name.startswith("objaverse_") else f"objaverse.{name}"
    return copied == f"bpy.ops.{name}" or copied.endswith(f".{own}")


SEARCH = {"running": False}
SEEN = {}
DRAWN = {"count": 0}


def count_drawing():
    DRAWN["count"] += 1


def draw_again():
    """Ask for the viewport anew; returns what DRAWN will exceed once it is there."""
    for _, area, _ in regions("WINDOW"):
        area.tag_redraw()
    return DRAWN["count"]


def holds(name, text):
    """Whether a setting of the panel, as ``views`` or ``radius[0]``, has the value of a text."""
    value = eval(f"bpy.context.scene.objaverse.{name}")
    if isinstance(value, str):
        return value.rstrip("/") == text.rstrip("/")
    return abs(value - float(text)) < 1e-4


def answer():
    if SEARCH["running"]:
        step()
        return 0.01
    ask = FOLDER / "ask"
    if ask.exists():
        code = ask.read_text()
        ask.unlink()
        NAMES.update(globals())
        try:
            try:
                value = eval(compile(code, "ask", "eval"), NAMES)
            except SyntaxError:
                value = exec(compile(code, "ask", "exec"), NAMES)
            result = {"value": value}
            text = json.dumps(result, default=str)
        except Exception:
            text = json.dumps({"error": traceback.format_exc()})
        part = FOLDER / "answer.part"
        part.write_text(text)
        part.rename(FOLDER / "answer")
    return 0.02


bpy.context.preferences.view.show_splash = False
bpy.context.preferences.view.ui_scale = float(os.environ.get("OBJAVERSE_UI_SCALE", "1"))
bpy.context.preferences.system.use_region_overlap = True
# A window of its own would have no keyboard: nothing here manages windows.
bpy.context.preferences.view.filebrowser_display_type = "SCREEN"
bpy.types.SpaceView3D.draw_handler_add(count_drawing, (), "WINDOW", "POST_PIXEL")
bpy.app.timers.register(answer, persistent=True)
