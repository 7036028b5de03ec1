"""Exports that are made while a run goes on, of each asset as soon as it is finished."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from ..dataset.export import Report as ExportReport
from ..dataset.export import export_asset, finish_export
from ..dataset.export.run import format_named
from ..dataset.reader import AssetReader
from ..errors import RenderError, UnexpectedError
from .results import AssetResult

__all__ = ["Exports"]


class Exports:
    """Exports finished assets in a thread of its own; a context manager that waits for the last.

    Args:
        targets: Format to folder.

    Attributes:
        errors: What could not be exported; the assets are in the dataset all the same.
        reports: Of each format, once all is done.

    Raises:
        InvalidJob, MissingDependency: There is no such format, or not what it needs.
    """

    def __init__(self, targets: dict[str, Path]) -> None:
        for name in targets:
            format_named(name)
        self._targets = targets
        self._pool = ThreadPoolExecutor(1, "export")
        self.errors: list[RenderError] = []
        self.reports: list[ExportReport] = []

    def __enter__(self) -> Exports:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True)
        for name, target in self._targets.items():
            # Also after an interruption: lists name what is there.
            if target.is_dir():
                self.reports.append(finish_export(target, name))

    def take(self, result: AssetResult) -> None:
        """An asset ended."""
        if result.status == "failed" or result.path is None:
            return
        where = str(result.path)
        if where.endswith(".tar") and Path(where).stem != result.asset_id:
            where = f"{where}/{result.asset_id}"
        if self._targets:
            self._pool.submit(self._export, where)

    def _export(self, where: str) -> None:
        for name, target in self._targets.items():
            try:
                with AssetReader(where) as reader:
                    outcome = export_asset(reader, target, name)
                if outcome.error is not None:
                    self.errors.append(outcome.error)
            except RenderError as error:
                self.errors.append(error)
            except Exception as error:
                self.errors.append(
                    UnexpectedError(f"{where}, to {name}: {type(error).__name__}: {error}")
                )
