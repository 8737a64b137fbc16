"""`eagleeye` against enumerating its seeded signatures by hand."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recipelang.budgets.bench import Workbench
from recipelang.kinds import Quiet
from recipelang.methods.allocations.eagleeye import EagleEye, scaled, scales
from recipelang.plan import Samples
from recipelang.surgery.network import Network
from recipelang.training.batchnorm import recalibrate


def macs(network: Network) -> float:
    return counted([m.out_channels for m in network.module if isinstance(m, nn.Conv2d)])


def counted(widths: list[int]) -> float:
    """Multiply-accumulates of `plain` at these widths."""
    first, second, third = widths
    return 9 * 64 * first + 9 * 64 * first * second + 9 * 16 * second * third + 3 * third


def loss_of(bench: Workbench, taken: list[int]) -> float:
    """The loss on the held out images with BatchNorm statistics of the others."""
    cut = recalibrate(bench.network(taken), bench.data, Samples("train", 512), seed=0, progress=Quiet())
    held, targets = (torch.cat(each) for each in zip(*bench.batches(), strict=True))
    with torch.no_grad():
        return float(nn.functional.cross_entropy(cut.module.eval()(held), targets))


def test_the_best_of_the_seeded_signatures_wins(bench: Callable[..., Workbench]) -> None:
    found, bound = bench(until="flops < 0.5", seed=7), 0.5
    steps = EagleEye(12).explore(found.queues, found)
    counts = [len(queue.steps) for queue in found.queues]
    draws, best = random.Random(7), list[tuple[float, list[int]]]()
    for _ in range(12):
        signature = [draws.random() for _ in counts]
        alpha = 0.0
        while True:  # along the ray, in small strides
            taken = [round(min(1.0, alpha * u) * n) for u, n in zip(signature, counts, strict=True)]
            left = [queue.group.size - queue.gone(k) for queue, k in zip(found.queues, taken, strict=True)]
            if counted(left) / macs(found.whole) <= bound:
                break
            alpha += 1e-3
        best.append((loss_of(found, taken), taken))
    expected = min(best, key=lambda pair: pair[0])
    assert steps == found.steps(expected[1])
    (told,) = found.told
    different = {tuple(taken) for _, taken in best}
    assert told.figures[0].value == len(different) and told.figures[0].of == 12
    assert sorted(told.plots[0].lines[0].y) == pytest.approx(
        sorted({tuple(taken): loss for loss, taken in best}.values()), rel=1e-3
    )
    assert "of the best signature" in told.note


def test_a_clock_that_disagrees_makes_the_winner_narrower_until_it_is_met(bench: Callable[..., Workbench]) -> None:
    def clock(network: Network) -> float:
        widths = [m.out_channels for m in network.module if isinstance(m, nn.Conv2d)]
        return 4000 + macs(network) + 3000 * sum(width in (3, 5) for width in widths)  # odd widths are slow, but one

    found = bench(until="latency < 0.75", clocks=clock)
    steps = EagleEye(4).explore(found.queues, found)
    taken = [sum(step.group == queue.group.name for step in steps) for queue in found.queues]
    assert found.met(taken) and clock(found.network(taken)) < 0.75 * clock(found.whole)
    signatures = EagleEye(4).drawn(3, 0)
    ways = {scaled(s, [len(q.steps) for q in found.queues], a) for s in signatures for a in [*scales(s, [3, 3, 5]), 0]}
    assert tuple(taken) in ways, "it is one of the signatures, at some scale"


def test_where_no_signature_meets_the_budget_everything_is_taken(bench: Callable[..., Workbench]) -> None:
    found = bench(until="flops < 0.001")
    steps = EagleEye(3).explore(found.queues, found)
    assert len(steps) == sum(len(queue.steps) for queue in found.queues) and not found.told


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 6)), min_size=1, max_size=5))
def test_scales_are_where_a_signature_takes_more(parts: list[tuple[float, int]]) -> None:
    signature, steps = tuple(u for u, _ in parts if u > 1e-3), [n for u, n in parts if u > 1e-3]
    taken = [scaled(signature, steps, alpha) for alpha in (0.0, *scales(signature, steps))]
    assert taken[0] == (0,) * len(steps) and taken[-1] == tuple(steps)
    assert all(all(b >= a for a, b in zip(one, two, strict=True)) for one, two in zip(taken, taken[1:], strict=False))
    between = [scaled(signature, steps, (k + 0.1234) / 51.7) for k in range(2000)]  # no ties
    assert set(between) <= set(taken), "nothing is between two scales"


def test_the_score_may_decide(bench: Callable[..., Workbench]) -> None:
    found = bench(until="flops < 0.5")
    EagleEye(3, by="score").explore(found.queues, found)
    assert all(0 <= y <= 1 for y in found.told[0].plots[0].lines[0].y)
