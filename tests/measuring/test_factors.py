"""APG-NAG against the paper's equations written naively, and against the minimum that it has to find."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from recipelang.measuring.factors import FactorState
from recipelang.measuring.proximal import soft


def state(sizes: dict[str, int], *, keeps: bool = False) -> FactorState:
    gated: Any = SimpleNamespace(gates=SimpleNamespace(sizes=sizes))
    return FactorState(gated, keeps=keeps)


def stepped(one: FactorState, gradient: list[float], rate: float, strength: float, momentum: float) -> None:
    one.opened().grad = torch.tensor(gradient)
    one.step(rate, strength, momentum)


@given(st.lists(st.tuples(*[st.floats(-2, 2)] * 3), min_size=1, max_size=12), st.floats(0.01, 0.5), st.floats(0, 2))
def test_steps_are_the_papers_equations(gradients: list[tuple[float, ...]], rate: float, strength: float) -> None:
    momentum = 0.9
    found = state({"block": 1, "other": 2})
    ahead, velocity = [1.0] * 3, [0.0] * 3
    for gradient in gradients:
        stepped(found, list(gradient), rate, strength, momentum)
        for k in range(3):
            z = ahead[k] - rate * gradient[k]  # equation 10
            shrunk = (abs(z) - rate * strength) * (1 if z > 0 else -1) if abs(z) > rate * strength else 0.0
            velocity[k] = shrunk - ahead[k] + momentum * velocity[k]  # equation 11
            ahead[k] = shrunk + momentum * velocity[k]  # equation 12
    torch.testing.assert_close(found.ahead.double(), torch.tensor(ahead).double(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.velocity.double(), torch.tensor(velocity).double(), rtol=1e-4, atol=1e-4)


def test_the_factors_reach_the_minimum_of_a_quadratic_with_exact_zeros() -> None:
    """½ Σ a·(λ - b)² + γ·Σ|λ| is smallest at the soft threshold of b at γ/a."""
    a, b, strength = torch.tensor([1.0, 2.0, 0.5, 1.0]), torch.tensor([0.8, -0.9, 0.3, 0.05]), 0.2
    found = state({"blocks": 4})
    for _ in range(400):
        leaf = found.opened()
        (0.5 * a * (leaf - b).square()).sum().backward()
        found.step(0.1, strength, 0.9)
    expected = soft(b, strength / a)
    torch.testing.assert_close(found.solution, expected, atol=1e-5, rtol=1e-4)
    assert found.solution[2] == 0 == found.solution[3] and found.ahead[3] == 0, "exactly zero, and so is what computes"


def test_without_a_penalty_it_is_nesterovs_gradient() -> None:
    """The same as torch's SGD with Nesterov momentum, which looks ahead in the same way."""
    found = state({"one": 3})
    weight = torch.ones(3, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, nesterov=True)
    target = torch.tensor([0.3, -0.2, 2.0])
    for _ in range(20):
        leaf = found.opened()
        (leaf - target).square().sum().backward()
        found.step(0.1, 0.0, 0.9)
        optimizer.zero_grad()
        (weight - target).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(found.ahead, weight.detach())


def test_one_factor_of_each_group_stays_and_blocks_may_all_go() -> None:
    kept, free = state({"a": 2, "b": 2}, keeps=True), state({"a": 1, "b": 1})
    stepped(kept, [0.0, -0.5, 0.0, 0.0], 1.0, 5.0, 0.9)
    assert kept.solution.tolist() == [0.0, 1.5, 0.0, 1.0] or kept.solution.tolist() == [0.0, 1.5, 1.0, 0.0]
    assert int(kept.spared.sum()) == 2
    stepped(free, [0.0, 0.0], 1.0, 5.0, 0.9)
    assert not free.solution.any() and not free.spared.any()


def test_a_step_without_a_gradient_only_shrinks() -> None:
    one = state({"a": 2})
    one.opened()
    one.step(0.1, 1.0, 0.0)
    torch.testing.assert_close(one.solution, torch.tensor([0.9, 0.9]))
