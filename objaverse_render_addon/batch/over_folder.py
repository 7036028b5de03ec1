"""What is done with a folder of finished assets beside a window: prove, export, count, credit."""

from __future__ import annotations

import contextlib
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from ..assets.catalogue import Catalogue
from ..dataset.credits import credits_of, render_credits
from ..dataset.export import Options, export
from ..dataset.reader import AssetRef
from ..dataset.stats import Statistics, gather
from ..dataset.stats_page import page
from ..dataset.storage import find_assets
from ..dataset.verify import verify_asset
from ..errors import CheckFailed, Interrupted, RenderError
from ..files import write_whole
from ..words import how_many
from .background import BackgroundJob
from .status import failure_counts

__all__ = ["Credits", "Export", "FolderJob", "StatisticsPage", "Verify"]


class FolderJob(BackgroundJob):
    """Something about every finished asset of a folder.

    Attributes:
        about: What is done, for people.
        said: What was found out, a line each; the first says it all in short.
        trouble: What is wrong, a line each. Where there is any, the job has an error.
    """

    about = ""

    def __init__(self, folder: Path) -> None:
        super().__init__("dataset", self.about)
        self.folder = folder
        self.said: list[str] = []
        self.trouble: list[str] = []

    def assets(self) -> Iterator[AssetRef]:
        """All of them, one by one, while nobody cancels."""

        def broken(where: str, error: RenderError) -> None:
            self.trouble.append(f"{where}: {error.message}")

        found = find_assets(self.folder, on_broken=broken)
        for number, asset in enumerate(found):
            self.progress(number, len(found))
            yield asset

    def progress(self, done: int, total: int) -> None:
        """Tell how far it is, and stop where that is wanted."""
        if self.cancelled.is_set():
            raise Interrupted("Cancelled.")
        self.share = done / max(1, total)
        self.status = f"{self.about}: {done} of {how_many(total, 'asset')}"

    def conclude(self, hint: str) -> None:
        """Raises where something is wrong with an asset."""
        if self.trouble:
            raise CheckFailed(f"{self.said[0]}. {self.trouble[0]}", hint=hint)


class Verify(FolderJob):
    """Prove every asset right, from its files alone."""

    about = "Verify"

    def work(self) -> None:
        """Check them."""
        right = count = 0
        doubts: dict[str, int] = {}
        for asset in self.assets():
            verdict = verify_asset(asset)
            count += 1
            right += verdict.ok
            self.trouble += [f"{asset.id}: {sentence}" for sentence in verdict.failed[:3]]
            for name, views in verdict.doubts.items():
                doubts[name] = doubts.get(name, 0) + len(views)
        self.said.append(f"{right} of {how_many(count, 'asset is', 'assets are')} right")
        self.said += [
            f"Doubt: {name.replace('_', ' ')} in {how_many(views, 'view')}"
            for name, views in sorted(doubts.items())
        ]
        self.conclude("Render them again.")


class Export(FolderJob):
    """Write every asset as a trainer reads it."""

    about = "Export"

    def __init__(self, folder: Path, target: Path, to: str, *, overwrite: bool = False) -> None:
        super().__init__(folder)
        self._target, self._to, self._overwrite = target, to, overwrite

    def work(self) -> None:
        """Export them."""
        report = export(
            self.folder, self._target, self._to, Options(), overwrite=self._overwrite,
            on_outcome=lambda _, done, total: self.progress(done, total),
        )  # fmt: skip
        scenes, views = how_many(report.scenes, "scene"), how_many(report.views, "view")
        self.said.append(f"{self._target}: {scenes}, {views}")
        self.said += [f"{note['kind'].capitalize()}: {note['text']}" for note in report.notes]
        self.trouble += [f"{each.asset}: {each.error}" for each in report.failed]
        self.conclude("The other assets are exported.")


class StatisticsPage(FolderJob):
    """Make the page about the whole of a dataset; ``show`` opens it in the web browser."""

    about = "Statistics"

    def __init__(self, folder: Path, *, show: bool) -> None:
        super().__init__(folder)
        self._show = show

    def work(self) -> None:
        """Read them, and write the page."""
        total = Statistics()
        for found in gather(self.assets()):
            total.merge(found)
        total.failed = failure_counts(self.folder)
        record = {"dataset": str(self.folder), **total.to_dict()}
        target = self.folder / "stats.html"
        write_whole(target, page(str(self.folder), record).encode())
        assets, views = how_many(total.assets, "asset"), how_many(total.views, "view")
        self.said.append(f"{assets}, {views}: {target}")
        self.trouble += [f"{where}: {why}" for where, why in total.examples]
        if self._show:
            webbrowser.open(target.resolve().as_uri())


class Credits(FolderJob):
    """Write the credits that the assets' licenses ask for."""

    about = "Credits"

    def __init__(self, folder: Path, download_dir: str | None) -> None:
        super().__init__(folder)
        self._cache = Path(download_dir).expanduser() if download_dir else None

    def work(self) -> None:
        """Read the licenses, and write ``CREDITS.md``."""
        catalogue = Catalogue.existing(self._cache)
        with catalogue or contextlib.nullcontext():
            found, broken = credits_of(self.assets(), catalogue.known if catalogue else None)
        target = self.folder / "CREDITS.md"
        write_whole(target, render_credits(found, ".md").encode())
        self.said.append(f"Credits of {how_many(len(found), 'asset')}: {target}")
        cautions: dict[str, int] = {}
        for credit in found:
            for caution in credit.license.cautions:
                cautions[caution] = cautions.get(caution, 0) + 1
        self.said += [f"{name}: {how_many(n, 'asset')}" for name, n in sorted(cautions.items())]
        self.trouble += [f"{where}: {error.message}" for where, error in broken]
        self.conclude("Render them again.")
