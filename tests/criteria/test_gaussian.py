"""`gaussian`: its divergence in closed form, its training written out, and channels that nothing depends on."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from recipelang.methods.criteria.gaussian import Gaussian, divergence


@given(st.floats(-3, 3), st.floats(0.001, 3), st.floats(0.01, 2))
def test_the_divergence_of_normal_distributions(mean: float, deviation: float, prior: float) -> None:
    """Against torch.distributions; for a prior of the same variance it is the source's μ²/2σ²."""
    mu, sigma = torch.tensor(mean, dtype=torch.float64), torch.tensor(deviation, dtype=torch.float64)
    expected = kl_divergence(Normal(mu, sigma), Normal(torch.zeros_like(mu), prior))
    assert float(divergence(mu, sigma, prior)) == pytest.approx(float(expected), rel=1e-9, abs=1e-9)
    assert float(divergence(mu, sigma, deviation)) == pytest.approx(mean**2 / (2 * deviation**2), abs=1e-9)


def test_against_the_training_written_out(learned: Any) -> None:
    """The channels of `first` scaled after their activation by hand, with Adam and autograd of torch alone."""
    net, data = learned.plain(), learned.images()
    criterion = Gaussian(steps=5, lr=0.05, weight=1e-4, samples=16, batch=16)
    found = criterion.saliencies(learned.evidence(net, data, criterion))
    images, labels = (part[:16] for part in data.splits["train"])
    sizes = [found[name][0].numel() for name in ("first", "second")]
    mean = torch.ones(sum(sizes), requires_grad=True)
    log = torch.full((sum(sizes),), math.log(0.01), requires_grad=True)
    optimizer, random = torch.optim.Adam((mean, log), lr=0.05), torch.Generator().manual_seed(0)
    for _ in range(5):
        order = torch.randperm(16, generator=random)
        gates = mean + log.exp() * torch.randn(sum(sizes), generator=random)
        logits = scaled(net.module, images[order], *gates.split(sizes))
        kl = kl_divergence(Normal(mean, log.exp()), Normal(0.0, 0.01)).sum()
        optimizer.zero_grad()
        (functional.cross_entropy(logits, labels[order]) + 1e-4 * kl).backward()
        optimizer.step()
    for part, name in enumerate(("first", "second")):
        assert torch.allclose(found[name][0], mean.detach().split(sizes)[part], atol=1e-4)
        assert torch.allclose(found[name][1], log.detach().exp().split(sizes)[part], rtol=1e-3)
    scores = criterion.score(learned.evidence(net, data, criterion))
    expected = torch.maximum(found["first"][0].abs() / 0.02, found["first"][1] / 0.01)
    assert torch.equal(scores["first"], expected)


def scaled(module: Any, images: Tensor, first: Tensor, second: Tensor) -> Tensor:
    x = module.first(images).relu() * first[:, None, None]
    x = module.second(x).relu() * second[:, None, None]
    return module.head(x.mean((2, 3)))


def test_a_channel_that_nothing_reads_goes_first(learned: Any) -> None:
    """Its mean is pulled to zero, and its deviation stays that of the prior: it is what the source removes."""
    net, data = learned.plain(trained=True), learned.images()
    with torch.no_grad():
        net.module.second.weight[:, 2] = 0
    criterion = Gaussian(steps=60, samples=48, batch=16)
    mean, deviation = criterion.saliencies(learned.evidence(net, data, criterion))["first"]
    scores = criterion.score(learned.evidence(net, data, criterion))["first"]
    assert int(scores.argmin()) == 2
    assert abs(float(mean[2])) < 0.1
    assert float(deviation[2]) == pytest.approx(0.01, rel=0.05)
    assert float(scores.median()) > 3 * float(scores[2])
