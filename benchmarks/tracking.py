"""What tracking costs: the same training with a tracker and without, in turns.

    python benchmarks/tracking.py [--trackers mlflow,tensorboard,wandb] [--rounds 3] [--toy] [--epochs N] [--short N]

The training is one of a real size: a ResNet-20 on 1,920 images of 32×32 that are made for it, in batches of 128, so
that a step takes a few hundred milliseconds of a slow core; 150 steps and 30. `--toy` takes the smallest that there is,
digits of 8×8, whose steps take a few milliseconds: what it shows is the cost of tracking, not its share.

Every run is a process of its own that begins with an empty store; times are those of the processor, with the
processes that a tracker starts. A tracker costs something once (its library is imported, its run begins and ends) and
something with every step: runs of two lengths tell them apart. `ratio` is what counts: the time that the long training
takes more for a step of its own, with tracking over without; `once` is in seconds of the processor, and `a step` in
milliseconds, what tracking adds to each. Ends with 1 where a ratio is above 1.02.
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST = 1.02


@dataclass(frozen=True)
class Training:
    """What is trained.

    Attributes:
        recipe: its text, with `{epochs}`, and `{images}` for the folder of images.
        steps: of an epoch.
        long, short: the epochs of the two runs.
    """

    recipe: str
    steps: int
    long: int
    short: int


LAST = "train for {epochs} epochs with sgd(lr=0.05)\nmeasure top1\n"
REAL = Training('data folder("{images}", size=32, batch=128)\nmodel resnet20\n' + LAST, 15, 10, 2)
TOY = Training("data digits\nmodel digits_resnet\n" + LAST, 19, 100, 3)
CLASSES, OF_EACH, SIDE = 10, 240, 32


def write_images(folder: Path) -> None:
    """Images of ten classes, each of colours of its own with noise."""
    import numpy as np
    from PIL import Image

    draws = np.random.default_rng(0)
    for kind in range(CLASSES):
        place = folder / f"class{kind}"
        place.mkdir(parents=True)
        colour = draws.integers(0, 256, 3)
        for number in range(OF_EACH):
            noise = draws.integers(-64, 64, (SIDE, SIDE, 3))
            Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(place / f"{number:03d}.png")


def seconds(tracker: str, recipe: str) -> float:
    """Processor time of one run and of what it starts; "" is no tracker."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as place:
        Path(place, "main.rcp").write_text(recipe)
        command = [sys.executable, "-m", "recipelang", "run", "main.rcp", "--threads", "1"]
        command += ["--track", tracker] if tracker else []
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or "goes on without" in done.stderr + done.stdout:
        raise SystemExit(done.stderr or done.stdout)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compared(
    sides: Sequence[str], rounds: int, steps: int, long_text: str, short_text: str
) -> dict[str, dict[str, object]]:
    """What runs of two lengths took, for each tracker.

    Args:
        sides: the trackers.
        steps: by which the runs differ.
        long_text, short_text: the recipes.
    """
    long: dict[str, list[float]] = {side: [] for side in ("", *sides)}
    short: dict[str, list[float]] = {side: [] for side in ("", *sides)}
    for _ in range(rounds):
        for side in ("", *sides):
            long[side].append(seconds(side, long_text))
            short[side].append(seconds(side, short_text))
    bare = [(a - b) / steps for a, b in zip(long[""], short[""], strict=True)]
    found: dict[str, dict[str, object]] = {
        "without": {"long": long[""], "short": short[""], "a step, ms": 1000 * statistics.median(bare)}
    }
    for side in sides:
        own = [(a - b) / steps for a, b in zip(long[side], short[side], strict=True)]
        ratios = [a / b for a, b in zip(own, bare, strict=True)]
        found[side] = {
            "ratio": statistics.median(ratios),
            "ratios": ratios,
            "once": statistics.median(a - b for a, b in zip(short[side], short[""], strict=True)),
            "a step, ms": 1000 * statistics.median(a - b for a, b in zip(own, bare, strict=True)),
            "whole run": statistics.median(a / b for a, b in zip(long[side], long[""], strict=True)),
        }
    return found


def main() -> int:
    """Measure, print JSON, and end with 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trackers", default="mlflow,tensorboard,wandb")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--toy", action="store_true", help="steps of a few milliseconds")
    parser.add_argument("--epochs", type=int, help="of the long run; default 10, or 100 of the toy")
    parser.add_argument("--short", type=int, help="epochs of the short run; default 2, or 3 of the toy")
    asked = parser.parse_args()
    training = TOY if asked.toy else REAL
    epochs, fewer = asked.epochs or training.long, asked.short or training.short
    if fewer >= epochs:
        parser.error("the short run has fewer epochs than the long one")
    sides = asked.trackers.split(",")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        if not asked.toy:
            write_images(images)
        texts = [training.recipe.format(epochs=count, images=images) for count in (epochs, fewer)]
        found = compared(sides, asked.rounds, training.steps * (epochs - fewer), *texts)
    print(json.dumps(found, indent=2))
    return int(any(found[side]["ratio"] > MOST for side in sides))  # type: ignore[operator]


if __name__ == "__main__":
    sys.exit(main())
