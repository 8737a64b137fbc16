"""Knockoffs: their moments in closed form and on samples, and what they say of features that others explain."""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recipelang.measuring.knockoffs import Moments, second_order


def covariance(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """A mean, and a covariance that is far from diagonal."""
    random = torch.Generator().manual_seed(seed)
    factor = torch.randn(n, n, generator=random, dtype=torch.float64)
    return torch.randn(n, generator=random, dtype=torch.float64), factor @ factor.T + 0.1 * torch.eye(n)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(0, 99))
def test_the_moments_are_those_of_the_features(n: int, seed: int) -> None:
    """Cov x̃ = Σ, and Cov(x, x̃) = Σ − S with a diagonal S of 0 … Σ_jj: Candès et al. 2018, Eq 3.13."""
    mean, sigma = covariance(n, seed)
    found = second_order(mean, sigma, shrinkage=0)
    own, other = found.own.double(), found.other.double()
    scale = float(sigma.diagonal().max())
    assert torch.allclose(own @ sigma @ own.T + other @ sigma @ other.T, sigma, atol=1e-5 * scale)
    difference = sigma - sigma @ own.T
    diagonal = difference.diagonal()
    assert torch.allclose(difference, diagonal.diag(), atol=1e-5 * scale)
    assert bool((diagonal > -1e-6 * scale).all())
    assert bool((diagonal < sigma.diagonal() * (1 + 1e-6)).all())


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(0, 99))
def test_a_knockoff_is_as_free_as_the_others_leave_it(n: int, seed: int) -> None:
    """S_jj is at most 1 / (Σ⁻¹)_jj, and 2Σ − S has no negative eigenvalue; smaller than that only if it must be."""
    _, sigma = covariance(n, seed)
    found = second_order(torch.zeros(n, dtype=torch.float64), sigma, shrinkage=0)
    s = (sigma - sigma @ found.own.double().T).diagonal()
    alone = 1 / torch.tensor(numpy.linalg.inv(sigma.numpy()).diagonal().copy())
    scale = float(sigma.diagonal().max())
    least = float(torch.linalg.eigvalsh(2 * sigma - s.diag())[0])
    assert least > -1e-5 * scale
    part = s / alone
    assert bool((part < 1 + 1e-4).all())
    assert float(part.max() - part.min()) < 1e-3  # one factor for all
    assert float(part.min()) > 1 - 1e-3 or least < 1e-4 * scale


def test_features_that_know_nothing_of_each_other_have_independent_knockoffs() -> None:
    found = second_order(torch.zeros(3).double(), torch.tensor([1.0, 4.0, 9.0]).double().diag())
    assert found.own.abs().max() < 1e-4
    assert torch.allclose(found.other, torch.eye(3), atol=1e-4)
    assert found.spread.tolist() == pytest.approx([1, 2, 3])


def test_a_feature_that_repeats_another_or_never_changes_is_nearly_its_own_knockoff() -> None:
    maps = torch.randn(400, 4, 1, generator=torch.Generator().manual_seed(0))
    maps[:, 1] = maps[:, 0]
    maps[:, 2] = 5
    moments = Moments()
    moments.add(maps)
    knockoffs = moments.knockoffs()
    fake = knockoffs.of(maps, torch.randperm(400, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(fake[:, 2], maps[:, 2])
    near = (fake - maps).square().mean((0, 2))
    assert near[0] < 0.1
    assert near[1] < 0.1
    assert near[3] > 1.5, "the free feature and its knockoff are as far apart as two samples"


def test_on_samples_they_have_the_means_and_covariances_of_the_features() -> None:
    """And Cov(x, x̃) differs from Cov x on the diagonal alone."""
    random = torch.Generator().manual_seed(0)
    mixing = torch.randn(4, 4, generator=random)
    maps = (mixing @ torch.randn(20000, 4, 3, generator=random)).relu() + 1
    moments = Moments()
    for part in maps.split(3000):
        moments.add(part)
    knockoffs = moments.knockoffs()
    fake = knockoffs.of(maps, torch.randperm(20000, generator=random))
    rows, fakes = (x.movedim(1, 0).flatten(1) for x in (maps, fake))
    both = torch.cov(torch.cat([rows, fakes]))
    scale = both.diagonal().max()
    assert torch.allclose(fakes.mean(1), rows.mean(1), atol=0.02)
    assert torch.allclose(both[4:, 4:], both[:4, :4], atol=0.03 * float(scale))
    crossed = both[:4, :4] - both[:4, 4:]
    assert (crossed - crossed.diagonal().diag()).abs().max() < 0.03 * scale
    assert bool((crossed.diagonal() > 0.05).all())
