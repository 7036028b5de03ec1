from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analytic import write_asset
from stored import LAYOUTS, store

from objaverse_render_addon import dataset
from objaverse_render_addon.batch.queue.ledger import Ledger
from objaverse_render_addon.cli import main
from objaverse_render_addon.dataset.histogram import Histogram
from objaverse_render_addon.dataset.layout import METADATA
from objaverse_render_addon.dataset.stats import ELEVATIONS, Statistics, gather, summary_of
from objaverse_render_addon.dataset.stats_page import _mollweide, page
from objaverse_render_addon.job import CameraRules, Files, Pixels, RenderJob, TimeRules


def job_of(pattern: str = "ring", views: int = 4, **cameras: Any) -> RenderJob:
    return RenderJob(
        cameras=CameraRules(pattern=pattern, views=views, **cameras),
        pixels=Pixels(resolution=(48, 40)), files=Files(layout="folder"),
    )


def total_of(assets: Any, **options: Any) -> Statistics:
    total = Statistics()
    for found in gather(assets, **options):
        total.merge(found)
    return total


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("folders")

    def tell(_: Any, record: dict[str, Any]) -> None:
        record["warnings"] = ["missing-textures: two", "missing-textures: three", "odd: x"]
        record["seconds"] = {"total": 8.0, "colour": 5.0, "import": 1.5}
        record["faces_rendered"] = 1234
        record["scene_size"] = {"bbox_min": [0, 0, 0], "bbox_max": [1, 5, 2]}
        record["license"] = "by"

    return [write_asset(out, job_of(), name, change=tell) for name in ("a", "b", "c")]


# --- What moves --------------------------------------------------------------------------------


def moving_asset(out: Path, name: str, motion: float) -> Path:
    """Two views at three frames; half of the object's pixels move by 5 pixels, a quarter hides."""

    def move(frames: list[Any], record: dict[str, Any]) -> None:
        record["time"]["motion"] = motion
        for frame in frames:
            rows, columns = np.nonzero(frame.passes["mask"])
            some, few = len(rows) // 2, len(rows) // 4
            if frame.time != 9 and motion:
                frame.passes["flow_forward"][rows[:some], columns[:some]] = 3, -4
                frame.passes["occlusion_forward"][rows[:few], columns[:few]] = 1

    job = RenderJob(
        cameras=CameraRules(pattern="ring", views=2), files=Files(layout="folder"),
        time=TimeRules(frames="all"),
        pixels=Pixels(
            resolution=(48, 40), passes=("mask", "flow_forward", "occlusion_forward")
        ),
    )  # fmt: skip
    return write_asset(out, job, name, change=move, times=(1, 5, 9))


def test_motion_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    moving_asset(tmp_path / "data", "walks", 0.25)
    moving_asset(tmp_path / "data", "stands", 0.0)
    found = total_of(dataset.open(tmp_path / "data"), views=6).to_dict()
    assert [found[name] for name in ("animated", "still", "frames")] == [2, 1, 6]
    plots = found["histograms"]
    assert (plots["motion"]["min"], plots["motion"]["max"]) == (0, 0.25)
    assert plots["frames_per_asset"]["mean"] == 3
    # Of two views at two frames that lead to another; at the last nothing is known.
    assert (plots["flow"]["min"], plots["flow"]["max"]) == (5, 5)
    assert plots["moving"]["count"] == 8
    assert plots["moving"]["max"] == pytest.approx(0.5, abs=0.01)
    assert plots["moving"]["mean"] == pytest.approx(0.25, abs=0.01)
    assert plots["occluded"]["max"] == pytest.approx(0.25, abs=0.01)
    assert main(["stats", str(tmp_path / "data"), "-o", str(tmp_path / "s.html")]) == 0
    said = capsys.readouterr()
    assert "2 animations, 6 frames, nothing moves in 1" in said.out + said.err
    html = (tmp_path / "s.html").read_text()
    assert "Occluded" in html and "animations in which nothing moves" in html


def test_stills_have_no_plots_of_motion(folders: list[Path]):
    found = total_of(dataset.open(folders[0].parent)).to_dict()
    assert (found["animated"], found["frames"]) == (0, 0)
    html = page("here", found)
    assert "Occluded" not in html and "nothing moves" not in html


# --- What is counted ------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_ring_of_cameras_is_told_as_it_is(tmp_path: Path, folders: list[Path], layout: str):
    store(folders, tmp_path, layout)
    found = total_of(dataset.open(tmp_path)).to_dict()
    assert (found["assets"], found["views"], found["views_read"]) == (3, 12, 12)
    plots = found["histograms"]
    assert plots["fov_degrees"]["median"] == pytest.approx(45, abs=1e-3)
    assert plots["views_per_asset"] | {"edges": [], "counts": []} == {
        "count": 3, "odd": 0, "min": 4, "max": 4, "mean": 4, "p5": 4, "median": 4, "p95": 4,
        "log": False, "edges": [], "counts": [],
    }  # fmt: skip
    assert plots["faces"]["min"] == plots["faces"]["max"] == 1234
    assert plots["extent"]["max"] == 5
    assert plots["seconds"]["mean"] == 8
    assert found["stage_seconds"] == {"colour": 15.0, "import": 4.5}
    # A warning counts once an asset.
    assert found["warnings"] == {"missing-textures": 3, "odd": 3}
    assert found["kinds"]["camera pattern"] == {"ring": 3}
    assert found["kinds"]["licence"] == {"by": 3}
    assert found["checks"]["finite"] == {"ok": 12}
    assert found["unreadable"] == {}
    sphere = np.array(found["sphere"])
    assert sphere.sum() == 12
    assert (sphere.sum(axis=1) > 0).sum() <= 2


