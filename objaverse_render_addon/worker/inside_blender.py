"""Run by an installed Blender (``--python``): starts the worker, whatever is installed there.

The package is loaded by its path alone, and its neighbours are left where they are: site-packages
of the Python that started Blender may be built for another one.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path


def _run() -> None:
    package = Path(__file__).resolve().parent.parent
    spec = importlib.util.spec_from_file_location(
        package.name, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[package.name] = module
    spec.loader.exec_module(module)
    importlib.import_module(f"{package.name}.worker.main").main()


if __name__ == "__main__":
    _run()
