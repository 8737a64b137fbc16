"""`autoslim`, `dmcp`, `metapruning` on a bench: what they choose against brute force, and what they tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from recipelang.budgets.bench import Workbench
from recipelang.methods.allocations.autoslim import AutoSlim
from recipelang.methods.allocations.dmcp import DMCP
from recipelang.methods.allocations.metapruning import MetaPruning
from recipelang.supernets.generated import Generated
from recipelang.supernets.searching import Judge, meeting
from recipelang.supernets.shared import shared, without
from recipelang.surgery.network import Network

SMALL: dict[str, Any] = {
    "autoslim": AutoSlim(steps=4, stages=5),
    "dmcp": DMCP(steps=4, warmup=1),
    "metapruning": MetaPruning(steps=3, population=4, generations=2),
}
Made = Callable[..., Workbench]


def taken_of(bench: Workbench, steps: Sequence[Any]) -> tuple[int, ...]:
    counts = [sum(step.group == queue.group.name for step in steps) for queue in bench.queues]
    assert list(steps) == [
        step for queue, count in zip(bench.queues, counts, strict=True) for step in queue.steps[:count]
    ]
    return tuple(counts)


@pytest.mark.parametrize("name", SMALL)
def test_the_first_steps_of_every_queue_are_taken_and_the_budget_holds(bench: Made, name: str) -> None:
    found = bench(until="params < 0.4 and flops < 0.6")
    before = {key: value.clone() for key, value in found.whole.tensors().items()}
    taken = taken_of(found, SMALL[name].explore(found.queues, found))
    assert found.met(taken)
    assert all(torch.equal(value, before[key]) for key, value in found.whole.tensors().items()), "only a copy trains"
    (told,) = found.told
    widths, *_ = told.plots
    assert [line.name for line in widths.lines] == ["whole", "chosen"]
    assert widths.lines[0].y == (4, 4, 6)
    left = [queue.group.size - queue.gone(count) for queue, count in zip(found.queues, taken, strict=True)]
    assert widths.lines[1].y == tuple(left)
    assert told.note == f"widths: 0 {left[0]} of 4, 3 {left[1]} of 4, 6 {left[2]} of 6"


@pytest.mark.parametrize("name", ["autoslim", "metapruning"])
def test_a_clock_that_disagrees_with_its_tables_is_read_until_it_holds(bench: Made, name: str) -> None:
    """Four filters fewer seem fast by the tables, which cut one group alone; only fewer than seven are."""

    def clock(network: Network) -> float:
        filters = sum(m.out_channels for m in network.module.modules() if isinstance(m, nn.Conv2d))
        return 1.0 if filters < 7 else 10.0 if filters > 12 else 7.0

    found = bench(until="latency < 0.5", clocks=clock)
    taken = taken_of(found, SMALL[name].explore(found.queues, found))
    assert sum(taken) > 7 and found.met(taken)


def test_everything_is_taken_where_nothing_meets_the_budget(bench: Made) -> None:
    found = bench(until="flops < 0.001")
    for search in SMALL.values():
        taken = taken_of(found, search.explore(found.queues, found))
        assert taken == tuple(len(queue.steps) for queue in found.queues) and not found.met(taken)


def test_slimming_takes_what_hurts_the_shared_weights_least(bench: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain loop over masked, not cut, copies of the trained network."""
    judges: list[Judge] = []
    trained = Judge.trained.__func__  # type: ignore[attr-defined]

    def kept(cls: Any, *args: Any) -> Judge:
        judges.append(trained(cls, *args))
        return judges[-1]

    monkeypatch.setattr(Judge, "trained", classmethod(kept))
    found = bench(until="flops < 0.6")
    taken = taken_of(found, AutoSlim(steps=6, stages=5).explore(found.queues, found))
    network = judges[0].network
    assert any(
        not torch.equal(a, b) for a, b in zip(network.tensors().values(), found.whole.tensors().values(), strict=True)
    )

    def loss(counts: Sequence[int]) -> float:
        masked, weights = network.clone(), shared(found.queues, found)
        values = weights.values(dict(masked.module.named_parameters()), weights.gates(counts))
        with torch.no_grad():
            for name, value in values.items():
                masked.module.get_parameter(name).copy_(value)
        return found.score(masked, recalibrated=True).loss

    now = [0, 0, 0]
    while found.cost(now) > 1:
        tried = []
        for queue in range(3):
            if now[queue] < len(found.queues[queue].steps):
                after = [count + (k == queue) for k, count in enumerate(now)]
                tried.append((round(loss(after), 5), queue, after))
        now = min(tried)[2]
    assert taken == tuple(now)


