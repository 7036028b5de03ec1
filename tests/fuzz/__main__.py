"""``make fuzz``: go on where it stopped, and say what was found.

    PYTHONPATH=tests python -m fuzz STATE [--seed N] [--leg inspector] [--count N] [--seconds S]
    PYTHONPATH=tests python -m fuzz STATE --replay STATE/found/CASE
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .run import LEGS, Fuzzer


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--leg", choices=LEGS)
    parser.add_argument("--count", type=int, default=1 << 60)
    parser.add_argument("--seconds", type=float, default=600.0, help="of each leg")
    parser.add_argument("--replay", type=Path, help="a folder of what was found")
    options = parser.parse_args()
    options.state.mkdir(parents=True, exist_ok=True)
    if options.replay:
        about = json.loads((options.replay / "about.json").read_text())
        fuzzer = Fuzzer(options.state, about["seed"])
        path = (options.replay / "case" / about["file"]).absolute()
        print(*fuzzer.judge(about["leg"], path), sep="\n")
        fuzzer.close()
        return 0
    fuzzer = Fuzzer(options.state.absolute(), options.seed)
    wrong = 0
    for leg in [options.leg] if options.leg else LEGS:
        tally = fuzzer.run(leg, options.count, seconds=options.seconds)
        print(f"{leg}: {sum(tally.ends.values())} cases: {dict(tally.ends.most_common())}")
        for why, times in tally.found.most_common():
            print(f"  {times:6d} {why}")
        wrong += sum(tally.found.values())
    fuzzer.close()
    if wrong:
        print(f"What was found is in {options.state / 'found'}.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
