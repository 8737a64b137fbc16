"""Sensitivities against sums written out, and the bounds of the paper against what happens."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recipelang.measuring.sensitivity import inclusion, sampling_error, scaled_columns, sensitivities


def naive(rows: Tensor, weight: Tensor, columns: Tensor) -> list[float]:
    """Definition 1, term by term: one group of inputs, weights O×K with K in their order."""
    found = [0.0] * len(columns)
    for row, out in itertools.product(rows[0], weight):
        terms = [float(w * a) for w, a in zip(out, row, strict=True)]
        for sign in (1, -1):
            signed = [max(0.0, sign * term) for term in terms]
            if sum(signed):
                for part, own in enumerate(columns.tolist()):
                    found[part] = max(found[part], sum(signed[k] for k in own) / sum(signed))
    return found


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.integers(1, 6), st.integers(0, 99))
def test_against_the_definition(parts: int, each: int, outputs: int, count: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(1, count, parts * each + 2, generator=random)  # two columns are of another group
    weight = torch.randn(outputs, parts * each + 2, generator=random)
    columns = torch.randperm(parts * each, generator=random).reshape(parts, each)
    found = sensitivities(rows, weight, columns)
    assert found.tolist() == pytest.approx(naive(rows, weight, columns), rel=1e-4)


def test_by_hand() -> None:
    """2·1 and 1·3 of 5 in one output; 1·1 alone positive, 1·3 alone negative in the other."""
    rows, weight = torch.tensor([[[1.0, 3.0]]]), torch.tensor([[2.0, 1.0]])
    columns = torch.tensor([[0], [1]])
    assert sensitivities(rows, weight, columns).tolist() == pytest.approx([0.4, 0.6])
    both = torch.tensor([[2.0, 1.0], [1.0, -1.0]])
    assert sensitivities(rows, both, columns).tolist() == [1, 1]


def test_the_columns_of_convolutions_and_of_groups() -> None:
    """A part of a grouped convolution is read in every group; a kernel's positions are columns of one channel."""
    random = torch.Generator().manual_seed(0)
    weight = torch.rand(4, 3, 2, 2, generator=random)  # 2 groups of 2 outputs, 3 inputs each
    rows = torch.rand(2, 7, 12, generator=random)
    columns = torch.tensor([[k * 3 + i + g * 12 for g in (0, 1) for k in range(4)] for i in range(3)])
    found = sensitivities(rows, weight, columns)
    expected = torch.zeros(3)
    for g, i in itertools.product((0, 1), range(3)):
        matrix = weight[2 * g : 2 * g + 2].movedim(1, -1).flatten(1)
        own = [k * 3 + i for k in range(4)]
        share = (rows[g][:, own] @ matrix[:, own].T) / (rows[g] @ matrix.T)
        expected[i] = max(expected[i], share.max())
    assert torch.allclose(found, expected)


def test_a_part_that_nothing_reads_has_none() -> None:
    weight = torch.randn(3, 4)
    weight[:, 1] = 0
    assert sensitivities(torch.randn(1, 9, 4), weight, torch.arange(4)[:, None])[1] == 0


def test_the_bound_inverts_the_number_of_draws() -> None:
    """m = (6 + 2ε) S K log(4η/δ) / ε², Theorem 3."""
    for total, draws, outputs, failure in ((1.5, 40, 16, 0.05), (8.0, 1000, 512, 0.01)):
        error = sampling_error(total / draws, outputs, failure)
        assert (6 + 2 * error) * total * math.log(4 * outputs / failure) / error**2 == pytest.approx(draws)
    assert sampling_error(0, 16, 0.05) == 0


def test_the_bound_holds_for_parts_that_are_drawn() -> None:
    """On the rows that the sensitivities are of (C = 1), sums are outside the bound in at most δ of the draws, and
    right on average."""
    random = torch.Generator().manual_seed(0)
    parts, outputs, count, failure = 400, 6, 20, 0.1
    rows, weight = torch.rand(1, count, parts, generator=random), torch.rand(outputs, parts, generator=random)
    columns = torch.arange(parts)[:, None]
    sensitivity = sensitivities(rows, weight, columns)
    threshold = float(sensitivity.sum()) / 300  # 300 draws
    error = sampling_error(threshold, outputs * count, failure, unseen=1)
    assert error < 1, "a bound that says something"
    chance = inclusion(sensitivity, threshold)
    whole = rows[0] @ weight.T
    failed, total = 0, torch.zeros_like(whole)
    for _ in range(400):
        drawn = (torch.empty(parts).exponential_(generator=random) / sensitivity * threshold <= 1).float()
        left = rows[0] @ scaled_columns(weight, columns, drawn / chance).T
        failed += bool(((left - whole).abs() > error * whole).any())
        total += left
    assert failed <= failure * 400
    assert torch.allclose(total / 400, whole, rtol=0.05)


def test_the_bound_holds_for_parts_that_are_removed() -> None:
    """Without drawing, a sum loses at most the shares of what is removed."""
    random = torch.Generator().manual_seed(0)
    rows, weight = torch.randn(1, 50, 24, generator=random), torch.randn(5, 24, generator=random)
    sensitivity = sensitivities(rows, weight, torch.arange(24)[:, None])
    gone = sensitivity.argsort()[:8]
    bound = float(sensitivity[gone].sum())
    terms = rows[0][:, None] * weight
    lost = terms[..., gone].sum(2).abs()
    assert bool((lost <= bound * terms.abs().sum(2) + 1e-6).all())


def test_columns_are_scaled_where_they_are() -> None:
    weight = torch.randn(4, 3, 2, 2)
    columns = torch.tensor([[k * 3 + i for k in range(4)] for i in (0, 2)])
    scaled = scaled_columns(weight, columns, torch.tensor([2.0, 0.5]))
    assert torch.allclose(scaled, weight * torch.tensor([2.0, 1.0, 0.5])[:, None, None])