def test_evolution_finds_the_best_of_a_budget_that_it_can_exhaust(bench: Made) -> None:
    """With generations enough for all networks at the edge of the budget, none of those judged is better."""
    found = bench(until="flops < 0.6")
    search = MetaPruning(steps=2, population=10, generations=5, mutation=0.5)
    taken = taken_of(found, search.explore(found.queues, found))
    known = {key: value for key, value in found.memory._known.items() if key.startswith("judged ")}
    judged = {tuple(map(int, key.removeprefix("judged ").split())): value for key, value in known.items()}
    assert all(found.cost(genes) <= 1 for genes in judged)
    assert judged[taken] == min(judged.values())
    edge = [
        genes
        for genes in product(*(range(len(queue.steps) + 1) for queue in found.queues))
        if found.cost(genes) <= 1
        and all(found.cost([*genes[:q], genes[q] - 1, *genes[q + 1 :]]) > 1 for q in range(len(genes)) if genes[q])
    ]
    assert len(judged.keys() & set(edge)) > 0.8 * len(edge)


def test_generated_weights_are_judged_at_their_own_widths(bench: Made) -> None:
    found = bench()
    weights = shared(found.queues, found)
    generated = Generated(found.whole.module, weights, hidden=4, direct=10, seed=0)
    part: Any
    for part in generated.generator.parts:
        nn.init.normal_(part.second, std=0.1)
    for taken in ([0, 0, 0], [1, 2, 3]):
        values = generated.values(taken)
        cut = without(found.whole, taken, found)
        for name, value in values.items():
            width = generated.signature(taken)
            assert width.tolist() == pytest.approx([1 - k / n for k, n in zip(taken, (4, 4, 6), strict=True)])
            assert value.shape == found.whole.module.get_parameter(name).shape
        assert [m.out_channels for m in cut.module.children() if isinstance(m, nn.Conv2d)] == [
            n - k for n, k in zip((4, 4, 6), taken, strict=True)
        ]
    whole, narrow = (generated.values(taken)["3.weight"] for taken in ([0, 0, 0], [3, 0, 0]))
    assert not torch.equal(whole, narrow)


def test_dmcp_draws_networks_and_takes_the_best_of_them(bench: Made) -> None:
    found = bench()
    taken = taken_of(found, DMCP(steps=3, warmup=1, widths="sampled", draws=6).explore(found.queues, found))
    known = {k: v for k, v in found.memory._known.items() if k.startswith("judged ")}
    assert known["judged " + " ".join(map(str, taken))] == min(known.values())
    assert 1 <= len(known) <= 6


def test_of_candidates_the_first_that_is_met_counts_and_else_the_first_one_shrinks() -> None:
    class Only:
        def __init__(self, *met: tuple[int, ...]) -> None:
            self.ones = met

        def met(self, taken: Any) -> bool:
            return tuple(taken) in self.ones

    two: Any = Only((2, 0), (0, 1))
    assert meeting(two, [(1, 0), (0, 1), (2, 0)], (4, 2)) == (0, 1)
    far: Any = Only((2, 1))  # what has lost the smallest part of its queue loses a step
    assert meeting(far, [(1, 0), (0, 1)], (4, 2)) == (2, 1)
    none: Any = Only()
    assert meeting(none, [(1, 0)], (4, 2)) == (4, 2)
