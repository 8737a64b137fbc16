"""The bilinear model of a cost, against numpy's least squares, finite differences and counted parameters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from chains import chain, queues_of
from hypothesis import given
from hypothesis import strategies as st

from recipelang.searching.bilinear import BilinearCost, drawn, fitted, kept_shares, modelled, paired

PAIRS = ((0, 1), (1, 1), (1, 2))
TRUE = BilinearCost(PAIRS, 0.5, (0.3, 0.1, 0.7), (1.1, 0.4, 0.9))


def numbers(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def features(kept: np.ndarray) -> np.ndarray:
    """1, w, w_i·w_j, written out."""
    return np.array([[1, *row, row[0] * row[1], row[1] * row[1], row[1] * row[2]] for row in kept])


@given(st.integers(2, 20), st.integers(0, 10_000))
def test_the_fit_is_numpys_least_squares(samples: int, seed: int) -> None:
    """Also with fewer samples than numbers, where the smallest of all solutions is taken."""
    kept, costs = numbers((samples, 3), seed), numbers((samples,), seed + 1)
    made = fitted(kept, costs, PAIRS)
    expected, *_ = np.linalg.lstsq(features(kept.numpy()), costs.numpy(), rcond=None)
    ours = np.array([made.constant, *made.single, *made.both])
    np.testing.assert_allclose(features(kept.numpy()) @ ours, features(kept.numpy()) @ expected, atol=1e-6)
    assert np.linalg.norm(ours) <= np.linalg.norm(expected) * (1 + 1e-6) + 1e-9


def test_a_bilinear_cost_is_found_again_and_the_error_is_of_the_worst_sample() -> None:
    kept = numbers((30, 3), 3)
    made = fitted(kept, TRUE(kept), PAIRS)
    assert made.single == pytest.approx(TRUE.single) and made.both == pytest.approx(TRUE.both)
    assert made.error < 1e-9
    off = TRUE(kept).clone()
    off[7] *= 2
    made = fitted(kept, off, PAIRS)
    assert made.error == pytest.approx(float(((made(kept) - off) / off).abs().max()))


def test_the_slope_is_the_gradient() -> None:
    kept = numbers((3,), 4).requires_grad_()
    (gradient,) = torch.autograd.grad(TRUE(kept), kept)
    assert torch.allclose(TRUE.slope(kept.detach()), gradient)


def test_pairs_are_the_groups_on_two_axes_of_a_parameter() -> None:
    """A chain of four layers has three groups; a residual stream reads itself."""
    assert paired(queues_of(chain(4, 6, 8))) == ((0, 1), (1, 2))


def test_the_parameters_of_a_chain_are_explained_exactly_by_few_networks() -> None:
    network = chain(4, 6, 8)
    queues = queues_of(network)
    asked: list[tuple[int, ...]] = []

    def read(taken: tuple[int, ...]) -> float:
        asked.append(taken)
        widths = [q.group.size - k for q, k in zip(queues, taken, strict=True)]
        return float(sum(a * b + b for a, b in itertools.pairwise((4, *widths, 3))))

    cost = modelled(queues, read, 40, torch.Generator().manual_seed(0))
    assert cost.error < 1e-9
    assert len(asked) == len(set(asked)) < 40
    for taken in drawn([len(q.steps) for q in queues], 60, torch.Generator().manual_seed(5)):
        kept = torch.tensor([kept_shares(q)[k] for q, k in zip(queues, taken, strict=True)], dtype=torch.float64)
        assert float(cost(kept)) == pytest.approx(read(taken))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(1, 40), st.integers(0, 99))
def test_signatures_are_drawn_without_repetition(steps: list[int], count: int, seed: int) -> None:
    found = drawn(steps, count, torch.Generator().manual_seed(seed))
    assert len(set(found)) == len(found) == min(count, int(np.prod([n + 1 for n in steps])))
    assert found[0] == tuple(0 for _ in steps)
    assert all(0 <= k <= n for taken in found for k, n in zip(taken, steps, strict=True))
