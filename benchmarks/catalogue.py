"""How long does the catalogue's index take to make, how large is it, how fast is a search?

The annotations are made up, in the form and about the size of the real ones.

    python benchmarks/catalogue.py [OBJECTS] [FOLDER]
"""

from __future__ import annotations

import gzip
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import made_up_annotations as made_up  # noqa: E402

from objaverse_render_addon.assets.annotations import LVIS, SHARDS  # noqa: E402
from objaverse_render_addon.assets.catalogue import Catalogue, Query, index_path  # noqa: E402
from objaverse_render_addon.assets.licenses import parse_filter  # noqa: E402

SEARCHES = {
    "two words": {"text": "office chair"},
    "a common word": {"text": "chair"},
    "a rare word": {"text": "kamidra"},
    "a phrase": {"text": '"office chair"'},
    "the beginning of a word": {"text": "cha*"},
    "words, licences, LVIS, faces, not animated": {
        "text": "office chair", "licenses": parse_filter("by,cc0"), "lvis": ("chair",),
        "max_faces": 100_000, "animated": False,
    },
    "nothing but licences": {"licenses": parse_filter("cc0")},
    "nothing at all": {},
    "a common word, newest first": {"text": "chair", "sort": "newest"},
    "very many faces only": {"min_faces": 1_990_000},
    "sample of a common word": {"text": "chair", "sample": 50, "seed": 1},
    "sample of everything": {"sample": 50, "seed": 1},
}  # fmt: skip


def make(folder: Path, objects: int) -> None:
    base = folder / "hf-objaverse-v1"
    (base / "metadata").mkdir(parents=True, exist_ok=True)
    draw = random.Random(1)
    lvis: dict[str, list[str]] = {noun: [] for noun in made_up.NOUNS}
    for number, name in enumerate(SHARDS):
        records = {}
        for index in range(number * objects // len(SHARDS), (number + 1) * objects // len(SHARDS)):
            record = made_up.annotation(index)
            records[record["uid"]] = record
            noun = record["name"].lower().split()[1]
            # Objaverse has LVIS categories for 6 % of its objects.
            if noun in lvis and draw.random() < 0.06:
                lvis[noun].append(record["uid"])
        (base / name).write_bytes(made_up.packed(records))
    (base / LVIS).write_bytes(made_up.packed(lvis))


def search_times(catalogue: Catalogue, count: bool) -> None:
    for name, words in SEARCHES.items():
        times = []
        for _ in range(30):
            since = time.perf_counter()
            found = catalogue.search(Query(**words), count=count)
            times.append(1000 * (time.perf_counter() - since))
        p95 = statistics.quantiles(times, n=20)[-1]
        total = f", of {found.total}" if count else ""
        print(f"  {name}: p50 {statistics.median(times):.1f} ms, p95 {p95:.1f} ms"
              f" ({len(found.entries)} found{total})")  # fmt: skip


def main() -> None:
    objects = int(sys.argv[1]) if len(sys.argv) > 1 else 800_000
    scratch = tempfile.TemporaryDirectory(prefix="objaverse-catalogue-")
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(scratch.name)
    if not (folder / "hf-objaverse-v1" / LVIS).is_file():
        # In a process of its own: its memory is not the index's.
        code = f"import catalogue, pathlib as p; catalogue.make(p.Path({str(folder)!r}), {objects})"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
    packed = sum(path.stat().st_size for path in folder.rglob("*.gz"))
    unpacked = len(gzip.decompress((folder / "hf-objaverse-v1" / SHARDS[0]).read_bytes()))
    print(f"{objects} objects, {packed / 2**20:.0f} MiB of annotation files "
          f"({unpacked * len(SHARDS) / objects / 1000:.1f} kB an object, unpacked)")  # fmt: skip
    index_path(folder).unlink(missing_ok=True)
    since, cpu = time.perf_counter(), time.process_time()
    catalogue = Catalogue.ready(folder, online=False)
    print(f"built in {time.perf_counter() - since:.0f} s ({time.process_time() - cpu:.0f} s of one "
          f"core), {index_path(folder).stat().st_size / 2**20:.0f} MiB, most memory "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")  # fmt: skip
    catalogue.close()
    since = time.perf_counter()
    catalogue = Catalogue.ready(folder, online=False)
    print(f"opened again in {1000 * (time.perf_counter() - since):.1f} ms")
    print("the first 50:")
    search_times(catalogue, count=False)
    print("the first 50, and how many there are:")
    search_times(catalogue, count=True)


if __name__ == "__main__":
    main()
