"""The live view in a window: in the corner, following, never in the way."""

from __future__ import annotations

from .conftest import Debian
from .desk import Desk
from .test_results import red
from .test_window import SETTINGS, look, put

LIVE = (
    "next(m for n, m in __import__('sys').modules.items() if n.endswith('viewport.live_view'))"
    ".shown()"
)
TICKS = """
def watched():
    import sys, time
    module = next(m for n, m in sys.modules.items() if n.endswith('viewport.live_view'))
    kind, inner = module.LiveView, module.LiveView.tick
    module.longest = 0.0
    def tick(self, context):
        since = time.perf_counter()
        inner(self, context)
        module.longest = max(module.longest, time.perf_counter() - since)
    kind.tick = tick
    return True
"""


def rested(desk: Desk, view: int) -> None:
    desk.until(
        f"(lambda live: live and live.picture and live.picture.last and "
        f"live.picture.scene['view'] == {view})({LIVE})", 170, f"view {view} at rest",
    )  # fmt: skip


def test_it_grows_in_the_corner_and_follows(desk: Desk, newest: Debian) -> None:
    desk.ask("bpy.data.objects['Cube'].hide_set(True)")
    desk.enter("source", f"{newest.home}/models/rocket.glb")
    desk.press("objaverse.import_asset()")
    desk.until(f"{SETTINGS}.asset is not None", 60, "the import")
    put(
        desk, pattern="ring", views=4, elevation=(20, 20), resolution_x=160, resolution_y=120,
        samples=16, denoise=False,
    )  # fmt: skip
    before = red(look(desk, "before")[-450:, :360])
    desk.press("objaverse.live_view()")
    rested(desk, 0)
    desk.until(
        lambda: red(look(desk, "corner")[-450:, :360]) > before + 300, 30, "the picture"
    )
    desk.picture(desk.folder / "live-corner.png")
    # Following takes moments of the window's time.
    desk.ask(TICKS + "\nwatched()")
    put(desk, current_view=2)
    rested(desk, 2)
    longest = desk.ask(
        "next(m for n, m in __import__('sys').modules.items() "
        "if n.endswith('viewport.live_view')).longest"
    )
    assert longest < 0.25  # 6 ms where nothing else runs.
    # The pass to show stands beside it now.
    desk.press("objaverse.live_view()", 0.3)
    desk.until(f"{LIVE} is None", 20, "the end")