def test_coverage_and_depth_are_those_of_the_pixels(folders: list[Path]):
    found = total_of(dataset.open(folders[0]), views=100)
    with dataset.open(folders[0])[0].open() as reader:
        arrays = [reader.read(index) for index in range(4)]
    depth = np.concatenate([part["depth"][part["mask"] == 1] for part in arrays])
    coverage = [float(part["mask"].mean()) for part in arrays]
    assert found.histograms["depth"].count == len(depth)
    assert found.histograms["depth"].low == depth.min()
    assert found.histograms["depth"].high == depth.max()
    middle = found.histograms["depth"].quantile(0.5)
    assert middle == pytest.approx(np.median(depth), rel=10**0.02 - 1)
    assert found.histograms["coverage"].low == pytest.approx(min(coverage))
    assert found.histograms["coverage"].total == pytest.approx(sum(coverage))


def test_uniform_directions_fill_the_bands_of_equal_area_evenly(tmp_path: Path):
    job = job_of("fibonacci", views=ELEVATIONS * 10)
    found = summary_of(dataset.open(write_asset(tmp_path, job))[0], views=0)
    assert found.views_read == 0
    # The object's centre is not the origin that the pattern stands around.
    assert np.abs(found.sphere.sum(axis=1) - 10).max() <= 3


def test_processes_and_order_change_nothing(folders: list[Path]):
    assets = dataset.open(folders[0].parent)
    assert total_of(assets).to_dict() == total_of(assets, jobs=2).to_dict()


def test_what_cannot_be_read_is_counted_by_its_reason(tmp_path: Path, folders: list[Path]):
    store(folders, tmp_path, "zip")
    (tmp_path / "b.zip").write_bytes(b"no archive")
    (tmp_path / "c.zip").unlink()
    found = total_of(dataset.open(tmp_path)).to_dict()
    assert found["unreadable"] == {"truncated-file": 1}
    assert found["assets"] == 2 and found["views"] == 4
    assert "b.zip" in found["examples"][0]["asset"]


HOSTILE = [
    {"warnings": [f"name {i}: x" for i in range(5000)]},
    {"warnings": 3, "seconds": [], "scene_size": "x", "render_settings": {
        "modalities": ["depth"], "num_views": 4}},
    {"faces_rendered": 10**400, "file_size": -5},
    {"faces_rendered": math.nan, "seconds": {"total": math.inf, "x": "y"}},
    {"license": {"a": ["<script>"]}, "file_type": "x" * 100_000},
    {"scene_size": {"bbox_min": [1e308, 0, 0], "bbox_max": [-1e308, None, 0]}},
    {"normalization": 3},
    {"views": "none"},
    {"views": []},
]  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE, ids=range(len(HOSTILE)))
def test_metadata_of_any_kind_end_in_a_page(tmp_path: Path, folders: list[Path], change: Any):
    asset = Path(shutil.copytree(folders[0], tmp_path / "a"))
    record = json.loads((asset / METADATA).read_text()) | change
    (asset / METADATA).write_text(json.dumps(record))
    total = total_of(dataset.open(tmp_path))
    found = total.to_dict()
    json.loads(json.dumps(found, allow_nan=False))
    assert len(found["warnings"]) <= 201
    assert len(page("here", found)) < 300_000


@pytest.mark.parametrize("log", [False, True])
def test_a_histogram_counts_like_numpy(log: bool):
    rng = np.random.default_rng(3)
    values = 10 ** rng.normal(0, 1.5, 4000) if log else rng.normal(0, 40, 4000)
    histogram = Histogram(0.1 if log else 2.5, log=log)
    other = Histogram(0.1 if log else 2.5, log=log)
    histogram.add(values[:1000])
    other.add(values[1000:])
    histogram.merge(other)
    found = histogram.to_dict()
    assert sum(found["counts"]) == found["count"] == 4000
    counts, _ = np.histogram(values, np.array(found["edges"]))
    assert np.abs(counts - found["counts"]).max() <= 1  # Edges are written with six digits.
    assert found["mean"] == pytest.approx(values.mean())
    for name, share in (("p5", 5), ("median", 50), ("p95", 95)):
        exact = np.percentile(values, share)
        gap = abs(exact) * (10**0.1 - 1) if log else 2.5
        assert abs(found[name] - exact) <= gap


def test_a_histogram_stays_small_whatever_comes():
    for histogram in (Histogram(0.02, log=True), Histogram(1.0)):
        histogram.add([1e-320, 1e300, -1e300, math.nan, math.inf, 0.0, 1e18, 5.0])
        assert len(histogram.to_dict()["edges"]) < 20_002
        assert histogram.count + histogram.odd == 8


