"""A small network, a small data set, and the bench of a search on them, for tests of allocations that try."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from recipelang import catalogue
from recipelang.budgets.bench import Workbench
from recipelang.budgets.conditions import Value, judge
from recipelang.budgets.held import Division, divided
from recipelang.budgets.joint import JointRemoval
from recipelang.budgets.removal import Removal
from recipelang.check import check
from recipelang.images.dataset import ArrayImages, ImageDataset
from recipelang.kinds import Preprocessing, Queue, Quiet
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units.filters import Filters
from recipelang.plan import Condition, Reading, Selection, steps_of
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import rank
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse


def plain(seed: int = 0) -> Network:
    """Three convolutions in a row with BatchNorm, and a head: groups of 4, 4 and 6 filters."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 6, 3, padding=1, stride=2), nn.BatchNorm2d(6), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip
    return Network(module.eval(), {}, (1, 8, 8), classes=("a", "b", "c"))


def bars(count: int = 90, classes: int = 3) -> ImageDataset:
    """Noise with a bright bar, in one of as many places as there are classes, at most four."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    pixels = random.integers(0, 60, (count, 8, 8, 1))
    for number, label in enumerate(labels):
        pixels[number, 2 * label : 2 * label + 2] += 120
    images: Any = {
        split: ArrayImages(pixels.astype(np.uint8), labels.astype(np.int64)) for split in ("train", "val", "test")
    }
    return ImageDataset("bars", tuple("abcd"[:classes]), Preprocessing((8, 8), (0.3,), (0.2,)), "f" * 64, 16, images)


def condition(text: str) -> Condition:
    """The budget that a recipe says with `until`."""
    recipe = f"model digits_resnet\ndata digits\nprune filters by magnitude until {text}\n"
    found = [step.operation.needs().until for step in steps_of(check(parse(recipe, "a.rcp")).nodes)]
    return next(until for until in found if until is not None)


def workbench(
    network: Network,
    queues: Sequence[Queue],
    together: JointRemoval,
    division: Division,
    folder: Path,
    until: str,
    *,
    task: Any = None,
    lr: float = 0.05,
    clocks: Callable[[Network], float] | None = None,
    seed: int = 0,
    allocation: Any = None,
) -> Workbench:
    """A bench that reads ratios to `network`; `clocks` stands in for what a clock reads."""

    def read(reading: Reading, given: Network) -> float:
        if reading.metric.source == "clock":
            assert clocks is not None
            return clocks(given) / clocks(network)
        counts = [reading.metric.measure(deployed(n), n, n.input_shape).value for n in (given, network)]
        return float(counts[0] / counts[1])

    def judged(asked: Condition, given: Network, surely: bool) -> Any:
        return judge(asked, lambda reading: Value.exactly(read(reading, given)), "surely")

    return Workbench(
        queues, together, condition(until), read, judged, division, task or Classification(), Sgd(lr), seed, "cpu", 1,
        folder, Quiet(), False, allocation,
    )  # fmt: skip


def bench_of(
    network: Network,
    data: ImageDataset,
    folder: Path,
    until: str = "flops < 0.6",
    clocks: Callable[[Network], float] | None = None,
    by: str = "magnitude",
    seed: int = 0,
    allocation: Any = None,
    unit: Any = Filters(round=1),  # noqa: B008 (frozen)
) -> Workbench:
    """A bench for the filters of a network, or for another unit; `clocks` stands in for what a clock reads."""
    division = divided(data, seed)
    offer = unit.find(network, Selection())
    criterion: Any = catalogue.find("criterion", by)()  # type: ignore[misc]
    evidence = Gathered(
        network=network, data=division.rest, task=Classification(), groups=offer.groups, unit="filter",
        needs=criterion.needs, samples=None, seed=0, device="cpu", progress=None,
    )  # fmt: skip
    ranking = rank(criterion, unit, evidence, offer.groups)
    together = JointRemoval((Removal(network, unit, offer, criterion, evidence),), lambda u, n: offer)
    return workbench(
        network, ranking.queues, together, division, folder, until, clocks=clocks, seed=seed, allocation=allocation
    )


def widths(bench: Workbench, taken: Mapping[int, int] | Any) -> list[int]:
    """The number of filters that each group has left."""
    return [queue.group.size - queue.gone(count) for queue, count in zip(bench.queues, taken, strict=True)]
