"""Codebooks: laws, brute force over all levels, and what is not one."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recipelang.surgery.entries import Wrong
from recipelang.surgery.restrictions.codebook import Codebook

NUMBERS = st.floats(-1e4, 1e4, width=32)


def nearest(levels: Tensor, values: Tensor) -> Tensor:
    """The nearest level of each value by trying all in fractions; of two that are equally near, the larger."""
    exact = [Fraction(level) for level in levels.tolist()]
    found = [min(exact, key=lambda level: (abs(Fraction(value) - level), -level)) for value in values.tolist()]
    return torch.tensor([float(level) for level in found])


@settings(max_examples=200, deadline=None)
@given(levels=st.lists(NUMBERS, min_size=2, max_size=20), values=st.lists(NUMBERS, min_size=1, max_size=20))
def test_the_laws_of_a_codebook(levels: list[float], values: list[float]) -> None:
    codebook, x = Codebook.of(torch.tensor(levels)), torch.tensor(values)
    assert sorted(codebook.levels.tolist()) == codebook.levels.tolist()
    assert torch.equal(codebook.apply(x), nearest(codebook.levels, x)), "the nearest of all, ties up"
    assert torch.equal(codebook.apply(codebook.apply(x)), codebook.apply(x)), "idempotent"
    codes = codebook.codes(x)
    assert codes.dtype == torch.uint8 and torch.equal(codebook.values(codes), codebook.apply(x))
    assert codebook.holds_zero == (0 in codebook.levels.tolist())
    if codebook.holds_zero:
        assert codebook.apply(torch.zeros(1)).tolist() == [0.0], "a masked weight stays zero"


@settings(max_examples=50, deadline=None)
@given(axis=st.integers(0, 3), count=st.integers(2, 9), seed=st.integers(0, 1000))
def test_rows_have_levels_of_their_own(axis: int, count: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 3, 2, 5, generator=draws)
    levels = torch.randn(weight.shape[axis], count, generator=draws)
    codebook = Codebook.of(levels, axis)
    by_hand = [nearest(mine, row.flatten()) for mine, row in zip(codebook.levels, weight.movedim(axis, 0), strict=True)]
    assert torch.equal(codebook.apply(weight).movedim(axis, 0).flatten(1), torch.stack(by_hand))
    assert torch.equal(codebook.values(codebook.codes(weight)), codebook.apply(weight))


def test_two_levels_are_the_sign() -> None:
    sign = Codebook.of(torch.tensor([1.0, -1.0]))
    assert sign.apply(torch.tensor([-3.0, -1e-30, 0.0, 1e-30, 3.0])).tolist() == [-1, -1, 1, 1, 1]
    assert sign.bits == 1 and not sign.holds_zero
    assert Codebook.of(torch.tensor([-1.0, 0.0, 1.0])).bits == 2


def test_gradients_pass_everywhere_and_the_type_stays() -> None:
    codebook = Codebook.of(torch.tensor([-1.0, 1.0]))
    values = torch.tensor([-3.0, -0.4, 0.0, 0.7, 5.0], requires_grad=True)
    (codebook.apply(values) * torch.arange(5)).sum().backward()
    assert values.grad is not None and values.grad.tolist() == [0, 1, 2, 3, 4]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert codebook.apply(values).dtype == torch.float32
    assert codebook.apply(values.bfloat16()).dtype == torch.bfloat16


def test_a_middle_that_float32_does_not_have_is_rounded_up() -> None:
    low = torch.tensor(1.0)
    high = torch.nextafter(low, torch.tensor(2.0))
    codebook = Codebook.of(torch.stack([low, high]))
    assert codebook.apply(torch.stack([low, high])).tolist() == [float(low), float(high)]


def test_multiplied_rows_have_multiplied_levels() -> None:
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    codebook = Codebook.of(torch.randn(4, 3, generator=torch.Generator().manual_seed(2)), 0)
    factor = torch.tensor([2.0, -0.5, 1.0, -4.0])  # powers of two: no rounding
    after = codebook.multiplied(factor).apply(weight * factor[:, None])
    assert torch.equal(after, codebook.apply(weight) * factor[:, None])


def with_edges() -> Codebook:
    levels, edges = torch.tensor([[-2.0, 0, 1], [-0.5, 0, 4]]), torch.tensor([[-0.1, 0.1], [-1.0, 2.0]])
    return Codebook(levels, 0, edges=edges)


def test_edges_decide_instead_of_the_nearest_level() -> None:
    weight = torch.tensor([[-0.2, -0.1, 0.05, 0.1], [-1.1, -1.0, 1.9, 2.0]])
    assert with_edges().apply(weight).tolist() == [[-2, 0, 0, 1], [-0.5, 0, 0, 4]]
    again = Codebook.read(with_edges().json(), with_edges().tensors())
    assert torch.equal(again.apply(weight), with_edges().apply(weight))
    assert with_edges().stored(weight) == 2 + 4 * 6, "2 bits for each of 8 weights, and 6 levels"


def test_edges_follow_rows_and_factors() -> None:
    weight = torch.tensor([[-0.2, -0.05, 0.05, 0.2], [-1.1, -0.9, 1.9, 2.1]])
    factor = torch.tensor([-2.0, 4.0])
    after = with_edges().multiplied(factor).apply(weight * factor[:, None])
    assert torch.equal(after, with_edges().apply(weight) * factor[:, None])
    swapped = with_edges().carried(weight.shape, lambda tensor: tensor[[1, 0], 1:])
    assert torch.equal(swapped.apply(weight[[1, 0], 1:]), with_edges().apply(weight)[[1, 0], 1:])


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_follow_their_channels(axis: int) -> None:
    weight = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
    codebook = Codebook.of(torch.randn(weight.shape[axis], 4, generator=torch.Generator().manual_seed(3)), axis)

    def change(tensor: Tensor) -> Tensor:
        return tensor[[3, 0, 5]][:, [4, 1]]

    assert torch.equal(codebook.carried(weight.shape, change).apply(change(weight)), change(codebook.apply(weight)))
    whole = Codebook.of(torch.tensor([0.0, 1.0]))
    assert whole.carried(weight.shape, change) is whole


@pytest.mark.parametrize(
    ("told", "tensors"),
    [
        ({"axis": -1}, {}),
        ({"axis": 8}, {}),
        ({"axis": True}, {}),
        ({"axis": 0}, {}),
        ({"trained": 1}, {}),
        ({"trained": "a\nb"}, {}),
        ({"trained": "a" * 2000}, {}),
        ({}, {"levels": torch.tensor([1.0])}),
        ({}, {"levels": torch.arange(257.0)}),
        ({}, {"levels": torch.tensor([1.0, 0.0])}),
        ({}, {"levels": torch.tensor([0.0, float("nan")])}),
        ({}, {"levels": torch.tensor([0.0, float("inf")])}),
        ({}, {"levels": torch.tensor([0.0, 1.0], dtype=torch.float64)}),
        ({}, {"levels": torch.zeros(2, 2)}),
        ({}, {"levels": torch.tensor(0.0)}),
        ({}, {"more": torch.tensor(0)}),
        ({}, {"edges": torch.tensor([0.1])}),
        ({}, {"edges": torch.tensor([0.1, -0.1])}),
        ({}, {"edges": torch.tensor([0.1, float("inf")])}),
        ({}, {"edges": torch.tensor([0.1, 0.2], dtype=torch.float64)}),
    ],
)
def test_what_is_not_a_codebook_is_refused(told: dict[str, object], tensors: dict[str, Tensor]) -> None:
    codebook = Codebook.of(torch.tensor([-1.0, 0.0, 1.0]))
    again = Codebook.read(codebook.json(), codebook.tensors())
    assert torch.equal(again.levels, codebook.levels) and again.json() == codebook.json()
    with pytest.raises(Wrong):
        Codebook.read({**codebook.json(), **told}, {**codebook.tensors(), **tensors})
