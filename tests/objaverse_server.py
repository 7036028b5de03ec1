"""A server of the Objaverse data set on this machine, which misbehaves when it is told to."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = "/datasets/allenai/objaverse/resolve/main/"
HTML = b"<!DOCTYPE html><html><body>Something went wrong</body></html>"

Answer = Callable[["Handler", bytes], None]


class Handler(BaseHTTPRequestHandler):
    """Answers from the server's files, in the way that was ordered for this request."""

    protocol_version = "HTTP/1.1"
    etag = ""
    server: Server

    def do_GET(self) -> None:
        name = self.path.removeprefix(ROOT)
        self.server.asked.append((name, dict(self.headers)))
        orders = self.server.orders[name]
        answer = orders.pop(0) if orders else normal
        body = self.server.files.get(name, self.server.anything)
        self.etag = self.server.etag(name)
        if body is None and answer is normal:
            answer = status(404)
        with contextlib.suppress(ConnectionError):
            answer(self, body or b"")

    def log_message(self, *_: object) -> None:
        pass

    def start(self, code: int, length: int | None, **headers: str) -> None:
        self.send_response(code)
        if self.etag and code in (200, 206):
            self.send_header("ETag", self.etag)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()


def files_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Server(ThreadingHTTPServer):
    """
    Attributes:
        files: Path below the data set to content.
        anything: Content of all other paths; there are none otherwise.
        etags: Whether it sends them.
        etag_digits: Of the SHA-256; 64 of them are taken for one.
        released: Whatever hangs, hangs until this is set.
        orders: Path to how its next requests are answered; normally, once these are used up.
        asked: Path and headers of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.orders: dict[str, list[Answer]] = defaultdict(list)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.paths: dict[str, object] = {}
        self.etags = True
        self.etag_digits = 64
        self.anything: bytes | None = None
        self.released = threading.Event()

    def etag(self, name: str) -> str:
        """As Hugging Face's for large files: the SHA-256; empty where ``etags`` is off."""
        body = self.files.get(name)
        if body is None or not self.etags:
            return ""
        return f'"{hashlib.sha256(body).hexdigest()[: self.etag_digits]}"'

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, uid: str, body: bytes, folder: str = "000-023") -> str:
        """Serve an object; its path."""
        name = f"glbs/{folder}/{uid}.glb"
        self.files[name] = body
        self.list(uid, name)
        return name

    def list(self, uid: str, where: object) -> None:
        self.paths[uid] = where
        self.files["object-paths.json.gz"] = gzip.compress(json.dumps(self.paths).encode())

    def ranges(self, name: str) -> list[str]:
        """The Range header of each request for a file; empty where there was none."""
        return [headers.get("Range", "") for asked, headers in self.asked if asked == name]

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


# --- Ways to answer -------------------------------------------------------------------------


def normal(handler: Handler, body: bytes) -> None:
    """With ranges, as Hugging Face."""
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if handler.headers.get("If-Range", handler.etag) != handler.etag:
        match = None
    start = int(match.group(1)) if match else 0
    if match and start >= len(body):
        handler.start(416, 0, Content_Range=f"bytes */{len(body)}")
        return
    if match:
        span = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.start(206, len(body) - start, Content_Range=span)
    else:
        handler.start(200, len(body))
    handler.wfile.write(body[start:])


def ignoring_range(handler: Handler, body: bytes) -> None:
    handler.start(200, len(body))
    handler.wfile.write(body)


def another_range(handler: Handler, body: bytes) -> None:
    handler.start(206, len(body) - 1, Content_Range=f"bytes 1-{len(body) - 1}/{len(body)}")
    handler.wfile.write(body[1:])


def without_length(handler: Handler, body: bytes) -> None:
    handler.close_connection = True
    handler.start(200, None, Connection="close")
    handler.wfile.write(body)


def breaking_off(after: int) -> Answer:
    """The promised length, of which less comes; then the connection is closed."""

    def answer(handler: Handler, body: bytes) -> None:
        handler.close_connection = True
        handler.start(200, len(body), Connection="close")
        handler.wfile.write(body[:after])

    return answer


def resetting(after: int) -> Answer:
    """As a network does that goes away in the middle."""

    def answer(handler: Handler, body: bytes) -> None:
        handler.close_connection = True
        match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(match.group(1)) if match else 0
        span = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.start(206 if match else 200, len(body) - start, Content_Range=span)
        handler.wfile.write(body[start : start + after])
        handler.wfile.flush()
        # What is on its way has to arrive before the reset overtakes it.
        time.sleep(0.05)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    return answer


def slowly(chunk: int, pause: float) -> Answer:
    def answer(handler: Handler, body: bytes) -> None:
        handler.start(200, len(body))
        for start in range(0, len(body), chunk):
            handler.wfile.write(body[start : start + chunk])
            time.sleep(pause)

    return answer


def status(code: int, **headers: str) -> Answer:
    def answer(handler: Handler, _: bytes) -> None:
        text = f"this is {code}".encode()
        handler.start(code, len(text), **headers)
        handler.wfile.write(text)

    return answer


def page(handler: Handler, _: bytes) -> None:
    """A login page with code 200, as proxies like to send."""
    handler.etag = ""
    handler.start(200, len(HTML), Content_Type="text/html")
    handler.wfile.write(HTML)


def stalling(after: int, seconds: float = 30.0) -> Answer:
    """Some bytes, and then nothing, with the connection open."""

    def answer(handler: Handler, body: bytes) -> None:
        handler.close_connection = True
        handler.start(200, len(body))
        handler.wfile.write(body[:after])
        handler.wfile.flush()
        handler.server.released.wait(seconds)

    return answer


def silent(handler: Handler, _: bytes) -> None:
    """Not even a status."""
    handler.close_connection = True
    handler.server.released.wait(30.0)


def spoiled(handler: Handler, body: bytes) -> None:
    """The right length and the right ETag, another content."""
    handler.start(200, len(body))
    handler.wfile.write(body[:-10] + b"0123456789")


def wrong_length(by: int) -> Answer:
    """A length that is not that of what comes."""

    def answer(handler: Handler, body: bytes) -> None:
        handler.close_connection = True
        handler.start(200, len(body) + by, Connection="close")
        handler.wfile.write(body)

    return answer


def ignoring_if_range(handler: Handler, body: bytes) -> None:
    """The rest of whatever the file is now."""
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    start = int(match.group(1)) if match else 0
    span = f"bytes {start}-{len(body) - 1}/{len(body)}"
    handler.start(206, len(body) - start, Content_Range=span)
    handler.wfile.write(body[start:])


def sent_on(url: str, code: int = 302, linked: bytes | None = None) -> Answer:
    """A redirect, as Hugging Face's to its store; ``linked`` is what it says that lies there."""
    headers = {"Location": url}
    if linked is not None:
        headers["X-Linked-Etag"] = f'"{hashlib.sha256(linked).hexdigest()}"'
        headers["X-Linked-Size"] = str(len(linked))
    return status(code, **headers)


def zipped(handler: Handler, body: bytes) -> None:
    """Compressed on the way, though nobody asked for it."""
    packed = gzip.compress(body)
    handler.start(200, len(packed), Content_Encoding="gzip")
    handler.wfile.write(packed)


def endless(handler: Handler, _: bytes) -> None:
    """It says no length, and goes on."""
    handler.close_connection = True
    handler.start(200, None, Connection="close")
    while not handler.server.released.is_set():
        handler.wfile.write(bytes(1 << 16))
