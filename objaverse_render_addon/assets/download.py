"""Fetch files over HTTP: :func:`download`, and the session that it goes through."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack
from urllib.parse import urlsplit

from ..errors import DownloadFailed, RenderError
from ..words import redacted
from . import transfer as limits
from .transfer import CHUNK, ByteProgress, Stream, TransferBroken, TransferOptions, pause, transfer

if TYPE_CHECKING:
    import requests

__all__ = ["ByteProgress", "Session", "download", "hub_endpoint", "new_session"]

TIMEOUT: Final = (10.0, 30.0)
"""Seconds to connect, and between two packets."""
PER_HOST: Final = 4
_STALLS: Final = 5
"""Attempts in a row that a server may stall before each file gets one only."""
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)
_GONE: Final = (404, 410, 451)


def hub_endpoint(endpoint: str | None = None) -> str:
    """The server of the data sets: as given, ``HF_ENDPOINT``, or Hugging Face."""
    return (endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


class Session:
    """Connections, how many of them one server gets, and who may see ``HF_TOKEN``.

    Args:
        endpoint: Server of the data sets, the only one that is shown the token and whose ETags
            are taken for SHA-256 sums where they look like one.
        per_host: Requests to one server at a time.
    """

    def __init__(self, endpoint: str | None = None, per_host: int = PER_HOST) -> None:
        import requests

        self._hub = urlsplit(hub_endpoint(endpoint))
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _adapter()(pool_maxsize=max(per_host, 1)))
        self._per_host, self._guard = max(per_host, 1), threading.Lock()
        self._turns: dict[str, threading.BoundedSemaphore] = {}
        self._not_before: dict[str, float] = {}
        self._stalls: Counter[str] = Counter()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def is_hub(self, url: str) -> bool:
        """Whether an address is on the server of the data sets."""
        parts = urlsplit(url)
        return (parts.scheme, parts.netloc) == (self._hub.scheme, self._hub.netloc)

    def get(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Send a request; ``requests`` leaves the token out where it is sent elsewhere."""
        token = os.environ.get("HF_TOKEN", "").strip()
        if token and self.is_hub(url):
            headers = {**headers, "Authorization": f"Bearer {token}"}
        return self._session.get(url, headers=headers, stream=True, timeout=TIMEOUT)

    @contextlib.contextmanager
    def turn(self, url: str, cancel: threading.Event | None = None) -> Iterator[None]:
        """Wait for a place at this server, and for as long as it asked everybody to wait.

        Raises:
            Interrupted: By ``cancel``.
        """
        host = urlsplit(url).netloc
        with self._guard:
            places = self._turns.setdefault(host, threading.BoundedSemaphore(self._per_host))
        while not places.acquire(timeout=0.1):
            pause(0.0, cancel, redacted(url))
        try:
            while (rest := self._not_before.get(host, 0.0) - time.monotonic()) > 0:
                pause(min(rest, 0.5), cancel, redacted(url))
            yield
        finally:
            places.release()

    def retries(self, url: str, error: TransferBroken) -> int:
        """How often to try again after an attempt that broke off.

        A server that kept us waiting a few times in a row is not worth more of them.
        """
        host = urlsplit(url).netloc
        if not error.stalled:
            return limits.RETRIES
        self._stalls[host] += 1
        return limits.RETRIES if self._stalls[host] < _STALLS else 0

    def went_well(self, url: str) -> None:
        """A file came from this server."""
        self._stalls.pop(urlsplit(url).netloc, None)

    def hold(self, url: str, seconds: float) -> None:
        """Nobody asks this server before so many seconds have passed."""
        until = time.monotonic() + min(seconds, limits.LONGEST_WAIT)
        host = urlsplit(url).netloc
        self._not_before[host] = max(until, self._not_before.get(host, 0.0))


def new_session(endpoint: str | None = None, per_host: int = PER_HOST) -> Session:
    """A :class:`Session`."""
    return Session(endpoint, per_host)


def download(
    session: Session,
    url: str,
    target: Path,
    *,
    gone: type[RenderError] = DownloadFailed,
    **wishes: Unpack[TransferOptions],
) -> Path:
    """Fetch ``url`` to ``target``; see :func:`transfer` for what else it takes and raises.

    Args:
        gone: What is raised where the server has no such file.
    """
    name = redacted(url)

    def opener(
        have: int, validator: str, leave_by: Callable[[Callable[[], None]], None]
    ) -> AbstractContextManager[Stream]:
        _connections.opened = lambda connection: leave_by(functools.partial(_hang_up, connection))
        return _answer(session, url, name, have, validator, gone)

    turn = functools.partial(session.turn, url, wishes.get("cancel"))
    retries = functools.partial(session.retries, url)
    path = transfer(opener, name, target, turn=turn, retries=retries, **wishes)
    session.went_well(url)
    return path


