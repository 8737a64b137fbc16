"""Whole searches on networks nobody prepared: filters, neurons, heads, tokens, a recurrent tail, superresolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from benches import bars, workbench

from recipelang import catalogue
from recipelang.budgets.bench import Workbench
from recipelang.budgets.held import Division, divided
from recipelang.budgets.joint import JointRemoval
from recipelang.budgets.removal import Removal
from recipelang.kinds import Batch
from recipelang.methods.allocations.autoslim import AutoSlim
from recipelang.methods.allocations.dmcp import DMCP
from recipelang.methods.allocations.metapruning import MetaPruning
from recipelang.scoring.evidence import Gathered
from recipelang.surgery.network import Network
from recipelang.surgery.tasks import task_named

SEARCHES: dict[str, Any] = {
    "autoslim": AutoSlim(steps=2, stages=1, random=1),
    "dmcp": DMCP(steps=2, warmup=1, random=1, bins=2),
    "metapruning": MetaPruning(steps=2, population=3, generations=1, direct=40),
}
NETWORKS = ("residual, depthwise, squeezed", "tokens", "recurrent", "superresolution")


class Pairs:
    """Eight images of noise, to be shown twice as large."""

    name, target, labels, preprocessing, fingerprint, batch = "pairs", "image", None, None, "pairs", 4
    input_shape, target_shape = (1, 8, 8), (1, 16, 16)

    def size(self, split: str) -> int:
        return 8

    def batches(self, split: str, *, start: int = 0, **_: Any) -> Iterator[Batch]:
        draws = torch.Generator().manual_seed(0)
        large = torch.rand(8, 1, 16, 16, generator=draws)
        for k in range(start, 2):
            part = large[4 * k : 4 * k + 4]
            yield Batch(torch.nn.functional.avg_pool2d(part, 2), part)


def bench_of(network: Network, queues: Any, offers: Any, folder: Path, name: str) -> Workbench:
    """A bench for all units of a network that does this task."""
    pairs: Any = Pairs()
    division = Division(pairs, pairs) if name == "superresolution" else divided(bars(48), 0)
    task, removals = task_named(name), []
    for unit, offer in offers.items():
        found: Any = catalogue.find("unit", unit)
        criterion: Any = catalogue.find("criterion", "magnitude")
        evidence = Gathered(network, division.rest, task, offer.groups, "filter", ("weights",))
        removals.append(Removal(network, found(), offer, criterion(), evidence))
    together = JointRemoval(tuple(removals), lambda unit, n: offers[unit.name])
    return workbench(network, queues, together, division, folder, "params < 0.75", task=task, lr=0.01)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_ends_within_the_budget(
    network_of: Callable[..., Any], tmp_path: Path, name: str, search: str
) -> None:
    network, queues, offers = network_of(name)
    for offer in offers.values():
        assert offer.groups
    task = "superresolution" if name == "superresolution" else "classification"
    bench = bench_of(network, queues, offers, tmp_path, task)
    steps = SEARCHES[search].explore(queues, bench)
    counts = [sum((step.unit, step.group) == (queue.unit, queue.group.name) for step in steps) for queue in queues]
    assert tuple(steps) == bench.steps(counts) and bench.met(counts)
    together: Any = bench.together
    smaller, stays = together.made(steps)  # with parity
    assert not stays and sum(p.numel() for p in smaller.module.parameters()) < 0.75 * sum(
        p.numel() for p in network.module.parameters()
    )
