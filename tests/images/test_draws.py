"""Draws are functions of what they are for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recipelang.images.draws import shuffled, subset, uniform

keys = st.tuples(st.integers(-(2**70), 2**70), st.integers(0, 3), st.integers(0, 10**6))


@given(keys, st.lists(st.integers(0, 10**9), min_size=1, max_size=30), st.integers(1, 6), st.randoms())
def test_a_draw_depends_on_its_index_alone(
    key: tuple[int, ...], indices: list[int], count: int, random: object
) -> None:
    together = uniform(key, np.asarray(indices), count)
    assert together.shape == (len(indices), count)
    assert ((together >= 0) & (together < 1)).all()
    for row, index in zip(together, indices, strict=True):
        assert (row == uniform(key, np.asarray([index]), count)[0]).all()


@given(keys, st.integers(0, 200))
def test_shuffled_is_a_permutation(key: tuple[int, ...], count: int) -> None:
    assert sorted(shuffled(key, count)) == list(range(count))
    assert (shuffled(key, count) == shuffled(key, count)).all()


@given(st.integers(), st.integers(1, 100), st.integers(1, 150))
def test_a_subset_has_so_many_different_members(seed: int, count: int, samples: int) -> None:
    drawn = subset(seed, count, samples)
    assert len(drawn) == min(samples, count)
    assert (np.diff(drawn) > 0).all()
    assert len(subset(seed, count, None)) == count


def test_numbers_are_uniform_and_unrelated() -> None:
    numbers = uniform((3, 1, 7), np.arange(20_000), 3)
    histogram = np.stack([np.histogram(numbers[:, k], 20, (0, 1))[0] for k in range(3)])
    # 1,000 expected in each of 20 bins; 5 standard deviations
    assert np.abs(histogram - 1000).max() < 5 * np.sqrt(1000 * 0.95)
    other_epoch = uniform((3, 1, 8), np.arange(20_000), 1)[:, 0]
    columns = np.column_stack([numbers, other_epoch, np.roll(numbers[:, 0], 1)])
    correlation = np.corrcoef(columns.T) - np.eye(5)
    assert np.abs(correlation).max() < 0.04


def test_seeds_and_epochs_order_differently() -> None:
    orders = {tuple(shuffled((seed, 1, epoch), 50)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
