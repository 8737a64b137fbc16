"""Requantization with integers alone, bit for bit against whole numbers of Python, and a layer that is executed so."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang.kinds import Scheme
from recipelang.surgery.fixed_point import HIGHEST, LOWEST, multiplied, multiplier, requantized
from recipelang.surgery.restrictions.grid import Grid

FACTORS = st.floats(1e-9, 100.0)


def doubling_high(a: int, b: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul of 32 bits."""
    if a == b == LOWEST:
        return HIGHEST
    product = a * b
    total = product + (1 << 30 if product >= 0 else 1 - (1 << 30))
    return total // 2**31 if total >= 0 else -((-total) // 2**31)


def shifted(value: int, by: int) -> int:
    """gemmlowp's RoundingDivideByPOT."""
    mask = (1 << by) - 1
    remainder, threshold = value & mask, (mask >> 1) + (1 if value < 0 else 0)
    return (value >> by) + (1 if remainder > threshold else 0)


def reference(total: int, whole: int, shift: int) -> int:
    left = max(LOWEST, min(HIGHEST, total << max(0, shift)))
    return shifted(doubling_high(left, whole), max(0, -shift))


@settings(max_examples=300, deadline=None)
@given(sums=st.lists(st.integers(LOWEST, HIGHEST), min_size=1, max_size=20), real=FACTORS)
def test_sums_are_multiplied_as_gemmlowp_does(sums: list[int], real: float) -> None:
    whole, shift = multiplier(torch.tensor(real, dtype=torch.float64))
    assert 2**30 <= int(whole) < 2**31
    assert int(whole) * 2.0 ** (int(shift) - 31) == pytest.approx(real, rel=2**-30)
    ours = multiplied(torch.tensor(sums), whole, shift)
    assert ours.tolist() == [reference(one, int(whole), int(shift)) for one in sums]
    inside = [abs(one * real) < 2**30 for one in sums]
    for one, mine, fits in zip(sums, ours.tolist(), inside, strict=True):
        if fits:  # rounded twice: half a unit of the product, and of the high half that is shifted
            assert abs(mine - one * real) <= 1 + abs(one * real) * 2**-30


@pytest.mark.parametrize("real", [1.0, 2.0, 16.0, 1 - 2**-40])
def test_whole_factors_are_exact(real: float) -> None:
    whole, shift = multiplier(torch.tensor([real], dtype=torch.float64))
    values = torch.arange(-1000, 1001)
    assert torch.equal(multiplied(values, whole, shift), values * round(real))


def test_half_is_rounded_to_a_neighbour() -> None:
    whole, shift = multiplier(torch.tensor([0.5], dtype=torch.float64))
    values = torch.arange(-1000, 1001)
    assert ((multiplied(values, whole, shift) - values / 2).abs() <= 0.5).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_a_layer_in_integers_is_the_simulated_layer(bits: int) -> None:
    """A convolution with a bias and a ReLU, codes in and codes out: what integer-only hardware computes."""
    torch.manual_seed(0)
    layer, images = nn.Conv2d(3, 5, 3, padding=1), torch.randn(4, 3, 9, 9)
    weight, rows = layer.weight.detach(), layer.weight.detach().flatten(1)
    entering = Grid.between(images.min(), images.max(), Scheme(bits))
    weights = Grid.between(rows.amin(1), rows.amax(1), Scheme(bits, signed=True, symmetric=True, axis=0))
    simulated = nn.functional.conv2d(entering.apply(images), weights.apply(weight), layer.bias, padding=1).relu()
    leaving = Grid.between(simulated.min(), simulated.max(), Scheme(bits))
    whole, shift = multiplier(
        (entering.scale.double() * weights.scale.double() / leaving.scale.double()).view(-1, 1, 1)
    )
    sums = integer_sums(entering.codes(images) - entering.zero, weights.codes(weight))
    bias = (layer.bias.detach().double() / (entering.scale.double() * weights.scale.double())).round().long()
    sums = sums + bias.view(-1, 1, 1)
    zero, high = int(leaving.zero), leaving.scheme.high
    codes = requantized(sums, whole, shift, zero, max(zero, leaving.scheme.low), high)  # the ReLU is a clamp
    expected = [
        max(zero, min(high, reference(int(total), int(whole[k, 0, 0]), int(shift[k, 0, 0])) + zero))
        for image in sums
        for k, plane in enumerate(image)
        for total in plane.flatten()
    ]
    assert codes.flatten().tolist() == expected, "bit for bit"
    apart = (codes - leaving.codes(simulated.detach())).abs()
    # sums are rounded twice, and the bias to a step of the sum, which is coarse where codes are
    assert int(apart.max()) <= 1 and float((apart > 0).float().mean()) < {4: 0.05, 8: 0.01}[bits]


def integer_sums(images: Tensor, weight: Tensor) -> Tensor:
    """A 3×3 convolution with padding of integers, exactly: float64 holds them."""
    return nn.functional.conv2d(images.double(), weight.double(), padding=1).round().long()
