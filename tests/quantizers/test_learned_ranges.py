"""Quantizers whose ranges follow a training, each against the formula of its paper, written naively, and autograd."""

from __future__ import annotations

import math

import pytest
import torch
from learners import NOW, gradient, method, normal, of_activation, of_weight

from recipelang.kinds import Moment
from recipelang.surgery.restrictions.grid import Grid

# ste ------------------------------------------------------------------------------------------


def test_ste_has_the_gradient_of_the_identity() -> None:
    quantizer, weight, upstream = method("ste"), normal(4, 50) * 3, normal(4, 50, seed=1)
    grid = of_weight(quantizer, weight, 3)
    assert torch.equal(quantizer.computed(weight, grid, None, NOW), grid.apply(weight))
    assert torch.equal(gradient(lambda v: quantizer.computed(v, grid, None, NOW), weight, upstream), upstream)
    assert not torch.equal(gradient(grid.apply, weight, upstream), upstream), "a plain grid clips"


# lsq ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_lsq_scales_the_gradient_of_a_step_by_its_numbers(bits: int) -> None:
    quantizer, weight, upstream = method("lsq", per="tensor"), normal(6, 30), normal(6, 30, seed=1)
    grid = of_weight(quantizer, weight, bits)
    state = quantizer.begin(grid, weight)
    quantizer.computed(weight, grid, state, NOW).backward(upstream)
    q, high = (weight / grid.scale).double(), grid.scheme.high
    inside = (q > -high) & (q < high)
    slope = torch.where(inside, q.round() - q, q.sign() * high)
    assert float(state.step.grad) == pytest.approx(float((upstream * slope).sum() / math.sqrt(180 * high)), rel=1e-3)


def test_lsq_counts_an_activation_for_one_image() -> None:
    quantizer, values, upstream = method("lsq"), normal(8, 5, 4, 4).relu(), normal(8, 5, 4, 4, seed=1)
    grid = of_activation(quantizer, values, 4)
    state = quantizer.begin(grid, None)
    quantizer.computed(values, grid, state, NOW).backward(upstream)
    q = (values / grid.scale).double()
    slope = torch.where((q > 0) & (q < 15), q.round() - q, q.clamp(0, 15))
    expected = float((upstream * slope).sum() / math.sqrt(5 * 4 * 4 * 15))
    assert float(state.step.grad) == pytest.approx(expected, rel=1e-3)


def test_a_step_stays_positive() -> None:
    quantizer, weight = method("lsq"), normal(3, 20)
    grid = of_weight(quantizer, weight, 4)
    state = quantizer.begin(grid, weight)
    with torch.no_grad():
        state.step.fill_(-1.0)
        quantizer.after_step(weight, grid, state, NOW, None)
    assert (state.step > 0).all()
    assert torch.equal(quantizer.finish(grid, state, weight).scale, state.step.detach())


# pact -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
def test_pact_trains_the_ends(signed: bool) -> None:
    values = normal(4, 6, 5, 5) * 2
    values = values if signed else values.relu()
    quantizer, upstream = method("pact", decay=0.3), normal(4, 6, 5, 5, seed=1)
    grid = of_activation(quantizer, values, 4)
    state = quantizer.begin(grid, None)
    with torch.no_grad():
        state.high.mul_(0.5)
        state.low.mul_(0.5)
    value = values.clone().requires_grad_()
    computed = quantizer.computed(value, grid, state, NOW)
    computed.backward(upstream)
    now = quantizer.finish(grid, state, None)
    low, high = now.scale * (0 - now.zero), now.scale * (15 - now.zero)
    assert torch.equal(computed, now.apply(values)), "what is executed afterwards"
    assert torch.equal(value.grad, upstream * ((values > low) & (values < high)))  # type: ignore[arg-type]
    assert float(state.high.grad) == pytest.approx(float(upstream[values >= high].sum()), rel=1e-4)
    if signed:
        assert float(state.low.grad) == pytest.approx(float(upstream[values <= low].sum()), rel=1e-4)
    else:
        assert state.low.grad is None and not state.low.any()
    ends = float(state.high.detach()) ** 2 + float(state.low.detach()) ** 2
    assert float(quantizer.penalty(grid, state, NOW).detach()) == pytest.approx(0.15 * ends, rel=1e-5)
    assert method("pact", decay=0).penalty(grid, state, NOW) is None
    with torch.no_grad():
        state.high.fill_(-3.0)
        state.low.fill_(2.0)
        quantizer.after_step(None, grid, state, NOW, None)
    assert (state.low <= 0).all() and (state.high > 0).all()


# ioa ------------------------------------------------------------------------------------------


def test_ioa_follows_the_ranges() -> None:
    quantizer = method("ioa", memory=0.5)
    grid = of_activation(quantizer, torch.tensor([0.0, 4.0]), 8)
    state = quantizer.begin(grid, None)
    for top, mean in ((8.0, 6.0), (2.0, 4.0)):
        values = torch.linspace(0, top, 50)
        computed = quantizer.computed(values, grid, state, NOW)
        assert float(state.high) == pytest.approx(mean) and float(state.low) == 0
        assert torch.equal(computed, Grid.between(torch.tensor(0.0), torch.tensor(mean), grid.scheme).apply(values))
    assert float(quantizer.finish(grid, state, None).scale) == pytest.approx(4.0 / 255)


def test_ioa_waits() -> None:
    from recipelang.plan import Duration

    quantizer, values = method("ioa", delay=Duration(1)), normal(50)
    grid = of_activation(quantizer, values, 2)
    state = quantizer.begin(grid, None)
    assert torch.equal(quantizer.computed(values, grid, state, Moment(3, 12, 4)), values)
    assert not torch.equal(quantizer.computed(values, grid, state, Moment(4, 12, 4)), values)


@pytest.mark.parametrize("per", ["channel", "tensor"])
def test_weights_of_ioa_have_the_range_of_each_step(per: str) -> None:
    quantizer, weight = method("ioa", per=per), normal(5, 30)
    grid = of_weight(quantizer, weight, 8)
    for moved in (weight, weight * 3, weight / 7):
        most = moved.abs().amax(1, keepdim=True) if per == "channel" else moved.abs().max()
        expected = (moved / (most / 127)).round() * (most / 127)
        assert torch.allclose(quantizer.computed(moved, grid, None, NOW), expected, atol=1e-6)
        assert torch.allclose(quantizer.finish(grid, None, moved).apply(moved), expected, atol=1e-6)
