"""ABC against its paper: bases by regression, and the learned edges and scales of an input."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
from few import NOW, numpied, of_input, of_weight, trained, upstream, weight

from recipelang.methods.quantizers.abc import Abc


@pytest.mark.parametrize("bases", [1, 2, 3, 5])
def test_the_bases_of_abc_are_the_papers_regression(bases: int) -> None:
    value = weight((3, 120))
    one = of_weight(Abc(), value, bases)
    made, gradient, _ = trained(Abc(), value, one)
    assert one.levels.shape == (3, bases + 1)
    for row, got, slope, above in zip(
        numpied(value), numpied(made), numpied(gradient), numpied(upstream(value)), strict=True
    ):
        shifts = [-1 + (i - 1) * 2 / (bases - 1) for i in range(1, bases + 1)] if bases > 1 else [0]
        base = numpy.stack([numpy.where(row - row.mean() + u * row.std() >= 0, 1, -1) for u in shifts], 1)
        alpha = numpy.linalg.lstsq(base, row, rcond=None)[0]
        assert alpha.min() > 0
        assert got == pytest.approx(base @ alpha, rel=1e-4)
        assert slope == pytest.approx(above * alpha.sum(), rel=1e-4)


def test_more_bases_leave_less_error() -> None:
    value = weight((6, 300))
    errors = [float((of_weight(Abc(), value, bases).apply(value) - value).square().sum()) for bases in range(1, 6)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.25 * errors[0]


def test_edges_and_scales_of_an_input_have_the_gradients_of_their_steps() -> None:
    method, value = Abc(), weight((50,)) * 3
    one = of_input(method, value, 3)
    _, gradient, state = trained(method, value, one, is_weight=False)
    x, above = numpied(value), numpied(upstream(value))
    scales, edges, width = numpied(state.scales), numpied(state.edges), float(one.levels[-1])
    inside = [abs(x - edge) <= width / 2 for edge in edges]
    assert numpied(gradient) == pytest.approx(
        above * sum(s * i / width for s, i in zip(scales, inside, strict=True)), rel=1e-4
    )
    for n in range(3):
        signs = numpy.where(x >= edges[n], 1, -1)
        assert float(state.scales.grad[n]) == pytest.approx((above * signs).sum(), rel=1e-4)
        assert float(state.edges.grad[n]) == pytest.approx(-(above * scales[n] * inside[n] / width).sum(), rel=1e-4)


def test_inputs_of_abc_stay_a_codebook_when_edges_change_places() -> None:
    method, value = Abc(), weight((200,)) * 3
    one = of_input(method, value, 2)
    state: Any = method.begin(one, None)
    with torch.no_grad():
        state.edges.copy_(torch.tensor([0.9, -0.4]))
        state.scales.copy_(torch.tensor([0.1, -5.0]))
        method.after_step(None, one, state, NOW, None)
    after: Any = method.finish(one, state, None)
    assert after.edges.tolist() == pytest.approx([-0.4, 0.9]) and (after.levels.diff() >= 0).all()
    torch.testing.assert_close(after.apply(value), method.computed(value, one, state, NOW).detach())
