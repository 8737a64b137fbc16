"""The training loop compared with loops written by hand: processor time, interleaved.

    python benchmarks/training.py [--rounds 7] [--steps 12] [--threads 1] [--compiled] [--teachers]

All train ResNet-20 on images of CIFAR's size with the same batches and memory format. The hand-written loop has no
checkpoint, no history, no masks and no check of the loss; its time is that of the fastest of float32, bfloat16 and,
with `--compiled`, both compiled, and the loop trains as the fastest does: at least 0.97 of its speed. A step of `kd`
with ResNet-20 as its own teacher is compared with a step by hand and a forward pass of the teacher: at most 1.05.
Compiling takes minutes on a busy machine, and comes before the times.

With `--teachers`, and nothing else: steps of ResNet-20 that learns from ResNet-56 on images without augmentation, with
`kd`, with `kd, cached` (its pass apart) and with `task + query_efficient`. On labels that nobody can know the network
errs nearly always, so the share that `query_efficient` asks about is told with its time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from recipelang.images.dataset import ArrayImages, ImageDataset
from recipelang.kinds import ModelRequest, Preprocessing, Quiet
from recipelang.methods.companions.cached import Cached
from recipelang.methods.companions.compile import Compile
from recipelang.methods.losses.kd import Kd
from recipelang.methods.losses.query_efficient import QueryEfficient
from recipelang.methods.losses.task import TaskLoss
from recipelang.methods.models.resnet20 import ResNet20
from recipelang.methods.models.resnet56 import ResNet56
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.cosine import Cosine
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Term, Training
from recipelang.surgery.network import Network
from recipelang.training.loop import fit
from recipelang.training.teachers import Teacher

TARGET = 0.97
DISTILLING = 1.05


@dataclass(frozen=True)
class Way:
    """How a loop computes."""

    precision: str
    compiled: bool

    def __str__(self) -> str:
        return f"{self.precision}{', compiled' * self.compiled}"


def synthetic(count: int = 4096, *, augment: bool = True) -> ImageDataset:
    """Images of 32×32 pixels, cropped and mirrored like CIFAR."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    images = ArrayImages(pixels, random.integers(0, 10, count), padding=(4 * augment, 4 * augment), flip=augment)
    splits = {"train": images, "val": images, "test": images}
    return ImageDataset(
        "synthetic", tuple("abcdefghij"), Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3), "0", 128, splits
    )


def by_hand(network: Network, data: ImageDataset, steps: int, way: Way, teacher: nn.Module | None = None) -> float:
    """The loop that one would write in a notebook: processor seconds of its steps after the first."""
    module = network.clone().module.train().to(memory_format=torch.channels_last)
    run = torch.compile(module) if way.compiled else module
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    start = 0.0
    for step, (x, y) in enumerate(data.batches("train", epoch=0)):
        if step == 1:
            start = time.process_time()
        if step == steps:
            break
        with torch.autocast("cpu", torch.bfloat16, enabled=way.precision == "bfloat16"):
            outputs = run(x)
            if teacher is not None:
                with torch.no_grad():
                    teacher(x)
        loss = nn.functional.cross_entropy(outputs.float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return time.process_time() - start


class Marks(Quiet):
    """The processor time when each step was done."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.marks.append(time.process_time())


def by_us(network: Network, data: ImageDataset, steps: int, way: Way, folder: Path, teacher: Network | None) -> float:
    """The same with `fit`; the checkpoint at its end is not counted."""
    companions = (Compile(),) if way.compiled else ()
    losses = (Term(1.0, Kd(4.0)),) if teacher else ()
    training = Training(Duration(steps, "steps"), Sgd(Cosine(0.01)), losses, companions=companions)
    path, marks = folder / "checkpoint", Marks()
    path.unlink(missing_ok=True)
    fit(
        network, data, training, task=Classification(), seed=0, progress=marks, precision=way.precision,
        checkpoint=path, teachers=[Teacher("healthy", teacher)] if teacher else (),
    )  # fmt: skip
    return marks.marks[-1] - marks.marks[-steps]


def interleaved(rounds: int, *ways: Callable[[], float]) -> list[list[float]]:
    """The times of each, in turns; the first round is not counted."""
    found: list[list[float]] = [[] for _ in ways]
    for round in range(-1, rounds):
        for n in range(len(ways)) if round % 2 else reversed(range(len(ways))):
            taken = ways[n]()
            if round >= 0:
                found[n].append(taken)
    return found


def taught(network: Network, teacher: Network, data: ImageDataset, steps: int, how: str) -> tuple[float, str]:
    """Seconds of processor for a step of `kd`, `cached` or `query_efficient`, and what the training says of itself."""
    asked = how == "query_efficient"
    losses = (Term(1.0, TaskLoss()), Term(1.0, QueryEfficient())) if asked else (Term(1.0, Kd(4.0)),)
    companions = (Cached(),) if how == "cached" else ()
    training = Training(Duration(steps, "steps"), Sgd(Cosine(0.01)), losses, companions=companions)
    marks, teachers = Marks(), [Teacher("healthy", teacher)]
    _, record = fit(
        network, data, training, task=Classification(), seed=0, progress=marks, precision="float32", teachers=teachers
    )
    return (marks.marks[-1] - marks.marks[-steps]) / (steps - 1), record.left.note


def compare_teachers(rounds: int, steps: int) -> None:
    """The times of a step with a teacher that answers in each, before the first, or where the network errs."""
    data = synthetic(512, augment=False)
    request = ModelRequest(classes=data.classes, input_shape=data.input_shape)
    network, teacher = ResNet20().build(request), ResNet56().build(request)
    notes: dict[str, str] = {}

    def run(how: str) -> float:
        seconds, notes[how] = taught(network, teacher, data, steps, how)
        return seconds

    ways = ("kd", "cached", "query_efficient")
    times = interleaved(rounds, *(partial(run, how) for how in ways))
    for how, found in zip(ways, times, strict=True):
        ratio = told([a / b for a, b in zip(found, times[0], strict=True)])
        print(f"{how}: {statistics.median(found):.3f} s a step, of that with the whole teacher {ratio}; {notes[how]}")


def told(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--teachers", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.teachers:
        return compare_teachers(given.rounds, given.steps)
    data, steps = synthetic(), given.steps
    network = ResNet20().build(ModelRequest(classes=data.classes, input_shape=data.input_shape))
    ways = [Way(p, c) for c in ([False, True] if given.compiled else [False]) for p in ("float32", "bfloat16")]
    trials = interleaved(1, *(partial(by_hand, network, data, steps, way) for way in ways))
    best = min(zip(ways, trials, strict=True), key=lambda pair: pair[1])[0]
    teacher = network.clone().module.eval().to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as name:
        hand, us, both, distilled = interleaved(
            given.rounds,
            lambda: by_hand(network, data, steps, best),
            lambda: by_us(network, data, steps, best, Path(name), None),
            lambda: by_hand(network, data, steps, best, teacher),
            lambda: by_us(network, data, steps, best, Path(name), network),
        )
    print(f"the fastest by hand: {best}")
    print(f"training loop over a loop by hand: {told([a / b for a, b in zip(hand, us, strict=True)])}, target {TARGET}")
    more = told([b / a for a, b in zip(both, distilled, strict=True)])
    print(f"step of kd over student's step and teacher's pass: {more}, target at most {DISTILLING}")
    rate = (steps - 1) * data.batch / statistics.median(us)
    print(f"{rate:.0f} images for each second of a processor, {given.threads} thread{'s' * (given.threads != 1)}")


if __name__ == "__main__":
    main()
