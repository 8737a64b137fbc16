"""`fpgm` worked out by hand, and against the definition: the filter nearest to the geometric median goes first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recipelang.methods.criteria.fpgm import FPGM


def scored(*filters: Tensor) -> list[list[float]]:
    evidence: Any = SimpleNamespace(filters={str(k): rows for k, rows in enumerate(filters)})
    return [score.tolist() for score in FPGM().score(evidence).values()]


def test_by_hand() -> None:
    """On a line at 0, 1 and 4: |0−1| + |0−4| = 5, 1 + 3 = 4, 4 + 3 = 7. A triangle of sides 3, 4, 5: 7, 8, 9."""
    assert scored(torch.tensor([[0.0], [1.0], [4.0]])) == [pytest.approx([5, 4, 7])]
    assert scored(torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])) == [pytest.approx([7, 8, 9])]


@given(st.integers(2, 9), st.integers(1, 6), st.integers(0, 99))
def test_against_the_definition(n: int, k: int, seed: int) -> None:
    """Eq 8 of the paper, filter by filter."""
    rows = torch.randn(n, k, generator=torch.Generator().manual_seed(seed))
    naive = [sum(float((x - other).norm()) for other in rows) for x in rows]
    assert scored(rows) == [pytest.approx(naive, rel=1e-5)]


def test_filters_that_are_nearly_equal_are_told_apart() -> None:
    """Distances from squared norms would be all rounding here: 1,000 ± 0.01."""
    rows = torch.tensor([[1000.0], [1000.01], [1000.03]])
    naive = (rows - rows.T).abs().sum(1).tolist()
    assert scored(rows)[0] == pytest.approx(naive, rel=1e-4)


def test_the_first_to_go_is_nearest_to_the_geometric_median() -> None:
    """The median by Weiszfeld's iteration, which knows nothing of sums of distances to filters."""
    rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double()
    median = rows.mean(0)
    for _ in range(500):
        weight = 1 / (rows - median).norm(dim=1).clamp_min(1e-12)
        median = (rows * weight[:, None]).sum(0) / weight.sum()
    first = min(range(40), key=scored(rows)[0].__getitem__)
    nearest = (rows - median).norm(dim=1).argsort()[:3].tolist()
    assert first in nearest


def test_layers_take_the_mean_over_their_filters(lab: Any) -> None:
    module = lab.small(2)
    scores = lab.ranking(FPGM(), lab.gathered(module, lab.images()))
    for block in "12":
        rows = module.get_parameter(f"{block}.conv.weight").detach().flatten(1)
        naive = [sum(float((x - other).norm()) for other in rows) for x in rows]
        assert scores[block] == pytest.approx(sum(naive) / len(naive), rel=1e-5)
