"""`wanda` against its formula in loops, brute force over groups, and what must not matter."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang.methods.criteria.magnitude import Magnitude
from recipelang.methods.criteria.wanda import Wanda
from recipelang.methods.patterns.nm import NM
from recipelang.scoring.evidence import Gathered


def linear(lab: Any, inputs: Tensor, outputs: int = 3, batch: int = 16) -> Gathered:
    """Evidence about one linear layer between the images (N×K, as N×1×1×K) and the scores."""
    torch.manual_seed(2)
    module = nn.Sequential(nn.Flatten(), nn.Linear(inputs.shape[1], outputs))
    split = (inputs[:, None, None], torch.zeros(len(inputs), dtype=torch.long))
    return lab.gathered(module, lab.Images({"train": split}, outputs, batch=batch))


def test_the_score_is_the_formula(lab: Any) -> None:
    inputs = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    evidence = linear(lab, inputs)
    weight, scores = evidence.weights["1.weight"].tolist(), Wanda().score(evidence)["1.weight"].tolist()
    for i in range(3):
        for j in range(8):
            norm = sum(row[j] ** 2 for row in inputs.tolist()) ** 0.5
            assert scores[i][j] == pytest.approx(abs(weight[i][j]) * norm, rel=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_an_input_of_a_convolution_is_a_channel_at_a_place_of_the_kernel(lab: Any, groups: int) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 8, 3, padding=1, stride=2, groups=groups)
    module = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.randn(5, 4, 5, 5)
    evidence = lab.gathered(module, lab.Images({"train": (images, torch.zeros(5, dtype=torch.long))}, 8, batch=2))
    scores, weight, padded = Wanda().score(evidence)["0.weight"], evidence.weights["0.weight"], F.pad(images, [1] * 4)
    for o, i, y, x in [(0, 0, 0, 0), (7, 0, 2, 1), (3, 4 // groups - 1, 1, 2), (5, 0, 0, 2)]:
        channel = o // (8 // groups) * (4 // groups) + i
        seen = [padded[n, channel, y + 2 * r, x + 2 * c] for n in range(5) for r in range(3) for c in range(3)]
        norm = sum(float(value) ** 2 for value in seen) ** 0.5
        assert float(scores[o, i, y, x]) == pytest.approx(abs(float(weight[o, i, y, x])) * norm, rel=1e-5)


@settings(max_examples=20)
@given(seed=st.integers(0, 999), n=st.integers(1, 3))
def test_of_every_group_the_best_stay(lab: Any, seed: int, n: int) -> None:
    inputs = torch.randn(12, 8, generator=torch.Generator().manual_seed(seed)) * torch.arange(1.0, 9)
    evidence = linear(lab, inputs)
    weight = evidence.weights["1.weight"]
    keep = NM(n, 4).mask(Wanda().score(evidence)["1.weight"])
    worth = weight.abs() * inputs.norm(dim=0)
    for row in range(3):
        for start in (0, 4):
            group = worth[row, start : start + 4]
            sums = {places: float(group[list(places)].sum()) for places in combinations(range(4), n)}
            best = max(sums, key=sums.__getitem__)
            assert keep[row, start : start + 4].nonzero().flatten().tolist() == list(best)


@settings(max_examples=20)
@given(order=st.permutations(range(12)), batch=st.integers(1, 12))
def test_neither_the_order_nor_the_batches_matter(lab: Any, order: list[int], batch: int) -> None:
    inputs = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    expected = Wanda().score(linear(lab, inputs))["1.weight"]
    found = Wanda().score(linear(lab, inputs[order], batch=batch))["1.weight"]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_with_inputs_of_norm_one_it_is_magnitude(lab: Any) -> None:
    inputs = F.normalize(torch.randn(12, 8, generator=torch.Generator().manual_seed(0)), dim=0)
    evidence = linear(lab, inputs)
    torch.testing.assert_close(Wanda().score(evidence)["1.weight"], Magnitude().score(evidence)["1.weight"])


def test_what_no_input_reaches_has_no_score_and_what_is_always_zero_scores_zero(lab: Any) -> None:
    evidence = linear(lab, torch.randn(12, 8) * (torch.arange(8) != 3))
    evidence.module.get_submodule("0").add_module("idle", nn.Linear(8, 8))  # flattening takes no notice of it
    scores = Wanda().score(evidence)
    assert set(scores) == set(evidence.weights) == {"1.weight"}
    assert (scores["1.weight"] == 0).all(dim=0).tolist() == [j == 3 for j in range(8)]
