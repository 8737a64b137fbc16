"""Chains of widths against enumeration, and expected costs against enumeration, draws and autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recipelang.supernets import markov
from recipelang.supernets.costs import CostModel, read_costs

numbers = st.floats(-4, 4, allow_nan=False)
chains = st.lists(numbers, min_size=1, max_size=6)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def walks(logits: list[float]) -> dict[int, float]:
    """Bins kept → probability, by every outcome of every transition, whether the walk comes to it or not."""
    found = dict.fromkeys(range(len(logits) + 1), 0.0)
    for outcome in product((True, False), repeat=len(logits)):
        chance = math.prod(sigmoid(a) if passed else 1 - sigmoid(a) for a, passed in zip(logits, outcome, strict=True))
        found[outcome.index(False) if False in outcome else len(logits)] += chance
    return found


@settings(max_examples=40)
@given(chains)
def test_marginals_are_those_of_all_walks(logits: list[float]) -> None:
    kept = markov.kept(torch.tensor(logits, dtype=torch.float64))
    known = walks(logits)
    assert markov.chances(kept).tolist() == pytest.approx([known[count] for count in range(len(logits) + 1)])
    beyond = [sum(chance for count, chance in known.items() if count > k) for k in range(len(logits))]
    assert kept.tolist() == pytest.approx(beyond)
    mean = sum(count * chance for count, chance in known.items())
    assert abs(markov.expected_width(torch.tensor(logits, dtype=torch.float64)) - mean) <= 0.5 + 1e-9


@pytest.mark.parametrize("bins", [1, 2, 7])
def test_a_chain_starts_with_all_widths_equally_likely(bins: int) -> None:
    assert markov.chances(markov.kept(markov.even(bins))).tolist() == pytest.approx([1 / (bins + 1)] * (bins + 1))


def test_draws_are_as_frequent_as_enumeration_says() -> None:
    logits, draws = [1.0, -0.5, 2.0], torch.Generator().manual_seed(0)
    counts = [0] * 4
    for _ in range(4000):
        counts[markov.drawn(torch.tensor(logits), draws)] += 1
    for count, chance in walks(logits).items():
        assert abs(counts[count] / 4000 - chance) < 4 * math.sqrt(chance * (1 - chance) / 4000)


def test_gates_are_the_probabilities_of_each_part() -> None:
    gates = markov.part_gates(torch.tensor([0.9, 0.4]), [(3,), (0, 2)], 5)
    assert gates.tolist() == pytest.approx([0.4, 1.0, 0.4, 0.9, 1.0])


@pytest.mark.parametrize(("cost", "wanted"), [(0.5, -1), (0.97, 0), (1.0, 0), (1.02, 1), (2.0, 1)])
def test_the_regulariser_pulls_toward_the_budget(cost: float, wanted: int) -> None:
    at = torch.tensor(cost, dtype=torch.float64, requires_grad=True)
    value = markov.distance(at)
    value.backward()
    naive = math.log(1 - cost) if cost < 0.95 else 0.0 if cost <= 1 else math.log(cost - 0.95)
    assert value.item() == pytest.approx(naive)
    assert at.grad is not None and math.copysign(1, float(at.grad)) * (float(at.grad) != 0) == wanted
    assert abs(float(at.grad)) <= 20 + 1e-9


# -- expected costs -----------------------------------------------------------------------------------

BINS = ((2, 2, 3), (1, 4), (2, 2))
SIZES = (10, 6, 5)


def flops(lost: Sequence[int]) -> float:
    """Of three convolutions and a linear layer: group 0 is on both sides of the second one (a residual sum)."""
    a, b, c = (size - sum(bins[:k]) for size, bins, k in zip(SIZES, BINS, lost, strict=True))
    return 3 * 9 * a * 64 + a * a * 9 * 64 + a * b * 9 * 16 + b * c * 16 + c * 10


def chance_lists(seed: int) -> list[Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return [torch.randn(len(bins), generator=draws, dtype=torch.float64) for bins in BINS]


def model() -> CostModel:
    return read_costs(flops, BINS, [(0, 1), (1, 2)])


@pytest.mark.parametrize("seed", range(3))
def test_an_expected_cost_is_the_mean_over_all_widths(seed: int) -> None:
    chances = [markov.chances(markov.kept(logits)).flip(0) for logits in chance_lists(seed)]
    mean = 0.0
    for lost in product(*(range(len(bins) + 1) for bins in BINS)):
        mean += math.prod(float(chance[k]) for chance, k in zip(chances, lost, strict=True)) * flops(lost)
        assert model().of(lost) == pytest.approx(flops(lost))
    assert float(model().expected(chances)) == pytest.approx(mean)


def test_an_expected_cost_is_the_mean_of_draws() -> None:
    logits, draws = chance_lists(0), torch.Generator().manual_seed(1)
    chances = [markov.chances(markov.kept(each)).flip(0) for each in logits]
    found = [
        flops([len(bins) - markov.drawn(each, draws) for bins, each in zip(BINS, logits, strict=True)])
        for _ in range(3000)
    ]
    values = torch.tensor(found, dtype=torch.float64)
    assert abs(float(values.mean()) - float(model().expected(chances))) < 4 * float(values.std()) / math.sqrt(3000)


def test_gradients_of_an_expected_cost_are_those_of_enumeration() -> None:
    logits = [each.requires_grad_() for each in chance_lists(2)]
    cost = model().expected([markov.chances(markov.kept(each)).flip(0) for each in logits])
    found = torch.autograd.grad(cost, logits)

    def mean(changed: list[Tensor]) -> float:
        each = [walks(chain.tolist()) for chain in changed]
        total = 0.0
        for kept in product(*(range(len(bins) + 1) for bins in BINS)):
            lost = [len(bins) - k for bins, k in zip(BINS, kept, strict=True)]
            total += math.prod(chance[k] for chance, k in zip(each, kept, strict=True)) * flops(lost)
        return total

    for queue, gradient in enumerate(found):
        for k in range(len(gradient)):
            ends = []
            for sign in (1, -1):
                changed = [each.detach().clone() for each in logits]
                changed[queue][k] += sign * 1e-4
                ends.append(mean(changed))
            assert float(gradient[k]) == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-4, abs=1e-3)
