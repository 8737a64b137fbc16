"""Rounding with gradients: torch's own kernels, and the formulas of learned step sizes written naively."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recipelang.surgery.snapping import rounded, stepped


def values(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2


SHAPES = [(1000,), (5, 7, 11), (4, 3, 8, 8)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("zero", "bits"), [(0, 8), (3, 4), (255, 8), (1, 2)])
def test_one_step_is_torchs_kernel(shape: tuple[int, ...], channels_last: bool, zero: int, bits: int) -> None:
    x, g = values(shape), values(shape, 1)
    if channels_last and len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    scale, high = torch.tensor(0.037 if bits == 8 else 0.31), 2**bits - 1
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours = rounded(mine, scale, 0 - zero, high - zero)
    kernel = torch.fake_quantize_per_tensor_affine(theirs, scale, torch.tensor(zero, dtype=torch.int32), 0, high)
    assert torch.equal(ours, kernel) and ours.stride() == x.stride()
    ours.backward(g)
    kernel.backward(g)
    assert torch.equal(mine.grad, theirs.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("zeros", [[0] * 6, [-8, -3, 0, 1, 5, 7]])
def test_a_step_for_each_row_is_torchs_kernel(zeros: list[int]) -> None:
    x, g, scale = values((6, 4, 3, 3)), values((6, 4, 3, 3), 1), values((6,), 2).abs() + 0.1
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    zero = torch.tensor(zeros, dtype=torch.int32)
    rows = zero.view(-1, 1, 1, 1)
    ours = rounded(mine, scale.view(-1, 1, 1, 1), -8 - rows, 7 - rows)
    kernel = torch.fake_quantize_per_channel_affine(theirs, scale, zero, 0, -8, 7)
    assert torch.equal(ours, kernel)
    ours.backward(g)
    kernel.backward(g)
    assert torch.equal(mine.grad, theirs.grad)  # type: ignore[arg-type]


def test_numbers_far_outside_become_the_ends() -> None:
    ends = rounded(torch.tensor([-1e30, 1e30, torch.inf]), torch.tensor(1e-12), -3, 4)
    assert torch.allclose(ends, torch.tensor([-3e-12, 4e-12, 4e-12]))
    assert rounded(torch.tensor([torch.nan]), torch.tensor(1.0), -3, 4).isnan().all(), "never hidden"


def naive(v: Tensor, s: Tensor, low: Any, high: Any) -> tuple[Tensor, Tensor, Tensor]:
    """v̂, ∂v̂/∂v and ∂v̂/∂s of each number: Esser et al. 2020, equations 1 to 5, in float64."""
    q = v / s
    inside = (q > low) & (q < high)
    at_end = torch.where(q <= low, torch.as_tensor(low).double(), torch.as_tensor(high).double())
    return q.clamp(low, high).round() * s, inside.double(), torch.where(inside, q.round() - q, at_end)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("low", "high"), [(-8, 7), (0, 15), (-1, 1), (-3, 12)])
def test_learned_steps_are_the_paper(shape: tuple[int, ...], low: int, high: int) -> None:
    x, g = values(shape).double(), values(shape, 1).double()
    for steps in (torch.tensor(0.3), values((shape[0],), 3).abs() + 0.2):
        step = steps.double().view(-1, *[1] * (len(shape) - 1)) if steps.ndim else steps.double()
        mine, s = x.clone().requires_grad_(), step.clone().requires_grad_()
        ours = stepped(mine, s, low, high, 0.5)
        expected, to_value, to_step = naive(x, step, low, high)
        ours.backward(g)
        assert torch.allclose(ours, expected, rtol=1e-12)
        assert torch.equal(mine.grad, g * to_value)  # type: ignore[arg-type]
        assert torch.allclose(s.grad, 0.5 * (g * to_step).sum_to_size(step.shape), rtol=1e-9)  # type: ignore[arg-type]


def test_limits_of_each_row() -> None:
    x, step = values((3, 50)).double(), torch.full((3, 1), 0.2).double().requires_grad_()
    low, high = torch.tensor([[0], [-5], [-15]]), torch.tensor([[15], [10], [0]])
    ours = stepped(x, step, low, high, 1.0)
    ours.sum().backward()
    expected, _, to_step = naive(x, step.detach(), low, high)
    assert torch.allclose(ours, expected)
    assert torch.allclose(step.grad, to_step.sum(1, keepdim=True))  # type: ignore[arg-type]
