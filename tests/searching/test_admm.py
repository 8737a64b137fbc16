"""The steps of ECC, in closed form: the weights' by trying every number, the paper's threshold, autograd."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recipelang.searching.admm import Factors, Multipliers, ascended, descended, factors, kept_after, narrowest, slope
from recipelang.searching.bilinear import BilinearCost

HALF = st.floats(0, 2, allow_nan=False).map(lambda x: round(x, 3))


def lagrangian(norms: list[float], widths: list[float], k: int, allowed: float, price: float, factor: float) -> float:
    """Of one group after k steps, written out."""
    over = max(0.0, widths[k] - allowed)
    return sum(norms[:k]) + price * widths[k] + factor / 2 * over**2


@given(st.lists(HALF, min_size=1, max_size=8), st.floats(0.05, 1), HALF, st.floats(0, 5))
def test_the_weights_step_minimises_the_lagrangian(
    norms: list[float], allowed: float, price: float, factor: float
) -> None:
    size = len(norms) + 1
    widths = [1 - k / size for k in range(size)]
    k = kept_after(torch.tensor(norms).double(), torch.tensor(widths).double(), allowed, price, factor)
    fitting = [j for j in range(size) if j == 0 or widths[j] >= allowed - 1e-9]
    values = {j: lagrangian(norms, widths, j, allowed, price, factor) for j in fitting}
    assert k in values
    assert values[k] == pytest.approx(min(values.values()), abs=1e-9)


@given(st.lists(st.floats(0.01, 3), min_size=2, max_size=8, unique=True), st.floats(0.1, 1), HALF, st.floats(0, 5))
def test_of_parts_in_the_order_of_their_norms_it_is_the_papers_threshold(
    norms: list[float], allowed: float, price: float, factor: float
) -> None:
    """A part stays if its norm is above y/N + ρ/2·([rank/N − u]₊² − [(rank − 1)/N − u]₊²), the largest first."""
    norms, size = sorted(norms), len(norms)
    stays = size
    for part, norm in enumerate(norms):
        rank = size - part
        over, before = (max(0.0, (rank - back) / size - allowed) for back in (0, 1))
        if norm < price / size + factor / 2 * (over**2 - before**2):
            stays = rank - 1
    at_least = max(1, next(n for n in range(size + 1) if n / size >= allowed - 1e-9))
    widths = torch.tensor([1 - k / size for k in range(size)]).double()
    k = kept_after(torch.tensor(norms[:-1]).double(), widths, allowed, price, factor)
    assert size - k == max(stays, at_least)


def cost() -> BilinearCost:
    return BilinearCost(((0, 1), (1, 1)), 0.1, (0.2, 0.3), (1.5, 0.4))


@given(st.tuples(*[st.floats(0.1, 1)] * 4), st.tuples(*[HALF] * 3), st.floats(0, 3), st.floats(0, 3))
def test_the_widths_step_goes_down_the_gradient_of_the_lagrangian(
    shares: tuple[float, ...], multipliers: tuple[float, ...], width: float, price: float
) -> None:
    used, allowed = torch.tensor(shares).double().reshape(2, 2)
    now = Multipliers(torch.tensor(multipliers[:2]).double(), torch.tensor(multipliers[2]).double())
    by, least = Factors((width, 2 * width), price, (0.1, 0.3)), torch.full((2,), 0.1).double()
    factor, rate = torch.tensor(by.width).double(), torch.tensor(by.rate).double()
    allowed.requires_grad_()
    over = (cost()(allowed) - 1).clamp_min(0)
    whole = (
        (now.width * (used - allowed)).sum()
        + (factor / 2 * (used - allowed).clamp_min(0) ** 2).sum()
        + now.cost * (cost()(allowed) - 1)
        + price / 2 * over**2
    )
    (gradient,) = torch.autograd.grad(whole, allowed)
    allowed = allowed.detach()
    assert torch.allclose(slope(used, allowed, now, cost(), by), gradient, atol=1e-6)
    down = descended(used, allowed, now, cost(), by, least)
    assert torch.allclose(down, (allowed - rate * gradient).clamp(0.1, 1), atol=1e-6)


def test_multipliers_rise_by_what_is_violated_and_never_fall_below_zero() -> None:
    used, reached, allowed = torch.tensor([[1.0, 0.5], [0.75, 0.5], [0.7, 0.5]]).double()
    now = Multipliers(torch.tensor([0.2, 0.1]).double(), torch.tensor(0.1).double())
    up = ascended(used, reached, allowed, now, cost(), Factors((4.0, 8.0), 2.0, (0.1, 0.1)))
    assert up.width.tolist() == pytest.approx([0.2 + 4 * 0.25, 0.1])
    assert float(up.cost) == pytest.approx(max(0.0, 0.1 + 2 * (float(cost()(allowed)) - 1)))
    low = ascended(
        used, torch.ones(2).double(), torch.full((2,), 0.1).double(), now, cost(), Factors((4.0, 4.0), 2.0, (0.1, 0.1))
    )
    assert low.width.tolist() == pytest.approx([0.2, 0.0]) and float(low.cost) == 0


def test_the_narrowest_width_keeps_what_is_allowed() -> None:
    widths = torch.tensor([1.0, 0.75, 0.5, 0.25]).double()
    assert [narrowest(widths, u) for u in (1.0, 0.8, 0.75, 0.5, 0.3, 0.25, 0.1)] == [0, 0, 1, 2, 2, 3, 3]


def test_alternating_steps_reach_the_budget_close_to_the_least_that_must_be_lost() -> None:
    """Three groups of eight parts with fixed norms; every choice of widths is tried for comparison."""
    ratios = []
    for seed in range(6):
        lost, best, uniform = alternated(seed)
        assert best <= lost <= uniform
        ratios.append(lost / best)
    assert sum(ratios) / len(ratios) < 1.5


def alternated(seed: int) -> tuple[float, float, float]:
    """What alternating steps lose, the least of all choices that meet the budget, and that of equal shares."""
    generator = torch.Generator().manual_seed(seed)
    norms = [torch.randn(8, generator=generator).double().exp().sort().values for _ in range(3)]
    unit = sum(float(each.sum()) for each in norms) / 3
    norms = [each[:-1] / unit for each in norms]
    both = torch.rand(2, generator=generator).double() + 0.1
    price = BilinearCost(((0, 1), (1, 2)), 0.0, (0.0,) * 3, tuple((2 * both / both.sum()).tolist()))
    widths = torch.arange(8, 0, -1).double() / 8
    by = factors(0.05, 0.0375, 0.005, price.slope(torch.ones(3).double()))
    now = Multipliers(torch.zeros(3).double(), torch.tensor(0.0).double())
    allowed, least = torch.ones(3).double(), torch.full((3,), 1 / 8).double()
    for _ in range(400):
        steps = [kept_after(norms[g], widths, float(allowed[g]), float(now.width[g]), by.width[g]) for g in range(3)]
        used = widths[steps]
        if float(price(used)) <= 1:
            break
        allowed = descended(used, allowed, now, price, by, least)
        reached = widths[[narrowest(widths, float(share)) for share in allowed]]
        now = ascended(used, reached, allowed, now, price, by)
    assert float(price(used)) <= 1

    def lost(steps: list[int]) -> float:
        return sum(float(each[:k].sum()) for each, k in zip(norms, steps, strict=True))

    grid = torch.cartesian_prod(*[torch.arange(8)] * 3)
    meeting = [row.tolist() for row in grid if float(price(widths[row])) <= 1]
    return lost(steps), min(map(lost, meeting)), min(lost(row) for row in meeting if len(set(row)) == 1)