@contextlib.contextmanager
def _answer(
    session: Session, url: str, name: str, have: int, validator: str, gone: type[RenderError]
) -> Iterator[Stream]:
    import requests

    # Compressed transfer would make lengths and ranges mean something else.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    try:
        with session.get(url, headers) as answer:
            code = answer.status_code
            if code == 416:
                # Asked for without a range the next time: `another file` removes the part.
                yield Stream(-1, 0, "", "", iter(()))
                return
            if code in _PASSING:
                wait = _retry_after(answer)
                session.hold(url, wait)
                raise TransferBroken(
                    f"the server answers {code} {answer.reason}",
                    wait,
                    _HINTS.get(code, "Try again later."),
                )
            if code not in (200, 206):
                kind = gone if code in _GONE else DownloadFailed
                raise kind(
                    f"{name}: the server answers {code} {answer.reason}.",
                    hint=_HINTS[401]
                    if code in (401, 403) and session.is_hub(url)
                    else _HINTS.get(code, "Check the address and the mirror."),
                )
            encoded = answer.headers.get("Content-Encoding", "identity") not in ("", "identity")
            length = answer.headers.get("Content-Length", "")
            start, total = 0, int(length) if length.isdecimal() and not encoded else 0
            if code == 206:
                start, total = _range(answer)
            yield Stream(
                start,
                total,
                "" if encoded else _validator(answer),
                _published(answer, session),
                answer.iter_content(CHUNK),
            )
    except requests.exceptions.SSLError as error:
        if "CERTIFICATE_VERIFY_FAILED" not in str(error):
            raise TransferBroken(_cause(error)) from error
        raise DownloadFailed(
            f"{name}: {_cause(error)}.",
            hint="Nobody whom this machine trusts vouches for the server; REQUESTS_CA_BUNDLE names "
            "a file of others.",
        ) from error
    except requests.RequestException as error:
        if isinstance(error, ValueError):
            # The address itself is wrong.
            raise DownloadFailed(f"{name}: {error}.", hint="Check the address.") from error
        raise TransferBroken(_cause(error)) from error


_connections: Final = threading.local()
"""``opened``, of a thread: told of each connection that is about to be read from."""


@functools.cache
def _adapter() -> Any:
    """What ``requests`` connects with; its connections tell of themselves."""
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

    def telling(kind: Any) -> Any:
        class Telling(kind.ConnectionCls):  # type: ignore[misc]
            def getresponse(self, *arguments: Any, **settings: Any) -> Any:
                # Before the first line of the answer, which may come a byte at a time.
                opened = getattr(_connections, "opened", None)
                if opened is not None:
                    opened(self.sock)
                return super().getresponse(*arguments, **settings)

        return type(kind.__name__, (kind,), {"ConnectionCls": Telling})

    pools = {"http": telling(HTTPConnectionPool), "https": telling(HTTPSConnectionPool)}

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **settings: Any) -> None:
            super().init_poolmanager(*arguments, **settings)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *arguments: Any, **settings: Any) -> Any:
            manager = super().proxy_manager_for(*arguments, **settings)
            manager.pool_classes_by_scheme = pools
            return manager

    return Adapter


def _hang_up(connection: socket.socket) -> None:
    """Close it under whoever reads from it: no timeout ends what trickles."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        connection.shutdown(socket.SHUT_RDWR)


_HINTS: Final = {
    401: "Set HF_TOKEN to a token that may read it.",
    403: "It is not for everybody; fetch it by hand, and give its path.",
    404: "There is no such object; check its identifier.",
    429: "The server asks to slow down; try again later.",
}


def _range(answer: requests.Response) -> tuple[int, int]:
    """First position and whole length; -1 and 0 where the answer does not say."""
    match = re.match(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    return (int(match[1]), int(match[2])) if match else (-1, 0)


def _validator(answer: requests.Response) -> str:
    """A strong one, for nothing else may be used with ranges (RFC 9110, 13.1.5)."""
    tag = answer.headers.get("ETag", "")
    if tag.startswith('"') and tag.isascii() and tag.isprintable():
        return str(tag)
    modified = answer.headers.get("Last-Modified", "")
    return str(modified) if _date(modified) else ""


def _published(answer: requests.Response, session: Session) -> str:
    """SHA-256 of the whole file, where the server says it.

    Hugging Face gives it as ``X-Linked-Etag``, beside the address that it sends the reader on to,
    or as ``ETag``; either is a Git hash of 40 digits for small files.
    """
    steps = [*answer.history, answer]
    for step in filter(lambda step: session.is_hub(step.url), steps):
        # Where a server sends us on, its own ETag is that of the way.
        for name in ("X-Linked-Etag", "ETag") if len(steps) == 1 else ("X-Linked-Etag",):
            tag = step.headers.get(name, "").removeprefix("W/").strip('"')
            if re.fullmatch(r"[0-9a-f]{64}", tag):
                return str(tag)
    return ""


def _retry_after(answer: requests.Response) -> float:
    """Seconds; a date counts from the server's own clock."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    until, now = _date(text), _date(answer.headers.get("Date", ""))
    return max(0.0, (until - now).total_seconds()) if until and now else 0.0


def _date(text: str) -> Any:
    with contextlib.suppress(TypeError, ValueError, IndexError):
        moment = parsedate_to_datetime(text)
        return moment if moment.tzinfo else None
    return None


def _cause(error: Exception) -> str:
    text = str(error)
    inner = error.args[0] if error.args else None
    if isinstance(inner, Exception) and len(inner.args) > 1 and isinstance(inner.args[0], str):
        # Words, and the error that they came from.
        return inner.args[0]
    with contextlib.suppress(IndexError, AttributeError):
        reason = error.args[0].reason
        text = str(reason).rsplit(": ", 1)[-1] or text
    return text or type(error).__name__
