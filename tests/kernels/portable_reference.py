"""Weights for the portable kernels, and by how much their results may miss the exact ones."""

from __future__ import annotations

import torch
from torch import Tensor

from recipelang.kernels.nm.format import Packed, pack
from recipelang.kernels.nm.problem import activate
from recipelang.kernels.nm.reference import nm_mask


def dense(outputs: int, inputs: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Random, with ties, zeros of both signs, infinities, subnormals and lone values among it."""
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed)).to(dtype)
    least = torch.finfo(dtype).smallest_normal / 2
    zeros = [-0.0, 0, -0.0, -0.0, 0, -0.0, 0, 2, 2, -0.0, 0, 0]
    special = [1, -1, 1, 1, *zeros, float("inf"), 1, -float("inf"), float("inf"), least, -least, least / 2, 0]
    line = torch.tensor(special, dtype=dtype)
    weight[0, : len(line)] = line[:inputs]
    weight[-1, ::3] = 0
    return weight


def operands_of(
    shape: tuple[int, int, int], dtype: torch.dtype, int8: bool, biased: bool
) -> tuple[Tensor, Packed, Tensor | None]:
    rows, outputs, inputs = shape
    generator = torch.Generator().manual_seed(sum(shape))
    weight = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
    packed = pack((weight * nm_mask(weight.abs(), 2, 4)).to(dtype), int8=int8)
    x = torch.randn(rows, inputs, generator=generator).to(dtype)
    return x, packed, torch.randn(outputs, generator=generator).to(dtype) if biased else None


def spread(packed: Packed) -> Tensor:
    """The weight in float64, place by place, each value times its scale exactly."""
    outputs, inputs = packed.shape
    weight = torch.zeros(outputs, inputs, dtype=torch.float64)
    values, words = packed.values.double().tolist(), packed.meta.tolist()
    for row in range(outputs):
        scale = 1.0 if packed.scales is None else float(packed.scales[row])
        for group in range(inputs // 4):
            nibble = words[row][group // 8] >> 4 * (group % 8) & 15
            for value, place in zip(values[row][2 * group : 2 * group + 2], (nibble & 3, nibble >> 2), strict=True):
                weight[row, 4 * group + place] += value * scale
    return weight


def misses(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> str:
    """By how many of its bounds an element of y is off; "" where all are within.

    Sums of n terms in float32 are off by less than n·2⁻²⁴ of the sum of magnitudes (Higham, Accuracy and Stability of
    Numerical Algorithms, §3.1); activations have slopes below 1.13 and are computed to some units of the last place of
    float32; the result is rounded once.
    """
    unit, least = torch.finfo(y.dtype).eps / 2, torch.finfo(y.dtype).smallest_normal * torch.finfo(y.dtype).eps
    added = torch.zeros(len(weight), dtype=torch.float64) if bias is None else bias.double()
    z = x.double() @ weight.T + added
    magnitude = x.double().abs() @ weight.abs().T + added.abs()
    expected = activate(z, activation)
    summing = (weight.shape[1] + 8) * 2.0**-24 * magnitude
    bound = 1.13 * summing + 16 * 2.0**-24 * z.abs() + unit * (expected.abs() + summing) + least
    off = ((y.double() - expected).abs() / bound).nan_to_num(nan=float("inf"))
    worst = float(off.max())
    return "" if worst <= 1 and y.shape == z.shape else f"off by {worst:.3g} times the bound"
