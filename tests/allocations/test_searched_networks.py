"""`ecc`, `amc` and `morphnet` on networks whose channels meet in every way that removal knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from benches import bars, bench_of
from coupled_networks import NETWORKS, network, unit_of

from recipelang import catalogue
from recipelang.searching.bilinear import kept_shares, modelled, wanted
from recipelang.searching.blocks import blocks_of

SETTINGS: dict[str, dict[str, Any]] = {
    "amc": {"episodes": 3, "hidden": 4},
    "ecc": {"steps": 3},
    "morphnet": {"steps": 3},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_search_meets_a_budget_on_every_sort_of_network(name: str, tmp_path: Path) -> None:
    given, data, unit = network(name), bars(40, classes=4), unit_of(name)
    for method, settings in SETTINGS.items():
        found: Any = catalogue.find("allocation", method)
        made = found(**settings)
        with bench_of(given, data, tmp_path / method, until="params < 0.8", allocation=made, unit=unit) as bench:
            steps = made.explore(bench.queues, bench)
        taken = [sum(step.group == queue.group.name for step in steps) for queue in bench.queues]
        assert tuple(steps) == bench.steps(taken)
        assert bench.met(taken)
        smaller, stays = bench.together.made(steps)  # with parity
        assert not stays
        count = sum(p.numel() for p in smaller.module.parameters())
        assert count < 0.8 * sum(p.numel() for p in given.module.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_explains_parameters_and_operations_exactly(name: str, tmp_path: Path) -> None:
    for until in ("params < 0.8", "flops < 0.8"):
        bench = bench_of(network(name), bars(40, classes=4), tmp_path, until=until, unit=unit_of(name))
        cost = modelled(bench.queues, bench.cost, wanted(bench.queues), torch.Generator().manual_seed(0))
        assert cost.error < 1e-6
        taken = [len(queue.steps) // 2 for queue in bench.queues]
        shares = [kept_shares(queue)[count] for queue, count in zip(bench.queues, taken, strict=True)]
        assert float(cost(torch.tensor(shares).double())) == pytest.approx(bench.cost(taken), rel=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_parts_whose_readers_are_zero_are_parts_that_are_gone(name: str, tmp_path: Path) -> None:
    """What ECC sets to zero: the network computes what it does without these parts."""
    given = network(name)
    bench = bench_of(given, bars(40, classes=4), tmp_path, unit=unit_of(name))
    images = next(bench.batches()).inputs
    for number, queue in enumerate(bench.queues):
        block = blocks_of(given.module, queue, ("reads",))
        assert block.places, "a weight reads every group here"
        zeroed, factors = given.clone(), torch.ones(queue.group.size)
        factors[list(queue.steps[0].parts)] = 0
        block.multiply(zeroed.module, factors)
        cut = bench.network([int(q == number) for q in range(len(bench.queues))])
        with torch.no_grad():
            expected, found = cut.module.eval()(images), zeroed.module.eval()(images)
            assert torch.allclose(found, expected, atol=1e-5)
            assert not torch.allclose(given.module.eval()(images), expected, atol=1e-5)


def test_the_numbers_of_parts_are_summed_and_scaled_as_written_out(tmp_path: Path) -> None:
    given = network("residual")
    bench = bench_of(given, bars(40, classes=4), tmp_path)
    (stem,) = [queue for queue in bench.queues if queue.group.name == "stem"]
    inner, head = given.module.get_parameter("inner.weight"), given.module.get_parameter("head.weight")
    block = blocks_of(given.module, stem, ("reads",))
    by_hand = inner.square().sum((0, 2, 3)) + head.square().sum(0)
    assert torch.allclose(block.squares(given.module).float(), by_hand)
    gamma = blocks_of(given.module, stem, ("scales",), ("makes",))
    norms = [given.module.get_parameter(name) for name in ("norm.weight", "last_norm.weight")]
    assert torch.allclose(gamma.squares(given.module).float(), norms[0].square() + norms[1].square())
    changed, factors = given.clone(), torch.tensor([1.0, 0.5, 0.0, 1.0, 2.0])
    gamma.multiply(changed.module, factors)
    assert torch.allclose(changed.module.get_parameter("norm.weight"), norms[0] * factors)
    bare = network("grouped")
    first = bench_of(bare, bars(40, classes=4), tmp_path / "bare").queues[0]
    assert {place[0] for place in blocks_of(bare.module, first, ("scales",), ("makes",)).places} >= {"0.weight"}
