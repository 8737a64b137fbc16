"""What clocks are estimated to read where several groups are cut, from tables of single ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import prod
from pathlib import Path
from random import Random

import pytest
import torch
from benches import bench_of
from torch import nn

from recipelang.budgets.bench import Workbench
from recipelang.images.dataset import ImageDataset
from recipelang.surgery.network import Network


def every(bench: Workbench) -> list[tuple[int, ...]]:
    return list(itertools.product(*(range(len(queue.steps) + 1) for queue in bench.queues)))


def products(network: Network) -> float:
    """Of the convolutions and the head, on images of 8×8."""
    shapes = [tuple(m.weight.shape) for m in network.module if isinstance(m, nn.Conv2d | nn.Linear)]
    return float(sum(prod(shape) * (1 if len(shape) == 2 else 64) for shape in shapes))


def filters(network: Network) -> float:
    """A clock on which every layer takes the time of its own filters."""
    return 10.0 + sum(m.out_channels**1.5 for m in network.module if isinstance(m, nn.Conv2d))


def jagged(network: Network) -> float:
    return filters(network) * (1 + 0.1 * (sum(p.numel() for p in network.module.parameters()) % 3))


@pytest.mark.parametrize(("clock", "off"), [(products, 1e-9), (filters, 1e-9), (jagged, 0.35)])
@pytest.mark.parametrize("asked", ["latency < 0.8", "throughput > 1.3"])
def test_estimates_are_exact_where_time_is_products_and_where_it_adds_up_and_with_all_taken_anywhere(
    data: ImageDataset, tmp_path: Path, clock: Callable[[Network], float], off: float, asked: str
) -> None:
    torch.manual_seed(0)
    widths = ((1, 4), (4, 4), (4, 4), (4, 5))
    layers = [layer for pair in widths for layer in (nn.Conv2d(*pair, 3, padding=1, bias=False), nn.ReLU())]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3, bias=False))
    network = Network(module.eval(), {}, (1, 8, 8), classes=("a", "b", "c"))
    reads = (lambda n: 1 / clock(n)) if "throughput" in asked else clock
    found = bench_of(network, data, tmp_path, asked, reads)
    for taken in [*every(found)[::11], tuple(len(queue.steps) for queue in found.queues)]:
        everything = all(count == len(queue.steps) for count, queue in zip(taken, found.queues, strict=True))
        assert found.cost(taken) == pytest.approx(found.measured(taken), rel=1e-9 if everything else off)


def test_what_alike_groups_win_is_not_drowned_by_the_noise_of_brief_readings(
    data: ImageDataset, tmp_path: Path
) -> None:
    """Eight layers each win 1 %, readings are wrong by up to 2 %: read one by one, no table would mean anything."""
    torch.manual_seed(0)
    pairs = [nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1)) for _ in range(8)]
    module = nn.Sequential(nn.Conv2d(1, 3, 1), *pairs, nn.Flatten(), nn.Linear(192, 3))
    network = Network(module.eval(), {}, (1, 8, 8), classes=("a", "b", "c"))
    random = Random(0)

    def quiet(given: Network) -> float:
        return 1 - 0.01 * sum(4 - pair[0].out_channels for pair in given.module[1:9]) / 3  # type: ignore[index, union-attr]

    def noisy(given: Network) -> float:
        return quiet(given) * (1 + random.uniform(-0.02, 0.02)) if given is not network else 1.0

    found = bench_of(network, data, tmp_path, "latency < 0.9", noisy)
    alike = [number for number, queue in enumerate(found.queues) if queue.group.name.endswith(".0")]
    assert len(alike) == 8
    for number in alike:
        assert 0.9 * found.table(number)[-1] == pytest.approx(0.99, abs=0.004)
