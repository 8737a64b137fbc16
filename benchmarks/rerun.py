"""What commands about what is stored cost in processor time, and that they compute nothing and load no torch.

    python benchmarks/rerun.py [--rounds 5] [RECIPE]

The recipe (default: the quickstart, with --smoke) is run once and planned once; then each round runs it again, plans it
again, reports on it and compares it, each in a process of its own. Prints the medians of user and system time (target:
below 1 s each), their ratio to an empty Python, and what of torch and matplotlib was loaded.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RUN = """
import sys
from recipelang.cli import main
try:
    main()
finally:
    print("loaded", *(name for name in ("torch", "matplotlib") if name in sys.modules), file=sys.stderr)
"""
QUICKSTART = Path(__file__).parent.parent / "recipes" / "quickstart.rcp"


def timed(arguments: list[str], folder: Path) -> tuple[float, str]:
    """Processor seconds of one process, and its stderr."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "RECIPELANG_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stderr


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", type=Path, default=QUICKSTART)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    recipe = [str(options.recipe.resolve()), *(["--smoke"] if options.recipe == QUICKSTART else [])]
    commands = {
        "python -c pass": ["-c", "pass"],
        "recipe run": ["-c", RUN, "run", *recipe, "--out", "out"],
        "recipe plan": ["-c", RUN, "plan", *recipe],
        "recipe report": ["-c", RUN, "report", "out"],
        "recipe compare": ["-c", RUN, "compare", "out", "out"],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = {command: timed(commands[command], folder)[0] for command in ("recipe run", "recipe plan")}
        found: dict[str, list[tuple[float, str]]] = {command: [] for command in commands}
        for _ in range(options.rounds):
            for command, arguments in commands.items():
                found[command].append(timed(arguments, folder))
    empty = statistics.median(used for used, _ in found["python -c pass"])
    print(f"{'command':16} {'first s':>8} {'again s':>8} {'ratio':>6}")
    for command, each in found.items():
        used, said = statistics.median(used for used, _ in each), each[-1][1].strip().splitlines()
        before = f"{first[command]:8.2f}" if command in first else " " * 8
        print(f"{command:16} {before} {used:8.2f} {used / empty:6.1f}  {'; '.join(said[-2:])}")


if __name__ == "__main__":
    main()
