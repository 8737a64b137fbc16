"""What a rerun of an unchanged recipe costs beyond its imports, and that it computes nothing.

    python benchmarks/rerun.py [--rounds 7] [RECIPE]

The recipe (default: the quickstart, with --smoke) is run once; then reruns alternate with a process that only imports
what a run imports. Prints the medians of wall time, their difference (target: below 3 s), and what was recomputed.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUN = "from recipelang.cli import main; main()"
IMPORTS = "import torch, torchvision, sklearn.datasets, jinja2, matplotlib.figure, recipelang.run.engine"
QUICKSTART = Path(__file__).parent.parent / "recipes" / "quickstart.rcp"


def timed(arguments: list[str], folder: Path) -> tuple[float, str]:
    """Wall time of one process and its stderr."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return time.perf_counter() - start, done.stderr


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", type=Path, default=QUICKSTART)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    smoke = ["--smoke"] if options.recipe == QUICKSTART else []
    rerun = ["-c", RUN, "run", str(options.recipe.resolve()), *smoke]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, _ = timed(rerun, folder)
        reruns, imports, said = [], [], ""
        for _ in range(options.rounds):
            seconds, said = timed(rerun, folder)
            reruns.append(seconds)
            imports.append(timed(["-c", IMPORTS], folder)[0])
    again, loading = statistics.median(reruns), statistics.median(imports)
    summary = re.search(r"\d+ steps: .*", said)
    print(f"first run {first:.1f} s; rerun {again:.2f} s, imports alone {loading:.2f} s, ratio {again / loading:.2f}")
    print(f"beyond imports: {again - loading:.2f} s (target: below 3 s); {summary[0] if summary else said[-300:]}")


if __name__ == "__main__":
    main()
