"""A server that speaks the paths of the Hugging Face Hub that a data set is published by.

As its own client asks for them: https://huggingface.co/docs/hub/api, git's LFS batch API.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """What is on it, and what was asked of it.

    Attributes:
        files: Path in the repository to content.
        large: Of files that came by LFS, SHA-256 to content.
        commits: Paths of each commit.
        fail_after: Commits after which it refuses.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.lfs: set[str] = set()
        self.large: dict[str, bytes] = {}
        self.commits: list[list[str]] = []
        self.created: list[dict[str, Any]] = []
        self.fail_after: int | None = None
        self.address = ""


@contextmanager
def hub() -> Iterator[Hub]:
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, content: Any, status: int = 200) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            if "/tree/" in self.path:
                entries = []
                for path, data in sorted(state.files.items()):
                    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                    entry: dict[str, Any] = {
                        "type": "file", "path": path, "size": len(data), "oid": blob,
                    }  # fmt: skip
                    if path in state.lfs:
                        digest = hashlib.sha256(data).hexdigest()
                        entry["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 130}
                    entries.append(entry)
                self._answer(entries)
            else:
                self._answer({"error": self.path}, 404)

        def do_POST(self) -> None:
            body = self._body()
            if self.path == "/api/repos/create":
                state.created.append(json.loads(body))
                name = state.created[-1]
                owner = name.get("organization", "me")
                self._answer({"url": f"{state.address}/datasets/{owner}/{name['name']}"})
            elif "/preupload/" in self.path:
                listed = json.loads(body)["files"]
                self._answer({"files": [
                    {"path": one["path"], "shouldIgnore": False,
                     "uploadMode": "lfs" if one["path"].endswith(".parquet") else "regular"}
                    for one in listed
                ]})  # fmt: skip
            elif self.path.endswith(".git/info/lfs/objects/batch"):
                self._answer({"transfer": "basic", "objects": [
                    {"oid": one["oid"], "size": one["size"], **self._upload(one["oid"])}
                    for one in json.loads(body)["objects"]
                ]})  # fmt: skip
            elif "/commit/" in self.path:
                if state.fail_after is not None and len(state.commits) >= state.fail_after:
                    self._answer({"error": "no more today"}, 400)
                    return
                paths = []
                for line in body.decode().splitlines():
                    said = json.loads(line)
                    value = said["value"]
                    if said["key"] == "file":
                        state.files[value["path"]] = base64.b64decode(value["content"])
                    elif said["key"] == "lfsFile":
                        state.files[value["path"]] = state.large[value["oid"]]
                        state.lfs.add(value["path"])
                    else:
                        continue
                    paths.append(value["path"])
                state.commits.append(paths)
                url = f"{state.address}/datasets/me/chairs/commit/{'0' * 40}"
                self._answer({"commitUrl": url, "commitOid": "0" * 40})
            elif "/branch/" in self.path or re.search(r"/api/validate-yaml", self.path):
                self._answer({"errors": [], "warnings": []})
            else:
                self._answer({"error": self.path}, 404)

        def _upload(self, digest: str) -> dict[str, Any]:
            if digest in state.large:
                return {}
            return {"actions": {"upload": {"href": f"{state.address}/put/{digest}"}}}

        def do_PUT(self) -> None:
            data = self._body()
            digest = self.path.rsplit("/", 1)[-1]
            assert hashlib.sha256(data).hexdigest() == digest
            state.large[digest] = data
            self._answer({})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
