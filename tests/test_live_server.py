"""A server's doors: who comes in, and what becomes of those who do not keep to the rules.

What is refused here is refused before there is need of a worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objaverse_render_addon import live
from objaverse_render_addon.batch.lanes import capacity
from objaverse_render_addon.errors import (
    AccessRefused,
    ConnectionLost,
    DeviceUnavailable,
    InvalidEdit,
    InvalidJob,
    MissingDependency,
    RenderError,
    SourceNotFound,
    UnknownRequest,
)
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.live import keys as keys_module
from objaverse_render_addon.live import listen as listen_module
from objaverse_render_addon.live.changing import values_of
from objaverse_render_addon.live.clients import Limits
from objaverse_render_addon.live.host import RenderOptions
from objaverse_render_addon.live.listen import parse_address
from objaverse_render_addon.live.remote import Connection
from objaverse_render_addon.live.server import Server
from objaverse_render_addon.live.shots import moved, shots_of, with_lens
from objaverse_render_addon.live.vram import VramLimit, parse_used
from objaverse_render_addon.worker import protocol
from objaverse_render_addon.worker.memory import resident_bytes
from objaverse_render_addon.worker.protocol import (
    Change,
    Environments,
    Inspect,
    Open,
    Render,
    Step,
    encode,
)

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="private sockets")
ROOT = Path(__file__).parents[1]
OWN = "objaverse_render_addon.environments.cart_pole"
LIMITS = Limits(message=1 << 20, idle=20.0)


@pytest.fixture(scope="module")
def pool() -> Iterator[live.Pool]:
    with live.start(1, device="cpu") as made:
        yield made


def served(pool: live.Pool, folder: Path, *addresses: str, **options: Any) -> Server:
    return Server(
        pool, addresses, clients=["ada", "ben"], roots=[folder], keys=folder / "keys",
        private=folder / "own.sock", limits=options.pop("limits", LIMITS), **options,
    )  # fmt: skip


def door(server: Server, scheme: str, name: str = "ada") -> tuple[str, str]:
    return next(
        (address, key) for who, address, key in server.keys
        if address.startswith(scheme) and who in (name, "you")
    )  # fmt: skip


@pytest.fixture
def server(pool: live.Pool, tmp_path: Path) -> Iterator[Server]:
    pytest.importorskip("zmq")
    with served(pool, tmp_path, "tcp://127.0.0.1:0", "curve://127.0.0.1:0") as made:
        yield made


def listening(pid: int) -> set[str]:
    """Addresses at which a process listens, of all of TCP."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            sockets.add(str(descriptor.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].partition(":")[0])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="of /proc")
def test_only_loopback_listens_unless_it_is_encrypted(server: Server, tmp_path: Path) -> None:
    assert listening(os.getpid()) == {"0100007F"}
    path = tmp_path / "own.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for file in (tmp_path / "keys").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for wide in ("tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://192.0.2.1:7777"):
        with pytest.raises(AccessRefused, match="open to others"):
            served(server.pool, tmp_path / "other", wide)


