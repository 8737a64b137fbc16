"""MorphNet's penalty against the paper's sum over layers and autograd, its proximal step, and its width multiplier."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recipelang.measuring.proximal import kept_factors, soft
from recipelang.searching.bilinear import BilinearCost
from recipelang.searching.blocks import Blocks
from recipelang.searching.morphing import part_prices, pull, some, widest


def penalty(sizes: Sequence[torch.Tensor], alive: torch.Tensor, cost: BilinearCost) -> torch.Tensor:
    """G = Σ single_j·m_j + Σ both_ij·(m_i·A_j + A_i·m_j), m the means of |γ|, A the shares that are alive."""
    mean = torch.stack([size.mean() for size in sizes])
    pairs = zip(cost.pairs, cost.both, strict=True)
    alone = sum(price * one for price, one in zip(cost.single, mean, strict=True))
    return alone + sum(price * (mean[i] * alive[j] + alive[i] * mean[j]) for (i, j), price in pairs)


def test_the_penalty_of_a_chain_is_the_papers() -> None:
    """Σ over layers of C·(Σ|γ_in|·#alive out + #alive in·Σ|γ_out|), equation 4; its gradient C·#alive·sign(γ)."""
    generator = torch.Generator().manual_seed(0)
    gammas = [torch.randn(n, generator=generator).double().requires_grad_() for n in (4, 6, 5)]
    dead = [torch.rand(len(gamma), generator=generator) < 0.3 for gamma in gammas]
    with torch.no_grad():
        for gamma, gone in zip(gammas, dead, strict=True):
            gamma[gone] = 0
    factor = [2.0, 3.0]  # C of the two layers between the three groups
    alive = [int((~gone).sum()) for gone in dead]
    paper = sum(
        factor[k] * (gammas[k].abs().sum() * alive[k + 1] + alive[k] * gammas[k + 1].abs().sum()) for k in range(2)
    )
    cost = BilinearCost(((0, 1), (1, 2)), 0.0, (0.0,) * 3, (factor[0] * 4 * 6, factor[1] * 6 * 5))
    shares = torch.tensor([count / len(gamma) for count, gamma in zip(alive, gammas, strict=True)]).double()
    slopes = cost.slope(shares)
    for gamma, slope, expected in zip(gammas, slopes, torch.autograd.grad(paper, gammas), strict=True):
        assert torch.allclose(slope / len(gamma) * gamma.detach().sign(), expected)
    assert float(penalty([gamma.detach().abs() for gamma in gammas], shares, cost)) == pytest.approx(paper.item())


def test_a_stream_that_reads_itself_counts_twice() -> None:
    cost = BilinearCost(((0, 0),), 0.0, (0.0,), (4.0,))
    assert cost.slope(torch.tensor([0.5]).double()).tolist() == pytest.approx([4.0 * 2 * 0.5])


@given(st.integers(0, 999), st.floats(0.01, 2))
def test_the_step_is_the_minimum_of_its_problem(seed: int, least: float) -> None:
    """Of ½‖x − b‖² + t·‖x‖ for every row: no other point tried is better, and short rows are exactly zero."""
    generator = torch.Generator().manual_seed(seed)
    block = torch.randn(5, 3, generator=generator).double()
    found = block * kept_factors(block.norm(dim=1), torch.tensor(least))[:, None]

    def value(rows: torch.Tensor) -> torch.Tensor:
        return ((rows - block) ** 2).sum(1) / 2 + least * rows.norm(dim=1)

    assert ((found == 0).all(1) == (block.norm(dim=1) <= least)).all()
    others = [found + 0.1 * torch.randn(5, 3, generator=generator).double() for _ in range(20)]
    for other in [*others, block, torch.zeros_like(block)]:
        assert (value(found) <= value(other) + 1e-12).all()


def test_the_step_of_a_scalar_is_the_soft_threshold() -> None:
    gamma, least = torch.tensor([-1.0, 0.2, 0.5, 0.0]), torch.tensor([0.3, 0.3, 0.1, 1.0])
    found = gamma * kept_factors(gamma.abs(), least)
    assert found.tolist() == pytest.approx([-0.7, 0.0, 0.4, 0.0])
    assert torch.allclose(found, soft(gamma, least))


def cost_of(widths: list[list[int]], steps: list[int] | tuple[int, ...]) -> float:
    kept = [each[k] / each[0] for each, k in zip(widths, steps, strict=True)]
    return (kept[0] * kept[1] + kept[1] * kept[2]) / 2


@settings(max_examples=30)
@given(st.tuples(*[st.floats(0.1, 1)] * 3), st.floats(0.01, 1.2))
def test_the_largest_multiple_that_meets_the_budget(shares: tuple[float, ...], bound: float) -> None:
    widths = [[8, 6, 4, 2], [16, 12, 8, 4], [5, 4, 3, 2, 1]]
    _, found = widest(shares, widths, lambda steps: cost_of(widths, list(steps)) <= bound)
    kept = [each[k] for each, k in zip(widths, found, strict=True)]

    def multiple(factor: float) -> list[int]:
        room = [share * factor * each[0] * (1 + 1e-12) for share, each in zip(shares, widths, strict=True)]
        return [max([w for w in each if w <= most], default=min(each)) for each, most in zip(widths, room, strict=True)]

    tried = [multiple(factor / 20) for factor in range(1, 401)]
    meeting = [row for row in tried if (row[0] / 8 * row[1] / 16 + row[1] / 16 * row[2] / 5) / 2 <= bound]
    if meeting:
        assert all(a >= b for a, b in zip(kept, max(meeting), strict=True))
        assert cost_of(widths, found) <= bound
    else:
        assert kept == [2, 4, 1]


def test_equal_shares_are_one_multiplier_for_all() -> None:
    widths = [[10, *range(9, 0, -1)], [10, *range(9, 0, -1)]]
    for count, bound in itertools.product((0.3, 1.0), (0.25, 0.5, 1.0)):
        factor, found = widest([count] * 2, widths, lambda steps, b=bound: (10 - steps[0]) * (10 - steps[1]) / 100 <= b)
        widest_of_both = int(10 * bound**0.5)
        assert factor * count == pytest.approx(widest_of_both / 10)
        assert found in ([10 - widest_of_both] * 2, [9 - widest_of_both, 10 - widest_of_both])
        assert (10 - found[0]) * (10 - found[1]) / 100 <= bound, "one more of the first where there is room"


def test_parts_become_shorter_in_proportion_to_the_derivative_of_the_penalty() -> None:
    """Of two groups, one shared by four layers: ∂G/∂|γ|, over √M for the length that M scales have together."""
    cost = BilinearCost(((0, 0), (0, 1)), 0.1, (0.2, 0.3), (0.5, 1.5))
    blocks = [Blocks(4, (("a", 0, ()),) * 4), Blocks(6, (("b", 0, ()),))]
    alive = torch.tensor([0.5, 1.0]).double()
    sizes = [torch.ones(block.size, dtype=torch.float64, requires_grad=True) for block in blocks]
    slopes = torch.autograd.grad(penalty(sizes, alive, cost), sizes)
    expected = [float(slopes[0][0]) / 2, float(slopes[1][0])]
    assert part_prices(alive, blocks, cost).tolist() == pytest.approx([each / max(expected) for each in expected])


def test_the_pull_grows_and_removes_the_most_expensive_part_after_seven_updates_in_ten() -> None:
    pulls = [pull(step, 1000) for step in range(1000)]
    gone = next(n for n, total in enumerate(itertools.accumulate(pulls)) if total >= 1)
    assert gone == pytest.approx(707, abs=2)
    assert pulls == sorted(pulls)


def test_some_of_a_path_are_different_and_hold_its_ends() -> None:
    path = [(1.0,), (1.0,), (0.9,), (0.8,), (0.8,), (0.7,), (0.6,)]
    assert some(path, 3) == [(1.0,), (0.8,), (0.6,)]
    assert some(path, 9) == [(1.0,), (0.9,), (0.8,), (0.7,), (0.6,)]
    assert some(path[:2], 5) == [(1.0,)]
