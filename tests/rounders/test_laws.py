"""Each rounder on one matrix against its formula: brute force, autograd, naive loops, least squares."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import Matrix, matrix
from pieces import rounder
from torch import Tensor

from recipelang.kinds import Quiet
from recipelang.methods.rounders import _learned
from recipelang.methods.rounders.bitsplit import Split
from recipelang.methods.rounders.gptq import GPTQ

# adaround ------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.floats(-12, 12), st.floats(2, 20))
def test_the_rectified_sigmoid_and_its_regulariser_are_those_of_the_paper(v: float, beta: float) -> None:
    zeta, gamma = 1.1, -0.1
    h = min(1.0, max(0.0, float(torch.sigmoid(torch.tensor(v).double())) * (zeta - gamma) + gamma))
    variable = torch.tensor([v]).double()
    assert float(_learned.rectified(variable)) == pytest.approx(h, abs=1e-9)
    assert float(_learned.undecided(variable, beta)) == pytest.approx(1 - abs(2 * h - 1) ** beta, abs=1e-6)


@given(st.floats(0, 1))
def test_it_starts_at_the_weight_itself(share: float) -> None:
    variable = _learned.inverse(torch.tensor([share]).double())
    assert float(_learned.rectified(variable)) == pytest.approx(share, abs=1e-6)


def test_the_exponent_falls_from_20_to_2_after_the_warm_up() -> None:
    betas = [_learned.beta_at(done) for done in (0.2, 0.6, 1.0)]
    assert betas == pytest.approx([20, 11, 2])


@pytest.mark.parametrize("seed", range(3))
def test_it_is_near_the_best_of_all_roundings(seed: int) -> None:
    piece = matrix(seed, outputs=1, inputs=8, bits=3)
    grid, weight = piece.grids["w"], piece.weights["w"]
    floor = (weight / grid.scale[:, None]).floor().clamp(-3, 3)
    every = [
        piece.error((floor + torch.tensor([up])).clamp(-3, 3) * grid.scale[:, None])
        for up in itertools.product((0.0, 1.0), repeat=8)
    ]
    value = rounder("adaround", steps=800, lr=0.03).round(piece, Quiet()).values["w"]
    found, nearest = piece.error(value), piece.error(grid.apply(weight))
    assert min(every) <= found + 1e-6
    assert sorted(every).index(min(every, key=lambda one: abs(one - found))) < 12, "among the best of 256"
    assert found <= nearest
    assert ((value / grid.scale[:, None] - floor).round().unique().tolist()) in ([0.0], [1.0], [0.0, 1.0], [-1.0, 0.0])


@pytest.mark.parametrize("name", ["adaround", "gptq", "bitsplit", "adaquant"])
@settings(max_examples=8)
@given(seed=st.integers(0, 1000), bits=st.integers(2, 5))
def test_masks_stay_and_values_are_on_the_grid(name: str, seed: int, bits: int) -> None:
    keep = torch.rand(4, 6, generator=torch.Generator().manual_seed(seed)) > 0.4
    piece = matrix(seed, bits=bits, keep=keep)
    piece.weights["w"] *= keep
    if not piece.weights["w"].any(1).all():
        return
    piece = Matrix(piece.weights["w"], piece.rows, bits, keep)
    made = rounder(name, **({"steps": 300} if name.startswith("ada") else {})).round(piece, Quiet())
    value, grid = made.values["w"], made.grids.get("w", piece.grids["w"])
    assert not value[~keep].any()
    assert torch.equal(grid.apply(value), value)
    if name == "bitsplit":  # the others do not descend in every step
        assert piece.error(value) <= piece.error(piece.grids["w"].apply(piece.weights["w"])) * (1 + 1e-5)


@pytest.mark.parametrize("name", ["gptq", "bitsplit", "adaround", "adaquant"])
def test_the_output_is_nearer_than_with_nearest(name: str) -> None:
    piece = matrix(11, outputs=8, inputs=32, rows=256, bits=3)
    made = rounder(name, **({"steps": 500} if name.startswith("ada") else {})).round(piece, Quiet())
    assert piece.error(made.values["w"]) < 0.8 * piece.error(piece.grids["w"].apply(piece.weights["w"]))


# gptq ----------------------------------------------------------------------------------------


def obq(weight: Tensor, scale: Tensor, most: int, moments: Tensor, damp: float) -> Tensor:
    """Optimal brain quantization of each row in the order of its columns, with a new inverse for every step."""
    hessian = moments.double() + damp * moments.double().diagonal().mean() * torch.eye(len(moments)).double()
    made = torch.zeros_like(weight).double()
    for row, (values, step) in enumerate(zip(weight.double(), scale.double(), strict=True)):
        rest = values.clone()
        for j in range(len(values)):
            inverse = torch.linalg.inv(hessian[j:, j:])
            made[row, j] = (rest[j] / step).round().clamp(-most, most) * step
            rest[j:] -= (rest[j] - made[row, j]) / inverse[0, 0] * inverse[0]
    return made


@pytest.mark.parametrize("block", [1, 4, 128])
@pytest.mark.parametrize("bits", [2, 4])
def test_gptq_is_obq_in_the_same_order(bits: int, block: int) -> None:
    piece = matrix(7, outputs=5, inputs=12, rows=100, bits=bits)
    expected = obq(piece.weights["w"], piece.grids["w"].scale, 2 ** (bits - 1) - 1, piece.moments("w")[0], 0.01)
    value = GPTQ(block=block).round(piece, Quiet()).values["w"]
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)


def test_gptq_in_the_order_of_energy_is_obq_of_reordered_columns() -> None:
    piece = matrix(8, outputs=3, inputs=9, rows=80)
    moments = piece.moments("w")[0]
    order = moments.diagonal().argsort(descending=True)
    scale = piece.grids["w"].scale
    expected = obq(piece.weights["w"][:, order], scale, 3, moments[order][:, order], 0.01)
    value = GPTQ(order="energy").round(piece, Quiet()).values["w"]
    torch.testing.assert_close(value[:, order].double(), expected, rtol=1e-5, atol=1e-5)


def test_gptq_without_dependent_inputs_is_nearest() -> None:
    piece = matrix(9)
    piece.rows = torch.eye(6)
    value = GPTQ().round(piece, Quiet()).values["w"]
    torch.testing.assert_close(value, piece.grids["w"].apply(piece.weights["w"]))


# bitsplit ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_no_turn_of_bitsplit_makes_the_error_larger_and_every_bit_is_the_best_of_three(bits: int) -> None:
    piece = matrix(bits, bits=bits)
    split = Split(piece.weights["w"], piece.grids["w"], None, piece.moments("w"))
    direct = piece.weights["w"] - split.factor[0].float() * piece.grids["w"].scale[:, None] * split.integers[0].float()
    assert split.error() == pytest.approx(
        float((piece.rows @ direct.mT).square().sum() * 2 / len(piece.rows)), rel=1e-4
    )
    errors = [split.error()]
    for _ in range(6):
        split._scale()
        errors.append(split.error())
        for m in reversed(range(bits - 1)):
            split._bit(m)
            errors.append(split.error())
    assert all(after <= before * (1 + 1e-9) for before, after in itertools.pairwise(errors))
    assert set(split.bits.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert split.integers.abs().max() <= 2 ** (bits - 1) - 1
    last = split.bits.shape[-1] - 1
    best = split.error()
    for other in (-1.0, 0.0, 1.0):  # the number that was decided last
        kept = split.bits.clone()
        split.bits[0, 0, 0, last] = other
        assert split.error() >= best - 1e-9
        split.bits = kept


def test_alpha_is_least_squares() -> None:
    piece = matrix(4)
    split = Split(piece.weights["w"], piece.grids["w"], None, piece.moments("w"))
    split._scale()
    made = (piece.grids["w"].apply(piece.weights["w"])).double()
    for row in range(4):
        outputs, wanted = piece.rows.double() @ made[row], piece.rows.double() @ piece.weights["w"][row].double()
        alpha = torch.linalg.lstsq(outputs[:, None], wanted[:, None]).solution
        assert float(split.factor[0, row]) == pytest.approx(float(alpha), rel=1e-5)
