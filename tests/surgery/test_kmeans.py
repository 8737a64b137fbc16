"""Shared values by k-means: Lloyd's rounds written plainly, scikit-learn, and where centroids start."""

from __future__ import annotations

from dataclasses import replace

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recipelang.methods.sharings.kmeans import KMeans
from recipelang.stages.share import nearest
from recipelang.surgery.restrictions.shared import Shared


def numbers(seed: int, count: int = 400) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.cat([torch.randn(count, generator=draws), 3 + torch.rand(count // 4, generator=draws)])


def lloyd(values: list[float], centroids: list[float]) -> list[float]:
    """Rounds of assigning and averaging, one number after another."""
    while True:
        groups: list[list[float]] = [[] for _ in centroids]
        for value in values:
            groups[min(range(len(centroids)), key=lambda k: (abs(value - centroids[k]), k))].append(value)
        means = [sum(group) / len(group) if group else old for group, old in zip(groups, centroids, strict=True)]
        if max(abs(a - b) for a, b in zip(means, centroids, strict=True)) < 1e-12:
            return means
        centroids = means


def starts(init: str, values: Tensor, count: int) -> list[float]:
    """Where the centroids of Deep Compression's section 3 start."""
    line = values.double().sort().values
    if init == "linear":
        return [float(line[0] + (line[-1] - line[0]) * k / (count - 1)) for k in range(count)]
    return [float(line[int((k + 0.5) / count * len(line))]) for k in range(count)]


@pytest.mark.parametrize("init", ["linear", "density"])
@pytest.mark.parametrize("count", [2, 8, 32])
def test_the_centroids_are_those_of_plain_rounds(init: str, count: int) -> None:
    values = numbers(count)
    found = KMeans(init).values(values, count, 0)
    expected = lloyd(values.double().tolist(), starts(init, values, count))
    torch.testing.assert_close(found.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("init", ["linear", "density", "random"])
def test_scikit_learn_finds_the_same(init: str) -> None:
    cluster = pytest.importorskip("sklearn.cluster", reason="needs scikit-learn")
    values, count = torch.rand(500, generator=torch.Generator().manual_seed(1)), 8
    method = KMeans(init)
    first = method._start(values.double().sort().values, count, 7).numpy().reshape(-1, 1)
    theirs = cluster.KMeans(count, init=first, n_init=1, max_iter=300, tol=0, algorithm="lloyd")
    theirs.fit(values.double().numpy().reshape(-1, 1))
    expected = numpy.sort(theirs.cluster_centers_[:, 0])
    found = method.values(values, count, 7).double().numpy()
    assert numpy.allclose(found, expected, atol=1e-6)
    codes = nearest(values, torch.from_numpy(found).float())
    assert float((values - torch.from_numpy(found)[codes]).square().sum()) == pytest.approx(theirs.inertia_, rel=1e-5)


@given(seed=st.integers(0, 500), bits=st.integers(1, 6), init=st.sampled_from(["linear", "density", "random"]))
def test_no_group_is_nearer_to_another_centroid_and_each_is_its_mean(seed: int, bits: int, init: str) -> None:
    values = numbers(seed, 100)
    levels = KMeans(init).values(values, 2**bits, seed)
    assert len(levels) <= 2**bits and torch.equal(levels, levels.sort().values)
    codes = nearest(values, levels)
    distance = (values.double()[:, None] - levels.double()).abs()
    assert torch.equal(distance.gather(1, codes[:, None])[:, 0], distance.amin(1))
    for group in codes.unique():
        torch.testing.assert_close(levels[group], values[codes == group].mean(), rtol=1e-5, atol=1e-6)


def test_few_different_numbers_lose_nothing() -> None:
    values = torch.tensor([3.0, -1, 3, 0, -1])
    assert KMeans().values(values, 4, 0).tolist() == [-1, 0, 3]
    assert KMeans().values(values, 3, 0).tolist() == [-1, 0, 3]


def test_random_starts_follow_the_seed() -> None:
    values = numbers(5)
    same = [KMeans("random").values(values, 16, seed) for seed in (3, 3, 4)]
    assert torch.equal(same[0], same[1]) and not torch.equal(same[0], same[2])


def test_a_step_with_the_mean_is_that_of_the_weights_alone_projected_onto_those_that_share() -> None:
    """So what trains without sharing trains: a group's curvature is 1ᵀH1/n, and never more than the largest of H."""
    draw = torch.Generator().manual_seed(0)
    codes = torch.randint(-1, 5, (6, 40), generator=draw).to(torch.int16)
    one = Shared(codes, 5, KMeans().gradient)
    weight = one.values(torch.randn(5, generator=draw))
    gradient = torch.randn(6, 40, generator=draw)
    with_it = weight - 0.3 * one.gathered(gradient)
    assert torch.allclose(with_it, one.apply(weight - 0.3 * gradient), atol=1e-6)
    summed = replace(one, gradient="sum").gathered(gradient)
    members = torch.bincount(codes.flatten().long() + 1)[1:].float()
    assert torch.allclose(summed, one.values(one.levels(one.gathered(gradient)).float() * members), atol=1e-4)
