"""What tracking costs: the same training with a tracker and without, in turns.

    python benchmarks/tracking.py [--trackers mlflow,tensorboard,wandb] [--rounds 3] [--epochs 100] [--short 3]

Every run is a process of its own that begins with an empty store; times are those of the processor, with the
processes that a tracker starts. A tracker costs something once (its library is imported, its run begins and ends) and
something with every step: runs of two lengths tell them apart. `ratio` is what counts: the time that the long training
takes more for a step of its own, with tracking over without; `once` is in seconds of the processor. Ends with 1 where
a ratio is above 1.02.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

MOST = 1.02
RECIPE = "data digits\nmodel digits_resnet\ntrain for {epochs} epochs with sgd(lr=0.05)\nmeasure top1\n"


def seconds(tracker: str, epochs: int) -> float:
    """Processor time of one run and of what it starts; "" is no tracker."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as place:
        Path(place, "main.rcp").write_text(RECIPE.format(epochs=epochs))
        command = [sys.executable, "-m", "recipelang", "run", "main.rcp", "--threads", "1"]
        command += ["--track", tracker] if tracker else []
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or "goes on without" in done.stderr + done.stdout:
        raise SystemExit(done.stderr or done.stdout)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Measure, print JSON, and end with 1 where a figure is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trackers", default="mlflow,tensorboard,wandb")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--short", type=int, default=3)
    asked = parser.parse_args()
    sides = ["", *asked.trackers.split(",")]
    long: dict[str, list[float]] = {side: [] for side in sides}
    short: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(asked.rounds):
        for side in sides:
            long[side].append(seconds(side, asked.epochs))
            short[side].append(seconds(side, asked.short))
    found: dict[str, dict[str, object]] = {}
    for side in sides[1:]:
        pairs = zip(long[side], short[side], long[""], short[""], strict=True)
        ratios = [
            (with_long - with_short) / (bare_long - bare_short)
            for with_long, with_short, bare_long, bare_short in pairs
        ]
        once = statistics.median(a - b for a, b in zip(short[side], short[""], strict=True))
        whole = statistics.median(a / b for a, b in zip(long[side], long[""], strict=True))
        found[side] = {"ratio": statistics.median(ratios), "ratios": ratios, "once": once, "whole run": whole}
    print(json.dumps({"without": {"long": long[""], "short": short[""]}, **found}, indent=2))
    return int(any(one["ratio"] > MOST for one in found.values()))  # type: ignore[operator]


if __name__ == "__main__":
    sys.exit(main())
