"""What a process of another Python tells the one that started it: a JSON object a line."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from typing import Any

from ..errors import RenderError

__all__ = ["tell", "told_of"]


def tell(**said: Any) -> None:
    """Print an object."""
    print(json.dumps(said), flush=True)


def told_of(work: Callable[[], dict[str, Any]]) -> int:
    """Do it, and tell what it gives, or ``reason``, ``message`` and ``hint`` of its error.

    Returns:
        The process's exit code.
    """
    try:
        found = work()
    except RenderError as error:
        tell(reason=error.reason, message=error.message, hint=error.hint)
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        tell(reason="unexpected-error", message=f"{type(error).__name__}: {error}", hint="")
        return 1
    tell(**found)
    return 0
