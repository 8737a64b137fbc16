"""GXNOR against its paper: the derivative of a ternary input, and the transitions of ternary weights."""

from __future__ import annotations

import numpy
import pytest
import torch
from few import NOW, numpied, of_input, of_weight, trained, upstream, weight
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recipelang.methods.quantizers.gxnor import Gxnor, moved


def test_the_derivative_of_a_ternary_input_is_two_pulses() -> None:
    method = Gxnor(sparsity=0.5, pulse=0.25)
    value = torch.linspace(-2, 2, 401)
    one = of_input(method, torch.ones(3))
    made, gradient, _ = trained(method, value, one, is_weight=False)
    size, above = abs(numpied(value)), numpied(upstream(value))
    ties = [abs(size - edge) < 1e-6 for edge in (0.25, 0.5, 0.75)]
    sign = numpy.where(size >= 0.5, numpy.sign(numpied(value)), 0)
    assert (numpied(made) == sign)[~ties[1]].all()
    wanted = above * ((size >= 0.25) & (size <= 0.75)) / (2 * 0.25)
    clear = ~(ties[0] | ties[2])
    assert numpied(gradient)[clear] == pytest.approx(wanted[clear], rel=1e-5)
    leaf = value.clone().requires_grad_()
    (slope,) = torch.autograd.grad(method.input(leaf, one, None, NOW).sum(), leaf)
    area = float(slope.sum()) * 0.01
    assert area == pytest.approx(float(made[-1] - made[0]), abs=0.05), "the pulses have the area of the two steps"


def naive_transition(w: float, update: float, m: float, drawn: float) -> float:
    """Equations 13 to 20, for the states -1, 0 and 1."""
    rho = min(1 - w, update) if update >= 0 else max(-1 - w, update)
    kappa = int(rho)
    nu = rho - kappa
    probability = numpy.tanh(m * abs(nu))
    return w + kappa + (numpy.sign(rho) if drawn < probability else 0)


@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, 0.0, 1.0]), st.floats(-3, 3, width=32), st.floats(0, 1, width=32)),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([1.0, 0.125]),
)
def test_transitions_are_the_papers(cases: list[tuple[float, float, float]], level: float) -> None:
    states, updates, drawn = (torch.tensor(each, dtype=torch.float64) for each in zip(*cases, strict=True))
    got = moved(states * level, updates * level, torch.tensor(level, dtype=torch.float64), 3.0, drawn)
    assert got.tolist() == [level * naive_transition(w, u, 3.0, d) for w, u, d in cases]


def test_a_step_without_an_update_moves_nothing_and_a_large_one_moves_all() -> None:
    value = weight()
    method, parameter = Gxnor(), nn.Parameter(value.clone())
    one = of_weight(method, value)
    state = method.begin(one, parameter)
    states = method.computed(parameter, one, state, NOW).detach()
    with torch.no_grad():
        method.after_step(parameter, one, state, NOW, None)
        assert torch.equal(parameter, states)
        method.computed(parameter, one, state, NOW)
        parameter.add_(10)
        method.after_step(parameter, one, state, NOW, None)
    assert torch.equal(parameter, one.levels[-1].expand_as(parameter))
