"""`sparsegpt` against the definition: after each column, least squares over the columns that are left."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kernels.nm.reference import nm_holds, nm_mask
from recipelang.kinds import Solver
from recipelang.methods.criteria.sparsegpt import SparseGPT
from recipelang.methods.criteria.wanda import Wanda


def problem(seed: int, outputs: int, inputs: int, rows: int, mixed: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """A weight N×K, correlated inputs rows×K, and 2/rows · XᵀX."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=generator)
    x = torch.randn(rows, inputs, generator=generator)
    if mixed:  # many inputs from few hidden causes, of different sizes
        x = x[:, : inputs // 2] @ torch.randn(inputs // 2, inputs, generator=generator) + 0.3 * x
        x = x * torch.linspace(0.2, 2, inputs)
    return weight, x, 2 / rows * x.T @ x


def damped(hessian: Tensor, damp: float) -> Tensor:
    return hessian.double() + damp * hessian.double().diagonal().mean() * torch.eye(len(hessian), dtype=torch.double)


def naive(first: Tensor, hessian: Tensor, n: int, m: int) -> list[float]:
    """One row, column by column, each computed from scratch: the columns that are left take the values of least error,
    given those that are done; of a group those n stay whose removal would cost most among the columns from there on.

    The error of w against the first weights w₀ is (w − w₀) H (w − w₀)ᵀ.
    """
    row, first = first.double().clone(), first.double()
    for j in range(len(row)):
        if j % m == 0:
            cost = {k: float(row[k] ** 2 / torch.linalg.inv(hessian[k:, k:])[0, 0]) for k in range(j, j + m)}
            stay = sorted(cost, key=cost.__getitem__, reverse=True)[:n]
        if j not in stay:
            row[j] = 0
        done, left = slice(j + 1), slice(j + 1, None)
        pull = hessian[left, done] @ (row[done] - first[done])  # least error: H_left,left δ_left = −H_left,done δ_done
        row[left] = first[left] - torch.linalg.solve(hessian[left, left], pull)
    return [float(value) for value in row]


def error(new: Tensor, weight: Tensor, x: Tensor) -> float:
    """Mean squared change of the outputs."""
    return float((x.double() @ (new.double() - weight.double()).T).square().mean())


def best(keep: Tensor, weight: Tensor, hessian: Tensor) -> Tensor:
    """The least error that a mask allows: every row's least squares over all that stays."""
    result = torch.zeros_like(weight, dtype=torch.double)
    for row, stay, first in zip(result, keep, weight.double(), strict=True):
        row[stay] = torch.linalg.solve(hessian[stay][:, stay], hessian[stay] @ first)
    return result


@settings(max_examples=25)
@given(
    seed=st.integers(0, 9999),
    outputs=st.integers(1, 4),
    groups=st.integers(1, 4),
    pattern=st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 4), (4, 8)]),
    block=st.sampled_from([1, 4, 6, 128]),
    damp=st.sampled_from([0.01, 0.1]),
)
def test_it_is_the_definition(
    seed: int, outputs: int, groups: int, pattern: tuple[int, int], block: int, damp: float
) -> None:
    n, m = pattern
    weight, _, hessian = problem(seed, outputs, groups * m, rows=64)
    keep, new = SparseGPT(damp=damp, block=block).solve(weight, hessian, n, m)
    expected = torch.tensor([naive(row, damped(hessian, damp), n, m) for row in weight])
    torch.testing.assert_close(new, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(keep, expected != 0) and nm_holds(new, n, m)
    assert (keep.unflatten(1, (-1, m)).sum(-1) == n).all()


def test_blocks_change_nothing() -> None:
    weight, _, hessian = problem(1, 16, 96, rows=300)
    keep, new = SparseGPT(block=96).solve(weight, hessian, 2, 4)
    for block in (1, 4, 31, 32, 64, 1000):
        other, values = SparseGPT(block=block).solve(weight, hessian, 2, 4)
        assert torch.equal(other, keep)
        torch.testing.assert_close(values, new, rtol=1e-4, atol=1e-5)


def corrected_over_masked(seed: int, rows: int) -> float:
    """The error of corrected weights over that of the best mask without a correction."""
    weight, x, hessian = problem(seed, 24, 32, rows)
    keep, new = SparseGPT().solve(weight, hessian, 2, 4)
    masks = (nm_mask(weight.abs(), 2, 4), nm_mask(weight.abs() * x.norm(dim=0), 2, 4), keep)
    return float(error(new, weight, x) / min(error(weight * mask, weight, x) for mask in masks))


@pytest.mark.parametrize("rows", [48, 200])
def test_a_correction_saves_a_third_of_the_error_on_average(rows: int) -> None:
    ratios = [corrected_over_masked(seed, rows) for seed in range(20)]
    assert sum(ratios) / len(ratios) < 0.67


@settings(max_examples=15)
@given(seed=st.integers(0, 9999), rows=st.sampled_from([48, 200]))
def test_outputs_move_less_than_with_masks_alone(seed: int, rows: int) -> None:
    assert corrected_over_masked(seed, rows) < 1
    weight, x, hessian = problem(seed, 24, 32, rows)
    keep, new = SparseGPT().solve(weight, hessian, 2, 4)
    # No values with this mask do better than least squares; going from left to right costs little.
    least = error(best(keep, weight, damped(hessian, 1e-9)), weight, x)
    assert least <= error(new, weight, x) * (1 + 1e-4)


@settings(max_examples=15)
@given(seed=st.integers(0, 9999))
def test_inputs_that_have_nothing_in_common_need_no_correction(seed: int) -> None:
    weight, _, _ = problem(seed, 5, 16, 8)
    norms = torch.rand(16, generator=torch.Generator().manual_seed(seed)) + 0.1
    keep, new = SparseGPT().solve(weight, norms.square().diag(), 2, 4)
    torch.testing.assert_close(new, weight * keep)
    # damping adds the same to every input
    assert torch.equal(keep, nm_mask(weight.square() * (norms.square() + 0.01 * norms.square().mean()), 2, 4))


def test_inputs_that_are_always_zero_change_nothing_else() -> None:
    weight, x, _ = problem(3, 6, 16, 100)
    alive = torch.arange(16) % 4 < 3  # so that a group never lacks a live input
    x = x * alive
    hessian = 2 / 100 * x.T @ x
    keep, new = SparseGPT().solve(weight, hessian, 2, 4)
    assert not new[:, ~alive].any() and not keep[:, ~alive].any()
    # damping goes by the mean over all inputs, and is the same without the dead ones if said so
    expected = torch.tensor([naive(r, damped(hessian, 0.01), 2, 4) for r in weight * alive])
    torch.testing.assert_close(new, expected, rtol=1e-4, atol=1e-5)


def test_a_layer_without_any_input_keeps_its_zeros() -> None:
    keep, new = SparseGPT().solve(torch.randn(3, 8), torch.zeros(8, 8), 2, 4)
    assert not new.any() and (keep.unflatten(1, (-1, 4)).sum(-1) == 2).all()


def test_two_equal_inputs_share_what_one_carried() -> None:
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    x[:, 1], x[:, 3] = x[:, 0], x[:, 2]
    weight = torch.tensor([[1.0, 1.0, 2.0, 2.0]])
    keep, new = SparseGPT(damp=1e-6).solve(weight, 2 / 200 * x.T @ x, 2, 4)
    assert keep.tolist() == [[False, True, False, True]]
    torch.testing.assert_close(new, torch.tensor([[0.0, 2.0, 0.0, 4.0]]), rtol=1e-3, atol=1e-3)


def test_too_little_damping_is_refused() -> None:
    x = torch.randn(4, 64)
    hessian = (x.T @ x).double()
    with pytest.raises(Refusal, match="damp=1e-18") as refusal:
        SparseGPT(damp=1e-18).solve(torch.randn(2, 64), hessian, 2, 4)
    assert refusal.value.code == "RCP1011"


def test_what_is_given_stays_as_it_is() -> None:
    weight, _, hessian = problem(1, 4, 8, 50)
    before = weight.clone(), hessian.double().clone()
    given_double = hessian.double()
    SparseGPT().solve(weight, given_double, 2, 4)
    assert torch.equal(weight, before[0]) and torch.equal(given_double, before[1])


def test_a_score_is_the_least_error_of_leaving_the_weight_out(lab: Any) -> None:
    """Optimal brain surgeon: the error where one weight is zero and all others of its output adapt, twice over."""
    weight, x, _ = problem(5, 3, 8, 40, mixed=False)
    exact = 2 / 40 * x.double().T @ x.double()
    module = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    module[1].weight = nn.Parameter(weight)
    split = (x[:, None, None], torch.zeros(40, dtype=torch.long))
    evidence = lab.gathered(module, lab.Images({"train": split}, 3))
    scores = SparseGPT(damp=1e-9).score(evidence)["1.weight"]
    for i in range(3):
        for j in range(8):
            stay = (torch.arange(8) != j).expand(3, 8)
            moved = (x.double() @ (best(stay, weight, exact) - weight.double()).T)[:, i].square().mean()
            assert float(scores[i, j]) == pytest.approx(2 * float(moved), rel=1e-3)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_scores_of_convolutions_keep_their_shape_and_order(lab: Any, groups: int) -> None:
    """With inputs that have nothing in common a score is w² times the damped second moment of its input."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 8, (2, 3), groups=groups)
    module = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.zeros(24, 4, 2, 3)  # one pixel of one channel lit in each
    images.view(24, 24)[range(24), range(24)] = torch.rand(24) + 0.5
    evidence = lab.gathered(module, lab.Images({"train": (images, torch.zeros(24, dtype=torch.long))}, 8, batch=24))
    found = SparseGPT().score(evidence)["0.weight"]
    squares = 2 / 24 * images.square().sum(0).reshape(groups, 4 // groups, 2, 3)
    squares = squares + 0.01 * squares.mean((1, 2, 3), keepdim=True)
    expected = convolution.weight.detach() ** 2 * squares.repeat_interleave(8 // groups, 0)
    torch.testing.assert_close(found, expected)


def test_it_solves_and_others_rank() -> None:
    assert isinstance(SparseGPT(), Solver) and not isinstance(Wanda(), Solver)