def test_the_projection_keeps_areas():
    # Equal bands of sine times equal steps of azimuth are equal areas of the plane.
    areas = []
    for low in np.linspace(-0.9, 0.8, 9):
        left = [_mollweide(0.3, s) for s in np.linspace(low, low + 0.1, 40)]
        right = [_mollweide(0.4, s) for s in np.linspace(low, low + 0.1, 40)]
        x, y = np.array(left + right[::-1]).T
        areas.append(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)
    assert np.ptp(areas) / np.mean(areas) < 1e-3
    assert _mollweide(0.5, 0.0) == pytest.approx((0, 0))
    assert _mollweide(1.0, 0.0) == pytest.approx((1, 0))
    assert _mollweide(0.2, 1.0) == pytest.approx((0, 1), abs=1e-2)


# --- The page and the command ---------------------------------------------------------------


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_loads_nothing_and_runs_nothing(folders: list[Path]):
    found = total_of(dataset.open(folders[0].parent)).to_dict()
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    found["warnings"] = {evil: 3}
    found["kinds"] = {evil: {evil: 2}}
    found["checks"][evil] = {"ok": 1}
    found["examples"] = [{"asset": evil, "error": evil}]
    found["unreadable"] = found["failed"] = found["stage_seconds"] = {evil: 1}
    text = page(evil, found)
    tags = Tags()
    tags.feed(text)
    names = {tag for tag, _ in tags.found}
    assert names.isdisjoint({"script", "img", "link", "iframe", "object", "image", "use", "a"})
    for _, attributes in tags.found:
        assert not any(name.startswith("on") or name in ("src", "href") for name in attributes)
    assert "url(" not in text and "@import" not in text
    assert "default-src 'none'" in text
    assert text.count("&lt;script&gt;") >= 8
    svgs = [attributes for tag, attributes in tags.found if tag == "svg"]
    assert len(svgs) >= 4 and all(svg["role"] == "img" and svg["aria-label"] for svg in svgs)


def test_the_command_writes_a_page_and_tells_the_essentials(
    tmp_path: Path, folders: list[Path], capsys: pytest.CaptureFixture[str]
):
    store(folders, tmp_path, "zip")
    assert main(["stats", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "3 assets, 12 views" in out
    assert re.search(r"Field of view +median 45.0° ", out)
    assert re.search(r"Source file +median [0-9.]+ (B|[KM]iB) ", out)
    assert "warning: odd 3" in out
    assert "<svg" in (tmp_path / "stats.html").read_text()
    other = tmp_path / "new" / "page.html"
    assert main(["stats", str(tmp_path), "-o", str(other), "--json", "--views", "0"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["views"] == 12 and record["views_read"] == 0
    assert other.exists()
    # The page is no asset.
    assert len(dataset.open(tmp_path)) == 3


def test_what_a_run_could_not_render_is_in_the_page(
    tmp_path: Path, folders: list[Path], capsys: pytest.CaptureFixture[str]
):
    store(folders, tmp_path, "zip")
    path = tmp_path / ".state" / "ledger.sqlite"
    Ledger(path).close()
    import sqlite3

    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO requests VALUES (1, 'x')")
        for number, reason in enumerate(["no-geometry", "timeout", "timeout"]):
            database.execute(
                "INSERT INTO assets (request, source, state, reason) VALUES (1, ?, 'failed', ?)",
                (f"s{number}", reason),
            )
    database.close()
    assert main(["stats", str(tmp_path), "--json", "--views", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["failed"] == {"timeout": 2, "no-geometry": 1}
    assert "no-geometry" in (tmp_path / "stats.html").read_text()


def picture_of(text: str, folder: Path, width: int, height: int) -> np.ndarray:
    """RGB of the page as Chromium shows it, without a complaint."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not here.")
    (folder / "stats.html").write_text(text)
    done = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={folder}/profile", f"--window-size={width},{height}",
         "--hide-scrollbars", f"--screenshot={folder}/page.png",
         (folder / "stats.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    from PIL import Image

    with Image.open(folder / "page.png") as picture:
        assert picture.size == (width, height)
        return np.asarray(picture.convert("RGB"))


def test_a_browser_shows_the_page_without_a_complaint(tmp_path: Path, folders: list[Path]):
    found = total_of(dataset.open(folders[0].parent)).to_dict()
    picture = picture_of(page("here", found), tmp_path, 1000, 900)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_very_long_names_stay_in_their_cards(tmp_path: Path, folders: list[Path]):
    found = total_of(dataset.open(folders[0].parent)).to_dict()
    long = "x" * 4000
    found["kinds"] = {"licence": {long: 2}, long: {long: 2}}
    found["warnings"] = found["stage_seconds"] = {long: 1}
    found["checks"][long] = {"ok": 1}
    text = page("here", found)
    assert text.count(f'title="{long}"') == 5
    picture = picture_of(text, tmp_path, 500, 8000)
    margin = picture[:, -12:].reshape(-1, 3)
    assert len(np.unique(margin, axis=0)) == 1, "nothing is wider than the page"
