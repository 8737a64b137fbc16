"""Requantization in integers alone: a sum of 32 bits becomes 8 bits without a number of floating point.

A real factor M is M₀·2^(shift - 31), M₀ an integer from 2³⁰ to 2³¹ - 1: the sum is multiplied with the high half of a
doubled product, which rounds half up, and shifted, which rounds half away from zero. Jacob et al. 2018, section 2.2,
equations 5 to 8, and appendix B, as gemmlowp computes it; integers are held in int64, so that nothing overflows.
"""

from __future__ import annotations

import torch
from torch import Tensor

HIGHEST, LOWEST = 2**31 - 1, -(2**31)


def multiplier(real: Tensor) -> tuple[Tensor, Tensor]:
    """M₀ and shift of positive real factors, int64 of their shape: M ≈ M₀·2^(shift - 31), to 31 bits.

    Args:
        real: float64 (or float32), any shape; positive and finite.
    """
    share, shift = torch.frexp(real.double())  # share in 1/2 … 1
    whole = (share * 2**31).round().to(torch.int64)
    full = whole == 2**31
    return torch.where(full, whole // 2, whole), shift.to(torch.int64) + full.to(torch.int64)


def multiplied(sums: Tensor, whole: Tensor, shift: Tensor) -> Tensor:
    """sums · M as an integer, rounded; saturated at 32 bits.

    Args:
        sums: int64 that fit into 32 bits.
        whole, shift: of `multiplier`, to be broadcast over them.
    """
    left = (sums << shift.clamp_min(0)).clamp(LOWEST, HIGHEST)
    return _shifted(_high_half(left, whole), (-shift).clamp_min(0))


def requantized(sums: Tensor, whole: Tensor, shift: Tensor, zero: int, low: int, high: int) -> Tensor:
    """The codes low…high of sums whose scale is M times that of the codes, int64.

    Args:
        sums: of products of codes less their zero points, bias included.
        whole, shift: of `multiplier`.
        zero: the code that stands for zero.
        low, high: the smallest and the largest code.
    """
    return (multiplied(sums, whole, shift) + zero).clamp(low, high)


def _high_half(a: Tensor, b: Tensor) -> Tensor:
    """round(a·b / 2³¹), half up, as gemmlowp's SaturatingRoundingDoublingHighMul."""
    product = a * b
    nudge = torch.where(product >= 0, 2**30, 1 - 2**30)
    return torch.div(product + nudge, 2**31, rounding_mode="trunc").clamp_max(HIGHEST)


def _shifted(value: Tensor, by: Tensor) -> Tensor:
    """value / 2^by, rounded half away from zero: gemmlowp's RoundingDivideByPOT."""
    mask = (torch.ones_like(by) << by) - 1
    threshold = (mask >> 1) + (value < 0)
    return (value >> by) + ((value & mask) > threshold)
