"""The pattern `weights` by counting: how many are kept, which, and what a network with it reports."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from recipelang.errors import Refusal
from recipelang.methods.patterns.weights import Weights


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=60), st.integers(1, 99))
def test_the_lowest_scores_are_zero_and_of_equal_ones_the_last(values: list[int], percent: int) -> None:
    pattern, scores = Weights().at(percent / 100), torch.tensor(values, dtype=torch.float32)
    gone = min(len(values) - 1, math.ceil(Fraction(percent * len(values), 100)))
    order = sorted(range(len(values)), key=lambda k: (values[k], -k))
    assert (~pattern.mask(scores)).nonzero().flatten().tolist() == sorted(order[:gone])


@pytest.mark.parametrize("shape", [(8, 5), (4, 3, 3, 3), (7,)])
def test_masks_have_the_shape_of_the_weight_and_hold(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for share in (0.1, 0.5, 0.9):
        pattern = Weights(share)
        keep = pattern.mask(weight.abs())
        assert keep.shape == weight.shape and pattern.refuses(weight) is None
        assert pattern.holds(weight * keep) and not pattern.holds(weight)
        assert int(keep.sum()) == max(1, math.floor((1 - share) * weight.numel() + 1e-6))
    assert str(Weights(0.895)) == "89.5% sparse" and Weights(0.9).restriction == ""


def test_the_same_as_unstructured_pruning_of_torch() -> None:
    layer = nn.Linear(20, 12)
    keep = Weights(0.7).mask(layer.weight.detach().abs())
    prune.l1_unstructured(layer, "weight", amount=168)  # 70 % of 240
    assert torch.equal(keep, layer.weight_mask.bool())


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        Weights(0.5).mask(torch.tensor([1.0, torch.nan]))
    assert refusal.value.code == "RCP0704"
