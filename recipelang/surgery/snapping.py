"""Rounding to the numbers of a grid, with gradients for training.

torch's own kernels of fake quantization take 8 to 20 ns for each number on a CPU, more than the convolutions of a small
network: they round one number at a time, and theirs that learns a step also computes a gradient for the zero point. The
same results come from a multiplication, `round`, `clamp` and a multiplication in place, which are vectorised.

A *step* below is a tensor that can be broadcast over the value: a scalar, or one number for each row or group. The
integers of a grid without their zero point are `low`…`high`, numbers or tensors like the step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def rounded(value: Tensor, step: Tensor, low: Any, high: Any) -> Tensor:
    """The nearest of step·low … step·high; the gradient passes inside this range, and is zero outside.

    Args:
        value: float32.
        step: positive.
        low, high: integers, with low ≤ 0 ≤ high.

    Returns:
        The values of torch's `fake_quantize_per_tensor_affine`, bit for bit. The range of the gradient ends half a step
        outside, where values are no longer rounded to its ends, as there.
    """
    return _Rounded.apply(value, step, low, high)


def stepped(value: Tensor, step: Tensor, low: Any, high: Any, factor: float) -> Tensor:
    """As `rounded`, with a gradient for the step as well: that of learned step sizes.

    Args:
        value: float32.
        step: positive.
        low, high: integers, with low ≤ 0 ≤ high.
        factor: of the step's gradient.

    Returns:
        The nearest numbers. ∂/∂value is 1 where step·low < value < step·high, else 0; ∂/∂step is there
        round(value/step) − value/step, and low or high at the ends (Esser et al. 2020, equations 3 and 5).
    """
    return _Stepped.apply(value, step, low, high, factor)


def clipped(value: Tensor, lowest: Tensor, highest: Tensor, step: Tensor, low: Any, high: Any) -> Tensor:
    """As `rounded`, with gradients for the ends of the range: those of parameterized clipping.

    Args:
        value: float32.
        lowest, highest: the ends that are trained, scalars; the range is step·low … step·high, which follows from them.
        step: positive.
        low, high: integers, with low ≤ 0 ≤ high.

    Returns:
        The nearest numbers. ∂/∂value is 1 inside the range, ∂/∂highest is 1 where value ≥ step·high and ∂/∂lowest is
        1 where value ≤ step·low, else 0 (Choi et al. 2018, equation 3).
    """
    return _Clipped.apply(value, lowest, highest, step, low, high)


def passed(value: Tensor, instead: Tensor) -> Tensor:
    """What computes instead of the value, with the value's gradient."""
    return _Passed.apply(value, instead)


def _nearest(value: Tensor, step: Tensor, low: Any, high: Any) -> Tensor:
    """value/step as the integers low…high, times step."""
    codes = (value * step.reciprocal()).round_()
    numbers = isinstance(low, int) and isinstance(high, int)
    return (codes.clamp_(low, high) if numbers else codes.clamp_(_tensor(low, step), _tensor(high, step))).mul_(step)


def _tensor(limit: Any, like: Tensor) -> Tensor:
    return torch.as_tensor(limit, dtype=like.dtype, device=like.device)


def between(gradient: Tensor, value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The gradient where low < value < high, else zero."""
    if value.device.type == "cpu" and low.numel() == 1 and high.numel() == 1:
        return torch.ops.aten.hardtanh_backward(gradient, value, low.item(), high.item())
    return gradient * ((value > low) & (value < high))


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, step: Tensor, low: Any, high: Any) -> Tensor:
        ctx.save_for_backward(value, (low - 0.5) * step, (high + 0.5) * step)
        return _nearest(value, step, low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return between(gradient, *ctx.saved_tensors), None, None, None


class _Passed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, instead: Tensor) -> Tensor:
        return instead.view_as(instead)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient, None


class _Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, lowest: Tensor, highest: Tensor, step: Tensor, low: Any, high: Any) -> Tensor:
        ctx.save_for_backward(value, low * step, high * step)
        return _nearest(value, step, low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        value, lowest, highest = ctx.saved_tensors
        below = (gradient * (value <= lowest)).sum() if ctx.needs_input_grad[1] else None
        above = (gradient * (value >= highest)).sum() if ctx.needs_input_grad[2] else None
        return between(gradient, value, lowest, highest), below, above, None, None, None


class _Stepped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, step: Tensor, low: Any, high: Any, factor: float) -> Tensor:
        nearest = _nearest(value, step, low, high)
        ctx.save_for_backward(value, nearest, step, low * step, high * step)
        ctx.factor = factor
        return nearest

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        value, nearest, step, lowest, highest = ctx.saved_tensors
        inside = between(gradient, value, lowest, highest)
        if not ctx.needs_input_grad[1]:
            return inside, None, None, None, None
        # nearest = step · integer: inside the integer less value/step, at the ends the integer itself
        if step.numel() == 1:
            told = (dot(inside, nearest - value) + dot(gradient - inside, nearest)).view(step.shape)
        else:
            told = torch.addcmul((gradient - inside) * nearest, inside, nearest - value).sum_to_size(step.shape)
        return inside, told * ctx.factor / step, None, None, None


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ a·b; without a tensor in between where both lie in memory alike."""
    whole = a.is_contiguous() or (a.ndim == 4 and a.is_contiguous(memory_format=torch.channels_last))
    if a.stride() != b.stride() or not whole:
        return (a * b).sum()
    return torch.dot(a.as_strided((a.numel(),), (1,)), b.as_strided((b.numel(),), (1,)))
