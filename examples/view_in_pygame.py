"""A window of one's own on a queue: python examples/view_in_pygame.py field.ply

Drag to turn, wheel to come nearer. Needs: pip install 'objaverse-render-addon[view]' pygame-ce
"""

from __future__ import annotations

import sys

import pygame

from objaverse_render_addon.cameras import Rig, look_at_pose
from objaverse_render_addon.live.backends.field import FieldBackend
from objaverse_render_addon.live.queue import RenderQueue
from objaverse_render_addon.live.shots import perspective
from objaverse_render_addon.splats.field import read_field

SIZE = (960, 640)


def main() -> None:
    """See the module."""
    field = read_field(sys.argv[1])
    center, radius = field.extent()
    azimuth, elevation, away = -60.0, 20.0, 2.9 * radius
    pygame.init()
    window, clock = pygame.display.set_mode(SIZE), pygame.time.Clock()
    with RenderQueue(FieldBackend(field)) as queue:
        while True:
            for event in pygame.event.get():
                if event.type == pygame.QUIT:
                    return
                if event.type == pygame.MOUSEMOTION and event.buttons[0]:
                    azimuth -= 0.4 * event.rel[0]
                    elevation = max(-89.0, min(89.0, elevation + 0.4 * event.rel[1]))
                if event.type == pygame.MOUSEWHEEL:
                    away *= 0.9**event.y
            pose = look_at_pose(azimuth, elevation, away, Rig(center))
            queue.update_camera(perspective(pose, fov=40, size=SIZE))
            if (picture := queue.get_image()) is not None:
                pixels = picture.drawn.image.swapaxes(0, 1)
                pygame.transform.scale(pygame.surfarray.make_surface(pixels), SIZE, window)
                pygame.display.set_caption(f"level {picture.index + 1} of {picture.levels}")
                pygame.display.flip()
            clock.tick(60)


if __name__ == "__main__":
    main()