def test_without_the_extra_it_refuses_to_listen_wider(
    pool: live.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zmq", None)
    with pytest.raises(MissingDependency, match="ZeroMQ"):
        served(pool, tmp_path, "curve://0.0.0.0:0")
    with pytest.raises(MissingDependency, match="ZeroMQ"):
        live.connect("curve://127.0.0.1:9", "x")


@pytest.mark.parametrize("scheme", ["unix", "tcp", "curve"])
def test_a_client_with_its_key_comes_in(server: Server, scheme: str) -> None:
    address, key = door(server, scheme)
    with live.connect(address, key) as client:
        facts = client.status()
        assert facts["workers"] == 1
        assert ("pool" in facts) == (scheme == "unix"), "the owner alone hears of others"
        with pytest.raises(AccessRefused, match="not in a folder"):
            client.open("/etc/passwd")
        with pytest.raises(AccessRefused, match="not in a folder"):
            client.open("../../../etc/passwd")
        with pytest.raises(UnknownRequest, match="not open"):
            client.close_scene(0)
            client.inspect_scene(1, 5)
        with pytest.raises(AccessRefused, match="ticket"):
            client.attach(1, "guessed")
        with pytest.raises(AccessRefused, match="pixels"):
            client.open(None, resolution=(16000, 16000))
        if scheme != "unix":
            with pytest.raises(AccessRefused, match="owner"):
                client.stop_server()
    assert server.service.dropped == 0


@pytest.mark.parametrize("scheme", ["tcp", "curve"])
def test_a_wrong_key_gets_no_word(server: Server, scheme: str, tmp_path: Path) -> None:
    address, key = door(server, scheme)
    name, _, rest = key.partition(":")
    wrong = f"{name}:{'0' * len(rest)}"
    if scheme == "curve":
        other = keys_module.KeyRing(tmp_path / "others")
        # The right server, and a pair that is nobody's.
        parts, theirs = key.split(":"), other.curve_key("ada").split(":")
        wrong = ":".join([*parts[:3], *theirs[3:]])
    almost = key[:-2] + ("00" if key[-2:] != "00" else "11")
    for bad in (wrong, "", f"eve:{rest}", "x" * 300, almost):
        with pytest.raises((AccessRefused, ConnectionLost)):
            live.connect(address, bad, timeout=1.5)
    with live.connect(address, key) as client:
        assert client.status()["workers"] == 1
    assert not server.service._clients or time.sleep(0.5) is None


def test_what_was_overheard_opens_no_door(server: Server) -> None:
    """A proxy records a whole conversation, and says it again."""
    address, key = door(server, "tcp")
    where = parse_address(address)
    said = []
    proxy = socket.create_server(("127.0.0.1", 0))

    ends: list[socket.socket] = []

    def relay() -> None:
        client, _ = proxy.accept()
        upstream = socket.create_connection((where.host, where.port))
        ends.extend((client, upstream))

        def pump(source: socket.socket, target: socket.socket, log: bool) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    if log:
                        said.append(data)
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        threading.Thread(target=pump, args=(upstream, client, False), daemon=True).start()
        pump(client, upstream, True)

    threading.Thread(target=relay, daemon=True).start()
    with live.connect(f"tcp://127.0.0.1:{proxy.getsockname()[1]}", key) as client:
        assert client.status()["workers"] == 1
    time.sleep(0.2)
    assert key.partition(":")[2].encode() not in b"".join(said)
    with socket.create_connection((where.host, where.port), 5) as again:
        again.sendall(b"".join(said))
        again.settimeout(5)
        heard = b""
        try:
            while part := again.recv(65536):
                heard += part
        except ConnectionResetError:
            pass
    assert b"hello" not in heard, "it was let in"
    for one in (proxy, *ends):
        one.close()


def raw(tmp_path: Path) -> socket.socket:
    """A connection that was let in, for whoever does not keep to the rules."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(10)
    made.connect(str(tmp_path / "own.sock"))
    return made


def is_dropped(connection: socket.socket) -> bool:
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


WRONG = {
    "no message": b"GET / HTTP/1.1\r\n\r\n",
    "too long": b'{"id": 1, "kind": "describe", "x": "' + b"a" * (2 << 20) + b'"}\n',
    "never ends": b"a" * (3 << 20),
    "deeply nested": b'{"id": 1, "kind": "describe", "x": ' + b"[" * 100_000 + b"\n",
    "arrays": b'{"id": 1, "kind": "frame-ready", "index": 0, "view": {}, "buffers": [{"name": "a",'
    b' "dtype": "<f4", "shape": [1000000000, 1000]}]}\n',
    "no number": b'{"id": -1, "kind": "describe"}\n',
    "huge number": b'{"id": ' + b"9" * 10_000 + b', "kind": "describe"}\n',
    "too much credit": b'{"id": 1, "kind": "more", "request": 1, "frames": 1000000000}\n',
}


@pytest.mark.parametrize("what", WRONG)
def test_who_misbehaves_is_dropped_alone(server: Server, tmp_path: Path, what: str) -> None:
    address, key = door(server, "tcp")
    with live.connect(address, key) as good:
        before, memory = server.service.dropped, resident_bytes()
        bad = raw(tmp_path)
        with contextlib.suppress(OSError):  # Before it was through with it.
            bad.sendall(WRONG[what])
        assert is_dropped(bad)
        bad.close()
        for _ in range(100):
            if server.service.dropped > before:
                break
            time.sleep(0.02)
        assert server.service.dropped == before + 1
        assert good.status()["workers"] == 1
        assert resident_bytes() - memory < 40 << 20


def test_requests_that_say_something_impossible_are_refused_by_name(server: Server) -> None:
    address, key = door(server, "tcp")
    job = RenderJob().to_dict()
    with live.connect(address, key) as client:
        for request in (
            Open("a", "a\0b", "a", job), Open("a", 3, "a", job),  # type: ignore[arg-type]
            Open("a", "", "a", {"engine": {"samples": -1}}), Open("a", "", "a", []),  # type: ignore[arg-type]
            Open("a", "", "a", {**job, "lighting": {"mode": "hdri", "hdri": "/etc/passwd"}}),
            Open("a", "", "a", job, folders=["/root"]),
            Change({}, [], 0),  # type: ignore[arg-type]
            Render(1, shots=[{"index": 0}]), Render([1], shots=[]),  # type: ignore[arg-type]
            Environments("os:system"), Environments(3), Environments(f"{OWN}:_hidden"),  # type: ignore[arg-type]
            Environments(f"{OWN}:CartPole", count=0),
            Environments(f"{OWN}:CartPole", size=[1, "a"]),  # type: ignore[list-item]
            Environments(f"{OWN}:CartPole", timeout=float("nan")), Step([1], [-1]),
            Inspect(1, ["a"], 1 << 60), Inspect(1, called=3), Inspect(1, called="a" * 5000),  # type: ignore[arg-type]
        ):
            with pytest.raises(RenderError) as caught:
                client._ask(request, 10)
            assert caught.value.reason not in ("unexpected-error", "connection-lost"), request


def mutated(rng: np.random.Generator) -> bytes:
    """A message of ours with something wrong."""
    job = RenderJob().to_dict()
    shot = {"index": 0, "width": 64, "height": 64, "intrinsics": np.eye(3).tolist(),
            "camera_to_world": np.eye(4).tolist(), "time": None}  # fmt: skip
    kinds = [
        Open("a", "missing.glb", "a", job), Render(1, shots=[shot], options={"credit": 2}),
        Change(1, [{"edit": "place", "name": "a", "matrix": np.eye(4).tolist()}], 1),
        protocol.Describe(), protocol.Close(1), protocol.Attach(1, "t"), protocol.Inspect(1),
        protocol.Call(1, "os.system", {"command": "touch executed"}, 1), protocol.Cancel(1),
    ]  # fmt: skip
    line = bytearray(encode(kinds[rng.integers(len(kinds))], int(rng.integers(1, 9))).encode())
    for _ in range(int(rng.integers(1, 8))):
        way, at = rng.integers(4), int(rng.integers(len(line)))
        if way == 0:
            line[at] = int(rng.integers(256))
        elif way == 1:
            del line[at : at + int(rng.integers(1, 40))]
        elif way == 2:
            line[at:at] = line[int(rng.integers(len(line))) :][: int(rng.integers(1, 60))]
        else:
            line[at:at] = [b"null", b"1e999", b"NaN", b"[" * 50, b'"', b"{}"][rng.integers(6)]
        line = line or bytearray(b"{")
    return bytes(line) + b"\n"


def mutations(server: Server, tmp_path: Path, count: int) -> None:
    rng = np.random.default_rng(11)
    threads, memory = threading.active_count(), 0
    sent = 0
    while sent < count:
        with raw(tmp_path) as peer:
            peer.settimeout(20)
            try:
                for _ in range(50):
                    sent += 1
                    peer.sendall(mutated(rng))
                peer.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            assert is_dropped(peer)
        memory = memory or (resident_bytes() if sent > count // 4 else 0)
    assert resident_bytes() - memory < 32 << 20
    for _ in range(100):
        if threading.active_count() <= threads + 3:
            break
        time.sleep(0.05)
    assert threading.active_count() <= threads + 3
    assert not (Path.cwd() / "executed").exists()
    with live.connect(*door(server, "tcp")) as client:
        assert client.status()["workers"] == 1


def test_mutated_messages_get_nothing(server: Server, tmp_path: Path) -> None:
    mutations(server, tmp_path, 1500)


@pytest.mark.long
def test_a_hundred_thousand_mutated_messages_get_nothing(server: Server, tmp_path: Path) -> None:
    mutations(server, tmp_path, 100_000)


def test_garbage_at_the_encrypted_door_is_not_heard(server: Server) -> None:
    where = parse_address(door(server, "curve")[0])
    rng = np.random.default_rng(5)
    for _ in range(60):
        with socket.create_connection((where.host, where.port), 5) as peer:
            peer.sendall(rng.bytes(int(rng.integers(1, 4000))))
    import zmq

    context = zmq.Context()
    plain = context.socket(zmq.DEALER)
    plain.setsockopt(zmq.LINGER, 0)
    plain.connect(f"tcp://{where.host}:{where.port}")
    plain.send(encode(protocol.Describe(), 1).encode())
    assert plain.poll(800) == 0, "without a key there is no answer"
    plain.close()
    context.term()
    with live.connect(*door(server, "curve")) as client:
        assert client.status()["workers"] == 1


def test_another_version_is_named_on_both_sides(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import objaverse_render_addon.live.remote as remote

    monkeypatch.setattr(remote, "PROTOCOL", 999)
    with pytest.raises(AccessRefused, match=r"protocol \d+; this is version .* protocol 999"):
        live.connect(*door(server, "unix"))


def test_a_dead_servers_socket_is_taken_over_and_a_live_ones_is_not(
    pool: live.Pool, tmp_path: Path
) -> None:
    path = tmp_path / "own.sock"
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dead.bind(str(path))
    dead.close()
    with served(pool, tmp_path) as server:
        with live.connect(*door(server, "unix")) as client:
            assert client.status()["workers"] == 1
        with pytest.raises(InvalidJob, match="already"):
            served(pool, tmp_path)
        port = socket.create_server(("127.0.0.1", 0))
        with pytest.raises(InvalidJob, match="Cannot listen"):
            served(pool, tmp_path / "b", f"tcp://127.0.0.1:{port.getsockname()[1]}")
        port.close()
    assert not path.exists()
    with pytest.raises(ConnectionLost, match="Nobody answers"):
        live.connect(f"unix:{path}")
    path.write_text("mine")
    with pytest.raises(InvalidJob, match="Cannot listen"):
        served(pool, tmp_path)
    assert path.read_text() == "mine"


BRINGS_ALONG = """
import base64, time
from objaverse_render_addon.live.uploads import Uploads
from objaverse_render_addon.worker import guardian
uploads = Uploads(1 << 20)
uploads.put("box.glb", base64.b64encode(b"box").decode(), first=True)
print(uploads.path("box.glb"), guardian._process.pid, flush=True)
time.sleep(600)
"""


def test_files_brought_along_go_with_a_killed_server(
    pool: live.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    # What may be another's stays: no lock beside it, or a link, which anybody can make.
    others = [temporary / f"objaverse-render-{name}" for name in ("mine", "4199999-ab")]
    for other in others:
        other.mkdir()
    (temporary / "objaverse-render-4199999-ab.lock").symlink_to(tmp_path / "elsewhere")
    with contextlib.ExitStack() as ends:
        found = []
        for _ in range(3):
            process = ends.enter_context(subprocess.Popen(
                [sys.executable, "-c", BRINGS_ALONG], stdout=subprocess.PIPE, text=True,
                env={**os.environ, "TMPDIR": str(temporary)}, cwd=ROOT,
            ))  # fmt: skip
            ends.callback(process.kill)
            path, reaper = process.stdout.readline().split()
            found.append((process, Path(path), int(reaper)))
        (lives, kept, _), (alone, first, _), (both, second, reaper) = found
        assert second.read_bytes() == b"box" and second.parent.stat().st_mode & 0o777 == 0o700
        alone.kill()
        alone.wait()
        until = time.monotonic() + 10
        while first.parent.exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert not first.parent.exists(), "whoever looks after it did not"
        os.kill(reaper, signal.SIGKILL)
        both.kill()
        both.wait()
        time.sleep(0.2)
        assert second.exists(), "nobody was left to remove it"
        with served(pool, tmp_path):
            assert not second.parent.exists()
            assert kept.read_bytes() == b"box" and lives.poll() is None
    assert all(other.exists() for other in others)
    assert not (tmp_path / "elsewhere").exists()


def test_who_is_not_heard_of_is_dropped(pool: live.Pool, tmp_path: Path) -> None:
    with served(pool, tmp_path, limits=Limits(idle=0.5)):
        silent = raw(tmp_path)
        assert is_dropped(silent)
        silent.close()


def test_a_connection_is_not_used_by_a_forked_process(server: Server) -> None:
    with live.connect(*door(server, "unix")) as client:
        client._pid += 1
        with pytest.raises(ConnectionLost, match="forked"):
            client.status()
        client._pid -= 1


@pytest.mark.parametrize("text", ["", "http://x:1", "tcp://127.0.0.1", "tcp://:1", "tcp://a:99999"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidJob, match="no address"):
        parse_address(text)
    assert str(parse_address("tcp://[::1]:5")) == "tcp://[::1]:5"


def test_who_takes_too_much_of_a_gpu_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    import objaverse_render_addon.live.vram as vram

    assert parse_used("12, 300\n12, 100\n13, [N/A]\nx\n") == {12: 400 << 20}
    monkeypatch.setattr(vram, "used_by_process", lambda: {7: 3 << 30, 8: 1 << 30})
    limit = VramLimit(2 << 30)
    limit(8)
    with pytest.raises(RenderError, match="3,072 MiB of its GPU"):
        limit(7)


def test_the_command_line_serves_says_how_it_is_and_stops(tmp_path: Path) -> None:
    environment = {
        **os.environ, "PYTHONUNBUFFERED": "",
        "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(live.__file__).parents[2]),
                                                    os.environ.get("PYTHONPATH", "")])),
    }  # fmt: skip
    command = [sys.executable, "-m", "objaverse_render_addon.cli", "serve"]
    process = subprocess.Popen(
        [*command, "--workers", "1", "--device", "cpu", "--json", "--listen", "tcp://127.0.0.1:0"],
        env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        facts = json.loads(process.stdout.readline())
        private, key = facts["addresses"][0], facts["keys"][-1]
        assert private == f"unix:{tmp_path / 'objaverse-render' / 'serve.sock'}"
        with live.connect(key["address"], key["key"]) as client:
            assert isinstance(client, Connection)
        done = subprocess.run(
            [*command, "status"], env=environment, capture_output=True, text=True, check=True
        )
        assert "1 worker\n" in done.stdout and "client" not in done.stdout
        assert "worker cpu 1: idle, not started" in done.stdout
        subprocess.run([*command, "stop"], env=environment, check=True, capture_output=True)
        assert process.wait(20) == 0
        gone = subprocess.run(
            [*command, "status"], env=environment, capture_output=True, text=True, check=False
        )
        assert gone.returncode == ConnectionLost.exit_code
        assert "objaverse-render serve" in gone.stderr
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_limit_that_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "gpus", list)
    with pytest.raises(DeviceUnavailable, match="no limit holds"):
        live.start(1, max_vram=1 << 30)
    live.start(1, max_vram=1 << 30, device="cpu").close()


def test_what_numpy_counts_is_a_shot_and_a_setting_and_one_shot_is_no_list() -> None:
    camera = live.look_at((1, 2, 3))
    shots = [*np.arange(1, 3), (camera, np.int64(5)), camera]
    assert [time for _, time in shots_of(shots, camera)] == [1, 2, 5, None]
    assert all(type(time) is int for _, time in shots_of(shots[:3], camera))
    for one in (camera, 3):
        with pytest.raises(InvalidEdit, match="one shot"):
            list(shots_of(one, camera))  # type: ignore[arg-type]
    for wrong in ("a", (camera, 1, 2), 1.5):
        with pytest.raises(InvalidEdit, match="no shot"):
            list(shots_of([wrong], camera))  # type: ignore[list-item]
    for no_lens in ({"fov": 300}, {"fov": 0}, {"focal_px": -1}, {"focal_px": np.nan}, {}):
        with pytest.raises(InvalidEdit):
            with_lens(camera, **no_lens)
    with pytest.raises(InvalidEdit):
        moved(camera, np.eye(4), fov=0)
    values = values_of({"resolution": np.array([32, 24]), "samples": np.int64(3)})
    job = RenderJob().with_values(values)
    assert job.pixels.resolution == (32, 24) and job.engine.samples == 3


def test_what_is_gone_is_named(server: Server, tmp_path: Path) -> None:
    with live.connect(*door(server, "unix")) as client:
        assert server.addresses[0] in repr(client)
        with pytest.raises(SourceNotFound, match=r"missing\.glb"):
            client.upload(tmp_path / "missing.glb")
        for shots in (None, [(live.look_at((1, 2, 3)), None)]):
            with pytest.raises(UnknownRequest, match="not open"):
                list(client.render_scene(99, shots, RenderOptions()))
    assert "closed" in repr(client) and repr(live.start(2, device="cpu")) == "<Pool: 2 workers>"


def test_a_bad_edit_is_refused_at_once() -> None:
    with pytest.raises(InvalidEdit):
        live.look_at((1, 1, 1), (1, 1, 1))
    assert listen_module.Address(None, "::1", 3).host == "::1"
