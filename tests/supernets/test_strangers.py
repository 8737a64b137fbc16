"""Whole searches on networks nobody prepared: filters, neurons, heads, tokens, a recurrent tail, superresolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from benches import Silent, bars, condition

from recipelang import catalogue
from recipelang.budgets.bench import Workbench
from recipelang.budgets.conditions import Value, judge
from recipelang.budgets.held import Division, divided
from recipelang.budgets.joint import JointRemoval
from recipelang.budgets.removal import Removal
from recipelang.kinds import Batch
from recipelang.methods.allocations.autoslim import AutoSlim
from recipelang.methods.allocations.dmcp import DMCP
from recipelang.methods.allocations.metapruning import MetaPruning
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.plan import Reading
from recipelang.scoring.evidence import Gathered
from recipelang.surgery.deployed import deployed
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


def workbench(network: Network, queues: Any, offers: Any, folder: Path, task: str) -> Workbench:
    pairs: Any = Pairs()
    division = Division(pairs, pairs) if task == "superresolution" else divided(bars(48), 0)
    removals = []
    for name, offer in offers.items():
        unit: Any = catalogue.find("unit", name)
        criterion: Any = catalogue.find("criterion", "magnitude")
        evidence = Gathered(network, division.rest, task_named(task), offer.groups, "filter", ("weights",))
        removals.append(Removal(network, unit(), offer, criterion(), evidence))

    def read(reading: Reading, given: Network) -> float:
        counts = [reading.metric.measure(deployed(n), n, n.input_shape).value for n in (given, network)]
        return float(counts[0] / counts[1])

    def judged(asked: Any, given: Network, surely: bool) -> Any:
        return judge(asked, lambda reading: Value(*[read(reading, given)] * 3), "surely")

    return Workbench(
        queues, JointRemoval(tuple(removals), lambda unit, n: offers[unit.name]), condition("params < 0.75"), read,
        judged, division, task_named(task), Sgd(0.01), 0, "cpu", 1, folder, Silent(), False, None,
    )  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_ends_within_the_budget(
    network_of: Callable[..., Any], tmp_path: Path, name: str, search: str
) -> None:
    network, queues, offers = network_of(name)
    for offer in offers.values():
        assert offer.groups
    task = "superresolution" if name == "superresolution" else "classification"
    bench = workbench(network, queues, offers, tmp_path, task)
    steps = SEARCHES[search].explore(queues, bench)
    counts = [sum((step.unit, step.group) == (queue.unit, queue.group.name) for step in steps) for queue in queues]
    assert tuple(steps) == bench.steps(counts) and bench.met(counts)
    together: Any = bench.together
    smaller, stays = together.made(steps)  # with parity
    assert not stays and sum(p.numel() for p in smaller.module.parameters()) < 0.75 * sum(
        p.numel() for p in network.module.parameters()
    )
