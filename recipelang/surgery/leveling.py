"""Rounding activations to a few levels, with the gradients that binary and ternary networks are trained with.

The same could be written with `torch.where` and a straight-through sum: six to ten passes over the numbers, two of them
by a kernel that is not vectorised and takes as long as ten others. Here a comparison writes 0 and 1 as float32, which
become the levels in place, and one pass gives the gradient.

Levels and widths are positive. Each of them, like each edge, is one number, a tensor without dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recipelang.surgery.snapping import between, dot


def two(value: Tensor, edge: float, level: Tensor) -> Tensor:
    """level from the edge on, else -level; ∂/∂value is 1 where |value| ≤ level, else 0: that of the hard tanh."""
    return _Two.apply(value, edge, level)


def two_with_moments(value: Tensor, edge: float, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `two`, and how the values are distributed, with its gradient in the same pass.

    Args:
        value: B×C×….

    Returns:
        B×C×… levels, and the mean and the variance of each channel, (C,).
    """
    return _TwoWithMoments.apply(value, edge, level)


def three(value: Tensor, edge: Tensor, level: Tensor, inner: Tensor, outer: Tensor, slope: float) -> Tensor:
    """level from the edge on, -level below -edge, zero between; ∂/∂value is the slope where inner ≤ |value| ≤ outer.

    Args:
        inner: zero or less: the slope reaches from -outer to outer.
        outer: positive.
    """
    return _Three.apply(value, edge, level, inner, outer, slope)


def several(value: Tensor, edges: Tensor, scales: Tensor, width: Tensor) -> Tensor:
    """Σ scale_n · sign(value - edge_n), the sign of zero positive, with gradients for edges and scales.

    Args:
        edges, scales: (N,), trained.
        width: w, of the window of a sign's gradient.

    Returns:
        The sums. ∂sign_n/∂value is 1/w where |value - edge_n| ≤ w/2, else 0; ∂/∂edge_n is -scale_n times that and
        ∂/∂scale_n is sign_n, each summed over the values (Lin et al. 2017, equations 7 to 9).
    """
    return _Several.apply(value, edges, scales, width)


def _reaches(value: Tensor, edge: Any) -> Tensor:
    """1 from the edge on, else 0, as float32."""
    made = torch.empty_like(value)
    return torch.ge(value.detach(), edge, out=made)


def _signed(value: Tensor, edge: float, level: Tensor) -> Tensor:
    return _reaches(value, edge).mul_(2 * level).sub_(level)  # 0 - level and 2 level - level are exact


def _within(gradient: Tensor, value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The gradient where low ≤ value ≤ high, else zero."""
    return between(gradient, value, *_ends(low, high))


def _ends(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The open range that has the numbers from low to high and no others."""
    away = torch.full_like(high, torch.inf)
    return torch.nextafter(low.detach(), -away), torch.nextafter(high.detach(), away)


class _Two(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, edge: float, level: Tensor) -> Tensor:
        ctx.save_for_backward(value, level)
        return _signed(value, edge, level)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        value, level = ctx.saved_tensors
        return _within(gradient, value, -level, level), None, None


class _TwoWithMoments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, edge: float, level: Tensor) -> Any:
        ctx.save_for_backward(value, level)
        mean = value.mean(_others(value))
        variance = (value - _channels(mean, value)).square_().mean(_others(value))
        return _signed(value, edge, level), mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, of_mean: Tensor, of_variance: Tensor) -> Any:
        value, level = ctx.saved_tensors
        mean = value.mean(_others(value))
        count = value.numel() // len(mean)
        slope = 2 * of_variance / count
        offset = of_mean / count - slope * mean
        passed = _within(gradient, value, -level, level)
        return passed.addcmul_(_channels(slope, value), value).add_(_channels(offset, value)), None, None


def _others(value: Tensor) -> list[int]:
    """The dimensions besides that of the channels."""
    return [dim for dim in range(value.ndim) if dim != 1]


def _channels(statistic: Tensor, value: Tensor) -> Tensor:
    return statistic.view([-1 if dim == 1 else 1 for dim in range(value.ndim)])


class _Three(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, edge: Tensor, level: Tensor, inner: Any, outer: Any, slope: float) -> Tensor:
        ctx.save_for_backward(value, inner, outer)
        ctx.slope = slope
        return _reaches(value, edge).add_(_reaches(value, -edge)).sub_(1).mul_(level)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        value, inner, outer = ctx.saved_tensors
        passed = _within(gradient, value, -outer, outer)
        if inner > 0:
            passed = passed - between(gradient, value, -inner, inner)
        return passed.mul_(ctx.slope), None, None, None, None, None


class _Several(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, edges: Tensor, scales: Tensor, width: Tensor) -> Tensor:
        ctx.save_for_backward(value, edges, scales, width)
        made = _reaches(value, edges[0]).mul_(2 * scales[0]).sub_(scales.sum())
        for edge, scale in zip(edges[1:], scales[1:], strict=True):
            made.addcmul_(_reaches(value, edge), 2 * scale)
        return made

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        value, edges, scales, width = ctx.saved_tensors
        slopes = scales / width
        of_value: Any = None
        inside, above = [], []
        for edge, slope in zip(edges, slopes, strict=True):
            within = _within(gradient, value, edge - width / 2, edge + width / 2)
            inside.append(within.sum())
            above.append(dot(gradient, _reaches(value, edge)))
            of_value = within * slope if of_value is None else torch.addcmul(of_value, within, slope)
        return of_value, -slopes * torch.stack(inside), 2 * torch.stack(above) - gradient.sum(), None
