"""What a comparison of many runs costs: processor time, and the size of its page.

    python benchmarks/compare_runs.py [--runs 1,10,100,1000] [--rounds 3]

Writes records of one pruned network, its healthy and its control, with other numbers for each run, and compares them as
`recipe compare RUN… --to html` does, in a process of its own. Prints medians; the target is below 5 s of processor time
and 5 MB for a thousand runs. Charts of up to 100 networks are kept in a cache that is empty at first: the first round
draws, the others do not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RECORD = Path(__file__).parent.parent / "tests" / "report" / "fixtures" / "main.json"
COMMAND = "from recipelang.cli import main; main()"
COUNTS = ("line", "n", "seed", "of", "gone", "calls")  # numbers that stay


def varied(value: Any, draws: random.Random) -> Any:
    """The record with every measured number changed by up to a tenth."""
    if isinstance(value, dict):
        return {name: inner if name in COUNTS else varied(inner, draws) for name, inner in value.items()}
    if isinstance(value, list):
        return [varied(inner, draws) for inner in value]
    return value * draws.uniform(0.9, 1.1) if isinstance(value, float) else value


def compared(runs: list[Path], out: Path, cache: Path) -> tuple[float, int]:
    """Processor seconds of one comparison, and the bytes of its page."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", COMMAND, "compare", *map(str, runs), "--to", "html", "--out", str(out)],
        env={**os.environ, "RECIPELANG_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, (out / "report.html").stat().st_size


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="1,10,100,1000", help="how many, separated by commas")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    counts = [int(count) for count in options.runs.split(",")]
    record = json.loads(RECORD.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = []
        for number in range(max(counts)):
            run = folder / f"run-{number}"
            run.mkdir()
            (run / "report.json").write_text(json.dumps(varied(record, random.Random(number))), "utf-8")
            runs.append(run)
        print("runs  first s  median s  page KB  KB a run")
        for count in counts:
            found = [compared(runs[:count], folder / "out", folder / f"cache-{count}") for _ in range(options.rounds)]
            middle, size = statistics.median(used for used, _ in found), found[-1][1] / 1000
            print(f"{count:4} {found[0][0]:8.2f} {middle:9.2f} {size:8.0f} {size / count:9.1f}")


if __name__ == "__main__":
    main()
