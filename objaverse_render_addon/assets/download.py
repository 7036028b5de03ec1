"""Fetch a file over HTTP so that it is whole, or not there at all.

Downloads go to a ``.part`` beside the target and are renamed when they are complete. What broke
off is continued where the server allows it. Retries, back-off and ``Retry-After`` are urllib3's.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import DownloadFailed, Interrupted, from_os_error

if TYPE_CHECKING:
    import requests

__all__ = ["download", "new_session"]

TIMEOUT: Final = (10.0, 60.0)
RETRIES: Final = 4
BACKOFF: Final = 0.5
"""Seconds before the second attempt; twice as long before each one after it."""
LONGEST_WAIT: Final = 60.0
"""Seconds that a server may ask to wait (``Retry-After``)."""
MAX_BYTES: Final = 8 << 30
# A reader waits for a whole chunk; small ones let a slow download be stopped.
_CHUNK: Final = 1 << 15
_PASSING: Final = (408, 429, 500, 502, 503, 504)

Progress = Callable[[int, int], None]


def new_session() -> requests.Session:
    """A session that says who asks, where ``HF_TOKEN`` does."""
    import requests

    session = requests.Session()
    token = os.environ.get("HF_TOKEN")
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    return session


def download(
    session: requests.Session,
    url: str,
    target: Path,
    *,
    on_progress: Progress | None = None,
    cancel: threading.Event | None = None,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Fetch ``url`` to ``target``.

    Args:
        on_progress: Told bytes so far and bytes expected (0 where the server does not say).
        cancel: Set it, from any thread, to stop.

    Raises:
        DownloadFailed: With the server's or the network's reason; a ``.part`` may stay, and the
            next call goes on from it.
        OutputNotWritable, DiskFull
        Interrupted: By ``cancel``.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, str(target.parent)) from error
    with _claimed_part(target) as part:
        for attempt in range(RETRIES + 1):
            try:
                _attempt(session, url, part, on_progress, cancel, max_bytes)
                break
            except _Broken as error:
                if attempt == RETRIES:
                    hint = error.hint or "Try again; it goes on from there."
                    raise DownloadFailed(f"{url}: {error}.", hint=hint) from error
                _wait(min(max(error.wait, BACKOFF * 2**attempt), LONGEST_WAIT), cancel)
        try:
            part.replace(target)
        except OSError as error:
            raise from_os_error(error, str(target)) from error
    return target


class _Broken(Exception):
    """It may go better the next time; what came can be kept.

    Attributes:
        wait: Seconds that the server asks for.
        hint: For when it does not go better.
    """

    def __init__(self, message: str, wait: float = 0.0, hint: str = "") -> None:
        super().__init__(message)
        self.wait = wait
        self.hint = hint


@contextlib.contextmanager
def _claimed_part(target: Path) -> Iterator[Path]:
    """What an earlier attempt left of ``target``, or a new file, for this thread alone.

    Two runs may want the same object: whoever renames the rest goes on from it, and the other
    one begins anew, instead of both appending to one file.
    """
    left = target.with_name(f".{target.name}.part")
    mine = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    with contextlib.suppress(OSError):
        left.replace(mine)
    try:
        yield mine
    finally:
        with contextlib.suppress(OSError):
            mine.replace(left)


def _wait(seconds: float, cancel: threading.Event | None) -> None:
    if cancel is None:
        time.sleep(seconds)
    else:
        cancel.wait(seconds)


def _attempt(
    session: requests.Session,
    url: str,
    part: Path,
    on_progress: Progress | None,
    cancel: threading.Event | None,
    max_bytes: int,
) -> None:
    import requests

    if cancel is not None and cancel.is_set():
        raise Interrupted(f"The download of {url} was stopped.")
    have = part.stat().st_size if part.is_file() else 0
    # Compressed transfer would make lengths and ranges mean something else.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:
                part.unlink(missing_ok=True)
                raise _Broken("what was fetched before does not fit the file")
            if answer.status_code in _PASSING:
                raise _Broken(
                    f"the server answers {answer.status_code} {answer.reason}",
                    _retry_after(answer),
                    _HINTS.get(answer.status_code, "Try again later."),
                )
            if answer.status_code not in (200, 206):
                raise DownloadFailed(
                    f"{url}: the server answers {answer.status_code} {answer.reason}.",
                    hint=_HINTS.get(answer.status_code, "Check the identifier and the mirror."),
                )
            if answer.status_code == 206 and _range_start(answer) != have:
                part.unlink(missing_ok=True)
                raise _Broken("the server sent another part of the file than asked for")
            if answer.status_code == 200:
                have = 0
            length = answer.headers.get("Content-Length", "")
            total = have + int(length) if length.isdecimal() else 0
            if total > max_bytes:
                raise DownloadFailed(f"{url} has {total} bytes; {max_bytes} are allowed.")
            with part.open("ab" if have else "wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    if cancel is not None and cancel.is_set():
                        raise Interrupted(f"The download of {url} was stopped.")
                    file.write(chunk)
                    have += len(chunk)
                    if have > max_bytes:
                        raise DownloadFailed(f"{url} has more than {max_bytes} bytes.")
                    if on_progress:
                        on_progress(have, total)
                file.flush()
                os.fsync(file.fileno())
            if total and have != total:
                raise _Broken(f"it broke off after {have} of {total} bytes")
    except requests.RequestException as error:
        if isinstance(error, ValueError):
            # The address itself is wrong.
            raise DownloadFailed(f"{url}: {error}.", hint="Check the mirror's address.") from error
        raise _Broken(_cause(error)) from error
    except OSError as error:
        raise from_os_error(error, str(part)) from error


_HINTS: Final = {
    401: "Set HF_TOKEN to a token that may read it.",
    403: "Set HF_TOKEN to a token that may read it.",
    404: "There is no such object; check its identifier.",
    429: "The server asks to slow down; try again later.",
}


def _range_start(answer: requests.Response) -> int:
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(match.group(1)) if match else -1


def _retry_after(answer: requests.Response) -> float:
    """Seconds; a date is taken as no wish, for the clocks may differ."""
    text = answer.headers.get("Retry-After", "").strip()
    return float(text) if text.isdecimal() else 0.0


def _cause(error: Exception) -> str:
    text = str(error)
    with contextlib.suppress(IndexError, AttributeError):
        reason = error.args[0].reason
        text = str(reason).rsplit(": ", 1)[-1] or text
    return text or type(error).__name__
