"""Makes one scene's file for another process: ``python -m PACKAGE.compose RULES INDEX FOLDER``.

Prints one JSON object a line: ``{"refused": reason, "draw": number}`` for every draw that is none,
and at the end ``{"path": file}``, or ``{"reason": …, "message": …, "hint": …}`` of an error.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from ..errors import RenderError


def _tell(**said: Any) -> None:
    print(json.dumps(said), flush=True)


def main() -> int:
    """Make it."""
    from .make import scene_file

    rules, index, folder = sys.argv[1:]
    try:
        path = scene_file(
            rules, int(index), Path(folder),
            on_refused=lambda draw, why: _tell(draw=draw, refused=why),
        )  # fmt: skip
    except RenderError as error:
        _tell(reason=error.reason, message=error.message, hint=error.hint)
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        _tell(reason="unexpected-error", message=f"{type(error).__name__}: {error}", hint="")
        return 1
    _tell(path=str(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
