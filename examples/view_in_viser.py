"""A field in viser, on a queue: python examples/view_in_viser.py field.ply

For those who have things in viser already; `objaverse-render view` needs nothing of it. It listens
on 127.0.0.1 alone: viser has no keys, whoever reaches its port looks at the field.
Needs: pip install 'objaverse-render-addon[view]' viser
"""

from __future__ import annotations

import argparse
import math
import threading

import numpy as np
import viser
import viser.transforms

from objaverse_render_addon.cameras import Camera, intrinsics_of
from objaverse_render_addon.live.backends import Backend
from objaverse_render_addon.live.backends.field import FieldBackend
from objaverse_render_addon.live.queue import Answer, RenderQueue
from objaverse_render_addon.splats.field import read_field


def camera_of(client: viser.ClientHandle, longest: int = 960) -> Camera:
    """What a viser client looks from, axes as everywhere here (OpenGL; viser has OpenCV's)."""
    seen = client.camera
    aspect = seen.aspect if math.isfinite(seen.aspect) and seen.aspect > 0 else 1.0
    width = round(longest * min(1.0, aspect))
    height = round(longest * min(1.0, 1 / aspect))
    pose = np.eye(4)
    pose[:3, :3] = viser.transforms.SO3(seen.wxyz).as_matrix() * [1, -1, -1]
    pose[:3, 3] = seen.position
    # viser's angle is the vertical one, ours that of the shorter side.
    half = math.tan(seen.fov / 2) * min(width, height) / height
    lens = intrinsics_of("perspective", math.degrees(2 * math.atan(half)), (width, height))
    return Camera(width, height, lens, pose)


def show(server: viser.ViserServer, backend: Backend) -> None:
    """Draw behind each client's scene what its camera sees; each has a queue of its own."""
    queues: dict[int, RenderQueue] = {}
    lock = threading.Lock()

    @server.on_client_connect
    def _(client: viser.ClientHandle) -> None:
        queue = RenderQueue(Lent(backend))

        def told(answer: Answer) -> None:
            if isinstance(answer, Exception):
                client.add_notification("It was not drawn", str(answer), color="red")
                return
            passes = answer.drawn.passes
            rgb = passes["rgb"][..., :3].astype(np.float32)
            alpha = passes["rgb"][..., 3:] / np.float32(255)
            image = (rgb * alpha + 255 * (1 - alpha)).astype(np.uint8)
            client.scene.set_background_image(
                image, format="png" if answer.last else "jpeg", jpeg_quality=80
            )

        queue.watch(callback=told)
        with lock:
            queues[client.client_id] = queue
        queue.update_camera(camera_of(client))  # It tells of changes alone.

        @client.camera.on_update
        def _(_: viser.CameraHandle) -> None:
            with lock:
                if client.client_id in queues:
                    queue.update_camera(camera_of(client))

    @server.on_client_disconnect
    def _(client: viser.ClientHandle) -> None:
        with lock:
            queue = queues.pop(client.client_id, None)
        if queue is not None:
            queue.close()


class Lent:
    """A backend that several queues have, one at a time; none of them closes it."""

    workers = 1

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.passes, self.drafts, self.samples = backend.passes, backend.drafts, backend.samples
        self.anew = backend.anew
        self.render = backend.render

    def close(self) -> None:
        """Left to whoever lent it."""


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("field", help=".ply")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    field = read_field(options.field)
    center, radius = field.extent()
    server = viser.ViserServer(host="127.0.0.1", port=options.port)
    server.scene.set_up_direction("+z")
    server.initial_camera.look_at = tuple(center)
    server.initial_camera.position = tuple(np.add(center, [0, -2.9 * radius, radius]))
    show(server, FieldBackend(field))
    server.sleep_forever()


if __name__ == "__main__":
    main()
