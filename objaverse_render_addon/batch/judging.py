"""Rendered assets judged one by one, by this Python or by another that has the engines.

``python -m PACKAGE.batch.judging TASKS JOBS`` prints one JSON object a line: ``{"judged": row}``
for each asset of the file of tasks, in its order, then ``{"done": how many}``, or ``{"reason": …,
"message": …, "hint": …}`` of an error.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..compose.objects.judging import judged
from ..compose.objects.library import Foreign, LeftOut
from ..compose.telling import tell, told_of
from ..dataset.parallel import mapped
from ..dataset.reader import AssetReader
from .physics import told_by

__all__ = ["Task", "judge"]


@dataclass(frozen=True)
class Task:
    """One asset to judge.

    Attributes:
        path: Its finished folder.
        source: As it was named.
        known: What a list says of it.
        folder: Where ``objects`` is, with the asset in it.
        any_license: As of :func:`..compose.objects.judging.judged`.
    """

    path: str
    source: str
    known: dict[str, Any]
    folder: str
    any_license: bool


def judge(
    tasks: Sequence[Task], jobs: int, python: str | None = None,
    cancel: threading.Event | None = None,
) -> Iterator[Foreign | LeftOut]:  # fmt: skip
    """Objects, or why they are none, in the order of the tasks.

    Args:
        jobs: Processes.
        python: Program with the engines; this one otherwise.
        cancel: Set it, from any thread, to end that program.

    Raises:
        Interrupted: By ``cancel``.
        SourceNotFound: There is no such program.
        UnexpectedError: It ended without a word.
    """
    if python is None:
        yield from mapped(_judge, tasks, min(len(tasks), jobs))
        return
    with tempfile.TemporaryDirectory(prefix="objaverse-judging-") as name:
        path = Path(name) / "tasks.json"
        path.write_text(json.dumps([asdict(task) for task in tasks]), encoding="utf-8")
        for said in told_by(python, "batch.judging", [str(path), str(jobs)], cancel, until="done"):
            row = said.get("judged")
            if row is not None:
                yield Foreign.of(row) if "sha256" in row else LeftOut(**row)


def _judge(task: Task) -> Foreign | LeftOut:
    with AssetReader(task.path) as reader:
        return judged(
            reader, Path(task.folder), task.source, task.known, any_license=task.any_license
        )


def main() -> int:
    """Judge what the file of tasks says."""
    file, jobs = sys.argv[1:]
    tasks = [Task(**row) for row in json.loads(Path(file).read_text(encoding="utf-8"))]

    def work() -> dict[str, Any]:
        for one in judge(tasks, int(jobs)):
            tell(judged=asdict(one))
        return {"done": len(tasks)}

    return told_of(work)


if __name__ == "__main__":
    sys.exit(main())
