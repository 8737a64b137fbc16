"""Quantizers that train weights for levels that a formula gives, each against its paper, and autograd."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from learners import NOW, gradient, method, normal, of_activation, of_weight
from scipy.stats import norm
from torch import Tensor

from recipelang.kinds import Moment

# dorefa ---------------------------------------------------------------------------------------


def dorefa(weight: Tensor, steps: int, end: float) -> Tensor:
    """Zhou et al. 2016, equation 9, with this many steps, times the end of the range."""
    share = weight.tanh() / (2 * weight.tanh().abs().max()) + 0.5
    return end * (2 * (steps * share).round() / steps - 1)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("name", ["dorefa", "pact"])
def test_dorefa_is_the_paper(bits: int, name: str) -> None:
    quantizer, weight = method(name), normal(8, 40) * 0.4
    grid = of_weight(quantizer, weight, bits)
    computed = quantizer.computed(weight, grid, None, NOW)
    end = float(weight.abs().max())
    expected = dorefa(weight.double(), 2**bits - 2, end)
    assert ((computed - expected).abs() > 1e-5).float().mean() < 0.002, "all but ties of rounding"
    if bits == 8:
        assert torch.allclose(computed, weight.tanh() / weight.tanh().abs().max() * end, atol=end / 100)
    # gradients through tanh and the maximum, none of the rounding
    upstream = normal(8, 40, seed=1)

    def smooth(v: Tensor) -> Tensor:
        return end * v.tanh() / v.tanh().abs().max()

    ours = gradient(lambda v: quantizer.computed(v, grid, None, NOW), weight, upstream)
    assert torch.allclose(ours, gradient(smooth, weight, upstream), atol=1e-4)
    left = weight.clone()
    assert torch.allclose(quantizer.finish(grid, None, left).apply(left), computed, atol=1e-6), "what is executed"


def test_dorefa_rounds_gradients_of_each_image() -> None:
    from recipelang.methods.quantizers.dorefa import rounded_gradient

    g = normal(3, 4, 5, 5) * torch.tensor([1.0, 10.0, 0.0]).view(3, 1, 1, 1)
    torch.manual_seed(3)
    ours = rounded_gradient(g, 4)
    torch.manual_seed(3)
    noise = (torch.rand_like(g) - 0.5) / 15
    for k in range(2):
        most = g[k].abs().max()
        share = (g[k] / (2 * most) + 0.5 + noise[k]).clamp(0, 1)
        assert torch.allclose(ours[k], 2 * most * ((15 * share).round() / 15 - 0.5))
        assert len(ours[k].unique()) <= 16
    assert not ours[2].abs().max() > 1e-20
    many = torch.stack([rounded_gradient(g[:1], 2) for _ in range(600)]).mean(0)
    assert (many - g[:1]).abs().max() < 0.2 * g[:1].abs().max(), "unbiased but at the ends"


def test_dorefa_reaches_the_values_before() -> None:
    quantizer, values = method("dorefa", gradients=2), normal(2, 3, 4, 4).relu()
    grid = of_activation(quantizer, values, 4)
    found = gradient(lambda v: quantizer.computed(v, grid, None, NOW), values, normal(2, 3, 4, 4, seed=1))
    assert len(found[0].unique()) <= 5


# wrpn and qnn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_wrpn_is_the_paper(bits: int) -> None:
    """Weights within -1 … 1 with 2^(b-1) - 1 steps on each side, activations within 0 … 1 with 2^b - 1."""
    quantizer, n, m = method("wrpn"), 2 ** (bits - 1) - 1, 2**bits - 1
    weight = (normal(6, 50) / 3).clamp(-1, 1)
    weight[0, 0] = 1.0
    grid = of_weight(quantizer, weight, bits)
    assert torch.allclose(quantizer.computed(weight, grid, None, NOW), (n * weight).round() / n, atol=1e-6)
    values = (normal(1000) / 2).abs().clamp(0, 1)
    values[0] = 1.0
    seen = of_activation(quantizer, values, bits)
    assert torch.allclose(quantizer.computed(values, seen, None, NOW), (m * values).round() / m, atol=1e-6)


@pytest.mark.parametrize("quantizer", [method("wrpn"), method("qnn"), method("qnn", steps="log")])
def test_weights_stay_within_the_range(quantizer: Any) -> None:
    weight = normal(6, 50)
    one = of_weight(quantizer, weight, 3)
    moved, ends = weight * 3, one.apply(torch.tensor([[-1e3] * 50, [1e3] * 50] * 3))[:2, 0]
    with torch.no_grad():
        quantizer.after_step(moved, one, None, NOW, None)
    assert torch.allclose(moved, (weight * 3).clamp(float(ends[0]), float(ends[1])))
    quantizer.after_step(None, one, None, NOW, None)  # an activation


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_qnn_has_powers_of_two(bits: int) -> None:
    quantizer, weight, upstream = method("qnn", steps="log"), normal(6, 50) / 4, normal(6, 50, seed=1)
    book = of_weight(quantizer, weight, bits)
    levels = book.levels[book.levels > 0]
    assert torch.equal(levels.log2(), levels.log2().round()) and book.holds_zero
    assert float(levels.max()) == 2 ** round(math.log2(float(weight.abs().max())))
    assert book.count == min(2**bits - 1, 201)
    assert book.bits <= bits
    computed = quantizer.computed(weight, book, None, NOW)
    nearest = book.levels[(weight[..., None] - book.levels).abs().argmin(-1)]
    assert ((computed - weight).abs() <= (nearest - weight).abs() + 1e-7).all()
    inside = (weight > book.levels[0]) & (weight < book.levels[-1])
    ours = gradient(lambda v: quantizer.computed(v, book, None, NOW), weight, upstream)
    assert torch.equal(ours[inside], upstream[inside]) and not ours[~inside].any()
    seen = of_activation(quantizer, weight.abs(), bits)
    assert float(seen.levels.min()) == 0 and seen.bits <= bits


# faq ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("shift", [0.0, -2.0, 5.0])
def test_faq_has_the_smallest_power_of_two(bits: int, shift: float) -> None:
    quantizer = method("faq", share=1.0)
    weight = normal(6, 50) * 0.7
    step = float(of_weight(quantizer, weight, bits).scale)
    high = 2 ** (bits - 1) - 1
    assert math.log2(step) == round(math.log2(step))
    assert step / 2 * high < float(weight.abs().max()) <= step * high
    values = normal(4000) + shift
    grid = of_activation(quantizer, values, bits)
    step = float(grid.scale)
    assert math.log2(step) == round(math.log2(step))
    ends = [step * (code - int(grid.zero)) for code in (0, 2**bits - 1)]
    assert ends[0] <= float(values.min().clamp_max(0)) and float(values.max().clamp_min(0)) <= ends[1]
    inside = of_activation(method("faq", share=0.9), values, 8)
    assert float(inside.scale) <= float(of_activation(quantizer, values, 8).scale)


# inq ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_inq_has_the_levels_of_the_paper(bits: int) -> None:
    weight = normal(6, 50) * 0.3
    book = of_weight(method("inq"), weight, bits)
    first = math.floor(math.log2(4 * float(weight.abs().max()) / 3))
    last = first + 1 - 2 ** (bits - 1) // 2
    sizes = [2.0**n for n in range(last, first + 1)]
    assert sorted(book.levels.tolist()) == sorted([*(-s for s in sizes), 0.0, *sizes])


def inq(weight: float, sizes: list[float]) -> float:
    """Equation 4: β·sgn(w) where (α + β)/2 ≤ |w| < 3β/2, else 0; α, β neighbours of the sorted 0 and sizes."""
    for alpha, beta in zip([0.0, *sizes], sizes, strict=False):
        if (alpha + beta) / 2 <= abs(weight) < (3 * beta / 2 if beta == sizes[-1] else (beta + 2 * beta) / 2):
            return math.copysign(beta, weight)
    return 0.0


def test_inq_freezes_the_largest_first() -> None:
    quantizer, weight = method("inq"), (normal(10, 20) * 0.3).requires_grad_()
    book = of_weight(quantizer, weight.detach(), 4)
    state = quantizer.begin(book, weight)
    sizes = [float(s) for s in book.levels[book.levels > 0]]
    start, moved = weight.detach().clone(), weight.detach()
    for step in range(12):
        moment = Moment(step, 12, 4)
        shares = [0.5, 0.75, 0.875][step * 3 // 12]
        computed = quantizer.computed(weight, book, state, moment)
        assert int(state.frozen.sum()) == round(shares * 200)
        free = ~state.frozen
        assert torch.equal(computed[free], weight[free])
        found = gradient(lambda v, moment=moment: quantizer.computed(v, book, state, moment), moved, torch.ones(10, 20))
        assert torch.equal(found, free.float())
        before, held = state.frozen.clone(), state.held.clone()
        with torch.no_grad():
            weight += 0.001 * torch.randn(10, 20, generator=torch.Generator().manual_seed(step))
        quantizer.after_step(weight, book, state, moment, None)
        assert (state.frozen >= before).all() and torch.equal(state.held[before], held[before]), "for good"
        more = state.frozen & ~before
        if more.any():
            assert weight.detach().abs()[more].min() >= weight.detach().abs()[~state.frozen].max()
    first = start.flatten().abs().topk(100).indices
    for k in first.tolist():
        assert float(state.held.flatten()[k]) == inq(float(start.flatten()[k]), sizes)
    left = weight.detach().clone()
    assert quantizer.finish(book, state, left) is book
    assert torch.equal(book.apply(left), left) and state.frozen.all()


@pytest.mark.parametrize("shares", [(0.5,), (0.5, 0.4, 1.0), (0.5, 0.9), (-0.1, 1.0)])
def test_shares_of_inq_rise_to_one(shares: tuple[float, ...]) -> None:
    from recipelang.errors import SettingError

    with pytest.raises(SettingError):
        method("inq", shares=shares)


# uniq -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_uniq_has_equally_probable_levels(bits: int) -> None:
    weight = normal(40, 50) * 0.3
    quantizer, count = method("uniq"), 2**bits - 1
    book = of_weight(quantizer, weight, bits)
    sigma = float(weight.square().mean().sqrt())
    assert torch.allclose(
        book.levels, torch.tensor(norm.ppf((torch.arange(count) + 0.5) / count) * sigma).float(), atol=1e-6
    )
    assert book.holds_zero and book.bits <= bits
    part = (torch.tensor(norm.cdf(weight.double() / sigma)) * count).floor().long()
    assert (book.apply(weight) == book.levels[part]).float().mean() > 0.998, "all but those at an end"
    torch.manual_seed(5)
    computed = quantizer.computed(weight, book, None, NOW)
    torch.manual_seed(5)
    noise = (torch.rand_like(weight) * 2 - 1) / (2 * count)
    place = (norm.cdf(weight.double() / sigma) + noise.double().numpy()).clip(1 / (2 * count), 1 - 1 / (2 * count))
    assert torch.allclose(computed, torch.tensor(sigma * norm.ppf(place)).float(), atol=2e-4)
    again = quantizer.finish(book, None, weight * 2)
    assert torch.allclose(again.levels, book.levels * 2, rtol=1e-5)
