"""The fuzzer: a case is a seed and a number; what does not end by name is kept for replay.

Two legs. ``inspector`` is what this program does with a file before Blender sees it, in this
process. ``worker`` is the whole way to a rendered asset. Found is what crashes, hangs, takes too
much memory or ends as ``unexpected-error``; every other named failure is as it should be.
"""

from __future__ import annotations

import contextlib
import json
import re
import resource
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from objaverse_render_addon.assets.check_finite import check_finite
from objaverse_render_addon.assets.formats import inspect_file
from objaverse_render_addon.assets.reach import Reach
from objaverse_render_addon.assets.references import look
from objaverse_render_addon.errors import RenderError, UnexpectedError
from objaverse_render_addon.job import RenderJob
from objaverse_render_addon.worker.protocol import Done, Failed, RenderAsset
from objaverse_render_addon.worker.supervisor import Place, Supervisor

from .mutate import mutated

LEGS: Final = ("inspector", "worker")
SECONDS: Final = {"inspector": 5.0, "worker": 60.0}
MEMORY: Final = {"inspector": 512 << 20, "worker": 3 << 30}
BAD: Final = {"unexpected-error", "worker-crashed", "timeout", "out-of-memory", "render-failed"}
JOB: Final = {
    "cameras": {"views": 1, "pattern": "ring"},
    "pixels": {"resolution": [16, 16], "passes": ["rgb", "depth"]},
    "engine": {"samples": 1, "denoise": False, "device": "cpu"},
}


class Hang(BaseException):
    """It took too long."""


@dataclass
class Tally:
    """What came of a leg's cases.

    Attributes:
        ends: Reason, or ``done``, to number of cases.
        found: What is wrong to number of cases.
    """

    ends: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)


class Fuzzer:
    """Cases from a corpus.

    Args:
        state: Where the corpus, how far each leg is, and what was found are kept.
        seed: Everything follows from it.
    """

    def __init__(self, state: Path, seed: int = 0) -> None:
        self.state, self.seed = state, seed
        self.corpus = state / "corpus"
        if not self.corpus.is_dir():
            from . import corpus

            made = state / "corpus.part"
            shutil.rmtree(made, ignore_errors=True)
            corpus.make(made)
            made.rename(self.corpus)
        self.seeds = sorted(self.corpus.iterdir())
        self._supervisor: Supervisor | None = None

    # --- Cases --------------------------------------------------------------------------------

    def case(self, number: int, folder: Path) -> Path:
        """Write a case into a folder; the file to open."""
        rng = Random(f"{self.seed} {number}")
        source = rng.choice(self.seeds)
        shutil.copytree(source, folder)
        name = f"{source.name.rpartition('-')[0]}.{source.name.rpartition('-')[2]}"
        main = folder / name
        target = main
        if rng.random() < 0.15:
            target = rng.choice(sorted(folder.iterdir()))
        kind = target.suffix.lstrip(".")
        others = []
        if rng.random() < 0.2:
            others = [path.read_bytes() for path in rng.choice(self.seeds).iterdir()]
        target.write_bytes(mutated(target.read_bytes(), kind, rng, others))
        return main

    def run(self, leg: str, count: int, first: int | None = None, seconds: float = 1e9) -> Tally:
        """So many cases, from where the leg stopped last."""
        book = self.state / f"progress-{leg}-{self.seed}.json"
        number = first
        if number is None:
            number = json.loads(book.read_text())["next"] if book.exists() else 0
        tally, end = Tally(), time.monotonic() + seconds
        last = number + count
        while number < last and time.monotonic() < end:
            folder = self.state / f"case-{leg}-{self.seed}"
            shutil.rmtree(folder, ignore_errors=True)
            path = self.case(number, folder)
            ended, why, told = self.judge(leg, path)
            tally.ends[ended] += 1
            if why:
                tally.found[why] += 1
                self._keep(leg, number, path, why, told, tally.found[why])
            number += 1
            if first is None:
                book.write_text(json.dumps({"next": number}))
            shutil.rmtree(folder)
        return tally

    def _keep(
        self, leg: str, number: int, path: Path, why: str, told: str, times: int
    ) -> None:
        """Of each kind a few."""
        if times > 5:
            return
        name = re.sub(r"[^\w.-]+", "-", why)[:80]
        kept = self.state / "found" / f"{leg}-{self.seed}-{number}-{name}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(path.parent, kept / "case")
        about = {
            "leg": leg, "seed": self.seed, "number": number, "file": path.name, "why": why,
            "told": told,
        }  # fmt: skip
        (kept / "about.json").write_text(json.dumps(about, indent=1))

    # --- Judging ------------------------------------------------------------------------------

    def judge(self, leg: str, path: Path) -> tuple[str, str, str]:
        """How a case ended, what is wrong with that (empty if nothing), and what it said."""
        return inspected(path) if leg == "inspector" else self._worked(path)

    def _worked(self, path: Path) -> tuple[str, str, str]:
        if self._supervisor is None:
            scratch = self.state / "scratch"
            self._supervisor = Supervisor(
                Place(threads=1), scratch=scratch, max_memory=MEMORY["worker"], folders=[self.state]
            )
        out = self.state / "out"
        for left in out.glob("*.zip"):
            left.unlink()
        request = RenderAsset(
            str(path), str(path), "asset", RenderJob.from_dict(JOB).to_dict(), str(out), threads=1
        )
        try:
            answer = self._supervisor.ask(request, SECONDS["worker"]).message
        except RenderError as error:
            kind = path.suffix.lstrip(".")
            return error.reason, f"{error.reason} {kind}", f"{error.message}\n{error.log}"
        if isinstance(answer, Done):
            return "done", "", ""
        assert isinstance(answer, Failed)
        wrong = answer.reason in BAD
        last = answer.log.strip().splitlines()[-1:] or [answer.message.rpartition(": ")[2]]
        why = f"{answer.reason} {path.suffix.lstrip('.')} {last[0]}" if wrong else ""
        return answer.reason, why, f"{answer.message}\n{answer.log}"

    def close(self) -> None:
        """End the worker."""
        if self._supervisor is not None:
            self._supervisor.close()


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _bounded(more: int) -> Iterator[None]:
    """What takes too much memory gets a MemoryError, before this machine is full."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def inspected(path: Path) -> tuple[str, str, str]:
    """See :meth:`Fuzzer.judge`."""
    before = _peak()
    started = time.monotonic()
    ended, why, told = "done", "", ""
    try:
        with _within(SECONDS["inspector"]), _bounded(MEMORY["inspector"]):
            kind = inspect_file(path, whole=True)
            found = look(path.resolve(), kind, Reach.of(path))
            if not found.copies and not found.needed:
                check_finite(path, kind)
    except Hang:
        ended, why, told = "hang", "hang " + path.suffix, traceback.format_exc()
    except RenderError as error:
        ended = error.reason
        if isinstance(error, UnexpectedError):
            why, told = "unexpected-error", traceback.format_exc()
    except BaseException as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        ended = "raised"
        why = f"{type(error).__name__} {Path(frame.filename).name} {frame.name}"
        told = traceback.format_exc()
    if not why and _peak() - before > MEMORY["inspector"]:
        why = "memory " + path.suffix
    if not why and time.monotonic() - started > SECONDS["inspector"] / 2:
        why = "slow " + path.suffix
    return ended, why, told


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
