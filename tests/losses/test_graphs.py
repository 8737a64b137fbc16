"""Losses of graphs and of relations between images against their formulas written naively."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recipelang.errors import SettingError
from recipelang.methods.losses.irg import Irg
from recipelang.methods.losses.relational import Relational
from tests.losses.comparing import numbers, seen, value

functional = torch.nn.functional


# irg ----------------------------------------------------------------------------------------------------------------


def distance(one: Tensor, two: Tensor) -> float:
    return sum((a - b) ** 2 for a, b in zip(one.flatten().tolist(), two.flatten().tolist(), strict=True))


def graph(features: Tensor) -> list[float]:
    found = [distance(a, b) for a in features for b in features]
    return [d / max(found) for d in found]


def ways(one: Tensor, two: Tensor) -> list[float]:
    """How far each image moves; the first map averaged down to the second, whose channels are averaged in pairs."""
    first = functional.adaptive_avg_pool2d(one, two.shape[2:])
    second = (two[:, 0::2] + two[:, 1::2]) / 2
    found = [distance(a, b) for a, b in zip(first, second, strict=True)]
    return [d / max(found) for d in found]


def mean_square(one: list[float], two: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) / len(one)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_irg_is_the_published_code(seed: int, batch: int) -> None:
    mine = [numbers(seed, batch, 3, 4, 4), numbers(seed + 1, batch, 6, 2, 2)]
    theirs = [numbers(seed + 2, batch, 4, 8, 8), numbers(seed + 3, batch, 8, 4, 4)]
    outputs = numbers(seed + 4, batch, 3), numbers(seed + 5, batch, 3)
    got = value(Irg(0.7, 5.0, 3.0), seen(*mine, outputs=outputs[0]), (seen(*theirs, outputs=outputs[1]),))
    wanted = 0.7 * mean_square(outputs[0].flatten().tolist(), outputs[1].flatten().tolist())
    for one, two in zip(mine, theirs, strict=True):
        wanted += 5.0 * mean_square(graph(one), graph(two)) / 2
    wanted += 3.0 * mean_square(ways(*mine), ways(*theirs))
    assert float(got) == pytest.approx(wanted, rel=1e-8)


def test_irg_takes_tokens_maps_and_vectors_in_any_order() -> None:
    kinds = [numbers(0, 3, 10, 4), numbers(1, 3, 5, 4, 4), numbers(2, 3, 6), numbers(3, 3, 7, 2)]
    outputs = numbers(4, 3, 2)
    for mine in kinds:
        for theirs in kinds:
            leaf = mine.clone().requires_grad_()
            got = value(Irg(), seen(leaf, theirs, outputs=outputs), (seen(theirs, mine, outputs=outputs),))
            got.backward()
            assert got.isfinite() and leaf.grad is not None and leaf.grad.isfinite().all()
            assert leaf.grad.any() or mine is theirs


# relational ---------------------------------------------------------------------------------------------------------


def huber(z: float) -> float:
    return z * z / 2 if abs(z) < 1 else abs(z) - 0.5


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_relational_is_the_formula_of_the_paper(seed: int, batch: int) -> None:
    mine, theirs = numbers(seed, batch, 3, 2, 2), 9 * numbers(seed + 1, batch, 5)

    def between(x: Tensor) -> list[list[float]]:
        apart = [[math.sqrt(distance(a, b)) for b in x] for a in x]
        mean = sum(map(sum, apart)) / (batch * (batch - 1))
        return [[d / mean for d in row] for row in apart]

    def cosine(x: Tensor, i: int, j: int, k: int) -> float:
        if i == j or k == j:
            return 0.0
        one, two = x[i] - x[j], x[k] - x[j]
        return float(one @ two / one.norm() / two.norm())

    s, t = mine.mean((2, 3)), theirs
    images = range(batch)
    one, two = between(s), between(t)
    far = sum(huber(one[i][j] - two[i][j]) for i in images for j in images) / batch**2
    bent = sum(huber(cosine(s, i, j, k) - cosine(t, i, j, k)) for i in images for j in images for k in images)
    got = value(Relational(25.0, 50.0), seen(mine), (seen(theirs),))
    assert float(got) == pytest.approx(25 * far + 50 * bent / batch**3, rel=1e-7)


def test_relations_are_the_same_in_another_place_size_and_direction() -> None:
    x = numbers(0, 5, 4)
    turned = 3 * x @ torch.linalg.qr(numbers(1, 4, 4))[0] + 7
    assert float(value(Relational(), seen(turned), (seen(x),))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("loss", [Relational(), Irg()], ids=["relational", "irg"])
def test_gradients_are_those_of_finite_differences(loss: Any) -> None:
    theirs, outputs = numbers(9, 4, 3, 2, 2), numbers(8, 4, 3)
    leaves = numbers(1, 4, 3, 2, 2).requires_grad_(), numbers(2, 4, 3).requires_grad_()
    run = lambda x, o: value(loss, seen(x, outputs=o), (seen(theirs, outputs=outputs),))  # noqa: E731
    assert torch.autograd.gradcheck(run, leaves)


def test_losses_without_any_weight_are_refused() -> None:
    for nothing in (lambda: Irg(0, 0, 0), lambda: Relational(0, 0)):
        with pytest.raises(SettingError, match="weights are 0"):
            nothing()
