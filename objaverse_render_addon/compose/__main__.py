"""Makes one scene's file for another process: ``python -m PACKAGE.compose RULES INDEX FOLDER``.

Prints one JSON object a line: ``{"refused": reason, "draw": number}`` for every draw that is none,
and at the end ``{"path": file}``, or ``{"reason": …, "message": …, "hint": …}`` of an error.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .telling import tell, told_of


def main() -> int:
    """Make it."""
    from .make import scene_file

    rules, index, folder = sys.argv[1:]

    def work() -> dict[str, Any]:
        path = scene_file(
            rules, int(index), Path(folder),
            on_refused=lambda draw, why: tell(draw=draw, refused=why),
        )  # fmt: skip
        return {"path": str(path)}

    return told_of(work)


if __name__ == "__main__":
    sys.exit(main())
