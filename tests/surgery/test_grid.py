"""Grids of quantization: laws, torch's own fake quantization, and brute force over all numbers of a grid."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Scheme
from recipelang.surgery.entries import Wrong
from recipelang.surgery.restrictions.grid import Grid

SCHEMES = st.builds(
    Scheme,
    bits=st.integers(2, 10),
    signed=st.booleans(),
    symmetric=st.booleans(),
).filter(lambda scheme: scheme.signed or not scheme.symmetric)
NUMBERS = st.floats(-1e4, 1e4, width=32)


def every_number(grid: Grid) -> Tensor:
    """All numbers of a grid without rows, in float64."""
    codes = torch.arange(grid.scheme.low, grid.scheme.high + 1, dtype=torch.float64)
    return (codes - grid.zero.double()) * grid.scale.double()


def nearest(grid: Grid, values: Tensor) -> Tensor:
    """The nearest number of each value, by trying all."""
    numbers = every_number(grid)
    return numbers[(values.double()[:, None] - numbers).abs().argmin(1)]


@settings(max_examples=200, deadline=None)
@given(scheme=SCHEMES, low=NUMBERS, high=NUMBERS, values=st.lists(NUMBERS, min_size=1, max_size=20))
def test_the_laws_of_a_grid(scheme: Scheme, low: float, high: float, values: list[float]) -> None:
    low, high = min(low, high), max(low, high)
    grid, x = Grid.between(torch.tensor(low), torch.tensor(high), scheme), torch.tensor(values)
    x = x[x.abs() < 2**30 * grid.scale]  # torch's kernel counts steps in 32 bits
    x = torch.cat([x, torch.zeros(1)])
    snapped, scale = grid.apply(x), float(grid.scale)
    assert torch.equal(grid.apply(snapped), snapped), "idempotent"
    assert grid.apply(torch.zeros(1)).tolist() == [0.0], "zero is on every grid"
    numbers = every_number(grid)
    inside = (x >= numbers[0]) & (x <= numbers[-1])
    slack = 1e-6 * max(abs(low), abs(high), scale, float(x.abs().max()))
    assert ((snapped - x).abs()[inside] <= scale / 2 + slack).all(), "half a step inside the range"
    assert torch.allclose(snapped[~inside].double(), x[~inside].double().clamp(numbers[0], numbers[-1]), rtol=1e-6)
    assert ((snapped.double() - x.double()).abs() <= (nearest(grid, x) - x).abs() + slack).all(), "the nearest of all"
    codes = grid.codes(x)
    assert codes.min() >= scheme.low and codes.max() <= scheme.high
    assert torch.allclose(grid.values(codes), snapped, rtol=1e-6, atol=0)
    if scheme.symmetric:
        assert torch.equal(grid.apply(-x), -snapped) and int(grid.zero) == 0


@settings(max_examples=50, deadline=None)
@given(bits=st.integers(2, 8), seed=st.integers(0, 1000))
def test_it_covers_what_it_was_made_for(bits: int, seed: int) -> None:
    values = torch.randn(64, generator=torch.Generator().manual_seed(seed))
    grid = Grid.between(values.min(), values.max(), Scheme(bits))
    assert (grid.apply(values) - values).abs().max() <= float(grid.scale) * 0.5001, "zero moved by half a step at most"


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rows_are_torchs_per_channel_fake_quantization(axis: int, bits: int) -> None:
    weight = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(bits))
    rows = weight.movedim(axis, 0).flatten(1)
    grid = Grid.between(rows.amin(1), rows.amax(1), Scheme(bits, signed=True, symmetric=True, axis=axis))
    most = 2 ** (bits - 1) - 1
    scales = rows.abs().amax(1) / most
    zeros = torch.zeros(len(scales), dtype=torch.int32)
    torch.testing.assert_close(grid.scale, scales)
    expected = torch.fake_quantize_per_channel_affine(weight, scales, zeros, axis, -most, most)
    assert torch.equal(grid.apply(weight), expected)
    by_hand = torch.stack([(row / s).round().clamp(-most, most) * s for row, s in zip(rows, scales, strict=True)])
    torch.testing.assert_close(grid.apply(weight).movedim(axis, 0).flatten(1), by_hand)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("group", [4, 16, 64])
def test_each_group_of_a_row_is_rounded_by_its_own_scale(group: int, axis: int, symmetric: bool) -> None:
    weight = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(group)) + 0.3
    rows = weight.movedim(axis, 0).flatten(1)
    pieces = rows.split(group, 1)
    ends = [torch.stack([f(piece, 1) for piece in pieces], 1) for f in (torch.amin, torch.amax)]
    grid = Grid.between(*ends, Scheme(4, signed=True, symmetric=symmetric, axis=axis, group=group))
    assert grid.scale.shape == (len(rows), len(pieces)) and grid.why_not(weight) == ""
    assert grid.why_not(weight[:3, :2]) and bool(grid.why_not(weight[:, :, :2])) == (group < 64)

    def alone(row: int, number: int) -> Grid:
        low, high = (end[row, number] for end in ends)
        return Grid.between(low, high, Scheme(4, signed=True, symmetric=symmetric))

    expected = torch.stack(
        [torch.cat([alone(k, n).apply(piece[k]) for n, piece in enumerate(pieces)]) for k in range(len(rows))]
    )
    snapped = grid.apply(weight)
    assert torch.equal(snapped.movedim(axis, 0).flatten(1), expected)
    assert torch.allclose(grid.values(grid.codes(weight)), snapped, rtol=1e-6, atol=0)
    assert grid.stored(weight) == -(-weight.numel() // 2) + 5 * grid.scale.numel()
    weight.requires_grad_()
    grid.apply(weight).sum().backward()
    assert weight.grad is not None and weight.grad.ne(0).float().mean() > 0.9


def test_groups_follow_their_channels_and_no_group_has_two_scales() -> None:
    weight = torch.randn(6, 8, 3, 3, generator=torch.Generator().manual_seed(2))
    rows = weight.flatten(1).unflatten(1, (-1, 18))  # two channels
    scheme = Scheme(4, signed=True, symmetric=True, axis=0, group=18)
    grid = Grid.between(rows.amin(2), rows.amax(2), scheme)

    def whole(tensor: Tensor) -> Tensor:
        return tensor[[3, 0, 5]][:, [2, 3, 6, 7]]

    assert torch.equal(grid.carried(weight.shape, whole).apply(whole(weight)), whole(grid.apply(weight)))
    with pytest.raises(Refusal, match="18 with different scales") as refused:
        grid.carried(weight.shape, lambda tensor: tensor[:, [0, 2, 3, 4]])
    assert refused.value.code == "RCP1406"


def test_a_grid_that_is_trained_says_by_what() -> None:
    grid = Grid(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.int32), Scheme(4, True, True, 0, 8), "lsq(per=group)")
    assert grid.json()["trained"] == "lsq(per=group)" and grid.json()["group"] == 8
    assert Grid.read(grid.json(), grid.tensors()) == grid
    plain = Grid(torch.tensor(0.1), torch.tensor(3, dtype=torch.int32), Scheme(8))
    assert not {"group", "trained"} & plain.json().keys(), "as before there were groups"


def test_one_grid_is_torchs_per_tensor_fake_quantization() -> None:
    values = torch.randn(500, generator=torch.Generator().manual_seed(1)) * 3 + 1
    scale = float(values.max() - values.min()) / 255
    zero = round(-float(values.min()) / scale)
    grid = Grid.between(values.min(), values.max(), Scheme(8))
    assert int(grid.zero) == zero and float(grid.scale) == pytest.approx(scale)
    expected = torch.fake_quantize_per_tensor_affine(values, float(grid.scale), zero, 0, 255)
    assert torch.equal(grid.apply(values), expected)


def test_gradients_pass_inside_and_stop_outside() -> None:
    grid = Grid.between(torch.tensor(-1.0), torch.tensor(1.0), Scheme(8, signed=True, symmetric=True))
    values = torch.tensor([-3.0, -0.4, 0.0, 0.7, 5.0], requires_grad=True)
    grid.apply(values).sum().backward()
    assert values.grad is not None and values.grad.tolist() == [0, 1, 1, 1, 0]


def test_autocast_does_not_coarsen_it() -> None:
    grid, values = Grid.between(torch.tensor(0.0), torch.tensor(1.0), Scheme(8)), torch.rand(100)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(grid.apply(values), grid.apply(values.clone()))
        assert grid.apply(values).dtype == torch.float32
    assert grid.apply(values.bfloat16()).dtype == torch.bfloat16


def test_a_tensor_of_zeros_has_a_grid() -> None:
    for scheme in (Scheme(8), Scheme(8, signed=True, symmetric=True)):
        grid = Grid.between(torch.tensor(0.0), torch.tensor(0.0), scheme)
        assert grid.apply(torch.zeros(3)).tolist() == [0, 0, 0] and grid.scale > 0


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_follow_their_channels(axis: int) -> None:
    weight = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
    rows = weight.movedim(axis, 0)
    grid = Grid.between(rows.amin(1), rows.amax(1), Scheme(8, signed=True, symmetric=True, axis=axis))

    def change(tensor: Tensor) -> Tensor:
        return tensor[[3, 0, 5]][:, [4, 1]]

    assert torch.equal(grid.carried(weight.shape, change).apply(change(weight)), change(grid.apply(weight)))


@pytest.mark.parametrize(
    ("told", "tensors"),
    [
        ({"bits": 1}, {}),
        ({"group": 0}, {}),
        ({"group": 8}, {}),
        ({"axis": 0, "group": True}, {}),
        ({"trained": 1}, {}),
        ({"trained": "a\nb"}, {}),
        ({"bits": 17}, {}),
        ({"bits": True}, {}),
        ({"bits": "8"}, {}),
        ({"axis": -1}, {}),
        ({"axis": 0}, {}),
        ({"signed": 1}, {}),
        ({}, {"scale": torch.tensor(0.0)}),
        ({}, {"scale": torch.tensor(float("nan"))}),
        ({}, {"scale": torch.tensor(float("inf"))}),
        ({}, {"scale": torch.tensor(-1.0)}),
        ({}, {"scale": torch.tensor(1.0, dtype=torch.float64)}),
        ({}, {"scale": torch.ones(2)}),
        ({}, {"zero": torch.tensor(256, dtype=torch.int32)}),
        ({}, {"zero": torch.tensor(-1, dtype=torch.int32)}),
        ({}, {"zero": torch.tensor(0.5)}),
        ({}, {"more": torch.tensor(0)}),
    ],
)
def test_what_is_not_a_grid_is_refused(told: dict[str, object], tensors: dict[str, Tensor]) -> None:
    grid = Grid(torch.tensor(0.1), torch.tensor(3, dtype=torch.int32), Scheme(8))
    assert Grid.read(grid.json(), grid.tensors()) == grid
    with pytest.raises(Wrong):
        Grid.read({**grid.json(), **told}, {**grid.tensors(), **tensors})
