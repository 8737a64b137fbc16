"""How long the commands that load no torch take to start, as a ratio to an empty Python.

    python benchmarks/startup.py [--rounds 20] [RECIPE]

Each round runs every command once, alternating with `python -c pass`, so that a busy machine slows all of them equally.
Prints medians of processor time (user and system) and of wall time, at the end the processor time of `recipe check`.
torch must not be among the loaded modules.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ONELINER = "prune layers by imprint until latency < 0.7; sparsify nm 2:4; distill from healthy, recovered\n"
RUN = "from recipelang.cli import main; main()"
LOADED = """
import sys
from recipelang.cli import main
try:
    main()
except SystemExit:
    pass
print("torch" in sys.modules)
"""


def commands(recipe: Path) -> dict[str, list[str]]:
    """Name → arguments of `python`."""
    return {
        "python -c pass": ["-c", "pass"],
        "recipe check": ["-c", RUN, "check", str(recipe)],
        "recipe fmt --check": ["-c", RUN, "fmt", "--check", str(recipe)],
        "recipe list": ["-c", RUN, "list"],
        "recipe explain prune": ["-c", RUN, "explain", "prune"],
    }


def seconds(arguments: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Processor time and wall time of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([sys.executable, *arguments], env=environment, check=False, **quiet)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def loads_torch(arguments: list[str]) -> bool:
    """Whether the command imports torch."""
    run = subprocess.run([sys.executable, "-c", LOADED, *arguments[2:]], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()[-1] == "True"


def main() -> None:
    """Measure and print one line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", type=Path, help="default: the one-liner")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recipe = options.recipe or Path(folder) / "oneliner.rcp"
        if not options.recipe:
            recipe.write_text(ONELINER, encoding="utf-8")
        found = commands(recipe)
        # Bytecode as pip would have written it, whatever the environment says; the first run writes it.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "bytecode")
        for arguments in found.values():
            seconds(arguments, environment)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
        for _ in range(options.rounds):
            for name, arguments in found.items():
                times[name].append(seconds(arguments, environment))
        empty, empty_wall = (statistics.median(t) for t in zip(*times["python -c pass"], strict=True))
        print(f"{'command':22} {'CPU ms':>7} {'ratio':>6} {'wall ms':>8} {'ratio':>6}  torch")
        for name, arguments in found.items():
            used, wall = (statistics.median(t) for t in zip(*times[name], strict=True))
            torch = "" if name == "python -c pass" else "loaded" if loads_torch(arguments) else "not loaded"
            print(
                f"{name:22} {1e3 * used:7.0f} {used / empty:6.1f} {1e3 * wall:8.0f} {wall / empty_wall:6.1f}  {torch}"
            )
        checked = sorted(used for used, _ in times["recipe check"])
        low, middle, high = (checked[len(checked) * share // 4] for share in (1, 2, 3))
        print(f"recipe check: {middle:.3f} s of processor time; half of the runs {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
