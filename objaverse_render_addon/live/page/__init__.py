"""The viewer: a small page that a browser shows, and the server of its pictures.

The page sends cameras, the server sends pictures. ``messages.py`` says what goes over the line,
``pictures.py`` makes bytes of pictures, ``server.py`` is the server, ``files/`` what the browser
gets: plain HTML, CSS and JavaScript, no build step.
"""

from __future__ import annotations

from .server import Pane, Viewer

__all__ = ["Pane", "Viewer"]
